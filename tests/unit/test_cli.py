"""The command line: what it prints where, and its exit codes. The runner is a stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import kyphos
from kyphos import api
from kyphos.cli import app
from kyphos.errors import ConvergenceError, StudyError
from kyphos.experiments import HistoryRow, Outcome, Step, list_protocols, load_result, open_run, read_study

STUDY = "untreated-L1"
QUICK = ["--set", "output.pictures=false"]


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Return a function that runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def fake_run(monkeypatch):
    """Put a stand-in for the runner in place: it solves one state, or fails as told."""
    told = SimpleNamespace(error=None, calls=[])

    def run_study(spec, out, *, resume, reporter):
        told.calls.append((spec, out, resume))
        store = open_run(out, spec, resume=resume)
        reporter.run_started(spec.name, [stage.name for stage in spec.stage])
        with store.session():
            reporter.stage_started(0, "intact", "test")
            reporter.step(Step(1.0, load_n=100.0))
            store.append_history(HistoryRow("intact", 0, 100.0))
            store.write_outcomes({"strength_intact_n": Outcome(2345.5, "N"), "cycles": Outcome(0, "1")})
            if told.error is not None:
                raise told.error
        reporter.stage_finished("intact", 0.1)
        return load_result(out)

    monkeypatch.setitem(sys.modules, "kyphos.experiments.run", SimpleNamespace(run_study=run_study))
    return told


def test_help_is_quick_and_lists_every_command():
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "kyphos.cli"], capture_output=True, check=False)
    assert done.returncode == 0  # the module alone only defines
    code = "from kyphos.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 5.0
    for command in ("run", "check", "protocols", "materials", "mesh", "export", "view", "report", "validate", "doctor"):
        assert f"\n  {command} " in shown.stdout


def test_importing_kyphos_imports_nothing_heavy():
    code = "import kyphos, kyphos.cli, sys; print({'numpy', 'numba', 'pyvista', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_dry_run_prints_the_resolved_study_and_writes_nothing(invoke, tmp_path):
    done = invoke("run", "--dry-run", "--set", "cycling.0.count=20", "--out", "out")
    assert done.exit_code == 0
    tables = tomllib.loads(done.stdout)
    assert tables["name"] == "kyphoplasty-pmma"
    assert tables["cycling"][0]["count"] == 20
    assert [stage["kind"] for stage in tables["stage"]][-2:] == ["cycle", "test"]
    assert not list(tmp_path.iterdir())


def test_check_counts_the_stages(invoke):
    done = invoke("check", STUDY)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "7 stages: intact, fracture, hold" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["check", "nowhere.toml"], "no such study file"),
        (["run", "kyphoplasti-pmma"], "did you mean"),
        (["run", STUDY, "--set", "cement.volume=3"], "did you mean 'volume_ml'"),
        (["run", "kyphoplasty-pmma-L1", "--set", "cement.card=glue"], "glue"),
        (["check", STUDY, "--set", "specimen.shell_card=ligament-all"], "'ligament-all' (Ligament) is no material by"),
        (["check", STUDY, "--set", "specimen.trabecular_card=trabecular-morgen"], "did you mean 'trabecular-morgan'"),
        (["protocols", "nothing"], "neither a file nor a built-in study"),
        (["materials", "glue"], "glue"),
        (["mesh", STUDY, "--out", "mesh.stl"], "only .vtu is written; try --out mesh.vtu"),
        (["run", STUDY, "--resume"], "nothing to resume"),
        (["report", "nowhere"], "nowhere"),
        (["view", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_ends_in_one_message_and_code_two(arguments, expected, invoke, fake_run):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_code_two(invoke):
    assert invoke("run", "--nonsense").exit_code == 2


def test_protocols_are_listed_and_printed(invoke):
    listed = [line.split()[0] for line in invoke("protocols").stdout.splitlines()]
    assert listed == list(list_protocols())
    text = invoke("protocols", "kyphoplasty-pmma").stdout
    assert text.startswith("# ")
    assert tomllib.loads(text)["procedure"]["kind"] == "kyphoplasty"


def test_cards_are_listed_and_printed(invoke):
    assert "pmma" in invoke("materials").stdout.split()
    assert "youngs_modulus_mpa" in invoke("materials", "pmma").stdout
    assert "Ligaments" in invoke("materials").stdout.splitlines()
    assert "read by kyphos.materials.ligament_row" in invoke("materials", "ligament-all").stdout


def test_density_by_name_is_resolved_in_the_dry_run(invoke, tmp_path):
    (tmp_path / "mine.toml").write_text('[specimen]\nbone = "severe"\n', encoding="utf-8")
    shown = tomllib.loads(invoke("run", "mine.toml", "--dry-run").stdout)
    assert shown["specimen"]["vbmd_mg_per_cc"] == 56.0
    assert not {"bone", "t_score"} & set(shown["specimen"])


def test_a_scan_in_hu_needs_a_card_that_calibrates(invoke, tmp_path):
    for name in ("ct", "labels"):
        (tmp_path / f"{name}.nii.gz").touch()
    text = '[specimen]\nscan = "ct.nii.gz"\nlabels = "labels.nii.gz"\nhu_calibration = "{}"\n'
    for card, code in (("hu-120kvp", 0), ("pmma", 2), ("hu-120kv", 2)):
        (tmp_path / "mine.toml").write_text(text.format(card), encoding="utf-8")
        done = invoke("check", "mine.toml")
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.stderr
    assert "did you mean 'hu-120kvp'" in done.stderr


def test_a_run_prints_numbers_on_stdout_and_progress_on_stderr(invoke, fake_run, tmp_path):
    done = invoke("run", STUDY, *QUICK)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == ["strength_intact_n", "2345.5", "N", "cycles", "0"]
    assert "intact" in done.stderr
    assert "untreated-L1-1" in done.stderr
    assert load_result(tmp_path / "runs" / "untreated-L1-1").status == "done"
    assert invoke("run", STUDY, *QUICK, "--quiet").stderr == ""
    assert (tmp_path / "runs" / "untreated-L1-2").is_dir()


def test_no_convergence_is_code_three_and_says_what_is_kept(invoke, fake_run):
    fake_run.error = ConvergenceError("no equilibrium at 2000 N", (1.0, 0.5))
    done = invoke("run", STUDY, *QUICK, "--out", "out")
    assert done.exit_code == 3
    assert "no equilibrium at 2000 N" in done.stderr
    assert "--resume --out out goes on" in done.stderr


def test_an_interrupt_is_code_130_and_resumable_without_naming_the_study(invoke, fake_run):
    fake_run.error = KeyboardInterrupt()
    done = invoke("run", STUDY, *QUICK, "--out", "out")
    assert done.exit_code == 130
    assert "--resume --out out goes on" in done.stderr
    fake_run.error = None
    assert invoke("run", "--out", "out").exit_code == 2
    assert invoke("run", "--resume", "--out", "out").exit_code == 0
    spec, _, resume = fake_run.calls[-1]
    assert (spec.name, resume) == (STUDY, True)


def test_from_python(fake_run, tmp_path):
    result = kyphos.run(STUDY, tmp_path / "out", set=["output.pictures=false", "cycling.0.count=0"])
    assert isinstance(result, api.Result)
    assert float(result.outcomes["strength_intact_n"]) == 2345.5
    assert result.history["load_n"].tolist() == [100.0]
    assert kyphos.load(tmp_path / "out").spec == result.spec
    with pytest.raises(StudyError, match="overrides apply"):
        kyphos.run(read_study(STUDY), tmp_path / "other", set=["cycling.0.count=0"])


def test_the_doctor_reports(invoke):
    done = invoke("doctor")
    assert done.exit_code == 0
    for word in ("python", "numba", "off-screen rendering", "sparse factorisation"):
        assert word in done.stdout


def test_a_part_of_the_validation_book(invoke, tmp_path):
    done = invoke("validate", "kim-2011", "--quick", "--processes", "1", "--out", str(tmp_path))
    assert done.exit_code == 0
    head, first, *_ = done.stdout.splitlines()
    assert head.split()[:3] == ["row", "use", "published"]
    assert first.startswith("kim-creep")
    rows = json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in rows] == ["kim-creep", "kim-residual"]
    assert (tmp_path / "pictures" / "kim-2011.png").stat().st_size > 5000
    assert "specimen 01" in done.stderr


def test_a_row_that_is_not_in_the_book(invoke):
    done = invoke("validate", "wegrzyn-recoi")
    assert done.exit_code == 2
    assert "did you mean 'wegrzyn-recoil'" in done.stderr
