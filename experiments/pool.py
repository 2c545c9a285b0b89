"""Work on several things at a time, each in a process of its own, that ends when this one does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], things: Sequence[T], workers: int) -> Iterator[tuple[T, R]]:
    """Yield each thing with what ``work`` made of it, as it is finished.

    With less than two workers or things all is done here, in order. Otherwise ``work``, the things and what is made of
    them must be picklable; workers are interrupted with this process, and end if it is killed.
    """
    if workers < 2 or len(things) < 2:
        for thing in things:
            yield thing, work(thing)
        return
    pool = ProcessPoolExecutor(min(workers, len(things)), mp_context=get_context("spawn"), initializer=_follow_parent)
    try:
        waiting = {pool.submit(work, thing): thing for thing in things}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """A worker leaves without a traceback when interrupted, and does not outlive the process that asked for it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = parent_process()
    assert parent is not None, "only workers are initialised"

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
