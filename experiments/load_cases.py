"""Load cases of a segment that have a name: postures, activities, single loads; each constant with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

_FILE = files("kyphos.experiments") / "load_cases.toml"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number with its range, in the unit that its key ends in."""

    value: float
    low: float
    high: float
    source: str
    flag: str


@dataclass(frozen=True)
class NamedCase:
    """What a name stands for: words, and keys of ``[test.load_case.NAME]`` with their constants."""

    name: str
    meaning: str
    constants: Mapping[str, Constant]

    @property
    def values(self) -> dict[str, float]:
        """Key -> number."""
        return {key: constant.value for key, constant in self.constants.items()}


@cache
def named_cases() -> dict[str, NamedCase]:
    """All load cases of ``load_cases.toml``, in its order."""
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: _case(name, table) for name, table in tables.items()}


def named_case(name: str) -> NamedCase:
    """The load case of that name; ValueError, which a study's message takes up, if there is none."""
    known = named_cases()
    if name not in known:
        close = get_close_matches(name, known, n=1, cutoff=0.5)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"load_cases: {name!r} is not known; {guess}Known: {', '.join(known)}; or write one's own: "
            "[test.load_case.NAME]"
        )
    return known[name]


def _case(name: str, table: Mapping[str, object]) -> NamedCase:
    constants = {key: Constant(**value) for key, value in table.items() if isinstance(value, dict)}
    return NamedCase(name, str(table["meaning"]), constants)
