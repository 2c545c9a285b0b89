"""Our answer beside the published one: mean, spread, z-score or factor, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from .protocols import Observables
from .rows import Row

NOT_CONVERGED = "not converged"
NOT_ASSESSABLE = "not assessable"
FACTOR = 1.5
FAILED_SHARE = 1.0 / 3.0
"""Share of failed specimens above which the others say nothing about the population."""
FOLLOWING_SHARE = 0.75
"""Share of specimens that must follow a ranking for it to be reproduced."""


@dataclass(frozen=True)
class Finding:
    """A row with our answer.

    Attributes
    ----------
    ours, ours_sd, count
        Mean (or what the row's statistic is) and standard deviation over ``count`` specimens; None if there is none.
    z, factor
        Distance in published standard deviations, or ratio of ours to the published value; None where not defined.
    verdict
        ``within 1 sd``, ``within 2 sd``, ``outside``, ``within factor 1.5``, ``within range``, ``reproduced``,
        ``not reproduced``, ``not converged`` or ``not assessable``.
    also
        Means of further observables that the row shows.
    message
        Why there is no number, or which specimens failed.
    """

    row: Row
    verdict: str
    ours: float | None = None
    ours_sd: float | None = None
    count: int = 0
    z: float | None = None
    factor: float | None = None
    also: dict[str, float] = field(default_factory=dict)
    message: str = ""


def judge(row: Row, found: Observables | None) -> Finding:
    """Hold what a protocol found against a row; ``found`` is None for rows that have no protocol."""
    if row.judge == "none" or found is None:
        return Finding(row, NOT_ASSESSABLE, message=row.reason)
    given = found.values.get(row.observable, np.array([np.nan]))
    values = np.atleast_1d(given)
    known = values[~np.isnan(values)]
    count = int(known.size) if given.ndim else len(found.individuals)
    message = _failures(found)
    if not known.size or known.size < (1.0 - FAILED_SHARE) * values.size:
        return Finding(row, NOT_CONVERGED, count=int(known.size), message=message or "no specimen gave a number")
    ours = _statistic(row, known)
    spread = float(known.std(ddof=1)) if known.size > 1 else None
    shown = {name: float(np.nanmean(found.values[name])) for name in row.also if _has_number(found, name)}
    z, factor = _distance(row, ours)
    if not isfinite(ours):
        largest = "not reached within the range tested"
        return Finding(row, _worst(row), count=count, also=shown, message=f"{largest}. {message}".strip())
    spread = spread if spread is not None and isfinite(spread) else None
    return Finding(row, _verdict(row, ours, z, factor), ours, spread, count, z, factor, shown, message)


def _has_number(found: Observables, name: str) -> bool:
    return name in found.values and bool(np.isfinite(found.values[name]).any())


def _failures(found: Observables) -> str:
    if not found.failures:
        return ""
    first = next(iter(found.failures.items()))
    return f"{len(found.failures)} runs failed; specimen {first[0]}: {first[1]}"


def _statistic(row: Row, known: NDArray[np.float64]) -> float:
    if row.statistic == "sd":
        return float(known.std(ddof=1)) if known.size > 1 else inf
    return float(np.median(known) if row.statistic == "median" else known.mean())


def _distance(row: Row, ours: float) -> tuple[float | None, float | None]:
    """z-score where the published sd is known, else the factor (negative: the other way)."""
    if row.judge != "number" or row.published is None or not isfinite(ours):
        return None, None
    if row.sd:
        return (ours - row.published) / row.sd, None
    return None, ours / row.published if row.published else None


def _verdict(row: Row, ours: float, z: float | None, factor: float | None) -> str:
    if row.judge == "order":
        return "reproduced" if ours >= FOLLOWING_SHARE else "not reproduced"
    if row.judge == "band":
        assert row.low is not None
        assert row.high is not None
        inside = row.low <= ours <= row.high
        if row.use == "seed":
            return "reproduced" if inside else "not reproduced"
        return "within range" if inside else "outside"
    if z is not None:
        return "within 1 sd" if abs(z) <= 1.0 else "within 2 sd" if abs(z) <= 2.0 else "outside"
    inside = factor is not None and 1.0 / FACTOR <= factor <= FACTOR
    return "within factor 1.5" if inside else "outside"


def _worst(row: Row) -> str:
    return "not reproduced" if row.judge == "order" or row.use == "seed" else "outside"
