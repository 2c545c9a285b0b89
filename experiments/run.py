"""From a study to a results folder: walk the stages, measure, save, so that a kill loses one stage at most."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from kyphos import fem, materials, meshes
from kyphos.errors import ConvergenceError, StudyError
from kyphos.units import MM3_PER_ML

from . import outcomes as found
from .bench import Bench, Controls, mount
from .checkpoint import pack, unpack
from .fields import write_fields
from .plan import CementStage, ReduceStage, Stage
from .progress import Reporter, SilentReporter, Step
from .result import Result, load_result
from .spec import StudySpec
from .specimen import bone_cards, build_mesh, mesh_facts
from .stages import SEED_ML, Ended, Solved, run_stage
from .store import HistoryRow, Outcome, RunStore, open_run, outcome_entries
from .strength_run import run_voxel_study
from .tables import Solver

BENDING = ("shell", "superior_endplate", "inferior_endplate")  # thin parts: enhanced strain


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
    if spec.on_voxels:
        return run_voxel_study(spec, out, listener, resume=resume)
    fem.use_threads(spec.solver.threads)
    mesh = build_mesh(spec)
    bench = specimen_bench(mesh, bone_cards(spec.specimen))
    _check_volumes(spec, bench)
    store = open_run(out, spec, resume=resume)
    with store.session(), fem.tuned_process():
        store.update_manifest(**mesh_facts(mesh), constants=spec.constants)
        first, results = 0, dict[str, Outcome]()
        kept = store.latest_checkpoint()
        if kept is not None:
            bench, first = unpack(kept.arrays, kept.meta["bench"], bench), kept.index + 1
            results = kept.outcomes
        names = [stage.name for stage in spec.stage]
        listener.run_started(spec.name, names, names[first - 1] if first else None)
        controls = _controls(spec.solver)
        for index in range(first, len(spec.stage)):
            try:
                bench, results = _one_stage(index, spec, bench, results, controls, store, listener)
            except ConvergenceError as error:
                raise error.told(f"{error}{_whereabouts(error.node, mesh)}") from error
        results["wall_s"] = Outcome(store.wall_s, "s")
        store.write_outcomes(results)
    return load_result(out)


def _whereabouts(node: int | None, mesh: meshes.SegmentMesh) -> str:
    """Region and reference position of the point that a message names."""
    if node is None:
        return ""
    regions = sorted({mesh.region_names[i] for i in mesh.region[(mesh.cells == node).any(axis=1)]})
    x, y, z = mesh.points_mm[node]
    return f" Point {node} lies in {' and '.join(regions)}, at ({x:.1f}, {y:.1f}, {z:.1f}) mm in the mesh."


def specimen_bench(mesh: meshes.SegmentMesh, cards: Mapping[str, str] | None = None) -> Bench:
    """Put a meshed specimen with its bone between the platens; ``cards`` as for ``materials.bone_field``."""
    formulation = np.full(len(mesh.cells), fem.FORMULATIONS["mean_dilatation"], dtype=np.int8)
    thin = np.array([name.rpartition(".")[2] in BENDING for name in mesh.region_names])
    formulation[thin[mesh.region]] = fem.FORMULATIONS["enhanced"]
    volume = fem.discretise(mesh.points_mm, mesh.cells).weight.sum(axis=1)
    share = {level: body.shell_share for level, body in mesh.bodies.items()}
    field = materials.bone_field(
        mesh.region_names, mesh.region, mesh.density_g_per_cc, np.cbrt(volume), shell_share=share, cards=cards
    )
    return mount(mesh, field, formulation)


def _controls(solver: Solver) -> Controls:
    newton = fem.NewtonSettings(
        residual_tolerance=solver.residual_tolerance,
        minimum_load_n=solver.residual_floor_n / solver.residual_tolerance,
        max_iterations=solver.max_iterations,
    )
    march = fem.MarchSettings(first=solver.initial_step, smallest=solver.min_step, newton=newton)
    return Controls(fem.AutomaticSolver(), march)


def _check_volumes(spec: StudySpec, bench: Bench) -> None:
    """More cement than the body holds, or balloons smaller than empty ones: refused before anything is solved."""
    body_ml = bench.body.volume_mm3 / MM3_PER_ML
    for stage in spec.body_stages:
        if isinstance(stage, CementStage) and stage.volume_ml > 0.8 * body_ml:
            raise StudyError(
                f"stage {stage.name!r}: volume_ml = {stage.volume_ml:g} is more cement than the body of "
                f"{body_ml:.1f} mL can take; allowed: up to {0.8 * body_ml:.1f} mL (80 % of it). "
                "Usual volumes are 2 to 8 mL."
            )
        if isinstance(stage, ReduceStage) and stage.balloon_volume_ml < SEED_ML:
            raise StudyError(
                f"stage {stage.name!r}: balloon_volume_ml = {stage.balloon_volume_ml:g} is less than the deflated "
                f"balloon with its channel; allowed: from {SEED_ML:g} mL. Usual volumes are 2 to 4 mL each."
            )


def _one_stage(
    index: int,
    spec: StudySpec,
    bench: Bench,
    results: dict[str, Outcome],
    controls: Controls,
    store: RunStore,
    listener: Reporter,
) -> tuple[Bench, dict[str, Outcome]]:
    stage = spec.body_stages[index]
    start, solves = time.perf_counter(), controls.solver.record
    listener.stage_started(index, stage.name, stage.kind)
    ended, equilibria = _walk(stage, bench, controls, store, listener)
    results = found.after_stage(results, stage, ended, bench)
    wall_s = time.perf_counter() - start
    if spec.output.fields:
        store.write_fields(index, stage.name, lambda path: write_fields(path, ended.bench))
    store.write_outcomes(results)
    now = controls.solver.record
    store.record_stage(
        index,
        stage.name,
        wall_s,
        equilibria=equilibria,
        linear_solves=now.solves - solves.solves,
        factorisations=now.factorisations - solves.factorisations,
    )
    for note in now.notes[len(solves.notes) :]:
        listener.message(f"{stage.name}: {note}")
    arrays, meta = pack(ended.bench)
    store.save_checkpoint(index, stage.name, arrays, {"bench": meta, "outcomes": outcome_entries(results)})
    listener.stage_finished(stage.name, wall_s, found.note(stage, results))
    return ended.bench, results


def _walk(stage: Stage, bench: Bench, controls: Controls, store: RunStore, listener: Reporter) -> tuple[Ended, int]:
    """Exhaust a stage's equilibria into the history; returns its end and their number."""
    running = run_stage(stage, bench, controls)
    count, clock = 0, time.perf_counter()
    while True:
        try:
            solved = next(running)
        except StopIteration as stop:
            return stop.value, count
        count += 1
        row = _row(stage.name, solved)
        store.append_history(replace(row, wall_s=time.perf_counter() - clock))
        clock = time.perf_counter()
        listener.step(Step(min(solved.share, 1.0), solved.load_n, solved.cycle, row.iterations, row.residual_n))


def _row(stage: str, solved: Solved) -> HistoryRow:
    heights = solved.bench.heights_mm()
    equilibrium = solved.equilibrium
    return HistoryRow(
        stage=stage,
        cycle=solved.cycle,
        load_n=solved.load_n,
        displacement_mm=solved.bench.approach_mm,
        height_anterior_mm=heights["anterior"],
        height_middle_mm=heights["middle"],
        height_posterior_mm=heights["posterior"],
        stiffness_n_per_mm=solved.stiffness_n_per_mm,
        pressure_mpa=solved.pressure_mpa,
        volume_ml=solved.volume_ml,
        iterations=equilibrium.iterations,
        residual_n=equilibrium.residuals_n[-1],
        balance=equilibrium.balance,
    )
