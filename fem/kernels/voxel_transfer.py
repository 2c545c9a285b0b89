"""From one grid of cubes to the next of twice the size: set-up, restriction, interpolation.

Grids need not be even: the last coarse voxel may stick out. ``held`` (nz + 1, ny + 1, nx + 1) uint8 carries the bits
1, 2, 4 of held components x, y, z.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def row_extents(moduli, extent, node_extent):
    """First and last + 1 of the filled voxels of every row, (nz, ny, 2), and of the nodes, (nz + 1, ny + 1, 2)."""
    nz, ny, nx = moduli.shape
    for k in range(nz):
        for j in range(ny):
            a, b = nx, 0
            for i in range(nx):
                if moduli[k, j, i] > 0:
                    a = min(a, i)
                    b = i + 1
            extent[k, j, 0], extent[k, j, 1] = min(a, b), b
    for k in range(nz + 1):
        for j in range(ny + 1):
            a, b = nx, 0
            for kk in range(max(k - 1, 0), min(k + 1, nz)):
                for jj in range(max(j - 1, 0), min(j + 1, ny)):
                    if extent[kk, jj, 1] > 0:
                        a, b = min(a, extent[kk, jj, 0]), max(b, extent[kk, jj, 1] + 1)
            node_extent[k, j, 0], node_extent[k, j, 1] = min(a, b), b


@njit(fastmath=True, cache=True, nogil=True)
def inverse_diagonal(moduli, entry, inverse, first, last):
    """1 / (entry * sum of the moduli around each node), 0 where there are none, on node layers first..last."""
    nz, ny, nx = moduli.shape
    row = np.empty(nx + 2, np.float64)
    for k in range(first, last):
        for j in range(ny + 1):
            row[:] = 0.0
            for kk in range(max(k - 1, 0), min(k + 1, nz)):
                for jj in range(max(j - 1, 0), min(j + 1, ny)):
                    for i in range(nx):
                        row[i + 1] += moduli[kk, jj, i]
            for i in range(nx + 1):
                total = row[i] + row[i + 1]
                inverse[k, j, i] = 1.0 / (total * entry) if total > 0.0 else 0.0


@njit(cache=True, nogil=True)
def held_by_layer(held, inverse):
    """Held entries of nodes with stiffness: start (nz + 2,) and index into a layer (3, ny + 1, nx + 1)."""
    nz, ny, nx = held.shape
    size = ny * nx
    start = np.zeros(nz + 1, np.int64)
    for k in range(nz):
        n = 0
        for j in range(ny):
            for i in range(nx):
                h = held[k, j, i]
                if h and inverse[k, j, i] > 0:
                    n += (h & 1) + ((h >> 1) & 1) + ((h >> 2) & 1)
        start[k + 1] = start[k] + n
    index = np.empty(start[nz], np.int32)
    t = 0
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                h = held[k, j, i]
                if h and inverse[k, j, i] > 0:
                    for c in range(3):
                        if (h >> c) & 1:
                            index[t] = c * size + j * nx + i
                            t += 1
    return start, index


@njit(fastmath=True, cache=True, nogil=True)
def coarse_moduli(moduli, mirror, coarse):
    """Mean modulus of each block of 2 x 2 x 2; what sticks out counts as empty, or as a mirror image (bits z y x)."""
    nz, ny, nx = moduli.shape
    for k in range(coarse.shape[0]):
        for j in range(coarse.shape[1]):
            for i in range(coarse.shape[2]):
                total = 0.0
                for a in range(2):
                    for b in range(2):
                        for c in range(2):
                            kk, jj, ii = 2 * k + a, 2 * j + b, 2 * i + c
                            if kk == nz and mirror & 4:
                                kk -= 1
                            if jj == ny and mirror & 2:
                                jj -= 1
                            if ii == nx and mirror & 1:
                                ii -= 1
                            if kk < nz and jj < ny and ii < nx:
                                total += moduli[kk, jj, ii]
                coarse[k, j, i] = total * 0.125


@njit(cache=True, nogil=True)
def coarse_held(held, inverse, coarse):
    """Held bits of coarse nodes: those of the node at the same place, or, if it is empty, of all its neighbours."""
    mz, my, mx = held.shape
    for k in range(coarse.shape[0]):
        for j in range(coarse.shape[1]):
            for i in range(coarse.shape[2]):
                kk, jj, ii = min(2 * k, mz - 1), min(2 * j, my - 1), min(2 * i, mx - 1)
                bits = held[kk, jj, ii]
                if inverse[kk, jj, ii] == 0:
                    for a in range(max(kk - 1, 0), min(kk + 2, mz)):
                        for b in range(max(jj - 1, 0), min(jj + 2, my)):
                            for c in range(max(ii - 1, 0), min(ii + 2, mx)):
                                if inverse[a, b, c] > 0:
                                    bits |= held[a, b, c]
                coarse[k, j, i] = bits


@njit(fastmath=True, cache=True, nogil=True)
def restrict(fine, coarse, start, index, first, last):
    """coarse = P' fine for the trilinear interpolation P, on the coarse node layers first..last."""
    _, mz, my, mx = fine.shape
    _, _, ny, nx = coarse.shape
    half, one = fine.dtype.type(0.5), fine.dtype.type(1.0)
    row = np.zeros(2 * nx + 2, fine.dtype)  # row[i + 1] is node i
    for k in range(first, last):
        for c in range(3):
            for j in range(ny):
                row[:] = 0
                for a in range(max(2 * k - 1, 0), min(2 * k + 2, mz)):
                    for b in range(max(2 * j - 1, 0), min(2 * j + 2, my)):
                        weight = (one if a == 2 * k else half) * (one if b == 2 * j else half)
                        source = fine[c, a, b]
                        for i in range(mx):
                            row[i + 1] += weight * source[i]
                target = coarse[c, k, j]
                for i in range(nx):
                    target[i] = row[2 * i + 1] + half * (row[2 * i] + row[2 * i + 2])
        for t in range(start[k], start[k + 1]):
            n = index[t]
            coarse[n // (ny * nx), k, (n // nx) % ny, n % nx] = 0


@njit(fastmath=True, cache=True, nogil=True)
def interpolate(coarse, fine, start, index, inverse, first, last):
    """fine += P coarse on the node layers first..last, but for held entries and empty nodes."""
    _, _, my, mx = fine.shape
    nx = coarse.shape[3]
    half, quarter = fine.dtype.type(0.5), fine.dtype.type(0.25)
    row = np.empty(nx, fine.dtype)
    whole = np.empty(2 * nx, fine.dtype)
    for k in range(first, last):
        for t in range(start[k], start[k + 1]):  # so that what is added can be taken away again below
            n = index[t]
            fine[n // (my * mx), k, (n // mx) % my, n % mx] = 0
        k0, k1 = k // 2, (k + 1) // 2
        for c in range(3):
            for j in range(my):
                j0, j1 = j // 2, (j + 1) // 2
                r0, r1, r2, r3 = coarse[c, k0, j0], coarse[c, k0, j1], coarse[c, k1, j0], coarse[c, k1, j1]
                for i in range(nx):
                    row[i] = quarter * (r0[i] + r1[i] + r2[i] + r3[i])
                for i in range(nx - 1):
                    whole[2 * i] = row[i]
                    whole[2 * i + 1] = half * (row[i] + row[i + 1])
                whole[2 * nx - 2] = row[nx - 1]
                target, filled = fine[c, k, j], inverse[k, j]
                for i in range(mx):
                    if filled[i] > 0:
                        target[i] += whole[i]
        for t in range(start[k], start[k + 1]):
            n = index[t]
            fine[n // (my * mx), k, (n // mx) % my, n % mx] = 0
