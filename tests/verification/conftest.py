"""Let the tests here import ``shapes`` and ``wall``, whatever pytest's import mode; keep what the checks declare."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import wall as the_wall

RECORDING = "KYPHOS_WALL"  # environment: a file for all rows of this run, instead of the comparison with the page
_rows: list[the_wall.Row] = []


@pytest.fixture(autouse=True)
def alone(one_thread):
    """Every test here runs on one thread."""


@pytest.fixture(scope="session")
def page():
    """The rows of the page by test."""
    if RECORDING in os.environ:
        return None
    told: dict[str, list[the_wall.Row]] = {}
    for row in the_wall.read():
        told.setdefault(row.test, []).append(row)
    return told


@pytest.fixture
def wall(request, page):
    """Declare checks; afterwards the page must tell them as they were."""
    test = f"{request.path.stem}::{request.node.name}"
    declared = the_wall.Wall(request.module.GROUP, test)
    yield declared
    _rows.extend(declared.rows)
    if page is not None and all(row.holds for row in declared.rows):
        wrong = the_wall.disagreements(declared.rows, page.get(test, []))
        assert not wrong, f"docs/verification.md does not tell {wrong} as they are; {the_wall.HINT}"


def pytest_sessionfinish():
    """Write the rows of this run, if asked to."""
    if _rows and RECORDING in os.environ:
        the_wall.write(_rows, Path(os.environ[RECORDING]))
