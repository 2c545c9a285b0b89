"""Elements between carried points: energies, forces and stiffness by differences, balance, both kinds of solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial.transform import Rotation
from shapes import Hooke, block, jiggled

from kyphos.errors import InputError
from kyphos.fem import (
    Cables,
    DirectSolver,
    Links,
    MarchSettings,
    MultigridSolver,
    NewtonSettings,
    Platen,
    Springs,
    Stops,
    Structure,
    carried_points,
    discretise,
    reactions,
    settle,
    solve_equilibrium,
    stops_at_rest,
)
from kyphos.fem.links import ramp
from kyphos.fem.system import build_system

STEP = 1e-6
PLACES = np.array([[0.0, 0.0, 0.0], [0.3, -0.2, 4.0], [1.0, 2.0, 0.5], [1.2, 2.5, 3.5], [0.2, 1.8, 7.5]])
SPRINGS = Springs(
    np.array([[0, 1], [2, 3], [0, 3]]),
    rest_length_mm=np.array([3.5, 2.9, 9.0]),  # in the second branch, in the toe, slack
    toe_n=np.array([40.0, 60.0, 50.0]),
    stiff_n=np.array([130.0, 90.0, 100.0]),
    transition=np.array([0.1, 0.25, 0.1]),
)
STOPS = Stops(np.array([[0, 1, 2], [2, 3, 4]]), np.array([-0.6, -7.0]), np.array([200.0, 300.0]))
CABLES = Cables(("follower",), (np.array([0, 2, 3, 4]),))
TENSION = np.array([500.0])
ALONE = Links(sp.csr_array(sp.eye_array(len(PLACES))), SPRINGS, STOPS, CABLES)


def central(function, at):
    columns = [(function(at + s) - function(at - s)) / (2.0 * STEP) for s in STEP * np.eye(at.size)]
    return np.stack(columns, axis=-1)


def acting(x):
    return ALONE.acting(x.reshape(-1, 3), TENSION)


def test_forces_are_the_derivative_of_the_energy():
    at = PLACES.ravel()
    expected = central(lambda x: np.array([acting(x).energy]), at)[0]
    np.testing.assert_allclose(acting(at).force_n, expected, atol=1e-6 * np.abs(expected).max())


def test_stiffness_is_the_derivative_of_the_forces():
    at = PLACES.ravel()
    expected = central(lambda x: acting(x).force_n, at)
    found = acting(at).coupling.tocsr().toarray()
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_allclose(found, found.T, atol=1e-10 * np.abs(found).max())


def test_the_example_has_every_branch():
    parts = ALONE.parts(PLACES, TENSION)
    stretched, toe, slack = parts["springs"].size
    assert stretched > 40.0 * 0.1
    assert 0.0 < toe < 60.0 * 0.25
    assert slack == 0.0
    assert (parts["stops"].size > 0.0).all()


def test_forces_balance_and_turn_with_the_body():
    turn = Rotation.from_rotvec([0.4, -0.7, 1.1]).as_matrix()
    before, after = (acting(x.ravel()).force_n.reshape(-1, 3) for x in (PLACES, PLACES @ turn.T + [3.0, 1.0, -2.0]))
    np.testing.assert_allclose(after, before @ turn.T, atol=1e-10)
    np.testing.assert_allclose(before.sum(axis=0), 0.0, atol=1e-11)
    np.testing.assert_allclose(np.cross(PLACES, before).sum(axis=0), 0.0, atol=1e-10)


def test_a_spring_follows_its_table():
    """ALL: 63.7 mm2, 7.8 MPa to 12 %, 20 MPa beyond; the rounding of the first corner costs 0.3 % strain."""
    area, length = 63.7, 15.58
    spring = Springs(np.array([[0, 1]]), *(np.array([v]) for v in (length, 7.8 * area, 20.0 * area, 0.12)))
    for strain in (-0.2, 0.0, 0.06, 0.25):
        place = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length * (1.0 + strain)]])
        expected = 0.0 if strain <= 0 else area * (7.8 * (strain - 0.003) + 12.2 * max(strain - 0.12, 0.0))
        assert spring.pulled(place).size[0] == pytest.approx(expected, abs=1e-9)


def test_a_stop_presses_once_its_gap_has_closed():
    stop = Stops(np.array([[0, 1, 2]]), np.array([0.5]), np.array([400.0]))

    places = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [3.0, 0.0, 2.0]])
    assert stops_at_rest(places, stop.ends, np.array([0.5]), np.array([400.0])).offset_mm == [-1.5]

    def pressed(height):
        return stop.pulled(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [3.0, 0.0, height]])).size[0]

    assert [pressed(h) for h in (2.0, 0.0, -0.39)] == [0.0, 0.0, 0.0]
    assert pressed(-1.5) == pytest.approx(400.0)


def test_a_follower_presses_along_the_curve():
    """Each inner point of a cable feels T times the change of direction, the ends T along their segment."""
    arc = np.array([[0.0, 40.0 * np.sin(a), 40.0 * np.cos(a)] for a in np.radians([0.0, 10.0, 20.0, 30.0])])
    weights = sp.csr_array(sp.eye_array(4))
    links = Links(weights, cables=Cables(("f",), (np.arange(4),)))
    outward = links.acting(arc, np.array([500.0])).force_n.reshape(-1, 3) * -1.0  # what the cable does to the nodes
    np.testing.assert_allclose(np.linalg.norm(outward[[0, 3]], axis=1), 500.0)
    np.testing.assert_allclose(np.linalg.norm(outward[1:3], axis=1), 2.0 * 500.0 * np.sin(np.radians(5.0)))
    assert outward[0] @ (arc[1] - arc[0]) > 0.0
    assert links.cables.lengths_mm(arc)[0] == pytest.approx(3 * 80.0 * np.sin(np.radians(5.0)))


@pytest.mark.parametrize("width", [0.01, 0.1])
def test_the_ramp_has_no_corner(width):
    x = np.linspace(-3 * width, 3 * width, 61)
    _, value, slope = ramp(x, width)
    h = 1e-7
    np.testing.assert_allclose((ramp(x + h, width)[0] - ramp(x - h, width)[0]) / (2 * h), value, atol=1e-8)
    np.testing.assert_allclose((ramp(x + h, width)[1] - ramp(x - h, width)[1]) / (2 * h), slope, atol=1e-5)
    assert value[0] == 0.0
    assert value[-1] == pytest.approx(3 * width)


# --- carried points


def test_carried_points_follow_affine_motions():
    nodes = np.random.default_rng(1).uniform(-10.0, 10.0, (30, 3))
    at = np.array([[0.0, -40.0, 3.0], [1.0, 2.0, 3.0]])
    weights = carried_points(nodes, [np.arange(20), np.arange(5, 30)], at)
    motion, shift = np.random.default_rng(2).normal(size=(3, 3)), np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(weights @ (nodes @ motion + shift), at @ motion + shift, atol=1e-9)


def test_nodes_in_a_plane_carry_what_lies_in_it():
    nodes = np.array([[0.0, 0, 0], [4.0, 0, 0], [4.0, 4.0, 0], [0.0, 4.0, 0]])
    weights = carried_points(nodes, [np.arange(4), np.array([2])], np.array([[1.0, 2.0, 0.0], nodes[2]]))
    np.testing.assert_allclose(weights @ nodes, [[1.0, 2.0, 0.0], nodes[2]], atol=1e-12)
    with pytest.raises(InputError, match="point 0 lies 1 mm outside the plane or line of its 4 nodes"):
        carried_points(nodes, [np.arange(4)], np.array([[1.0, 2.0, 1.0]]))


# --- in a structure


def two_blocks():
    """Two blocks, one above the other with a gap between them; the lower stands, the upper hangs on springs."""
    points, cells = block((6.0, 6.0, 6.0), (4, 4, 4))
    points = jiggled(points, 0.1)
    every = np.concatenate([points, points + np.array([0.5, -0.3, 9.0])])
    lower, upper = np.arange(len(points)), len(points) + np.arange(len(points))
    corners = [[0.0, 0, 6], [6.0, 0, 6], [6.0, 6, 6], [0.0, 6, 6], [3.0, 3.0, 3.0], [3.0, 3.0, 4.0]]
    above = [[0.0, 0, 9], [6.0, 0, 9], [6.0, 6, 9], [0.0, 6, 9], [3.0, 3.0, 12.0], [3.0, -3.0, 13.0]]
    carriers = [lower[points[:, 2] > 2.9]] * 6 + [upper[points[:, 2] < 3.1]] * 6
    weights = carried_points(every, carriers, np.array(corners + above))
    pairs = np.array([[i, 6 + j] for i in range(4) for j in (i, (i + 1) % 4)])
    count = len(pairs)
    springs = Springs(pairs, np.full(count, 2.0), np.full(count, 300.0), np.full(count, 900.0), np.full(count, 0.3))
    stops = Stops(np.array([[4, 5, 10], [4, 5, 11]]), np.array([-7.5, -9.0]), np.array([300.0, 300.0]))
    links = Links(weights, springs, stops, Cables(("follower",), (np.array([4, 10]),)))
    mesh = discretise(every, np.concatenate([cells, cells + len(points)]), "mean_dilatation")
    top = upper[points[:, 2] > 5.9]
    platens = (Platen("top", top, np.array([3.0, 3.0, 15.0])),)
    structure = Structure(mesh, Hooke(2000.0, 0.3), platens, links=links)
    state = structure.initial_state(np.zeros((*mesh.weight.shape, 0)))
    load = structure.free_load(state)
    fixed = load.fixed.copy()
    fixed[(3 * lower[points[:, 2] < 0.1, None] + np.arange(3)).ravel()] = True
    force = load.force.copy()
    force[structure.platen_slice("top")] = [0.5, 1.0, -20.0, 10.0, -5.0, 8.0]
    return structure, state, replace(load, fixed=fixed, force=force, tension_n=TENSION / 10.0)


def test_the_whole_stiffness_is_the_derivative_of_the_forces():
    structure, state, load = two_blocks()
    rng = np.random.default_rng(3)
    state = structure.moved(state, rng.uniform(-0.02, 0.02, structure.size))
    active = ~(load.fixed | structure.rigid_dofs)
    direction = np.where(active, rng.normal(size=structure.size), 0.0)

    def force(step):
        moved = structure.moved(state, step * direction)
        return reactions(structure, structure.evaluate(moved, tension_n=load.tension_n), moved)[active]

    found = structure.evaluate(state, tension_n=load.tension_n)
    matrix = build_system(structure, active, found.stiffness).matrix(structure, state, found).tocsr()
    expected = (force(1e-6) - force(-1e-6)) / 2e-6
    np.testing.assert_allclose(matrix @ direction[active], expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("solver", [DirectSolver(), MultigridSolver()])
def test_equilibrium_of_a_hanging_block(solver):
    structure, state, load = two_blocks()
    start = replace(load, force=0.0 * load.force, tension_n=np.zeros(0))
    tight = NewtonSettings(residual_tolerance=1e-8, linear_tolerance=1e-4)
    done = settle(structure, state, start, load, solver, MarchSettings(first=0.25, newton=tight)).equilibrium
    assert solver.record.notes == ()
    feet = done.reactions_n[: 3 * structure.n_nodes].reshape(-1, 3).sum(axis=0)
    np.testing.assert_allclose(feet, [-0.5, -1.0, 20.0], atol=1e-4)
    parts = structure.links.parts(structure.mesh.points_mm + done.state.displacement_mm, load.tension_n)
    assert parts["springs"].size.max() > 10.0
    assert done.iterations <= 8


def test_both_solvers_see_the_links():
    """One matrix, two answers: GMRES iterations as without links."""
    structure, state, load = two_blocks()
    active = ~(load.fixed | structure.rigid_dofs)
    found = structure.evaluate(state, tension_n=load.tension_n)
    matrix = build_system(structure, active, found.stiffness).matrix(structure, state, found)
    rhs = np.random.default_rng(4).normal(size=matrix.shape[0])
    multigrid = MultigridSolver()
    x = multigrid.solve(matrix, rhs, rtol=1e-9)
    exact = DirectSolver().solve(matrix, rhs, rtol=1e-11)
    np.testing.assert_allclose(x, exact, atol=1e-6 * np.abs(exact).max())
    assert multigrid.record.notes == ()
    assert multigrid.record.krylov_iterations <= 40


def test_a_change_of_tension_is_felt_from_a_known_state():
    structure, state, load = two_blocks()
    light = replace(load, tension_n=np.array([5.0]))
    first = solve_equilibrium(structure, state, light, DirectSolver())
    known = solve_equilibrium(structure, first.state, load, DirectSolver(), known=first.evaluation)
    fresh = solve_equilibrium(structure, first.state, load, DirectSolver())
    np.testing.assert_allclose(known.state.displacement_mm, fresh.state.displacement_mm, atol=1e-4)
    assert np.abs(known.state.displacement_mm - first.state.displacement_mm).max() > 1e-2


def test_tensions_on_the_way():
    structure, state, load = two_blocks()
    start = structure.free_load(state)
    np.testing.assert_allclose(load.between(start, 0.25).tension_n, 0.25 * load.tension_n)
    assert start.between(start, 0.5).tension_n.size == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Links(ALONE.weights), "there is no element"),
        (lambda: Links(2.0 * ALONE.weights, SPRINGS), "must sum to one"),
        (lambda: Links(ALONE.weights[:2], SPRINGS), "a point that does not exist; there are 2"),
        (lambda: replace(SPRINGS, toe_n=np.ones(2)), "toe_n must hold 3 numbers"),
        (lambda: replace(SPRINGS, rounding=0.0), "rounding=0 must be"),
        (lambda: replace(STOPS, stiffness_n_per_mm=np.zeros(2)), "must be positive"),
        (lambda: replace(STOPS, ends=np.zeros((2, 2), int)), "base, tip and contact"),
        (lambda: Cables(("a",), (np.array([1]),)), "at least two points"),
        (lambda: ALONE.acting(PLACES, np.ones(2)), "has 2 entries; there are 1 cables"),
    ],
)
def test_bad_input_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
