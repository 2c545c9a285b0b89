"""The results folder: complete when done, resumable when killed, closed to strangers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from kyphos.errors import ConvergenceError, DataError
from kyphos.experiments import (
    HISTORY_COLUMNS,
    HistoryRow,
    Outcome,
    default_folder,
    last_folder,
    load_result,
    open_run,
    read_study,
)

# A run in miniature: a random walk through three stages of four steps. Dies where it is told to.
MINIATURE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from kyphos.experiments import HistoryRow, Outcome, open_run, read_study

folder, deadly, resume = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "resume"

def reached(place):
    if place == deadly:
        os.kill(os.getpid(), signal.SIGKILL)

store = open_run(folder, read_study("untreated-L1"), resume=resume)
with store.session():
    reached("start")
    checkpoint = store.latest_checkpoint()
    position = checkpoint.arrays["position"] if checkpoint else np.zeros(3)
    total = checkpoint.meta["total"] if checkpoint else 0.0
    for index in range(checkpoint.index + 1 if checkpoint else 0, 3):
        stage = f"stage_{index}"
        for step in range(4):
            position = np.sin(position + 0.1 * step + index) * 1.7
            total += float(position.sum())
            store.append_history(HistoryRow(stage, step, total, height_middle_mm=position[0]))
            reached(f"step {index}.{step}")
        store.write_fields(index, stage, lambda path: path.write_text(repr(total)))
        store.write_outcomes({"total": Outcome(total, "1")})
        reached(f"fields {index}")
        store.record_stage(index, stage, 0.1)
        store.save_checkpoint(index, stage, {"position": position}, {"total": total})
        reached(f"checkpoint {index}")
"""


@pytest.fixture
def spec():
    return read_study("untreated-L1")


def miniature(folder, deadly="never", resume="start"):
    command = [sys.executable, "-c", MINIATURE, str(folder), deadly, resume]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unharmed") / "run"
    done = miniature(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("deadly", ["start", "step 0.2", "step 1.3", "fields 2", "checkpoint 2"])
def test_a_killed_run_resumes_to_the_very_same_numbers(deadly, unharmed, tmp_path):
    folder = tmp_path / "run"
    assert miniature(folder, deadly).returncode == -signal.SIGKILL
    assert json.loads((folder / "manifest.json").read_text())["status"] == "running"
    done = miniature(folder, resume="resume")
    assert done.returncode == 0, done.stderr
    for name in ("history.csv", "outcomes.json", "fields.pvd", "case.toml", "fields_0002.vtu"):
        assert (folder / name).read_bytes() == (unharmed / name).read_bytes(), name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert [entry["stage"] for entry in manifest["stages"]] == ["stage_0", "stage_1", "stage_2"]
    assert len(manifest["sessions"]) == 2


def test_a_torn_last_row_is_cut_off(spec, tmp_path):
    store = open_run(tmp_path, spec)
    store.append_history(HistoryRow("intact", 0, 100.0))
    store.save_checkpoint(0, "intact", {}, {})
    with (tmp_path / "history.csv").open("a") as file:
        file.write("fracture,0,12")
    open_run(tmp_path, spec, resume=True)
    assert load_result(tmp_path).history["stage"].tolist() == ["intact"]


def test_the_folder_holds_what_is_pinned(spec, tmp_path):
    store = open_run(tmp_path / "new" / "run", spec)
    with store.session():
        store.append_history(HistoryRow("intact", 0, 100.0, height_anterior_mm=np.float64(1 / 3), iterations=4))
        store.write_outcomes({"strength_intact_n": Outcome(np.float64(2000.5), "N")})
        store.write_fields(0, "intact", lambda path: path.write_text("fields"))
        store.update_manifest(mesh_hash="abc", region_names=["L1.trabecular"])
        store.record_stage(0, "intact", 1.5, iterations=4)
        store.save_checkpoint(0, "intact", {"u": np.arange(6.0).reshape(2, 3)}, {"x": 0.1})
    result = load_result(store.path)
    assert result.status == "done"
    assert result.spec == spec
    assert float(result.outcomes["strength_intact_n"]) == 2000.5
    assert tuple(result.history.columns) == HISTORY_COLUMNS
    assert result.history["height_anterior_mm"][0] == pytest.approx(1 / 3, rel=1e-15)
    assert np.isnan(result.history["pressure_mpa"][0])
    assert result.fields_path("intact").name == "fields_0000.vtu"
    assert 'file="fields_0000.vtu"' in (store.path / "fields.pvd").read_text()
    assert {"python", "kyphos", "numpy", "scipy", "numba"} <= set(result.manifest["versions"])
    assert result.manifest["stages"][0]["wall_s"] == 1.5
    assert not list(store.path.rglob(".draft*"))
    with pytest.raises(DataError, match="no fields of stage 'cycled'; there are: intact"):
        result.fields_path("cycled")


def test_a_checkpoint_gives_back_every_bit(spec, tmp_path):
    store = open_run(tmp_path, spec)
    assert store.latest_checkpoint() is None
    arrays = {"u": np.random.default_rng(0).normal(size=(5, 3)), "ids": np.arange(4, dtype=np.int16)}
    store.save_checkpoint(3, "hold", arrays, {"height_mm": 0.1 + 0.2})
    store.save_checkpoint(10, "cycle_1", arrays, {"height_mm": 0.1 + 0.2})
    found = open_run(tmp_path, spec, resume=True).latest_checkpoint()
    assert (found.index, found.stage, found.meta) == (10, "cycle_1", {"height_mm": 0.1 + 0.2})
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)
    assert set(found.arrays) == set(arrays)


def test_a_full_folder_is_not_written_over(spec, tmp_path):
    with open_run(tmp_path / "run", spec).session():
        pass
    with pytest.raises(DataError, match=r"already holds a run \(status: done\); go on with it with --resume"):
        open_run(tmp_path / "run", spec)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text").touch()
    with pytest.raises(DataError, match="not a run of kyphos"):
        open_run(tmp_path / "notes", spec)
    with pytest.raises(DataError, match=r"no readable case\.toml"):
        open_run(tmp_path / "notes", spec, resume=True)
    with pytest.raises(DataError, match="cannot be used as a results folder"):
        open_run(tmp_path / "notes" / "text", spec)


def test_another_study_cannot_resume(spec, tmp_path):
    open_run(tmp_path, spec)
    other = read_study("untreated-L1", ["cycling.0.max_n=700"])
    with pytest.raises(DataError, match=r"another study \(cycling\.0\.max_n = 600\.0 there, 700\.0 here"):
        open_run(tmp_path, other, resume=True)
    open_run(tmp_path, read_study("untreated-L1", ["solver.threads=1", "output.fields=false"]), resume=True)


def test_resuming_what_does_not_exist_starts_it(spec, tmp_path):
    assert open_run(tmp_path / "run", spec, resume=True).latest_checkpoint() is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (ConvergenceError("no equilibrium"), "failed"),
        (ValueError("x"), "failed"),
    ],
)
def test_the_status_says_how_it_ended(error, status, spec, tmp_path):
    store = open_run(tmp_path, spec)
    with pytest.raises(type(error)), store.session():
        raise error
    manifest = load_result(tmp_path).manifest
    assert manifest["status"] == status
    assert str(error) in manifest["message"]


def test_what_cannot_be_kept_is_refused(spec, tmp_path):
    store = open_run(tmp_path, spec)
    with pytest.raises(DataError, match="retention_anterior"):
        store.write_outcomes({"retention_anterior": Outcome(float("nan"), "1")})
    with pytest.raises(DataError, match="objects"):
        store.save_checkpoint(0, "intact", {"bad": np.array([object()])}, {})
    assert store.latest_checkpoint() is None


def test_broken_files_are_named(spec, tmp_path):
    store = open_run(tmp_path, spec)
    path = store.save_checkpoint(0, "intact", {"u": np.zeros(3)}, {})
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"00-intact\.npz: cannot be read.*delete it"):
        open_run(tmp_path, spec, resume=True)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read"):
        load_result(tmp_path)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        load_result(tmp_path / "nowhere")


def test_lost_history_is_not_papered_over(spec, tmp_path):
    store = open_run(tmp_path, spec)
    store.append_history(HistoryRow("intact", 0, 100.0))
    store.save_checkpoint(0, "intact", {}, {})
    (tmp_path / "history.csv").unlink()
    with pytest.raises(DataError, match="has lost rows"):
        open_run(tmp_path, spec, resume=True)


def test_default_folders_are_numbered(tmp_path):
    assert default_folder("a", tmp_path) == tmp_path / "a-1"
    with pytest.raises(DataError, match="nothing to resume"):
        last_folder("a", tmp_path)
    for name in ("a-2", "a-10", "a-b-11", "a-x"):
        (tmp_path / name).mkdir()
    assert default_folder("a", tmp_path) == tmp_path / "a-11"
    assert last_folder("a", tmp_path) == tmp_path / "a-10"
