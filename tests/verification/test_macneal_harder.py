"""MacNeal and Harder's proposed set with solids: straight, curved and twisted beams, the Scordelis-Lo roof."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, tet10

from kyphos.fem import boundary_faces, prescribe, solve_static, traction_forces
from kyphos.fem.elements import element_for

GROUP = "Bending and shells"
SOURCE = "MacNeal & Harder 1985"
SMALL = 1e-4  # of the published loads: the answers are those of the small-strain theory


def face_load(points, cells, on_face, force):
    """Nodal forces of a uniform traction, ``force`` in all, on the faces whose nodes are all ``on_face`` (n,) bool."""
    faces = boundary_faces(cells)
    out = traction_forces(points, faces[np.all(on_face[faces], axis=1)], np.asarray(force))
    return out * (np.linalg.norm(force) / np.linalg.norm(out.sum(axis=0)))


def clamped_tip(points, cells, root, tip, load, law, directions):
    """Mean displacement of the tip nodes along the load, for a clamped root; the load is a force (3,)."""
    held = prescribe(len(points), (np.flatnonzero(root), directions, 0.0))
    force = face_load(points, cells, tip, SMALL * np.asarray(load))
    formulation = "enhanced" if cells.shape[1] == 8 else "standard"
    result = solve_static(points, cells, law, held, force, formulation=formulation, poisson_ratio=law.poisson)
    return float(result.displacement_mm[tip].mean(axis=0) @ np.asarray(load)) / SMALL


def straight_beam(shape, kind, load):
    """6 x 0.2 x 0.1, six cells; cells are rectangles, parallelograms or trapezia (45 degrees)."""
    points, cells = block((6.0, 0.2, 0.1), (6, 1, 1))
    inner = (points[:, 0] > 1e-9) & (points[:, 0] < 6.0 - 1e-9)
    lean = (points[:, 1] - 0.1)[inner]
    if shape == "trapezia":
        lean = lean * (-1.0) ** np.round(points[inner, 0])
    if shape != "rectangles":
        points[inner, 0] += lean
    if kind == "tet10":
        points, cells = tet10(points, cells)
    root, tip = points[:, 0] < 1e-9, points[:, 0] > 6.0 - 1e-9
    return clamped_tip(points, cells, root, tip, load, Hooke(1e7, 0.3), "xyz")


def curved_beam(kind, load, n=6):
    """A quarter circle, radii 4.12 and 4.32, thickness 0.1; six cells."""
    points, cells = block((1.0, 1.0, 1.0), (1, n, 1))
    if kind == "tet10":
        points, cells = tet10(points, cells)
    radius, turn = 4.12 + 0.2 * points[:, 0], 0.5 * np.pi * points[:, 1]
    points = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), 0.1 * points[:, 2]])
    root, tip = points[:, 1] < 1e-9, points[:, 0] < 1e-9
    return clamped_tip(points, cells, root, tip, load, Hooke(1e7, 0.25), "xyz")


def twisted_beam(kind, load):
    """12 long, 1.1 wide, 0.32 thick, turned by 90 degrees from end to end; 12 x 2 cells."""
    points, cells = block((12.0, 1.1, 0.32), (12, 2, 1))
    points -= [0.0, 0.55, 0.16]
    if kind == "tet10":
        points, cells = tet10(points, cells)
    turn = 0.5 * np.pi * points[:, 0] / 12.0
    y, z = points[:, 1].copy(), points[:, 2].copy()
    points[:, 1], points[:, 2] = y * np.cos(turn) - z * np.sin(turn), y * np.sin(turn) + z * np.cos(turn)
    root, tip = points[:, 0] < 1e-9, points[:, 0] > 12.0 - 1e-9
    return clamped_tip(points, cells, root, tip, load, Hooke(29e6, 0.22), "xyz")


def scordelis_lo(kind, n=16):
    """Mid-side deflection of the roof: radius 25, length 50, thickness 0.25, 40 degrees, 90 per area; a quarter."""
    points, cells = block((40.0, 25.0, 0.25), (n, n, 1))
    if kind == "tet10":
        points, cells = tet10(points, cells)
    turn, radius = np.radians(points[:, 0]), 25.0 - 0.125 + points[:, 2]
    angle = points[:, 0].copy()
    points = np.column_stack([radius * np.sin(turn), points[:, 1], radius * np.cos(turn)])
    law = Hooke(4.32e8, 0.0)
    element = element_for(cells)
    slope = element.gradient(element.points)
    weight = np.linalg.det(np.einsum("mai,qak->mqik", points[cells], slope)) * element.weights
    force = np.zeros_like(points)
    share = np.einsum("mq,qa->ma", weight, element.shape(element.points))
    np.add.at(force[:, 2], cells, -SMALL * 90.0 / 0.25 * share)
    held = prescribe(
        len(points),
        (np.flatnonzero(angle < 1e-9), "x", 0.0),
        (np.flatnonzero(points[:, 1] < 1e-9), "y", 0.0),
        (np.flatnonzero(points[:, 1] > 25.0 - 1e-9), "xz", 0.0),
    )
    formulation = "enhanced" if kind == "hex8" else "standard"
    result = solve_static(points, cells, law, held, force, formulation=formulation, poisson_ratio=0.0)
    side = (angle > 40.0 - 1e-9) & (points[:, 1] < 1e-9)
    return -float(result.displacement_mm[side, 2].mean()) / SMALL


KINDS = ["hex8", "tet10"]
COARSE = "six cells for the whole beam, as published; {}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["rectangles", "parallelograms", "trapezia"])
def test_straight_beam_in_extension(wall, shape, kind):
    wall.error(
        "straight beam of six cells, rectangles, parallelograms and trapezia, enhanced hex8 and tet10: extension",
        straight_beam(shape, kind, (1.0, 0.0, 0.0)) / 3e-5 - 1.0,
        0.02,
        source=SOURCE,
        because="the clamped root holds its width: 1 % at this slenderness",
    )


SHAPES = [
    ("hex8", "rectangles", 0.04),
    *(("tet10", shape, 0.08) for shape in ("rectangles", "parallelograms", "trapezia")),
]


@pytest.mark.parametrize(("kind", "shape", "tolerance"), SHAPES)
def test_straight_beam_in_bending(wall, kind, shape, tolerance):
    wide, flat = straight_beam(shape, kind, (0.0, 1.0, 0.0)), straight_beam(shape, kind, (0.0, 0.0, 1.0))
    shapes = "rectangles" if kind == "hex8" else "rectangles, parallelograms and trapezia"
    why = (
        "linear curvature in six pieces, (1/6)², and the root" if kind == "hex8" else "cells ten times as long as thick"
    )
    label = f"the same, {'enhanced ' if kind == 'hex8' else ''}{kind}, {shapes}:"
    wall.error(f"{label} in-plane shear", wide / 0.1081 - 1.0, tolerance, source=SOURCE, because=COARSE.format(why))
    wall.error(f"{label} out-of-plane shear", flat / 0.4321 - 1.0, tolerance, source=SOURCE, because=COARSE.format(why))


@pytest.mark.parametrize("shape", ["parallelograms", "trapezia"])
def test_straight_beam_of_distorted_hexes_is_too_stiff(wall, shape):
    """MacNeal 1987: an eight-node cell that passes the patch test must lock when it is a trapezium."""
    found = straight_beam(shape, "hex8", (0.0, 1.0, 0.0))
    wall.contrast(
        "the same, enhanced hex8, parallelograms and trapezia: in-plane shear",
        found / 0.1081 - 1.0,
        0.3,
        because="a limit of every eight-node cell that passes the patch test (MacNeal 1987); do not bend slender cells",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_curved_beam(wall, kind):
    label = "curved beam of twelve cells, enhanced hex8 and tet10:"
    wall.error(
        f"{label} in-plane shear",
        curved_beam(kind, (0.0, 1.0, 0.0), 12) / 0.08734 - 1.0,
        0.02,
        source=SOURCE,
        because="the published answer is that of a slender beam: refined solids exceed it by 1 %",
    )
    wall.error(
        f"{label} out-of-plane shear",
        curved_beam(kind, (0.0, 0.0, 1.0), 12) / 0.5022 - 1.0,
        0.08,
        source=SOURCE,
        because="the published answer is that of a slender beam: both elements converge to 5.5 % below it",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_twisted_beam(wall, kind):
    label = "twisted beam, 12 x 2 cells, enhanced hex8 and tet10:"
    why = "warped cells, 7.5 degrees each; MacNeal & Harder call 2 % grade A"
    in_plane, out_of_plane = twisted_beam(kind, (0.0, 1.0, 0.0)), twisted_beam(kind, (0.0, 0.0, 1.0))
    wall.error(f"{label} along the tip's width", in_plane / 0.001754 - 1.0, 0.02, source=SOURCE, because=why)
    wall.error(f"{label} across it", out_of_plane / 0.005424 - 1.0, 0.02, source=SOURCE, because=why)


@pytest.mark.parametrize("kind", KINDS)
def test_scordelis_lo_roof(wall, kind):
    wall.error(
        "Scordelis-Lo roof as a solid, 16 x 16 cells of enhanced hex8 or tet10: mid-side deflection 0.3024",
        scordelis_lo(kind) / 0.3024 - 1.0,
        0.02,
        source="MacNeal & Harder 1985; Scordelis & Lo 1964",
        because="one cell through the thickness, second order: 5 % at 8 x 8; deep-shell theory itself says 0.3008",
    )


def torque(n, kind):
    """Torque over G a^4 theta / L of a square bar whose ends turn and may warp."""
    points, cells = block((1.0, 1.0, 0.5), (n, n, 1))
    points[:, :2] -= 0.5
    if kind == "tet10":
        points, cells = tet10(points, cells)
    top, angle = points[:, 2] > 0.5 - 1e-9, 1e-4
    held = prescribe(len(points), (np.flatnonzero(points[:, 2] < 1e-9), "xy", 0.0))
    held[top, 0], held[top, 1] = -angle * points[top, 1], angle * points[top, 0]
    held[np.argmin(np.abs(points).sum(axis=1)), 2] = 0.0
    law = Hooke(1000.0, 0.3)
    result = solve_static(points, cells, law, held)
    force = result.reaction_n[top]
    moment = (points[top, 0] * force[:, 1] - points[top, 1] * force[:, 0]).sum()
    return moment * 0.5 / (angle * law.young_mpa / 2.6)


@pytest.mark.parametrize("kind", KINDS)
def test_torsion_of_a_square_bar(wall, kind):
    wall.error(
        "torsion of a square bar with free warping, 8 x 8 cells, hex8 and tet10: torque 0.14058 G a⁴ theta/L",
        torque(8, kind) / 0.14058 - 1.0,
        0.02,
        source="Saint-Venant (Timoshenko & Goodier)",
        because="warping is of fourth degree: (1/8)² for hex8, far less for tet10",
    )
