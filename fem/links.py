"""Elements between points that bodies carry: ligaments, facet stops, cables (follower loads).

A point is a weighted mean of nodes, x = sum w_a x_a with sum w_a = 1, which follows every affine motion of its nodes
exactly; what pulls at it is spread over them. Each element has an energy, so its forces are in balance, also in moment,
and its stiffness is symmetric. With G (3n, 3k) the weights and D (3k, 3k) the stiffness between the points, the nodes
feel G D G^T. It is kept in these factors: points may have many nodes, and the sparsity of the mesh stays what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kyphos.errors import InputError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_SPREAD = 1e-6  # least extent of carrying nodes across, as a share of their largest


class Coupling(NamedTuple):
    """A stiffness in factors, G D G^T: ``weights`` (n, k) and ``stiffness`` (k, k), both sparse."""

    weights: sp.csr_array
    stiffness: sp.csr_array

    def __matmul__(self, x: NDArray[Any]) -> Array:
        """G D G^T x for x (n,) or (n, b)."""
        return np.asarray(self.weights @ (self.stiffness @ (self.weights.T @ x)))

    def of_rows(self, rows: Ids) -> Coupling:
        """Rows and columns ``rows`` (m,) of the matrix."""
        return Coupling(sp.csr_array(self.weights[rows]), self.stiffness)

    def tocsr(self) -> sp.csr_array:
        """(n, n)."""
        return sp.csr_array(self.weights @ self.stiffness @ self.weights.T)


class Pulled(NamedTuple):
    """What elements do to their points.

    energy N mm; ends (e, k) points of each element; force (e, 3k) its gradient, N; stiffness (e, 3k, 3k), N/mm;
    size (e,) the force that each bears, N: tension of springs and cables, pressure of stops; along (e, 3k) and slope
    (e,), N/mm: force = size along, and size grows by slope along . u with small displacements u of the points.
    """

    energy: float
    ends: Ids
    force: Array
    stiffness: Array
    size: Array
    along: Array
    slope: Array


def ramp(x: Array, width: float | Array) -> tuple[Array, Array, Array]:
    """A ramp without a corner: 0 below -``width``, x above it, a parabola between; integral, value, derivative."""
    inside, w = np.clip(x, -width, width), np.maximum(width, 1e-300)
    beyond = np.maximum(x - width, 0.0)
    value = (inside + w) ** 2 / (4.0 * w) + beyond
    integral = (inside + w) ** 3 / (12.0 * w) + beyond * (w + 0.5 * beyond)
    return integral, value, (inside + w) / (2.0 * w)


@dataclass(frozen=True)
class Springs:
    """Cords between two points each, which bear tension only, with two stiffnesses (ligaments).

    Force N(e), e = l/L - 1: 0 while slack, ``toe_n`` (e - r) up to the ``transition`` strain, with (``stiff_n`` -
    ``toe_n``) (e - transition) more beyond. The corners are rounded: the first over 0 < e < 2 r, so that a cord at rest
    bears nothing, the second over +- r. A rest length below the present one is a pretension.

    Attributes
    ----------
    ends
        (e, 2) points.
    rest_length_mm, toe_n, stiff_n, transition
        (e,) L; force per unit strain, N; strain.
    rounding
        r, half the width over which the slope changes, a strain.
    """

    ends: Ids
    rest_length_mm: Array
    toe_n: Array
    stiff_n: Array
    transition: Array
    rounding: float = 0.003

    def __post_init__(self) -> None:
        count = len(self.ends)
        for name in ("rest_length_mm", "toe_n", "stiff_n", "transition"):
            values = getattr(self, name)
            least = 0.0 if name != "rest_length_mm" else 1e-9
            if np.shape(values) != (count,) or not np.all(np.isfinite(values)) or np.any(values < least):
                raise InputError(
                    f"Springs: {name} must hold {count} numbers of at least {least:g}, one for each spring"
                )
        if not 0.0 < self.rounding < 0.5:
            raise InputError(f"Springs: rounding={self.rounding:g} must be a strain between 0 and 0.5")

    def force(self, strain: Array) -> tuple[Array, Array, Array]:
        """Integral over strain, force and its derivative by strain, (e,) each, N."""
        first, second = ramp(strain - self.rounding, self.rounding), ramp(strain - self.transition, self.rounding)
        extra = self.stiff_n - self.toe_n
        integral, value, slope = (self.toe_n * a + extra * b for a, b in zip(first, second, strict=True))
        return integral, value, slope

    def pulled(self, points_mm: Array) -> Pulled:
        """Energy, forces and stiffness with the points at (k, 3)."""
        length, along = _segments(points_mm, self.ends)
        integral, force, slope = self.force(length / self.rest_length_mm - 1.0)
        energy = float(integral @ self.rest_length_mm)
        return _axial(energy, self.ends, length, along, force, slope / self.rest_length_mm)


@dataclass(frozen=True)
class Stops:
    """Points that may not pass a plane: contact without friction, compression only (facet joints).

    The plane is normal to the line from point ``base`` to point ``tip`` and moves and turns with whoever carries both.
    Pressed is point ``contact``, with the force ``stiffness`` (-g), rounded over +- ``rounding_mm``, where
    g = n . (x_contact - x_base) + ``offset_mm`` is its distance before the plane; see `stops_at_rest`.

    Attributes
    ----------
    ends
        (e, 3) points: base, tip, contact. Free is the side to which the normal points.
    offset_mm
        (e,).
    stiffness_n_per_mm
        (e,).
    rounding_mm
        Half the width over which contact sets in.
    """

    ends: Ids
    offset_mm: Array
    stiffness_n_per_mm: Array
    rounding_mm: float = 0.1

    def __post_init__(self) -> None:
        count = len(self.ends)
        if np.shape(self.ends) != (count, 3):
            raise InputError(
                f"Stops: ends have shape {np.shape(self.ends)}; (e, 3) for base, tip and contact is needed"
            )
        if np.shape(self.offset_mm) != (count,) or np.shape(self.stiffness_n_per_mm) != (count,):
            raise InputError(f"Stops: offset_mm and stiffness_n_per_mm must hold {count} numbers, one for each stop")
        if np.any(self.stiffness_n_per_mm <= 0.0) or not self.rounding_mm > 0.0:
            raise InputError("Stops: stiffness_n_per_mm and rounding_mm must be positive")

    def pulled(self, points_mm: Array) -> Pulled:
        """Energy, forces and stiffness with the points at (k, 3)."""
        base, tip, contact = (points_mm[self.ends[:, i]] for i in range(3))
        gap, gradient, hessian = _distance_beyond(tip - base, contact - base)
        integral, force, slope = ramp(-(gap + self.offset_mm), self.rounding_mm)
        k = self.stiffness_n_per_mm
        stiffness = (k * slope)[:, None, None] * gradient[:, :, None] * gradient[:, None, :]
        stiffness -= (k * force)[:, None, None] * hessian
        size = k * force
        return Pulled(float(k @ integral), self.ends, -size[:, None] * gradient, stiffness, size, -gradient, k * slope)


def stops_at_rest(
    points_mm: Array, ends: Ids, gap_mm: Array, stiffness_n_per_mm: Array, rounding_mm: float = 0.1
) -> Stops:
    """Stops that have the gaps (e,) while the points are at (k, 3); see `Stops`."""
    base, tip, contact = (points_mm[ends[:, i]] for i in range(3))
    return Stops(ends, gap_mm - _distance_beyond(tip - base, contact - base)[0], stiffness_n_per_mm, rounding_mm)


@dataclass(frozen=True)
class Cables:
    """Cords that run freely over points, with one tension each, given by ``Load.tension_n`` (follower loads).

    A cable over the centres of successive bodies presses each on the next along the line between them, wherever they
    go (Patwardhan et al. 1999, Spine 24:1003). Its energy is tension times length, so the stiffness, tension/length
    across every segment, is exact and symmetric. The two ends balance each other: supports feel nothing of it unless
    it ends there.

    Attributes
    ----------
    names
        Of the cables, in the order of ``Load.tension_n``.
    paths
        Points of each cable in turn, (k,) with k >= 2.
    """

    names: tuple[str, ...]
    paths: tuple[Ids, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.paths) or any(len(path) < 2 for path in self.paths):
            raise InputError("Cables: each cable needs a name and a path of at least two points")

    @cached_property
    def segments(self) -> tuple[Ids, Ids]:
        """Ends (e, 2) of all straight pieces, and the cable (e,) of each."""
        ends = np.concatenate([np.stack([path[:-1], path[1:]], axis=1) for path in self.paths])
        return ends, np.repeat(np.arange(len(self.paths)), [len(path) - 1 for path in self.paths])

    def lengths_mm(self, points_mm: Array) -> Array:
        """(c,) length of each cable with the points at (k, 3)."""
        ends, cable = self.segments
        lengths = np.bincount(cable, _segments(points_mm, ends)[0], len(self.paths))
        return np.asarray(lengths, dtype=np.float64)

    def pulled(self, points_mm: Array, tension_n: Array) -> Pulled:
        """Energy, forces and stiffness under tensions (c,) with the points at (k, 3)."""
        ends, cable = self.segments
        length, along = _segments(points_mm, ends)
        tension = np.asarray(tension_n)[cable]
        return _axial(float(tension @ length), ends, length, along, tension, np.zeros_like(length))


@dataclass(frozen=True)
class Links:
    """All elements between points of one structure.

    Attributes
    ----------
    weights
        (k, n) weights of the nodes for each point; see `carried_points`.
    springs, stops, cables
        The elements; their ends are rows of ``weights``.

    Raises
    ------
    InputError
        No element, an end that is no row of ``weights``, or weights that do not sum to one.
    """

    weights: sp.csr_array
    springs: Springs | None = None
    stops: Stops | None = None
    cables: Cables | None = None

    def __post_init__(self) -> None:
        count = self.weights.shape[0]
        if not np.allclose(self.weights.sum(axis=1), 1.0, rtol=0.0, atol=1e-9):
            raise InputError("Links: the weights of a point must sum to one; see carried_points")
        ends = [part.ends.ravel() for part in (self.springs, self.stops) if part is not None]
        ends += list(self.cables.paths) if self.cables is not None else []
        if not ends:
            raise InputError("Links: there is no element; give springs, stops or cables, or leave the links out")
        every = np.concatenate(ends)
        if every.min() < 0 or every.max() >= count:
            raise InputError(f"Links: an element ends at a point that does not exist; there are {count}")

    @property
    def n_cables(self) -> int:
        """Cables, each with a tension of its own."""
        return 0 if self.cables is None else len(self.cables.names)

    @cached_property
    def spread(self) -> sp.csr_array:
        """(3n, 3k) G: forces on the points to forces on the nodes."""
        return sp.csr_array(sp.kron(self.weights.T, sp.eye_array(3), format="csr"))

    def points_mm(self, nodes_mm: Array) -> Array:
        """(k, 3) where the points are while the nodes are at (n, 3)."""
        return np.asarray(self.weights @ nodes_mm)

    def parts(self, nodes_mm: Array, tension_n: Array) -> dict[str, Pulled]:
        """What ``springs``, ``stops`` and ``cables`` do while the nodes are at (n, 3), under tensions (c,)."""
        points = self.points_mm(nodes_mm)
        out = {name: part.pulled(points) for name, part in self._passive.items()}
        if self.cables is not None:
            out["cables"] = self.cables.pulled(points, self._tension(tension_n))
        return out

    @property
    def _passive(self) -> dict[str, Springs | Stops]:
        named: dict[str, Springs | Stops | None] = {"springs": self.springs, "stops": self.stops}
        return {name: part for name, part in named.items() if part is not None}

    def _tension(self, tension_n: Array) -> Array:
        tension = np.asarray(tension_n, dtype=np.float64)
        if tension.size == 0:
            return np.zeros(self.n_cables)
        if tension.shape != (self.n_cables,):
            raise InputError(f"Load.tension_n has {tension.size} entries; there are {self.n_cables} cables")
        return tension

    def acting(self, nodes_mm: Array, tension_n: Array) -> Acting:
        """Forces on all nodes, at (n, 3), under tensions (c,), and their stiffness."""
        size = 3 * self.weights.shape[0]
        force, energy = np.zeros(size), 0.0
        rows, columns, values = [], [], []
        for part in self.parts(nodes_mm, tension_n).values():
            at = (3 * part.ends[:, :, None] + np.arange(3)).reshape(len(part.ends), -1)  # (e, 3k)
            np.add.at(force, at, part.force)
            energy += part.energy
            rows.append(np.repeat(at, at.shape[1], axis=1).ravel())
            columns.append(np.tile(at, (1, at.shape[1])).ravel())
            values.append(part.stiffness.ravel())
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        stiffness = sp.csr_array(sp.coo_array(entries, shape=(size, size)))
        return Acting(energy, np.asarray(self.spread @ force), Coupling(self.spread, stiffness))


@dataclass(frozen=True)
class Acting:
    """What links do to the nodes: energy N mm, internal forces (3n,) N, stiffness."""

    energy: float
    force_n: Array
    coupling: Coupling


def carried_points(nodes_mm: Array, carriers: Sequence[Ids], at_mm: Array) -> sp.csr_array:
    """Weights (k, n) of points at (k, 3) that nodes carry, as evenly as may be (least squares of the weights).

    Each point follows all affine motions of its nodes: translations, rotations, and mean strains. A point far outside
    its nodes turns with them, but also feels their strain over that distance; so take nodes of a part as stiff and as
    wide as there is, some dozens rather than thousands (a direct solver multiplies their numbers).

    Parameters
    ----------
    nodes_mm
        (n, 3).
    carriers
        Node ids of each point; one node carries what lies on it, nodes in a plane what lies in it.

    Raises
    ------
    InputError
        Nodes that cannot carry their point: all in a plane, or on a line, that does not hold it.
    """
    at = np.atleast_2d(np.asarray(at_mm, dtype=np.float64))
    if len(carriers) != len(at):
        raise InputError(f"carried_points: {len(carriers)} sets of nodes for {len(at)} points; give one for each")
    weights = [_affine_weights(nodes_mm[ids], at[k], k) for k, ids in enumerate(carriers)]
    return point_weights(carriers, weights, len(nodes_mm))


def point_weights(carriers: Sequence[Ids], weights: Sequence[Array], n_nodes: int) -> sp.csr_array:
    """Weights (k, n) of points, each with the ids and the weights (a,) of the nodes that carry it."""
    rows = np.repeat(np.arange(len(carriers)), [len(ids) for ids in carriers])
    entries = (np.concatenate(weights), (rows, np.concatenate(carriers)))
    return sp.csr_array(sp.coo_array(entries, shape=(len(carriers), n_nodes)))


def _affine_weights(nodes_mm: Array, point_mm: Array, number: int) -> Array:
    """Weights (a,) of least squares with sum 1 and first moment zero about the point."""
    middle = nodes_mm.mean(axis=0)
    arms, wanted = nodes_mm - middle, point_mm - middle
    u, extent, axes = np.linalg.svd(arms, full_matrices=False)
    wide = extent > _SPREAD * max(float(extent[0]), 1e-300)
    missed = wanted - axes[wide].T @ (axes[wide] @ wanted)
    if np.linalg.norm(missed) > 1e-6 * (1.0 + np.linalg.norm(wanted)):
        raise InputError(
            f"carried_points: point {number} lies {np.linalg.norm(missed):.3g} mm outside the plane or line of its "
            f"{len(nodes_mm)} nodes; add nodes beside it"
        )
    return np.asarray(1.0 / len(nodes_mm) + u[:, wide] @ ((axes[wide] @ wanted) / extent[wide]))


def _segments(points_mm: Array, ends: Ids) -> tuple[Array, Array]:
    """Lengths (e,) and unit vectors (e, 3) from first to second end."""
    arm = points_mm[ends[:, 1]] - points_mm[ends[:, 0]]
    length = np.maximum(np.linalg.norm(arm, axis=1), 1e-9)
    return length, arm / length[:, None]


def _axial(energy: float, ends: Ids, length: Array, along: Array, tension: Array, stiffness: Array) -> Pulled:
    """Forces (e, 6) and stiffness (e, 6, 6) of straight pieces under tension (e,) with dN/dl = ``stiffness`` (e,)."""
    dyad = along[:, :, None] * along[:, None, :]
    block = stiffness[:, None, None] * dyad + (tension / length)[:, None, None] * (np.eye(3) - dyad)
    pair = np.array([[1.0, -1.0], [-1.0, 1.0]])
    whole = np.einsum("ab,eij->eaibj", pair, block).reshape(len(ends), 6, 6)
    apart = np.concatenate([-along, along], axis=1)
    return Pulled(energy, ends, tension[:, None] * apart, whole, tension, apart, stiffness)


_FROM_ENDS = np.kron(np.array([[[-1.0, 1.0, 0.0]], [[-1.0, 0.0, 1.0]]]), np.eye(3))
"""(2, 3, 9): arms to tip and to contact from (base, tip, contact)."""


def _distance_beyond(axis: Array, arm: Array) -> tuple[Array, Array, Array]:
    """n . arm with n = axis/|axis|, for (e, 3) each: (e,), its gradient (e, 9) and Hessian (e, 9, 9) by the ends."""
    length, normal = np.linalg.norm(axis, axis=1), axis / np.linalg.norm(axis, axis=1)[:, None]
    across = (np.eye(3) - normal[:, :, None] * normal[:, None, :]) / length[:, None, None]
    turned = np.einsum("eij,ej->ei", across, arm)
    value = np.einsum("ei,ei->e", normal, arm)
    to_tip, to_contact = _FROM_ENDS
    gradient = turned @ to_tip + normal @ to_contact
    both = turned[:, :, None] * normal[:, None, :]
    bend = -(both + both.transpose(0, 2, 1) + value[:, None, None] * across) / length[:, None, None]
    mixed = np.einsum("ia,eij,jb->eab", to_tip, across, to_contact)
    hessian = np.einsum("ia,eij,jb->eab", to_tip, bend, to_tip) + mixed + mixed.transpose(0, 2, 1)
    return value, gradient, hessian
