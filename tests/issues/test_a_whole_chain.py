"""The command line runs a built-in study from a vertebra made of eight numbers; what was not done is not reported."""

from __future__ import annotations

from typer.testing import CliRunner

from kyphos.cli import app
from kyphos.experiments import load_result


def test_no_cycles_means_no_cycled_height_and_no_retention(tmp_path):
    settings = (
        "cycling.0.count=0",
        "mesh.element_size_mm=6",
        "solver.threads=1",
        "solver.initial_step=1",
        "fracture.anterior_height_loss=0.1",
        "fracture.hold_s=0",
        "fracture.recovery_s=0",
        "test.strength_strain=0.02",
        "output.pictures=false",
    )
    options = [word for setting in settings for word in ("--set", setting)]
    done = CliRunner().invoke(app, ["run", "vertebroplasty-pmma-L1", "--out", str(tmp_path / "run"), *options])
    assert done.exit_code == 0, done.output
    result = load_result(tmp_path / "run")
    assert result.status == "done"
    names = set(result.outcomes)
    assert {"height_treated_anterior_mm", "restoration_anterior", "strength_treated_n", "cement_volume_ml"} <= names
    assert not [name for name in names if "cycled" in name or name.startswith(("retention", "loss", "cycles"))]
    assert not names & {"equilibria", "balloon_volume_ml", "balloon_peak_pressure_mpa"}
    printed = [line.split()[0] for line in done.stdout.splitlines()]
    assert printed == list(result.outcomes)
    assert float(result.outcomes["strength_treated_n"]) > 0.0
