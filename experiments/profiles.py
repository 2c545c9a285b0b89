"""Stress along the mid-sagittal line of every disc and of the endplates that face it, from the back to the front.

What a pressure gauge on a needle reads that is drawn through a disc (stress profilometry), and the same of the bone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, meshes

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

STATIONS = 21
BAND_SHARE = 0.1  # of the width to each side of the mid-sagittal plane, that counts as the line


@dataclass(frozen=True)
class Profile:
    """Stress at stations along one line.

    Attributes
    ----------
    site
        A disc (``T12_L1``), or an endplate that faces one (``T12.inferior_endplate``).
    position, position_mm
        (k,) from the posterior (0) to the anterior rim (1), and from the posterior rim on, mm, as meshed.
    axial_mpa
        (k,) normal stress along the axis of the disc, compression negative.
    von_mises_mpa
        (k,) mean of the von Mises stress.
    """

    site: str
    position: Array
    position_mm: Array
    axial_mpa: Array
    von_mises_mpa: Array

    def rows(self) -> list[tuple[str, float, float, float, float]]:
        """As a table with the columns ``store.PROFILE_COLUMNS``."""
        stations = zip(self.position, self.position_mm, self.axial_mpa, self.von_mises_mpa, strict=True)
        return [(self.site, float(x), float(x_mm), float(axial), float(mises)) for x, x_mm, axial, mises in stations]


def sites(mesh: meshes.SegmentMesh) -> dict[str, tuple[str, Ids]]:
    """Where there are profiles, from the top down: site -> its disc, and its cells; endplates on both sides."""
    found: dict[str, tuple[str, Ids]] = {}
    for name, disc in mesh.discs.items():
        inner = np.concatenate([mesh.cells_in(f"{name}.nucleus"), disc.annulus_cells])
        above, below = f"{disc.upper}.inferior_endplate", f"{disc.lower}.superior_endplate"
        found |= {above: (name, mesh.cells_in(above)), name: (name, inner), below: (name, mesh.cells_in(below))}
    return found


def profiles(mesh: meshes.SegmentMesh, weight: Array, stress: Array) -> tuple[Profile, ...]:
    """Profiles at all sites of a segment, from the top down.

    Parameters
    ----------
    weight, stress
        (m, q) stress-free volume, mm3, and (m, q, 6) Cauchy stress, MPa, of the points of all cells.
    """
    return tuple(
        _profile(mesh, site, mesh.discs[disc], cells, weight, stress) for site, (disc, cells) in sites(mesh).items()
    )


def _profile(
    mesh: meshes.SegmentMesh, site: str, disc: meshes.Disc, cells: Ids, weight: Array, stress: Array
) -> Profile:
    """Means over the volume of the cells around each station, which weigh less the farther they are."""
    corners = (mesh.points_mm[mesh.cells[cells]] - disc.centre_mm) @ disc.axes.T
    across, along = corners[..., 0], corners[..., 1]
    middle, half = 0.5 * (across.min() + across.max()), 0.5 * np.ptp(across)
    near = np.abs(across.mean(axis=1) - middle) <= max(BAND_SHARE * 2.0 * half, np.ptp(across, axis=1).min())
    cells, along = cells[near], along[near]
    back, length, at = along.min(), np.ptp(along), along.mean(axis=1)
    position = np.linspace(0.0, 1.0, STATIONS)
    reach = max(length / (STATIONS - 1), float(np.diff(np.sort(at)).max()), at.min() - back, back + length - at.max())
    hat = np.clip(1.0 - np.abs(back + position[:, None] * length - at) / (1.01 * reach), 0.0, None)
    share = hat * weight[cells].sum(axis=1)
    share /= share.sum(axis=1, keepdims=True)
    mean = np.average(stress[cells], axis=1, weights=weight[cells][:, :, None] * np.ones(6))
    mises = np.average(fem.von_mises(stress[cells]), axis=1, weights=weight[cells])
    return Profile(site, position, position * length, share @ _along(mean, disc.axes[2]), share @ mises)


def _along(stress: Array, axis: Array) -> Array:
    """Normal stress (k,) of (k, 6) in the direction of a unit vector (3,)."""
    x, y, z = axis
    return np.asarray(stress @ np.array([x * x, y * y, z * z, 2.0 * x * y, 2.0 * y * z, 2.0 * x * z]))
