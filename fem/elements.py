"""Reference elements: nodes, shape functions, quadrature. Node order is VTK's, which is also that of Abaqus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import MeshError

Array = NDArray[np.float64]
Shape = Callable[[Array], Array]

_HEX_CORNERS = np.array(
    [
        [-1, -1, -1],
        [1, -1, -1],
        [1, 1, -1],
        [-1, 1, -1],
        [-1, -1, 1],
        [1, -1, 1],
        [1, 1, 1],
        [-1, 1, 1],
    ],
    dtype=np.float64,
)
HEX_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
_HEX_NODES = np.vstack([_HEX_CORNERS, *(0.5 * (_HEX_CORNERS[a] + _HEX_CORNERS[b]) for a, b in HEX_EDGES)])
TET_EDGES = ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))
_TET_CORNERS = np.vstack([np.zeros(3), np.eye(3)])
_TET_NODES = np.vstack([_TET_CORNERS, *(0.5 * (_TET_CORNERS[a] + _TET_CORNERS[b]) for a, b in TET_EDGES)])


@dataclass(frozen=True)
class Element:
    """A reference element with a quadrature rule.

    Attributes
    ----------
    name
        VTK-style name; ``hex20r`` is hex20 with eight points.
    nodes
        (a, 3) its nodes in reference coordinates, corners first.
    points
        (q, 3) quadrature points in reference coordinates.
    weights
        (q,) quadrature weights.
    shape, gradient
        Shape functions at reference points (k, 3) -> (k, a), and their derivatives -> (k, a, 3).
    """

    name: str
    nodes: Array
    points: Array
    weights: Array
    shape: Shape
    gradient: Shape

    @property
    def n_nodes(self) -> int:
        """Nodes per cell."""
        return len(self.nodes)

    @property
    def is_hex(self) -> bool:
        """Whether it is a hexahedron, else a tetrahedron."""
        return self.name.startswith("hex")


def _hex_shape(points: Array) -> Array:
    return np.asarray(np.prod(1.0 + points[:, None, :] * _HEX_CORNERS[None], axis=2) / 8.0)


def _hex_gradient(points: Array) -> Array:
    terms = 1.0 + points[:, None, :] * _HEX_CORNERS[None]  # (k, 8, 3)
    out = np.empty_like(terms)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        out[:, :, i] = _HEX_CORNERS[:, i] * terms[:, :, j] * terms[:, :, k] / 8.0
    return out


def _hex20_terms(points: Array) -> tuple[Array, Array, Array]:
    """Factors (k, 20, 3) of the shape functions: 1 + x c, or 1 - x^2 along an edge; their slopes; x . c - 2 (k, 20)."""
    x, c = points[:, None, :], _HEX_NODES[None]
    terms = np.where(c == 0.0, 1.0 - x * x, 1.0 + x * c)
    slopes = np.where(c == 0.0, -2.0 * x, c)
    return terms, slopes, points @ _HEX_NODES.T - 2.0


def _hex20_shape(points: Array) -> Array:
    """Serendipity functions (Ergatoudis, Irons & Zienkiewicz 1968)."""
    terms, _, bent = _hex20_terms(points)
    product = np.prod(terms, axis=2)
    return np.column_stack([product[:, :8] * bent[:, :8] / 8.0, product[:, 8:] / 4.0])


def _hex20_gradient(points: Array) -> Array:
    terms, slopes, bent = _hex20_terms(points)
    out, product = np.empty_like(terms), np.prod(terms, axis=2)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        slope = slopes[:, :, i] * terms[:, :, j] * terms[:, :, k]
        out[:, :8, i] = (slope[:, :8] * bent[:, :8] + product[:, :8] * _HEX_CORNERS[:, i]) / 8.0
        out[:, 8:, i] = slope[:, 8:] / 4.0
    return out


def _barycentric(points: Array) -> tuple[Array, Array]:
    bary = np.column_stack([1.0 - points.sum(axis=1), points])  # (k, 4)
    slope = np.vstack([-np.ones(3), np.eye(3)])  # (4, 3)
    return bary, slope


def _tet4_shape(points: Array) -> Array:
    return _barycentric(points)[0]


def _tet4_gradient(points: Array) -> Array:
    return np.tile(_barycentric(points)[1], (len(points), 1, 1))


def _tet_shape(points: Array) -> Array:
    bary, _ = _barycentric(points)
    edges = [4.0 * bary[:, a] * bary[:, b] for a, b in TET_EDGES]
    return np.column_stack([bary * (2.0 * bary - 1.0), *edges])


def _tet_gradient(points: Array) -> Array:
    bary, slope = _barycentric(points)
    corners = (4.0 * bary - 1.0)[:, :, None] * slope[None]
    edges = np.stack([4.0 * (bary[:, a, None] * slope[b] + bary[:, b, None] * slope[a]) for a, b in TET_EDGES], axis=1)
    return np.concatenate([corners, edges], axis=1)


def _gauss_cube() -> tuple[Array, Array]:
    return _HEX_CORNERS / np.sqrt(3.0), np.ones(8)


def _gauss_cube_27() -> tuple[Array, Array]:
    line, weight = np.polynomial.legendre.leggauss(3)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return points, np.einsum("i,j,k->ijk", weight, weight, weight).ravel()


def _gauss_tet() -> tuple[Array, Array]:
    """Four points, degree 2 (Hammer, Marlowe & Stroud 1956)."""
    a, b = (5.0 - np.sqrt(5.0)) / 20.0, (5.0 + 3.0 * np.sqrt(5.0)) / 20.0
    return np.array([[a, a, a], [b, a, a], [a, b, a], [a, a, b]]), np.full(4, 1.0 / 24.0)


HEX8 = Element("hex8", _HEX_CORNERS, *_gauss_cube(), _hex_shape, _hex_gradient)
HEX20 = Element("hex20", _HEX_NODES, *_gauss_cube_27(), _hex20_shape, _hex20_gradient)
HEX20R = Element("hex20r", _HEX_NODES, *_gauss_cube(), _hex20_shape, _hex20_gradient)
TET4 = Element("tet4", _TET_CORNERS, np.full((1, 3), 0.25), np.full(1, 1.0 / 6.0), _tet4_shape, _tet4_gradient)
TET10 = Element("tet10", _TET_NODES, *_gauss_tet(), _tet_shape, _tet_gradient)
ELEMENTS = {element.name: element for element in (HEX8, HEX20, HEX20R, TET4, TET10)}


def element_for(cells: NDArray[np.int64]) -> Element:
    """The element whose node count fits ``cells`` (m, a); hex20 with 27 points.

    Raises
    ------
    MeshError
        Neither 8 (hex8), 20 (hex20), 4 (tet4) nor 10 (tet10) nodes per cell.
    """
    for element in (HEX8, HEX20, TET4, TET10):
        if cells.ndim == 2 and cells.shape[1] == element.n_nodes:
            return element
    raise MeshError(
        f"cells of shape {cells.shape}: expected (m, 8) for hex8, (m, 20) for hex20, (m, 4) for tet4, (m, 10) for tet10"
    )
