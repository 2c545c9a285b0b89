"""J2 plasticity with linear or tabulated hardening, and Norton creep, by radial return."""

from __future__ import annotations

import numpy as np
from numba import njit

from .tensors import NOT_FINITE, OK, all_finite, fail, load_vector


@njit(cache=True, error_model="numpy")
def isotropic(bulk: float, shear: float, tangent: np.ndarray) -> None:
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
def _finish(strain: np.ndarray, new_state: np.ndarray, bulk: float, shear: float, stress: np.ndarray) -> None:
    """Isotropic stress of the strain less the inelastic strain in new_state[:6]."""
    volume = strain[0] + strain[1] + strain[2]
    for i in range(3):
        stress[i] = bulk * volume + 2.0 * shear * (strain[i] - volume / 3.0 - new_state[i])
        stress[3 + i] = shear * (strain[3 + i] - new_state[3 + i])


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
    bulk, shear, strength, growth, kinematic = constants
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    for i in range(7):
        new_state[i] = state[i]
    isotropic(bulk, shear, tangent)
    xi = np.empty(6)
    norm = _relative_stress(strain, state, shear, kinematic, xi)
    excess = norm - strength - growth * state[6]
    if excess > 0.0:
        hardening = growth + kinematic
        _return(excess / (3.0 * shear + hardening), norm, xi, (shear, hardening), tangent, new_state)
    _finish(strain, new_state, bulk, shear, stress)
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
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
    first: int,
    last: int,
) -> None:
    """J2 plasticity at all points of cells[first:last]; constants (k, 5). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = j2_point(
                strain[c, p], state[c, p], constants[k], stress[c, p], tangent[c, p], new_state[c, p]
            )


@njit(cache=True, error_model="numpy")
def _read_table(table: np.ndarray, kappa: float) -> float:
    """Stress at `kappa` of the polygon (strain, stress, strain, stress, ...), constant after its end."""
    last = table.size - 2
    for k in range(0, last, 2):
        if kappa < table[k + 2]:
            return float(table[k + 1] + (kappa - table[k]) * (table[k + 3] - table[k + 1]) / (table[k + 2] - table[k]))
    return float(table[last + 1])


@njit(cache=True, error_model="numpy")
def _walk_table(excess: float, shear: float, table: np.ndarray, kappa: float) -> tuple[float, float]:
    """Multiplier that uses up `excess` = 3 G multiplier + rise of the table, and the slope where it ends.

    Exact: the segments are walked one by one from `kappa` on; the table never falls, so the root is unique.
    """
    done, last = kappa, table.size - 2
    for k in range(0, last, 2):
        if done >= table[k + 2]:
            continue
        slope = (table[k + 3] - table[k + 1]) / (table[k + 2] - table[k])
        step = table[k + 2] - done
        used = (3.0 * shear + slope) * step
        if used >= excess:
            return done - kappa + excess / (3.0 * shear + slope), slope
        excess -= used
        done = table[k + 2]
    return done - kappa + excess / (3.0 * shear), 0.0


@njit(cache=True, error_model="numpy")
def table_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """J2 plasticity with a hardening table at one point.

    constants: bulk, shear (MPa), 1 if kinematic else 0, then the table: plastic strain, stress, ...;
    state: plastic strain (6, engineering shear), accumulated equivalent plastic strain, back stress (6, MPa).
    """
    bulk, shear, kinematic, table = constants[0], constants[1], constants[2], constants[3:]
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    for i in range(13):
        new_state[i] = state[i]
    isotropic(bulk, shear, tangent)
    xi = np.empty(6)
    _relative_stress(strain, state, shear, 0.0, xi)
    total = 0.0
    for i in range(6):
        xi[i] -= state[7 + i]
        total += (1.0 if i < 3 else 2.0) * xi[i] * xi[i]
    norm = np.sqrt(1.5 * total)
    before = _read_table(table, state[6])
    excess = norm - (table[1] if kinematic > 0.0 else before)
    if excess > 0.0:
        multiplier, slope = _walk_table(excess, shear, table, state[6])
        _return(multiplier, norm, xi, (shear, slope), tangent, new_state)
        rise = kinematic * (_read_table(table, new_state[6]) - before)
        for i in range(6):
            new_state[7 + i] += rise * xi[i] / norm
    _finish(strain, new_state, bulk, shear, stress)
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def table_batch(
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
    """Tabulated J2 plasticity at all points of cells[first:last]; constants (k, 3 + 2 n). As `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = table_point(
                strain[c, p], state[c, p], constants[k], stress[c, p], tangent[c, p], new_state[c, p]
            )


@njit(cache=True, error_model="numpy")
def _norton_stress(trial: float, compliance: float, exponent: float) -> float:
    """Root s of s + compliance s^exponent = trial (all positive), by Newton from above.

    Either term alone gives an upper bound; the function is convex, so the iteration falls to the root.
    """
    s = min(trial, np.exp((np.log(trial) - np.log(compliance)) / exponent))
    for _ in range(60):
        power = compliance * s**exponent
        step = (s + power - trial) / (1.0 + exponent * power / s)
        s -= step
        if abs(step) <= 1e-15 * s:
            break
    return float(s)


@njit(cache=True, error_model="numpy")
def norton_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    dt_s: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """Norton creep at one point, backward Euler in the stress; t^m is integrated exactly.

    constants: bulk, shear (MPa), coefficient A, stress exponent n, time exponent m;
    state: creep strain (6, engineering shear), equivalent creep strain, time since the start (s).
    """
    bulk, shear, coefficient, exponent, power = constants
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    for i in range(7):
        new_state[i] = state[i]
    new_state[7] = state[7] + dt_s
    isotropic(bulk, shear, tangent)
    xi = np.empty(6)
    trial = _relative_stress(strain, state, shear, 0.0, xi)
    lapse = (new_state[7] ** (power + 1.0) - state[7] ** (power + 1.0)) / (power + 1.0)
    if coefficient * lapse > 0.0 and trial > 1e-200:
        s = _norton_stress(trial, 3.0 * shear * coefficient * lapse, exponent)
        creep = coefficient * lapse * s**exponent
        if creep > 0.0:
            _return(creep, trial, xi, (shear, s / (exponent * creep)), tangent, new_state)
    _finish(strain, new_state, bulk, shear, stress)
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def norton_batch(
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
    """Norton creep at all points of cells[first:last]; constants (k, 5). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = norton_point(
                strain[c, p], state[c, p], constants[k], dt_s, stress[c, p], tangent[c, p], new_state[c, p]
            )
