"""The shorthand tables stand for the right stages."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from kyphos.experiments import read_study
from kyphos.experiments.plan import CycleStage, FractureStage, HoldStage, LoadStage

TREATED = ["intact", "fracture", "hold", "unload", "fractured"]


def names(study: str, *settings: str) -> list[str]:
    return [stage.name for stage in read_study(study, settings).stage]


def test_kyphoplasty_lifts_deflates_and_cements():
    expected = [*TREATED, "reduced", "deflated", "cement", "treated", "cycle_1", "cycled"]
    assert names("kyphoplasty-pmma") == expected


def test_vertebroplasty_has_no_balloons():
    assert names("vertebroplasty-pmma") == [*TREATED, "cement", "treated", "cycle_1", "cycled"]


def test_an_untreated_fracture_is_cycled_without_cement():
    assert names("untreated") == [*TREATED, "cycle_1", "cycled"]
    assert names("kyphoplasty-pmma", "procedure.kind=none") == names("untreated")


def test_what_takes_no_time_is_left_out():
    assert "hold" not in names("untreated", "fracture.hold_s=0")
    assert "deflated" not in names("kyphoplasty-pmma", "procedure.deflate=false")
    assert names("kyphoplasty-pmma", "cycling.0.count=0")[-1] == "treated"
    assert names("kyphoplasty-pmma", "cycling=[]")[-1] == "treated"


def test_each_block_of_cycles_is_a_stage_and_an_empty_one_is_skipped():
    settings = ("cycling.1.count=10", "cycling.2.count=5", "cycling.0.count=0")
    assert names("untreated", *settings)[-3:] == ["cycle_2", "cycle_3", "cycled"]


def test_each_stage_carries_its_own_load_case():
    stages = {stage.name: stage for stage in read_study("kyphoplasty-pmma", ["procedure.preload_n=250"]).stage}
    assert stages["fracture"].offset_anterior_mm == 10.0
    assert stages["fracture"].control == "displacement"
    assert (stages["hold"].control, stages["hold"].duration_s) == ("displacement", 900.0)
    for name in ("intact", "unload", "fractured", "reduced", "deflated", "cement", "treated", "cycled"):
        assert stages[name].force_n == 250.0, name
    assert stages["cycle_1"].force_n == 100.0
    assert stages["cycle_1"].duration_s == 500.0


def test_strength_is_asked_of_the_intact_and_the_treated_vertebra():
    asked = [stage.name for stage in read_study("kyphoplasty-pmma").stage if "strength" in stage.record]
    assert asked == ["intact", "treated"]


def test_stages_made_alone_name_themselves_and_check_themselves():
    assert FractureStage().name == "fracture"
    assert HoldStage(force_n=1000.0, duration_s=60.0).name == "hold"
    with pytest.raises(ValidationError, match="force_n is needed"):
        HoldStage(control="displacement", force_n=10.0)
    with pytest.raises(ValidationError, match="displacement_mm is needed"):
        LoadStage(control="displacement")
    with pytest.raises(ValidationError, match="must lie below"):
        CycleStage(min_n=600.0, max_n=600.0)
