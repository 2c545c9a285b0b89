"""Where balloons and cement go: pure geometry on cells, exact in millilitres."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import MeshError
from kyphos.meshes.model import Body, Floats, Ints, cell_volumes_mm3
from kyphos.units import MM3_PER_ML

Approach = Literal["bipedicular", "unipedicular"]
_SIDES: dict[str, tuple[float, ...]] = {"bipedicular": (-1.0, 1.0), "unipedicular": (1.0,)}


def needle_tips(body: Body, approach: Approach, depth: float, spread: float, height: float) -> Floats:
    """Where needles through the pedicles end, in the reference configuration.

    Parameters
    ----------
    body
        The treated body. Its box is centred on the centroid, and as large as its width, depth and height.
    approach
        Two needles, the left one first, or one.
    depth
        Share of the body's depth from the posterior wall.
    spread
        Share of half the width from the midline; of one needle to the right, or to the left if negative.
    height
        Share of the body's height from the inferior endplate.

    Returns
    -------
    (c, 3) tips, mm.

    Raises
    ------
    MeshError
        The approach is unknown, or a share is not finite.
    """
    if approach not in _SIDES:
        raise MeshError(f"approach {approach!r} is unknown; use 'bipedicular' or 'unipedicular'")
    if not np.isfinite([depth, spread, height]).all():
        raise MeshError(f"depth {depth}, spread {spread}, height {height} of a needle must be finite shares")
    sizes = np.array([body.width_mm, body.depth_mm, body.height_mm])
    shares = np.array([[0.5 * side * spread, depth - 0.5, height - 0.5] for side in _SIDES[approach]])
    tips: Floats = body.centre_mm + (shares * sizes) @ body.axes
    return tips


def select_volume(
    centroids_mm: Floats,
    volumes_mm3: Floats,
    centres_mm: Floats,
    semi_axis_ratios: Floats,
    allowed: Ints,
    target_mm3: float,
    axes: Floats | None = None,
) -> tuple[Ints, Floats]:
    """Cells nearest to the ellipsoid centres whose volumes add up to the target exactly.

    Parameters
    ----------
    centroids_mm, volumes_mm3
        (m, 3) and (m,) of all cells, usually of the deformed mesh.
    centres_mm
        (c, 3) or (3,); a cell belongs to the nearest one.
    semi_axis_ratios
        (3,) relative lengths of the semi-axes along the rows of `axes` (3, 3), by default x, y, z.
    allowed
        (k,) ids of the cells that may be taken.
    target_mm3
        The volume wanted.

    Returns
    -------
    Cell ids (s,), nearest first, and volume fractions (s,): 1 but for the last, which is in (0, 1].

    Raises
    ------
    MeshError
        A target, ratio or cell volume that is not positive, or less room than the target.
    """
    allowed = np.unique(np.asarray(allowed, dtype=np.int64))
    volumes = np.asarray(volumes_mm3, dtype=np.float64)[allowed]
    ratios = np.asarray(semi_axis_ratios, dtype=np.float64)
    _check(volumes, target_mm3, ratios)
    frame = np.eye(3) if axes is None else axes
    offsets = (centroids_mm[allowed, None, :] - np.atleast_2d(centres_mm)[None]) @ frame.T / ratios
    distance = np.linalg.norm(offsets, axis=2).min(axis=1)
    order = np.argsort(distance, kind="stable")
    filled = np.cumsum(volumes[order])
    count = min(int(np.searchsorted(filled, target_mm3)) + 1, len(order))
    fractions = np.ones(count)
    before = filled[count - 2] if count > 1 else 0.0
    fractions[-1] = min(1.0, (target_mm3 - before) / volumes[order[count - 1]])
    return allowed[order[:count]], fractions


class Rim(NamedTuple):
    """Cells where cement meets bone: ids (k,), unit normals (k, 3) out of the cement, lengths (k,) along them in mm."""

    cells: Ints
    normals: Floats
    lengths_mm: Floats


FACES = np.array([(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)])
"""(6, 4) corners of a hexahedron's faces, counter-clockwise seen from outside."""


def cement_rim(points_mm: Floats, cells: Ints, share: Floats, bone: NDArray[np.bool_]) -> Rim:
    """Cells with cement that share a face with bone, and how the surface between the two lies in them.

    The normal is that of the steepest fall of the cement's share (gradient by the faces of the cell); where that
    vanishes, as in a layer one cell thick, that of the largest face towards bone. The length is volume over projected
    area: the band over which a surface of that normal is smeared.

    Parameters
    ----------
    points_mm, cells
        (n, 3) current positions and (m, 8) hexahedra.
    share, bone
        (m,) cement volume fraction of each cell, and whether a cell without cement is bone (not a void).
    """
    areas = face_areas_mm2(points_mm, cells)
    beside = cell_neighbours(cells)
    other = np.where(beside >= 0, share[beside], share[:, None])
    to_bone = (beside >= 0) & bone[beside] & (other == 0.0) & (share[:, None] > 0.0)
    ids = np.flatnonzero(to_bone.any(axis=1))
    fall = np.einsum("mf,mfi->mi", share[ids, None] - other[ids], areas[ids])
    size = np.linalg.norm(areas[ids], axis=2)
    largest = areas[ids, np.argmax(np.where(to_bone[ids], size, 0.0), axis=1)]
    length = np.linalg.norm(fall, axis=1)
    weak = length < 1e-3 * share[ids] * size.max(axis=1, initial=0.0)
    fall[weak] = largest[weak]
    normals = fall / np.linalg.norm(fall, axis=1, keepdims=True)
    projected = 0.5 * np.abs(np.einsum("mfi,mi->mf", areas[ids], normals)).sum(axis=1)
    return Rim(ids, normals, cell_volumes_mm3(points_mm, cells[ids]) / projected)


def face_areas_mm2(points_mm: Floats, cells: Ints) -> Floats:
    """Outward area vectors (m, 6, 3) of the faces of hexahedra (m, 8), in the order of `FACES`."""
    corners = points_mm[cells[:, FACES]]
    return np.asarray(0.5 * np.cross(corners[:, :, 2] - corners[:, :, 0], corners[:, :, 3] - corners[:, :, 1]))


def cell_neighbours(cells: Ints) -> Ints:
    """(m, 6) cell behind each face of `FACES`, -1 where there is none."""
    keys = np.sort(cells[:, FACES].reshape(-1, 4), axis=1)
    _, face = np.unique(keys, axis=0, return_inverse=True)
    face = face.ravel()
    owner = np.repeat(np.arange(len(cells)), len(FACES))
    both = np.bincount(face, weights=owner).astype(np.int64)  # of a face: the sum of its owners
    twice = np.bincount(face) == 2
    return np.where(twice[face], both[face] - owner, -1).reshape(-1, len(FACES))


def _check(volumes: Floats, target_mm3: float, ratios: Floats) -> None:
    if not target_mm3 > 0.0:
        raise MeshError(f"a volume of {target_mm3 / MM3_PER_ML:g} mL cannot be placed; give more than 0 mL")
    if ratios.shape != (3,) or not (ratios > 0.0).all():
        raise MeshError(f"semi_axis_ratios {ratios.tolist()} must be three positive numbers")
    if not (volumes > 0.0).all():
        folded = int((~(volumes > 0.0)).sum())
        raise MeshError(f"{folded} allowed cells have no positive volume; the mesh has folded")
    available = float(volumes.sum())
    if target_mm3 > available * (1.0 + 1e-12):
        raise MeshError(
            f"{target_mm3 / MM3_PER_ML:.2f} mL do not fit: {available / MM3_PER_ML:.2f} mL of bone are "
            "available; lower the volume"
        )
