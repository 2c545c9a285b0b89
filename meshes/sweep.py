"""The one mesher: an O-grid section swept from pot to pot through one vertebral body, or several with their discs.

Every node lies on a fixed map of the bodies' shapes, so the element size changes counts and never geometry. All
node layers have the section's nodes in one order, so neighbours share the nodes of a surface by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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

    @property
    def flat(self) -> Ints:
        """All quads (q, 4), the shell ring's last."""
        return np.vstack([self.quads, _band(self.inner, self.outer)])

    @property
    def band(self) -> Ints:
        """Ring (q,) of each quad of `flat`: 0 the core, then 1, 2, ... outwards; the last is the shell ring."""
        around = len(self.outer)
        core = (around // 4) ** 2
        ring = 1 + np.arange(len(self.quads) + around - core, dtype=np.int64) // around
        return np.concatenate([np.zeros(core, dtype=np.int64), ring])

    @property
    def core_rim(self) -> Ints:
        """Nodes (p,) of the loop around the core, counter-clockwise."""
        ids: Ints = self.flat[self.band == 1][:, 0]
        return ids

    @property
    def front(self) -> int:
        """Outer node at the middle of the front wall."""
        return int(self.outer[3 * len(self.outer) // 8])

    @property
    def back(self) -> int:
        """Outer node at the middle of the back wall."""
        return int(self.outer[7 * len(self.outer) // 8])


@dataclass(frozen=True, slots=True)
class Slab:
    """Cells between one node layer and the next: `part` (q,) is the region of each quad of the section.

    `downward` turns the cells so that nodes 0-3 -> 4-7 run down, `shell` turns those of the shell ring outward.
    """

    part: tuple[str, ...]
    downward: bool = False
    shell: bool = False


@dataclass(frozen=True, slots=True)
class Stack:
    """Node layers (l, n, 3) from the bottom up, and the l - 1 slabs of cells between them."""

    layers: Floats
    slabs: tuple[Slab, ...]


@dataclass(frozen=True, slots=True)
class BodyStack:
    """One vertebral body: its stack in its own frame, and `body`, whose gauges count nodes from its bottom layer."""

    stack: Stack
    body: Body


def sweep_body(shape: BodyShape, level: str, element_size_mm: float) -> SegmentMesh:
    """Mesh a body shape between two pots; density is NaN until a field is sampled into it.

    In-plane and axial size of the trabecular cells follow `element_size_mm`; shell and endplates are
    one element thick. Raises MeshError for an element size outside 0.5-6 mm.
    """
    section = section_for(section_area_mm2(shape, 0.5), element_size_mm)
    return potted(section, [sweep_bones(shape, section, level, element_size_mm)], [], element_size_mm)


def section_area_mm2(shape: BodyShape, height_fraction: float) -> float:
    """Area of a body's section, mm2."""
    radius = shape.outline_mm(_turn(), height_fraction)
    return 0.5 * float(np.mean(radius**2)) * 2.0 * np.pi


def section_for(area_mm2: float, element_size_mm: float, extra_rings: int = 0) -> Section:
    """The section whose cells have about the wanted size on a given area, with more rings where they are asked for.

    MeshError for a size outside 0.5-6 mm.
    """
    low, high = ELEMENT_SIZE_RANGE_MM
    if not low <= element_size_mm <= high:
        raise MeshError(f"element_size_mm={element_size_mm:g} is outside [{low:g}, {high:g}] mm; try 2.0")
    side = 2 * max(2, round(np.sqrt(area_mm2 / 2.0) / element_size_mm / 2.0))
    return disc_section(side, (side + 2) // 4 + extra_rings)


def sweep_bones(shape: BodyShape, section: Section, level: str, element_size_mm: float) -> BodyStack:
    """One body without pots, in its own frame, as node layers and slabs from the inferior endplate up."""
    layers = _bony_layers(shape, section, element_size_mm)
    names = [f"{level}.{part}" for part in BONY_PARTS]
    trabecular, shell, superior, inferior = names
    inner, outer = len(section.quads), len(section.outer)
    marrow = Slab((trabecular,) * inner + (shell,) * outer, shell=True)
    plates = (Slab((inferior,) * (inner + outer), downward=True), Slab((superior,) * (inner + outer)))
    stack = Stack(layers, (plates[0], *[marrow] * (len(layers) - 3), plates[1]))
    return BodyStack(stack, _body(level, section, stack, shape.shell_thickness_mm / _wall_mm(shape)))


def potted(
    section: Section, bodies: Sequence[BodyStack], discs: Sequence[Stack], element_size_mm: float
) -> SegmentMesh:
    """Bodies from the top down, and the discs between them from the top down, between two pots with flat outer faces.

    A disc's stack has as its first and last layer the endplates' surfaces that it shares.
    """
    pots = max(1, round(POT_MM / (2.0 * element_size_mm)))
    upwards = list(reversed(bodies))
    bottom, top = upwards[0].stack.layers[0], upwards[-1].stack.layers[-1]
    lower = _pot(bottom, bottom[:, 2].min() - POT_MM, pots)[::-1]
    upper = _pot(top, top[:, 2].max() + POT_MM, pots)
    layers, slabs = list(lower), [_whole(section, "inferior_pot")] * pots
    starts = {}
    for bones, disc in zip(upwards, [*reversed(discs), None], strict=True):
        starts[bones.body.level] = len(layers)
        layers += list(bones.stack.layers)
        slabs += bones.stack.slabs
        if disc is not None:
            layers += list(disc.layers[1:-1])
            slabs += disc.slabs
    layers, slabs = layers + upper, slabs + [_whole(section, "superior_pot")] * pots
    levels = [bones.body.level for bones in bodies]
    names = _region_names(slabs, levels)
    cells, region = stack_cells(section, slabs, names)
    ends = {bones.body.level: (starts[bones.body.level], len(bones.stack.slabs)) for bones in bodies}
    node_sets, face_sets = _sets(section, ends, len(slabs))
    placed = {b.body.level: _shifted(b.body, starts[b.body.level] * section.node_count) for b in bodies}
    points, density = np.array(layers).reshape(-1, 3), np.full(len(cells), np.nan)
    return SegmentMesh(points, cells, region, names, density, node_sets, face_sets, placed)


def stack_cells(section: Section, slabs: Sequence[Slab], names: Sequence[str]) -> tuple[Ints, NDArray[np.int16]]:
    """Cells (m, 8) of slabs from the bottom up, and the index (m,) of each cell's region in `names`."""
    flat, inner = section.flat, len(section.quads)
    a, b, c, d = flat[inner:].T
    number = {name: np.int16(place) for place, name in enumerate(names)}
    cells, regions = [], []
    for layer, slab in enumerate(slabs):
        base, above = layer * section.node_count, (layer + 1) * section.node_count
        block = np.hstack([flat + base, flat + above])
        if slab.downward:
            block = np.hstack([flat[:, ::-1] + above, flat[:, ::-1] + base])
        elif slab.shell:
            wall = [a + base, d + base, d + above, a + above, b + base, c + base, c + above, b + above]
            block[inner:] = np.column_stack(wall)
        cells.append(block)
        regions.append(np.array([number[name] for name in slab.part], dtype=np.int16))
    return np.vstack(cells), np.concatenate(regions)


def wall_faces(section: Section, loop: Ints, first: int, count: int) -> Ints:
    """Outward quads (k, 4) along a closed loop (p,) of the section, over `count` slabs above node layer `first`."""
    here, there, up = loop, np.roll(loop, -1), section.node_count
    strip = np.column_stack([here, there, there + up, here + up])
    return np.vstack([strip + layer * up for layer in range(first, first + count)])


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


def _bony_layers(shape: BodyShape, section: Section, element_size_mm: float) -> Floats:
    """Node layers (l, N + p, 3) from the inferior to the superior endplate surface, in the body's frame."""
    radius = shape.outline_mm(_turn(), 0.5)
    half_axes = np.array([np.abs(radius * np.cos(_turn())).max(), np.abs(radius * np.sin(_turn())).max()])
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
    return np.array(layers)


def _turn() -> Floats:
    """Polar angles (360,) all round."""
    return np.linspace(0.0, 2.0 * np.pi, 360, endpoint=False)


def _pot(surface: Floats, plane_mm: float, count: int) -> list[Floats]:
    """Node layers from an endplate surface (k, 3), itself left out, to a flat plane."""
    shares = np.arange(1, count + 1) / count
    heights = [surface[:, 2] + share * (plane_mm - surface[:, 2]) for share in shares]
    return [np.column_stack([surface[:, :2], z]) for z in heights]


def _whole(section: Section, name: str) -> Slab:
    """A slab of one region."""
    return Slab((name,) * len(section.flat))


def _region_names(slabs: Sequence[Slab], levels: Sequence[str]) -> tuple[str, ...]:
    """Regions of the bodies from the top down, then of the discs from the top down, then of the pots."""
    bones = [f"{level}.{part}" for level in levels for part in BONY_PARTS]
    pots = ["superior_pot", "inferior_pot"]
    found = dict.fromkeys(name for slab in reversed(slabs) for name in slab.part)
    soft = [name for name in found if name not in {*bones, *pots}]
    order = list(dict.fromkeys(name.split(".")[0] for name in soft))
    soft.sort(key=lambda name: (order.index(name.split(".")[0]), name))
    return (*bones, *soft, *pots)


def _sets(section: Section, ends: dict[str, tuple[int, int]], top: int) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Named node and face sets; every quad's normal points out of its body.

    `ends`: level -> first node layer and number of slabs of its bones; `top`: the uppermost node layer.
    """
    count, flat = section.node_count, section.flat
    levels = {"inferior_platen": 0, "superior_platen": top}
    for level, (first, bony) in ends.items():
        levels |= {f"{level}.inferior_endplate": first, f"{level}.superior_endplate": first + bony}
    nodes = {name: np.arange(count, dtype=np.int64) + layer * count for name, layer in levels.items()}
    down = flat[:, ::-1]
    faces = {name: (flat if "superior" in name else down) + k * count for name, k in levels.items()}
    walls = {f"{level}.wall": wall_faces(section, section.outer, *end) for level, end in ends.items()}
    return nodes, faces | walls


def _body(level: str, section: Section, stack: Stack, shell_share: float) -> Body:
    """Frame, sizes and gauges of a body from its bones in its own frame."""
    names = [f"{level}.{part}" for part in BONY_PARTS]
    bone, _ = stack_cells(section, stack.slabs, names)
    points = stack.layers.reshape(-1, 3)
    volumes = cell_volumes_mm3(points, bone)
    centre = volumes @ cell_centroids_mm(points, bone) / volumes.sum()
    low, high = points.min(axis=0), points.max(axis=0)
    ids = np.arange(section.node_count, dtype=np.int64)
    gauges = _gauges(points, ids + len(stack.slabs) * section.node_count, ids)
    height_mm = float(np.mean([gauge_height_mm(gauge, points) for gauge in gauges.values()]))
    width_mm, depth_mm = float(high[0] - low[0]), float(high[1] - low[1])
    return Body(level, centre, np.eye(3), width_mm, depth_mm, height_mm, float(volumes.sum()), gauges, shell_share)


def _shifted(body: Body, nodes: int) -> Body:
    """The body with the nodes of its gauges counted from the mesh's first node."""
    gauges = {
        name: replace(gauge, superior_ids=gauge.superior_ids + nodes, inferior_ids=gauge.inferior_ids + nodes)
        for name, gauge in body.gauges.items()
    }
    return replace(body, gauges=gauges)


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
    place = np.argsort(np.argsort(distance))
    for near in (distance < 1.0, place < 6, place < 12):  # on coarse meshes few nodes are near, or all on a line
        if near.sum() >= 4 and np.linalg.matrix_rank(offset[near] - offset[near].mean(axis=0), tol=0.1) == 2:
            break
    kernel = np.exp(-3.0 * distance[near] ** 2)
    basis = np.column_stack([np.ones(near.sum()), offset[near]])
    moments = basis.T @ (kernel[:, None] * basis)
    weights = kernel * (basis @ np.linalg.solve(moments, np.array([1.0, 0.0, 0.0])))
    return ids[near], weights
