"""What others have measured: the table of evidence, and numbers out of its cells."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from kyphos.errors import DataError

_FILE = files("kyphos.experiments.validation") / "evidence.csv"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One row of the table; all cells as written.

    ``value`` and ``sd_or_range`` may hold several numbers with slashes between them: see ``number`` and ``spread``.
    """

    id: str
    category: str
    quantity: str
    condition: str
    value: str
    sd_or_range: str
    unit: str
    source: str
    doi_or_pmid: str
    flag: str
    note: str

    def number(self, part: int = 0) -> float:
        """The published number, or one of several (counted from 0); DataError if the cell holds no such number."""
        return _number(self.value, part, f"evidence {self.id}: value")

    def spread(self, part: int = 0) -> float | None:
        """The published standard deviation, or one of several; None where the cell is empty or says something else."""
        try:
            return _number(self.sd_or_range, part, "")
        except DataError:
            return None


def _number(cell: str, part: int, what: str) -> float:
    parts = cell.split("/")
    try:
        return float(parts[part])
    except (IndexError, ValueError):
        raise DataError(f"{what} = {cell!r} has no number as item {part} of a list with slashes") from None


@cache
def read_evidence() -> dict[str, Evidence]:
    """The table of evidence by id, a copy of ``docs/evidence.csv``."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return {row["id"]: Evidence(**row) for row in csv.DictReader(lines)}
