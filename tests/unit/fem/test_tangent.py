"""The stiffness is the derivative of the forces: cells of every formulation, cavities, platens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block, tet10

from kyphos.fem import Cavity, Platen, Structure, discretise, reactions

KINDS = ["standard", "mean_dilatation", "enhanced", "tet10"]
STEP = 1e-6
"""Central differences err by STEP^2 and by rounding / STEP: 1e-10 of the stiffness."""


def distorted(kind, cavities=(), platens=()):
    """Two cells, finitely deformed at random: structure and state."""
    rng = np.random.default_rng(3)
    points, cells = block((2.0, 1.0, 1.0), (2, 1, 1))
    points = points + rng.uniform(-0.15, 0.15, points.shape)
    if kind == "tet10":
        points, cells = tet10(points, cells)
    mesh = discretise(points, cells, "standard" if kind == "tet10" else kind)
    structure = Structure(mesh, Hooke(10.0, 0.3), platens, cavities)
    state = structure.initial_state(np.zeros((*mesh.weight.shape, 0)))
    moved = points @ rng.uniform(-0.2, 0.2, (3, 3)) + rng.uniform(-0.05, 0.05, points.shape)
    return structure, replace(state, displacement_mm=moved)


def central(function, at):
    """(len(f), len(at)) derivative."""
    columns = []
    for i in range(at.size):
        step = np.zeros(at.size)
        step[i] = STEP
        columns.append((function(at + step) - function(at - step)) / (2.0 * STEP))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pressure", [0.0, 2.0])
def test_cells(kind, pressure):
    cavities = (Cavity("fluid", np.array([0])),) if pressure else ()
    structure, state = distorted(kind, cavities)
    state = replace(state, pressure_mpa=np.full(len(cavities), pressure))

    def force(u):
        moved = replace(state, displacement_mm=u.reshape(-1, 3))
        return structure.evaluate(moved).force_n

    stiffness = structure.evaluate(state).stiffness.toarray()
    expected = central(force, state.displacement_mm.ravel())
    np.testing.assert_allclose(stiffness, expected, atol=1e-7 * np.abs(expected).max())


def test_cavity_volume_and_pressure():
    structure, state = distorted("standard", (Cavity("fluid", np.array([0, 1])),))
    state = replace(state, pressure_mpa=np.array([1.5]))
    found = structure.evaluate(state)
    slope = found.volume_slope.toarray()[:, 0]

    def volume(u):
        return structure.cavity_volumes(replace(state, displacement_mm=u.reshape(-1, 3)))

    def force(p):
        return structure.evaluate(replace(state, pressure_mpa=p)).force_n

    np.testing.assert_allclose(central(volume, state.displacement_mm.ravel())[0], slope, atol=1e-9)
    np.testing.assert_allclose(central(force, state.pressure_mpa)[:, 0], -slope, atol=1e-8)


def test_platens_under_finite_rotation():
    """Generalised force of a platen, with its geometric stiffness, against differences of moved states."""
    nodes = np.arange(4)
    structure, _ = distorted("standard", platens=(Platen("p", nodes, np.array([0.3, 0.2, -0.4])),))
    start = structure.initial_state(np.zeros((2, 8, 0)))
    motion = np.array([0.05, -0.02, 0.03, 0.2, 0.25, -0.15])
    entries = structure.platen_slice("p")
    step = np.zeros(structure.size)
    step[entries] = motion
    state = structure.moved(start, step)

    def put(shift):
        full = np.zeros(structure.size)
        full[entries] = shift
        return full

    def force(shift):
        moved = structure.moved(state, put(shift))
        return reactions(structure, structure.evaluate(moved), moved)[entries]

    found = structure.evaluate(state)
    slopes = structure.motion_map(state.motion).toarray()[:, entries]
    stiffness = slopes.T @ found.stiffness.toarray() @ slopes
    stiffness[3:, 3:] += structure.rigid_stiffness(state.motion, found.force_n)[0]
    expected = central(force, np.zeros(6))
    np.testing.assert_allclose(stiffness, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_forces_are_the_derivative_of_the_energy(kind):
    """Hooke's law in log strain has the energy E : C : E / 2, so the forces follow from it."""
    structure, state = distorted(kind)

    def energy(u):
        moved = replace(state, displacement_mm=u.reshape(-1, 3))
        found = structure.evaluate(moved)
        return np.array([0.5 * np.einsum("mq,mqi,mqi->", structure.mesh.weight, found.strain, found.response.stress)])

    force = structure.evaluate(state).force_n
    expected = central(energy, state.displacement_mm.ravel())[0]
    np.testing.assert_allclose(force, expected, atol=1e-8 * np.abs(force).max())


def test_forces_and_moments_of_a_free_body_vanish():
    structure, state = distorted("enhanced")
    force = structure.evaluate(state).force_n.reshape(-1, 3)
    position = structure.mesh.points_mm + state.displacement_mm
    scale = np.abs(force).max()
    np.testing.assert_allclose(force.sum(axis=0), 0.0, atol=1e-13 * scale)
    np.testing.assert_allclose(np.cross(position, force).sum(axis=0), 0.0, atol=1e-12 * scale)
