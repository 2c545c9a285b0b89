"""Cyclic loading: every cycle solved (direct), or peak-load equilibria joined by jumps over many cycles.

Creep and fatigue act at the peak, for the dwell share of each period (t = dwell N / f), in both methods; so the
two differ only by the length of the time step. The jump's length follows an embedded error estimate in logarithmic
cycle number, where primary creep is a straight line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import log1p

import numpy as np

from kyphos.errors import ConvergenceError

from .linear import LinearSolver
from .march import MarchSettings, march, settle
from .newton import Equilibrium, solve_equilibrium
from .structure import Array, Load, State, Structure

_REFUSED = 2.0  # times the tolerance
_SUDDEN = 0.5  # of the error of a refused jump: a shorter one that keeps more is no better
_PART = 0.25  # of one cycle's time, where the whole cannot be reached at once
RESTS = 2  # equilibria at the first peak before time begins to count


@dataclass(frozen=True)
class CycleSettings:
    """How cycles are run.

    Attributes
    ----------
    method
        ``jump`` or ``direct``.
    dwell
        Share of a period that counts as time under peak load (0.5 for a sine).
    tolerance
        Error of one jump's growth of displacement, relative to all growth so far.
    largest_growth
        A jump is at most this times the one before.
    report
        Cycle numbers at which the valley is solved as well.
    march
        Step control of loading and unloading.
    """

    method: str = "jump"
    dwell: float = 0.5
    tolerance: float = 0.006
    largest_growth: float = 2.0
    report: tuple[int, ...] = ()
    march: MarchSettings = field(default_factory=MarchSettings)


@dataclass(frozen=True)
class CycleState:
    """Peak-load equilibrium after ``cycle`` cycles.

    Attributes
    ----------
    cycle
        Cycles completed.
    peak
        Equilibrium at the peak load.
    valley
        Equilibrium at the valley load, where it was solved.
    equilibria
        Equilibria solved so far, failed attempts included.
    error
        Estimated relative error of the last jump.
    """

    cycle: int
    peak: Equilibrium
    valley: Equilibrium | None
    equilibria: int
    error: float


def run_cycles(
    structure: Structure,
    state: State,
    valley: Load,
    peak: Load,
    count: int,
    frequency_hz: float,
    solver: LinearSolver,
    settings: CycleSettings | None = None,
) -> Iterator[CycleState]:
    """Load ``count`` times from ``valley`` to ``peak``; yields solved cycles, always the first and the last.

    Parameters
    ----------
    state
        Equilibrium under ``valley``.
    frequency_hz
        Cycles per second.

    Raises
    ------
    ConvergenceError
        An equilibrium was not found even with the shortest step; what was yielded stands.
    """
    settings = settings or CycleSettings()
    run = _direct if settings.method == "direct" else _jump
    yield from run(structure, state, valley, peak, count, settings.dwell / frequency_hz, solver, settings)


def _direct(
    structure: Structure,
    state: State,
    valley: Load,
    peak: Load,
    count: int,
    seconds: float,
    solver: LinearSolver,
    settings: CycleSettings,
) -> Iterator[CycleState]:
    equilibria, up, down = 0, None, None
    for cycle in range(1, count + 1):
        top = settle(structure, state, valley, peak, solver, settings.march, up).equilibrium
        if cycle == 1:
            top = _rested(structure, top, peak, solver, settings)
        try:
            held = solve_equilibrium(structure, top.state, peak, solver, settings.march.newton, seconds, 1.0)
        except ConvergenceError:
            held = _in_parts(structure, top.state, peak, seconds, solver, settings)
        bottom = settle(structure, held.state, peak, valley, solver, settings.march, down).equilibrium
        up, down = structure.way(state, top.state), structure.way(held.state, bottom.state)
        state, equilibria = bottom.state, equilibria + 3
        yield CycleState(cycle, held, bottom, equilibria, 0.0)


def _rested(
    structure: Structure, found: Equilibrium, load: Load, solver: LinearSolver, settings: CycleSettings
) -> Equilibrium:
    """The same load again, a few times, without time passing: laws whose softening waits a step catch up."""
    for _ in range(RESTS):
        found = solve_equilibrium(structure, found.state, load, solver, settings.march.newton)
    return found


def _in_parts(
    structure: Structure, state: State, peak: Load, seconds: float, solver: LinearSolver, settings: CycleSettings
) -> Equilibrium:
    """The equilibrium at the end of one cycle's time under load, sought in parts of that time."""
    parts = replace(settings.march, first=_PART)
    *_, last = march(structure, state, peak, peak, solver, parts, duration_s=seconds, cycles=1.0)
    return last.equilibrium


def _jump(
    structure: Structure,
    state: State,
    valley: Load,
    peak: Load,
    count: int,
    seconds: float,
    solver: LinearSolver,
    settings: CycleSettings,
) -> Iterator[CycleState]:
    steps = list(march(structure, state, valley, peak, solver, settings.march))
    start = found = _rested(structure, steps[-1].equilibrium, peak, solver, settings)
    equilibria, cycle, wanted, nodal = len(steps) + RESTS, 0, 1, slice(3 * structure.n_nodes)
    rate: Array | None = None
    down: Array | None = None
    error, refused = 0.0, np.inf
    while cycle < count:
        jump = _clipped(wanted, cycle, count, settings.report)
        try:
            equilibria += 1
            length = log1p(jump / (cycle + 1.0))
            guess = None if rate is None else length * rate
            new = solve_equilibrium(
                structure, found.state, peak, solver, settings.march.newton, jump * seconds, float(jump), guess=guess
            )
        except ConvergenceError:
            if jump > 1:
                wanted = max(jump // 4, 1)
                continue
            new = _in_parts(structure, found.state, peak, seconds, solver, settings)
        moved, growth = (structure.way(e.state, new.state) for e in (found, start))
        error = 0.0 if rate is None else _relative(0.5 * (moved - length * rate)[nodal], growth[nodal])
        if _REFUSED * settings.tolerance < error < _SUDDEN * refused and jump > 1:
            wanted, refused = max(int(jump * _factor(error, settings)), 1), error
            continue
        sudden = error > _REFUSED * settings.tolerance and jump > 1
        found, cycle, rate, refused = new, cycle + jump, rate if sudden else moved / length, np.inf
        bottom = None
        if cycle in settings.report or cycle == count:
            bottom = settle(structure, found.state, peak, valley, solver, settings.march, down).equilibrium
            down = structure.way(found.state, bottom.state)
            equilibria += 1
        yield CycleState(cycle, found, bottom, equilibria, error)
        # a jump that was cut short to land on a reported cycle says little against the longer one
        wanted = max(round(jump * _factor(error, settings)), wanted if jump < wanted else 1)


def _relative(error: Array, growth: Array) -> float:
    """In the mean over all nodes: a single cell that snaps says little about the body."""
    return float(np.linalg.norm(error) / max(float(np.linalg.norm(growth)), 1e-12))


def _factor(error: float, settings: CycleSettings) -> float:
    """Next jump over this one, for an error of second order in the step."""
    if error == 0.0:
        return settings.largest_growth
    return float(np.clip(0.9 * np.sqrt(settings.tolerance / error), 0.25, settings.largest_growth))


def _clipped(jump: int, cycle: int, count: int, report: tuple[int, ...]) -> int:
    """Land on the next reported cycle and on the last one."""
    stops = [n for n in (*report, count) if n > cycle]
    return max(min(jump, min(stops) - cycle), 1)
