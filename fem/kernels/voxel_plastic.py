"""Quadrature points of a grid of cubes: strains, plastic laws, forces and tangents.

Elements are the filled voxels, ``cells`` (m, 3) int32 (k, j, i) sorted by k; ``layer`` (nz + 1,) says where each
layer of voxels begins. Points are numbered like corners; six components are xx yy zz xy yz xz, strain with
engineering shear. Tangents are symmetric and kept as their 21 upper entries in float32, ``packed`` (.., 21, 8).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .strain import eigen_symmetric

_ROOT = np.sqrt(2.0 / 3.0)
# Voigt index of the tensor component (i, j), and back
_I = np.array([0, 1, 2, 0, 1, 0])
_J = np.array([0, 1, 2, 1, 2, 2])


@njit(fastmath=True, cache=True, nogil=True)
def _strain(u, k, j, i, gradient, ue, eps):
    """eps (6, 8) at the points of one voxel; gradient (3, 8, 8): axis, corner, point."""
    for c in range(3):
        for b in range(8):
            ue[8 * c + b] = u[c, k + (b >> 2), j + ((b >> 1) & 1), i + (b & 1)]
    eps[:] = 0.0
    for b in range(8):
        x, y, z = ue[b], ue[8 + b], ue[16 + b]
        for q in range(8):
            dx, dy, dz = gradient[0, b, q], gradient[1, b, q], gradient[2, b, q]
            eps[0, q] += x * dx
            eps[1, q] += y * dy
            eps[2, q] += z * dz
            eps[3, q] += x * dy + y * dx
            eps[4, q] += y * dz + z * dy
            eps[5, q] += x * dz + z * dx


@njit(fastmath=True, cache=True, nogil=True)
def _scatter(y, k, j, i, gradient, weight, has_lower, has_upper, stress):
    """Add the nodal forces of the stresses (6, 8) of one voxel."""
    for b in range(8):
        up = b >> 2
        if not (has_upper if up else has_lower):
            continue
        fx = fy = fz = 0.0
        for q in range(8):
            dx, dy, dz = gradient[0, b, q], gradient[1, b, q], gradient[2, b, q]
            fx += stress[0, q] * dx + stress[3, q] * dy + stress[5, q] * dz
            fy += stress[3, q] * dx + stress[1, q] * dy + stress[4, q] * dz
            fz += stress[5, q] * dx + stress[4, q] * dy + stress[2, q] * dz
        kk, jj, ii = k + up, j + ((b >> 1) & 1), i + (b & 1)
        y[0, kk, jj, ii] += weight * fx
        y[1, kk, jj, ii] += weight * fy
        y[2, kk, jj, ii] += weight * fz


@njit(fastmath=True, cache=True, nogil=True)
def point_strains(u, cells, rank, gradient, strain, first, last):
    """strain (m, 8, 6) of the elements first..last, element e at row rank[e]."""
    ue, eps = np.empty(24), np.empty((6, 8))
    for e in range(first, last):
        _strain(u, cells[e, 0], cells[e, 1], cells[e, 2], gradient, ue, eps)
        for q in range(8):
            for v in range(6):
                strain[rank[e], q, v] = eps[v, q]


@njit(fastmath=True, cache=True, nogil=True)
def point_forces(stress, y, cells, layer, rank, gradient, weight, first, last):
    """y (3, nz + 1, ny + 1, nx + 1) = nodal forces of stress (m, 8, 6), on the node layers first..last."""
    y[:, first:last] = 0.0
    s = np.empty((6, 8))
    for k in range(max(first - 1, 0), min(last, layer.size - 1)):
        for e in range(layer[k], layer[k + 1]):
            for q in range(8):
                for v in range(6):
                    s[v, q] = stress[rank[e], q, v]
            _scatter(y, k, cells[e, 1], cells[e, 2], gradient, weight, k >= first, k + 1 < last, s)


@njit(fastmath=True, cache=True, nogil=True)
def tangent_forces(u, y, cells, layer, chosen, packed, gradient, weight, first, last):
    """y += K u of the ``chosen`` elements (numbers into cells and packed); ``layer`` counts in ``chosen``."""
    ue, eps, s = np.empty(24), np.empty((6, 8)), np.empty((6, 8))
    for k in range(max(first - 1, 0), min(last, layer.size - 1)):
        for t in range(layer[k], layer[k + 1]):
            e = chosen[t]
            j, i = cells[e, 1], cells[e, 2]
            _strain(u, k, j, i, gradient, ue, eps)
            d = packed[e]
            s[:] = 0.0
            n = 0
            for a in range(6):
                for q in range(8):
                    s[a, q] += d[n, q] * eps[a, q]
                n += 1
                for b in range(a + 1, 6):
                    for q in range(8):
                        s[a, q] += d[n, q] * eps[b, q]
                        s[b, q] += d[n, q] * eps[a, q]
                    n += 1
            _scatter(y, k, j, i, gradient, weight, k >= first, k + 1 < last, s)


@njit(cache=True, nogil=True)
def pack_tangents(tangent, rank, packed, first, last):
    """The symmetric part of tangent (m, 8, 6, 6), upper half, of the elements first..last."""
    for e in range(first, last):
        for q in range(8):
            n = 0
            for a in range(6):
                for b in range(a, 6):
                    packed[e, n, q] = 0.5 * (tangent[rank[e], q, a, b] + tangent[rank[e], q, b, a])
                    n += 1


@njit(fastmath=True, cache=True, nogil=True)
def j2_cell(eps, state, bulk, shear, yield_stress, hardening, stress, new, packed, work):
    """Radial return of von Mises plasticity, linear isotropic hardening, at 8 points; returns how many flow.

    eps (6, 8); state, new (8, 7): plastic strain (tensor components) and accumulated plastic strain; stress (8, 6)
    MPa; packed (21, 8) tangent; work (9, 8). Simo & Hughes (1998), box 3.2. Point last: a vector instruction
    does all eight.
    """
    flowing = 0
    for q in range(8):
        work[6, q] = (eps[0, q] + eps[1, q] + eps[2, q]) / 3.0
    for v in range(6):
        for q in range(8):
            strain = eps[v, q] - work[6, q] if v < 3 else 0.5 * eps[v, q]
            work[v, q] = 2.0 * shear * (strain - state[q, v])
    for q in range(8):
        square = work[0, q] ** 2 + work[1, q] ** 2 + work[2, q] ** 2
        norm = np.sqrt(square + 2.0 * (work[3, q] ** 2 + work[4, q] ** 2 + work[5, q] ** 2))
        excess = norm - _ROOT * (yield_stress + hardening * state[q, 6])
        step, keep, turn = 0.0, 1.0, 0.0
        if excess > 0.0:
            flowing += 1
            length = excess / (2.0 * shear + 2.0 * hardening / 3.0)
            step = length / norm
            keep = 1.0 - 2.0 * shear * step
            turn = 2.0 * shear * (1.0 / (1.0 + hardening / (3.0 * shear)) - (1.0 - keep)) / norm**2
            new[q, 6] = state[q, 6] + _ROOT * length
        else:
            new[q, 6] = state[q, 6]
        for v in range(6):
            new[q, v] = state[q, v] + step * work[v, q]
            stress[q, v] = keep * work[v, q] + (3.0 * bulk * work[6, q] if v < 3 else 0.0)
        work[7, q], work[8, q] = keep, turn
    if flowing == 0:
        return 0  # the elastic operator serves this voxel
    n = 0
    for a in range(6):
        for b in range(a, 6):
            shift = bulk if b < 3 else 0.0
            scale = -2.0 * shear / 3.0 if b < 3 else 0.0
            if a == b:
                scale += 2.0 * shear if a < 3 else shear
            for q in range(8):
                packed[n, q] = shift + scale * work[7, q] - work[8, q] * work[a, q] * work[b, q]
            n += 1
    return flowing


@njit(cache=True, nogil=True)
def _tresca_return(s, shear, limit, slope):
    """Return principal stresses s1 >= s2 >= s3 to the hexagon; slope (3, 3) of the deviator, in units of 2 G.

    One plane, or two at a corner. De Souza Neto, Peric & Owen (2008), boxes 8.2 and 8.3.
    """
    excess = s[0] - s[2] - limit
    step = 0.5 * excess  # 2 G times the multiplier
    if s[0] - step >= s[1] >= s[2] + step:
        s[0] -= step
        s[2] += step
        slope[0, 0] -= 0.5
        slope[2, 2] -= 0.5
        slope[0, 2] += 0.5
        slope[2, 0] += 0.5
        return
    mean = (s[0] + s[1] + s[2]) / 3.0
    right = s[0] + s[2] - 2.0 * s[1] > 0.0
    s[0] = mean + (2.0 if right else 1.0) * limit / 3.0
    s[1] = mean + (-1.0 if right else 1.0) * limit / 3.0
    s[2] = mean - (1.0 if right else 2.0) * limit / 3.0
    for a in range(3):
        for b in range(3):
            slope[a, b] = 1.0 / 3.0  # the deviator is fixed: 2 G (slope - 1/3) vanishes


@njit(cache=True, nogil=True)
def tresca_point(strain, state, bulk, shear, yield_stress, stress, new, tangent):
    """Return to Tresca's hexagon, perfectly plastic, with the consistent tangent; returns whether it flows.

    strain (6,); state, new (7,); stress (6,); tangent (6, 6), otherwise as in ``j2_cell``. Principal
    stresses are returned to one plane or to a corner; the tangent joins their
    slopes and the rotation of the principal frame (de Souza Neto, Peric & Owen 2008, 8.1 and A.5).
    """
    trace = strain[0] + strain[1] + strain[2]
    norm = 0.0
    tangent[:] = 0.0
    for v in range(6):
        elastic = (strain[v] - trace / 3.0 if v < 3 else 0.5 * strain[v]) - state[v]
        stress[v] = 2.0 * shear * elastic + (bulk * trace if v < 3 else 0.0)
        norm += (1.0 if v < 3 else 2.0) * (2.0 * shear * elastic) ** 2
    for v in range(7):
        new[v] = state[v]
    for a in range(3):
        for b in range(3):
            tangent[a, b] = bulk - 2.0 * shear / 3.0
        tangent[a, a] += 2.0 * shear
        tangent[a + 3, a + 3] = shear
    if 2.0 * norm <= yield_stress**2:  # the hexagon holds the circle of this radius
        return False
    matrix, values, frame = np.empty((3, 3)), np.empty(3), np.empty((3, 3))
    for v in range(6):
        matrix[_I[v], _J[v]] = matrix[_J[v], _I[v]] = stress[v]
    eigen_symmetric(matrix, values, frame)
    order = np.argsort(-values)
    trial = values[order]
    if trial[0] - trial[2] <= yield_stress:
        return False
    s, slope = trial.copy(), np.eye(3)
    _tresca_return(s, shear, yield_stress, slope)
    _to_global(trial, s, slope, frame[:, order].copy(), bulk, shear, stress, tangent)
    grown = 0.0
    for v in range(6):
        elastic = strain[v] if v < 3 else 0.5 * strain[v]
        mean = bulk * trace if v < 3 else 0.0
        now = elastic - (trace / 3.0 if v < 3 else 0.0) - (stress[v] - mean) / (2.0 * shear)
        grown += (1.0 if v < 3 else 2.0) * (now - state[v]) ** 2
        new[v] = now
    new[6] += _ROOT * np.sqrt(grown)
    return True


@njit(cache=True, nogil=True)
def _to_global(trial, s, slope, frame, bulk, shear, stress, tangent):
    """Stress and tangent in the axes of the grid from principal values and slopes; frame columns are directions."""
    dyad = np.empty((6, 6))  # row p: the dyad n_a n_b (symmetric) in Voigt order, for stress and engineering strain
    for p in range(6):
        a, b = _I[p], _J[p]
        for v in range(6):
            i, j = _I[v], _J[v]
            dyad[p, v] = 0.5 * (frame[i, a] * frame[j, b] + frame[j, a] * frame[i, b])
    for v in range(6):
        stress[v] = s[0] * dyad[0, v] + s[1] * dyad[1, v] + s[2] * dyad[2, v]
    tangent[:] = 0.0
    for p in range(3):
        for q in range(3):
            d = 2.0 * shear * (slope[p, q] - 1.0 / 3.0) + bulk
            for v in range(6):
                for w in range(6):
                    tangent[v, w] += d * dyad[p, v] * dyad[q, w]
    for p in range(3, 6):
        a, b = _I[p], _J[p]
        gap = abs(trial[a] - trial[b])
        turn = shear * abs(s[a] - s[b]) / gap if gap > 1e-12 * abs(trial[0] - trial[2]) else 0.0
        for v in range(6):
            for w in range(6):
                tangent[v, w] += 4.0 * turn * dyad[p, v] * dyad[p, w]


@njit(cache=True, nogil=True)
def plastic_update(
    u, cells, rank, gradient, tresca, bulk, shear, yield_stress, hardening, state, new, stress, packed, flowing,
    first, last,
):  # fmt: skip
    """Stress (m, 8, 6), trial state ``new`` (m, 8, 7), packed tangents and points that flow, elements first..last.

    bulk, shear, yield_stress, hardening (m,) of each element; flowing (m,) int8 counts points.
    """
    ue, eps, work = np.empty(24), np.empty((6, 8)), np.empty((9, 8))
    strain, tangent = np.empty(6), np.empty((6, 6))
    for e in range(first, last):
        _strain(u, cells[e, 0], cells[e, 1], cells[e, 2], gradient, ue, eps)
        out = stress[rank[e]]
        if not tresca:
            flowing[e] = j2_cell(
                eps, state[e], bulk[e], shear[e], yield_stress[e], hardening[e], out, new[e], packed[e], work
            )
            continue
        flowing[e] = 0
        for q in range(8):
            for v in range(6):
                strain[v] = eps[v, q]
            flowing[e] += tresca_point(
                strain, state[e, q], bulk[e], shear[e], yield_stress[e], out[q], new[e, q], tangent
            )
            n = 0
            for a in range(6):
                for b in range(a, 6):
                    packed[e, n, q] = tangent[a, b]
                    n += 1
