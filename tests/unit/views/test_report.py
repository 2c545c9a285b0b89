"""The report: self-contained, complete, escaped, honest about what it is."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from kyphos.errors import DataError
from kyphos.views import make_pictures, read_run, write_report


@pytest.fixture(scope="module")
def page(run_dir):
    return write_report(run_dir).read_text(encoding="utf-8")


class Balance(HTMLParser):
    """Counts tags that were opened and not closed."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_is_well_formed(page):
    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_it_needs_nothing_from_outside(page):
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_it_draws_the_pictures_that_are_missing(run_dir, tmp_path):
    copied = shutil.copytree(run_dir, tmp_path / "copy", ignore=shutil.ignore_patterns("pictures"))
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"fields": manifest["fields"][:1]}))
    page = write_report(copied).read_text(encoding="utf-8")
    assert page.count("<img") == len(make_pictures(copied))


def test_it_shows_every_outcome_with_its_unit(page, run_dir):
    text = re.sub(r"<[^>]+>", " ", page)
    for name, found in read_run(run_dir).outcomes.items():
        value = f"{found.value:.0f}" if found.value > 1e4 else f"{found.value:.4g}"
        assert value in text, name
    assert "N/mm" in text
    assert "height [mm]" in text


def test_it_shows_stages_study_boundary_conditions_and_versions(page, run_dir):
    run = read_run(run_dir)
    for stage in run.spec.stage:
        assert f"<td>{stage.name}</td><td>{stage.kind}</td>" in page
    assert "two rigid pots" in page
    assert "name = &quot;kyphoplasty-pmma-L1&quot;" in page
    assert all(number in page for number in run.manifest["versions"].values())


def test_it_says_that_it_is_not_for_clinical_decisions(page):
    assert "not for clinical decisions" in page


def test_what_the_user_wrote_is_escaped(run_dir, tmp_path):
    copied = shutil.copytree(run_dir, tmp_path / "copy")
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"message": "<b>broke</b>"}))
    page = write_report(copied).read_text(encoding="utf-8")
    assert "&lt;b&gt;broke&lt;/b&gt;" in page
    assert "<b>broke" not in page


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json"):
        write_report(tmp_path)
