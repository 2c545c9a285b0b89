"""Where balloons and cement go: pure geometry on cells, exact in millilitres."""

from __future__ import annotations

from typing import Literal

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.model import Body, Floats, Ints
from kyphos.units import MM3_PER_ML

Approach = Literal["bipedicular", "unipedicular"]

# Balloon centres as shares of width, depth and height from the body's centroid (right, anterior, superior):
# both sides of the midline for two pedicles, near the centre for one, slightly anterior (assumed).
_SEEDS: dict[str, list[tuple[float, float, float]]] = {
    "bipedicular": [(-0.18, 0.08, 0.0), (0.18, 0.08, 0.0)],
    "unipedicular": [(0.03, 0.10, 0.0)],
}


def balloon_seeds(body: Body, approach: Approach) -> Floats:
    """Centres (c, 3) of the balloons in mm, reference configuration; MeshError for an unknown approach."""
    if approach not in _SEEDS:
        raise MeshError(f"approach {approach!r} is unknown; use 'bipedicular' or 'unipedicular'")
    sizes = np.array([body.width_mm, body.depth_mm, body.height_mm])
    seeds: Floats = body.centre_mm + (np.array(_SEEDS[approach]) * sizes) @ body.axes
    return seeds


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
