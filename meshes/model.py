"""What a mesh is: nodes, hexahedra, regions, named sets, and the frame and gauges of each vertebral body."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import MeshError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BONY_PARTS = ("trabecular", "shell", "superior_endplate", "inferior_endplate")
"""Parts of one vertebral body; a region is called ``<level>.<part>``."""

HEX_NODES: Floats = np.array(
    [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
    dtype=np.float64,
)
"""(8, 3) local coordinates of a hexahedron's corners, in VTK's order."""

GAUSS_POINTS: Floats = HEX_NODES / np.sqrt(3.0)
"""(8, 3) points of the 2 x 2 x 2 Gauss rule; every weight is 1."""


@dataclass(frozen=True)
class Gauge:
    """Two weighted mean points on the outer bony endplate surfaces; a height is the distance between them.

    Parameters
    ----------
    superior_ids, inferior_ids
        (k,) and (l,) nodes of the superior and of the inferior endplate.
    superior_weights, inferior_weights
        (k,) and (l,), each with sum 1.
    """

    superior_ids: Ints
    superior_weights: Floats
    inferior_ids: Ints
    inferior_weights: Floats


@dataclass(frozen=True)
class Body:
    """Frame, size and gauges of one vertebral body.

    Parameters
    ----------
    level
        ``"L1"``, for example.
    centre_mm
        (3,) centroid of the bony regions.
    axes
        (3, 3), rows: unit vectors to the right, anterior, superior.
    width_mm, depth_mm
        Largest extent from side to side and from front to back.
    height_mm
        Mean of the three gauges.
    volume_mm3
        Volume of the bony regions.
    gauges
        ``"anterior"``, ``"middle"``, ``"posterior"``.
    shell_share
        Share of the shell cells' thickness that is cortex; trabecular bone fills the rest.
    """

    level: str
    centre_mm: Floats
    axes: Floats
    width_mm: float
    depth_mm: float
    height_mm: float
    volume_mm3: float
    gauges: dict[str, Gauge]
    shell_share: float = 1.0


@dataclass(frozen=True)
class SegmentMesh:
    """A hexahedral mesh of one or more vertebral bodies with all that the other rooms need to know about it.

    Parameters
    ----------
    points_mm
        (n, 3) node coordinates; x right, y anterior, z superior.
    cells
        (m, 8) VTK hexahedra. Nodes 0-3 -> 4-7 run outward through the thickness of shell cells and
        through the thickness of the endplate cells: upward in the superior, downward in the inferior
        one, so outward in both. They run upward in all other cells.
    region
        (m,) index into `region_names`.
    region_names
        ``L1.trabecular``, ``L1.shell``, ``L1.superior_endplate``, ``L1.inferior_endplate``,
        ``superior_pot``, ``inferior_pot``.
    density_g_per_cc
        (m,) QCT mineral density, NaN where a region has none (pots).
    node_sets
        name -> (k,) nodes: ``superior_platen``, ``inferior_platen``, ``L1.superior_endplate``, ...
    face_sets
        name -> (k, 4) outward quads: the same, and ``L1.wall``.
    bodies
        level -> `Body`.
    """

    points_mm: Floats
    cells: Ints
    region: NDArray[np.int16]
    region_names: tuple[str, ...]
    density_g_per_cc: Floats
    node_sets: dict[str, Ints] = field(default_factory=dict)
    face_sets: dict[str, Ints] = field(default_factory=dict)
    bodies: dict[str, Body] = field(default_factory=dict)

    def cells_in(self, *names: str) -> Ints:
        """(k,) cells of the named regions, in ascending order; `MeshError` if the mesh has no such region."""
        missing = sorted(set(names) - set(self.region_names))
        if missing:
            raise MeshError(f"the mesh has no region {missing[0]!r}; it has {', '.join(self.region_names)}")
        wanted = [self.region_names.index(name) for name in names]
        return np.flatnonzero(np.isin(self.region, wanted))

    def bony_cells(self, level: str) -> Ints:
        """(k,) cells of one vertebral body: trabecular bone, shell and both endplates."""
        return self.cells_in(*(name for name in self.region_names if name.startswith(f"{level}.")))


def gauge_height_mm(gauge: Gauge, points_mm: Floats) -> float:
    """Distance between a gauge's two points in the shape ``points_mm`` (n, 3), mm."""
    upper = gauge.superior_weights @ points_mm[gauge.superior_ids]
    lower = gauge.inferior_weights @ points_mm[gauge.inferior_ids]
    return float(np.linalg.norm(upper - lower))


def shape_functions(local: Floats) -> Floats:
    """Trilinear shape functions (q, 8) at local points (q, 3)."""
    return np.asarray(np.prod(1.0 + local[:, None, :] * HEX_NODES[None], axis=2) / 8.0)


def shape_gradients(local: Floats) -> Floats:
    """Derivatives (q, 8, 3) of the shape functions by the local coordinates at points (q, 3)."""
    factor = 1.0 + local[:, None, :] * HEX_NODES[None]
    gradient = np.empty((len(local), 8, 3))
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        gradient[:, :, axis] = HEX_NODES[:, axis] * factor[:, :, others].prod(axis=2) / 8.0
    return gradient


def jacobians(points_mm: Floats, cells: Ints, local: Floats) -> Floats:
    """Jacobians dx_i/dxi_j (m, q, 3, 3) of hexahedra (m, 8) at local points (q, 3)."""
    return np.asarray(np.einsum("mai,qaj->mqij", points_mm[cells], shape_gradients(local), optimize=True))


def cell_volumes_mm3(points_mm: Floats, cells: Ints) -> Floats:
    """Volumes (m,) of hexahedra (m, 8), mm3; exact, for the Jacobian of a trilinear cell is quadratic."""
    return np.asarray(np.linalg.det(jacobians(points_mm, cells, GAUSS_POINTS)).sum(axis=1))


def cell_centroids_mm(points_mm: Floats, cells: Ints) -> Floats:
    """Centroids (m, 3) of hexahedra (m, 8), weighted by volume."""
    weight = np.linalg.det(jacobians(points_mm, cells, GAUSS_POINTS))
    inside = np.einsum("qa,mai->mqi", shape_functions(GAUSS_POINTS), points_mm[cells])
    return np.asarray(np.einsum("mq,mqi->mi", weight, inside) / weight.sum(axis=1)[:, None])


def mesh_hash(mesh: SegmentMesh) -> str:
    """SHA-256 of geometry, topology, regions and density: it tells whether two runs used one mesh."""
    digest = hashlib.sha256("|".join(mesh.region_names).encode())
    for array in (mesh.points_mm, mesh.cells, mesh.region, mesh.density_g_per_cc):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
