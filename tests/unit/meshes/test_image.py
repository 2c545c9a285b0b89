"""The CT morph: the sample against its own mask, a synthetic body against its formula, clear errors."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from kyphos import meshes
from kyphos.errors import DataError
from kyphos.meshes.image import scan_shape


def save(path, data, affine):
    """Write a NIfTI file and return its path."""
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.fixture(scope="module")
def sample():
    """Density, labels and affine of the sample as stored."""
    image, labels = (nib.load(path) for path in meshes.sample_ct())
    return image.get_fdata(), labels.get_fdata().astype(np.uint8), image.affine


@pytest.fixture
def drum(tmp_path):
    """An elliptic drum 40 x 30 x 26 mm with its axis up and processes behind: image 100 mg/cm3 rising by
    2 per mm to the front, cortex at 500; (2, 1.5, 1) mm voxels."""
    affine = np.diag([2.0, 1.5, 1.0, 1.0])
    affine[:3, 3] = -39.0, -46.0, -24.5
    index = np.indices((40, 60, 50)).reshape(3, -1).T
    x, y, z = (index @ affine[:3, :3] + affine[:3, 3]).T
    inside = (np.hypot(x / 20, y / 15) < 1) & (np.abs(z) < 13)
    core = (np.hypot(x / 17, y / 12.5) < 1) & (np.abs(z) < 11.5)
    marks = np.where(core, 1, np.where(inside, 2, np.where((np.abs(x) < 3) & (y < -22) & (y > -40), 3, 0)))
    image = np.where(marks == 2, 500.0, np.where(marks == 1, 100.0 + 2.0 * y, 0.0))
    shape = (40, 60, 50)
    return (
        save(tmp_path / "image.nii.gz", image.reshape(shape), affine),
        save(tmp_path / "labels.nii.gz", marks.reshape(shape).astype(np.uint8), affine),
    )


def test_sample_mesh_reproduces_the_mask(l2_ct, sample):
    mask = np.isin(sample[1], (1, 2))
    body = l2_ct.bodies["L2"]
    assert body.volume_mm3 == pytest.approx(mask.sum(), rel=0.02)
    counts = mask.sum(axis=(0, 1))
    column = np.flatnonzero(counts > 0.5 * counts.max())
    assert body.height_mm == pytest.approx(column.size, rel=0.05)
    points = l2_ct.points_mm[np.unique(l2_ct.cells[l2_ct.bony_cells("L2")])]
    assert np.ptp(points[:, 0]) == pytest.approx(np.ptp(np.flatnonzero(mask.any(axis=(1, 2)))) + 1, abs=1.5)
    assert meshes.scaled_jacobian(l2_ct).min() > 0.3
    assert 5000 <= len(l2_ct.cells) <= 8000


def test_sample_density_is_the_bone_of_the_image_without_its_cortex(l2_ct):
    """The source's table gives vBMD 70.7 mg/cm3; the mean over label 1 is 75.5, blurred cortex included."""
    cells = l2_ct.cells_in("L2.trabecular")
    volume = meshes.cell_volumes_mm3(l2_ct.points_mm, l2_ct.cells[cells])
    mean = volume @ l2_ct.density_g_per_cc[cells] / volume.sum()
    assert mean == pytest.approx(0.0707, rel=0.03)
    assert l2_ct.density_g_per_cc[cells].min() > 0
    assert l2_ct.density_g_per_cc[l2_ct.cells_in("L2.shell")] == pytest.approx(mean)
    assert np.isnan(l2_ct.density_g_per_cc[l2_ct.cells_in("superior_pot")]).all()


def test_sample_faces_forward_although_its_header_does_not(l2_ct):
    scan = meshes.read_scan(*meshes.sample_ct())
    assert scan.turned
    front, back = (np.argwhere(np.isin(scan.labels, pair)).mean(axis=0) for pair in ((1, 2), (3, 4)))
    assert scan.position_mm(back)[1] < scan.position_mm(front)[1]
    assert np.linalg.det(scan.affine[:3, :3]) > 0  # turned, never mirrored
    points = l2_ct.points_mm[l2_ct.node_sets["L2.inferior_endplate"]]
    front = points[points[:, 1] > 8.0]
    assert np.ptp(front[:, 0]) < np.ptp(points[:, 0])


def test_drum_comes_out_with_its_size_volume_and_gradient(drum):
    mesh = meshes.body_from_ct(*drum, "L1", 2.0)
    body = mesh.bodies["L1"]
    assert body.volume_mm3 == pytest.approx(np.pi * 20 * 15 * 26, rel=0.03)
    assert (body.width_mm, body.depth_mm, body.height_mm) == pytest.approx((40, 30, 26), abs=1.0)
    cells = mesh.cells_in("L1.trabecular")
    y = meshes.cell_centroids_mm(mesh.points_mm, mesh.cells[cells])[:, 1]
    inner = np.abs(y) < 8.0  # near the wall the nearest clean bone is carried outwards
    slope, mean = np.polyfit(y[inner], 1000 * mesh.density_g_per_cc[cells][inner], 1)
    assert mean == pytest.approx(100.0, abs=1.5)
    assert slope == pytest.approx(2.0, rel=0.05)
    assert mesh.density_g_per_cc[cells].max() < 0.14, "no cortex at 500 mg/cm3 may leak in"


@pytest.mark.parametrize("flips", [(1,), (0, 1, 2)])
def test_storage_order_does_not_matter(drum, tmp_path, flips):
    """The same specimen stored with flipped axes and a matching affine gives the same shape."""
    stored = []
    for path in drum:
        volume = nib.load(path)
        data, affine = np.flip(volume.get_fdata(), flips), volume.affine.copy()
        for axis in flips:
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
        stored.append(save(tmp_path / f"f_{path.name}", data, affine))
    plain, other = (scan_shape(meshes.read_scan(*pair)) for pair in (drum, stored))
    assert not meshes.read_scan(*stored).turned
    assert other.origin_mm == pytest.approx(plain.origin_mm, abs=1e-6)
    assert other.outline_terms == pytest.approx(plain.outline_terms, abs=1e-6)


def broken(sample, tmp_path, density=None, marks=None, affine=None, marks_affine=None):
    """The sample with parts replaced, as two files."""
    density, marks, affine = (
        old if new is None else new for old, new in zip(sample, (density, marks, affine), strict=True)
    )
    marks_affine = affine if marks_affine is None else marks_affine
    return save(tmp_path / "i.nii.gz", density, affine), save(tmp_path / "l.nii.gz", marks, marks_affine)


def test_missing_and_unreadable_files_are_named(tmp_path):
    image, labels = meshes.sample_ct()
    with pytest.raises(DataError, match=r"nowhere.nii.gz does not exist"):
        meshes.body_from_ct(tmp_path / "nowhere.nii.gz", labels, "L2")
    junk = tmp_path / "junk.nii.gz"
    junk.write_bytes(b"this is no image")
    with pytest.raises(DataError, match=r"junk\.nii\.gz cannot be read as NIfTI"):
        meshes.body_from_ct(image, junk, "L2")
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(image.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"cut\.nii\.gz cannot be read as NIfTI"):
        meshes.body_from_ct(cut, labels, "L2")


def test_nan_in_the_image_is_an_error(sample, tmp_path):
    density = sample[0].copy()
    density[40, 40, 40] = np.nan
    with pytest.raises(DataError, match="holds 1 voxels that are NaN"):
        meshes.read_scan(*broken(sample, tmp_path, density=density))


def test_grids_must_match(sample, tmp_path):
    with pytest.raises(DataError, match="resample one onto the other"):
        meshes.read_scan(*broken(sample, tmp_path, marks=sample[1][:-1]))
    shifted = sample[2].copy()
    shifted[0, 3] += 5.0
    with pytest.raises(DataError, match="different affines"):
        meshes.read_scan(*broken(sample, tmp_path, marks_affine=shifted))
    sheared = sample[2].copy()
    sheared[0, 1] = 0.4
    with pytest.raises(DataError, match="sheared"):
        meshes.read_scan(*broken(sample, tmp_path, affine=sheared))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: np.zeros_like(m), "no vertebral body"),
        (lambda m: np.where(m > 2, m, 0), "no vertebral body"),
        (lambda m: np.where(m > 0, 20, 0).astype(np.uint8), "single label 20"),
        (lambda m: np.where((m < 3) & (np.arange(m.shape[2]) > 30), 0, m), "mL, outside"),
        (lambda m: np.where(m == 5, 6, np.where(m == 6, 5, m)), "upper cap lies below"),
    ],
)
def test_label_maps_without_a_usable_body_are_errors(sample, tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        meshes.read_scan(*broken(sample, tmp_path, marks=change(sample[1]).astype(np.uint8)))


def test_a_ct_in_hu_is_calibrated_as_it_is_read(sample, tmp_path):
    slope, offset = 0.8, -5.0
    in_hu = broken(sample, tmp_path, density=(sample[0] - offset) / slope)
    scan, right = meshes.read_scan(*in_hu, hu_line=(slope, offset)), meshes.read_scan(*meshes.sample_ct())
    np.testing.assert_allclose(scan.density_mg_per_cc, right.density_mg_per_cc, atol=1e-3)
    np.testing.assert_array_equal(scan.labels, right.labels)


def test_uncalibrated_images_are_errors(sample, tmp_path):
    with pytest.raises(DataError, match="is the image calibrated"):
        meshes.read_scan(*broken(sample, tmp_path, density=sample[0] / 1000.0))
