"""Equations among unknowns: solved exactly, with their forces in the balance, also together with platens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block

from kyphos.fem import DirectSolver, EquationError, Platen, Structure, discretise, settle, solve_ties
from kyphos.fem.march import MarchSettings
from kyphos.fem.newton import NewtonSettings

LAW = Hooke(100.0, 0.3)
EXACT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-10, linear_tolerance=1e-10))


def solved(structure, fixed, force):
    start = structure.free_load(structure.initial_state(np.zeros((*structure.mesh.weight.shape, 0))))
    state = structure.initial_state(np.zeros((*structure.mesh.weight.shape, 0)))
    held, value = np.zeros(structure.size, dtype=bool), np.zeros(structure.size)
    for place, u in fixed.items():
        held[place], value[place] = True, u
    load = replace(start, fixed=held, value=value, force=structure.ties.carried(force))
    return settle(structure, state, start, load, DirectSolver(), EXACT).equilibrium


def test_equations_are_solved_for_their_first_free_coordinate():
    ties = solve_ties(6, [[(0, 1.0), (1, -2.0)], [(1, 1.0), (2, 1.0), (3, -1.0)]], np.zeros(6, dtype=bool))
    q = ties.obeyed(np.array([9.0, 9.0, 1.0, 4.0, 5.0, 6.0]))
    np.testing.assert_allclose(q, [6.0, 3.0, 1.0, 4.0, 5.0, 6.0])  # a chain: q1 = q3 - q2, q0 = 2 q1
    np.testing.assert_allclose(ties.carried(np.eye(6)[0]), [0.0, 0.0, -2.0, 2.0, 0.0, 0.0])


def test_prescribed_coordinates_are_never_dependent():
    held = np.array([True, False, True])
    assert solve_ties(3, [[(0, 1.0), (1, -1.0)]], held).dependent.tolist() == [1]
    with pytest.raises(EquationError, match="only coordinates that are prescribed"):
        solve_ties(3, [[(0, 1.0), (2, -1.0)]], held)
    assert solve_ties(3, [[(0, 1.0), (2, -1.0)]], held, still=held).dependent.size == 0


def test_an_equation_that_follows_from_others_is_left_out():
    twice = [[(0, 1.0), (1, -1.0)], [(1, 3.0), (0, -3.0)]]
    assert solve_ties(2, twice, np.zeros(2, dtype=bool)).dependent.size == 1


def periodic():
    """A bar whose end faces move alike in y, z and whose end x follows one node outside the mesh."""
    points, cells = block((4.0, 1.0, 1.0), (4, 1, 1))
    points = np.vstack([points, [[9.0, 9.0, 9.0]]])
    ends = [np.flatnonzero(points[:, 0] == x) for x in (0.0, 4.0)]
    dummy = len(points) - 1
    equations = [[(3 * b, 1.0), (3 * dummy, -2.0)] for b in ends[1]]
    equations += [[(3 * b + i, 1.0), (3 * a + i, -1.0)] for a, b in zip(*ends, strict=True) for i in (1, 2)]
    free = np.zeros(3 * len(points), dtype=bool)
    ties = solve_ties(free.size, equations, free)
    fixed = {3 * a: 0.0 for a in ends[0]} | {3 * ends[0][0] + 1: 0.0, 3 * ends[0][0] + 2: 0.0, 3 * ends[0][1] + 1: 0.0}
    fixed |= {3 * dummy + 1: 0.0, 3 * dummy + 2: 0.0}
    mesh = replace(discretise(points, cells), small_strain=True)
    return Structure(mesh, LAW, ties=ties), fixed, ends, dummy


def test_a_force_on_a_node_outside_the_mesh_pulls_through_equations():
    """u(end) = 2 U, so the force F on U is twice the pull: u(end) = F L / (2 E A)."""
    structure, fixed, ends, dummy = periodic()
    force = np.zeros(structure.size)
    force[3 * dummy] = 10.0
    found = solved(structure, fixed, force)
    u = found.state.displacement_mm
    np.testing.assert_allclose(u[ends[1], 0], 5.0 * 4.0 / 100.0, rtol=1e-9)
    np.testing.assert_allclose(u[dummy, 0], 0.1, rtol=1e-9)
    pulled = found.evaluation.force_n.reshape(-1, 3)[ends[1], 0].sum()
    assert pulled == pytest.approx(5.0, rel=1e-9)
    equation = structure.ties.forces(found.evaluation.force_n - force).reshape(-1, 3)
    np.testing.assert_allclose(equation[dummy], [-10.0, 0.0, 0.0], atol=1e-8)
    np.testing.assert_allclose(equation[ends[1], 0].sum(), 5.0, rtol=1e-9)


def test_a_prescribed_motion_of_that_node_gives_the_same_force_back():
    structure, fixed, _, dummy = periodic()
    found = solved(structure, fixed | {3 * dummy: 0.1}, np.zeros(structure.size))
    assert found.reactions_n[3 * dummy] == pytest.approx(10.0, rel=1e-9)
    assert found.iterations <= 2


def test_a_platen_can_be_tied():
    """The rotation of a platen follows a node: what pushes the node is a moment on the platen."""
    points, cells = block((4.0, 1.0, 1.0), (8, 2, 2))
    points = np.vstack([points, [[9.0, 9.0, 9.0]]])
    end = np.flatnonzero(points[:, 0] == 4.0)
    platen = Platen("end", end, np.array([4.0, 0.5, 0.5]))
    structure = Structure(discretise(points, cells, "enhanced"), LAW, (platen,))
    turn, dummy = structure.platen_slice("end").start + 4, 3 * (len(points) - 1)
    ties = solve_ties(structure.size, [[(turn, 1.0), (dummy, -0.5)]], np.zeros(structure.size, dtype=bool))
    structure = replace(structure, ties=ties)
    fixed = dict.fromkeys((3 * np.flatnonzero(points[:, 0] == 0.0)[:, None] + np.arange(3)).ravel(), 0.0)
    fixed |= {dummy + 1: 0.0, dummy + 2: 0.0}
    force = np.zeros(structure.size)
    force[dummy] = 0.4
    found = solved(structure, fixed, force)
    assert found.state.motion[0, 4] == pytest.approx(0.5 * found.state.displacement_mm[-1, 0], rel=1e-12)
    plain = replace(structure, ties=None)
    start = plain.free_load(plain.initial_state(np.zeros((32, 8, 0))))
    held = np.zeros(plain.size, dtype=bool)
    held[np.array([*fixed, dummy])] = True
    push = np.zeros(plain.size)
    push[turn] = 0.8  # the moment that does the same work
    load = replace(start, fixed=held, force=push, value=np.zeros(plain.size))
    other = settle(plain, plain.initial_state(np.zeros((32, 8, 0))), start, load, DirectSolver(), EXACT)
    np.testing.assert_allclose(found.state.motion, other.equilibrium.state.motion, rtol=1e-6, atol=1e-10)
