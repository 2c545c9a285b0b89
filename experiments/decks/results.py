"""What a solved deck leaves behind: ``results.vtu`` (fields) and ``results.json`` (reactions, averages, convergence).

Six-component tensors are ordered xx yy zz xy yz xz; stress is Cauchy's, strain logarithmic (small without NLGEOM), with
engineering shear.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, meshes
from kyphos.errors import DataError

from .solve import Increment, Solution

Array = NDArray[np.float64]

VTK_NAMES = {
    "hex8": "hexahedron",
    "hex20": "hexahedron20",
    "hex20r": "hexahedron20",
    "tet4": "tetra",
    "tet10": "tetra10",
}
STRAINS = ("plastic_strain", "creep_strain")
MOST_SETS = 64  # that the VTU holds as fields


def write_results(folder: Path, solution: Solution) -> Path:
    """Write both files; returns the folder.

    Raises
    ------
    DataError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(json.dumps(summary(solution), indent=1), encoding="utf-8")
        _write_fields(folder / "results.vtu", solution)
    except OSError as error:
        raise DataError(f"--out {folder}: cannot be written: {error.strerror}") from None
    return folder


def summary(solution: Solution) -> dict[str, Any]:
    """What ``results.json`` holds."""
    deck = solution.model.deck
    steps = [_step(solution, increment) for increment in solution.steps]
    last = steps[-1] if steps else {"reactions": {}, "averages": {}}
    return {
        "deck": str(deck.path),
        "dialect": deck.dialect,
        "heading": deck.heading,
        "kyphos": version("kyphos"),
        "status": "done" if solution.failure is None else "not converged",
        "failure": solution.failure,
        "units": "those of the deck; the names of the keys hold if it is written in mm, N, MPa, s",
        "notes": list(solution.notes),
        "nodes": len(deck.node_ids),
        "elements": len(deck.element_ids),
        "node_sets": {name: len(ids) for name, ids in deck.node_sets.items()},
        "element_sets": {name: len(ids) for name, ids in deck.element_sets.items()},
        "regions": [
            {"set": s.name, "material": deck.materials[s.material].name, "elements": len(s.elements)}
            for s in deck.sections
        ],
        "reactions": last["reactions"],
        "averages": last["averages"],
        "steps": steps,
        "convergence": list(solution.records),
    }


def _step(solution: Solution, increment: Increment) -> dict[str, Any]:
    return {
        "step": increment.step,
        "time_s": increment.time_s,
        "reactions": reactions(solution, increment),
        "averages": averages(solution, increment),
        "balance": _balance(solution, increment),
    }


def _balance(solution: Solution, increment: Increment) -> dict[str, list[float]]:
    """Sums of all nodal forces: they add up to zero."""
    n = len(solution.model.deck.node_ids)
    parts = {"applied_n": increment.applied, "support_n": increment.support, "equation_n": increment.equation}
    return {name: force.reshape(-1, 3)[:n].sum(axis=0).tolist() for name, force in parts.items()}


def reactions(solution: Solution, increment: Increment) -> dict[str, dict[str, list[float]]]:
    """By node set: force of the supports, mean displacement; for a rigid body's reference node moment, rotation."""
    model, out = solution.model, dict[str, dict[str, list[float]]]()
    force, u = increment.support.reshape(-1, 3), increment.state.displacement_mm
    for name, nodes in model.deck.node_sets.items():
        if not nodes.size:
            continue
        out[name] = {"force_n": force[nodes].sum(axis=0).tolist(), "displacement_mm": u[nodes].mean(axis=0).tolist()}
        for body, rotation in zip(model.deck.rigid_bodies, model.rotation, strict=True):
            if body.reference in nodes and body.rotation is None:
                out[name]["moment_n_mm"] = force[rotation].tolist()
                out[name]["rotation_rad"] = u[rotation].tolist()
    return out


def averages(solution: Solution, increment: Increment) -> dict[str, dict[str, Any]]:
    """By element set: volume, mean stress and strain (6,), mean, 99th percentile and largest von Mises stress."""
    model, out = solution.model, dict[str, dict[str, Any]]()
    stress, weight = _stress(solution, increment), model.mesh.weight
    mises = fem.von_mises(stress)
    for name, elements in model.deck.element_sets.items():
        if not elements.size:
            continue
        cells = model.cell_of_element[elements]
        w = weight[cells]
        out[name] = {
            "volume_mm3": float(w.sum()),
            "stress_mpa": (np.einsum("mq,mqc->c", w, stress[cells]) / w.sum()).tolist(),
            "strain": (np.einsum("mq,mqc->c", w, increment.evaluation.strain[cells]) / w.sum()).tolist(),
            "von_mises_mpa": float((w * mises[cells]).sum() / w.sum()),
            "von_mises_p99_mpa": percentile(mises[cells], w, 0.99),
            "von_mises_max_mpa": float(mises[cells][w > 0.0].max()),
        }
    return out


def percentile(values: Array, weight: Array, share: float) -> float:
    """The value that ``share`` of the weight lies at or below."""
    order = np.argsort(values, axis=None)
    total = np.cumsum(weight.ravel()[order])
    return float(values.ravel()[order][np.searchsorted(total, share * total[-1])])


def _stress(solution: Solution, increment: Increment) -> Array:
    """(c, q, 6) Cauchy stress in the deck's units."""
    response = increment.evaluation.response.stress
    return fem.cauchy_stress(increment.structure.mesh, increment.state, response) * solution.model.stress_unit


def _write_fields(path: Path, solution: Solution) -> None:
    model, deck = solution.model, solution.model.deck
    n = len(deck.node_ids)
    point_data: dict[str, NDArray[Any]] = {"node_id": deck.node_ids}
    cell_data: dict[str, NDArray[Any]] = {"element_id": deck.element_ids[model.elements]}
    cell_data["region"] = deck.section[model.elements].astype(np.int32)
    if solution.steps:
        more_points, more_cells = _fields(solution, solution.steps[-1])
        point_data |= {name: values[:n] for name, values in more_points.items()}
        cell_data |= more_cells
    for name, nodes in list(deck.node_sets.items())[:MOST_SETS]:
        point_data[f"nset.{name}"] = np.isin(np.arange(n), nodes).astype(np.int8)
    for name, elements in list(deck.element_sets.items())[:MOST_SETS]:
        cell_data[f"elset.{name}"] = np.isin(model.elements, elements).astype(np.int8)
    cells = [
        (VTK_NAMES[part.element.name], model.mesh.cells[part.cells, : part.element.n_nodes])
        for part in model.mesh.parts
    ]
    meshes.write_grid(path, deck.points_mm, cells, point_data, cell_data)


def _fields(solution: Solution, increment: Increment) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    model = solution.model
    share = model.mesh.weight / model.mesh.weight.sum(axis=1, keepdims=True)
    stress = _stress(solution, increment)

    def mean(values: Array) -> Array:
        return np.asarray(np.einsum("mq,mq...->m...", share, values))

    nodal = fem.nodal_average(increment.structure.mesh, stress)
    point_data = {
        "displacement_mm": increment.state.displacement_mm,
        "reaction_n": increment.support.reshape(-1, 3),
        "stress_mpa": nodal,
        "von_mises_mpa": fem.von_mises(nodal),
    }
    if np.any(increment.temperature):
        point_data["temperature"] = increment.temperature
    cell_data = {
        "stress_mpa": mean(stress),
        "von_mises_mpa": mean(fem.von_mises(stress)),
        "strain": mean(increment.evaluation.strain),
    }
    known = {variable.name for block in model.field.blocks for variable in block.law.state}
    for name in STRAINS:
        if name in known:
            cell_data[name] = mean(model.field.state_field(increment.state.history, name))
    return point_data, cell_data
