"""A cell may take its current shape as its stress-free one: that is how cement enters unstressed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block, jiggled

from kyphos.fem import (
    DirectSolver,
    MarchSettings,
    NewtonSettings,
    cell_volumes,
    prescribe,
    settle,
    solve_static,
)

GROUP = "Stress-free configurations"
NEWTON = NewtonSettings(residual_tolerance=1e-10, minimum_load_n=1e-6, linear_tolerance=1e-10)
TIGHT = MarchSettings(newton=NEWTON)
FORMULATIONS = ["standard", "mean_dilatation", "enhanced"]


def stretched(formulation, law, stretch):
    """A distorted block of 27 cells, clamped below, pulled up by its clamped top."""
    points, cells = block((3.0, 3.0, 3.0), (3, 3, 3))
    points = jiggled(points, 0.2)
    bottom, top = (np.flatnonzero(np.isclose(points[:, 2], z)) for z in (0.0, 3.0))
    held = prescribe(len(points), (bottom, "xyz", 0.0), (top, "xy", 0.0), (top, "z", 3.0 * (stretch - 1.0)))
    return solve_static(points, cells, law, held, formulation=formulation, settings=TIGHT)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_a_rebased_body_is_free_of_stress(wall, formulation):
    result = stretched(formulation, Hooke(1000.0, 0.3), 1.3)
    structure, state = result.structure.rebased(np.arange(27), result.state), result.state
    found = structure.evaluate(state)
    assert np.abs(result.equilibrium.evaluation.response.stress).max() > 100.0
    wall.error(
        "a stretched body takes its shape as its stress-free one: largest stress",
        np.abs(found.response.stress).max(),
        1e-9,
        unit="MPa",
        source="exact",
        because="rounding: 1e-12 of Young's modulus",
    )
    np.testing.assert_allclose(
        structure.mesh.weight.sum(), cell_volumes(result.structure.mesh, result.state).sum(), rtol=1e-12
    )


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_further_stretch_is_measured_from_the_new_shape(wall, formulation):
    """Homogeneous stretch 1.3, rebase, stretch 1.2 more: E = ln 1.2, not ln(1.56)."""
    points, cells = block(counts=(2, 2, 2))
    points = jiggled(points, 0.08)
    law = Hooke(1000.0, 0.0)
    sides = (np.arange(len(points)), "xy", 0.0)
    bottom, top = (np.flatnonzero(np.isclose(points[:, 2], z)) for z in (0.0, 1.0))
    held = prescribe(len(points), sides, (bottom, "z", 0.0), (top, "z", 0.3))
    result = solve_static(points, cells, law, held, formulation=formulation, settings=TIGHT)
    structure, state = result.structure.rebased(np.arange(8), result.state), result.state
    target = replace(result.load, value=np.where(result.load.value > 0.0, 0.56, result.load.value))
    step = settle(structure, state, result.load, target, DirectSolver(), TIGHT)
    stress = step.equilibrium.evaluation.response.stress
    wall.error(
        "stretch 1.3, rebase, stretch 1.2 more: stress",
        np.abs(stress[..., 2] / (1000.0 * np.log(1.2)) - 1.0).max(),
        1e-8,
        source="E = ln 1.2",
        because="the residual at which Newton stops",
    )


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_cement_that_enters_a_deformed_cavity_disturbs_nothing(wall, formulation):
    """The middle cell is void; stretched, it becomes stiff and stress-free: the equilibrium does not move."""
    void = np.full(27, 1000.0)
    void[13] = 1e-7
    result = stretched(formulation, Hooke(void, 0.3), 1.25)
    filled = void.copy()
    filled[13] = 3000.0
    structure, state = result.structure.rebased(np.array([13]), result.state), result.state
    structure = replace(structure, material=Hooke(filled, 0.3))
    step = settle(structure, state, result.load, result.load, DirectSolver(), TIGHT)
    wall.error(
        "cement enters a deformed cavity: motion of the rest",
        np.abs(step.equilibrium.state.displacement_mm - result.displacement_mm).max(),
        1e-8,
        unit="mm",
        source="none",
        because="the residual at which Newton stops, over the stiffness",
    )
    assert np.abs(step.equilibrium.evaluation.response.stress[13]).max() < 1e-5  # 1e-10 of the neighbours' force
    relaxed = replace(result.load, value=np.zeros_like(result.load.value))
    back = settle(structure, state, result.load, relaxed, DirectSolver(), TIGHT)
    assert np.abs(back.equilibrium.evaluation.response.stress[13]).max() > 100.0  # the cement now resists
