"""Small symmetric tensors as tuples of scalars, so that compiled code allocates nothing.

A *block* is a symmetric 6x6 matrix that couples the normal components only, as nine scalars:
the 3x3 normal part (00, 11, 22, 01, 12, 02) and three shear diagonals (xy, yz, xz).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

# no nrt: views are not counted as references, so these functions cannot allocate
OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}

Block = tuple[float, float, float, float, float, float, float, float, float]
Vector = tuple[float, float, float, float, float, float]

OK = 0
NOT_FINITE = 1
NO_ROOT = 2


@njit(**OPTIONS)
def load_block(values: np.ndarray, start: int) -> Block:
    """Nine scalars of `values` from index `start`, as a block."""
    return (
        values[start],
        values[start + 1],
        values[start + 2],
        values[start + 3],
        values[start + 4],
        values[start + 5],
        values[start + 6],
        values[start + 7],
        values[start + 8],
    )


@njit(**OPTIONS)
def load_vector(values: np.ndarray, start: int) -> Vector:
    """Six scalars of `values` from index `start`, as a vector."""
    return (
        values[start],
        values[start + 1],
        values[start + 2],
        values[start + 3],
        values[start + 4],
        values[start + 5],
    )


@njit(**OPTIONS)
def block_sum(a: Block, factor: float, b: Block) -> Block:
    """a + factor b."""
    return (
        a[0] + factor * b[0],
        a[1] + factor * b[1],
        a[2] + factor * b[2],
        a[3] + factor * b[3],
        a[4] + factor * b[4],
        a[5] + factor * b[5],
        a[6] + factor * b[6],
        a[7] + factor * b[7],
        a[8] + factor * b[8],
    )


@njit(**OPTIONS)
def widened(a: Block, diagonal: tuple[float, float, float]) -> Block:
    """a with `diagonal` added to that of its normal part."""
    return (
        a[0] + diagonal[0], a[1] + diagonal[1], a[2] + diagonal[2], a[3], a[4], a[5], a[6], a[7], a[8],
    )  # fmt: skip


@njit(**OPTIONS)
def block_inverse(a: Block) -> Block:
    """Inverse by cofactors; the normal part must be regular."""
    c00 = a[1] * a[2] - a[4] * a[4]
    c01 = a[5] * a[4] - a[3] * a[2]
    c02 = a[3] * a[4] - a[5] * a[1]
    inverse = 1.0 / (a[0] * c00 + a[3] * c01 + a[5] * c02)
    return (
        c00 * inverse,
        (a[0] * a[2] - a[5] * a[5]) * inverse,
        (a[0] * a[1] - a[3] * a[3]) * inverse,
        c01 * inverse,
        (a[3] * a[5] - a[0] * a[4]) * inverse,
        c02 * inverse,
        1.0 / a[6],
        1.0 / a[7],
        1.0 / a[8],
    )


@njit(**OPTIONS)
def block_times(a: Block, v: Vector) -> Vector:
    """a v."""
    return (
        a[0] * v[0] + a[3] * v[1] + a[5] * v[2],
        a[3] * v[0] + a[1] * v[1] + a[4] * v[2],
        a[5] * v[0] + a[4] * v[1] + a[2] * v[2],
        a[6] * v[3],
        a[7] * v[4],
        a[8] * v[5],
    )


@njit(**OPTIONS)
def dot(u: Vector, v: Vector) -> float:
    """Scalar product of two vectors."""
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2] + u[3] * v[3] + u[4] * v[4] + u[5] * v[5]


@njit(**OPTIONS)
def scaled(factor: float, v: Vector) -> Vector:
    """factor v."""
    return (factor * v[0], factor * v[1], factor * v[2], factor * v[3], factor * v[4], factor * v[5])


@njit(**OPTIONS)
def vector_sum(u: Vector, factor: float, v: Vector) -> Vector:
    """u + factor v."""
    return (
        u[0] + factor * v[0],
        u[1] + factor * v[1],
        u[2] + factor * v[2],
        u[3] + factor * v[3],
        u[4] + factor * v[4],
        u[5] + factor * v[5],
    )


@njit(**OPTIONS)
def store_block(a: Block, factor: float, out: np.ndarray) -> None:
    """Write factor a into `out` (6, 6)."""
    out[:, :] = 0.0
    for i in range(3):
        out[i, i] = factor * a[i]
        out[3 + i, 3 + i] = factor * a[6 + i]
    out[0, 1] = out[1, 0] = factor * a[3]
    out[1, 2] = out[2, 1] = factor * a[4]
    out[0, 2] = out[2, 0] = factor * a[5]


@njit(**OPTIONS)
def store_vector(v: Vector, factor: float, out: np.ndarray, start: int) -> None:
    """Write factor v into six places of `out` from `start`."""
    out[start] = factor * v[0]
    out[start + 1] = factor * v[1]
    out[start + 2] = factor * v[2]
    out[start + 3] = factor * v[3]
    out[start + 4] = factor * v[4]
    out[start + 5] = factor * v[5]


@njit(**OPTIONS)
def add_outer(u: Vector, factor: float, v: Vector, out: np.ndarray) -> None:
    """Add factor u v^T to `out` (6, 6)."""
    for i in range(6):
        scale = factor * u[i]
        for j in range(6):
            out[i, j] += scale * v[j]


@njit(**OPTIONS)
def all_finite(v: Vector) -> bool:
    """Whether no component is NaN or infinite (a sum would hide inf - inf only as NaN)."""
    return bool(np.isfinite(abs(v[0]) + abs(v[1]) + abs(v[2]) + abs(v[3]) + abs(v[4]) + abs(v[5])))


@njit(**OPTIONS)
def fail(code: int, stress: np.ndarray, tangent: np.ndarray) -> int:
    """Blank the outputs of a failed point, so that nobody can mistake them for numbers; returns `code`."""
    stress[:] = np.nan
    tangent[:, :] = np.nan
    return code
