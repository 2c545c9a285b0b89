"""Hyperelastic laws in principal logarithmic strains: Mooney-Rivlin, one that loses fluid, and a foam.

The foam never loses its stability.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .spectral import Work, add_pair, dyad, new_work, principal
from .tensors import NOT_FINITE, OK, OPTIONS, all_finite, fail, load_vector


@njit(**OPTIONS)
def sinhc(x: float) -> float:
    """sinh(x)/x without loss near zero, and without the slow function where the series will do."""
    if abs(x) < 0.3:
        y = x * x
        return 1.0 + y / 6.0 * (1.0 + y / 20.0 * (1.0 + y / 42.0 * (1.0 + y / 72.0 * (1.0 + y / 110.0))))
    return float(np.sinh(x) / x)


@njit(**OPTIONS)
def mooney_rivlin_point(
    work: Work, strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray
) -> int:
    """W = C10 (I1bar - 3) + C01 (I2bar - 3) + K/2 (ln J)^2 at one point.

    constants: C10, C01, K in MPa. With principal log strains e_i and their deviators d_i,
    I1bar = sum exp(2 d_i) and I2bar = sum exp(-2 d_i); T_i = dW/de_i. The spectral tangent needs
    (T_i - T_j)/(e_i - e_j), which is written with sinh(x)/x and so has no trouble with equal values.
    """
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    principal(strain, work.matrix, work.e, work.v)
    e, bulk = work.e, constants[2]
    mooney_rivlin_spectral(work, (constants[0], constants[1], bulk * (e[0] + e[1] + e[2]), bulk), stress, tangent)
    return OK


@njit(**OPTIONS)
def mooney_rivlin_spectral(
    work: Work,
    values: tuple[float, float, float, float],
    stress: np.ndarray,
    tangent: np.ndarray,
) -> None:
    """Mooney-Rivlin from the principal log strains and directions in ``work``.

    values: C10, C01, the mean stress and its derivative by the log volume, MPa.
    """
    c10, c01, e = values[0], values[1], work.e
    third = (e[0] + e[1] + e[2]) / 3.0
    for i in range(3):
        d = work.deviator[i] = e[i] - third
        up = np.exp(2.0 * d)
        down = 1.0 / up
        work.first[i], work.second[i] = 2.0 * (c10 * up - c01 * down), 4.0 * (c10 * up + c01 * down)
        dyad(work.v, i, i, work.dyads[i])
    _assemble(work, values, stress, tangent)


@njit(**OPTIONS)
def _assemble(work: Work, values: tuple[float, float, float, float], stress: np.ndarray, tangent: np.ndarray) -> None:
    """Stress and tangent from principal values: g = dW/dd, h = d2W/dd2 before the deviatoric projection."""
    c10, c01, pressure, bulk = values
    d, g, h, dyads, pair = work.deviator, work.first, work.second, work.dyads, work.pair
    mean_g, mean_h = (g[0] + g[1] + g[2]) / 3.0, (h[0] + h[1] + h[2]) / 3.0
    stress[:] = 0.0
    tangent[:, :] = 0.0
    for i in range(3):
        value = g[i] - mean_g + pressure
        for k in range(6):
            stress[k] += value * dyads[i, k]
            pair[k] = 0.0
        for j in range(3):
            value = bulk - (h[i] + h[j]) / 3.0 + mean_h / 3.0
            if i == j:
                value += h[i]
            for k in range(6):
                pair[k] += value * dyads[j, k]
        add_pair(1.0, dyads[i], pair, tangent)
    for i in range(3):
        for j in range(i):
            together = np.exp(d[i] + d[j])
            rise = 4.0 * sinhc(d[i] - d[j]) * (c10 * together + c01 / together)
            dyad(work.v, i, j, pair)
            add_pair(0.5 * rise, pair, pair, tangent)


@njit(cache=True, nogil=True, error_model="numpy")
def mooney_rivlin_batch(
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
    """Mooney-Rivlin at all points of cells[first:last]; constants (k, 3). Shapes as `MaterialField.update`."""
    work = new_work()
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = mooney_rivlin_point(work, strain[c, p], constants[k], stress[c, p], tangent[c, p])


@njit(**OPTIONS)
def draining_point(
    work: Work,
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    dt_s: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """Mooney-Rivlin that exchanges fluid with its surroundings, at one point; see `laws.DRAINING_SOLID`.

    constants: C10, C01, K, H, tau, swelling pressure; state: theta, log volume of fluid gained (1,). Backward Euler:
    theta (1 + s + s K/H) = theta_n + s (K ln J + p0)/H with s = dt/tau.
    """
    if not all_finite(load_vector(strain, 0)) or not np.isfinite(state[0]):
        return int(fail(NOT_FINITE, stress, tangent))
    bulk, drained, swelling = constants[2], constants[3], constants[5]
    principal(strain, work.matrix, work.e, work.v)
    volume = work.e[0] + work.e[1] + work.e[2]
    share = dt_s / constants[4]
    stiffer = share * bulk / drained
    theta = (state[0] + stiffer * volume + share * swelling / drained) / (1.0 + share + stiffer)
    slope = bulk * (1.0 + share) / (1.0 + share + stiffer)
    mooney_rivlin_spectral(work, (constants[0], constants[1], bulk * (volume - theta), slope), stress, tangent)
    new_state[0] = theta
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def draining_batch(
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
    """Draining solid at all points of cells[first:last]; constants (k, 6). Shapes as `MaterialField.update`."""
    work = new_work()
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = draining_point(
                work, strain[c, p], state[c, p], constants[k], dt_s, stress[c, p], tangent[c, p], new_state[c, p]
            )


@njit(**OPTIONS)
def foam_point(work: Work, strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> int:
    """W = mu/2 (I1 - 3 - 2 ln J) at one point: T_i = mu (exp(2 e_i) - 1). constants: mu in MPa."""
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    mu, e, v, pair = constants[0], work.e, work.v, work.pair
    principal(strain, work.matrix, e, v)
    stress[:] = 0.0
    tangent[:, :] = 0.0
    for i in range(3):
        square = np.exp(2.0 * e[i])
        dyad(v, i, i, pair)
        for k in range(6):
            stress[k] += mu * (square - 1.0) * pair[k]
        add_pair(2.0 * mu * square, pair, pair, tangent)
        for j in range(i):
            dyad(v, i, j, pair)
            add_pair(mu * np.exp(e[i] + e[j]) * sinhc(e[i] - e[j]), pair, pair, tangent)
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def foam_batch(
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
    """Foam at all points of cells[first:last]; constants (k, 1). Shapes as `MaterialField.update`."""
    work = new_work()
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = foam_point(work, strain[c, p], constants[k], stress[c, p], tangent[c, p])
