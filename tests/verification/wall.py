"""The wall of verification: a check says what it found, what it allows, whose answer it is and why that tolerance.

A test declares a check through the fixture ``wall``; the declaration asserts and records. ``wall.json`` keeps the
records that the page ``docs/verification.md`` is made of (``python tools/make_docs.py --wall`` measures anew), and
after every test the fixture compares what was declared with what the page says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

RECORD = Path(__file__).with_name("wall.json")
HINT = "measure the page anew: python tools/make_docs.py --wall"
GROUPS = (
    "Patch tests",
    "Order of convergence",
    "Finite rotation and strain",
    "Bending and shells",
    "Published benchmarks",
    "Nearly incompressible bodies",
    "Anisotropy",
    "Hyperelasticity",
    "Plasticity",
    "Creep",
    "Heat",
    "Stability",
    "Convergence of Newton's method",
    "Rigid platens",
    "Stress-free configurations",
    "Balloons",
    "Voxel grids",
)


@dataclass(frozen=True)
class Row:
    """One declaration: ``kind`` is "error" (value <= bound), "order" (value >= bound) or "contrast" (must fail)."""

    group: str
    name: str
    kind: str
    value: float
    bound: float
    unit: str
    source: str
    because: str
    test: str

    @property
    def holds(self) -> bool:
        """Whether the value keeps the bound; nan never does."""
        return bool(self.value <= self.bound if self.kind == "error" else self.value >= self.bound)

    def says_the_same(self, page: Row) -> bool:
        """Whether the page tells this row: all words, and the number to 5 % of itself or 2 % of the bound."""
        words = {**asdict(self), "value": 0.0} == {**asdict(page), "value": 0.0}
        return words and abs(self.value - page.value) <= max(0.05 * abs(page.value), 0.02 * self.bound)


@dataclass
class Wall:
    """Collects the rows of one test; relative errors unless a ``unit`` says otherwise."""

    group: str
    test: str
    rows: list[Row] = field(default_factory=list)

    def error(self, name: str, error: float, tolerance: float, *, source: str, because: str, unit: str = "") -> None:
        """Assert |error| <= tolerance."""
        self._add(Row(self.group, name, "error", _rounded(abs(error)), tolerance, unit, source, because, self.test))

    def order(self, name: str, order: float, at_least: float, *, source: str, because: str) -> None:
        """Assert an observed order of convergence."""
        self._add(Row(self.group, name, "order", _rounded(order), at_least, "", source, because, self.test))

    def contrast(self, name: str, error: float, at_least: float, *, because: str) -> None:
        """Assert that what a check rejects is rejected: the error of a wrong or uncured method."""
        value = _rounded(abs(error)) if np.isfinite(error) else 1e9
        self._add(Row(self.group, name, "contrast", value, at_least, "", "the same answer", because, self.test))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        print(f"{row.name}: {row.value:.4g} ({row.kind}, {row.bound:g})")
        assert row.holds, f"{row.name}: {row.kind} {row.value:g}, wanted {row.bound:g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def worst(found, expected, scale: float | None = None) -> float:
    """Largest difference of two arrays over ``scale`` (else the largest expected magnitude)."""
    found, expected = np.broadcast_arrays(np.asarray(found, float), np.asarray(expected, float))
    return float(np.abs(found - expected).max() / (scale or np.abs(expected).max()))


def read(path: Path = RECORD) -> list[Row]:
    """The rows that the page is made of."""
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def write(rows: Iterable[Row], path: Path) -> None:
    """Keep rows in the order of the groups and of their tests."""
    ordered = sorted(rows, key=lambda row: (GROUPS.index(row.group), row.test.partition("::")[0]))
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in ordered)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def disagreements(rows: list[Row], page: list[Row]) -> list[str]:
    """What the page tells wrongly, or does not tell, of the rows of one test."""
    told = {row.name: row for row in page}
    wrong = [row.name for row in rows if row.name not in told or not row.says_the_same(told[row.name])]
    return wrong + sorted(set(told) - {row.name for row in rows})
