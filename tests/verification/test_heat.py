"""Thermal strain: free and hindered growth, a tube between two temperatures."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, cylinder_sector, jiggled, tet10
from wall import worst

from kyphos.fem import MarchSettings, NewtonSettings, prescribe, solve_static
from kyphos.fem.elements import element_for

GROUP = "Heat"
LAW, GROWTH = Hooke(2e5, 0.3), 1.2e-5
# a free body carries no load that the residual could be measured by: E alpha T is 240 N here
SETTINGS = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-8, minimum_load_n=10.0))
KINDS = ["standard", "mean_dilatation", "enhanced", "tet10"]


def heated(points, cells, held, temperature, formulation):
    """Equilibrium under a nodal temperature (n,)."""
    element = element_for(cells)
    at_points = np.einsum("qa,ma->mq", element.shape(element.points), temperature[cells])
    strain = np.zeros((*at_points.shape, 6))
    strain[..., :3] = GROWTH * at_points[..., None]
    return solve_static(
        points,
        cells,
        LAW,
        held,
        formulation=formulation,
        eigenstrain=strain,
        settings=SETTINGS,
        poisson_ratio=LAW.poisson,
    )


def distorted(kind):
    points, cells = block(counts=(2, 2, 2))
    points = jiggled(points, 0.08)
    return (*tet10(points, cells), "standard") if kind == "tet10" else (points, cells, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_free_and_hindered_growth(wall, kind):
    points, cells, formulation = distorted(kind)
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    held = prescribe(len(points), *zip(low, "xyz", (0.0,) * 3, strict=True))
    hot = np.full(len(points), 100.0)
    free = heated(points, cells, held, hot, formulation)
    stretch = np.exp(GROWTH * 100.0)
    wall.error(
        "distorted block, 100 K warmer, free: displacement",
        worst(free.displacement_mm, (stretch - 1.0) * points),
        1e-6,
        source="exp(alpha T) - 1",
        because="Newton stops at 1e-7 of the load",
    )
    held[points[:, 2] > 1.0 - 1e-9, 2] = 0.0
    kept = heated(points, cells, held, hot, formulation)
    wall.error(
        "the same, kept from growing along z: stress",
        worst(kept.equilibrium.evaluation.response.stress[..., 2], -LAW.young_mpa * GROWTH * 100.0),
        1e-6,
        source="-E alpha T",
        because="Newton stops at 1e-7 of the load",
    )


def test_linear_temperature_leaves_a_free_body_without_stress(wall):
    """The displacement is quadratic: within tet10 exactly, but for the squares of strains of 1e-5."""
    points, cells, _ = distorted("tet10")
    held = prescribe(len(points), (np.arange(1), "xyz", 0.0))
    held[np.flatnonzero((points[:, 0] > 0.99) & (np.abs(points[:, 1:]).max(axis=1) < 1e-9)), 1:] = 0.0
    held[np.flatnonzero((points[:, 1] > 0.99) & (np.abs(points[:, [0, 2]]).max(axis=1) < 1e-9)), 2] = 0.0
    found = heated(points, cells, held, 1.0 * points[:, 0] + 0.5 * points[:, 2], "standard")
    wall.error(
        "linear temperature in a free body, tet10: largest stress over E alpha T",
        np.abs(found.stress_mpa).max() / (LAW.young_mpa * GROWTH * 1.5),
        1e-4,
        source="Boley & Weiner 1960: none",
        because="squares of the strain, 2e-5",
    )


@pytest.mark.parametrize("kind", ["mean_dilatation", "tet10"])
def test_tube_between_two_temperatures(wall, kind):
    """Logarithmic temperature, T at the bore and none outside: hoop stress at both faces."""
    inner, outer = 1.0, 2.0
    points, cells = cylinder_sector(inner, outer, 0.2, (10, 8, 1))
    if kind == "tet10":
        points, cells = tet10(points, cells)
    radius = np.hypot(points[:, 0], points[:, 1])
    held = prescribe(
        len(points),
        (np.arange(len(points)), "z", 0.0),
        (np.flatnonzero(points[:, 0] < 1e-9), "x", 0.0),
        (np.flatnonzero(points[:, 1] < 1e-9), "y", 0.0),
    )
    ratio = np.log(outer / inner)
    temperature = np.log(outer / radius) / ratio
    found = heated(points, cells, held, temperature, "standard" if kind == "tet10" else kind)
    stress, at = found.stress_mpa.mean(axis=1), points[cells[:, : 8 if kind != "tet10" else 4]].mean(axis=1)
    r, turn = np.hypot(at[:, 0], at[:, 1]), np.arctan2(at[:, 1], at[:, 0])
    hoop = stress[:, 0] * np.sin(turn) ** 2 + stress[:, 1] * np.cos(turn) ** 2 - stress[:, 3] * np.sin(2.0 * turn)
    scale = LAW.young_mpa * GROWTH / (2.0 * (1.0 - LAW.poisson) * ratio)
    a2 = inner**2 / (outer**2 - inner**2)
    exact = scale * (1.0 - np.log(outer / r) - a2 * (1.0 + outer**2 / r**2) * ratio)
    wall.error(
        "tube between two temperatures, mean dilatation and tet10: hoop stress of all cells, over the largest",
        worst(hoop, exact),
        0.04,
        source="Timoshenko & Goodier",
        because="ten cells over the wall, facets of 11 degrees; a cell mean is not the value at its middle",
    )
