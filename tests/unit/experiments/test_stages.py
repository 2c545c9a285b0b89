"""Each kind of stage by itself, on benches taken from the coarse run."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kyphos import fem, materials
from kyphos.errors import ConvergenceError, StudyError
from kyphos.experiments.bench import current_force_n
from kyphos.experiments.fields import stage_fields
from kyphos.experiments.outcomes import after_stage
from kyphos.experiments.plan import (
    CementStage,
    CycleStage,
    DeflateStage,
    FractureStage,
    HoldStage,
    LoadStage,
    MeasureStage,
    ReduceStage,
    UnloadStage,
)
from kyphos.experiments.stages import Solved, _next_step_mm, waiting_times

DIRECT_CYCLES = 20


def lost_mm(before, after, place="anterior"):
    """Height lost between two benches."""
    return before.heights_mm()[place] - after.heights_mm()[place]


def valleys(solved: list[Solved], place="anterior") -> dict[int, float]:
    """Height after each cycle that was unloaded to the valley, mm."""
    return {s.cycle: s.bench.heights_mm()[place] for s in solved if s.cycle and s.load_n == 100.0}


def test_loads_holds_and_unloads_end_at_their_force(walk, untouched):
    solved, up = walk(LoadStage(force_n=400.0), untouched)
    assert current_force_n(up.bench) == pytest.approx(400.0, rel=1e-5)
    held, waited = walk(HoldStage(force_n=400.0, duration_s=1000.0), up.bench)
    assert lost_mm(up.bench, waited.bench) > 0.01  # creep
    assert (np.diff([s.bench.approach_mm for s in held]) > -1e-6).all()
    _, down = walk(UnloadStage(force_n=0.0), waited.bench)
    assert current_force_n(down.bench) == pytest.approx(0.0, abs=0.1)
    assert lost_mm(untouched, down.bench) > 0.0
    assert solved[-1].share == held[-1].share == 1.0


def test_a_held_position_relaxes(walk, untouched):
    _, pressed = walk(LoadStage(control="displacement", displacement_mm=0.04), untouched)
    _, held = walk(HoldStage(control="displacement", duration_s=100.0), pressed.bench)
    assert held.bench.approach_mm == pytest.approx(0.04, abs=1e-12)
    assert current_force_n(held.bench) < 0.98 * current_force_n(pressed.bench)


@pytest.mark.parametrize("duration_s", [0.5, 1.0, 900.0, 1e6])
def test_waiting_takes_growing_steps(duration_s):
    times = np.array(waiting_times(duration_s))
    assert times[-1] == pytest.approx(duration_s)
    assert (np.diff(times) > 0).all()
    assert len(times) <= 20
    assert waiting_times(0.0) == ()


def test_a_fracture_reaches_its_wedge(walk, untouched):
    solved, ended = walk(FractureStage(anterior_height_loss=0.05), untouched)
    intact = untouched.heights_mm()["anterior"]
    assert lost_mm(untouched, ended.bench) / intact == pytest.approx(0.05, abs=2e-4)
    assert ended.outcomes["fracture_energy_j"] > 0.0
    work = 0.0
    for before, after in pairwise(solved):
        assert after.bench.approach_mm != before.bench.approach_mm
        work += 0.5 * (before.load_n + after.load_n) * (after.bench.approach_mm - before.bench.approach_mm)
    assert ended.outcomes["fracture_energy_j"] == pytest.approx(1e-3 * work, rel=0.2)


def test_a_pressure_limit_stops_the_inflation(walk, bench_after):
    fractured = bench_after("fractured")
    solved, ended = walk(ReduceStage(balloon_pressure_limit_mpa=0.6), fractured)
    assert ended.outcomes["balloon_peak_pressure_mpa"] == pytest.approx(0.6, rel=1e-6)
    assert ended.outcomes["balloon_volume_ml"] < 8.0
    assert max(s.pressure_mpa for s in solved if s.pressure_mpa == s.pressure_mpa) <= 0.6 * (1 + 1e-9)
    assert lost_mm(fractured, ended.bench) < 0.0  # lifted


def test_one_balloon_is_one_cavity(walk, bench_after):
    stage = ReduceStage(approach="unipedicular", balloon_volume_ml=1.5)
    _, ended = walk(stage, bench_after("fractured"))
    assert len(ended.bench.structure.cavities) == 1
    assert ended.outcomes["balloon_volume_ml"] == pytest.approx(1.5, rel=1e-6)


def test_a_balloon_smaller_than_an_empty_one_is_refused(walk, bench_after):
    with pytest.raises(StudyError, match=r"balloon_volume_ml=0\.3 is less than the deflated balloon"):
        walk(ReduceStage(balloon_volume_ml=0.3), bench_after("fractured"))


def test_deflation_leaves_an_empty_cavity(bench_after, result):
    lifted, sunk = bench_after("reduced"), bench_after("deflated")
    assert lifted.structure.cavities
    assert not sunk.structure.cavities
    np.testing.assert_array_equal(sunk.cavity, lifted.cavity)
    assert 0.0 < lost_mm(lifted, sunk) < lost_mm(lifted, bench_after("fractured"))
    assert float(result.outcomes["cavity_volume_ml"]) < float(result.outcomes["balloon_volume_ml"])


def test_cement_enters_without_moving_anything(bench_after):
    before, after = bench_after("deflated"), bench_after("cement")
    for place in ("anterior", "middle", "posterior"):
        assert lost_mm(before, after, place) == pytest.approx(0.0, abs=0.01)
    assert after.cement_share[after.cavity].min() > 0.0
    assert (after.field.laws()[after.cement_share > 0] == "DuctileCement").all()


def test_an_interface_may_let_go(walk, bench_after):
    """Rim cells alone get the plane of weakness, elastic as the cement; a load bends them open somewhere."""
    before = bench_after("deflated")
    _, tied = walk(CementStage(volume_ml=4.0, force_n=100.0), before)
    _, weak = walk(CementStage(volume_ml=4.0, force_n=100.0, interface="debonding"), before)
    laws = weak.bench.field.laws()
    rim = np.flatnonzero(laws == "BondedInterface")
    cement = np.flatnonzero(tied.bench.field.laws() == "DuctileCement")
    assert 0 < rim.size <= cement.size  # on so coarse a mesh every cell of cement touches bone
    assert np.isin(rim, cement).all()
    assert (laws[np.setdiff1d(cement, rim)] == "DuctileCement").all()
    np.testing.assert_allclose(young_mpa(weak.bench.field)[rim], young_mpa(tied.bench.field)[rim], rtol=1e-12)
    bending = LoadStage(force_n=1500.0, offset_anterior_mm=10.0)
    _, tied_up = walk(bending, tied.bench)
    _, weak_up = walk(bending, weak.bench)
    assert lost_mm(weak.bench, weak_up.bench) > lost_mm(tied.bench, tied_up.bench)
    ours = after_stage({}, bending, weak_up, weak.bench)
    assert 0.0 < ours["interface_debonded_share"].value < 1.0
    assert "interface_debonded_share" not in after_stage({}, bending, tied_up, tied.bench)
    assert 0.0 < stage_fields(weak_up.bench)[1]["debonding"].max() <= 1.0
    assert "debonding" not in stage_fields(tied_up.bench)[1]


def young_mpa(field):
    """Young's modulus of every cell, NaN where its law has none."""
    modulus = np.full(field.n_cells, np.nan)
    for law, cells, parameters in field.blocks:
        names = [parameter.name for parameter in law.parameters]
        if "youngs_modulus_mpa" in names:
            modulus[cells] = parameters[:, names.index("youngs_modulus_mpa")]
    return modulus


def test_a_brittle_cement_goes_through_a_few_cycles(walk, bench_after):
    _, filled = walk(CementStage(volume_ml=4.0, force_n=100.0, card="calcium-phosphate"), bench_after("deflated"))
    assert (filled.bench.field.laws()[filled.bench.cement_share > 0] == "BrittleCement").all()
    _, worn = walk(CycleStage(count=3, max_n=1800.0), filled.bench)
    cracks = worn.bench.field.state_field(worn.bench.state.history, "crack_damage")
    assert 0.0 < cracks.max() <= 1.0


def test_cement_takes_over_from_balloons_that_stay(walk, bench_after):
    """Without deflation the cement keeps nearly all of the lift, and no balloon pressure is left behind it."""
    lifted = bench_after("reduced")
    _, ended = walk(CementStage(volume_ml=6.0), lifted)
    assert not ended.bench.structure.cavities
    assert ended.bench.state.pressure_mpa.size == 0
    assert current_force_n(ended.bench) == pytest.approx(100.0, rel=1e-5)
    assert lost_mm(lifted, ended.bench) < 0.3 * lost_mm(lifted, bench_after("deflated"))


@pytest.mark.parametrize("volume_ml", [1.5, 3.0])
def test_cement_between_the_trabeculae_has_its_exact_volume(volume_ml, walk, bench_after):
    _, ended = walk(CementStage(volume_ml=volume_ml, shape="interdigitated"), bench_after("fractured"))
    assert ended.outcomes["cement_volume_ml"] == pytest.approx(volume_ml, rel=1e-9)
    bench = ended.bench
    held = bench.cement_share @ fem.cell_volumes(bench.structure.mesh, bench.state)
    assert held / 1000.0 == pytest.approx(volume_ml, rel=0.01)


def test_a_test_harms_nothing_and_measures(walk, bench_after):
    bench = bench_after("treated")
    stage = MeasureStage(record=("heights", "stiffness", "strength"), strength_strain=0.02)
    solved, ended = walk(stage, bench)
    assert lost_mm(bench, ended.bench) == pytest.approx(0.0, abs=1e-4)
    np.testing.assert_allclose(ended.bench.state.history, bench.state.history, atol=1e-6)
    stiffness, strength = ended.outcomes["stiffness_n_per_mm"], ended.outcomes["strength_n"]
    assert strength > 600.0
    assert stiffness > 1000.0
    assert {s.cycle for s in solved} == {0}
    assert walk(MeasureStage(record=("heights",)), bench)[1].outcomes == {}


@pytest.fixture(scope="module")
def jumped(walk, bench_after):
    return walk(CycleStage(count=DIRECT_CYCLES), bench_after("treated"))


def test_cycles_lose_height_and_never_win_it_back(jumped, bench_after, result):
    """Valley heights fall with the number of cycles, and the loss after the second is not zero."""
    for place, rise_mm in (
        ("anterior", 0.0),
        ("middle", 0.003),
    ):  # crushed bone springs back there between the first two
        heights = list(valleys(jumped[0], place).values())
        assert max(np.diff(heights)) <= rise_mm
        assert heights[1:] == sorted(heights[1:], reverse=True)
    heights = valleys(jumped[0])
    total = bench_after("treated").heights_mm()["anterior"] - heights[DIRECT_CYCLES]
    assert heights[2] - heights[DIRECT_CYCLES] > 0.2 * total > 0.0
    history = result.history[(result.history["stage"] == "cycle_1") & (result.history["cycle"] > 0)]
    at_valley = history[history["load_n"] == 100.0]["height_anterior_mm"]
    assert len(at_valley) >= 4
    assert at_valley.is_monotonic_decreasing


def test_direct_and_jump_agree(jumped, walk, bench_after):
    before = bench_after("treated")
    _, direct = walk(CycleStage(count=DIRECT_CYCLES, method="direct"), before)
    loss = lost_mm(before, direct.bench)
    for place in ("anterior", "middle"):
        apart = abs(lost_mm(direct.bench, jumped[1].bench, place))
        assert apart < 0.03 * loss, place  # 1 % after 500 cycles: tests/validation
    assert jumped[1].outcomes["equilibria"] < direct.outcomes["equilibria"]
    assert jumped[1].outcomes["cycles"] == direct.outcomes["cycles"] == DIRECT_CYCLES


def test_plasticity_alone_shakes_down(jumped, walk, bench_after):
    """No time to creep and endless fatigue life: from cycle 2 on no height is lost. So creep and fatigue lose it."""
    treated = bench_after("treated")
    tireless = without_fatigue(treated)
    brief = CycleStage(count=6, method="direct", frequency_hz=50.0, dwell_fraction=1e-3)
    heights = valleys(walk(brief, tireless)[0])
    usual = valleys(jumped[0])
    assert abs(heights[2] - heights[6]) < 1e-3 * (usual[2] - usual[DIRECT_CYCLES])
    assert treated.heights_mm()["anterior"] - heights[1] > 0.0


def without_fatigue(bench):
    """The bench with bone and cement of endless fatigue life."""
    endless = {"CrushableBone": ("fatigue_life_coefficient", 1e6), "DuctileCement": ("fatigue_reference_cycles", 1e12)}
    blocks = []
    for law, cells, parameters in bench.field.blocks:
        rows = parameters.copy()
        if law.name in endless:
            name, value = endless[law.name]
            rows[:, [parameter.name for parameter in law.parameters].index(name)] = value
        blocks.append(materials.Block(law, cells, rows))
    field = materials.MaterialField(tuple(blocks), bench.field.n_cells, bench.field.n_points)
    return replace(bench, field=field, structure=replace(bench.structure, material=field))


@pytest.mark.validation
def test_fatigue_costs_height_beside_creep(walk, bench_after):
    """Cycles without fatigue lose less than cycles with it."""
    treated, stage = bench_after("treated"), CycleStage(count=300)
    both = walk(stage, treated)[1].bench
    creep = walk(stage, without_fatigue(treated))[1].bench
    assert lost_mm(treated, both) > lost_mm(treated, creep) > 0.0


def test_a_specimen_that_fails_while_it_is_cycled_says_after_how_many(monkeypatch, walk, bench_after):
    real = fem.run_cycles

    def worn_out(*arguments):
        for solved in real(*arguments):
            if solved.cycle > 2:
                raise ConvergenceError("no equilibrium", (3.0, 2.0))
            yield solved

    monkeypatch.setattr(fem, "run_cycles", worn_out)
    with pytest.raises(ConvergenceError, match=r"carried 2 of 9 cycles up to 600 N.*failed.*no equilibrium") as caught:
        walk(CycleStage(count=9), bench_after("treated"))
    assert caught.value.residuals_n == (3.0, 2.0)


def test_a_stage_repeats_itself_to_the_last_bit(walk, bench_after):
    first, second = (walk(DeflateStage(), bench_after("reduced"))[1].bench for _ in range(2))
    np.testing.assert_array_equal(first.state.displacement_mm, second.state.displacement_mm)
    np.testing.assert_array_equal(first.state.history, second.state.history)


@pytest.mark.parametrize(
    ("missing", "rate_per_mm", "step_mm"),
    [
        (0.01, 0.05, 0.2),  # what is missing over the rate
        (0.20, 0.05, 0.3),  # no more than the largest
        (-0.001, 0.05, -0.02),  # a little too far: back
        (0.01, -0.02, 0.3),  # the front rises while the body tilts back: on, not up and away
        (0.01, 0.0, 0.3),
        (-0.2, -0.02, -0.3),
    ],
)
def test_the_fracture_goes_on_where_the_body_tilts_back(missing, rate_per_mm, step_mm):
    assert _next_step_mm(missing, rate_per_mm, largest_mm=0.3, height_mm=25.0) == pytest.approx(step_mm)
