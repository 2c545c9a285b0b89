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
class Disc:
    """One intervertebral disc; its regions and sets are called ``<upper>_<lower>.<part>``.

    Parameters
    ----------
    upper, lower
        Levels of the bodies above and below.
    centre_mm
        (3,) centroid of the section at mid-height.
    axes
        (3, 3), rows: right, anterior, superior; the last is the normal of the mid-height section.
    anterior_height_mm, posterior_height_mm
        Distance between the bony endplates at the front and at the back of the rim.
    area_mm2, volume_mm3
        Of the section at mid-height; of the whole, cartilage included.
    nucleus_share
        Share of the nucleus in that section's area.
    annulus_layers
        Number of layers; ``annulus_1`` is the outermost.
    annulus_cells
        (k,) cells of the annulus.
    fibres
        (k, 2, 3) unit vectors of both fibre families in those cells.
    """

    upper: str
    lower: str
    centre_mm: Floats
    axes: Floats
    anterior_height_mm: float
    posterior_height_mm: float
    area_mm2: float
    volume_mm3: float
    nucleus_share: float
    annulus_layers: int
    annulus_cells: Ints
    fibres: Floats

    @property
    def name(self) -> str:
        """``"T12_L1"``, for example."""
        return f"{self.upper}_{self.lower}"

    @property
    def height_mm(self) -> float:
        """Mean of the heights at front and back, mm."""
        return 0.5 * (self.anterior_height_mm + self.posterior_height_mm)


@dataclass(frozen=True)
class Link:
    """A ligament or a facet between two neighbours: two points, each carried by nodes of its body.

    The posterior elements have no cells. A point P of theirs moves as sum(w_i x_i) over its carriers, with sum(w_i) = 1
    and sum(w_i X_i) = P in the reference: exact under any rigid motion of the carriers, linear in their displacements.

    Parameters
    ----------
    name
        ``ALL``, ``PLL``, ``LF``, ``ISL``, ``SSL``, ``CL_left``, ``CL_right``, ``facet_left``, ``facet_right``.
    upper, lower
        Levels.
    upper_mm, lower_mm
        (3,) points. Of a facet: on the inferior facet of the upper and on the superior facet of the lower vertebra.
    upper_ids, upper_weights, lower_ids, lower_weights
        (k,) carriers and weights of each point.
    normal
        (3,) unit normal of the lower vertebra's facet, out of its bone; None for a ligament. The gap is
        (upper_mm - lower_mm) @ normal.
    """

    name: str
    upper: str
    lower: str
    upper_mm: Floats
    lower_mm: Floats
    upper_ids: Ints
    upper_weights: Floats
    lower_ids: Ints
    lower_weights: Floats
    normal: Floats | None = None

    @property
    def length_mm(self) -> float:
        """Distance between the two points, mm."""
        return float(np.linalg.norm(self.upper_mm - self.lower_mm))


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
        ``L1.trabecular``, ``L1.shell``, ``L1.superior_endplate``, ``L1.inferior_endplate``, ...;
        ``T12_L1.nucleus``, ``T12_L1.annulus_1`` (outermost), ..., ``T12_L1.superior_cartilage`` (the disc's upper one,
        under T12), ``T12_L1.inferior_cartilage``, ...; ``superior_pot``, ``inferior_pot``.
    density_g_per_cc
        (m,) QCT mineral density, NaN where a region has none (pots, discs).
    node_sets
        name -> (k,) nodes: ``superior_platen``, ``inferior_platen``, ``L1.superior_endplate``, ...;
        ``T12_L1.bulge``: the disc's outer nodes at mid-height, counter-clockwise from above.
    face_sets
        name -> (k, 4) outward quads: the platens, the endplates (out of the bone, so into the disc), ``L1.wall``;
        ``T12_L1.wall``: the disc's free outer face; ``T12_L1.nucleus``: the closed surface of the nucleus.
    bodies
        level -> `Body`, from the top down.
    discs
        ``"T12_L1"`` -> `Disc`, from the top down.
    links
        Ligaments and facets of all joints, from the top down.
    """

    points_mm: Floats
    cells: Ints
    region: NDArray[np.int16]
    region_names: tuple[str, ...]
    density_g_per_cc: Floats
    node_sets: dict[str, Ints] = field(default_factory=dict)
    face_sets: dict[str, Ints] = field(default_factory=dict)
    bodies: dict[str, Body] = field(default_factory=dict)
    discs: dict[str, Disc] = field(default_factory=dict)
    links: tuple[Link, ...] = ()

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


def wall_gauges(mesh: SegmentMesh, level: str) -> dict[str, tuple[Gauge, Gauge]]:
    """Gauges on the lateral wall of a body, from rim to rim on its right and left, as far forward as its own gauges.

    Place -> right, left. They are what markers on the cortex measure, whatever the middle of the endplates does.
    """
    body, points = mesh.bodies[level], mesh.points_mm
    on_wall = mesh.face_sets[f"{level}.wall"]
    rims = [np.intersect1d(mesh.node_sets[f"{level}.{end}_endplate"], on_wall) for end in ("superior", "inferior")]
    found = {}
    for place, gauge in body.gauges.items():
        ahead_mm = float((gauge.superior_weights @ points[gauge.superior_ids] - body.centre_mm) @ body.axes[1])
        right, left = ([_on_rim(body, points, rim, side, ahead_mm) for rim in rims] for side in (1.0, -1.0))
        found[place] = (Gauge(*right[0], *right[1]), Gauge(*left[0], *left[1]))
    return found


def _on_rim(body: Body, points_mm: Floats, rim: Ints, side: float, ahead_mm: float) -> tuple[Ints, Floats]:
    """The two nodes of a rim, right (1) or left (-1), between which a distance ahead of the centre lies; weights."""
    local = (points_mm[rim] - body.centre_mm) @ body.axes[:2].T
    half = np.flatnonzero(side * local[:, 0] > 0.0)
    half = half[np.argsort(local[half, 1])]
    ahead = local[half, 1]
    k = int(np.clip(np.searchsorted(ahead, ahead_mm), 1, len(half) - 1))
    share = float(np.clip((ahead_mm - ahead[k - 1]) / (ahead[k] - ahead[k - 1]), 0.0, 1.0))
    return rim[half[k - 1 : k + 1]], np.array([1.0 - share, share])


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
    """Centroids (m, 3) of hexahedra (m, 8), weighted by volume; parts that are turned inside out count for nothing."""
    weight = np.linalg.det(jacobians(points_mm, cells, GAUSS_POINTS))
    weight = np.where((weight > 0.0).any(axis=1)[:, None], np.maximum(weight, 0.0), 1.0)
    inside = np.einsum("qa,mai->mqi", shape_functions(GAUSS_POINTS), points_mm[cells])
    return np.asarray(np.einsum("mq,mqi->mi", weight, inside) / weight.sum(axis=1)[:, None])


def mesh_hash(mesh: SegmentMesh) -> str:
    """SHA-256 of geometry, topology, regions and density: it tells whether two runs used one mesh."""
    digest = hashlib.sha256("|".join(mesh.region_names).encode())
    for array in (mesh.points_mm, mesh.cells, mesh.region, mesh.density_g_per_cc):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
