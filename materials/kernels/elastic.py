"""Linear elasticity, and linear elasticity that a Miner sum wears out."""

from __future__ import annotations

import numpy as np
from numba import njit

from .tensors import (
    NOT_FINITE,
    OK,
    all_finite,
    block_times,
    fail,
    load_block,
    load_vector,
    store_block,
    store_vector,
)


@njit(cache=True, error_model="numpy")
def elastic_point(
    strain: np.ndarray, constants: np.ndarray, factor: float, stress: np.ndarray, tangent: np.ndarray
) -> int:
    """T = factor C : E at one point.

    strain, stress (6,); constants: stiffness block (9,) in MPa first; tangent (6, 6). Returns a status code.
    """
    e = load_vector(strain, 0)
    if not all_finite(e):
        return int(fail(NOT_FINITE, stress, tangent))
    stiffness = load_block(constants, 0)
    store_vector(block_times(stiffness, e), factor, stress, 0)
    store_block(stiffness, factor, tangent)
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def elastic_batch(
    strain: np.ndarray,
    state: np.ndarray,
    cells: np.ndarray,
    constants: np.ndarray,
    dt_s: float,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
    status: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Linear elasticity at all points of cells[first:last]; constants (k, 9). See `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = elastic_point(strain[c, p], constants[k], 1.0, stress[c, p], tangent[c, p])


@njit(cache=True, error_model="numpy")
def von_mises(t: np.ndarray) -> float:
    """Von Mises norm of a stress (6,)."""
    normal = (t[0] - t[1]) ** 2 + (t[1] - t[2]) ** 2 + (t[2] - t[0]) ** 2
    return float(np.sqrt(0.5 * normal + 3.0 * (t[3] ** 2 + t[4] ** 2 + t[5] ** 2)))


@njit(cache=True, error_model="numpy")
def fatigue_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """Elastic solid with Miner damage at one point.

    constants: stiffness (9,), reference cycles, reference stress MPa, exponent, damage cap;
    state: Miner sum, peak von Mises stress MPa of the last committed state, damage.
    """
    cycles_ref, stress_ref, exponent, cap = constants[9], constants[10], constants[11], constants[12]
    miner = state[0] + cycles / cycles_ref * (state[1] / stress_ref) ** exponent
    damage = min(cap, miner)
    code = elastic_point(strain, constants, 1.0 - damage, stress, tangent)
    new_state[0], new_state[1], new_state[2] = miner, von_mises(stress), damage
    return int(code)


@njit(cache=True, nogil=True, error_model="numpy")
def fatigue_batch(
    strain: np.ndarray,
    state: np.ndarray,
    cells: np.ndarray,
    constants: np.ndarray,
    dt_s: float,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
    status: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Elastic solid with Miner damage; constants (k, 13). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = fatigue_point(
                strain[c, p], state[c, p], constants[k], cycles, stress[c, p], tangent[c, p], new_state[c, p]
            )
