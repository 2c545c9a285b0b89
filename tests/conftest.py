"""What every test shares: reproducible property tests, at most two threads, no colours in captured output."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("NUMBA_NUM_THREADS", "2")

# A compiled kernel is slow once; a failure must come again on the next machine.
settings.register_profile("kyphos", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("kyphos")
