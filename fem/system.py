"""The linear system of a Newton step: tangent of the free nodes, bordered by platen motions and cavity pressures.

Its sparsity pattern depends only on what is free, never on values, so a factorisation's ordering serves throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .discretisation import Discretisation
from .links import Coupling
from .structure import Evaluation, Material, State, Structure

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_MOST_TOUGH = 0.25  # of all nodes


@dataclass(frozen=True, eq=False)
class System:
    """Which unknowns there are, and where the entries of their matrix come from; one for each set of unknowns.

    Attributes
    ----------
    free, motions, cavities
        Unknown nodal displacements (k,), platen motions (their places in q) and cavities, in the order of the system.
    start, column
        Neighbours of node i: ``column[start[i]:start[i + 1]]``, as in the rows of ``Evaluation.stiffness``.
    coupled
        For every column of the border, the rows (of ``free``) that it may touch.
    tough
        Nodes of nearly incompressible cells; see `tough_nodes`.
    mesh, material
        What the system was built for.
    """

    free: Ids
    motions: Ids
    cavities: Ids
    start: Ids
    column: NDArray[np.int32]
    coupled: tuple[Ids, ...]
    tough: Ids
    mesh: Discretisation
    material: Material

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.free.size + len(self.coupled)

    def same_nodes(self, other: System) -> bool:
        """Whether both free the same nodal displacements of one mesh of one material, whatever their borders."""
        same = self.mesh is other.mesh and self.material is other.material
        return same and np.array_equal(self.free, other.free)

    def matrix(self, structure: Structure, state: State, evaluation: Evaluation) -> BorderedMatrix:
        """The tangent of the unknowns at an evaluated state."""
        k, b = self.motions.size, len(self.coupled)
        stiffness, slope = evaluation.stiffness, evaluation.volume_slope[:, self.cavities].toarray()
        coupling = evaluation.coupling
        right, left, corner = np.zeros((self.free.size, b)), np.zeros((self.free.size, b)), np.zeros((b, b))
        right[:, k:] = left[:, k:] = -slope[self.free]
        if k:
            tied = structure.motion_map(state.motion)[:, self.motions].toarray()
            moved = np.flatnonzero(tied.any(axis=1))
            rows = stiffness[moved]  # (m, 3n): those of platen nodes
            near = np.unique(rows.indices)
            forth = np.zeros((stiffness.shape[0], k))
            forth[near] = stiffness[near] @ tied
            back = rows.T @ tied[moved]
            if coupling is not None:
                linked = coupling @ tied
                forth, back = forth + linked, back + linked
            right[:, :k], left[:, :k] = forth[self.free], back[self.free]
            corner[:k, :k] = tied.T @ forth + self._turning(structure, state, evaluation)
            corner[:k, k:] = -tied.T @ slope
            corner[k:, :k] = corner[:k, k:].T
        points = structure.mesh.points_mm + state.displacement_mm
        own = None if coupling is None else coupling.of_rows(self.free)
        return BorderedMatrix(self, stiffness, right, left, corner, points, own)

    def _turning(self, structure: Structure, state: State, evaluation: Evaluation) -> Array:
        """Geometric stiffness of platen rotations among the unknown motions."""
        full = np.zeros((6 * len(structure.platens),) * 2)
        for i, block in enumerate(structure.rigid_stiffness(state.motion, evaluation.force_n)):
            full[6 * i + 3 : 6 * i + 6, 6 * i + 3 : 6 * i + 6] = block
        place = self.motions - 3 * structure.n_nodes
        return np.asarray(full[np.ix_(place, place)])

    @cached_property
    def pattern(self) -> Pattern:
        """Places of all entries in one sparse matrix."""
        n, k = self.start.size - 1, self.free.size
        place = np.full(3 * n, -1)
        place[self.free] = np.arange(k)
        degree = 3 * np.repeat(np.diff(self.start), 3)
        rows = np.repeat(np.arange(3 * n), degree)
        columns = _columns(self.start, self.column)
        inner = np.flatnonzero((place[rows] >= 0) & (place[columns] >= 0))
        border = k + np.arange(len(self.coupled))
        down = np.concatenate([np.zeros(0, np.int64), *self.coupled])
        along = np.repeat(border, [c.size for c in self.coupled])
        i = np.concatenate([place[rows[inner]], down, along, np.repeat(border, border.size)])
        j = np.concatenate([place[columns[inner]], along, down, np.tile(border, border.size)])
        found = sp.csr_array(sp.coo_array((np.arange(1.0, i.size + 1.0), (i, j)), shape=(self.size, self.size)))
        found.sort_indices()
        return Pattern(inner, found.data.astype(np.int64) - 1, found.indices, found.indptr)


class Pattern(NamedTuple):
    """Sparse rows of a bordered matrix, the same for all values.

    ``inner`` are the places of the nodal entries in the data of ``Evaluation.stiffness``; ``order`` sorts
    [inner, right border, left border, corner] into the rows.
    """

    inner: Ids
    order: Ids
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class BorderedMatrix:
    """The matrix of a system, [[K, right], [left^T, corner]], held in these parts.

    Attributes
    ----------
    system
        What the unknowns are.
    stiffness
        (3n, 3n) stiffness of all nodes; K are the rows and columns ``system.free`` of it.
    right, left
        (k, b) columns, and rows, of the border.
    corner
        (b, b).
    points_mm
        (n, 3) where the nodes are.
    links
        (k, k) stiffness of links, to be added to K, or None.
    """

    system: System
    stiffness: sp.csr_array
    right: Array
    left: Array
    corner: Array
    points_mm: Array
    links: Coupling | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(N, N)."""
        return self.system.size, self.system.size

    def tocsr(self) -> sp.csr_array:
        """The same as one sparse matrix; its pattern does not depend on values, but where links slacken."""
        found, coupled = self.system.pattern, self.system.coupled
        values = [self.stiffness.data[found.inner]]
        values += [column[rows] for column, rows in zip(self.right.T, coupled, strict=True)]
        values += [column[rows] for column, rows in zip(self.left.T, coupled, strict=True)]
        data = np.concatenate([*values, self.corner.ravel()])[found.order]
        out = sp.csr_array((data, found.indices, found.indptr), shape=self.shape)
        if self.links is None:
            return out
        b = self.corner.shape[0]
        return sp.csr_array(out + sp.block_diag([self.links.tocsr(), sp.csr_array((b, b))]))


def tied_matrix(structure: Structure, active: NDArray[np.bool_], state: State, evaluation: Evaluation) -> sp.csr_array:
    """The tangent of the ``active`` unknowns of a structure with ties, as one sparse matrix (N, N)."""
    assert structure.ties is not None
    n, n_motion = 3 * structure.n_nodes, structure.size - len(structure.cavities)
    slopes = structure.motion_map(state.motion)[:, active[:n_motion]]
    blocks = [np.zeros((3, 3)), *structure.rigid_stiffness(state.motion, evaluation.force_n)]
    turning = sp.block_diag([sp.csr_array((n, n)), *(sp.block_diag([blocks[0], block]) for block in blocks[1:])])
    freed = structure.ties.expansion[:n_motion, :n_motion][:, active[:n_motion]]
    stiffness = evaluation.stiffness
    if evaluation.coupling is not None:
        stiffness = sp.csr_array(stiffness + evaluation.coupling.tocsr())
    inner = slopes.T @ stiffness @ slopes + freed.T @ sp.csr_array(turning) @ freed
    edge = -slopes.T @ evaluation.volume_slope[:, active[n_motion:]]
    return sp.csr_array(sp.block_array([[inner, edge], [edge.T, None]])) if edge.shape[1] else sp.csr_array(inner)


def build_system(
    structure: Structure, active: NDArray[np.bool_], stiffness: sp.csr_array, state: State | None = None
) -> System:
    """The system of the ``active`` entries (N,) of q; ``stiffness`` lends its pattern.

    With a ``state``, whose history only lends its shape, nodes of nearly incompressible cells are told apart.
    """
    n, n_motion = 3 * structure.n_nodes, structure.size - len(structure.cavities)
    free, motions = np.flatnonzero(active[:n]), n + np.flatnonzero(active[n:n_motion])
    cavities = np.flatnonzero(active[n_motion:])
    start = (stiffness.indptr[::3] // 9).astype(np.int64)
    degree = np.diff(start)
    slot = np.arange(start[-1]) - np.repeat(start[:-1], degree)
    place = np.repeat(9 * start[:-1], degree) + 3 * slot
    column = stiffness.indices[place] // 3  # from the first of a node's three rows
    position = np.cumsum(active[:n]) - 1
    coupled = tuple(position[dofs[active[:n][dofs]]] for dofs in _touched(structure, motions, cavities))
    tough = np.zeros(0, dtype=np.int64) if state is None else tough_nodes(structure, state)
    return System(free, motions, cavities, start, column, coupled, tough, structure.mesh, structure.material)


def tough_nodes(structure: Structure, state: State) -> Ids:
    """Nodes of nearly incompressible cells.

    Sums of rigid motions of aggregates cannot keep the volume of such cells, so their nodes stay by themselves in the
    coarse space of the multigrid solver. None where they are so many that it would be no smaller than the fine one.
    """
    nodes = np.unique(structure.mesh.cells[structure.tough_cells(state)])
    return nodes if nodes.size <= _MOST_TOUGH * structure.n_nodes else np.zeros(0, dtype=np.int64)


def _columns(start: Ids, column: NDArray[np.int32]) -> Ids:
    """Column of every entry of a matrix of 3 x 3 blocks whose rows stand one after the other."""
    degree = np.diff(start)
    entry = np.arange(9 * start[-1])
    node = np.repeat(np.arange(degree.size), 9 * degree)
    slot, component = np.divmod((entry - 9 * start[node]) % (3 * degree[node]), 3)
    return np.asarray(3 * column[start[node] + slot].astype(np.int64) + component)


def _touched(structure: Structure, motions: Ids, cavities: Ids) -> list[Ids]:
    """Nodal freedoms, sorted, that each border column couples with: those of cells at its platen, or of its cavity.

    And those of all links, if nodes of the platen carry a point.
    """
    cells, n = structure.mesh.cells, 3 * structure.n_nodes
    at_platen = [cells[np.isin(cells, platen.nodes).any(axis=1)].ravel() for platen in structure.platens]
    if structure.links is not None:
        linked = np.unique(structure.links.weights.indices)
        at_platen = [
            np.union1d(nodes, linked) if np.isin(linked, platen.nodes).any() else nodes
            for nodes, platen in zip(at_platen, structure.platens, strict=True)
        ]
    sets = [at_platen[(m - n) // 6] for m in motions] + [cells[structure.cavities[c].cells] for c in cavities]
    return [(3 * np.unique(nodes)[:, None] + np.arange(3)).ravel() for nodes in sets]
