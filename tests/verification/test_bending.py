"""One element through the thickness must bend: tip-loaded cantilevers against Timoshenko's beam."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, tet10

from kyphos.fem import boundary_faces, prescribe, solve_static, traction_forces

GROUP = "Bending and shells"
BEAM = "Timoshenko's beam"
YOUNG, POISSON, THICKNESS, WIDTH, N_CELLS = 1000.0, 0.3, 1.0, 1.0, 10


def tip_ratio(
    aspect: float, formulation: str, quadratic: bool = False, skew: float = 0.0, assumed: float = POISSON
) -> float:
    """Tip deflection over Timoshenko's, F L^3 / 3 E I + F L / (5/6) G A, support free to contract."""
    length = N_CELLS * aspect * THICKNESS
    points, cells = block((length, WIDTH, THICKNESS), (N_CELLS, 1, 1))
    inner = (points[:, 0] > 1e-9) & (points[:, 0] < length - 1e-9)
    points[inner, 0] += skew * aspect * (2.0 * points[inner, 2] - 1.0)
    if quadratic:
        points, cells = tet10(points, cells)
    area, inertia = WIDTH * THICKNESS, WIDTH * THICKNESS**3 / 12.0
    shear = YOUNG / (2.0 * (1.0 + POISSON))
    per_newton = length**3 / (3.0 * YOUNG * inertia) + length / (5.0 / 6.0 * shear * area)
    total = 1e-4 * length / per_newton  # deflection 1e-4 of the length: linear
    faces = boundary_faces(cells)
    tip = faces[np.all(points[faces, 0] > length - 1e-9, axis=1)]
    force = traction_forces(points, tip, np.array([0.0, 0.0, total / area]))
    root = points[:, 0] < 1e-9
    edges = [np.flatnonzero(root & (points[:, i] < 1e-9)) for i in (1, 2)]
    held = prescribe(len(points), (np.flatnonzero(root), "x", 0.0), (edges[0], "y", 0.0), (edges[1], "z", 0.0))
    result = solve_static(
        points, cells, Hooke(YOUNG, POISSON), held, force, formulation=formulation, poisson_ratio=assumed
    )
    end = points[:, 0] > length - 1e-9
    return float(result.displacement_mm[end, 2].mean() / (total * per_newton))


@pytest.mark.parametrize("aspect", [1.0, 2.0, 5.0, 10.0])
def test_one_enhanced_hex_through_the_thickness_bends(wall, aspect):
    wall.error(
        "cantilever, one enhanced hex8 through the thickness, aspect ratio 1 to 10: deflection",
        tip_ratio(aspect, "enhanced") - 1.0,
        0.05,
        source=BEAM,
        because="a clamped root and ten cells along the beam: (1/10)²",
    )


def test_leaning_enhanced_hexes_still_bend(wall):
    """Side faces lean by 22 degrees, end cells are trapezia: 6 % too stiff (bare hexes: 286 %)."""
    wall.error(
        "the same with leaning cells (22 degrees)",
        tip_ratio(2.0, "enhanced", skew=0.1) - 1.0,
        0.1,
        source=BEAM,
        because="trapezia that pass the patch test must stiffen (MacNeal 1987)",
    )


@pytest.mark.parametrize("assumed", [0.2, 0.4])
def test_enhanced_hexes_forgive_another_poisson_ratio(wall, assumed):
    """Their projection is built for one ratio; off by 0.1 it costs 5 % of bending stiffness."""
    wall.error(
        "the same, Poisson's ratio off by 0.1 from that of the projection",
        tip_ratio(5.0, "enhanced", assumed=assumed) - 1.0,
        0.06,
        source=BEAM,
        because="the thickness stretch that is left locks 5 % of the bending",
    )


@pytest.mark.parametrize("aspect", [2.0, 5.0, 10.0])
def test_tet10_bends(wall, aspect):
    wall.error(
        "the same, tet10, aspect ratio 2 to 10",
        tip_ratio(aspect, "standard", quadratic=True) - 1.0,
        0.05,
        source=BEAM,
        because="as for hex8",
    )


@pytest.mark.parametrize("formulation", ["standard", "mean_dilatation"])
@pytest.mark.parametrize("aspect", [2.0, 5.0, 10.0])
def test_bare_hexes_lock(wall, formulation, aspect):
    """The cure is needed: parasitic shear makes the bare element 1 + a^2 / 2 (1 + nu) times too stiff."""
    stiffer = 1.0 + 0.5 * aspect**2 / (1.0 + POISSON)
    ratio = tip_ratio(aspect, formulation)
    assert ratio < 1.3 / stiffer  # mean dilatation softens by up to 28 %: no cure
    wall.contrast(
        "the same, bare hex8 and mean dilatation, aspect ratio 2 to 10",
        ratio - 1.0,
        0.3,
        because="parasitic shear makes them 1 + a²/2(1 + nu) times too stiff",
    )


def test_large_rotation_of_an_elastica(wall):
    """Cantilever, dead tip force P = E I / L^2: 0.30172 L aside, 0.05643 L in (Mattiasson 1981)."""
    length, thickness = 20.0, 0.5
    points, cells = block((length, 1.0, thickness), (20, 1, 1))
    total = YOUNG * thickness**3 / 12.0 / length**2
    end = np.flatnonzero(points[:, 0] > length - 1e-9)
    force = np.zeros_like(points)
    force[end, 2] = total / end.size
    root = points[:, 0] < 1e-9
    edges = [np.flatnonzero(root & (points[:, i] < 1e-9)) for i in (1, 2)]
    held = prescribe(len(points), (np.flatnonzero(root), "x", 0.0), (edges[0], "y", 0.0), (edges[1], "z", 0.0))
    result = solve_static(points, cells, Hooke(YOUNG, POISSON), held, force, formulation="enhanced")
    tip = result.displacement_mm[end].mean(axis=0) / length
    why = "shear, 20 straight cells, one through the thickness: 1e-3 each; the shortening is the square of the sway"
    wall.error(
        "elastica, P L²/E I = 1: deflection 0.30172 L",
        tip[2] / 0.30172 - 1.0,
        0.01,
        source="Mattiasson 1981",
        because=why,
    )
    wall.error("the same: shortening 0.05643 L", tip[0] / -0.05643 - 1.0, 0.02, source="Mattiasson 1981", because=why)
