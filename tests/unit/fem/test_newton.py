"""The search for equilibrium: what it does with a solver that stalls, steps that creep, and a state out of balance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from shapes import cornered_cube

from kyphos.errors import ConvergenceError
from kyphos.fem import DirectSolver, NewtonSettings
from kyphos.fem.linear import Stalled
from kyphos.fem.march import MarchSettings, march
from kyphos.fem.newton import _lighter, held_load, solve_equilibrium


@dataclass
class Odd:
    """A direct solver that stalls ``stalls`` times where it may, and returns only a ``share`` of every step."""

    stalls: int = 0
    share: float = 1.0
    inner: DirectSolver = field(default_factory=DirectSolver)
    asked: list[tuple[float, bool]] = field(default_factory=list)  # largest entry of the matrix, last resort

    @property
    def record(self):
        return self.inner.record

    def reset(self) -> None:
        self.inner.reset()

    def solve(self, matrix, rhs, rtol=1e-8, enough=0.0, last_resort=True):
        self.asked.append((float(abs(matrix.tocsr()).max()), last_resort))
        if self.stalls and not last_resort:
            self.stalls -= 1
            raise Stalled("it gets nowhere")
        return self.share * self.inner.solve(matrix, rhs, 1e-10)


TIGHT = NewtonSettings(residual_tolerance=1e-8, minimum_load_n=1e-9, max_iterations=300)


def test_patience_lets_a_residual_take_its_time():
    structure, state, load = cornered_cube(-0.1)
    with pytest.raises(ConvergenceError, match="after 15 iterations"):
        solve_equilibrium(structure, state, load, Odd(share=0.03), TIGHT)  # it takes 23 steps to halve
    patient = replace(TIGHT, patience=40, max_iterations=1000)
    found = solve_equilibrium(structure, state, load, Odd(share=0.03), patient)
    straight = solve_equilibrium(structure, state, load, DirectSolver(), TIGHT)
    np.testing.assert_allclose(found.state.displacement_mm, straight.state.displacement_mm, atol=1e-6)


def test_where_the_solver_stalls_the_next_step_is_damped_and_then_solved_at_any_price():
    structure, state, load = cornered_cube(-1.0)
    straight, odd = Odd(), Odd(stalls=2)
    found = solve_equilibrium(structure, state, load, straight, TIGHT)
    again = solve_equilibrium(structure, state, load, odd, TIGHT)
    np.testing.assert_allclose(again.state.displacement_mm, found.state.displacement_mm, atol=1e-8)
    assert not any(resort for _, resort in straight.asked)
    (first, may_stall), (second, resort), *rest = odd.asked
    assert not may_stall
    assert resort
    assert second == pytest.approx(1.02 * first, rel=1e-3)  # 2 % of the elastic stiffness are added
    assert all(resort for _, resort in rest)
    assert odd.stalls == 1  # it was not asked to try again without a last resort


def test_a_residual_that_has_all_but_stopped_falling_will_do_within_the_slack():
    structure, state, load = cornered_cube(-0.1)
    slow = solve_equilibrium(structure, state, load, Odd(share=0.1), TIGHT)  # each step leaves 90 %
    strict = solve_equilibrium(structure, state, load, Odd(share=0.1), replace(TIGHT, slack=1.0))
    assert 3.0 < slow.residuals_n[-1] / strict.residuals_n[-1] <= 5.0 / 0.9
    assert strict.iterations > slow.iterations + 10


def test_a_held_load_keeps_a_state_as_it_is():
    structure, state, load = cornered_cube(-1.0)
    found = solve_equilibrium(structure, state, load, DirectSolver(), TIGHT)
    held = held_load(structure, found.state, replace(load, force=0.0 * load.force))
    np.testing.assert_allclose(held.force, load.force, atol=1e-7)
    still = solve_equilibrium(structure, found.state, held, DirectSolver(), TIGHT)
    np.testing.assert_allclose(still.state.displacement_mm, found.state.displacement_mm, atol=1e-9)


class Coward(DirectSolver):
    """Refuses right-hand sides above a size."""

    def solve(self, matrix, rhs, rtol=1e-8, enough=0.0, last_resort=True):
        if abs(rhs).max() > 0.3:
            raise ConvergenceError("too much at once")
        return super().solve(matrix, rhs, rtol, enough)


def test_a_state_that_cannot_find_its_balance_at_once_finds_it_step_by_step():
    structure, state, load = cornered_cube(-1.0)
    *_, last = march(structure, state, load, load, Coward(), MarchSettings(newton=TIGHT))
    at_once = solve_equilibrium(structure, state, load, DirectSolver(), TIGHT)
    np.testing.assert_allclose(last.equilibrium.state.displacement_mm, at_once.state.displacement_mm, atol=1e-8)
    assert last.load.force == pytest.approx(load.force)


def test_damping_goes_in_one_leap_until_its_lack_has_been_rejected_twice():
    assert [_lighter(0.02, 1), _lighter(0.0025, 1)] == [0.0025, 0.0]
    damping = [0.02]
    while damping[-1] > 1e-4:
        damping.append(_lighter(damping[-1], 2))
    np.testing.assert_allclose(damping, 0.02 * 0.5 ** np.arange(len(damping)))


@dataclass
class Skittish(Odd):
    """Leaps far away where the matrix is hardly stiffer than the first one it was given; else it goes a short way."""

    leaps: int = 0

    def solve(self, matrix, rhs, rtol=1e-8, enough=0.0, last_resort=True):
        step = super().solve(matrix, rhs, rtol, enough, last_resort)
        if len(self.asked) > 1 and self.asked[-1][0] < 1.004 * self.asked[0][0]:
            self.leaps += 1
            return -100.0 * step
        return step


def test_a_tangent_that_misleads_again_and_again_is_damped_for_longer():
    """By halves most steps are good; one leap from 0.02 to nothing wastes every other one."""
    structure, state, load = cornered_cube(-0.02)
    skittish = Skittish(share=0.3)
    found = solve_equilibrium(structure, state, load, skittish, TIGHT)
    assert found.residuals_n[-1] < 1e-8
    assert skittish.leaps < 0.3 * len(skittish.asked)
