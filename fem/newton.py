"""Equilibrium: Newton's method, damped where the tangent misleads; out-of-balance forces in newtons.

A crushed cell may have next to no stiffness left; a Newton step then sends its nodes far away, and a line search,
which shortens the step of all nodes alike, stops the whole body for their sake. Adding a small share of the elastic
stiffness to the tangent (a proximal, or Levenberg-Marquardt, step) holds just those nodes back. Steps are judged by
the work of the out-of-balance forces along them (Matthies & Strang 1979, IJNME 14:1613), which an associated law
derives from a potential, or else by the size of those forces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kyphos.errors import ConvergenceError

from .linear import LinearSolver, Stalled
from .measure import reactions
from .structure import Evaluation, Late, Load, State, Structure
from .system import BorderedMatrix, System, build_system, tied_matrix

Array = NDArray[np.float64]

_LITTLE_PATIENCE = 4  # iterations that may pass without halving a residual within the slack
_SHARES = (1.0, 0.5, 0.25, 0.1)  # of a step that are tried before damping
_SMALL = 0.5  # smaller shares are tried only while cells invert
_CREEPING = 0.1  # of a step: where the residual turns before that, as cracks close, damping goes on and shares do not
_OVERSHOOT = 0.5  # of the work along a step that may push back at its end
_DAMPING = 0.02  # share of the elastic stiffness that is added when steps fail
_STIFFER, _LIGHTER = 4.0, 0.125
_LIGHTEST, _STIFFEST = 0.01, 10.0  # at the lightest or below, the next step goes undamped
_OFTEN, _GENTLER = 2, 0.5  # rejected steps from which on damping only halves: lighter ones would be rejected again
LARGEST_IMBALANCE = 1e-3  # of the load: residuals that add up instead of cancelling


@dataclass(frozen=True)
class NewtonSettings:
    """How an equilibrium is sought.

    Attributes
    ----------
    residual_tolerance
        Largest out-of-balance force (N) per newton of load.
    slack
        So many times that force will do where it has all but stopped falling, as among cells that part and touch.
    minimum_load_n
        The load counts as at least this, so that an unloaded state has a tolerance too.
    max_iterations
        Newton iterations before the step is given up; twice as many with those that are rejected.
    patience
        Iterations that may pass without halving the residual.
    linear_tolerance
        Accuracy of each linear solution, relative (see `linear.gmres`).
    loosest_linear_tolerance
        What will do where that accuracy would cost far more than usual: an inexact step still points the right way.
    """

    residual_tolerance: float = 1e-5
    slack: float = 5.0
    minimum_load_n: float = 10.0
    max_iterations: int = 20
    patience: int = 14
    linear_tolerance: float = 3e-2
    loosest_linear_tolerance: float = 0.3


@dataclass(frozen=True)
class Equilibrium:
    """A converged state with its record.

    Attributes
    ----------
    state
        Committed state.
    evaluation
        Forces, stiffness, stress at that state.
    reactions_n
        (N,) generalised internal forces.
    residuals_n
        Largest out-of-balance force after each iteration.
    balance
        |sum of support forces and loads| / load: how well the body is in equilibrium as a whole.
    """

    state: State
    evaluation: Evaluation
    reactions_n: Array
    residuals_n: tuple[float, ...]
    balance: float

    @property
    def iterations(self) -> int:
        """Newton iterations."""
        return len(self.residuals_n)


@dataclass(frozen=True)
class _Trial:
    state: State
    evaluation: Evaluation
    internal: Array  # (N,) generalised internal forces
    residual: Array  # (N,) out of balance, zero where prescribed

    @property
    def largest_n(self) -> float:
        return float(np.max(np.abs(self.residual), initial=0.0))

    @property
    def norm(self) -> float:
        with np.errstate(over="ignore"):  # a trial far away may have forces beyond all bounds
            return float(np.linalg.norm(self.residual))


@dataclass(frozen=True)
class _Problem:
    """One equilibrium to be found."""

    structure: Structure
    load: Load
    solver: LinearSolver
    settings: NewtonSettings
    dt_s: float
    cycles: float

    @cached_property
    def active(self) -> NDArray[np.bool_]:
        """(N,) unknown entries of q."""
        return ~(self.load.fixed | self.structure.rigid_dofs)

    def at(self, state: State, evaluation: Evaluation | None) -> _Trial | None:
        """The trial of an evaluated state; None stays None."""
        if evaluation is None:
            return None
        internal = reactions(self.structure, evaluation, state)
        residual = self.load.force - internal
        b = len(self.structure.cavities)
        if b:  # equation of a cavity: its volume, scaled to a force by a nominal 1 N / mm3
            residual[-b:] = evaluation.volume_mm3 - self.load.volume_mm3
        residual[~self.active] = 0.0
        return _Trial(state, evaluation, internal, residual)

    def after(self, trial: _Trial, step: Array) -> _Trial | None:
        """The trial a step away from another; None where it cannot be evaluated."""
        moved = self.structure.moved(trial.state, step)
        return self.at(moved, self.evaluation(moved))

    def evaluation(self, state: State, known: Evaluation | None = None) -> Evaluation | None:
        """Of a state under this load's tensions; of a ``known`` one only the links can differ."""
        if known is not None:
            return self.structure.linked(known, state, self.load.tension_n)
        return self.structure.evaluate(state, self.dt_s, self.cycles, self.load.tension_n)

    def balanced(self, trial: _Trial, slack: float = 1.0) -> bool:
        """Whether the residual is within so many tolerances, and its sum is small."""
        scale_n = self.scale_n(trial)
        within = trial.largest_n <= slack * self.settings.residual_tolerance * scale_n
        return within and self.imbalance_n(trial) <= LARGEST_IMBALANCE * scale_n

    def imbalance_n(self, trial: _Trial) -> float:
        """What the support forces and loads leave over in sum, N."""
        nodal = trial.residual[: 3 * self.structure.n_nodes].reshape(-1, 3)
        return float(np.linalg.norm(nodal.sum(axis=0) + _platen_forces(self.structure, trial.residual).sum(axis=0)))

    def scale_n(self, trial: _Trial) -> float:
        """The load that the residual is compared with, N."""
        return max(_load_scale(self.structure, trial.internal, self.load), self.settings.minimum_load_n)


def solve_equilibrium(
    structure: Structure,
    state: State,
    load: Load,
    solver: LinearSolver,
    settings: NewtonSettings | None = None,
    dt_s: float = 0.0,
    cycles: float = 0.0,
    known: Evaluation | None = None,
    guess: Array | None = None,
) -> Equilibrium:
    """Find the state in which internal forces balance ``load``.

    Parameters
    ----------
    structure, state, load
        What, from where, to what.
    solver
        Linear solver; it may keep factorisations between calls.
    dt_s, cycles
        Time under load and load cycles since ``state`` (creep, fatigue).
    known
        Evaluation of the equilibrium that ``state`` was committed from. Its tangent knows which points are yielding, so
        it predicts a step that loads further; leave it out where the path turns or time passes.
    guess
        Expected change of q (N,), from which the search begins if it can be evaluated; then ``known`` is not needed.

    Raises
    ------
    ConvergenceError
        No equilibrium within the settings, or a cell inverted or a law failed; carries the residual history.
    """
    problem = _Problem(structure, load, solver, settings or NewtonSettings(), dt_s, cycles)
    trial, pending = _first_trial(problem, state, known, guess)
    damping, elastic, record, stalled, rejected = 0.0, None, list[float](), False, 0
    for _ in range(2 * problem.settings.max_iterations):
        try:
            step = _newton_step(problem, trial, pending, damping, elastic, last_resort=stalled)
            # the first step carries the new load: its residual says nothing about the step's worth
            share, moved = _search(problem, trial, step) if record else (1.0, problem.after(trial, step))
        except Stalled:  # as a rule for a tangent that misleads; should damping not help, the direct solver will
            stalled, share, moved = True, 0.0, None
        except ConvergenceError as error:
            raise _failed(structure, trial, record, f"a Newton step cannot be solved for: {error}") from error
        if moved is None:
            rejected += 1
            damping = max(_STIFFER * damping, _DAMPING)
            elastic = structure.elastic_stiffness(state) if elastic is None else elastic
            if damping > _STIFFEST:
                break
            continue
        trial, pending = moved, np.zeros(structure.size)
        if share == 1.0:
            damping = _lighter(damping, rejected)
        record.append(trial.largest_n)
        slack = problem.settings.slack if _stagnant(record, _LITTLE_PATIENCE) else 1.0
        if problem.balanced(trial, slack):
            return _accepted(problem, trial, record)
        if len(record) == problem.settings.max_iterations or _stagnant(record, problem.settings.patience):
            break
    advice = "Try smaller steps (solver.min_step), more iterations or a finer mesh there."
    raise _failed(structure, trial, record, advice)


def held_load(structure: Structure, state: State, load: Load) -> Load:
    """``load`` with the forces and cavity volumes that ``state`` has in place of its own: what keeps it as it is.

    Raises
    ------
    ConvergenceError
        The state cannot be evaluated.
    """
    evaluation = structure.evaluate(state, tension_n=load.tension_n)
    if evaluation is None:
        raise ConvergenceError("the starting state of a step cannot be evaluated")
    internal = reactions(structure, evaluation, state)
    force = np.where(load.fixed | structure.rigid_dofs, load.force, internal)
    force[structure.size - len(structure.cavities) :] = 0.0
    return replace(load, force=force, volume_mm3=evaluation.volume_mm3)


def _first_trial(
    problem: _Problem, state: State, known: Evaluation | None, guess: Array | None
) -> tuple[_Trial, Array]:
    """Where the search begins, and the prescribed motion (N,) that is still to come."""
    structure, load = problem.structure, problem.load
    pending = np.where(load.fixed & ~structure.rigid_dofs, load.value - structure.coordinates(state), 0.0)
    if guess is not None:
        moved = structure.moved(state, np.where(load.fixed & ~structure.rigid_dofs, pending, guess))
        trial = problem.at(moved, problem.evaluation(moved))
        if trial is not None:
            return trial, np.zeros(structure.size)
    trial = problem.at(state, problem.evaluation(state, known))
    if trial is None:
        raise ConvergenceError("the starting state of a step cannot be evaluated")
    return trial, pending


def _lighter(damping: float, rejected: int) -> float:
    """The damping after a whole step."""
    if rejected >= _OFTEN:
        return damping * _GENTLER
    return damping * _LIGHTER if damping > _LIGHTEST else 0.0


def _stagnant(record: list[float], patience: int) -> bool:
    """Whether so many iterations have passed without halving the residual."""
    return len(record) > patience and min(record[-patience:]) > 0.5 * min(record[:-patience])


def _system(structure: Structure, trial: _Trial, active: NDArray[np.bool_]) -> BorderedMatrix | sp.csr_array:
    """Tangent on the active unknowns, bordered by cavity pressures; with ties, one sparse matrix."""
    if structure.ties is not None:
        return tied_matrix(structure, active, trial.state, trial.evaluation)
    key = active.tobytes()
    if key not in structure.systems:
        structure.systems[key] = build_system(structure, active, trial.evaluation.stiffness, trial.state)
    system: System = structure.systems[key]
    return system.matrix(structure, trial.state, trial.evaluation)


def _newton_step(
    problem: _Problem,
    trial: _Trial,
    pending: Array,
    damping: float,
    elastic: sp.csr_array | None,
    last_resort: bool,
) -> Array:
    """Step in q (N,) for the residual and the pending prescribed motion, with ``damping`` times ``elastic`` added."""
    structure, active = problem.structure, problem.active
    if elastic is not None and damping > 0.0:
        stiffness = trial.evaluation.stiffness.copy()
        stiffness.data += damping * elastic.data  # one pattern
        trial = replace(trial, evaluation=replace(trial.evaluation, late_stiffness=Late(lambda: stiffness)))
    n_motion = structure.size - len(structure.cavities)
    matrix = _system(structure, trial, active)
    rhs = trial.residual[active]
    if np.any(pending):
        evaluation, slopes = trial.evaluation, structure.motion_map(trial.state.motion)
        nodal = slopes @ pending[:n_motion]
        force = evaluation.pushed(nodal) - evaluation.volume_slope @ pending[n_motion:]
        n_keep = int(np.count_nonzero(active[:n_motion]))
        rhs[:n_keep] -= (slopes.T @ force)[active[:n_motion]]
        rhs[n_keep:] += (evaluation.volume_slope.T @ nodal)[active[n_motion:]]
    step = pending.copy()
    if rhs.size:
        accuracy = problem.settings.linear_tolerance, problem.settings.loosest_linear_tolerance
        step[active] = problem.solver.solve(matrix, rhs, *accuracy, last_resort)
    return step


def _search(problem: _Problem, trial: _Trial, step: Array) -> tuple[float, _Trial | None]:
    """The largest share of a step that is worth taking, with what it leads to; None if no share is.

    Worth taking: the residual has worked forward along the step and does not push back nearly as hard at its end, so
    that a potential has fallen (cavity equations, which constrain and do no work, left out); or the residual itself
    has shrunk.
    """
    moving = problem.active.copy()
    moving[problem.structure.size - len(problem.structure.cavities) :] = False
    work = float(trial.residual[moving] @ step[moving])
    inverted, turning = False, _SMALL
    for tried in _SHARES:
        if tried < _SMALL and not inverted:
            break
        if tried == _SMALL and turning < _CREEPING:
            continue
        share = turning if tried == _SMALL else tried
        moved = problem.after(trial, share * step)
        inverted = moved is None
        if moved is None:
            continue
        left = float(moved.residual[moving] @ step[moving])
        if (work > 0.0 and left > -_OVERSHOOT * work) or moved.norm < 0.9 * trial.norm or problem.balanced(moved):
            return share, moved
        if work > 0.0:
            turning = work / (work - left)  # where the residual would work no more along the step, were it linear
    return 0.0, None


def _platen_forces(structure: Structure, generalised: Array) -> Array:
    """(p, 3) forces on the platens among generalised ones (N,)."""
    n = 3 * structure.n_nodes
    return generalised[n : n + 6 * len(structure.platens)].reshape(-1, 6)[:, :3]


def _load_scale(structure: Structure, internal: Array, load: Load) -> float:
    """The load in newtons: the largest platen force or tension, or half the sum of all support forces and loads."""
    n = 3 * structure.n_nodes
    largest = float(np.max(np.linalg.norm(_platen_forces(structure, internal), axis=1), initial=0.0))
    support = np.abs(internal[:n][load.fixed[:n]]).sum() + np.abs(load.force[:n]).sum()
    return max(largest, 0.5 * float(support), float(np.max(np.abs(load.tension_n), initial=0.0)))


def _accepted(problem: _Problem, trial: _Trial, record: list[float]) -> Equilibrium:
    balance = problem.imbalance_n(trial) / problem.scale_n(trial)
    state = replace(trial.state, history=trial.evaluation.response.state)
    return Equilibrium(state, trial.evaluation, trial.internal, tuple(record), balance)


def _failed(structure: Structure, trial: _Trial, record: list[float], advice: str) -> ConvergenceError:
    """Where the largest out-of-balance force is, how the residual went, and what may help."""
    worst = int(np.argmax(np.abs(trial.residual)))
    node = worst // 3 if worst < 3 * structure.n_nodes else None
    place = "a platen or a cavity" if node is None else f"point {node}"
    tail = ", ".join(f"{r:.3g}" for r in record[-4:]) or "none (a cell inverted, a law failed, or no step was found)"
    return ConvergenceError(
        f"no equilibrium after {len(record)} iterations: largest out-of-balance force {trial.largest_n:.3g} N at "
        f"{place}. Residuals (N): {tail}. {advice[0].upper()}{advice[1:]}",
        tuple(record),
        node,
    )
