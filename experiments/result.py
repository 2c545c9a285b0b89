"""What a run found, read back from its folder."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kyphos.errors import DataError
from kyphos.experiments.spec import StudySpec
from kyphos.experiments.store import HISTORY_COLUMNS, PROFILE_COLUMNS, PROFILES, Outcome

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """A finished (or interrupted: see ``status``) run.

    ``history`` has one row per solved state, with the columns ``HISTORY_COLUMNS``; ``manifest`` is what
    ``manifest.json`` holds.
    """

    path: Path
    spec: StudySpec
    outcomes: dict[str, Outcome]
    history: pd.DataFrame
    manifest: dict[str, Any]

    @property
    def status(self) -> str:
        """``done``, ``failed``, ``interrupted``, or ``running`` (also: killed)."""
        return str(self.manifest["status"])

    def profiles(self) -> pd.DataFrame:
        """Stress along the mid-sagittal lines of a segment: all tables of ``profiles/``, with a column ``stage``.

        Stages come in their order; no rows where none was measured.

        Raises
        ------
        DataError
            A table cannot be read.
        """
        import pandas as pd

        names = [stage.name for stage in self.spec.stage if (self.path / PROFILES / f"{stage.name}.csv").is_file()]
        tables = [
            _read_table(self.path / PROFILES / f"{name}.csv", PROFILE_COLUMNS).assign(stage=name) for name in names
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*PROFILE_COLUMNS, "stage"])

    def fields_path(self, stage: str) -> Path:
        """Return the VTU file of a stage's final fields; DataError if the run has none of that name."""
        files = {entry["stage"]: entry["file"] for entry in self.manifest["fields"]}
        if stage not in files:
            known = ", ".join(files) or "none (output.fields is false, or no stage has finished)"
            raise DataError(f"{self.path}: no fields of stage {stage!r}; there are: {known}")
        return self.path / str(files[stage])


def load_result(path: str | Path) -> Result:
    """Read a results folder; DataError if it is missing, is none, or holds a file that cannot be read."""
    folder = Path(path)
    if not (folder / "manifest.json").is_file():
        raise DataError(f"{folder}: no manifest.json; a results folder is what kyphos run --out DIR wrote")
    outcomes = _read_json(folder / "outcomes.json") if (folder / "outcomes.json").is_file() else {}
    return Result(
        path=folder,
        spec=_read_case(folder / "case.toml"),
        outcomes={name: Outcome(float(row["value"]), str(row["unit"])) for name, row in outcomes.items()},
        history=_read_table(folder / "history.csv", HISTORY_COLUMNS),
        manifest=_read_json(folder / "manifest.json"),
    )


def _read_case(path: Path) -> StudySpec:
    """Read the resolved study; the scan it names need not exist any more."""
    try:
        return StudySpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return content


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd  # slow to import, and a run itself does without

    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}; was it written by kyphos run?")
    return frame
