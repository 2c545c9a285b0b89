"""Element forces and stiffness from stress and tangent, consistent with the logarithmic strain.

All work is done in the eigenbasis of C, where the derivative of E is diagonal (see ``strain.py``). Mean
dilatation: Simo, Taylor & Pister 1985, written for log strain (E = dev E + 1/3 ln(v/V) 1). Enhanced strain: the
enhanced modes are filtered out of the log strain (see ``discretisation.py``), so a cell has no unknowns of its own.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .strain import (
    COLUMN_OF,
    ENHANCED,
    MEAN_DILATATION,
    ROW_OF,
    VOIGT_OF,
    determinant,
    divided_difference,
    second_divided_difference,
)


@njit(cache=True)
def _rotation_6(frame, m):
    """m (6, 6) takes engineering strain to the eigenbasis: eps' = m eps; stress: T = m^T T'."""
    for v in range(6):
        i, j = ROW_OF[v], COLUMN_OF[v]
        for w in range(6):
            k, n = ROW_OF[w], COLUMN_OF[w]
            value = frame[k, i] * frame[n, j]
            if k != n:
                value = 0.5 * (value + frame[n, i] * frame[k, j])
            m[v, w] = value if v < 3 else value * 2.0


@njit(cache=True)
def _to_principal(m_inv, stress, tangent, s, d, work):
    """Stress s (6,) and tangent d (6, 6) in the eigenbasis; m_inv takes engineering strain back to global axes."""
    for v in range(6):
        total = 0.0
        for w in range(6):
            total += m_inv[w, v] * stress[w]
        s[v] = total
    for v in range(6):
        for w in range(6):
            total = 0.0
            for k in range(6):
                total += tangent[v, k] * m_inv[k, w]
            work[v, w] = total
    for v in range(6):
        for w in range(6):
            total = 0.0
            for k in range(6):
                total += m_inv[k, v] * work[k, w]
            d[v, w] = total


@njit(cache=True)
def _curvature(stretch, s, out):
    """out (6, 6) += s : d2E/dE_GL2 in the eigenbasis (engineering convention on both sides)."""
    for i in range(3):
        for j in range(3):
            for k in range(3):
                vik, vkj = VOIGT_OF[i, k], VOIGT_OF[k, j]
                weight = (1.0 if i == k else 0.5) * (1.0 if k == j else 0.5)
                term = 4.0 * s[VOIGT_OF[i, j]] * second_divided_difference(stretch[i], stretch[k], stretch[j])
                out[vik, vkj] += term * weight
                out[vkj, vik] += term * weight


@njit(cache=True)
def _principal_b(f, frame, gradient, b, grad):
    """b (6, 3a): variation of Green-Lagrange strain in the eigenbasis; grad (a, 3): gradients in that basis."""
    for a in range(gradient.shape[0]):
        for i in range(3):
            grad[a, i] = gradient[a, 0] * frame[0, i] + gradient[a, 1] * frame[1, i] + gradient[a, 2] * frame[2, i]
    for k in range(3):
        g0 = f[k, 0] * frame[0, 0] + f[k, 1] * frame[1, 0] + f[k, 2] * frame[2, 0]
        g1 = f[k, 0] * frame[0, 1] + f[k, 1] * frame[1, 1] + f[k, 2] * frame[2, 1]
        g2 = f[k, 0] * frame[0, 2] + f[k, 1] * frame[1, 2] + f[k, 2] * frame[2, 2]
        for a in range(gradient.shape[0]):
            c = 3 * a + k
            b[0, c] = g0 * grad[a, 0]
            b[1, c] = g1 * grad[a, 1]
            b[2, c] = g2 * grad[a, 2]
            b[3, c] = g0 * grad[a, 1] + g1 * grad[a, 0]
            b[4, c] = g1 * grad[a, 2] + g2 * grad[a, 1]
            b[5, c] = g0 * grad[a, 2] + g2 * grad[a, 0]


@njit(cache=True)
def volume_gradient(f, gradient, weight, slope):
    """Current volume of one cell; slope (3a,) receives its derivative with respect to the node positions."""
    slope[:] = 0.0
    volume = 0.0
    for q in range(weight.size):
        g = f[q]
        jw = determinant(g) * weight[q]
        volume += jw
        inverse = np.linalg.inv(g)
        for a in range(gradient.shape[1]):
            for i in range(3):
                slope[3 * a + i] += jw * (
                    inverse[0, i] * gradient[q, a, 0]
                    + inverse[1, i] * gradient[q, a, 1]
                    + inverse[2, i] * gradient[q, a, 2]
                )
    return volume


@njit(cache=True)
def _add_volume_hessian(f, gradient, weight, factor, stiffness):
    """stiffness += factor * d2v/du2: sum jw (g_ai g_bj - g_aj g_bi) with spatial gradients g."""
    n_nodes = gradient.shape[1]
    g = np.empty((n_nodes, 3))
    for q in range(weight.size):
        inverse = np.linalg.inv(f[q])
        jw = factor * determinant(f[q]) * weight[q]
        for a in range(n_nodes):
            for i in range(3):
                g[a, i] = (
                    inverse[0, i] * gradient[q, a, 0]
                    + inverse[1, i] * gradient[q, a, 1]
                    + inverse[2, i] * gradient[q, a, 2]
                )
        for a in range(n_nodes):
            for b in range(n_nodes):
                for i in range(3):
                    for j in range(3):
                        stiffness[3 * a + i, 3 * b + j] += jw * (g[a, i] * g[b, j] - g[a, j] * g[b, i])


@njit(cache=True)
def _add_product(b, c, w, stiffness, work):
    """stiffness += w b^T c b, with b (6, n) and c (6, 6)."""
    n = b.shape[1]
    for v in range(6):
        for i in range(n):
            work[v, i] = w * (
                c[v, 0] * b[0, i]
                + c[v, 1] * b[1, i]
                + c[v, 2] * b[2, i]
                + c[v, 3] * b[3, i]
                + c[v, 4] * b[4, i]
                + c[v, 5] * b[5, i]
            )
    for i in range(n):
        for j in range(n):
            stiffness[i, j] += (
                b[0, i] * work[0, j]
                + b[1, i] * work[1, j]
                + b[2, i] * work[2, j]
                + b[3, i] * work[3, j]
                + b[4, i] * work[4, j]
                + b[5, i] * work[5, j]
            )


@njit(cache=True)
def _add_geometric(grad, s2, w, stiffness):
    """stiffness += w (grad_a . S . grad_b) on the diagonal of each node pair; s2 (6,) second Piola-Kirchhoff."""
    n_nodes = grad.shape[0]
    for a in range(n_nodes):
        t0 = s2[0] * grad[a, 0] + s2[3] * grad[a, 1] + s2[5] * grad[a, 2]
        t1 = s2[3] * grad[a, 0] + s2[1] * grad[a, 1] + s2[4] * grad[a, 2]
        t2 = s2[5] * grad[a, 0] + s2[4] * grad[a, 1] + s2[2] * grad[a, 2]
        for b in range(n_nodes):
            value = w * (t0 * grad[b, 0] + t1 * grad[b, 1] + t2 * grad[b, 2])
            for i in range(3):
                stiffness[3 * a + i, 3 * b + i] += value


@njit(cache=True)
def _deviatoric_rows(c):
    """Project (6, 6) ``c`` on deviatoric strain from both sides; returns (c I)/3, (I c)/3 and I c I/9 of the original.

    The vectors are projected too, so that they pair with deviatoric strain.
    """
    right = np.empty(6)
    left = np.empty(6)
    for v in range(6):
        right[v] = (c[v, 0] + c[v, 1] + c[v, 2]) / 3.0
        left[v] = (c[0, v] + c[1, v] + c[2, v]) / 3.0
    both = (right[0] + right[1] + right[2]) / 3.0
    for v in range(6):
        for w in range(6):
            if w < 3:
                c[v, w] -= right[v]
            if v < 3:
                c[v, w] -= left[w]
            if v < 3 and w < 3:
                c[v, w] += both
    for v in range(3):
        right[v] -= both
        left[v] -= both
    return right, left, both


@njit(cache=True)
def _scales(stretch, scale):
    """scale (6,): derivative of log strain by Green-Lagrange strain in the eigenbasis."""
    for v in range(6):
        scale[v] = 2.0 * divided_difference(stretch[ROW_OF[v]], stretch[COLUMN_OF[v]])


@njit(cache=True)
def _cell(gradient, weight, f, stretch, frame, stress, tangent, mean, slope, volume, force, stiffness):
    """Force (3a,) and stiffness (3a, 3a) of one cell, with mean dilatation or without."""
    n_nodes = gradient.shape[1]
    n = 3 * n_nodes
    m_inv = np.empty((6, 6))
    s, d, c, work66 = np.empty(6), np.empty((6, 6)), np.empty((6, 6)), np.empty((6, 6))
    b, work = np.empty((6, n)), np.empty((6, n))
    grad, s2, scale = np.empty((n_nodes, 3)), np.empty(6), np.empty(6)
    column, row = np.zeros(n), np.zeros(n)
    bulk, mean_pressure = 0.0, 0.0
    for q in range(weight.size):
        w = weight[q]
        _rotation_6(frame[q].T, m_inv)
        _to_principal(m_inv, stress[q], tangent[q], s, d, work66)
        _principal_b(f[q], frame[q], gradient[q], b, grad)
        _scales(stretch[q], scale)
        if mean:
            right, left, both = _deviatoric_rows(d)
            p = (s[0] + s[1] + s[2]) / 3.0
            mean_pressure += w * p
            bulk += w * both
            for v in range(3):
                s[v] -= p
            for i in range(n):
                for v in range(6):
                    column[i] += w * b[v, i] * scale[v] * right[v]
                    row[i] += w * b[v, i] * scale[v] * left[v]
        for v in range(6):
            s2[v] = scale[v] * s[v]
            for u in range(6):
                c[v, u] = scale[v] * d[v, u] * scale[u]
        _curvature(stretch[q], s, c)
        for i in range(n):
            for v in range(6):
                force[i] += w * b[v, i] * s2[v]
        _add_product(b, c, w, stiffness, work)
        _add_geometric(grad, s2, w, stiffness)
    if mean:
        for i in range(n):
            bi = slope[i] / volume
            force[i] += mean_pressure * bi
            for j in range(n):
                bj = slope[j] / volume
                stiffness[i, j] += column[i] * bj + bi * row[j] + (bulk - mean_pressure) * bi * bj
        _add_volume_hessian(f, gradient, weight, mean_pressure / volume, stiffness)


@njit(cache=True)
def _assumed_b(gradient, f, stretch, frame, modes, filters, out):
    """out (6q, 3a): variation of the assumed log strain, in global axes."""
    n_points, n_nodes = gradient.shape[0], gradient.shape[1]
    n, n_modes = 3 * n_nodes, modes.shape[1]
    b, grad, scale, m_inv = np.empty((6, n)), np.empty((n_nodes, 3)), np.empty(6), np.empty((6, 6))
    amount = np.zeros((n_modes, n))
    for q in range(n_points):
        _principal_b(f[q], frame[q], gradient[q], b, grad)
        _scales(stretch[q], scale)
        _rotation_6(frame[q].T, m_inv)
        for v in range(6):
            row = out[6 * q + v]
            row[:] = 0.0
            for u in range(6):
                factor = m_inv[v, u] * scale[u]
                for i in range(n):
                    row[i] += factor * b[u, i]
            for p in range(n_modes):
                factor = filters[p, 6 * q + v]
                for i in range(n):
                    amount[p, i] += factor * row[i]
    for k in range(out.shape[0]):
        for p in range(n_modes):
            factor = modes[k, p]
            for i in range(n):
                out[k, i] -= factor * amount[p, i]


@njit(cache=True)
def _pulled_stress(weight, stress, modes, filters, out):
    """out (6q,) = w T - filters^T modes^T (w T): what the variation of the compatible strain is paired with."""
    size, n_modes = modes.shape
    amount = np.zeros(n_modes)
    for k in range(size):
        out[k] = weight[k // 6] * stress[k // 6, k % 6]
        for p in range(n_modes):
            amount[p] += modes[k, p] * out[k]
    for p in range(n_modes):
        for k in range(size):
            out[k] -= filters[p, k] * amount[p]


@njit(cache=True)
def _enhanced_cell(gradient, weight, f, stretch, frame, stress, tangent, modes, filters, force, stiffness):
    """Force (3a,) and stiffness (3a, 3a) of one cell with assumed strain: modes (6q, p), filters (p, 6q)."""
    n_points, n_nodes = gradient.shape[0], gradient.shape[1]
    n = 3 * n_nodes
    b_all, work, pulled = np.empty((6 * n_points, n)), np.empty((6, n)), np.empty(6 * n_points)
    _assumed_b(gradient, f, stretch, frame, modes, filters, b_all)
    _pulled_stress(weight, stress, modes, filters, pulled)
    b, grad, scale = np.empty((6, n)), np.empty((n_nodes, 3)), np.empty(6)
    m_inv, c, s, s2 = np.empty((6, 6)), np.empty((6, 6)), np.empty(6), np.empty(6)
    for q in range(n_points):
        w = weight[q]
        for i in range(n):
            for v in range(6):
                force[i] += w * b_all[6 * q + v, i] * stress[q, v]
        _add_product(b_all[6 * q : 6 * q + 6], tangent[q], w, stiffness, work)
        _rotation_6(frame[q].T, m_inv)
        for v in range(6):
            s[v] = 0.0
            for u in range(6):
                s[v] += m_inv[u, v] * pulled[6 * q + u]
        _principal_b(f[q], frame[q], gradient[q], b, grad)
        _scales(stretch[q], scale)
        for v in range(6):
            s2[v] = scale[v] * s[v]
        c[:, :] = 0.0
        _curvature(stretch[q], s, c)
        _add_product(b, c, 1.0, stiffness, work)
        _add_geometric(grad, s2, 1.0, stiffness)


@njit(cache=True, parallel=True)
def element_forces(
    gradient, weight, f, stretch, frame, stress, tangent, formulation, pressure, enhanced_index, modes, filters
):
    """Force, stiffness and volume of every cell.

    gradient (m, q, a, 3); weight (m, q); f, frame (m, q, 3, 3); stretch (m, q, 3); stress (m, q, 6) MPa;
    tangent (m, q, 6, 6) MPa; formulation, enhanced_index (m,); pressure (m,) MPa of a fluid that fills the cell
    (adds -p v to the energy); modes (k, 6q, p); filters (k, p, 6q).
    Returns force (m, 3a) N, stiffness (m, 3a, 3a) N/mm, volume (m,) mm3 and slope (m, 3a) = dv/du mm2.
    """
    m, n = gradient.shape[0], 3 * gradient.shape[2]
    force, stiffness = np.zeros((m, n)), np.zeros((m, n, n))
    volume, slope = np.zeros(m), np.zeros((m, n))
    for e in prange(m):
        volume[e] = volume_gradient(f[e], gradient[e], weight[e], slope[e])
        point = (gradient[e], weight[e], f[e], stretch[e], frame[e], stress[e], tangent[e])
        if formulation[e] == ENHANCED:
            k = enhanced_index[e]
            _enhanced_cell(*point, modes[k], filters[k], force[e], stiffness[e])
        else:
            mean = formulation[e] == MEAN_DILATATION
            _cell(*point, mean, slope[e], volume[e], force[e], stiffness[e])
        if pressure[e] != 0.0:
            force[e] -= pressure[e] * slope[e]
            _add_volume_hessian(f[e], gradient[e], weight[e], -pressure[e], stiffness[e])
    return force, stiffness, volume, slope


@njit(cache=True)
def scatter(values, positions, out):
    """out[positions[i]] += values[i]; serial, so that the sum is the same on every run."""
    for i in range(values.size):
        out[positions[i]] += values[i]
