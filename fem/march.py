"""From one load to another in steps that adapt: the length halves on failure and grows after easy equilibria."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from kyphos.errors import ConvergenceError

from .linear import LinearSolver
from .newton import Array, Equilibrium, NewtonSettings, held_load, solve_equilibrium
from .structure import Evaluation, Load, State, Structure

_MOST_STOPS = 3  # places of one march where the load stands still
_REST_ITERATIONS, _REST_PATIENCE = 80, 40  # there: a body that snaps finds its next balance late


@dataclass(frozen=True)
class MarchSettings:
    """Step control; lengths are shares of the whole path.

    Attributes
    ----------
    first, largest, smallest
        First, largest and smallest step.
    easy_iterations
        A step that took at most this many iterations lets the next one grow by ``growth``.
    smooth_iterations
        After a step that took at most this many, the next one is sought where this one points; after others, by the
        tangent.
    newton
        Settings of every equilibrium.
    """

    first: float = 1.0
    largest: float = 1.0
    smallest: float = 1e-3
    easy_iterations: int = 12
    smooth_iterations: int = 3
    growth: float = 2.0
    newton: NewtonSettings = field(default_factory=NewtonSettings)


@dataclass(frozen=True)
class Step:
    """One accepted step of a march."""

    share: float
    load: Load
    equilibrium: Equilibrium


def march(
    structure: Structure,
    state: State,
    start: Load,
    end: Load,
    solver: LinearSolver,
    settings: MarchSettings | None = None,
    duration_s: float = 0.0,
    cycles: float = 0.0,
    known: Evaluation | None = None,
    trend: Array | None = None,
) -> Iterator[Step]:
    """Solve equilibria on the way from ``start`` to ``end`` and yield each one; the caller may stop at any.

    Softening waits a step, so each step begins with a jump of forces, whatever its length. Where the shortest step
    fails, the load stands still, the jump comes alone, and the next step is sought as the first one was.

    Parameters
    ----------
    start, end
        ``end`` says what is prescribed; values, forces and volumes run linearly from those of ``start``. Where both are
        one load, the state is to find its balance under it; if it cannot at once, what it lacks goes step by step.
    duration_s, cycles
        Spread evenly over the path.
    known
        Evaluation of the equilibrium that ``state`` was committed from, where the path goes on as before.
    trend
        Expected change of q (N,) on the whole path, where a like way has been gone before: steps are sought from there
        (but for what is prescribed) unless the last one points better, and as without it if that fails.

    Raises
    ------
    ConvergenceError
        A step of the smallest length failed, after a rest too; the states yielded before stand.
    """
    settings = settings or MarchSettings()
    share, step, given = 0.0, min(settings.first, 1.0), trend
    stops: list[float] = []
    while share < 1.0:
        step = min(step, settings.largest, 1.0 - share)
        if 1.0 - share - step < 1e-9:
            step = 1.0 - share
        load = end.between(start, share + step)
        try:
            found = solve_equilibrium(
                structure,
                state,
                load,
                solver,
                settings.newton,
                step * duration_s,
                step * cycles,
                known,
                None if trend is None else step * trend,
            )
        except ConvergenceError as error:
            if trend is not None and trend is given:
                trend = None
                continue
            if step * 0.5 >= settings.smallest:
                if start is end:
                    start = held_load(structure, state, end)
                step, known, trend = step * 0.5, None, None  # where the last state misled, a fresh start is safer
                continue
            told = error.told(f"{error} The step was already cut to {step:.2g} of the path, at {share:.3f} of it.")
            if share in stops or len(stops) == _MOST_STOPS:
                raise told from error
            stops.append(share)
            state = _rested(structure, state, end.between(start, share), solver, settings.newton, told)
            step, known, trend = settings.first, None, None
            continue
        smooth = found.iterations <= settings.smooth_iterations
        trend = structure.way(state, found.state) / step if smooth else given
        share, state, known = share + step, found.state, found.evaluation
        if share > 1.0 - 1e-12:
            share = 1.0
        yield Step(share, load, found)
        if found.iterations <= settings.easy_iterations:
            step *= settings.growth


def _rested(
    structure: Structure,
    state: State,
    load: Load,
    solver: LinearSolver,
    settings: NewtonSettings,
    told: ConvergenceError,
) -> State:
    """The state once its load has stood still, for which it is given time; ``told`` is raised if it does not stand."""
    patient = replace(
        settings,
        max_iterations=max(settings.max_iterations, _REST_ITERATIONS),
        patience=max(settings.patience, _REST_PATIENCE),
    )
    try:
        return solve_equilibrium(structure, state, load, solver, patient).state
    except ConvergenceError as error:
        raise told from error


def settle(
    structure: Structure,
    state: State,
    start: Load,
    end: Load,
    solver: LinearSolver,
    settings: MarchSettings | None = None,
    trend: Array | None = None,
) -> Step:
    """The last step of :func:`march`: the state at ``end``."""
    last = None
    for step in march(structure, state, start, end, solver, settings, trend=trend):
        last = step
    assert last is not None
    return last
