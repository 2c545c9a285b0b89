"""Block-sparse matrices of nodes: products, Gauss-Seidel by clusters of nodes, Galerkin products with rigid motions.

A row of blocks belongs to a node. Its 3 x d numbers (d = 3 times its neighbours) stand row by row, so that the
neighbours' displacements are gathered once and three dot products of length d follow: vector instructions throughout.
That is also how the assembled stiffness lies in memory, row after row of a CSR matrix.

All kernels release the interpreter lock and work on a range ``first <= i < last`` of rows, clusters or aggregates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

FAST: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},
}
EXACT: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
LARGEST = 4  # nodes of a cluster
_SMALLEST = 3e-6  # pivot of a cluster's block, as a share of its largest diagonal entry
_SOFTEST = 0.1  # share by which a raised diagonal exceeds the other entries of its row


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}, inline="always")
def _three(first, second, third, near, count):
    """Dot products of three rows with ``near``, on their ``count`` first numbers."""
    u = v = w = near.dtype.type(0)
    for i in range(count):
        u += first[i] * near[i]
        v += second[i] * near[i]
        w += third[i] * near[i]
    return u, v, w


@njit(cache=True, error_model="numpy", inline="always")
def _gather(columns, x, near):
    for s in range(columns.size):
        j = 3 * columns[s]
        near[3 * s], near[3 * s + 1], near[3 * s + 2] = x[j], x[j + 1], x[j + 2]


@njit(**FAST)
def multiply(rows, start, column, data, widest, x, y, first, last):
    """y = K x on the nodes ``rows[first:last]``; x, y (3n,), ``widest`` the most neighbours of a node."""
    near = np.empty(3 * widest)
    for k in range(first, last):
        i = rows[k]
        begin, end = start[i], start[i + 1]
        _gather(column[begin:end], x, near)
        d, at = 3 * (end - begin), 9 * begin
        u, v, w = _three(data[at : at + d], data[at + d : at + 2 * d], data[at + 2 * d : at + 3 * d], near, d)
        y[3 * i], y[3 * i + 1], y[3 * i + 2] = u, v, w


# --- set-up: what belongs together, and in which order


@njit(**EXACT)
def coupling(start, column, data):
    """(e,) Frobenius norm of every block over those of its two nodes' diagonal blocks (geometric mean)."""
    n = start.size - 1
    norm, diagonal = np.zeros(column.size), np.zeros(n)
    for i in range(n):
        begin = start[i]
        count = start[i + 1] - begin
        for s in range(count):
            total = 0.0
            for a in range(3):
                at = 9 * begin + 3 * a * count + 3 * s
                total += data[at] ** 2 + data[at + 1] ** 2 + data[at + 2] ** 2
            norm[begin + s] = np.sqrt(total)
            if column[begin + s] == i:
                diagonal[i] = norm[begin + s]
    for i in range(n):
        for e in range(start[i], start[i + 1]):
            both = diagonal[i] * diagonal[column[e]]
            norm[e] = norm[e] / np.sqrt(both) if both > 0.0 and column[e] != i else 0.0
    return norm


@njit(**EXACT)
def join(first, second, count, largest):
    """(count,) label of each node once pairs (first, second) were joined in turn, at most ``largest`` to a group."""
    parent, size = np.arange(count), np.ones(count, np.int64)
    for k in range(first.size):
        a, b = first[k], second[k]
        while parent[a] != a:
            a = parent[a]
        while parent[b] != b:
            b = parent[b]
        if a != b and size[a] + size[b] <= largest:
            parent[max(a, b)] = min(a, b)
            size[min(a, b)] += size[max(a, b)]
    for a in range(count):  # a parent is never larger than its child, and so is a root already
        parent[a] = parent[parent[a]]
    return parent


@njit(**EXACT)
def distances(start, column, active, cluster, seed):
    """(n,) graph distance of every active node from ``seed``, in steps between clusters; -1 where not active.

    Clusters are lists of nodes linked by ``cluster`` = (head (n,), next (n,)). A part that is not reached goes on with
    the next distances. Also returns the node reached last.
    """
    head, following = cluster
    n = active.size
    distance, queue = np.full(n, -1, np.int64), np.empty(n, np.int64)
    done, end, depth, candidate = 0, 0, 0, 0
    here = seed
    while True:
        node = head[here]
        while node >= 0:
            distance[node] = depth
            queue[end] = node
            end += 1
            node = following[node]
        while done < end:
            i = queue[done]
            done += 1
            for e in range(start[i], start[i + 1]):
                j = column[e]
                if active[j] and distance[j] < 0:
                    node = head[j]
                    while node >= 0:
                        distance[node] = distance[i] + 1
                        queue[end] = node
                        end += 1
                        node = following[node]
        depth = distance[queue[end - 1]] + 1
        while candidate < n and (not active[candidate] or distance[candidate] >= 0):
            candidate += 1
        if candidate == n:
            return distance, queue[end - 1]
        here = candidate


@njit(**EXACT)
def aggregate(start, column, strength, alone):
    """(m,) aggregate of every node, and their number: a node with all its neighbours; leftovers join the strongest.

    Vanek, Mandel & Brezina 1996, Computing 56:179, doi:10.1007/BF02238511. Nodes ``alone`` (m,) are aggregates by
    themselves, and no neighbours of the others.
    """
    m = start.size - 1
    of = np.full(m, -1, np.int64)
    count = 0
    for i in range(m):
        free = not alone[i]
        for e in range(start[i], start[i + 1]):
            free = free and (of[column[e]] < 0 or alone[column[e]])
        if free:
            for e in range(start[i], start[i + 1]):
                if not alone[column[e]]:
                    of[column[e]] = count
        if free or alone[i]:
            of[i] = count
            count += 1
    joined = of.copy()
    for i in range(m):
        if of[i] < 0:
            best, to = -1.0, -1
            for e in range(start[i], start[i + 1]):
                if of[column[e]] >= 0 and not alone[column[e]] and strength[e] > best:
                    best, to = strength[e], of[column[e]]
            if to < 0:  # its neighbours are leftovers too
                to = count
                count += 1
                for e in range(start[i], start[i + 1]):
                    if of[column[e]] < 0 and joined[column[e]] < 0:
                        joined[column[e]] = to
            if joined[i] < 0:
                joined[i] = to
    return joined, count


# --- the smoother: single precision, rows in the order of the sweep


@njit(**EXACT)
def copy_rows(source, begin, column, slot, held, start, data, out, first, last):
    """Rows of the float64 ``data`` (pattern ``start``) in sweep order; entries of ``held`` (m, 3) freedoms vanish.

    Row p copies the blocks ``slot`` of node ``source[p]``; its own pattern is (``begin``, ``column``).
    """
    for p in range(first, last):
        i = source[p]
        row, count = 9 * start[i], start[i + 1] - start[i]
        width = begin[p + 1] - begin[p]
        for a in range(3):
            to = 9 * begin[p] + 3 * a * width
            at = row + 3 * a * count
            for e in range(width):
                block = at + 3 * slot[begin[p] + e]
                j = column[begin[p] + e]
                for b in range(3):
                    gone = held[p, a] or held[j, b]
                    out[to + 3 * e + b] = np.float32(0.0) if gone else data[block + b]


@njit(**EXACT)
def invert_clusters(bounds, place, begin, column, data, held, inverse, work, first, last):
    """Inverse diagonal blocks: cluster c holds the rows bounds[c] .. bounds[c + 1] and fills ``inverse[place[c]:]``.

    A block that is not safely positive (bone that gives way) first gets a dominant diagonal: it would answer a small
    force by a huge displacement, or against the force.
    """
    for c in range(first, last):
        p0, size = bounds[c], 3 * (bounds[c + 1] - bounds[c])
        matrix = work[: size * size].reshape(size, size)
        _diagonal_block(p0, bounds[c + 1], begin, column, data, held, matrix)
        if not _invert(matrix, size):
            _diagonal_block(p0, bounds[c + 1], begin, column, data, held, matrix)
            for i in range(size):
                others = 0.0
                for j in range(size):
                    others += abs(matrix[i, j]) if j != i else 0.0
                matrix[i, i] = max(abs(matrix[i, i]), others) + _SOFTEST * others
                if matrix[i, i] == 0.0:
                    matrix[i, i] = 1.0
            _invert(matrix, size)
        for k in range(size * size):
            inverse[place[c] + k] = matrix[k // size, k % size]


@njit(**EXACT)
def _diagonal_block(p0, p1, begin, column, data, held, matrix):
    """The block of rows p0 .. p1 with themselves; unit diagonal where ``held``."""
    matrix[:] = 0.0
    for p in range(p0, p1):
        width = begin[p + 1] - begin[p]
        for e in range(width):
            q = column[begin[p] + e]
            if p0 <= q < p1:
                for a in range(3):
                    for b in range(3):
                        at = 9 * begin[p] + 3 * a * width + 3 * e + b
                        matrix[3 * (p - p0) + a, 3 * (q - p0) + b] = data[at]
        for a in range(3):
            if held[p, a]:
                matrix[3 * (p - p0) + a, 3 * (p - p0) + a] = 1.0


@njit(**EXACT)
def _invert(matrix, size):
    """Gauss-Jordan in place, pivots on the diagonal; False, and the matrix spoilt, where one is too small."""
    largest = 0.0
    for k in range(size):
        largest = max(largest, abs(matrix[k, k]))
    for k in range(size):
        pivot = matrix[k, k]
        if not pivot > _SMALLEST * largest:
            return False
        matrix[k, k] = 1.0
        for j in range(size):
            matrix[k, j] /= pivot
        for i in range(size):
            if i != k:
                factor = matrix[i, k]
                matrix[i, k] = 0.0
                for j in range(size):
                    matrix[i, j] -= factor * matrix[k, j]
    return True


@njit(**FAST)
def sweep(bounds, place, inverse, begin, column, data, load, x, widest, first, last):
    """Gauss-Seidel on x (3m,) for K x = load, cluster by cluster."""
    near, rest = np.empty(3 * widest, np.float32), np.empty(3 * LARGEST, np.float32)
    for c in range(first, last):
        p0, p1 = bounds[c], bounds[c + 1]
        for p in range(p0, p1):
            _gather(column[begin[p] : begin[p + 1]], x, near)
            d, at = 3 * (begin[p + 1] - begin[p]), 9 * begin[p]
            u, v, w = _three(data[at : at + d], data[at + d : at + 2 * d], data[at + 2 * d : at + 3 * d], near, d)
            r, i = 3 * (p - p0), 3 * p
            rest[r], rest[r + 1], rest[r + 2] = load[i] - u, load[i + 1] - v, load[i + 2] - w
        _correct(3 * (p1 - p0), inverse, place[c], rest, x, 3 * p0)


@njit(**FAST)
def _correct(size, inverse, at, rest, x, to):
    """x[to:] += (size, size) inverse times ``rest``."""
    for a in range(size):
        total = np.float32(0.0)
        for b in range(size):
            total += inverse[at + a * size + b] * rest[b]
        x[to + a] += total


@njit(**FAST)
def upper_product(begin, column, data, upper, change, out, widest, first, last):
    """out = -U change, U being the blocks of a row from ``upper[p]`` on: the residual after a forward sweep."""
    near = np.empty(3 * widest, np.float32)
    for p in range(first, last):
        _gather(column[begin[p] + upper[p] : begin[p + 1]], change, near)
        d, at = 3 * (begin[p + 1] - begin[p]), 9 * begin[p] + 3 * upper[p]
        n = d - 3 * upper[p]
        u, v, w = _three(data[at : at + n], data[at + d : at + d + n], data[at + 2 * d : at + 2 * d + n], near, n)
        out[3 * p], out[3 * p + 1], out[3 * p + 2] = -u, -v, -w


# --- the coarse space: six rigid motions per aggregate


@njit(**EXACT)
def restrict(of, arm, force, out):
    """out (6g,) = forces and moments of ``force`` (3m,) on each aggregate, arms (m, 3) from its centre."""
    out[:] = 0.0
    for p in range(of.size):
        g = 6 * of[p]
        x, y, z = np.float64(force[3 * p]), np.float64(force[3 * p + 1]), np.float64(force[3 * p + 2])
        out[g] += x
        out[g + 1] += y
        out[g + 2] += z
        out[g + 3] += arm[p, 1] * z - arm[p, 2] * y
        out[g + 4] += arm[p, 2] * x - arm[p, 0] * z
        out[g + 5] += arm[p, 0] * y - arm[p, 1] * x


@njit(**EXACT)
def prolong(of, arm, held, motion, x):
    """x (3m,) += displacement of the aggregates' rigid ``motion`` (6g,), where not ``held``."""
    for p in range(of.size):
        g = 6 * of[p]
        u, v, w = motion[g + 3], motion[g + 4], motion[g + 5]
        if not held[p, 0]:
            x[3 * p] += motion[g] + v * arm[p, 2] - w * arm[p, 1]
        if not held[p, 1]:
            x[3 * p + 1] += motion[g + 1] + w * arm[p, 0] - u * arm[p, 2]
        if not held[p, 2]:
            x[3 * p + 2] += motion[g + 2] + u * arm[p, 1] - v * arm[p, 0]


@njit(**EXACT)
def galerkin(of, arm, members, member_start, begin, column, data, slot, out, first, last):
    """Rows of the coarse blocks ``out`` (c, 6, 6): sum of T_p^T K_pq T_q, T the rigid motions of a node's aggregate.

    ``slot[e]`` is the coarse block of the fine block e.
    """
    product = np.empty((3, 6))
    for g in range(first, last):
        for k in range(member_start[g], member_start[g + 1]):
            p = members[k]
            width = begin[p + 1] - begin[p]
            for e in range(width):
                q = column[begin[p] + e]
                at = 9 * begin[p] + 3 * e
                x, y, z = arm[q, 0], arm[q, 1], arm[q, 2]
                for a in range(3):
                    u, v, w = data[at], data[at + 1], data[at + 2]
                    product[a, 0], product[a, 1], product[a, 2] = u, v, w
                    product[a, 3], product[a, 4], product[a, 5] = y * w - z * v, z * u - x * w, x * v - y * u
                    at += 3 * width
                block = out[slot[begin[p] + e]]
                x, y, z = arm[p, 0], arm[p, 1], arm[p, 2]
                for b in range(6):
                    u, v, w = product[0, b], product[1, b], product[2, b]
                    block[0, b] += u
                    block[1, b] += v
                    block[2, b] += w
                    block[3, b] += y * w - z * v
                    block[4, b] += z * u - x * w
                    block[5, b] += x * v - y * u
