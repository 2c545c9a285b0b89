"""Consistent nodal forces of a traction or a pressure on faces: quad4 (of hex8) and tri6 (of tet10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import InputError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_HEX_FACES = ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))
_TET_FACES = ((0, 2, 1, 6, 5, 4), (0, 1, 3, 4, 8, 7), (1, 2, 3, 5, 9, 8), (2, 0, 3, 6, 7, 9))


def boundary_faces(cells: Ids) -> Ids:
    """Faces of one cell only, outward: (f, 4) quads of hex8 ``cells``, (f, 6) triangles of tet10.

    Raises
    ------
    InputError
        Cells of another kind.
    """
    table = {8: _HEX_FACES, 10: _TET_FACES}.get(cells.shape[1])
    if table is None:
        raise InputError(f"cells of shape {cells.shape}: expected (m, 8) for hex8 or (m, 10) for tet10")
    faces = cells[:, np.array(table)].reshape(-1, len(table[0]))
    _, inverse, count = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    return np.ascontiguousarray(faces[count[inverse.ravel()] == 1])


def traction_forces(points_mm: Array, faces: Ids, traction_mpa: Array) -> Array:
    """Nodal forces (n, 3), N, of a traction (3,) or, per face, (f, 3).

    Parameters
    ----------
    points_mm
        (n, 3).
    faces
        (f, 4) or (f, 6), VTK order.

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
    if faces.ndim != 2 or faces.shape[1] not in (4, 6):
        raise InputError(f"faces of shape {faces.shape}: expected (f, 4) for quad4 or (f, 6) for tri6")
    shape, slope, weights = _quad4() if faces.shape[1] == 4 else _tri6()
    tangents = np.einsum("fai,qak->fqik", points_mm[faces], slope)
    return shape, np.cross(tangents[..., 0], tangents[..., 1]) * weights[:, None]


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
