"""``kill -9`` in a timeline of events and in a comparison, then ``--resume``: as if nothing had happened."""

from __future__ import annotations

import json
import time

import pytest
from interrupted import finish, killed, killed_in, outcomes, same_run

import kyphos

HEAD = """
[mesh]
element_size_mm = 6.0
[solver]
threads = 1
initial_step = 1.0
[output]
pictures = false
[test]
strength_strain = 0.01
"""
TIMELINE = """
[[event]]
kind = "fracture"
anterior_height_loss = 0.1
hold_s = 0.0
recovery_s = 0.0
[[event]]
kind = "treat"
procedure = { kind = "vertebroplasty" }
cement = { volume_ml = 2.0 }
[[event]]
kind = "cycle"
count = 10000
[[event]]
kind = "treat"
procedure = { kind = "vertebroplasty" }
cement = { volume_ml = 2.0, card = "calcium-phosphate" }
[[event]]
kind = "cycle"
count = 10
"""
ARMS = """
[fracture]
anterior_height_loss = 0.1
hold_s = 0.0
recovery_s = 0.0
[cement]
volume_ml = 2.0
[[cycling]]
count = 12
[arms.untreated]
procedure = { kind = "none" }
[arms.pmma]
procedure = { kind = "vertebroplasty" }
"""


@pytest.fixture(scope="module")
def timeline(tmp_path_factory):
    """A level treated, cycled 10,000 times, treated again; and the folder of its undisturbed run."""
    folder = tmp_path_factory.mktemp("timeline")
    (folder / "timeline.toml").write_text(HEAD + TIMELINE)
    kyphos.run(folder / "timeline.toml", folder / "undisturbed")
    return folder / "timeline.toml", folder / "undisturbed"


def test_a_level_is_treated_again(timeline):
    _, folder = timeline
    found = outcomes(folder)
    assert found["cycles"] == 10_010
    assert found["cement_volume_ml"] == pytest.approx(2.0, rel=1e-9)
    assert found["cement_volume_2_ml"] == pytest.approx(2.0, rel=1e-9)
    assert found["stiffness_treated_2_n_per_mm"] > found["stiffness_cycled_n_per_mm"]
    assert {"height_cycled_2_anterior_mm", "loss_2_anterior", "strength_treated_2_n"} <= set(found)


@pytest.mark.parametrize("stage", ["cement_2"])
def test_a_killed_timeline_goes_on_exactly(stage, timeline, tmp_path):
    path, undisturbed = timeline
    folder = tmp_path / "run"
    killed_in(stage, folder, path, "--out", folder)
    finish(path, "--out", folder, "--resume")
    same_run(folder, undisturbed)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.validation)])
def test_a_killed_comparison_goes_on_exactly(processes, tmp_path):
    """Killed while an arm is on its way, in one process or with workers, who must not outlive their parent."""
    (tmp_path / "arms.toml").write_text(HEAD + ARMS)
    kyphos.run_arms(tmp_path / "arms.toml", tmp_path / "undisturbed")
    folder = tmp_path / "run"
    arguments = (tmp_path / "arms.toml", "--out", folder, "--processes", processes)
    killed(folder / "pmma" / "history.csv", "\ncycle_1,", *arguments)
    time.sleep(1.0 if processes > 1 else 0.0)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/history.csv")}
    time.sleep(2.0 if processes > 1 else 0.0)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/history.csv")} == before
    assert not (folder / "comparison.json").exists()
    finish(*arguments, "--resume")
    for arm in ("shared", "untreated", "pmma"):
        same_run(folder / arm, tmp_path / "undisturbed" / arm)
    ours, theirs = (json.loads((place / "comparison.json").read_text()) for place in (folder, tmp_path / "undisturbed"))
    rows = [[row for row in told["rows"] if row["quantity"] != "wall_s"] for told in (ours, theirs)]
    assert rows[0] == rows[1]
