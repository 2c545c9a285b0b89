"""What the rest of a segment feels of the treated level: stress in the neighbours' endplates, pressure in the discs.

Definitions: section 2 of ``docs/physics.md``, and ``docs/segment.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, meshes
from kyphos.units import MM3_PER_ML

from .bench import Array, Bench, look
from .profiles import Profile, profiles
from .wear import upper

ENDS = {"superior": -1.0, "inferior": 1.0}
"""Endplates, and the sense along the body's axis that leads into the bone."""


@dataclass(frozen=True)
class Felt:
    """What one look at a segment tells: everything about neighbours and discs by outcome, and stress along lines."""

    outcomes: dict[str, float]
    profiles: tuple[Profile, ...]


def felt(bench: Bench) -> Felt:
    """What neighbours and discs feel in the present state.

    Raises
    ------
    ConvergenceError
        The state cannot be evaluated.
    """
    evaluation = look(bench)
    stress = fem.cauchy_stress(bench.structure.mesh, bench.state, evaluation.response.stress)
    elastic = evaluation.strain - bench.field.inelastic_strain(bench.state.history)
    energy = 0.5 * np.einsum("mqi,mqi->mq", evaluation.response.stress, elastic)
    found: dict[str, float] = {}
    for level in bench.neighbours:
        found |= _neighbour(bench, level, stress, energy)
    found["kyphosis_deg"] = gained_kyphosis_deg(bench)
    found |= disc_pressures(bench, evaluation)
    return Felt(found, profiles(bench.mesh, bench.structure.mesh.weight, stress))


def _neighbour(bench: Bench, level: str, stress: Array, energy: Array) -> dict[str, float]:
    """One neighbour's endplates, crushed bone and heights; stress (m, q, 6) and elastic energy density (m, q)."""
    found: dict[str, float] = {}
    ends = {end: _endplate(bench, f"{level}.{end}_endplate", stress, energy) for end in ENDS}
    for end, values in ends.items():
        bulge = {"bulge_mm": endplate_bulge_mm(bench, level, end)}
        found |= {f"adjacent_{level}_{end}_endplate_{name}": value for name, value in (values | bulge).items()}
    for name in ("von_mises_p99_mpa", "von_mises_max_mpa"):
        found[f"adjacent_{level}_endplate_{name}"] = max(values[name] for values in ends.values())
    found[f"adjacent_{level}_yielded_ml"] = yielded_ml(bench, level)
    for place, gauge in bench.mesh.bodies[level].gauges.items():
        found[f"adjacent_{level}_height_{place}_mm"] = meshes.gauge_height_mm(gauge, bench.points_mm)
    return found


def _endplate(bench: Bench, region: str, stress: Array, energy: Array) -> dict[str, float]:
    """Stress (m, q, 6) and elastic energy density (m, q) of one endplate, over its points."""
    cells = bench.mesh.cells_in(region)
    volume = bench.structure.mesh.weight[cells].ravel()
    mises, least = fem.von_mises(stress[cells]).ravel(), -smallest_principal(stress[cells]).ravel()
    return {
        "von_mises_p99_mpa": upper(mises, volume),
        "von_mises_max_mpa": float(mises.max()),
        "min_principal_p01_mpa": -upper(least, volume),
        "energy_density_mpa": float(np.average(energy[cells].ravel(), weights=volume)),
    }


def smallest_principal(stress: Array) -> Array:
    """Smallest principal stress (...,) of stresses (..., 6): the largest compression."""
    index = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])
    return np.asarray(np.linalg.eigvalsh(stress[..., index])[..., 0])


def endplate_bulge_mm(bench: Bench, level: str, end: str) -> float:
    """How far an endplate is pressed into its bone: largest way of its nodes against its rim, which moves rigidly."""
    mesh, body = bench.mesh, bench.mesh.bodies[level]
    nodes = mesh.node_sets[f"{level}.{end}_endplate"]
    rim = np.intersect1d(nodes, mesh.face_sets[f"{level}.wall"])
    turn, shift = rigid_motion(mesh.points_mm[rim], bench.points_mm[rim])
    back = (bench.points_mm[nodes] - shift) @ turn  # to where they would be without the rim's motion
    return float((ENDS[end] * (back - mesh.points_mm[nodes]) @ body.axes[2]).max())


def in_brief(name: str) -> bool:
    """Whether an outcome is told for every load case: pressures, and the larger 99 % of each neighbour's endplates."""
    return re.fullmatch(r"disc_.*|adjacent_[^_]+_endplate_von_mises_p99_mpa", name) is not None


def gained_kyphosis_deg(bench: Bench) -> float:
    """How far the treated body's superior endplate has tipped forwards against its inferior one since it was meshed.

    Endplates are told by the lines between their posterior and anterior gauges, as on a lateral radiograph.
    """
    return _wedge_deg(bench.body, bench.mesh.points_mm) - _wedge_deg(bench.body, bench.points_mm)


def _wedge_deg(body: meshes.Body, points_mm: Array) -> float:
    """Angle between the endplates' mid-sagittal lines, open to the front, with the nodes at (n, 3)."""
    back, front = body.gauges["posterior"], body.gauges["anterior"]
    upper = (
        front.superior_weights @ points_mm[front.superior_ids] - back.superior_weights @ points_mm[back.superior_ids]
    )
    lower = (
        front.inferior_weights @ points_mm[front.inferior_ids] - back.inferior_weights @ points_mm[back.inferior_ids]
    )
    _, ahead, up = body.axes
    rise = [np.arctan2(line @ up, line @ ahead) for line in (upper, lower)]
    return float(np.degrees(rise[0] - rise[1]))


def rigid_motion(before_mm: Array, after_mm: Array) -> tuple[Array, Array]:
    """Rotation R (3, 3) and shift t (3,) that bring points (k, 3) closest to others, x = R X + t (Kabsch 1976)."""
    centre, centre_after = before_mm.mean(axis=0), after_mm.mean(axis=0)
    u, _, vt = np.linalg.svd((before_mm - centre).T @ (after_mm - centre_after))
    mirror = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    turn = vt.T @ mirror @ u.T
    return turn, centre_after - turn @ centre


def yielded_ml(bench: Bench, level: str) -> float:
    """Stress-free volume of a body's bone that has been crushed at all, mL."""
    crush = bench.field.state_field(bench.state.history, "kappa")
    inside: NDArray[np.int64] = bench.mesh.bony_cells(level)
    weight = bench.structure.mesh.weight[inside]
    return float(weight[crush[inside] > 0.0].sum()) / MM3_PER_ML


def disc_pressures(bench: Bench, evaluation: fem.Evaluation) -> dict[str, float]:
    """Mean pressure of every nucleus, MPa, by outcome."""
    stress, mesh = evaluation.response.stress, bench.structure.mesh
    pressure = fem.cell_pressure(mesh, bench.state, stress)
    volume = meshes.cell_volumes_mm3(bench.points_mm, bench.mesh.cells)
    found = {}
    for name in bench.mesh.discs:
        core = bench.mesh.cells_in(f"{name}.nucleus")
        found[f"disc_{name}_pressure_mpa"] = float(np.average(pressure[core], weights=volume[core]))
    return found
