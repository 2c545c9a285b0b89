"""Nodal averages: exact for linear fields, NaN where there is no cell."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import block, jiggled, tet10

from kyphos.fem import discretise, nodal_average
from kyphos.fem.elements import ELEMENTS, element_for
from kyphos.fem.recover import extrapolation


@pytest.mark.parametrize("kind", ["hex8", "tet10"])
def test_linear_fields_are_recovered_exactly(kind):
    points, cells = block(counts=(2, 3, 2))
    points, cells = tet10(jiggled(points, 0.05), cells) if kind == "tet10" else (points, cells)
    element = element_for(cells)
    at = np.einsum("qa,mai->mqi", element.shape(element.points), points[cells])
    slope = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.0]])
    np.testing.assert_allclose(
        nodal_average(discretise(points, cells), at @ slope + 4.0), points @ slope + 4.0, atol=1e-12
    )


def test_constants_stay_constant_at_every_node():
    for element in ELEMENTS.values():
        matrix = extrapolation(element)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-13)


def test_a_node_without_a_cell_has_no_value():
    points, cells = block(counts=(1, 1, 1))
    points = np.vstack([points, [[9.0, 9.0, 9.0]]])
    found = nodal_average(discretise(points, cells), np.ones((1, 8, 1)))
    np.testing.assert_allclose(found[:8], 1.0)
    assert np.isnan(found[8, 0])
