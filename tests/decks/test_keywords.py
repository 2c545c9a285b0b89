"""Every keyword that decks may have, with an answer known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from deck_text import ELASTIC, SYMMETRY, box, grid, mesh_text, section, sides, step
from shapes import jiggled

KINDS = ["C3D4", "C3D8", "C3D8I", "C3D8R", "C3D10", "C3D20", "C3D20R"]
PULL = "*BOUNDARY\nZ1, 3, 3, 0.01\n"


def force(found, name="Z1", axis=2):
    return found["reactions"][name]["force_n"][axis]


def stress(found, name="EALL"):
    return np.array(found["averages"][name]["stress_mpa"])


def moved(found, name, axis):
    return found["reactions"][name]["displacement_mm"][axis]


@pytest.mark.parametrize("kind", KINDS)
def test_every_element_type_carries_a_constant_stress(kind, solve):
    """Patch of distorted elements under uniaxial tension: E * strain, lateral contraction nu * strain."""
    points, cells = grid(kind, (2.0, 2.0, 2.0), (2, 2, 2))
    if kind in ("C3D8", "C3D8I", "C3D8R", "C3D4"):
        points = jiggled(points, 0.2)
    text = mesh_text(points, cells, kind) + sides(points) + section(ELASTIC) + SYMMETRY + step(PULL)
    found, _ = solve(text)
    assert force(found) == pytest.approx(1000.0 * 0.005 * 4.0, rel=1e-9)
    assert moved(found, "X1", 0) == pytest.approx(-0.3 * 0.01, rel=1e-9)
    np.testing.assert_allclose(stress(found), [0, 0, 5.0, 0, 0, 0], atol=1e-8)
    assert found["averages"]["EALL"]["von_mises_mpa"] == pytest.approx(5.0, rel=1e-9)


def test_several_element_types_in_one_deck(solve):
    """A bar of C3D20, C3D20R, C3D8I and C3D8; equations keep the middle nodes of a quadratic face on its edges."""
    quadratic, cells = grid("C3D20", (4.0, 1.0, 1.0), (4, 1, 1))
    used = np.unique(np.concatenate([cells[:2].ravel(), cells[2:, :8].ravel()]))
    quadratic, cells = quadratic[used], np.searchsorted(used, cells)
    text = "*NODE, NSET=NALL\n" + "".join(f"{i + 1}, {x}, {y}, {z}\n" for i, (x, y, z) in enumerate(quadratic))
    for i, kind in enumerate(("C3D20", "C3D20R", "C3D8I", "C3D8")):
        nodes = (cells[i] + 1)[: 20 if i < 2 else 8]
        text += f"*ELEMENT, TYPE={kind}, ELSET=EALL\n{i + 1}, " + ",\n".join(
            ", ".join(map(str, nodes[k : k + 10])) for k in range(0, len(nodes), 10)
        )
        text += "\n"
    face = np.flatnonzero(np.isclose(quadratic[:, 0], 2.0))
    text += "*EQUATION\n"
    for middle in face[4:]:
        near = face[:4][np.isclose(np.linalg.norm(quadratic[face[:4]] - quadratic[middle], axis=1), 0.5)]
        for dof in (1, 2, 3):
            text += f"3\n{middle + 1}, {dof}, 2., {near[0] + 1}, {dof}, -1., {near[1] + 1}, {dof}, -1.\n"
    text += sides(quadratic) + section(ELASTIC) + SYMMETRY + step("*BOUNDARY\nX1, 1, 1, 0.04\n")
    found, solution = solve(text)
    assert force(found, "X1", 0) == pytest.approx(10.0, rel=1e-9)
    assert len(solution.model.mesh.parts) == 4


def test_bending_tells_the_hexahedra_apart(solve):
    """Cantilever, one cell through the thickness: C3D8I, C3D8R and C3D20R bend, C3D8 locks in shear."""
    exact = 4.0 * 20.0**3 / 1000.0 + 20.0 * 1.2 / (1000.0 / 2.6)  # Timoshenko, unit force, unit square
    ratio = {}
    for kind in ("C3D8", "C3D8I", "C3D8R", "C3D20", "C3D20R"):
        # a single row of C3D20R has hourglass modes
        points, cells = grid(kind, (20.0, 1.0, 1.0), (10, 2, 2) if kind == "C3D20R" else (10, 1, 1))
        ends = points[:, [1, 2]].min(axis=0), points[:, [1, 2]].max(axis=0)
        corner = np.all((points[:, [1, 2]] == ends[0]) | (points[:, [1, 2]] == ends[1]), axis=1)
        corners = np.flatnonzero(corner & np.isclose(points[:, 0], 20.0)) + 1
        load = "*CLOAD\n" + "".join(f"{n}, 3, 0.25\n" for n in corners)
        text = mesh_text(points, cells, kind) + sides(points) + section(ELASTIC)
        found, _ = solve(text + "*BOUNDARY\nX0, 1, 3\n" + step(load))
        ratio[kind] = moved(found, "X1", 2) / exact
    assert ratio["C3D8"] < 0.6
    for kind in ("C3D8I", "C3D8R", "C3D20", "C3D20R"):
        assert ratio[kind] == pytest.approx(1.0, abs=0.04), kind


def test_a_single_row_of_c3d20r_is_singular_and_says_so(solve):
    """Its hourglass modes join up; CalculiX 2.20 answers with a deflection of 180 instead of 32."""
    points, cells = grid("C3D20R", (20.0, 1.0, 1.0), (10, 1, 1))
    text = mesh_text(points, cells, "C3D20R") + sides(points) + section(ELASTIC) + "*BOUNDARY\nX0, 1, 3\n"
    found, _ = solve(text + step("*CLOAD\nX1, 3, 0.125\n"))
    assert found["status"] == "not converged"
    assert "singular" in found["failure"]


def test_c3d20r_that_yields_warns_of_its_modes_without_energy(solve):
    found, _ = solve(box(PULL, "C3D20R", "*ELASTIC\n1000., 0.3\n*PLASTIC\n5., 0.\n8., 0.02\n"))
    assert found["notes"] == [
        "C3D20R of M, which flows: where it is a single row of elements, displacements may drift along modes that cost "
        "no energy; compare with C3D20"
    ]


def test_c3d8r_says_how_it_is_solved(solve):
    found, _ = solve(box(PULL, "C3D8R"))
    assert found["notes"][0].startswith("1 C3D8R elements are solved with eight points and assumed strain")
    assert solve(box(PULL, "C3D8"))[0]["notes"] == []


def test_the_dialect_decides_what_c3d8_is(solve):
    """A nearly incompressible block, clamped at both ends and squeezed: full integration locks, and says so."""
    squeeze = box("*BOUNDARY\nZ1, 3, 3, -0.01\nZ1, 1, 2\n", material="*ELASTIC\n1000., 0.4999\n", counts=(3, 3, 3))
    full, _ = solve(squeeze)
    mean, _ = solve(squeeze, "abaqus")
    fine, _ = solve(squeeze.replace("C3D8", "C3D8I"))
    assert full["notes"][0].startswith("C3D8 is fully integrated, as in CalculiX, and too stiff for M")
    assert mean["notes"] == []
    assert force(full) < 2.0 * force(mean)  # compression is negative
    assert force(mean) == pytest.approx(force(fine), rel=0.15)


def test_cload_on_a_set_and_boundary_in_the_step(solve):
    found, _ = solve(box("*CLOAD\nZ1, 3, 2.5\n*BOUNDARY\nY1, 2\n"))  # eps_y = 0: plane strain in y
    assert moved(found, "Z1", 2) == pytest.approx(10.0 / 1000.0 * (1.0 - 0.3**2), rel=1e-9)
    assert found["steps"][0]["balance"]["applied_n"][2] == pytest.approx(10.0)
    assert force(found, "Z0") == pytest.approx(-10.0, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_dload_pressure_on_every_face(kind, solve):
    """The same pressure on all outer faces: hydrostatic stress, whatever the numbers of the faces."""
    points, cells = grid(kind, (1.0, 2.0, 1.5), (1, 1, 1))
    hexes = {1: "Z0", 2: "Z1", 3: "Y0", 5: "Y1", 4: "X1", 6: "X0"}
    if kind in ("C3D4", "C3D10"):  # face of four corners, as numbered in the manuals of Abaqus and CalculiX
        table = {1: (0, 1, 2), 2: (0, 3, 1), 3: (1, 3, 2), 4: (2, 3, 0)}
        low, high = points.min(axis=0), points.max(axis=0)
        loads = "*DLOAD\n"
        for i, cell in enumerate(cells):
            for face, corners in table.items():
                x = points[cell[list(corners)]]
                if np.any(np.all(np.isclose(x, low), axis=0) | np.all(np.isclose(x, high), axis=0)):
                    loads += f"{i + 1}, P{face}, 6.\n"
    else:
        loads = "*DLOAD\n" + "".join(f"EALL, P{face}, 6.\n" for face in hexes)
    found, _ = solve(mesh_text(points, cells, kind) + sides(points) + section(ELASTIC) + SYMMETRY + step(loads))
    np.testing.assert_allclose(stress(found), [-6, -6, -6, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(found["steps"][0]["balance"]["applied_n"], 0.0, atol=1e-10)


def test_dload_is_numbered_as_in_the_manuals(solve):
    for face, name, axis, sign in [(1, "Z0", 2, 1), (2, "Z1", 2, -1), (3, "Y0", 1, 1), (4, "X1", 0, -1)]:
        found, _ = solve(box(f"*DLOAD\n1, P{face}, 2.\n", size=(1.0, 2.0, 3.0), before="*BOUNDARY\nNALL, 1, 3\n"))
        area = {0: 6.0, 1: 3.0, 2: 2.0}[axis]
        applied = np.zeros(3)
        applied[axis] = sign * 2.0 * area
        np.testing.assert_allclose(found["steps"][0]["balance"]["applied_n"], applied, atol=1e-12, err_msg=name)


def test_dsload_on_a_surface(solve):
    surface = "*SURFACE, NAME=Top\nEall, s2\n"
    found, _ = solve(box("*DSLOAD\nTOP, P, -5.\n", before=SYMMETRY + surface))
    assert stress(found)[2] == pytest.approx(5.0, rel=1e-9)


def test_a_surface_of_nodes_is_a_node_set(solve):
    found, _ = solve(box("*CLOAD\nPULLED, 3, 0.5\n", before=SYMMETRY + "*SURFACE, NAME=PULLED, TYPE=NODE\nZ1,\n"))
    assert stress(found)[2] == pytest.approx(2.0, rel=1e-9)


def test_a_pressure_follows_the_deformed_shape_with_nlgeom(solve):
    """Uniaxial pressure p on a bar free to widen: Cauchy stress is -p on the current area, log strain p / E."""
    found, _ = solve(box("*DLOAD\nEALL, P2, 200.\n", head=", NLGEOM"))
    assert stress(found)[2] == pytest.approx(-200.0, rel=1e-5)
    # Hencky's law: Kirchhoff stress J sigma = E ln(l), J = l^(1 - 2 nu)
    log = np.log1p(moved(found, "Z1", 2))
    assert 1000.0 * log == pytest.approx(-200.0 * np.exp((1.0 - 0.6) * log), rel=1e-5)


def test_nlgeom_against_small_strain(solve):
    small, _ = solve(box("*BOUNDARY\nZ1, 3, 3, 0.5\n"))
    finite, _ = solve(box("*BOUNDARY\nZ1, 3, 3, 0.5\n", head=", NLGEOM=YES"))
    assert force(small) == pytest.approx(500.0, rel=1e-9)
    side = 1.5**-0.3
    assert stress(finite)[2] == pytest.approx(1000.0 * np.log(1.5) / (1.5 * side**2), rel=1e-6)
    assert force(solve(box("*BOUNDARY\nZ1, 3, 3, 0.5\n", head=", NLGEOM=NO"))[0]) == pytest.approx(500.0)


def test_engineering_constants_along_global_axes(solve):
    material = "*ELASTIC, TYPE=ENGINEERING CONSTANTS\n1000., 500., 2000., .3, .2, .1, 400., 300.,\n250.\n"
    for axis, (name, modulus) in enumerate([("X1", 1000.0), ("Y1", 500.0), ("Z1", 2000.0)]):
        found, _ = solve(box(f"*BOUNDARY\n{name}, {axis + 1}, {axis + 1}, 0.01\n", material=material))
        assert stress(found)[axis] == pytest.approx(0.01 * modulus, rel=1e-9)
        strain = found["averages"]["EALL"]["strain"]
        contraction = {0: (0.3, 0.2), 1: (0.3 / 2, 0.1), 2: (0.2 * 2, 0.1 * 4)}[axis]
        others = [i for i in range(3) if i != axis]
        np.testing.assert_allclose([strain[i] for i in others], [-0.01 * c for c in contraction], rtol=1e-9)


@pytest.mark.parametrize(
    ("held", "axis", "place", "shear"), [("Z", 0, 5, 300.0), ("Z", 1, 4, 250.0), ("Y", 0, 3, 400.0)]
)
def test_engineering_constants_in_shear(held, axis, place, shear, solve):
    material = "*ELASTIC, TYPE=ENGINEERING CONSTANTS\n1000., 500., 2000., .3, .2, .1, 400., 300.,\n250.\n"
    others = "".join(f"NALL, {k}\n" for k in {1, 2, 3} - {axis + 1})
    body = f"*BOUNDARY\n{held}1, {axis + 1}, {axis + 1}, 0.01\n{held}0, {axis + 1}\n{others}"
    found, _ = solve(box(body, material=material, before=""))
    assert stress(found)[place] == pytest.approx(0.01 * shear, rel=1e-9)


def test_an_orientation_turns_the_material(solve):
    """Axis 1 of the material along the diagonal of x and y: modulus of a lamina off its axis."""
    e1, e2, nu, g = 1000.0, 200.0, 0.3, 100.0
    material = f"*ELASTIC, TYPE=ENGINEERING CONSTANTS\n{e1}, {e2}, {e2}, {nu}, {nu}, .4, {g}, {g},\n{g}\n"
    text = box("*CLOAD\nX1, 1, 2.5\n", material=material, before="*BOUNDARY\n1, 1, 3\nX0, 1\nZ0, 3\n")
    text = text.replace("*MATERIAL", "*ORIENTATION, NAME=O\n1., 1., 0., -1., 1., 0.\n*MATERIAL")
    found, _ = solve(text.replace("MATERIAL=M\n", "MATERIAL=M, ORIENTATION=o\n"))
    strain = found["averages"]["EALL"]["strain"]
    compliance = (1 / e1 + 1 / e2 + (1 / g - 2 * nu / e1)) / 4
    assert stress(found)[0] == pytest.approx(10.0, rel=1e-9)
    assert strain[0] == pytest.approx(10.0 * compliance, rel=1e-9)
    assert strain[3] == pytest.approx(10.0 * (1 / e1 - 1 / e2) / 2, rel=1e-9)  # coupling of pull and shear


TABLE = "*ELASTIC\n1000., 0.3\n*PLASTIC{}\n10., 0.\n15., 0.05\n15., 1.\n"


def test_isotropic_plasticity_by_a_table(solve):
    """Pulled to a total strain of 0.04: s = 10 + 100 ep, s = 1000 (0.04 - ep)."""
    found, _ = solve(box("*BOUNDARY\nZ1, 3, 3, 0.04\n", material=TABLE.format("")))
    assert stress(found)[2] == pytest.approx((10.0 + 100.0 * 0.04) / 1.1, rel=1e-6)


@pytest.mark.parametrize(("hardening", "sign"), [("ISOTROPIC", 1.0), ("KINEMATIC", -1.0)])
def test_hardening_shows_on_reversal(hardening, sign, solve):
    """Pulled to 13.64 MPa (ep = 0.03636), then pushed by 0.03 of strain: yields at -13.64 or at -6.36 MPa."""
    points = box("", material=TABLE.format(f", HARDENING={hardening}")).split("*STEP")[0]
    pull = step("*BOUNDARY\nZ1, 3, 3, 0.04\n", procedure="*STATIC\n0.1, 1.\n")
    push = step("*BOUNDARY\nZ1, 3, 3, 0.0\n", procedure="*STATIC\n0.05, 1.\n")
    found, _ = solve(points + pull + push)
    top = (10.0 + 100.0 * 0.04) / 1.1
    ep = 0.04 - top / 1000.0
    # isotropic: -s = 10 + 100 (ep + p), kinematic: -s = 10 - 100 ep + 100 p, and s = -1000 (ep - p) in both
    expected = -(10.0 + 100.0 * ep * (2.0 if sign > 0 else 0.0)) / 1.1
    if sign < 0:  # -s = 10 - 100 (ep - p), s = -1000 (ep - p): x = ep - p
        expected = -1000.0 * (10.0 / 1100.0)
    assert stress(found)[2] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "text", ["*HYPERELASTIC, NEO HOOKE\n1., 0.0002\n", "*HYPERELASTIC, MOONEY-RIVLIN\n0.7, 0.3, 0.0002\n"]
)
def test_hyperelasticity_in_tension(text, solve):
    """Nearly incompressible, stretch 2: nominal stress 2 (l - 1/l^2) (C10 + C01 / l)."""
    found, _ = solve(box("*BOUNDARY\nZ1, 3, 3, 1.\n", material=text, head=", NLGEOM", procedure="*STATIC\n0.2, 1.\n"))
    c10, c01 = (1.0, 0.0) if "NEO" in text else (0.7, 0.3)
    assert force(found) == pytest.approx(2.0 * (2.0 - 0.25) * (c10 + c01 / 2.0), rel=2e-3)  # K is 5000 times C10


def test_a_rubber_without_nlgeom_is_solved_with_it_and_says_so(solve):
    found, _ = solve(box(PULL, material="*HYPERELASTIC, NEO HOOKE\n1., 0.0002\n"))
    assert "NLGEOM" in found["notes"][-1]


CREEP = "*ELASTIC\n1000., 0.3\n*CREEP, LAW=NORTON\n1.E-6, 3., {m}\n"


@pytest.mark.parametrize("m", [0.0, -0.5])
def test_creep_under_constant_stress(m, solve):
    """Strain s / E + A s^n t^(m+1) / (m+1); the load is on at once."""
    text = box(
        "*CLOAD\nZ1, 3, 2.5\n", material=CREEP.format(m=m), head=", AMPLITUDE=STEP", procedure="*VISCO\n0.1, 4.\n"
    )
    found, _ = solve(text)
    expected = 0.01 + 1e-6 * 10.0**3 * 4.0 ** (m + 1.0) / (m + 1.0)
    assert moved(found, "Z1", 2) == pytest.approx(expected, rel=1e-6)


def test_creep_relaxes_a_held_stress(solve):
    """ds/dt = -E A s^n: s^(1-n) = s0^(1-n) + (n - 1) E A t."""
    body = box("", material=CREEP.format(m=0.0)).split("*STEP")[0]
    hold = step("", procedure="*VISCO\n0.05, 50., , 0.5\n")
    found, _ = solve(body + step(PULL) + hold)
    expected = (10.0**-2 + 2.0 * 1000.0 * 1e-6 * 50.0) ** -0.5
    assert stress(found)[2] == pytest.approx(expected, rel=0.02)


def test_creep_without_time_exponent(solve):
    material = CREEP.format(m=0.0).replace(", 0.0", "").replace(", LAW=NORTON", "")
    visco = {"head": ", AMPLITUDE=STEP", "procedure": "*VISCO\n0.1, 4.\n"}
    found, _ = solve(box("*CLOAD\nZ1, 3, 2.5\n", material=material, **visco))
    assert moved(found, "Z1", 2) == pytest.approx(0.014, rel=1e-6)


def test_static_steps_do_not_creep(solve):
    found, _ = solve(box(PULL, material=CREEP.format(m=0.0), procedure="*STATIC\n1., 100.\n"))
    assert stress(found)[2] == pytest.approx(10.0, rel=1e-9)


def test_density_is_read_and_ignored(solve):
    found, _ = solve(box(PULL, material="*DENSITY\n7.8E-9\n" + ELASTIC))
    assert stress(found)[2] == pytest.approx(10.0, rel=1e-9)


WARM = "*ELASTIC\n1000., 0.3\n*EXPANSION, ZERO=3.\n1.E-4\n"


@pytest.mark.parametrize("kind", KINDS)
def test_free_expansion_is_free_of_stress(kind, solve):
    body = "*INITIAL CONDITIONS, TYPE=TEMPERATURE\nNALL, 20.\n"
    found, _ = solve(box("*TEMPERATURE\nNALL, 70.\n", kind, WARM, before=SYMMETRY + body))
    assert moved(found, "Z1", 2) == pytest.approx(50.0 * 1e-4, rel=1e-9)
    np.testing.assert_allclose(stress(found), 0.0, atol=1e-8)


def test_held_expansion_is_stressed(solve):
    """Held along z: -E alpha dT; also in two steps, the second of which goes on from the first."""
    text = box("*TEMPERATURE\nNALL, 50.\n", material=WARM, before=SYMMETRY + "*BOUNDARY\nZ1, 3\n")
    found, _ = solve(text + step("*TEMPERATURE\nNALL, 100.\n"))
    assert stress(found)[2] == pytest.approx(-10.0, rel=1e-9)
    again, _ = solve(text + step("*TEMPERATURE, OP=NEW\n"))
    np.testing.assert_allclose(stress(again), 0.0, atol=1e-8)


def test_orthotropic_expansion(solve):
    material = "*ELASTIC\n1000., 0.3\n*EXPANSION, TYPE=ORTHO\n1.E-4, 2.E-4, 3.E-4\n"
    found, _ = solve(box("*TEMPERATURE\nNALL, 10.\n", material=material))
    strain = [moved(found, name, axis) for axis, name in enumerate(("X1", "Y1", "Z1"))]
    np.testing.assert_allclose(strain, [1e-3, 2e-3, 3e-3], rtol=1e-9)


def test_temperature_without_expansion_says_that_it_does_nothing(solve):
    found, _ = solve(box("*TEMPERATURE\nNALL, 10.\n"))
    assert "no material has *EXPANSION" in found["notes"][0]


def test_equation_ties_nodes(solve):
    """u3 of the top follows twice the motion of a node outside the mesh; its force is twice the pull."""
    body = "*NODE\n99, 5., 5., 5.\n*EQUATION\n2\nZ1, 3, 1.0, 99, 3, -2.0\n"
    text = box("*BOUNDARY\n99, 3, 3, 0.005\n", before=SYMMETRY + body + "*NSET, NSET=REF\n99\n*BOUNDARY\n99, 1, 2\n")
    found, _ = solve(text)
    assert stress(found)[2] == pytest.approx(10.0, rel=1e-9)
    assert force(found, "REF") == pytest.approx(20.0, rel=1e-9)
    balance = found["steps"][0]["balance"]
    np.testing.assert_allclose(np.sum(list(balance.values()), axis=0), 0.0, atol=1e-9)
    assert balance["equation_n"][2] == pytest.approx(-10.0, rel=1e-9)


def test_equation_with_a_force_over_several_lines(solve):
    """u3 of four top nodes add up to four times a free one: only their mean is pulled."""
    text = box("*CLOAD\n99, 3, 10.\n", before=SYMMETRY + "*NODE\n99, 0., 0., 9.\n*EQUATION\n5\n")
    points, _ = grid("C3D8")
    top = np.flatnonzero(points[:, 2] == 1.0) + 1
    terms = f"99, 3, -4.,\n{top[0]}, 3, 1., {top[1]}, 3, 1.,\n{top[2]}, 3, 1., {top[3]}, 3, 1.\n"
    found, _ = solve(text.replace("*EQUATION\n5\n", "*EQUATION\n5\n" + terms + "*BOUNDARY\n99, 1, 2\n"))
    assert stress(found)[2] == pytest.approx(10.0, rel=1e-9)


@pytest.mark.parametrize("head", ["", ", NLGEOM"])
def test_rigid_body_presses_a_box(head, solve):
    """A rigid lid with a reference node: its force is that of all its nodes, without rotation."""
    body = "*NODE\n99, .5, .5, 1.\n*RIGID BODY, NSET=Z1, REF NODE=99\n*NSET, NSET=REF\n99\n"
    text = box(
        "*BOUNDARY\n99, 3, 3, -0.001\n", before="*BOUNDARY\nZ0, 3\n1, 1, 3\n" + body + "*BOUNDARY\n99, 1, 2\n99, 4, 6\n"
    )
    found, _ = solve(text.replace("*STEP", "*STEP" + head).replace("1, 1, 3", "1, 1, 2\n3, 1"))
    assert force(found, "REF") == pytest.approx(-1.0, rel=0.2)  # held sideways by the lid
    assert force(found, "REF") == pytest.approx(-force(found, "Z0"), rel=1e-9)
    assert abs(found["reactions"]["REF"]["moment_n_mm"][0]) < 0.2


def test_a_moment_on_a_rigid_body_bends(solve):
    """Beam under a moment: tip rotation M L / E I, by 4 to 6 of the reference node; and as dofs of a ROT NODE."""
    points, cells = grid("C3D8I", (10.0, 1.0, 1.0), (5, 1, 1))
    body = mesh_text(points, cells, "C3D8I") + sides(points) + section("*ELASTIC\n1000., 0.0\n")
    body += "*NODE\n98, 10., .5, .5\n*BOUNDARY\nX0, 1, 3\n"
    expected = 0.1 * 10.0 / (1000.0 / 12.0)
    first = body + "*RIGID BODY, NSET=X1, REF NODE=98\n*NSET, NSET=R\n98\n" + step("*CLOAD\n98, 5, 0.1\n")
    found, _ = solve(first)
    assert found["reactions"]["R"]["rotation_rad"][1] == pytest.approx(expected, rel=0.01)
    second = (
        body
        + "*NODE\n99, 10., .5, .5\n*RIGID BODY, NSET=X1, REF NODE=98, ROT NODE=99\n*NSET, NSET=R\n99\n"
        + step("*CLOAD\n99, 2, 0.1\n")
    )
    found, _ = solve(second)
    assert moved(found, "R", 1) == pytest.approx(expected, rel=0.01)


def test_amplitude_of_step_time(solve):
    """Up, beyond and half back: the material has yielded at the corner, which no increment may miss."""
    table = "*AMPLITUDE, NAME=A\n0., 0., 0.5, 2.0, 1., 1.\n"
    body = "*BOUNDARY, AMPLITUDE=a\nZ1, 3, 3, 0.02\n"
    found, _ = solve(box(body, material=TABLE.format(""), before=SYMMETRY + table, procedure="*STATIC\n1., 1.\n"))
    top = (10.0 + 100.0 * 0.04) / 1.1
    assert stress(found)[2] == pytest.approx(max(top - 20.0, -top), rel=1e-6)
    times = [row["time_s"] for row in found["convergence"]]
    assert 0.5 in times


def test_amplitude_of_total_time_goes_on_over_steps(solve):
    table = "*AMPLITUDE, NAME=A, TIME=TOTAL TIME\n0., 0., 2., 1.\n"
    text = box("*CLOAD, AMPLITUDE=A\nZ1, 3, 2.5\n", before=SYMMETRY + table) + step("")
    found, _ = solve(text)
    assert [s["averages"]["EALL"]["stress_mpa"][2] for s in found["steps"]] == pytest.approx([5.0, 10.0], rel=1e-9)


def test_steps_go_on_from_one_another(solve):
    """Loads stay until they are given again (OP=MOD) or forgotten (OP=NEW); supports may be released."""
    one = box("*CLOAD\nZ1, 3, 2.5\n")
    found, _ = solve(
        one
        + step("*DLOAD\nEALL, P4, 4.\n")
        + step("*CLOAD\nZ1, 3, 1.25\n")
        + step("*CLOAD, OP=NEW\n*DLOAD, OP=NEW\nEALL, P5, 3.\n")
    )
    seen = [[round(v, 6) + 0.0 for v in s["averages"]["EALL"]["stress_mpa"][:3]] for s in found["steps"]]
    assert seen == [[0, 0, 10], [-4, 0, 10], [-4, 0, 5], [0, -3, 0]]
    released, _ = solve(box("*BOUNDARY\nZ1, 3, 3, 0.01\n") + step("*BOUNDARY, OP=NEW\nX0, 1\nY0, 2\nZ0, 3\n"))
    assert released["steps"][0]["averages"]["EALL"]["stress_mpa"][2] == pytest.approx(10.0)
    np.testing.assert_allclose(stress(released), 0.0, atol=1e-8)


def test_forces_of_one_step_add_up(solve):
    found, _ = solve(box("*CLOAD\nZ1, 3, 1.5\nZ1, 3, 1.\n"))
    assert stress(found)[2] == pytest.approx(10.0, rel=1e-9)


def test_boundary_by_name(solve):
    found, _ = solve(box(PULL, before="*BOUNDARY\nX0, XSYMM\nY0, YSYMM\nZ0, ZSYMM\n"))
    assert stress(found)[2] == pytest.approx(10.0, rel=1e-9)
    clamped, _ = solve(box(PULL, before="*BOUNDARY\nZ0, ENCASTRE\nZ1, 1, 2\n"))
    assert stress(clamped)[2] > 10.0


def test_static_increments_are_kept(solve):
    found, _ = solve(box(PULL, procedure="*STATIC, DIRECT\n0.25, 1.\n"))
    assert [row["time_s"] for row in found["convergence"]] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert {row["status"] for row in found["convergence"]} == {"converged"}


def test_a_deck_in_pascal_and_metres(solve):
    """The numbers of a deck may be in any units that go together."""
    found, _ = solve(box("*BOUNDARY\nZ1, 3, 3, 1.E-5\n", material="*ELASTIC\n2.1E11, 0.3\n"))
    assert stress(found)[2] == pytest.approx(2.1e6, rel=1e-9)
    assert force(found) == pytest.approx(2.1e6, rel=1e-9)
