"""Several treatments of one fractured specimen: reading, sharing of stages, running on, the comparison."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from subprocess import getoutput

import numpy as np
import pytest

from kyphos.errors import ConvergenceError, DataError, StudyError
from kyphos.experiments import SilentReporter, StudySpec, arms_run, load_result, read_study, to_toml
from kyphos.experiments import arms as reading
from kyphos.experiments.arms import has_arms, on_specimen, read_arms, shared_count
from kyphos.experiments.arms_run import chains_of, population_of, run_arms
from kyphos.experiments.comparison import _names, at_cycles, compare, table_rows, write_comparison
from kyphos.experiments.pool import side_by_side
from kyphos.experiments.run import run_study

SMALL = """
description = "small"
[specimen]
levels = ["L1"]
[mesh]
element_size_mm = 6.0
[solver]
threads = 1
initial_step = 1.0
[output]
pictures = false
[fracture]
anterior_height_loss = 0.1
hold_s = 0.0
recovery_s = 0.0
[procedure]
balloon_volume_ml = 1.2
[cement]
volume_ml = 2.0
[test]
strength_strain = 0.01
[[cycling]]
count = 12
[arms.untreated]
procedure = { kind = "none" }
[arms.kyphoplasty-pmma]
description = "the usual"
[arms.kyphoplasty-cap]
cement = { card = "calcium-phosphate" }
"""
ARMS = ("untreated", "kyphoplasty-pmma", "kyphoplasty-cap")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("arms") / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return read_arms(path)


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory) -> Path:
    """The small comparison, run one arm at a time."""
    place = tmp_path_factory.mktemp("comparison") / "run"
    ran = run_arms(study, place, processes=1)
    assert [(one.arm, one.status) for one in ran] == [(name, "done") for name in ARMS]
    return place


def with_cycles(arm: StudySpec, name: str, **keys: float) -> StudySpec:
    """The same arm with another block of cycles."""
    told = arm.model_dump(exclude={"stage"})
    told["cycling"] = [told["cycling"][0] | keys]
    return StudySpec.model_validate(told | {"name": name})


def found(folder: Path) -> dict[str, float]:
    """All outcomes but the time they took."""
    return {name: outcome.value for name, outcome in load_result(folder).outcomes.items() if name != "wall_s"}


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# --- reading -------------------------------------------------------------------------------------------------------


def test_an_arm_is_the_study_with_its_tables_laid_over(study):
    untreated, pmma, cap = study.arms
    assert [arm.name for arm in study.arms] == list(ARMS)
    assert untreated.cement is None
    assert (pmma.cement.card, cap.cement.card) == ("pmma", "calcium-phosphate")
    assert cap.cement.volume_ml == pmma.cement.volume_ml == 2.0
    assert pmma.description == "the usual"


def test_a_resolved_comparison_reads_as_itself(study, tmp_path):
    (tmp_path / "case.toml").write_text(reading.to_toml(study), encoding="utf-8")
    again = read_arms(tmp_path / "case.toml")
    assert again == replace(study, name="small")
    assert reading.to_toml(again) == reading.to_toml(study)


def test_the_built_in_comparison_has_its_six_arms():
    study = read_arms("four-arms")
    procedures = [(arm.procedure.kind, arm.cement.card if arm.cement else None) for arm in study.arms]
    assert procedures == [
        ("none", None),
        ("vertebroplasty", "pmma"),
        ("vertebroplasty", "calcium-phosphate"),
        ("vertebroplasty", "pmma-low-modulus"),
        ("kyphoplasty", "pmma"),
        ("kyphoplasty", "calcium-phosphate"),
    ]
    assert [stage.name for stage in study.shared.stage][-1] == "fractured"
    scanned = read_arms("four-arms-ct")
    assert [arm.body_stages for arm in scanned.arms] == [arm.body_stages for arm in study.arms]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("arms.untreated.procedure.preload_n=0", "part at stage 'intact' already"),
        ("arms.untreated.cment.card=x", "did you mean 'cement'"),
        ("arms.untreated.mesh.element_size_mm=3", "all else is the same"),
        ("arms.untreated.cement.volume_ml=99", "outside 0.1 to 30"),
        ("cement.volume_ml=99", "outside 0.1 to 30"),
        ("arms.Shared.description=x", "cannot name an arm"),
        ("arms.shared.description=x", "cannot name an arm"),
    ],
)
def test_wrong_arms_are_refused_in_one_line(setting, words):
    with pytest.raises(StudyError, match=words) as refused:
        read_arms("four-arms", [setting])
    assert "\n" not in str(refused.value)


def test_one_arm_is_no_comparison(tmp_path):
    (tmp_path / "one.toml").write_text("[arms.only]\n", encoding="utf-8")
    with pytest.raises(StudyError, match="two or more"):
        read_arms(tmp_path / "one.toml")
    assert has_arms(tmp_path / "one.toml")
    with pytest.raises(StudyError, match="makes this a comparison"):
        read_study(tmp_path / "one.toml")
    assert not has_arms("untreated")


# --- running -------------------------------------------------------------------------------------------------------


def test_arms_that_share_more_are_one_chain(study, tmp_path):
    chains = [[arm.name for arm in chain.arms] for chain in chains_of(study, tmp_path)]
    assert chains == [["kyphoplasty-pmma", "kyphoplasty-cap"], ["untreated"]]
    assert shared_count([arm.body_stages for arm in study.arms]) == len(study.shared.stage) == 4


def test_an_arm_is_to_the_last_bit_the_run_of_its_study(study, folder, tmp_path):
    """The arm that goes on from the other kyphoplasty's cavity equals the same study run by itself."""
    arm = study.arms[2]
    run_study(arm, tmp_path / "alone")
    assert found(folder / arm.name) == found(tmp_path / "alone")
    for path in sorted((tmp_path / "alone" / "checkpoints").iterdir()):
        ours, alone = np.load(folder / arm.name / "checkpoints" / path.name), np.load(path)
        assert set(ours.files) == set(alone.files)
        assert all(np.array_equal(ours[name], alone[name]) for name in ours.files if name != "__meta__"), path.name
    assert (folder / arm.name / "case.toml").read_text() == to_toml(arm)
    manifest = load_result(folder / arm.name).manifest
    assert manifest["branched_from"]["run"] == "kyphoplasty-pmma"
    assert manifest["branched_from"]["stage"].endswith("deflated")
    kept = {path.name for path in (tmp_path / "alone").iterdir()}
    assert kept == {path.name for path in (folder / arm.name).iterdir()}


def test_what_is_shared_is_solved_once(folder):
    for name in ("kyphoplasty-pmma", "untreated"):
        ours, shared = (sorted((folder / run / "fields_0001.vtu").stat()[:2]) for run in (name, "shared"))
        assert ours == shared  # one file under two names
        history = load_result(folder / name).history
        assert history[history["stage"] == "fracture"].equals(
            load_result(folder / "shared").history.query("stage == 'fracture'")
        )


def test_a_finished_comparison_is_not_run_again(study, folder):
    before = {path: os.stat(path).st_mtime_ns for path in folder.glob("*/history.csv")}
    ran = run_arms(study, folder, resume=True, processes=1)
    assert [one.status for one in ran] == ["done"] * 3
    assert {path: os.stat(path).st_mtime_ns for path in folder.glob("*/history.csv")} == before


def test_a_used_folder_is_refused(study, folder, tmp_path):
    with pytest.raises(DataError, match="--resume"):
        run_arms(study, folder)
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(DataError, match="no comparison"):
        run_arms(study, tmp_path, resume=True)


def test_an_arm_that_fails_does_not_stop_the_others(study, folder, tmp_path, monkeypatch):
    """One arm finds no equilibrium in its second stage; what the arms share is taken from the run that there is."""

    def fragile(spec, out, **options):
        if spec.name == "heavy":
            options["reporter"] = Breaking("cycled")
        return run_study(spec, out, **options)

    monkeypatch.setattr(arms_run, "run_study", fragile)
    arms = replace(study, arms=(with_cycles(study.arms[0], "heavy", max_n=700.0), study.arms[0]))
    place = tmp_path / "run"
    place.mkdir()
    os.symlink(folder / "shared", place / "shared")
    (place / "manifest.json").write_text("{}")
    ran = run_arms(arms, place, resume=True, processes=1)
    assert [(one.arm, one.status) for one in ran] == [("heavy", "failed"), ("untreated", "done")]
    assert "gave way" in ran[0].message
    compared = compare([place])
    assert "gave way" in compared.arms[0].message
    assert compared.arms[1].message == ""
    assert "height_cycled_anterior_mm" not in compared.arms[0].values
    assert "strength_intact_n" in compared.arms[0].values  # what the arms share is known all the same
    assert "height_cycled_anterior_mm" in compared.arms[1].values


class Breaking(SilentReporter):
    """Stops a run in one of its stages, as if no equilibrium had been found."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def stage_started(self, index: int, stage: str, kind: str) -> None:
        if stage == self.stage:
            raise ConvergenceError("it gave way")


# --- a population --------------------------------------------------------------------------------------------------


def test_a_population_scatters_about_the_study(study):
    people = population_of(study, 16)
    vbmd = np.array([one.vbmd_mg_per_cc for one in people])
    assert vbmd.mean() == pytest.approx(80.0, rel=0.06)
    assert vbmd.std(ddof=1) == pytest.approx(0.36 * 80.0, rel=0.1)
    assert people == population_of(study, 16)
    spec = on_specimen(study, people[3]).arms[1]
    assert spec.specimen.vbmd_mg_per_cc == people[3].vbmd_mg_per_cc
    assert spec.body_stages == study.arms[1].body_stages
    assert not spec.output.fields


def test_a_scan_has_no_population():
    with pytest.raises(StudyError, match="which a scan fixes"):
        population_of(read_arms("four-arms-ct"), 2)


def test_bands_over_a_population(study, folder, tmp_path):
    """Two specimens beside the study's own, without checkpoints, and left alone when it is done again."""
    untreated = study.arms[0]
    small = replace(study, arms=(untreated, with_cycles(untreated, "longer", count=20)))
    place = tmp_path / "run"
    told = SilentReporter()
    run_arms(small, place, processes=1, population=2, reporter=told)
    assert not list(place.glob("specimens/*/*/checkpoints"))
    before = sorted(path.stat().st_mtime_ns for path in place.glob("specimens/*/*/history.csv"))
    run_arms(small, place, resume=True, processes=1, population=2)
    assert sorted(path.stat().st_mtime_ns for path in place.glob("specimens/*/*/history.csv")) == before
    compared = compare([place])
    assert set(compared.people) == {"01", "02"}
    band = compared.bands["untreated"]["strength_intact_n"]
    values = [compared.people[who]["untreated"].values["strength_intact_n"].value for who in ("01", "02")]
    assert band.count == 2
    assert band.mean == pytest.approx(np.mean(values))
    assert min(values) < band.low < band.median < band.high < max(values)
    write_comparison(compared, place)
    rows = read_csv(place / "population.csv")
    assert {row["arm"] for row in rows} == {"untreated", "longer"}
    table = {row["quantity"]: row for row in read_csv(place / "comparison.csv")}
    assert table["strength_intact_n"]["untreated_n"] == "2"
    assert float(table["strength_intact_n"]["untreated_p50"]) == pytest.approx(np.median(values))


# --- the comparison ------------------------------------------------------------------------------------------------


def test_the_table_says_what_the_arms_found(folder, tmp_path):
    compared = compare([folder])
    write_comparison(compared, tmp_path)
    told = json.loads((tmp_path / "comparison.json").read_text())
    rows = {row["quantity"]: row["values"] for row in told["rows"]}
    assert [arm["name"] for arm in told["arms"]] == list(ARMS)
    assert (
        rows["height_cycled_anterior_mm"]["kyphoplasty-cap"]
        == found(folder / "kyphoplasty-cap")["height_cycled_anterior_mm"]
    )
    assert rows["restoration_anterior"]["untreated"] is None
    assert len({rows["strength_intact_n"][name] for name in ARMS}) == 1
    names = list(rows)
    heights = [name for name in names if name.startswith("height_") and name.endswith("anterior_mm")]
    states = [name.split("_")[1] for name in heights]
    assert states == ["intact", "fractured", "reduced", "deflated", "treated", "cycled"]
    assert names.index("restoration_anterior") < names.index("stiffness_intact_n_per_mm")
    head, lines = table_rows(compared)
    assert head == ["quantity", "unit", *ARMS]
    assert len(lines) == len(rows) == len(read_csv(tmp_path / "comparison.csv"))


def test_runs_by_hand_are_named_after_their_studies(folder):
    compared = compare([folder / "untreated", folder / "kyphoplasty-pmma"])
    assert [arm.name for arm in compared.arms] == ["untreated", "kyphoplasty-pmma"]
    assert compared.people == {}
    both = compare([folder, folder / "shared"])
    assert len(both.arms) == 4
    result = load_result(folder / "untreated")
    assert _names([Path("a/x"), Path("b/x")], [result, result]) == ["a/x", "b/x"]
    with pytest.raises(DataError, match="named twice"):
        compare([folder / "untreated", folder / "untreated"])
    with pytest.raises(DataError, match="two runs at least"):
        compare([folder / "untreated"])


def test_retention_at_cycles_is_that_of_the_valley_then(folder):
    result = load_result(folder / "kyphoplasty-pmma")
    values = at_cycles(result)
    h = {state: result.outcomes[f"height_{state}_anterior_mm"].value for state in ("intact", "fractured", "treated")}
    rows = result.history.query("stage == 'cycle_1' and cycle == 10 and load_n < 200")
    height = float(rows["height_anterior_mm"].iloc[0])
    assert values["loss_at_10_anterior"].value == pytest.approx((h["treated"] - height) / h["intact"], rel=1e-12)
    assert values["retention_at_10_anterior"].value == pytest.approx(
        (height - h["fractured"]) / (h["treated"] - h["fractured"]), rel=1e-12
    )
    assert "loss_at_100_anterior" not in values  # 12 cycles were run
    untreated = at_cycles(load_result(folder / "untreated"))
    assert "loss_at_10_anterior" in untreated
    assert "retention_at_10_anterior" not in untreated


def test_the_cement_carries_the_load(folder):
    """By hand: 600 N over at least a fifth of an endplate of about 1200 mm2 is below 3 MPa; it cannot be nothing."""
    outcomes = found(folder / "kyphoplasty-pmma")
    assert 0.1 < outcomes["cement_von_mises_p99_mpa"] < 10.0
    assert outcomes["cement_fatigue_reserve"] > 1.0
    assert not [name for name in found(folder / "untreated") if name.startswith("cement")]


def test_the_bone_is_damaged_by_the_fracture(folder):
    outcomes = found(folder / "untreated")
    assert outcomes["bone_damage_intact_ml"] == 0.0
    assert 0.0 < outcomes["bone_damage_fractured_ml"] <= outcomes["bone_damage_cycled_ml"] < 40.0


# --- side by side --------------------------------------------------------------------------------------------------


def test_side_by_side_is_done_by_others():
    asked = [f"echo {number} $PPID" for number in (1, 2, 3)]  # its shell's parent is the worker
    found = dict(side_by_side(getoutput, asked, 2))
    assert {ask.split()[1] for ask in found} == {answer.split()[0] for answer in found.values()} == {"1", "2", "3"}
    here = str(os.getpid())
    assert here not in {answer.split()[1] for answer in found.values()}
    assert {answer.split()[1] for _, answer in side_by_side(getoutput, asked[:2], 1)} == {here}
