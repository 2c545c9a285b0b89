"""A study on the voxels of a CT: its stages, for the run that walks them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from kyphos import meshes

from . import strength
from .plan import StiffnessStage, StrengthStage, VoxelStage
from .spec import StudySpec
from .specimen import read_voxels
from .store import Checkpoint, HistoryRow
from .strength import Fields, Specimen
from .tables import Solver
from .work import Finished, Outcomes, Reached


@dataclass(frozen=True)
class Tested:
    """What a stage leaves: rows of history, outcomes, fields (points, cells), facts for the manifest, a few words.

    ``stopped`` is the error that ended a path before its end, if any.
    """

    rows: tuple[HistoryRow, ...]
    outcomes: Outcomes
    fields: tuple[Fields, Fields]
    facts: dict[str, Any]
    note: str
    stopped: Exception | None = None


class VoxelWork:
    """The voxels of a CT between its caps.

    Each stage starts from rest, so that a resumed run needs nothing from the stages before but their outcomes.
    """

    def __init__(self, spec: StudySpec) -> None:
        for stage in spec.voxel_stages:
            strength.check_cards(stage)
        self._spec = spec
        self._specimen = specimen = strength.mount(read_voxels(spec))
        self.mesh = meshes.voxel_mesh(specimen.image, specimen.filled, spec.specimen.treated)

    @property
    def facts(self) -> dict[str, Any]:
        """Edge of the voxels, and how many were left out."""
        image, filled = self._specimen.image, self._specimen.filled
        return {"voxels": {"edge_mm": image.voxel_mm, "left_out": int((image.labels > 0).sum() - filled.sum())}}

    def begin(self, kept: Checkpoint | None) -> Outcomes:
        """What the CT itself says, or what was found before."""
        return strength.specimen_outcomes(self._specimen) if kept is None else kept.outcomes

    def walk(self, index: int, before: Outcomes) -> Generator[Reached, None, Finished]:
        """One test; a path that broke off before its strength raises why."""
        stage = self._spec.voxel_stages[index]
        tested = _test(self._specimen, stage, self._spec.solver)
        for row in tested.rows:
            yield Reached(row, 1.0)
        messages = () if tested.stopped is None else (f"the path ended early: {tested.stopped}",)
        if tested.stopped is not None and f"strength_{stage.name}_n" not in tested.outcomes:
            raise tested.stopped
        mesh, (points, cells) = self.mesh, tested.fields
        return Finished(
            before | tested.outcomes,
            tested.note,
            lambda path: meshes.write_vtu(path, mesh, points, cells, sidecar=False),
            tested.facts,
            messages=messages,
        )


def _test(specimen: Specimen, stage: VoxelStage, solver: Solver) -> Tested:
    return _press(specimen, stage) if isinstance(stage, StiffnessStage) else _crush(specimen, stage, solver)


def _press(specimen: Specimen, stage: StiffnessStage) -> Tested:
    found = strength.press(specimen, stage)
    above, below = (float(found.reaction(name).force_n[2]) for name in (strength.UPPER, strength.LOWER))
    outcomes = strength.press_outcomes(specimen, stage, found)
    stiffness = outcomes[f"stiffness_{stage.name}_n_per_mm"].value
    row = HistoryRow(
        stage=stage.name,
        cycle=0,
        load_n=-above,
        displacement_mm=stage.displacement_mm,
        stiffness_n_per_mm=stiffness,
        iterations=found.iterations,
        balance=abs(above + below) / abs(above),
        wall_s=found.wall_s,
    )
    facts = {"linear_iterations": found.iterations, "residual": found.residuals[-1]}
    fields = strength.press_fields(specimen, stage, found)
    return Tested((row,), outcomes, fields, facts, f"stiffness {stiffness:.0f} N/mm")


def _crush(specimen: Specimen, stage: StrengthStage, solver: Solver) -> Tested:
    found = strength.crush(specimen, stage, solver)
    outcomes = strength.crush_outcomes(specimen, stage, found)
    path = found.path
    facts = {
        "newton_iterations": path.newton_iterations,
        "linear_iterations": path.linear_iterations,
        "residual": float(path.residuals.max()),
        "stopped": None if found.stopped is None else str(found.stopped),
    }
    reached = outcomes.get(f"strength_{stage.name}_n")
    end = found.approach_mm[-1] / specimen.image.body_height_mm
    note = f"no strength: the offset of {stage.offset_strain:.2%} is not reached by {end:.2%} strain; raise end_strain"
    if reached is not None:
        note = f"strength {reached.value:.0f} N"
    fields = strength.crush_fields(specimen, found)
    return Tested(tuple(_rows(stage.name, found)), outcomes, fields, facts, note, found.stopped)


def _rows(stage: str, found: strength.Crush) -> Iterator[HistoryRow]:
    """One row for each point of a path; its iterations are those of the whole path, in the manifest."""
    below = found.path.force_n(strength.LOWER)[:, 2]
    for load_n, approach_mm, held in zip(found.load_n, found.approach_mm, below, strict=True):
        yield HistoryRow(
            stage=stage,
            cycle=0,
            load_n=float(load_n),
            displacement_mm=float(approach_mm),
            stiffness_n_per_mm=float(load_n / approach_mm),
            balance=float(abs(held - load_n) / abs(load_n)),
        )
