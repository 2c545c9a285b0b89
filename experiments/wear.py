"""What loads have done to the materials: stress and fatigue of the cement, damage of the bone.

Definitions: section 2 of ``docs/physics.md``.
"""

from __future__ import annotations

import numpy as np

from kyphos import fem
from kyphos.units import MM3_PER_ML

from .bench import Array, Bench
from .fields import cell_stress

CEMENT_SHARE = 0.5  # of a cell, from which on its stress counts as the cement's
PERCENTILE = 0.99  # of the volume: the highest stress of a mesh is the mesh's own


def cement_load(peak: Bench) -> dict[str, float]:
    """Stress and fatigue of a body's cement at the peak of a cycle, by outcome; empty without cement.

    Raises
    ------
    ConvergenceError
        The state cannot be evaluated.
    """
    cells = (peak.cement_share >= CEMENT_SHARE) & ~peak.of_neighbours
    if not cells.any():
        return {}
    weight = peak.structure.mesh.weight[cells]
    volume, stress = weight.sum(axis=1), cell_stress(peak)[cells]
    found = {
        "cement_von_mises_p99_mpa": upper(fem.von_mises(stress), volume),
        "cement_tension_p99_mpa": max(upper(_largest_principal(stress), volume), 0.0),
    }
    known = {variable.name for block in peak.field.blocks for variable in block.law.state}
    if "fatigue_drive" not in known:
        return found
    drive, miner = (
        upper(np.average(peak.field.state_field(peak.state.history, name)[cells], axis=1, weights=weight), volume)
        for name in ("fatigue_drive", "miner_sum")
    )
    return found | {"cement_life_used_p99": miner} | ({"cement_fatigue_reserve": 1.0 / drive} if drive > 0.0 else {})


def bone_damage(bench: Bench) -> float:
    """Integral of the damage over the treated bone without cement or cavity, per stress-free volume, mL."""
    bone = ~bench.cavity & (bench.cement_share == 0.0) & ~bench.of_neighbours
    damage = bench.field.state_field(bench.state.history, "damage")
    return float((bench.structure.mesh.weight * damage)[bone].sum()) / MM3_PER_ML


def upper(values: Array, volume: Array) -> float:
    """The value (k,) that ``PERCENTILE`` of the volume (k,) does not exceed."""
    order = np.argsort(values)
    below = np.cumsum(volume[order]) / volume.sum()
    return float(values[order][np.searchsorted(below, PERCENTILE)])


def _largest_principal(stress: Array) -> Array:
    """Largest principal stress (k,) of stresses (k, 6)."""
    xx, yy, zz, xy, yz, xz = stress.T
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return np.asarray(np.linalg.eigvalsh(np.moveaxis(tensor, 2, 0))[:, 2])
