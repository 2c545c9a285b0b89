"""From quadrature points to nodes: extrapolated fields, averaged over the cells that share a node."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .discretisation import Discretisation
from .elements import HEX8, TET_EDGES, Element, element_for

Array = NDArray[np.float64]

_CORNERS = np.vstack([np.zeros(3), np.eye(3)])
_TET_NODES = np.vstack([_CORNERS, *(0.5 * (_CORNERS[a] + _CORNERS[b]) for a, b in TET_EDGES)])


def extrapolation(element: Element) -> Array:
    """(a, q): values at the quadrature points to values at the nodes; exact for (tri)linear fields."""
    if element.name == "hex8":
        return HEX8.shape(3.0 * HEX8.points)  # the corners, seen from the cube of Gauss points
    return np.asarray(_bary(_TET_NODES) @ np.linalg.inv(_bary(element.points)))


def _bary(points: Array) -> Array:
    return np.column_stack([1.0 - points.sum(axis=1), points])


def nodal_average(mesh: Discretisation, values: Array) -> Array:
    """Plain mean over cells of the extrapolated ``values`` (m, q, c); (n, c), NaN at a node without a cell.

    An average smears jumps between materials: call it for each region, or look at the quadrature points.
    """
    element = element_for(mesh.cells)
    at_nodes = np.einsum("aq,mqc->mac", extrapolation(element), values)
    total = np.zeros((len(mesh.points_mm), values.shape[2]))
    np.add.at(total, mesh.cells, at_nodes)
    count = np.bincount(mesh.cells.ravel(), minlength=len(total)).astype(np.float64)
    count[count == 0.0] = np.nan
    return np.asarray(total / count[:, None])
