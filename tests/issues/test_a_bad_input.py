"""The whole chain meets bad input: one clear message, the right exit code, no traceback, nothing half written."""

from __future__ import annotations

import json
import re

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from kyphos.cli import app
from kyphos.experiments import load_result

STUDY = "kyphoplasty-pmma-L1"
COARSE = ["--set", "mesh.element_size_mm=6", "--set", "solver.threads=1", "--set", "output.pictures=false"]
SCANNED = (
    '[specimen]\nlevels = ["L2"]\nscan = "image.nii.gz"\nlabels = "labels.nii.gz"\n[mesh]\nelement_size_mm = 5.0\n'
)


@pytest.fixture
def kyphos(tmp_path, monkeypatch):
    """Return a function that runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(done, *words):
    """One message on stderr, code 2, with these words in it."""
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    (message,) = done.stderr.splitlines()
    assert message.split(":")[0].endswith("Error")
    for word in words:
        assert word in message
    return message


@pytest.fixture
def scan(tmp_path):
    """Write an elliptic drum as image (100 mg/cm3 in a cortex of 500) and label map, changed as asked."""

    def write(change_image=None, change_labels=None):
        affine = np.diag([2.0, 1.5, 1.0, 1.0])
        affine[:3, 3] = -39.0, -46.0, -24.5
        index = np.indices((40, 60, 50)).reshape(3, -1).T
        x, y, z = (index @ affine[:3, :3] + affine[:3, 3]).T
        inside = (np.hypot(x / 20, y / 15) < 1) & (np.abs(z) < 13)
        core = (np.hypot(x / 17, y / 12.5) < 1) & (np.abs(z) < 11.5)
        process = (np.abs(x) < 3) & (y < -22) & (y > -40)
        labels = np.where(core, 1, np.where(inside, 2, np.where(process, 3, 0))).astype(np.uint8)
        image = np.where(core, 100.0, np.where(inside, 500.0, 0.0))
        for name, data, change in (("image", image, change_image), ("labels", labels, change_labels)):
            if change is not None:
                data = change(data)
            nib.save(nib.Nifti1Image(data.reshape(40, 60, 50), affine), tmp_path / f"{name}.nii.gz")
        (tmp_path / "scanned.toml").write_text(SCANNED)

    return write


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("cement.volume=3", ("volume", "did you mean 'volume_ml'")),
        ("fracture.anterior_hight_loss=0.2", ("anterior_height_loss",)),
        ("cycling.0.max_n=0.6", ("max_n", "5")),
        ("specimen.vbmd_mg_per_cc=0.08", ("vbmd_mg_per_cc", "20")),
        ("procedure.balloon_pressure_limit_mpa=290", ("balloon_pressure_limit_mpa", "5")),
        ("mesh.element_size_mm=0.002", ("element_size_mm", "0.5")),
        ("fracture.anterior_height_loss=25", ("anterior_height_loss", "0.6")),
        ("cement.card=chewing-gum", ("chewing-gum", "pmma")),
    ],
)
def test_a_wrong_key_or_unit(setting, words, kyphos, tmp_path):
    refused(kyphos("run", STUDY, *COARSE, "--out", "out", "--set", setting), *words)
    assert not (tmp_path / "out").exists()


def test_a_study_with_a_broken_line_is_told_which(kyphos, tmp_path):
    (tmp_path / "study.toml").write_text('[cement]\ncard = "pmma"\nvolume_ml = "six"\n')
    refused(kyphos("run", "study.toml", "--out", "out"), "study.toml:3", "volume_ml")
    (tmp_path / "study.toml").write_text("[cement]\ncard = \n")
    refused(kyphos("run", "study.toml", "--out", "out"), "study.toml:2", "not valid TOML")


def test_a_missing_file(kyphos, scan, tmp_path):
    refused(kyphos("run", "nowhere.toml"), "nowhere.toml", "no such study file")
    scan()
    (tmp_path / "labels.nii.gz").unlink()
    refused(kyphos("run", "scanned.toml", "--out", "out"), "labels.nii.gz", "no such file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"not an image at all", b"\x1f\x8b\x08\x00torn"])
def test_an_unreadable_scan(content, kyphos, scan, tmp_path):
    scan()
    (tmp_path / "image.nii.gz").write_bytes(content)
    refused(kyphos("run", "scanned.toml", "--out", "out"), "image.nii.gz")
    assert not (tmp_path / "out").exists()


def test_a_scan_with_holes_in_it(kyphos, scan, tmp_path):
    scan(change_image=lambda data: np.where(np.arange(data.size) % 1001 == 0, np.nan, data))
    message = refused(kyphos("run", "scanned.toml", "--out", "out"), "image.nii.gz")
    assert "NaN" in message or "finite" in message
    assert not (tmp_path / "out").exists()


def test_a_label_map_without_a_vertebra(kyphos, scan, tmp_path):
    scan(change_labels=np.zeros_like)
    refused(kyphos("run", "scanned.toml", "--out", "out"), "labels.nii.gz", "label")
    assert not (tmp_path / "out").exists()


def test_a_label_map_of_another_scan(kyphos, scan, tmp_path):
    scan()
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), dtype=np.uint8), np.eye(4)), tmp_path / "labels.nii.gz")
    refused(kyphos("run", "scanned.toml", "--out", "out"), "labels.nii.gz")


def test_the_drum_itself_is_good(kyphos, scan):
    """So that the refusals above are about what was broken in it."""
    scan()
    done = kyphos("mesh", "scanned.toml", "--out", "drum.vtu")
    assert done.exit_code == 0, done.stderr


def test_more_cement_than_the_body_holds(kyphos, tmp_path):
    done = kyphos("run", STUDY, *COARSE, "--out", "out", "--set", "cement.volume_ml=30")
    refused(done, "volume_ml = 30", "more cement than the body", "allowed: up to")
    assert not (tmp_path / "out").exists()


def test_a_balloon_smaller_than_itself(kyphos, tmp_path):
    done = kyphos("run", STUDY, *COARSE, "--out", "out", "--set", "procedure.balloon_volume_ml=0.2")
    refused(done, "balloon_volume_ml = 0.2", "deflated balloon", "allowed: from 0.6 mL")
    assert not (tmp_path / "out").exists()


OVERLOADED = """
[mesh]
element_size_mm = 6.0
[solver]
threads = 1
initial_step = 0.5
min_step = 0.02
max_iterations = 12
[output]
pictures = false
[[stage]]
kind = "test"
name = "intact"
record = ["heights", "stiffness"]
[[stage]]
kind = "cycle"
count = 20
max_n = 4000.0
"""


NO_BALANCE = r"Residuals \(N\).*(at a platen|Point \d+ lies in L1\.\w+.* mm in the mesh)"
FOUND_FAR_DOWN = r"the load point sank \d\.\d mm in one cycle"


@pytest.mark.parametrize(
    ("max_n", "detail"),
    [
        (4000.0, FOUND_FAR_DOWN),
        pytest.param(6000.0, FOUND_FAR_DOWN, marks=pytest.mark.validation),
        (15000.0, NO_BALANCE),
    ],
)
def test_a_peak_load_above_the_strength_ends_in_code_three_with_everything_saved(max_n, detail, kyphos, tmp_path):
    (tmp_path / "study.toml").write_text(OVERLOADED)
    done = kyphos("run", "study.toml", "--out", "out", "--quiet", "--set", f"stage.1.max_n={max_n}")
    assert done.exit_code == 3, done.output
    message, advice = done.stderr.splitlines()
    assert message.startswith("ConvergenceError:")
    assert "strength" in message
    assert re.search(detail, message)
    assert f"{max_n:.0f} N" in message
    assert "--resume --out out" in advice
    left = load_result(tmp_path / "out")
    assert left.status == "failed"
    assert left.manifest["message"] in message
    assert {"height_intact_anterior_mm", "stiffness_intact_n_per_mm"} <= set(left.outcomes)
    assert "cycles" not in left.outcomes
    assert left.history["stage"].tolist().count("intact") == left.manifest["stages"][0]["equilibria"]
    assert left.fields_path("intact").is_file()
    assert json.loads((left.path / "outcomes.json").read_text())
