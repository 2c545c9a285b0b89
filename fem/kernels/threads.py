"""How many threads the compiled kernels use, and work shared among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Call ``run(first, last)``, which releases the interpreter lock, for chunks that make up ``range(count)``."""
    in_turns(count, [range(0, count, CHUNK)], run)


def in_turns(count: int, turns: Sequence[Sequence[int]], run: Callable[[int, int], None]) -> None:
    """`in_chunks` with the order given: chunks start at the items of ``turns``; one turn ends before the next begins.

    A parallel kernel of Numba would do the same, but it takes three times as long to compile, and its threads wait
    for each other while another process holds one of the cores.
    """

    def part(first: int) -> None:
        run(first, min(count, first + CHUNK))

    threads = min(numba.get_num_threads(), max(map(len, turns), default=0))
    if threads < 2:
        for turn in turns:
            for first in turn:
                part(first)
        return
    with ThreadPoolExecutor(threads) as pool:
        for turn in turns:
            for _ in pool.map(part, turn):  # raises what a thread has raised
                pass
