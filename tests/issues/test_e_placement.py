"""Bad requests for cement, from the command line: one clear message before anything is solved."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from kyphos.cli import app

COARSE = ["--set", "mesh.element_size_mm=5", "--set", "solver.threads=1", "--set", "output.pictures=false"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "empty.nii.gz")
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["procedure.needle_depth=0.97", "procedure.needle_spread=0.9"], ("needle 1 lies outside", "needle_depth")),
        (["procedure.needle_depth=1.7"], ("needle_depth", "0 to 1")),
        (["cement.volume_ml=9", "cement.shape=unilateral"], ("volume_ml = 9", "more cement than the pores", "lower")),
        (["cement.volume_ml=12", "cement.shape=separate"], ("volume_ml = 12", '"separate"', "about", "lower")),
        (["cement.shape=separate", "procedure.approach=unipedicular"], ("two needles", "bipedicular")),
        (["cement.shape=separate", "procedure.needle_spread=0.03"], ("either side of the midline", "needle_spread")),
        (["procedure.kind=kyphoplasty", "procedure.needle_depth=0.99"], ("needle 1 lies outside", "needle_depth")),
        (["cement.file=empty.nii.gz"], ("empty.nii.gz", "holds no cement")),
        (["cement.file=missing.stl"], ("no such file", "missing.stl")),
        (["cement.shape=file"], ("needs the key file",)),
        (["cement.file=empty.nii.gz", "cement.shape=bolus"], ("file is given", "bolus")),
        (["cement.file=empty.nii.gz", "cement.leak=true"], ("leak does not apply",)),
        (["cement.viscosity=medium"], ("viscosity", "low", "high")),
    ],
)
def test_one_message_and_nothing_written(folder, settings, words):
    sets = [word for setting in settings for word in ("--set", setting)]
    done = CliRunner().invoke(app, ["run", "vertebroplasty-pmma-L1", *COARSE, *sets, "--out", "out"])
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    (message,) = done.stderr.splitlines()
    for word in words:
        assert word in message
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (["deflate"], "there are no balloons to deflate"),
        (["reduce", "deflate", "deflate"], "there are no balloons to deflate"),
        (["reduce", "cement", "deflate"], "there are no balloons to deflate"),
        (["reduce", "reduce"], "the balloons of stage 'reduce_0' are still in"),
    ],
)
def test_balloons_in_an_order_that_cannot_be(folder, stages, words):
    tables = [f'[[stage]]\nkind = "{kind}"\nname = "{kind}_{n}"\n' for n, kind in enumerate(stages)]
    (folder / "study.toml").write_text("".join(tables))
    done = CliRunner().invoke(app, ["run", "study.toml", *COARSE, "--out", "out"])
    assert done.exit_code == 2, done.output
    (message,) = done.stderr.splitlines()
    assert words in message
    assert "study.toml" in message
    assert not (folder / "out").exists()
