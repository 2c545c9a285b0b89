"""A fluid-filled cavity (balloon): pressure against volume, the volume constraint, the work of pressure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, cylinder_sector, sphere_octant, with_core

from kyphos.fem import (
    Cavity,
    DirectSolver,
    MarchSettings,
    NewtonSettings,
    Structure,
    discretise,
    march,
    settle,
)

GROUP = "Balloons"
INNER, OUTER, YOUNG, POISSON = 1.0, 2.0, 1000.0, 0.3
FLUID_YOUNG = 1e-7  # so soft that it carries 1e-10 of the pressure
TIGHT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-9, minimum_load_n=1e-6, linear_tolerance=1e-10))


def balloon(points, wall, fluid, extra_fixed=None, formulation="standard"):
    """Symmetric body with one cavity: structure, state, load that holds the volume."""
    cells = np.vstack([wall, fluid])
    young = np.where(np.arange(len(cells)) < len(wall), YOUNG, FLUID_YOUNG)
    cavity = Cavity("balloon", np.arange(len(wall), len(cells)))
    structure = Structure(discretise(points, cells, formulation), Hooke(young, POISSON), cavities=(cavity,))
    state = structure.initial_state(np.zeros((*structure.mesh.weight.shape, 0)))
    fixed = np.abs(points) < 1e-9
    if extra_fixed is not None:
        fixed |= extra_fixed
    load = structure.free_load(state)
    return structure, state, replace(load, fixed=np.append(fixed, [False]))


def sphere(n=5):
    return balloon(*sphere_octant(INNER, OUTER, n, n))


def sphere_pressure(growth: float) -> float:
    """Pressure for a relative growth of the hole, 3 u / a, u of Lame (Timoshenko & Goodier, section 136)."""
    a, b = INNER, OUTER
    per_pressure = a**3 / (YOUNG * (b**3 - a**3)) * ((1.0 - 2.0 * POISSON) + (1.0 + POISSON) * b**3 / (2.0 * a**3))
    return growth / (3.0 * per_pressure)


def cylinder_pressure(growth: float) -> float:
    """The same for a long cylinder in plane strain: 2 u / a."""
    a, b = INNER, OUTER
    per_pressure = (1.0 + POISSON) / YOUNG * a**2 / (b**2 - a**2) * ((1.0 - 2.0 * POISSON) + b**2 / a**2)
    return growth / (2.0 * per_pressure)


def grown(load, share):
    return replace(load, volume_mm3=(1.0 + share) * load.volume_mm3)


def test_sphere_pressure_is_that_of_lame(wall):
    structure, state, load = sphere()
    growth = 1e-4
    found = settle(structure, state, load, grown(load, growth), DirectSolver(), TIGHT).equilibrium
    pressure = found.state.pressure_mpa[0]
    wall.error(
        "balloon in a thick sphere: pressure for a given volume",
        pressure / sphere_pressure(growth) - 1.0,
        0.03,
        source="Lamé",
        because="facets of 9 to 18 degrees: (pi/20)² of the sphere",
    )
    np.testing.assert_allclose(structure.cavity_volumes(found.state), (1.0 + growth) * load.volume_mm3, rtol=1e-9)


def test_cylinder_pressure_is_that_of_lame(wall):
    points, shell = cylinder_sector(INNER, OUTER, 0.3, (8, 12, 1))
    inner = np.hypot(points[:, 0], points[:, 1]) < INNER + 1e-9
    points, fluid = with_core(points, shell, inner)
    plane = np.zeros_like(points, dtype=bool)
    plane[:, 2] = True
    structure, state, load = balloon(points, shell, fluid, plane)
    growth = 1e-4
    found = settle(structure, state, load, grown(load, growth), DirectSolver(), TIGHT).equilibrium
    pressure = found.state.pressure_mpa[0]
    wall.error(
        "balloon in a thick cylinder: pressure for a given volume",
        pressure / cylinder_pressure(growth) - 1.0,
        0.01,
        source="Lamé",
        because="facets of 7.5 degrees and eight cells over the wall: 0.4 % each",
    )


def test_prescribed_pressure_and_prescribed_volume_agree(wall):
    """Push the pressure that a volume of +40 % needs: the same volume and the same shape come back."""
    structure, state, load = sphere(3)
    by_volume = settle(structure, state, load, grown(load, 0.4), DirectSolver(), replace(TIGHT, first=0.5)).equilibrium
    fixed = load.fixed.copy()
    fixed[-1] = True
    value = load.value.copy()
    value[-1] = by_volume.state.pressure_mpa[0]
    pushed = replace(load, fixed=fixed, value=value)
    by_pressure = settle(structure, state, load, pushed, DirectSolver(), replace(TIGHT, first=0.25)).equilibrium
    apart = by_pressure.state.displacement_mm - by_volume.state.displacement_mm
    wall.error(
        "prescribed pressure and prescribed volume (+40 %) give one state",
        np.abs(apart).max(),
        1e-6,
        unit="mm",
        source="exact",
        because="both stop at 1e-9 of the load",
    )
    np.testing.assert_allclose(structure.cavity_volumes(by_pressure.state), 1.4 * load.volume_mm3, rtol=1e-6)


@pytest.mark.parametrize("formulation", ["standard", "mean_dilatation"])
def test_the_work_of_the_pressure_is_stored(wall, formulation):
    """Volume doubled in 20 steps: the integral of p dV (trapezia) is the strain energy of the wall."""
    structure, state, load = balloon(*sphere_octant(INNER, OUTER, 2, 3), formulation=formulation)
    steps = replace(TIGHT, first=0.05, largest=0.05)
    volume, pressure = [load.volume_mm3[0]], [0.0]
    for step in march(structure, state, load, grown(load, 1.0), DirectSolver(), steps):
        volume.append(structure.cavity_volumes(step.equilibrium.state)[0])
        pressure.append(step.equilibrium.state.pressure_mpa[0])
    final = step.equilibrium.evaluation
    energy = 0.5 * np.einsum("mq,mqi,mqi->", structure.mesh.weight, final.strain, final.response.stress)
    work = np.trapezoid(pressure, volume)
    wall.error(
        "volume doubled: work of the pressure against stored energy",
        work / energy - 1.0,
        2e-3,
        source="first law",
        because="twenty trapezia: (1/20)² of the curvature",
    )
