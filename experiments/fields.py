"""The fields at the end of a stage, as they are saved: one value per cell, displacements per point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, meshes

from .bench import Bench, look

HISTORY = {
    "plastic_strain": "plastic_strain",
    "damage": "damage",
    "fatigue_damage": "fatigue_damage",
    "creep_strain": "creep_strain_eq",
    "crush": "kappa",
    "miner_sum": "miner_sum",
    "crack_damage": "crack_damage",
    "debonding": "debonding",
}
"""Cell data -> history variable that it is the mean of."""


def stage_fields(bench: Bench) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Point data and cell data of a bench.

    Returns
    -------
    point_data
        ``displacement_mm`` (n, 3).
    cell_data
        ``stress_mpa`` (m, 6; Cauchy, mean over the cell), ``von_mises_mpa`` (m,; of that mean), ``strain`` (m, 6;
        logarithmic), ``cement_fraction`` (m,), ``is_cavity`` (m,); of ``HISTORY`` what the materials remember: for bone
        ``plastic_strain`` (m, 6), ``damage``, ``fatigue_damage``, ``creep_strain``, ``crush`` (m,); for cements
        ``miner_sum``, ``crack_damage`` (m,), for an interface that may let go ``debonding`` (m,).

    Raises
    ------
    ConvergenceError
        The state cannot be evaluated (a cell is inverted).
    """
    evaluation, history = look(bench), bench.state.history
    stress = _stress(bench, evaluation)

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        return _mean(bench, values)

    cells: dict[str, NDArray[Any]] = {
        "stress_mpa": stress,
        "von_mises_mpa": fem.von_mises(stress),
        "strain": mean(evaluation.strain),
        "cement_fraction": bench.cement_share,
        "is_cavity": bench.cavity.astype(np.int8),
    }
    known = {variable.name for block in bench.field.blocks for variable in block.law.state}
    for name, variable in HISTORY.items():
        if variable in known:
            cells[name] = mean(bench.field.state_field(history, variable))
    return {"displacement_mm": bench.state.displacement_mm}, cells


def cell_stress(bench: Bench) -> NDArray[np.float64]:
    """Cauchy stress (m, 6), mean over each cell, MPa; ConvergenceError if the state cannot be evaluated."""
    return _stress(bench, look(bench))


def _stress(bench: Bench, evaluation: fem.Evaluation) -> NDArray[np.float64]:
    return _mean(bench, fem.cauchy_stress(bench.structure.mesh, bench.state, evaluation.response.stress))


def _mean(bench: Bench, values: NDArray[Any]) -> NDArray[Any]:
    """Means over the cells (m, ...) of values at their points (m, q, ...)."""
    weight = bench.structure.mesh.weight
    share = weight / weight.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("mq,mq...->m...", share, values))


def write_fields(path: Path, bench: Bench) -> None:
    """Save the fields of a bench with its mesh (reference coordinates) as VTU."""
    point_data, cell_data = stage_fields(bench)
    meshes.write_vtu(path, bench.mesh, point_data, cell_data, sidecar=False)
