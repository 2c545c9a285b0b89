"""One stage as solid parts in their deformed shape: bone, pots, cement, cavity; whole or cut in half."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import vtkLogger

from kyphos.views.style import BONE, CAVITY, CEMENT, DISC, INK, POT

PANEL_HEIGHT_PX = 620
MARGIN = 1.06
TOWARDS_VIEWER = np.array([0.90, 0.38, 0.22])  # from the right, slightly from the front and above


@dataclass(frozen=True)
class Parts:
    """Surfaces of the parts of one stage, deformed (mm); a part that is absent has no cells.

    No two surfaces coincide where both are drawn: the bone's leaves out its walls towards cement and cavity,
    the pots' and discs' their faces on the bone. The bone carries the saved cell arrays, and ``distance_mm``: how far
    each point has moved.
    """

    bone: pv.PolyData
    pots: pv.PolyData
    discs: pv.PolyData
    cement: pv.PolyData
    cavity: pv.PolyData


@dataclass(frozen=True)
class Shade:
    """An array as colour: its name, the words and unit of its scale, its colour map and its range."""

    array: str
    title: str
    colours: str
    low: float
    high: float


@dataclass(frozen=True)
class Frame:
    """A parallel camera that all panels share: what it looks at (3,), and half the visible size, mm."""

    centre_mm: NDArray[np.float64]
    half_width_mm: float
    half_height_mm: float

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of a panel, pixels."""
        return round(PANEL_HEIGHT_PX * self.half_width_mm / self.half_height_mm), PANEL_HEIGHT_PX

    @property
    def px_per_mm(self) -> float:
        """Pixels to a millimetre."""
        return 0.5 * PANEL_HEIGHT_PX / self.half_height_mm


def split(grid: pv.UnstructuredGrid, region_names: tuple[str, ...], *, cut: bool) -> Parts:
    """Take a saved stage apart; ``cut`` leaves the left half, cut in the mid-sagittal plane of the bone.

    The plane is laid through the undeformed body, then deforms with it.
    """
    pot_ids = [index for index, name in enumerate(region_names) if name.endswith("_pot")]
    if cut:
        outside = np.isin(grid.cell_data["region"], pot_ids)
        middle = grid.cell_centers().points[~outside].mean(axis=0)
        grid = grid.clip(normal="x", origin=middle, invert=True)
    warped = grid.copy()
    warped.points = grid.points + grid.point_data["displacement_mm"]
    warped.point_data["distance_mm"] = np.linalg.norm(grid.point_data["displacement_mm"], axis=1)
    pot, disc = (np.isin(warped.cell_data["region"], ids) for ids in (pot_ids, disc_ids(region_names)))
    cement = _mask(warped, "cement_fraction")
    cavity = _mask(warped, "is_cavity") & ~cement
    return Parts(
        bone=_faces(_surface(warped, ~pot), warped, ~(pot | disc | cement | cavity)),
        pots=_faces(_surface(warped, np.ones_like(pot)), warped, pot),
        discs=_faces(_surface(warped, np.ones_like(pot)), warped, disc),
        cement=_surface(warped, cement),
        cavity=_surface(warped, cavity),
    )


def disc_ids(region_names: tuple[str, ...]) -> list[int]:
    """Regions of intervertebral discs: ``T12_L1.nucleus``."""
    return [index for index, name in enumerate(region_names) if "_" in name.partition(".")[0] and "." in name]


def common_frame(grids: list[pv.UnstructuredGrid]) -> Frame:
    """The smallest frame that shows every stage."""
    points = np.concatenate([grid.points + grid.point_data["displacement_mm"] for grid in grids])
    right, up = _screen_axes()
    seen = points @ np.column_stack([right, up])
    half = MARGIN * 0.5 * np.ptp(seen, axis=0)
    return Frame(0.5 * (points.min(axis=0) + points.max(axis=0)), float(half[0]), float(half[1]))


@contextmanager
def studio(frame: Frame) -> Iterator[pv.Plotter]:
    """An off-screen plotter with the frame's camera, for any number of drawings of one size."""
    with _no_screen_warning():
        plotter = pv.Plotter(off_screen=True, window_size=list(frame.size_px))
        plotter.set_background("white")
        plotter.enable_parallel_projection()
        plotter.enable_anti_aliasing("ssaa")
        plotter.enable_depth_peeling(6)
        plotter.camera.focal_point = frame.centre_mm
        plotter.camera.position = frame.centre_mm + 10.0 * frame.half_height_mm * TOWARDS_VIEWER
        plotter.camera.up = (0.0, 0.0, 1.0)
        plotter.camera.parallel_scale = frame.half_height_mm
        try:
            yield plotter
        finally:
            plotter.close()


def draw_solid(plotter: pv.Plotter, parts: Parts) -> NDArray[np.uint8]:
    """The stage from outside, bone translucent, so that cavity and cement show; (height, width, 3)."""
    filled = parts.cement.n_cells + parts.cavity.n_cells > 0
    plotter.renderer.clear_actors()
    _add(plotter, parts.cement, color=CEMENT, smooth=True)
    _add(plotter, parts.cavity, color=CAVITY, smooth=True)
    _add(plotter, parts.bone, color=BONE, opacity=0.3 if filled else 1.0, show_edges=not filled)
    _add(plotter, parts.discs, color=DISC, opacity=0.3 if filled else 1.0, show_edges=not filled)
    _add(plotter, parts.pots, color=POT, opacity=0.25)
    return _photograph(plotter)


def draw_shaded(plotter: pv.Plotter, parts: Parts, shade: Shade) -> NDArray[np.uint8]:
    """The stage with its bone coloured by ``shade``, the rest in plain colours; (height, width, 3)."""
    plotter.renderer.clear_actors()
    _add(
        plotter,
        parts.bone,
        scalars=shade.array,
        cmap=shade.colours,
        clim=(shade.low, shade.high),
        show_scalar_bar=False,
        show_edges=True,
        lighting=False,  # a colour must be the colour of the scale
    )
    _add(plotter, parts.cement, color=CEMENT, show_edges=True, lighting=False)
    _add(plotter, parts.cavity, color=CAVITY, show_edges=True, lighting=False)
    _add(plotter, parts.discs, color=DISC, show_edges=True, lighting=False)
    _add(plotter, parts.pots, color=POT, opacity=0.25)
    return _photograph(plotter)


def _photograph(plotter: pv.Plotter) -> NDArray[np.uint8]:
    plotter.renderer.ResetCameraClippingRange()
    plotter.render()  # a screenshot alone may show the drawing before
    return np.array(plotter.screenshot(return_img=True))


def _surface(grid: pv.UnstructuredGrid, cells: NDArray[np.bool_]) -> pv.PolyData:
    """Outer surface of the chosen cells; ``cell_id`` tells where in ``grid`` a face comes from."""
    grid.cell_data["cell_id"] = np.arange(grid.n_cells)
    return grid.extract_cells(np.flatnonzero(cells)).extract_surface(algorithm="dataset_surface")


def _faces(surface: pv.PolyData, grid: pv.UnstructuredGrid, cells: NDArray[np.bool_]) -> pv.PolyData:
    """The faces of a surface of ``grid`` that belong to the chosen cells."""
    chosen = np.flatnonzero(cells[surface.cell_data["cell_id"]])
    return surface.extract_cells(chosen).extract_surface(algorithm="dataset_surface")


def _mask(grid: pv.UnstructuredGrid, name: str) -> NDArray[np.bool_]:
    if name not in grid.cell_data:
        return np.zeros(grid.n_cells, dtype=bool)
    return np.asarray(grid.cell_data[name] > 0.5)


def _screen_axes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (3,) to the right and upwards on the screen."""
    view = TOWARDS_VIEWER / np.linalg.norm(TOWARDS_VIEWER)
    right = np.cross([0.0, 0.0, 1.0], view)
    right /= np.linalg.norm(right)
    return right, np.cross(view, right)


@contextmanager
def _no_screen_warning() -> Iterator[None]:
    """VTK warns that there is no X server before it draws without one; that is what we want."""
    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)


def _add(plotter: pv.Plotter, part: pv.PolyData, *, smooth: bool = False, **look: object) -> None:
    if part.n_cells == 0:
        return
    if look.get("show_edges"):
        look |= {"edge_color": INK, "edge_opacity": 0.25, "line_width": 0.6}
    if smooth:
        look |= {"smooth_shading": True, "split_sharp_edges": False}
    plotter.add_mesh(part, ambient=0.25, diffuse=0.8, specular=0.05, render=False, reset_camera=False, **look)
