"""From quadrature points to nodes: extrapolated fields, averaged over the cells that share a node."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .discretisation import Discretisation
from .elements import Element

Array = NDArray[np.float64]


def extrapolation(element: Element) -> Array:
    """(a, q): values at the quadrature points to values at the nodes, by a least-squares fit.

    Exact for trilinear fields of a hexahedron, linear ones of tet10, constant ones of tet4 (which has one point).
    """
    return np.asarray(_basis(element, element.nodes) @ np.linalg.pinv(_basis(element, element.points)))


def _basis(element: Element, points: Array) -> Array:
    x, y, z = points.T
    one = np.ones_like(x)
    if element.is_hex:
        return np.column_stack([one, x, y, z, x * y, y * z, x * z, x * y * z])
    return np.column_stack([one, x, y, z] if len(element.points) > 1 else [one])


def nodal_average(mesh: Discretisation, values: Array) -> Array:
    """Plain mean over cells of the extrapolated ``values`` (m, q, c); (n, c), NaN at a node without a cell.

    An average smears jumps between materials: call it for each region, or look at the quadrature points.
    """
    total = np.zeros((len(mesh.points_mm), values.shape[2]))
    count = np.zeros(len(total))
    for part in mesh.parts:
        own = mesh.cells[part.cells, : part.element.n_nodes]
        at_points = values[part.cells, : len(part.element.weights)]
        np.add.at(total, own, np.einsum("aq,mqc->mac", extrapolation(part.element), at_points))
        count += np.bincount(own.ravel(), minlength=len(total))
    count[count == 0.0] = np.nan
    return np.asarray(total / count[:, None])
