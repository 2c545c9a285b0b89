"""A deposit that somebody drew: a label map or a closed surface, as the distance from its surface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kyphos.errors import DataError
from kyphos.meshes.image import read_nifti
from kyphos.meshes.io import SURFACES, read_surface
from kyphos.meshes.model import Floats, Ints

GRID_MM = 0.5  # of a surface that is turned into voxels
LARGEST_MM = 200.0  # no deposit is longer
PAD = 2  # empty voxels around


@dataclass(frozen=True)
class DrawnDeposit:
    """Signed distance from the surface of a deposit.

    Attributes
    ----------
    distance_mm
        (i, j, k) at the voxels' centres, negative inside.
    affine
        (4, 4) voxel index -> mm.
    volume_mm3
        Of all voxels inside.
    """

    distance_mm: Floats
    affine: Floats
    volume_mm3: float

    def at(self, points_mm: Floats) -> Floats:
        """Distance (p,) of points (p, 3), mm; beyond the grid by way of its nearest voxel."""
        index = (points_mm - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        inside = np.clip(index, 0.0, np.array(self.distance_mm.shape) - 1.0)
        beyond = np.linalg.norm((index - inside) @ self.affine[:3, :3].T, axis=1)
        return np.asarray(ndimage.map_coordinates(self.distance_mm, inside.T, order=1) + beyond)


def read_deposit(path: str | Path) -> DrawnDeposit:
    """Read a deposit: a NIfTI label map, whose voxels other than 0 are cement, or a closed surface of triangles.

    Raises
    ------
    DataError
        No such file, another format, no cement in it, or a surface that is open or absurdly large.
    """
    path = Path(path)
    if path.suffix.lower() in SURFACES:
        mask, affine = _filled_surface(*read_surface(path), path)
    elif path.name.lower().endswith((".nii", ".nii.gz")):
        data, affine = read_nifti(path)
        mask = np.nan_to_num(data) > 0.5
    else:
        raise DataError(f"{path}: cement is read from a label map (.nii, .nii.gz) or a surface ({', '.join(SURFACES)})")
    if not mask.any():
        raise DataError(f"{path} holds no cement: all voxels are 0")
    affine = affine.copy()
    affine[:3, 3] -= PAD * affine[:3, :3].sum(axis=1)
    mask = np.pad(mask, PAD)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    half = 0.5 * float(sizes.min())
    out = ndimage.distance_transform_edt(~mask, sampling=sizes)
    inner = ndimage.distance_transform_edt(mask, sampling=sizes)
    distance = np.where(mask, half - inner, out - half)
    return DrawnDeposit(distance, affine, float(mask.sum() * abs(np.linalg.det(affine[:3, :3]))))


def _filled_surface(points_mm: Floats, triangles: Ints, path: Path) -> tuple[NDArray[np.bool_], Floats]:
    """Voxels (i, j, k) inside a closed surface, and their affine: inside is where an odd number of walls lie below."""
    corners = points_mm[triangles]
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    if not np.isfinite([low, high]).all() or (high - low).max() > LARGEST_MM:
        raise DataError(f"{path} is {(high - low).max():.4g} mm long; a deposit in mm is at most {LARGEST_MM:g} mm")
    counts = np.maximum(np.ceil((high - low) / GRID_MM).astype(int), 1)
    affine = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    affine[:3, 3] = low + 0.5 * GRID_MM + 1e-4 * GRID_MM * np.array([np.e, np.pi, 1.0])  # off the edges of round shapes
    crossings = np.zeros((counts[0], counts[1], counts[2] + 1), dtype=np.int64)
    for triangle in (corners - affine[:3, 3]) / GRID_MM:
        _cross(triangle, crossings)
    below = np.cumsum(crossings, axis=2)
    if np.any(below[:, :, -1] % 2):
        raise DataError(f"{path} is not a closed surface; close its holes and try again")
    return below[:, :, :-1] % 2 == 1, affine


def _cross(triangle: Floats, crossings: Ints) -> None:
    """Count a triangle (3, 3), in voxels, in all columns that it crosses: from which voxel on it lies below."""
    low = np.maximum(np.ceil(triangle[:, :2].min(axis=0)).astype(int), 0)
    high = np.minimum(np.floor(triangle[:, :2].max(axis=0)).astype(int) + 1, crossings.shape[:2])
    edges = triangle[1:] - triangle[0]
    area = edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]
    if (high <= low).any() or area == 0.0:
        return
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
    x, y = i - triangle[0, 0], j - triangle[0, 1]
    one, two = (x * edges[1, 1] - y * edges[1, 0]) / area, (y * edges[0, 0] - x * edges[0, 1]) / area
    hit = (one >= 0.0) & (two >= 0.0) & (one + two < 1.0)
    height = triangle[0, 2] + one[hit] * edges[0, 2] + two[hit] * edges[1, 2]
    above = np.clip(np.ceil(height).astype(int), 0, crossings.shape[2] - 1)
    np.add.at(crossings, (i[hit], j[hit], above), 1)
