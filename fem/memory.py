"""How much memory is free, one clear refusal before it runs out, and what is freed kept for the next arrays."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kyphos.errors import InputError

_GROUP = Path("/sys/fs/cgroup")


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt, see its manual page


@contextmanager
def kept_memory() -> Iterator[None]:
    """While open, the GNU C library keeps the memory of freed arrays; elsewhere nothing happens.

    It would give large arrays back to the system at once, and every evaluation would have the same pages cleared and
    mapped again: a third of its time at 150 thousand unknowns.
    """
    library = _gnu()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, 65_536)
        library.mallopt(_TRIM_THRESHOLD, 131_072)
        library.malloc_trim(0)


def available_bytes() -> float:
    """Memory that can be had without swapping; infinity where the system does not tell."""
    return min(_of_the_machine(), _of_the_group()) + _kept_bytes()


def require(needed_bytes: float, what: str, instead: str) -> None:
    """Raise ``InputError`` if ``what`` needs more memory than there is; ``instead`` says what to try."""
    free = available_bytes()
    if needed_bytes > free:
        raise InputError(
            f"{what} would need about {needed_bytes / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; {instead}"
        )


def _gnu() -> Any:
    """The C library of this process, if it is GNU's."""
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "mallinfo2") else None
    except (OSError, TypeError):
        return None


class _Allocated(ctypes.Structure):
    """``struct mallinfo2``."""

    _fields_ = [(f"other_{i}", ctypes.c_size_t) for i in range(8)] + [
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    ]


def _kept_bytes() -> float:
    """What this process has freed but not given back."""
    library = _gnu()
    if library is None:
        return 0.0
    library.mallinfo2.restype = _Allocated
    return float(library.mallinfo2().fordblks)


def _of_the_machine() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * float(line.split()[1])
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # no such number on this system
        return float("inf")


def _of_the_group() -> float:
    """What a container leaves: its limit less what it holds beyond the file cache."""
    try:
        limit = (_GROUP / "memory.max").read_text().strip()
        if limit == "max":
            return float("inf")
        stat = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        used = float((_GROUP / "memory.current").read_text()) - float(stat.get("inactive_file", 0))
        return max(0.0, float(limit) - used)
    except (OSError, ValueError):
        return float("inf")
