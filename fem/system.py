"""The linear system of a Newton step: tangent of the free nodes, bordered by platen motions and cavity pressures.

Its sparsity pattern depends only on what is free, never on values, so a factorisation's ordering serves throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .structure import Evaluation, State, Structure

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class System:
    """Where the entries of the system of one structure, with one set of unknowns, come from.

    Attributes
    ----------
    free, motions, cavities
        Unknown nodal displacements (k,), platen motions (their places in q) and cavities, in the order of the system.
    inner
        Places of the nodal entries in the data of ``Evaluation.stiffness``.
    coupled
        For every column of the border, the rows (of ``free``) that it may touch.
    order, indices, indptr
        Row-wise pattern; ``order`` sorts [inner, right border, left border, corner] into it.
    """

    free: Ids
    motions: Ids
    cavities: Ids
    inner: Ids
    coupled: tuple[Ids, ...]
    order: Ids
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]

    def matrix(self, structure: Structure, state: State, evaluation: Evaluation) -> sp.csr_array:
        """The tangent of the unknowns at an evaluated state."""
        tied = structure.motion_map(state.motion)[:, self.motions].toarray()
        slope = evaluation.volume_slope[:, self.cavities].toarray()
        stiffness = evaluation.stiffness
        right = np.hstack([stiffness @ tied, -slope])
        left = np.hstack([stiffness.T @ tied, -slope])
        k, corner = self.motions.size, np.zeros((right.shape[1], right.shape[1]))
        corner[:k] = tied.T @ right
        corner[k:, :k] = -slope.T @ tied
        corner[:k, :k] += self._turning(structure, state, evaluation)
        values = [stiffness.data[self.inner]]
        values += [column[self.free[rows]] for column, rows in zip(right.T, self.coupled, strict=True)]
        values += [column[self.free[rows]] for column, rows in zip(left.T, self.coupled, strict=True)]
        data = np.concatenate([*values, corner.ravel()])[self.order]
        size = self.indptr.size - 1
        return sp.csr_array((data, self.indices, self.indptr), shape=(size, size))

    def _turning(self, structure: Structure, state: State, evaluation: Evaluation) -> Array:
        """Geometric stiffness of platen rotations among the unknown motions."""
        full = np.zeros((6 * len(structure.platens),) * 2)
        for i, block in enumerate(structure.rigid_stiffness(state.motion, evaluation.force_n)):
            full[6 * i + 3 : 6 * i + 6, 6 * i + 3 : 6 * i + 6] = block
        place = self.motions - 3 * structure.n_nodes
        return np.asarray(full[np.ix_(place, place)])


def build_system(structure: Structure, active: NDArray[np.bool_], stiffness: sp.csr_array) -> System:
    """The system of the ``active`` entries (N,) of q; ``stiffness`` lends its pattern."""
    n, n_motion = 3 * structure.n_nodes, structure.size - len(structure.cavities)
    free, motions = np.flatnonzero(active[:n]), n + np.flatnonzero(active[n:n_motion])
    cavities = np.flatnonzero(active[n_motion:])
    rows, columns = np.repeat(np.arange(n), np.diff(stiffness.indptr)), stiffness.indices
    inner = np.flatnonzero(active[:n][rows] & active[:n][columns])
    place = np.cumsum(active[:n]) - 1
    coupled = tuple(place[dofs[active[:n][dofs]]] for dofs in _touched(structure, motions, cavities))
    border = free.size + np.arange(len(coupled))
    down = np.concatenate([np.zeros(0, np.int64), *coupled])
    along = np.repeat(border, [c.size for c in coupled])
    i = np.concatenate([place[rows[inner]], down, along, np.repeat(border, border.size)])
    j = np.concatenate([place[columns[inner]], along, down, np.tile(border, border.size)])
    size = free.size + border.size
    pattern = sp.csr_array(sp.coo_array((np.arange(1.0, i.size + 1.0), (i, j)), shape=(size, size)))
    pattern.sort_indices()
    order = pattern.data.astype(np.int64) - 1
    return System(free, motions, cavities, inner, coupled, order, pattern.indices, pattern.indptr)


def _touched(structure: Structure, motions: Ids, cavities: Ids) -> list[Ids]:
    """Nodal freedoms, sorted, that each border column couples with: those of cells at its platen, or of its cavity."""
    cells, n = structure.mesh.cells, 3 * structure.n_nodes
    at_platen = [cells[np.isin(cells, platen.nodes).any(axis=1)] for platen in structure.platens]
    sets = [at_platen[(m - n) // 6] for m in motions] + [cells[structure.cavities[c].cells] for c in cavities]
    return [(3 * np.unique(nodes)[:, None] + np.arange(3)).ravel() for nodes in sets]
