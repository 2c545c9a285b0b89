"""The validation book's rows: well formed, tied to the evidence, and answered by observables that exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kyphos.errors import DataError
from kyphos.experiments import read_study
from kyphos.experiments.validation import PROTOCOLS, find_rows, read_evidence, read_rows
from kyphos.experiments.validation.evidence import _FILE
from kyphos.experiments.validation.rows import parse_row

GOOD = {
    "name": "x",
    "use": "check",
    "quantity": "q",
    "unit": "%",
    "evidence": ["B15"],
    "protocol": "wegrzyn-2011",
    "observable": "recoil_percent",
}


def test_the_packages_evidence_is_that_of_the_docs():
    docs = Path(__file__).resolve().parents[3] / "docs" / "evidence.csv"
    assert docs.read_bytes() == _FILE.read_bytes(), "run: python tools/make_docs.py"


def test_the_book_holds_all_uses_and_enough_rows():
    rows = read_rows()
    assert len(rows) >= 40
    runnable = [row for row in rows if row.judge != "none"]
    assert len(runnable) >= 16
    assert {row.use for row in rows} == {"calibrate", "check", "seed"}


@pytest.mark.parametrize("row", read_rows(), ids=lambda row: row.name)
def test_every_row_is_tied_to_evidence_and_protocol(row):
    evidence = read_evidence()[row.evidence[0]]
    assert row.flag in ("assumed", evidence.flag)
    assert row.source
    if row.judge == "none":
        assert row.reason
    else:
        assert row.protocol in PROTOCOLS


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_every_protocol_can_be_set_up(protocol):
    names = [arm.name for arm in protocol.arms]
    assert len(set(names)) == len(names)
    for arm in protocol.arms:
        assert bool(arm.study) != bool(arm.compute)
        assert not arm.needs or arm.needs in names
        if arm.study:
            assert read_study(arm.study, arm.settings).body_stages
    assert any(row.protocol == protocol.name for row in read_rows())
    assert 1 <= protocol.quick <= protocol.full


def test_numbers_come_from_the_evidence():
    row = parse_row(GOOD)
    assert (row.published, row.sd, row.flag) == (31.0, 7.0, "seen")
    assert row.source == "B15 Wegrzyn 2011 JBMR, PMC3179325"


@pytest.mark.parametrize(("part", "expected"), [(0, -15.4), (4, 13.7)])
def test_one_of_several_numbers_is_taken(part, expected):
    assert parse_row({**GOOD, "evidence": ["C31"], "part": part}).published == expected


@pytest.mark.parametrize(
    ("derived", "over"), [("luo-effect-anterior", ("A03", "A01")), ("luo-effect-central", ("A04", "A02"))]
)
def test_derived_ratios_follow_from_their_evidence(derived, over):
    (row,) = find_rows(derived)
    top, bottom = (read_evidence()[id].number() for id in over)
    assert row.published == pytest.approx(top / bottom, rel=1e-3)


@pytest.mark.parametrize("pooled", ["luo-stiffness", "luo-bending"])
def test_two_series_are_pooled_by_their_numbers_of_specimens(pooled):
    (row,) = find_rows(pooled)
    changes = [read_evidence()[id].number() for id in row.evidence]
    counts = [int(read_evidence()[id].condition.split()[0]) for id in ("C05", "C33")]  # C06 and C34 are of the same
    assert row.published == pytest.approx(np.average(changes, weights=counts), abs=0.05)


@pytest.mark.parametrize(("name", "load"), [("haddock-life-low", 0.0026), ("haddock-life-middle", 0.0043)])
def test_lives_follow_from_the_published_regression(name, load):
    (row,) = find_rows(name)
    coefficient, exponent = read_evidence()["E18"].number(), -8.54
    assert row.published == pytest.approx(coefficient * load**exponent, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"evidence": ["Z99"]}, "no evidence 'Z99'"),
        ({"use": "fit"}, "allowed: calibrate, check, seed"),
        ({"unit": ""}, "'unit' is missing"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"protocol": ""}, "names no protocol"),
        ({"judge": "band"}, "needs 'low'"),
        ({"judge": "none"}, "needs its reason"),
        ({"evidence": ["C15"]}, "has no number"),
        ({"evidence": ["E12"], "flag": "seen"}, "is 'assumed'"),
    ],
)
def test_a_malformed_row_is_refused(change, told):
    with pytest.raises(DataError, match=told):
        parse_row({**GOOD, **change})


def test_rows_are_found_by_name_and_by_protocol():
    assert [row.name for row in find_rows("wegrzyn-recoil")] == ["wegrzyn-recoil"]
    assert len(find_rows("wegrzyn-2011")) == 3
    with pytest.raises(DataError, match="did you mean 'wegrzyn-recoil'"):
        find_rows("wegrzyn-recoi")
