"""What can be read from a solved state: cell volumes, reactions, Cauchy stress."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .discretisation import Discretisation
from .kernels.strain import log_strains
from .structure import Evaluation, State, Structure

Array = NDArray[np.float64]


def _kinematics(mesh: Discretisation, state: State) -> tuple[Array, Array, Array, Array]:
    strain, f, stretch, frame, _ = log_strains(
        mesh.points_mm + state.displacement_mm,
        mesh.cells,
        mesh.gradient,
        mesh.weight,
        mesh.formulation,
        mesh.enhanced_index,
        mesh.modes,
        mesh.filters,
        mesh.small_strain,
    )
    return strain, f, stretch, frame


def cell_volumes(mesh: Discretisation, state: State) -> Array:
    """(m,) current volume of every cell, mm3."""
    _, f, _, _ = _kinematics(mesh, state)
    return np.asarray(np.sum(np.linalg.det(f) * mesh.weight, axis=1))


def reactions(structure: Structure, evaluation: Evaluation, state: State) -> Array:
    """(N,) generalised internal forces: what the supports must supply, N and N mm."""
    slopes = structure.motion_map(state.motion)
    return np.concatenate([slopes.T @ evaluation.force_n, evaluation.volume_mm3])


def stress_work(mesh: Discretisation, before: Evaluation, after: Evaluation) -> Array:
    """(m,) work of the stress in every cell from one evaluated state to the next, N mm: trapezoid rule for T : dE."""
    mean = 0.5 * (before.response.stress + after.response.stress)
    return np.asarray(np.einsum("mq,mqi,mqi->m", mesh.weight, mean, after.strain - before.strain))


def cauchy_stress(mesh: Discretisation, state: State, stress: Array) -> Array:
    """Cauchy stress (m, q, 6) MPa from the stress conjugate to log strain.

    sigma = F S F^T / J with S = 2 T : dE/dC, evaluated in the eigenbasis of C (Miehe, Apel & Lambrecht 2002).
    """
    _, f, stretch, frame = _kinematics(mesh, state)
    t = _tensor(stress)
    t = np.einsum("mqki,mqkl,mqlj->mqij", frame, t, frame)
    a, b = stretch[..., :, None], stretch[..., None, :]
    x = (a - b) / b
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(np.abs(x) > 0.0, 0.5 * np.log1p(x) / (x * b), 0.5 / b)
    second_piola = np.einsum("mqik,mqkl,mqjl->mqij", frame, 2.0 * slope * t, frame)
    jacobian = np.linalg.det(f)
    sigma = np.einsum("mqik,mqkl,mqjl->mqij", f, second_piola, f) / jacobian[..., None, None]
    return np.stack([sigma[..., i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))], axis=-1)


def _tensor(voigt: Array) -> Array:
    """(..., 6) stress to (..., 3, 3)."""
    index = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])
    return np.asarray(voigt[..., index])


def von_mises(stress: Array) -> Array:
    """Equivalent stress (...,) of (..., 6)."""
    s = stress
    normal = (s[..., 0] - s[..., 1]) ** 2 + (s[..., 1] - s[..., 2]) ** 2 + (s[..., 2] - s[..., 0]) ** 2
    return np.asarray(np.sqrt(0.5 * normal + 3.0 * (s[..., 3] ** 2 + s[..., 4] ** 2 + s[..., 5] ** 2)))
