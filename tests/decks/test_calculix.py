"""The same deck in CalculiX and in Kyphos: reactions, displacements and stresses agree element type by element type."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from deck_text import ELASTIC, grid, mesh_text, section, step

CCX = shutil.which("ccx")
pytestmark = pytest.mark.skipif(CCX is None, reason="CalculiX (ccx) is not installed")

PRINTS = "*NODE PRINT, NSET=X1\nU\n*NODE PRINT, NSET=X0, TOTALS=ONLY\nRF\n*EL PRINT, ELSET=EALL\nS\n"
HELD = "*BOUNDARY\nX0, 1, 3\n"


def calculix(text: str, folder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean displacement (3,) of X1, force (3,) on X0 and mean stress (6,) of the last increment."""
    (folder / "ccx.inp").write_text(text.replace("*END STEP", PRINTS + "*END STEP"))
    done = subprocess.run([CCX, "ccx"], cwd=folder, capture_output=True, text=True, check=False)
    parts = re.split(r"^ (?=displacements|total force|stresses)", (folder / "ccx.dat").read_text(), flags=re.M)

    def table(start: str) -> np.ndarray:
        last = [part for part in parts if part.startswith(start)][-1]
        rows = [line.split() for line in last.splitlines()[1:] if line.strip()]
        return np.array([[float(x) for x in row[:8]] for row in rows])

    assert "*ERROR" not in done.stdout, done.stdout[-2000:]
    stress = table("stresses")[:, 2:8][:, [0, 1, 2, 3, 5, 4]]  # xx yy zz xy xz yz there
    return table("displacements")[:, 1:4].mean(axis=0), table("total force")[-1], stress.mean(axis=0)


def agree(text: str, solve, folder, rtol: float) -> None:
    """Displacement, force and mean stress within ``rtol`` of their largest component."""
    found, solution = solve(text)
    increment = solution.steps[-1]
    u = found["reactions"]["X1"]["displacement_mm"]
    points = increment.evaluation.response.stress
    weighted = solution.model.mesh.weight > 0.0
    from kyphos import fem

    stress = fem.cauchy_stress(increment.structure.mesh, increment.state, points)[weighted].mean(axis=0)
    theirs = calculix(text, folder)
    held = solution.model.deck.node_sets["X0"]
    force = (increment.support + increment.applied).reshape(-1, 3)[held].sum(axis=0)  # RF counts loads on the nodes
    names = ("displacement", "force", "stress")
    for name, ours, other in zip(names, (u, force, stress), theirs, strict=True):
        np.testing.assert_allclose(ours, other, atol=rtol * np.abs(other).max(), rtol=0, err_msg=name)


def twisted(kind: str, counts=(4, 2, 2), size=(4.0, 1.0, 1.5)):
    """A box that leans and twists, so that no element is a brick."""
    points, cells = grid(kind, size, counts)
    x, y, z = points.T
    points = np.stack([x + 0.1 * y * z, y + 0.15 * np.sin(x) + 0.1 * z, z * (1.0 + 0.1 * x)], axis=1)
    text = mesh_text(points, cells, kind)
    ends = "".join(
        f"*NSET, NSET={name}\n" + "".join(f"{n + 1}\n" for n in np.flatnonzero(np.isclose(x, value)))
        for name, value in (("X0", 0.0), ("X1", size[0]))
    )
    return text + ends


PLAIN = {  # the same element: digits that ccx prints; C3D8I: another set of incompatible modes
    "C3D4": 1e-5,
    "C3D8": 1e-5,
    "C3D8I": 1e-2,
    "C3D10": 1e-5,
    "C3D20": 1e-5,
    "C3D20R": 1e-5,
}


@pytest.mark.parametrize("kind", PLAIN)
def test_linear_elements(kind, solve, tmp_path):
    text = twisted(kind) + section(ELASTIC) + HELD + step("*CLOAD\nX1, 3, -0.01\nX1, 1, 0.02\n")
    agree(text, solve, tmp_path, PLAIN[kind])


@pytest.mark.parametrize(
    ("kind", "face"), [("C3D8", "P4"), ("C3D20", "P4"), ("C3D20R", "P2"), ("C3D20", "P6"), ("C3D10", "P3")]
)
def test_pressure(kind, face, solve, tmp_path):
    text = twisted(kind) + section(ELASTIC) + HELD + step(f"*DLOAD\nEALL, {face}, 0.5\n")
    agree(text, solve, tmp_path, 1e-4)  # curved faces: tri6 has three points there, six here


def test_engineering_constants_in_turned_axes(solve, tmp_path):
    material = "*ELASTIC, TYPE=ENGINEERING CONSTANTS\n1000., 500., 2000., .3, .2, .1, 400., 300.,\n250.\n"
    turned = section(material).replace("*MATERIAL", "*ORIENTATION, NAME=O\n1., 2., 0.5, -1., 1., 0.3\n*MATERIAL")
    turned = turned.replace("MATERIAL=M\n", "MATERIAL=M, ORIENTATION=O\n")
    text = twisted("C3D20R") + turned + HELD + step("*CLOAD\nX1, 3, -0.01\nX1, 1, 0.02\n")
    found, _ = solve(text)
    u, force, _ = calculix(text, tmp_path)  # stresses are printed in the material's axes there
    np.testing.assert_allclose(found["reactions"]["X1"]["displacement_mm"], u, atol=1e-5 * np.abs(u).max())
    np.testing.assert_allclose(found["reactions"]["X0"]["force_n"], force, atol=1e-5 * np.abs(force).max())


def test_expansion(solve, tmp_path):
    material = "*ELASTIC\n1000., 0.3\n*EXPANSION\n1.E-4\n"
    initial = "*INITIAL CONDITIONS, TYPE=TEMPERATURE\nNALL, 20.\n"
    text = (
        twisted("C3D20R")
        + section(material)
        + initial
        + HELD
        + "*BOUNDARY\nX1, 1\n"
        + step("*TEMPERATURE\nNALL, 80.\n")
    )
    agree(text, solve, tmp_path, 1e-5)


# kinematic hardening is left to test_keywords: CalculiX 2.20 lets the stress fall under monotonic tension there
NONLINEAR = {
    "isotropic": ("*ELASTIC\n1000., 0.3\n*PLASTIC\n5., 0.\n8., 0.02\n9., 1.\n", "C3D20R", 2e-3),
    "tetrahedra": ("*ELASTIC\n1000., 0.3\n*PLASTIC\n5., 0.\n8., 0.02\n9., 1.\n", "C3D10", 2e-3),
}


@pytest.mark.parametrize("name", NONLINEAR)
def test_plasticity_of_small_strain(name, solve, tmp_path):
    material, kind, rtol = NONLINEAR[name]
    there = step("*BOUNDARY\nX1, 1, 1, 0.03\nX1, 3, 3, 0.1\n", procedure="*STATIC\n0.1, 1., 1.E-5, 0.1\n")
    back = step("*BOUNDARY\nX1, 1, 1, 0.0\nX1, 3, 3, -0.05\n", procedure="*STATIC\n0.1, 1., 1.E-5, 0.1\n")
    agree(twisted(kind, (3, 1, 1)) + section(material) + HELD + there + back, solve, tmp_path, rtol)


def test_a_rubber_under_finite_strain(solve, tmp_path):
    material = "*HYPERELASTIC, NEO HOOKE\n1., 0.1\n"
    pull = step("*BOUNDARY\nX1, 1, 1, 1.0\nX1, 3, 3, 0.5\n", ", NLGEOM", "*STATIC\n0.1, 1.\n")
    agree(twisted("C3D20R", (3, 1, 1)) + section(material) + HELD + pull, solve, tmp_path, 5e-3)


def test_creep(solve, tmp_path):
    material = "*ELASTIC\n1000., 0.3\n*CREEP, LAW=NORTON\n1.E-6, 3., 0.\n"
    hold = "*CLOAD\nX1, 1, 0.3\n"
    text = twisted("C3D20R", (3, 1, 1)) + section(material) + HELD
    text += step(hold) + step("", procedure="*VISCO, CETOL=1.E-4\n0.1, 5., 1.E-5, 0.1\n")
    agree(text, solve, tmp_path, 5e-3)


def test_equations(solve, tmp_path):
    """The end follows a node outside: all its nodes move alike along x."""
    text = twisted("C3D20R") + "*NODE\n9999, 0., 0., 0.\n*EQUATION\n"
    ends = text.split("*NSET, NSET=X1\n")[1].split("*")[0].split()
    text += "".join(f"2\n{n}, 1, 1., 9999, 1, -1.\n" for n in ends)
    text += section(ELASTIC) + HELD + "*BOUNDARY\n9999, 2, 3\n" + step("*CLOAD\n9999, 1, 2.\nX1, 3, 0.01\n")
    agree(text, solve, tmp_path, 1e-5)


def test_a_rigid_body(solve, tmp_path):
    text = twisted("C3D20R") + "*NODE\n9998, 4., .5, .75\n9999, 4., .5, .75\n"
    text += "*RIGID BODY, NSET=X1, REF NODE=9998, ROT NODE=9999\n" + section(ELASTIC) + HELD
    agree(text + step("*CLOAD\n9998, 3, 1.\n9999, 2, 0.5\n"), solve, tmp_path, 1e-4)
