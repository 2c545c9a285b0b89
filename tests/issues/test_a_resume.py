"""``kill -9`` in any stage, then ``--resume``: the outcomes are those of a run that nobody disturbed."""

from __future__ import annotations

import json

import pytest
from interrupted import finish, killed_in, same_run

SMALL = """
[mesh]
element_size_mm = 6.0
[solver]
threads = 1
initial_step = 1.0
[output]
pictures = false
[[stage]]
kind = "fracture"
anterior_height_loss = 0.05
record = ["heights"]
[[stage]]
kind = "unload"
force_n = 100.0
offset_anterior_mm = 10.0
[[stage]]
kind = "test"
name = "fractured"
record = ["heights"]
[[stage]]
kind = "reduce"
name = "reduced"
balloon_volume_ml = 1.2
[[stage]]
kind = "deflate"
name = "deflated"
[[stage]]
kind = "cement"
volume_ml = 2.0
[[stage]]
kind = "test"
name = "treated"
[[stage]]
kind = "cycle"
count = 5
[[stage]]
kind = "test"
name = "cycled"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A short kyphoplasty, and the folder of its undisturbed run."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "small.toml").write_text(SMALL)
    finish(folder / "small.toml", "--out", folder / "undisturbed")
    return folder / "small.toml", folder / "undisturbed"


def test_killed_again_and_again(study, tmp_path):
    """One run, killed while it lifts and while it cycles."""
    path, undisturbed = study
    folder, resume = tmp_path / "run", ()
    for stage in ("reduced", "cycle"):
        killed_in(stage, folder, path, "--out", folder, *resume)
        resume = ("--resume",)
    finish(path, "--out", folder, "--resume")
    same_run(folder, undisturbed)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert len(manifest["sessions"]) == 3
    assert len(manifest["stages"]) == len(manifest["fields"]) == 9


@pytest.mark.validation
@pytest.mark.parametrize(
    "stage", ["fracture", "unload", "fractured", "reduced", "deflated", "cement", "treated", "cycle", "cycled"]
)
def test_killed_in_every_stage(stage, study, tmp_path):
    path, undisturbed = study
    killed_in(stage, tmp_path / "run", path, "--out", tmp_path / "run")
    finish(path, "--out", tmp_path / "run", "--resume")
    same_run(tmp_path / "run", undisturbed)
