"""The validation book: verdicts, populations, a tiny real run, failures that show, files as pinned."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from kyphos.errors import ConvergenceError, StudyError
from kyphos.experiments.validation import (
    Arm,
    Individual,
    Observables,
    Population,
    Protocol,
    Resolution,
    Row,
    find_protocol,
    find_rows,
    judge,
    run_book,
    run_protocol,
    summary,
    table,
    write_book,
)
from kyphos.experiments.validation import book as book_module
from kyphos.experiments.validation.book import PINNED, Book
from kyphos.experiments.validation.derived import _crossing

NUMBER = Row("r", "calibrate", "q", "%", ("B15",), "s", "seen", published=31.0, sd=7.0, protocol="p", observable="x")
LACKING = replace(NUMBER, name="lacking", judge="none", protocol="", published=None, reason="there are no discs")
COARSE = Resolution("quick", 6.0)


def found(values, **failures):
    people = tuple(Individual(f"{i}") for i in range(len(values)))
    return Observables("p", people, {"x": np.array(values, dtype=float)}, failures)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([31.0, 33.0], "within 1 sd"),
        ([38.0], "within 1 sd"),
        ([38.1], "within 2 sd"),
        ([17.0], "within 2 sd"),
        ([16.9], "outside"),
        ([nan, nan, 31.0], "not converged"),
        ([nan, 31.0, 31.0], "within 1 sd"),
        ([inf], "outside"),
    ],
)
def test_verdict_by_standard_deviations(values, verdict):
    assert judge(NUMBER, found(values)).verdict == verdict


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (-50.0, "within factor 1.5"),
        (-74.9, "within factor 1.5"),
        (-75.1, "outside"),
        (-33.4, "within factor 1.5"),
        (-33.2, "outside"),
        (50.0, "outside"),
        (0.0, "outside"),
    ],
)
def test_verdict_by_factor_where_no_sd_is_known(ours, verdict):
    row = replace(NUMBER, published=-50.0, sd=None)
    finding = judge(row, found([ours]))
    assert finding.verdict == verdict
    assert finding.z is None
    assert finding.factor == pytest.approx(ours / -50.0)


@pytest.mark.parametrize(("share", "verdict"), [([1, 1, 1, 0], "reproduced"), ([1, 0, 1, 0], "not reproduced")])
def test_verdict_of_a_ranking(share, verdict):
    row = replace(NUMBER, judge="order", claim="a < b", published=None, sd=None)
    assert judge(row, found(share)).verdict == verdict


@pytest.mark.parametrize(
    ("use", "ours", "verdict"),
    [
        ("check", 40.0, "within range"),
        ("check", 69.0, "outside"),
        ("seed", 40.0, "reproduced"),
        ("seed", 1.0, "not reproduced"),
    ],
)
def test_verdict_of_a_band(use, ours, verdict):
    row = replace(NUMBER, use=use, judge="band", low=38.0, high=68.0)
    assert judge(row, found([ours])).verdict == verdict


def test_what_the_model_lacks_is_not_assessable():
    finding = judge(LACKING, None)
    assert (finding.verdict, finding.ours) == ("not assessable", None)
    assert "discs" in finding.message


def test_scatter_and_median_are_statistics_too():
    assert judge(replace(NUMBER, statistic="median"), found([1.0, 2.0, 9.0])).ours == 2.0
    assert judge(replace(NUMBER, statistic="sd"), found([1.0, 3.0])).ours == pytest.approx(2.0**0.5)


def test_one_number_of_a_group_counts_the_group():
    group = replace(found([1.0, 2.0, 3.0]), values={"x": np.array(31.0)})
    finding = judge(NUMBER, group)
    assert (finding.count, finding.ours, finding.ours_sd) == (3, 31.0, None)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_small_population_has_the_mean_and_spread_of_the_large_one(count):
    people = Population(80.0, 20.0, "assumed: a test", (1.0, 300.0)).draw(count)
    density = np.array([one.vbmd_mg_per_cc for one in people])
    assert density.mean() == pytest.approx(80.0, abs=0.1)
    assert density.std(ddof=1) == pytest.approx(20.0, abs=0.1)
    assert len({one.seed for one in people}) == count
    assert people == Population(80.0, 20.0, "assumed: a test", (1.0, 300.0)).draw(count)


def test_densities_stay_in_their_range_and_levels_take_turns():
    people = Population(80.0, 60.0, "assumed: a test", (50.0, 120.0), levels=("L1", "L3")).draw(5)
    assert all(50.0 <= one.vbmd_mg_per_cc <= 120.0 for one in people)
    assert [one.level for one in people] == ["L1", "L3", "L1", "L3", "L1"]
    with pytest.raises(StudyError, match="at least 1"):
        Population(80.0, 1.0, "assumed: a test").draw(0)


@pytest.mark.parametrize(
    ("ratios", "volume"),
    [([0.5, 0.9, 1.1, 2.0, 3.0], 1.5), ([1.2, 1, 1, 1, 1], 0.0), ([0.1, 0.2, 0.3, 0.4, 0.5], inf)],
)
def test_cement_that_restores_is_interpolated(ratios, volume):
    assert _crossing(np.array([0.0, 1.0, 2.0, 4.0, 7.0]), np.array(ratios)) == pytest.approx(volume)


def test_unknown_ratios_give_no_volume():
    assert np.isnan(_crossing(np.array([0.0, 1.0]), np.array([0.5, nan])))


# --- runs ----------------------------------------------------------------------------------------------------------


def observe_strength(result):
    return {"strength_n": float(result.outcomes["strength_intact_n"])}


def tiny_protocol(*arms):
    return Protocol("tiny", "a test", Population(80.0, 20.0, "assumed: a test"), arms, quick=2, full=2)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("specimens")


STRENGTH = Arm("", "strength", observe_strength, ("stage.0.strength_strain=0.01",))
STRONG = tiny_protocol(STRENGTH)


def test_a_protocol_runs_on_its_population(kept):
    told = []
    ours = run_protocol(STRONG, resolution=COARSE, folder=kept, tell=told.append)
    strength = ours.values["strength_n"]
    assert len(told) == 2
    assert not ours.failures
    by_density = strength[np.argsort([one.vbmd_mg_per_cc for one in ours.individuals])]
    assert 500.0 < by_density[0] < by_density[1] < 8000.0
    assert json.loads((kept / "tiny" / "01" / "run" / "manifest.json").read_text())["status"] == "done"


def test_finished_specimens_are_not_run_again(kept):
    first = run_protocol(STRONG, resolution=COARSE, folder=kept)
    written = (kept / "tiny" / "01" / "run" / "found.json").stat().st_mtime_ns
    again = run_protocol(STRONG, resolution=COARSE, folder=kept)
    assert (kept / "tiny" / "01" / "run" / "found.json").stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.values["strength_n"], again.values["strength_n"])


def test_constants_of_a_card_can_be_set_for_a_protocol(tmp_path):
    nominal = (Individual("nominal", vbmd_mg_per_cc=80.0),)
    strengths = [
        run_protocol(STRONG, nominal, COARSE, constants=constants, folder=tmp_path).values["strength_n"]
        for constants in ({}, {"trabecular": {"yield_coefficient_mpa": 30.0}})
    ]
    assert strengths[1] < 0.95 * strengths[0]


def test_two_processes_find_what_one_finds():
    people = find_protocol("yield").population.draw(4)
    alone, together = (run_protocol("yield", people, COARSE, workers=workers) for workers in (1, 2))
    assert alone.individuals == together.individuals == people
    for name, values in alone.values.items():
        np.testing.assert_array_equal(values, together.values[name])


def fails(individual, element_size_mm):
    raise ConvergenceError(f"specimen {individual.name} gave way")


def works(individual, element_size_mm):
    return {"x": 31.0}


def test_a_protocol_that_fails_shows_as_not_converged(tmp_path, monkeypatch):
    protocol = tiny_protocol(
        Arm("bad", compute=fails), Arm("good", compute=works), Arm("late", compute=works, needs="bad")
    )
    ours = run_protocol(protocol, resolution=COARSE, folder=tmp_path)
    assert set(ours.failures) == {"01 bad", "01 late", "02 bad", "02 late"}
    np.testing.assert_array_equal(ours.values["good.x"], [31.0, 31.0])
    monkeypatch.setitem(book_module.PROTOCOLS, "tiny", protocol)
    rows = [replace(NUMBER, name=name, protocol="tiny", observable=f"{name}.x") for name in ("bad", "good", "late")]
    book = run_book(rows, COARSE, tmp_path, workers=1)
    assert [finding.verdict for finding in book.findings] == ["not converged", "within 1 sd", "not converged"]
    text = table(book.findings)
    assert "specimen 01 gave way" in text
    assert "calibrate: 3 rows: 2 not converged, 1 within 1 sd" in summary(book.findings)


def test_the_files_have_the_pinned_form(tmp_path):
    rows = (*find_rows("kim-2011"), *find_rows("yield"), LACKING)
    book = run_book(rows, COARSE, tmp_path / "specimens", workers=1)
    short, long = write_book(tmp_path, book)
    written = json.loads(short.read_text(encoding="utf-8"))
    assert [tuple(row) for row in written] == [PINNED] * len(rows)
    assert PINNED == ("name", "use", "published", "unit", "ours", "verdict", "source", "flag")
    by_name = {row["name"]: row for row in written}
    assert by_name["kim-creep"]["published"] == 3877.0
    assert 1000.0 < by_name["kim-creep"]["ours"] < 10_000.0
    assert by_name["lacking"]["ours"] is None
    assert by_name["lacking"]["verdict"] == "not assessable"
    about = json.loads(long.read_text(encoding="utf-8"))["about"]
    assert {"command", "date", "versions", "commit", "resolution", "wall_s"} <= about.keys()


def test_numbers_that_are_none_can_be_written(tmp_path):
    finding = judge(NUMBER, found([inf]))
    write_book(tmp_path, Book((finding,), {"p": found([inf])}, {}))
    (row,) = json.loads((tmp_path / "validation.json").read_text())
    assert (row["ours"], row["verdict"]) == (None, "outside")
