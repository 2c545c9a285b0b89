"""A mesh made ready for integration: gradients and weights at every quadrature point, element formulations.

Cells of several elements share one set of arrays: those with fewer nodes or points are padded, by nodes without a shape
function and by copies of their first point without weight, which add nothing. A mesh of one element has no padding but
for an odd number of points (the kernels add two at a time).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import InputError, MeshError

from .elements import Element, element_for
from .kernels.strain import COLUMN_OF, ENHANCED, MEAN_DILATATION, ROW_OF, STANDARD

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

FORMULATIONS = {"standard": STANDARD, "mean_dilatation": MEAN_DILATATION, "enhanced": ENHANCED}
N_MODES = 9


@dataclass(frozen=True)
class Part:
    """The cells of one element.

    Attributes
    ----------
    element
        With its quadrature.
    cells
        (k,) which cells of the mesh.
    poisson_ratio
        Of the isotropic stiffness behind the filters of enhanced cells.
    """

    element: Element
    cells: Ids
    poisson_ratio: float = 0.3


@dataclass(frozen=True)
class Discretisation:
    """Cells with their own stress-free configuration.

    Attributes
    ----------
    points_mm
        (n, 3) reference node positions.
    cells
        (m, a) node ids, VTK order; a cell of fewer nodes repeats its first.
    formulation
        (m,) codes of ``FORMULATIONS``.
    gradient
        (m, q, a, 3) shape function gradients with respect to each cell's stress-free configuration, 1/mm.
    weight
        (m, q) integration weights in that configuration, mm3; zero at points that only pad.
    enhanced_index
        (m,) row of ``modes`` and ``filters`` for enhanced cells, else -1.
    modes, filters
        (max(k, 1), 6q, 9) and (max(k, 1), 9, 6q): an enhanced cell assumes the strains E - modes filters E.
    parts
        Which cells are of which element.
    small_strain
        Whether strain is the symmetric displacement gradient, so that a linear law makes a linear problem.
    """

    points_mm: Array
    cells: Ids
    formulation: NDArray[np.int8]
    gradient: Array
    weight: Array
    enhanced_index: Ids
    modes: Array
    filters: Array
    parts: tuple[Part, ...]
    small_strain: bool = False

    @property
    def n_points(self) -> int:
        """Quadrature points per cell."""
        return int(self.weight.shape[1])

    @cached_property
    def dofs(self) -> Ids:
        """(m, 3a) degrees of freedom of every cell."""
        return np.asarray((3 * self.cells[:, :, None] + np.arange(3)).reshape(len(self.cells), -1))

    def rebased(self, cell_ids: Ids, current_mm: Array) -> Discretisation:
        """Make the current shape of some cells their stress-free configuration (cement enters unstressed).

        Parameters
        ----------
        cell_ids
            (k,) cells that take the new reference.
        current_mm
            (n, 3) current node positions.
        """
        gradient, weight = self.gradient.copy(), self.weight.copy()
        modes, filters = self.modes.copy(), self.filters.copy()
        for part in self.parts:
            own = part.cells[np.isin(part.cells, cell_ids)]
            if not own.size:
                continue
            fresh = _of_part(part, current_mm, self.cells, self.formulation, own)
            padded = _padded(fresh, self.cells.shape[1], self.n_points)
            gradient[own], weight[own] = padded.gradient, padded.weight
            bent = own[self.enhanced_index[own] >= 0]
            if bent.size:
                rows = self.enhanced_index[bent]
                modes[rows], filters[rows] = padded.modes, padded.filters
        return replace(self, gradient=gradient, weight=weight, modes=modes, filters=filters)


def discretise(
    points_mm: Array,
    cells: Ids,
    formulation: str | NDArray[np.int8] = "standard",
    poisson_ratio: float = 0.3,
    element: Element | None = None,
) -> Discretisation:
    """Integrate a mesh of one element; see `joined` for several.

    Parameters
    ----------
    points_mm
        (n, 3).
    cells
        (m, 8), (m, 20), (m, 4) or (m, 10), VTK order.
    formulation
        One name for all cells (``standard``, ``mean_dilatation``, ``enhanced``) or (m,) codes. Enhanced strain
        (hex8 only) cures bending locking, mean dilatation (hex8 only) volumetric locking.
    poisson_ratio
        Of the isotropic stiffness that decides what is projected out of an enhanced cell's strain.
    element
        One of ``elements.ELEMENTS``; default: the one with so many nodes (hex20 with 27 points).

    Raises
    ------
    MeshError
        A quadrature point with a non-positive Jacobian, or cells of another kind.
    InputError
        A formulation that this element does not have.
    """
    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    cells = np.ascontiguousarray(cells, dtype=np.int64)
    element = element or element_for(cells)
    if cells.ndim != 2 or cells.shape[1] != element.n_nodes:
        raise MeshError(f"cells of shape {cells.shape}: {element.name} needs (m, {element.n_nodes})")
    codes = _formulation_codes(element, len(cells), formulation)
    every = np.arange(len(cells))
    mesh = _of_part(Part(element, every, poisson_ratio), points, cells, codes, every)
    q = mesh.n_points
    return _padded(mesh, element.n_nodes, q + q % 2)


def joined(meshes: Sequence[Discretisation]) -> Discretisation:
    """One discretisation of the cells of several, in their order; all have the same ``points_mm``."""
    if len(meshes) == 1:
        return meshes[0]  # nothing to pad
    nodes, points = (max(sizes) for sizes in zip(*(mesh.gradient.shape[2:0:-1] for mesh in meshes), strict=True))
    padded = [_padded(mesh, nodes, points) for mesh in meshes]
    first, row, parts, index = 0, 0, list[Part](), list[Ids]()
    for mesh in meshes:
        parts += [replace(part, cells=part.cells + first) for part in mesh.parts]
        index.append(np.where(mesh.enhanced_index >= 0, mesh.enhanced_index + row, -1))
        first, row = first + len(mesh.cells), row + len(mesh.modes)

    def every(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(mesh, name) for mesh in padded])

    return Discretisation(
        meshes[0].points_mm,
        every("cells"),
        every("formulation"),
        every("gradient"),
        every("weight"),
        np.concatenate(index),
        every("modes"),
        every("filters"),
        tuple(parts),
    )


def _of_part(part: Part, points: Array, cells: Ids, codes: NDArray[np.int8], own: Ids) -> Discretisation:
    """The cells ``own`` (k,) of a part among ``cells`` (m, a; perhaps padded), with ``codes`` (m,), for themselves."""
    element, cells, codes = part.element, cells[own, : part.element.n_nodes], codes[own]
    gradient, weight = _integration(element, points, cells, own)
    enhanced = np.flatnonzero(codes == ENHANCED)
    index = np.full(len(cells), -1, dtype=np.int64)
    index[enhanced] = np.arange(enhanced.size)
    size = 6 * len(element.weights)
    modes = np.zeros((max(enhanced.size, 1), size, N_MODES))
    filters = np.zeros((max(enhanced.size, 1), N_MODES, size))
    if enhanced.size:
        modes[:], filters[:] = _enhancement(element, points, cells[enhanced], weight[enhanced], part.poisson_ratio)
    parts = (replace(part, cells=np.arange(own.size)),)
    return Discretisation(points, cells, codes, gradient, weight, index, modes, filters, parts)


def _padded(mesh: Discretisation, n_nodes: int, n_points: int) -> Discretisation:
    """The mesh with room for more nodes and points per cell."""
    m, q, a = mesh.gradient.shape[:3]
    if (q, a) == (n_points, n_nodes):
        return mesh
    cells = np.concatenate([mesh.cells, np.repeat(mesh.cells[:, :1], n_nodes - a, axis=1)], axis=1)
    gradient = np.zeros((m, n_points, n_nodes, 3))
    gradient[:, :q, :a], gradient[:, q:, :a] = mesh.gradient, mesh.gradient[:, :1]
    weight = np.zeros((m, n_points))
    weight[:, :q] = mesh.weight
    more = (1, n_points - q, 1)
    modes = np.concatenate([mesh.modes, np.tile(mesh.modes[:, :6], more)], axis=1)
    filters = np.zeros((len(mesh.filters), N_MODES, 6 * n_points))
    filters[:, :, : 6 * q] = mesh.filters
    return replace(mesh, cells=cells, gradient=gradient, weight=weight, modes=modes, filters=filters)


def _formulation_codes(element: Element, n_cells: int, formulation: str | NDArray[np.int8]) -> NDArray[np.int8]:
    if isinstance(formulation, str):
        if formulation not in FORMULATIONS:
            raise InputError(f"formulation {formulation!r} is unknown; allowed: {', '.join(FORMULATIONS)}")
        codes = np.full(n_cells, FORMULATIONS[formulation], dtype=np.int8)
    else:
        codes = np.ascontiguousarray(formulation, dtype=np.int8)
    if codes.shape != (n_cells,) or not np.isin(codes, list(FORMULATIONS.values())).all():
        raise InputError(f"formulation needs one of the codes {FORMULATIONS} for each of the {n_cells} cells")
    if element.name != "hex8" and np.any(codes != STANDARD):
        raise InputError(f"{element.name} knows only the standard formulation; the others need hex8")
    return codes


def _integration(element: Element, points: Array, cells: Ids, names: Ids) -> tuple[Array, Array]:
    """Gradients (m, q, a, 3) and weights (m, q); J[i, k] = dX_i / dxi_k."""
    slope = element.gradient(element.points)  # (q, a, 3)
    jacobian = np.einsum("mai,qak->mqik", points[cells], slope)
    det = np.linalg.det(jacobian)
    if not np.all(det > 0.0):
        worst = np.unravel_index(int(np.argmin(np.where(np.isfinite(det), det, -np.inf))), det.shape)
        raise MeshError(
            f"cell {names[worst[0]]} has Jacobian {det[worst]:.3g} at quadrature point {worst[1]}; it must be "
            "positive. "
            "Check the node order (VTK) and the shape of the cell."
        )
    gradient = np.einsum("qak,mqki->mqai", slope, np.linalg.inv(jacobian))
    return np.ascontiguousarray(gradient), np.ascontiguousarray(det * element.weights)


def _enhancement(
    element: Element, points: Array, cells: Ids, weight: Array, poisson_ratio: float
) -> tuple[Array, Array]:
    """Modes G (k, 6q, 9) and filter F (k, 9, 6q): a cell's compatible strains E become E - G F E.

    F = (sum w G^T C G)^-1 sum w G^T C, with G the nine modes of Simo & Rifai (1990) and C an isotropic stiffness
    (its magnitude cancels). For a linear material of that C this is their element, its parameters condensed
    beforehand; with any other law it stays an assumed-strain element (Simo & Hughes 1986) without unknowns of its
    own, so softening cannot localise inside a cell.
    """
    modes = _enhanced_modes(element, points, cells)  # (k, q, 6, p)
    shear = 0.5 - poisson_ratio
    stiffness = np.diag([1.0 - 2.0 * poisson_ratio] * 3 + [shear] * 3)
    stiffness[:3, :3] += poisson_ratio
    weighted = np.einsum("kq,kqvp,vw->kpqw", weight, modes, stiffness)  # (k, p, q, 6)
    gram = np.einsum("kpqw,kqwr->kpr", weighted, modes)
    size = 6 * len(element.weights)
    filters = np.linalg.solve(gram, weighted.reshape(len(cells), N_MODES, size))
    return modes.reshape(len(cells), size, N_MODES), np.ascontiguousarray(filters)


def _enhanced_modes(element: Element, points: Array, cells: Ids) -> Array:
    """(k, q, 6, 9): (j0/j) T0^-T M(xi) T0^-1, so that each mode has zero mean over the cell (patch test).

    Divided by the cell's size squared, so that the parameters are strains, whatever the unit of length.
    """
    xyz = points[cells]
    slope = element.gradient(element.points)
    det = np.linalg.det(np.einsum("mai,qak->mqik", xyz, slope))
    centre = np.einsum("mai,ak->mik", xyz, element.gradient(np.zeros((1, 3)))[0])
    inverse = np.linalg.inv(centre)  # (k, 3, 3): dxi / dX
    covariant = np.zeros((len(element.points), N_MODES, 3, 3))
    for q, xi in enumerate(element.points):
        for mode in range(3):
            covariant[q, mode, mode, mode] = xi[mode]
        for pair, (i, j) in enumerate(((0, 1), (1, 2), (0, 2))):
            for side, k in enumerate((i, j)):
                covariant[q, 3 + 2 * pair + side, i, j] = 0.5 * xi[k]
                covariant[q, 3 + 2 * pair + side, j, i] = 0.5 * xi[k]
    tensor = np.einsum("mki,qakl,mlj->mqaij", inverse, covariant, inverse)
    voigt = tensor[..., ROW_OF, COLUMN_OF] * np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])  # (k, q, 9, 6)
    ratio = np.linalg.det(centre)[:, None] ** (5.0 / 3.0) / det
    return np.ascontiguousarray(np.swapaxes(voigt, 2, 3) * ratio[:, :, None, None])
