"""The one mesher: an O-grid section swept between two endplate surfaces, with pots above and below.

Every node lies on a fixed map of the body's shape, so the element size changes counts and never geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.model import (
    BONY_PARTS,
    Body,
    Floats,
    Gauge,
    Ints,
    SegmentMesh,
    cell_centroids_mm,
    cell_volumes_mm3,
    gauge_height_mm,
)

WALL_MM = 1.2
"""Least thickness of the wall's cells: the shell and the struts that root in it over one trabecular spacing (about
0.8 mm, assumed). A continuum of trabeculae says nothing about shorter waves, yet a bare shell of 0.4 mm would fold in
waves of 4 mm, which only elements below 1 mm resolve; so its share of the wall is smeared over that thickness."""
POT_MM = 4.0  # pot thickness over the highest point of the rim
CORE = 0.60  # half-side of the core block in the unit disc
ROUNDING = 0.5  # 0: square core, 1: round core
GAUGE_RADIUS_MM = 5.0  # reach of the weighted mean behind one height gauge
GAUGE_INSET = 0.10  # anterior and posterior gauges sit this share of the depth inside the rim
ELEMENT_SIZE_RANGE_MM = (0.5, 6.0)


class BodyShape(Protocol):
    """A vertebral body about a vertical centre line through (0, 0): x right, y anterior, z superior."""

    @property
    def shell_thickness_mm(self) -> float:
        """Thickness of the cortical shell along the wall's normal."""

    @property
    def endplate_thickness_mm(self) -> float:
        """Thickness of both bony endplates."""

    def outline_mm(self, theta: Floats, height_fraction: float) -> Floats:
        """Radius (k,) of the outer cortex at polar angles (k,) from +x; fraction 0 inferior, 1 superior."""

    def superior_mm(self, x: Floats, y: Floats) -> Floats:
        """Height z (k,) of the outer superior endplate surface."""

    def inferior_mm(self, x: Floats, y: Floats) -> Floats:
        """Height z (k,) of the outer inferior endplate surface."""


@dataclass(frozen=True, slots=True)
class Section:
    """O-grid in the unit disc: disc (N, 2) up to the inner shell surface, quads counter-clockwise,
    inner and outer (p,) node loops of the shell ring; the outer loop follows the N disc nodes.
    """

    disc: Floats
    quads: Ints
    inner: Ints
    outer: Ints

    @property
    def node_count(self) -> int:
        """Nodes of the disc and of the outer loop."""
        return len(self.disc) + len(self.outer)


def sweep_body(shape: BodyShape, level: str, element_size_mm: float) -> SegmentMesh:
    """Mesh a body shape between two pots; density is NaN until a field is sampled into it.

    In-plane and axial size of the trabecular cells follow `element_size_mm`; shell and endplates are
    one element thick. Raises MeshError for an element size outside 0.5-6 mm.
    """
    low, high = ELEMENT_SIZE_RANGE_MM
    if not low <= element_size_mm <= high:
        raise MeshError(f"element_size_mm={element_size_mm:g} is outside [{low:g}, {high:g}] mm; try 2.0")
    theta = np.linspace(0.0, 2.0 * np.pi, 360, endpoint=False)
    radius = shape.outline_mm(theta, 0.5)
    area_mm2 = 0.5 * float(np.mean(radius**2)) * 2.0 * np.pi
    half_axes = np.array([np.abs(radius * np.cos(theta)).max(), np.abs(radius * np.sin(theta)).max()])
    side = 2 * max(2, round(np.sqrt(area_mm2 / 2.0) / element_size_mm / 2.0))
    section = disc_section(side, (side + 2) // 4)
    stack, layers = _stack(shape, section, half_axes, element_size_mm)
    return _assemble(level, section, stack, layers, shape.shell_thickness_mm / _wall_mm(shape))


def disc_section(side: int, rings: int) -> Section:
    """O-grid with `side` cells along each side of the core and `rings` rings around it."""
    line = np.linspace(-1.0, 1.0, side + 1)
    eta, xi = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    square = np.column_stack([xi, eta])
    disc = np.column_stack([xi * np.sqrt(1 - eta**2 / 2), eta * np.sqrt(1 - xi**2 / 2)])
    core = CORE * ((1.0 - ROUNDING) * square + ROUNDING * disc)
    ids = np.arange((side + 1) ** 2).reshape(side + 1, side + 1)  # [eta, xi]
    rim = np.concatenate([ids[:-1, -1], ids[-1, :0:-1], ids[:0:-1, 0], ids[0, :-1]])
    angle = -np.pi / 4 + np.arange(rim.size) * (2 * np.pi / rim.size)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    shares = np.arange(1, rings + 1) / rings
    ring_points = core[rim] + shares[:, None, None] * (circle - core[rim])
    loops = np.vstack([rim, core.shape[0] + np.arange((rings + 1) * rim.size).reshape(rings + 1, -1)])
    core_quads = np.stack([ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]], axis=-1).reshape(-1, 4)
    ring_quads = [_band(inner, outer) for inner, outer in pairwise(loops[:-1])]
    points = np.vstack([core, ring_points.reshape(-1, 2)])
    return Section(points, np.vstack([core_quads, *ring_quads]), loops[-2], loops[-1])


def _band(inner: Ints, outer: Ints) -> Ints:
    """Counter-clockwise quads (p, 4) between two closed loops (p,)."""
    return np.column_stack([inner, outer, np.roll(outer, -1), np.roll(inner, -1)])


def _place(shape: BodyShape, section: Section, half_axes: Floats, fraction: float) -> Floats:
    """Positions (N + p, 2) of the section's nodes at one height fraction."""
    stretched = section.disc * half_axes
    rho = np.linalg.norm(section.disc, axis=1)
    theta = np.arctan2(stretched[:, 1], stretched[:, 0])
    outer_mm, inner_mm = _shell_radii_mm(shape, theta, fraction)
    ellipse_mm = np.linalg.norm(stretched, axis=1) / np.maximum(rho, 1e-12)
    ratio = inner_mm / np.where(rho > 0, ellipse_mm, half_axes[0])
    mean = float(ratio[section.inner].mean())
    # The wish of the wall fades towards the centre, so that no kink is left in the core.
    disc_points = stretched * (mean * (1.0 + (ratio / mean - 1.0) * rho))[:, None]
    rim = disc_points[section.inner] * (outer_mm / inner_mm)[section.inner][:, None]
    return np.vstack([disc_points, rim])


def _shell_radii_mm(shape: BodyShape, theta: Floats, fraction: float) -> tuple[Floats, Floats]:
    """Outer and inner radius (k,) of the wall, its thickness measured along its normal."""
    step = 1e-3
    outer = shape.outline_mm(theta, fraction)
    slope = (shape.outline_mm(theta + step, fraction) - shape.outline_mm(theta - step, fraction)) / (2 * step)
    return outer, outer - _wall_mm(shape) * np.sqrt(1.0 + (slope / outer) ** 2)


def _wall_mm(shape: BodyShape) -> float:
    """Thickness of the wall's cells, mm."""
    return max(shape.shell_thickness_mm, WALL_MM)


def _stack(
    shape: BodyShape, section: Section, half_axes: Floats, element_size_mm: float
) -> tuple[Floats, tuple[int, int]]:
    """Node layers (l, N + p, 3) from the lower to the upper platen, and (pot layers, bony layers)."""
    zero = np.zeros(1)
    height_mm = float((shape.superior_mm(zero, zero) - shape.inferior_mm(zero, zero))[0])
    plate_mm = shape.endplate_thickness_mm
    count = max(2, round((height_mm - 2 * plate_mm) / element_size_mm))
    # share of the height between the two endplates, and whether the layer lies inside them
    shares = np.concatenate([[0.0], np.arange(count + 1) / count, [1.0]])
    inset = np.concatenate([[0.0], np.full(count + 1, 1.0), [0.0]])
    layers = []
    for share, within in zip(shares, inset, strict=True):
        xy = _place(shape, section, half_axes, share)  # the endplates' own walls are upright
        bottom, top = shape.inferior_mm(*xy.T), shape.superior_mm(*xy.T)
        if np.any(top - bottom < 4 * plate_mm):
            raise MeshError("the endplates nearly touch at the rim; lower the concavity or raise the heights")
        z = bottom + within * plate_mm + share * (top - bottom - 2 * within * plate_mm)
        layers.append(np.column_stack([xy, z]))
    pots = max(1, round(POT_MM / (2.0 * element_size_mm)))
    lower = _pot(layers[0], layers[0][:, 2].min() - POT_MM, pots)[::-1]
    upper = _pot(layers[-1], layers[-1][:, 2].max() + POT_MM, pots)
    return np.array([*lower, *layers, *upper]), (pots, count + 2)


def _pot(surface: Floats, plane_mm: float, count: int) -> list[Floats]:
    """Node layers from an endplate surface (k, 3), itself left out, to a flat plane."""
    shares = np.arange(1, count + 1) / count
    heights = [surface[:, 2] + share * (plane_mm - surface[:, 2]) for share in shares]
    return [np.column_stack([surface[:, :2], z]) for z in heights]


def _assemble(level: str, section: Section, stack: Floats, layers: tuple[int, int], shell_share: float) -> SegmentMesh:
    """Cells, regions, sets and the body frame of a stack of node layers."""
    pots, bony = layers
    points = stack.reshape(-1, 3)
    ring = _band(section.inner, section.outer)
    flat = np.vstack([section.quads, ring])
    names = (*(f"{level}.{part}" for part in BONY_PARTS), "superior_pot", "inferior_pot")
    cells, regions = [], []
    for layer in range(2 * pots + bony):
        base, above = layer * section.node_count, (layer + 1) * section.node_count
        part = _layer_part(layer, pots, bony)
        blocks = {part: np.hstack([flat + base, flat + above])}
        if part == "inferior_endplate":  # outwards is downwards
            down = flat[:, ::-1]
            blocks = {part: np.hstack([down + above, down + base])}
        elif part == "trabecular":
            a, b, c, d = ring.T
            inner = [a + base, d + base, d + above, a + above]
            outer = [b + base, c + base, c + above, b + above]
            shell = np.column_stack([*inner, *outer])
            blocks = {part: np.hstack([section.quads + base, section.quads + above]), "shell": shell}
        for name, block in blocks.items():
            cells.append(block)
            regions.append(np.full(len(block), names.index(name if "pot" in name else f"{level}.{name}")))
    node_sets, face_sets = _sets(level, section, flat, layers)
    all_cells, region = np.vstack(cells), np.concatenate(regions).astype(np.int16)
    bone = all_cells[region < len(BONY_PARTS)]
    body = _body(level, points, bone, node_sets, shell_share)
    density = np.full(len(all_cells), np.nan)
    return SegmentMesh(points, all_cells, region, names, density, node_sets, face_sets, {level: body})


def _layer_part(layer: int, pots: int, bony: int) -> str:
    """Region of the full section in one layer of cells; the endplates reach out over the shell ring."""
    if layer < pots:
        return "inferior_pot"
    if layer >= pots + bony:
        return "superior_pot"
    return {pots: "inferior_endplate", pots + bony - 1: "superior_endplate"}.get(layer, "trabecular")


def _sets(level: str, section: Section, flat: Ints, layers: tuple[int, int]) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Named node and face sets; every quad's normal points outwards."""
    pots, bony = layers
    count = section.node_count
    levels = {
        "inferior_platen": 0,
        f"{level}.inferior_endplate": pots,
        f"{level}.superior_endplate": pots + bony,
        "superior_platen": 2 * pots + bony,
    }
    nodes = {name: np.arange(count, dtype=np.int64) + layer * count for name, layer in levels.items()}
    down = flat[:, ::-1]
    faces = {name: (flat if "superior" in name else down) + k * count for name, k in levels.items()}
    here, there = section.outer, np.roll(section.outer, -1)
    strip = np.column_stack([here, there, there + count, here + count])
    wall = [strip + k * count for k in range(pots, pots + bony)]
    return nodes, faces | {f"{level}.wall": np.vstack(wall)}


def _body(level: str, points: Floats, bone: Ints, node_sets: dict[str, Ints], shell_share: float) -> Body:
    """Frame, sizes and gauges of the body whose bony cells (b, 8) are given."""
    volumes = cell_volumes_mm3(points, bone)
    centre = volumes @ cell_centroids_mm(points, bone) / volumes.sum()
    low, high = points[np.unique(bone)].min(axis=0), points[np.unique(bone)].max(axis=0)
    gauges = _gauges(points, node_sets[f"{level}.superior_endplate"], node_sets[f"{level}.inferior_endplate"])
    height_mm = float(np.mean([gauge_height_mm(gauge, points) for gauge in gauges.values()]))
    width_mm, depth_mm = float(high[0] - low[0]), float(high[1] - low[1])
    return Body(level, centre, np.eye(3), width_mm, depth_mm, height_mm, float(volumes.sum()), gauges, shell_share)


def _gauges(points: Floats, superior: Ints, inferior: Ints) -> dict[str, Gauge]:
    """Anterior, middle and posterior gauges at the same (x, y) on both endplates, at x = 0."""
    bands = [points[ids][np.abs(points[ids][:, 0]) < GAUGE_RADIUS_MM / 2, 1] for ids in (superior, inferior)]
    front, back = min(band.max() for band in bands), max(band.min() for band in bands)
    inset = GAUGE_INSET * (front - back)
    places = {"anterior": front - inset, "middle": 0.5 * (front + back), "posterior": back + inset}
    return {
        name: Gauge(*_mean_point(points, superior, y_mm), *_mean_point(points, inferior, y_mm))
        for name, y_mm in places.items()
    }


def _mean_point(points: Floats, ids: Ints, y_mm: float) -> tuple[Ints, Floats]:
    """Node ids and weights whose weighted mean lies exactly at x = 0, y = y_mm (moving least squares)."""
    offset = points[ids][:, :2] - (0.0, y_mm)
    distance = np.linalg.norm(offset, axis=1) / GAUGE_RADIUS_MM
    near = distance < 1.0
    if near.sum() < 4:
        near = np.zeros(len(ids), dtype=bool)
        near[np.argsort(distance)[:6]] = True
    kernel = np.exp(-3.0 * distance[near] ** 2)
    basis = np.column_stack([np.ones(near.sum()), offset[near]])
    moments = basis.T @ (kernel[:, None] * basis)
    weights = kernel * (basis @ np.linalg.solve(moments, np.array([1.0, 0.0, 0.0])))
    return ids[near], weights
