"""Rotation vectors against SciPy, their derivatives against differences, change of the reference point."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kyphos.fem import Platen, moved_centre, platen_displacement, rotation
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
