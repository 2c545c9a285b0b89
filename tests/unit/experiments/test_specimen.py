"""From the study's specimen to its mesh."""

from __future__ import annotations

from dataclasses import fields

import nibabel as nib
import numpy as np
import pytest

from kyphos import materials, meshes
from kyphos.errors import DataError
from kyphos.experiments import read_study
from kyphos.experiments.specimen import build_mesh
from kyphos.meshes.vertebra import ParametricShape


def test_a_scan_in_hu_gives_the_mesh_of_the_same_scan_in_density(tmp_path):
    image, labels = meshes.sample_ct()
    stored = nib.load(image)
    slope, offset = materials.hu_line("hu-verse004")
    in_hu = (stored.get_fdata() - offset) / slope
    nib.save(nib.Nifti1Image(in_hu, stored.affine), tmp_path / "ct.nii.gz")
    (tmp_path / "study.toml").write_text(
        f'[specimen]\nlevels = ["L2"]\nscan = "ct.nii.gz"\nlabels = "{labels}"\nhu_calibration = "hu-verse004"\n'
        "[mesh]\nelement_size_mm = 4.0\n",
        encoding="utf-8",
    )
    found = build_mesh(read_study(tmp_path / "study.toml"))
    right = build_mesh(read_study("untreated", ["mesh.element_size_mm=4.0"]))
    np.testing.assert_allclose(found.points_mm, right.points_mm, atol=1e-9)
    np.testing.assert_allclose(found.density_g_per_cc, right.density_g_per_cc, atol=1e-6)


TRIPLE = ["mesh.element_size_mm=5.0", 'specimen.levels=["L1","L2","L3"]', "specimen.treated=L2"]


def test_a_ct_stands_between_neighbours_of_its_size_and_density():
    """Shape and bone of L2 are those of the CT alone; the others have its scale and its mean."""
    scan = 'specimen.scan="sample:verse004_L2"'
    mesh = build_mesh(read_study("segment-kyphoplasty", [*TRIPLE, scan]))
    alone = build_mesh(read_study("untreated", ["mesh.element_size_mm=5.0"]))
    usual = build_mesh(read_study("segment-kyphoplasty", TRIPLE))
    body, own = mesh.bodies["L2"], alone.bodies["L2"]
    assert body.volume_mm3 == pytest.approx(own.volume_mm3, rel=0.04)  # another section, as coarse as this
    means = {level: mesh.density_g_per_cc[mesh.cells_in(f"{level}.shell")].mean() for level in mesh.bodies}
    assert means["L2"] == pytest.approx(alone.density_g_per_cc[alone.cells_in("L2.shell")].mean(), rel=0.02)
    assert means["L1"] == means["L3"] == pytest.approx(means["L2"], rel=1e-12)
    for level in ("L1", "L3"):
        trabecular = mesh.density_g_per_cc[mesh.cells_in(f"{level}.trabecular")]
        assert 0.1 < trabecular.std() / trabecular.mean() < 0.5  # a random field, not the CT's
        grown = mesh.bodies[level].width_mm / usual.bodies[level].width_mm
        assert grown == pytest.approx(own.width_mm / usual.bodies["L2"].width_mm, rel=0.06)
    denser = build_mesh(read_study("segment-kyphoplasty", [*TRIPLE, scan, "specimen.level_vbmd_mg_per_cc={L1=120}"]))
    assert denser.density_g_per_cc[denser.cells_in("L1.shell")[0]] == pytest.approx(0.120)


@pytest.mark.parametrize("level", ["L1", "L2", "L3"])
def test_sizes_like_a_default_shape_are_the_defaults(level):
    shape = ParametricShape(meshes.default_dimensions(level, "female"))
    for other, sizes in meshes.sizes_like(["L1", "L2", "L3"], level, shape, "female").items():
        usual = meshes.default_dimensions(other, "female")
        assert all(getattr(sizes, f.name) == pytest.approx(getattr(usual, f.name)) for f in fields(usual))


def test_a_study_stands_on_a_real_spine():
    mesh = build_mesh(read_study("segment-kyphoplasty", [*TRIPLE, "specimen.spine=visible-human"]))
    assert mesh.bodies["L2"].volume_mm3 == pytest.approx(45189.0, rel=0.03)  # of its closed surface
    with pytest.raises(DataError, match="this spine has no T12"):
        build_mesh(read_study("segment-kyphoplasty", ["specimen.spine=visible-human"]))
