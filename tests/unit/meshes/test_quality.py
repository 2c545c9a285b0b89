"""The gate: right on cells whose quality is known, and it can say no."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kyphos import meshes
from kyphos.errors import MeshError


def one_cell(points):
    """A mesh of a single hexahedron."""
    cells, region, density = np.arange(8)[None], np.zeros(1, np.int16), np.full(1, np.nan)
    return meshes.SegmentMesh(np.asarray(points, dtype=float), cells, region, ("box",), density)


SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
BOX = np.array([(x, y, z) for z in (0, 1) for x, y in SQUARE], dtype=float)


@pytest.mark.parametrize("scale", [(1, 1, 1), (2, 3, 0.01)])
def test_a_box_is_perfect_however_thin(scale):
    mesh = one_cell(BOX * scale)
    assert meshes.scaled_jacobian(mesh) == pytest.approx(1.0)
    assert meshes.cell_volumes_mm3(mesh.points_mm, mesh.cells) == pytest.approx(np.prod(scale))


@pytest.mark.parametrize("degrees", [20.0, 45.0, 70.0])
def test_a_sheared_box_has_the_cosine_of_its_angle(degrees):
    sheared = BOX.copy()
    sheared[:, 0] += np.tan(np.radians(degrees)) * BOX[:, 2]
    assert meshes.scaled_jacobian(one_cell(sheared)) == pytest.approx(np.cos(np.radians(degrees)))


def test_a_folded_cell_is_refused():
    folded = BOX.copy()
    folded[6] = (0.2, 0.2, -0.5)
    mesh = one_cell(folded)
    assert meshes.scaled_jacobian(mesh)[0] < 0
    with pytest.raises(MeshError, match=r"cell 0 in box has scaled Jacobian -.*bound 0.2"):
        meshes.check_quality(mesh)


def test_a_broken_vertebra_is_refused_and_the_cell_is_named(l1):
    points = l1.points_mm.copy()
    cell = l1.cells_in("L1.trabecular")[100]
    points[l1.cells[cell, 0]] += 4.0
    with pytest.raises(MeshError, match=r"in L1\.trabecular has scaled Jacobian"):
        meshes.check_quality(replace(l1, points_mm=points))
    assert meshes.scaled_jacobian(l1, points).min() < 0
    points[0] = np.nan
    with pytest.raises(MeshError, match="not finite"):
        meshes.check_quality(replace(l1, points_mm=points))


def test_the_gate_returns_what_it_measured(l1):
    assert np.array_equal(meshes.check_quality(l1), meshes.scaled_jacobian(l1))
