"""From a study to a results folder: walk the stages, measure, save, so that a kill loses one stage at most."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kyphos import fem, materials, meshes
from kyphos.errors import ConvergenceError, StudyError
from kyphos.units import MM3_PER_ML

from . import cementing
from . import outcomes as found
from .balloon import check_room
from .bench import Bench, mount, on_level
from .checkpoint import pack, unpack
from .coupon_run import CouponWork
from .fields import write_fields
from .next_fracture import fracture_facts, fracture_outcomes, fractures_of, watched
from .plan import CementStage, ReduceStage
from .progress import Reporter, SilentReporter, Step
from .result import Result, load_result
from .segment import boundary_condition, disc_blocks, load_case_conditions, segment_links
from .spec import StudySpec
from .specimen import bone_cards, build_mesh, disc_grades, mesh_facts, scanner_frame
from .stages import run_stage
from .store import Checkpoint, Outcome, RunStore, open_run, outcome_entries
from .strength_run import VoxelWork
from .work import Finished, Outcomes, Reached, Work, controls_of, rows_of, solver_facts

BENDING = (
    "shell",
    "superior_endplate",
    "inferior_endplate",
    "superior_cartilage",
    "inferior_cartilage",
)  # thin parts: enhanced strain


def run_study(spec: StudySpec, out: Path, *, resume: bool = False, reporter: Reporter | None = None) -> Result:
    """Run all stages of a study and save everything the results folder holds but the pictures.

    Parameters
    ----------
    spec
        A resolved study.
    out
        Results folder; see ``open_run`` for what is accepted.
    resume
        Go on after the last finished stage.
    reporter
        Told of every stage and step; default: silence.

    Raises
    ------
    ConvergenceError
        A stage found no equilibrium. All stages before it, and its history so far, are saved.
    InputError
        Bad study, data or folder.
    """
    with materials.constants_set(spec.constants):
        return _run(spec, out, reporter or SilentReporter(), resume)


def _run(spec: StudySpec, out: Path, listener: Reporter, resume: bool) -> Result:
    fem.use_threads(spec.solver.threads)
    work = _work_of(spec)
    store = open_run(out, spec, resume=resume)
    with store.session(), fem.tuned_process():
        store.update_manifest(**mesh_facts(work.mesh), **work.facts, constants=spec.constants)
        kept = store.latest_checkpoint()
        results, first = work.begin(kept), 0 if kept is None else kept.index + 1
        names = [stage.name for stage in spec.stage]
        listener.run_started(spec.name, names, names[first - 1] if first else None)
        for index in range(first, len(names)):
            try:
                results = _one_stage(index, spec, work, results, store, listener)
            except ConvergenceError as error:
                raise error.told(f"{error}{_whereabouts(error.node, work.mesh)}") from error
        results["wall_s"] = Outcome(store.wall_s, "s")
        store.write_outcomes(results)
    return load_result(out)


def _work_of(spec: StudySpec) -> Work:
    if spec.coupon is not None:
        return CouponWork(spec)
    return VoxelWork(spec) if spec.on_voxels else BodyWork(spec)


def _one_stage(
    index: int, spec: StudySpec, work: Work, before: Outcomes, store: RunStore, listener: Reporter
) -> Outcomes:
    """Walk one stage; everything about it is in the folder on return."""
    stage = spec.stage[index]
    start = time.perf_counter()
    listener.stage_started(index, stage.name, stage.kind)
    count, walk = 0, work.walk(index, before)
    while True:
        try:
            reached = next(walk)
        except StopIteration as stop:
            done: Finished = stop.value
            break
        count, row = count + 1, reached.row
        store.append_history(row)
        listener.step(Step(reached.share, row.load_n, row.cycle, row.iterations, row.residual_n))
    wall_s = time.perf_counter() - start
    if spec.output.fields:
        store.write_fields(index, stage.name, done.write_fields)
    if done.profiles:
        store.write_profiles(stage.name, [row for one in done.profiles for row in one.rows()])
    store.write_outcomes(done.outcomes)
    store.record_stage(index, stage.name, wall_s, equilibria=count, **done.facts)
    for message in done.messages:
        listener.message(f"{stage.name}: {message}")
    meta = {**done.meta, "outcomes": outcome_entries(done.outcomes)}
    store.save_checkpoint(index, stage.name, done.arrays, meta)
    listener.stage_finished(stage.name, wall_s, done.note)
    return done.outcomes


class BodyWork:
    """A meshed vertebral body on the bench."""

    def __init__(self, spec: StudySpec) -> None:
        self.mesh = build_mesh(spec)
        self._spec, self._bench = spec, replace(study_bench(spec, self.mesh), scanner=scanner_frame(spec))
        self._controls = controls_of(spec.solver)
        self.facts: dict[str, Any] = (
            {
                "adjacent": boundary_condition(spec.body_stages),
                "load_cases": load_case_conditions(spec.body_stages),
            }
            if spec.specimen.is_segment
            else {}
        )
        _check_volumes(spec, self._bench)
        cementing.check_requests(spec.body_stages, self._bench)

    def begin(self, kept: Checkpoint | None) -> Outcomes:
        """Start untouched, or as a checkpoint left the bench."""
        if kept is None:
            return {}
        self._bench = unpack(kept.arrays, kept.meta["bench"], self._bench)
        return kept.outcomes

    def walk(self, index: int, before: Outcomes) -> Generator[Reached, None, Finished]:
        """One stage of the procedure."""
        stage = self._spec.body_stages[index]
        start = on_level(self._bench, stage.level or self._spec.specimen.treated)
        past = self._controls.solver.record
        fractured, cycles = fractures_of(before)
        running = watched(run_stage(stage, start, self._controls), fractured, cycles)
        ended, fresh = yield from rows_of(stage.name, running)
        self._bench = bench = ended.bench
        results = found.after_stage(before, stage, ended, start) | fracture_outcomes(fresh, before)
        now = self._controls.solver.record
        facts = {**solver_facts(now, past), **ended.facts}
        if bench.neighbours:
            facts |= fracture_facts(bench, fresh, fractured)
        arrays, meta = pack(bench)
        return Finished(
            results,
            found.note(stage, results),
            lambda path: write_fields(path, bench),
            facts,
            arrays,
            {"bench": meta},
            now.notes[len(past.notes) :],
            ended.profiles,
        )


def _whereabouts(node: int | None, mesh: meshes.SegmentMesh) -> str:
    """Region and reference position of the point that a message names."""
    if node is None:
        return ""
    regions = sorted({mesh.region_names[i] for i in mesh.region[(mesh.cells == node).any(axis=1)]})
    x, y, z = mesh.points_mm[node]
    return f" Point {node} lies in {' and '.join(regions)}, at ({x:.1f}, {y:.1f}, {z:.1f}) mm in the mesh."


def study_bench(spec: StudySpec, mesh: meshes.SegmentMesh) -> Bench:
    """A study's specimen, as meshed, between the platens."""
    one = spec.specimen
    return specimen_bench(mesh, bone_cards(one), one.treated, disc_grades(one), one.posterior is not False)


def specimen_bench(
    mesh: meshes.SegmentMesh,
    cards: Mapping[str, str] | None = None,
    level: str = "",
    grades: Mapping[str, str] | None = None,
    posterior: bool = True,
) -> Bench:
    """Put a meshed specimen between the platens: its bone and, of a segment, its discs, ligaments and facets.

    ``cards`` as for ``materials.bone_field``; ``level`` is the treated one; ``grades`` of the discs, by name, default
    healthy; ``posterior`` as for `segment_links`.
    """
    formulation = np.full(len(mesh.cells), fem.FORMULATIONS["mean_dilatation"], dtype=np.int8)
    thin = np.array([name.rpartition(".")[2] in BENDING for name in mesh.region_names])
    formulation[thin[mesh.region]] = fem.FORMULATIONS["enhanced"]
    volume = fem.discretise(mesh.points_mm, mesh.cells).weight.sum(axis=1)
    share = {level: body.shell_share for level, body in mesh.bodies.items()}
    field = materials.bone_field(
        mesh.region_names,
        mesh.region,
        mesh.density_g_per_cc,
        np.cbrt(volume),
        shell_share=share,
        cards=cards,
        others=disc_blocks(mesh, grades or {}),
    )
    return mount(mesh, field, formulation, level, segment_links(mesh, posterior))


def _check_volumes(spec: StudySpec, bench: Bench) -> None:
    """More cement than a body holds, or balloons that have no room: refused before anything is solved."""
    held_ml: defaultdict[str, float] = defaultdict(float)
    for stage in spec.body_stages:
        there = on_level(bench, stage.level or bench.body.level)
        body_ml = there.body.volume_mm3 / MM3_PER_ML
        if isinstance(stage, CementStage):
            held_ml[there.body.level] += stage.volume_ml
            _check_cement(stage, held_ml[there.body.level], body_ml)
        if isinstance(stage, ReduceStage):
            check_room(stage, there)


def _check_cement(stage: CementStage, held_ml: float, body_ml: float) -> None:
    """Refuse a stage after which a body would hold more cement than it can take."""
    if held_ml > 0.8 * body_ml:
        earlier = "" if held_ml == stage.volume_ml else f" with what is in it already is {held_ml:g} mL, which"
        raise StudyError(
            f"stage {stage.name!r}: volume_ml = {stage.volume_ml:g}{earlier} is more cement than the body of "
            f"{body_ml:.1f} mL can take; allowed: up to {0.8 * body_ml:.1f} mL (80 % of it). "
            "Usual volumes are 2 to 8 mL."
        )
