"""Intervertebral discs: sizes by level, layers of cells between two endplates, fibre directions, named surfaces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.model import Disc, Floats, Ints, SegmentMesh, cell_volumes_mm3
from kyphos.meshes.sweep import Section, Slab, Stack, wall_faces

Grade = Literal["healthy", "mild", "moderate", "severe"]

# Mean height in mm and lordotic wedge in degrees of a healthy disc. Heights: L1-L5 middles of the reference ranges of
# 169 adults in MRI (evidence row H13, seen), carried on by the same step, 0.87 mm a level, to the two above (assumed;
# H12 has 6-7 mm at T11-12). Wedges: assumed, within what two MRI series find (2.5 and 6.6 degrees at L1-2, 12-14 at
# L4-5: H14, H15, H16); their sum over L1-L5 is 31 degrees, which 15 at L5-S1 fill up to the 43-49 of 645 adults (H17).
_DISC = {
    "T11_T12": (6.8, 1.0),
    "T12_L1": (7.7, 2.5),
    "L1_L2": (8.6, 4.5),
    "L2_L3": (9.5, 6.5),
    "L3_L4": (10.4, 8.5),
    "L4_L5": (11.2, 11.5),
}
# Height left by degeneration, as one FE study assumed it (J08, seen); the wedge shrinks with it.
_HEIGHT_LEFT: dict[Grade, float] = {"healthy": 1.0, "mild": 0.8, "moderate": 0.6, "severe": 0.4}
GRADES: tuple[Grade, ...] = tuple(_HEIGHT_LEFT)
"""Degrees of degeneration."""

_RANGES: dict[str, tuple[float, float]] = {"height_mm": (2.0, 20.0), "wedge_deg": (-20.0, 30.0)}

CARTILAGE_MM = 0.6
"""Thickness of each cartilage endplate; 0.3-1 mm in MRI (H18, seen), the value assumed."""
FIBRE_ANGLE_DEG = 30.0
"""Fibres to the disc's mid-plane, the same in all layers (assumed; about 25 outside to 45 inside are reported)."""
REFINEMENT = 2.0 / 3.0
"""Height of a disc's cells over the element size: its stress varies most over its height."""
LEAST_GAP_MM = 1.0
"""No disc is thinner anywhere."""


@dataclass(frozen=True, slots=True)
class DiscDimensions:
    """Disc between two endplate rims in the mid-sagittal plane.

    Parameters
    ----------
    height_mm
        Mean of the heights at front and back, between the bony rims, of the healthy disc.
    wedge_deg
        Angle between the two endplates, positive where the front is the higher (lordosis), of the healthy disc.
    grade
        Degeneration: it scales both by 1, 0.8, 0.6 or 0.4.

    Raises MeshError outside the ranges.
    """

    height_mm: float
    wedge_deg: float
    grade: Grade = "healthy"

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                unit = "mm" if name.endswith("_mm") else "degrees"
                raise MeshError(f"{name}={value:g} is outside [{low:g}, {high:g}] {unit}; start from default_disc()")
        if self.grade not in _HEIGHT_LEFT:
            raise MeshError(f"grade {self.grade!r} is unknown; use one of {', '.join(_HEIGHT_LEFT)}")

    @property
    def height_left(self) -> float:
        """Share of the healthy height and wedge that the grade leaves."""
        return _HEIGHT_LEFT[self.grade]


def default_disc(name: str, grade: Grade = "healthy") -> DiscDimensions:
    """Dimensions of the disc ``"T12_L1"``, say, in both sexes; MeshError for a disc outside T11-L5."""
    if name not in _DISC:
        raise MeshError(f"there is no disc {name!r}; known discs: {', '.join(_DISC)}")
    return DiscDimensions(*_DISC[name], grade)


def disc_stack(section: Section, below: Floats, above: Floats, name: str, element_size_mm: float) -> Stack:
    """Layers of a disc between two endplate surfaces (n, 3), which are its first and last node layer.

    Node lines are straight from endplate to endplate. Between the two thin cartilage layers there is an even number of
    layers of about two thirds of the element size, four at least, so that there is a mid-height section. The core of
    the section is nucleus, each ring around it a layer of annulus; cartilage covers the nucleus and the inner half of
    the annulus.
    Raises MeshError where the bodies touch.
    """
    gap = above - below
    length = np.linalg.norm(gap, axis=1)
    facing = np.einsum("ni,i->n", gap, gap.mean(axis=0)) / np.linalg.norm(gap.mean(axis=0))
    if facing.min() < LEAST_GAP_MM:
        raise MeshError(
            f"disc {name} is {facing.min():.1f} mm high at its thinnest place, {LEAST_GAP_MM:g} mm is the least; "
            "give it more height_mm, less wedge_deg or a milder grade"
        )
    thin = np.minimum(CARTILAGE_MM / length, 0.15)[:, None]
    count = 2 * max(2, round((float(length.mean()) - 2 * CARTILAGE_MM) / (2.0 * REFINEMENT * element_size_mm)))
    middle = [below + (thin + k / count * (1.0 - 2.0 * thin)) * gap for k in range(count + 1)]
    rings = int(section.band[-1])
    core = np.array([f"{name}.nucleus", *(f"{name}.annulus_{rings - k}" for k in range(rings))])
    covered = section.band <= (rings + 1) // 2

    def plate(side: str) -> Slab:
        return Slab(tuple(np.where(covered, f"{name}.{side}_cartilage", core[section.band]).tolist()))

    body = Slab(tuple(core[section.band].tolist()))
    return Stack(np.array([below, *middle, above]), (plate("inferior"), *[body] * count, plate("superior")))


def with_discs(mesh: SegmentMesh, section: Section) -> SegmentMesh:
    """The mesh of a potted segment with its `Disc`s and their node and face sets."""
    levels = list(mesh.bodies)
    discs, nodes, faces = {}, dict(mesh.node_sets), dict(mesh.face_sets)
    for upper, lower in pairwise(levels):
        name = f"{upper}_{lower}"
        first, last = (int(mesh.node_sets[s][0]) // section.node_count for s in _facing(upper, lower))
        middle = (first + last) // 2
        nodes[f"{name}.bulge"] = section.outer + middle * section.node_count
        faces[f"{name}.wall"] = wall_faces(section, section.outer, first, last - first)
        faces[f"{name}.nucleus"] = _nucleus_faces(section, first + 1, last - 1)
        discs[name] = _disc(mesh, section, upper, lower, middle)
    return replace(mesh, discs=discs, node_sets=nodes, face_sets=faces)


def fibre_directions(points_mm: Floats, cells: Ints, normal: Floats, angle_deg: float = FIBRE_ANGLE_DEG) -> Floats:
    """Unit vectors (k, 2, 3) of both fibre families in annulus cells (k, 8), at ± the angle to the mid-plane.

    They lie in the surface spanned by the disc's `normal` (3,) and the cell's direction around the disc.
    """
    p = points_mm[cells]
    around = (p[:, 2] - p[:, 1]) + (p[:, 3] - p[:, 0]) + (p[:, 6] - p[:, 5]) + (p[:, 7] - p[:, 4])
    around -= np.outer(around @ normal, normal)
    around /= np.linalg.norm(around, axis=1)[:, None]
    flat, steep = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.stack([flat * around + steep * normal, flat * around - steep * normal], axis=1)


def _facing(upper: str, lower: str) -> tuple[str, str]:
    """Names of the two endplates that a disc shares: below it, above it."""
    return f"{lower}.superior_endplate", f"{upper}.inferior_endplate"


def _nucleus_faces(section: Section, first: int, last: int) -> Ints:
    """Closed outward surface (k, 4) of the core between two node layers."""
    core = section.flat[section.band == 0]
    side = wall_faces(section, section.core_rim, first, last - first)
    return np.vstack([core[:, ::-1] + first * section.node_count, core + last * section.node_count, side])


def _disc(mesh: SegmentMesh, section: Section, upper: str, lower: str, middle: int) -> Disc:
    """Sizes, frame and fibres; `middle` is the node layer at mid-height."""
    name, rings = f"{upper}_{lower}", int(section.band[-1])
    below, above = (mesh.points_mm[mesh.node_sets[s]] for s in _facing(upper, lower))
    layer = mesh.points_mm[middle * section.node_count : (middle + 1) * section.node_count]
    p = layer[section.flat]
    vectors = 0.5 * np.cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 1])
    areas = np.linalg.norm(vectors, axis=1)
    normal = vectors.sum(axis=0) / np.linalg.norm(vectors.sum(axis=0))
    ahead = layer[section.front] - layer[section.back]
    ahead = ahead - (ahead @ normal) * normal
    ahead /= np.linalg.norm(ahead)
    annulus = mesh.cells_in(*(f"{name}.annulus_{k}" for k in range(1, rings + 1)))
    whole = np.concatenate([annulus, mesh.cells_in(*(f"{name}.{part}" for part in _SOFT_CORE))])
    heights = [float(np.linalg.norm(above[node] - below[node])) for node in (section.front, section.back)]
    return Disc(
        upper,
        lower,
        centre_mm=areas @ p.mean(axis=1) / areas.sum(),
        axes=np.array([np.cross(ahead, normal), ahead, normal]),
        anterior_height_mm=heights[0],
        posterior_height_mm=heights[1],
        area_mm2=float(areas.sum()),
        volume_mm3=float(cell_volumes_mm3(mesh.points_mm, mesh.cells[whole]).sum()),
        nucleus_share=float(areas[section.band == 0].sum() / areas.sum()),
        annulus_layers=rings,
        annulus_cells=annulus,
        fibres=fibre_directions(mesh.points_mm, mesh.cells[annulus], normal),
    )


_SOFT_CORE = ("nucleus", "superior_cartilage", "inferior_cartilage")
