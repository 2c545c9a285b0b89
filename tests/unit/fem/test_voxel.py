"""Voxel grids: input, exact solutions, agreement with an assembled matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as sla

from kyphos.errors import ConvergenceError, InputError
from kyphos.fem import memory, voxel
from kyphos.fem.voxel import Hold, Platen, VoxelSettings, face_nodes, solve
from kyphos.fem.voxel.cube import CORNERS, cube_stiffness

SLIDING = (None, None, 0.0)


def random_block(shape=(7, 5, 6), seed=0, low=20.0, high=2000.0, holes=0.1):
    generator = np.random.default_rng(seed)
    moduli = np.exp(generator.uniform(np.log(low), np.log(high), shape))
    moduli[generator.uniform(size=shape) < holes] = 0.0
    moduli[:, :, 0] = moduli[:, :, -1] = moduli[0, 0] = 100.0  # one piece, whatever is missing
    return moduli


def assembled(grid):
    """Stiffness (3n, 3n) with entries 3 node + component, by the book."""
    place = np.argwhere(grid.filled)
    nodes = np.ravel_multi_index(np.moveaxis(place[:, None] + CORNERS, -1, 0), grid.node_shape)
    entries = np.concatenate([3 * nodes + c for c in range(3)], axis=1)
    values = grid.moduli_mpa[grid.filled][:, None, None] * cube_stiffness(grid.poisson_ratio, grid.voxel_mm)
    index = (np.repeat(entries, 24, axis=1).ravel(), np.tile(entries, (1, 24)).ravel())
    return sp.csr_array((values.ravel(), index), shape=(3 * np.prod(grid.node_shape),) * 2)


def direct(grid, prescribed):
    """Displacement (3n,) for prescribed entries {entry: value}, by a sparse factorisation."""
    matrix = assembled(grid)
    u = np.zeros(matrix.shape[0])
    held = np.array(list(prescribed))
    u[held] = list(prescribed.values())
    free = np.flatnonzero((matrix.diagonal() > 0.0) & ~np.isin(np.arange(u.size), held))
    u[free] = sla.spsolve(matrix[free][:, free].tocsc(), -(matrix @ u)[free])
    return u, matrix @ u


def compression(moduli, strain_mm=-0.1):
    return [
        Hold("bottom", face_nodes(moduli, "z-")),
        Hold("top", face_nodes(moduli, "z+"), (0.0, 0.0, strain_mm)),
    ]


def test_stiffness_of_a_cube_has_six_motions_without_energy():
    values = np.linalg.eigvalsh(cube_stiffness(0.3, 0.7))
    assert np.all(np.abs(values[:6]) < 1e-14)
    assert values[6] > 0.01


@pytest.mark.parametrize("coarsening", ["averaged", "composite"])
def test_heterogeneous_grid_agrees_with_an_assembled_matrix(coarsening):
    moduli = random_block()
    settings = VoxelSettings(rtol=1e-11, coarsening=coarsening)
    result = solve(moduli, 0.5, 0.3, compression(moduli), islands="remove", settings=settings)
    prescribed = {3 * n + c: 0.0 for n in face_nodes(moduli, "z-") for c in range(3)}
    prescribed |= {3 * n + c: -0.1 * (c == 2) for n in face_nodes(moduli, "z+") for c in range(3)}
    u, force = direct(result.grid, prescribed)
    np.testing.assert_allclose(result.displacement_mm.ravel(), u, rtol=0, atol=1e-9)
    top = force.reshape(-1, 3)[face_nodes(moduli, "z+")].sum(axis=0)
    np.testing.assert_allclose(result.reaction("top").force_n, top, rtol=0, atol=1e-8 * np.abs(top).max())
    assert result.energy_mj.sum() == pytest.approx(0.5 * u @ force, rel=1e-9)
    assert np.all(result.energy_mj[result.grid.moduli_mpa == 0.0] == 0.0)


def test_uniform_block_between_sliding_faces_is_in_uniaxial_stress():
    moduli = np.full((6, 9, 11), 500.0)
    length, h = 11 * 0.4, 0.4
    conditions = [
        Hold("bottom", face_nodes(moduli, "z-"), SLIDING),
        Hold("top", face_nodes(moduli, "z+"), (None, None, -0.01 * length)),
    ]
    result = solve(moduli, h, 0.3, conditions, settings=VoxelSettings(rtol=1e-11))
    area = 6 * 9 * h**2
    np.testing.assert_allclose(result.reaction("top").force_n, [0.0, 0.0, -5.0 * area], atol=1e-8)
    np.testing.assert_allclose(result.energy_density_mpa, 0.5 * 5.0 * 0.01, rtol=1e-8)
    x = np.arange(7) * h
    sideways = result.displacement_mm[:, 0, 5, 0]
    np.testing.assert_allclose(sideways, 0.3 * 0.01 * (x - x.mean()), atol=1e-9)  # and does not drift


def test_any_linear_field_is_reproduced():
    """Patch test; moduli are uniform, so a constant strain is in equilibrium."""
    moduli = np.zeros((9, 8, 10))
    moduli[1:8, 2:7, 1:9] = 100.0
    gradient = np.random.default_rng(1).uniform(-0.01, 0.01, (3, 3))
    faces = {n for side in voxel.grid.SIDES for n in face_nodes(moduli, side)}
    grid = voxel.Grid(moduli, 0.5, 0.3)
    holds = [Hold(str(n), np.array([n]), tuple(gradient @ grid.positions_mm(np.array([n]))[0])) for n in sorted(faces)]
    result = solve(moduli, 0.5, 0.3, holds, settings=VoxelSettings(rtol=1e-12))
    active = voxel.active_nodes(moduli > 0)
    place = np.argwhere(active) * 0.5
    np.testing.assert_allclose(result.displacement_mm[active], place @ gradient.T, atol=1e-11)
    quadratic = [Hold(hold.name, hold.nodes, tuple(np.square(hold.displacement_mm))) for hold in holds]
    bent = solve(moduli, 0.5, 0.3, quadratic).energy_density_mpa[moduli > 0]
    assert np.ptp(bent) > 1e-3 * bent.max()  # the test above can fail


def test_mirror_image_gives_mirrored_displacements():
    moduli = random_block(seed=3, holes=0.0)
    there = solve(moduli, 1.0, 0.3, compression(moduli)).displacement_mm
    back = solve(moduli[::-1], 1.0, 0.3, compression(moduli[::-1])).displacement_mm[::-1]
    np.testing.assert_allclose(there, back * [-1.0, 1.0, 1.0], atol=1e-8)


def test_axes_are_exchangeable():
    moduli = random_block(seed=4, holes=0.0)
    z = solve(moduli, 1.0, 0.3, compression(moduli)).reaction("top").force_n
    turned = moduli.transpose(2, 0, 1)
    conditions = [
        Hold("bottom", face_nodes(turned, "x-")),
        Hold("top", face_nodes(turned, "x+"), (-0.1, 0.0, 0.0)),
    ]
    x = solve(turned, 1.0, 0.3, conditions).reaction("top").force_n
    np.testing.assert_allclose(x, z[[2, 0, 1]], atol=1e-6 * abs(z[2]))


def test_same_bits_for_any_number_of_threads():
    moduli = random_block((24, 20, 26), seed=5, holes=0.02)
    results = [
        solve(moduli, 1.0, 0.3, compression(moduli), islands="remove", settings=VoxelSettings(threads=n))
        for n in (1, 2, 3, 2)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].displacement_mm, other.displacement_mm)


def test_platen_under_force_finds_its_motion_and_balances_moments():
    moduli = random_block(seed=6, holes=0.0)
    centre = (3.5 * 0.5 + 0.4, 2.5 * 0.5, 6 * 0.5)
    plate = Platen("plate", face_nodes(moduli, "z+"), centre, (None,) * 6, (0.0, 0.0, -100.0, 0.0, 0.0, 0.0))
    result = solve(
        moduli, 0.5, 0.3, [Hold("base", face_nodes(moduli, "z-")), plate], settings=VoxelSettings(rtol=1e-11)
    )
    reaction, base = result.reaction("plate"), result.reaction("base")
    np.testing.assert_allclose(reaction.force_n, [0.0, 0.0, -100.0], atol=1e-6)
    np.testing.assert_allclose(reaction.moment_n_mm, 0.0, atol=1e-5)
    nodes = face_nodes(moduli, "z+")
    arm = result.grid.positions_mm(nodes) - centre
    rigid = reaction.motion[:3] + np.cross(reaction.motion[3:], arm)
    np.testing.assert_allclose(result.displacement_mm.reshape(-1, 3)[nodes], rigid, atol=1e-12)
    arm = np.array(centre) - result.grid.positions_mm(face_nodes(moduli, "z-")).mean(axis=0)
    np.testing.assert_allclose(base.force_n, [0.0, 0.0, 100.0], atol=1e-6)
    np.testing.assert_allclose(base.moment_n_mm, -np.cross(arm, [0.0, 0.0, -100.0]), atol=1e-5)
    assert np.abs(reaction.motion[3:]).max() > 1e-6  # it does tilt


def test_platen_motion_and_force_are_two_sides_of_one_stiffness():
    moduli = random_block(seed=7, holes=0.0)
    base, nodes = Hold("base", face_nodes(moduli, "z-")), face_nodes(moduli, "z+")
    loose = (None, None, None, 0.0, 0.0, 0.0)
    pushed = solve(moduli, 1.0, 0.3, [base, Platen("p", nodes, (0, 0, 0), loose, (0, 0, -50.0, 0, 0, 0))])
    motion = tuple(pushed.reaction("p").motion)
    moved = solve(moduli, 1.0, 0.3, [base, Platen("p", nodes, (0, 0, 0), motion)])
    np.testing.assert_allclose(moved.reaction("p").force_n, [0.0, 0.0, -50.0], atol=1e-4)


def test_plate_without_friction_leaves_uniaxial_stress():
    moduli = np.full((5, 6, 8), 200.0)
    plate = Platen(
        "p", face_nodes(moduli, "z+"), (2.5, 3.0, 8.0), (0, 0, -0.08, None, None, 0), grips=(False, False, True)
    )
    result = solve(moduli, 1.0, 0.3, [Hold("b", face_nodes(moduli, "z-"), SLIDING), plate])
    np.testing.assert_allclose(result.reaction("p").force_n, [0.0, 0.0, -2.0 * 30.0], atol=1e-5)


def test_face_nodes_of_a_part():
    moduli = np.ones((4, 4, 6))
    cap = np.zeros(moduli.shape, dtype=bool)
    cap[1:3, 1:4, 4] = True
    i, j, k = np.unravel_index(face_nodes(cap, "z+"), (5, 5, 7))
    assert set(k) == {5}
    assert sorted(zip(i, j, strict=True)) == [(a, b) for a in (1, 2, 3) for b in (1, 2, 3, 4)]


def test_islands_are_reported_or_removed():
    moduli = np.zeros((8, 8, 8))
    moduli[2:5, 2:5] = 100.0
    alone = compression(moduli)
    reference = solve(moduli, 1.0, 0.3, alone)
    moduli[7, 7, 3] = moduli[7, 6, 3] = 100.0
    conditions = [Hold(c.name, c.nodes, c.displacement_mm) for c in alone]
    with pytest.raises(InputError, match=r"2 voxels in 1 islands.*\(7, 6, 3\)"):
        solve(moduli, 1.0, 0.3, conditions)
    removed = solve(moduli, 1.0, 0.3, conditions, islands="remove")
    np.testing.assert_allclose(removed.displacement_mm, reference.displacement_mm, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moduli": np.zeros((3, 3, 3))}, "no voxel is filled"),
        ({"moduli": np.ones((3, 3))}, "three axes"),
        ({"moduli": np.where(np.eye(3)[:, :, None] * np.ones(3) > 0, np.nan, 1.0)}, "NaN"),
        ({"moduli": -np.ones((3, 3, 3))}, "negative"),
        ({"poisson": 0.5}, "poisson_ratio"),
        ({"poisson": float("nan")}, "poisson_ratio"),
        ({"voxel": 0.0}, "voxel_mm"),
        ({"conditions": []}, "nothing is prescribed"),
        ({"conditions": [Hold("free", np.arange(16), (None, None, None))]}, "nothing is prescribed"),
        ({"conditions": [Hold("gone", np.array([999]))]}, "node ids"),
        ({"conditions": [Hold("nan", np.arange(4), (0.0, 0.0, float("nan")))]}, "finite"),
        ({"conditions": [Hold("a", np.arange(4)), Hold("b", np.arange(4), (0.0, 0.0, 1.0))]}, "different"),
    ],
)
def test_input_that_makes_no_sense_is_refused(change, message):
    moduli = change.get("moduli", np.ones((3, 3, 3)))
    conditions = change.get("conditions", [Hold("base", np.arange(16))])
    with pytest.raises(InputError, match=message):
        solve(moduli, change.get("voxel", 1.0), change.get("poisson", 0.3), conditions)


def test_unreachable_tolerance_says_how_far_it_came():
    moduli = random_block()
    with pytest.raises(ConvergenceError, match=r"after 2 iterations: relative residual .* at node \("):
        solve(moduli, 1.0, 0.3, compression(moduli), islands="remove", settings=VoxelSettings(max_iterations=2))


def test_more_memory_than_there_is_is_foreseen(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1.0)
    with pytest.raises(InputError, match="GB are free"):
        solve(np.ones((3, 3, 3)), 1.0, 0.3, compression(np.ones((3, 3, 3))))
