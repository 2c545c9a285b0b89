"""What the neighbours of a treated level feel, arms of a comparison side by side on shared scales."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kyphos.experiments.comparison import Arm, Comparison, felt_words
from kyphos.views.neighbours import adjacent_states, adjacent_tissues, coloured_cells
from kyphos.views.style import DASHES, INK, distinct_colours, figure

MPA = {"endplate": "von Mises stress, p99 [MPa]", "disc": "pressure [MPa]"}


def felt_chart(comparison: Comparison) -> Figure | None:
    """Stress in the endplates that face the treated level, pressure in the discs beside it, through the states.

    A panel for each, those of one kind on one scale; None where no arm has looked at neighbours twice.
    """
    states, panels = felt_states(comparison), beside_treated(comparison)
    if len(states) < 2 or not panels:
        return None
    looks = list(zip(comparison.arms, distinct_colours(len(comparison.arms)), strict=True))
    with figure(1.2 + 2.4 * len(panels), 4.0) as drawn:
        grid = drawn.subplots(1, len(panels), squeeze=False)[0]
        for axes, (tissue, name) in zip(grid, panels.items(), strict=True):
            for n, (arm, colour) in enumerate(looks):
                aside = 0.08 * (n - 0.5 * (len(looks) - 1))
                _line(axes, comparison, arm, [f"{name}_{state}_mpa" for state in states], colour, n, aside)
            axes.set_xticks(range(len(states)), [state.replace("_", " ") for state in states], rotation=35, ha="right")
            axes.set_title(tissue)
        for kind, words in MPA.items():
            alike = [axes for axes, tissue in zip(grid, panels, strict=True) if kind in tissue]
            _one_scale(alike, words)
        drawn.legend(*grid[0].get_legend_handles_labels(), ncols=3, loc="outside lower center")
    return drawn


def changes_chart(comparison: Comparison) -> Figure | None:
    """A map of changes: all tissues from the top down, a column for each arm, a panel for each later state.

    What all arms share is a single column; None where no arm has looked at neighbours twice.
    """
    tissues, states = felt_tissues(comparison), felt_states(comparison)[1:]
    if not states:
        return None
    columns = {state: _columns(comparison, tissues.values(), state) for state in states}
    widths = [len(arms) for arms in columns.values()]
    with figure(2.6 + 0.95 * sum(widths), 2.2 + 0.42 * len(tissues)) as drawn:
        grid = drawn.subplots(1, len(states), sharey=True, squeeze=False, width_ratios=widths)[0]
        for axes, (state, arms) in zip(grid, columns.items(), strict=True):
            changes = _table(arms.values(), [f"{name}_{state}_change" for name in tissues.values()])
            values = _table(arms.values(), [f"{name}_{state}_mpa" for name in tissues.values()])
            words = [[_words(*pair) for pair in zip(*row, strict=True)] for row in zip(changes, values, strict=True)]
            shown = coloured_cells(axes, changes, words, list(arms), fontsize=8.0)
            axes.set_xticks(range(len(arms)), [name.replace("-", "-\n") for name in arms], fontsize=7.5)
            axes.set_title(state.replace("_", " "))
        grid[0].set_yticks(range(len(tissues)), list(tissues))
        bar = drawn.colorbar(shown, ax=list(grid), shrink=0.9, format=lambda v, _: f"{v:+.0%}")
        bar.set_label("change against the fractured state\n(of that: against intact); below: MPa")
        drawn.supxlabel(fill(" ".join(felt_words(comparison)), int(26 + 14 * sum(widths))), fontsize=8.0, color=INK)
    return drawn


def felt_summary(comparison: Comparison) -> dict[str, str]:
    """Quantity -> words, for the latest change of every neighbour's endplates and of every disc."""
    words = {}
    for arm in comparison.arms:
        levels = arm.result.spec.specimen.levels if adjacent_states(arm.result) else ()
        for upper, lower in pairwise((*levels, "")):
            if upper != arm.result.spec.specimen.treated:
                words[f"adjacent_{upper}_endplate_von_mises_p99_change"] = f"stress in {upper}'s endplates, change"
            if lower:
                words[f"disc_{upper}_{lower}_pressure_change"] = f"pressure in the disc {upper}-{lower}, change"
    return {name: told for name, told in words.items() if name in comparison.quantities}


def felt_tissues(comparison: Comparison) -> dict[str, str]:
    """Words -> how its outcomes' names begin, for every tissue that some arm has looked at; from the top down."""
    found: dict[str, str] = {}
    for arm in comparison.arms:
        found |= adjacent_tissues(arm.result) if adjacent_states(arm.result) else {}
    return found


def felt_states(comparison: Comparison) -> list[str]:
    """States in which some arm has looked at its neighbours, in the order of the procedure."""
    looked = {state for arm in comparison.arms for state in adjacent_states(arm.result)}
    return [state for state in comparison.states if state in looked]


def beside_treated(comparison: Comparison) -> dict[str, str]:
    """Those of the tissues that touch the treated level or face it across a disc, endplates first."""
    facing: dict[str, str] = {}
    discs: dict[str, str] = {}
    known = felt_tissues(comparison)
    for arm in comparison.arms:
        specimen = arm.result.spec.specimen
        for upper, lower in pairwise(specimen.levels):
            if specimen.treated in (upper, lower):
                end = f"{upper} inferior" if lower == specimen.treated else f"{lower} superior"
                facing |= {words: known[words] for words in [f"{end} endplate"] if words in known}
                discs |= {words: known[words] for words in [f"disc {upper}-{lower}"] if words in known}
    return facing | discs


def _line(
    axes: Axes, comparison: Comparison, arm: Arm, names: list[str], colour: str, number: int, aside: float
) -> None:
    """One arm's values by state, and the population's 5th to 95th percentile beside them."""
    known = [(i, arm.values[name].value) for i, name in enumerate(names) if name in arm.values]
    if known:
        dash = DASHES[number % len(DASHES)]
        axes.plot(*zip(*known, strict=True), color=colour, marker="o", ms=3.5, ls=dash, label=arm.name)
    bands = comparison.bands.get(arm.name, {})
    for i, name in enumerate(names):
        if name in bands:
            axes.plot([i + aside] * 2, [bands[name].low, bands[name].high], color=colour, lw=0.9, alpha=0.7)


def _one_scale(panels: list[Axes], words: str) -> None:
    """The same limits from zero for all panels; the first carries the words."""
    if panels:
        top = max(axes.get_ylim()[1] for axes in panels)
        for axes in panels:
            axes.set_ylim(0.0, top)
        panels[0].set_ylabel(words)


def _columns(comparison: Comparison, names: Iterable[str], state: str) -> dict[str, Arm]:
    """Head -> arm of the columns for a state: arms that have it, or one where they all say the same."""
    arms = {arm.name: arm for arm in comparison.arms if state in adjacent_states(arm.result)}
    told = {tuple(arm.values.get(f"{name}_{state}_mpa") for name in names) for arm in arms.values()}
    return {"all arms": next(iter(arms.values()))} if len(told) == 1 < len(arms) else arms


def _table(arms: Iterable[Arm], names: list[str]) -> np.ndarray:
    """(names, arms) values, NaN where an arm has none."""
    found = [[arm.values[name].value if name in arm.values else np.nan for arm in arms] for name in names]
    return np.array(found)


def _words(change: float, value: float) -> str:
    """A change and the value that it led to; -0 % is 0 %."""
    share = f"{change:+.0%}".replace("-0%", "+0%") if abs(change) < 0.005 else f"{change:+.0%}"
    return "" if np.isnan(value) else f"{share}\n{value:.2f}"
