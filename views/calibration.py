"""Pictures of a calibration: how the misfit rises when one constant is moved and the others follow."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kyphos.views.style import FAINT, INK, PLACE_COLOURS, figure

COLUMNS = 4
TOP = 6.0  # of the axes: rise of the objective


def profile_chart(calibration: Mapping[str, Any]) -> Figure:
    """One panel for each constant of a ``calibration.json``: the profile of the data alone, and with the prior."""
    parameters = calibration["parameters"]
    rows = ceil(len(parameters) / COLUMNS)
    with figure(11.0, 2.3 * rows + 0.5) as drawn:
        panels = drawn.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
        for axes, parameter in zip(panels, parameters, strict=False):
            _panel(axes, parameter)
        for axes in panels[len(parameters) :]:
            axes.set_axis_off()
        for row in range(rows):
            panels[row * COLUMNS].set_ylabel("rise of the misfit")
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, ncols=4, loc="outside lower center")
    return drawn


def _panel(axes: Axes, parameter: Mapping[str, Any]) -> None:
    profile = parameter["profile"]
    axes.plot(profile["value"], profile["data"], color=PLACE_COLOURS["anterior"], label="data alone")
    axes.plot(profile["value"], profile["all"], color=PLACE_COLOURS["posterior"], label="data and prior")
    axes.axvline(parameter["guess"], color=FAINT, lw=1.0, label="guess")
    axes.axvline(parameter["value"], color=INK, lw=1.0, ls="--", label="calibrated")
    axes.axhline(1.0, color=FAINT, lw=0.6, ls=":")
    if parameter["scale"] == "log":
        axes.set_xscale("log")
        ticks = [*parameter["range"], parameter["guess"]]
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.minorticks_off()
    axes.set(title=parameter["name"], xlabel=f"[{parameter['unit']}]", ylim=(0.0, TOP))
