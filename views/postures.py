"""Pressure in the discs under every load case of a run: bars by level and posture, and as a table."""

from __future__ import annotations

import re
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kyphos.experiments import Result
from kyphos.views.style import INK, PLACE_COLOURS, figure

COLOURS = (PLACE_COLOURS["posterior"], PLACE_COLOURS["anterior"], "#7a4fa3", "#4c8c2b", "#5b5b5b", "#b8860b")
_NAME = re.compile(r"load_([a-z][a-z0-9_]*)_disc_([A-Z]\d+_[A-Z]\d+)_pressure_([a-z][a-z0-9_]*)_mpa")

Pressures = dict[str, dict[tuple[str, str], float]]
"""State -> (load case, disc) -> MPa."""


def posture_chart(run: Result) -> Figure | None:
    """Bars of the pressure in each disc by load case, a panel for the first state and one for the last; or None."""
    found = disc_pressures(run)
    if not found:
        return None
    states = list(dict.fromkeys((next(iter(found)), list(found)[-1])))
    cases, discs = _names(found, 0), _names(found, 1)
    with figure(7.5, 1.1 + (0.3 + 0.12 * len(discs)) * len(cases) * len(states)) as drawn:
        panels = drawn.subplots(len(states), 1, squeeze=False, sharex=True)[:, 0]
        height = 0.8 / len(discs)
        for axes, state in zip(panels, states, strict=True):
            for i, (disc, colour) in enumerate(zip(discs, cycle(COLOURS), strict=False)):
                values = _row(found[state], cases, disc)
                at = np.arange(len(cases)) + (i - 0.5 * (len(discs) - 1)) * height
                bars = axes.barh(at, values, 0.92 * height, color=colour, label=disc.replace("_", "-"))
                axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=7.0, color=INK)
            axes.set_yticks(range(len(cases)), [case.replace("_", " ") for case in cases])
            axes.invert_yaxis()
            axes.set_axisbelow(True)
            axes.grid(visible=False, axis="y")
            axes.set_title(f"Mean pressure in the nucleus, {state.replace('_', ' ')}")
        panels[-1].set_xlabel("pressure [MPa]")
        drawn.legend(*panels[0].get_legend_handles_labels(), ncols=len(discs), loc="outside lower center")
    return drawn


def posture_rows(run: Result) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of the table: load case, state, pressure in every disc, how the segment is held and loaded."""
    found = disc_pressures(run)
    if not found:
        return (), []
    told, discs = run.manifest["load_cases"], _names(found, 1)
    heads = ("load case", "state", *(f"{disc.replace('_', '-')} [MPa]" for disc in discs), "loads and supports")
    rows = [
        (case.replace("_", " "), state, *(f"{value:.2f}" for value in _row(found[state], [case], *discs)), told[case])
        for case in _names(found, 0)
        for state in found
        if any(key[0] == case for key in found[state])
    ]
    return heads, rows


def disc_pressures(run: Result) -> Pressures:
    """Pressures of all states, load cases and discs, in the order in which they were found."""
    found: Pressures = {}
    for name, outcome in run.outcomes.items():
        if match := _NAME.fullmatch(name):
            case, disc, state = match.groups()
            found.setdefault(state, {})[case, disc] = outcome.value
    return found


def _names(found: Pressures, part: int) -> list[str]:
    return list(dict.fromkeys(key[part] for values in found.values() for key in values))


def _row(values: dict[tuple[str, str], float], cases: list[str], *discs: str) -> NDArray[np.float64]:
    """Pressures of all given cases and discs, NaN where one was not looked at."""
    return np.array([values.get((case, disc), np.nan) for case in cases for disc in discs])
