"""The quality gate: no mesh with a bad cell reaches the solver."""

from __future__ import annotations

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.model import GAUSS_POINTS, HEX_NODES, Floats, SegmentMesh, jacobians

MIN_SCALED_JACOBIAN = 0.2


def scaled_jacobian(mesh: SegmentMesh, points_mm: Floats | None = None) -> Floats:
    """Smallest scaled Jacobian (m,) of each hexahedron over its 8 corners and 8 Gauss points.

    `points_mm` (n, 3) are current node positions, by default the reference ones.

    At each point det J over the product of the lengths of its three columns: 1 for a box however thin,
    0 where the cell degenerates, negative where it folds (Knupp 2000).
    """
    points = mesh.points_mm if points_mm is None else points_mm
    matrices = jacobians(points, mesh.cells, np.vstack([HEX_NODES, GAUSS_POINTS]))
    lengths = np.linalg.norm(matrices, axis=2).prod(axis=2)
    scaled: Floats = np.linalg.det(matrices) / np.maximum(lengths, 1e-300)
    smallest: Floats = scaled.min(axis=1)
    return smallest


def check_quality(mesh: SegmentMesh, bound: float = MIN_SCALED_JACOBIAN) -> Floats:
    """Scaled Jacobians (m,) of a mesh that passes; MeshError naming the worst cell otherwise."""
    if not np.isfinite(mesh.points_mm).all():
        raise MeshError("the mesh has nodes that are not finite; check the dimensions or the label map")
    quality = scaled_jacobian(mesh)
    worst = int(np.argmin(quality))
    if quality[worst] < bound:
        region = mesh.region_names[mesh.region[worst]]
        raise MeshError(
            f"cell {worst} in {region} has scaled Jacobian {quality[worst]:.3f}, below the bound {bound:g}; "
            f"{int((quality < bound).sum())} of {len(quality)} cells fail. Try another element_size_mm, "
            "less concavity or a waist_ratio nearer to 1, or smoother labels"
        )
    return quality
