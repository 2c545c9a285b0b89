"""Let the tests here import ``shapes``, whatever pytest's import mode."""

from __future__ import annotations

import sys
from pathlib import Path

import numba
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def one_thread():
    """Meshes of a few cells: waking a second thread costs more than it saves, above all on a busy machine."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)
