"""J2 plasticity with linear isotropic and kinematic hardening, by radial return."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .tensors import NOT_FINITE, OK, all_finite, fail, load_vector


@njit(cache=True, error_model="numpy")
def _isotropic(bulk: float, shear: float, tangent: np.ndarray) -> None:
    """Fill `tangent` (6, 6) with isotropic elasticity of the two moduli, MPa."""
    tangent[:, :] = 0.0
    for i in range(3):
        for j in range(3):
            tangent[i, j] = bulk - 2.0 / 3.0 * shear
        tangent[i, i] += 2.0 * shear
        tangent[3 + i, 3 + i] = shear


@njit(cache=True, error_model="numpy")
def _relative_stress(strain: np.ndarray, state: np.ndarray, shear: float, kinematic: float, xi: np.ndarray) -> float:
    """Trial deviator less the back stress into `xi` (6,); returns its von Mises norm, MPa."""
    mean = (strain[0] + strain[1] + strain[2]) / 3.0
    back = 2.0 / 3.0 * kinematic
    total = 0.0
    for i in range(3):
        xi[i] = 2.0 * shear * (strain[i] - mean - state[i]) - back * state[i]
        xi[3 + i] = shear * (strain[3 + i] - state[3 + i]) - 0.5 * back * state[3 + i]
        total += xi[i] * xi[i] + 2.0 * xi[3 + i] * xi[3 + i]
    return float(np.sqrt(1.5 * total))


@njit(cache=True, error_model="numpy")
def _return(
    multiplier: float,
    norm: float,
    xi: np.ndarray,
    moduli: tuple[float, float],
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> None:
    """Plastic flow along `xi`, and its consistent tangent (Simo & Taylor 1985); moduli: shear, hardening."""
    shear, hardening = moduli
    for i in range(3):
        new_state[i] += 1.5 * multiplier * xi[i] / norm
        new_state[3 + i] += 3.0 * multiplier * xi[3 + i] / norm
    new_state[6] += multiplier
    shrink = 6.0 * shear * shear * multiplier / norm  # acts on the deviatoric projector
    for i in range(3):
        for j in range(3):
            tangent[i, j] += shrink / 3.0
        tangent[i, i] -= shrink
        tangent[3 + i, 3 + i] -= 0.5 * shrink
    along = 9.0 * shear * shear * (multiplier / norm - 1.0 / (3.0 * shear + hardening)) / (norm * norm)
    for i in range(6):
        for j in range(6):
            tangent[i, j] += along * xi[i] * xi[j]


@njit(cache=True, error_model="numpy")
def j2_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """J2 plasticity at one point.

    constants: bulk, shear, yield stress, isotropic, kinematic hardening modulus (MPa);
    state: plastic strain (6, engineering shear), accumulated equivalent plastic strain.
    """
    bulk, shear, strength, isotropic, kinematic = constants
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    for i in range(7):
        new_state[i] = state[i]
    _isotropic(bulk, shear, tangent)
    xi = np.empty(6)
    norm = _relative_stress(strain, state, shear, kinematic, xi)
    excess = norm - strength - isotropic * state[6]
    if excess > 0.0:
        hardening = isotropic + kinematic
        _return(excess / (3.0 * shear + hardening), norm, xi, (shear, hardening), tangent, new_state)
    volume = strain[0] + strain[1] + strain[2]
    for i in range(3):
        stress[i] = bulk * volume + 2.0 * shear * (strain[i] - volume / 3.0 - new_state[i])
        stress[3 + i] = shear * (strain[3 + i] - new_state[3 + i])
    return OK


@njit(cache=True, parallel=True, error_model="numpy")
def j2_batch(
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
) -> None:
    """J2 plasticity at all points of the given cells; constants (k, 5). Shapes as `MaterialField.update`."""
    points = strain.shape[1]
    for i in prange(cells.size * points):
        k = i // points
        c, p = cells[k], i % points
        status[c, p] = j2_point(strain[c, p], state[c, p], constants[k], stress[c, p], tangent[c, p], new_state[c, p])
