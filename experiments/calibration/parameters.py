"""What is calibrated: constants of cards, each with the coordinate it is fitted in and the prior its card gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import MaterialError
from kyphos.materials import load_card

Floats = NDArray[np.float64]
Scale = Literal["log", "linear"]

PRIOR_WIDTH = 4.0
"""A card's range is this many standard deviations of the prior wide, and bounds the fit."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One constant of a card, fitted on a logarithmic or a linear scale.

    The prior is normal on that scale, about `guess`, the value the card had before any calibration; the card's range is
    four of its standard deviations wide. A score is a distance from the guess in those deviations.
    """

    card: str
    name: str
    unit: str
    guess: float
    low: float
    high: float
    scale: Scale

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0.0):
            raise MaterialError(
                f"card {self.card!r}: {self.name} cannot be calibrated on a {self.scale} scale in "
                f"[{self.low:g}, {self.high:g}] {self.unit}; it needs low < high, and low > 0 for a log scale"
            )

    def _inner(self, value: float) -> float:
        return log(value) if self.scale == "log" else value

    @property
    def _deviation(self) -> float:
        return (self._inner(self.high) - self._inner(self.low)) / PRIOR_WIDTH

    def score(self, value: float) -> float:
        """How many standard deviations of the prior a value lies above the guess."""
        return (self._inner(value) - self._inner(self.guess)) / self._deviation

    def value(self, score: float) -> float:
        """The value at a score; the inverse of `score`, kept within the range against rounding."""
        inner = self._inner(self.guess) + score * self._deviation
        return min(max(exp(inner) if self.scale == "log" else inner, self.low), self.high)

    def deviation(self, score: float, score_deviation: float) -> float:
        """Standard deviation of the value, to first order, from that of the score."""
        slope = self.value(score) if self.scale == "log" else 1.0
        return slope * self._deviation * score_deviation


CHOSEN: dict[str, Scale] = {
    "damage_max": "linear",
    "damage_rate": "log",
    "plateau_ratio": "linear",
    "softening_strain": "log",
    "densification_gain": "log",
    "densification_strain": "log",
    "springback_share": "linear",
    "tension_share": "log",
    "packing_exponent": "linear",
    "creep_coefficient": "log",
    "irrecoverable_share": "linear",
    "creep_time_s": "log",
    "fatigue_life_coefficient": "log",
    "fatigue_life_exponent": "linear",
}
"""Constants of card `trabecular` that are fitted, and how. Shell and endplates inherit what their cards leave open."""


def chosen_parameters() -> tuple[Parameter, ...]:
    """The constants that are calibrated, with the ranges of card `trabecular`."""
    card = load_card("trabecular")
    return tuple(
        Parameter(card.name, name, constant.unit, constant.guess, constant.low, constant.high, scale)
        for name, scale in CHOSEN.items()
        for constant in (card.constants[name],)
    )


def scores(parameters: Sequence[Parameter], values: Mapping[str, float]) -> Floats:
    """Scores (p,) of constants by name."""
    return np.array([parameter.score(values[parameter.name]) for parameter in parameters])


def values(parameters: Sequence[Parameter], at: Floats) -> dict[str, float]:
    """Constants by name at scores (p,)."""
    return {parameter.name: parameter.value(float(z)) for parameter, z in zip(parameters, at, strict=True)}
