"""Curves of a run: heights through the stages and the cycles, load against displacement, the balloons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from kyphos.experiments import Result
from kyphos.experiments.comparison import cycled_rows
from kyphos.experiments.plan import CouponStage, Stage
from kyphos.views.reading import HEIGHT_STATES, PLACES, height_mm
from kyphos.views.style import FAINT, INK, PLACE_COLOURS, figure

LINEAR_UP_TO_CYCLES = 2000
TEST_COLOURS = (FAINT, PLACE_COLOURS["posterior"], PLACE_COLOURS["anterior"], "#7a4fa3", "#4c8c2b")
STRENGTH = (("strength", "n"), ("stiffness", "n_per_mm"))
LABEL_PLACES = {"anterior": (0, -13, "center"), "middle": (7, -3, "left"), "posterior": (0, 6, "center")}


Colour = str | tuple[float, ...]


def height_chart(run: Result) -> Figure | None:
    """Heights against cycles, and how much of the restored height is left; None if nothing was cycled.

    Heights at the valley of the cycle are drawn thick, those at its peak thin. Without a treatment the
    second panel shows what the cycles cost, as a share of the intact height.
    """
    valley, peak = cycled_rows(run)
    if valley.empty:
        return None
    treated = _was_treated(run)
    with figure(9.0, 3.8) as drawn:
        left, right = drawn.subplots(1, 2)
        for place in PLACES:
            look = {"color": PLACE_COLOURS[place], "marker": ".", "ms": 4}
            left.plot(valley["total_cycle"], valley[f"height_{place}_mm"], label=place, **look)
            left.plot(peak["total_cycle"], peak[f"height_{place}_mm"], color=look["color"], lw=0.6, alpha=0.6)
            right.plot(valley["total_cycle"], _share(run, valley, place), **look)
        left.set(title="Height of the vertebral body (thin: at peak load)", ylabel="height [mm]")
        right.set(title=_share_title(treated), ylabel="retention [1]" if treated else "loss [1]")
        for axes in (left, right):
            _scale_cycles(axes, float(valley["total_cycle"].max()))
        drawn.legend(*left.get_legend_handles_labels(), ncols=3, loc="outside lower center")
    return drawn


def load_chart(run: Result) -> Figure | None:
    """Load against how far the platens have come together, one colour a stage; None without data."""
    if run.spec.coupon is not None:
        return coupon_chart(run)
    if run.spec.on_voxels:
        return strength_chart(run)
    history = run.history.dropna(subset=["displacement_mm", "load_n"])
    if len(history) < 2:
        return None
    names = list(dict.fromkeys(history["stage"]))
    with figure(9.0, 4.2) as drawn:
        axes = drawn.subplots()
        before = history.iloc[:0]
        for name, colour in zip(names, _stage_colours(len(names)), strict=True):
            rows = history[history["stage"] == name]
            joined = pd.concat([before, rows]) if len(before) else rows
            label = name.replace("_", " ")
            axes.plot(joined["displacement_mm"], joined["load_n"], color=colour, label=label, marker=".", ms=4)
            before = rows.tail(1)
        axes.set(title="Load against displacement", xlabel="approach of the platens [mm]", ylabel="load [N]")
        axes.set_ylim(bottom=min(0.0, float(history["load_n"].min())))
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawn


def coupon_chart(run: Result) -> Figure | None:
    """One panel for each test of a coupon: stress and strain, load and deflection, creep, wear; None without data."""
    history = run.history.dropna(subset=["displacement_mm", "load_n"])
    tests = [(stage, history[history["stage"] == stage.name]) for stage in run.spec.coupon_stages]
    tests = [(stage, rows) for stage, rows in tests if len(rows) > 1]
    if not tests:
        return None
    with figure(5.2 * len(tests) + 0.4, 3.8) as drawn:
        for axes, (stage, rows) in zip(drawn.subplots(1, len(tests), squeeze=False)[0], tests, strict=True):
            _COUPON_PANELS[stage.kind](axes, run, stage, rows)
            axes.set_title(stage.name.replace("_", " "))
    return drawn


def _stress_strain(axes: Axes, run: Result, stage: CouponStage, rows: pd.DataFrame) -> None:
    """Stress against platen displacement over length, positive in the sense of the load, with the strength."""
    assert run.spec.coupon is not None
    assert run.spec.coupon.length_mm is not None
    sign = 1.0 if stage.kind == "coupon_compression" else -1.0
    strain = np.r_[0.0, sign * rows["displacement_mm"] / run.spec.coupon.length_mm]
    stress = np.r_[0.0, sign * rows["load_n"] / run.outcomes["section_mm2"].value]
    axes.plot(strain, stress, color=INK, marker=".", ms=4)
    found = run.outcomes.get(f"strength_{stage.name}_mpa")
    if found is not None:
        axes.axhline(found.value, color=FAINT, ls="--", lw=1.0)
        axes.text(strain.max(), 0.98 * found.value, f"strength {found.value:.3g} MPa", ha="right", va="top")
    axes.set(xlabel="platen displacement over length [1]", ylabel="stress [MPa]")
    axes.set_ylim(0.0, 1.08 * stress.max())


def _load_deflection(axes: Axes, run: Result, stage: CouponStage, rows: pd.DataFrame) -> None:
    axes.plot(np.r_[0.0, rows["displacement_mm"]], np.r_[0.0, rows["load_n"]], color=INK, marker=".", ms=4)
    axes.set(xlabel="travel of the inner rollers [mm]", ylabel="load [N]")


def _strain_time(axes: Axes, run: Result, stage: CouponStage, rows: pd.DataFrame) -> None:
    """Strain while the load is held and, from the same start, while the coupon recovers."""
    assert run.spec.coupon is not None
    assert run.spec.coupon.length_mm is not None
    held = rows.dropna(subset=["time_s"])
    under = held["load_n"] > 0.5 * held["load_n"].max()
    for chosen, label, colour in ((under, "held", INK), (~under, "unloaded", PLACE_COLOURS["posterior"])):
        if chosen.any():
            strain = held["displacement_mm"][chosen] / run.spec.coupon.length_mm
            axes.plot(held["time_s"][chosen], strain, color=colour, marker=".", ms=4, label=label)
    axes.set(xlabel="time since loading, unloading [s]", ylabel="platen displacement over length [1]", xscale="log")
    axes.set_ylim(bottom=0.0)
    axes.legend()


def _displacement_cycles(axes: Axes, run: Result, stage: CouponStage, rows: pd.DataFrame) -> None:
    cycled = rows[rows["cycle"] > 0]
    axes.plot(cycled["cycle"], cycled["displacement_mm"].abs(), color=INK, marker=".", ms=4)
    life = run.outcomes.get(f"life_{stage.name}")
    if life is not None:
        axes.axvline(life.value, color=FAINT, ls="--", lw=1.0, label=f"life {life.value:.3g}")
        axes.legend()
    axes.set(xlabel="cycles", ylabel="displacement at the peak [mm]", xscale="log")


_COUPON_PANELS: dict[str, Callable[[Axes, Result, CouponStage, pd.DataFrame], None]] = {
    "coupon_compression": _stress_strain,
    "coupon_tension": _stress_strain,
    "coupon_bend": _load_deflection,
    "coupon_creep": _strain_time,
    "coupon_fatigue": _displacement_cycles,
}


def strength_chart(run: Result) -> Figure | None:
    """Load against approach of the caps, each stage from rest, with the strength and the line that defines it."""
    history = run.history.dropna(subset=["displacement_mm", "load_n"])
    height = run.outcomes.get("body_height_mm")
    names = list(dict.fromkeys(history["stage"]))
    if not names or height is None:
        return None
    offsets = {stage.name: stage.offset_strain for stage in run.spec.voxel_stages if stage.kind == "voxel_strength"}
    with figure(9.0, 4.2) as drawn:
        axes = drawn.subplots()
        for name, colour in zip(names, cycle(TEST_COLOURS), strict=False):
            rows = history[history["stage"] == name]
            _path(axes, name, rows, colour)
            if name in offsets:
                _offset_line(axes, run, name, offsets[name] * height.value, colour)
        axes.set(xlabel="approach of the caps [mm]", ylabel="load [N]")
        axes.set_title("Load against displacement, each test from rest (dashed: offset line; ring: strength)")
        axes.set_ylim(0.0, 1.08 * float(history["load_n"].max()))
        axes.set_xlim(left=0.0)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawn


def _path(axes: Axes, name: str, rows: pd.DataFrame, colour: Colour) -> None:
    along, load = np.r_[0.0, rows["displacement_mm"]], np.r_[0.0, rows["load_n"]]
    axes.plot(along, load, color=colour, label=name.replace("_", " "), marker=".", ms=4)


def _offset_line(axes: Axes, run: Result, name: str, offset_mm: float, colour: Colour) -> None:
    """The initial slope, shifted, up to the load that it defines; nothing if the path did not reach it."""
    strength, slope = (run.outcomes.get(f"{what}_{name}_{unit}") for what, unit in STRENGTH)
    if strength is None or slope is None:
        return
    end = offset_mm + strength.value / slope.value
    axes.plot([offset_mm, end], [0.0, strength.value], color=colour, lw=0.8, ls="--")
    axes.plot([end], [strength.value], color=colour, marker="o", ms=8, mfc="none")
    axes.annotate(
        f"{strength.value:.0f} N", (end, strength.value), (-7, 7), textcoords="offset points", ha="right", color=colour
    )


def stage_heights_chart(run: Result) -> Figure | None:
    """Heights in each state of the procedure, from the outcomes; None if there are fewer than two states."""
    states = [s for s in HEIGHT_STATES if any(np.isfinite(height_mm(run, s, p)) for p in PLACES)]
    if len(states) < 2:
        return None
    with figure(9.0, 3.8) as drawn:
        axes = drawn.subplots()
        for place in PLACES:
            heights = [height_mm(run, state, place) for state in states]
            axes.plot(states, heights, color=PLACE_COLOURS[place], marker="o", label=place)
            for state, height in zip(states, heights, strict=True):
                _label(axes, state, height, place)
        axes.set(title="Height of the vertebral body through the stages", ylabel="height [mm]")
        axes.margins(y=0.18)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawn


def balloon_chart(run: Result) -> Figure | None:
    """Balloon pressure, and the height that is won, against volume; None if no balloon was inflated."""
    rows = run.history.dropna(subset=["pressure_mpa", "volume_ml"])
    if len(rows) < 2:
        return None
    stages = [stage for stage in run.spec.body_stages if stage.kind in ("reduce", "deflate")]
    with figure(9.0, 3.8) as drawn:
        left, right = drawn.subplots(1, 2)
        names = [stage.name for stage in stages if (rows["stage"] == stage.name).any()]
        for name, colour in zip(names, _stage_colours(len(names)), strict=True):
            part = rows[rows["stage"] == name]
            left.plot(part["volume_ml"], part["pressure_mpa"], marker=".", color=colour, label=name.replace("_", " "))
        for limit in sorted({stage.balloon_pressure_limit_mpa for stage in stages if stage.kind == "reduce"}):
            left.axhline(limit, color=FAINT, lw=1.0, ls="--", label="limit")
        _shade_work(left, run, rows, stages)
        first = rows.iloc[0]
        for place in PLACES:
            lift = rows[f"height_{place}_mm"] - first[f"height_{place}_mm"]
            right.plot(rows["volume_ml"], lift, marker=".", color=PLACE_COLOURS[place], label=place)
        left.set(title="Pressure", xlabel="volume of all balloons [mL]", ylabel="pressure [MPa]")
        right.set(title="Height won", xlabel="volume of all balloons [mL]", ylabel="height [mm]")
        left.set_ylim(bottom=min(0.0, float(rows["pressure_mpa"].min())))
        for axes in (left, right):
            axes.legend(loc="best")
    return drawn


def _shade_work(axes: Axes, run: Result, rows: pd.DataFrame, stages: Sequence[Stage]) -> None:
    """Fill the area under the inflation of a run's only `reduce` stage, and write its work on it."""
    blown, work = [stage for stage in stages if stage.kind == "reduce"], run.outcomes.get("balloon_work_j")
    if len(blown) != 1 or work is None:
        return
    part = rows[rows["stage"] == blown[0].name]
    axes.fill_between(part["volume_ml"], part["pressure_mpa"], color=FAINT, alpha=0.2, lw=0.0)
    middle = float(part["volume_ml"].mean())
    axes.text(middle, 0.4 * float(part["pressure_mpa"].max()), f"work {work.value:.1f} J", ha="center")


def _share(run: Result, rows: pd.DataFrame, place: str) -> pd.Series[float]:
    """Retention of each row; without a treatment, the loss since the fracture."""
    height = rows[f"height_{place}_mm"]
    intact, fractured, treated = (height_mm(run, state, place) for state in ("intact", "fractured", "treated"))
    if _was_treated(run):
        return (height - fractured) / (treated - fractured)
    return (fractured - height) / intact


def _was_treated(run: Result) -> bool:
    return bool(np.isfinite(height_mm(run, "treated", "anterior")))


def _share_title(treated: bool) -> str:
    return "Share of the restored height that is left" if treated else "Loss since the fracture, share of intact"


def _label(axes: Axes, state: str, height: float, place: str) -> None:
    """The height in figures: the posterior above its point, the anterior below, the middle beside."""
    if not np.isfinite(height):
        return
    x, y, across = LABEL_PLACES[place]
    text = axes.annotate(f"{height:.1f}", (state, height), (x, y), textcoords="offset points", ha=across)
    text.set(color=PLACE_COLOURS[place], path_effects=[withStroke(linewidth=3.0, foreground="white")])


def _scale_cycles(axes: Axes, most: float) -> None:
    axes.set_xlabel("cycles")
    if most > LINEAR_UP_TO_CYCLES:
        axes.set_xscale("log")


def _stage_colours(count: int) -> list[Colour]:
    if count == 1:
        return [INK]
    return [tuple(float(c) for c in rgba) for rgba in colormaps["turbo"](np.linspace(0.08, 0.92, count))]
