"""Bayesian least squares for few parameters and a costly model: the mode, what is known around it, and what is not.

Parameters are scores z (p,): standard normal under the prior, each within bounds. Residuals r (m,) are
whitened: unit normal if the model is right. The mode minimises |d(r(z))|^2 + |z|^2 within the bounds; d may dampen
outliers, and is taken into account exactly, not by differences.

The model crushes bone cell by cell, so it is smooth only on the whole. Derivatives are therefore differences over half
a prior deviation; between two such Jacobians Broyden's rank-one update carries the slopes along (Broyden 1965, Math
Comp 19:577). A point at which the model fails is taken as worse than any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from kyphos.errors import ConvergenceError

Floats = NDArray[np.float64]
Residual = Callable[[Floats], Floats]
"""Scores (p,) to whitened residuals (m,); raises ConvergenceError where the model has no answer."""

STEP = 0.5  # of a difference, in standard deviations of the prior
CLIFF = 2.0
"""A difference that moves a row by more than this may have passed a threshold, as of a balloon's pressure limit."""
REACH = 1.0  # of the first step of a round, in every score
SMALLEST_REACH = 0.05


def as_they_are(residual: Floats) -> tuple[Floats, Floats]:
    """Residuals (m,) felt in full: themselves, and slopes of one."""
    return residual, np.ones_like(residual)


@dataclass(frozen=True)
class Problem:
    """The model's whitened residuals (m,), the bounds (p,) of the scores, how residuals are felt: d(r) and d'(r)."""

    residual: Residual
    low: Floats
    high: Floats
    feel: Callable[[Floats], tuple[Floats, Floats]] = as_they_are

    def felt(self, model: Linear) -> Linear:
        """The model with its residuals as they are felt."""
        value, slope = self.feel(model.residual)
        return Linear(model.at, value, slope[:, None] * model.jacobian)


@dataclass(frozen=True)
class Linear:
    """The model near a point: residual (m,) and Jacobian (m, p) at the scores `at` (p,)."""

    at: Floats
    residual: Floats
    jacobian: Floats

    @property
    def objective(self) -> float:
        """|r|^2 + |z|^2 at the point."""
        return float(self.residual @ self.residual + self.at @ self.at)

    def predicted(self, z: Floats) -> Floats:
        """Residual (m,) of the linearised model at scores `z` (p,)."""
        return np.asarray(self.residual + self.jacobian @ (z - self.at))


@dataclass(frozen=True)
class Fit:
    """The mode, the model as felt there, and the objective at the start and after every accepted step."""

    model: Linear
    objectives: tuple[float, ...]
    rounds: int
    converged: bool


@dataclass(frozen=True)
class Direction:
    """One eigenvector (p,) of the information that the data carry, and how far they narrow the prior along it.

    `shrinkage` is posterior over prior standard deviation, 1 / sqrt(1 + eigenvalue): 1 where the data say nothing.
    """

    vector: Floats
    shrinkage: float


@dataclass(frozen=True)
class Profile:
    """Smallest objective along one score: (k,) each; `data` counts |r|^2 alone, `all` adds the prior's |z|^2."""

    score: Floats
    data: Floats
    all: Floats


def linearise(problem: Problem, at: Floats, found: Floats, step: float = STEP) -> Linear:
    """Jacobian by one-sided differences, towards the prior's mean where there is a choice.

    Parameters
    ----------
    problem
        The model.
    at, found
        Scores (p,), and the residual (m,) there.
    step
        Length of a difference; the bounds may cut it.

    Raises
    ------
    ConvergenceError
        The model fails on both sides of a score.
    """
    return Linear(at, found, np.stack([_slope(problem, at, found, i, step) for i in range(at.size)], axis=1))


def _slope(problem: Problem, at: Floats, found: Floats, i: int, step: float) -> Floats:
    """One column (m,) of the Jacobian.

    The other side is tried too where the model fails, and where it steps off a cliff; then the smaller slope counts,
    and none where the two disagree in sign.
    """
    sides = [max(-step, problem.low[i] - at[i]), min(step, problem.high[i] - at[i])]
    sides.sort(key=lambda side: (abs(side) < 0.5 * step, abs(at[i] + side)))
    slopes, failure = [], ConvergenceError("no score can be moved: its bounds coincide")
    for side in (side for side in sides if side != 0.0):
        moved = at.copy()
        moved[i] += side
        try:
            change = problem.residual(moved) - found
        except ConvergenceError as error:
            failure = error
            continue
        slopes.append(change / side)
        if np.abs(change).max() <= CLIFF:
            return np.asarray(slopes[-1])
    if not slopes:
        raise failure
    least = np.abs(slopes).min(axis=0)
    return np.asarray(np.where(np.ptp(np.sign(slopes), axis=0) == 0.0, np.sign(slopes[0]) * least, 0.0))


def fit(
    problem: Problem,
    start: Floats,
    *,
    rounds: int = 3,
    steps: int = 6,
    tolerance: float = 0.05,
    told: Callable[[str], None] = lambda line: None,
) -> Fit:
    """Find the mode.

    Parameters
    ----------
    problem
        The model and its bounds.
    start
        Scores (p,) to begin at.
    rounds, steps
        Fresh Jacobians at most (2 or more, on the last of which no step is made), and steps on each at most.
    tolerance
        The fit has converged when a fresh Jacobian promises to lower the objective by less than this (1 is one
        standard deviation of one row).
    told
        Gets one line on every step.

    Raises
    ------
    ConvergenceError
        The model fails at the start, or on both sides of a score.
    """
    at = np.clip(start, problem.low, problem.high)
    found = problem.residual(at)
    objectives: list[float] = []
    for turn in range(1, rounds + 1):
        model = linearise(problem, at, found)
        objectives = objectives or [problem.felt(model).objective]
        told(f"round {turn}: objective {objectives[-1]:.3f}")
        converged = _promise(problem, model, np.inf)[1] < tolerance
        if converged or turn == rounds:
            break
        model = _descend(problem, model, steps, tolerance, objectives, told)
        at, found = model.at, model.residual
    return Fit(problem.felt(model), tuple(objectives), turn, converged)


def _descend(
    problem: Problem, model: Linear, steps: int, tolerance: float, objectives: list[float], told: Callable[[str], None]
) -> Linear:
    """Steps within a trust region on one Jacobian, which is updated as it goes."""
    reach = REACH
    for _ in range(steps):
        step, promise = _promise(problem, model, reach)
        if promise < tolerance or reach < SMALLEST_REACH:
            break
        tried = _tried(problem, model, step)
        gain = objectives[-1] - problem.felt(tried).objective if tried else -np.inf
        told(f"  promised {promise:.3f}, found {gain:.3f}, reach {reach:.2f}")
        if tried and gain > 0.1 * promise:
            reach *= 1.5 if gain > 0.7 * promise else 1.0
            objectives.append(problem.felt(tried).objective)
            model = tried
        else:
            reach *= 0.4
            model = Linear(model.at, model.residual, tried.jacobian) if tried else model
    return model


def _tried(problem: Problem, model: Linear, step: Floats) -> Linear | None:
    """The model at the end of a step, its Jacobian updated by Broyden's formula but over a cliff; None if it fails."""
    at = np.clip(model.at + step, problem.low, problem.high)
    try:
        found = problem.residual(at)
    except ConvergenceError:
        return None
    surprise = found - model.predicted(at)
    surprise = np.where(np.abs(surprise) > CLIFF, 0.0, surprise)
    return Linear(at, found, model.jacobian + np.outer(surprise, step) / (step @ step))


def _promise(problem: Problem, model: Linear, reach: float) -> tuple[Floats, float]:
    """Best step (p,) of the linearised model within reach and bounds, and by how much it lowers the objective."""
    low = np.maximum(problem.low - model.at, -reach)
    high = np.minimum(problem.high - model.at, reach)
    felt = problem.felt(model)
    step = _least(np.vstack([felt.jacobian, np.eye(model.at.size)]), -np.r_[felt.residual, model.at], low, high)
    left, there = felt.predicted(model.at + step), model.at + step
    return step, felt.objective - float(left @ left + there @ there)


def _least(matrix: Floats, target: Floats, low: Floats, high: Floats) -> Floats:
    """Bounded linear least squares (p,); bounds that coincide are opened by a hair, as scipy wants."""
    found = lsq_linear(matrix, target, bounds=(np.minimum(low, -1e-12), np.maximum(high, 1e-12)), method="bvls")
    return np.asarray(found.x)


def covariance(model: Linear) -> Floats:
    """Posterior covariance (p, p) of the scores by Laplace's approximation; the prior's is the identity."""
    return np.asarray(np.linalg.inv(model.jacobian.T @ model.jacobian + np.eye(model.at.size)))


def directions(model: Linear) -> tuple[Direction, ...]:
    """Eigenvectors of the data's information J'J, best known first; the largest entry of each is positive."""
    eigenvalues, vectors = np.linalg.eigh(model.jacobian.T @ model.jacobian)
    found = []
    for eigenvalue, vector in zip(eigenvalues[::-1], vectors.T[::-1], strict=True):
        sign = np.sign(vector[np.argmax(np.abs(vector))])
        found.append(Direction(sign * vector, float(1.0 / np.sqrt(1.0 + max(eigenvalue, 0.0)))))
    return tuple(found)


def profile(problem: Problem, model: Linear, index: int, points: int = 21) -> Profile:
    """Profile along one score over its whole range, the others free within theirs, of the linearised model."""
    grid = np.linspace(problem.low[index], problem.high[index], points)
    data = [_smallest(problem, model, index, float(z), 0.0) for z in grid]
    everything = [_smallest(problem, model, index, float(z), 1.0) for z in grid]
    return Profile(grid, np.array(data), np.array(everything))


def _smallest(problem: Problem, model: Linear, index: int, z: float, prior: float) -> float:
    """Smallest |r|^2 + prior |z|^2 with one score at `z`."""
    others = np.delete(np.arange(model.at.size), index)
    away = model.at.copy()
    away[index] = z
    matrix = np.vstack([model.jacobian[:, others], prior * np.eye(others.size)])
    target = -np.r_[model.predicted(away), prior * away[others]]
    away[others] += _least(matrix, target, (problem.low - away)[others], (problem.high - away)[others])
    left = model.predicted(away)
    return float(left @ left + prior * (away @ away))
