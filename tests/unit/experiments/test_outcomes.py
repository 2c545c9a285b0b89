"""What a run says it found: every pinned name that applies, its unit, and its definition."""

from __future__ import annotations

import pytest

from kyphos.experiments import Outcome
from kyphos.experiments.outcomes import PLACES, _shares, note

HEIGHTS = {"intact": 30.0, "fractured": 22.0, "reduced": 28.0, "deflated": 27.0, "treated": 26.0, "cycled": 25.0}


def heights(**mm: float) -> dict[str, Outcome]:
    return {f"height_{state}_anterior_mm": Outcome(value, "mm") for state, value in mm.items()}


def test_every_pinned_name_that_applies_is_there_with_its_unit(result):
    states = ("intact", "fractured", "reduced", "deflated", "treated", "cycled")
    expected = {f"height_{state}_{place}_mm": "mm" for state in states for place in PLACES}
    shares = ("restoration", "deflation_loss", "retention", "loss")
    expected |= {f"{share}_{place}": "1" for share in shares for place in ("anterior", "middle")}
    expected |= {f"stiffness_{state}_n_per_mm": "N/mm" for state in ("intact", "fractured", "treated", "cycled")}
    expected |= {"strength_intact_n": "N", "strength_treated_n": "N", "balloon_peak_pressure_mpa": "MPa"}
    expected |= {"balloon_volume_ml": "mL", "cement_volume_ml": "mL", "cycles": "1", "equilibria": "1", "wall_s": "s"}
    found = {name: result.outcomes[name].unit for name in expected if name in result.outcomes}
    assert found == expected


def test_a_single_level_has_no_neighbours(result):
    assert not [name for name in result.outcomes if name.startswith(("adjacent", "disc"))]


def test_heights_fall_rise_and_settle_in_the_order_of_the_procedure(result):
    h = {state: float(result.outcomes[f"height_{state}_anterior_mm"]) for state in HEIGHTS}
    assert h["intact"] > h["reduced"] > h["deflated"] >= h["treated"] - 0.01
    assert h["treated"] > h["cycled"] > h["fractured"]


def test_the_wedge_is_anterior(result):
    lost = {
        place: 1
        - float(result.outcomes[f"height_fractured_{place}_mm"]) / float(result.outcomes[f"height_intact_{place}_mm"])
        for place in PLACES
    }
    assert lost["anterior"] > lost["middle"] > lost["posterior"]
    assert 0.1 < lost["anterior"] < 0.25  # 25 % were imposed; some of it comes back
    assert float(result.outcomes["recoil_anterior"]) == pytest.approx(1 - lost["anterior"] / 0.25, abs=0.06)


@pytest.mark.parametrize("place", PLACES)
def test_shares_are_their_formulas(place, result):
    h = {state: float(result.outcomes[f"height_{state}_{place}_mm"]) for state in HEIGHTS}
    formulas = {
        "restoration": (h["treated"] - h["fractured"]) / (h["intact"] - h["fractured"]),
        "deflation_loss": (h["reduced"] - h["deflated"]) / (h["reduced"] - h["fractured"]),
        "retention": (h["cycled"] - h["fractured"]) / (h["treated"] - h["fractured"]),
        "loss": (h["treated"] - h["cycled"]) / h["intact"],
    }
    for name, value in formulas.items():
        if f"{name}_{place}" in result.outcomes:
            assert float(result.outcomes[f"{name}_{place}"]) == pytest.approx(value, rel=1e-12), name


def test_volumes_are_what_was_asked_for(result):
    spec = result.spec
    assert float(result.outcomes["cement_volume_ml"]) == pytest.approx(spec.cement.volume_ml, rel=1e-9)
    assert float(result.outcomes["balloon_volume_ml"]) <= 2 * spec.procedure.balloon_volume_ml * (1 + 1e-6)
    assert float(result.outcomes["cycles"]) == spec.cycling[0].count


def test_shares_by_hand():
    shares = {name: outcome.value for name, outcome in _shares(heights(**HEIGHTS)).items()}
    assert shares == pytest.approx(
        {
            "restoration_anterior": 4 / 8,
            "deflation_loss_anterior": 1 / 6,
            "retention_anterior": 3 / 4,
            "loss_anterior": 1 / 30,
        }
    )


def test_what_cannot_be_known_is_absent():
    known = {state: mm for state, mm in HEIGHTS.items() if state != "cycled"}
    assert set(_shares(heights(**known))) == {"restoration_anterior", "deflation_loss_anterior"}
    assert _shares(heights(intact=30.0)) == {}
    assert _shares(heights(intact=30.0, fractured=30.0, treated=30.0)) == {}  # nothing lost: no share of it


def test_retention_can_be_negative():
    shares = _shares(heights(intact=30.0, fractured=22.0, treated=26.0, cycled=21.0))
    assert shares["retention_anterior"].value == -0.25


def test_notes_name_what_a_stage_found(result):
    stages = {stage.name: stage for stage in result.spec.stage}
    assert "stiffness" in note(stages["intact"], result.outcomes)
    assert "strength" in note(stages["intact"], result.outcomes)
    assert "mL" in note(stages["reduced"], result.outcomes)
    assert "recoil" in note(stages["unload"], result.outcomes)
