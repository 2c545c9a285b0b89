"""From a deck's text to its keywords: comments, continuation lines and INCLUDE are dealt with here, numbers are read.

Big tables of numbers are parsed as a whole; only where that fails are they read line by line, to say which is wrong.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import DeckError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_STARRED = re.compile(rb"^[ \t]*\*[^\n]*\n?", re.MULTILINE)
_BLANK_FIELD = re.compile(rb",[ \t]*,|^[ \t]*,", re.MULTILINE)
_PLAIN = bytes.maketrans(b",dD", b" ee")
DEEPEST = 50  # files that include one another


@dataclass(frozen=True)
class Place:
    """A line of a deck; prints as ``file:line``."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"

    def error(self, message: str) -> DeckError:
        """A complaint about this line."""
        return DeckError(f"{self}: {message}")


@dataclass(frozen=True)
class Segment:
    """Data lines that follow one another in one file."""

    path: Path
    first_line: int
    text: bytes


@dataclass(frozen=True)
class Block:
    """One keyword with its parameters and data.

    Attributes
    ----------
    keyword
        Upper case, without star.
    parameters
        Upper-case names; values as written, empty where there is none.
    place
        Line of the keyword.
    segments
        Its data lines, comments left out.
    """

    keyword: str
    parameters: dict[str, str]
    place: Place
    segments: list[Segment] = field(default_factory=list)

    def error(self, message: str) -> DeckError:
        """A complaint about the keyword."""
        return self.place.error(f"*{self.keyword}: {message}")

    def rows(self) -> Iterator[tuple[Place, list[str]]]:
        """Place and fields of every data line that is not blank; a comma at the end adds no field."""
        for segment in self.segments:
            for i, line in enumerate(segment.text.split(b"\n")):
                text = line.decode("utf-8", "replace").strip()
                if text:
                    yield Place(segment.path, segment.first_line + i), [part.strip() for part in _fields(text)]

    def row_place(self, row: int) -> Place:
        """The place of a data line, counted from 0."""
        for i, (place, _) in enumerate(self.rows()):
            if i == row:
                return place
        return self.place

    def numbers(self) -> tuple[Array, Ids]:
        """All numbers of the data lines, and how many each line that is not blank holds; a blank field is 0.

        Raises
        ------
        DeckError
            A field that is no number.
        """
        found = _fast_numbers(b"\n".join(segment.text for segment in self.segments))
        return self._slow_numbers() if found is None else found

    def _slow_numbers(self) -> tuple[Array, Ids]:
        values, counts = list[float](), list[int]()
        for place, row in self.rows():
            values += [number(text, place, self.keyword) if text else 0.0 for text in row]
            counts.append(len(row))
        return np.array(values), np.array(counts, dtype=np.int64)


def _fields(text: str) -> list[str]:
    return (text[:-1] if text.endswith(",") else text).split(",")


def number(text: str, place: Place, keyword: str) -> float:
    """A finite number, also with an exponent of D; DeckError if it is none."""
    try:
        value = float(text.upper().replace("D", "E"))
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise place.error(f"*{keyword}: {text!r} is no number")
    return value


def _fast_numbers(text: bytes) -> tuple[Array, Ids] | None:
    """What `Block.numbers` returns, from the text as a whole; None where something is unusual."""
    if _BLANK_FIELD.search(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how NumPy says that it met no number
            values = np.fromstring(text.translate(_PLAIN), sep=" ")
    except (DeprecationWarning, ValueError):
        return None
    counts = _fields_per_line(text)
    if counts.sum() != values.size or not np.isfinite(values.sum()):
        return None
    return values, counts[counts > 0]


def _fields_per_line(text: bytes) -> Ids:
    """(lines,) commas and one, less one for a comma at the end; 0 for a blank line."""
    raw = np.frombuffer(text + b"\n", dtype=np.uint8)
    dark = np.flatnonzero((raw != 32) & (raw != 9))  # all but blanks
    raw = raw[dark]
    end = np.flatnonzero(raw == 10)
    commas = np.diff(np.cumsum(raw == 44)[end], prepend=0)
    length = np.diff(end, prepend=-1) - 1
    last = raw[np.maximum(end - 1, 0)] == 44
    return np.where(length > 0, commas + 1 - (last & (length > 0)), 0).astype(np.int64)


def read_blocks(path: Path) -> list[Block]:
    """All keywords of a deck in their order, those of included files in between.

    Raises
    ------
    DeckError
        A file that is missing, includes itself, or begins with data; a keyword that cannot be read.
    """
    blocks: list[Block] = []
    _read_file(path, (), blocks, None)
    if not blocks:
        raise DeckError(f"{path}:1: no keyword at all; a deck has lines such as *NODE, *ELEMENT, *STEP")
    return blocks


def _read_file(path: Path, chain: tuple[Path, ...], blocks: list[Block], asked: Place | None) -> None:
    if path.resolve() in chain or len(chain) >= DEEPEST:
        story = " -> ".join(str(p.name) for p in (*chain, path))
        raise (asked or Place(path, 1)).error(f"*INCLUDE is endless: {story}; a file may not include itself")
    data = _content(path, asked)
    newlines = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10)
    at = 0

    def place(offset: int) -> Place:
        return Place(path, int(np.searchsorted(newlines, offset)) + 1)

    for match in _STARRED.finditer(data):
        _add_data(blocks, place(at), data[at : match.start()])
        at = match.end()
        text = match.group().strip()
        if text.startswith(b"**"):
            continue
        while text.endswith(b",") and at < len(data) and not _STARRED.match(data, at):
            end = data.find(b"\n", at) + 1 or len(data)
            text, at = text + data[at:end].strip(), end
        block = _keyword(text.decode("utf-8", "replace"), place(match.start()))
        if block.keyword == "INCLUDE":
            _read_file(_included(block, path), (*chain, path.resolve()), blocks, block.place)
        else:
            blocks.append(block)
            _add_input(block, path)
    _add_data(blocks, place(at), data[at:])


def _content(path: Path, asked: Place | None) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror})"
        raise (asked.error(f"*INCLUDE: {message}") if asked else DeckError(message)) from None
    if b"\0" in data:
        raise DeckError(f"{path}:1: this is no text file; a deck is plain text")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _add_data(blocks: list[Block], place: Place, text: bytes) -> None:
    if not text.strip():
        return
    if not blocks:
        skipped = len(text) - len(text.lstrip())
        line = place.line + text[:skipped].count(b"\n")
        raise Place(place.path, line).error("data before the first keyword; a keyword begins with *, a comment with **")
    blocks[-1].segments.append(Segment(place.path, place.line, text.rstrip()))


def _keyword(text: str, place: Place) -> Block:
    name, *rest = re.split(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", text[1:])
    parameters = {}
    for part in rest:
        if part.strip():
            key, _, value = part.partition("=")
            parameters[" ".join(key.upper().split())] = value.strip().strip('"')
    keyword = " ".join(name.upper().split())
    if not keyword:
        raise place.error("a star without a keyword; a comment begins with **")
    return Block(keyword, parameters, place)


def _included(block: Block, path: Path) -> Path:
    if set(block.parameters) != {"INPUT"}:
        raise block.error("give INPUT=file and nothing else")
    return path.parent / block.parameters["INPUT"].replace("\\", "/")


def _add_input(block: Block, path: Path) -> None:
    """Data of *NODE, *ELEMENT and the like that stand in a file of their own (INPUT=file)."""
    if "INPUT" not in block.parameters:
        return
    source = _included(Block(block.keyword, {"INPUT": block.parameters.pop("INPUT")}, block.place), path)
    text = _content(source, block.place)
    if _STARRED.search(text):
        text = _STARRED.sub(_comment_only(block), text)
    block.segments.append(Segment(source, 1, text))


def _comment_only(block: Block):  # type: ignore[no-untyped-def]
    def blank(match: re.Match[bytes]) -> bytes:
        if not match.group().strip().startswith(b"**"):
            raise block.error("the file of INPUT may hold data only, no keywords; use *INCLUDE")
        return b"\n"

    return blank
