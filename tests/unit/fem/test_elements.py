"""Shape functions, their gradients, quadrature, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import block, tet10

from kyphos.errors import InputError, MeshError
from kyphos.fem import discretise
from kyphos.fem.elements import HEX8, TET10, TET_EDGES, element_for

CORNERS = np.vstack([np.zeros(3), np.eye(3)])
TET_NODES = np.vstack([CORNERS, *(0.5 * (CORNERS[a] + CORNERS[b]) for a, b in TET_EDGES)])
CASES = [(HEX8, HEX8.points * np.sqrt(3.0)), (TET10, TET_NODES)]
SAMPLE = np.random.default_rng(1).uniform(0.05, 0.3, (20, 3))


@pytest.mark.parametrize(("element", "nodes"), CASES, ids=lambda x: getattr(x, "name", ""))
def test_each_shape_function_is_one_at_its_node_and_zero_at_the_others(element, nodes):
    np.testing.assert_allclose(element.shape(nodes), np.eye(element.n_nodes), atol=1e-14)


@pytest.mark.parametrize(("element", "nodes"), CASES, ids=lambda x: getattr(x, "name", ""))
def test_linear_fields_are_reproduced(element, nodes):
    np.testing.assert_allclose(element.shape(SAMPLE) @ nodes, SAMPLE, atol=1e-14)
    np.testing.assert_allclose(element.shape(SAMPLE).sum(axis=1), 1.0, atol=1e-14)


@pytest.mark.parametrize("element", [HEX8, TET10], ids=lambda e: e.name)
def test_gradients_are_the_derivatives(element):
    h = 1e-5
    for axis in range(3):
        step = h * np.eye(3)[axis]
        slope = (element.shape(SAMPLE + step) - element.shape(SAMPLE - step)) / (2 * h)
        np.testing.assert_allclose(element.gradient(SAMPLE)[:, :, axis], slope, atol=1e-9)


@pytest.mark.parametrize(("element", "volume", "square"), [(HEX8, 8.0, 8.0 / 3.0), (TET10, 1.0 / 6.0, 1.0 / 60.0)])
def test_quadrature_is_exact_for_quadratic_fields(element, volume, square):
    assert element.weights.sum() == pytest.approx(volume, rel=1e-14)
    np.testing.assert_allclose(element.weights @ element.points**2, square, rtol=1e-14)


def test_weights_add_up_to_the_volume():
    points, cells = block((2.0, 3.0, 4.0), (2, 3, 2))
    assert discretise(points, cells).weight.sum() == pytest.approx(24.0)
    assert discretise(*tet10(points, cells)).weight.sum() == pytest.approx(24.0)


def test_inside_out_cells_are_named():
    points, cells = block(counts=(2, 1, 1))
    cells[1] = cells[1][[4, 5, 6, 7, 0, 1, 2, 3]]
    with pytest.raises(MeshError, match="cell 1 has Jacobian -"):
        discretise(points, cells)


def test_other_cells_and_formulations_are_refused():
    points, cells = block(counts=(1, 1, 1))
    with pytest.raises(MeshError, match="hex8"):
        element_for(cells[:, :4])
    with pytest.raises(InputError, match="allowed: standard, mean_dilatation, enhanced"):
        discretise(points, cells, "reduced")
    with pytest.raises(InputError, match="needs one of the codes"):
        discretise(points, cells, np.array([7], dtype=np.int8))
    with pytest.raises(InputError, match="tet10 knows only the standard formulation"):
        discretise(*tet10(points, cells), "enhanced")
