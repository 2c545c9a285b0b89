"""What every kind of study has in common for the run that walks its stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kyphos import fem, meshes

from .bench import Controls
from .profiles import Profile
from .store import Arrays, Checkpoint, HistoryRow, Outcome
from .tables import Solver
from .walk import Solved

Outcomes = dict[str, Outcome]
End = TypeVar("End")


@dataclass(frozen=True)
class Reached:
    """One solved state on the way: its row of history, and the share of the stage that is behind it."""

    row: HistoryRow
    share: float


@dataclass(frozen=True)
class Finished:
    """What a stage leaves.

    Attributes
    ----------
    outcomes
        All of the run so far.
    note
        What the stage found, in a few words.
    write_fields
        Writes the fields at its end to a VTU file.
    facts
        For the manifest.
    arrays, meta
        For the checkpoint: all that the stages after it need.
    messages
        For the user.
    profiles
        Of stress along lines.
    """

    outcomes: Outcomes
    note: str
    write_fields: Callable[[Path], object]
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    profiles: tuple[Profile, ...] = ()


class Work(Protocol):
    """A specimen, and how the stages of a study act upon it, one after the other."""

    @property
    def mesh(self) -> meshes.SegmentMesh:
        """As meshed."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the manifest says besides the mesh."""

    def begin(self, kept: Checkpoint | None) -> Outcomes:
        """Start, or go on after a checkpoint; returns the outcomes so far."""

    def walk(self, index: int, before: Outcomes) -> Generator[Reached, None, Finished]:
        """Do one stage; what was yielded stands, whatever happens then."""


def controls_of(solver: Solver) -> Controls:
    """Linear solver and step control as a study asks for them."""
    newton = fem.NewtonSettings(
        residual_tolerance=solver.residual_tolerance,
        minimum_load_n=solver.residual_floor_n / solver.residual_tolerance,
        max_iterations=solver.max_iterations,
    )
    march = fem.MarchSettings(first=solver.initial_step, smallest=solver.min_step, newton=newton)
    return Controls(fem.AutomaticSolver(), march)


def rows_of(stage: str, running: Generator[Solved, None, End]) -> Generator[Reached, None, End]:
    """Exhaust a stage's equilibria as rows of history; returns its end."""
    clock = time.perf_counter()
    while True:
        try:
            solved = next(running)
        except StopIteration as stop:
            ended: End = stop.value
            return ended
        row = row_of(stage, solved)
        yield Reached(replace(row, wall_s=time.perf_counter() - clock), min(solved.share, 1.0))
        clock = time.perf_counter()


def row_of(stage: str, solved: Solved) -> HistoryRow:
    """An equilibrium as a row of history."""
    heights = solved.bench.heights_mm()
    equilibrium = solved.equilibrium
    return HistoryRow(
        stage=stage,
        cycle=solved.cycle,
        load_n=solved.load_n,
        displacement_mm=solved.bench.approach_mm,
        height_anterior_mm=heights.get("anterior", nan),
        height_middle_mm=heights.get("middle", nan),
        height_posterior_mm=heights.get("posterior", nan),
        stiffness_n_per_mm=solved.stiffness_n_per_mm,
        pressure_mpa=solved.pressure_mpa,
        volume_ml=solved.volume_ml,
        iterations=equilibrium.iterations,
        residual_n=equilibrium.residuals_n[-1],
        balance=equilibrium.balance,
        time_s=solved.time_s,
    )


def solver_facts(now: fem.SolverRecord, before: fem.SolverRecord) -> dict[str, Any]:
    """What a stage's linear solver, reset at its beginning, has done, for the manifest."""
    return {
        "linear_solves": now.solves - before.solves,
        "factorisations": now.factorisations - before.factorisations,
        "krylov_iterations": now.krylov_iterations - before.krylov_iterations,
        "most_krylov_iterations": now.most_iterations,
    }
