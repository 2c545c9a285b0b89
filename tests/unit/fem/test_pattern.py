"""Where entries of cells go, and that the order of assembly depends on the mesh alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from shapes import Hooke, block

from kyphos import threads
from kyphos.fem import Structure, discretise
from kyphos.fem.pattern import stiffness_pattern

COUNTS = (12, 10, 9)  # five chunks


def test_blocks_are_where_the_pattern_says():
    points, cells = block(counts=(2, 3, 2))
    pattern = stiffness_pattern(cells, len(points))
    size = 3 * len(points)
    for cell, place in zip(cells, pattern.place, strict=True):
        for a, node in enumerate(cell):
            for b, other in enumerate(cell):
                data = np.zeros(pattern.indices.size)
                for i in range(3):
                    data[place[a, b] + i * pattern.width[node] + np.arange(3)] = 3 * i + np.arange(1, 4)
                found = sp.coo_array(sp.csr_array((data, pattern.indices, pattern.indptr), shape=(size, size)))
                found.eliminate_zeros()
                expected = np.arange(1, 10).reshape(3, 3)
                rows, columns = found.row - 3 * node, found.col - 3 * other
                np.testing.assert_array_equal(found.data, expected[rows, columns])
                assert found.nnz == 9


def test_chunks_of_a_turn_share_no_node_and_all_cells_have_their_turn():
    points, cells = block(counts=COUNTS)
    turns = stiffness_pattern(cells, len(points)).turns
    assert sorted(chunk for turn in turns for chunk in turn) == list(threads.chunks(len(cells)))
    assert max(len(turn) for turn in turns) > 1
    for turn in turns:
        nodes = np.concatenate([np.unique(cells[first:last]) for first, last in turn])
        assert np.unique(nodes).size == nodes.size


@pytest.mark.skipif(threads._available() < 2, reason="needs two threads")
@pytest.mark.parametrize("kind", ["standard", "mean_dilatation", "enhanced"])
def test_the_number_of_threads_changes_no_bit(kind):
    rng = np.random.default_rng(4)
    points, cells = block(tuple(map(float, COUNTS)), COUNTS)
    structure = Structure(discretise(points, cells, kind), Hooke(10.0, 0.3))
    state = structure.initial_state(np.zeros((len(cells), 8, 0)))
    state = replace(state, displacement_mm=rng.uniform(-0.1, 0.1, points.shape))
    found = []
    for count in (1, 2):
        threads.use_threads(count)
        found.append(structure.evaluate(state))
    np.testing.assert_array_equal(found[0].force_n, found[1].force_n)
    np.testing.assert_array_equal(found[0].stiffness.data, found[1].stiffness.data)
    np.testing.assert_array_equal(found[0].strain, found[1].strain)
