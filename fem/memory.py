"""How much memory is free, and one clear refusal before it runs out."""

from __future__ import annotations

import os
from pathlib import Path

from kyphos.errors import InputError

_GROUP = Path("/sys/fs/cgroup")


def available_bytes() -> float:
    """Memory that can be had without swapping; infinity where the system does not tell."""
    return min(_of_the_machine(), _of_the_group())


def require(needed_bytes: float, what: str, instead: str) -> None:
    """Raise ``InputError`` if ``what`` needs more memory than there is; ``instead`` says what to try."""
    free = available_bytes()
    if needed_bytes > free:
        raise InputError(
            f"{what} would need about {needed_bytes / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; {instead}"
        )


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
