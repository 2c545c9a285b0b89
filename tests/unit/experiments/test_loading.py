"""Named loads of a segment: what a name stands for, how it is held, what is refused, and that statics is obeyed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kyphos import fem
from kyphos.errors import StudyError
from kyphos.experiments import read_study
from kyphos.experiments.adjacent import gained_kyphosis_deg
from kyphos.experiments.bench import SPARED_STRENGTH, evaluated, stronger
from kyphos.experiments.load_cases import named_cases
from kyphos.experiments.loading import _balanced, _loaded, looked_at, top_motion, treated_middle_mm
from kyphos.experiments.plan import FractureStage, MeasureStage, UnloadStage
from kyphos.experiments.run import BodyWork
from kyphos.experiments.spec import to_toml
from kyphos.experiments.tables import LoadCase

PAIR = ('specimen.levels=["T12","L1"]', "specimen.treated=L1", "mesh.element_size_mm=6", "solver.threads=1")
DISC = "disc_T12_L1_pressure_mpa"


@pytest.fixture(scope="module")
def work() -> BodyWork:
    return BodyWork(read_study("kyphoplasty-pmma-L1", PAIR))


@pytest.fixture(scope="module")
def fractured(work, ended):
    crushed = ended(FractureStage(anterior_height_loss=0.12), work._bench).bench
    return ended(UnloadStage(force_n=100.0, offset_anterior_mm=10.0), crushed).bench


@pytest.fixture(scope="module")
def balanced(work):
    return _balanced(work._bench, case("balanced"), 260.0, work._controls)


def case(name: str, **changed: float) -> LoadCase:
    return LoadCase(**(named_cases()[name].values | changed))


def reactions(bench, platen: str) -> np.ndarray:
    evaluation, _ = evaluated(bench)
    return fem.reactions(bench.structure, evaluation, bench.state)[bench.structure.platen_slice(platen)]


# --- names


@pytest.mark.parametrize("name", named_cases())
def test_every_named_case_is_a_load_with_sources(name):
    found = named_cases()[name]
    assert case(name).words
    for constant in found.constants.values():
        assert constant.low <= constant.value <= constant.high
        assert constant.source
        assert constant.flag == "assumed"


def test_forces_of_postures_have_the_ratios_of_measured_pressures():
    """Wilke 1999 (F01, F02, F06): 0.1, 0.5 and 2.3 MPa."""
    lying, standing, lifting = (case(n).follower_n for n in ("lying", "standing", "lifting_round_back"))
    assert (lying / standing, lifting / standing) == pytest.approx((0.1 / 0.5, 2.3 / 0.5))


def test_a_study_says_the_numbers_of_its_cases_and_reads_them_back(tmp_path):
    settings = ('test.load_cases=["standing"]', "test.load_case.tilted.bending_nm=4.0")
    spec = read_study("kyphoplasty-pmma-L1", [*PAIR, *settings])
    tested = [stage for stage in spec.stage if isinstance(stage, MeasureStage)]
    assert all(set(stage.load_case) == {"standing", "tilted"} for stage in tested)
    assert tested[0].load_case["standing"].follower_n == 500.0
    file = tmp_path / "case.toml"
    file.write_text(to_toml(spec))
    assert read_study(file) == spec


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (['test.load_cases=["standin"]'], "did you mean 'standing'"),
        (["test.load_case.mine.follower_n=0.0"], "there is no load"),
        (["test.load_case.mine.flexion_nm=7500.0"], "if it was given in N mm, write 7.5"),
        (["test.load_case.mine={ axial_n = 500.0, flexion_nm = 5.0 }"], "make two load cases"),
        (["test.load_case.mine={ weight_n = 260.0, bending_nm = 5.0 }"], "balanced by a muscle"),
        (["test.load_case.mine={ axial_n = 500.0, approach_mm = 1.0 }"], "exclude one another"),
        (["test.load_case.mine={ follower_n = 500.0, offset_anterior_mm = 5.0 }"], "belongs to axial_n"),
        (["test.load_case.mine.torque_nm=5.0"], "unknown key 'torque_nm'"),
        (["test.load_case.Mine.flexion_nm=5.0"], "Mine"),
    ],
)
def test_bad_load_cases_are_told(settings, says):
    with pytest.raises(StudyError, match=says):
        read_study("kyphoplasty-pmma-L1", [*PAIR, *settings])


@pytest.mark.parametrize("setting", ['test.load_cases=["standing"]', "test.load_case.mine.flexion_nm=5.0"])
def test_a_vertebra_alone_takes_no_load_cases(setting):
    with pytest.raises(StudyError, match="load cases need a segment"):
        read_study("kyphoplasty-pmma-L1", [setting])


# --- statics


def test_a_follower_load_leaves_nothing_to_the_lower_pot(work):
    bench, _ = _loaded(work._bench, LoadCase(follower_n=400.0), work._controls)
    np.testing.assert_allclose(reactions(bench, "inferior_platen")[:3], 0.0, atol=0.5)


@pytest.mark.parametrize(
    ("moment", "axis", "turn"), [("flexion", 0, -1.0), ("extension", 0, 1.0), ("bending", 1, 1.0), ("rotation", 2, 1.0)]
)
def test_pure_moments_reach_the_lower_pot_and_turn_the_upper_one(work, moment, axis, turn):
    asked = case(moment, **{key: 0.4 * value for key, value in named_cases()[moment].values.items()})
    bench, told = _loaded(work._bench, asked, work._controls)
    below, theta = reactions(bench, "inferior_platen"), top_motion(bench)[3:]
    np.testing.assert_allclose(below[:3], 0.0, atol=0.5)
    np.testing.assert_allclose(below[3 + axis], -1000.0 * asked.moment_nm[axis], rtol=0.02)
    assert turn * theta[axis] > np.radians(0.3)
    ((name, degrees),) = told.items()
    assert np.sign(degrees) == np.sign(getattr(asked, name.replace("_deg", "_nm")))


@pytest.fixture(scope="module")
def without_arches() -> BodyWork:
    return BodyWork(read_study("kyphoplasty-pmma-L1", (*PAIR, "specimen.posterior=false")))


@pytest.mark.parametrize(
    ("moment", "least"), [("flexion", 1.3), ("extension", 1.1), ("rotation", 1.1), ("bending", 1.0)]
)
def test_without_posterior_elements_a_joint_turns_further(work, without_arches, moment, least):
    """Ligaments of the arches hold flexion, facets extension and rotation; bending is the disc's."""
    ((name, value),) = named_cases()[moment].values.items()
    asked = LoadCase(**{name: 0.4 * value})
    ((_, whole),) = _loaded(work._bench, asked, work._controls)[1].items()
    ((_, cut),) = _loaded(without_arches._bench, asked, work._controls)[1].items()
    assert cut / whole > least


def test_the_muscle_balances_the_weight_as_a_beam_would(balanced):
    """By hand: 260 N on 30 mm, held on 50 mm: 156 N; the disc bears the sum of all."""
    bench, told = balanced
    assert told["weight_arm_mm"] == pytest.approx(30.0, abs=0.5)
    assert told["muscle_n"] == pytest.approx(260.0 * told["weight_arm_mm"] / 50.0, rel=0.05)
    below = reactions(bench, "inferior_platen")
    assert below[2] == pytest.approx(260.0 + told["muscle_n"], rel=1e-3)  # the follower ends on the pot itself
    arm = treated_middle_mm(bench)[1] - bench.structure.platens[1].centre_mm[1]
    moment = 260.0 * (arm + told["weight_arm_mm"]) + told["muscle_n"] * (arm - 50.0)
    assert below[3] == pytest.approx(moment, abs=0.03 * 260.0 * 50.0)


def test_more_weight_in_front_is_more_pressure_in_the_disc(work):
    """In proportion to what muscles, weight and cable press together, as long as the endplates do not yield."""
    bench = stronger(work._bench, np.ones(len(work._bench.mesh.cells), dtype=bool), SPARED_STRENGTH)
    found = looked_at(bench, {"far": case("balanced", weight_arm_mm=60.0), "near": case("balanced")}, work._controls)
    assert found["load_far_muscle_n"] == pytest.approx(2.0 * found["load_near_muscle_n"], rel=0.01)
    by_hand = (260.0 + 200.0 + 312.0) / (260.0 + 200.0 + 156.0)
    assert found[f"load_far_{DISC}"] / found[f"load_near_{DISC}"] == pytest.approx(by_hand, rel=0.01)


def test_a_wedge_moves_the_weight_forwards_unless_compensated(work, fractured):
    kyphosis = gained_kyphosis_deg(fractured)
    assert 0.3 < kyphosis < 15.0
    cases = {name: case(name) for name in ("balanced", "balanced_compensated")}
    found = looked_at(fractured, cases, work._controls)
    assert found["load_balanced_weight_arm_mm"] == pytest.approx(30.0 + 200.0 * np.sin(np.radians(kyphosis)))
    assert found["load_balanced_compensated_weight_arm_mm"] == 30.0
    arms = [found[f"load_{name}_weight_arm_mm"] for name in ("balanced", "balanced_compensated")]
    more = found["load_balanced_muscle_n"] / found["load_balanced_compensated_muscle_n"]
    assert more == pytest.approx(arms[0] / arms[1], rel=0.15)  # the lever rule
    assert more > 1.0
    assert found["load_balanced_muscle_n"] > found["load_balanced_compensated_muscle_n"]


def test_kyphosis_is_that_of_a_turned_endplate(work):
    bench = work._bench
    top = bench.mesh.points_mm[:, 2] > bench.body.centre_mm[2]
    turn = fem.rotation(np.array([np.radians(-4.0), 0.0, 0.0]))[0]
    moved = bench.mesh.points_mm.copy()
    moved[top] = (moved[top] - bench.body.centre_mm) @ turn.T + bench.body.centre_mm
    state = replace(bench.state, displacement_mm=moved - bench.mesh.points_mm)
    assert gained_kyphosis_deg(replace(bench, state=state)) == pytest.approx(4.0, abs=0.05)


def test_looking_harms_nothing(work, ended):
    stage = MeasureStage(force_n=100.0, record=())
    plain = ended(stage, work._bench).bench
    looked = ended(MeasureStage(force_n=100.0, record=(), load_cases=("standing",)), work._bench)
    np.testing.assert_array_equal(looked.bench.state.displacement_mm, plain.state.displacement_mm)
    assert "load_standing_disc_T12_L1_pressure_mpa" in looked.outcomes
