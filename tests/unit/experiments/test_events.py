"""Timelines of events: the stages that they stand for, orders that cannot be, a level that is treated again."""

from __future__ import annotations

import numpy as np
import pytest

from kyphos.errors import StudyError
from kyphos.experiments import Outcome, read_study, to_toml
from kyphos.experiments.cyclic import CYCLIC_PROTOCOLS
from kyphos.experiments.outcomes import _numbered, _shares
from kyphos.experiments.plan import CementStage, CycleStage, MeasureStage, ReduceStage
from kyphos.experiments.run import specimen_bench
from kyphos.experiments.specimen import build_mesh

FRACTURE = '[[event]]\nkind = "fracture"\n'
TREAT = '[[event]]\nkind = "treat"\nprocedure = { kind = "vertebroplasty" }\ncement = { volume_ml = 2.0 }\n'
CYCLE = '[[event]]\nkind = "cycle"\ncount = 10\n'
PAIR = '[specimen]\nlevels = ["T12", "L1"]\ntreated = "L1"\n'


@pytest.fixture
def read(tmp_path):
    """Return a function that reads events as a study."""

    def read(*events, settings=()):
        path = tmp_path / "events.toml"
        path.write_text("".join(events), encoding="utf-8")
        return read_study(path, settings)

    return read


def names(spec):
    return [stage.name for stage in spec.stage]


def test_the_shorthand_is_a_timeline(read):
    events = read(FRACTURE, '[[event]]\nkind = "treat"\n', '[[event]]\nkind = "cycle"\n')
    assert events.stage == read("").stage


def test_what_happens_again_has_a_number(read):
    spec = read(FRACTURE, TREAT, CYCLE, CYCLE, TREAT, CYCLE, FRACTURE)
    assert names(spec) == [
        *("intact", "fracture", "hold", "unload", "fractured", "cement", "treated", "cycle_1", "cycle_2", "cycled"),
        *("cement_2", "treated_2", "cycle_3", "cycled_2", "fracture_2", "hold_2", "unload_2", "fractured_2"),
    ]


def test_another_level_has_its_name_behind_what_happens_to_it(read):
    there = 'level = "T12"\n'
    spec = read(PAIR, FRACTURE, CYCLE + there, CYCLE, FRACTURE + there, TREAT + there, CYCLE, TREAT + there)
    assert names(spec) == [
        *(
            "intact",
            "intact_t12",
            "fracture",
            "hold",
            "unload",
            "fractured",
            "cycle_1",
            "cycled_t12",
            "cycle_2",
            "cycled",
        ),
        *(
            "fracture_t12",
            "hold_t12",
            "unload_t12",
            "fractured_t12",
            "cement_t12",
            "treated_t12",
            "cycle_3",
            "cycled_2",
        ),
        *("cement_t12_2", "treated_t12_2"),
    ]
    there = [stage.name for stage in spec.stage if stage.level == "T12"]
    assert there == [name for name in names(spec) if "t12" in name or name == "cycle_1"]
    assert {stage.level for stage in spec.stage} == {None, "T12"}


def test_a_resolved_timeline_reads_as_itself(read, tmp_path):
    spec = read(
        PAIR, FRACTURE, TREAT, FRACTURE + 'level = "T12"\n', '[[event]]\nkind = "cycle"\nprotocol = "holyoak-2022"\n'
    )
    (tmp_path / "case.toml").write_text(to_toml(spec), encoding="utf-8")
    assert read_study(tmp_path / "case.toml") == spec
    assert [stage.count for stage in spec.stage if isinstance(stage, CycleStage)] == [10_000, 5000, 5000]


def test_measurements_take_the_preload_of_the_first_treatment(read):
    other = TREAT.replace('"vertebroplasty"', '"vertebroplasty", preload_n = 50.0')
    spec = read(FRACTURE, other, TREAT)
    assert {stage.force_n for stage in spec.stage if isinstance(stage, MeasureStage)} == {50.0}
    assert [stage.force_n for stage in spec.stage if isinstance(stage, CementStage)] == [50.0, 100.0]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((TREAT,), "L1 is not fractured yet"),
        ((CYCLE, TREAT), "item 1 of kind 'treat'"),
        ((FRACTURE, FRACTURE), "has been lost already"),
        ((FRACTURE, CYCLE.replace("10", '10\nlevel = "L2"')), "level = 'L2' is not in levels; allowed: L1"),
        ((PAIR, FRACTURE, FRACTURE + 'level = "L2"\n'), "level = 'L2' is not in levels; allowed: T12, L1"),
        ((PAIR, FRACTURE + 'level = "T12"\n', TREAT), "L1 is not fractured yet"),
        ((PAIR, *2 * [FRACTURE + 'level = "T12"\n']), "lost already in the fracture of T12 before"),
        ((FRACTURE, TREAT.replace("vertebroplasty", "none")), "treats nothing"),
        (("event = []\n",), "lists nothing"),
        ((FRACTURE, "[fracture]\n"), "remove one of the two"),
        ((FRACTURE.replace("fracture", "fractur"),), "did you mean 'fracture'"),
        ((FRACTURE, TREAT.replace("volume_ml", "volume")), "did you mean 'volume_ml'"),
        ((FRACTURE, CYCLE + 'protocol = "wilke-2006"\n'), "fixes count already"),
    ],
)
def test_a_wrong_timeline_is_refused_in_one_line(read, events, words):
    with pytest.raises(StudyError, match=words) as refused:
        read(*events)
    assert "\n" not in str(refused.value)
    assert "events.toml" in str(refused.value)


def test_more_fracture_is_another_fracture(read):
    more = FRACTURE + "anterior_height_loss = 0.4\n"
    assert "fracture_2" in names(read(FRACTURE, more))
    assert "fracture_2" in names(read(FRACTURE, TREAT, FRACTURE))  # restored in between


@pytest.mark.parametrize("name", CYCLIC_PROTOCOLS)
def test_a_cyclic_protocol_is_its_blocks(read, name):
    spec = read(f'[[cycling]]\nprotocol = "{name}"\nfrequency_hz = 2.0\n')
    assert spec.cycling is not None
    assert tuple((b.count, b.min_n, b.max_n) for b in spec.cycling) == CYCLIC_PROTOCOLS[name].blocks
    assert {block.frequency_hz for block in spec.cycling} == {2.0}


def heights(**mm: float) -> dict[str, Outcome]:
    return {f"height_{state}_anterior_mm": Outcome(value, "mm") for state, value in mm.items()}


def test_shares_of_a_second_treatment_count_from_the_height_before_it():
    first = heights(intact=30.0, fractured=22.0, treated=26.0, cycled=25.0)
    found = _shares(first | heights(reduced_2=28.0, deflated_2=27.5, treated_2=27.0, cycled_2=26.5))
    shares = {name: outcome.value for name, outcome in found.items()}
    assert shares == pytest.approx(
        {
            **{name: outcome.value for name, outcome in _shares(first).items()},
            "restoration_2_anterior": 2 / 5,
            "deflation_loss_2_anterior": 0.5 / 3,
            "retention_2_anterior": 1.5 / 2,
            "loss_2_anterior": 0.5 / 30,
        }
    )


def test_shares_of_another_level_are_its_own():
    found = _shares(
        heights(intact=30.0, intact_l2=40.0, fractured=22.0, fractured_l2=30.0)
        | heights(treated_l2=35.0, cycled_l2=33.0, treated=26.0, fractured_l2_2=29.0, treated_l2_2=32.0)
    )
    shares = {name: outcome.value for name, outcome in found.items()}
    assert shares == pytest.approx(
        {
            "restoration_anterior": 0.5,
            "restoration_l2_anterior": 0.5,
            "retention_l2_anterior": 3 / 5,
            "loss_l2_anterior": 2 / 40,
            "restoration_l2_2_anterior": 3 / 11,
        }
    )


def test_cycles_before_a_treatment_are_no_retention():
    found = _shares(heights(intact=30.0, fractured=22.0, cycled=20.0, treated=25.0, cycled_2=24.0))
    assert found["restoration_anterior"].value == 0.5  # of what was lost by then
    assert found["retention_anterior"].value == 0.8


def test_cycles_after_another_fracture_are_no_retention():
    found = _shares(heights(intact=30.0, fractured=22.0, treated=26.0, fractured_2=20.0, cycled=19.0))
    assert set(found) == {"restoration_anterior"}


@pytest.mark.parametrize(
    ("name", "numbered"),
    [
        ("balloon_peak_pressure_mpa", "balloon_peak_pressure_2_mpa"),
        ("cement_volume_ml", "cement_volume_2_ml"),
        ("recoil_anterior", "recoil_2_anterior"),
    ],
)
def test_a_number_goes_before_the_unit(name, numbered):
    assert _numbered(name, "_2") == numbered
    assert _numbered(name, "") == name


def test_cement_that_is_there_stays_as_it_is(walk, bench_after):
    """A second injection: new cells take it; whatever the first one left is carried to the last bit."""
    before = bench_after("cycled")
    _, ended = walk(CementStage(card="calcium-phosphate", volume_ml=1.0, shape="interdigitated"), before)
    after, new = ended.bench, ended.bench.cement_share > before.cement_share
    old = before.cement_share > 0.0
    assert old.any()
    assert not (old & new).any()
    assert ended.outcomes["cement_volume_ml"] == pytest.approx(1.0, rel=1e-9)
    assert np.array_equal(after.cement_share[old], before.cement_share[old])
    laws = after.field.laws()
    assert set(laws[new]) == {"BrittleCement"}
    assert np.array_equal(laws[~new], before.field.laws()[~new])
    (rows,) = (block for block in after.field.blocks if block.law.name == "DuctileCement")
    (known,) = (block for block in before.field.blocks if block.law.name == "DuctileCement")
    assert np.array_equal(rows.parameters, known.parameters)
    size = before.state.history.shape[2]
    miner = before.field.state_field(before.state.history, "miner_sum")[old]
    assert miner.max() > 0.0
    assert np.array_equal(after.field.state_field(after.state.history, "miner_sum")[old], miner)
    assert after.state.history.shape[2] >= size
    assert set(after.rebases[-1].cells) == set(np.flatnonzero(new))


def test_balloons_beside_old_cement_leave_it_alone(walk, bench_after):
    before = bench_after("treated")
    _, lifted = walk(ReduceStage(balloon_volume_ml=0.8, balloon_pressure_limit_mpa=1.0), before)
    assert (lifted.bench.cavity | ~before.cavity).all()
    assert np.array_equal(lifted.bench.cement_share, before.cement_share)


def test_more_cement_than_fits_is_refused_over_all_treatments(read):
    spec = read(FRACTURE, TREAT.replace("2.0", "14.0"), TREAT.replace("2.0", "14.0"))
    from kyphos.experiments.run import _check_volumes

    with pytest.raises(StudyError, match=r"'cement_2'.*28 mL"):
        _check_volumes(spec, specimen_bench(build_mesh(read_study("untreated-L1", ["mesh.element_size_mm=6"]))))
