"""Ground substance or foam with families of fibres that bear tension only, as a function of log strain.

A family has the structure tensor A = kappa 1 + (1 - 3 kappa) a a, a its direction at rest, and the energy W(I) of
I = A : C, C = exp(2 E): the fibre's squared stretch where it has no dispersion (kappa = 0). In the eigenbasis of E,

    dI/dE_ij = A_ij f[e_i, e_j],   d2I/dE2 (H, H) = 2 sum_ijk f[e_i, e_j, e_k] A_ik H_ij H_jk,

f[..] being the divided differences of f(x) = exp(2 x) (Daleckii & Krein 1965; Higham 2008, Functions of Matrices,
ch. 3).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .hyperelastic import foam_point, mooney_rivlin_spectral, sinhc
from .spectral import Work, dyad, new_work, principal
from .tensors import NO_ROOT, NOT_FINITE, OK, OPTIONS, all_finite, fail, load_vector

LINEAR, EXPONENTIAL = 0.0, 1.0
_LARGEST = 50.0  # exponent of a fibre's energy beyond which no real state lies


class Fibres(NamedTuple):
    """Work space of the families; what is told of the strain is told in its eigenbasis.

    Components 11 22 33 12 23 13; those of the strain are single.
    """

    structure: np.ndarray  # (3, 3) structure tensor A of a family
    own: np.ndarray  # (6,) dI/dE
    gradient: np.ndarray  # (6,) dW/dE of all families
    curvature: np.ndarray  # (6, 6) d2W/dE2
    pull: np.ndarray  # (3, 3) sum of dW/dI A
    first: np.ndarray  # (3, 3) `first_differences`
    basis: np.ndarray  # (6, 6) from the eigenbasis
    half: np.ndarray  # (6, 6)


@njit(cache=True, error_model="numpy")
def _new_fibres() -> Fibres:
    return Fibres(
        np.empty((3, 3)), np.empty(6), np.empty(6), np.empty((6, 6)), np.empty((3, 3)), np.empty((3, 3)),
        np.empty((6, 6)), np.empty((6, 6)),
    )  # fmt: skip


@njit(**OPTIONS)
def _begin(e: np.ndarray, fibres: Fibres) -> None:
    """No family yet, at the principal log strains ``e`` (3,)."""
    first_differences(e, fibres.first)
    fibres.gradient[:] = 0.0
    fibres.curvature[:, :] = 0.0
    fibres.pull[:, :] = 0.0


@njit(**OPTIONS)
def first_differences(e: np.ndarray, out: np.ndarray) -> None:
    """Divided differences (3, 3) of exp(2 x) at pairs of ``e`` (3,)."""
    for i in range(3):
        for j in range(i + 1):
            out[i, j] = out[j, i] = 2.0 * np.exp(e[i] + e[j]) * sinhc(e[i] - e[j])


@njit(**OPTIONS)
def second_difference(e: np.ndarray, first: np.ndarray, i: int, j: int, k: int) -> float:
    """Second divided difference of exp(2 x) at ``e[i]``, ``e[j]``, ``e[k]``, exact to rounding also where equal.

    ``first`` (3, 3) holds the first ones.
    """
    if abs(e[i] - e[j]) > max(abs(e[i] - e[k]), abs(e[j] - e[k])):  # those farthest apart become i and k
        j, k = k, j
    elif abs(e[j] - e[k]) > abs(e[i] - e[k]):
        i, j = j, i
    if abs(e[i] - e[k]) > 5e-3:
        return float((first[i, j] - first[j, k]) / (e[i] - e[k]))
    mean = (e[i] + e[j] + e[k]) / 3.0
    u, v, w = 2.0 * (e[i] - mean), 2.0 * (e[j] - mean), 2.0 * (e[k] - mean)  # Taylor about the mean: u + v + w = 0
    h2, h3 = -(u * v + v * w + w * u), u * v * w
    return float(4.0 * np.exp(2.0 * mean) * (0.5 + h2 / 24.0 + h3 / 120.0 + h2 * h2 / 720.0))


@njit(**OPTIONS)
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


@njit(**OPTIONS)
def exponential_fibre(square: float, k1: float, k2: float) -> tuple[float, float]:
    """dW/dI and d2W/dI2 of W = k1/(2 k2) (exp(k2 <I - 1>^2) - 1)."""
    over = square - 1.0
    if over <= 0.0:
        return 0.0, 0.0
    growth = np.exp(k2 * over * over)
    return k1 * over * growth, k1 * (1.0 + 2.0 * k2 * over * over) * growth


@njit(**OPTIONS)
def _family(
    v: np.ndarray,
    direction: tuple[float, float, float],
    values: tuple[float, float, float, float],
    fibres: Fibres,
) -> bool:
    """Add one family; False where the energy is out of bounds. values: kind, modulus or k1, toe or k2, kappa."""
    kind, first, second, kappa = values
    structure = fibres.structure
    for i in range(3):
        along = v[0, i] * direction[0] + v[1, i] * direction[1] + v[2, i] * direction[2]
        for j in range(3):
            across = v[0, j] * direction[0] + v[1, j] * direction[1] + v[2, j] * direction[2]
            structure[i, j] = (1.0 - 3.0 * kappa) * along * across
        structure[i, i] += kappa
    square = _square(fibres)
    if square <= 1.0:
        return True
    if kind == LINEAR:
        slope, bend = linear_fibre(square, first, second)
    else:
        if second * (square - 1.0) ** 2 > _LARGEST:
            return False
        slope, bend = exponential_fibre(square, first, second)
    _add(slope, bend, fibres)
    return True


@njit(**OPTIONS)
def _square(fibres: Fibres) -> float:
    """I = A : C of a family."""
    structure, first = fibres.structure, fibres.first
    return float(0.5 * (structure[0, 0] * first[0, 0] + structure[1, 1] * first[1, 1] + structure[2, 2] * first[2, 2]))


@njit(**OPTIONS)
def _add(slope: float, bend: float, fibres: Fibres) -> None:
    """Add dW/dE, the part of d2W/dE2 that is due to d2W/dI2 = ``bend``, and dW/dI A, ``slope`` A, of a family."""
    structure, own = fibres.structure, fibres.own
    for i in range(3):
        j = (i + 1) % 3
        own[i] = fibres.first[i, i] * structure[i, i]
        own[3 + i] = 2.0 * fibres.first[i, j] * structure[i, j]  # twice: ij and ji
    for p in range(6):
        fibres.gradient[p] += slope * own[p]
        for q in range(6):
            fibres.curvature[p, q] += bend * own[p] * own[q]
    for i in range(3):
        for j in range(3):
            fibres.pull[i, j] += slope * structure[i, j]


@njit(**OPTIONS)
def _place(i: int, j: int) -> int:
    """Place of the pair (i, j) among 11 22 33 12 23 13."""
    if i == j:
        return i
    return 3 if i + j == 1 else 7 - (i + j)  # 12, 23, 13


@njit(**OPTIONS)
def _add_curvature(e: np.ndarray, fibres: Fibres) -> None:
    """Add dW/dI d2I/dE2 of all families to their curvature."""
    pull, curvature = fibres.pull, fibres.curvature
    for i in range(3):
        for k in range(i + 1):
            twice = 1.0 if i == k else 2.0  # ik and ki are alike
            for j in range(3):
                value = twice * second_difference(e, fibres.first, i, j, k) * pull[i, k]
                curvature[_place(i, j), _place(j, k)] += value
                curvature[_place(j, k), _place(i, j)] += value


@njit(**OPTIONS)
def _turn(v: np.ndarray, fibres: Fibres, stress: np.ndarray, tangent: np.ndarray) -> None:
    """Add what is told in the eigenbasis to stress (6,) and tangent (6, 6)."""
    gradient, curvature, basis, half = fibres.gradient, fibres.curvature, fibres.basis, fibres.half
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


@njit(**OPTIONS)
def fibred_point(
    work: Work, fibres: Fibres, strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray
) -> int:
    """Mooney-Rivlin ground with two families of fibres at one point.

    constants (13,): C10, C01, K; kind, modulus or k1, toe or k2, kappa; directions a and b.
    """
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    e, v, bulk = work.e, work.v, constants[2]
    principal(strain, work.matrix, e, v)
    mooney_rivlin_spectral(work, (constants[0], constants[1], bulk * (e[0] + e[1] + e[2]), bulk), stress, tangent)
    values = (constants[3], constants[4], constants[5], constants[6])
    _begin(e, fibres)
    for family in range(7, 13, 3):
        direction = (constants[family], constants[family + 1], constants[family + 2])
        if not _family(v, direction, values, fibres):
            return int(fail(NO_ROOT, stress, tangent))
    _add_curvature(e, fibres)
    _turn(v, fibres, stress, tangent)
    return OK


@njit(**OPTIONS)
def skin_point(
    work: Work, fibres: Fibres, strain: np.ndarray, constants: np.ndarray, stress: np.ndarray, tangent: np.ndarray
) -> int:
    """Foam and tension-only fibres along x, y, z at one point. constants: mu, then the fibres' k_x, k_y, k_z in MPa.

    W = foam + sum of k_a/6 <C_aa - 1>^3, convex in F as C_aa = |F a|^2 is.
    """
    status = foam_point(work, strain, constants, stress, tangent)
    if status != OK:
        return int(status)
    e, v, structure, taut = work.e, work.v, fibres.structure, False
    _begin(e, fibres)
    for axis in range(3):
        for i in range(3):
            for j in range(3):
                structure[i, j] = v[axis, i] * v[axis, j]
        longer, stiffness = _square(fibres) - 1.0, constants[1 + axis]
        if longer > 0.0 and stiffness > 0.0:
            _add(0.5 * stiffness * longer * longer, stiffness * longer, fibres)
            taut = True
    if taut:
        _add_curvature(e, fibres)
        _turn(v, fibres, stress, tangent)
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
    work, fibres = new_work(), _new_fibres()
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = fibred_point(work, fibres, strain[c, p], constants[k], stress[c, p], tangent[c, p])


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
    work, fibres = new_work(), _new_fibres()
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = skin_point(work, fibres, strain[c, p], constants[k], stress[c, p], tangent[c, p])
