"""How many threads the compiled kernels use, and work shared among them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba

CHUNK = 256  # cells that share their scratch; about 1 ms of work for one thread


def use_threads(count: int) -> int:
    """Let all kernels of this process run on ``count`` threads (0: all there are); returns the number in use."""
    available = int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009
    chosen = available if count <= 0 else min(count, available)
    numba.set_num_threads(chosen)
    return chosen


def in_chunks(count: int, run: Callable[[int, int], None]) -> None:
    """Call ``run(first, last)``, which releases the interpreter lock, for chunks that make up ``range(count)``.

    A parallel kernel of Numba would do the same, but it takes three times as long to compile, and its threads wait
    for each other while another process holds one of the cores.
    """

    def part(first: int) -> None:
        run(first, min(count, first + CHUNK))

    starts = range(0, count, CHUNK)
    threads = min(numba.get_num_threads(), len(starts))
    if threads < 2:
        for first in starts:
            part(first)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(part, starts):  # raises what a thread has raised
            pass
