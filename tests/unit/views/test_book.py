"""Pictures of the validation book, from a made one."""

from __future__ import annotations

import json

import pytest
from matplotlib.image import imread

from kyphos.errors import DataError
from kyphos.views.book import draw_book

ROW = {
    "name": "r",
    "protocol": "luo-2016",
    "observable": "x",
    "judge": "number",
    "unit": "%",
    "published": 31.0,
    "sd": 7.0,
    "low": None,
    "high": None,
    "claim": "",
    "ours": 40.0,
    "ours_sd": 2.0,
    "verdict": "within 2 sd",
}


@pytest.fixture
def book(tmp_path):
    """Return a function that writes a book of some rows and protocols, and its path."""

    def write(rows, protocols):
        path = tmp_path / "book.json"
        path.write_text(json.dumps({"rows": rows, "protocols": protocols}))
        return path

    return write


def test_every_protocol_with_rows_gets_a_picture(book):
    curve = [[1.0, 10.0], [60.0, 30.0], [3600.0, 50.0]]
    path = book(
        [
            ROW,
            {
                **ROW,
                "name": "band",
                "judge": "band",
                "published": None,
                "sd": None,
                "low": 1.0,
                "high": 2.0,
                "ours": None,
            },
            {**ROW, "name": "order", "judge": "order", "published": "a < b", "claim": "a < b", "ours": 1.0},
            {**ROW, "name": "other", "protocol": "other"},
        ],
        {
            "luo-2016": {"values": {"x": [38.0, None, 42.0]}, "curves": {"intact": [curve], "fractured": [curve]}},
            "other": {"values": {}, "curves": {}},
            "unused": {"values": {}, "curves": {}},
        },
    )
    drawn = draw_book(path)
    assert [picture.name for picture in drawn] == ["luo-2016.png", "other.png"]
    for picture in drawn:
        assert imread(picture)[..., :3].std() > 0.02, "not blank"


def test_a_file_that_is_no_book_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a validation book"):
        draw_book(tmp_path / "none.json")
