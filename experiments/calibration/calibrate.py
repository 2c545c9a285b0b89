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
    and `after` are the observables of all specimens, by name, at the guesses and at the `constants`; `steps` the
    objectives of every pass.
    """

    parameters: tuple[Parameter, ...]
    data: Data
    problem: Problem
    fit: Fit
    steps: tuple[tuple[float, ...], ...]
    constants: Mapping[str, float]
    before: Mapping[str, float]
    after: Mapping[str, float]


def calibrate(
    parameters: Sequence[Parameter],
    experiments: Sequence[Experiment],
    data: Data,
    kept: Kept,
    *,
    passes: int,
    rounds: int,
    told: Callable[[str], None],
) -> Calibration:
    """Fit the parameters from their guesses, so that the mean over each experiment's population meets its row.

    Slopes are those of the mean specimen. What it lacks to the mean of all specimens is found anew for every pass, and
    kept during it: the mean of a skewed answer is far from the answer of the mean.

    Raises
    ------
    ConvergenceError
        The model has no answer with the cards' values from before any calibration, or none near the mode.
    """

    def observe(constants: Mapping[str, float], *, everybody: bool = False) -> dict[str, float]:
        asked = [e.population if everybody and e.population else e for e in experiments]
        return {row: value for experiment in asked for row, value in kept(experiment, constants).items()}

    def lifted_problem(at: Floats) -> Problem:
        constants = values(parameters, at)
        lifts = data.lifts(observe(constants, everybody=True), observe(constants))
        return Problem(
            lambda z: data.whitened(data.lifted(observe(values(parameters, z)), lifts)), low, high, data.felt
        )

    low = scores(parameters, {p.name: p.low for p in parameters})
    high = scores(parameters, {p.name: p.high for p in parameters})
    at, steps = np.zeros(len(parameters)), list[tuple[float, ...]]()
    for turn in range(1, passes + 1):
        told(f"pass {turn}: what the mean specimen lacks to the population's mean")
        problem = lifted_problem(at)
        found = fit(problem, at, rounds=rounds, told=told)
        at, steps = found.model.at, [*steps, found.objectives]
    at = _spared(problem, found, told)
    constants = {p.name: rounded(p, float(z)) if z else p.guess for p, z in zip(parameters, at, strict=True)}
    before = observe(values(parameters, np.zeros(len(parameters))), everybody=True)
    after = observe(constants, everybody=True)
    return Calibration(tuple(parameters), data, problem, found, tuple(steps), constants, before, after)


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
