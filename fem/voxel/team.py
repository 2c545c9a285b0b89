"""Threads that share the slabs of a grid.

Not Numba's own threads: those spin at every barrier, which makes two of them ten times slower than one as soon as
another process wants the machine. Here kernels release the interpreter lock, the helpers sleep while there is
nothing to do, whoever is free takes the next slab, and a helper that wakes too late finds the work done.
Slabs, and with them the order of every sum, depend on the grid alone: results have the same bits for any number of
threads.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from kyphos.threads import thread_count

Slabs = tuple[tuple[int, int], ...]

_SMALL = 20_000  # numbers in a vector below which waking a thread costs more than it brings


def slabs_of(count: int, size: int, at_least: int = 10) -> Slabs:
    """Split ``count`` layers that make up ``size`` numbers into two to eight slabs of ``at_least`` layers, or one.

    Their number is even: with three, one of two threads would wait.
    """
    parts = 1 if size < _SMALL else max(1, min(8, 2 * (count // (2 * at_least))))
    edges = [count * p // parts for p in range(parts + 1)]
    return tuple(pairwise(edges))


class _Job:
    """One kernel on all slabs; ``work`` may be called by any number of threads."""

    __slots__ = ("error", "finished", "kernel", "left", "results", "turn")

    def __init__(self, kernel: Callable[[int], Any], count: int) -> None:
        self.kernel = kernel
        self.turn = iter(range(count))  # next() of a range is atomic
        self.left = list(range(count))
        self.results: list[Any] = [None] * count
        self.error: BaseException | None = None
        self.finished = threading.Lock()
        self.finished.acquire()

    def work(self) -> None:
        for slab in self.turn:
            try:
                self.results[slab] = self.kernel(slab)
            except BaseException as error:  # handed to the caller of Team.run
                self.error = error
            self.left.pop()  # atomic as well; exactly one thread sees the list run empty
            if not self.left:
                _open(self.finished)


def _open(lock: threading.Lock) -> None:
    with suppress(RuntimeError):  # two threads saw the empty list; once is enough
        lock.release()


def _serve(queue: SimpleQueue[_Job | None]) -> None:
    while (job := queue.get()) is not None:
        job.work()
        del job


class Team:
    """``threads`` workers, the caller being one; use it as a context manager.

    Parameters
    ----------
    threads
        None takes as many as Numba has been told to use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = max(1, thread_count() if threads is None else threads)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        for _ in range(self.threads - 1):
            threading.Thread(target=_serve, args=(self._queue,), daemon=True).start()
        self._close = weakref.finalize(self, _dismiss, self._queue, self.threads - 1)

    def __enter__(self) -> Team:
        # BLAS on one thread: its pool would fight ours, and the order of its sums would not be fixed
        self._blas = ThreadpoolController().limit(limits=1, user_api="blas")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blas.restore_original_limits()
        self._close()

    def run(self, slabs: Slabs, kernel: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``kernel(*arguments, first, last)`` for every slab; the results in their order."""
        return self.run_with(slabs, kernel, arguments, None)

    def run_with(
        self, slabs: Slabs, kernel: Callable[..., Any], arguments: tuple[Any, ...], scratch: Any | None
    ) -> list[Any]:
        """The same with ``scratch[slab]`` in front of ``first, last``."""

        def one(slab: int) -> Any:
            if scratch is None:
                return kernel(*arguments, *slabs[slab])
            return kernel(*arguments, scratch[slab], *slabs[slab])

        if self.threads == 1 or len(slabs) <= 1:
            return [one(slab) for slab in range(len(slabs))]
        job = _Job(one, len(slabs))
        for _ in range(min(self.threads, len(slabs)) - 1):
            self._queue.put(job)
        job.work()
        job.finished.acquire()
        if job.error is not None:
            raise job.error
        return job.results

    def total(self, slabs: Slabs, kernel: Callable[..., float], *arguments: Any) -> float:
        """Sum of the results of ``run``, always in the same order."""
        return float(np.sum(self.run(slabs, kernel, *arguments)))


def _dismiss(queue: SimpleQueue[_Job | None], helpers: int) -> None:
    for _ in range(helpers):
        queue.put(None)
