"""Rotation vectors against SciPy, their derivatives against differences, change of the reference point."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kyphos.fem import (
    Platen,
    applied_moment,
    conjugate_moment,
    moved_centre,
    platen_displacement,
    rotation,
    spin,
)
from kyphos.fem.rigid import platen_slopes, platen_stiffness

VECTORS = [
    np.zeros(3),
    np.array([1e-9, 0, 0]),
    np.array([0.3, -0.2, 0.1]),
    np.array([1.0, 2.0, -2.0]) / 3 * np.radians(170),
]
POINTS = np.random.default_rng(2).uniform(-5.0, 5.0, (6, 3))
PLATEN = Platen("p", np.array([0, 2, 4, 5]), np.array([1.0, -1.0, 2.0]))


@pytest.mark.parametrize("theta", VECTORS, ids=str)
def test_rotation_is_that_of_scipy(theta):
    np.testing.assert_allclose(rotation(theta)[0], Rotation.from_rotvec(theta).as_matrix(), atol=1e-14)


@pytest.mark.parametrize("theta", VECTORS, ids=str)
def test_derivatives(theta):
    h = 1e-5
    _, first, second = rotation(theta)
    for k in range(3):
        up, down = rotation(theta + h * np.eye(3)[k]), rotation(theta - h * np.eye(3)[k])
        np.testing.assert_allclose(first[k], (up[0] - down[0]) / (2 * h), atol=1e-9)
        np.testing.assert_allclose(second[k], (up[1] - down[1]) / (2 * h), atol=1e-9)


@pytest.mark.parametrize("theta", VECTORS, ids=str)
def test_platen_slopes_and_stiffness(theta):
    h, force = 1e-5, np.random.default_rng(4).uniform(-1.0, 1.0, (4, 3))
    slopes = platen_slopes(PLATEN, POINTS, theta)
    stiffness = platen_stiffness(PLATEN, POINTS, theta, force)
    for k in range(3):
        step = h * np.eye(3)[k]
        moved = [platen_displacement(PLATEN, POINTS, np.concatenate([np.zeros(3), theta + s])) for s in (step, -step)]
        np.testing.assert_allclose(slopes[:, :, k], (moved[0] - moved[1]) / (2 * h), atol=1e-8)
        work = [np.einsum("ai,aik->k", force, platen_slopes(PLATEN, POINTS, theta + s)) for s in (step, -step)]
        np.testing.assert_allclose(stiffness[k], (work[0] - work[1]) / (2 * h), atol=1e-7)


def test_the_same_position_told_from_another_point():
    motion = np.array([0.4, -0.3, 0.2, 0.5, 0.6, -0.7])
    other, told = moved_centre(PLATEN, motion, np.array([-3.0, 2.0, 7.0]))
    np.testing.assert_allclose(
        platen_displacement(other, POINTS, told), platen_displacement(PLATEN, POINTS, motion), atol=1e-13
    )


@pytest.mark.parametrize("theta", VECTORS, ids=str)
def test_the_spin_is_that_of_the_rotation(theta):
    """A change of the rotation vector, seen as a small turn about the fixed axes."""
    h = 1e-6
    for k in range(3):
        up, down = (Rotation.from_rotvec(theta + s * np.eye(3)[k]) for s in (h, -h))
        np.testing.assert_allclose(spin(theta)[:, k], (up * down.inv()).as_rotvec() / (2 * h), atol=1e-8)
    np.testing.assert_allclose(spin(theta) @ theta, theta, atol=1e-12)


@pytest.mark.parametrize("axis", range(3))
def test_a_moment_about_the_axis_of_rotation_is_its_own_conjugate(axis):
    moment, theta = 7500.0 * np.eye(3)[axis], 0.2 * np.eye(3)[axis]
    np.testing.assert_allclose(conjugate_moment(theta, moment), moment, atol=1e-9)


def test_a_moment_and_its_conjugate():
    """Work of nodal forces that make up a pure moment, against the generalised force of the platen."""
    theta, moment = np.array([0.15, -0.1, 0.2]), np.array([3.0, -5.0, 7.0])
    arms = platen_displacement(PLATEN, POINTS, np.r_[0.0, 0.0, 0.0, theta]) + POINTS[PLATEN.nodes] - PLATEN.centre_mm
    arms = arms - arms.mean(axis=0)
    inertia = (arms**2).sum() * np.eye(3) - arms.T @ arms
    force = np.cross(np.linalg.solve(inertia, moment), arms)  # no sum, moment as wanted
    generalised = np.einsum("aik,ai->k", platen_slopes(PLATEN, POINTS, theta), force)
    np.testing.assert_allclose(conjugate_moment(theta, moment), generalised, rtol=1e-10)
    np.testing.assert_allclose(applied_moment(theta, generalised), moment, rtol=1e-10)
    assert np.abs(generalised - moment).max() > 0.1
