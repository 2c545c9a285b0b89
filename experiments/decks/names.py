"""Numbers and names of a deck turned into places: of nodes, of elements, of sets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .lexer import Block, Place, number

Ids = NDArray[np.int64]


class Index:
    """Where each number of a deck stands; ``what`` is "node" or "element"."""

    def __init__(self, what: str, ids: Ids) -> None:
        self.what = what
        self.ids = ids
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]

    def find(self, ids: Ids) -> Ids:
        """Places (k,) of numbers (k,); -1 where there is none."""
        if not self._sorted.size:
            return np.full(len(ids), -1)
        at = np.minimum(np.searchsorted(self._sorted, ids), self._sorted.size - 1)
        return np.where(self._sorted[at] == ids, self._order[at], -1)

    def at(self, ids: Ids, place: Place, keyword: str) -> Ids:
        """Places of numbers; DeckError for one that does not exist."""
        found = self.find(ids)
        if np.any(found < 0):
            missing = ids[int(np.argmax(found < 0))]
            raise place.error(f"*{keyword}: {self.what} {missing} does not exist")
        return found

    def repeated(self) -> tuple[int, int] | None:
        """Places of the first number that is given twice, or None."""
        twice = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if not twice.size:
            return None
        pairs = self._order[np.stack([twice, twice + 1], axis=1)]
        first, second = pairs[np.argmin(pairs[:, 1])]
        return int(first), int(second)


class Sets:
    """Named sets of one kind; names ignore case, and a set that is given twice grows."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._members: dict[str, list[Ids]] = {}
        self._spelling: dict[str, str] = {}

    def add(self, name: str, members: Ids) -> None:
        """Put members (places) into a set."""
        self._spelling.setdefault(name.upper(), name)
        self._members.setdefault(name.upper(), []).append(members)

    def __contains__(self, name: str) -> bool:
        return name.upper() in self._members

    def spelling(self, name: str) -> str:
        """The name as it was first written."""
        return self._spelling[name.upper()]

    def get(self, name: str, place: Place, keyword: str) -> Ids:
        """Members of a set, each once, in order of first mention; DeckError if there is no such set."""
        key = name.upper()
        if key not in self._members:
            close = difflib.get_close_matches(key, self._members, n=1)
            hint = f"; did you mean {self._spelling[close[0]]}?" if close else ""
            raise place.error(f"*{keyword}: there is no {self.index.what} set {name!r}{hint}")
        parts = self._members[key]
        if len(parts) > 1:
            every = np.concatenate(parts)
            self._members[key] = parts = [every[np.sort(np.unique(every, return_index=True)[1])]]
        return parts[0]

    def find(self, text: str, place: Place, keyword: str) -> Ids:
        """Members of a set, or the one thing with that number."""
        if is_integer(text):
            return self.index.at(np.array([int(text)]), place, keyword)
        if not text:
            raise place.error(f"*{keyword}: a {self.index.what} number or the name of a set is missing")
        return self.get(text.strip('"'), place, keyword)

    def all(self) -> Iterator[tuple[str, Ids]]:
        """Names as first written, with their members."""
        for key, name in self._spelling.items():
            yield name, self.get(key, Place(None, 0), "")  # type: ignore[arg-type]

    def read(self, block: Block, name: str) -> None:
        """Add the data lines of *NSET or *ELSET: numbers, names of sets, or ranges."""
        if "GENERATE" in block.parameters:
            self._generate(block, name)
            return
        self.add(name, np.zeros(0, dtype=np.int64))
        if not any(
            c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_" for s in block.segments for c in s.text
        ):
            values, counts = block.numbers()
            found = self.index.find(values.astype(np.int64))
            if np.any(found < 0):
                row = int(np.searchsorted(np.cumsum(counts), int(np.argmax(found < 0)), side="right"))
                missing = int(values[int(np.argmax(found < 0))])
                raise block.row_place(row).error(f"*{block.keyword}: {self.index.what} {missing} does not exist")
            self.add(name, found)
            return
        for place, row in block.rows():
            for text in filter(None, row):
                self.add(name, self.find(text, place, block.keyword))

    def _generate(self, block: Block, name: str) -> None:
        for place, row in block.rows():
            if not 2 <= len(row) <= 3 or not all(is_integer(text) for text in row):
                raise place.error(f"*{block.keyword}: GENERATE needs first, last and, if not 1, the step")
            first, last, step = (*map(int, row), 1)[:3]
            if step < 1 or last < first:
                raise place.error(f"*{block.keyword}: from {first} to {last} in steps of {step} there is nothing")
            self.add(name, self.index.at(np.arange(first, last + 1, step), place, block.keyword))


def is_integer(text: str) -> bool:
    """Whether a field is a whole number."""
    return text.removeprefix("-").removeprefix("+").isdigit()


def integer(text: str, place: Place, keyword: str) -> int:
    """A whole number; DeckError if it is none."""
    value = number(text, place, keyword)
    if value != int(value):
        raise place.error(f"*{keyword}: {text!r} is no whole number")
    return int(value)
