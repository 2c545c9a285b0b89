"""Orthotropic elasticity: which modulus belongs to which plane, in every room that handles shear."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, everywhere, follow, jiggled, on_box
from wall import worst

from kyphos.fem import (
    MarchSettings,
    NewtonSettings,
    boundary_faces,
    prescribe,
    solve_static,
    traction_forces,
)
from kyphos.materials import TRANSVERSELY_ISOTROPIC

GROUP = "Anisotropy"
SETTINGS = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-8, minimum_load_n=1e-4))
# axis 1 is z, 2 is x, 3 is y
ROW = [300.0, 120.0, 90.0, 0.3, 0.28, 0.2, 60.0, 45.0, 30.0]
SHEAR = {"xy": 30.0, "yz": 45.0, "xz": 60.0}
LINEAR = "the law is exact; squares of strains of 1e-6"


def compliance():
    """(6, 6), components xx yy zz xy yz xz."""
    e1, e2, e3, nu12, nu13, nu23, *_ = ROW
    out = np.diag([1 / e2, 1 / e3, 1 / e1, *(1.0 / g for g in SHEAR.values())])
    out[0, 1] = out[1, 0] = -nu23 / e2
    out[0, 2] = out[2, 0] = -nu12 / e1
    out[1, 2] = out[2, 1] = -nu13 / e1
    return out


def tensor(v, shear=1.0):
    """(3, 3) of components (6,)."""
    xx, yy, zz, xy, yz, xz = v
    return np.array([[xx, shear * xy, shear * xz], [shear * xy, yy, shear * yz], [shear * xz, shear * yz, zz]])


def distorted():
    points, cells = block(counts=(2, 2, 2))
    return jiggled(points, 0.08), cells


@pytest.mark.parametrize("formulation", ["standard", "mean_dilatation", "enhanced"])
@pytest.mark.parametrize("plane", SHEAR)
def test_shear_in_each_plane(wall, plane, formulation):
    points, cells = distorted()
    i, j = ("xyz".index(axis) for axis in plane)
    held = np.full_like(points, np.nan)
    outer = on_box(points)
    held[outer] = 0.0
    held[outer, i] = 1e-6 * points[outer, j]
    field = everywhere(TRANSVERSELY_ISOTROPIC, ROW, cells)
    ((_, _, support),) = follow(points, cells, field, [(held, None, 0.0)], formulation=formulation, settings=SETTINGS)
    top = points[:, j] > 1.0 - 1e-9
    moved = support[top, i].sum() + support[on_box(points) & ~top & (points[:, j] > 1e-9), i].sum()
    wall.error(
        "orthotropic block sheared in each of three planes: force over shear modulus",
        moved / (1e-6 * SHEAR[plane]) - 1.0,
        1e-5,
        source="three shear moduli",
        because=LINEAR,
    )


@pytest.mark.parametrize("formulation", ["standard", "mean_dilatation", "enhanced"])
def test_any_strain(wall, formulation):
    """All six strains at once: the stress of the compliance's inverse."""
    points, cells = distorted()
    strain = 1e-6 * np.array([1.0, -2.0, 3.0, 4.0, -5.0, 6.0])
    held = np.full_like(points, np.nan)
    held[on_box(points)] = points[on_box(points)] @ tensor(strain, 0.5)
    field = everywhere(TRANSVERSELY_ISOTROPIC, ROW, cells)
    ((_, found, _),) = follow(points, cells, field, [(held, None, 0.0)], formulation=formulation, settings=SETTINGS)
    wall.error(
        "orthotropic patch test, all six strains at once: stress at all points",
        worst(found.evaluation.response.stress, np.linalg.solve(compliance(), strain)),
        1e-5,
        source="compliance matrix, inverted",
        because=LINEAR,
    )


@pytest.mark.parametrize("plane", SHEAR)
@pytest.mark.parametrize("degrees", [20.0, 65.0])
def test_bar_cut_off_axis(wall, plane, degrees):
    """A bar cut at an angle to the axes of the material, pulled: it gets longer and it shears."""
    points, cells = distorted()
    i, j = ("xyz".index(axis) for axis in plane)
    turn = np.eye(3)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[i, i] = turn[j, j] = c
    turn[i, j], turn[j, i] = -s, s
    along = turn[:, i]
    stress = 1e-4 * np.outer(along, along)
    faces = boundary_faces(cells)
    ends = {end: faces[np.all(np.abs(points[faces, i] - end) < 1e-9, axis=1)] for end in (0.0, 1.0)}
    low = points @ turn.T
    force = traction_forces(low, ends[1.0], 1e-4 * along) + traction_forces(low, ends[0.0], -1e-4 * along)
    strain = compliance() @ stress[[0, 1, 2, 0, 1, 0], [0, 1, 2, 1, 2, 2]]
    expected = low @ tensor(strain, 0.5)
    corners = [np.argmin(np.linalg.norm(points - at, axis=1)) for at in np.vstack([np.zeros(3), np.eye(3)])]
    held = np.full_like(low, np.nan)
    held[corners] = expected[corners]
    field = everywhere(TRANSVERSELY_ISOTROPIC, ROW, cells)
    ((_, found, _),) = follow(low, cells, field, [(held, force, 0.0)], settings=SETTINGS)
    wall.error(
        "orthotropic bars cut at 20 and 65 degrees in three planes, pulled: displacement (stretch and shear)",
        worst(found.state.displacement_mm, expected),
        1e-4,
        source="Lekhnitskii 1963, off-axis compliance",
        because="a dead load on strains of 1e-6, solved to 1e-8",
    )


def torsion_constant(width, height, terms=60):
    """Torque over G theta of an isotropic rectangle (Timoshenko & Goodier)."""
    a, b = max(width, height), min(width, height)
    n = np.arange(1, 2 * terms, 2)
    return a * b**3 / 3.0 * (1.0 - 192.0 * b / (np.pi**5 * a) * np.sum(np.tanh(n * np.pi * a / (2.0 * b)) / n**5))


def test_torsion_of_an_orthotropic_bar(wall):
    """With y stretched by r = sqrt(G_xz / G_yz) the stress function obeys Poisson's equation: G_yz J(1, 2 r) / r."""
    points, cells = block((1.0, 2.0, 0.5), (12, 24, 1))
    points[:, :2] -= [0.5, 1.0]
    top, angle = points[:, 2] > 0.5 - 1e-9, 1e-4
    held = prescribe(len(points), (np.flatnonzero(points[:, 2] < 1e-9), "xy", 0.0))
    held[top, 0], held[top, 1] = -angle * points[top, 1], angle * points[top, 0]
    held[np.argmin(np.abs(points).sum(axis=1)), 2] = 0.0
    field = everywhere(TRANSVERSELY_ISOTROPIC, [*ROW[:6], 60.0, 15.0, 30.0], cells)
    ((_, _, support),) = follow(points, cells, field, [(held, None, 0.0)])
    moment = (points[top, 0] * support[top, 1] - points[top, 1] * support[top, 0]).sum()
    ratio = np.sqrt(60.0 / 15.0)
    wall.error(
        "torsion of a bar of 1 x 2 with G_xz = 4 G_yz, 12 x 24 hex8: torque",
        moment / (15.0 * torsion_constant(1.0, 2.0 * ratio) / ratio * angle / 0.5) - 1.0,
        0.01,
        source="Saint-Venant, y stretched by sqrt(G_xz/G_yz)",
        because="(1/12)² of the warping",
    )


@pytest.mark.parametrize("plane", SHEAR)
def test_a_body_that_wants_to_shear(wall, plane):
    """Stress-free shear strain in one plane of a free body: it shears there, and only there."""
    points, cells = distorted()
    strain = np.zeros((len(cells), 8, 6))
    strain[..., list(SHEAR).index(plane) + 3] = 2e-6
    i, j = ("xyz".index(axis) for axis in plane)
    expected = np.zeros_like(points)
    expected[:, i], expected[:, j] = 1e-6 * points[:, j], 1e-6 * points[:, i]
    held = np.full_like(points, np.nan)
    for corner in np.vstack([np.zeros(3), np.eye(3)[:2]]):
        at = np.argmin(np.linalg.norm(points - corner, axis=1))
        held[at] = expected[at]
    settings = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-8, minimum_load_n=1e-3))
    found = solve_static(points, cells, Hooke(100.0, 0.3), held, eigenstrain=strain, settings=settings)
    wall.error(
        "stress-free shear strain in each of three planes, free body: displacement",
        worst(found.displacement_mm, expected),
        1e-5,
        source="exact",
        because=LINEAR,
    )
