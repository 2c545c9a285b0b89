"""Balloons on the coarse run: energy, devices, what stays after them, lying down, requests that cannot be met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kyphos import fem
from kyphos.errors import MeshError, StudyError
from kyphos.experiments import balloon, read_study
from kyphos.experiments.bench import current_force_n
from kyphos.experiments.energy import Ledger
from kyphos.experiments.plan import CementStage, DeflateStage, LoadStage, PostureStage, ReduceStage
from kyphos.experiments.tables import PRESSURE_MPA

BALANCE = 0.02  # of the work
VOLUME_ML = 2.0
SMALL = {"balloon_volume_ml": VOLUME_ML, "balloon_pressure_limit_mpa": 2.8}


def anterior_mm(bench):
    return bench.heights_mm()["anterior"]


@pytest.fixture(scope="module")
def fractured(bench_after):
    return bench_after("fractured")


@pytest.fixture(scope="module")
def inflated(walk, fractured):
    """Rows and end of an inflation to two small balloons, by preload (N), needles and device; each done once."""
    done = {}

    def inflated(preload_n=100.0, approach="bipedicular", device="balloon", **others):
        key = (preload_n, approach, device, *sorted(others.items()))
        if key not in done:
            stage = ReduceStage(force_n=preload_n, approach=approach, device=device, **{**SMALL, **others})
            done[key] = walk(stage, fractured)
        return done[key]

    return inflated


@pytest.fixture(scope="module")
def deflated(walk, inflated):
    """End of a deflation after an inflation, both under one preload; each done once."""
    done = {}

    def deflated(preload_n=100.0, device="balloon"):
        if (preload_n, device) not in done:
            lifted = inflated(preload_n, device=device)[1].bench
            done[preload_n, device] = walk(DeflateStage(force_n=preload_n, device=device), lifted)[1]
        return done[preload_n, device]

    return deflated


# --- energy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["balloon", "directional-balloon"])
@pytest.mark.parametrize("preload_n", [100.0, 400.0])
def test_the_work_of_pressure_and_preload_is_accounted_for(device, preload_n, inflated):
    found = inflated(preload_n, device=device)[1].outcomes
    came = found["balloon_work_j"] - found["balloon_lifting_work_j"]
    went = found["balloon_stored_j"] + found["balloon_spent_j"]
    assert came == pytest.approx(went, rel=BALANCE)
    assert found["balloon_energy_error"] == pytest.approx((came - went) / max(came, went), abs=1e-9)
    assert min(found["balloon_stored_j"], found["balloon_spent_j"]) > 0.0  # second law: nothing is won by crushing


def test_the_work_is_the_area_under_the_pressure_volume_curve(inflated):
    rows, ended = inflated(approach="unipedicular")
    blown = [row for row in rows if row.pressure_mpa == row.pressure_mpa]
    volume, pressure = (np.array([getattr(row, name) for row in blown]) for name in ("volume_ml", "pressure_mpa"))
    assert (np.diff(volume) > 0.0).all()
    assert ended.outcomes["balloon_work_j"] == pytest.approx(np.trapezoid(pressure, volume), rel=1e-9)
    assert ended.outcomes["balloon_peak_pressure_mpa"] == pressure.max()


def test_lifting_work_is_preload_times_the_way_of_the_platen(inflated):
    rows, ended = inflated(400.0)
    blown = [row for row in rows if row.pressure_mpa == row.pressure_mpa]
    way_mm = blown[0].bench.approach_mm - blown[-1].bench.approach_mm
    assert ended.outcomes["balloon_lifting_work_j"] == pytest.approx(400.0 * way_mm / 1000.0, rel=1e-3)


def test_a_ledger_that_forgets_a_part_does_not_balance(inflated):
    """The balance can fail: leave out the pressure of one balloon, or the stress of the cells around it."""
    rows = [row for row in inflated()[0] if row.pressure_mpa == row.pressure_mpa]
    first, last = rows[-2], rows[-1]
    true = Ledger(first.equilibrium).after(last.bench, last.equilibrium)
    assert abs(true.error) < BALANCE
    state = last.equilibrium.state
    one = replace(last.equilibrium, state=replace(state, pressure_mpa=state.pressure_mpa * [1.0, 0.0]))
    assert abs(Ledger(first.equilibrium).after(last.bench, one).error) > 5 * BALANCE
    strain = last.equilibrium.evaluation.strain.copy()
    strain[last.bench.cavity] = first.equilibrium.evaluation.strain[last.bench.cavity]
    skinless = replace(last.equilibrium, evaluation=replace(last.equilibrium.evaluation, strain=strain))
    assert abs(Ledger(first.equilibrium).after(last.bench, skinless).error) > 5 * BALANCE


# --- lift ----------------------------------------------------------------------------------------------------------


def test_lift_falls_with_the_preload(inflated, deflated):
    lifts = [inflated(preload_n)[1].outcomes["lift_anterior_mm"] for preload_n in (0.0, 100.0, 400.0)]
    kept = [anterior_mm(deflated(preload_n).bench) for preload_n in (0.0, 100.0, 400.0)]
    assert lifts == sorted(lifts, reverse=True)
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[1] + 0.02
    assert kept[1] > kept[2] + 0.02


def test_two_balloons_lift_more_than_one(inflated):
    one, two = (inflated(approach=approach)[1].outcomes for approach in ("unipedicular", "bipedicular"))
    assert two["lift_anterior_mm"] > 1.3 * one["lift_anterior_mm"]
    assert two["balloon_volume_ml"] == pytest.approx(2 * VOLUME_ML, rel=1e-6)
    per_ml = two["lift_anterior_mm"] / two["balloon_volume_ml"]
    assert two["lift_anterior_mm_per_ml"] == pytest.approx(per_ml, rel=1e-9)


def test_a_directional_balloon_lifts_more_per_millilitre(inflated):
    """At one volume; it needs more pressure for it."""
    volumes = {"balloon_volume_ml": 1.5}
    usual, upwards = (inflated(device=device, **volumes)[1].outcomes for device in ("balloon", "directional-balloon"))
    assert usual["balloon_volume_ml"] == pytest.approx(upwards["balloon_volume_ml"], rel=1e-6)
    assert upwards["lift_anterior_mm"] > 1.1 * usual["lift_anterior_mm"]
    assert upwards["balloon_peak_pressure_mpa"] > usual["balloon_peak_pressure_mpa"]


def test_a_stronger_balloon_goes_further(inflated):
    limits = ({"balloon_pressure_limit_mpa": 1.5}, {"device": "high-pressure-balloon", "balloon_pressure_limit_mpa": 4})
    weak, strong = (inflated(**limit, balloon_volume_ml=3.0)[1].outcomes for limit in limits)
    assert weak["balloon_peak_pressure_mpa"] == pytest.approx(1.5, rel=1e-6)
    assert strong["balloon_peak_pressure_mpa"] > 1.5
    assert strong["lift_anterior_mm"] > weak["lift_anterior_mm"]


def test_contact_grows_with_the_balloon_and_is_no_larger_than_the_endplate(inflated):
    small, large = (inflated(balloon_volume_ml=volume)[1] for volume in (0.8, VOLUME_ML))
    for name in ("superior_endplate", "inferior_endplate"):
        before, after = (ended.outcomes[f"balloon_contact_{name}_mm2"] for ended in (small, large))
        faces = large.bench.mesh.face_sets[f"L1.{name}"]
        whole = np.linalg.norm(fem.pressure_forces(large.bench.points_mm, faces, 1.0).sum(axis=0))
        assert 0.0 <= before <= after < whole
        gaps, balloon.CONTACT_GAP_MM = balloon.CONTACT_GAP_MM, 50.0
        try:
            everything = balloon.contact_areas_mm2(large.bench)[name]
        finally:
            balloon.CONTACT_GAP_MM = gaps
        assert after < everything < whole


# --- deflation -----------------------------------------------------------------------------------------------------


def test_deflation_costs_height_and_an_expander_keeps_it(inflated, deflated):
    empty, caged = deflated(), deflated(device="expander")
    lost = anterior_mm(inflated()[1].bench) - anterior_mm(empty.bench)
    kept = anterior_mm(inflated(device="expander")[1].bench) - anterior_mm(caged.bench)
    assert 0.0 < kept < 0.5 * lost
    assert 0.0 < caged.outcomes["cavity_collapse"] < 0.5 * empty.outcomes["cavity_collapse"]
    for ended in (empty, caged):
        assert ended.outcomes["cavity_inflated_ml"] == pytest.approx(2 * VOLUME_ML, rel=1e-6)
        left = 1.0 - ended.outcomes["cavity_volume_ml"] / ended.outcomes["cavity_inflated_ml"]
        assert ended.outcomes["cavity_collapse"] == pytest.approx(left)
        assert abs(ended.outcomes["deflation_energy_error"]) < BALANCE


def test_without_preload_deflation_gives_back_what_was_stored_and_hardly_more(deflated):
    loose, pressed = deflated(0.0).outcomes, deflated(400.0).outcomes
    assert loose["deflation_spent_j"] < 0.1 * loose["deflation_released_j"]
    assert loose["deflation_spent_j"] < pressed["deflation_spent_j"]


def test_a_cage_is_a_wall_not_a_block(deflated):
    bench = deflated(device="expander").bench
    laws = bench.field.laws()[bench.cavity]
    assert set(laws) <= {"LinearElastic", "Foam"}
    assert (laws == "LinearElastic").any()
    assert set(deflated().bench.field.laws()[deflated().bench.cavity]) == {"Foam"}


def test_the_rim_of_a_block_of_cells_is_all_but_its_heart(untouched):
    trabecular = np.flatnonzero(untouched.mesh.region == untouched.mesh.region_names.index("L1.trabecular"))
    rim = balloon._rim(untouched, trabecular)
    bare = fem.boundary_faces(untouched.mesh.cells[trabecular])
    on_surface = np.isin(untouched.mesh.cells[trabecular], bare)
    assert 0 < rim.size < trabecular.size
    assert np.isin(trabecular[on_surface.sum(axis=1) >= 7], rim).all()  # more nodes than one face has: on the surface
    assert not np.isin(trabecular[on_surface.sum(axis=1) <= 3], rim).any()


def test_cement_freezes_what_the_cage_holds(walk, deflated):
    caged = deflated(device="expander").bench
    _, ended = walk(CementStage(volume_ml=4.0), caged)
    assert anterior_mm(ended.bench) == pytest.approx(anterior_mm(caged), abs=0.1)


def test_nothing_can_be_deflated_that_was_not_inflated(walk, fractured):
    with pytest.raises(StudyError, match="there are no balloons to deflate; put a stage of kind 'reduce' before it"):
        walk(DeflateStage(), fractured)


# --- posture -------------------------------------------------------------------------------------------------------


def test_lying_down_wins_height_and_cement_keeps_it(walk, fractured):
    gains = []
    for force_n in (100.0, 0.0, -50.0):
        _, prone = walk(PostureStage(force_n=force_n), fractured)
        assert current_force_n(prone.bench) == pytest.approx(force_n, abs=0.1)
        _, filled = walk(CementStage(force_n=force_n, volume_ml=4.0, shape="interdigitated"), prone.bench)
        _, upright = walk(LoadStage(force_n=100.0), filled.bench)
        gain = anterior_mm(prone.bench) - anterior_mm(fractured)
        assert prone.outcomes["posture_gain_anterior_mm"] == pytest.approx(gain, abs=1e-3)
        gains.append((gain, anterior_mm(upright.bench) - anterior_mm(fractured)))
    assert gains == sorted(gains)
    assert gains[-1][1] > gains[0][1] + 0.5 * (gains[-1][0] - gains[0][0])  # most of it is frozen


def test_posture_is_a_stage_before_the_treatment_and_lasts_until_the_cement_has_set():
    for study, treatment in (("vertebroplasty-pmma-L1", ["cement"]), ("kyphoplasty-pmma-L1", ["reduced", "deflated"])):
        stages = {stage.name: stage for stage in read_study(study, ["procedure.posture_n=-50"]).stage}
        names = list(stages)
        assert names[names.index("fractured") + 1 :][: 1 + len(treatment)] == ["prone", *treatment]
        assert {stages[name].force_n for name in ("prone", *treatment, "cement")} == {-50.0}
        assert stages["treated"].force_n == 100.0
        assert "prone" not in [stage.name for stage in read_study(study).stage]


# --- keys and bad requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", PRESSURE_MPA)
def test_a_device_has_its_own_limit_and_goes_through_to_the_stages(device, tmp_path):
    text = f'[specimen]\nlevels = ["L1"]\n[procedure]\nkind = "kyphoplasty"\ndevice = "{device}"\n'
    (tmp_path / "study.toml").write_text(text)
    stages = {stage.name: stage for stage in read_study(tmp_path / "study.toml").stage}
    assert stages["reduced"].device == stages["deflated"].device == device
    assert stages["reduced"].balloon_pressure_limit_mpa == PRESSURE_MPA[device][0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("procedure.balloon_pressure_limit_mpa=4",), ("a balloon is rated for", "up to 2.8", "high-pressure-balloon")),
        (("procedure.device=jack",), ("device", "balloon", "expander")),
        (("procedure.posture_n=-2",), ("must be 0 or at least 5 N",)),
    ],
)
def test_bad_keys_are_told_in_one_message(settings, words):
    with pytest.raises(StudyError) as told:
        read_study("kyphoplasty-pmma-L1", settings)
    for word in words:
        assert word in str(told.value)


def test_balloons_without_room_are_refused_before_anything_is_solved(untouched):
    with pytest.raises(StudyError, match=r"two balloons of that size would burst the wall .* allowed: up to \d"):
        balloon.check_room(ReduceStage(balloon_volume_ml=10.0), untouched)
    with pytest.raises(StudyError, match=r"less than the deflated balloon .* allowed: from 0\.6 mL"):
        balloon.check_room(ReduceStage(balloon_volume_ml=0.3), untouched)
    with pytest.raises(MeshError, match="the tip of needle 1 lies outside the spongy bone of L1"):
        balloon.check_room(ReduceStage(needle_depth=1.0), untouched)
    with pytest.raises(StudyError, match="around needle tip 1 there is no room for a deflated balloon"):
        balloon.seeds(untouched, ReduceStage(needle_depth=1.0))
    balloon.check_room(ReduceStage(), untouched)
