"""Shape functions, their gradients, quadrature, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import block, tet10

from kyphos.errors import InputError, MeshError
from kyphos.fem import discretise
from kyphos.fem.discretisation import joined
from kyphos.fem.elements import ELEMENTS, HEX8, HEX20, HEX20R, TET4, TET10, element_for

ALL = pytest.mark.parametrize("element", ELEMENTS.values(), ids=lambda e: e.name)
SAMPLE = np.random.default_rng(1).uniform(0.05, 0.3, (20, 3))


@ALL
def test_each_shape_function_is_one_at_its_node_and_zero_at_the_others(element):
    np.testing.assert_allclose(element.shape(element.nodes), np.eye(element.n_nodes), atol=1e-14)


@ALL
def test_linear_fields_are_reproduced(element):
    np.testing.assert_allclose(element.shape(SAMPLE) @ element.nodes, SAMPLE, atol=1e-14)
    np.testing.assert_allclose(element.shape(SAMPLE).sum(axis=1), 1.0, atol=1e-14)


@ALL
def test_gradients_are_the_derivatives(element):
    h = 1e-5
    for axis in range(3):
        step = h * np.eye(3)[axis]
        slope = (element.shape(SAMPLE + step) - element.shape(SAMPLE - step)) / (2 * h)
        np.testing.assert_allclose(element.gradient(SAMPLE)[:, :, axis], slope, atol=1e-9)


def test_the_points_of_hex20_are_exact_to_degree_five():
    x, y, z = HEX20.points.T
    assert HEX20.weights @ (x**4 * y**2 * z**4) == pytest.approx(8.0 / 75.0, rel=1e-13)


@pytest.mark.parametrize(
    ("element", "volume", "square"),
    [(e, 8.0, 8.0 / 3.0) for e in (HEX8, HEX20, HEX20R)] + [(TET10, 1.0 / 6.0, 1.0 / 60.0)],
)
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
        element_for(cells[:, :5])
    with pytest.raises(MeshError, match=r"hex20r needs \(m, 20\)"):
        discretise(points, cells, element=HEX20R)
    with pytest.raises(InputError, match="allowed: standard, mean_dilatation, enhanced"):
        discretise(points, cells, "reduced")
    with pytest.raises(InputError, match="needs one of the codes"):
        discretise(points, cells, np.array([7], dtype=np.int8))
    with pytest.raises(InputError, match="tet10 knows only the standard formulation"):
        discretise(*tet10(points, cells), "enhanced")


@ALL
def test_the_element_is_known_by_its_nodes(element):
    assert element_for(np.zeros((1, element.n_nodes), dtype=np.int64)).nodes is element.nodes


def test_padding_adds_nothing():
    """Each cell of a joined mesh has the volume, gradients and filters that it has alone."""
    points, cells = block(counts=(2, 1, 1))
    hexes, tets = discretise(points, cells[:1], "enhanced"), discretise(points, cells[1:, [0, 1, 2, 5]], element=TET4)
    large, many = tet10(points, cells[1:])
    hexes, tets = (discretise(large, mesh.cells, mesh.formulation) for mesh in (hexes, tets))
    mesh = joined([discretise(large, many), tets, hexes])
    assert mesh.gradient.shape == (8, 8, 10, 3)
    np.testing.assert_allclose(mesh.weight.sum(axis=1), [*[0.5 / 6] * 6, 0.5 / 6, 0.5], rtol=1e-12)
    np.testing.assert_array_equal(mesh.gradient[7, :, :8], hexes.gradient[0])
    np.testing.assert_array_equal(mesh.filters[mesh.enhanced_index[7]], hexes.filters[0])
    assert [part.element.name for part in mesh.parts] == ["tet10", "tet4", "hex8"]
    assert joined([hexes]) is hexes
