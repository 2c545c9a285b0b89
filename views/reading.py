"""What the views read: a result and the fields that it saved. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvista as pv

from kyphos.errors import DataError
from kyphos.experiments import Result, load_result

PLACES = ("anterior", "middle", "posterior")
HEIGHT_STATES = ("intact", "fractured", "reduced", "deflated", "treated", "cycled")


@dataclass(frozen=True)
class StageFile:
    """The file with the fields at the end of one stage."""

    stage: str
    path: Path


def read_run(run_dir: Path | str) -> Result:
    """Read a results folder; DataError if it is missing, is none, or holds a file that cannot be read."""
    return load_result(run_dir)


def stage_files(result: Result) -> list[StageFile]:
    """The saved fields in the order of the stages; empty if the study did not want them."""
    return [StageFile(row["stage"], result.path / row["file"]) for row in result.manifest["fields"]]


def height_mm(result: Result, state: str, place: str) -> float:
    """Height in one of ``HEIGHT_STATES`` at one of ``PLACES``, mm; NaN if the run has no such state."""
    outcome = result.outcomes.get(f"height_{state}_{place}_mm")
    return outcome.value if outcome else float("nan")


def read_stage(file: StageFile) -> pv.UnstructuredGrid:
    """The saved fields of one stage, on reference coordinates (mm).

    Raises
    ------
    DataError
        If the file is missing, or lacks an array that every picture needs.
    """
    if not file.path.is_file():
        raise DataError(f"{file.path}: the fields of stage {file.stage!r} are missing; run the study again")
    grid = pv.read(file.path)
    for name, held in (("displacement_mm", grid.point_data), ("region", grid.cell_data)):
        if name not in held:
            raise DataError(f"{file.path}: no array {name!r}; was it written by kyphos run?")
    if not np.isfinite(grid.point_data["displacement_mm"]).all():
        raise DataError(f"{file.path}: displacement_mm is not finite everywhere; run the study again")
    return grid
