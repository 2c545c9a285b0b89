"""Consistent nodal forces: totals, moments, and the pressure as the derivative of the volume."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import block, hex20, jiggled, tet10

from kyphos.errors import InputError
from kyphos.fem import boundary_faces, discretise, pressure_forces, traction_forces

AS = {
    "hex8": lambda points, cells: (points, cells),
    "hex20": hex20,
    "tet4": lambda points, cells: (points, tet10(points, cells)[1][:, :4]),
    "tet10": tet10,
}


def distorted(kind):
    points, cells = block((2.0, 3.0, 1.0), (2, 2, 2))
    points = jiggled(points, 0.1)
    points, cells = AS[kind](points, cells)
    return points + 0.05 * np.sin(3.0 * points[:, ::-1]), cells  # curved faces


@pytest.mark.parametrize("kind", AS)
def test_boundary_faces_point_outward_and_enclose_the_volume(kind):
    """Unit pressure on the boundary does the work -3 V on the displacement u = x (divergence theorem)."""
    points, cells = distorted(kind)
    force = pressure_forces(points, boundary_faces(cells), 1.0)
    volume = discretise(points, cells).weight.sum()
    # the volume rule has degree two in the tet, the volume of a curved one is a cubic: 1e-3
    assert -np.sum(force * points) == pytest.approx(3.0 * volume, rel=1e-3 if kind == "tet10" else 1e-12)
    np.testing.assert_allclose(force.sum(axis=0), 0.0, atol=1e-13)


@pytest.mark.parametrize("kind", AS)
def test_pressure_is_minus_the_derivative_of_the_enclosed_volume(kind):
    points, cells = distorted(kind)
    faces = boundary_faces(cells)
    node, axis, h = faces[3, -1], 2, 1e-5

    def enclosed(x):
        return -np.sum(pressure_forces(x, faces, 1.0) * x) / 3.0

    step = np.zeros_like(points)
    step[node, axis] = h
    slope = (enclosed(points + step) - enclosed(points - step)) / (2.0 * h)
    assert pressure_forces(points, faces, 2.5)[node, axis] == pytest.approx(-2.5 * slope, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("kind", AS)
def test_a_uniform_traction_acts_at_the_centre_of_a_flat_face(kind):
    points, cells = block((2.0, 3.0, 1.0), (2, 2, 2))
    points, cells = AS[kind](points, cells)
    faces = boundary_faces(cells)
    top = faces[np.all(points[faces, 2] > 1.0 - 1e-9, axis=1)]
    traction = np.array([0.5, -1.0, 2.0])
    force = traction_forces(points, top, traction)
    np.testing.assert_allclose(force.sum(axis=0), 6.0 * traction, rtol=1e-12)
    moment = np.cross(points, force).sum(axis=0)
    np.testing.assert_allclose(moment, np.cross([1.0, 1.5, 1.0], 6.0 * traction), atol=1e-12)
    per_face = traction_forces(points, top, np.tile(traction, (len(top), 1)))
    np.testing.assert_array_equal(per_face, force)
    normal = pressure_forces(points, top, 3.0)
    np.testing.assert_allclose(normal, traction_forces(points, top, np.array([0.0, 0.0, -3.0])), atol=1e-13)


def test_other_faces_and_cells_are_refused():
    points, cells = block()
    with pytest.raises(InputError, match="for quads"):
        pressure_forces(points, cells[:, :5], 1.0)
    with pytest.raises(InputError, match=r"\(m, 8\)"):
        boundary_faces(cells[:, :5])
