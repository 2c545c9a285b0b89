"""What the rest of a segment feels, as a map: tissues from the top down, states from left to right."""

from __future__ import annotations

import re
from itertools import pairwise
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from kyphos.experiments import Result
from kyphos.views.style import INK, figure

SCALE = 0.5  # changes of this size and more have the full colour
ENDS = ("superior", "inferior")
COLOURS = "RdBu_r"

Array = NDArray[np.float64]


def adjacent_chart(run: Result) -> Figure | None:
    """Values and their changes, by tissue and state; None for a run that did not look at neighbours twice.

    Endplates: von Mises stress that 99 % of the volume do not exceed; discs: mean pressure of the nucleus.
    """
    tissues, states = adjacent_tissues(run), adjacent_states(run)
    if len(states) < 2:
        return None
    values = np.array([[_value(run, f"{name}_{state}_mpa") for state in states] for name in tissues.values()])
    later = states[1:]
    changes = np.array([[_value(run, f"{name}_{state}_change") for state in later] for name in tissues.values()])
    with figure(3.2 + 0.85 * (len(states) + len(later)), 1.9 + 0.38 * len(tissues)) as drawn:
        left, right = drawn.subplots(1, 2, sharey=True, width_ratios=[len(states), max(len(later), 1)])
        coloured_cells(left, values / values[:, :1] - 1.0, [[f"{v:.2f}" for v in row] for row in values], states)
        left.set_yticks(range(len(tissues)), list(tissues))
        left.set_title("MPa (colour: against the first state)")
        shown = coloured_cells(right, changes, [[f"{v:+.0%}" for v in row] for row in changes], later)
        right.set_title("Change, after a treatment to before it")
        drawn.colorbar(shown, ax=[left, right], shrink=0.9, format=lambda v, _: f"{v:+.0%}")
        told = run.manifest["adjacent"][states[-1]]
        drawn.supxlabel(fill(f"{told[0].upper()}{told[1:]}.", 100), fontsize=8.0, color=INK)
    return drawn


def adjacent_tissues(run: Result) -> dict[str, str]:
    """Words for each tissue that was looked at -> how its outcomes' names begin; from the top down."""
    levels = run.spec.specimen.levels if run.spec.coupon is None else ()
    tissues: dict[str, str] = {}
    for upper, lower in pairwise((*levels, "")):
        if upper != run.spec.specimen.treated:
            for end in ENDS:
                tissues[f"{upper} {end} endplate"] = f"adjacent_{upper}_{end}_endplate_von_mises_p99"
        if lower:
            tissues[f"disc {upper}-{lower}"] = f"disc_{upper}_{lower}_pressure"
    return tissues


def adjacent_states(run: Result) -> list[str]:
    """Stages that looked at the neighbours, in order."""
    found = (re.fullmatch(r"disc_[^_]+_[^_]+_pressure_([a-z][a-z0-9_]*)_mpa", name) for name in run.outcomes)
    return list(dict.fromkeys(match[1] for match in found if match))


def _value(run: Result, name: str) -> float:
    outcome = run.outcomes.get(name)
    return float("nan") if outcome is None else float(outcome.value)


def coloured_cells(
    axes: Axes, shares: Array, words: list[list[str]], columns: list[str], fontsize: float = 9.0
) -> AxesImage:
    """Cells (rows, columns) with words in them, coloured by shares of one scale; NaN stays white."""
    shown = axes.imshow(
        np.clip(shares, -SCALE, SCALE), cmap=COLOURS, norm=TwoSlopeNorm(0.0, -SCALE, SCALE), aspect="auto", alpha=0.8
    )
    for row, line in enumerate(words):
        for column, word in enumerate(line):
            dark = abs(shares[row, column]) > 0.6 * SCALE
            axes.text(column, row, word, ha="center", va="center", fontsize=fontsize, color="white" if dark else INK)
    axes.set_xticks(range(len(columns)), [column.replace("_", " ") for column in columns])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return shown
