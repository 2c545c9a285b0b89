"""One look for every picture: colours, type, and figures that need no screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BONE = "#e8dcc0"
POT = "#b9bec4"
DISC = "#9dbfcf"
CEMENT = "#d6258f"
CAVITY = "#27a8f0"
INK = "#222222"
FAINT = "#9a9a9a"
PLACE_COLOURS = {"anterior": "#c1440e", "middle": "#5b5b5b", "posterior": "#1f6f8b"}
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))  # so that lines on top of each other are both seen
DOTS_PER_INCH = 150
OVERVIEW = "stages.png"

_TYPE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
}


@contextmanager
def figure(width_inch: float, height_inch: float) -> Iterator[Figure]:
    """A figure in the common style; everything drawn inside the ``with`` block takes it."""
    with mpl.rc_context(_TYPE):
        yield Figure(figsize=(width_inch, height_inch), layout="constrained", facecolor="white")


def distinct_colours(count: int) -> list[str]:
    """So many colours, told apart as far as there are; they come again after ten."""
    ten = [mpl.colors.to_hex(colour) for colour in mpl.colormaps["tab10"].colors]  # type: ignore[attr-defined]
    return [ten[i % len(ten)] for i in range(count)]


def lay_out(drawn: Figure) -> None:
    """Place everything in a figure, once: from then on its layout stands."""
    drawn.dpi = DOTS_PER_INCH
    if (layout := drawn.get_layout_engine()) is not None:
        layout.execute(drawn)
        drawn.set_layout_engine("none")


def save(drawn: Figure, path: Path) -> Path:
    """Lay out a figure, write it as PNG and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lay_out(drawn)
    canvas = FigureCanvasAgg(drawn)
    canvas.print_png(path, pil_kwargs={"compress_level": 3})  # type: ignore[no-untyped-call]  # savefig draws twice
    return path
