"""Turn what the validator found into lines for the user: where, what, the allowed range, what to try."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from kyphos.experiments.plan import KINDS
from kyphos.experiments.tables import EVENTS
from kyphos.experiments.toml_text import KeyPath, Place

# Suffix of a key -> (unit to print, other units that people type: name, factor to ours).
_UNITS: tuple[tuple[str, str, tuple[tuple[str, float], ...]], ...] = (
    ("_mm_per_min", "mm/min", (("mm/s", 60.0),)),
    ("_mg_per_cc", "mg/cm3", (("g/cm3", 1000.0),)),
    ("_mpa", "MPa", (("psi", 6.894757e-3), ("kPa", 1e-3), ("Pa", 1e-6), ("bar", 0.1))),
    ("_nm", "N m", (("N mm", 1e-3),)),
    ("_n", "N", (("kN", 1000.0),)),
    ("_ml", "mL", (("mm3", 1e-3), ("litres", 1000.0))),
    ("_mm", "mm", (("cm", 10.0), ("m", 1000.0), ("micrometres", 1e-3))),
    ("_s", "s", (("ms", 1e-3), ("minutes", 60.0))),
    ("_deg", "degrees", (("radians", 57.29578),)),
    ("_hz", "Hz", (("cycles per minute", 1.0 / 60.0),)),
    ("", "", (("per cent", 0.01),)),
)
_TYPES = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": 'text in quotes, as in "text"',
    "tuple_type": "a list, as in [a, b]",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}
_TAGGED: Mapping[str, Mapping[str, type[BaseModel]]] = {"stage": KINDS, "event": EVENTS}
"""Lists of tables of several kinds: kind -> model."""
_RANGES = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


def explain(error: ValidationError, root: type[BaseModel], place: Place) -> list[str]:
    """Return one line per problem; a problem of a table is left out when one inside it explains it.

    Parameters
    ----------
    error
        What the validation of ``root`` raised.
    root
        The model of the whole file.
    place
        From the path of a key to where it was written, as ``study.toml:12`` or ``--set a.b=1``.
    """
    details = error.errors()
    inner = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    return [_line(detail, root, place) for detail in details if detail["loc"] not in inner]


def unit_of(key: str) -> str:
    """Return the unit that a key's suffix stands for; empty for none (``hold_s`` -> ``s``)."""
    return next(unit for suffix, unit, _ in _UNITS if key.endswith(suffix))


def allowed_range(field: FieldInfo, key: str) -> str:
    """Return the allowed range of a key in words and its unit, as ``0.1 to 30 mL``."""
    low, high = _limits(field)
    unit = f" {unit_of(key)}" if unit_of(key) else ""
    if low is None or high is None:
        return f"at least {low:g}{unit}" if low is not None else "any value"
    above = "above " if any(isinstance(item, annotated_types.Gt) for item in field.metadata) else ""
    return f"{above}{low:g} to {high:g}{unit}"


def _line(detail: ErrorDetails, root: type[BaseModel], place: Place) -> str:
    path, kind = _plain_path(detail["loc"]), detail["type"]
    if not _is_key(path, root, detail["loc"]) and kind in ("value_error", "union_tag_invalid", "union_tag_not_found"):
        reason = _reason(detail) if kind == "value_error" else _bad_kind(str(path[0]), detail["input"])
        spot = (*path, "kind") if kind == "union_tag_invalid" else path
        return f"{place(spot)}: {_table_name(path)}{reason}"
    table, key = (path[:-1], str(path[-1])) if path else ((), "the study")
    if path and isinstance(path[-1], int) and len(path) > 1:
        table, key = path[:-2], f"{path[-2]} item {path[-1]}"
    model = _model_at(table, root, detail["loc"])
    return f"{place(path)}: {_table_name(table)}{_problem(detail, key, model)}"


def _problem(detail: ErrorDetails, key: str, model: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden":
        return _unknown(key, model)
    return _missing(key, model) if detail["type"] == "missing" else _bad_value(detail, key, model)


def _plain_path(loc: Sequence[str | int]) -> KeyPath:
    """Drop the tag that a union of kinds puts behind the index: the file knows no such level."""
    if len(loc) > 2 and loc[2] in _TAGGED.get(str(loc[0]), ()):
        return (*loc[:2], *loc[3:])
    return tuple(loc)


def _table_name(path: KeyPath) -> str:
    """Return ``[cement] `` for a table, ``[[cycling]] item 0: `` for an item of a list."""
    names = ".".join(str(part) for part in path if isinstance(part, str))
    index = next((part for part in path if isinstance(part, int)), None)
    if not names:
        return ""
    return f"[{names}] " if index is None else f"[[{names}]] item {index}: "


def _model_at(table: KeyPath, root: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel]:
    """Return the model of the table at this path."""
    model, inside = root, table
    if table and table[0] in _TAGGED and len(loc) > 2:
        model, inside = _TAGGED[str(table[0])].get(str(loc[2]), root), table[2:]
    for part in inside:
        if isinstance(part, str) and part in model.model_fields:
            model = _nested_model(model.model_fields[part].annotation) or model
    return model


def _nested_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _nested_model(part))), None)


def _is_key(path: KeyPath, root: type[BaseModel], loc: Sequence[str | int]) -> bool:
    """Tell a single value from a table whose keys disagree."""
    if not path or isinstance(path[-1], int):
        return False
    field = _model_at(path[:-1], root, loc).model_fields.get(path[-1])
    return field is not None and _nested_model(field.annotation) is None


def _unknown(key: str, model: type[BaseModel]) -> str:
    known = list(model.model_fields)
    close = get_close_matches(key, known, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown key {key!r}; {guess}Known keys: {', '.join(known)}"


def _missing(key: str, model: type[BaseModel]) -> str:
    field = model.model_fields.get(key)
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return f"the key {key!r} is missing{meaning}"


def _bad_value(detail: ErrorDetails, key: str, model: type[BaseModel]) -> str:
    value, kind = detail["input"], detail["type"]
    field = model.model_fields.get(key)
    if kind in _RANGES and field is not None:
        return f"{key} = {value!r} is outside {allowed_range(field, key)}{_slip(value, field, key)}"
    if kind == "value_error" and field is not None:
        return f"{key} = {value!r} {_reason(detail)}{_slip(value, field, key)}"
    if isinstance(value, Mapping) and kind in ("float_type", "int_type"):
        return f"{key} is a distribution, which only a sweep can draw from; give one number"
    if isinstance(value, Mapping) and kind == "tuple_type":
        return f"{key} is a list of tables: write [[{key}]], with double brackets"
    if kind in _TYPES:
        allowed = f", {allowed_range(field, key)}" if field is not None and _limits(field)[0] is not None else ""
        return f"{key} = {value!r} must be {_TYPES[kind]}{allowed}"
    if kind == "literal_error":
        return _not_among(key, value, detail.get("ctx", {})["expected"])
    return f"{key} = {value!r}: {detail['msg']}"


def _reason(detail: ErrorDetails) -> str:
    return str(detail.get("ctx", {}).get("error", detail["msg"]))


def _not_among(key: str, value: object, expected: str) -> str:
    allowed = re.findall(r"'([^']*)'", expected)
    close = get_close_matches(str(value), allowed, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{key} = {value!r} is not known; {guess}Allowed: {', '.join(map(repr, allowed))}"


def _bad_kind(table: str, item: object) -> str:
    kind = item.get("kind") if isinstance(item, Mapping) else None
    allowed = ", ".join(map(repr, _TAGGED[table]))
    if kind is None:
        return f"the key 'kind' is missing. Allowed: {allowed}"
    return _not_among("kind", kind, allowed)


def _limits(field: FieldInfo) -> tuple[float | None, float | None]:
    low = high = None
    for item in field.metadata:
        low = getattr(item, "ge", getattr(item, "gt", low))
        high = getattr(item, "le", getattr(item, "lt", high))
    return low, high


def _slip(value: object, field: FieldInfo, key: str) -> str:
    """Guess the unit that was typed: one in which the number would have been within range."""
    low, high = _limits(field)
    if low is None or high is None or not isinstance(value, int | float) or value == 0:
        return ""
    others = next(others for suffix, _, others in _UNITS if key.endswith(suffix))
    floor = max(low, 1e-3 * high)
    guesses = [(name, value * factor) for name, factor in others if floor <= value * factor <= high]
    if not guesses or not (unit_of(key) or high <= 1.0):
        return ""
    return "".join(f"; if it was given in {name}, write {ours:.4g}" for name, ours in guesses)
