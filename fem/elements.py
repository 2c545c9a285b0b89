"""Reference elements: nodes, shape functions, quadrature. Node order is VTK's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import MeshError

Array = NDArray[np.float64]

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
TET_EDGES = ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))


@dataclass(frozen=True)
class Element:
    """A reference element with the quadrature rule that Kyphos uses for it.

    Attributes
    ----------
    name
        VTK-style name.
    n_nodes
        Nodes per cell.
    points
        (q, 3) quadrature points in reference coordinates.
    weights
        (q,) quadrature weights.
    """

    name: str
    n_nodes: int
    points: Array
    weights: Array

    def shape(self, points: Array) -> Array:
        """Shape functions at reference ``points`` (k, 3) -> (k, n_nodes)."""
        return _hex_shape(points) if self.name == "hex8" else _tet_shape(points)

    def gradient(self, points: Array) -> Array:
        """Derivatives of the shape functions at reference ``points`` (k, 3) -> (k, n_nodes, 3)."""
        return _hex_gradient(points) if self.name == "hex8" else _tet_gradient(points)


def _hex_shape(points: Array) -> Array:
    return np.asarray(np.prod(1.0 + points[:, None, :] * _HEX_CORNERS[None], axis=2) / 8.0)


def _hex_gradient(points: Array) -> Array:
    terms = 1.0 + points[:, None, :] * _HEX_CORNERS[None]  # (k, 8, 3)
    out = np.empty_like(terms)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        out[:, :, i] = _HEX_CORNERS[:, i] * terms[:, :, j] * terms[:, :, k] / 8.0
    return out


def _barycentric(points: Array) -> tuple[Array, Array]:
    bary = np.column_stack([1.0 - points.sum(axis=1), points])  # (k, 4)
    slope = np.vstack([-np.ones(3), np.eye(3)])  # (4, 3)
    return bary, slope


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


def _gauss_tet() -> tuple[Array, Array]:
    """Four points, degree 2 (Hammer, Marlowe & Stroud 1956)."""
    a, b = (5.0 - np.sqrt(5.0)) / 20.0, (5.0 + 3.0 * np.sqrt(5.0)) / 20.0
    return np.array([[a, a, a], [b, a, a], [a, b, a], [a, a, b]]), np.full(4, 1.0 / 24.0)


HEX8 = Element("hex8", 8, *_gauss_cube())
TET10 = Element("tet10", 10, *_gauss_tet())


def element_for(cells: NDArray[np.int64]) -> Element:
    """The element whose node count fits ``cells`` (m, a).

    Raises
    ------
    MeshError
        Neither 8 (hex8) nor 10 (tet10) nodes per cell.
    """
    for element in (HEX8, TET10):
        if cells.ndim == 2 and cells.shape[1] == element.n_nodes:
            return element
    raise MeshError(f"cells of shape {cells.shape}: expected (m, 8) for hex8 or (m, 10) for tet10")
