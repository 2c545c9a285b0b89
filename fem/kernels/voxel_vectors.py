"""Vectors of conjugate gradients: what happens between two applications of the operator.

All arrays are flat, float64 but for the float32 of the preconditioner; each call works on ``first <= i < last`` and
returns its part of a sum.
"""

from __future__ import annotations

from numba import njit


@njit(fastmath=True, cache=True, nogil=True)
def dot(a, b, first, last):
    """Part of a.b in float64; ``b`` may be float32."""
    total = 0.0
    for i in range(first, last):
        total += a[i] * b[i]
    return total


@njit(fastmath=True, cache=True, nogil=True)
def advance(x, r, p, q, alpha, r_single, scale, first, last):
    """x += alpha p, r -= alpha q; ``r_single`` = scale r in float32. Returns the part of r.r."""
    total = 0.0
    for i in range(first, last):
        x[i] += alpha * p[i]
    for i in range(first, last):
        v = r[i] - alpha * q[i]
        r[i] = v
        r_single[i] = scale * v
        total += v * v
    return total


@njit(fastmath=True, cache=True, nogil=True)
def turn(p, z, beta, first, last):
    """p = z + beta p, ``z`` in float32."""
    for i in range(first, last):
        p[i] = z[i] + beta * p[i]
    return 0.0
