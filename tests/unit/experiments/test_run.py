"""A whole study, coarse: everything that a results folder promises, and going on after any stage."""

from __future__ import annotations

import json
import shutil

import meshio
import numpy as np
import pytest

from kyphos.errors import ConvergenceError
from kyphos.experiments import HISTORY_COLUMNS, load_result, read_study
from kyphos.experiments.run import run_study

LOADED = ("intact", "fractured", "reduced", "deflated", "cement", "treated", "cycled")


def test_the_history_has_a_row_for_every_equilibrium(result):
    history, stages = result.history, result.manifest["stages"]
    assert tuple(history.columns) == HISTORY_COLUMNS
    counted = history.groupby("stage", sort=False).size()
    assert counted.index.tolist() == [stage["stage"] for stage in stages] == [s.name for s in result.spec.stage]
    assert counted.tolist() == [stage["equilibria"] for stage in stages]
    assert (history["status"] == "converged").all()


def test_every_equilibrium_balances(result):
    history, solver = result.history, result.spec.solver
    assert history["balance"].max() < min(5.0 * solver.residual_tolerance, 1e-4)
    allowed = np.maximum(solver.residual_tolerance * history["load_n"].abs(), solver.residual_floor_n)
    forced = ~history["stage"].isin(["fracture", "hold", "reduced", "deflated"])  # load: the platen's force alone
    assert (history["residual_n"] <= 1.01 * allowed)[forced].all()
    for stage in LOADED:
        rows = history[history["stage"] == stage]
        assert rows["load_n"].iloc[-1] == pytest.approx(100.0, rel=1e-5), stage


def test_heights_in_history_and_outcomes_are_the_same(result):
    for stage in ("intact", "fractured", "reduced", "deflated", "treated", "cycled"):
        last = result.history[result.history["stage"] == stage].iloc[-1]
        for place in ("anterior", "middle", "posterior"):
            assert last[f"height_{place}_mm"] == float(result.outcomes[f"height_{stage}_{place}_mm"])


def test_balloons_fill_to_their_volume_and_cycles_alternate(result):
    history = result.history
    balloon = history[history["stage"] == "reduced"].dropna(subset="volume_ml")
    assert balloon["volume_ml"].is_monotonic_increasing
    assert balloon["volume_ml"].iloc[-1] == pytest.approx(float(result.outcomes["balloon_volume_ml"]))
    assert balloon["pressure_mpa"].max() <= result.spec.procedure.balloon_pressure_limit_mpa * (1 + 1e-9)
    drained = history[history["stage"] == "deflated"].dropna(subset="pressure_mpa")
    assert drained["pressure_mpa"].iloc[-1] == pytest.approx(0.0, abs=1e-9)
    cycles = history[history["stage"] == "cycle_1"]
    assert set(cycles["cycle"]) >= {1, 2, 10}
    assert cycles["cycle"].is_monotonic_increasing
    assert cycles.groupby("cycle")["load_n"].max()[1:].eq(600.0).all()


def test_the_manifest_is_complete(result):
    manifest = result.manifest
    assert (result.status, manifest["message"], manifest["study"]) == ("done", "", "kyphoplasty-pmma-L1")
    assert len(manifest["mesh_hash"]) == len(manifest["study_hash"]) == 64
    assert {"L1.trabecular", "L1.shell", "superior_pot"} <= set(manifest["region_names"])
    assert manifest["mesh"]["unknowns"] == 3 * manifest["mesh"]["points"] > 0
    assert manifest["seeds"] == {"specimen": 1}
    assert {"kyphos", "numpy", "scipy", "numba"} <= set(manifest["versions"])
    assert sum(stage["wall_s"] for stage in manifest["stages"]) <= manifest["wall_s"]
    assert manifest["finished"] >= manifest["started"]
    assert read_study(result.path / "case.toml") == result.spec


def test_a_file_of_fields_for_every_stage(result):
    listed = (result.path / "fields.pvd").read_text()
    for index, stage in enumerate(result.spec.stage):
        name = f"fields_{index:04d}.vtu"
        assert f'timestep="{index}" name="{stage.name}" file="{name}"' in listed
        grid = meshio.read(result.path / name)
        assert grid.point_data["displacement_mm"].shape == (result.manifest["mesh"]["points"], 3)
        cells = {field: values[0] for field, values in grid.cell_data.items()}
        for field, width in (("stress_mpa", (6,)), ("strain", (6,)), ("plastic_strain", (6,)), ("damage", ())):
            assert cells[field].shape == (result.manifest["mesh"]["cells"], *width), (stage.name, field)
            assert np.isfinite(cells[field]).all(), (stage.name, field)
        assert {"density", "region", "cement_fraction", "is_cavity"} <= set(cells)


def test_the_fields_tell_the_story(result):
    def cells(stage):
        return {name: data[0] for name, data in meshio.read(result.fields_path(stage)).cell_data.items()}

    intact, fractured, deflated, treated = (cells(s) for s in ("intact", "fractured", "deflated", "treated"))
    assert intact["damage"].max() < 0.05
    assert 0.5 < fractured["damage"].max() < 0.96
    assert not fractured["is_cavity"].any()
    assert deflated["is_cavity"].any()
    assert not deflated["cement_fraction"].any()
    assert treated["cement_fraction"].max() == 1.0
    assert intact["stress_mpa"][:, 2].mean() < 0.0  # compression is negative


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A short study of four quick stages, and its uninterrupted run."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY)
    return read_study(folder / "tiny.toml"), run_study(read_study(folder / "tiny.toml"), folder / "run")


TINY = """
[mesh]
element_size_mm = 6.0
[solver]
threads = 1
initial_step = 1.0
[output]
fields = false
pictures = false
[[stage]]
kind = "test"
name = "intact"
[[stage]]
kind = "cement"
volume_ml = 3.0
shape = "interdigitated"
[[stage]]
kind = "hold"
force_n = 300.0
duration_s = 20.0
offset_anterior_mm = 8.0
[[stage]]
kind = "cycle"
count = 3
[[stage]]
kind = "test"
name = "cycled"
"""


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 4, 5])
def test_going_on_after_any_stage_ends_in_the_same_numbers(kept, tiny, tmp_path):
    spec, whole = tiny
    shutil.copytree(whole.path, tmp_path / "run")
    for path in sorted((tmp_path / "run" / "checkpoints").iterdir())[kept:]:
        path.unlink()
    again = run_study(spec, tmp_path / "run", resume=True)
    assert len(again.manifest["sessions"]) == 2
    assert list(again.outcomes) == list(whole.outcomes)
    for name, outcome in whole.outcomes.items():
        if name != "wall_s":
            assert float(again.outcomes[name]) == pytest.approx(float(outcome), rel=1e-9), name
    assert again.history.drop(columns="wall_s").equals(whole.history.drop(columns="wall_s"))


def test_only_what_applies_is_an_outcome(tiny):
    _, whole = tiny
    names = set(whole.outcomes)
    assert {"cycles", "equilibria", "cement_volume_ml", "wall_s", "stiffness_cycled_n_per_mm"} <= names
    assert not {name for name in names if name.startswith(("retention", "restoration", "loss", "balloon", "strength"))}


def test_a_failing_stage_leaves_everything_before_it(tiny, tmp_path):
    _, whole = tiny
    hopeless = read_study(
        whole.path / "case.toml", ["stage.3.max_n=18000", "solver.min_step=0.1", "solver.max_iterations=8"]
    )
    with pytest.raises(ConvergenceError, match=r"18000 N.*strength|strength.*18000 N"):
        run_study(hopeless, tmp_path / "run")
    left = load_result(tmp_path / "run")
    assert left.status == "failed"
    assert "18000 N" in left.manifest["message"]
    assert [stage["stage"] for stage in left.manifest["stages"]] == ["intact", "cement", "hold"]
    assert "height_intact_anterior_mm" in left.outcomes
    assert "cycles" not in left.outcomes
    assert (left.history["status"] == "converged").all()
    assert len(list((left.path / "checkpoints").iterdir())) == 3
    assert json.loads((left.path / "outcomes.json").read_text())["cement_volume_ml"]["unit"] == "mL"
