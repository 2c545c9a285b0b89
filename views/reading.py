"""A run folder as the views see it: what was saved, nothing computed."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyvista as pv

from kyphos.errors import DataError

PLACES = ("anterior", "middle", "posterior")
HEIGHT_STATES = ("intact", "fractured", "reduced", "deflated", "treated", "cycled")


@dataclass(frozen=True)
class Outcome:
    """One number that a run found, with its unit (``"1"`` for a ratio)."""

    value: float
    unit: str


@dataclass(frozen=True)
class StageFile:
    """The saved fields at the end of one stage."""

    stage: str
    path: Path


@dataclass(frozen=True)
class RunFolder:
    """Everything that a run saved, the fields by their file names.

    ``case`` is the resolved study, ``case_toml`` the same as text; ``history`` has one row per solved state.
    """

    path: Path
    manifest: dict[str, Any]
    case: dict[str, Any]
    case_toml: str
    outcomes: dict[str, Outcome]
    history: pd.DataFrame
    stages: tuple[StageFile, ...]

    @property
    def region_names(self) -> tuple[str, ...]:
        """Names of the regions; the cell array ``region`` indexes them."""
        return tuple(self.manifest.get("region_names", ()))

    @property
    def study_name(self) -> str:
        """The study's name, or the folder's if the manifest has none."""
        return str(self.manifest.get("study") or self.path.resolve().name)

    def height_mm(self, state: str, place: str) -> float:
        """Height in one of ``HEIGHT_STATES`` at one of ``PLACES``, mm; NaN if the run has no such state."""
        outcome = self.outcomes.get(f"height_{state}_{place}_mm")
        return outcome.value if outcome else float("nan")


def read_run(run_dir: Path | str) -> RunFolder:
    """Read a run folder.

    Raises
    ------
    DataError
        If the folder is missing, is no run folder, or holds a file that cannot be read.
    """
    path = Path(run_dir)
    manifest = _read_json(path, "manifest.json")
    case_toml = _read_text(path, "case.toml")
    outcomes = _read_json(path, "outcomes.json") if (path / "outcomes.json").exists() else {}
    files = tuple(StageFile(str(row["stage"]), path / row["file"]) for row in manifest.get("fields", ()))
    return RunFolder(
        path=path,
        manifest=manifest,
        case=_parse_toml(case_toml, path / "case.toml"),
        case_toml=case_toml,
        outcomes={name: Outcome(float(row["value"]), str(row["unit"])) for name, row in outcomes.items()},
        history=_read_history(path),
        stages=files,
    )


def read_stage(file: StageFile) -> pv.UnstructuredGrid:
    """The saved fields of one stage, on reference coordinates (mm).

    Raises
    ------
    DataError
        If the file is missing, or lacks the arrays that every picture needs.
    """
    if not file.path.is_file():
        raise DataError(f"{file.path}: the fields of stage {file.stage!r} are missing; run the study again")
    grid = pv.read(file.path)
    for name, held in (("displacement_mm", grid.point_data), ("region", grid.cell_data)):
        if name not in held:
            raise DataError(f"{file.path}: no array {name!r}; was it written by kyphos run?")
    if not np.isfinite(grid.point_data["displacement_mm"]).all():
        raise DataError(f"{file.path}: displacement_mm is not finite everywhere; the stage did not converge")
    return grid


def _read_text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{folder}: no readable {name}; a run folder is what kyphos run --out wrote"
        ) from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    text = _read_text(folder, name)
    try:
        content: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{folder / name}: not JSON ({error}); run the study again") from error
    return content


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not TOML ({error}); run the study again") from error


def _read_history(folder: Path) -> pd.DataFrame:
    text_path = folder / "history.csv"
    try:
        frame = pd.read_csv(text_path)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{text_path}: cannot be read ({error}); run the study again") from error
    missing = sorted({"stage", "load_n"} - set(frame.columns))
    if missing:
        raise DataError(f"{text_path}: no column {missing[0]!r}; was it written by kyphos run?")
    return frame
