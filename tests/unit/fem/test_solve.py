"""The short way in: what it answers, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, tet10

from kyphos.errors import InputError
from kyphos.fem import boundary_faces, prescribe, solve_static, traction_forces, von_mises


@pytest.mark.parametrize("kind", ["hex8", "tet10"])
def test_a_pulled_block(kind):
    points, cells = block((2.0, 2.0, 2.0), (2, 2, 2))
    points, cells = tet10(points, cells) if kind == "tet10" else (points, cells)
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    held = prescribe(len(points), (low[0], "x", 0.0), (low[1], "y", 0.0), (low[2], "z", 0.0))
    faces = boundary_faces(cells)
    top = faces[np.all(points[faces, 2] > 2.0 - 1e-9, axis=1)]
    force = traction_forces(points, top, np.array([0.0, 0.0, 1e-3]))
    result = solve_static(points, cells, Hooke(1000.0, 0.3), held, force)
    np.testing.assert_allclose(result.displacement_mm[:, 2], points[:, 2] * 1e-6, rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(result.nodal_stress_mpa[:, 2], 1e-3, rtol=1e-4)
    np.testing.assert_allclose(von_mises(result.stress_mpa), 1e-3, rtol=1e-4)
    assert result.reaction_n[:, 2].sum() == pytest.approx(-4e-3, rel=1e-6)
    np.testing.assert_allclose(result.reaction_n[points[:, 2] > 1e-9, 2], 0.0, atol=1e-8)


def test_later_entries_win_and_free_is_nan():
    held = prescribe(3, (np.array([0, 1]), "xz", 0.0), (np.array([1]), "z", 2.0))
    np.testing.assert_array_equal(held, [[0, np.nan, 0], [0, np.nan, 2], [np.nan] * 3])


def test_unknown_axes_are_refused():
    with pytest.raises(InputError, match="'x', 'y', 'z'"):
        prescribe(3, (np.array([0]), "xr", 0.0))


def test_a_floating_body_is_refused():
    points, cells = block()
    held = prescribe(len(points), (np.arange(4), "xy", 0.0))
    with pytest.raises(InputError, match="nothing holds the body along z"):
        solve_static(points, cells, Hooke(1.0, 0.3), held)


def test_arrays_that_do_not_fit_are_refused():
    points, cells = block()
    with pytest.raises(InputError, match="prescribed_mm has shape"):
        solve_static(points, cells, Hooke(1.0, 0.3), np.zeros((3, 3)))
    with pytest.raises(InputError, match="force_n has shape"):
        solve_static(points, cells, Hooke(1.0, 0.3), np.zeros_like(points), np.zeros(3))
