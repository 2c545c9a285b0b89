"""Neighbours of the arms of a comparison, side by side, from outcomes alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kyphos.experiments import read_study
from kyphos.experiments.comparison import Arm, Comparison, as_json, felt_words
from kyphos.experiments.store import Outcome
from kyphos.views.compared_neighbours import changes_chart, felt_chart, felt_summary
from kyphos.views.neighbours import adjacent_tissues
from kyphos.views.style import save

WORDS = "500 N on a follower; hinged above"
STATES = {"untreated": ("intact", "fractured", "cycled"), "pmma": ("intact", "fractured", "treated", "cycled")}


def arm(name: str, shift: float, study: str = "segment-kyphoplasty") -> Arm:
    """An arm with a height and a value for every tissue in each of its states; after the fracture ``shift`` more."""
    run = SimpleNamespace(spec=read_study(study), outcomes={}, manifest={"adjacent": {}}, status="done")
    tissues = adjacent_tissues(run)
    for column, state in enumerate(STATES[name]):
        run.outcomes[f"height_{state}_anterior_mm"] = Outcome(20.0 - column, "mm")
        for row, tissue in enumerate(tissues.values() if len(run.spec.specimen.levels) > 1 else ()):
            value = 1.0 + row + 0.1 * column + (shift if column > 1 else 0.0)
            run.outcomes[f"{tissue}_{state}_mpa"] = Outcome(value, "MPa")
            if column:
                base = 1.0 + row + (0.1 if column > 1 else 0.0)
                run.outcomes[f"{tissue}_{state}_change"] = Outcome(value / base - 1.0, "1")
                run.outcomes[f"{tissue}_change"] = run.outcomes[f"{tissue}_{state}_change"]
            run.manifest["adjacent"][state] = WORDS
    made = Arm(name, run)
    made.__dict__["values"] = run.outcomes  # as a run without cycles to look at
    return made


@pytest.fixture
def comparison() -> Comparison:
    return Comparison("two", "", (arm("untreated", 0.0), arm("pmma", 1.0)), {})


def test_what_faces_the_treated_level_is_drawn_on_one_scale_for_each_kind(comparison, tmp_path):
    chart = felt_chart(comparison)
    assert chart is not None
    titles = [axes.get_title(loc="left") for axes in chart.axes]
    assert titles == ["T12 inferior endplate", "L2 superior endplate", "disc T12-L1", "disc L1-L2"]
    plates, discs = ({axes.get_ylim() for axes in part} for part in (chart.axes[:2], chart.axes[2:]))
    assert len(plates) == len(discs) == 1
    assert next(iter(plates))[0] == 0.0
    untreated, pmma = chart.axes[0].lines
    assert [label.get_text() for label in chart.axes[0].get_xticklabels()] == [
        *("intact", "fractured", "treated", "cycled")
    ]
    assert untreated.get_xdata().tolist() == [0, 1, 3]
    assert pmma.get_ydata().tolist() == pytest.approx([2.0, 2.1, 3.2, 3.3])
    assert save(chart, tmp_path / "felt.png").stat().st_size > 10_000


def test_changes_are_a_map_with_values_and_the_boundary_condition(comparison, tmp_path):
    chart = changes_chart(comparison)
    assert chart is not None
    fractured, treated, cycled = chart.axes[:3]
    heads = [[label.get_text() for label in axes.get_xticklabels()] for axes in (fractured, treated, cycled)]
    assert heads == [["all arms"], ["pmma"], ["untreated", "pmma"]]
    assert [text.get_text() for text in cycled.texts][:2] == ["+9%\n1.20", "+109%\n2.30"]
    assert [text.get_text() for text in fractured.get_yticklabels()] == list(
        adjacent_tissues(comparison.arms[0].result)
    )
    limits = {image.get_clim() for axes in (fractured, treated, cycled) for image in axes.images}
    assert len(limits) == 1
    assert WORDS in chart.get_supxlabel().replace("\n", " ")
    assert save(chart, tmp_path / "changes.png").stat().st_size > 10_000


def test_the_table_says_how_the_segment_was_held(comparison):
    assert felt_words(comparison) == [f"Neighbours and discs are looked at under {WORDS}."]
    assert as_json(comparison)["adjacent"] == {WORDS: ""}
    assert {"adjacent_T12_inferior_endplate_von_mises_p99_cycled_change", "disc_L1_L2_pressure_treated_mpa"} <= set(
        comparison.quantities
    )
    comparison.arms[1].result.manifest["adjacent"]["cycled"] = "300 N"
    told = felt_words(Comparison("two", "", comparison.arms, {}))
    assert told[0].endswith("(untreated, pmma; intact, fractured, cycled, treated).")
    assert told[1] == "Neighbours and discs are looked at under 300 N (pmma; cycled)."


def test_the_summary_names_every_neighbour_and_disc(comparison):
    assert list(felt_summary(comparison).values()) == [
        "pressure in the disc T12-L1, change",
        "pressure in the disc L1-L2, change",
    ]
    name = "adjacent_T12_endplate_von_mises_p99_change"
    comparison.arms[1].values[name] = Outcome(0.1, "1")
    assert felt_summary(Comparison("two", "", comparison.arms, {}))[name] == "stress in T12's endplates, change"


def test_vertebrae_alone_have_no_neighbours():
    alone = Comparison("two", "", (arm("untreated", 0.0, "untreated-L1"), arm("pmma", 1.0, "untreated-L1")), {})
    assert felt_chart(alone) is None
    assert changes_chart(alone) is None
    assert felt_words(alone) == []
    assert felt_summary(alone) == {}
