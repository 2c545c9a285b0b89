"""Consistent nodal forces of a traction or a pressure on faces: quad4, quad8, tri3, tri6 (hex8, hex20, tet4, tet10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import InputError

from .elements import HEX20, HEX_EDGES, TET_EDGES

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_HEX_FACES = ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))
_TET_FACES = ((0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3))


def _with_middles(faces: tuple[tuple[int, ...], ...], edges: tuple[tuple[int, int], ...], corners: int) -> Ids:
    """Faces of a linear element with the nodes in the middle of their edges."""
    middle = {frozenset(edge): corners + i for i, edge in enumerate(edges)}
    return np.array(
        [[*face, *(middle[frozenset(e)] for e in zip(face, face[1:] + face[:1], strict=True))] for face in faces]
    )


FACES: dict[int, Ids] = {
    8: np.array(_HEX_FACES),
    20: _with_middles(_HEX_FACES, HEX_EDGES, 8),
    4: np.array(_TET_FACES),
    10: _with_middles(_TET_FACES, TET_EDGES, 4),
}
"""Outward faces (f, k) of a cell by its number of nodes, in the order of Abaqus: the first is face 1."""


def boundary_faces(cells: Ids) -> Ids:
    """Faces of one cell only, outward: quads (f, 4) of hex8 ``cells``, (f, 8) of hex20, triangles (f, 3) or (f, 6).

    Raises
    ------
    InputError
        Cells of another kind.
    """
    table = FACES.get(cells.shape[1])
    if table is None:
        raise InputError(f"cells of shape {cells.shape}: expected {', '.join(f'(m, {n})' for n in FACES)}")
    faces = cells[:, table].reshape(-1, table.shape[1])
    _, inverse, count = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    return np.ascontiguousarray(faces[count[inverse.ravel()] == 1])


def traction_forces(points_mm: Array, faces: Ids, traction_mpa: Array) -> Array:
    """Nodal forces (n, 3), N, of a traction (3,) or, per face, (f, 3).

    Parameters
    ----------
    points_mm
        (n, 3).
    faces
        (f, 4), (f, 8), (f, 3) or (f, 6), VTK order.

    Raises
    ------
    InputError
        Faces of another kind.
    """
    shape, normal = _surface(points_mm, faces)
    traction = np.broadcast_to(traction_mpa, (len(faces), 3))
    size = np.linalg.norm(normal, axis=2)  # (f, q) mm2, weights included
    return _gathered(points_mm, faces, np.einsum("fq,qa,fi->fai", size, shape, traction))


def pressure_forces(points_mm: Array, faces: Ids, pressure_mpa: float) -> Array:
    """Nodal forces (n, 3), N, of a pressure on the outward side of ``faces``; see `traction_forces`."""
    shape, normal = _surface(points_mm, faces)
    return _gathered(points_mm, faces, -pressure_mpa * np.einsum("fqi,qa->fai", normal, shape))


def _gathered(points_mm: Array, faces: Ids, per_face: Array) -> Array:
    out = np.zeros_like(points_mm, dtype=np.float64)
    np.add.at(out, faces, per_face)
    return out


def _surface(points_mm: Array, faces: Ids) -> tuple[Array, Array]:
    """Shape functions (q, a) and area vectors (f, q, 3) times quadrature weight."""
    rules = {3: _tri3, 4: _quad4, 6: _tri6, 8: _quad8}
    if faces.ndim != 2 or faces.shape[1] not in rules:
        raise InputError(
            f"faces of shape {faces.shape}: expected (f, 4) or (f, 8) for quads, (f, 3) or (f, 6) for triangles"
        )
    shape, slope, weights = rules[faces.shape[1]]()
    tangents = np.einsum("fai,qak->fqik", points_mm[faces], slope)
    return shape, np.cross(tangents[..., 0], tangents[..., 1]) * weights[:, None]


def _tri3() -> tuple[Array, Array, Array]:
    """Shape (1, 3), gradient (1, 3, 2), weights (1,)."""
    return np.full((1, 3), 1.0 / 3.0), np.array([[[-1.0, -1.0], [1.0, 0.0], [0.0, 1.0]]]), np.full(1, 0.5)


def _quad8() -> tuple[Array, Array, Array]:
    """Shape (9, 8), gradient (9, 8, 2), weights (9,): the upper face of hex20, 3 x 3 Gauss points."""
    nodes = FACES[20][1]
    upper = HEX20.points[:, 2] > 0.5
    points = HEX20.points[upper] * [1.0, 1.0, 0.0] + [0.0, 0.0, 1.0]
    weights = HEX20.weights[upper] / (5.0 / 9.0)
    return HEX20.shape(points)[:, nodes], HEX20.gradient(points)[:, nodes, :2], weights


def _quad4() -> tuple[Array, Array, Array]:
    """Shape (4, 4), gradient (4, 4, 2), weights (4,): 2 x 2 Gauss points, exact for a bilinear face."""
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    terms = 1.0 + corners[None] / np.sqrt(3.0) * corners[:, None]  # symmetric in point and node
    slope = np.stack([corners[:, 0] * terms[..., 1], corners[:, 1] * terms[..., 0]], axis=2)
    return np.prod(terms, axis=2) / 4.0, slope / 4.0, np.ones(4)


def _tri6() -> tuple[Array, Array, Array]:
    """Shape (6, 6), gradient (6, 6, 2), weights (6,): degree 4 (Dunavant 1985), exact on a curved face."""
    a, b = 0.445948490915965, 0.091576213509771
    bary = np.array([np.roll([1.0 - 2.0 * c, c, c], k) for c in (a, b) for k in range(3)])
    weights = 0.5 * np.repeat([0.223381589678011, 0.109951743655322], 3)
    rise = np.array([[-1.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    edges = ((0, 1), (1, 2), (2, 0))
    shape = np.column_stack([bary * (2.0 * bary - 1.0), *(4.0 * bary[:, i] * bary[:, j] for i, j in edges)])
    middle = [4.0 * (bary[:, i, None] * rise[j] + bary[:, j, None] * rise[i]) for i, j in edges]
    slope = np.concatenate([(4.0 * bary - 1.0)[:, :, None] * rise, np.stack(middle, axis=1)], axis=1)
    return shape, slope, weights
