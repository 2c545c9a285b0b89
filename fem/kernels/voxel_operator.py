"""The elastic operator of a grid of cubes, applied without a matrix, and the sweeps built on it.

A vector of displacements or forces is ``(3, nz + 1, ny + 1, nx + 1)``: component x y z first, the index along x last.
Under the parity (Walsh-Hadamard) transform of its eight corners the 24 x 24 stiffness of a cube keeps 45 of 576
entries, so a voxel costs about 190 operations instead of 1152. The transform along y and z is made for whole rows
of voxels, which the compiler turns into vector instructions: for that the scratch rows
lie in two flat buffers, displacements and forces, and all indices are unsigned.

Every kernel works on node layers ``first <= k < last`` and writes only to them, so slabs of layers may run on as
many threads as there are, in any order, with the same bits. Rows of voxels outside ``extent`` are empty.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 112  # voxels of a row that are worked on at once
_PITCH = np.uint64(BLOCK + 8)  # of the scratch rows
_ONE = np.uint64(1)
_ROW = np.arange(12).astype(np.uint64) * _PITCH
_R0, _R1, _R2, _R3, _R4, _R5, _R6, _R7, _R8, _R9, _R10, _R11 = (np.uint64(v) for v in _ROW)
# The twelve rows of forces on the left ends of the voxels are followed by twelve for the right ends, one further
_RIGHT = np.uint64(12) * _PITCH + _ONE
_DISPLACEMENTS = 12 * (BLOCK + 8)
_FORCES = 25 * (BLOCK + 8)


@njit(fastmath=True, cache=True, nogil=True)
def _load(u, r0, r1, r2, r3, w, o, n):
    """Parity transform along y and z of four rows of nodes, at ``r0``.. of flat ``u``, into scratch rows at ``o``."""
    for i in range(n + _ONE):
        a, b, d, e = u[r0 + i], u[r1 + i], u[r2 + i], u[r3 + i]
        s1, d1, s2, d2 = a + b, a - b, d + e, d - e
        w[o + i] = s1 + s2
        w[o + _R1 + i] = d1 + d2
        w[o + _R2 + i] = s1 - s2
        w[o + _R3 + i] = d1 - d2


@njit(fastmath=True, cache=True, nogil=True)
def _cubes(w, f, moduli, first, n, c):
    """Forces of a row of cubes, still transformed along y and z; names say component and parity (z y x)."""
    a1, b1, shear, t2, t2s, m3, m3s, q = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    r = _RIGHT
    for i in range(n):
        e = moduli[first + i]
        j = i + _ONE
        x001 = w[i] - w[j]
        x011, x010 = w[_R1 + i] - w[_R1 + j], w[_R1 + i] + w[_R1 + j]
        x101, x100 = w[_R2 + i] - w[_R2 + j], w[_R2 + i] + w[_R2 + j]
        x111, x110 = w[_R3 + i] - w[_R3 + j], w[_R3 + i] + w[_R3 + j]
        y001 = w[_R4 + i] - w[_R4 + j]
        y011, y010 = w[_R5 + i] - w[_R5 + j], w[_R5 + i] + w[_R5 + j]
        y101, y100 = w[_R6 + i] - w[_R6 + j], w[_R6 + i] + w[_R6 + j]
        y111, y110 = w[_R7 + i] - w[_R7 + j], w[_R7 + i] + w[_R7 + j]
        z001 = w[_R8 + i] - w[_R8 + j]
        z011, z010 = w[_R9 + i] - w[_R9 + j], w[_R9 + i] + w[_R9 + j]
        z101, z100 = w[_R10 + i] - w[_R10 + j], w[_R10 + i] + w[_R10 + j]
        z111, z110 = w[_R11 + i] - w[_R11 + j], w[_R11 + i] + w[_R11 + j]
        trace, ea, es = b1 * e * (x001 + y010 + z100), a1 * e, shear * e
        fx001, fy010, fz100 = ea * x001 + trace, ea * y010 + trace, ea * z100 + trace
        fxy, fxz, fyz = es * (x010 + y001), es * (x100 + z001), es * (y100 + z010)
        e2, e2s = t2 * e, t2s * e
        fx011, fz110 = e2 * x011 + e2s * z110, e2 * z110 + e2s * x011
        fx101, fy110 = e2 * x101 + e2s * y110, e2 * y110 + e2s * x101
        fy011, fz101 = e2 * y011 + e2s * z101, e2 * z101 + e2s * y011
        e3, s3, eq = m3 * e, m3s * e * (x110 + y101 + z011), q * e
        fx110, fy101, fz011 = e3 * x110 + s3, e3 * y101 + s3, e3 * z011 + s3
        fx111, fy111, fz111 = eq * x111, eq * y111, eq * z111
        f[i], f[r + i] = fx001, -fx001
        f[_R1 + i], f[r + _R1 + i] = fxy + fx011, fxy - fx011
        f[_R2 + i], f[r + _R2 + i] = fxz + fx101, fxz - fx101
        f[_R3 + i], f[r + _R3 + i] = fx110 + fx111, fx110 - fx111
        f[_R4 + i], f[r + _R4 + i] = fxy, -fxy
        f[_R5 + i], f[r + _R5 + i] = fy010 + fy011, fy010 - fy011
        f[_R6 + i], f[r + _R6 + i] = fyz + fy101, fyz - fy101
        f[_R7 + i], f[r + _R7 + i] = fy110 + fy111, fy110 - fy111
        f[_R8 + i], f[r + _R8 + i] = fxz, -fxz
        f[_R9 + i], f[r + _R9 + i] = fyz + fz011, fyz - fz011
        f[_R10 + i], f[r + _R10 + i] = fz100 + fz101, fz100 - fz101
        f[_R11 + i], f[r + _R11 + i] = fz110 + fz111, fz110 - fz111


@njit(fastmath=True, cache=True, nogil=True)
def _store(f, o, y, r0, r1, n, sign):
    """Add the forces on one node layer to its rows at ``r0`` (j) and ``r1`` (j + 1); sign +1 lower layer, -1 upper."""
    right = o + _RIGHT - _ONE
    for i in range(n + _ONE):
        a = f[o + i] + f[right + i] + sign * (f[o + _R2 + i] + f[right + _R2 + i])
        b = f[o + _R1 + i] + f[right + _R1 + i] + sign * (f[o + _R3 + i] + f[right + _R3 + i])
        y[r0 + i] += a + b
        y[r1 + i] += a - b


@njit(fastmath=True, cache=True, nogil=True)
def _voxel_layer(u, k, has_lower, has_upper, moduli, extent, c, ring, w, f):
    """Add the forces of voxel layer ``k`` to the node layers k and k + 1 in ``ring``, if they are wanted."""
    _, nz, ny, nx = u.shape
    flat, force = u.reshape(-1), ring.reshape(-1)
    one = c[0] / c[0]
    row, layer, whole = np.uint64(nx), np.uint64(ny * nx), np.uint64(nz * ny * nx)
    for j in range(ny - 1):
        first, stop = extent[k, j, 0], extent[k, j, 1]
        while first < stop:
            size = min(BLOCK, stop - first)
            n, at = np.uint64(size), np.uint64(j * nx + first)
            for comp in range(3):
                o, r = np.uint64(4 * comp) * _PITCH, np.uint64(comp) * whole + np.uint64(k) * layer + at
                _load(flat, r, r + row, r + layer, r + layer + row, w, o, n)
            _cubes(w, f, moduli[k, j], np.uint64(first), n, c)
            for t in range(12):
                f[np.uint64(t) * _PITCH + n] = 0
                f[_RIGHT - _ONE + np.uint64(t) * _PITCH] = 0
            for comp in range(3):
                o = np.uint64(4 * comp) * _PITCH
                if has_lower:
                    r = np.uint64(3 * (k & 1) + comp) * layer + at
                    _store(f, o, force, r, r + row, n, one)
                if has_upper:
                    r = np.uint64(3 * ((k + 1) & 1) + comp) * layer + at
                    _store(f, o, force, r, r + row, n, -one)
            first += size


@njit(fastmath=True, cache=True, nogil=True)
def _release(force, layer, start, index):
    """Zero the forces (3, ny + 1, nx + 1) on the held entries of a node layer."""
    flat = force.reshape(-1)
    for t in range(start[layer], start[layer + 1]):
        flat[index[t]] = 0


@njit(fastmath=True, cache=True, nogil=True)
def apply(u, y, moduli, extent, node_extent, start, index, c, ring, first, last):
    """y = A u on the node layers first..last, zero where ``start``, ``index`` hold; returns their part of u.y.

    u, y (3, nz + 1, ny + 1, nx + 1); moduli (nz, ny, nx); extent, node_extent (.., .., 2) first and last + 1 of each
    row; start (nz + 2,) and index: held entries by layer; c (8,) from ``cube_constants``; ring (2, 3, ny + 1, nx + 1).
    """
    w, f = np.empty(_DISPLACEMENTS, u.dtype), np.empty(_FORCES, u.dtype)
    ring[:] = 0
    total = 0.0
    for k in range(first - 1, last):
        if 0 <= k < moduli.shape[0]:
            _voxel_layer(u, k, k >= first, k + 1 < last, moduli, extent, c, ring, w, f)
        if k < first:
            continue
        force = ring[k & 1]
        _release(force, k, start, index)
        for comp in range(3):
            for j in range(u.shape[2]):
                i0, i1 = node_extent[k, j, 0], node_extent[k, j, 1]
                ur, yr, fr = u[comp, k, j, i0:i1], y[comp, k, j, i0:i1], force[comp, j, i0:i1]
                for i in range(i1 - i0):
                    yr[i] = fr[i]
                    total += ur[i] * fr[i]
                    fr[i] = 0
    return total


@njit(fastmath=True, cache=True, nogil=True)
def smooth(
    x, new, step, b, inverse, moduli, extent, node_extent, start, index, c, keep, gain, residual, ring, first, last
):  # fmt: skip
    """One Chebyshev step ``step = keep step + gain D^-1 (b - A x)``, ``new = x + step``; or ``new = b - A x``.

    The second where ``residual``. All in float32 (3, nz + 1, ny + 1, nx + 1) but inverse (nz + 1, ny + 1, nx + 1),
    the inverse of the diagonal; the rest as in ``apply``. ``b`` is zero where the grid is held.
    """
    w, f = np.empty(_DISPLACEMENTS, x.dtype), np.empty(_FORCES, x.dtype)
    ring[:] = 0
    for k in range(first - 1, last):
        if 0 <= k < moduli.shape[0]:
            _voxel_layer(x, k, k >= first, k + 1 < last, moduli, extent, c, ring, w, f)
        if k < first:
            continue
        force = ring[k & 1]
        _release(force, k, start, index)
        for comp in range(3):
            for j in range(x.shape[2]):
                i0, i1 = node_extent[k, j, 0], node_extent[k, j, 1]
                br, nr, fr = b[comp, k, j, i0:i1], new[comp, k, j, i0:i1], force[comp, j, i0:i1]
                if residual:
                    for i in range(i1 - i0):
                        nr[i] = br[i] - fr[i]
                else:
                    xr, sr, dr = x[comp, k, j, i0:i1], step[comp, k, j, i0:i1], inverse[k, j, i0:i1]
                    for i in range(i1 - i0):
                        sr[i] = keep * sr[i] + gain * dr[i] * (br[i] - fr[i])
                    for i in range(i1 - i0):
                        nr[i] = xr[i] + sr[i]
                for i in range(i1 - i0):
                    fr[i] = 0


@njit(fastmath=True, cache=True, nogil=True)
def smooth_from_zero(x, step, b, inverse, node_extent, gain, first, last):
    """The first Chebyshev step when x = 0: ``step = x = gain D^-1 b``."""
    for k in range(first, last):
        for comp in range(3):
            for j in range(x.shape[2]):
                i0, i1 = node_extent[k, j, 0], node_extent[k, j, 1]
                xr, sr = x[comp, k, j, i0:i1], step[comp, k, j, i0:i1]
                br, dr = b[comp, k, j, i0:i1], inverse[k, j, i0:i1]
                for i in range(i1 - i0):
                    v = gain * dr[i] * br[i]
                    xr[i] = v
                    sr[i] = v


@njit(fastmath=True, cache=True, nogil=True)
def strain_energy(u, moduli, stiffness, energy, first, last):
    """energy (nz, ny, nx) = 1/2 u.K u of each voxel, mJ, layers first..last; stiffness (24, 24) for 1 MPa."""
    ue = np.empty(24)
    for k in range(first, last):
        for j in range(moduli.shape[1]):
            for i in range(moduli.shape[2]):
                if moduli[k, j, i] == 0.0:
                    continue
                for a in range(24):
                    n = a & 7
                    ue[a] = u[a >> 3, k + (n >> 2), j + ((n >> 1) & 1), i + (n & 1)]
                total = 0.0
                for a in range(24):
                    row = 0.0
                    for b in range(24):
                        row += stiffness[a, b] * ue[b]
                    total += ue[a] * row
                energy[k, j, i] = 0.5 * moduli[k, j, i] * total
