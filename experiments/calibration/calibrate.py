"""The calibration itself: experiments, data and parameters in, constants with their uncertainty out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .inference import Fit, Floats, Problem, covariance, fit
from .parameters import Parameter, scores, values
from .runs import Experiment, Kept
from .targets import Data

DIGITS = 3
"""Significant digits of a calibrated constant; the rows after calibration are found with the rounded values."""

OPEN = 0.9
"""A constant or direction that keeps more than this share of its prior standard deviation is not identified."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted, on what, and what came out.

    `constants` are the mode's values, rounded, where the data narrow them, and the guesses elsewhere. `before` and
    `after` are the observables, by name, at the guesses and at the `constants`.
    """

    parameters: tuple[Parameter, ...]
    data: Data
    problem: Problem
    fit: Fit
    constants: Mapping[str, float]
    before: Mapping[str, float]
    after: Mapping[str, float]


def calibrate(
    parameters: Sequence[Parameter],
    experiments: Sequence[Experiment],
    data: Data,
    kept: Kept,
    *,
    rounds: int,
    told: Callable[[str], None],
) -> Calibration:
    """Fit the parameters from their guesses.

    Raises
    ------
    ConvergenceError
        The model has no answer with the cards' values from before any calibration, or none near the mode.
    """

    def observe(constants: Mapping[str, float]) -> dict[str, float]:
        return {row: value for experiment in experiments for row, value in kept(experiment, constants).items()}

    def residual(z: Floats) -> Floats:
        return data.whitened(observe(values(parameters, z)))

    low = scores(parameters, {p.name: p.low for p in parameters})
    high = scores(parameters, {p.name: p.high for p in parameters})
    problem, start = Problem(residual, low, high, data.felt), np.zeros(len(parameters))
    found = fit(problem, start, rounds=rounds, told=told)
    left = np.sqrt(np.diag(covariance(found.model)))
    mode = zip(parameters, found.model.at, left, strict=True)
    constants = {p.name: p.guess if share > OPEN else rounded(p, float(z)) for p, z, share in mode}
    before, after = observe(values(parameters, start)), observe(constants)
    return Calibration(tuple(parameters), data, problem, found, constants, before, after)


def rounded(parameter: Parameter, score: float) -> float:
    """The value at a score to three digits, within the range."""
    value = float(f"{parameter.value(score):.{DIGITS}g}")
    return min(max(value, parameter.low), parameter.high)
