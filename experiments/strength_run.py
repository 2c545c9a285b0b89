"""A study on the voxels of a CT, from its stages to a results folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kyphos import fem, meshes

from . import strength
from .plan import StiffnessStage, StrengthStage, VoxelStage
from .progress import Reporter, Step
from .result import Result, load_result
from .spec import StudySpec
from .specimen import mesh_facts, read_voxels
from .store import HistoryRow, Outcome, RunStore, open_run, outcome_entries
from .strength import Fields, Specimen
from .tables import Solver

Outcomes = dict[str, Outcome]


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


def run_voxel_study(spec: StudySpec, out: Path, listener: Reporter, *, resume: bool = False) -> Result:
    """Run all stages of a study on voxels; see ``kyphos.experiments.run.run_study``.

    Each stage starts from rest, so that a resumed run needs nothing from the stages before but their outcomes.
    """
    fem.use_threads(spec.solver.threads)
    for stage in spec.voxel_stages:
        strength.check_cards(stage)
    specimen = strength.mount(read_voxels(spec))
    mesh = meshes.voxel_mesh(specimen.image, specimen.filled, spec.specimen.treated)
    store = open_run(out, spec, resume=resume)
    with store.session():
        store.update_manifest(**mesh_facts(mesh), voxels=_voxel_facts(specimen))
        first, results = 0, strength.specimen_outcomes(specimen)
        kept = store.latest_checkpoint()
        if kept is not None:
            first = kept.index + 1
            results = kept.outcomes
        names = [stage.name for stage in spec.stage]
        listener.run_started(spec.name, names, names[first - 1] if first else None)
        for index in range(first, len(names)):
            results = _one_stage(index, spec, specimen, mesh, results, store, listener)
        results["wall_s"] = Outcome(store.wall_s, "s")
        store.write_outcomes(results)
    return load_result(out)


def _voxel_facts(specimen: Specimen) -> dict[str, Any]:
    left_out = int((specimen.image.labels > 0).sum() - specimen.filled.sum())
    return {"edge_mm": specimen.image.voxel_mm, "left_out": left_out}


def _one_stage(
    index: int,
    spec: StudySpec,
    specimen: Specimen,
    mesh: meshes.SegmentMesh,
    before: Outcomes,
    store: RunStore,
    listener: Reporter,
) -> Outcomes:
    stage = spec.voxel_stages[index]
    start = time.perf_counter()
    listener.stage_started(index, stage.name, stage.kind)
    tested = _test(specimen, stage, spec.solver)
    for row in tested.rows:
        store.append_history(row)
    listener.step(Step(1.0, load_n=tested.rows[-1].load_n))
    if tested.stopped is not None:
        listener.message(f"{stage.name}: the path ended early: {tested.stopped}")
        if f"strength_{stage.name}_n" not in tested.outcomes:
            raise tested.stopped
    results = before | tested.outcomes
    wall_s = time.perf_counter() - start
    if spec.output.fields:
        points, cells = tested.fields
        store.write_fields(index, stage.name, lambda path: meshes.write_vtu(path, mesh, points, cells, sidecar=False))
    store.write_outcomes(results)
    store.record_stage(index, stage.name, wall_s, equilibria=len(tested.rows), **tested.facts)
    store.save_checkpoint(index, stage.name, {}, {"outcomes": outcome_entries(results)})
    listener.stage_finished(stage.name, wall_s, tested.note)
    return results


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
