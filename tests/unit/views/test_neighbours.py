"""The map of what neighbours feel, from outcomes alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from kyphos.experiments import read_study
from kyphos.experiments.store import Outcome
from kyphos.views.neighbours import adjacent_chart, adjacent_states, adjacent_tissues
from kyphos.views.scene import disc_ids
from kyphos.views.style import save

STATES = ("intact", "fractured", "treated")


@pytest.fixture
def run():
    """A run with values for every tissue and state."""
    run = SimpleNamespace(spec=read_study("segment-kyphoplasty"), outcomes={}, manifest={"adjacent": {}})
    for row, name in enumerate(adjacent_tissues(run).values()):
        for column, state in enumerate(STATES):
            run.outcomes[f"{name}_{state}_mpa"] = Outcome(1.0 + row + 0.1 * column, "MPa")
            if column:
                run.outcomes[f"{name}_{state}_change"] = Outcome(0.1 * column / (1.0 + row), "1")
    run.manifest["adjacent"]["treated"] = "500 N on a line; held somehow"
    return run


def test_tissues_run_from_the_top_down_and_leave_out_the_treated_body(run):
    assert list(adjacent_tissues(run)) == [
        "T12 superior endplate",
        "T12 inferior endplate",
        "disc T12-L1",
        "disc L1-L2",
        "L2 superior endplate",
        "L2 inferior endplate",
    ]
    assert adjacent_states(run) == list(STATES)


def test_the_map_shows_every_value_its_change_and_the_boundary_condition(run, tmp_path: Path):
    drawn = adjacent_chart(run)
    left, right = drawn.axes[:2]
    assert [text.get_text() for text in left.texts][:4] == ["1.00", "1.10", "1.20", "2.00"]
    assert [text.get_text() for text in right.texts][:3] == ["+10%", "+20%", "+5%"]
    assert drawn.get_supxlabel() == "500 N on a line; held somehow."
    assert save(drawn, tmp_path / "map.png").stat().st_size > 10_000


def test_nothing_is_drawn_without_two_states(run):
    run.outcomes = {name: one for name, one in run.outcomes.items() if "_intact_" in name}
    assert adjacent_chart(run) is None


def test_a_vertebra_alone_has_no_map():
    spec = read_study("kyphoplasty-pmma-L1")
    assert adjacent_chart(SimpleNamespace(spec=spec, outcomes={}, manifest={})) is None


def test_discs_are_told_from_bone_and_pots():
    names = ("L1.trabecular", "T12_L1.nucleus", "L1.superior_endplate", "superior_pot", "T12_L1.annulus_1")
    assert disc_ids(names) == [1, 4]
