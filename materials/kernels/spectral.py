"""Principal values and directions of symmetric tensors, and tensors put together from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .tensors import OPTIONS

_SWEEPS = 12  # cyclic Jacobi on a 3x3 matrix needs four or five


class Work(NamedTuple):
    """Arrays that a law in principal values works in: made once for many points, since to make them takes as long as
    most of what is done in them.
    """

    matrix: np.ndarray  # (3, 3)
    e: np.ndarray  # (3,) principal values
    v: np.ndarray  # (3, 3) their directions, columns
    deviator: np.ndarray  # (3,) of the principal values
    first: np.ndarray  # (3,) derivatives of the energy by them
    second: np.ndarray  # (3,)
    dyads: np.ndarray  # (3, 6)
    pair: np.ndarray  # (6,)


@njit(cache=True, error_model="numpy")
def new_work() -> Work:
    """Work space of one thread."""
    values = np.empty(3), np.empty((3, 3)), np.empty(3), np.empty(3), np.empty(3)
    return Work(np.empty((3, 3)), *values, np.empty((3, 6)), np.empty(6))


@njit(**OPTIONS)
def _rotate(a: np.ndarray, v: np.ndarray, p: int, q: int) -> None:
    """One Jacobi rotation that clears a[p, q] (upper triangle only); `v` collects the eigenvectors as columns."""
    off, half, r = a[p, q], 0.5 * (a[q, q] - a[p, p]), 3 - p - q
    if off == 0.0:
        return
    t = (off if half >= 0.0 else -off) / (abs(half) + np.sqrt(half * half + off * off))
    c = 1.0 / np.sqrt(t * t + 1.0)
    s = t * c
    a[p, p] -= t * off
    a[q, q] += t * off
    a[p, q] = 0.0
    i, j, k, m = min(p, r), max(p, r), min(q, r), max(q, r)
    at_p, at_q = a[i, j], a[k, m]
    a[i, j], a[k, m] = c * at_p - s * at_q, s * at_p + c * at_q
    for k in range(3):
        at_p, at_q = v[k, p], v[k, q]
        v[k, p], v[k, q] = c * at_p - s * at_q, s * at_p + c * at_q


@njit(**OPTIONS)
def eigen_symmetric(a: np.ndarray, v: np.ndarray) -> None:
    """Cyclic Jacobi: `a` (3, 3) symmetric becomes diagonal, `v` (3, 3) holds the eigenvectors as columns."""
    v[:, :] = 0.0
    v[0, 0] = v[1, 1] = v[2, 2] = 1.0
    for _ in range(_SWEEPS):
        off = abs(a[0, 1]) + abs(a[1, 2]) + abs(a[0, 2])
        if off <= 1e-300 or off <= 1e-17 * (abs(a[0, 0]) + abs(a[1, 1]) + abs(a[2, 2])):
            return
        _rotate(a, v, 0, 1)
        _rotate(a, v, 1, 2)
        _rotate(a, v, 0, 2)


@njit(**OPTIONS)
def dyad(v: np.ndarray, i: int, j: int, out: np.ndarray) -> None:
    """Stress-like components (6,) of sym(n_i n_j), times two when i != j."""
    factor = 1.0 if i == j else 2.0
    for k in range(3):
        m = (k + 1) % 3
        out[k] = factor * v[k, i] * v[k, j]
        both = v[k, i] * v[m, j] + v[m, i] * v[k, j]
        out[3 + k] = 0.5 * factor * both


@njit(**OPTIONS)
def add_pair(factor: float, a: np.ndarray, b: np.ndarray, tangent: np.ndarray) -> None:
    """Add factor a b^T to `tangent` (6, 6)."""
    b0, b1, b2, b3, b4, b5 = b[0], b[1], b[2], b[3], b[4], b[5]  # read once: arrays might overlap
    for i in range(6):
        x = factor * a[i]
        tangent[i, 0] += x * b0
        tangent[i, 1] += x * b1
        tangent[i, 2] += x * b2
        tangent[i, 3] += x * b3
        tangent[i, 4] += x * b4
        tangent[i, 5] += x * b5


@njit(**OPTIONS)
def principal(strain: np.ndarray, a: np.ndarray, e: np.ndarray, v: np.ndarray) -> None:
    """Principal values e (3,) and directions v (3, 3, columns) of a strain (6,); ``a`` (3, 3) is work space."""
    for k in range(3):
        m = (k + 1) % 3
        a[k, k] = strain[k]
        a[k, m] = a[m, k] = 0.5 * strain[3 + k]
    eigen_symmetric(a, v)
    for k in range(3):
        e[k] = a[k, k]
