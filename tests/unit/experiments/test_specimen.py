"""From the study's specimen to its mesh."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from kyphos import materials, meshes
from kyphos.experiments import read_study
from kyphos.experiments.specimen import build_mesh


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
