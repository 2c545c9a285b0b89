"""A labelled CT as cubes of one size: the voxels themselves are the elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import DataError
from kyphos.meshes.image import Labels, Scan
from kyphos.meshes.model import Body, Floats, Ints, SegmentMesh
from kyphos.units import MG_PER_G

SAME_SIZE = 1e-3  # voxels that differ by less than this share from the wanted size are taken as they are


@dataclass(frozen=True, eq=False)
class VoxelImage:
    """Cubic voxels around a labelled bone; x right, y anterior, z superior.

    Parameters
    ----------
    density_g_per_cc
        (nx, ny, nz) QCT mineral density; 0 where nothing is labelled, and in the caps.
    labels
        (nx, ny, nz), numbered as `numbers` says, 0 = empty.
    voxel_mm
        Edge of a voxel.
    origin_mm
        (3,) outer corner of voxel (0, 0, 0) along the scan's own axes.
    numbers
        What the labels mean.
    """

    density_g_per_cc: Floats
    labels: NDArray[np.int64]
    voxel_mm: float
    origin_mm: Floats
    numbers: Labels

    @property
    def body(self) -> NDArray[np.bool_]:
        """(nx, ny, nz): the vertebral body, trabecular and cortical."""
        return np.isin(self.labels, (self.numbers.trabecular, self.numbers.cortical))

    @property
    def bone(self) -> NDArray[np.bool_]:
        """(nx, ny, nz): all bone, processes included."""
        return self.body | np.isin(self.labels, self.numbers.processes)

    @property
    def caps(self) -> NDArray[np.bool_]:
        """(nx, ny, nz): both caps."""
        return np.isin(self.labels, (self.numbers.lower_cap, self.numbers.upper_cap))

    @property
    def body_height_mm(self) -> float:
        """Extent of the vertebral body along z."""
        layers = np.flatnonzero(self.body.any(axis=(0, 1)))
        return float((layers[-1] - layers[0] + 1) * self.voxel_mm)


def voxel_image(scan: Scan, voxel_mm: float, numbers: Labels | None = None) -> VoxelImage:
    """Cut a scan into cubes of edge `voxel_mm`, along its own axes, around everything that has a label.

    Cubic voxels of that size are taken as they are. Otherwise each new voxel is sampled (at least twice in every old
    voxel and direction, each sample taking the value of the voxel it falls into): it is filled where half of
    its samples or more are labelled, takes the label that most of these have, and the mean density of its bone, so
    that the empty surroundings do not dilute the surface.

    Raises
    ------
    DataError
        The scan has no caps, or no label at all.
    """
    numbers = numbers or Labels()
    for what, number in (("lower", numbers.lower_cap), ("upper", numbers.upper_cap)):
        if not (scan.labels == number).any():
            raise DataError(
                f"the label map has no {what} cap (label {number}): a strength test presses on PMMA caps; add them "
                "to the labels, or run a study that meshes the body, which needs none"
            )
    density, labels, origin = _facing_ras(scan)
    where = np.argwhere(labels > 0)
    low = where.min(axis=0)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, where.max(axis=0), strict=True))
    density, labels, origin = density[box], labels[box], origin + low * scan.voxel_mm
    if np.abs(scan.voxel_mm / voxel_mm - 1.0).max() > SAME_SIZE:
        density, labels = _resampled(density, labels, scan.voxel_mm, voxel_mm, numbers)
    bone = np.isin(labels, (numbers.trabecular, numbers.cortical, *numbers.processes))
    return VoxelImage(np.where(bone, density, 0.0) / MG_PER_G, labels, voxel_mm, origin, numbers)


def _facing_ras(scan: Scan) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Density and labels with all axes running right, anterior, superior, and the outer corner (3,) in mm."""
    forward = np.diag(scan.affine[:3, :3]) >= 0.0
    turn = tuple(slice(None) if ahead else slice(None, None, -1) for ahead in forward)
    far = np.where(forward, -0.5, np.array(scan.labels.shape) - 0.5)
    return scan.density_mg_per_cc[turn], scan.labels[turn], scan.position_mm(far[None])[0]


def _resampled(
    density: Floats, labels: NDArray[np.int64], old_mm: Floats, new_mm: float, numbers: Labels
) -> tuple[Floats, NDArray[np.int64]]:
    """Density and labels on cubes of `new_mm`; see `voxel_image`."""
    each = np.maximum(1, np.ceil(2.0 * new_mm / old_mm)).astype(int)  # samples of a new voxel, (3,)
    count = np.maximum(1, np.ceil(np.array(labels.shape) * old_mm / new_mm - 1e-9)).astype(int)
    places = [(np.arange(n * k) + 0.5) * new_mm / (k * size) for n, k, size in zip(count, each, old_mm, strict=True)]
    pick = np.ix_(*(np.floor(place).astype(int) for place in places))
    margin = [(0, int(place[-1]) + 1 - n) for place, n in zip(places, labels.shape, strict=True)]
    sampled = np.pad(labels, margin)[pick]

    def mean(values: NDArray[np.generic]) -> Floats:
        blocks = values.reshape(count[0], each[0], count[1], each[1], count[2], each[2])
        return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float64))

    known = np.unique(labels[labels > 0])
    share = np.stack([mean(sampled == number) for number in known])
    label = np.where(share.sum(axis=0) >= 0.5, known[share.argmax(axis=0)], 0)
    bone = np.isin(sampled, (numbers.trabecular, numbers.cortical, *numbers.processes))
    amount = mean(np.where(bone, np.pad(density, margin)[pick], 0.0))
    return amount / np.maximum(mean(bone), 1e-12), label


def voxel_mesh(image: VoxelImage, filled: NDArray[np.bool_], level: str) -> SegmentMesh:
    """The chosen voxels as hexahedra; cells and nodes in C order of the grid (`np.argwhere`).

    Regions are `<level>.body`, `<level>.processes`, `inferior_pot` and `superior_pot` (the caps). The body has no
    gauges: heights are not measured on voxels.

    Parameters
    ----------
    filled
        (nx, ny, nz), the voxels that are elements.
    """
    place = np.argwhere(filled)
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
    shape = tuple(n + 1 for n in filled.shape)
    nodes = np.ravel_multi_index(tuple((place[:, None, :] + corners).transpose(2, 0, 1)), shape)
    used, cells = np.unique(nodes, return_inverse=True)
    points = image.origin_mm + image.voxel_mm * np.stack(np.unravel_index(used, shape), axis=1)
    at = tuple(place.T)
    numbers = image.numbers
    region = np.select(
        [image.body[at], image.labels[at] == numbers.lower_cap, image.labels[at] == numbers.upper_cap], [0, 2, 3], 1
    )
    names = (f"{level}.body", f"{level}.processes", "inferior_pot", "superior_pot")
    density = np.where(region < 2, image.density_g_per_cc[at], np.nan)
    return SegmentMesh(
        points,
        cells.reshape(-1, 8).astype(np.int64),
        region.astype(np.int16),
        names,
        density,
        bodies={level: _body(level, image, filled)},
    )


def _body(level: str, image: VoxelImage, filled: NDArray[np.bool_]) -> Body:
    place: Ints = np.argwhere(image.body & filled)
    width, depth, height = (np.ptp(place, axis=0) + 1) * image.voxel_mm
    centre = image.origin_mm + (place.mean(axis=0) + 0.5) * image.voxel_mm
    volume = len(place) * image.voxel_mm**3
    return Body(level, centre, np.eye(3), float(width), float(depth), float(height), volume, {})
