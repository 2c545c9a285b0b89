"""Decks as others write them: comments, continuation, GENERATE, case, INCLUDE, exponents of D, sets within sets."""

from __future__ import annotations

import numpy as np
import pytest
from deck_text import ELASTIC, box, grid, mesh_text, section, sides, step

from kyphos.errors import DeckError
from kyphos.experiments.decks import read_deck
from kyphos.experiments.decks.lexer import Block, Place, Segment, read_blocks

STYLE = """** written by a preprocessor
**
*heading
A cube,  of one element
second line
*Node ,  nset = All Nodes
       1,  0.,  0.0D0, 0
       2,  1.0d+00, 0., 0.,
** a comment between data lines
       3,  1,1e0,.0

       4,  0,1
5,0,0,1.E0
      6,1,  0,1
7, 1.,1.,1.
8, 0, 10.D-1, +1
*ELEMENT, TYPE = c3d8,
   ELSET = Cube
 11,  1, 2, 3, 4,
      5, 6, 7, 8
*nset, NSET=Bottom, GENERATE
1, 4
*Nset, nset=top
5, 6,
7
*NSET, NSET=TOP
8, 7
*nset, nset=both
Bottom, TOP, 3
*elset, elset=copy
cube
*material, name="Soft stuff"
*ELASTIC, TYPE=ISOTROPIC
1.0D3, 3.D-1
*Solid Section, elset=COPY, material="SOFT STUFF"
1.,
*boundary
BOTTOM, 3
1, 1, 2
2, 2
*STEP, INC=10
loading
*static
1.0, 1.0, 1.D-5, 1.0
*boundary
Top, 3, 3, 1.D-2
*node file, output=3d
u
*el print, elset=cube, frequency=1
s
*output, field, variable=preselect
*end step
"""


@pytest.fixture
def read(tmp_path):
    def reading(text: str, **more: str):
        for name, content in more.items():
            (tmp_path / f"{name}.inc").write_text(content)
        (tmp_path / "deck.inp").write_text(text)
        return read_deck(tmp_path / "deck.inp")

    return reading


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_deck_in_the_style_of_others(read, newline):
    deck = read(STYLE.replace("\n", newline))
    assert deck.heading == "A cube,of  one element".replace("of  ", "of ") + "\nsecond line"
    np.testing.assert_array_equal(deck.points_mm, grid("C3D8")[0][[0, 4, 6, 2, 1, 5, 7, 3]])
    assert {name: deck.node_ids[ids].tolist() for name, ids in deck.node_sets.items()} == {
        "All Nodes": [1, 2, 3, 4, 5, 6, 7, 8],
        "Bottom": [1, 2, 3, 4],
        "top": [5, 6, 7, 8],
        "both": [1, 2, 3, 4, 5, 6, 7, 8],
    }
    assert deck.element_ids.tolist() == [11]
    assert list(deck.element_sets) == ["Cube", "copy"]
    assert deck.materials["SOFT STUFF"].elastic == (1000.0, 0.3)
    assert deck.steps[0].held[0].value == 0.01


def test_it_can_be_solved(solve):
    found, _ = solve(STYLE)
    assert found["averages"]["Cube"]["stress_mpa"][2] == pytest.approx(10.0, rel=1e-9)


def test_include_continues_a_table_and_nests(read):
    points, cells = grid("C3D8", counts=(2, 1, 1))
    text = mesh_text(points, cells, "C3D8")
    nodes, elements = text.split("*ELEMENT")
    head, *rows = nodes.strip().split("\n")
    deck = read(
        head + "\n" + rows[0] + "\n*INCLUDE, INPUT=nodes.inc\n*include, input=mesh.inc\n" + sides(points)
        + section(ELASTIC) + "*BOUNDARY\nX0, 1, 3\n" + step(""),
        nodes="\n".join(rows[1:]),
        mesh="** nested\n*INCLUDE, INPUT=elements.inc\n",
        elements="*ELEMENT" + elements,
    )  # fmt: skip
    assert (len(deck.node_ids), len(deck.element_ids)) == (12, 2)
    assert deck.element_place(1).path.name == "elements.inc"
    assert deck.element_place(1).line == 3


def test_data_in_a_file_of_their_own(read):
    points, cells = grid("C3D8")
    text = mesh_text(points, cells, "C3D8")
    rows = text.split("*ELEMENT")[0].split("\n", 1)[1]
    deck = read("*NODE, NSET=NALL, INPUT=nodes.inc\n*ELEMENT" + text.split("*ELEMENT")[1] + sides(points)
                + section(ELASTIC) + "*BOUNDARY\nX0, 1, 3\n" + step(""), nodes=rows)  # fmt: skip
    assert len(deck.node_ids) == 8


def test_sets_of_elements_of_several_blocks_and_a_node_set_from_them(read):
    points, cells = grid("C3D8", counts=(3, 1, 1))
    text = mesh_text(points, cells[:2], "C3D8") + "*ELEMENT, TYPE=C3D8I, ELSET=END\n"
    text += "10, " + ", ".join(str(a + 1) for a in cells[2]) + "\n"
    text += "*ELSET, ELSET=EALL\nEND, 1\n*NSET, NSET=ENDNODES, ELSET=END\n"
    deck = read(text + section(ELASTIC) + "*BOUNDARY\nNALL, 1, 3\n" + step(""))
    assert deck.element_ids[deck.element_sets["EALL"]].tolist() == [1, 2, 10]
    assert sorted(deck.node_sets["ENDNODES"]) == sorted(cells[2])
    assert deck.kinds.tolist() == ["C3D8", "C3D8", "C3D8I"]


def numbers_of(text):
    block = Block("NODE", {}, Place("x", 1), [Segment("x", 2, text)])
    values, counts = block.numbers()
    return values.tolist(), counts.tolist()


@pytest.mark.parametrize(
    ("text", "values", "counts"),
    [
        (b"1, 2.5D-1,3\n\n 4,5,6,\n", [1, 0.25, 3, 4, 5, 6], [3, 3]),
        (b"1,,3\n", [1, 0, 3], [3]),
        (b"1, ,3\n4, 5\n", [1, 0, 3, 4, 5], [3, 2]),
        (b"  \t\n1,2 ,  \n", [1, 2], [2]),
        (b"", [], []),
    ],
)
def test_numbers(text, values, counts):
    assert numbers_of(text) == (values, counts)


@pytest.mark.parametrize("text", [b"1, 2, x\n", b"1, 2, nan\n", b"1, 2 3\n", b"1, 2, inf\n"])
def test_what_is_no_number_is_named_with_its_line(text):
    with pytest.raises(DeckError, match=r"x:3: \*NODE: '.+' is no number"):
        numbers_of(b"1, 2, 3\n" + text)


def test_places_of_keywords_and_rows(tmp_path):
    path = tmp_path / "deck.inp"
    path.write_text(STYLE)
    blocks = {block.keyword: block for block in read_blocks(path)}
    lines = STYLE.split("\n")
    for name in ("HEADING", "NODE", "ELEMENT", "SOLID SECTION", "END STEP"):
        line = blocks[name].place.line
        assert lines[line - 1].lower().replace(" ", "").startswith("*" + name.lower().replace(" ", ""))
    assert lines[blocks["NODE"].row_place(2).line - 1].strip().startswith("3,")
    assert lines[blocks["NODE"].row_place(3).line - 1].strip().startswith("4,")


def test_hundred_thousand_nodes_take_little_time(tmp_path):
    """A big table is parsed as a whole: 8 MB here; see benchmarks/read_deck.py for 50 MB."""
    import time

    points, cells = grid("C3D8", counts=(46, 46, 46))
    text = box("", counts=(1, 1, 1)).split("*NSET")[0]
    text = mesh_text(points, cells, "C3D8") + section(ELASTIC) + "*BOUNDARY\n1, 1, 3\n" + step("")
    path = tmp_path / "deck.inp"
    path.write_text(text)
    begin = time.perf_counter()
    deck = read_deck(path)
    assert time.perf_counter() - begin < 5.0
    assert len(deck.node_ids) == 47**3
    np.testing.assert_array_equal(deck.points_mm[-1], [1.0, 1.0, 1.0])
