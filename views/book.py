"""Pictures of the validation book: a panel for each row, and curves where a protocol has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kyphos.errors import DataError
from kyphos.views.style import FAINT, INK, PLACE_COLOURS, figure, save

PUBLISHED, OURS = "#1f6f8b", "#c1440e"
STATE_COLOURS = {"intact": FAINT, "fractured": OURS, "treated": PUBLISHED}
PANELS_A_LINE = 4
GOOD_COLOUR, BAD_COLOUR = "#3c7d3c", "#9c3030"
GOOD_VERDICTS = ("within", "reproduced")

Table = dict[str, Any]


def draw_book(path: Path, folder: Path | None = None) -> list[Path]:
    """Draw the pictures of a ``book.json``: one for each protocol, into ``pictures`` beside it or into ``folder``.

    DataError if the file cannot be read.
    """
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a validation book: {error}") from None
    place = folder or path.parent / "pictures"
    drawn = []
    for name, found in book["protocols"].items():
        rows = [row for row in book["rows"] if row["protocol"] == name]
        if rows:
            drawn.append(_draw_protocol(rows, name, found, place / f"{name}.png"))
    return drawn


def _draw_protocol(rows: list[Table], name: str, found: Table, path: Path) -> Path:
    extra = _EXTRA.get(name)
    count = len(rows) + (1 if extra else 0)
    lines = -(-count // PANELS_A_LINE)
    with figure(2.6 * min(count, PANELS_A_LINE) + (1.2 if extra else 0.6), 2.7 * lines) as drawn:
        panels = np.atleast_1d(drawn.subplots(lines, min(count, PANELS_A_LINE))).ravel()
        for panel, row in zip(panels, rows, strict=False):
            _row_panel(panel, row, found["values"].get(row["observable"], []))
        if extra:
            extra(panels[len(rows)], found, rows)
        for panel in panels[count:]:
            panel.set_visible(False)
    return save(drawn, path)


def _row_panel(axes: Axes, row: Table, values: list[float | None]) -> None:
    """Published value or range on the left, ours and every specimen on the right."""
    known = [value for value in values if value is not None]
    if row["judge"] == "order":
        _order_panel(axes, row, known)
    else:
        _number_panel(axes, row, known)
    good = row["verdict"].startswith(GOOD_VERDICTS)
    axes.set_xlim(-0.6, 1.6)
    axes.set_xticks([0, 1], ["published", "ours"])
    axes.set_title(f"{row['name']}\n{row['verdict']}", color=GOOD_COLOUR if good else BAD_COLOUR, fontsize=8)
    axes.grid(axis="x", visible=False)


def _number_panel(axes: Axes, row: Table, known: list[float]) -> None:
    if row["low"] is not None and row["judge"] == "band":
        axes.fill_between([-0.25, 0.25], row["low"], row["high"], color=PUBLISHED, alpha=0.3)
    elif row["published"] is not None:
        axes.errorbar([0], [row["published"]], yerr=row["sd"] or 0.0, fmt="o", color=PUBLISHED, capsize=4)
    scatter = np.linspace(-0.12, 0.12, len(known)) if len(known) > 1 else np.zeros(len(known))
    axes.plot(1 + scatter, known, ".", color=OURS, alpha=0.5, ms=4)
    if row["ours"] is not None:
        axes.errorbar([1.3], [row["ours"]], yerr=row["ours_sd"] or 0.0, fmt="s", color=OURS, capsize=4, ms=4)
    numbers = [number for number in (*known, row["published"]) if isinstance(number, int | float)]
    if numbers and min(numbers) > 0 and max(numbers) > 30 * min(numbers):
        axes.set_yscale("log")
    else:
        low, high = axes.get_ylim()
        room = 0.06 * max(abs(low), abs(high))  # so that no marker is cut
        axes.set_ylim(low - room if low < 0.0 else 0.0, high + room if high > 0.0 else 0.0)
    axes.set_ylabel("" if row["unit"] == "1" else row["unit"])


def _order_panel(axes: Axes, row: Table, known: list[float]) -> None:
    axes.bar([1], [100.0 * float(np.mean(known)) if known else 0.0], width=0.5, color=OURS, alpha=0.7)
    axes.text(0, 50, fill(row["claim"], 18), ha="center", va="center", fontsize=7, color=INK)
    axes.set_ylim(0, 105)
    axes.set_ylabel("specimens that follow [%]")


# --- curves --------------------------------------------------------------------------------------------------------


def _creep(axes: Axes, found: Table, rows: list[Table]) -> None:
    """The Luo effect: fractured bone creeps faster than intact bone with the same constants."""
    for state, colour in STATE_COLOURS.items():
        for i, curve in enumerate(found["curves"].get(state, [])):
            time_s, strain = np.array(curve).T
            axes.plot(time_s / 60.0, strain, color=colour, lw=1.0, label=state if i == 0 else None)
    axes.set(yscale="log", xlabel="time under 1 kN [min]", ylabel="anterior creep [microstrain]")
    axes.set_title("Creep, each specimen", fontsize=8)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _strength(axes: Axes, found: Table, rows: list[Table]) -> None:
    """Strength against density, with the published regression and bands."""
    vbmd = [specimen["vbmd_mg_per_cc"] for specimen in found["specimens"]]
    for arm, colour in (("l1", OURS), ("l3", PLACE_COLOURS["middle"]), ("men", FAINT)):
        strengths = [np.nan if value is None else value for value in found["values"].get(f"{arm}.strength_kn", [])]
        if strengths:
            axes.plot(vbmd, strengths, ".", color=colour, label=arm, ms=5)
    by_name = {row["name"]: row for row in rows}
    if {"strength-at-80", "strength-slope"} <= by_name.keys():
        slope, at_80 = by_name["strength-slope"]["published"] / 1000.0, by_name["strength-at-80"]["published"]
        span = np.array([min(vbmd), max(vbmd)])
        axes.plot(span, at_80 + slope * (span - 80.0), color=PUBLISHED, lw=1.0, label="published, L1")
    axes.set(xlabel="vBMD [mg/cm³]", ylabel="strength [kN]")
    axes.set_title("Strength against density", fontsize=8)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _dose(axes: Axes, found: Table, rows: list[Table]) -> None:
    """Strength and stiffness over intact against cement volume."""
    values = found["values"]
    for what, colour in (("strength", OURS), ("stiffness", PUBLISHED)):
        names = [name for name in values if name.startswith("v") and name.endswith(f".{what}_ratio")]
        points = [(float(name[1:].split(f".{what}")[0]), values[name]) for name in names]
        none = values.get(names[0].replace("_ratio", "_fractured_ratio")) if names else None
        if none is not None:
            points.insert(0, (0.0, none))
        means = [np.mean([value for value in column if value is not None]) for _, column in points]
        axes.plot([volume for volume, _ in points], means, ".-", color=colour, label=what)
    axes.axhline(1.0, color=INK, lw=0.6)
    axes.set(xlabel="cement [mL]", ylabel="over intact [1]")
    axes.set_title("Restored, mean", fontsize=8)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _sinking(axes: Axes, found: Table, rows: list[Table]) -> None:
    """Anterior height lost in the cycles."""
    for arm, colour in (("kyphoplasty", OURS), ("vertebroplasty", PUBLISHED)):
        for i, curve in enumerate(found["curves"].get(f"{arm}.sinking", [])):
            cycles, sunk = np.array(curve).T
            axes.plot(cycles, sunk, color=colour, lw=1.0, label=arm if i == 0 else None)
    axes.set(xlabel="cycles of 100-600 N", ylabel="anterior height lost [mm]")
    axes.set_title("Each specimen", fontsize=8)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


_EXTRA: dict[str, Callable[[Axes, Table, list[Table]], None]] = {
    "luo-2016": _creep,
    "strength": _strength,
    "dose": _dose,
    "seed": _sinking,
}
