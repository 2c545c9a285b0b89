"""TOML as text: where each key stands, overrides from the command line, and writing it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from math import isfinite

from kyphos.errors import StudyError

KeyPath = tuple[str | int, ...]
Place = Callable[[KeyPath], str]

_NAME = r"(?:\"[^\"]*\"|'[^']*'|[A-Za-z0-9_-]+)"
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"^(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^({_DOTTED})\s*=")
_BARE_WORD = re.compile(r"^[^\s\"'\[\]{}=#,]+$")


def parse(text: str, where: str) -> dict[str, object]:
    """Return the tables of a TOML text; StudyError with file and line when it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\s*\(at line (\d+), column (\d+)\)", str(error))
        line = at[1] if at else len(text.splitlines())  # "at end of document"
        reason = str(error).replace(at[0], "") if at else str(error)
        hint = "try: text needs quotes, a table name square brackets, a decimal a point"
        raise StudyError(f"{where}:{line}: not valid TOML: {reason}; {hint}") from None


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every table header and key; list items count from 0.

    Keys inside an inline table are not listed: their line is that of the table.
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        inside, was_inside = _string_left_open(line, inside), inside
        if was_inside:
            continue
        if header := _HEADER.match(line.strip()):
            table = _table_path(_names(header[2]), header[1] == "[[", counts)
            lines.setdefault(table, number)
        elif key := _KEY.match(line.strip()):
            lines.setdefault((*table, *_names(key[1])), number)
    return lines


def override(tables: dict[str, object], setting: str) -> KeyPath:
    """Set one value in place from ``a.b.0.c=VALUE`` and return its path.

    List items go by index; the index after the last appends one. VALUE is TOML; a bare word is text.
    StudyError when the setting has no ``=``, the path meets no table or list, or the value is not TOML.
    """
    name, equals, text = setting.partition("=")
    parts = [part.strip() for part in name.split(".")]
    if not equals or not all(parts):
        raise StudyError(f"--set {setting}: expected KEY=VALUE, for example --set cycling.0.count=0")
    spot: object = tables
    path: list[str | int] = []
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        key = _step(spot, part, setting, path)
        path.append(key)
        if after is None:
            _put(spot, key, _value(text.strip(), setting))
            break
        spot = _enter(spot, key, [] if after.isdigit() else {})
    return tuple(path)


def dump(tables: Mapping[str, object]) -> str:
    """Return nested plain data as TOML: values first, then tables, then lists of tables; None is left out."""
    return "\n".join(_table_lines((), tables)).strip() + "\n"


def _names(dotted: str) -> KeyPath:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, dotted))


def _table_path(names: KeyPath, is_list: bool, counts: dict[KeyPath, int]) -> KeyPath:
    """Return the path of a header: a list of tables is entered at its last item."""
    path: KeyPath = ()
    for depth, name in enumerate(names, 1):
        path = (*path, name)
        if is_list and depth == len(names):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _string_left_open(line: str, inside: str) -> str:
    """Return the quotes of the multi-line string that is open after this line, or nothing."""
    for quotes in re.findall(r'"""|\'\'\'', line):
        if not inside:
            inside = quotes
        elif inside == quotes:
            inside = ""
    return inside


def _step(spot: object, part: str, setting: str, path: Sequence[str | int]) -> str | int:
    """Return the key or index that one part of a dotted path means at this spot."""
    place = ".".join(map(str, path)) or "the study"
    if isinstance(spot, dict):
        return part
    if not isinstance(spot, list):
        raise StudyError(f"--set {setting}: {place} is a single value, it has no {part!r} inside")
    if not part.isdigit():
        raise StudyError(f"--set {setting}: {place} is a list; name its items by index, as in {place}.0")
    if int(part) > len(spot):
        raise StudyError(f"--set {setting}: {place} has {len(spot)} items, counted from 0; index {part} is too large")
    return int(part)


def _enter(spot: object, key: str | int, empty: object) -> object:
    """Return what lies behind a key, made empty if there is nothing yet."""
    if isinstance(spot, dict):
        return spot.setdefault(key, empty)
    if isinstance(spot, list) and key == len(spot):
        spot.append(empty)
    return spot[key]  # type: ignore[index]  # _step has seen to it that the key fits


def _put(spot: object, key: str | int, value: object) -> None:
    if isinstance(spot, list) and key == len(spot):
        spot.append(value)
    else:
        spot[key] = value  # type: ignore[index]  # as above


def _value(text: str, setting: str) -> object:
    try:
        tables = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        tables = {}
    if set(tables) == {"value"}:
        return tables["value"]
    if _BARE_WORD.match(text):
        return text
    raise StudyError(
        f"--set {setting}: {text!r} is neither a TOML value nor a bare word; "
        "quote text that has spaces: KEY='\"two words\"'"
    )


def _table_lines(path: tuple[str, ...], table: Mapping[str, object]) -> list[str]:
    given = {key: value for key, value in table.items() if value is not None}
    lines = [f"{key} = {_literal(value)}" for key, value in given.items() if not _is_nested(value)]
    for key, value in given.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{'.'.join((*path, key))}]", *_table_lines((*path, key), value)]
        elif _is_nested(value) and isinstance(value, list | tuple):
            for item in value:
                lines += ["", f"[[{'.'.join((*path, key))}]]", *_table_lines((*path, key), item)]
    return lines


def _is_nested(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def _literal(value: object) -> str:
    """Return one value as TOML; floats keep every digit."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float) and isfinite(value):
        text = repr(value)
        return text if any(mark in text for mark in ".e") else f"{text}.0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    raise TypeError(f"no TOML for {value!r}")
