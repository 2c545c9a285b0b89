"""Pictures of a run: every stage on one scale, cut open, and the charts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from kyphos.experiments import Result
from kyphos.views import charts
from kyphos.views.neighbours import adjacent_chart
from kyphos.views.postures import posture_chart
from kyphos.views.profiles import profile_chart
from kyphos.views.reading import read_run, read_stage, stage_files
from kyphos.views.scene import Frame, Parts, Shade, common_frame, disc_ids, draw_shaded, draw_solid, split, studio
from kyphos.views.slices import slice_pictures
from kyphos.views.style import BONE, CAVITY, CEMENT, DISC, INK, OVERVIEW, POT, figure, lay_out, save

Image = NDArray[np.uint8]

PANEL_WIDTH_INCH = 1.75
RULER_MM = 10.0
SHEET_KINDS = ("test", "fracture", "reduce", "deflate")
CHARTS = {
    "heights_stages.png": charts.stage_heights_chart,
    "heights_cycles.png": charts.height_chart,
    "load_displacement.png": charts.load_chart,
    "balloon.png": charts.balloon_chart,
    "adjacent.png": adjacent_chart,
    "profiles.png": profile_chart,
    "postures.png": posture_chart,
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
    charts_drawn = {name: draw(run) for name, draw in CHARTS.items()}
    paths = [save(chart, folder / name) for name, chart in charts_drawn.items() if chart is not None]
    drawn = slice_pictures(run, folder) if run.spec.on_voxels else stage_pictures(run, folder)
    return [*drawn, *paths]


def stage_pictures(run: Result, folder: Path) -> list[Path]:
    """One sheet with the main stages, and one larger picture of each stage; empty if no fields were saved."""
    files = stage_files(run)
    if not files:
        return []
    grids = [read_stage(file) for file in files]
    regions = tuple(run.manifest["region_names"])
    frame, discs = common_frame(grids), bool(disc_ids(regions))
    halves = [split(grid, regions, cut=True) for grid in grids]
    shades = choose_shades(halves)
    wholes = [split(grid, regions, cut=False) for grid in grids]
    with studio(frame) as plotter:
        panels = {
            file.stage: [draw_solid(plotter, whole), *(draw_shaded(plotter, half, shade) for shade in shades)]
            for file, whole, half in zip(files, wholes, halves, strict=True)
        }
    main = {name: panels[name] for name in main_stages(run, list(panels))}
    paths = [save(stages_sheet(main, shades, frame, discs), folder / OVERVIEW)]
    return paths + save_one_by_one(panels, shades, frame, discs, folder)


def main_stages(run: Result, names: list[str]) -> list[str]:
    """The stages worth comparing side by side: where something is measured, and the crush; else all."""
    kinds = {stage.name: stage.kind for stage in run.spec.stage}
    chosen = [name for name in names if kinds.get(name) in SHEET_KINDS]
    return chosen if len(chosen) > 1 else names


def choose_shades(stages: list[Parts]) -> list[Shade]:
    """What to colour the bone by, each with one range for all stages; only arrays that were saved."""
    shades = [
        Shade("density", "density [g/cm³]", "gray", 0.0, _top(stages, "density")),
        Shade("damage", "damage [1]", "YlOrBr", 0.0, 1.0),
        Shade("distance_mm", "displacement [mm]", "viridis", 0.0, _top(stages, "distance_mm")),
    ]
    return [shade for shade in shades if shade.array in stages[0].bone.array_names]


def stages_sheet(panels: dict[str, list[Image]], shades: list[Shade], frame: Frame, discs: bool = False) -> Figure:
    """Stages side by side: outside in the first row, a cut-away for each shade below.

    ``panels[stage][row]`` are images of one size; rows are the outside and then the shades. ``discs``: whether
    there are any.
    """
    rows, columns = 1 + len(shades), len(panels)
    width, height = frame.size_px
    row_inch = PANEL_WIDTH_INCH * height / width
    with figure(PANEL_WIDTH_INCH * columns + 0.9, row_inch * rows + 0.6) as drawn:
        grid = drawn.subplots(rows, columns, squeeze=False)
        for column, (name, images) in enumerate(panels.items()):
            grid[0, column].set_title(_words(name), loc="center")
            for row, image in enumerate(images):
                _show(grid[row, column], image)
        for row, shade in enumerate(shades, start=1):
            _scale(drawn, list(grid[row]), shade)
        _ruler(grid[0, 0], frame)
        _key(drawn, discs)
    return drawn


def save_one_by_one(
    panels: dict[str, list[Image]], shades: list[Shade], frame: Frame, discs: bool, folder: Path
) -> list[Path]:
    """A larger picture of each stage: the outside and its cut-aways in a row.

    It is one figure throughout, whose images change: laying it out takes as long as drawing it.
    """
    paths = []
    width, height = frame.size_px
    count, panel_inch = 1 + len(shades), 2.6
    with figure(panel_inch * count + 0.9 * len(shades), panel_inch * height / width + 0.9) as drawn:
        axes = drawn.subplots(1, count, squeeze=False)[0]
        shown = [_show(place, np.full((height, width, 3), 255, np.uint8)) for place in axes]
        for place, shade in zip(axes[1:], shades, strict=True):
            _scale(drawn, [place], shade)
        title = axes[0].set_title(_words(max(panels, key=len)))
        _ruler(axes[0], frame)
        _key(drawn, discs)
        lay_out(drawn)
        for index, (name, images) in enumerate(panels.items()):
            for place, image in zip(shown, images, strict=True):
                place.set_data(image)
            title.set_text(_words(name))
            paths.append(save(drawn, folder / f"stage_{index:02d}_{name}.png"))
    return paths


def _words(name: str) -> str:
    return name.replace("_", " ")


def _top(stages: list[Parts], name: str) -> float:
    """A round upper end for a colour scale: the largest 99th percentile of any stage, never zero."""
    values = (np.asarray(stage.bone[name]) for stage in stages if name in stage.bone.array_names)
    finite = [some[np.isfinite(some)] for some in values]
    top = max((float(np.percentile(some, 99)) for some in finite if some.size), default=0.0)
    if top <= 0.0:
        return 1.0
    step = 10.0 ** np.floor(np.log10(top)) / 5.0
    return float(np.ceil(top / step) * step)


def _show(axes: Axes, image: Image) -> AxesImage:
    axes.set_axis_off()
    return axes.imshow(image, interpolation="antialiased")


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


def _key(drawn: Figure, discs: bool) -> None:
    entries = {
        "bone": BONE,
        **({"disc": DISC} if discs else {}),
        "cement": CEMENT,
        "balloon cavity": CAVITY,
        "pot": POT,
    }
    patches = [Patch(color=colour, label=name) for name, colour in entries.items()]
    drawn.legend(handles=patches, loc="outside lower center", ncols=len(patches))
