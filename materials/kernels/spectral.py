"""Principal values and directions of symmetric tensors, and tensors put together from them."""

from __future__ import annotations

import numpy as np
from numba import njit

_SWEEPS = 12  # cyclic Jacobi on a 3x3 matrix needs four or five


@njit(cache=True, error_model="numpy")
def _rotate(a: np.ndarray, v: np.ndarray, p: int, q: int) -> None:
    """One Jacobi rotation that clears a[p, q]; `v` collects the eigenvectors as columns."""
    if a[p, q] == 0.0:
        return
    theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
    sign = 1.0 if theta >= 0.0 else -1.0
    t = sign / (abs(theta) + np.sqrt(theta * theta + 1.0)) if abs(theta) < 1e150 else 0.5 / theta
    c = 1.0 / np.sqrt(t * t + 1.0)
    s = t * c
    for k in range(3):
        akp, akq = a[k, p], a[k, q]
        a[k, p], a[k, q] = c * akp - s * akq, s * akp + c * akq
    for k in range(3):
        apk, aqk = a[p, k], a[q, k]
        a[p, k], a[q, k] = c * apk - s * aqk, s * apk + c * aqk
        vkp, vkq = v[k, p], v[k, q]
        v[k, p], v[k, q] = c * vkp - s * vkq, s * vkp + c * vkq
    a[p, q] = a[q, p] = 0.0


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def dyad(v: np.ndarray, i: int, j: int, out: np.ndarray) -> None:
    """Stress-like components (6,) of sym(n_i n_j), times two when i != j."""
    factor = 1.0 if i == j else 2.0
    for k in range(3):
        m = (k + 1) % 3
        out[k] = factor * v[k, i] * v[k, j]
        both = v[k, i] * v[m, j] + v[m, i] * v[k, j]
        out[3 + k] = 0.5 * factor * both


@njit(cache=True, error_model="numpy")
def add_pair(factor: float, a: np.ndarray, b: np.ndarray, tangent: np.ndarray) -> None:
    """Add factor a b^T to `tangent` (6, 6)."""
    for i in range(6):
        for j in range(6):
            tangent[i, j] += factor * a[i] * b[j]


@njit(cache=True, error_model="numpy")
def principal(strain: np.ndarray, e: np.ndarray, v: np.ndarray) -> None:
    """Principal values (3,) and directions (3, 3, columns) of a strain (6,)."""
    a = np.empty((3, 3))
    for k in range(3):
        m = (k + 1) % 3
        a[k, k] = strain[k]
        a[k, m] = a[m, k] = 0.5 * strain[3 + k]
    eigen_symmetric(a, v)
    for k in range(3):
        e[k] = a[k, k]
