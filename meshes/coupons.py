"""Samples of one material for a testing machine: round bars, straight or waisted, and boxes.

The axis of a round bar and of a cube is z, from 0 up; a bar lies along x, its thickness along z.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.model import Body, Floats, Ints, SegmentMesh, cell_volumes_mm3
from kyphos.meshes.sweep import disc_section

LEVEL = "coupon"
BOTTOM, TOP = "inferior_platen", "superior_platen"


def round_coupon(
    diameter_mm: float,
    length_mm: float,
    element_size_mm: float,
    *,
    gauge_length_mm: float | None = None,
    grip_diameter_mm: float | None = None,
    fillet_radius_mm: float | None = None,
) -> SegmentMesh:
    """A cylinder; with the last three sizes a bar that is waisted to `diameter_mm` over its gauge length.

    The section is an O-grid whose polygon has the area of the circle. Element sizes change counts, never geometry
    (but for the fillet, which is a polygon along z).

    Raises
    ------
    MeshError
        A waist that does not fit the length, or elements larger than a third of the diameter.
    """
    if element_size_mm > diameter_mm / 3.0:
        raise MeshError(
            f"element_size_mm={element_size_mm:g} is too coarse for a diameter of {diameter_mm:g} mm; "
            f"try {diameter_mm / 6.0:.2g}"
        )
    side = 2 * max(2, round(np.sqrt(np.pi / 8.0) * diameter_mm / element_size_mm / 2.0))
    section = disc_section(side, (side + 2) // 4)
    rim = 4 * side
    disc = section.disc * np.sqrt(2.0 * np.pi / (rim * np.sin(2.0 * np.pi / rim)))
    waist = (gauge_length_mm, grip_diameter_mm, fillet_radius_mm)
    if gauge_length_mm is None or grip_diameter_mm is None or fillet_radius_mm is None:
        if any(size is not None for size in waist):
            raise MeshError("a waisted bar needs gauge_length_mm, grip_diameter_mm and fillet_radius_mm together")
        heights = _divided([0.0, length_mm], element_size_mm)
        radii = np.full(len(heights), 0.5 * diameter_mm)
    else:
        sizes = (0.5 * diameter_mm, 0.5 * grip_diameter_mm, gauge_length_mm, fillet_radius_mm)
        heights, radii = _waist(*sizes, length_mm, element_size_mm)
    points = np.concatenate(
        [np.column_stack([r * disc, np.full(len(disc), z)]) for r, z in zip(radii, heights, strict=True)]
    )
    layers = np.arange(len(heights) - 1)[:, None, None] * len(disc) + section.quads
    cells = np.concatenate([layers, layers + len(disc)], axis=2).reshape(-1, 8)
    return _coupon(points, cells)


def box_coupon(
    length_mm: float, width_mm: float, height_mm: float, element_size_mm: float, lines_mm: Sequence[float] = ()
) -> SegmentMesh:
    """A box, centred at x = y = 0 and standing on z = 0, with nodes at the places `lines_mm` along x."""
    half = 0.5 * length_mm
    if any(abs(x) >= half for x in lines_mm):
        raise MeshError(f"rollers at x = {max(map(abs, lines_mm)):g} mm do not lie on a bar of {length_mm:g} mm")
    along = _divided(sorted({-half, half, 0.0, *lines_mm}), element_size_mm)
    across = _divided([-0.5 * width_mm, 0.0, 0.5 * width_mm], element_size_mm)
    up = _divided([0.0, 0.5 * height_mm, height_mm], element_size_mm)
    grid = np.stack(np.meshgrid(along, across, up, indexing="ij"), axis=-1)
    ids = np.arange(grid[..., 0].size).reshape(grid.shape[:3])
    low = [ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]]
    cells = np.stack([*(corner[..., :-1] for corner in low), *(corner[..., 1:] for corner in low)], axis=-1)
    return _coupon(grid.reshape(-1, 3), cells.reshape(-1, 8))


def _divided(places: Sequence[float], size_mm: float) -> Floats:
    """Ascending places (n,) with the given ones among them, about `size_mm` apart."""
    parts = [np.linspace(a, b, max(1, round((b - a) / size_mm)) + 1)[:-1] for a, b in pairwise(places)]
    return np.concatenate([*parts, [places[-1]]])


def _waist(
    radius: float, grip: float, gauge: float, fillet: float, length: float, size_mm: float
) -> tuple[Floats, Floats]:
    """Heights and radii (l,) of the layers: grip, fillet of a circle's arc, gauge, fillet, grip."""
    if not radius < grip < radius + fillet:
        raise MeshError(
            f"grip_diameter_mm={2 * grip:g} must lie above the waist of {2 * radius:g} mm and below "
            f"{2 * (radius + fillet):g} mm, which a fillet of {fillet:g} mm reaches"
        )
    run = float(np.sqrt(fillet**2 - (fillet - grip + radius) ** 2))
    ends = 0.5 * (length - gauge) - run
    if ends <= 0.0:
        raise MeshError(
            f"length_mm={length:g} is too short: gauge and fillets take {gauge + 2 * run:.1f} mm; try longer"
        )
    half = 0.5 * length
    places = [0.0, ends, half - 0.5 * gauge, half + 0.5 * gauge, length - ends, length]
    heights = _divided(places, size_mm)
    beyond = np.clip(np.abs(heights - half) - 0.5 * gauge, 0.0, run)
    return heights, radius + fillet - np.sqrt(fillet**2 - beyond**2)


def _coupon(points: Floats, cells: Ints) -> SegmentMesh:
    low, high = points.min(axis=0), points.max(axis=0)
    sets = {name: np.flatnonzero(np.isclose(points[:, 2], z)) for name, z in ((BOTTOM, low[2]), (TOP, high[2]))}
    volume = float(cell_volumes_mm3(points, cells).sum())
    width, depth, height = (float(size) for size in high - low)
    body = Body(LEVEL, 0.5 * (low + high), np.eye(3), width, depth, height, volume, {})
    region = np.zeros(len(cells), dtype=np.int16)
    return SegmentMesh(
        points, cells, region, (f"{LEVEL}.material",), np.full(len(cells), np.nan), sets, bodies={LEVEL: body}
    )
