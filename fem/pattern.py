"""Where the entries of the cells go in the assembled stiffness, and which cells can be added at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kyphos.threads import Slabs, chunks

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Pattern:
    """Sparsity of the stiffness of a mesh, row by row (CSR), and the order of its assembly.

    Attributes
    ----------
    indptr, indices
        (3n + 1,) and (nnz,) of the (3n, 3n) matrix.
    place
        (m, a, a) where the block of two nodes of a cell begins in the data of the matrix.
    width
        (n,) entries in each row of a node: from one row of a block to the next.
    turns
        First cells of chunks of ``CHUNK`` cells; those of one turn share no node. They depend on the mesh only, so
        sums are the same for any number of threads.
    """

    indptr: NDArray[np.int32]
    indices: NDArray[np.int32]
    place: NDArray[np.int32]
    width: NDArray[np.int32]
    turns: tuple[Slabs, ...]


def stiffness_pattern(cells: Ids, n_nodes: int) -> Pattern:
    """Pattern of the stiffness of ``cells`` (m, a) with ``n_nodes`` nodes."""
    m, a = cells.shape
    rows, columns = np.repeat(cells, a, axis=1).ravel(), np.tile(cells, (1, a)).ravel()
    unique, inverse = np.unique(rows * n_nodes + columns, return_inverse=True)
    node_row, node_column = unique // n_nodes, unique % n_nodes
    start = np.searchsorted(node_row, np.arange(n_nodes + 1))  # node-level indptr
    width = 3 * np.diff(start)
    place = 9 * start[node_row] + 3 * (np.arange(unique.size) - start[node_row])
    i, j = np.arange(3)[:, None], np.arange(3)[None, :]
    block = place[:, None, None] + i * width[node_row][:, None, None] + j  # (pairs, 3, 3)
    indices = np.empty(9 * unique.size, dtype=np.int32)
    indices[block] = 3 * node_column[:, None, None] + j
    indptr = np.concatenate([[0], np.cumsum(np.repeat(width, 3))]).astype(np.int32)
    per_cell = place[inverse].reshape(m, a, a).astype(np.int32)
    return Pattern(indptr, indices, per_cell, width.astype(np.int32), _turns(cells, n_nodes))


def _turns(cells: Ids, n_nodes: int) -> tuple[Slabs, ...]:
    """Chunks of cells, coloured greedily: each takes the first turn in which none of its nodes has a chunk yet."""
    taken: list[NDArray[np.bool_]] = []
    turns: list[list[tuple[int, int]]] = []
    for first, last in chunks(len(cells)):
        nodes = np.unique(cells[first:last])
        turn = next((t for t, used in enumerate(taken) if not used[nodes].any()), len(taken))
        if turn == len(taken):
            taken.append(np.zeros(n_nodes, dtype=bool))
            turns.append([])
        taken[turn][nodes] = True
        turns[turn].append((first, last))
    return tuple(map(tuple, turns))
