"""Balloons on a parametric L1: what preload, number, bone and device do to the height that is won back.

Orders and balances, not absolute values: those are in the validation book.
"""

from __future__ import annotations

import pytest

from kyphos.experiments import read_study
from kyphos.experiments.run import run_study

pytestmark = pytest.mark.validation

COARSE = (
    "mesh.element_size_mm=4",
    "solver.threads=2",
    "fracture.hold_s=60",
    "procedure.balloon_volume_ml=3",
    "procedure.balloon_pressure_limit_mpa=2.8",
    "cycling.0.count=0",
    "test.strength_strain=0.005",
    "output.pictures=false",
    "output.fields=false",
)
PRELOADS_N = (0, 100, 400)


@pytest.fixture(scope="module")
def treated(tmp_path_factory):
    """Outcomes of the built-in kyphoplasty with some settings; each run once."""
    done = {}

    def treated(*settings):
        if settings not in done:
            folder = tmp_path_factory.mktemp("balloon") / "run"
            found = run_study(read_study("kyphoplasty-pmma-L1", (*COARSE, *settings)), folder).outcomes
            done[settings] = {name: outcome.value for name, outcome in found.items()}
            print(settings, {name: round(value, 3) for name, value in done[settings].items() if shown(name)})
        return done[settings]

    return treated


def shown(name):
    return name.endswith("_anterior") or name.startswith(("balloon_", "cavity_", "lift_anterior"))


def test_restoration_falls_with_the_preload(treated):
    """The fracture is unloaded to the preload as well, so heights are compared, not shares of different wedges."""
    lifts = [treated(f"procedure.preload_n={preload_n}")["lift_anterior_mm"] for preload_n in PRELOADS_N]
    won = [treated(f"procedure.preload_n={preload_n}")["restoration_anterior"] for preload_n in PRELOADS_N]
    assert lifts == sorted(lifts, reverse=True)
    assert won == sorted(won, reverse=True)


def test_two_balloons_win_more_than_one(treated):
    assert treated()["restoration_anterior"] > treated("procedure.approach=unipedicular")["restoration_anterior"]


def unlimited(vbmd):
    """Two balloons of 2 mL that no limit stops short of what the bone asks for."""
    limit = ("procedure.device=high-pressure-balloon", "procedure.balloon_pressure_limit_mpa=4.9")
    return (f"specimen.vbmd_mg_per_cc={vbmd}", "procedure.balloon_volume_ml=2", *limit)


@pytest.mark.parametrize("vbmd", [50, 80, 110])
def test_pressure_and_energy_stay_within_bounds(vbmd, treated):
    found = treated(*unlimited(vbmd))
    assert found["balloon_volume_ml"] == pytest.approx(4.0, rel=1e-6)
    assert 0.5 < found["balloon_peak_pressure_mpa"] < 3.0
    assert abs(found["balloon_energy_error"]) < 0.02
    assert abs(found["deflation_energy_error"]) < 0.02


def test_work_is_accounted_for_where_the_pressure_limit_comes_soon(treated):
    found = treated("specimen.vbmd_mg_per_cc=110", "procedure.balloon_pressure_limit_mpa=2.0")
    assert found["balloon_volume_ml"] < 3.0
    assert abs(found["balloon_energy_error"]) < 0.02
    assert abs(found["deflation_energy_error"]) < 0.02


def test_denser_bone_needs_more_pressure(treated):
    pressures = [treated(*unlimited(vbmd))["balloon_peak_pressure_mpa"] for vbmd in (50, 80, 110)]
    assert pressures == sorted(pressures)


def test_an_expander_loses_less_at_deflation(treated):
    """Rotter 2010: 22 % of the gain with a stent, 59 % without (B13)."""
    caged, bare = treated("procedure.device=expander"), treated()
    assert 0.0 < caged["deflation_loss_anterior"] < 0.5 * bare["deflation_loss_anterior"]
    assert caged["restoration_anterior"] > bare["restoration_anterior"]


@pytest.mark.xfail(reason="bone that was pressed aside yields on its way back, as plasticity says: docs/results.md")
def test_without_preload_deflation_spends_nothing_worth_telling(treated):
    found = treated("procedure.preload_n=0")
    assert found["deflation_spent_j"] < 0.1 * found["deflation_released_j"]
