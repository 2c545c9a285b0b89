"""What the calibration is held against: published values, their spread, and how a miss is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import ConvergenceError

from .parameters import Scale

Floats = NDArray[np.float64]

FACTOR = 1.5
"""A value published without spread counts as known to this factor: one standard deviation of its logarithm."""


OUTLIER = 2.0
"""From about this many standard deviations on a miss counts by its logarithm: no constants may be able to mend it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One published number.

    A miss is counted in `deviation`: of the value itself (scale "linear") or of its logarithm ("log"). `weight` is
    the share that a row has where several rows of one experiment measure the same quantity: k rows get 1/k each.
    """

    name: str
    published: float
    unit: str
    deviation: float
    scale: Scale
    source: str = ""
    flag: str = ""
    weight: float = 1.0

    def miss(self, ours: float) -> float:
        """Standard deviations by which `ours` lies above the published value; ConvergenceError without a logarithm."""
        if self.scale == "linear":
            return (ours - self.published) / self.deviation
        if not ours / self.published > 0.0:
            raise ConvergenceError(f"{self.name}: {ours:g} {self.unit} has no ratio to {self.published:g}")
        return log(ours / self.published) / self.deviation

    def lift(self, of_all: float, of_one: float) -> float:
        """What to add to (scale "log": to the logarithm of) one specimen's value to get that of all specimens.

        ConvergenceError where they have no ratio.
        """
        if self.scale == "linear":
            return of_all - of_one
        if not of_all / of_one > 0.0:
            raise ConvergenceError(f"{self.name}: {of_all:g} {self.unit} has no ratio to {of_one:g}")
        return log(of_all / of_one)

    def lifted(self, of_one: float, lift: float) -> float:
        """One specimen's value with a `lift`."""
        return of_one + lift if self.scale == "linear" else of_one * exp(lift)

    @property
    def band(self) -> tuple[float, float]:
        """One standard deviation below and above the published value."""
        if self.scale == "linear":
            return self.published - self.deviation, self.published + self.deviation
        factor = exp(self.deviation)
        return self.published / factor, self.published * factor


def spread(published: float, sd: float | None, *, positive: bool) -> tuple[float, Scale]:
    """Deviation and scale of a row: linear by its standard deviation, unless that is large or unknown.

    A positive quantity whose standard deviation exceeds half its mean is skewed; it is compared by logarithm, with the
    deviation of the log-normal distribution of that mean and standard deviation.
    """
    if sd is None:
        return log(FACTOR), "log"
    if positive and sd > 0.5 * abs(published):
        return float(np.sqrt(np.log1p((sd / published) ** 2))), "log"
    return sd, "linear"


@dataclass(frozen=True)
class Data:
    """All targets, and how far the errors of pairs of them go together."""

    targets: tuple[Target, ...]
    correlated: Mapping[tuple[str, str], float]

    def whitened(self, ours: Mapping[str, float]) -> Floats:
        """Residuals (m,), unit normal if the model is right; ConvergenceError where a miss cannot be counted."""
        misses = np.array([target.miss(ours[target.name]) for target in self.targets])
        return np.asarray(np.linalg.solve(np.linalg.cholesky(self._correlation()), misses))

    def lifts(self, of_all: Mapping[str, float], of_one: Mapping[str, float]) -> dict[str, float]:
        """The lift of each row, see `Target.lift`."""
        return {t.name: t.lift(of_all[t.name], of_one[t.name]) for t in self.targets}

    def lifted(self, of_one: Mapping[str, float], lifts: Mapping[str, float]) -> dict[str, float]:
        """One specimen's values (of the mean specimen) as those of all specimens."""
        return {t.name: t.lifted(of_one[t.name], lifts[t.name]) for t in self.targets}

    def felt(self, whitened: Floats) -> tuple[Floats, Floats]:
        """What the fit squares (m,): `whitened`, outliers dampened, each by its row's weight; and its derivative."""
        shares = np.sqrt([target.weight for target in self.targets])
        value, slope = dampened(whitened)
        return shares * value, shares * slope

    def _correlation(self) -> Floats:
        """Correlation (m, m) of the errors."""
        names: Sequence[str] = [target.name for target in self.targets]
        matrix = np.eye(len(names))
        for (one, other), value in self.correlated.items():
            if one in names and other in names:
                i, j = names.index(one), names.index(other)
                matrix[i, j] = matrix[j, i] = value
        return matrix


def dampened(residuals: Floats) -> tuple[Floats, Floats]:
    """Values whose squares are Cauchy's loss c^2 ln(1 + (r/c)^2), c = `OUTLIER`, and their derivatives by r; (m,)."""
    r = np.where(residuals == 0.0, 1e-12, residuals) / OUTLIER
    root = np.sqrt(np.log1p(r**2))
    return np.asarray(np.sign(r) * OUTLIER * root), np.asarray(np.abs(r) / (root * (1.0 + r**2)))
