"""Stress along the mid-sagittal line of discs and endplates, one curve for each state."""

from __future__ import annotations

from textwrap import fill

from matplotlib import colormaps
from matplotlib.figure import Figure

from kyphos.experiments import Result
from kyphos.views.style import INK, figure

ROWS = {"axial_mpa": "compression along the disc's axis [MPa]", "von_mises_mpa": "von Mises stress [MPa]"}
STATES = {"intact": "#222222", "fractured": "#c1440e", "treated": "#1f6f8b", "cycled": "#3f9b5a"}


def profile_chart(run: Result) -> Figure | None:
    """A column for each disc with the endplates that face it, a row for each measure; None without profiles.

    Discs show the compression that a pressure gauge on a needle reads, endplates the von Mises stress of their bone.
    """
    table = run.profiles()
    if table.empty:
        return None
    discs = [site for site in dict.fromkeys(table["site"]) if "." not in site]
    states = list(dict.fromkeys(table["stage"]))
    spare = colormaps["tab10"](range(10))
    colours = {state: STATES.get(state, spare[number % 10]) for number, state in enumerate(states)}
    with figure(3.4 * len(discs) + 0.6, 6.6) as drawn:
        grid = drawn.subplots(3, len(discs), sharex=True, sharey="row", squeeze=False)
        for column, disc in enumerate(discs):
            upper, lower = disc.split("_")
            shown = (
                (f"{upper}.inferior_endplate", "von_mises_mpa", 1.0, f"{upper} inferior endplate"),
                (disc, "axial_mpa", -1.0, f"disc {upper}-{lower}"),
                (f"{lower}.superior_endplate", "von_mises_mpa", 1.0, f"{lower} superior endplate"),
            )
            for axes, (site, measure, sign, title) in zip(grid[:, column], shown, strict=True):
                for (stage,), line in table[table["site"] == site].groupby(["stage"], sort=False):
                    label = str(stage).replace("_", " ")
                    axes.plot(line["position"], sign * line[measure], color=colours[stage], label=label)
                axes.set_title(title)
                if not column:
                    axes.set_ylabel(fill(ROWS[measure], 24))
            grid[-1, column].set_xlabel("posterior rim 0 to anterior rim 1")
        grid[0, 0].set_ylim(bottom=0.0)
        grid[2, 0].set_ylim(bottom=0.0)
        drawn.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(states))
        told = run.manifest["adjacent"][states[-1]]
        drawn.supxlabel(fill(f"{told[0].upper()}{told[1:]}.", 90), fontsize=8.0, color=INK)
    return drawn
