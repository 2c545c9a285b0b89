"""Writing calibrated constants into a card, and nothing else in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from kyphos.errors import MaterialError
from kyphos.materials import parse_card


def frozen(name: str, text: str, constants: Mapping[str, float], notes: Mapping[str, str]) -> str:
    """The text of a card with calibrated constants: value, `prior`, `calibrated`, and flag `assumed`.

    Parameters
    ----------
    name, text
        The card's name and TOML.
    constants
        Value by name of the constant.
    notes
        What each was calibrated on, by name.

    Raises
    ------
    MaterialError
        The card has no such constant of its own, or would not be valid.
    """
    guesses = {key: constant.guess for key, constant in parse_card(name, text).constants.items()}
    for key, value in constants.items():
        head = re.search(rf"^\[parameters\.{re.escape(key)}\]\n", text, re.MULTILINE)
        if head is None:
            raise MaterialError(f"card {name!r} has no [parameters.{key}] of its own to write a calibrated value into")
        body = re.compile(r"(?:^(?!\[).*\n?)*", re.MULTILINE).match(text, head.end())
        assert body is not None, "the pattern matches the empty string"
        text = text[: head.end()] + _written(body[0], value, guesses[key], notes[key]) + text[body.end() :]
    parse_card(name, text)
    return text


def _written(body: str, value: float, guess: float, note: str) -> str:
    """The lines of one constant with its new value; blank lines after it stay."""
    kept = [line for line in body.rstrip("\n").split("\n") if not re.match(r"(value|prior|calibrated|flag)\s*=", line)]
    lines = [f"value = {value!r}", *kept, 'flag = "assumed"', f"calibrated = {json.dumps(note)}", f"prior = {guess!r}"]
    return "\n".join(lines) + body[len(body.rstrip("\n")) :]
