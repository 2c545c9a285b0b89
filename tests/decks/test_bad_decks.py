"""Bad decks are refused with file, line and reason, before anything is solved."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from deck_text import ELASTIC, SYMMETRY, box, grid, lines, mesh_text, section, sides, step
from typer.testing import CliRunner

from kyphos.cli import app
from kyphos.errors import DeckError
from kyphos.experiments import decks

GOOD = box("*BOUNDARY\nZ1, 3, 3, 0.01\n")


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def refused(tmp_path, text: str, message: str, at: str | None = None) -> None:
    path = tmp_path / "deck.inp"
    path.write_text(text)
    with pytest.raises(DeckError) as caught:
        decks.solve_deck(decks.read_deck(path))
    told = str(caught.value)
    assert message in told
    assert told.startswith(f"{path}:" + (f"{line_of(text, at)}: " if at else "")), told
    assert "\n" not in told


CASES = {
    "unknown keyword": (
        "*BOUNDARY\nX0",
        "*CONTACT PAIR\nX0",
        "*CONTACT PAIR: this keyword is not supported",
        "*CONTACT PAIR",
    ),
    "misspelt keyword": ("*SOLID SECTION", "*SOLID SECTON", "did you mean *SOLID SECTION?", "*SOLID SECTON"),
    "parts": ("*NODE", "*PART, NAME=P\n*NODE", "write the deck flat", "*PART"),
    "unknown parameter": (
        "*STATIC",
        "*STATIC, RIKS",
        "the parameter RIKS is not supported; allowed: DIRECT",
        "*STATIC, RIKS",
    ),
    "missing parameter": ("*ELEMENT, TYPE=C3D8,", "*ELEMENT,", "the parameter TYPE is missing", "*ELEMENT"),
    "unknown element": ("TYPE=C3D8", "TYPE=S4R", "TYPE=S4R is not supported; allowed: C3D4, C3D8", "*ELEMENT"),
    "missing material": ("MATERIAL=M", "MATERIAL=MUD", "there is no material 'MUD'; the deck has: M", "*SOLID"),
    "no section": (
        "*SOLID SECTION, ELSET=EALL, MATERIAL=M\n",
        "",
        "element 1 has no *SOLID SECTION",
        "1, 1, 5, 7, 3, 2",
    ),
    "no elasticity": ("*ELASTIC\n1000., 0.3\n", "", "M has no *ELASTIC and no *HYPERELASTIC", "*MATERIAL"),
    "bad constants": ("1000., 0.3", "1000., 0.5", "nu within [-0.5, 0.5)", "*ELASTIC"),
    "with temperature": ("1000., 0.3\n", "1000., 0.3, 0.\n900., 0.3, 100.\n", "depend on temperature", "*ELASTIC"),
    "duplicate node": (
        "8, 1.0, 1.0, 1.0\n",
        "8, 1.0, 1.0, 1.0\n3, 0.0, 0.0, 0.0\n",
        "node 3 is given twice; first at",
        "3, 0.0, 0.0, 0.0",
    ),
    "duplicate element": (
        "*NSET, NSET=X0",
        "*ELEMENT, TYPE=C3D8\n1, 1, 5, 7, 3, 2, 6, 8, 4\n*NSET, NSET=X0",
        "element 1 is given twice",
        None,
    ),
    "undefined node": ("1, 1, 5, 7", "1, 1, 55, 7", "element 1 has node 55, which does not exist", "1, 1, 55"),
    "too few nodes": ("7, 3, 2, 6, 8, 4", "7, 3, 2, 6, 8", "C3D8 needs a number and 8 nodes", "1, 1, 5, 7, 3"),
    "node twice": ("7, 3, 2, 6, 8, 4", "7, 3, 2, 6, 8, 8", "element 1 names a node twice", "1, 1, 5"),
    "inside out": (
        "1, 1, 5, 7, 3, 2, 6, 8, 4",
        "1, 2, 6, 8, 4, 1, 5, 7, 3",
        "element 1 (C3D8) has a Jacobian of -",
        "1, 2, 6, 8",
    ),
    "no number": ("1000., 0.3", "1000., O.3", "'O.3' is no number", "1000., O.3"),
    "unknown set": ("Z0, 3", "Z9, 3", "there is no node set 'Z9'", "Z9"),
    "no such node": ("Z0, 3", "999, 3", "node 999 does not exist", "999"),
    "no such dof": ("Z0, 3", "Z0, 7", "dofs 7 to 7; allowed: 1 to 6", "Z0, 7"),
    "node without rotation": ("Z0, 3", "Z0, 4, 4, 0.1", "has no dof 4; rotations (4 to 6) belong to", "Z0, 4"),
    "loose node": (
        "*NODE, NSET=NALL\n",
        "*NODE, NSET=NALL\n77, 9., 9., 9.\n",
        "node 77 belongs to no element, equation or rigid body; connect it or remove it",
        "77, 9., 9., 9.",
    ),
    "unknown face": ("*END STEP", "*DLOAD\nEALL, P7, 1.\n*END STEP", "P7 face; allowed: P1 to P6", "EALL, P7"),
    "gravity": (
        "*END STEP",
        "*DLOAD\nEALL, GRAV, 9.81, 0., 0., -1.\n*END STEP",
        "needs where, the kind of load and its value",
        "EALL, GRAV",
    ),
    "unknown amplitude": (
        "*END STEP",
        "*CLOAD, AMPLITUDE=A\n1, 1, 5.\n*END STEP",
        "there is no *AMPLITUDE 'A'",
        "*CLOAD",
    ),
    "keyword out of place": (
        "*END STEP",
        "*MATERIAL, NAME=N\n*END STEP",
        "it may stand only before the first *STEP",
        "*MATERIAL, NAME=N",
    ),
    "no end": ("*END STEP\n", "", "the step has no *END STEP", "*STEP"),
    "no procedure": ("*STATIC\n", "", "the step has 0 procedures", "*STEP"),
    "equation of fixed": (
        "*STEP",
        "*EQUATION\n2\nZ0, 3, 1., Z1, 3, -1.\n*STEP",
        "all its nodes are prescribed",
        "2\nZ0, 3, 1.",
    ),
    "equation too short": ("*STEP", "*EQUATION\n2\n1, 3, 1.\n*STEP", "2 terms need 6 fields", "2\n1, 3, 1."),
    "softening": ("*SOLID", "*PLASTIC\n10., 0.\n9., 0.1\n*SOLID", "softening", "*PLASTIC"),
    "data first": ("*NODE", "1, 2, 3\n*NODE", "data before the first keyword", "1, 2, 3"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_decks_are_refused(name, tmp_path):
    old, new, message, at = CASES[name]
    assert GOOD.count(old) >= 1, old
    text = GOOD.replace(old, new, 1)
    refused(tmp_path, text, message, at)


def test_an_endless_include(tmp_path):
    (tmp_path / "a.inc").write_text("** harmless\n*INCLUDE, INPUT=b.inc\n")
    (tmp_path / "b.inc").write_text("*INCLUDE, INPUT=a.inc\n")
    path = tmp_path / "deck.inp"
    path.write_text("*INCLUDE, INPUT=a.inc\n" + GOOD)
    with pytest.raises(DeckError, match=r"b\.inc:1: .*endless: deck\.inp -> a\.inc -> b\.inc -> a\.inc"):
        decks.read_deck(path)
    path.write_text("*INCLUDE, INPUT=nowhere.inc\n" + GOOD)
    with pytest.raises(DeckError, match=r"deck\.inp:1: \*INCLUDE: .*nowhere\.inc cannot be read"):
        decks.read_deck(path)


def held_by(before: str) -> str:
    return GOOD.replace(SYMMETRY, before).replace("*BOUNDARY\nZ1, 3, 3, 0.01\n", "*CLOAD\nZ1, 3, 1.\n")


@pytest.mark.parametrize(
    ("before", "motion"),
    [
        ("*BOUNDARY\nX0, 1\nY0, 2\n", "the body (1 element, set EALL) can move along z."),
        ("*BOUNDARY\nZ0, 3\n", "the body (1 element, set EALL) can move along x; the body"),
        ("*BOUNDARY\n1, 1, 3\n2, 1, 2\n", "can turn about z through (0, 0, "),
        ("*BOUNDARY\n3, 1, 3\n4, 1, 2\n", "can turn about z through (0, 1, "),
        ("", "and 2 more motions"),
    ],
)
def test_singular_supports_are_named(before, motion, tmp_path):
    refused(tmp_path, held_by(before), motion, "*STEP")


def test_an_unconnected_part_is_named(tmp_path):
    points, cells = grid("C3D8", counts=(2, 1, 1))
    other = points + np.array([5.0, 0.0, 0.0])
    n = len(points)
    text = mesh_text(points, cells, "C3D8") + sides(points)
    text += "*NODE\n" + lines([i + 1 + n, *map(float, p)] for i, p in enumerate(other))
    text += "*ELEMENT, TYPE=C3D8, ELSET=LOOSE\n" + lines(
        [i + 11, *(int(a) + 1 + n for a in c)] for i, c in enumerate(cells)
    )
    text += "*ELSET, ELSET=EALL\nLOOSE\n" + section(ELASTIC) + "*BOUNDARY\nX0, 1, 3\n"
    refused(tmp_path, text + step(""), "part 2 (2 elements, set LOOSE) can move along x", "*STEP")
    held = f"*BOUNDARY\n{n + 1}, 1, 3\n{n + 2}, 1, 2\n"
    refused(
        tmp_path, text + held + step(""), "part 2 (2 elements, set LOOSE) can turn about z through (5, 0, ", "*STEP"
    )
    tied = "*EQUATION\n" + "".join(f"2\n{a + 1}, {k}, 1., {a + 1 + n}, {k}, -1.\n" for a in range(3) for k in (1, 2, 3))
    path = tmp_path / "deck.inp"
    path.write_text(text + tied + step(""))
    assert decks.solve_deck(decks.read_deck(path)).failure is None


def test_a_hinge_along_an_edge_is_named(tmp_path):
    """Two cubes that share an edge only: the second turns about it."""
    points, cells = grid("C3D8", (2.0, 1.0, 2.0), (2, 1, 2))
    used, cells = np.unique(cells[[0, 3]], return_inverse=True)
    points, cells = points[used], cells.reshape(2, 8)
    text = mesh_text(points, cells, "C3D8") + sides(points) + section(ELASTIC) + "*BOUNDARY\nX0, 1, 3\n" + step("")
    refused(tmp_path, text, "part 2 (1 element, set EALL) can turn about y through (1, 0.5, 1)", "*STEP")


def test_a_node_of_an_equation_bears_a_force_along_that_dof_only(tmp_path):
    tie = "*NODE\n99, 0., 0., 9.\n*EQUATION\n2\n8, 3, 1., 99, 3, -1.\n*BOUNDARY\nX0, 1, 3\n"
    text = GOOD.replace(SYMMETRY, tie).replace("Z1, 3, 3, 0.01", "X0, 3")
    good, bad = (text.replace("*END STEP", f"*CLOAD\n99, {dof}, 1.\n*END STEP") for dof in (3, 1))
    refused(tmp_path, bad, "node 99 belongs to no element and no equation; nothing bears it", "99, 1, 1.")
    path = tmp_path / "deck.inp"
    path.write_text(good)
    assert decks.solve_deck(decks.read_deck(path)).failure is None


def test_what_hangs_on_a_loose_node_is_named(tmp_path):
    """All of the body is tied to a node that nothing holds."""
    tie = "*NODE\n99, 0., 0., 9.\n*EQUATION\n2\nZ0, 3, 1., 99, 3, -1.\n*BOUNDARY\nX0, 1\nY0, 2\n"
    text = GOOD.replace(SYMMETRY, tie).replace("*BOUNDARY\nZ1, 3, 3, 0.01\n", "")
    refused(tmp_path, text, "the body (1 element, set EALL) can move along z", "*STEP")


def test_no_convergence_is_code_three_and_keeps_what_converged(tmp_path):
    """A bar that yields at 10 MPa without hardening bears 10 of the 12 N."""
    path, out = tmp_path / "deck.inp", tmp_path / "out"
    material = ELASTIC + "*PLASTIC\n10., 0.\n"
    path.write_text(box("*CLOAD\nZ1, 3, 3.\n", material=material, procedure="*STATIC\n0.2, 1., 0.01\n"))
    done = CliRunner().invoke(app, ["solve", str(path), "--out", str(out)])
    assert done.exit_code == 3
    assert f"{path}:{line_of(path.read_text(), '*STEP')}: step 1 does not converge after time 0.8" in done.stderr
    assert f"What converged is kept in {out}." in done.stderr
    found = json.loads((out / "results.json").read_text())
    assert found["status"] == "not converged"
    assert 9.6 <= found["averages"]["EALL"]["stress_mpa"][2] <= 10.0 + 1e-6
    assert found["convergence"][-1]["time_s"] == pytest.approx(0.8, abs=0.04)
    assert (out / "results.vtu").is_file()


def test_the_command_says_it_in_one_message(tmp_path):
    path = tmp_path / "deck.inp"
    path.write_text(GOOD.replace("MATERIAL=M", "MATERIAL=MUD"))
    done = CliRunner().invoke(app, ["solve", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "DeckError" in done.stderr
    assert f"deck.inp:{line_of(path.read_text(), '*SOLID')}: *SOLID SECTION: there is no material 'MUD'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert CliRunner().invoke(app, ["solve", str(tmp_path / "nothing.inp"), "--out", "x"]).exit_code == 2


def test_damaged_decks_end_in_a_message_and_never_in_a_traceback(tmp_path):
    """Lines lost, doubled, swapped, fields replaced by nonsense: a deck is solved or refused with its line."""
    path = tmp_path / "deck.inp"
    rng, told = random.Random(3), []
    nonsense = ["", "0", "-1", "99", "1e400", "nan", "abc", ",,", "*", "*STEP", "=", "X0", "1.5", '"', "é"]
    for _ in range(150):
        rows = GOOD.split("\n")
        at, other = rng.randrange(len(rows)), rng.randrange(len(rows))
        kind = rng.randrange(4)
        if kind == 0:
            del rows[at]
        elif kind == 1:
            rows.insert(at, rows[other])
        elif kind == 2:
            rows[at], rows[other] = rows[other], rows[at]
        else:
            fields = rows[at].split(",")
            fields[rng.randrange(len(fields))] = rng.choice(nonsense)
            rows[at] = ",".join(fields)
        path.write_text("\n".join(rows), encoding="utf-8")
        try:
            decks.solve_deck(decks.read_deck(path))
        except DeckError as error:
            told.append(str(error))
    assert len(told) > 80
    assert [message for message in told if not message.startswith(f"{path}:")] == []
