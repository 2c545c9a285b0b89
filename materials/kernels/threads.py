"""How many threads a batch deserves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from numba import get_num_threads, set_num_threads

_FEW = 256


@contextmanager
def enough_threads(points: int) -> Iterator[None]:
    """Run small batches on one thread: waiting for a second on a busy machine costs more than the work."""
    before = get_num_threads()
    if points < _FEW:
        set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)
