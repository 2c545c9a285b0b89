"""What every test shares: reproducible property tests, at most two threads, no colours in captured output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that tests of several folders share
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

# A compiled kernel is slow once; a failure must come again on the next machine.
settings.register_profile("kyphos", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("kyphos")


@pytest.fixture
def one_thread():
    """Meshes of a few cells: waking a second thread costs more than it saves, above all on a busy machine."""
    from kyphos.threads import thread_count, use_threads

    before = thread_count()
    use_threads(1)
    yield
    use_threads(before)
