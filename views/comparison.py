"""A comparison as charts, pictures of all arms on one scale, and one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kyphos.experiments.comparison import COMPARED_CYCLES, Arm, Comparison, felt_words, table_rows
from kyphos.views.compared_neighbours import changes_chart, felt_chart, felt_summary
from kyphos.views.page import digits, embed, page, table
from kyphos.views.pictures import choose_shades, stages_sheet
from kyphos.views.reading import PLACES, StageFile, read_stage, stage_files
from kyphos.views.report import boundary_conditions
from kyphos.views.scene import common_frame, draw_shaded, draw_solid, split, studio
from kyphos.views.style import DASHES, FAINT, INK, distinct_colours, figure, save

SHEET = "arms.png"
RESERVE = "cement_fatigue_reserve"
PICTURED = ("cycled", "treated", "fractured")
"""The state in which arms are pictured: the last of these that all have in common."""
SUMMARY = {
    "restoration_anterior": "of the lost anterior height restored",
    "deflation_loss_anterior": "of the lift lost on deflation",
    "retention_anterior": "of the restored height left at the end",
    "loss_at_anterior": "of the intact height lost",
    "stiffness_treated_n_per_mm": "stiffness, treated",
    "strength_treated_n": "strength, treated",
    "cement_von_mises_p99_mpa": "cement: von Mises stress",
    "cement_fatigue_reserve": "cement: fatigue reserve",
}
"""Quantity -> words; ``loss_at`` stands for the largest number of cycles that there is."""
BARS = {
    "restoration.png": {
        "restoration_{}": ("share of the lost height [1]", "Restoration"),
        "deflation_loss_{}": ("share of the lift [1]", "Lost on deflation"),
        "retention_{}": ("share of the restored height [1]", "Retention after all cycles"),
    },
    "mechanics.png": {
        "stiffness_{}_n_per_mm": ("stiffness [N/mm]", "Stiffness"),
        "strength_{}_n": ("strength [N]", "Strength"),
        "bone_damage_{}_ml": ("integral of the damage [mL]", "Damage of the bone"),
    },
    "cement.png": {
        "cement_von_mises_p99_mpa": ("von Mises stress [MPa]", "Cement: von Mises stress"),
        "cement_tension_p99_mpa": ("largest principal stress [MPa]", "Cement: tension"),
        RESERVE: ("stress at run-out over stress [1]", "Cement: fatigue reserve"),
    },
}
"""Picture -> pattern of quantities -> axis and title; a gap in the pattern is a place or a state."""
CAPTIONS = {
    "heights.png": "Heights between the bony endplates under the reference preload, all arms on one scale.",
    "cycles.png": "Anterior height against cycles since the last treatment, or the fracture, at the valley of the "
    "cycle; shaded: 5th to 95th percentile of the population.",
    "restoration.png": "What the treatment wins, what deflation takes, what the cycles leave.",
    "mechanics.png": "Stiffness (secant), strength (first maximum), and the damage of the bone that is left beside "
    "cement and cavity, in each state; grey: common to all arms.",
    "cement.png": "Cement at the last peak of the last cycles, 99th percentile of its volume. A fatigue reserve "
    "below 1 means that it tires before the cycles of its fatigue limit.",
    "neighbours.png": "The endplates that face the treated level (von Mises stress that 99 % of the volume do not "
    "exceed) and the discs beside it (mean pressure of the nucleus) through all states; panels of one kind share "
    "their scale.",
    "neighbour_changes.png": "Changes of all neighbours' endplates and of all discs, with the values in MPa below: "
    "fractured against intact, all that follows against the last fractured state. One colour scale.",
}


def draw_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw charts and pictures into ``folder/pictures`` and write ``folder/report.html``; returns all, the report last.

    Raises
    ------
    DataError
        A file of an arm cannot be read.
    """
    pictures = folder / "pictures"
    drawn = {"heights.png": heights_chart(comparison), "cycles.png": cycles_chart(comparison)}
    drawn |= {name: bars_chart(comparison, panels) for name, panels in BARS.items()}
    drawn |= {"neighbours.png": felt_chart(comparison), "neighbour_changes.png": changes_chart(comparison)}
    paths = [save(chart, pictures / name) for name, chart in drawn.items() if chart is not None]
    sheet = arms_sheet(comparison)
    paths += [] if sheet is None else [save(sheet, pictures / SHEET)]
    report = folder / "report.html"
    report.write_text(page("comparison.html", _parts(comparison, pictures)), encoding="utf-8")
    return [*paths, report]


def arms_sheet(comparison: Comparison) -> Figure | None:
    """All arms in the same state, outside and cut open, with one camera and one scale; None without saved fields."""
    files = {arm.name: {file.stage: file for file in stage_files(arm.result)} for arm in comparison.arms}
    chosen = {arm: found for arm, known in files.items() if (found := _pictured(known)) is not None}
    if not chosen:
        return None
    grids = {arm: read_stage(file) for arm, file in chosen.items()}
    regions = {arm.name: tuple(arm.result.manifest["region_names"]) for arm in comparison.arms}
    frame = common_frame(list(grids.values()))
    halves = {arm: split(grid, regions[arm], cut=True) for arm, grid in grids.items()}
    shades = choose_shades(list(halves.values()))
    with studio(frame) as plotter:
        panels = {
            f"{_lines(arm)}\n({chosen[arm].stage.replace('_', ' ')})": [
                draw_solid(plotter, split(grid, regions[arm], cut=False)),
                *(draw_shaded(plotter, halves[arm], shade) for shade in shades),
            ]
            for arm, grid in grids.items()
        }
    return stages_sheet(panels, shades, frame)


def heights_chart(comparison: Comparison) -> Figure | None:
    """Heights through the states, a panel for each place on one scale; None if no arm has two states."""
    states = [s for s in comparison.states if any(f"height_{s}_anterior_mm" in a.values for a in comparison.arms)]
    if len(states) < 2:
        return None
    with figure(10.5, 4.2) as drawn:
        panels = drawn.subplots(1, len(PLACES), sharey=True)
        for axes, place in zip(panels, PLACES, strict=True):
            for n, (arm, colour) in enumerate(_coloured(comparison)):
                found = [(i, arm.values.get(f"height_{state}_{place}_mm")) for i, state in enumerate(states)]
                known = [(i, outcome.value) for i, outcome in found if outcome is not None]
                axes.plot(
                    *zip(*known, strict=True),
                    color=colour,
                    marker="o",
                    ms=3.5,
                    ls=DASHES[n % len(DASHES)],
                    label=arm.name,
                )
            axes.set_xticks(range(len(states)), [s.replace("_", " ") for s in states], rotation=35, ha="right")
            axes.set(title=f"{place} height")
        panels[0].set_ylabel("height [mm]")
        _legend(drawn, panels[0])
    return drawn


def cycles_chart(comparison: Comparison) -> Figure | None:
    """Retention and loss of anterior height against cycles, with the population's bands; None without cycles."""
    kinds = {"retention_at": "Share of the restored height that is left", "loss_at": "Height lost, share of intact"}
    if not any(name.startswith("loss_at") for name in comparison.quantities):
        return None
    with figure(10.5, 4.2) as drawn:
        panels = drawn.subplots(1, 2)
        for axes, (kind, title) in zip(panels, kinds.items(), strict=True):
            for n, (arm, colour) in enumerate(_coloured(comparison)):
                _curve(axes, comparison, arm, kind, {"color": colour, "ls": DASHES[n % len(DASHES)]})
            axes.set(title=f"{title} (anterior)", xlabel="cycles", xscale="log")
            axes.set_ylabel("retention [1]" if kind == "retention_at" else "loss [1]")
        panels[1].axhline(0.0, color=FAINT, lw=0.8)
        _legend(drawn, panels[1])
    return drawn


def _curve(axes: Axes, comparison: Comparison, arm: Arm, kind: str, look: dict[str, Any]) -> None:
    """The arm's own values, and the population's band behind them."""
    names = {count: f"{kind}_{count}_anterior" for count in COMPARED_CYCLES}
    known = [(count, arm.values[name].value) for count, name in names.items() if name in arm.values]
    if known:
        axes.plot(*zip(*known, strict=True), marker="o", ms=4, label=arm.name, **look)
    bands = comparison.bands.get(arm.name, {})
    spread = [(count, bands[name].low, bands[name].high) for count, name in names.items() if name in bands]
    if spread:
        count, low, high = np.array(spread).T
        axes.fill_between(count, low, high, color=look["color"], alpha=0.12, lw=0)


def bars_chart(comparison: Comparison, panels: dict[str, tuple[str, str]]) -> Figure | None:
    """A panel for each quantity with groups of bars, one bar an arm; None if no arm has any of them."""
    groups = {pattern: _group(comparison, pattern) for pattern in panels}
    shown = {pattern: names for pattern, names in groups.items() if names}
    if not shown:
        return None
    with figure(10.5, 4.0) as drawn:
        grid = drawn.subplots(1, len(shown), squeeze=False)[0]
        for axes, (pattern, names) in zip(grid, shown.items(), strict=True):
            _bars(axes, comparison, names)
            axis, title = panels[pattern]
            axes.set(title=title, ylabel=axis)
        patches = [Patch(color=colour, label=arm.name) for arm, colour in _coloured(comparison)]
        drawn.legend(handles=patches, ncols=3, loc="outside lower center")
    return drawn


def _bars(axes: Axes, comparison: Comparison, names: dict[str, str]) -> None:
    """Groups of bars; where all arms have one and the same value, which they share, a single grey one."""
    width = 0.8 / len(comparison.arms)
    for k, name in enumerate(names.values()):
        values = [comparison.value(arm, name) for arm in comparison.arms]
        if len(set(values)) == 1 and len(values) > 1:
            axes.bar(k, values[0] or 0.0, 2.0 * width, color=FAINT)
            _whisker(axes, comparison, comparison.arms[0], name, k)
            continue
        for i, ((arm, colour), value) in enumerate(zip(_coloured(comparison), values, strict=True)):
            x = k - 0.4 + (i + 0.5) * width
            if value is not None:
                axes.bar(x, value, width, color=colour)
            _whisker(axes, comparison, arm, name, x)
    axes.set_xticks(range(len(names)), [label.replace("_", " ") for label in names])
    axes.set(xlim=(-0.5, len(names) - 0.5), axisbelow=True)
    axes.grid(visible=False, axis="x")
    if RESERVE in names.values():
        axes.set_yscale("log")
        axes.set_ylim(bottom=min(0.5, 0.8 * axes.get_ylim()[0]))
        axes.axhline(1.0, color=INK, lw=0.8, ls="--")


def _whisker(axes: Axes, comparison: Comparison, arm: Arm, name: str, x: float) -> None:
    """A line from the 5th to the 95th percentile of the population, if there is one."""
    band = comparison.bands.get(arm.name, {}).get(name)
    if band is not None:
        axes.plot([x, x], [band.low, band.high], color=INK, lw=0.9)


def _group(comparison: Comparison, pattern: str) -> dict[str, str]:
    """Label -> quantity for what a pattern stands for and some arm has."""
    if "{}" not in pattern:
        return {"": pattern} if pattern in comparison.quantities else {}
    known = {label: pattern.format(label) for label in (*PLACES, *comparison.states)}
    return {label: name for label, name in known.items() if name in comparison.quantities}


def _coloured(comparison: Comparison) -> list[tuple[Arm, str]]:
    return list(zip(comparison.arms, distinct_colours(len(comparison.arms)), strict=True))


def _legend(drawn: Figure, axes: Axes) -> None:
    drawn.legend(*axes.get_legend_handles_labels(), ncols=3, loc="outside lower center")


def _pictured(files: dict[str, StageFile]) -> StageFile | None:
    """The furthest state to picture; of repeated ones the last."""
    for state in PICTURED:
        found = [file for stage, file in files.items() if stage.rstrip("_0123456789") == state]
        if found:
            return found[-1]
    return None


def _lines(name: str) -> str:
    """A long name on two lines."""
    head, dash, tail = name.partition("-")
    return f"{head}{dash}\n{tail}" if len(name) > 16 and tail else name


# --- the page ------------------------------------------------------------------------------------------------------


def _parts(comparison: Comparison, pictures: Path) -> dict[str, str]:
    first = comparison.arms[0].result
    head, rows = table_rows(comparison)
    return {
        "title": escape(comparison.title),
        "description": escape(comparison.description),
        "status": escape(f"{len(comparison.arms)} arms · Kyphos {first.manifest['versions'].get('kyphos', '?')}"),
        "failed": _failed(comparison),
        "summary": _summary(comparison),
        "bands": escape(_population_words(comparison)),
        "overview": embed(pictures / SHEET, "All arms in their last state, one camera, one scale for each row."),
        "charts": "\n".join(embed(pictures / name, words) for name, words in CAPTIONS.items()),
        "boundary": escape(" ".join([boundary_conditions(first), *felt_words(comparison)])),
        "numbers": table(head, rows),
        "arms": _arms(comparison),
    }


def _failed(comparison: Comparison) -> str:
    told = [f"<b>{escape(arm.name)}</b>: {escape(arm.message)}" for arm in comparison.arms if arm.message]
    return f'<p class="notice">Not finished: {"; ".join(told)}</p>' if told else ""


def _summary(comparison: Comparison) -> str:
    """The few numbers that answer the question, with the population's range where there is one."""
    rows = []
    for pattern, words in SUMMARY.items():
        name, told = _last_loss(comparison) if pattern.startswith("loss_at") else (pattern, "")
        if name in comparison.quantities:
            unit = comparison.quantities[name]
            label = f"{words}{told}" if unit == "1" else f"{words} [{unit}]"
            rows.append((label, *(_with_band(comparison, arm, name) for arm in comparison.arms)))
    for name, words in felt_summary(comparison).items():
        rows.append((words, *(_with_band(comparison, arm, name) for arm in comparison.arms)))
    return table(("", *(arm.name for arm in comparison.arms)), rows)


def _last_loss(comparison: Comparison) -> tuple[str, str]:
    """The loss after the most cycles that some arm has carried, and the words for that number."""
    counts = [count for count in COMPARED_CYCLES if f"loss_at_{count}_anterior" in comparison.quantities]
    return (f"loss_at_{counts[-1]}_anterior", f" after {counts[-1]:,} cycles") if counts else ("", "")


def _with_band(comparison: Comparison, arm: Arm, name: str) -> str:
    """A value as a reader wants it, shares in per cent; with 5th and 95th percentile and the number of specimens."""
    share = comparison.quantities[name] == "1" and name != RESERVE

    def words(value: float) -> str:
        return f"{round(100.0 * value, 1) + 0.0:.1f} %" if share else digits(value)  # no -0.0

    value = comparison.value(arm, name)
    band = comparison.bands.get(arm.name, {}).get(name)
    text = "" if value is None else words(value)
    return f"{text} ({words(band.low)} to {words(band.high)}; {band.count})" if band else text


def _population_words(comparison: Comparison) -> str:
    if not comparison.people:
        return "One specimen: differences between the arms say nothing about scatter between patients."
    failed = {
        arm.name: sum(p[arm.name].result.status != "done" for p in comparison.people.values() if arm.name in p)
        for arm in comparison.arms
    }
    told = ", ".join(f"{name} {count}" for name, count in failed.items() if count)
    return (
        f"In brackets: 5th to 95th percentile over a population of {len(comparison.people)} specimens that scatter in "
        "density and size, and how many of them have the quantity. "
        + (
            f"Specimens whose run ended early: {told}; the ranges leave them out where they have no value."
            if told
            else "All runs came to their end."
        )
    )


def _arms(comparison: Comparison) -> str:
    rows: list[Sequence[object]] = []
    for arm in comparison.arms:
        manifest = arm.result.manifest
        shared = manifest.get("branched_from", {})
        rows.append(
            (
                arm.name,
                arm.result.status,
                ", ".join(stage.name for stage in arm.result.spec.stage),
                f"{float(manifest['wall_s']) - float(shared.get('wall_s', 0.0)):.0f}",
                f"{shared['run']} {shared['stage']}" if shared else "",
            )
        )
    return table(("arm", "status", "stages", "own time [s]", "goes on from"), rows)
