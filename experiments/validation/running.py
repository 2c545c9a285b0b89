"""Run protocols on populations: in two processes if wished, and kept, so that a stopped book goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import numpy as np

from kyphos import materials, meshes
from kyphos.errors import KyphosError
from kyphos.experiments import load_result, read_study, study_hash
from kyphos.experiments.run import run_study

from ..pool import side_by_side
from ..population import Individual, specimen_settings
from .protocols import Arm, Curve, Observables, Protocol, find_protocol

Constants = Mapping[str, Mapping[str, float]]
Tell = Callable[[str], None]

_HOW = ("solver.threads=1", "output.pictures=false", "output.fields=false")
_SOURCES = ("fem", "meshes", "materials", "experiments")
_WITHOUT_EFFECT = {"rows.toml", "rows.py", "evidence.py", "judge.py", "book.py", "derived.py"}


@dataclass(frozen=True)
class Resolution:
    """How finely and on how many: element size of the vertebrae, and which of a protocol's two counts."""

    name: str
    element_size_mm: float

    def count(self, protocol: Protocol) -> int:
        """Specimens of a protocol."""
        return protocol.quick if self.name == "quick" else protocol.full


RESOLUTIONS = {"quick": Resolution("quick", 4.0), "full": Resolution("full", 3.0)}


@dataclass(frozen=True)
class ArmResult:
    """What one arm found on one specimen: numbers and curves, or why there are none; processor time taken, s."""

    arm: str
    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    error: str = ""
    computing_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """One specimen through all arms of a protocol; its runs are kept in ``folder``."""

    protocol: Protocol
    individual: Individual
    resolution: Resolution
    constants: Constants
    folder: Path


def run_protocol(
    protocol: Protocol | str,
    individuals: Sequence[Individual] | None = None,
    resolution: Resolution | str = "quick",
    *,
    constants: Constants | None = None,
    folder: Path | None = None,
    workers: int = 1,
    tell: Tell | None = None,
) -> Observables:
    """Run a protocol.

    Parameters
    ----------
    protocol
        One of ``PROTOCOLS``, or its name.
    individuals
        Specimens; default: as many of its population as the resolution says.
    constants
        Card -> constant -> value, in place of the cards' values.
    folder
        Where finished specimens are kept, and found again if study, constants and code are the same.
        Default: nothing is kept.
    workers
        Processes; each computes on one thread.
    tell
        Told a line for each finished specimen.

    Returns
    -------
    All observables. A specimen that finds no equilibrium is listed in ``failures``, its observables are NaN.
    """
    chosen = find_protocol(protocol) if isinstance(protocol, str) else protocol
    how = RESOLUTIONS[resolution] if isinstance(resolution, str) else resolution
    who = tuple(individuals) if individuals is not None else chosen.population.draw(how.count(chosen))
    with _folder(folder) as place:
        jobs = [Job(chosen, one, how, dict(constants or {}), place / chosen.name) for one in who]
        results = {job.individual.name: arms for job, arms in run_jobs(jobs, workers, tell)}
    return gather(chosen, who, [results[job.individual.name] for job in jobs])


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="kyphos-") as made:
        yield Path(made)


def run_jobs(jobs: Sequence[Job], workers: int, tell: Tell | None) -> Iterator[tuple[Job, list[ArmResult]]]:
    """Run specimens, in this process or in several; yields each with its arms as it finishes."""
    for job, arms in side_by_side(run_job, jobs, workers):
        yield _told(job, arms, tell)


def _told(job: Job, arms: list[ArmResult], tell: Tell | None) -> tuple[Job, list[ArmResult]]:
    if tell is not None:
        failed = "; ".join(arm.error for arm in arms if arm.error)
        took = sum(arm.computing_s for arm in arms)
        tell(f"{job.protocol.name:<24} specimen {job.individual.name:<8} {took:6.1f} s  {failed[:160]}".rstrip())
    return job, arms


def run_job(job: Job) -> list[ArmResult]:
    """One specimen through all arms; an arm that fails leaves its message and the others run."""
    results: list[ArmResult] = []
    known: dict[str, float] = {}
    for arm in job.protocol.arms:
        failed = next((done.error for done in results if done.arm == arm.needs and done.error), "")
        result = ArmResult(arm.name, error=f"not begun: {failed}") if failed else _one_arm(job, arm, known)
        results.append(result)
        known |= {_full_name(arm.name, name): value for name, value in result.values.items()}
    return results


def _one_arm(job: Job, arm: Arm, known: Mapping[str, float]) -> ArmResult:
    folder = job.folder / job.individual.name / (arm.name or "run")
    settings = _settings(job, arm, known)
    stamp = _stamp(job, arm, settings)
    kept = _read_kept(folder, stamp)
    if kept is not None:
        return kept
    rmtree(folder, ignore_errors=True)
    start = time.process_time()
    try:
        found = _computed(job, arm) if arm.compute else _studied(arm, settings, folder)
    except KyphosError as error:
        found = ArmResult(arm.name, error=str(error))
    found = replace(found, computing_s=time.process_time() - start)
    rmtree(folder / "checkpoints", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "found.json").write_text(json.dumps({"stamp": stamp, **asdict(found)}, indent=1) + "\n")
    return found


def _computed(job: Job, arm: Arm) -> ArmResult:
    assert arm.compute is not None
    with materials.constants_set(job.constants):
        return ArmResult(arm.name, arm.compute(job.individual, job.resolution.element_size_mm))


def _studied(arm: Arm, settings: tuple[str, ...], folder: Path) -> ArmResult:
    run_study(read_study(arm.study, settings), folder)
    result = load_result(folder)
    return ArmResult(arm.name, arm.observe(result), dict(arm.curves(result)))


def _settings(job: Job, arm: Arm, known: Mapping[str, float]) -> tuple[str, ...]:
    """Overrides that make the built-in study one of this specimen."""
    if arm.compute:
        return ()
    adapted = arm.adapt(job.individual, known) if arm.adapt else ()
    constants = [f"materials.{c}.{k}={v!r}" for c, values in job.constants.items() for k, v in values.items()]
    size = f"mesh.element_size_mm={job.resolution.element_size_mm}"
    return (*specimen_settings(job.individual), size, *_HOW, *arm.settings, *adapted, *constants)


def _full_name(arm: str, name: str) -> str:
    return f"{arm}.{name}" if arm else name


def gather(protocol: Protocol, individuals: Sequence[Individual], results: Sequence[list[ArmResult]]) -> Observables:
    """One table of all specimens, with the protocol's derived observables."""
    names = {_full_name(a.arm, name): None for arms in results for a in arms for name in a.values}
    found = [{_full_name(a.arm, k): v for a in arms for k, v in a.values.items()} for arms in results]
    values = {name: np.array([row.get(name, np.nan) for row in found]) for name in names}
    failures = {
        f"{one.name} {arm.arm}".strip(): arm.error
        for one, arms in zip(individuals, results, strict=True)
        for arm in arms
        if arm.error
    }
    curves: dict[str, list[Curve]] = {}
    for arms in results:
        for arm in arms:
            for name, curve in arm.curves.items():
                curves.setdefault(_full_name(arm.arm, name), []).append(tuple((x, y) for x, y in curve))
    computing_s = sum(arm.computing_s for arms in results for arm in arms)
    table = Observables(protocol.name, tuple(individuals), values, failures, curves, computing_s)
    if protocol.derive is None:
        return table
    return replace(table, values={**values, **protocol.derive(table)})


# --- what is kept --------------------------------------------------------------------------------------------------


def _read_kept(folder: Path, stamp: str) -> ArmResult | None:
    try:
        kept = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return ArmResult(**kept) if kept.pop("stamp", "") == stamp else None


def _stamp(job: Job, arm: Arm, settings: tuple[str, ...]) -> str:
    """Hash of all that a result depends on: specimen, study or resolution, constants, and the code."""
    if arm.compute:
        asked = repr((asdict(job.individual), job.resolution, sorted(job.constants.items()), arm.compute.__name__))
    else:
        asked = study_hash(read_study(arm.study, settings))
    return hashlib.sha256(f"{code_hash()} {asked}".encode()).hexdigest()


@cache
def code_hash() -> str:
    """Hash of the rooms that can change a number: their modules, cards and built-in studies."""
    root = Path(meshes.__file__).resolve().parents[1]
    content = hashlib.sha256()
    for room in _SOURCES:
        folder = root / room
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]):
            if path.name not in _WITHOUT_EFFECT and path.parent.name != "calibration":
                content.update(path.read_bytes())
    return content.hexdigest()[:16]
