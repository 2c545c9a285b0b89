"""Which bodies the supports and equations leave free to move: found before anything is solved, and named.

A body is what hangs together by faces of its elements. Each has six rigid motions; supports, equations and nodes that
bodies share are linear conditions on them. What is left over is what moves freely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from kyphos import fem
from kyphos.errors import DeckError

from .lexer import Place
from .model import Model

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_FREE = 1e-10  # eigenvalue of a motion that nothing resists, as a share of the largest
_TOLD = 4  # motions that a message names


@dataclass(frozen=True)
class Bodies:
    """Bodies of a model.

    Attributes
    ----------
    of_cell
        (c,) body of every cell.
    of_node
        (n,) one body of every node, -1 for a node of no cell.
    shared
        (k, 2) node and another body that it belongs to.
    centre_mm, size_mm
        (b, 3) and (b,): where rotations are about, and what they are scaled by.
    """

    of_cell: Ids
    of_node: Ids
    shared: Ids
    centre_mm: Array
    size_mm: Array


def find_bodies(model: Model) -> Bodies:
    """Cells that share faces, directly or through others."""
    mesh = model.mesh
    label = _joined_by_faces(model)
    pairs = np.concatenate(
        [
            np.stack([mesh.cells[p.cells, a], label[p.cells]], axis=1)
            for p in mesh.parts
            for a in range(p.element.n_nodes)
        ]
    )
    width = int(label.max()) + 1
    pairs = np.stack(np.divmod(np.unique(pairs[:, 0] * width + pairs[:, 1]), width), axis=1)
    node, first = np.unique(pairs[:, 0], return_index=True)
    of_node = np.full(model.n_nodes, -1)
    of_node[node] = pairs[first, 1]
    shared = np.delete(pairs, first, axis=0)
    points = mesh.points_mm[pairs[:, 0]]
    count = np.bincount(pairs[:, 1], minlength=width)
    centre = np.stack([np.bincount(pairs[:, 1], points[:, i], width) / count for i in range(3)], axis=1)
    size = np.zeros(width)
    np.maximum.at(size, pairs[:, 1], np.linalg.norm(points - centre[pairs[:, 1]], axis=1))
    return Bodies(label, of_node, shared, centre, size)


def _joined_by_faces(model: Model) -> Ids:
    """(c,) label of the cells; a face is known by the sum of random numbers of its corners."""
    mesh = model.mesh
    key = np.random.default_rng(0).integers(0, 2**62, model.n_nodes, dtype=np.int64)
    faces, owners = list[Ids](), list[Ids]()
    for part in mesh.parts:
        corners = 8 if part.element.is_hex else 4
        with np.errstate(over="ignore"):
            sums = key[mesh.cells[part.cells][:, fem.FACES[corners]]].sum(axis=2)
        faces.append(sums.ravel())
        owners.append(np.repeat(part.cells, sums.shape[1]))
    face, owner = np.concatenate(faces), np.concatenate(owners)
    order = np.argsort(face, kind="stable")
    same = np.flatnonzero(face[order][1:] == face[order][:-1])
    links = (owner[order[same]], owner[order[same + 1]])
    m = len(mesh.cells)
    graph = sp.coo_array((np.ones(same.size), links), shape=(m, m))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def check_supports(model: Model, bodies: Bodies, held: NDArray[np.bool_], place: Place) -> None:
    """Refuse a step in which something can move freely.

    Parameters
    ----------
    held
        (3n,) nodal freedoms that are prescribed.
    place
        The step, for the message.

    Raises
    ------
    DeckError
        Naming up to four of the motions: which body, how.
    """
    rows = _conditions(model, bodies, held)
    normal = sp.csr_array(rows.T @ rows)
    used = np.flatnonzero(normal.diagonal() > 0.0)
    unknown = np.union1d(np.arange(6 * len(bodies.size_mm)), used)
    normal = normal[unknown][:, unknown]
    motions: list[Array] = []
    for own in _coupled(normal, unknown, len(bodies.size_mm)):
        values, vectors = np.linalg.eigh(normal[own][:, own].toarray())
        free = vectors[:, values <= _FREE * max(values[-1], 1.0)]
        for motion in _plain(free, unknown[own], len(bodies.size_mm)).T:
            motions.append(np.zeros(rows.shape[1]))
            motions[-1][unknown[own]] = motion
    if motions:
        told = "; ".join(_described(model, bodies, motion) for motion in motions[:_TOLD])
        more = f"; and {len(motions) - _TOLD} more motions" if len(motions) > _TOLD else ""
        raise DeckError(
            f"{place}: *STEP: the supports are singular, {told}{more}. "
            "Hold it with *BOUNDARY, join parts by shared nodes, or tie them with *EQUATION."
        )


def _coupled(normal: sp.csr_array, unknown: Ids, n_bodies: int) -> list[Ids]:
    """Unknowns in groups that no condition joins; the six of a body always together."""
    size = unknown.size
    body = np.where(unknown < 6 * n_bodies, unknown // 6, n_bodies + unknown)
    same = np.flatnonzero(body[1:] == body[:-1])
    chain = sp.coo_array((np.ones(same.size), (same, same + 1)), shape=(size, size))
    count, label = connected_components(abs(normal) + chain, directed=False)
    order = np.argsort(label, kind="stable")
    return list(np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1]))


def _conditions(model: Model, bodies: Bodies, held: NDArray[np.bool_]) -> sp.csr_array:
    """Rows: conditions; columns: six motions of each body (rotations times its size), then all nodal freedoms.

    The freedom of a node of a body is that of its body; the others are unknowns of their own.
    """
    n_bodies, n = len(bodies.size_mm), 3 * model.n_nodes
    motion = _freedoms(model, bodies)  # (3n, 6b + 3n)
    fixed = motion[np.flatnonzero(held)]
    other = _of_bodies(model, bodies, np.repeat(bodies.shared[:, 0], 3), np.tile(np.arange(3), len(bodies.shared)),
                       np.repeat(bodies.shared[:, 1], 3), n)  # fmt: skip
    own = motion[(3 * bodies.shared[:, :1] + np.arange(3)).ravel()]
    terms = [terms for terms, _ in [*model.equations, *model.rigid_equations]]
    row = np.repeat(np.arange(len(terms)), [len(t) for t in terms]).astype(np.int64)
    column = np.array([at for t in terms for at, _ in t], dtype=np.int64)
    value = np.array([c for t in terms for _, c in t])
    equations = sp.csr_array(sp.coo_array((value, (row, column)), shape=(len(terms), n)))
    largest = np.maximum(abs(equations).max(axis=1).toarray().ravel(), 1e-300) if len(terms) else np.ones(0)
    equations = sp.csr_array(sp.diags_array(1.0 / largest) @ equations) if len(terms) else equations
    parts = [fixed, own - other, equations @ motion]
    return sp.csr_array(sp.vstack([p for p in parts if p.shape[0]] or [sp.csr_array((1, 6 * n_bodies + n))]))


def _freedoms(model: Model, bodies: Bodies) -> sp.csr_array:
    """(3n, 6b + 3n): nodal displacements from the unknown motions."""
    n = 3 * model.n_nodes
    node = np.repeat(np.flatnonzero(bodies.of_node >= 0), 3)
    component = np.tile(np.arange(3), node.size // 3)
    inside = _of_bodies(model, bodies, node, component, bodies.of_node[node], n)
    place = sp.csr_array(
        sp.coo_array((np.ones(node.size), (3 * node + component, np.arange(node.size))), (n, node.size))
    )
    loose = np.flatnonzero(np.repeat(bodies.of_node < 0, 3))
    width = 6 * len(bodies.size_mm)
    alone = sp.coo_array((np.ones(loose.size), (loose, width + loose)), shape=(n, width + n))
    return sp.csr_array(place @ inside + alone)


def _of_bodies(model: Model, bodies: Bodies, node: Ids, component: Ids, body: Ids, n: int) -> sp.csr_array:
    """(k, 6b + 3n): displacement of ``node`` (k,) along ``component`` (k,) when it moves with ``body`` (k,)."""
    arm = (model.mesh.points_mm[node] - bodies.centre_mm[body]) / bodies.size_mm[body][:, None]
    j, k, each = (component + 1) % 3, (component + 2) % 3, np.arange(node.size)
    rows = np.tile(each, 3)
    columns = np.concatenate([6 * body + component, 6 * body + 3 + j, 6 * body + 3 + k])
    values = np.concatenate([np.ones(node.size), arm[each, k], -arm[each, j]])
    return sp.csr_array(sp.coo_array((values, (rows, columns)), shape=(node.size, 6 * len(bodies.size_mm) + n)))


def _plain(free: Array, unknown: Ids, n_bodies: int) -> Array:
    """The same space of motions (u, k) by simple ones: translations first, each along as few axes as possible."""
    turning = free[(unknown < 6 * n_bodies) & (unknown % 6 >= 3)]
    _, size, vectors = np.linalg.svd(turning, full_matrices=True)
    rank = int(np.count_nonzero(size > 1e-6))
    still, turned = free @ vectors[rank:].T, free @ vectors[:rank].T
    moves = (unknown >= 6 * n_bodies) | (unknown % 6 < 3)
    still = _reduced(still, still[moves])
    turned = _reduced(turned, turned[(unknown < 6 * n_bodies) & (unknown % 6 >= 3)])
    return np.concatenate([still, turned], axis=1)


def _reduced(motions: Array, by: Array) -> Array:
    """Column echelon form of ``motions`` (u, k), pivots in ``by`` (v, k)."""
    motions, by = motions.copy(), by.copy()
    for column in range(motions.shape[1]):
        weight = np.max(np.abs(by[:, column:]), axis=1, initial=0.0)
        pivot = int(np.argmax(weight > 0.3 * weight.max())) if weight.size else 0
        best = column + int(np.argmax(np.abs(by[pivot, column:])))
        for array in (motions, by):
            array[:, [column, best]] = array[:, [best, column]]
        for other in range(motions.shape[1]):
            if other != column:
                factor = by[pivot, other] / by[pivot, column]
                motions[:, other] -= factor * motions[:, column]
                by[:, other] -= factor * by[:, column]
    return motions


def _described(model: Model, bodies: Bodies, motion: Array) -> str:
    """Who moves, and how."""
    n_bodies = len(bodies.size_mm)
    own = motion[: 6 * n_bodies].reshape(-1, 6)
    amount = np.abs(own).max(axis=1, initial=0.0)
    loose = np.flatnonzero(np.abs(motion[6 * n_bodies :]) > 1e-6)
    if amount.size == 0 or amount.max() <= 1e-6:
        node, component = divmod(int(loose[0]), 3)
        if node < len(model.deck.node_ids):
            return f"node {model.deck.node_ids[node]}, which belongs to no element, can move along {'xyz'[component]}"
        return f"the reference node of a rigid body can turn about {'xyz'[component]}"
    chosen = int(np.argmax(amount))
    others = np.flatnonzero(amount > 1e-6 * amount.max())
    others = others[others != chosen]
    text = f"{_body_name(model, bodies, chosen)} {_motion_name(own[chosen], bodies, chosen)}"
    if others.size:
        names = ", ".join(_body_name(model, bodies, int(b)) for b in others[:3])
        text += f" (together with {names}{' and others' if others.size > 3 else ''})"
    return text


def _body_name(model: Model, bodies: Bodies, body: int) -> str:
    cells = np.flatnonzero(bodies.of_cell == body)
    elements = model.elements[cells]
    covering = [
        (len(members), name)
        for name, members in model.deck.element_sets.items()
        if np.isin(elements, members, assume_unique=True).all()
    ]
    first = model.deck.element_ids[elements.min()]
    label = f"set {min(covering)[1]}" if covering else f"from element {first} on"
    count = f"{cells.size} element{'s' if cells.size > 1 else ''}"
    if len(bodies.size_mm) == 1:
        return f"the body ({count}, {label})"
    return f"part {body + 1} ({count}, {label})"


def _motion_name(motion: Array, bodies: Bodies, body: int) -> str:
    shift, turn = motion[:3], motion[3:] / bodies.size_mm[body]
    if np.linalg.norm(motion[3:]) <= 1e-5 * np.linalg.norm(motion):
        return f"can move along {_axis(shift)}"
    pitch = float(shift @ turn) / float(turn @ turn)
    arm = np.cross(turn, shift) / float(turn @ turn)
    at = bodies.centre_mm[body] + arm
    at = at - np.where(np.abs(at) < 1e-6 * bodies.size_mm[body], at, 0.0)
    point = ", ".join(f"{x:.4g}" for x in at)
    slide = f", moving {abs(pitch):.3g} along it per radian" if abs(pitch) > 1e-4 * bodies.size_mm[body] else ""
    return f"can turn about {_axis(turn)} through ({point}){slide}"


def _axis(vector: Array) -> str:
    unit = vector / np.linalg.norm(vector)
    for i, name in enumerate("xyz"):
        if abs(unit[i]) > 1.0 - 1e-6:
            return name
    unit = unit * np.sign(unit[int(np.argmax(np.abs(unit)))])
    return "(" + ", ".join(f"{x + 0.0:.3g}" for x in unit) + ")"
