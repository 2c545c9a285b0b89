"""Logarithmic strain of every quadrature point, and its derivatives in the principal frame of stretch.

E = 1/2 ln(C), C = F^T F (Miehe, Apel & Lambrecht 2002). In the eigenbasis of C the derivatives are divided
differences of f(x) = 1/2 ln(x) (Daleckii & Krein 1965; Higham 2008, Functions of Matrices, ch. 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kyphos.threads import chunks, everybody

Array = NDArray[np.float64]

STANDARD, MEAN_DILATATION, ENHANCED = 0, 1, 2
OK, INVERTED = 0, 1
WILDEST = 1e12  # ratio of squared stretches that no real state reaches
TINY = 1e-300  # instead of a divisor of zero

# contract: fused multiply-add; forceinline: to pass ten arrays on takes as long as most of these functions;
# no nrt: views are not counted as references (a third of the time, more where threads share the counters), so these
# functions cannot allocate: the caller makes their work space
OPTIONS: dict[str, Any] = {
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "forceinline": True,
    "_nrt": False,
}

# row and column of each Voigt component; order xx yy zz xy yz xz
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


# ---- all points of a cell at once: flat arrays, point last; ``points`` as in ``forces.py``


@njit(**OPTIONS)
def _deformation_gradient(points, x, cell, gradient, f, c, weight):
    """f (q, 3, 3) = sum_a x_a (x) grad N_a with ``x`` (n, 3) the *current* positions: rebased cells need no offset.

    Also c (6, q) = F^T F; returns how many det F are positive, the current volume and the stress-free one.
    """
    nq, proper, volume, reference = len(points), 0, 0.0, 0.0
    for q in range(nq):
        f00 = f01 = f02 = f10 = f11 = f12 = f20 = f21 = f22 = 0.0
        for a in range(cell.size):
            x0, x1, x2 = x[cell[a], 0], x[cell[a], 1], x[cell[a], 2]
            g0, g1, g2 = gradient[q, a, 0], gradient[q, a, 1], gradient[q, a, 2]
            f00, f01, f02 = f00 + x0 * g0, f01 + x0 * g1, f02 + x0 * g2
            f10, f11, f12 = f10 + x1 * g0, f11 + x1 * g1, f12 + x1 * g2
            f20, f21, f22 = f20 + x2 * g0, f21 + x2 * g1, f22 + x2 * g2
        f[q, 0, 0], f[q, 0, 1], f[q, 0, 2] = f00, f01, f02
        f[q, 1, 0], f[q, 1, 1], f[q, 1, 2] = f10, f11, f12
        f[q, 2, 0], f[q, 2, 1], f[q, 2, 2] = f20, f21, f22
        c[q] = f00 * f00 + f10 * f10 + f20 * f20
        c[nq + q] = f01 * f01 + f11 * f11 + f21 * f21
        c[2 * nq + q] = f02 * f02 + f12 * f12 + f22 * f22
        c[3 * nq + q] = f00 * f01 + f10 * f11 + f20 * f21
        c[4 * nq + q] = f01 * f02 + f11 * f12 + f21 * f22
        c[5 * nq + q] = f00 * f02 + f10 * f12 + f20 * f22
        jacobian = f00 * (f11 * f22 - f12 * f21) - f01 * (f10 * f22 - f12 * f20) + f02 * (f10 * f21 - f11 * f20)
        proper += jacobian > 0.0
        volume += jacobian * weight[q]
        reference += weight[q]
    return proper, volume, reference


@njit(**OPTIONS)
def _turn(points, c, v, i, j, ij, ki, kj):
    """One Jacobi rotation that makes component ``ij`` of every c (6, q) zero; v (3, 3, q): column, component."""
    nq = len(points)
    for q in range(points[0]):
        off, half = c[ij * nq + q], 0.5 * (c[j * nq + q] - c[i * nq + q])
        root = abs(half) + np.sqrt(half * half + off * off)
        t = (off if half >= 0.0 else -off) / max(root, TINY)  # nothing to turn: 0 / TINY
        cosine = 1.0 / np.sqrt(1.0 + t * t)
        sine = t * cosine
        c[i * nq + q] -= t * off
        c[j * nq + q] += t * off
        c[ij * nq + q] = 0.0
        at_i, at_j = c[ki * nq + q], c[kj * nq + q]
        c[ki * nq + q] = cosine * at_i - sine * at_j
        c[kj * nq + q] = sine * at_i + cosine * at_j
        xi, yi, zi = v[3 * i * nq + q], v[(3 * i + 1) * nq + q], v[(3 * i + 2) * nq + q]
        xj, yj, zj = v[3 * j * nq + q], v[(3 * j + 1) * nq + q], v[(3 * j + 2) * nq + q]
        v[3 * i * nq + q], v[3 * j * nq + q] = cosine * xi - sine * xj, sine * xi + cosine * xj
        v[(3 * i + 1) * nq + q], v[(3 * j + 1) * nq + q] = cosine * yi - sine * yj, sine * yi + cosine * yj
        v[(3 * i + 2) * nq + q], v[(3 * j + 2) * nq + q] = cosine * zi - sine * zj, sine * zi + cosine * zj


@njit(**OPTIONS)
def eigen_points(points, c, v):
    """Make c (6, q) of all points diagonal by cyclic Jacobi rotations, v (3, 3, q) their eigenvectors.

    Flat arrays; v is (number of the eigenvector, component, q). All points turn together until the last is done.
    """
    nq = len(points)
    v[:] = 0.0
    for i in range(3):
        v[4 * i * nq : (4 * i + 1) * nq] = 1.0
    for _sweep in range(30):
        rough = 0
        for q in range(points[0]):
            x, y, z = c[q], c[nq + q], c[2 * nq + q]
            xy, yz, xz = c[3 * nq + q], c[4 * nq + q], c[5 * nq + q]
            rough += xy * xy + yz * yz + xz * xz > 1e-32 * (x * x + y * y + z * z)
        if rough == 0:
            break
        _turn(points, c, v, 0, 1, 3, 5, 4)
        _turn(points, c, v, 0, 2, 5, 3, 4)
        _turn(points, c, v, 1, 2, 4, 3, 5)


@njit(**OPTIONS)
def _log_strain(points, c, v, log, stretch, frame, strain):
    """strain (q, 6), stretch (q, 3) and frame (q, 3, 3) from the eigenvalues and -vectors; False: beyond all sense."""
    nq, sane = len(points), 0
    for q in range(nq):
        smallest = min(c[q], c[nq + q], c[2 * nq + q])
        largest = max(c[q], c[nq + q], c[2 * nq + q])
        sane += smallest > 0.0 and largest < WILDEST * smallest
    if sane < nq:
        return False
    for k in range(3 * nq):
        log[k] = 0.5 * np.log(c[k])
    for r in range(6):
        i, j = ROW_OF[r], COLUMN_OF[r]
        factor = 1.0 if r < 3 else 2.0
        for q in range(points[0]):
            e0, e1, e2 = factor * log[q], factor * log[nq + q], factor * log[2 * nq + q]
            x, y, z = v[i * nq + q], v[(3 + i) * nq + q], v[(6 + i) * nq + q]
            strain[q, r] = e0 * x * v[j * nq + q] + e1 * y * v[(3 + j) * nq + q] + e2 * z * v[(6 + j) * nq + q]
    for q in range(nq):
        for k in range(3):
            stretch[q, k] = c[k * nq + q]
            for i in range(3):
                frame[q, i, k] = v[(3 * k + i) * nq + q]
    return True


@njit(**OPTIONS)
def _assume(modes, filters, amount, strain):
    """strain (q, 6) -= modes (6q, p) filters (p, 6q) strain; amount (p,) is work space."""
    size, n_modes = modes.shape
    for p in range(n_modes):
        s0 = s1 = s2 = s3 = s4 = s5 = 0.0  # six sums do not wait for each other
        for q in range(strain.shape[0]):
            k = 6 * q
            s0 += filters[p, k] * strain[q, 0]
            s1 += filters[p, k + 1] * strain[q, 1]
            s2 += filters[p, k + 2] * strain[q, 2]
            s3 += filters[p, k + 3] * strain[q, 3]
            s4 += filters[p, k + 4] * strain[q, 4]
            s5 += filters[p, k + 5] * strain[q, 5]
        amount[p] = s0 + s1 + s2 + s3 + s4 + s5
    for k in range(size):
        for p in range(n_modes):
            strain[k // 6, k % 6] -= modes[k, p] * amount[p]


@njit(**OPTIONS)
def _small_strain(points, weight, f, frame, strain):
    """strain (q, 6) = sym f - 1, after which f and frame (q, 3, 3) are 1; returns the mean dilatation."""
    total = volume = 0.0
    for q in range(points[0]):
        for v in range(6):
            i, j = ROW_OF[v], COLUMN_OF[v]
            strain[q, v] = f[q, i, i] - 1.0 if v < 3 else f[q, i, j] + f[q, j, i]
        total += weight[q] * (strain[q, 0] + strain[q, 1] + strain[q, 2])
        volume += weight[q]
        for i in range(3):
            for j in range(3):
                f[q, i, j] = frame[q, i, j] = 1.0 if i == j else 0.0
    return total / volume


@njit(nogil=True, **OPTIONS)
def _strain_chunk(points, first, last, x, cells, gradient, weight, bending, work, strain, f, stretch, frame, status):
    """Cells ``first`` to ``last`` of `log_strains`."""
    formulation, enhanced_index, modes, filters, small = bending
    nq = len(points)
    c, v, log, amount = work
    for e in range(first, last):
        proper, volume, reference = _deformation_gradient(points, x, cells[e], gradient[e], f[e], c, weight[e])
        status[e] = INVERTED
        if small:
            dilatation = _small_strain(points, weight[e], f[e], frame[e], strain[e])
        else:
            if proper < nq:
                continue
            eigen_points(points, c, v)
            if not _log_strain(points, c, v, log, stretch[e], frame[e], strain[e]):
                continue
            dilatation = np.log(volume / reference)
        status[e] = OK
        if formulation[e] == MEAN_DILATATION:
            for q in range(nq):
                shift = (dilatation - strain[e, q, 0] - strain[e, q, 1] - strain[e, q, 2]) / 3.0
                for i in range(3):
                    strain[e, q, i] += shift
        elif formulation[e] == ENHANCED:
            k = enhanced_index[e]
            _assume(modes[k], filters[k], amount, strain[e])


def log_strains(
    x: Array,
    cells: NDArray[np.int64],
    gradient: Array,
    weight: Array,
    formulation: NDArray[np.int8],
    enhanced_index: NDArray[np.int64],
    modes: Array,
    filters: Array,
    small: bool = False,
) -> tuple[Array, Array, Array, Array, NDArray[np.int8]]:
    """Logarithmic strain at every quadrature point; where ``small``, the symmetric displacement gradient.

    Small strain is told as such by f = 1: what follows from f, stretch and frame is then linear.

    x (n, 3) current positions mm; cells (m, a); gradient (m, q, a, 3) 1/mm; weight (m, q) mm3;
    formulation (m,); enhanced_index (m,) row of ``modes`` (k, 6q, p) and ``filters`` (k, p, 6q), or -1.
    Returns strain (m, q, 6), f (m, q, 3, 3), stretch (m, q, 3; eigenvalues of C), frame (m, q, 3, 3), status (m,);
    what a cell has is sound where its status is OK.
    """
    m, n_points = weight.shape
    strain, f = np.empty((m, n_points, 6)), np.empty((m, n_points, 3, 3))
    stretch, frame = np.ones((m, n_points, 3)), np.empty((m, n_points, 3, 3))
    status = np.empty(m, dtype=np.int8)
    points, bending = (n_points,) * n_points, (formulation, enhanced_index, modes, filters, small)

    def run(first: int, last: int) -> None:
        work = np.empty(6 * n_points), np.empty(9 * n_points), np.empty(3 * n_points), np.empty(modes.shape[2])
        given = (x, cells, gradient, weight, bending, work)
        _strain_chunk(points, first, last, *given, strain, f, stretch, frame, status)

    everybody().run(chunks(m), run)
    return strain, f, stretch, frame, status
