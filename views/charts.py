"""Curves of a run: heights through the stages and the cycles, load against displacement, the balloon."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kyphos.views.reading import HEIGHT_STATES, PLACES, RunFolder
from kyphos.views.style import FAINT, INK, PLACE_COLOURS, figure

LINEAR_UP_TO_CYCLES = 2000


def height_chart(run: RunFolder) -> Figure | None:
    """Heights against cycles, and how much of the restored height is left; None if nothing was cycled.

    Heights are those at the lowest load of each cycle; those at the highest load are drawn thin.
    Without a treatment the second panel shows the loss as a share of the intact height.
    """
    cycled = _cycled_rows(run.history)
    if cycled.empty:
        return None
    with figure(9.0, 3.6) as drawn:
        left, right = drawn.subplots(1, 2)
        low, high = _extreme_rows(cycled)
        for place in PLACES:
            _draw_height(left, low, high, place)
            _draw_share(right, run, low, place)
        treated = _was_treated(run)
        left.set(title="Height of the vertebral body", ylabel="height [mm]")
        right.set(title=_share_title(treated), ylabel="retention [1]" if treated else "loss [1]")
        for axes in (left, right):
            _scale_cycles(axes, float(low["cycle"].max()))
        left.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return drawn


def load_chart(run: RunFolder) -> Figure | None:
    """Load against platen displacement, one colour per stage; None if displacement was not recorded."""
    history = run.history
    if "displacement_mm" not in history or history["displacement_mm"].notna().sum() < 2:
        return None
    names = list(dict.fromkeys(history["stage"]))
    with figure(9.0, 4.0) as drawn:
        axes = drawn.subplots()
        colours = _stage_colours(len(names))
        last = history.iloc[:0]
        for name, colour in zip(names, colours, strict=True):
            rows = history[history["stage"] == name]
            joined = pd.concat([last, rows]) if len(last) else rows
            axes.plot(joined["displacement_mm"], joined["load_n"], color=colour, label=name, marker=".", ms=4)
            last = rows.tail(1)
        axes.set(title="Load against displacement", xlabel="displacement of the upper platen [mm]")
        axes.set_ylabel("load [N]")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawn


def stage_heights_chart(run: RunFolder) -> Figure | None:
    """Heights in each state of the procedure, from the outcomes; None if there are fewer than two states."""
    states = [s for s in HEIGHT_STATES if any(np.isfinite(run.height_mm(s, p)) for p in PLACES)]
    if len(states) < 2:
        return None
    with figure(9.0, 3.6) as drawn:
        axes = drawn.subplots()
        for place in PLACES:
            heights = [run.height_mm(state, place) for state in states]
            axes.plot(states, heights, color=PLACE_COLOURS[place], marker="o", label=place)
            for state, height in zip(states, heights, strict=True):
                axes.annotate(
                    f"{height:.1f}", (state, height), (0, 6), textcoords="offset points", ha="center"
                )
        axes.set(title="Height of the vertebral body through the stages", ylabel="height [mm]")
        axes.margins(y=0.18)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawn


def balloon_chart(run: RunFolder) -> Figure | None:
    """Balloon pressure against volume; None if no balloon was inflated."""
    history = run.history
    if not {"pressure_mpa", "volume_ml"} <= set(history.columns):
        return None
    rows = history[history["pressure_mpa"].notna() & history["volume_ml"].notna()]
    if len(rows) < 2:
        return None
    with figure(9.0, 3.4) as drawn:
        axes = drawn.subplots()
        for (name, part), colour in zip(rows.groupby("stage", sort=False), _stage_colours(4), strict=False):
            axes.plot(part["volume_ml"], part["pressure_mpa"], marker=".", color=colour, label=str(name))
        limit = run.case.get("procedure", {}).get("balloon_pressure_limit_mpa")
        if limit is not None:
            axes.axhline(limit, color=FAINT, lw=1.0, ls="--")
            axes.annotate("limit", (0.0, limit), (4, 3), textcoords="offset points", color=FAINT)
        axes.set(title="Balloons", xlabel="volume of all balloons [mL]", ylabel="pressure [MPa]")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawn


def _cycled_rows(history: pd.DataFrame) -> pd.DataFrame:
    needed = {"cycle", *(f"height_{place}_mm" for place in PLACES)}
    if not needed <= set(history.columns):
        return history.iloc[:0]
    return history[history["cycle"].fillna(0) > 0]


def _extreme_rows(cycled: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The row of lowest and the row of highest load of every solved cycle, in order."""
    by_cycle = cycled.reset_index(drop=True).groupby("cycle")["load_n"]
    rows = cycled.reset_index(drop=True)
    return rows.loc[by_cycle.idxmin()], rows.loc[by_cycle.idxmax()]


def _draw_height(axes: Axes, low: pd.DataFrame, high: pd.DataFrame, place: str) -> None:
    name, colour = f"height_{place}_mm", PLACE_COLOURS[place]
    axes.plot(low["cycle"], low[name], color=colour, marker=".", ms=4, label=place)
    if not low.index.equals(high.index):
        axes.plot(high["cycle"], high[name], color=colour, lw=0.7, alpha=0.7)


def _draw_share(axes: Axes, run: RunFolder, low: pd.DataFrame, place: str) -> None:
    height = low[f"height_{place}_mm"]
    intact, fractured, treated = (run.height_mm(s, place) for s in ("intact", "fractured", "treated"))
    if _was_treated(run):
        share = (height - fractured) / (treated - fractured)
    else:
        share = (fractured - height) / intact
    axes.plot(low["cycle"], share, color=PLACE_COLOURS[place], marker=".", ms=4, label=place)


def _was_treated(run: RunFolder) -> bool:
    return bool(np.isfinite(run.height_mm("treated", "anterior")))


def _share_title(treated: bool) -> str:
    return (
        "Share of the restored height that is left" if treated else "Loss since the fracture, share of intact"
    )


def _scale_cycles(axes: Axes, most: float) -> None:
    axes.set_xlabel("cycles")
    if most > LINEAR_UP_TO_CYCLES:
        axes.set_xscale("log")


def _stage_colours(count: int) -> list[tuple[float, float, float, float] | str]:
    from matplotlib import colormaps

    if count == 1:
        return [INK]
    return [tuple(rgba) for rgba in colormaps["turbo"](np.linspace(0.08, 0.92, count))]
