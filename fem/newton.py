"""Equilibrium: Newton's method with line search on the out-of-balance forces, in newtons."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kyphos.errors import ConvergenceError

from .linear import LinearSolver
from .measure import reactions
from .structure import Evaluation, Load, State, Structure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NewtonSettings:
    """How an equilibrium is sought.

    Attributes
    ----------
    residual_tolerance
        Largest out-of-balance force (N) per newton of load.
    minimum_load_n
        The load counts as at least this, so that an unloaded state has a tolerance too.
    max_iterations
        Newton iterations before the step is given up.
    linear_tolerance
        Relative residual of each linear solve.
    line_search
        Smallest fraction of a Newton step that is tried.
    """

    residual_tolerance: float = 1e-5
    minimum_load_n: float = 10.0
    max_iterations: int = 20
    linear_tolerance: float = 1e-3
    line_search: float = 0.06


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
    largest_n: float


def solve_equilibrium(
    structure: Structure,
    state: State,
    load: Load,
    solver: LinearSolver,
    settings: NewtonSettings | None = None,
    dt_s: float = 0.0,
    cycles: float = 0.0,
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

    Raises
    ------
    ConvergenceError
        No equilibrium within the settings, or a cell inverted or a law failed; carries the residual history.
    """
    settings = settings or NewtonSettings()
    active = ~(load.fixed | structure.rigid_dofs)
    pending = np.where(load.fixed & ~structure.rigid_dofs, load.value - structure.coordinates(state), 0.0)
    trial = _try(structure, state, np.zeros(structure.size), load, active, dt_s, cycles)
    if trial is None:
        raise ConvergenceError("the starting state of a step cannot be evaluated")
    record: list[float] = []
    for _ in range(settings.max_iterations):
        step = _newton_step(structure, trial, pending, active, solver, settings)
        moved = _search(structure, trial, step, load, active, dt_s, cycles, settings, first=not record)
        if moved is None:
            break
        trial, pending = moved, np.zeros(structure.size)
        record.append(trial.largest_n)
        scale = max(_load_scale(structure, trial.internal, load), settings.minimum_load_n)
        if not np.isfinite(trial.largest_n) or trial.largest_n > 1e6 * scale:
            break
        if trial.largest_n <= settings.residual_tolerance * scale:
            return _accepted(structure, trial, record, scale)
    raise ConvergenceError(_failure(structure, trial, record), tuple(record))


def _try(
    structure: Structure,
    state: State,
    step: Array,
    load: Load,
    active: NDArray[np.bool_],
    dt_s: float,
    cycles: float,
) -> _Trial | None:
    moved = structure.moved(state, step)
    evaluation = structure.evaluate(moved, dt_s, cycles)
    if evaluation is None:
        return None
    internal = reactions(structure, evaluation, moved)
    residual = load.force - internal
    b = len(structure.cavities)
    if b:  # equation of a cavity: its volume, scaled to a force by a nominal 1 mm / 1 mm3
        residual[-b:] = evaluation.volume_mm3 - load.volume_mm3
    residual[~active] = 0.0
    return _Trial(moved, evaluation, internal, residual, float(np.max(np.abs(residual), initial=0.0)))


def _system(structure: Structure, trial: _Trial, active: NDArray[np.bool_]) -> tuple[sp.csr_array, sp.csr_array]:
    """Tangent on the active unknowns (bordered by cavity pressures) and the map from all of q to active rows."""
    n_motion = structure.size - len(structure.cavities)
    slopes = sp.csc_array(structure.motion_map(trial.state.motion))
    keep = np.flatnonzero(active[:n_motion])
    moving = sp.csr_array(slopes[:, keep])
    coupled = sp.csr_array(moving.T @ trial.evaluation.stiffness)
    matrix = sp.csr_array(coupled @ moving) + _rigid_block(structure, trial, active, keep)
    open_cavities = np.flatnonzero(active[n_motion:])
    if open_cavities.size:
        column = sp.csr_array(moving.T @ trial.evaluation.volume_slope[:, open_cavities])
        matrix = sp.csr_array(sp.block_array([[matrix, -column], [-column.T, None]]))
    return sp.csr_array(matrix), sp.csr_array(coupled @ slopes)


def _rigid_block(
    structure: Structure, trial: _Trial, active: NDArray[np.bool_], keep: NDArray[np.int64]
) -> sp.csr_array:
    """Geometric stiffness of platen rotations on the kept unknowns."""
    place = np.full(structure.size, -1)
    place[keep] = np.arange(keep.size)
    rows, columns, values = [], [], []
    blocks = structure.rigid_stiffness(trial.state.motion, trial.evaluation.force_n)
    for platen, block in zip(structure.platens, blocks, strict=True):
        start = structure.platen_slice(platen.name).start + 3
        for i in range(3):
            for j in range(3):
                if active[start + i] and active[start + j]:
                    rows.append(place[start + i])
                    columns.append(place[start + j])
                    values.append(block[i, j])
    return sp.csr_array(sp.coo_array((values, (rows, columns)), shape=(keep.size, keep.size)))


def _newton_step(
    structure: Structure,
    trial: _Trial,
    pending: Array,
    active: NDArray[np.bool_],
    solver: LinearSolver,
    settings: NewtonSettings,
) -> Array:
    """Step in q (N,) for the residual and the pending prescribed motion."""
    n_motion = structure.size - len(structure.cavities)
    matrix, coupling = _system(structure, trial, active)
    rhs = trial.residual[active]
    n_keep = int(np.count_nonzero(active[:n_motion]))
    rhs[:n_keep] -= coupling @ pending[:n_motion]
    rhs[n_keep:] += _volume_change(structure, trial, pending)[active[n_motion:]]
    fixed_pressure = pending[n_motion:]
    if np.any(fixed_pressure):
        slopes = sp.csc_array(structure.motion_map(trial.state.motion))
        rhs[:n_keep] += (slopes.T @ (trial.evaluation.volume_slope @ fixed_pressure))[active[:n_motion]]
    solution = solver.solve(matrix, rhs, rtol=settings.linear_tolerance) if rhs.size else rhs
    step = pending.copy()
    step[active] = solution
    return step


def _volume_change(structure: Structure, trial: _Trial, pending: Array) -> Array:
    """(b,) change of cavity volume by the pending prescribed motion."""
    if not structure.cavities:
        return np.zeros(0)
    n_motion = structure.size - len(structure.cavities)
    slopes = structure.motion_map(trial.state.motion)
    return np.asarray(trial.evaluation.volume_slope.T @ (slopes @ pending[:n_motion]))


def _search(
    structure: Structure,
    trial: _Trial,
    step: Array,
    load: Load,
    active: NDArray[np.bool_],
    dt_s: float,
    cycles: float,
    settings: NewtonSettings,
    first: bool,
) -> _Trial | None:
    """Backtrack until the residual falls; the first step carries the new load and is only kept from failing."""
    if first and (np.any(load.fixed) or structure.cavities):
        return _try(structure, trial.state, step, load, active, dt_s, cycles)
    share, best = 1.0, None
    start = float(np.linalg.norm(trial.residual))
    while share >= settings.line_search:
        moved = _try(structure, trial.state, share * step, load, active, dt_s, cycles)
        if moved is not None:
            norm = float(np.linalg.norm(moved.residual))
            if norm <= (1.0 - 1e-2 * share) * start:
                return moved
            if best is None or norm < float(np.linalg.norm(best.residual)):
                best = moved
        share *= 0.5
    return best


def _load_scale(structure: Structure, internal: Array, load: Load) -> float:
    """The load in newtons: the largest platen force, or half the sum of all support forces and loads."""
    n = 3 * structure.n_nodes
    platens = internal[n : n + 6 * len(structure.platens)].reshape(-1, 6)[:, :3]
    largest = float(np.max(np.linalg.norm(platens, axis=1), initial=0.0))
    support = np.abs(internal[:n][load.fixed[:n]]).sum() + np.abs(load.force[:n]).sum()
    return max(largest, 0.5 * float(support))


def _accepted(structure: Structure, trial: _Trial, record: list[float], scale: float) -> Equilibrium:
    n = 3 * structure.n_nodes
    nodal = trial.residual[:n].reshape(-1, 3).sum(axis=0)
    balance = float(np.linalg.norm(nodal)) / scale
    state = replace(trial.state, history=trial.evaluation.response.state)
    return Equilibrium(state, trial.evaluation, trial.internal, tuple(record), balance)


def _failure(structure: Structure, trial: _Trial, record: list[float]) -> str:
    worst = int(np.argmax(np.abs(trial.residual)))
    n = 3 * structure.n_nodes
    place = f"point {worst // 3}" if worst < n else "a platen or a cavity"
    tail = ", ".join(f"{r:.3g}" for r in record[-4:]) or "none (a cell inverted or a law failed)"
    return (
        f"no equilibrium after {len(record)} iterations: largest out-of-balance force {trial.largest_n:.3g} N at {place}. "
        f"Residuals (N): {tail}. Try smaller steps (solver.min_step), more iterations or a finer mesh there."
    )
