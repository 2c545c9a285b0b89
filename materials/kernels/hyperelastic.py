"""Hyperelastic laws in principal logarithmic strains: Mooney-Rivlin, and a foam that never loses its stability, by
itself or with fibres along the axes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .spectral import add_pair, dyad, principal
from .tensors import NOT_FINITE, OK, all_finite, fail, load_vector


@njit(cache=True, error_model="numpy")
def _sinhc(x: float) -> float:
    """sinh(x)/x without loss near zero."""
    if abs(x) < 1e-3:
        return 1.0 + x * x / 6.0 * (1.0 + x * x / 20.0)
    return float(np.sinh(x) / x)


@njit(cache=True, error_model="numpy")
def mooney_rivlin_point(strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> int:
    """W = C10 (I1bar - 3) + C01 (I2bar - 3) + K/2 (ln J)^2 at one point.

    constants: C10, C01, K in MPa. With principal log strains e_i and their deviators d_i,
    I1bar = sum exp(2 d_i) and I2bar = sum exp(-2 d_i); T_i = dW/de_i. The spectral tangent needs
    (T_i - T_j)/(e_i - e_j), which is written with sinh(x)/x and so has no trouble with equal values.
    """
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    c10, c01, bulk = constants
    e, v, dyads = np.empty(3), np.empty((3, 3)), np.empty((3, 6))
    principal(strain, e, v)
    volume = e[0] + e[1] + e[2]
    d, g, h = np.empty(3), np.empty(3), np.empty(3)
    for i in range(3):
        d[i] = e[i] - volume / 3.0
        up, down = np.exp(2.0 * d[i]), np.exp(-2.0 * d[i])
        g[i], h[i] = 2.0 * (c10 * up - c01 * down), 4.0 * (c10 * up + c01 * down)
        dyad(v, i, i, dyads[i])
    _assemble(d, g, h, (c10, c01, bulk * volume, bulk), v, dyads, stress, tangent)
    return OK


@njit(cache=True, error_model="numpy")
def _assemble(
    d: np.ndarray,
    g: np.ndarray,
    h: np.ndarray,
    values: tuple[float, float, float, float],
    v: np.ndarray,
    dyads: np.ndarray,
    stress: np.ndarray,
    tangent: np.ndarray,
) -> None:
    """Stress and tangent from principal values: g = dW/dd, h = d2W/dd2 before the deviatoric projection."""
    c10, c01, pressure, bulk = values
    mean_g, mean_h = (g[0] + g[1] + g[2]) / 3.0, (h[0] + h[1] + h[2]) / 3.0
    stress[:] = 0.0
    tangent[:, :] = 0.0
    pair = np.empty(6)
    for i in range(3):
        value = g[i] - mean_g + pressure
        for k in range(6):
            stress[k] += value * dyads[i, k]
        for j in range(3):
            value = bulk - (h[i] + h[j]) / 3.0 + mean_h / 3.0
            if i == j:
                value += h[i]
            add_pair(value, dyads[i], dyads[j], tangent)
        for j in range(i):
            together = np.exp(d[i] + d[j])
            rise = 4.0 * _sinhc(d[i] - d[j]) * (c10 * together + c01 / together)
            dyad(v, i, j, pair)
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
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = mooney_rivlin_point(strain[c, p], constants[k], stress[c, p], tangent[c, p])


@njit(cache=True, error_model="numpy")
def foam_point(strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> int:
    """W = mu/2 (I1 - 3 - 2 ln J) at one point: T_i = mu (exp(2 e_i) - 1). constants: mu in MPa."""
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    mu = constants[0]
    e, v, pair = np.empty(3), np.empty((3, 3)), np.empty(6)
    principal(strain, e, v)
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
            add_pair(mu * np.exp(e[i] + e[j]) * _sinhc(e[i] - e[j]), pair, pair, tangent)
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
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = foam_point(strain[c, p], constants[k], stress[c, p], tangent[c, p])


_CLOSE = 0.01  # exponents nearer than this take the series: either way 1e-12 is right


@njit(cache=True, error_model="numpy")
def _slope(a: float, b: float) -> float:
    """First divided difference of exp(2 x) at two points."""
    return float(2.0 * np.exp(a + b) * _sinhc(a - b))


@njit(cache=True, error_model="numpy")
def _bend(a: float, b: float, c: float) -> float:
    """Second divided difference of exp(2 x) at three points, in any order; a series about their mean where close."""
    low, high = min(a, b, c), max(a, b, c)
    middle = a + b + c - low - high
    if high - low > _CLOSE:
        return (_slope(middle, high) - _slope(low, middle)) / (high - low)
    mean = (a + b + c) / 3.0
    x, y, z = a - mean, b - mean, c - mean
    two, three = x * x + y * y + z * z, x * x * x + y * y * y + z * z * z
    # complete symmetric polynomials of x, y, z, whose sum vanishes: two/2, three/3, two^2/8 (Newton's identities)
    return float(np.exp(2.0 * mean) * (2.0 + two / 3.0 + 4.0 * three / 45.0 + two * two / 90.0))


@njit(cache=True, error_model="numpy")
def _add_fibre(
    stiffness: float, axis: int, e: np.ndarray, v: np.ndarray, stress: np.ndarray, tangent: np.ndarray
) -> None:
    """Add k/6 <C_aa - 1>^3 of one family of fibres along a global axis; e, v as from `principal`."""
    along = 0.0
    for i in range(3):
        along += np.exp(2.0 * e[i]) * v[axis, i] ** 2
    longer = along - 1.0
    if longer <= 0.0:
        return
    pull = 0.5 * stiffness * longer * longer
    dyads, slope = np.empty((3, 3, 6)), np.zeros(6)
    for i in range(3):
        for j in range(3):
            dyad(v, i, j, dyads[i, j])
            if i != j:
                dyads[i, j] *= 0.5
            slope += _slope(e[i], e[j]) * v[axis, i] * v[axis, j] * dyads[i, j]
    stress += pull * slope
    add_pair(stiffness * longer, slope, slope, tangent)
    for i in range(3):
        for j in range(3):
            for k in range(3):
                factor = pull * v[axis, i] * v[axis, j] * _bend(e[i], e[k], e[j])
                add_pair(factor, dyads[i, k], dyads[k, j], tangent)
                add_pair(factor, dyads[k, j], dyads[i, k], tangent)


@njit(cache=True, error_model="numpy")
def skin_point(strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> int:
    """Foam and tension-only fibres along x, y, z at one point. constants: mu, then the fibres' k_x, k_y, k_z in MPa.

    W = foam + sum of k_a/6 <C_aa - 1>^3, convex in F as C_aa = |F a|^2 is. With C = exp(2 E), the derivatives of C_aa
    by E are divided differences of exp(2 x) at the principal values.
    """
    status = foam_point(strain, constants, stress, tangent)
    if status != OK:
        return int(status)
    e, v = np.empty(3), np.empty((3, 3))
    principal(strain, e, v)
    for axis in range(3):
        if constants[1 + axis] > 0.0:
            _add_fibre(constants[1 + axis], axis, e, v, stress, tangent)
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def skin_batch(
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
    """Foam with fibres at all points of cells[first:last]; constants (k, 4). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = skin_point(strain[c, p], constants[k], stress[c, p], tangent[c, p])
