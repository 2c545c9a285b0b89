"""Rigid platens: x_a = c + u + R(theta) r_a, exact under finite rotation.

theta is the rotation vector. R = 1 + a(s) W + b(s) W W with W = skew(theta), s = theta . theta,
a = sin|theta|/|theta|, b = (1 - cos|theta|)/s (Rodrigues), all as power series in s, so that small angles need no case.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TERMS = 16
_A = np.polynomial.Polynomial([(-1.0) ** n / factorial(2 * n + 1) for n in range(_TERMS)])
_B = np.polynomial.Polynomial([(-1.0) ** n / factorial(2 * n + 2) for n in range(_TERMS)])
_SERIES_A, _SERIES_B = ((p, p.deriv(1), p.deriv(2)) for p in (_A, _B))
_GENERATORS = np.zeros((3, 3, 3))
for _k, (_i, _j) in enumerate(((2, 1), (0, 2), (1, 0))):
    _GENERATORS[_k, _i, _j], _GENERATORS[_k, _j, _i] = 1.0, -1.0


@dataclass(frozen=True)
class Platen:
    """A rigid set of nodes with one reference node.

    Attributes
    ----------
    name
        For messages and tables.
    nodes
        (k,) node ids.
    centre_mm
        (3,) reference point in the reference configuration. Force control acts on this material point.
    """

    name: str
    nodes: NDArray[np.int64]
    centre_mm: Array


def rotation(theta: Array) -> tuple[Array, Array, Array]:
    """Rotation matrix (3, 3), its gradient (3, 3, 3; first index = component) and Hessian (3, 3, 3, 3); read-only."""
    return _rotation(*theta.tolist())


@lru_cache(maxsize=16)  # one evaluation asks for the same up to four times
def _rotation(x: float, y: float, z: float) -> tuple[Array, Array, Array]:
    theta = np.array([x, y, z])
    s = float(theta @ theta)
    w = np.einsum("k,kij->ij", theta, _GENERATORS)
    a, a1, a2 = (float(p(s)) for p in _SERIES_A)
    b, b1, b2 = (float(p(s)) for p in _SERIES_B)
    ak, bk = 2.0 * a1 * theta, 2.0 * b1 * theta
    square = w @ w
    wk = np.einsum("kij,jl->kil", _GENERATORS, w) + np.einsum("ij,kjl->kil", w, _GENERATORS)
    matrix = np.eye(3) + a * w + b * square
    first = ak[:, None, None] * w + a * _GENERATORS + bk[:, None, None] * square + b * wk
    outer = np.outer(theta, theta)
    akl, bkl = 2.0 * a1 * np.eye(3) + 4.0 * a2 * outer, 2.0 * b1 * np.eye(3) + 4.0 * b2 * outer
    mixed = np.einsum("kij,ljm->klim", _GENERATORS, _GENERATORS)
    second = akl[:, :, None, None] * w + bkl[:, :, None, None] * square
    second += np.einsum("k,lij->klij", ak, _GENERATORS) + np.einsum("l,kij->klij", ak, _GENERATORS)
    second += np.einsum("k,lij->klij", bk, wk) + np.einsum("l,kij->klij", bk, wk)
    second += b * (mixed + np.swapaxes(mixed, 0, 1))
    for found in (matrix, first, second):
        found.flags.writeable = False
    return matrix, first, second


def platen_displacement(platen: Platen, points_mm: Array, motion: Array) -> Array:
    """Displacement (k, 3) of the platen's nodes for ``motion`` (6,): translation mm, rotation vector rad."""
    arm = points_mm[platen.nodes] - platen.centre_mm
    matrix, _, _ = rotation(motion[3:])
    return np.asarray(motion[:3] + arm @ (matrix - np.eye(3)).T)


def platen_slopes(platen: Platen, points_mm: Array, theta: Array) -> Array:
    """(k, 3, 3): derivative of node displacement [node, component] with respect to theta [last]."""
    arm = points_mm[platen.nodes] - platen.centre_mm
    _, first, _ = rotation(theta)
    return np.asarray(np.einsum("kij,aj->aik", first, arm))


def platen_stiffness(platen: Platen, points_mm: Array, theta: Array, force_n: Array) -> Array:
    """(3, 3) geometric stiffness: sum_a f_a . d2u_a/dtheta2, with ``force_n`` (k, 3) the internal nodal forces."""
    arm = points_mm[platen.nodes] - platen.centre_mm
    _, _, second = rotation(theta)
    return np.asarray(np.einsum("klij,ai,aj->kl", second, force_n, arm))


def spin(theta: Array) -> Array:
    """(3, 3) matrix T: a change d theta of the rotation vector turns by the angles T d theta about the fixed axes.

    Column k is the axial vector of dR/dtheta_k R^T; T = 1 + theta x /2 + .. , and T theta = theta.
    """
    matrix, first, _ = rotation(theta)
    skew = np.einsum("kij,lj->kil", first, matrix)
    return np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]])


def conjugate_moment(theta: Array, moment_n_mm: Array) -> Array:
    """(3,) what a moment (3,) about the fixed axes, N mm, is as ``Load.force`` on the rotations of a platen at theta.

    The work of a moment m is m . T d theta, so its conjugate to the rotation vector is T^T m. A ``Load.force`` of fixed
    value (0, 0, M) is therefore the pure moment M about z as long as the platen turns about z alone (T theta = theta),
    in flexion, bending and torsion alike. Where it turns about other axes as well, by theta', its moment differs from
    that by about M theta'/2; the moment that acts is found by `applied_moment`, and a fixed one is reached by renewing
    the conjugate between steps.
    """
    return np.asarray(spin(theta).T @ moment_n_mm)


def applied_moment(theta: Array, conjugate: Array) -> Array:
    """(3,) moment about the fixed axes, N mm, of generalised forces (3,) on a platen's rotations; see above."""
    return np.asarray(np.linalg.solve(spin(theta).T, conjugate))


def moved_centre(platen: Platen, motion: Array, centre_mm: Array) -> tuple[Platen, Array]:
    """The same rigid position told from another material point: (platen, motion (6,)) at ``centre_mm``."""
    matrix, _, _ = rotation(motion[3:])
    shift = centre_mm - platen.centre_mm
    moved = np.concatenate([motion[:3] + (matrix - np.eye(3)) @ shift, motion[3:]])
    return Platen(platen.name, platen.nodes, np.asarray(centre_mm, dtype=np.float64)), moved
