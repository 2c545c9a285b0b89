"""A mesh made ready for integration: gradients and weights at every quadrature point, element formulations."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
class Discretisation:
    """Cells with their own stress-free configuration.

    Attributes
    ----------
    points_mm
        (n, 3) reference node positions.
    cells
        (m, a) node ids, VTK order; a = 8 (hex8) or 10 (tet10).
    formulation
        (m,) codes of ``FORMULATIONS``.
    gradient
        (m, q, a, 3) shape function gradients with respect to each cell's stress-free configuration, 1/mm.
    weight
        (m, q) integration weights in that configuration, mm3.
    enhanced_index
        (m,) row of ``modes`` and ``filters`` for enhanced cells, else -1.
    modes, filters
        (max(k, 1), 6q, 9) and (max(k, 1), 9, 6q): an enhanced cell assumes the strains E - modes filters E.
    poisson_ratio
        Of the isotropic stiffness behind the filters.
    """

    points_mm: Array
    cells: Ids
    formulation: NDArray[np.int8]
    gradient: Array
    weight: Array
    enhanced_index: Ids
    modes: Array
    filters: Array
    poisson_ratio: float

    @property
    def n_points(self) -> int:
        """Quadrature points per cell."""
        return int(self.weight.shape[1])

    @property
    def n_enhanced(self) -> int:
        """Cells with enhanced strain."""
        return int(np.count_nonzero(self.enhanced_index >= 0))

    @property
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
        element = element_for(self.cells)
        gradient, weight = self.gradient.copy(), self.weight.copy()
        gradient[cell_ids], weight[cell_ids] = _integration(element, current_mm, self.cells[cell_ids], cell_ids)
        modes, filters = self.modes.copy(), self.filters.copy()
        own = cell_ids[self.enhanced_index[cell_ids] >= 0]
        if own.size:
            rows = self.enhanced_index[own]
            modes[rows], filters[rows] = _enhancement(
                element, current_mm, self.cells[own], weight[own], self.poisson_ratio
            )
        return replace(self, gradient=gradient, weight=weight, modes=modes, filters=filters)


def discretise(
    points_mm: Array,
    cells: Ids,
    formulation: str | NDArray[np.int8] = "standard",
    poisson_ratio: float = 0.3,
) -> Discretisation:
    """Integrate a hex8 or tet10 mesh.

    Parameters
    ----------
    points_mm
        (n, 3).
    cells
        (m, 8) or (m, 10), VTK order.
    formulation
        One name for all cells (``standard``, ``mean_dilatation``, ``enhanced``) or (m,) codes. Enhanced strain
        (hex8 only) cures bending locking, mean dilatation (hex8 only) volumetric locking.
    poisson_ratio
        Of the isotropic stiffness that decides what is projected out of an enhanced cell's strain.

    Raises
    ------
    MeshError
        A quadrature point with a non-positive Jacobian, or cells of another kind.
    InputError
        A formulation that this element does not have.
    """
    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    cells = np.ascontiguousarray(cells, dtype=np.int64)
    element = element_for(cells)
    codes = _formulation_codes(element, len(cells), formulation)
    gradient, weight = _integration(element, points, cells, np.arange(len(cells)))
    enhanced = np.flatnonzero(codes == ENHANCED)
    index = np.full(len(cells), -1, dtype=np.int64)
    index[enhanced] = np.arange(enhanced.size)
    size = 6 * len(element.weights)
    modes = np.zeros((max(enhanced.size, 1), size, N_MODES))
    filters = np.zeros((max(enhanced.size, 1), N_MODES, size))
    if enhanced.size:
        modes[:], filters[:] = _enhancement(element, points, cells[enhanced], weight[enhanced], poisson_ratio)
    return Discretisation(points, cells, codes, gradient, weight, index, modes, filters, poisson_ratio)


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
