"""The pages in ``docs`` agree with the code: keys, constants, evidence, columns, links and examples."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from kyphos.experiments import HISTORY_COLUMNS, read_study
from kyphos.experiments.arms import read_arms
from kyphos.experiments.outcomes import SUMMED
from kyphos.experiments.plan import KINDS
from kyphos.experiments.spec import StudySpec
from kyphos.materials import list_cards, load_card

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HINT = "run: python tools/make_docs.py"
LATER = {"results.md"}  # written from finished runs

_file = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
assert _file is not None
assert _file.loader is not None
make_docs = importlib.util.module_from_spec(_file)
_file.loader.exec_module(make_docs)


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", make_docs.PAGES)
def test_made_parts_are_up_to_date(name):
    assert make_docs.render(page(name)) == page(name), HINT


def test_a_stale_page_is_noticed():
    stale = page("study-file.md").replace("`anterior_height_loss` | – | `0.25`", "`anterior_height_loss` | – | `0.3`")
    assert stale != page("study-file.md")
    assert make_docs.render(stale) == page("study-file.md")


def test_an_unknown_part_is_refused():
    with pytest.raises(KeyError, match="nonsense"):
        make_docs.render("<!-- made: nonsense -->\n<!-- /made -->")


def test_every_part_is_on_a_page():
    text = "".join(page(name) for name in make_docs.PAGES)
    assert [part for part in make_docs.made_parts() if f"<!-- made: {part} -->" not in text] == []


def test_every_table_and_stage_of_the_study_is_told():
    tables = {name.partition(".")[0] for name in make_docs.TABLES}
    values = {"name", "description", "stage", "materials"}
    assert tables | values == set(StudySpec.model_fields)
    assert {f"stage.{kind}" for kind in KINDS} <= set(make_docs.made_parts())


def test_history_columns_and_fields_are_told():
    missing = [column for column in HISTORY_COLUMNS if f"`{column}`" not in page("study-file.md")]
    assert missing == []


def test_outcomes_are_defined():
    text = "".join((ROOT / "experiments" / f"{name}.py").read_text("utf-8") for name in ("stages", "balloon"))
    found = set(re.findall(r'"([a-z_]+_(?:mpa|ml|j|s|mm|n))"', text))
    assert "cavity_volume_ml" in found
    found |= set(re.findall(r'"(cement_[a-z_0-9]+)"', (ROOT / "experiments/wear.py").read_text("utf-8")))
    found |= {"bone_damage_STAGE_ml", "retention_at_N_PLACE", "loss_at_N_PLACE"}
    names = {
        *SUMMED,
        "balloon_energy_error",
        "deflation_energy_error",
        "cavity_collapse",
        "mobility",
        *found,
        "restoration",
        "deflation_loss",
        "retention",
        "loss",
        "recoil",
        "wall_s",
    }
    told = page("physics.md")
    # strength_n and stiffness_n_per_mm carry the stage's name
    names -= {"strength_n", "segment_strength_n", "stiffness_n_per_mm", "steepest_n_per_mm"}
    names |= {"strength_STAGE_n", "segment_strength_STAGE_n", "stiffness_STAGE_n_per_mm", "steepest_STAGE_n_per_mm"}
    assert sorted(name for name in names if f"`{name}`" not in told) == []


def test_evidence_that_cards_and_pages_cite_exists():
    sources = " ".join(c.source for name in list_cards() for c in load_card(name).constants.values())
    cited = set(make_docs.cited(sources + page("physics.md") + page("materials.md")))
    assert "E01" in cited
    assert cited - set(make_docs.evidence()) == set()


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if link not in LATER and not (path.parent / link).exists()] == []


def test_every_page_is_in_the_index():
    index = page("README.md")
    pages = [path.name for path in DOCS.iterdir() if path.suffix in (".md", ".csv") and path.name != "README.md"]
    assert [name for name in pages if f"]({name})" not in index] == []


def test_the_example_study_is_good(tmp_path):
    example, constants, stage, events, arms = re.findall(r"```toml\n(.*?)```", page("study-file.md"), re.DOTALL)
    (tmp_path / "example.toml").write_text(example, encoding="utf-8")
    spec = read_study(tmp_path / "example.toml")
    assert [stage.name for stage in spec.stage][-3:] == ["cycle_1", "cycle_2", "cycled"]
    (tmp_path / "constants.toml").write_text(constants, encoding="utf-8")
    assert set(read_study(tmp_path / "constants.toml").constants) == {"trabecular", "pmma"}
    (tmp_path / "stage.toml").write_text(stage, encoding="utf-8")
    assert [stage.name for stage in read_study(tmp_path / "stage.toml").stage] == ["creep_before"]
    (tmp_path / "events.toml").write_text(events, encoding="utf-8")
    assert [stage.name for stage in read_study(tmp_path / "events.toml").stage][-2:] == ["cycle_4", "cycled_2"]
    (tmp_path / "arms.toml").write_text(arms, encoding="utf-8")
    assert [arm.name for arm in read_arms(tmp_path / "arms.toml").arms] == ["untreated", "soft", "stiff"]
