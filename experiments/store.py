"""The results folder of a run: written piece by piece, so that a kill at any moment leaves it resumable.

Every file but ``history.csv`` is written beside its place and moved there. ``history.csv`` only grows; what
it holds beyond the last checkpoint is cut off on resuming.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import DataError, KyphosError
from kyphos.experiments.spec import StudySpec, study_hash, to_toml

Arrays = Mapping[str, NDArray[Any]]
Status = Literal["running", "done", "failed", "interrupted"]

PROFILES = "profiles"
"""Folder of the tables of stress along lines, one file for each stage that looked."""
PROFILE_COLUMNS = ("site", "position", "position_mm", "axial_mpa", "von_mises_mpa")
_META = "__meta__"
_VERSIONED = ("kyphos", "numpy", "scipy", "numba", "meshio", "pyvista")


@dataclass(frozen=True)
class HistoryRow:
    """One solved state; NaN where a quantity does not apply.

    ``balance``: force missing at the platens over the load; ``residual_n`` the largest one at a node; ``time_s`` how
    long a load has been held by then.
    """

    stage: str
    cycle: int
    load_n: float
    displacement_mm: float = nan
    height_anterior_mm: float = nan
    height_middle_mm: float = nan
    height_posterior_mm: float = nan
    stiffness_n_per_mm: float = nan
    pressure_mpa: float = nan
    volume_ml: float = nan
    iterations: int = 0
    residual_n: float = nan
    balance: float = nan
    status: str = "converged"
    wall_s: float = nan
    time_s: float = nan


HISTORY_COLUMNS = tuple(field.name for field in fields(HistoryRow))


@dataclass(frozen=True)
class Outcome:
    """One number that a run found, with its unit (``"1"`` for a ratio)."""

    value: float
    unit: str

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True)
class Checkpoint:
    """What was kept at the end of a stage.

    ``index`` counts stages from 0; ``arrays`` and ``meta`` are what the caller gave ``save_checkpoint``.
    """

    index: int
    stage: str
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcomes found up to there, if ``outcome_entries`` of them are under "outcomes" in ``meta``."""
        return {name: Outcome(*entry) for name, entry in self.meta["outcomes"].items()}


def outcome_entries(outcomes: Mapping[str, Outcome]) -> dict[str, tuple[float, str]]:
    """Outcomes as JSON for a checkpoint's ``meta``; ``Checkpoint.outcomes`` reads them back."""
    return {name: (outcome.value, outcome.unit) for name, outcome in outcomes.items()}


class RunStore:
    """Writer of one results folder. Make it with ``open_run``; all methods keep the folder resumable."""

    def __init__(self, path: Path, spec: StudySpec, manifest: dict[str, Any], history_rows: int) -> None:
        self.path = path
        self.spec = spec
        self.manifest = manifest
        self._history_rows = history_rows
        self._spent_s = float(manifest.get("wall_s", 0.0))
        self._start = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """Time spent on this run so far, earlier sessions before a resume included, s."""
        return self._spent_s + time.perf_counter() - self._start

    def append_history(self, row: HistoryRow) -> None:
        """Append one solved state and hand it to the operating system at once."""
        with (self.path / "history.csv").open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(_cell(value) for value in asdict(row).values())
        self._history_rows += 1

    def write_outcomes(self, outcomes: Mapping[str, Outcome]) -> None:
        """Write ``outcomes.json`` anew; DataError if a value is not finite: what is unknown is left out."""
        wrong = next((name for name, outcome in outcomes.items() if not isfinite(outcome.value)), None)
        if wrong is not None:
            raise DataError(f"outcome {wrong} = {outcomes[wrong].value} is not a number; leave it out instead")
        table = {name: {"value": float(found.value), "unit": found.unit} for name, found in outcomes.items()}
        replace_file(self.path / "outcomes.json", json_bytes(table))

    def write_fields(self, index: int, stage: str, write: Callable[[Path], object]) -> Path:
        """Let ``write(path)`` write the fields at the end of a stage; list them in manifest and fields.pvd.

        ``index`` counts stages from 0; the file is ``fields_####.vtu``. Fields of that stage are replaced.
        """
        path = self.path / f"fields_{index:04d}.vtu"
        draft = self.path / f".draft_{index:04d}.vtu"
        write(draft)
        os.replace(draft, path)
        others = [entry for entry in self.manifest["fields"] if entry["index"] != index]
        entry = {"index": index, "stage": stage, "file": path.name}
        self.update_manifest(fields=sorted([*others, entry], key=lambda entry: entry["index"]))
        replace_file(self.path / "fields.pvd", _pvd(self.manifest["fields"]))
        return path

    def write_profiles(self, stage: str, rows: Iterable[Sequence[object]]) -> Path:
        """Write the table of a stage's profiles (rows of ``PROFILE_COLUMNS``) as CSV, anew, and return its path."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(PROFILE_COLUMNS)
        writer.writerows([_cell(value) for value in row] for row in rows)
        path = self.path / PROFILES / f"{stage}.csv"
        path.parent.mkdir(exist_ok=True)
        replace_file(path, text.getvalue().encode())
        return path

    def save_checkpoint(self, index: int, stage: str, arrays: Arrays, meta: Mapping[str, Any]) -> Path:
        """Keep all that is needed to go on after a stage; on return it is on disk.

        Parameters
        ----------
        index, stage
            Stage, counted from 0, and its name.
        arrays
            Name -> array of any shape, no objects.
        meta
            Anything that JSON can hold (floats survive exactly).
        """
        history = self.path / "history.csv"
        with history.open("rb") as file:
            os.fsync(file.fileno())
        head = {
            "index": index,
            "stage": stage,
            "study_hash": self.manifest["study_hash"],
            "history_rows": self._history_rows,
            "meta": dict(meta),
        }
        content: dict[str, Any] = {**arrays, _META: np.array(json.dumps(head, allow_nan=False))}
        if any(np.asarray(array).dtype.hasobject for array in content.values()):
            raise DataError(f"checkpoint of stage {stage}: arrays of objects cannot be kept")
        buffer = io.BytesIO()
        np.savez(buffer, **content)
        path = self.path / "checkpoints" / f"{index:02d}-{stage}.npz"
        replace_file(path, buffer.getvalue())
        return path

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint of the furthest stage, or None; DataError if it cannot be read."""
        path = _latest_checkpoint_path(self.path)
        if path is None:
            return None
        head, arrays = _read_checkpoint(path)
        return Checkpoint(index=head["index"], stage=head["stage"], arrays=arrays, meta=head["meta"])

    def record_stage(self, index: int, stage: str, wall_s: float, **facts: Any) -> None:
        """Note in the manifest what a finished stage took, s, and other JSON facts; before its checkpoint."""
        others = [entry for entry in self.manifest["stages"] if entry["index"] != index]
        self.update_manifest(stages=[*others, {"index": index, "stage": stage, "wall_s": wall_s, **facts}])

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of ``manifest.json`` (JSON values) and write it."""
        self.manifest.update(entries, wall_s=self.wall_s)
        replace_file(self.path / "manifest.json", json_bytes(self.manifest))

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep ``status`` true to what happened: done, failed (with the message) or interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            self._finish("interrupted", "")
            raise
        except BaseException as error:
            kind = "" if isinstance(error, KyphosError) else f"{type(error).__name__}: "
            self._finish("failed", f"{kind}{error}")
            raise
        self._finish("done", "")

    def _finish(self, status: Status, message: str) -> None:
        self.update_manifest(status=status, message=message, finished=_now())


def open_run(path: Path, spec: StudySpec, *, resume: bool = False) -> RunStore:
    """Make a results folder for a study, or reopen one to go on after its last finished stage.

    Parameters
    ----------
    path
        The folder. A new run wants it absent or empty. Resuming one that is absent or empty starts it.
    spec
        The study; to resume, the same as before but for names, output and threads.
    resume
        Go on instead of starting.

    Raises
    ------
    DataError
        If the folder cannot be made, holds anything already, or (resuming) is another study's.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        occupied = any(path.iterdir())
    except OSError as error:
        raise DataError(f"{path}: cannot be used as a results folder: {error.strerror}; try another --out") from None
    if occupied and not resume:
        raise DataError(_occupied(path))
    if occupied:
        _check_same_study(path, spec)
    (path / "checkpoints").mkdir(exist_ok=True)
    for draft in [*path.glob(".draft_*"), *path.glob("checkpoints/.draft_*")]:
        draft.unlink()
    replace_file(path / "case.toml", to_toml(spec).encode())
    store = _reopen(path, spec)
    sessions = [*store.manifest["sessions"], _session(_latest_checkpoint_path(path))]
    store.update_manifest(status="running", message="", finished=None, sessions=sessions)
    replace_file(path / "fields.pvd", _pvd(store.manifest["fields"]))
    return store


def stage_checkpoint(path: Path, spec: StudySpec, stage: str) -> Checkpoint:
    """Return what a run of a study kept at the end of a stage.

    Raises
    ------
    DataError
        The folder is no run of this study, or has not reached the stage.
    """
    if not (path / "manifest.json").is_file():
        raise DataError(f"{path}: no manifest.json; a results folder is what kyphos run --out DIR wrote")
    _check_same_study(path, spec)
    kept = {file.stem.partition("-")[2]: file for file in sorted((path / "checkpoints").glob("*-*.npz"))}
    if stage not in kept:
        reached = ", ".join(kept) or "none"
        raise DataError(
            f"{path}: the run has not finished stage {stage!r}; finished: {reached}. Go on with kyphos run --resume"
        )
    head, arrays = _read_checkpoint(kept[stage])
    return Checkpoint(index=head["index"], stage=head["stage"], arrays=arrays, meta=head["meta"])


def run_status(path: Path, spec: StudySpec) -> str:
    """Return the status of a study's run in a folder; empty if nothing is there, DataError if it is another study's."""
    if not (path / "manifest.json").is_file():
        return ""
    _check_same_study(path, spec)
    return str(_old_manifest(path).get("status", ""))


def branch_run(source: Path, index: int, path: Path, spec: StudySpec) -> None:
    """Make a folder in which a study stands where a run of another one stood after a stage; resume it to go on.

    Up to that stage the two must be the same; the state is shared to the last bit. The folder appears all at once.

    Parameters
    ----------
    source, index
        Folder of the run to go on from, and its stage, counted from 0.
    path
        The folder to make; absent or empty.
    spec
        The study that it belongs to.

    Raises
    ------
    DataError
        The source has no checkpoint of that stage, or a folder cannot be written.
    """
    kept = {int(file.stem.partition("-")[0]): file for file in (source / "checkpoints").glob("*-*.npz")}
    if index not in kept:
        raise DataError(f"{source}: no checkpoint of stage {index}, so nothing can go on from there; start again")
    draft = path.with_name(f".draft_{path.name}")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "checkpoints").mkdir(parents=True)
    before = _old_manifest(source)
    past = {key: [entry for entry in before[key] if entry["index"] <= index] for key in ("fields", "stages")}
    shared_s = sum(float(entry["wall_s"]) for entry in past["stages"])
    told = {**_new_manifest(spec), **{key: before[key] for key in ("mesh_hash", "region_names")}, **past}
    told |= {"wall_s": shared_s, "branched_from": {"run": source.name, "stage": kept[index].stem, "wall_s": shared_s}}
    for file in [kept[i] for i in sorted(kept) if i <= index]:
        _link(file, draft / "checkpoints" / file.name)
    for entry in past["fields"]:
        _link(source / entry["file"], draft / entry["file"])
    for profile in [source / PROFILES / f"{entry['stage']}.csv" for entry in past["stages"]]:
        if profile.is_file():
            (draft / PROFILES).mkdir(exist_ok=True)
            _link(profile, draft / PROFILES / profile.name)
    shutil.copyfile(source / "history.csv", draft / "history.csv")
    head = _read_checkpoint(kept[index])[0]
    _cut_history(draft / "history.csv", head["history_rows"])
    outcomes = {name: {"value": value, "unit": unit} for name, (value, unit) in head["meta"]["outcomes"].items()}
    replace_file(draft / "outcomes.json", json_bytes(outcomes))
    replace_file(draft / "case.toml", to_toml(spec).encode())
    replace_file(draft / "manifest.json", json_bytes(told))
    os.replace(draft, path)


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def runs_of(spec: StudySpec, parent: Path = Path("runs")) -> Iterator[Path]:
    """Yield the folders where a study's runs are by default, if there: its output folder, then the latest first."""
    chosen = [Path(spec.output.directory)] if spec.output.directory else []
    numbers = range(_highest_number(spec.name, parent), 0, -1)
    for folder in (*chosen, *(parent / f"{spec.name}-{number}" for number in numbers)):
        if (folder / "manifest.json").is_file():
            yield folder


def default_folder(study: str, parent: Path = Path("runs")) -> Path:
    """Return ``runs/<study>-<n>`` with the first number after those in use."""
    return parent / f"{study}-{_highest_number(study, parent) + 1}"


def last_folder(study: str, parent: Path = Path("runs")) -> Path:
    """Return the latest ``runs/<study>-<n>``; DataError if there is none."""
    number = _highest_number(study, parent)
    if number == 0:
        raise DataError(f"{parent / study}-1: nothing to resume; name the results folder with --out")
    return parent / f"{study}-{number}"


def _highest_number(study: str, parent: Path) -> int:
    tails = (folder.name.removeprefix(f"{study}-") for folder in parent.glob(f"{study}-*"))
    return max((int(tail) for tail in tails if tail.isdigit()), default=0)


def _occupied(path: Path) -> str:
    if not (path / "manifest.json").is_file():
        return f"{path}: is not empty and not a run of kyphos; choose another --out"
    try:
        status = json.loads((path / "manifest.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError):
        status = "unknown"
    return (
        f"{path}: already holds a run (status: {status}); go on with it with --resume, choose another --out, "
        "or delete it"
    )


def _check_same_study(path: Path, spec: StudySpec) -> None:
    """Refuse to resume a folder that belongs to another study; name what differs."""
    try:
        before = tomllib.loads((path / "case.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise DataError(f"{path}: has no readable case.toml, so it is no run to resume; choose another --out") from None
    now = tomllib.loads(to_toml(spec))
    for tables in (before, now):
        for key in ("name", "description", "output"):
            tables.pop(key, None)
        tables.get("solver", {}).pop("threads", None)
    if before == now:
        return
    old, new = dict(_flat(before)), dict(_flat(now))
    changed = [key for key in {**new, **old} if old.get(key) != new.get(key)]
    shown = ", ".join(f"{key} = {old.get(key)} there, {new.get(key)} here" for key in changed[:3])
    raise DataError(
        f"{path}: holds a run of another study ({shown}); resume with the study it was started with, "
        "or choose another --out"
    )


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    items: list[tuple[Any, Any]]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = list(enumerate(value))
    else:
        yield path, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{path}.{key}" if path else str(key))


def _reopen(path: Path, spec: StudySpec) -> RunStore:
    """Return the store of a folder, with everything after its last checkpoint forgotten."""
    checkpoint = _latest_checkpoint_path(path)
    head: dict[str, Any] = _read_checkpoint(checkpoint)[0] if checkpoint else {"index": -1, "history_rows": 0}
    manifest = _new_manifest(spec) | _old_manifest(path)
    for key in ("fields", "stages"):
        manifest[key] = [entry for entry in manifest[key] if entry["index"] <= head["index"]]
    _cut_history(path / "history.csv", head["history_rows"])
    return RunStore(path, spec, manifest, head["history_rows"])


def _new_manifest(spec: StudySpec) -> dict[str, Any]:
    return {
        "study": spec.name,
        "study_hash": study_hash(spec),
        "status": "running",
        **_surroundings(),
        "sessions": [],
        "seeds": {"specimen": spec.specimen.seed},
        "mesh_hash": None,
        "region_names": [],
        "stages": [],
        "fields": [],
        "wall_s": 0.0,
    }


def _surroundings() -> dict[str, Any]:
    return {
        "started": _now(),
        "versions": {"python": platform.python_version(), **installed_versions()},
        "commit": git_commit(),
        "platform": platform.platform(),
    }


def _session(checkpoint: Path | None) -> dict[str, Any]:
    """Return what the manifest says of one start: when, where, with what, and from which checkpoint."""
    return {**_surroundings(), "resumed_from": checkpoint.name if checkpoint else None}


def _old_manifest(path: Path) -> dict[str, Any]:
    """Return what earlier sessions noted (a kill before the first note leaves none)."""
    if not (path / "manifest.json").is_file():
        return {}
    try:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path / 'manifest.json'}: cannot be read: {error}; choose another --out") from None
    return manifest


def installed_versions() -> dict[str, str]:
    """Return the installed version of Kyphos and of the libraries that its numbers depend on."""
    found = {}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit() -> str | None:
    """Return the commit of the checkout that the package runs from; None for an installed copy."""
    for folder in Path(__file__).resolve().parents[:3]:
        head = folder / ".git" / "HEAD"
        if head.is_file() and (folder / "experiments").is_dir():
            text = head.read_text(encoding="utf-8").strip()
            target = folder / ".git" / text.removeprefix("ref: ")
            if not text.startswith("ref: "):
                return text
            return target.read_text(encoding="utf-8").strip() if target.is_file() else None
    return None


def _cut_history(path: Path, rows: int) -> None:
    """Keep the header and the first rows of the history; make the file if there is none."""
    kept: list[list[str]] = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            kept = list(csv.reader(file))[1 : rows + 1]
    if len(kept) < rows:
        raise DataError(f"{path}: has lost rows of finished stages; choose another --out and start again")
    text = io.StringIO(newline="")
    csv.writer(text).writerows([HISTORY_COLUMNS, *kept])
    replace_file(path, text.getvalue().encode())


def _latest_checkpoint_path(path: Path) -> Path | None:
    found = (path / "checkpoints").glob("*-*.npz")
    numbered = [file for file in found if file.name.split("-")[0].isdigit()]
    return max(numbered, key=lambda file: int(file.name.split("-")[0]), default=None)


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        head: dict[str, Any] = json.loads(str(arrays.pop(_META)))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}; delete it to resume from the stage before") from None
    return head, arrays


def _pvd(entries: list[dict[str, Any]]) -> bytes:
    """Return the collection that ParaView opens: one time step per stage."""
    rows = [f'    <DataSet timestep="{e["index"]}" name="{e["stage"]}" file="{e["file"]}"/>' for e in entries]
    frame = ['<?xml version="1.0"?>', '<VTKFile type="Collection" version="1.0">', "  <Collection>"]
    return "\n".join([*frame, *rows, "  </Collection>", "</VTKFile>", ""]).encode()


def replace_file(path: Path, content: bytes) -> None:
    """Put a whole file in place in one step, and on disk before returning."""
    draft = path.with_name(f".draft_{path.name}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    if sys.platform != "win32":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def json_bytes(value: object) -> bytes:
    """Return plain data as indented JSON; ValueError for what is not finite."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def _cell(value: object) -> str:
    """Return a history cell: every digit of a float, nothing for NaN."""
    if isinstance(value, float):
        return "" if value != value else repr(float(value))
    return str(value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
