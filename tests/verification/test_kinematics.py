"""Logarithmic strain and Cauchy stress against closed forms; rigid rotation is felt by nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block, jiggled, tet10
from wall import worst

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

GROUP = "Finite rotation and strain"
ROUNDING = "rounding of coordinates, amplified by the logarithm"
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
def test_rigid_rotation_gives_no_stress(wall, kind, degrees):
    points, cells, formulation = mesh_of(kind)
    structure = Structure(discretise(points, cells, formulation), LAW)
    turn = rotation(np.radians(degrees) * np.array([1.0, 2.0, -2.0]) / 3.0)[0]
    state = structure.initial_state(np.zeros((*structure.mesh.weight.shape, 0)))
    found = structure.evaluate(moved(structure, state, points @ turn.T + [5.0, -3.0, 1.0]))
    wall.error(
        "rigid rotation by 10, 90 and 170 degrees leaves no stress (over Young's modulus), all elements",
        np.abs(found.response.stress).max() / LAW.young_mpa,
        1e-11,
        source="exact",
        because="rounding of coordinates of size ten",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_stretched_body_turns_without_further_stress(wall, kind):
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
    force = before.force_n.reshape(-1, 3) @ turn.T
    wall.error(
        "a stretched body turned by 170 degrees: stress T stays, forces turn",
        max(worst(after.response.stress, before.response.stress), worst(after.force_n.reshape(-1, 3), force)),
        1e-11,
        source="exact (objectivity)",
        because=ROUNDING,
    )
    index = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])
    sigma = cauchy_stress(structure.mesh, state, before.response.stress)[..., index]
    sigma_turned = cauchy_stress(structure.mesh, turned, after.response.stress)[..., index]
    expected = np.einsum("ik,mqkl,jl->mqij", turn, sigma, turn)
    wall.error(
        "the same: Cauchy stress turns with the body",
        worst(sigma_turned, expected, scale),
        1e-10,
        source="exact (objectivity)",
        because=ROUNDING,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stretch", [0.6, 1.5])
def test_uniaxial_stretch(wall, kind, stretch):
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
    force = result.reaction_n[top, 2].sum()
    area = stretch ** (-2.0 * LAW.poisson)
    found = [stress[..., 2] / (LAW.young_mpa * log), force * stretch / (LAW.young_mpa * log)]
    found.append(result.stress_mpa[..., 2] * area / force)
    wall.error(
        "uniaxial stretch 0.6 and 1.5 of distorted meshes: stress, force, Cauchy stress times current area",
        max(worst(x, 1.0) for x in found),
        1e-7,
        source="E = ln(stretch)",
        because="the residual at which Newton stops (1e-10 of the load), over the weakest direction",
    )


@pytest.mark.parametrize("shear", [0.01, 1.0, 4.0])
def test_simple_shear(wall, shear):
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
    wall.error(
        "simple shear up to 4: log strain", worst(found.strain, expected, 1.0), 1e-12,
        source="asinh(s/2)/sqrt(1 + s²/4) [[-s/2, 1], [1, s/2]]", because=ROUNDING,
    )  # fmt: skip
    twice_g = LAW.young_mpa / (1.0 + LAW.poisson)
    sigma = twice_g * size * np.array([shear / 2, -shear / 2, 0, 1.0, 0, 0])
    found_sigma = cauchy_stress(structure.mesh, state, found.response.stress)
    wall.error(
        "the same: Cauchy stress", worst(found_sigma, sigma, twice_g), 1e-9,
        source="2 G ln V", because=ROUNDING,
    )  # fmt: skip
