"""Segments: vertebral bodies along the thoracolumbar curve, discs between them, from numbers or from real shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.density import density_field
from kyphos.meshes.disc import GRADES, DiscDimensions, default_disc, disc_stack, with_discs
from kyphos.meshes.image import CtBody, ct_density
from kyphos.meshes.model import Floats, SegmentMesh
from kyphos.meshes.posterior import with_links
from kyphos.meshes.quality import check_quality
from kyphos.meshes.sweep import BodyShape, BodyStack, Section, Stack, potted, section_area_mm2, section_for, sweep_bones
from kyphos.meshes.vertebra import (
    LEVELS,
    BodyDimensions,
    ParametricShape,
    Sex,
    build_body,
    default_dimensions,
    random_dimensions,
)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a body's own coordinates lie: `origin_mm` (3,) and `axes` (3, 3), rows right, anterior, superior."""

    origin_mm: Floats
    axes: Floats

    def place(self, local_mm: Floats) -> Floats:
        """Positions (..., 3) in the world of positions in the frame."""
        placed: Floats = self.origin_mm + local_mm @ self.axes
        return placed

    def local(self, placed_mm: Floats) -> Floats:
        """Positions (..., 3) in the frame of positions in the world."""
        local: Floats = (placed_mm - self.origin_mm) @ self.axes.T
        return local


@dataclass(frozen=True, slots=True)
class PlacedShape:
    """A body's shape and where it stands."""

    level: str
    shape: BodyShape
    frame: Frame


def segment_mesh(
    levels: Sequence[str] = ("T12", "L1", "L2"),
    dimensions: Mapping[str, BodyDimensions] | None = None,
    discs: Mapping[str, DiscDimensions] | None = None,
    scans: Mapping[str, CtBody] | None = None,
    sex: Sex = "female",
    element_size_mm: float = 2.0,
    vbmd_mg_per_cc: float = 80.0,
    seed: int = 1,
    density_cv: float = 0.2,
) -> SegmentMesh:
    """Parametric bodies with discs between them and a pot at each end, with density, through the quality gate.

    Parameters
    ----------
    levels
        From the top down, any run within T11-L5. A single level is the mesh of `build_body`.
    dimensions
        level -> `BodyDimensions` where they differ from the defaults of that sex.
    discs
        ``"T12_L1"`` -> `DiscDimensions` where they differ from the defaults. All wedges together are the curve.
    scans
        level -> `CtBody` where shape and density come from a CT (`ct_body`).

    The line from the centre of the lowest to that of the uppermost body is the z axis, its middle the origin.
    Raises MeshError for anything out of range and where bodies touch.
    """
    levels = tuple(levels)
    check_levels(levels)
    names = [f"{upper}_{lower}" for upper, lower in pairwise(levels)]
    scans = scans or {}
    _check_keys(dimensions or {}, levels, "level")
    _check_keys(scans, levels, "level")
    _check_keys(discs or {}, names, "disc")
    sizes = {level: default_dimensions(level, sex) for level in levels} | dict(dimensions or {})
    if len(levels) == 1:
        if scans:
            raise MeshError(f"a segment of {levels[0]} alone takes no scan; use body_from_ct")
        return build_body(levels[0], sizes[levels[0]], element_size_mm, vbmd_mg_per_cc, seed, density_cv)
    shapes: dict[str, BodyShape] = {level: ParametricShape(size) for level, size in sizes.items()}
    shapes |= {level: ct.shape for level, ct in scans.items()}
    bodies = upright(stand(shapes, {name: default_disc(name) for name in names} | dict(discs or {})))
    mesh = density_field(sweep_segment(bodies, element_size_mm), vbmd_mg_per_cc, seed, density_cv)
    for body in bodies:
        if body.level in scans:
            mesh = ct_density(mesh, body.level, scans[body.level], body.frame.local)
    return mesh


def sizes_like(levels: Sequence[str], level: str, shape: BodyShape, sex: Sex = "female") -> dict[str, BodyDimensions]:
    """Dimensions of the neighbours, in ``levels``, of a body whose shape is known: theirs by default, to its scale.

    Widths, depths and heights each have one factor: of the shape to the default of its own level. Raises MeshError
    for a level without defaults or a shape far out of range.
    """
    usual = _extents_mm(ParametricShape(default_dimensions(level, sex)))
    scale = dict(zip(("width", "depth", "height"), (_extents_mm(shape) / usual).tolist(), strict=True))
    found = {}
    for other in levels:
        if other != level:
            mean = default_dimensions(other, sex)
            lengths = {name: getattr(mean, name) for name in _SIZES}
            found[other] = replace(mean, **{name: v * scale[name.split("_")[1]] for name, v in lengths.items()})
    return found


_SIZES = (
    "superior_width_mm",
    "superior_depth_mm",
    "inferior_width_mm",
    "inferior_depth_mm",
    "anterior_height_mm",
    "posterior_height_mm",
)


def _extents_mm(shape: BodyShape) -> Floats:
    """Width, depth and height (3,) of a body: means of both endplates, and of the distance between their rims."""
    theta = np.pi * np.array([0.0, 1.0, 0.5, -0.5])
    right, left, front, back = np.mean([shape.outline_mm(theta, end) for end in (0.0, 1.0)], axis=0)
    y = np.array([front, -back])
    height = shape.superior_mm(np.zeros(2), y) - shape.inferior_mm(np.zeros(2), y)
    return np.array([right + left, front + back, height.mean()])


def random_segment(
    count: int, sex: Sex, rng: np.random.Generator
) -> tuple[tuple[str, ...], dict[str, BodyDimensions], dict[str, DiscDimensions]]:
    """Levels, body and disc dimensions of a random segment of `count` levels (all spreads assumed).

    Bodies as in `random_dimensions`, one common size; discs of any grade, heights ±15 %, wedges ±3 degrees.
    """
    first = int(rng.integers(len(LEVELS) - count + 1))
    levels = LEVELS[first : first + count]
    size = 1.0 + 0.07 * float(rng.standard_normal())
    bodies = {level: random_dimensions(level, sex, rng, size) for level in levels}
    discs = {}
    for upper, lower in pairwise(levels):
        usual = default_disc(f"{upper}_{lower}")
        height = size * usual.height_mm * float(rng.uniform(0.85, 1.15))
        wedge = usual.wedge_deg + float(rng.uniform(-3.0, 3.0))
        discs[f"{upper}_{lower}"] = DiscDimensions(height, wedge, GRADES[int(rng.integers(len(GRADES)))])
    return levels, bodies, discs


def sweep_segment(bodies: Sequence[PlacedShape], element_size_mm: float) -> SegmentMesh:
    """Mesh of two or more placed bodies, from the top down, with discs in between; density is NaN.

    All have one section, chosen by the largest endplate, with one ring more than a body alone, so that the annulus has
    four layers at 4 mm and five at 2 mm. Raises MeshError for a poor mesh or bodies that touch.
    """
    area = max(section_area_mm2(body.shape, end) for body in bodies for end in (0.0, 1.0))
    section = section_for(area, element_size_mm, extra_rings=1)
    stacks = [_moved(sweep_bones(b.shape, section, b.level, element_size_mm), b.frame) for b in bodies]
    discs = [_between(section, *pair, element_size_mm) for pair in pairwise(stacks)]
    mesh = with_links(with_discs(potted(section, stacks, discs, element_size_mm), section))
    check_quality(mesh)
    return mesh


def stand(shapes: Mapping[str, BodyShape], discs: Mapping[str, DiscDimensions]) -> list[PlacedShape]:
    """Bodies, given from the top down, one on the other: each rim faces the next over the disc's height and wedge."""
    placed: list[PlacedShape] = []
    for level, shape in reversed(list(shapes.items())):
        frame = Frame(np.zeros(3), np.eye(3))
        if placed:
            frame = _on_top(placed[-1], shape, discs[f"{level}_{placed[-1].level}"])
        placed.append(PlacedShape(level, shape, frame))
    return placed[::-1]


def _on_top(below: PlacedShape, shape: BodyShape, disc: DiscDimensions) -> Frame:
    """Frame of the body that stands on the one below with a disc between their rims."""
    half = 0.5 * disc.wedge_deg * disc.height_left
    lower, upper = _rim(below.shape, 1.0), _rim(shape, 0.0)
    middle = _tilt(half) @ lower.axes @ below.frame.axes
    centre = below.frame.place(lower.origin_mm) + disc.height_mm * disc.height_left * middle[2]
    axes = upper.axes.T @ _tilt(half) @ middle
    return Frame(centre - upper.origin_mm @ axes, axes)


def _rim(shape: BodyShape, fraction: float) -> Frame:
    """Frame of the superior (1) or inferior (0) rim: the middle and the slope of its mid-sagittal line."""
    front, back = shape.outline_mm(np.array([0.5, -0.5]) * np.pi, fraction)
    y = np.array([front, -back])
    z = (shape.superior_mm if fraction else shape.inferior_mm)(np.zeros(2), y)
    slope = float(np.degrees(np.arctan2(z[0] - z[1], y[0] - y[1])))
    return Frame(np.array([0.0, y.mean(), z.mean()]), _tilt(slope))


def _tilt(degrees: float) -> Floats:
    """Axes (3, 3) turned about the first one, so that the anterior axis rises by the angle."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])


def upright(bodies: Sequence[PlacedShape]) -> list[PlacedShape]:
    """All turned together: the lowest to the uppermost origin along z, the mean right axis along x, origin midway."""
    top, bottom = bodies[0].frame.origin_mm, bodies[-1].frame.origin_mm
    up = (top - bottom) / np.linalg.norm(top - bottom)
    right = np.mean([body.frame.axes[0] for body in bodies], axis=0)
    right = right - (right @ up) * up
    right /= np.linalg.norm(right)
    turn = np.array([right, np.cross(up, right), up])
    middle = 0.5 * (top + bottom)
    return [
        replace(body, frame=Frame(turn @ (body.frame.origin_mm - middle), body.frame.axes @ turn.T)) for body in bodies
    ]


def _between(section: Section, upper: BodyStack, lower: BodyStack, element_size_mm: float) -> Stack:
    """The disc between two bodies in their places."""
    name = f"{upper.body.level}_{lower.body.level}"
    return disc_stack(section, lower.stack.layers[-1], upper.stack.layers[0], name, element_size_mm)


def _moved(bones: BodyStack, frame: Frame) -> BodyStack:
    """A body in its place."""
    stack = replace(bones.stack, layers=frame.place(bones.stack.layers))
    body = replace(bones.body, centre_mm=frame.place(bones.body.centre_mm), axes=bones.body.axes @ frame.axes)
    return BodyStack(stack, body)


def check_levels(levels: Sequence[str]) -> None:
    """Raise MeshError unless the levels are a run within T11-L5, from the top down."""
    unknown = [level for level in levels if level not in LEVELS]
    if unknown:
        raise MeshError(f"level {unknown[0]!r} is unknown; known levels: {', '.join(LEVELS)}")
    places = [LEVELS.index(level) for level in levels]
    if not places or places != list(range(places[0], places[0] + len(places))):
        raise MeshError(
            f"levels {list(levels)} are no run of neighbours from the top down; an example: ['T12', 'L1', 'L2']"
        )


def _check_keys(table: Mapping[str, object], allowed: Sequence[str], kind: str) -> None:
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise MeshError(f"the segment has no {kind} {unknown[0]!r}; it has {', '.join(allowed) or 'none'}")
