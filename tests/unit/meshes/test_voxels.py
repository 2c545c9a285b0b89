"""A labelled CT as cubes: taken as it is, turned, resampled; and as a mesh."""

from __future__ import annotations

import numpy as np
import pytest

from kyphos.errors import DataError
from kyphos.meshes import Scan, check_quality, voxel_image, voxel_mesh


def column(size=(4, 5, 9), affine=None) -> Scan:
    """A column: caps below and above, bone between, cortical on one side, a process behind; empty around."""
    labels = np.zeros(tuple(n + 2 for n in size), dtype=np.int64)
    inside = labels[1:-1, 1:-1, 1:-1]
    inside[:, 1:] = 1
    inside[:, -1] = 2
    inside[1:3, 0, 4] = 3
    inside[:, 1:, :2], inside[:, 1:, -2:] = 5, 6
    density = np.where(labels > 0, 100.0 + 10.0 * np.arange(labels.shape[1])[:, None], 0.0)
    return Scan(density, labels, np.eye(4) if affine is None else affine, False)


def test_cubes_of_the_wanted_size_are_taken_as_they_are():
    scan = column()
    image = voxel_image(scan, 1.0)
    np.testing.assert_array_equal(image.labels, scan.labels[1:-1, 1:-1, 1:-1])
    np.testing.assert_array_equal(image.origin_mm, [0.5, 0.5, 0.5])
    assert image.body_height_mm == 5.0
    assert image.caps.sum() == 2 * 4 * 4 * 2
    assert image.bone.sum() == image.body.sum() + 2
    inside = scan.density_mg_per_cc[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(image.density_g_per_cc, np.where(image.bone, inside, 0.0) / 1000.0)


def test_axes_run_right_anterior_superior():
    scan, turned = column(), np.diag([-1.0, -1.0, 1.0, 1.0])
    turned[:3, 3] = 20.0, 30.0, 0.0
    image = voxel_image(column(affine=turned), 1.0)
    np.testing.assert_array_equal(image.labels, scan.labels[-2:0:-1, -2:0:-1, 1:-1])
    np.testing.assert_array_equal(image.origin_mm, [20.0 - 4.5, 30.0 - 5.5, 0.5])


def finer(scan: Scan, times: int) -> Scan:
    """The same scan with every voxel cut in ``times`` along each axis."""

    def cut(values):
        for axis in range(3):
            values = values.repeat(times, axis=axis)
        return values

    affine = np.diag([1.0 / times] * 3 + [1.0])
    affine[:3, 3] = 0.5 / times - 0.5
    return Scan(cut(scan.density_mg_per_cc), cut(scan.labels), affine, False)


@pytest.mark.parametrize("times", [2, 3])
def test_a_finer_scan_gives_the_same_cubes(times):
    coarse, image = voxel_image(column(), 1.0), voxel_image(finer(column(), times), 1.0)
    np.testing.assert_array_equal(image.labels, coarse.labels)
    np.testing.assert_allclose(image.density_g_per_cc, coarse.density_g_per_cc, atol=1e-12)
    np.testing.assert_allclose(image.origin_mm, coarse.origin_mm)


def test_a_coarser_scan_is_cut():
    image = voxel_image(column(), 0.5)
    np.testing.assert_array_equal(image.labels, finer(column(), 2).labels[2:-2, 2:-2, 2:-2])
    assert image.body_height_mm == 5.0


def test_the_empty_surroundings_do_not_dilute_the_surface():
    scan = column()
    even = Scan(np.where(scan.labels > 0, 100.0, 0.0), scan.labels, scan.affine, False)
    image = voxel_image(even, 1.7)
    assert image.bone.any()
    np.testing.assert_allclose(image.density_g_per_cc[image.bone], 0.1)
    volume, was = image.bone.sum() * 1.7**3, np.isin(scan.labels, (1, 2, 3)).sum()
    assert volume == pytest.approx(was, rel=0.35)


def test_without_caps_there_is_no_test():
    scan = column()
    with pytest.raises(DataError, match=r"no upper cap \(label 6\)"):
        voxel_image(Scan(scan.density_mg_per_cc, np.where(scan.labels == 6, 0, scan.labels), scan.affine, False), 1.0)


def test_the_mesh_is_the_chosen_voxels_in_the_order_of_the_grid():
    image = voxel_image(column(), 1.0)
    filled = image.labels > 0
    mesh = voxel_mesh(image, filled, "L2")
    assert len(mesh.cells) == filled.sum()
    np.testing.assert_allclose(check_quality(mesh), 1.0)
    centre = mesh.points_mm[mesh.cells].mean(axis=1)
    np.testing.assert_allclose(centre, np.argwhere(filled) + 1.0)
    assert [mesh.region_names[r].rpartition(".")[2] for r in np.unique(mesh.region)] == [
        "body",
        "processes",
        "inferior_pot",
        "superior_pot",
    ]
    assert np.isnan(mesh.density_g_per_cc[mesh.region > 1]).all()
    body = mesh.bodies["L2"]
    assert (body.width_mm, body.depth_mm, body.height_mm, body.volume_mm3) == (4.0, 4.0, 5.0, 80.0)
