"""Coarse grids that know which bone is connected: voxels are split where their parts do not touch.

A level is a list of hexahedra: ``pos`` (m, 3) int32 is the place (z y x) of each in the regular grid of its size,
``conn`` (m, 8) int32 its nodes, corner ``4 dz + 2 dy + dx``. Two of them may lie at the same place. A coarse
hexahedron gathers the connected ones of a block of 2 x 2 x 2; corners of neighbours become one node only where
their parts share a fine node on which both corners have weight.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def cube_matrix(moduli, stiffness, held, inverse):
    """Assembled dense matrix (n, n) of a small grid and the flat ids (n,) of its free entries."""
    mz, my, mx = held.shape
    number = np.full((3, mz, my, mx), -1, np.int64)
    n = 0
    for c in range(3):
        for k in range(mz):
            for j in range(my):
                for i in range(mx):
                    if inverse[k, j, i] > 0 and not (held[k, j, i] >> c) & 1:
                        number[c, k, j, i] = n
                        n += 1
    matrix = np.zeros((n, n))
    for k in range(mz - 1):
        for j in range(my - 1):
            for i in range(mx - 1):
                if moduli[k, j, i] == 0:
                    continue
                for p in range(24):
                    row = number[p >> 3, k + ((p >> 2) & 1), j + ((p >> 1) & 1), i + (p & 1)]
                    if row < 0:
                        continue
                    for q in range(24):
                        column = number[q >> 3, k + ((q >> 2) & 1), j + ((q >> 1) & 1), i + (q & 1)]
                        if column >= 0:
                            matrix[row, column] += moduli[k, j, i] * stiffness[p, q]
    return matrix, np.flatnonzero(number.reshape(-1) >= 0)


@njit(cache=True, nogil=True)
def list_cubes(moduli, inverse):
    """Filled voxels as a list: pos (m, 3), conn (m, 8), and the flat place (n,) of each node in the grid."""
    mz, my, mx = inverse.shape
    number = np.full(inverse.size, -1, np.int32)
    flat = np.empty(inverse.size, np.int64)
    n, place = 0, 0
    for k in range(mz):
        for j in range(my):
            for i in range(mx):
                if inverse[k, j, i] > 0:
                    number[place] = n
                    flat[n] = place
                    n += 1
                place += 1
    m = 0
    for value in moduli.reshape(-1):
        if value > 0:
            m += 1
    pos, conn = np.empty((m, 3), np.int32), np.empty((m, 8), np.int32)
    e = 0
    for k in range(mz - 1):
        for j in range(my - 1):
            for i in range(mx - 1):
                if moduli[k, j, i] > 0:
                    pos[e, 0], pos[e, 1], pos[e, 2] = k, j, i
                    for b in range(8):
                        conn[e, b] = number[((k + (b >> 2)) * my + j + ((b >> 1) & 1)) * mx + i + (b & 1)]
                    e += 1
    return pos, conn, flat[:n].copy()


@njit(cache=True, nogil=True)
def incidence(conn, n):
    """Where each node occurs: start (n + 1,) and items 8 element + corner."""
    start = np.zeros(n + 1, np.int64)
    flat = conn.reshape(-1)
    for v in flat:
        start[v + 1] += 1
    for v in range(n):
        start[v + 1] += start[v]
    at = start[:-1].copy()
    items = np.empty(flat.size, np.int32)
    for t in range(flat.size):
        v = flat[t]
        items[at[v]] = t
        at[v] += 1
    return start, items


@njit(cache=True, nogil=True)
def _root(parent, v):
    while parent[v] != v:
        parent[v] = parent[parent[v]]
        v = parent[v]
    return v


@njit(cache=True, nogil=True)
def _touch(conn, a, b):
    for p in range(8):
        for q in range(8):
            if conn[a, p] == conn[b, q]:
                return True
    return False


@njit(cache=True, nogil=True)
def split_blocks(pos, conn, order, key):
    """Coarse hexahedron (m,) of each fine one, and their places (M, 3): connected members of one block.

    ``order`` sorts the elements by ``key``, the number of their block.
    """
    m = pos.shape[0]
    up = np.full(m, -1, np.int32)
    place = np.empty((m, 3), np.int32)
    parent = np.arange(m)
    count, begin = 0, 0
    while begin < m:
        end = begin
        while end < m and key[order[end]] == key[order[begin]]:
            end += 1
        for s in range(begin, end):
            for t in range(s + 1, end):
                a, b = _root(parent, order[s]), _root(parent, order[t])
                if a != b and _touch(conn, order[s], order[t]):
                    parent[max(a, b)] = min(a, b)
        for s in range(begin, end):
            root = _root(parent, order[s])
            if up[root] < 0:
                up[root] = count
                for d in range(3):
                    place[count, d] = pos[order[s], d] >> 1
                count += 1
        for s in range(begin, end):
            up[order[s]] = up[_root(parent, order[s])]
        begin = end
    return up, place[:count].copy()


@njit(cache=True, nogil=True)
def _offset(pos, place, e, corner, coarse, d):
    """Where a corner of ``e`` lies along axis d within its coarse hexahedron: 0, 1 (middle) or 2."""
    return pos[e, d] + ((corner >> (2 - d)) & 1) - 2 * place[coarse, d]


@njit(cache=True, nogil=True)
def _weight(o, bit):
    """Of the coarse corner ``bit`` (0 or 1) at offset ``o`` along one axis."""
    if o == 1:
        return 0.5
    return 1.0 if o == 2 * bit else 0.0


@njit(cache=True, nogil=True)
def join_corners(pos, conn, up, place, start, items):
    """Nodes (M, 8) of the coarse hexahedra and how many there are."""
    parent = np.arange(8 * place.shape[0])
    for v in range(start.size - 1):
        if start[v] == start[v + 1]:
            continue
        e0, b0 = items[start[v]] >> 3, items[start[v]] & 7
        c0 = up[e0]
        for t in range(start[v] + 1, start[v + 1]):
            c1 = up[items[t] >> 3]
            if c1 == c0:
                continue
            for a in range(8):
                other, weight = 0, 1.0
                for d in range(3):
                    bit = (a >> (2 - d)) & 1
                    weight *= _weight(_offset(pos, place, e0, b0, c0, d), bit)
                    other |= (place[c0, d] + bit - place[c1, d]) << (2 - d)
                if weight > 0.0:
                    r0, r1 = _root(parent, 8 * c0 + a), _root(parent, 8 * c1 + other)
                    parent[max(r0, r1)] = min(r0, r1)
    number = np.full(parent.size, -1, np.int32)
    conn_coarse = np.empty((place.shape[0], 8), np.int32)
    n = 0
    for s in range(parent.size):
        root = _root(parent, s)
        if number[root] < 0:
            number[root] = n
            n += 1
        conn_coarse[s >> 3, s & 7] = number[root]
    return conn_coarse, n


@njit(cache=True, nogil=True)
def interpolation(pos, up, place, conn_coarse, start, items):
    """Rows of the interpolation: row (n + 1,), column and weight; at most eight entries a fine node."""
    n = start.size - 1
    row = np.zeros(n + 1, np.int64)
    column, value = np.empty(8 * n, np.int32), np.empty(8 * n, np.float32)
    t = 0
    for v in range(n):
        e, b = items[start[v]] >> 3, items[start[v]] & 7
        c = up[e]
        for a in range(8):
            weight = 1.0
            for d in range(3):
                weight *= _weight(_offset(pos, place, e, b, c, d), (a >> (2 - d)) & 1)
            if weight > 0.0:
                column[t], value[t] = conn_coarse[c, a], weight
                t += 1
        row[v + 1] = t
    return row, column[:t].copy(), value[:t].copy()


@njit(cache=True, nogil=True)
def transposed(row, column, value, n_columns):
    """The transpose of rows ``row``, ``column``, ``value``."""
    start = np.zeros(n_columns + 1, np.int64)
    for c in column:
        start[c + 1] += 1
    for c in range(n_columns):
        start[c + 1] += start[c]
    at = start[:-1].copy()
    other, weight = np.empty(column.size, np.int32), np.empty(column.size, np.float32)
    for r in range(row.size - 1):
        for t in range(row[r], row[r + 1]):
            p = at[column[t]]
            other[p], weight[p] = r, value[t]
            at[column[t]] += 1
    return start, other, weight


@njit(fastmath=True, cache=True, nogil=True)
def _add_projected(small, transfer, big, work):
    """big += T' small T for each of the nine (8, 8) blocks; transfer (8, 8) from coarse corners to fine ones."""
    for c in range(3):
        for d in range(3):
            for p in range(8):
                for b in range(8):
                    total = 0.0
                    for q in range(8):
                        total += small[8 * c + p, 8 * d + q] * transfer[q, b]
                    work[p, b] = total
            for a in range(8):
                for b in range(8):
                    total = 0.0
                    for p in range(8):
                        total += transfer[p, a] * work[p, b]
                    big[8 * c + a, 8 * d + b] += total


@njit(fastmath=True, cache=True, nogil=True)
def project_cubes(pos, up, count, moduli, held, stiffness, projected, transfer):
    """Matrices (M, 24, 24) float32 of the first coarse level.

    stiffness (24, 24) of a voxel with 1 MPa, projected (8, 24, 24) the same seen from the block for each octant,
    transfer (8, 8, 8); voxels with held corners are projected one by one, without the held entries.
    """
    matrix = np.zeros((count, 24, 24), np.float32)
    own, work = np.empty((24, 24)), np.empty((8, 8))
    big = np.empty((24, 24))
    for e in range(pos.shape[0]):
        k, j, i = pos[e, 0], pos[e, 1], pos[e, 2]
        octant = ((k & 1) << 2) | ((j & 1) << 1) | (i & 1)
        modulus = moduli[k, j, i]
        target = matrix[up[e]]
        any_held = 0
        for b in range(8):
            any_held |= held[k + (b >> 2), j + ((b >> 1) & 1), i + (b & 1)]
        if any_held == 0:
            source = projected[octant]
            for a in range(24):
                for b in range(24):
                    target[a, b] += modulus * source[a, b]
            continue
        for a in range(24):
            p = a & 7
            keep_a = not (held[k + (p >> 2), j + ((p >> 1) & 1), i + (p & 1)] >> (a >> 3)) & 1
            for b in range(24):
                q = b & 7
                keep_b = not (held[k + (q >> 2), j + ((q >> 1) & 1), i + (q & 1)] >> (b >> 3)) & 1
                own[a, b] = modulus * stiffness[a, b] if keep_a and keep_b else 0.0
        big[:] = 0.0
        _add_projected(own, transfer[octant], big, work)
        for a in range(24):
            for b in range(24):
                target[a, b] += big[a, b]
    return matrix


@njit(fastmath=True, cache=True, nogil=True)
def project_matrices(pos, up, count, fine, transfer):
    """Matrices (M, 24, 24) float32 of a coarse level from those of the level above (m, 24, 24)."""
    matrix = np.zeros((count, 24, 24), np.float32)
    work, weights = np.empty((8, 8), np.float32), transfer.astype(np.float32)
    for e in range(pos.shape[0]):
        octant = ((pos[e, 0] & 1) << 2) | ((pos[e, 1] & 1) << 1) | (pos[e, 2] & 1)
        _add_projected(fine[e], weights[octant], matrix[up[e]], work)
    return matrix


@njit(cache=True, nogil=True)
def assemble_blocks(conn, start, items, matrix):
    """Block rows: row (n + 1,), column (b,) and block (b, 3, 4) float32, of the matrices (m, 24, 24).

    ``block[t, d, c]`` couples component c of the row to d of the column; the fourth c is padding for the vector unit.
    """
    n = start.size - 1
    seen = np.full(n, -1, np.int64)
    row = np.zeros(n + 1, np.int64)
    for v in range(n):
        count = 0
        for t in range(start[v], start[v + 1]):
            for b in range(8):
                w = conn[items[t] >> 3, b]
                if seen[w] != v:
                    seen[w] = v
                    count += 1
        row[v + 1] = row[v] + count
    column, block = np.empty(row[n], np.int32), np.zeros((row[n], 3, 4), np.float32)
    seen[:] = -1
    for v in range(n):
        at = row[v]
        for t in range(start[v], start[v + 1]):
            e, a = items[t] >> 3, items[t] & 7
            for b in range(8):
                w = conn[e, b]
                if seen[w] < row[v]:
                    seen[w] = at
                    column[at] = w
                    at += 1
                for c in range(3):
                    for d in range(3):
                        block[seen[w], d, c] += matrix[e, 8 * c + a, 8 * d + b]
    return row, column, block


@njit(cache=True, nogil=True)
def _invert(a, out):
    """out (3, 4) = inverse of the symmetric (3, 3) ``a``, its zero rows (held) left zero, column by column."""
    for c in range(3):
        if not a[c, c] > 0.0:
            a[c, :] = 0.0
            a[:, c] = 0.0
            a[c, c] = -1.0
    det = (
        a[0, 0] * (a[1, 1] * a[2, 2] - a[1, 2] * a[2, 1])
        - a[0, 1] * (a[1, 0] * a[2, 2] - a[1, 2] * a[2, 0])
        + a[0, 2] * (a[1, 0] * a[2, 1] - a[1, 1] * a[2, 0])
    )
    for d in range(3):
        d1, d2 = (d + 1) % 3, (d + 2) % 3
        for c in range(3):
            c1, c2 = (c + 1) % 3, (c + 2) % 3
            out[d, c] = (a[d1, c1] * a[d2, c2] - a[d1, c2] * a[d2, c1]) / det
    for c in range(3):
        if a[c, c] < 0.0:
            out[c, c] = 0.0


@njit(cache=True, nogil=True)
def inverse_blocks(row, column, block):
    """(n, 3, 4) float32 inverses of the diagonal blocks, stored like ``block``; 0 where all is held.

    A block that rounding has made nearly singular is replaced by its diagonal.
    """
    inverse = np.zeros((row.size - 1, 3, 4), np.float32)
    a, out = np.empty((3, 3)), np.zeros((3, 3))
    for v in range(row.size - 1):
        for t in range(row[v], row[v + 1]):
            if column[t] == v:
                product = 1.0
                for c in range(3):
                    for d in range(3):
                        a[c, d] = 0.5 * (block[t, d, c] + block[t, c, d])
                    product *= a[c, c] if a[c, c] > 0.0 else 1.0
                _invert(a, out)
                fine = True
                for c in range(3):
                    if a[c, c] > 0.0 and not 1.0 <= out[c, c] * a[c, c] < 1e4:
                        fine = out[c, c] * a[c, c] > 0.999 and out[c, c] * a[c, c] < 1e4
                for c in range(3):
                    for d in range(3):
                        if fine:
                            inverse[v, d, c] = out[d, c]
                        elif c == d and a[c, c] > 0.0:
                            inverse[v, d, c] = 1.0 / a[c, c]
    return inverse


_ONE, _TWO, _FOUR, _EIGHT, _TWELVE = (np.uint64(v) for v in (1, 2, 4, 8, 12))


@njit(fastmath=True, cache=True, nogil=True)
def block_smooth(x, new, step, b, inverse, row, column, block, keep, gain, residual, still, first, last):
    """As ``smooth`` of a grid, for block rows and inverse diagonal blocks; vectors (n, 4) float32, fourth column 0.

    ``still`` says that x is zero: then nothing is multiplied.
    """
    xf, nf, sf, bf, df = x.reshape(-1), new.reshape(-1), step.reshape(-1), b.reshape(-1), inverse.reshape(-1)
    blocks = block.reshape(-1)
    force = np.zeros(4, np.float32)
    for v in range(first, last):
        for c in range(_FOUR):
            force[c] = 0
        end = row[v] if still else row[v + 1]
        for t in range(np.uint64(row[v]), np.uint64(end)):
            w, k = np.uint64(column[t]) * _FOUR, t * _TWELVE
            u0, u1, u2 = xf[w], xf[w + _ONE], xf[w + _TWO]
            for c in range(_FOUR):
                force[c] += blocks[k + c] * u0 + blocks[k + _FOUR + c] * u1 + blocks[k + _EIGHT + c] * u2
        o, k = np.uint64(v) * _FOUR, np.uint64(v) * _TWELVE
        if residual:
            for c in range(_FOUR):
                nf[o + c] = bf[o + c] - force[c]
            continue
        r0, r1, r2 = bf[o] - force[0], bf[o + _ONE] - force[1], bf[o + _TWO] - force[2]
        for c in range(_FOUR):
            turned = df[k + c] * r0 + df[k + _FOUR + c] * r1 + df[k + _EIGHT + c] * r2
            s = keep * sf[o + c] + gain * turned
            sf[o + c] = s
            nf[o + c] = xf[o + c] + s


@njit(fastmath=True, cache=True, nogil=True)
def sum_rows(row, column, value, source, target, add, first, last):
    """target (n, 4) = (or += where ``add``) rows times source (m, 4)."""
    xf, yf = source.reshape(-1), target.reshape(-1)
    total = np.zeros(4, np.float32)
    for v in range(first, last):
        o = np.uint64(v) * _FOUR
        for c in range(_FOUR):
            total[c] = yf[o + c] if add else np.float32(0.0)
        for t in range(np.uint64(row[v]), np.uint64(row[v + 1])):
            w, f = np.uint64(column[t]) * _FOUR, value[t]
            for c in range(_FOUR):
                total[c] += f * xf[w + c]
        for c in range(_FOUR):
            yf[o + c] = total[c]


@njit(fastmath=True, cache=True, nogil=True)
def restrict_grid(row, column, value, flat, source, target, first, last):
    """target (n, 4) = rows times source (3, nodes of the grid); column v lies at flat[v]."""
    x0, x1, x2 = source[0], source[1], source[2]
    for v in range(first, last):
        a0 = a1 = a2 = np.float32(0.0)
        for t in range(np.uint64(row[v]), np.uint64(row[v + 1])):
            w, f = np.uint64(flat[np.uint64(column[t])]), value[t]
            a0 += f * x0[w]
            a1 += f * x1[w]
            a2 += f * x2[w]
        target[v, 0], target[v, 1], target[v, 2] = a0, a1, a2


@njit(fastmath=True, cache=True, nogil=True)
def interpolate_grid(row, column, value, flat, held, source, target, first, last):
    """target (3, nodes of the grid) += rows times source (n, 4), but for held entries; held flat bits."""
    xf = source.reshape(-1)
    for v in range(first, last):
        a0 = a1 = a2 = np.float32(0.0)
        for t in range(np.uint64(row[v]), np.uint64(row[v + 1])):
            w, f = np.uint64(column[t]) * _FOUR, value[t]
            a0 += f * xf[w]
            a1 += f * xf[w + _ONE]
            a2 += f * xf[w + _TWO]
        w = flat[v]
        if not held[w] & 1:
            target[0, w] += a0
        if not held[w] & 2:
            target[1, w] += a1
        if not held[w] & 4:
            target[2, w] += a2
