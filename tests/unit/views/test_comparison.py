"""Charts, pictures and page of a comparison, from two runs with known numbers."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from kyphos.experiments.comparison import compare
from kyphos.views.comparison import BARS, CAPTIONS, SHEET, cycles_chart, draw_comparison, heights_chart


@pytest.fixture(scope="module")
def drawn(run_dir, tmp_path_factory):
    """A run beside a copy of it that is 1 mm lower in the end and has another name, drawn together."""
    folder = tmp_path_factory.mktemp("compared")
    other = folder / "other"
    shutil.copytree(run_dir, other)
    case = (other / "case.toml").read_text()
    (other / "case.toml").write_text(re.sub(r"^name = .*$", 'name = "other"', case, count=1, flags=re.MULTILINE))
    told = json.loads((other / "outcomes.json").read_text())
    told["height_cycled_anterior_mm"]["value"] -= 1.0
    (other / "outcomes.json").write_text(json.dumps(told))
    comparison = compare([run_dir, other])
    return comparison, draw_comparison(comparison, folder / "made")


def test_one_camera_and_one_scale_for_all(drawn):
    _, paths = drawn
    assert SHEET in [path.name for path in paths]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_page_stands_alone(drawn):
    comparison, paths = drawn
    page = paths[-1].read_text(encoding="utf-8")
    assert paths[-1].name == "report.html"
    assert page.count("data:image/png;base64,") == len(paths) - 1
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "not for clinical decisions" in page
    for arm in comparison.arms:
        assert arm.name in page
    assert "$" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)
    lowest = min(arm.values["height_cycled_anterior_mm"].value for arm in comparison.arms)
    assert f"{lowest:.6g}" in page


def test_heights_share_one_scale(drawn):
    comparison, _ = drawn
    chart = heights_chart(comparison)
    assert chart is not None
    assert len({axes.get_ylim() for axes in chart.axes}) == 1
    ends = [line.get_ydata()[-1] for line in chart.axes[0].lines]
    assert ends[0] - ends[1] == pytest.approx(1.0)


def test_what_no_arm_has_is_left_out(drawn):
    comparison, paths = drawn
    names = {path.name for path in paths}
    assert ("cycles.png" in names) == (cycles_chart(comparison) is not None)
    assert names <= {*CAPTIONS, SHEET, "report.html"}
    assert set(BARS) <= set(CAPTIONS)
