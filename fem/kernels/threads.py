"""How many threads the compiled kernels use."""

from __future__ import annotations

import numba


def use_threads(count: int) -> int:
    """Let all kernels of this process run on ``count`` threads (0: all there are); returns the number in use."""
    available = int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009
    chosen = available if count <= 0 else min(count, available)
    numba.set_num_threads(chosen)
    return chosen
