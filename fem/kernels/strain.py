"""Logarithmic strain of every quadrature point, and its derivatives in the principal frame of stretch.

E = 1/2 ln(C), C = F^T F (Miehe, Apel & Lambrecht 2002). In the eigenbasis of C the derivatives are divided
differences of f(x) = 1/2 ln(x) (Daleckii & Krein 1965; Higham 2008, Functions of Matrices, ch. 3).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .threads import in_chunks

Array = NDArray[np.float64]

STANDARD, MEAN_DILATATION, ENHANCED = 0, 1, 2
OK, INVERTED = 0, 1
WILDEST = 1e12  # ratio of squared stretches that no real state reaches

# Voigt index of the tensor component (i, j), and back; order xx yy zz xy yz xz
VOIGT_OF = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]], dtype=np.int64)
ROW_OF = np.array([0, 1, 2, 0, 1, 0], dtype=np.int64)
COLUMN_OF = np.array([0, 1, 2, 1, 2, 2], dtype=np.int64)


@njit(cache=True)
def eigen_symmetric(a, values, vectors):
    """Eigenvalues (3,) and eigenvectors (3, 3; columns) of the symmetric (3, 3) ``a``, which is destroyed.

    Cyclic Jacobi rotations: accurate to rounding, also for (nearly) equal eigenvalues.
    """
    for i in range(3):
        for j in range(3):
            vectors[i, j] = 1.0 if i == j else 0.0
    for _sweep in range(30):
        off = a[0, 1] ** 2 + a[0, 2] ** 2 + a[1, 2] ** 2
        diagonal = a[0, 0] ** 2 + a[1, 1] ** 2 + a[2, 2] ** 2
        if off <= 1e-32 * diagonal:
            break
        for p in range(2):
            for q in range(p + 1, 3):
                if abs(a[p, q]) <= 1e-100 * (abs(a[p, p]) + abs(a[q, q])):  # tau would overflow
                    continue
                tau = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = (1.0 if tau >= 0.0 else -1.0) / (abs(tau) + np.sqrt(1.0 + tau * tau))
                c = 1.0 / np.sqrt(1.0 + t * t)
                s = t * c
                apq = a[p, q]
                a[p, p] -= t * apq
                a[q, q] += t * apq
                a[p, q] = a[q, p] = 0.0
                r = 3 - p - q
                arp, arq = a[r, p], a[r, q]
                a[r, p] = a[p, r] = c * arp - s * arq
                a[r, q] = a[q, r] = s * arp + c * arq
                for i in range(3):
                    vip, viq = vectors[i, p], vectors[i, q]
                    vectors[i, p] = c * vip - s * viq
                    vectors[i, q] = s * vip + c * viq
    for i in range(3):
        values[i] = a[i, i]


@njit(cache=True, error_model="numpy")
def divided_difference(a, b):
    """First divided difference of 1/2 ln at ``a``, ``b`` > 0; exact to rounding also for a = b.

    1/2 ln(a / b) = artanh(z) with z = (a - b) / (a + b); its series needs no logarithm where a and b are close.
    """
    total = a + b
    z = (a - b) / total
    y = z * z
    if y > 4e-3:
        return 0.5 * np.log(a / b) / (a - b)
    series = 1.0 / 9.0 + y * (1.0 / 11.0 + y * (1.0 / 13.0 + y * (1.0 / 15.0)))
    return (1.0 + y * (1.0 / 3.0 + y * (1.0 / 5.0 + y * (1.0 / 7.0 + y * series)))) / total


@njit(cache=True, error_model="numpy")
def second_difference(a, b, c, ab, bc, ac):
    """Second divided difference of 1/2 ln at ``a``, ``b``, ``c`` > 0 from the first ones ``ab``, ``bc``, ``ac``."""
    if abs(a - b) > max(abs(a - c), abs(b - c)):  # those farthest apart become a and c
        b, c, ab, ac = c, b, ac, ab
    elif abs(b - c) > abs(a - c):
        a, b, bc, ac = b, a, ac, bc
    mean = (a + b + c) / 3.0
    if abs(c - a) > 1e-3 * mean:
        return (bc - ab) / (c - a)
    u, v, w = a - mean, b - mean, c - mean  # Taylor about the mean: h1 = 0
    h2 = u * u + v * v + w * w + u * v + v * w + u * w
    h3 = u * u * u + v * v * v + w * w * w + u * u * (v + w) + v * v * (u + w) + w * w * (u + v) + u * v * w
    r = 1.0 / mean
    return r * r * (-0.25 - r * r * (0.125 * h2 - 0.1 * r * h3))


@njit(cache=True, error_model="numpy")
def second_divided_difference(a, b, c):
    """Second divided difference of 1/2 ln at ``a``, ``b``, ``c`` > 0 (symmetric in its arguments)."""
    ab, bc, ac = divided_difference(a, b), divided_difference(b, c), divided_difference(a, c)
    return second_difference(a, b, c, ab, bc, ac)


@njit(cache=True)
def _deformation_gradient(x, cell, gradient, f):
    """F = sum_a x_a (x) grad N_a with ``x`` (n, 3) the *current* positions: rebased cells need no offset."""
    for i in range(3):
        for j in range(3):
            total = 0.0
            for a in range(cell.size):
                total += x[cell[a], i] * gradient[a, j]
            f[i, j] = total


@njit(cache=True)
def determinant(f):
    """Determinant of a (3, 3) array."""
    return (
        f[0, 0] * (f[1, 1] * f[2, 2] - f[1, 2] * f[2, 1])
        - f[0, 1] * (f[1, 0] * f[2, 2] - f[1, 2] * f[2, 0])
        + f[0, 2] * (f[1, 0] * f[2, 1] - f[1, 1] * f[2, 0])
    )


@njit(cache=True)
def _cell_strain(x, cell, gradient, weight, f, stretch, frame, strain):
    """Compatible log strain at the points of one cell; returns (status, ln(v / V))."""
    c = np.empty((3, 3))
    volume, reference = 0.0, 0.0
    for q in range(weight.size):
        _deformation_gradient(x, cell, gradient[q], f[q])
        jacobian = determinant(f[q])
        if not jacobian > 0.0:
            return INVERTED, 0.0
        volume += jacobian * weight[q]
        reference += weight[q]
        for i in range(3):
            for j in range(3):
                c[i, j] = f[q, 0, i] * f[q, 0, j] + f[q, 1, i] * f[q, 1, j] + f[q, 2, i] * f[q, 2, j]
        eigen_symmetric(c, stretch[q], frame[q])
        smallest = min(stretch[q, 0], stretch[q, 1], stretch[q, 2])
        largest = max(stretch[q, 0], stretch[q, 1], stretch[q, 2])
        if not (smallest > 0.0 and largest < WILDEST * smallest):
            return INVERTED, 0.0
        e0, e1, e2 = 0.5 * np.log(stretch[q, 0]), 0.5 * np.log(stretch[q, 1]), 0.5 * np.log(stretch[q, 2])
        for v in range(6):
            i, j = ROW_OF[v], COLUMN_OF[v]
            factor = 1.0 if v < 3 else 2.0
            strain[q, v] = factor * (
                e0 * frame[q, i, 0] * frame[q, j, 0]
                + e1 * frame[q, i, 1] * frame[q, j, 1]
                + e2 * frame[q, i, 2] * frame[q, j, 2]
            )
    return OK, np.log(volume / reference)


@njit(cache=True)
def _assume(modes, filters, strain):
    """strain (q, 6) -= modes (6q, p) filters (p, 6q) strain."""
    size, n_modes = modes.shape
    amount = np.zeros(n_modes)
    for p in range(n_modes):
        for k in range(size):
            amount[p] += filters[p, k] * strain[k // 6, k % 6]
    for k in range(size):
        for p in range(n_modes):
            strain[k // 6, k % 6] -= modes[k, p] * amount[p]


@njit(cache=True, nogil=True)
def _strain_chunk(
    first,
    last,
    x,
    cells,
    gradient,
    weight,
    formulation,
    enhanced_index,
    modes,
    filters,
    strain,
    f,
    stretch,
    frame,
    status,
):
    """Cells ``first`` to ``last`` of `log_strains`."""
    n_points = weight.shape[1]
    for e in range(first, last):
        code, log_ratio = _cell_strain(x, cells[e], gradient[e], weight[e], f[e], stretch[e], frame[e], strain[e])
        status[e] = code
        if code != OK:
            continue
        if formulation[e] == MEAN_DILATATION:
            for q in range(n_points):
                shift = (log_ratio - strain[e, q, 0] - strain[e, q, 1] - strain[e, q, 2]) / 3.0
                for v in range(3):
                    strain[e, q, v] += shift
        elif formulation[e] == ENHANCED:
            k = enhanced_index[e]
            _assume(modes[k], filters[k], strain[e])


def log_strains(
    x: Array,
    cells: NDArray[np.int64],
    gradient: Array,
    weight: Array,
    formulation: NDArray[np.int8],
    enhanced_index: NDArray[np.int64],
    modes: Array,
    filters: Array,
) -> tuple[Array, Array, Array, Array, NDArray[np.int8]]:
    """Logarithmic strain at every quadrature point.

    x (n, 3) current positions mm; cells (m, a); gradient (m, q, a, 3) 1/mm; weight (m, q) mm3;
    formulation (m,); enhanced_index (m,) row of ``modes`` (k, 6q, p) and ``filters`` (k, p, 6q), or -1.
    Returns strain (m, q, 6), f (m, q, 3, 3), stretch (m, q, 3; eigenvalues of C), frame (m, q, 3, 3), status (m,).
    """
    m, n_points = weight.shape
    strain, f = np.zeros((m, n_points, 6)), np.zeros((m, n_points, 3, 3))
    stretch, frame = np.ones((m, n_points, 3)), np.zeros((m, n_points, 3, 3))
    status = np.zeros(m, dtype=np.int8)
    given = (x, cells, gradient, weight, formulation, enhanced_index, modes, filters)

    def run(first: int, last: int) -> None:
        _strain_chunk(first, last, *given, strain, f, stretch, frame, status)

    in_chunks(m, run)
    return strain, f, stretch, frame, status
