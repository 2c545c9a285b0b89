"""Cyclic loading of a law with logarithmic creep: direct and jump agree with one another and the formula."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from shapes import Batch, Hooke, block

from kyphos.errors import ConvergenceError
from kyphos.fem import (
    CycleSettings,
    DirectSolver,
    MarchSettings,
    NewtonSettings,
    Platen,
    Structure,
    discretise,
    run_cycles,
    settle,
)

RATE, TAU_S, YOUNG = 0.3, 2.0, 1000.0
SETTINGS = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-8, minimum_load_n=1e-3))


@dataclass(frozen=True)
class LogCreep(Hooke):
    """Hooke's law; creep strain grows by RATE e ln((tau + t + dt) / (tau + t)), e the final elastic strain.

    State: creep strain (6), time under load t.
    """

    def update(self, strain, state, dt_s, cycles):
        clock = state[..., 6:]
        growth = RATE * np.log1p(dt_s / (TAU_S + clock))
        elastic = (strain - state[..., :6]) / (1.0 + growth)
        response = super().update(elastic, state, dt_s, cycles)
        after = np.concatenate([state[..., :6] + growth * elastic, clock + dt_s], axis=-1)
        return Batch(response.stress, response.tangent / (1.0 + growth[..., None]), after, response.status)


@dataclass(frozen=True)
class Brittle(LogCreep):
    """Fails as soon as it has carried load for longer than a minute."""

    def update(self, strain, state, dt_s, cycles):
        response = super().update(strain, state, dt_s, cycles)
        return replace(response, status=(response.state[..., 6] > 60.0).astype(np.int8))


@dataclass(frozen=True)
class Hasty(LogCreep):
    """Cannot be evaluated for steps of time longer than 0.2 s."""

    def update(self, strain, state, dt_s, cycles):
        response = super().update(strain, state, dt_s, cycles)
        return replace(response, status=np.full_like(response.status, dt_s > 0.2))


@dataclass(frozen=True)
class Stiffening(LogCreep):
    """Ten times as stiff at a strain of 1e-4, and more beyond."""

    def update(self, strain, state, dt_s, cycles):
        response = super().update(strain, state, dt_s, cycles)
        size = np.linalg.norm(strain, axis=-1)[..., None]
        more = 1.0 + 9e4 * size
        slope = 9e4 * response.stress[..., :, None] * (strain / np.maximum(size, 1e-30))[..., None, :]
        return replace(response, stress=more * response.stress, tangent=more[..., None] * response.tangent + slope)


def column(law=None):
    """A block pushed down by a platen: structure, state under the valley load, valley and peak."""
    points, cells = block((2.0, 2.0, 4.0), (1, 1, 2))
    top = Platen("top", np.flatnonzero(np.isclose(points[:, 2], 4.0)), np.array([1.0, 1.0, 4.0]))
    structure = Structure(discretise(points, cells), law or LogCreep(YOUNG, 0.0), (top,))
    state = structure.initial_state(np.zeros((2, 8, 7)))
    free = structure.free_load(state)
    fixed = free.fixed.copy()
    fixed[: 3 * structure.n_nodes] = np.repeat(np.isclose(points[:, 2], 0.0), 3)
    start = structure.platen_slice("top").start
    fixed[start : start + 6] = True
    fixed[start + 2] = False
    loads = []
    for newtons in (0.1, 0.4):
        force = free.force.copy()
        force[start + 2] = -newtons
        loads.append(replace(free, fixed=fixed, force=force))
    valley, peak = loads
    begun = settle(structure, state, replace(free, fixed=fixed), valley, DirectSolver(), SETTINGS)
    return structure, begun.equilibrium.state, valley, peak


def run(method, count, law=None, **settings):
    structure, state, valley, peak = column(law)
    chosen = CycleSettings(method=method, march=SETTINGS, **settings)
    return list(run_cycles(structure, state, valley, peak, count, 1.0, DirectSolver(), chosen))


def shortening(cycle_state):
    return -cycle_state.peak.state.motion[0, 2]


def expected(cycles):
    """Stress 0.1 MPa, strain 1e-4, half a second at the peak per cycle; exact under constant load."""
    return 4.0 * 1e-4 * (1.0 + RATE * np.log1p(0.5 * cycles / TAU_S))


@pytest.mark.parametrize("method", ["direct", "jump"])
def test_creep_under_cycles_follows_the_formula(method):
    states = run(method, 60)
    assert states[-1].cycle == 60
    assert states[-1].valley is not None
    # finite strain costs 1.5 times the strain of 2e-4; the law itself is integrated exactly
    assert shortening(states[-1]) == pytest.approx(expected(60), rel=5e-4)


@pytest.mark.parametrize("method", ["direct", "jump"])
def test_a_cycle_that_cannot_be_solved_at_once_is_solved_in_parts(method):
    states = run(method, 3, Hasty(YOUNG, 0.0))
    assert [s.cycle for s in states] == [1, 2, 3]
    assert shortening(states[-1]) == pytest.approx(expected(3), rel=5e-4)


def test_jump_and_direct_agree_and_the_jump_is_cheap():
    direct, jump = run("direct", 60)[-1], run("jump", 60)[-1]
    grown = shortening(direct) - expected(0)
    assert abs(shortening(jump) - shortening(direct)) < 0.01 * grown
    assert jump.equilibria <= 20
    assert direct.equilibria == 180


def test_reported_cycles_are_solved_with_their_valley():
    states = run("jump", 100, report=(10, 37))
    solved = {s.cycle: s for s in states}
    assert {10, 37, 100} <= set(solved)
    assert all(solved[n].valley is not None for n in (10, 37, 100))
    assert all(a.cycle < b.cycle for a, b in pairwise(states))
    assert all(shortening(a) < shortening(b) for a, b in pairwise(states))


@pytest.mark.parametrize("method", ["direct", "jump"])
def test_unloading_is_sought_where_the_last_one_led(method):
    """A law that hardens much under the peak takes several iterations on the first way down, and few after."""
    states = run(method, 30, Stiffening(YOUNG, 0.0), report=(1, 2, 10))
    first, *later = [s.valley.iterations for s in states if s.valley is not None]
    assert first > 2
    assert max(later) < first


def test_a_wrong_trend_costs_iterations_but_leads_to_the_same_state():
    structure, state, valley, peak = column(Stiffening(YOUNG, 0.0))
    usual = settle(structure, state, valley, peak, DirectSolver(), SETTINGS)
    way = structure.coordinates(usual.equilibrium.state) - structure.coordinates(state)
    right, wrong, absurd = (
        settle(structure, state, valley, peak, DirectSolver(), SETTINGS, factor * way) for factor in (1.0, -3.0, -1e5)
    )
    assert right.equilibrium.iterations < usual.equilibrium.iterations
    for found in (right, wrong, absurd):
        found_mm, usual_mm = (one.equilibrium.state.displacement_mm for one in (found, usual))
        np.testing.assert_allclose(found_mm, usual_mm, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", ["direct", "jump"])
def test_what_was_solved_before_a_failure_stands(method):
    structure, state, valley, peak = column(Brittle(YOUNG, 0.0))
    chosen = CycleSettings(method=method, march=SETTINGS)
    states = []

    def collect():
        states.extend(run_cycles(structure, state, valley, peak, 200, 1.0, DirectSolver(), chosen))

    with pytest.raises(ConvergenceError):
        collect()
    assert 100 <= states[-1].cycle <= 120  # 120 half seconds make the minute
