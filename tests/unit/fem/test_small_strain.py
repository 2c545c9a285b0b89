"""Small strain: linear where the law is linear, whatever the element; the limit of finite strain; mixed elements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block, hex20, jiggled, tet10

from kyphos.fem import Structure, cauchy_stress, discretise, joined
from kyphos.fem.elements import HEX20R, TET4

LAW = Hooke(100.0, 0.3)


def mesh_of(kind):
    points, cells = block((2.0, 1.0, 1.0), (2, 2, 2))
    points = jiggled(points, 0.05)
    if kind == "mixed":
        points, quadratic = hex20(points, cells)
        tets = tet10(points, cells[6:7])[1][:, :4]
        parts = [
            (cells[:2], "enhanced", None),
            (cells[2:4], "mean_dilatation", None),
            (quadratic[4:6], "standard", None),
        ]
        parts += [(tets, "standard", TET4), (quadratic[7:], "standard", HEX20R)]
        return joined([discretise(points, c, f, element=e) for c, f, e in parts])
    if kind in ("hex20", "hex20r"):
        return discretise(*hex20(points, cells), element=HEX20R if kind == "hex20r" else None)
    if kind in ("tet4", "tet10"):
        large, tets = tet10(points, cells)
        return discretise(large, tets) if kind == "tet10" else discretise(points, tets[:, :4])
    return discretise(points, cells, kind)


KINDS = ["standard", "mean_dilatation", "enhanced", "hex20", "hex20r", "tet4", "tet10", "mixed"]


def evaluated(mesh, displacement):
    structure = Structure(mesh, LAW)
    state = structure.initial_state(np.zeros((*mesh.weight.shape, 0)))
    return structure.evaluate(replace(state, displacement_mm=displacement))


@pytest.mark.parametrize("kind", KINDS)
def test_forces_are_linear_in_the_displacement(kind):
    mesh = replace(mesh_of(kind), small_strain=True)
    u = np.random.default_rng(3).uniform(-0.5, 0.5, mesh.points_mm.shape)  # no small displacement
    found = evaluated(mesh, u)
    np.testing.assert_allclose(found.stiffness @ u.ravel(), found.force_n, atol=1e-10 * np.abs(found.force_n).max())
    np.testing.assert_allclose(found.stiffness.toarray(), evaluated(mesh, 0.0 * u).stiffness.toarray(), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_small_strain_is_the_limit_of_finite_strain(kind):
    """Finite strain differs by a term of second order: halving the displacement quarters it."""
    mesh = mesh_of(kind)
    u = np.random.default_rng(4).uniform(-1e-3, 1e-3, mesh.points_mm.shape)
    gap = [
        np.abs(evaluated(mesh, s * u).force_n - evaluated(replace(mesh, small_strain=True), s * u).force_n).max()
        for s in (1.0, 0.5)
    ]
    assert gap[0] / gap[1] == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stiffness_is_the_derivative_of_the_forces(kind):
    mesh = mesh_of(kind)
    rng = np.random.default_rng(5)
    u, direction = rng.uniform(-0.02, 0.02, mesh.points_mm.shape), rng.standard_normal(mesh.points_mm.shape)
    h = 1e-6
    slope = (evaluated(mesh, u + h * direction).force_n - evaluated(mesh, u - h * direction).force_n) / (2 * h)
    expected = evaluated(mesh, u).stiffness @ direction.ravel()
    np.testing.assert_allclose(slope, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_strain_is_carried_exactly(kind):
    """A patch: every element sees the same strain, and small strain is the Cauchy stress over the stiffness."""
    mesh = replace(mesh_of(kind), small_strain=True)
    slope = np.array([[0.02, 0.01, 0.0], [0.0, -0.01, 0.03], [0.01, 0.0, 0.04]])
    u = mesh.points_mm @ slope.T
    found = evaluated(mesh, u)
    e = 0.5 * (slope + slope.T)
    expected = np.array([e[0, 0], e[1, 1], e[2, 2], 2 * e[0, 1], 2 * e[1, 2], 2 * e[0, 2]])
    np.testing.assert_allclose(found.strain, np.broadcast_to(expected, found.strain.shape), atol=1e-14)
    state = Structure(mesh, LAW).initial_state(np.zeros((*mesh.weight.shape, 0)))
    stress = cauchy_stress(mesh, replace(state, displacement_mm=u), found.response.stress)
    np.testing.assert_allclose(stress, found.response.stress, atol=1e-12)


def test_rebasing_padded_cells_makes_them_stress_free():
    mesh = mesh_of("mixed")
    u = 0.1 * mesh.points_mm * [1.0, 0.5, -0.3]
    again = mesh.rebased(np.array([0, 5, 6]), mesh.points_mm + u)
    strain = evaluated(again, u).strain
    np.testing.assert_allclose(strain[[0, 5, 6]], 0.0, atol=1e-13)
    assert np.abs(strain[[1, 2, 4]]).max() > 0.02
