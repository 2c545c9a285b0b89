"""What can be said of cement in its place: contact, distances, compactness, leakage."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from kyphos.meshes.cement import cell_neighbours, face_areas_mm2
from kyphos.meshes.model import Floats, Ints
from kyphos.meshes.placement import PLACES, Bools, Deposit, Ground
from kyphos.units import MM3_PER_ML

CORTEX = ("anterior_wall", "posterior_wall", "lateral_wall")
CONTACTS = {
    "superior_endplate": ("superior_endplate",),
    "inferior_endplate": ("inferior_endplate",),
    "cortex": CORTEX,
    "posterior_wall": ("posterior_wall",),
}
"""What contact is reported with -> places of the wall. The cortex is all of the side wall, its posterior part too."""


def deposit_facts(ground: Ground, deposit: Deposit, bony: Ints) -> dict[str, float]:
    """Everything about a deposit that geometry tells; names end in their unit.

    Parameters
    ----------
    ground, deposit
        What the cement found, and what it made of it.
    bony
        (k,) all cells of the vertebral body: their volume is the base of the fill fraction.

    Returns
    -------
    ``cement_fill_fraction`` of the body's volume, ``cement_contact_<place>_mm2``, ``cement_distance_<place>_mm`` to
    cortex and posterior wall (0 in contact), ``cement_overlap_bone_ml`` (volume of bone that cement has soaked, bone
    included), ``cement_sphericity``, ``cement_deposits`` (pieces that share no face).
    """
    volumes = ground.volumes_mm3
    facts = {"cement_fill_fraction": float(deposit.fraction @ volumes / volumes[bony].sum())}
    area = deposit.touched * ground.wall.area_mm2
    for name, places in CONTACTS.items():
        facts[f"cement_contact_{name}_mm2"] = float(area[ground.wall.at(*places)].sum())
    for name in ("cortex", "posterior_wall"):
        facts[f"cement_distance_{name}_mm"] = wall_distance_mm(ground, deposit, ground.wall.at(*CONTACTS[name]))
    soaked = np.where(ground.cavity, 0.0, deposit.fill)
    facts["cement_overlap_bone_ml"] = float(soaked @ volumes) / MM3_PER_ML
    facts["cement_sphericity"] = sphericity(ground, deposit.fill)
    facts["cement_deposits"] = float(count_deposits(ground.cells, deposit.fill > 0.0))
    return facts


def leak_facts(ground: Ground, deposit: Deposit) -> dict[str, float]:
    """``cement_leaked_ml`` in all, and ``cement_leaked_<place>_ml`` through each of `PLACES`."""
    lost = {place: float(deposit.leaked_mm3[ground.wall.at(place)].sum()) / MM3_PER_ML for place in PLACES}
    return {"cement_leaked_ml": sum(lost.values())} | {f"cement_leaked_{place}_ml": ml for place, ml in lost.items()}


def wall_distance_mm(ground: Ground, deposit: Deposit, faces: Bools) -> float:
    """Shortest distance, mm, from the surface of the cement to some faces (k,) of the wall; 0 where they touch.

    The surface of a cell filled in part lies as far beyond (or before) its centre, as its fill is above (below) 1/2.
    """
    if np.any(deposit.touched[faces] > 0.0):
        return 0.0
    cells = np.flatnonzero(deposit.fill > 0.0)
    at = ground.points_mm[ground.wall_corners[faces]].mean(axis=1)
    beyond = (deposit.fill[cells] - 0.5) * np.cbrt(ground.volumes_mm3[cells])
    return float(max(0.0, np.min(cKDTree(at).query(ground.centroids_mm[cells])[0] - beyond)))


def sphericity(ground: Ground, fill: Floats) -> float:
    """Surface of a ball of the deposit's volume over its own surface: 1 for a ball, less for all else.

    The surface is the integral of the gradient of the fill (m,), taken cell by cell from the means at its faces
    (divergence theorem), which blurs the surface over two cells and so rounds what is thinner.
    """
    beside = cell_neighbours(ground.cells)
    other = np.where(beside >= 0, fill[beside], 0.0)
    areas = face_areas_mm2(ground.points_mm, ground.cells)
    flux = np.einsum("mf,mfi->mi", 0.5 * (fill[:, None] + other), areas)
    surface = float(np.linalg.norm(flux, axis=1).sum())
    return float(np.cbrt(36.0 * np.pi * float(fill @ ground.volumes_mm3) ** 2)) / surface


def count_deposits(cells: Ints, filled: Bools) -> int:
    """How many pieces the cells ``filled`` (m,) make, joined through faces."""
    beside = cell_neighbours(cells)
    one, side = np.nonzero((beside >= 0) & filled[beside] & filled[:, None])
    graph = coo_array((np.ones(len(one)), (one, beside[one, side])), shape=(len(cells), len(cells)))
    _, label = connected_components(graph, directed=False)
    return len(np.unique(label[filled]))
