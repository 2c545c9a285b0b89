"""What a long calculation asks of its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .linear import blas
from .memory import kept_memory


@contextmanager
def tuned_process() -> Iterator[None]:
    """While open: freed memory is kept for the next arrays, and BLAS runs on one thread.

    Its other threads spin for a while after each product, beside ours, which have better work to do: without this,
    two threads solve a stage no faster than one.
    """
    with blas().limit(limits=1, user_api="blas"), kept_memory():
        yield
