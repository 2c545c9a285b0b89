"""What is run, and what it is held against: the book's rows marked `calibrate`, and the protocols that answer them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby

from kyphos.errors import ConvergenceError
from kyphos.experiments.population import Individual
from kyphos.experiments.validation import Protocol, Row, find_protocol, judge, read_rows, run_protocol

from .parameters import CHOSEN
from .runs import Experiment, Values
from .targets import Data, Target, spread

CARD = "trabecular"
FATIGUE = ("fatigue_life_coefficient", "fatigue_life_exponent")
SLOPES, MEANS = "quick", "full"
"""Of the book: 4 mm elements for the mean specimen, whose slopes are asked for; 3 mm for the means of populations."""

SAME_QUANTITY = (
    ("luo-creep-intact-anterior", "luo-creep-intact-central"),
    ("luo-creep-fractured-anterior", "luo-creep-fractured-central"),
    ("haddock-life-low", "haddock-life-middle", "haddock-exponent"),
)
"""Rows that tell one thing of one experiment more than once (two places, or one line) share the weight of one row."""

BEYOND_THE_MODEL = {
    "belkoff-height-vertebroplasty": "the pressure of the injection is not in the model: cement enters free "
    "of stress and restores nothing",
    "luo-disc-pressure": "it is decided by the disc as much as by bone, and only bone's constants are fitted",
}
"""Rows marked `calibrate` that no constants can answer, and why."""

CORRELATED = {("kim-creep", "kim-residual"): 0.94}
"""Errors that go together: between the cores of Kim 2011 creep and residual strain did, r = 0.94 (evidence E16)."""

SKEWED_UNITS = ("microstrain", "cycles")
"""Of positive quantities, whose large standard deviations mean a skewed distribution."""


def experiments_and_data() -> tuple[tuple[Experiment, ...], Data]:
    """All experiments of the calibration, and the rows they answer, in the order of the book."""
    rows = [row for row in read_rows() if row.use == "calibrate" and not _reason(row)]
    by_protocol = groupby(sorted(rows, key=lambda row: row.protocol), key=lambda row: row.protocol)
    experiments = tuple(_experiment(find_protocol(name), tuple(group)) for name, group in by_protocol)
    return experiments, Data(tuple(_target(row) for row in rows), CORRELATED)


def left_out() -> dict[str, str]:
    """Rows marked `calibrate` that are not fitted, and why."""
    return {row.name: reason for row in read_rows() if row.use == "calibrate" and (reason := _reason(row))}


def _reason(row: Row) -> str:
    """Why a row cannot be fitted; empty if it can."""
    return BEYOND_THE_MODEL.get(row.name, row.reason if row.judge == "none" else "")


def _target(row: Row) -> Target:
    assert row.published is not None, "the book refuses a row of numbers without one"
    deviation, scale = spread(row.published, row.sd, positive=row.unit in SKEWED_UNITS)
    group = next((group for group in SAME_QUANTITY if row.name in group), (row.name,))
    weight = 1.0 / len(group)
    return Target(row.name, row.published, row.unit, deviation, scale, row.source, row.flag, weight)


def _experiment(protocol: Protocol, rows: tuple[Row, ...]) -> Experiment:
    """A protocol, as far as rows need it: cores, which cost little, all at once, bodies also as the mean specimen."""
    used = [row.observable.rpartition(".")[0] for row in rows]
    arms = tuple(arm for arm in protocol.arms if arm.name in used)
    protocol = replace(protocol, arms=arms, derive=None)
    on_points = all(arm.compute is not None for arm in arms)
    reads = tuple(name for name in CHOSEN if on_points or name not in FATIGUE)

    def on(who: tuple[Individual, ...], resolution: str) -> Callable[[Values], dict[str, float]]:
        return lambda constants: _answers(protocol, rows, who, resolution, constants)

    if on_points:
        return Experiment(protocol.name, reads, on(protocol.population.draw(protocol.quick), SLOPES))
    everybody = Experiment(f"{protocol.name}-population", reads, on(protocol.population.draw(protocol.full), MEANS))
    return Experiment(protocol.name, reads, on((protocol.population.nominal,), SLOPES), everybody)


def _answers(
    protocol: Protocol, rows: tuple[Row, ...], who: tuple[Individual, ...], resolution: str, constants: Values
) -> dict[str, float]:
    found = run_protocol(protocol, who, resolution, constants={CARD: dict(constants)})
    answers: dict[str, float] = {}
    for row in rows:
        finding = judge(row, found)
        if finding.ours is None:
            raise ConvergenceError(f"{row.name}: {finding.message}")
        answers[row.name] = finding.ours
    return answers
