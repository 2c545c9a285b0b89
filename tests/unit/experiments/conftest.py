"""One coarse kyphoplasty, run once and shared; and benches taken from its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kyphos.experiments import Result, load_result, read_study
from kyphos.experiments.bench import Bench, Controls
from kyphos.experiments.checkpoint import unpack
from kyphos.experiments.plan import Stage
from kyphos.experiments.run import run_study, specimen_bench
from kyphos.experiments.specimen import build_mesh
from kyphos.experiments.stages import Ended, Solved, run_stage
from kyphos.experiments.work import controls_of

COARSE = (
    "mesh.element_size_mm=5",
    "solver.threads=1",
    "solver.initial_step=0.5",
    "fracture.hold_s=60",
    "fracture.recovery_s=1800",  # what springs back has done so
    "solver.residual_tolerance=1e-6",
    "procedure.balloon_volume_ml=2",
    "cement.volume_ml=3.5",  # so that bone, not a column of cement, carries the cycles
    "test.strength_strain=0.02",
    "cycling.0.count=50",
    "output.pictures=false",
)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """Results of the built-in kyphoplasty on a parametric L1, as coarse as can be."""
    folder = tmp_path_factory.mktemp("kyphoplasty") / "run"
    run_study(read_study("kyphoplasty-pmma-L1", COARSE), folder)
    return folder


@pytest.fixture(scope="session")
def result(run_folder) -> Result:
    return load_result(run_folder)


@pytest.fixture(scope="session")
def untouched(result) -> Bench:
    """The specimen of the coarse run before anything was done to it."""
    return specimen_bench(build_mesh(result.spec))


@pytest.fixture(scope="session")
def controls(result) -> Controls:
    return controls_of(result.spec.solver)


@pytest.fixture(scope="session")
def bench_after(run_folder, untouched) -> Callable[[str], Bench]:
    """Return the bench at the end of a stage of the coarse run."""

    def bench_after(stage: str) -> Bench:
        (path,) = (run_folder / "checkpoints").glob(f"*-{stage}.npz")
        arrays, meta = read_checkpoint(path)
        return unpack(arrays, meta, untouched)

    return bench_after


@pytest.fixture(scope="session")
def walk(controls) -> Callable[[Stage, Bench], tuple[list[Solved], Ended]]:
    """Walk one stage; return its equilibria and its end."""
    return lambda stage, bench: _walked(stage, bench, controls)


@pytest.fixture(scope="module")
def ended(work) -> Callable[[Stage, Bench], Ended]:
    """Walk one stage as the module's own ``work`` would; return its end."""
    return lambda stage, bench: _walked(stage, bench, work._controls)[1]


def _walked(stage: Stage, bench: Bench, controls: Controls) -> tuple[list[Solved], Ended]:
    running, solved = run_stage(stage, bench, controls), []
    while True:
        try:
            solved.append(next(running))
        except StopIteration as stop:
            return solved, stop.value


def read_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays of a saved bench and its names."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("__meta__")))["meta"]["bench"]
