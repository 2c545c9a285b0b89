"""What ``kyphos solve`` writes: both files, with sets, regions and sums of forces."""

from __future__ import annotations

import json

import numpy as np
import pytest
from deck_text import ELASTIC, SYMMETRY, box, grid, lines, mesh_text, sides, step
from typer.testing import CliRunner

from kyphos.cli import app
from kyphos.meshes import read_vtu_mesh

TWO = (
    "*ELSET, ELSET=Left\n1\n*ELSET, ELSET=Right\n2\n*MATERIAL, NAME=Soft\n*ELASTIC\n100., 0.0\n"
    "*MATERIAL, NAME=Hard\n*ELASTIC\n900., 0.0\n"
    "*SOLID SECTION, ELSET=Left, MATERIAL=SOFT\n*SOLID SECTION, ELSET=RIGHT, MATERIAL=hard\n"
)


@pytest.fixture
def two_regions(tmp_path):
    """Two bars behind one another, of 100 and 900 MPa, pulled by 1 N: solved by the command."""
    points, cells = grid("C3D8I", (2.0, 1.0, 1.0), (2, 1, 1))
    text = mesh_text(points, cells, "C3D8I") + sides(points) + TWO + SYMMETRY + step("*CLOAD\nX1, 1, 0.25\n")
    (tmp_path / "bars.inp").write_text("*HEADING\nTwo bars\n" + text)
    done = CliRunner().invoke(app, ["solve", str(tmp_path / "bars.inp"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    return done, tmp_path / "out"


def test_the_command_prints_reactions_on_stdout_and_progress_on_stderr(two_regions):
    done, _ = two_regions
    rows = {line.split()[0]: [float(x) for x in line.split()[1:]] for line in done.stdout.splitlines()}
    assert set(rows) == {"NALL", "X0", "X1", "Y0", "Y1", "Z0", "Z1"}
    np.testing.assert_allclose(rows["X0"], [-1.0, 0.0, 0.0], atol=1e-5)
    assert "step 1  time 1  iterations 1" in done.stderr


def test_the_summary(two_regions):
    found = json.loads((two_regions[1] / "results.json").read_text())
    assert (found["heading"], found["status"], found["nodes"], found["elements"]) == ("Two bars", "done", 12, 2)
    assert found["node_sets"]["X1"] == 4
    assert found["regions"] == [
        {"set": "Left", "material": "Soft", "elements": 1},
        {"set": "Right", "material": "Hard", "elements": 1},
    ]
    assert found["averages"]["Left"]["strain"][0] == pytest.approx(0.01, rel=1e-6)
    assert found["averages"]["Right"]["strain"][0] == pytest.approx(1.0 / 900.0, rel=1e-6)
    assert found["averages"]["EALL"]["volume_mm3"] == pytest.approx(2.0)
    assert found["averages"]["EALL"]["von_mises_p99_mpa"] == pytest.approx(1.0, rel=1e-6)
    balance = found["steps"][0]["balance"]
    np.testing.assert_allclose(np.sum(list(balance.values()), axis=0), 0.0, atol=1e-8)
    assert found["convergence"][0]["status"] == "converged"


def test_the_fields(two_regions):
    points, cells, data = read_vtu_mesh(two_regions[1] / "results.vtu")
    assert points.shape == (12, 3)
    assert cells["hexahedron"].shape == (2, 8)
    order = np.argsort(data["element_id"]["hexahedron"])
    assert data["region"]["hexahedron"][order].tolist() == [0, 1]
    assert data["elset.Right"]["hexahedron"][order].tolist() == [0, 1]
    np.testing.assert_allclose(data["stress_mpa"]["hexahedron"][:, 0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(data["strain"]["hexahedron"][order][:, 0], [0.01, 1.0 / 900.0], rtol=1e-6)


@pytest.mark.parametrize(("kind", "name"), [("C3D20R", "hexahedron20"), ("C3D4", "tetra"), ("C3D10", "tetra10")])
def test_every_kind_of_cell_is_written(kind, name, tmp_path):
    (tmp_path / "a.inp").write_text(box("*BOUNDARY\nZ1, 3, 3, 0.01\n", kind))
    done = CliRunner().invoke(app, ["solve", str(tmp_path / "a.inp"), "--out", str(tmp_path), "--quiet"])
    assert (done.exit_code, done.stderr) == (0, "")
    _, cells, data = read_vtu_mesh(tmp_path / "results.vtu")
    assert list(cells) == [name]
    np.testing.assert_allclose(data["stress_mpa"][name][:, 2], 10.0, rtol=1e-6)


def test_numbers_of_the_deck_need_no_order(solve):
    """Nodes and elements numbered with gaps and backwards; tetrahedra and a brick side by side."""
    points, cells = grid("C3D8", (2.0, 1.0, 1.0), (2, 1, 1))
    number = 1000 - 7 * np.arange(len(points))
    nodes = lines([int(n), *map(float, p)] for n, p in zip(number, points, strict=True))
    rows = [[30 - i, *(int(number[a]) for a in cell)] for i, cell in enumerate(cells)]
    text = f"*ELEMENT, TYPE=C3D8, ELSET=EALL\n{lines(rows)}*NODE, NSET=NALL\n{nodes}"
    ends = {
        name: lines([int(number[i])] for i in np.flatnonzero(points[:, 0] == x)) for name, x in (("A", 0), ("B", 2))
    }
    text += "".join(f"*NSET, NSET={name}\n{ids}" for name, ids in ends.items())
    material = "*MATERIAL, NAME=M\n" + ELASTIC + "*SOLID SECTION, ELSET=EALL, MATERIAL=M\n*BOUNDARY\nA, 1, 3\n"
    found, _ = solve(text + material + step("*BOUNDARY\nB, 1, 1, 0.02\nB, 2, 3\n"))
    assert found["reactions"]["B"]["force_n"][0] > 10.0
    assert found["reactions"]["A"]["force_n"][0] == pytest.approx(-found["reactions"]["B"]["force_n"][0], rel=1e-9)
