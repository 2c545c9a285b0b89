"""What is too much for one step is done in several; what cannot be done says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke
from test_platens import TIGHT, between_platens, with_upper

from kyphos.errors import ConvergenceError
from kyphos.fem import DirectSolver, MarchSettings, NewtonSettings, march, solve_equilibrium


def twisted():
    """The upper platen is turned by 150 degrees about the axis of the block."""
    structure, state, load = between_platens()
    return structure, state, load, with_upper(structure, load, fixed=("rz",), rz=np.radians(150.0))


def test_step_cutting_reaches_what_one_step_cannot():
    """Pressed to an eighth of its height: the first guess of a single step turns cells inside out."""
    structure, state, load = between_platens()
    pressed = with_upper(structure, load, fixed=("z",), z=-3.5)
    with pytest.raises(ConvergenceError, match="inverted"):
        solve_equilibrium(structure, state, pressed, DirectSolver(), TIGHT.newton)
    steps = list(march(structure, state, load, pressed, DirectSolver(), TIGHT))
    assert len(steps) > 1
    assert steps[-1].share == 1.0
    assert steps[-1].equilibrium.state.motion[1, 2] == pytest.approx(-3.5, abs=1e-12)
    small = replace(TIGHT, first=0.1, largest=0.1)
    other = list(march(structure, state, load, pressed, DirectSolver(), small))
    # elastic: the path does not matter
    np.testing.assert_allclose(
        other[-1].equilibrium.state.displacement_mm, steps[-1].equilibrium.state.displacement_mm, atol=1e-6
    )


def test_failure_tells_its_residuals_and_keeps_the_states_before():
    structure, state, load, turned = twisted()
    impatient = MarchSettings(smallest=0.3, newton=NewtonSettings(max_iterations=2, residual_tolerance=1e-12))
    with pytest.raises(ConvergenceError, match="largest out-of-balance force") as caught:
        list(march(structure, state, load, turned, DirectSolver(), impatient))
    assert len(caught.value.residuals_n) == 2
    assert caught.value.residuals_n[-1] > 0.0


def test_a_body_that_nothing_holds_is_refused():
    structure, state, load = between_platens()
    adrift = with_upper(structure, replace(load, fixed=np.zeros_like(load.fixed)), z=1.0)
    with pytest.raises(ConvergenceError, match="singular"):
        solve_equilibrium(structure, state, adrift, DirectSolver())


def test_a_law_that_fails_is_no_equilibrium():
    structure, state, load = between_platens()
    broken = replace(structure, material=Hooke(np.nan, 0.3))
    pushed = with_upper(structure, load, z=-1.0)
    with pytest.raises(ConvergenceError):
        solve_equilibrium(broken, state, pushed, DirectSolver())
