"""Every public name is documented, every example in a docstring runs, functions stay short."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("fem", "meshes", "materials", "experiments", "views")
LONGEST_90_PERCENT = 35  # lines


def module_names() -> Iterator[str]:
    """Walk each room by itself: from ``kyphos`` alone an editable install hides them."""
    for name in ("kyphos", *(f"kyphos.{room}" for room in ROOMS)):
        yield name
        path = importlib.import_module(name).__path__
        yield from (found.name for found in pkgutil.walk_packages(path, f"{name}."))


MODULES = sorted(set(module_names()))


def public_objects(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The module's own public functions and classes, and the classes' own public methods and properties."""
    for name, thing in vars(module).items():
        plain = getattr(thing, "py_func", thing)  # a compiled kernel carries the function it came from
        if name.startswith("_") or getattr(plain, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(plain):
            yield name, plain
        elif inspect.isclass(plain):
            yield name, plain
            yield from public_members(name, plain)


def public_members(name: str, owner: type) -> Iterator[tuple[str, object]]:
    """Functions and properties written in the class body itself, inherited documentation counted."""
    for member, thing in vars(owner).items():
        if not member.startswith("_") and (inspect.isfunction(thing) or isinstance(thing, property)):
            yield f"{name}.{member}", getattr(owner, member)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name):
    module = importlib.import_module(name)
    bare = [label for label, thing in public_objects(module) if not inspect.getdoc(thing)]
    assert module.__doc__, f"{name} has no docstring"
    assert not bare, f"{name}: no docstring on {', '.join(bare)}"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_functions_are_short():
    lengths = [
        node.end_lineno - node.lineno + 1
        for folder in ("src", *ROOMS)
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert np.percentile(lengths, 90) <= LONGEST_90_PERCENT
