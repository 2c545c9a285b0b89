"""Bone density of a parametric body: a regional profile times a seeded smooth random field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.model import (
    GAUSS_POINTS,
    Body,
    Floats,
    Ints,
    SegmentMesh,
    cell_volumes_mm3,
    shape_functions,
)
from kyphos.units import MG_PER_G

VBMD_RANGE_MG_PER_CC = (10.0, 400.0)
MODES = 160  # Fourier modes of the random field; more change nothing visible


def density_field(
    mesh: SegmentMesh, vbmd_mg_per_cc: float, seed: int = 1, cv: float = 0.2, correlation_mm: float = 5.0
) -> SegmentMesh:
    """The mesh with a density in its bony cells; the volume mean of the trabecular cells is exactly the vBMD.

    The field depends on position only, so a finer mesh samples the same specimen; it is averaged over
    2 x 2 x 2 points of each cell. Coefficient of variation and correlation length are assumed.
    Shell and endplates take the body's mean. Each body of a segment has a random field of its own.
    Raises MeshError for values outside their ranges.
    """
    _check(vbmd_mg_per_cc, cv, correlation_mm)
    density = mesh.density_g_per_cc.copy()
    for number, (level, body) in enumerate(mesh.bodies.items()):
        cells = mesh.cells_in(f"{level}.trabecular")
        corners = mesh.points_mm[mesh.cells[cells]]
        samples = np.einsum("qa,mai->mqi", shape_functions(GAUSS_POINTS), corners)
        local = (samples.reshape(-1, 3) - body.centre_mm) @ body.axes.T
        values = regional_profile(local, body) * _random_field(
            local, [seed, number] if number else seed, cv, correlation_mm
        )
        means = values.reshape(len(cells), -1).mean(axis=1)
        volumes = cell_volumes_mm3(mesh.points_mm, mesh.cells[cells])
        mean = vbmd_mg_per_cc / MG_PER_G
        density[cells] = means * (mean * volumes.sum() / (volumes @ means))
        density[cortical_cells(mesh, level)] = mean
    return replace(mesh, density_g_per_cc=density)


def cortical_cells(mesh: SegmentMesh, level: str) -> Ints:
    """Ids (k,) of the shell and endplate cells of one level."""
    parts = ("shell", "superior_endplate", "inferior_endplate")
    return mesh.cells_in(*(f"{level}.{part}" for part in parts))


def regional_profile(local_mm: Floats, body: Body) -> Floats:
    """Relative density (k,) at positions (k, 3) in the body frame.

    Denser towards the posterior wall and thinner in front (8 % each), denser near the endplates than at
    mid-height (10 %). The trend is known, the amounts are assumed.
    """
    depth = np.clip(2.0 * local_mm[:, 1] / body.depth_mm, -1.0, 1.0)
    height = np.clip(2.0 * local_mm[:, 2] / body.height_mm, -1.0, 1.0)
    profile: Floats = 1.0 - 0.08 * depth + 0.10 * (height**2 - 1.0 / 3.0)
    return profile


def _random_field(local_mm: Floats, seed: int | list[int], cv: float, correlation_mm: float) -> Floats:
    """Positive random field (k,) with mean 1: a log-normal sum of cosines with a Gaussian spectrum."""
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((MODES, 3)) * (np.sqrt(2.0) / correlation_mm)
    phases = rng.uniform(0.0, 2.0 * np.pi, MODES)
    gauss = np.cos(local_mm @ waves.T + phases).sum(axis=1) * np.sqrt(2.0 / MODES)
    sigma = np.sqrt(np.log1p(cv**2))
    field: Floats = np.exp(sigma * gauss - 0.5 * sigma**2)
    return field


def _check(vbmd_mg_per_cc: float, cv: float, correlation_mm: float) -> None:
    low, high = VBMD_RANGE_MG_PER_CC
    if not low <= vbmd_mg_per_cc <= high:
        raise MeshError(
            f"vbmd_mg_per_cc={vbmd_mg_per_cc:g} is outside [{low:g}, {high:g}] mg/cm3; was it given in g/cm3 or HU?"
        )
    if not 0.0 <= cv <= 1.0:
        raise MeshError(f"density_cv={cv:g} is outside [0, 1]; 0.2 is usual")
    if not 1.0 <= correlation_mm <= 50.0:
        raise MeshError(f"correlation_mm={correlation_mm:g} is outside [1, 50] mm; 5 is usual")
