"""Assembly, platens in q, loads on the way, rebased cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block, jiggled

from kyphos.fem import Cavity, Platen, Structure, cell_volumes, discretise


def structure_with_platens(formulation="standard"):
    points, cells = block((2.0, 1.0, 1.0), (3, 2, 2))
    platens = tuple(
        Platen(name, np.flatnonzero(np.isclose(points[:, 0], x)), np.array([x, 0.5, 0.5]))
        for name, x in (("left", 0.0), ("right", 2.0))
    )
    structure = Structure(discretise(jiggled(points, 0.05), cells, formulation), Hooke(10.0, 0.3), platens)
    return structure, structure.initial_state(np.zeros((12, 8, 0)))


def test_assembly_is_the_sum_over_cells():
    """One cell at a time, added by hand, against the assembled matrix and force."""
    structure, state = structure_with_platens()
    rng = np.random.default_rng(5)
    state = replace(state, displacement_mm=rng.uniform(-0.03, 0.03, state.displacement_mm.shape))
    found = structure.evaluate(state)
    n = 3 * structure.n_nodes
    stiffness, force = np.zeros((n, n)), np.zeros(n)
    for cell, dofs in zip(structure.mesh.cells, structure.mesh.dofs, strict=True):
        alone = Structure(discretise(structure.mesh.points_mm[cell], np.arange(8)[None]), structure.material)
        own = alone.initial_state(np.zeros((1, 8, 0)))
        part = alone.evaluate(replace(own, displacement_mm=state.displacement_mm[cell]))
        stiffness[np.ix_(dofs, dofs)] += part.stiffness.toarray()
        force[dofs] += part.force_n
    np.testing.assert_allclose(found.stiffness.toarray(), stiffness, atol=1e-12)
    np.testing.assert_allclose(found.force_n, force, atol=1e-12)
    assert found.stiffness.has_sorted_indices


def test_evaluation_is_the_same_on_every_run():
    structure, state = structure_with_platens("enhanced")
    state = replace(state, displacement_mm=0.01 * structure.mesh.points_mm**2)
    first, second = structure.evaluate(state), structure.evaluate(state)
    np.testing.assert_array_equal(first.force_n, second.force_n)
    np.testing.assert_array_equal(first.stiffness.data, second.stiffness.data)


def test_platen_nodes_follow_and_own_no_freedom():
    structure, state = structure_with_platens()
    step = np.zeros(structure.size)
    step[structure.platen_slice("right")] = [0.1, 0.0, 0.0, 0.2, 0.0, 0.0]
    moved = structure.moved(state, step)
    assert structure.rigid_dofs.sum() == 3 * (9 + 9)
    left, right = (p.nodes for p in structure.platens)
    np.testing.assert_array_equal(moved.displacement_mm[left], 0.0)
    np.testing.assert_allclose(moved.displacement_mm[right, 0], 0.1, atol=1e-15)
    np.testing.assert_array_equal(state.displacement_mm, 0.0)  # states are never changed in place


def test_a_load_on_the_way():
    structure, state = structure_with_platens()
    start = structure.free_load(state)
    end = replace(start, value=start.value + 2.0, force=start.force + 4.0)
    half = end.between(start, 0.5)
    np.testing.assert_allclose(half.value, start.value + 1.0)
    np.testing.assert_allclose(half.force, 2.0)


def test_volumes_of_cells_and_cavities():
    points, cells = block((1.0, 1.0, 2.0), (1, 1, 2))
    structure = Structure(discretise(points, cells), Hooke(1.0, 0.3), cavities=(Cavity("b", np.array([1])),))
    state = structure.initial_state(np.zeros((2, 8, 0)))
    stretched = replace(state, displacement_mm=points * [0.1, 0.0, 0.5])
    np.testing.assert_allclose(cell_volumes(structure.mesh, stretched), 1.1 * 1.5)
    np.testing.assert_allclose(structure.cavity_volumes(stretched), [1.1 * 1.5])


@pytest.mark.parametrize("formulation", ["standard", "enhanced"])
def test_only_the_rebased_cell_forgets(formulation):
    structure, state = structure_with_platens(formulation)
    state = replace(state, displacement_mm=0.1 * structure.mesh.points_mm)
    new = structure.rebased(np.array([4]), state)
    before, after = structure.evaluate(state).strain, new.evaluate(state).strain
    np.testing.assert_allclose(after[4], 0.0, atol=1e-14)
    others = np.arange(12) != 4
    np.testing.assert_array_equal(after[others], before[others])
    assert np.abs(before[4]).max() > 0.05
