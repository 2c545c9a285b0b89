"""Cavities and cement by volume: exact, nearest first, no more than there is."""

from __future__ import annotations

import numpy as np
import pytest

from kyphos import meshes
from kyphos.errors import MeshError


@pytest.fixture(scope="module")
def bone(l1):
    """Centroids, volumes and the trabecular cells of L1."""
    return (
        meshes.cell_centroids_mm(l1.points_mm, l1.cells),
        meshes.cell_volumes_mm3(l1.points_mm, l1.cells),
        l1.cells_in("L1.trabecular"),
    )


@pytest.mark.parametrize("target_mm3", [1e-3, 250.0, 6000.0])
def test_volume_is_exact(l1, bone, target_mm3):
    centroids, volumes, allowed = bone
    seeds = meshes.needle_tips(l1.bodies["L1"], "bipedicular", 0.58, 0.36, 0.5)
    cells, fraction = meshes.select_volume(centroids, volumes, seeds, np.ones(3), allowed, target_mm3)
    assert volumes[cells] @ fraction == pytest.approx(target_mm3, rel=1e-12)
    assert (fraction[:-1] == 1).all()
    assert 0 < fraction[-1] <= 1
    assert len(np.unique(cells)) == len(cells)
    assert np.isin(cells, allowed).all()


def test_all_there_is_can_be_taken_and_no_more(l1, bone):
    centroids, volumes, allowed = bone
    everything = float(volumes[allowed].sum())
    cells, fraction = meshes.select_volume(centroids, volumes, np.zeros(3), np.ones(3), allowed, everything)
    assert len(cells) == len(allowed)
    assert fraction == pytest.approx(1.0)
    with pytest.raises(MeshError, match=r"30.00 mL do not fit: \d+\.\d\d mL"):
        meshes.select_volume(centroids, volumes, np.zeros(3), np.ones(3), allowed, 30_000.0)


def test_cells_are_ranked_by_the_ellipsoid():
    centroids = np.array([[2.0, 0, 0], [0, 2.1, 0], [0, 0, 0.5], [9, 9, 9]])
    one, long, turned = np.ones(4), np.array([9, 1, 1]), np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    ball, share = meshes.select_volume(centroids, one, np.zeros(3), np.ones(3), np.arange(4), 2.5)
    assert ball.tolist() == [2, 0, 1]
    assert share.tolist() == [1.0, 1.0, 0.5]
    cigar, _ = meshes.select_volume(centroids, one, np.zeros(3), long, np.arange(4), 2.5)
    assert cigar.tolist() == [0, 2, 1]
    across, _ = meshes.select_volume(centroids, one, np.zeros(3), long, np.arange(4), 1.0, axes=turned)
    assert across.tolist() == [1]


def test_two_balloons_lie_symmetric_and_inside(l1, bone):
    body = l1.bodies["L1"]
    left, right = meshes.needle_tips(body, "bipedicular", 0.58, 0.36, 0.5)
    assert left[0] < body.centre_mm[0] < right[0]
    assert left[1] == right[1] > body.centre_mm[1]
    (single,) = meshes.needle_tips(body, "unipedicular", 0.58, 0.06, 0.5)
    assert abs(single[0] - body.centre_mm[0]) < 3.0
    centroids, volumes, allowed = bone
    cells, _ = meshes.select_volume(centroids, volumes, np.array([left, right]), np.ones(3), allowed, 2000.0)
    assert volumes[cells][centroids[cells, 0] < 0].sum() == pytest.approx(1000.0, rel=0.03)


@pytest.mark.parametrize(
    ("ratios", "target", "message"),
    [
        ((1, 1, 1), 0.0, "cannot be placed"),
        ((1, 1, 1), float("nan"), "cannot be placed"),
        ((1, 0, 1), 5.0, "positive"),
    ],
)
def test_bad_requests_are_named(bone, ratios, target, message):
    with pytest.raises(MeshError, match=message):
        meshes.select_volume(bone[0], bone[1], np.zeros(3), ratios, bone[2], target)


def test_folded_cells_and_unknown_approaches_are_named(l1, bone):
    with pytest.raises(MeshError, match="folded"):
        meshes.select_volume(bone[0], -bone[1], np.zeros(3), np.ones(3), bone[2], 5.0)
    with pytest.raises(MeshError, match="'bipedicular' or 'unipedicular'"):
        meshes.needle_tips(l1.bodies["L1"], "tripedicular", 0.5, 0.3, 0.5)


def cubes(counts=(3, 3, 3)):
    """A grid of unit cubes: points, cells, centroids; x runs slowest."""
    axes = [np.arange(n + 1.0) for n in counts]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    ids = np.arange(len(points)).reshape([n + 1 for n in counts])
    lower = [ids[:-1, :-1, :-1], ids[1:, :-1, :-1], ids[1:, 1:, :-1], ids[:-1, 1:, :-1]]
    upper = [ids[:-1, :-1, 1:], ids[1:, :-1, 1:], ids[1:, 1:, 1:], ids[:-1, 1:, 1:]]
    cells = np.stack([c.ravel() for c in (*lower, *upper)], axis=1)
    return points, cells, meshes.cell_centroids_mm(points, cells)


def test_the_rim_of_a_half_space_is_one_layer_that_faces_the_bone():
    points, cells, at = cubes((2, 3, 4))
    share = (at[:, 2] < 2.0).astype(float)
    rim = meshes.cement_rim(points * [1.0, 1.0, 0.5], cells, share, np.ones(len(cells), dtype=bool))
    np.testing.assert_array_equal(rim.cells, np.flatnonzero(np.abs(at[:, 2] - 1.5) < 1e-9))
    np.testing.assert_allclose(rim.normals, np.tile([0.0, 0.0, 1.0], (6, 1)), atol=1e-12)
    np.testing.assert_allclose(rim.lengths_mm, 0.5, rtol=1e-12)


def test_the_rim_at_a_corner_lies_across_it():
    points, cells, at = cubes()
    share = ((at[:, 0] < 2.0) & (at[:, 2] < 2.0)).astype(float)
    rim = meshes.cement_rim(points, cells, share, np.ones(len(cells), dtype=bool))
    corner = rim.cells == np.flatnonzero(np.all(np.isclose(at, [1.5, 1.5, 1.5]), axis=1))[0]
    np.testing.assert_allclose(rim.normals[corner], [[2**-0.5, 0.0, 2**-0.5]], atol=1e-12)
    np.testing.assert_allclose(rim.lengths_mm[corner], 2**-0.5, rtol=1e-12)
    assert len(rim.cells) == 9  # two faces of three by two that share three cells


def test_a_layer_one_cell_thick_has_a_normal_too_and_a_void_is_no_bone():
    points, cells, at = cubes()
    share = (np.abs(at[:, 1] - 1.5) < 0.1).astype(float)
    rim = meshes.cement_rim(points, cells, share, np.ones(len(cells), dtype=bool))
    assert len(rim.cells) == 9
    np.testing.assert_allclose(np.abs(rim.normals[:, 1]), 1.0)
    one_side = meshes.cement_rim(points, cells, share, at[:, 1] > 1.0)
    np.testing.assert_allclose(one_side.normals[:, 1], 1.0)
    assert meshes.cement_rim(points, cells, share, np.zeros(len(cells), dtype=bool)).cells.size == 0
