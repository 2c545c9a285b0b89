"""Linear elasticity."""

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
def elastic_point(strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> int:
    """T = C : E at one point.

    strain, stress (6,); constants: stiffness block (9,) in MPa first; tangent (6, 6). Returns a status code.
    """
    e = load_vector(strain, 0)
    if not all_finite(e):
        return int(fail(NOT_FINITE, stress, tangent))
    stiffness = load_block(constants, 0)
    store_vector(block_times(stiffness, e), 1.0, stress, 0)
    store_block(stiffness, 1.0, tangent)
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
            status[c, p] = elastic_point(strain[c, p], constants[k], stress[c, p], tangent[c, p])
