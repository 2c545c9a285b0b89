"""Element forces and stiffness from stress and tangent, consistent with the logarithmic strain.

All work is done in the eigenbasis of C, where the derivative of E is diagonal (see ``strain.py``). Mean
dilatation: Simo, Taylor & Pister 1985, written for log strain (E = dev E + 1/3 ln(v/V) 1). Enhanced strain: the
enhanced modes are filtered out of the log strain (see ``discretisation.py``), so a cell has no unknowns of its own.

With G = F Q (Q the eigenvectors of C) and the gradients h_a = Q^T grad N_a of the nodes a, each point adds

    force_ai = sum_I P_iI h_aI,   stiffness_ai,bj = sum_IJ h_aI A_iI,jJ h_bJ,

where P is the first Piola-Kirchhoff stress (times Q and the weight), A = dP/dG its moduli.

Written so that the compiler turns the inner loops into vector instructions, first over all points of a cell (index q
last), then over its nodes (index a last). It does so where scratch arrays are flat with strides it knows, and loops
have a length it does not know: short loops of known length it unrolls, and then gives up because arrays may overlap.
So ``points`` is the tuple (q, .., q) of q entries, whose length is the stride and whose entries are the loop's length;
``nodes`` likewise; the number of points is even. Rows and columns of a cell are (component, node), those of what is
returned (node, component).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kyphos.threads import Slabs, everybody

from .strain import COLUMN_OF, ENHANCED, MEAN_DILATATION, OPTIONS, ROW_OF, divided_difference, second_difference

Array = NDArray[np.float64]


class Scratch(NamedTuple):
    """Work space, flat arrays: q points, a nodes, p enhanced modes (a multiple of 6)."""

    g: Array  # (3, 3, q) F Q
    h: Array  # (q, 3, a) rotated gradients
    cofactor: Array  # (3, 3, q) of G, weighted
    stress: Array  # (6, q) weighted, conjugate to log strain
    scale: Array  # (6, q) derivative of log strain by Green-Lagrange strain, eigenbasis
    rotation: Array  # (6, 6, q) the same from the eigenbasis to global axes
    y: Array  # (6, q) second Piola-Kirchhoff stress, weighted, eigenbasis
    d: Array  # (6, 6, q) tangent, weighted
    dr: Array  # (6, 6, q) d rotation
    c: Array  # (6, 6, q) second derivative of the energy by Green-Lagrange strain, eigenbasis
    left: Array  # (6, q) mean dilatation: (I d) / 3 and
    right: Array  # (6, q) (d I) / 3
    piola: Array  # (3, 3, q) P
    cm: Array  # (6, 3, 3, q) change of c : Green-Lagrange strain with G
    moduli: Array  # (3, 3, 3, 3, q) A
    slope: Array  # (3, a) dv/du
    force: Array  # (3, a)
    row: Array  # (3, a) left, as nodal forces
    column: Array  # (3, a) right, as nodal forces
    traction: Array  # (3, q, 3; 3, a) A h
    stiffness: Array  # (3, a; 3, a)
    filtered: Array  # (p,)
    assumed: Array  # (q, 6; 3, a) change of the assumed strain
    assumed_stress: Array  # (q, 6; 3, a) of the stress with it
    amount: Array  # (p; 3, a) of the filtered modes
    modes: Array  # (6q, p) padded by zeros


def _scratch(q: int, a: int, p: int) -> Scratch:
    n, e = 3 * a, np.empty
    geometry = e(9 * q), e(3 * q * a), e(9 * q)
    stress = e(6 * q), e(6 * q), e(36 * q), e(6 * q)
    tangent = e(36 * q), e(36 * q), e(36 * q), e(6 * q), e(6 * q)
    moduli = e(9 * q), e(54 * q), e(81 * q)
    nodal = e(n), e(n), e(n), e(n), e(9 * q * n), e(n * n)
    padded = 6 * ((p + 5) // 6)
    assumed = e(p), e(6 * q * n), e(6 * q * n), e(padded * n), np.zeros((6 * q, padded))
    return Scratch(*geometry, *stress, *tangent, *moduli, *nodal, *assumed)


# ---- all points of a cell at once


@njit(**OPTIONS)
def _geometry(points, weight, f, frame, g, cofactor):
    """g, cofactor (3, 3, q; weighted); returns the current volume."""
    nq = len(points)
    for q in range(points[0]):
        for i in range(3):
            for j in range(3):
                g[(3 * i + j) * nq + q] = (
                    f[q, i, 0] * frame[q, 0, j] + f[q, i, 1] * frame[q, 1, j] + f[q, i, 2] * frame[q, 2, j]
                )
    for i in range(3):
        m, n = 3 * ((i + 1) % 3), 3 * ((i + 2) % 3)
        for q in range(points[0]):
            m0, m1, m2 = g[m * nq + q], g[(m + 1) * nq + q], g[(m + 2) * nq + q]
            n0, n1, n2 = g[n * nq + q], g[(n + 1) * nq + q], g[(n + 2) * nq + q]
            cofactor[3 * i * nq + q] = weight[q] * (m1 * n2 - m2 * n1)
            cofactor[(3 * i + 1) * nq + q] = weight[q] * (m2 * n0 - m0 * n2)
            cofactor[(3 * i + 2) * nq + q] = weight[q] * (m0 * n1 - m1 * n0)
    volume = 0.0
    for q in range(points[0]):
        volume += g[q] * cofactor[q] + g[nq + q] * cofactor[nq + q] + g[2 * nq + q] * cofactor[2 * nq + q]
    return volume


@njit(**OPTIONS)
def _rotation(points, frame, stretch, scale, rotation):
    """scale (6, q): derivative of log strain by Green-Lagrange strain; rotation (6, 6, q): then to global axes."""
    nq = len(points)
    for q in range(points[0]):
        x, y, z = stretch[q, 0], stretch[q, 1], stretch[q, 2]
        scale[q], scale[nq + q], scale[2 * nq + q] = 1.0 / x, 1.0 / y, 1.0 / z
        scale[3 * nq + q] = 2.0 * divided_difference(x, y)
        scale[4 * nq + q] = 2.0 * divided_difference(y, z)
        scale[5 * nq + q] = 2.0 * divided_difference(x, z)
    for v in range(6):
        i, j = ROW_OF[v], COLUMN_OF[v]
        half = 0.5 if v < 3 else 1.0  # engineering shear
        r = 6 * v * nq
        for q in range(points[0]):
            a0, a1, a2 = frame[q, i, 0], frame[q, i, 1], frame[q, i, 2]
            b0, b1, b2 = half * frame[q, j, 0], half * frame[q, j, 1], half * frame[q, j, 2]
            rotation[r + q] = 2.0 * a0 * b0 * scale[q]
            rotation[r + nq + q] = 2.0 * a1 * b1 * scale[nq + q]
            rotation[r + 2 * nq + q] = 2.0 * a2 * b2 * scale[2 * nq + q]
            rotation[r + 3 * nq + q] = (a0 * b1 + a1 * b0) * scale[3 * nq + q]
            rotation[r + 4 * nq + q] = (a1 * b2 + a2 * b1) * scale[4 * nq + q]
            rotation[r + 5 * nq + q] = (a0 * b2 + a2 * b0) * scale[5 * nq + q]


@njit(**OPTIONS)
def _rotate_stress(points, rotation, stress, y):
    """y (6, q) = rotation^T stress."""
    nq = len(points)
    for q in range(points[0]):
        for v in range(6):
            total = 0.0
            for u in range(6):
                total += rotation[(6 * u + v) * nq + q] * stress[u * nq + q]
            y[v * nq + q] = total


@njit(**OPTIONS)
def _rotate_tangent(points, rotation, d, dr, c):
    """c (6, 6, q) = rotation^T d rotation."""
    nq = len(points)
    for v in range(6):
        for q in range(points[0]):
            for w in range(6):
                total = 0.0
                for k in range(6):
                    total += d[(6 * v + k) * nq + q] * rotation[(6 * k + w) * nq + q]
                dr[(6 * v + w) * nq + q] = total
    for v in range(6):
        for q in range(points[0]):
            for w in range(6):
                total = 0.0
                for k in range(6):
                    total += rotation[(6 * k + v) * nq + q] * dr[(6 * k + w) * nq + q]
                c[(6 * v + w) * nq + q] = total


@njit(**OPTIONS)
def _add_curvature(points, stretch, scale, y, c):
    """c (6, 6, q) += s : d2E/dE_GL2 in the eigenbasis (engineering convention on both sides); s = y / scale.

    With f the second divided differences of 1/2 ln at the eigenvalues ``stretch`` (q, 3) it is the sum over i, j, k
    of 4 s_ij f_ikj at the components ik and kj, written out.
    """
    nq = len(points)
    for k in range(3):
        for q in range(points[0]):
            c[7 * k * nq + q] -= 2.0 * y[k * nq + q] / stretch[q, k]
    for turn in range(3):
        i, j, k = turn, (turn + 1) % 3, (turn + 2) % 3
        ij, jk, ki = 3 + i, 3 + j, 3 + k  # 01, 12, 20
        for q in range(points[0]):
            xi, xj, xk = stretch[q, i], stretch[q, j], stretch[q, k]
            ei, ej = 0.5 * scale[i * nq + q], 0.5 * scale[j * nq + q]
            eij, ejk, eki = 0.5 * scale[ij * nq + q], 0.5 * scale[jk * nq + q], 0.5 * scale[ki * nq + q]
            fi = 2.0 * second_difference(xi, xi, xj, ei, eij, eij)
            fj = 2.0 * second_difference(xj, xj, xi, ej, eij, eij)
            f = 2.0 * second_difference(xi, xj, xk, eij, ejk, eki)
            s = y[ij * nq + q] / scale[ij * nq + q]
            c[7 * ij * nq + q] += y[i * nq + q] * xi * fi + y[j * nq + q] * xj * fj
            c[(6 * i + ij) * nq + q] += 2.0 * s * fi
            c[(6 * ij + i) * nq + q] += 2.0 * s * fi
            c[(6 * j + ij) * nq + q] += 2.0 * s * fj
            c[(6 * ij + j) * nq + q] += 2.0 * s * fj
            c[(6 * jk + ki) * nq + q] += s * f
            c[(6 * ki + jk) * nq + q] += s * f


@njit(**OPTIONS)
def _deviatoric(points, d, left, right):
    """Project d (6, 6, q) on deviatoric strain from both sides; returns the sum of I d I / 9 of the original.

    right = (d I) / 3 and left = (I d) / 3 are projected too, so that they pair with deviatoric strain.
    """
    nq, total = len(points), 0.0
    for v in range(6):
        r = 6 * v * nq
        for q in range(points[0]):
            right[v * nq + q] = (d[r + q] + d[r + nq + q] + d[r + 2 * nq + q]) / 3.0
            left[v * nq + q] = (d[v * nq + q] + d[(6 + v) * nq + q] + d[(12 + v) * nq + q]) / 3.0
    for q in range(points[0]):
        both = (right[q] + right[nq + q] + right[2 * nq + q]) / 3.0
        total += both
        for v in range(3):
            right[v * nq + q] -= both
            left[v * nq + q] -= both
        for v in range(3):
            for w in range(3):
                d[(6 * v + w) * nq + q] -= both
            for w in range(6):
                d[(6 * v + w) * nq + q] -= left[w * nq + q]
                d[(6 * w + v) * nq + q] -= right[w * nq + q]
    return total


@njit(**OPTIONS)
def _piola(points, g, y, piola):
    """piola (3, 3, q) = G y, with y (6, q) symmetric."""
    nq = len(points)
    for i in range(3):
        for q in range(points[0]):
            g0, g1, g2 = g[3 * i * nq + q], g[(3 * i + 1) * nq + q], g[(3 * i + 2) * nq + q]
            y3, y4, y5 = y[3 * nq + q], y[4 * nq + q], y[5 * nq + q]
            piola[3 * i * nq + q] = g0 * y[q] + g1 * y3 + g2 * y5
            piola[(3 * i + 1) * nq + q] = g0 * y3 + g1 * y[nq + q] + g2 * y4
            piola[(3 * i + 2) * nq + q] = g0 * y5 + g1 * y4 + g2 * y[2 * nq + q]


@njit(**OPTIONS)
def _strain_slope(points, c, g, cm):
    """cm (6, 3, 3, q): c (6, 6, q) times the derivative of Green-Lagrange strain by G."""
    nq = len(points)
    for v in range(6):
        r = 6 * v * nq
        for j in range(3):
            o, s = (9 * v + 3 * j) * nq, 3 * j * nq
            for q in range(points[0]):
                g0, g1, g2 = g[s + q], g[s + nq + q], g[s + 2 * nq + q]
                c3, c4, c5 = c[r + 3 * nq + q], c[r + 4 * nq + q], c[r + 5 * nq + q]
                cm[o + q] = c[r + q] * g0 + c3 * g1 + c5 * g2
                cm[o + nq + q] = c3 * g0 + c[r + nq + q] * g1 + c4 * g2
                cm[o + 2 * nq + q] = c5 * g0 + c4 * g1 + c[r + 2 * nq + q] * g2


@njit(**OPTIONS)
def _moduli(points, g, cm, y, moduli):
    """moduli (3, 3, 3, 3, q): A_iI,jJ = sum_K G_iK cm_IK,jJ + delta_ij y_IJ."""
    nq = len(points)
    for i in range(3):
        o = 27 * i * nq
        for column in range(0, 9, 3):
            for q in range(points[0]):
                g0, g1, g2 = g[3 * i * nq + q], g[(3 * i + 1) * nq + q], g[(3 * i + 2) * nq + q]
                for k in range(3):
                    e = (column + k) * nq + q
                    m3, m4, m5 = cm[27 * nq + e], cm[36 * nq + e], cm[45 * nq + e]
                    moduli[o + e] = g0 * cm[e] + g1 * m3 + g2 * m5
                    moduli[o + 9 * nq + e] = g0 * m3 + g1 * cm[9 * nq + e] + g2 * m4
                    moduli[o + 18 * nq + e] = g0 * m5 + g1 * m4 + g2 * cm[18 * nq + e]
        o = 30 * i * nq
        for q in range(points[0]):
            y3, y4, y5 = y[3 * nq + q], y[4 * nq + q], y[5 * nq + q]
            moduli[o + q] += y[q]
            moduli[o + nq + q] += y3
            moduli[o + 2 * nq + q] += y5
            moduli[o + 9 * nq + q] += y3
            moduli[o + 10 * nq + q] += y[nq + q]
            moduli[o + 11 * nq + q] += y4
            moduli[o + 18 * nq + q] += y5
            moduli[o + 19 * nq + q] += y4
            moduli[o + 20 * nq + q] += y[2 * nq + q]


@njit(**OPTIONS)
def _add_volume_moduli(points, weight, factor, g, moduli):
    """moduli (3, 3, 3, 3, q) += factor * weight * d2 det G / dG2 = e_ijk e_IJK G_kK."""
    nq = len(points)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        ij, ji = (27 * i + 3 * j) * nq, (27 * j + 3 * i) * nq
        for m in range(3):
            n, o = (m + 1) % 3, (m + 2) % 3
            no, on, s = (9 * n + o) * nq, (9 * o + n) * nq, (3 * k + m) * nq
            for q in range(points[0]):
                value = factor * weight[q] * g[s + q]
                moduli[ij + no + q] += value
                moduli[ij + on + q] -= value
                moduli[ji + no + q] -= value
                moduli[ji + on + q] += value


@njit(**OPTIONS)
def _weigh_stress(points, weight, stress, out):
    """out (6, q) = weight stress; returns the sum of the mean stresses."""
    nq, mean = len(points), 0.0
    for q in range(points[0]):
        for v in range(6):
            out[v * nq + q] = weight[q] * stress[q, v]
        mean += (out[q] + out[nq + q] + out[2 * nq + q]) / 3.0
    return mean


@njit(**OPTIONS)
def _weigh_tangent(points, weight, tangent, d):
    """d (6, 6, q) = weight tangent."""
    nq = len(points)
    for q in range(points[0]):
        for v in range(6):
            for w in range(6):
                d[(6 * v + w) * nq + q] = weight[q] * tangent[q, v, w]


@njit(**OPTIONS)
def _remove_mean(points, stress):
    """Make stress (6, q) deviatoric."""
    nq = len(points)
    for q in range(points[0]):
        mean = (stress[q] + stress[nq + q] + stress[2 * nq + q]) / 3.0
        for v in range(3):
            stress[v * nq + q] -= mean


@njit(**OPTIONS)
def _filter(points, modes, filters, amount, stress):
    """stress (6, q) -= filters^T modes^T stress: what the variation of the compatible strain is paired with."""
    nq = len(points)
    amount[:] = 0.0
    for q in range(nq):
        for v in range(6):
            for p in range(modes.shape[1]):
                amount[p] += modes[6 * q + v, p] * stress[v * nq + q]
    for p in range(modes.shape[1]):
        for v in range(6):
            for q in range(points[0]):
                stress[v * nq + q] -= filters[p, 6 * q + v] * amount[p]


# ---- all nodes of a cell at once: rows of 3a columns


@njit(**OPTIONS)
def _rotate_gradient(points, nodes, gradient, frame, h):
    """h (q, 3, a) = Q^T grad N."""
    na = len(nodes)
    for q in range(points[0]):
        for a in range(nodes[0]):
            g0, g1, g2 = gradient[q, a, 0], gradient[q, a, 1], gradient[q, a, 2]
            for j in range(3):
                h[(3 * q + j) * na + a] = g0 * frame[q, 0, j] + g1 * frame[q, 1, j] + g2 * frame[q, 2, j]


@njit(**OPTIONS)
def _nodal_force(points, nodes, piola, h, out):
    """out (3, a) = sum over points of piola (3, 3, q) h."""
    nq, na = len(points), len(nodes)
    out[:] = 0.0
    for q in range(points[0]):
        for a in range(nodes[0]):
            h0, h1, h2 = h[3 * q * na + a], h[(3 * q + 1) * na + a], h[(3 * q + 2) * na + a]
            for i in range(3):
                p = 3 * i * nq + q
                out[i * na + a] += piola[p] * h0 + piola[p + nq] * h1 + piola[p + 2 * nq] * h2


@njit(**OPTIONS)
def _spread(points, nodes, coefficient, h, block, step, out):
    """From derivatives by G to those by the displacements of the nodes.

    Rows r of coefficient (3k, 3, 3, q) times h (q, 3, a) become rows block (r // 3) + step q + r % 3 of out (.., 3a).
    """
    nq, na = len(points), len(nodes)
    for q in range(points[0]):
        for b in range(coefficient.size // (27 * nq)):
            x, rows = coefficient[27 * b * nq + q :], out[(block * b + step * q) * 3 * na :]
            for a in range(nodes[0]):
                h0, h1, h2 = h[3 * q * na + a], h[(3 * q + 1) * na + a], h[(3 * q + 2) * na + a]
                for i in range(3):
                    for j in range(3):
                        k = (9 * i + 3 * j) * nq
                        rows[(3 * i + j) * na + a] = x[k] * h0 + x[k + nq] * h1 + x[k + 2 * nq] * h2


@njit(**OPTIONS)
def _add_product(nodes, factor, left, right, out):
    """out (r, 3a) += factor left (r, k) right (k, 3a); k is a multiple of 6; right and out are flat."""
    n = 3 * len(nodes)
    for s in range(left.shape[1] // 6):
        k = 6 * s  # range(0, .., 6) hides from the compiler that k is not negative
        for r in range(left.shape[0]):
            x0, x1, x2 = factor * left[r, k], factor * left[r, k + 1], factor * left[r, k + 2]
            x3, x4, x5 = factor * left[r, k + 3], factor * left[r, k + 4], factor * left[r, k + 5]
            for i in range(n):
                out[r * n + i] += (
                    x0 * right[k * n + i]
                    + x1 * right[(k + 1) * n + i]
                    + x2 * right[(k + 2) * n + i]
                    + x3 * right[(k + 3) * n + i]
                    + x4 * right[(k + 4) * n + i]
                    + x5 * right[(k + 5) * n + i]
                )


@njit(**OPTIONS)
def _add_mean_stiffness(nodes, volume, bulk, slope, row, column, stiffness):
    """What mean dilatation adds: the variation of its strain is slope / volume."""
    n = 3 * len(nodes)
    for i in range(n):
        left, right = slope[i] / volume, column[i] / volume
        right += left * bulk / volume
        for j in range(slope.size):
            stiffness[i * n + j] += right * slope[j] + left * row[j]


@njit(**OPTIONS)
def _store(nodes, row, out):
    """out (3a,) in the order (node, component) from row (3a,) in the order (component, node)."""
    na = len(nodes)
    for a in range(na):
        out[3 * a] = row[a]
        out[3 * a + 1] = row[na + a]
        out[3 * a + 2] = row[2 * na + a]


@njit(**OPTIONS)
def _add_force(nodes, row, cell, out):
    """out (3n,) += row (3, a) at the nodes ``cell`` (a,)."""
    na = len(nodes)
    for a in range(na):
        for i in range(3):
            out[3 * cell[a] + i] += row[i * na + a]


@njit(**OPTIONS)
def _add_stiffness(nodes, stiffness, cell, place, width, data):
    """Stiffness (3, a; 3, a) into the entries ``data`` of the matrix; see `pattern.Pattern`."""
    na = len(nodes)
    for a in range(na):
        for i in range(3):
            row, below = 3 * na * (i * na + a), i * width[cell[a]]
            for b in range(na):
                at = place[a, b] + below
                data[at] += stiffness[row + b]
                data[at + 1] += stiffness[row + na + b]
                data[at + 2] += stiffness[row + 2 * na + b]


# ---- cells; inlined before compilation, so that the scratch arrays are not passed on


@njit(inline="always")
def _couple(points, nodes, stress, work, out):
    """out (3, a): nodal forces of stress (6, q), global axes."""
    _rotate_stress(points, work.rotation, stress, work.y)
    _piola(points, work.g, work.y, work.piola)
    _nodal_force(points, nodes, work.piola, work.h, out)


@njit(inline="always")
def _forces(points, nodes, kind, cell, pressure, work):
    """Fill work.force and work.slope; returns the volume of the cell, its mean stress and the force by slope."""
    gradient, weight, f, stretch, frame, stress, _tangent, modes, filters = cell
    volume = _geometry(points, weight, f, frame, work.g, work.cofactor)
    _rotate_gradient(points, nodes, gradient, frame, work.h)
    _rotation(points, frame, stretch, work.scale, work.rotation)
    _nodal_force(points, nodes, work.cofactor, work.h, work.slope)
    factor, mean_stress = -pressure, _weigh_stress(points, weight, stress, work.stress)
    if kind == MEAN_DILATATION:
        _remove_mean(points, work.stress)
        factor += mean_stress / volume
    elif kind == ENHANCED:
        _filter(points, modes, filters, work.filtered, work.stress)
    _couple(points, nodes, work.stress, work, work.force)
    for i in range(work.force.size):
        work.force[i] += factor * work.slope[i]
    return volume, mean_stress, factor


@njit(inline="always")
def _stiffness(points, nodes, kind, small, cell, found, work):
    """Fill work.stiffness; ``_forces`` has found the volume and so on. Where ``small``, stress adds none."""
    _gradient, weight, _f, stretch, _frame, _stress, tangent, modes, filters = cell
    volume, mean_stress, factor = found
    bulk = 0.0
    if kind == ENHANCED:
        work.c[:] = 0.0
    else:
        _weigh_tangent(points, weight, tangent, work.d)
        if kind == MEAN_DILATATION:
            bulk = _deviatoric(points, work.d, work.left, work.right)
            _couple(points, nodes, work.left, work, work.row)
            _couple(points, nodes, work.right, work, work.column)
            _rotate_stress(points, work.rotation, work.stress, work.y)
        _rotate_tangent(points, work.rotation, work.d, work.dr, work.c)
    if small:
        work.y[:] = 0.0
        factor = mean_stress = 0.0
    else:
        _add_curvature(points, stretch, work.scale, work.y, work.c)
    _strain_slope(points, work.c, work.g, work.cm)
    _moduli(points, work.g, work.cm, work.y, work.moduli)
    if factor != 0.0:
        _add_volume_moduli(points, weight, factor, work.g, work.moduli)
    _spread(points, nodes, work.moduli, work.h, 3 * len(points), 3, work.traction)
    work.stiffness[:] = 0.0
    left = work.h.reshape(work.h.size // len(nodes), len(nodes)).T
    for i in range(3):
        rows, third = work.traction.size // 3, work.stiffness.size // 3
        _add_product(
            nodes, 1.0, left, work.traction[i * rows : (i + 1) * rows], work.stiffness[i * third : (i + 1) * third]
        )
    if kind == MEAN_DILATATION:
        bulk -= mean_stress
        _add_mean_stiffness(nodes, volume, bulk, work.slope, work.row, work.column, work.stiffness)
    elif kind == ENHANCED:
        _add_assumed_stiffness(points, nodes, weight, tangent, modes, filters, work)


@njit(inline="always")
def _add_assumed_stiffness(points, nodes, weight, tangent, modes, filters, work):
    """Stiffness of the assumed strains."""
    _strain_slope(points, work.rotation, work.g, work.cm)
    _spread(points, nodes, work.cm, work.h, 3, 6, work.assumed)
    work.amount[:] = 0.0
    work.assumed_stress[:] = 0.0
    for k in range(modes.shape[0]):
        for p in range(modes.shape[1]):
            work.modes[k, p] = modes[k, p]
    _add_product(nodes, 1.0, filters, work.assumed, work.amount)
    _add_product(nodes, -1.0, work.modes, work.amount, work.assumed)
    size, n = work.assumed.size // weight.size, work.slope.size
    for q in range(weight.size):
        rows = slice(size * q, size * (q + 1))
        _add_product(nodes, weight[q], tangent[q], work.assumed[rows], work.assumed_stress[rows])
    _add_product(nodes, 1.0, work.assumed.reshape(modes.shape[0], n).T, work.assumed_stress, work.stiffness)


@njit(nogil=True, **OPTIONS)
def _force_chunk(points, nodes, first, last, fields, kinds, bending, cells, work, force, volume, slope):
    """Forces of the cells first .. last - 1."""
    gradient, weight, f, stretch, frame, stress, tangent = fields
    formulation, pressure, enhanced_index, _small = kinds
    modes, filters = bending
    for e in range(first, last):
        k = max(enhanced_index[e], 0)
        mechanics = (gradient[e], weight[e], f[e], stretch[e], frame[e], stress[e], tangent[e])
        found = _forces(points, nodes, formulation[e], (*mechanics, modes[k], filters[k]), pressure[e], work)
        volume[e] = found[0]
        _store(nodes, work.slope, slope[e])
        _add_force(nodes, work.force, cells[e], force)


@njit(nogil=True, **OPTIONS)
def _stiffness_chunk(points, nodes, first, last, fields, kinds, bending, target, work, data):
    """Stiffness of the cells first .. last - 1."""
    gradient, weight, f, stretch, frame, stress, tangent = fields
    formulation, pressure, enhanced_index, small = kinds
    modes, filters = bending
    cells, place, width = target
    for e in range(first, last):
        kind, k = formulation[e], max(enhanced_index[e], 0)
        mechanics = (gradient[e], weight[e], f[e], stretch[e], frame[e], stress[e], tangent[e])
        cell = (*mechanics, modes[k], filters[k])
        found = _forces(points, nodes, kind, cell, pressure[e], work)
        _stiffness(points, nodes, kind, small, cell, found, work)
        _add_stiffness(nodes, work.stiffness, cells[e], place[e], width, data)


class Cells(NamedTuple):
    """Stressed cells that are added up: m cells, q points, a nodes, k enhanced cells of p modes, n nodes in all.

    ``small`` as in `strain.log_strains`; ``place``, ``width`` and ``turns`` as in `pattern.Pattern`.
    """

    gradient: Array  # (m, q, a, 3)
    weight: Array  # (m, q)
    f: Array  # (m, q, 3, 3)
    stretch: Array  # (m, q, 3)
    frame: Array  # (m, q, 3, 3)
    stress: Array  # (m, q, 6) MPa
    tangent: Array  # (m, q, 6, 6) MPa
    formulation: NDArray[np.int8]  # (m,)
    pressure: Array  # (m,) MPa of a fluid that fills the cell (adds -p v to the energy)
    enhanced_index: NDArray[np.int64]  # (m,)
    small: bool
    modes: Array  # (k, 6q, p)
    filters: Array  # (k, p, 6q)
    cells: NDArray[np.int64]  # (m, a) node numbers
    place: NDArray[np.int32]  # (m, a, a)
    width: NDArray[np.int32]  # (n,)
    turns: Sequence[Slabs]

    def add(self, chunk: Callable[..., None], target: Any, *out: Array) -> None:
        """Run ``chunk`` on all cells, with work space for each thread."""
        (q, a), p = self.gradient.shape[1:3], self.modes.shape[2]
        given = self[:7], self[7:11], self[11:13], target

        def run(first: int, last: int) -> None:
            chunk((q,) * q, (a,) * a, first, last, *given, _scratch(q, a, p), *out)

        for turn in self.turns:
            everybody().run(turn, run)


def assembled_forces(cells: Cells) -> tuple[Array, Array, Array]:
    """Force (3n,) N of all cells together, volume (m,) mm3 and slope (m, 3a) = dv/du mm2 of each."""
    m, a = cells.cells.shape
    force, volume, slope = np.zeros(3 * cells.width.size), np.empty(m), np.empty((m, 3 * a))
    cells.add(_force_chunk, cells.cells, force, volume, slope)
    return force, volume, slope


def assembled_stiffness(cells: Cells) -> Array:
    """The entries (nnz,) of the stiffness of all cells together, N/mm."""
    data = np.zeros(3 * int(cells.width.sum()))
    cells.add(_stiffness_chunk, (cells.cells, cells.place, cells.width), data)
    return data
