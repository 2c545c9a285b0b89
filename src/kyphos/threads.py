"""Work shared among threads: kernels release the interpreter lock, and threads sleep while there is nothing to do.

Not Numba's own threads: those spin at every barrier, at the cost of whatever else runs at that time, ours included,
and kernels for them take three times as long to compile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

CHUNK = 256  # cells that share their scratch; about 1 ms of work for one thread


def _available() -> int:
    """What NUMBA_NUM_THREADS allows, or else the cores that this process may use."""
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_count = _available()


def use_threads(count: int) -> int:
    """Let all kernels of this process run on ``count`` threads (0: all there are); returns the number in use."""
    global _count
    available = _available()
    _count = available if count <= 0 else min(count, available)
    return _count


def thread_count() -> int:
    """Threads that kernels run on."""
    return _count


def in_chunks(count: int, run: Callable[[int, int], None]) -> None:
    """Call ``run(first, last)``, which releases the interpreter lock, for chunks that make up ``range(count)``."""
    in_turns(count, [range(0, count, CHUNK)], run)


def in_turns(count: int, turns: Sequence[Sequence[int]], run: Callable[[int, int], None]) -> None:
    """`in_chunks` with the order given: chunks start at the items of ``turns``, and a turn ends before the next one."""

    def part(first: int) -> None:
        run(first, min(count, first + CHUNK))

    threads = min(_count, max(map(len, turns), default=0))
    if threads < 2:
        for turn in turns:
            for first in turn:
                part(first)
        return
    with ThreadPoolExecutor(threads) as pool:
        for turn in turns:
            for _ in pool.map(part, turn):  # raises what a thread has raised
                pass
