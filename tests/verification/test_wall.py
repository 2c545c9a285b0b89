"""The page and the checks agree, and the wall itself can fail."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import wall as the_wall

HERE = Path(__file__).parent
ROW = the_wall.Row("Creep", "a check", "error", 0.011, 0.02, "", "a paper", "a reason", "test_x::test_y")


def test_the_page_tells_forty_checks_and_more():
    names = {(row.group, row.name) for row in the_wall.read() if row.kind != "contrast"}
    assert len(names) >= 40
    assert {group for group, _ in names} == set(the_wall.GROUPS)


def test_every_line_of_the_page_has_its_test():
    for row in the_wall.read():
        module, _, test = row.test.partition("::")
        assert f"def {test.partition('[')[0]}(wall" in (HERE / f"{module}.py").read_text(encoding="utf-8"), row.name


def test_every_declaring_test_is_on_the_page():
    told = {row.test.partition("[")[0] for row in the_wall.read()}
    for path in HERE.glob("test_*.py"):
        for test in re.findall(r"def (test_\w+)\(wall\b", path.read_text(encoding="utf-8")):
            assert f"{path.stem}::{test}" in told, the_wall.HINT


def test_cases_of_one_check_allow_the_same():
    seen: dict[tuple[str, str], tuple[object, ...]] = {}
    for row in the_wall.read():
        told = (row.kind, row.bound, row.unit, row.source, row.because)
        assert seen.setdefault((row.group, row.name), told) == told


def test_every_line_keeps_its_bound_and_says_why():
    for row in the_wall.read():
        assert row.holds, row.name
        assert row.source, row.name
        assert len(row.because) > 7, row.name


@pytest.mark.parametrize(
    "change", [{"value": 0.012}, {"bound": 0.03}, {"source": "another"}, {"because": "no reason"}, {"unit": "mm"}]
)
def test_a_page_that_says_otherwise_is_noticed(change):
    assert the_wall.disagreements([ROW], [ROW]) == []
    assert the_wall.disagreements([ROW], [replace(ROW, **change)]) == ["a check"]


def test_lines_too_many_or_too_few_are_noticed():
    other = replace(ROW, name="another")
    assert the_wall.disagreements([ROW, other], [ROW]) == ["another"]
    assert the_wall.disagreements([ROW], [ROW, other]) == ["another"]


def test_a_number_within_rounding_of_the_page_is_no_other():
    assert the_wall.disagreements([replace(ROW, value=0.0113)], [ROW]) == []
    tiny = replace(ROW, value=3e-15, bound=1e-8)
    assert the_wall.disagreements([replace(tiny, value=1e-13)], [tiny]) == []


@pytest.mark.parametrize("error", [0.03, -0.03, float("nan"), float("inf")])
def test_an_error_beyond_its_tolerance_fails(error):
    with pytest.raises(AssertionError, match="a check"):
        the_wall.Wall("Creep", "t").error("a check", error, 0.02, source="x", because="y")


def test_an_order_below_and_a_contrast_that_holds_fail():
    wall = the_wall.Wall("Creep", "t")
    with pytest.raises(AssertionError, match="order"):
        wall.order("an order", 1.9, 1.95, source="x", because="y")
    with pytest.raises(AssertionError, match="contrast"):
        wall.contrast("a contrast", 0.01, 0.1, because="y")
    assert [row.name for row in wall.rows] == ["an order", "a contrast"]
