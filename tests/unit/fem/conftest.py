"""The room's unit tests use the meshes and the linear law of the verification tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "verification"))


@pytest.fixture(autouse=True)
def alone(one_thread):
    """Every test here runs on one thread."""
