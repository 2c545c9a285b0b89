"""The calibration itself: experiments, data and parameters in, constants with their uncertainty out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kyphos.errors import ConvergenceError

from .inference import Fit, Floats, Problem, covariance, fit
from .parameters import Parameter, scores, values
from .runs import Experiment, Kept
from .targets import Data

DIGITS = 3
"""Significant digits of a calibrated constant; the rows after calibration are found with the rounded values."""

OPEN = 0.9
"""A constant or direction that keeps more than this share of its prior standard deviation is not identified."""
WORTH = 0.5
"""Rise of the objective, over the mode's, up to which constants that are not identified go back to their guesses."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted, on what, and what came out.

    `constants` are the mode's values, rounded; where the data do not narrow one and no row minds, its guess. `before`
    and `after` are the observables, by name, at the guesses and at the `constants`.
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
    at = _spared(problem, found, told)
    constants = {p.name: rounded(p, float(z)) if z else p.guess for p, z in zip(parameters, at, strict=True)}
    before, after = observe(values(parameters, start)), observe(constants)
    return Calibration(tuple(parameters), data, problem, found, constants, before, after)


def _spared(problem: Problem, found: Fit, told: Callable[[str], None]) -> Floats:
    """Scores (p,): the mode's, but 0, the guess, for those that are not identified and that no row minds.

    The least known goes back first. Slopes at the mode do not see a threshold (a balloon that stalls) between mode and
    guess, so each is tried.
    """
    left, at = np.sqrt(np.diag(covariance(found.model))), found.model.at.copy()
    limit = found.model.objective + WORTH
    for i in sorted(np.flatnonzero(left > OPEN), key=lambda i: -left[i]):
        tried = at.copy()
        tried[i] = 0.0
        objective = _objective(problem, tried)
        at = tried if objective <= limit else at
        told(f"score {i} back at its guess: objective {objective:.3f}, {'kept' if objective <= limit else 'refused'}")
    return at


def _objective(problem: Problem, at: Floats) -> float:
    """|d(r)|^2 + |z|^2; infinite where the model has no answer."""
    try:
        felt = problem.feel(problem.residual(at))[0]
    except ConvergenceError:
        return float("inf")
    return float(felt @ felt + at @ at)


def rounded(parameter: Parameter, score: float) -> float:
    """The value at a score to three digits, within the range."""
    value = float(f"{parameter.value(score):.{DIGITS}g}")
    return min(max(value, parameter.low), parameter.high)
