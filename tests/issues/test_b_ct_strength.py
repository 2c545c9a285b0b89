"""``kyphos run`` on the voxels of a CT, from the command line to the report; a coarse drum with caps and a process."""

from __future__ import annotations

import json
import re

import meshio
import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from kyphos.cli import app
from kyphos.experiments import load_result, strength
from kyphos.fem import voxel
from kyphos.views import charts

STUDY = """
description = "a drum"
[specimen]
levels = ["L2"]
scan = "image.nii.gz"
labels = "labels.nii.gz"
[mesh]
element_size_mm = 3.0
[solver]
threads = 1
[[stage]]
kind = "voxel_stiffness"
name = "linear"
[[stage]]
kind = "voxel_strength"
name = "tresca"
end_strain = 0.02
[[stage]]
kind = "voxel_strength"
name = "own"
bone = "trabecular"
end_strain = 0.02
"""


def write_scan(folder, caps=True):
    """An elliptic drum of 100 mg/cm3 in a cortex of 500, voxels of 1.5 x 1.5 x 1 mm."""
    affine = np.diag([1.5, 1.5, 1.0, 1.0])
    affine[:3, 3] = -30.0, -45.0, -24.5
    index = np.indices((40, 60, 50)).reshape(3, -1).T
    x, y, z = (index @ affine[:3, :3] + affine[:3, 3]).T
    drum = np.hypot(x / 20, y / 15)
    inside, core = (drum < 1) & (np.abs(z) < 13), (drum < 0.85) & (np.abs(z) < 11.5)
    process = (np.abs(x) < 5) & (y < -14) & (y > -36) & (np.abs(z) < 5)
    labels = np.where(core, 1, np.where(inside, 2, np.where(process, 3, 0)))
    if caps:
        cap = (np.hypot(x / 18, y / 13) < 1) & (np.abs(z) < 19) & (labels == 0) & ~process
        labels = np.where(cap, np.where(z < 0, 5, 6), labels)
    image = np.where(core, 100.0, np.where(labels > 0, 500.0, 0.0))
    for name, data in (("image", image), ("labels", labels.astype(np.uint8))):
        nib.save(nib.Nifti1Image(data.reshape(40, 60, 50), affine), folder / f"{name}.nii.gz")
    (folder / "drum.toml").write_text(STUDY)
    return folder / "drum.toml"


def kyphos(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drum")
    return kyphos("run", write_scan(folder), "--out", folder / "out"), folder


@pytest.fixture(scope="module")
def result(run):
    return load_result(run[1] / "out")


def test_it_ends_well_and_prints_its_numbers(run, result):
    done, _ = run
    assert done.exit_code == 0, done.output
    printed = {line.split()[0] for line in done.stdout.splitlines()}
    assert printed == set(result.outcomes)
    for stage in ("linear", "tresca", "own"):
        assert re.search(rf"{stage} +[\d.]+ s  (stiffness|strength) \d+ N", done.stderr)


def test_the_outcomes_are_of_one_piece(result):
    found = {name: outcome.value for name, outcome in result.outcomes.items()}
    assert result.status == "done"
    assert {
        "stiffness_linear_n_per_mm", "energy_density_linear_mean_mpa", "energy_density_linear_p95_mpa",
        "strength_tresca_n", "yielded_volume_tresca_ml", "yielded_share_tresca", "strength_own_n",
        "yielded_volume_own_ml", "body_height_mm", "bone_volume_ml", "trabecular_density_mg_per_cc", "wall_s",
    } <= set(found)  # fmt: skip
    assert found["stiffness_tresca_n_per_mm"] == pytest.approx(found["stiffness_linear_n_per_mm"], rel=1e-4)
    assert found["body_height_mm"] == pytest.approx(26.0, abs=3.0)
    # by hand: columns of core and cortex side by side, for stiffness (an upper bound but for caps) and strength
    columns = sum(2980 * rho**1.05 * area for rho, area in ((0.1, np.pi * 17 * 12.75), (0.5, np.pi * (300 - 216.75))))
    assert found["stiffness_linear_n_per_mm"] < 1.3 * columns / 26.0
    weakest = sum(37.4 * rho**1.39 * area for rho, area in ((0.1, np.pi * 17 * 12.75), (0.5, np.pi * (300 - 216.75))))
    assert found["strength_tresca_n"] == pytest.approx(weakest, rel=0.35)
    assert 0.0 < found["energy_density_linear_mean_mpa"] < found["energy_density_linear_p95_mpa"]


def test_history_manifest_and_fields_are_those_of_any_run(result):
    history = result.history
    assert list(dict.fromkeys(history["stage"])) == ["linear", "tresca", "own"]
    assert (history["status"] == "converged").all()
    assert (history["balance"] < 1e-3).all()
    assert history[history["stage"] == "tresca"]["load_n"].is_monotonic_increasing
    assert [entry["stage"] for entry in result.manifest["stages"]] == ["linear", "tresca", "own"]
    assert len(result.manifest["mesh_hash"]) == 64
    wanted = {"linear": "energy_density_mpa", "tresca": "yielded", "own": "damage"}
    for stage, name in wanted.items():
        grid = meshio.read(result.fields_path(stage))
        assert len(grid.points) == result.manifest["mesh"]["points"]
        assert {"displacement_mm"} <= set(grid.point_data)
        values = grid.cell_data[name][0]
        assert np.isfinite(values).all()
        assert values.max() > 0.0
        assert {"density", "region"} <= set(grid.cell_data)


def test_the_energy_in_the_file_is_the_work_of_the_load(result):
    cells = meshio.read(result.fields_path("linear")).cell_data
    row = result.history.iloc[0]
    assert cells["energy_density_mpa"][0].sum() * 27.0 == pytest.approx(0.5 * row["load_n"] * row["displacement_mm"])


def test_pictures_and_report(result):
    names = {path.name for path in (result.path / "pictures").iterdir()}
    stages = {"stage_00_linear.png", "stage_01_tresca.png", "stage_02_own.png"}
    assert names == {"stages.png", "load_displacement.png"} | stages
    assert all(imread(result.path / "pictures" / name)[..., :3].std() > 0.02 for name in names)
    page = (result.path / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == len(names)
    for words in ("not for clinical decisions", "strength, tresca", "conjugate gradients", "front to the left"):
        assert words in page
    assert "pots" not in page
    axes = charts.load_chart(result).axes[0]
    strengths = {float(line.get_ydata()[0]) for line in axes.lines if len(line.get_ydata()) == 1}
    assert strengths == {result.outcomes[f"strength_{stage}_n"].value for stage in ("tresca", "own")}


def test_a_finished_run_is_resumed_and_a_full_folder_refused(run, result):
    _, folder = run
    again = kyphos("run", folder / "drum.toml", "--out", folder / "out", "--set", "output.pictures=false")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "already holds a run" in again.stderr
    for path in sorted((folder / "out" / "checkpoints").iterdir())[1:]:
        path.unlink()
    resumed = kyphos("run", "--resume", "--out", folder / "out")
    assert resumed.exit_code == 0, resumed.output
    assert "resumed after linear" in resumed.stderr
    before = {name: outcome for name, outcome in result.outcomes.items() if name != "wall_s"}
    after = load_result(folder / "out")
    assert {name: outcome for name, outcome in after.outcomes.items() if name != "wall_s"} == before
    assert after.history.drop(columns="wall_s").equals(result.history.drop(columns="wall_s"))


@pytest.mark.parametrize("reached", [3, 7])
def test_a_path_that_breaks_off_is_no_number_unless_the_strength_was_passed(reached, tmp_path, monkeypatch):
    whole = voxel.solve_plastic

    def breaks(*arguments, **settings):
        *model, factors = arguments
        raise voxel.StrengthError("no equilibrium at all", (1.0,), whole(*model, factors[:reached], **settings))

    monkeypatch.setattr(strength.voxel, "solve_plastic", breaks)
    settings = ["--set", "output.pictures=false", "--set", "output.fields=false"]
    done = kyphos("run", write_scan(tmp_path), "--out", tmp_path / "out", *settings)
    assert "no equilibrium at all" in done.stderr
    left = load_result(tmp_path / "out")
    assert (left.history["stage"] == "tresca").sum() == reached
    if reached == 7:
        assert (done.exit_code, left.status) == (0, "done")
        assert "strength_tresca_n" in left.outcomes
        assert "ended early" in done.stderr
        assert left.manifest["stages"][1]["stopped"] == "no equilibrium at all"
    else:
        assert (done.exit_code, left.status) == (3, "failed")
        assert "strength_tresca_n" not in left.outcomes
        assert "stiffness_linear_n_per_mm" in left.outcomes
        assert [entry["stage"] for entry in left.manifest["stages"]] == ["linear"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["stage.1.bone=pmma"], "bone takes PlasticBone or CrushableBone"),
        (["stage.1.bone=nothing"], "unknown name 'nothing'"),
        (["stage.1.kind=voxel_stif"], "did you mean 'voxel_stiffness'"),
        (["fracture.hold_s=1"], "[fracture] is for a meshed body"),
        (["stage.0.displacement_mm=200"], "displacement_mm = 200 is outside 0.001 to 5 mm"),
    ],
)
def test_bad_studies_are_one_message_and_code_two(settings, expected, tmp_path):
    study = write_scan(tmp_path)
    for command in (["check", study], ["run", study, "--out", tmp_path / "out"]):
        done = kyphos(*command, *(word for setting in settings for word in ("--set", setting)))
        assert (done.exit_code, done.stdout) == (2, "")
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_scan_without_caps_is_refused_before_anything_is_written(tmp_path):
    done = kyphos("run", write_scan(tmp_path, caps=False), "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "no lower cap (label 5)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_built_in_study_is_there_and_its_voxels_are_a_mesh(tmp_path):
    assert "ct-strength" in kyphos("protocols").stdout
    assert "3 stages: linear, tresca, trabecular" in kyphos("check", "ct-strength").stdout
    done = kyphos("mesh", "ct-strength", "--set", "mesh.element_size_mm=2.5", "--out", tmp_path / "voxels.vtu")
    assert done.exit_code == 0, done.output
    assert "scaled_jacobian_min 1.0000" in done.stdout
    names = json.loads((tmp_path / "voxels.mesh.json").read_text())["region_names"]
    assert names == ["L2.body", "L2.processes", "inferior_pot", "superior_pot"]
