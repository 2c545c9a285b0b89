"""Stability: the tangent of a column becomes singular at Euler's load."""

from __future__ import annotations

import numpy as np
from shapes import FINE, Hooke, block

from kyphos.fem import boundary_faces, prescribe, solve_static, traction_forces

GROUP = "Stability"
LENGTH, WIDTH, THICKNESS = 20.0, 1.5, 1.0
LAW = Hooke(1000.0, 0.3)


def smallest_eigenvalue(share):
    """Of the tangent of a clamped column under ``share`` of Euler's load, over that without load."""
    points, cells = block((LENGTH, WIDTH, THICKNESS), (20, 1, 1))
    root = points[:, 0] < 1e-9
    edges = [np.flatnonzero(root & (points[:, i] < 1e-9)) for i in (1, 2)]
    held = prescribe(len(points), (np.flatnonzero(root), "x", 0.0), (edges[0], "y", 0.0), (edges[1], "z", 0.0))
    tip = boundary_faces(cells)
    tip = tip[np.all(points[tip, 0] > LENGTH - 1e-9, axis=1)]
    euler = np.pi**2 * LAW.young_mpa * WIDTH * THICKNESS**3 / 12.0 / (4.0 * LENGTH**2)
    force = traction_forces(points, tip, np.array([-share * euler / (WIDTH * THICKNESS), 0.0, 0.0]))
    result = solve_static(points, cells, LAW, held, force, formulation="enhanced", settings=FINE)
    free = np.isnan(held).ravel()
    tangent = result.equilibrium.evaluation.stiffness.toarray()[np.ix_(free, free)]
    return np.linalg.eigvalsh(0.5 * (tangent + tangent.T))[0]


def test_euler_column(wall):
    """The smallest eigenvalue falls linearly with the load; it vanishes at the load of buckling."""
    low, high = smallest_eigenvalue(0.97), smallest_eigenvalue(0.99)
    critical = 0.99 + 0.02 * high / (low - high)
    wall.error(
        "clamped column of 20 x 1 x 1 enhanced hex8: load at which the tangent becomes singular",
        critical - 1.0,
        0.01,
        source="Euler, pi² E I / 4 L²",
        because="twenty cells along the column: 0.3 %; shortening, swelling and shear at a strain of 5e-4: 0.2 %",
    )


def test_the_column_is_stable_below_and_not_above():
    assert smallest_eigenvalue(0.98) > 0.0
    assert smallest_eigenvalue(1.02) < 0.0
