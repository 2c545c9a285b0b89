"""The figure of stress along lines, and what the report says of the next fracture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kyphos.experiments import read_study
from kyphos.experiments.result import Result
from kyphos.experiments.store import PROFILE_COLUMNS, PROFILES
from kyphos.views.profiles import profile_chart
from kyphos.views.report import next_fracture_words
from kyphos.views.style import save

SITES = ("T12.inferior_endplate", "T12_L1", "L1.superior_endplate")


@pytest.fixture
def run(tmp_path: Path) -> Result:
    """Tables of two states, in a folder."""
    spec = read_study("segment-kyphoplasty")
    (tmp_path / PROFILES).mkdir()
    for state, size in (("fractured", 0.4), ("intact", 0.7)):
        rows = [(site, x, 30.0 * x, -size, 2.0 * size) for site in SITES for x in np.linspace(0.0, 1.0, 5)]
        pd.DataFrame(rows, columns=list(PROFILE_COLUMNS)).to_csv(tmp_path / PROFILES / f"{state}.csv", index=False)
    told = {"adjacent": {"fractured": "500 N as a follower; held"}, "stages": []}
    return Result(tmp_path, spec, {}, pd.DataFrame(), told)


def test_states_come_in_the_order_of_the_stages(run):
    assert list(dict.fromkeys(run.profiles()["stage"])) == ["intact", "fractured"]


def test_compression_is_drawn_upwards_by_site_and_state(run, tmp_path: Path):
    drawn = profile_chart(run)
    above, disc, _ = drawn.axes
    assert [axes.get_title(loc="left") for axes in drawn.axes] == [
        "T12 inferior endplate",
        "disc T12-L1",
        "L1 superior endplate",
    ]
    assert [line.get_ydata()[0] for line in disc.lines] == pytest.approx([0.7, 0.4])
    assert [line.get_ydata()[0] for line in above.lines] == pytest.approx([1.4, 0.8])
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["intact", "fractured"]
    assert save(drawn, tmp_path / "profiles.png").stat().st_size > 10_000


def test_nothing_is_drawn_without_tables(run):
    for file in (run.path / PROFILES).iterdir():
        file.unlink()
    assert profile_chart(run) is None


def test_the_report_names_the_next_fracture_or_the_nearest_candidate():
    at = {"level": "T12", "words": "T12 has lost 3.1% of its anterior height, no damage"}
    calm = {"stage": "cycle_1", "next_fractures": [], "nearest_to_fracture": at}
    words = next_fracture_words(SimpleNamespace(manifest={"stages": [calm]}))
    assert words == "No neighbour has fractured; nearest to it: T12 has lost 3.1% of its anterior height, no damage."
    broken = {"level": "T12", "words": "T12 has lost 21%", "cycle": 510, "load_n": 600.0}
    worn = {"stage": "cycle_2", "next_fractures": [broken], "nearest_to_fracture": None}
    words = next_fracture_words(SimpleNamespace(manifest={"stages": [calm, worn]}))
    assert words == "Fracture of a neighbour in stage cycle_2, after 510 cycles, under 600 N: T12 has lost 21%."
    assert next_fracture_words(SimpleNamespace(manifest={"stages": []})) == ""
