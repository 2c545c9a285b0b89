"""``kill -9`` in a timeline of events and in a comparison, then ``--resume``: as if nothing had happened."""

from __future__ import annotations

import json
import time

import numpy as np
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
SEGMENT = """
[specimen]
levels = ["T12", "L1"]
treated = "L1"
[[event]]
kind = "fracture"
anterior_height_loss = 0.06
hold_s = 0.0
recovery_s = 0.0
[[event]]
kind = "treat"
procedure = { kind = "vertebroplasty" }
cement = { volume_ml = 2.0 }
[[event]]
kind = "cycle"
count = 10
[[event]]
kind = "fracture"
level = "T12"
anterior_height_loss = 0.06
hold_s = 0.0
recovery_s = 0.0
[[event]]
kind = "treat"
level = "T12"
procedure = { kind = "kyphoplasty", balloon_volume_ml = 0.8 }
cement = { volume_ml = 1.5, card = "calcium-phosphate" }
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


@pytest.mark.parametrize(
    "stage", ["cement_2", *(pytest.param(name, marks=pytest.mark.validation) for name in ("cycle_1", "cycle_2"))]
)
def test_a_killed_timeline_goes_on_exactly(stage, timeline, tmp_path):
    path, undisturbed = timeline
    folder = tmp_path / "run"
    killed_in(stage, folder, path, "--out", folder)
    finish(path, "--out", folder, "--resume")
    same_run(folder, undisturbed)


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory):
    """Two levels, one treated and cycled, then the other one fractured and treated; and its undisturbed run."""
    folder = tmp_path_factory.mktemp("neighbours")
    (folder / "neighbours.toml").write_text(HEAD + SEGMENT)
    kyphos.run(folder / "neighbours.toml", folder / "undisturbed")
    return folder / "neighbours.toml", folder / "undisturbed"


@pytest.mark.validation
def test_a_neighbour_fractures_and_is_treated(neighbours):
    """Each level has its own heights and cement, and what happens to one leaves the cement of the other alone."""
    _, folder = neighbours
    found = outcomes(folder)
    assert found["cement_volume_ml"] == pytest.approx(2.0, rel=1e-9)
    assert found["cement_volume_t12_ml"] == pytest.approx(1.5, rel=1e-9)
    assert found["balloon_volume_t12_ml"] == pytest.approx(1.6, rel=1e-6)
    assert found["height_fractured_t12_anterior_mm"] < found["height_intact_t12_anterior_mm"] - 0.5
    assert {"restoration_t12_anterior", "recoil_t12_anterior", "height_cycled_2_anterior_mm"} <= set(found)
    assert found["cycles"] == 20.0
    states = {path.stem[3:]: np.load(path) for path in (folder / "checkpoints").iterdir()}
    before, after = states["cycled"], states["cycled_2"]
    cemented = before["cement_share"] > 0.0
    assert np.array_equal(after["cement_share"][cemented], before["cement_share"][cemented])
    assert (after["cement_share"][~cemented] > 0.0).any()


@pytest.mark.validation
@pytest.mark.parametrize("stage", ["fracture_t12", "unload_t12", "reduced_t12", "cement_t12", "cycle_2"])
def test_a_killed_timeline_of_two_levels_goes_on_exactly(stage, neighbours, tmp_path):
    path, undisturbed = neighbours
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
