"""Thick cylinder at nu = 0.4999, plane strain, internal pressure: displacement and mean stress of Lame."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, cylinder_sector

from kyphos.fem import boundary_faces, prescribe, pressure_forces, solve_static

INNER, OUTER, YOUNG, POISSON, PRESSURE = 1.0, 2.0, 1000.0, 0.4999, 1e-3  # strains 1e-6: linear


def lame(radius):
    """Radial displacement and mean stress under internal pressure (Timoshenko & Goodier, section 28)."""
    a = PRESSURE * INNER**2 / (OUTER**2 - INNER**2)
    displacement = (1.0 + POISSON) / YOUNG * a * ((1.0 - 2.0 * POISSON) * radius + OUTER**2 / radius)
    return displacement, 2.0 / 3.0 * (1.0 + POISSON) * a


def pressurised(formulation):
    """Errors of radial displacement at the bore, and of the mean stress of the worst cell, relative."""
    points, cells = cylinder_sector(INNER, OUTER, 0.2, (8, 12, 1))
    radius = np.hypot(points[:, 0], points[:, 1])
    faces = boundary_faces(cells)
    bore = faces[np.all(radius[faces] < INNER + 1e-9, axis=1)]
    held = prescribe(
        len(points),
        (np.arange(len(points)), "z", 0.0),
        (np.flatnonzero(points[:, 0] < 1e-9), "x", 0.0),
        (np.flatnonzero(points[:, 1] < 1e-9), "y", 0.0),
    )
    force = pressure_forces(points, bore, PRESSURE)
    result = solve_static(points, cells, Hooke(YOUNG, POISSON), held, force, formulation=formulation)
    inner = radius < INNER + 1e-9
    moved = np.einsum("ni,ni->n", result.displacement_mm[:, :2], points[:, :2])[inner] / INNER
    displacement, mean = lame(INNER)
    found = result.stress_mpa[..., :3].mean(axis=(1, 2))  # per cell: mean dilatation knows no finer pressure
    return np.abs(moved / displacement - 1.0).max(), np.abs(found / mean - 1.0).max()


def test_displacement_and_pressure_are_those_of_lame():
    displacement_error, pressure_error = pressurised("mean_dilatation")
    print("mean_dilatation", displacement_error, pressure_error)
    assert displacement_error < 0.01  # eight cells over the wall, order two: (1/8)^2 / 4
    assert pressure_error < 0.03  # of the uniform mean stress, in the worst cell; that is h^2 of the bore pressure


@pytest.mark.parametrize("formulation", ["standard", "enhanced"])
def test_the_other_elements_are_wrong(formulation):
    """What is cured: other hexes are far too stiff, and their pressure oscillates."""
    displacement_error, pressure_error = pressurised(formulation)
    print(formulation, displacement_error, pressure_error)
    assert displacement_error > 0.1
    assert pressure_error > 1.0
