"""One element through the thickness must bend: tip-loaded cantilevers against Timoshenko's beam."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, tet10

from kyphos.fem import boundary_faces, prescribe, solve_static, traction_forces

YOUNG, THICKNESS, WIDTH, N_CELLS = 1000.0, 1.0, 1.0, 10


def tip_ratio(aspect: float, formulation: str, quadratic: bool = False, skew: float = 0.0) -> float:
    """Tip deflection over Timoshenko's, F L^3 / 3 E I + F L / (5/6) G A; nu = 0 so that the clamp adds nothing."""
    length = N_CELLS * aspect * THICKNESS
    points, cells = block((length, WIDTH, THICKNESS), (N_CELLS, 1, 1))
    inner = (points[:, 0] > 1e-9) & (points[:, 0] < length - 1e-9)
    points[inner, 0] += skew * aspect * (2.0 * points[inner, 2] - 1.0)
    if quadratic:
        points, cells = tet10(points, cells)
    area, inertia = WIDTH * THICKNESS, WIDTH * THICKNESS**3 / 12.0
    per_newton = length**3 / (3.0 * YOUNG * inertia) + length / (5.0 / 6.0 * YOUNG / 2.0 * area)
    total = 1e-4 * length / per_newton  # deflection 1e-4 of the length: linear
    faces = boundary_faces(cells)
    tip = faces[np.all(points[faces, 0] > length - 1e-9, axis=1)]
    force = traction_forces(points, tip, np.array([0.0, 0.0, total / area]))
    held = prescribe(len(points), (np.flatnonzero(points[:, 0] < 1e-9), "xyz", 0.0))
    result = solve_static(points, cells, Hooke(YOUNG, 0.0), held, force, formulation=formulation)
    end = points[:, 0] > length - 1e-9
    return float(result.displacement_mm[end, 2].mean() / (total * per_newton))


@pytest.mark.parametrize("aspect", [1.0, 2.0, 5.0, 10.0])
def test_one_enhanced_hex_through_the_thickness_bends(aspect):
    assert tip_ratio(aspect, "enhanced") == pytest.approx(1.0, abs=0.05)


def test_leaning_enhanced_hexes_still_bend():
    """Side faces lean by 22 degrees, the first and last cell are trapezia: 6 % too stiff (bare: 65 %)."""
    assert tip_ratio(2.0, "enhanced", skew=0.1) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("aspect", [2.0, 5.0, 10.0])
def test_tet10_bends(aspect):
    assert tip_ratio(aspect, "standard", quadratic=True) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("formulation", ["standard", "mean_dilatation"])
def test_bare_hexes_lock(formulation):
    """The cure is needed: shear locking makes the bare element 1 + a^2/2 times too stiff in bending (nu = 0)."""
    aspect = 5.0
    assert tip_ratio(aspect, formulation) == pytest.approx(1.0 / (1.0 + aspect**2 / 2.0), rel=0.1)


def test_large_rotation_of_an_elastica():
    """Cantilever rolled by an end moment's equivalent, checked against the elastica under a tip force.

    P L^2 / E I = 1: tip deflection 0.30172 L, shortening 0.05643 L (Mattiasson 1981).
    """
    length, thickness = 20.0, 0.5
    points, cells = block((length, 1.0, thickness), (20, 1, 1))
    inertia = thickness**3 / 12.0
    total = YOUNG * inertia / length**2
    end = np.flatnonzero(points[:, 0] > length - 1e-9)
    force = np.zeros_like(points)
    force[end, 2] = total / end.size
    held = prescribe(len(points), (np.flatnonzero(points[:, 0] < 1e-9), "xyz", 0.0))
    result = solve_static(points, cells, Hooke(YOUNG, 0.0), held, force, formulation="enhanced")
    tip = result.displacement_mm[end].mean(axis=0) / length
    assert tip[2] == pytest.approx(0.30172, rel=0.01)  # shear and 20 straight cells: 1e-3 each
    assert tip[0] == pytest.approx(-0.05643, rel=0.02)
