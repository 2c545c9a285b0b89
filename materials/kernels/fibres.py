"""Ground substance or foam with families of fibres that bear tension only, as a function of log strain.

A family has the structure tensor A = kappa 1 + (1 - 3 kappa) a a, a its direction at rest, and the energy W(I) of
I = A : C, C = exp(2 E): the fibre's squared stretch where it has no dispersion (kappa = 0). In the eigenbasis of E,

    dI/dE_ij = A_ij f[e_i, e_j],   d2I/dE2 (H, H) = 2 sum_ijk f[e_i, e_j, e_k] A_ik H_ij H_jk,

f[..] being the divided differences of f(x) = exp(2 x) (Daleckii & Krein 1965; Higham 2008, Functions of Matrices,
ch. 3).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .hyperelastic import foam_point, mooney_rivlin_spectral, sinhc
from .spectral import dyad, principal
from .tensors import NO_ROOT, NOT_FINITE, OK, all_finite, fail, load_vector

LINEAR, EXPONENTIAL = 0.0, 1.0
_LARGEST = 50.0  # exponent of a fibre's energy beyond which no real state lies


@njit(cache=True, error_model="numpy")
def second_difference(x: float, y: float, z: float) -> float:
    """Second divided difference of exp(2 x) at three points, symmetric in them, exact to rounding also where equal."""
    low, high = min(x, y, z), max(x, y, z)
    middle = x + y + z - low - high
    if high - low > 5e-3:
        above = 2.0 * np.exp(high + middle) * sinhc(high - middle)
        below = 2.0 * np.exp(middle + low) * sinhc(middle - low)
        return float((above - below) / (high - low))
    mean = (x + y + z) / 3.0
    u, v, w = 2.0 * (x - mean), 2.0 * (y - mean), 2.0 * (z - mean)  # Taylor about the mean: u + v + w = 0
    h2, h3 = -(u * v + v * w + w * u), u * v * w
    return float(4.0 * np.exp(2.0 * mean) * (0.5 + h2 / 24.0 + h3 / 120.0 + h2 * h2 / 720.0))


@njit(cache=True, error_model="numpy")
def linear_fibre(square: float, modulus: float, toe: float) -> tuple[float, float]:
    """dW/dI and d2W/dI2 of a fibre of squared stretch I = ``square``: nominal stress linear beyond the ``toe`` strain.

    In the toe it grows with the square of the strain, so that it has no corner; ``modulus`` holds the volume fraction.
    """
    stretch = np.sqrt(square)
    strain = stretch - 1.0
    if strain <= 0.0:
        return 0.0, 0.0
    if strain < toe:
        force, slope = 0.5 * modulus * strain * strain / toe, modulus * strain / toe
    else:
        force, slope = modulus * (strain - 0.5 * toe), modulus
    return 0.5 * force / stretch, 0.25 * (slope - force / stretch) / square


@njit(cache=True, error_model="numpy")
def exponential_fibre(square: float, k1: float, k2: float) -> tuple[float, float]:
    """dW/dI and d2W/dI2 of W = k1/(2 k2) (exp(k2 <I - 1>^2) - 1)."""
    over = square - 1.0
    if over <= 0.0:
        return 0.0, 0.0
    growth = np.exp(k2 * over * over)
    return k1 * over * growth, k1 * (1.0 + 2.0 * k2 * over * over) * growth


@njit(cache=True, error_model="numpy")
def _family(
    e: np.ndarray,
    v: np.ndarray,
    direction: np.ndarray,
    values: tuple[float, float, float, float],
    gradient: np.ndarray,
    curvature: np.ndarray,
    pull: np.ndarray,
) -> bool:
    """Add one family's dW/dE (6,) and d2W/dE2 (6, 6), in the eigenbasis; False where the energy is out of bounds.

    values: kind, modulus or k1, toe or k2, kappa. The rest as in `_add`.
    """
    kind, first, second, kappa = values
    structure = np.zeros((3, 3))
    for i in range(3):
        along = v[0, i] * direction[0] + v[1, i] * direction[1] + v[2, i] * direction[2]
        for j in range(3):
            across = v[0, j] * direction[0] + v[1, j] * direction[1] + v[2, j] * direction[2]
            structure[i, j] = (1.0 - 3.0 * kappa) * along * across
        structure[i, i] += kappa
    square = _square(e, structure)
    if square <= 1.0:
        return True
    if kind == LINEAR:
        slope, bend = linear_fibre(square, first, second)
    else:
        if second * (square - 1.0) ** 2 > _LARGEST:
            return False
        slope, bend = exponential_fibre(square, first, second)
    _add(e, structure, slope, bend, gradient, curvature, pull)
    return True


@njit(cache=True, error_model="numpy")
def _square(e: np.ndarray, structure: np.ndarray) -> float:
    """I = A : C of a family with the structure tensor A (3, 3) in the eigenbasis."""
    return float(
        structure[0, 0] * np.exp(2.0 * e[0])
        + structure[1, 1] * np.exp(2.0 * e[1])
        + structure[2, 2] * np.exp(2.0 * e[2])
    )


@njit(cache=True, error_model="numpy")
def _add(
    e: np.ndarray,
    structure: np.ndarray,
    slope: float,
    bend: float,
    gradient: np.ndarray,
    curvature: np.ndarray,
    pull: np.ndarray,
) -> None:
    """Add dW/dE (6,), the part of d2W/dE2 (6, 6) that is due to d2W/dI2 = ``bend``, and dW/dI A (3, 3), ``slope`` A.

    All in the eigenbasis. Components 11 22 33 12 23 13; those of the strain are single.
    """
    own = np.empty(6)
    for i in range(3):
        j = (i + 1) % 3
        own[i] = 2.0 * np.exp(2.0 * e[i]) * structure[i, i]
        own[3 + i] = 4.0 * np.exp(e[i] + e[j]) * sinhc(e[i] - e[j]) * structure[i, j]  # twice: ij and ji
    for p in range(6):
        gradient[p] += slope * own[p]
        for q in range(6):
            curvature[p, q] += bend * own[p] * own[q]
    pull += slope * structure


@njit(cache=True, error_model="numpy")
def _place(i: int, j: int) -> int:
    """Place of the pair (i, j) among 11 22 33 12 23 13."""
    if i == j:
        return i
    return 3 if i + j == 1 else 7 - (i + j)  # 12, 23, 13


@njit(cache=True, error_model="numpy")
def _add_curvature(e: np.ndarray, pull: np.ndarray, curvature: np.ndarray) -> None:
    """Add dW/dI d2I/dE2 of all families to ``curvature`` (6, 6); ``pull`` (3, 3) is the sum of dW/dI A."""
    for i in range(3):
        for k in range(i + 1):
            twice = 1.0 if i == k else 2.0  # ik and ki are alike
            for j in range(3):
                value = twice * second_difference(e[i], e[j], e[k]) * pull[i, k]
                curvature[_place(i, j), _place(j, k)] += value
                curvature[_place(j, k), _place(i, j)] += value


@njit(cache=True, error_model="numpy")
def _turn(v: np.ndarray, gradient: np.ndarray, curvature: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> None:
    """Add what is told in the eigenbasis to stress (6,) and tangent (6, 6)."""
    basis, half = np.empty((6, 6)), np.empty((6, 6))
    for i in range(3):
        dyad(v, i, i, basis[i])
        dyad(v, i, (i + 1) % 3, basis[3 + i])
        for k in range(6):
            basis[3 + i, k] *= 0.5
    for p in range(6):
        for k in range(6):
            stress[k] += gradient[p] * basis[p, k]
            half[p, k] = 0.0
            for q in range(6):
                half[p, k] += curvature[p, q] * basis[q, k]
    for p in range(6):
        for k in range(6):
            for m in range(6):
                tangent[k, m] += basis[p, k] * half[p, m]


@njit(cache=True, error_model="numpy")
def fibred_point(strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> int:
    """Mooney-Rivlin ground with two families of fibres at one point.

    constants (13,): C10, C01, K; kind, modulus or k1, toe or k2, kappa; directions a and b.
    """
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    e, v = np.empty(3), np.empty((3, 3))
    principal(strain, e, v)
    bulk = constants[2]
    mooney_rivlin_spectral(e, v, (constants[0], constants[1], bulk * (e[0] + e[1] + e[2]), bulk), stress, tangent)
    values = (constants[3], constants[4], constants[5], constants[6])
    gradient, curvature, pull = np.zeros(6), np.zeros((6, 6)), np.zeros((3, 3))
    for family in range(2):
        direction = constants[7 + 3 * family : 10 + 3 * family]
        if not _family(e, v, direction, values, gradient, curvature, pull):
            return int(fail(NO_ROOT, stress, tangent))
    _add_curvature(e, pull, curvature)
    _turn(v, gradient, curvature, stress, tangent)
    return OK


@njit(cache=True, error_model="numpy")
def skin_point(strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> int:
    """Foam and tension-only fibres along x, y, z at one point. constants: mu, then the fibres' k_x, k_y, k_z in MPa.

    W = foam + sum of k_a/6 <C_aa - 1>^3, convex in F as C_aa = |F a|^2 is.
    """
    status = foam_point(strain, constants, stress, tangent)
    if status != OK:
        return int(status)
    e, v, structure = np.empty(3), np.empty((3, 3)), np.empty((3, 3))
    principal(strain, e, v)
    gradient, curvature, pull = np.zeros(6), np.zeros((6, 6)), np.zeros((3, 3))
    for axis in range(3):
        for i in range(3):
            for j in range(3):
                structure[i, j] = v[axis, i] * v[axis, j]
        longer, stiffness = _square(e, structure) - 1.0, constants[1 + axis]
        if longer > 0.0 and stiffness > 0.0:
            _add(e, structure, 0.5 * stiffness * longer * longer, stiffness * longer, gradient, curvature, pull)
    if pull.any():
        _add_curvature(e, pull, curvature)
        _turn(v, gradient, curvature, stress, tangent)
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def fibred_batch(
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
    """Fibred ground at all points of cells[first:last]; constants (k, 13). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = fibred_point(strain[c, p], constants[k], stress[c, p], tangent[c, p])


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
