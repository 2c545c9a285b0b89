"""The rows of the book: a published number, and what of our runs is held against it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from kyphos.errors import DataError

from .evidence import Evidence, read_evidence

Use = Literal["calibrate", "check", "seed"]
Judge = Literal["number", "band", "order", "none"]

USES = ("calibrate", "check", "seed")
JUDGES = ("number", "band", "order", "none")
_FILE = files("kyphos.experiments.validation") / "rows.toml"


@dataclass(frozen=True)
class Row:
    """One published finding.

    Attributes
    ----------
    name, use, quantity
        ``calibrate`` rows may be fitted, ``check`` rows never; a ``seed`` is a claim of the article behind the project.
    published, sd, unit
        Mean and standard deviation (None: not told); of a ``band`` its middle, with ``low`` and ``high``.
    low, high
        Published range, for ``judge = "band"``.
    evidence
        Ids in the table of evidence; the first gives source, flag and, unless the row says otherwise, the numbers.
    protocol, observable
        What answers it: a name of ``PROTOCOLS``, and one of its observables. Empty for ``judge = "none"``.
    statistic
        What of the specimens is compared: their ``mean``, ``sd`` or ``median``.
    also
        Further observables to show: the same thing with other denominators.
    judge
        ``number``: z-score, or factor where no sd is known; ``band``: within low and high; ``order``: a ranking, the
        observable is the share of specimens that follow it; ``none``: not assessable, ``reason`` says why.
    note
        What a reader must know: how the observable is defined, what is assumed.
    """

    name: str
    use: Use
    quantity: str
    unit: str
    evidence: tuple[str, ...]
    source: str
    flag: str
    judge: Judge = "number"
    published: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    claim: str = ""
    protocol: str = ""
    observable: str = ""
    statistic: str = "mean"
    also: tuple[str, ...] = ()
    reason: str = ""
    note: str = ""


_WRITTEN = {field.name for field in fields(Row)} | {"part", "factor"}


@cache
def read_rows() -> tuple[Row, ...]:
    """All rows, in the order of the book; DataError if one is not well formed."""
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"))["row"]
    rows = tuple(parse_row(table) for table in tables)
    names = [row.name for row in rows]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"two rows of the book are named {twice!r}")
    return rows


def find_rows(name: str | None) -> tuple[Row, ...]:
    """The row of that name, or all rows of the protocol of that name, or (None) all; DataError if there is none."""
    rows = read_rows()
    if name is None:
        return rows
    found = tuple(row for row in rows if name in (row.name, row.protocol))
    if not found:
        known = [row.name for row in rows]
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        raise DataError(f"no row {name!r} in the validation book{hint} Rows: {', '.join(known)}")
    return found


def parse_row(table: dict[str, Any]) -> Row:
    """A row from its table; numbers come from the evidence unless the table has them. DataError if malformed."""
    where = f"row {table.get('name', '?')!r} of the validation book"
    if unknown := sorted(set(table) - _WRITTEN):
        raise DataError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_WRITTEN))}")
    if missing := [key for key in ("name", "use", "quantity", "unit", "evidence") if not table.get(key)]:
        raise DataError(f"{where}: {missing[0]!r} is missing")
    given = dict(table)
    part, factor = given.pop("part", 0), given.pop("factor", 1.0)
    ids = tuple(given.pop("evidence"))
    if lost := [id for id in ids if id not in read_evidence()]:
        raise DataError(f"{where}: there is no evidence {lost[0]!r}")
    first = read_evidence()[ids[0]]
    if given.get("judge", "number") == "number":
        given = {**_numbers(first, part, factor, "published" in given), **given}
    if given.setdefault("flag", first.flag) not in ("assumed", first.flag):
        raise DataError(f"{where}: flag = {given['flag']!r}, but evidence {ids[0]} is {first.flag!r}")
    given.setdefault("source", f"{ids[0]} {first.source}")
    row = Row(evidence=ids, also=tuple(given.pop("also", ())), **given)
    _check(row, where)
    return row


def _numbers(evidence: Evidence, part: int, factor: float, given: bool) -> dict[str, float | None]:
    """Published mean and sd; of a mean that the row itself gives, no sd."""
    if given:
        return {}
    spread = evidence.spread(part)
    sd = None if spread is None else abs(factor) * spread
    return {"published": factor * evidence.number(part), "sd": sd}


def _check(row: Row, where: str) -> None:
    for key, allowed in (("use", USES), ("judge", JUDGES), ("statistic", ("mean", "sd", "median"))):
        if getattr(row, key) not in allowed:
            raise DataError(f"{where}: {key} = {getattr(row, key)!r}; allowed: {', '.join(allowed)}")
    if row.judge == "none":
        if not row.reason:
            raise DataError(f"{where}: a row that cannot be assessed needs its reason")
        return
    if not (row.protocol and row.observable):
        raise DataError(f"{where}: names no protocol and observable; judge = 'none' says that there is none")
    needs = {"number": ("published",), "band": ("low", "high"), "order": ("claim",)}[row.judge]
    if lacking := [key for key in needs if getattr(row, key) in (None, "")]:
        raise DataError(f"{where}: judge = {row.judge!r} needs {lacking[0]!r}")
