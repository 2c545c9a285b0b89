"""Logarithmic strain and Cauchy stress against closed forms; rigid rotation is felt by nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block, jiggled, tet10

from kyphos.fem import (
    MarchSettings,
    NewtonSettings,
    Structure,
    cauchy_stress,
    discretise,
    prescribe,
    rotation,
    solve_static,
)

LAW = Hooke(1000.0, 0.3)
TIGHT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-10, minimum_load_n=1e-6, linear_tolerance=1e-10))
KINDS = ["standard", "mean_dilatation", "enhanced", "tet10"]


def mesh_of(kind):
    points, cells = block(counts=(2, 2, 2))
    points = jiggled(points, 0.08)
    if kind == "tet10":
        points, cells = tet10(points, cells)
    return points, cells, "standard" if kind == "tet10" else kind


def moved(structure, state, points):
    return replace(state, displacement_mm=points - structure.mesh.points_mm)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [10.0, 90.0, 170.0])
def test_rigid_rotation_gives_no_stress(kind, degrees):
    points, cells, formulation = mesh_of(kind)
    structure = Structure(discretise(points, cells, formulation), LAW)
    turn = rotation(np.radians(degrees) * np.array([1.0, 2.0, -2.0]) / 3.0)[0]
    state = structure.initial_state(np.zeros((*structure.mesh.weight.shape, 0)))
    found = structure.evaluate(moved(structure, state, points @ turn.T + [5.0, -3.0, 1.0]))
    assert np.abs(found.response.stress).max() < 1e-11 * LAW.young_mpa  # rounding of coordinates of size ten


@pytest.mark.parametrize("kind", KINDS)
def test_a_stretched_body_turns_without_further_stress(kind):
    """Objectivity: T stays, forces and Cauchy stress turn with the body."""
    points, cells, formulation = mesh_of(kind)
    held = prescribe(
        len(points),
        (np.flatnonzero(points[:, 2] < 1e-9), "xyz", 0.0),
        (np.flatnonzero(points[:, 2] > 1 - 1e-9), "xyz", 0.3),
    )
    result = solve_static(points, cells, LAW, held, formulation=formulation, settings=TIGHT)
    structure, state = result.structure, result.state
    turn = rotation(np.radians(170.0) * np.array([2.0, -1.0, 2.0]) / 3.0)[0]
    turned = moved(structure, state, (points + state.displacement_mm) @ turn.T)
    before, after = structure.evaluate(state), structure.evaluate(turned)
    scale = np.abs(before.response.stress).max()
    np.testing.assert_allclose(after.response.stress, before.response.stress, atol=1e-11 * scale)
    force = before.force_n.reshape(-1, 3) @ turn.T
    np.testing.assert_allclose(after.force_n.reshape(-1, 3), force, atol=1e-11 * np.abs(force).max())
    index = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])
    sigma = cauchy_stress(structure.mesh, state, before.response.stress)[..., index]
    sigma_turned = cauchy_stress(structure.mesh, turned, after.response.stress)[..., index]
    expected = np.einsum("ik,mqkl,jl->mqij", turn, sigma, turn)
    np.testing.assert_allclose(sigma_turned, expected, atol=1e-10 * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stretch", [0.6, 1.5])
def test_uniaxial_stretch(kind, stretch):
    """E = ln(stretch), T = Young E, force = A0 T / stretch = Cauchy stress times current area."""
    points, cells, formulation = mesh_of(kind)
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    top = np.flatnonzero(points[:, 2] > 1.0 - 1e-9)
    held = prescribe(len(points), *zip(low, "xyz", (0.0, 0.0, 0.0), strict=True), (top, "z", stretch - 1.0))
    result = solve_static(points, cells, LAW, held, formulation=formulation, settings=TIGHT)
    strain, stress = result.equilibrium.evaluation.strain, result.equilibrium.evaluation.response.stress
    log = np.log(stretch)
    axial = [-LAW.poisson * log, -LAW.poisson * log, log, 0, 0, 0]
    np.testing.assert_allclose(strain, np.broadcast_to(axial, strain.shape), atol=1e-9)
    np.testing.assert_allclose(stress[..., 2], LAW.young_mpa * log, rtol=1e-8)
    force = result.reaction_n[top, 2].sum()
    assert force == pytest.approx(LAW.young_mpa * log / stretch, rel=1e-8)
    area = stretch ** (-2.0 * LAW.poisson)
    np.testing.assert_allclose(result.stress_mpa[..., 2] * area, force, rtol=1e-7)


@pytest.mark.parametrize("shear", [0.01, 1.0, 4.0])
def test_simple_shear(shear):
    """x += s y: E = h / sqrt(1 + s^2/4) [[-s/2, 1], [1, s/2]], h = asinh(s/2); Cauchy stress from ln V."""
    points, cells = block(counts=(1, 1, 1))
    structure = Structure(discretise(points, cells), LAW)
    state = structure.initial_state(np.zeros((1, 8, 0)))
    sheared = points.copy()
    sheared[:, 0] += shear * points[:, 1]
    state = moved(structure, state, sheared)
    found = structure.evaluate(state)
    size = np.arcsinh(shear / 2) / np.hypot(1.0, shear / 2)
    expected = size * np.array([-shear / 2, shear / 2, 0, 2.0, 0, 0])
    np.testing.assert_allclose(found.strain, np.broadcast_to(expected, (1, 8, 6)), atol=1e-12)
    twice_g = LAW.young_mpa / (1.0 + LAW.poisson)
    sigma = twice_g * size * np.array([shear / 2, -shear / 2, 0, 1.0, 0, 0])
    found_sigma = cauchy_stress(structure.mesh, state, found.response.stress)
    np.testing.assert_allclose(found_sigma, np.broadcast_to(sigma, (1, 8, 6)), atol=1e-9 * twice_g)
