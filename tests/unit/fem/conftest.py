"""The room's unit tests use the meshes and the linear law of the verification tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kyphos.threads import thread_count, use_threads

sys.path.insert(0, str(Path(__file__).parents[2] / "verification"))


@pytest.fixture(autouse=True)
def one_thread():
    """Meshes of a few cells: waking a second thread costs more than it saves, above all on a busy machine."""
    before = thread_count()
    use_threads(1)
    yield
    use_threads(before)
