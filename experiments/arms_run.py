"""Run a comparison: what its arms have in common once, then each arm from there, several at a time.

A folder of a comparison holds ``case.toml`` and ``manifest.json`` of the whole, ``shared`` (the run of the common
stages), a folder for each arm, the same as that of a run of its own, and ``specimens/01`` ... of a population.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from kyphos.errors import ConvergenceError, DataError

from .arms import SHARED, ArmsStudy, on_specimen, shared_count, to_toml, with_threads
from .pool import side_by_side
from .population import Individual, Population
from .progress import Reporter, SilentReporter
from .run import run_study
from .spec import StudySpec
from .store import branch_run, git_commit, installed_versions, json_bytes, replace_file, run_status

SPECIMENS = "specimens"
DENSITY_CV = 0.36
"""Scatter of vBMD between the specimens of a population, over its mean: 28.7 of 80.2 mg/cm3 (evidence E09)."""
_SETTLED = ("done", "failed")


@dataclass(frozen=True)
class Chain:
    """Arms with more stages in common with each other than with the rest; run one after the other in ``folder``."""

    arms: tuple[StudySpec, ...]
    folder: Path


@dataclass(frozen=True)
class Ran:
    """How the run of an arm ended: its status, why it failed, the time that it took beyond the shared stages, s."""

    arm: str
    status: str
    message: str = ""
    wall_s: float = 0.0


def run_arms(
    study: ArmsStudy,
    out: Path,
    *,
    resume: bool = False,
    processes: int = 2,
    population: int = 0,
    reporter: Reporter | None = None,
) -> tuple[Ran, ...]:
    """Run all arms, and then those of a population; write everything but comparison and pictures.

    Parameters
    ----------
    study
        The comparison.
    out
        Its folder; absent or empty, or (to resume) that of the same comparison.
    resume
        Go on with what is not finished.
    processes
        Arms, or specimens of the population, at a time; threads of the machine are shared among them.
    population
        Number of specimens that scatter in density and size about the study's; 0: none.
    reporter
        Told of stages and arms.

    Returns
    -------
    How each arm ended on the study's own specimen. An arm that finds no equilibrium does not stop the others.

    Raises
    ------
    ConvergenceError
        The common stages found no equilibrium.
    InputError
        Bad study, data or folder.
    """
    listener = reporter or SilentReporter()
    _open_folder(out, resume)
    people = population_of(study, population)
    with _session(study, out, len(people)):
        replace_file(out / "case.toml", to_toml(study).encode())
        ran = _run_specimen(study, out, processes, listener)
        if people:
            _run_population(study, out, people, processes, listener)
    return ran


def population_of(study: ArmsStudy, count: int) -> tuple[Individual, ...]:
    """Seeded specimens about the one of a study; none for a count of 0.

    Raises
    ------
    StudyError
        The study's specimen is a scan, or the count is negative.
    """
    if count == 0:
        return ()
    specimen = study.first.specimen
    on_specimen(study, Individual("probe"))  # refuses a scan
    assert specimen.vbmd_mg_per_cc is not None, "a specimen without scan has a density"
    mean = specimen.vbmd_mg_per_cc
    levels, sex = (specimen.treated,), specimen.sex or "female"
    return Population(mean, DENSITY_CV * mean, "E09", levels=levels, sexes=(sex,)).draw(count)


# --- one specimen --------------------------------------------------------------------------------------------------


def _run_specimen(study: ArmsStudy, out: Path, processes: int, listener: Reporter) -> tuple[Ran, ...]:
    """The common stages with all threads, then the arms."""
    _finish(study.shared, out / SHARED, listener)
    chains = chains_of(study, out)
    if processes < 2 or len(chains) < 2:
        ran = [_run_arm(arm, chain, listener) for chain in chains for arm in chain.arms]
    else:
        threaded = with_threads(study, max(1, (os.cpu_count() or 1) // processes))
        ran = []
        for _, several in side_by_side(_run_chain, chains_of(threaded, out), processes):
            for one in several:
                listener.message(f"  {one.arm:<28} {one.wall_s:6.1f} s  {one.message or one.status}")
            ran += several
    order = [arm.name for arm in study.arms]
    return tuple(sorted(ran, key=lambda one: order.index(one.arm)))


def chains_of(study: ArmsStudy, folder: Path) -> list[Chain]:
    """Arms by their first stage of their own: those that share it are one chain. The longest chains come first."""
    count = shared_count([arm.body_stages for arm in study.arms])

    def own(arm: StudySpec) -> str:
        return arm.body_stages[count].model_dump_json() if len(arm.body_stages) > count else ""

    groups = groupby(sorted(study.arms, key=own), own)
    chains = [Chain(tuple(arms), folder) for _, arms in groups]
    return sorted(chains, key=lambda chain: -sum(len(arm.stage) for arm in chain.arms))


def _run_chain(chain: Chain) -> list[Ran]:
    return [_run_arm(arm, chain, SilentReporter()) for arm in chain.arms]


def _run_arm(arm: StudySpec, chain: Chain, listener: Reporter) -> Ran:
    """Run one arm from the furthest state that another one has already reached."""
    folder, start = chain.folder / arm.name, time.perf_counter()
    if not run_status(folder, arm):
        branch_run(*_source(arm, chain), folder, arm)
    try:
        _finish(arm, folder, listener)
    except ConvergenceError as error:
        return Ran(arm.name, "failed", str(error), time.perf_counter() - start)
    return Ran(arm.name, "done", "", time.perf_counter() - start)


def _source(arm: StudySpec, chain: Chain) -> tuple[Path, int]:
    """The run to go on from, and the last of its stages that is the arm's too: an earlier arm, or the common stages."""
    earlier = chain.arms[: [other.name for other in chain.arms].index(arm.name)]
    found = []
    for other in earlier:
        kept = [
            int(file.stem.partition("-")[0]) for file in (chain.folder / other.name / "checkpoints").glob("*-*.npz")
        ]
        index = min(shared_count([arm.body_stages, other.body_stages]) - 1, max(kept, default=-1))
        found.append((index, chain.folder / other.name))
    shared = chain.folder / SHARED
    last = len(list((shared / "checkpoints").glob("*-*.npz"))) - 1
    index, folder = max([(last, shared), *found], key=lambda one: one[0])
    return folder, index


def _finish(spec: StudySpec, folder: Path, listener: Reporter) -> None:
    """Run a study to its end, from wherever its folder is."""
    if run_status(folder, spec) != "done":
        run_study(spec, folder, resume=True, reporter=listener)


# --- a population --------------------------------------------------------------------------------------------------


def _run_population(
    study: ArmsStudy, out: Path, people: Sequence[Individual], processes: int, listener: Reporter
) -> None:
    """All specimens, each on one thread; those that are settled are left as they are."""
    jobs = [(with_threads(on_specimen(study, one), 1), out / SPECIMENS / one.name) for one in people]
    for (specimen, folder), ran in side_by_side(_run_individual, jobs, processes):
        failed = [one.arm for one in ran if one.status != "done"]
        told = f"not carried: {', '.join(failed)}" if failed else "done"
        vbmd = specimen.first.specimen.vbmd_mg_per_cc
        taken = sum(one.wall_s for one in ran)
        listener.message(f"  specimen {folder.name:<8} vBMD {vbmd:5.1f} mg/cm3 {taken:6.1f} s  {told}")


def _run_individual(job: tuple[ArmsStudy, Path]) -> tuple[Ran, ...]:
    """One specimen through all arms; only numbers are kept of it."""
    study, folder = job
    if all(run_status(folder / arm.name, arm) in _SETTLED for arm in study.arms):
        return tuple(Ran(arm.name, run_status(folder / arm.name, arm)) for arm in study.arms)
    try:
        ran = _run_specimen(study, folder, 1, SilentReporter())
    except ConvergenceError as error:
        ran = tuple(Ran(arm.name, "failed", f"common stages: {error}") for arm in study.arms)
    for checkpoints in folder.glob("*/checkpoints"):
        shutil.rmtree(checkpoints)
    return ran


# --- the folder ----------------------------------------------------------------------------------------------------


def is_comparison(folder: Path) -> bool:
    """Whether a folder is that of a comparison."""
    return (folder / SHARED).is_dir() and (folder / "case.toml").is_file()


def _open_folder(out: Path, resume: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
    except OSError as error:
        raise DataError(f"{out}: cannot be used as a results folder: {error.strerror}; try another --out") from None
    if occupied and not resume:
        raise DataError(f"{out}: is not empty; go on with a comparison in it with --resume, or choose another --out")
    if occupied and not (out / "manifest.json").is_file():
        raise DataError(f"{out}: is not empty and no comparison of kyphos; choose another --out")


@contextmanager
def _session(study: ArmsStudy, out: Path, population: int) -> Iterator[None]:
    """Keep the manifest of the whole true to what happened."""
    facts: dict[str, Any] = {
        "study": study.name,
        "arms": [arm.name for arm in study.arms],
        "population": population,
        "status": "running",
        "message": "",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": installed_versions(),
        "commit": git_commit(),
    }
    start = time.perf_counter()

    def tell(status: str, message: str = "") -> None:
        facts.update(status=status, message=message, wall_s=time.perf_counter() - start)
        replace_file(out / "manifest.json", json_bytes(facts))

    tell("running")
    try:
        yield
    except KeyboardInterrupt:
        tell("interrupted")
        raise
    except BaseException as error:
        tell("failed", str(error))
        raise
    tell("done")
