"""Work shared among threads: kernels release the interpreter lock, and threads sleep while there is nothing to do.

Not Numba's own threads: those spin at every barrier, which makes two of them ten times slower than one as soon as
another process wants the machine, and kernels for them take three times as long to compile. Here whoever is free
takes the next piece of work, and a helper that wakes too late finds it done. Pieces, and with them the order of every
sum, depend on the work alone: results have the same bits for any number of threads.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

Slabs = tuple[tuple[int, int], ...]

CHUNK = 256  # cells that share their scratch; about 1 ms of work for one thread
_SMALL = 20_000  # numbers in a vector below which waking a thread costs more than it brings


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


def chunks(count: int) -> Slabs:
    """``range(count)`` in chunks of `CHUNK`."""
    return tuple((first, min(count, first + CHUNK)) for first in range(0, count, CHUNK))


def slabs_of(count: int, size: int, at_least: int = 10) -> Slabs:
    """Split ``count`` layers that make up ``size`` numbers into two to eight slabs of ``at_least`` layers, or one.

    Their number is even: with three, one of two threads would wait.
    """
    parts = 1 if size < _SMALL else max(1, min(8, 2 * (count // (2 * at_least))))
    edges = [count * p // parts for p in range(parts + 1)]
    return tuple(pairwise(edges))


class _Job:
    """Calls of ``work`` for 0 .. count - 1; ``help`` may be called by any number of threads."""

    __slots__ = ("error", "finished", "left", "results", "turn", "work")

    def __init__(self, count: int, work: Callable[[int], Any]) -> None:
        self.work = work
        self.turn = iter(range(count))  # next() of a range is atomic
        self.left = list(range(count))
        self.results: list[Any] = [None] * count
        self.error: BaseException | None = None
        self.finished = threading.Lock()
        self.finished.acquire()

    def help(self) -> None:
        for i in self.turn:
            try:
                self.results[i] = self.work(i)
            except BaseException as error:  # handed to the caller of Team.each
                self.error = error
            self.left.pop()  # atomic as well; exactly one thread sees the list run empty
            if not self.left:
                _open(self.finished)


def _open(lock: threading.Lock) -> None:
    with suppress(RuntimeError):  # two threads saw the empty list; once is enough
        lock.release()


def _serve(queue: SimpleQueue[_Job | None]) -> None:
    while (job := queue.get()) is not None:
        job.help()
        del job


class Team:
    """``threads`` workers, the caller being one; a context manager holds BLAS to one thread meanwhile.

    Parameters
    ----------
    threads
        None takes `thread_count`.
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

    def each(self, count: int, work: Callable[[int], Any]) -> list[Any]:
        """``work(i)`` for i in 0 .. count - 1, in any order; the results in theirs. Raises what a call has raised."""
        if self.threads == 1 or count <= 1:
            return [work(i) for i in range(count)]
        job = _Job(count, work)
        for _ in range(min(self.threads, count) - 1):
            self._queue.put(job)
        job.help()
        job.finished.acquire()
        if job.error is not None:
            raise job.error
        return job.results

    def run(self, slabs: Slabs, kernel: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``kernel(*arguments, first, last)`` for every slab; the results in their order."""
        return self.each(len(slabs), lambda i: kernel(*arguments, *slabs[i]))

    def run_with(
        self, slabs: Slabs, kernel: Callable[..., Any], arguments: tuple[Any, ...], scratch: Sequence[Any]
    ) -> list[Any]:
        """The same with ``scratch[slab]`` in front of ``first, last``."""
        return self.each(len(slabs), lambda i: kernel(*arguments, scratch[i], *slabs[i]))

    def total(self, slabs: Slabs, kernel: Callable[..., float], *arguments: Any) -> float:
        """Sum of the results of ``run``, always in the same order."""
        return float(np.sum(self.run(slabs, kernel, *arguments)))


def _dismiss(queue: SimpleQueue[_Job | None], helpers: int) -> None:
    for _ in range(helpers):
        queue.put(None)


_everybody: Team | None = None


def everybody() -> Team:
    """The team of all threads that kernels run on."""
    global _everybody
    if _everybody is None or _everybody.threads != _count:
        _everybody = Team()
    return _everybody
