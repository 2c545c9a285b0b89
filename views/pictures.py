"""Pictures of a run: every stage on one scale, cut open, and the charts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from kyphos.views import charts
from kyphos.views.reading import RunFolder, read_run, read_stage
from kyphos.views.scene import Frame, Parts, Shade, common_frame, draw_shaded, draw_solid, split
from kyphos.views.style import BALLOON, BONE, CEMENT, INK, POT, figure, save

Image = NDArray[np.uint8]

PANEL_WIDTH_INCH = 1.75
RULER_MM = 10.0
CHARTS = {
    "heights_stages.png": charts.stage_heights_chart,
    "heights_cycles.png": charts.height_chart,
    "load_displacement.png": charts.load_chart,
    "balloon.png": charts.balloon_chart,
}


def make_pictures(run_dir: Path | str) -> list[Path]:
    """Draw everything that a run folder allows into its ``pictures/`` and return the paths.

    Needs no screen. A chart whose data the run does not have is left out.

    Raises
    ------
    DataError
        If the folder is no run folder or a file in it cannot be read.
    """
    run = read_run(run_dir)
    folder = run.path / "pictures"
    drawn = {name: chart(run) for name, chart in CHARTS.items()}
    paths = [save(chart, folder / name) for name, chart in drawn.items() if chart is not None]
    return [*stage_pictures(run, folder), *paths]


def stage_pictures(run: RunFolder, folder: Path) -> list[Path]:
    """One sheet with all stages, and one larger picture of each; empty if the run saved no fields."""
    if not run.stages:
        return []
    grids = [read_stage(stage) for stage in run.stages]
    frame = common_frame(grids)
    halves = [split(grid, run.region_names, cut=True) for grid in grids]
    wholes = [split(grid, run.region_names, cut=False) for grid in grids]
    shades = choose_shades(halves)
    panels = [_draw_stage(whole, half, frame, shades) for whole, half in zip(wholes, halves, strict=True)]
    names = [stage.stage.replace("_", " ") for stage in run.stages]
    paths = [save(stages_sheet(panels, names, shades, frame), folder / "stages.png")]
    for index, (column, name, stage) in enumerate(zip(panels, names, run.stages, strict=True), start=1):
        one = stage_picture(column, name, shades, frame)
        paths.append(save(one, folder / f"{index:02d}_{stage.stage}.png"))
    return paths


def choose_shades(stages: list[Parts]) -> list[Shade]:
    """What to colour the bone by, each with one range for all stages; only arrays that were saved."""
    shades = [
        Shade("density_g_per_cc", "density [g/cm³]", "cividis", 0.0, _top(stages, "density_g_per_cc")),
        Shade("damage", "damage [1]", "magma_r", 0.0, 1.0),
        Shade("displacement_mm", "displacement [mm]", "viridis", 0.0, _top(stages, "displacement_mm")),
    ]
    return [shade for shade in shades if shade.array in stages[0].bone.cell_data]


def stages_sheet(panels: list[list[Image]], names: list[str], shades: list[Shade], frame: Frame) -> Figure:
    """All stages side by side: outside in the first row, a cut-away for each shade below.

    ``panels[stage][row]`` are images of one size; rows are the outside and then the shades.
    """
    rows, columns = 1 + len(shades), len(panels)
    width, height = frame.size_px
    row_inch = PANEL_WIDTH_INCH * height / width
    with figure(PANEL_WIDTH_INCH * columns + 1.0, row_inch * rows + 0.7) as drawn:
        grid = drawn.subplots(rows, columns, squeeze=False)
        for column, (images, name) in enumerate(zip(panels, names, strict=True)):
            grid[0, column].set_title(name, loc="center")
            for row, image in enumerate(images):
                _show(grid[row, column], image)
        for row, shade in enumerate(shades, start=1):
            _scale(drawn, list(grid[row]), shade)
        _ruler(grid[0, 0], frame)
        _key(drawn)
    return drawn


def stage_picture(images: list[Image], name: str, shades: list[Shade], frame: Frame) -> Figure:
    """One stage, larger: the outside and its cut-aways in a row."""
    width, height = frame.size_px
    panel_inch = 2.6
    with figure(panel_inch * len(images) + 0.9 * len(shades), panel_inch * height / width + 0.9) as drawn:
        axes = drawn.subplots(1, len(images), squeeze=False)[0]
        for place, image in zip(axes, images, strict=True):
            _show(place, image)
        for place, shade in zip(axes[1:], shades, strict=True):
            _scale(drawn, [place], shade)
        axes[0].set_title(name)
        _ruler(axes[0], frame)
        _key(drawn)
    return drawn


def _draw_stage(whole: Parts, half: Parts, frame: Frame, shades: list[Shade]) -> list[Image]:
    return [draw_solid(whole, frame), *(draw_shaded(half, frame, shade) for shade in shades)]


def _top(stages: list[Parts], name: str) -> float:
    """A round upper end for a colour scale: the 99th percentile of all stages, never zero."""
    values = [s.bone.cell_data[name] for s in stages if name in s.bone.cell_data]
    finite = np.concatenate(values) if values else np.zeros(0)
    finite = finite[np.isfinite(finite)]
    top = float(np.percentile(finite, 99)) if finite.size else 0.0
    if top <= 0.0:
        return 1.0
    step = 10.0 ** np.floor(np.log10(top)) / 5.0
    return float(np.ceil(top / step) * step)


def _show(axes: Axes, image: Image) -> None:
    axes.imshow(image, interpolation="antialiased")
    axes.set_axis_off()


def _scale(drawn: Figure, axes: list[Axes], shade: Shade) -> None:
    colours = ScalarMappable(Normalize(shade.low, shade.high), colormaps[shade.colours])
    bar = drawn.colorbar(colours, ax=axes, shrink=0.8, aspect=16, pad=0.01)
    bar.set_label(shade.title)
    bar.outline.set_visible(False)


def _ruler(axes: Axes, frame: Frame) -> None:
    """A line of ``RULER_MM`` in the lower left corner; the projection is parallel, so it holds everywhere."""
    width, height = frame.size_px
    length = RULER_MM * frame.px_per_mm
    x, y = 0.04 * width, 0.97 * height
    axes.plot([x, x + length], [y, y], color=INK, lw=1.5, clip_on=False)
    axes.text(x + 0.5 * length, y - 0.02 * height, f"{RULER_MM:g} mm", ha="center", va="bottom", fontsize=7)


def _key(drawn: Figure) -> None:
    entries = {"bone": BONE, "cement": CEMENT, "balloon": BALLOON, "pot": POT}
    patches = [Patch(color=colour, label=name) for name, colour in entries.items()]
    drawn.legend(handles=patches, loc="outside lower center", ncols=len(patches))
