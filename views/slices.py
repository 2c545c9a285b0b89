"""Pictures of a run on voxels: planes through the body, as an image shows them, in their undeformed place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from kyphos.experiments import Result
from kyphos.views.reading import read_stage, stage_files
from kyphos.views.style import INK, OVERVIEW, POT, figure, save

Array = NDArray[np.float64]

PLANES = ("sagittal", "coronal", "axial")
RULER_MM = 10.0
PANEL_INCH = 3.1
DECADES = 3.0  # of a logarithmic scale


@dataclass(frozen=True)
class Quantity:
    """A saved cell array as colour: its name, the words and unit of its scale, its colour map.

    The scale ends at ``top``, or at a round number near a percentile of the values; ``extend`` says at which ends
    there is more than the scale shows.
    """

    array: str
    title: str
    colours: str
    top: float | None = None
    percentile: float = 99.5
    logarithmic: bool = False
    extend: str = "neither"

    def norm(self, values: Array) -> Normalize:
        """The range of colours for these values."""
        finite = values[np.isfinite(values)]
        top = self.top or round_up(float(np.percentile(finite, self.percentile)) if finite.size else 0.0)
        return LogNorm(top * 10.0**-DECADES, top, clip=True) if self.logarithmic else Normalize(0.0, top)


DENSITY = Quantity("density", "density [g/cm³]", "gray", percentile=80.0, extend="max")
MAIN = (
    Quantity("energy_density_mpa", "elastic energy density [MPa]", "inferno", logarithmic=True, extend="both"),
    Quantity("yielded", "yielded share of the voxel [1]", "YlOrRd", top=1.0),
)


def round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten; 1 for nothing."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next((step * power for step in (1.0, 2.0, 5.0) if value <= step * power), 10.0 * power))


@dataclass(frozen=True)
class Volume:
    """A saved stage on its grid.

    Attributes
    ----------
    values
        Name -> (nx, ny, nz), NaN where there is no bone.
    caps
        (nx, ny, nz), where the caps are.
    middle
        Voxel in the centre of the vertebral body.
    voxel_mm
        Edge of a voxel.
    """

    values: dict[str, Array]
    caps: NDArray[np.bool_]
    middle: tuple[int, int, int]
    voxel_mm: float


def slice_pictures(run: Result, folder: Path) -> list[Path]:
    """One sheet with mid-sagittal planes of all stages, and one picture of three planes for each stage."""
    files = stage_files(run)
    volumes = {file.stage: read_volume(run, read_stage(file)) for file in files}
    if not volumes:
        return []
    paths = [save(overview(volumes), folder / OVERVIEW)]
    for index, (stage, volume) in enumerate(volumes.items()):
        path = folder / f"stage_{index:02d}_{stage}.png"
        paths.append(save(stage_sheet(stage, volume), path))
    return paths


def read_volume(run: Result, grid: pv.UnstructuredGrid) -> Volume:
    """Put the cells of a stage back on the grid that they come from."""
    edge = float(run.manifest["voxels"]["edge_mm"])
    centre = grid.cell_centers().points
    low = centre.min(axis=0)
    place = np.rint((centre - low) / edge).astype(int)
    shape, at = tuple(place.max(axis=0) + 1), tuple(place.T)
    region = np.asarray(grid.cell_data["region"])
    pots = [index for index, name in enumerate(run.manifest["region_names"]) if name.endswith("_pot")]
    bone = ~np.isin(region, pots)
    values = {}
    for quantity in (DENSITY, *MAIN):
        if quantity.array in grid.cell_data:
            values[quantity.array] = np.full(shape, np.nan)
            values[quantity.array][at] = np.where(bone, grid.cell_data[quantity.array], np.nan)
    caps = np.zeros(shape, dtype=bool)
    caps[at] = ~bone
    x, y, z = (int(i) for i in np.rint(place[region == 0].mean(axis=0)))
    return Volume(values, caps, (x, y, z), edge)


def overview(volumes: dict[str, Volume]) -> Figure:
    """The mid-sagittal plane: density once, then what each stage found."""
    first = next(iter(volumes.values()))
    panels = [("density", first, DENSITY)]
    panels += [
        (_words(stage), volume, quantity)
        for stage, volume in volumes.items()
        for quantity in MAIN
        if quantity.array in volume.values
    ]
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    width, height = size_mm(first, "sagittal")
    with figure(columns * (PANEL_INCH + 0.9), rows * (PANEL_INCH * height / width + 0.35) + 0.3) as drawn:
        axes = drawn.subplots(rows, columns, squeeze=False).ravel()
        for place, (title, volume, quantity) in zip(axes, panels, strict=False):
            shown = _show(place, volume, quantity, "sagittal")
            _scale(drawn, [place], shown, quantity)
            place.set_title(title)
        for place in axes[len(panels) :]:
            place.set_axis_off()
        _ruler(axes[0])
        _key(drawn)
    return drawn


def stage_sheet(stage: str, volume: Volume) -> Figure:
    """Three planes through the middle of the body, all to one scale: density above, what the stage found below."""
    quantities = [DENSITY, *(quantity for quantity in MAIN if quantity.array in volume.values)]
    widths, heights = np.transpose([size_mm(volume, name) for name in PLANES])
    inch = 7.6 / widths.sum()
    with figure(9.0, inch * heights.max() * len(quantities) + 0.6) as drawn:
        axes = drawn.subplots(len(quantities), len(PLANES), squeeze=False, width_ratios=widths)
        for row, quantity in zip(axes, quantities, strict=True):
            for place, name, height in zip(row, PLANES, heights, strict=True):
                shown = _show(place, volume, quantity, name)
                place.set_ylim(height - heights.max(), height)
            _scale(drawn, list(row), shown, quantity)
        for place, name in zip(axes[0], PLANES, strict=True):
            place.set_title(name if name != PLANES[0] else f"{_words(stage)}: {name}")
        _ruler(axes[-1, 0])
        _key(drawn)
    return drawn


def size_mm(volume: Volume, name: str) -> tuple[float, float]:
    """Width and height of a plane as it is drawn."""
    rows, columns = plane(volume, volume.caps, name).shape
    return columns * volume.voxel_mm, rows * volume.voxel_mm


def plane(volume: Volume, values: NDArray[np.generic], name: str) -> Array:
    """(rows, columns) of a plane through the middle as a picture: row 0 at the bottom.

    Sagittal: front to the left; coronal and axial: the right side of the body to the right, the front (axial) up.
    """
    x, y, z = volume.middle
    if name == "sagittal":
        return np.asarray(values[x, ::-1, :].T)
    return np.asarray(values[:, y, :].T if name == "coronal" else values[:, :, z].T)


def _show(axes: Axes, volume: Volume, quantity: Quantity, name: str) -> AxesImage:
    """Draw a plane, mm on both axes; returns the coloured image."""
    values = plane(volume, volume.values[quantity.array], name)
    caps = plane(volume, volume.caps, name)
    width, height = size_mm(volume, name)
    edge = volume.voxel_mm
    look: dict[str, Any] = {"origin": "lower", "interpolation": "nearest", "extent": (0.0, width, 0.0, height)}
    axes.imshow(np.where(caps, 1.0, np.nan), cmap=ListedColormap([POT]), **look)
    norm = quantity.norm(volume.values[quantity.array])
    shown = axes.imshow(values, cmap=quantity.colours, norm=norm, **look)
    around = np.pad(np.isfinite(values), 1).repeat(4, axis=0).repeat(4, axis=1)  # fine, so that steps stay steps
    frame = (-edge, width + edge, -edge, height + edge)
    axes.contour(around.astype(float), levels=[0.5], colors=INK, linewidths=0.4, extent=frame, origin="lower")
    axes.set(xlim=(-edge, width + edge), ylim=(-edge, height + edge), aspect="equal")
    axes.set_axis_off()
    return shown


def _scale(drawn: Figure, axes: list[Axes], shown: AxesImage, quantity: Quantity) -> None:
    bar = drawn.colorbar(shown, ax=axes, shrink=0.8, aspect=18, pad=0.02, extend=quantity.extend)
    bar.set_label(quantity.title)
    bar.outline.set_visible(False)


def _ruler(axes: Axes) -> None:
    """A line of ``RULER_MM`` in the lower left corner, which is empty below the body."""
    y = axes.get_ylim()[0] + 3.0
    axes.plot([1.0, 1.0 + RULER_MM], [y, y], color=INK, lw=1.5)
    axes.text(2.0 + RULER_MM, y, f"{RULER_MM:g} mm", ha="left", va="center", fontsize=7)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _key(drawn: Figure) -> None:
    drawn.legend(handles=[Patch(color=POT, label="cap")], loc="outside lower center")
