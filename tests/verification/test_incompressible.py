"""Nearly incompressible bodies: displacement and pressure where plain elements give neither."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import HEX_EDGES, Hooke, block, cylinder_sector, hex20, sphere_octant

from kyphos.fem import (
    MarchSettings,
    NewtonSettings,
    boundary_faces,
    prescribe,
    pressure_forces,
    solve_static,
    traction_forces,
)

GROUP = "Nearly incompressible bodies"
INNER, OUTER, YOUNG, PRESSURE = 1.0, 2.0, 1000.0, 0.1  # strains 1e-4: linear
RATIOS = [0.4999, 0.49999]
# pressure is 1e4 times a change of volume: what Newton leaves over counts as often
TIGHT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-7, minimum_load_n=1e-6))
UNCURED = ["standard", "enhanced"]
PER_CELL = "order two, of the uniform mean stress in the worst cell; that is h² of the bore pressure"
LOCKS = "too many constraints of volume: locked, and the pressure oscillates"


def pressure(result):
    """Mean stress at all points (m, q) but padding; the same at those of a cell with mean dilatation."""
    count = 27 if result.structure.mesh.cells.shape[1] == 20 else 8
    return result.stress_mpa[:, :count, :3].mean(axis=2)


def as_kind(points, cells, kind, axes=0):
    """Mesh and formulation; hex20 gets middles as far from the origin, along the first ``axes`` axes, as their ends."""
    if kind != "hex20":
        return points, cells, kind
    large, quadratic = hex20(points, cells)
    if axes:  # the same middle of several cells: each time the same product, of what it was before
        straight = large.copy()
        far, before = (np.linalg.norm(x[:, :axes], axis=1) for x in (points, large))
        for middle, (a, b) in enumerate(HEX_EDGES):
            ids = quadratic[:, 8 + middle]
            large[ids, :axes] = (
                straight[ids, :axes] * (0.5 * (far[cells[:, a]] + far[cells[:, b]]) / before[ids])[:, None]
            )
    return large, quadratic, "standard"


def held_on_planes(points, axes="xyz"):
    """Symmetry: nodes on the coordinate planes do not leave them."""
    entries = [(np.flatnonzero(np.abs(points[:, "xyz".index(a)]) < 1e-9), a, 0.0) for a in axes]
    return prescribe(len(points), *entries)


def pressurised_cylinder(poisson, formulation):
    """Plane strain; errors of radial displacement at the bore and of mean stress, Lame (Timoshenko & Goodier, 28)."""
    points, cells, formulation = as_kind(*cylinder_sector(INNER, OUTER, 0.2, (8, 12, 1)), formulation, 2)
    radius = np.hypot(points[:, 0], points[:, 1])
    faces = boundary_faces(cells)
    bore = faces[np.all(radius[faces] < INNER + 1e-9, axis=1)]
    held = held_on_planes(points, "xy")
    held[:, 2] = 0.0
    force = pressure_forces(points, bore, PRESSURE)
    result = solve_static(points, cells, Hooke(YOUNG, poisson), held, force, formulation=formulation, settings=TIGHT)
    a = PRESSURE * INNER**2 / (OUTER**2 - INNER**2)
    displacement = (1 + poisson) / YOUNG * a * ((1 - 2 * poisson) * INNER + OUTER**2 / INNER)
    mean = 2.0 / 3.0 * (1.0 + poisson) * a
    inner = radius < INNER + 1e-9
    moved = np.einsum("ni,ni->n", result.displacement_mm[:, :2], points[:, :2])[inner] / INNER
    return np.abs(moved / displacement - 1.0).max(), np.abs(pressure(result) / mean - 1.0).max()


def pressurised_sphere(poisson, formulation):
    """Errors of radial displacement at the hole and of mean stress, Lame (Timoshenko & Goodier, 136)."""
    points, cells, _ = sphere_octant(INNER, OUTER, 6, 8)
    points, cells, formulation = as_kind(points[:-1], cells, formulation, 3)  # the centre serves the fluid cells only
    radius = np.linalg.norm(points, axis=1)
    faces = boundary_faces(cells)
    hole = faces[np.all(radius[faces] < INNER + 1e-9, axis=1)]
    force = pressure_forces(points, hole, PRESSURE)
    result = solve_static(
        points, cells, Hooke(YOUNG, poisson), held_on_planes(points), force, formulation=formulation, settings=TIGHT
    )
    mean = PRESSURE * INNER**3 / (OUTER**3 - INNER**3)
    displacement = mean / YOUNG * ((1 - 2 * poisson) * INNER + (1 + poisson) * OUTER**3 / (2.0 * INNER**2))
    inner = radius < INNER + 1e-9
    moved = np.einsum("ni,ni->n", result.displacement_mm, points)[inner] / INNER
    return moved.mean() / displacement - 1.0, np.abs(pressure(result) / mean - 1.0).max()


@pytest.mark.parametrize("poisson", RATIOS)
@pytest.mark.parametrize(
    ("name", "body", "allowed"),
    [("thick cylinder", pressurised_cylinder, (0.01, 0.003)), ("thick sphere", pressurised_sphere, (0.01, 0.04))],
)
def test_displacement_and_pressure_are_those_of_lame(wall, name, body, allowed, poisson):
    displacement_error, pressure_error = body(poisson, "mean_dilatation")
    label = f"{name} under internal pressure, nu = 0.4999 and 0.49999, mean dilatation:"
    wall.error(
        f"{label} displacement of the bore",
        displacement_error,
        allowed[0],
        source="Lamé",
        because="eight cells over the wall, order two: (1/8)² / 4, and as much for the facets",
    )
    wall.error(f"{label} mean stress, worst cell", pressure_error, allowed[1], source="Lamé", because=PER_CELL)


@pytest.mark.parametrize("formulation", UNCURED)
@pytest.mark.parametrize("poisson", RATIOS)
@pytest.mark.parametrize(("name", "body"), [("cylinder", pressurised_cylinder), ("sphere", pressurised_sphere)])
def test_the_other_elements_are_wrong(wall, name, body, poisson, formulation):
    """What is cured: other hexes are far too stiff, and their pressure oscillates."""
    displacement_error, pressure_error = body(poisson, formulation)
    wall.contrast(f"the same {name}, {formulation} hex8: displacement", displacement_error, 0.1, because=LOCKS)
    wall.contrast(f"the same {name}, {formulation} hex8: mean stress", pressure_error, 1.0, because=LOCKS)


WEAK = "fully integrated: 27 constraints of volume a cell, which bend the pressure between its points"


@pytest.mark.parametrize("poisson", RATIOS)
@pytest.mark.parametrize(("name", "body"), [("cylinder", pressurised_cylinder), ("sphere", pressurised_sphere)])
def test_hex20_has_no_pressure(wall, name, body, poisson):
    """Its displacement is good; its pressure at the points is not."""
    pressure_error = body(poisson, "hex20")[1]
    wall.contrast(f"the same {name}, hex20: mean stress", pressure_error, 1.0, because=WEAK)


@pytest.mark.parametrize("poisson", RATIOS)
def test_hex20_has_no_pressure_in_cooks_membrane_nor_under_a_punch(wall, poisson):
    cook_error, strip_error = pressure_error(poisson, "hex20"), strip_footing(poisson, "hex20")
    wall.contrast("Cook's membrane, hex20: mean stress", cook_error, 0.3, because=WEAK)
    wall.contrast("the same punch, hex20: mean stress", strip_error, 0.25, because=WEAK)


COOK_YOUNG = 250.0


def cook(n, poisson, kind):
    """Cook's membrane in plane strain: displacement of the upper right corner for a shear of 6.25 N/mm, and pressure.

    The load is a hundredth of that, and so is the displacement: the reference is linear.
    """
    points, cells = block((1.0, 1.0, 1.0), (n, n, 1))
    s, t = points[:, 0].copy(), points[:, 1].copy()
    points[:, 0], points[:, 1] = 48.0 * s, 44.0 * s * (1 - t) + t * (44.0 + 16.0 * s)
    points, cells, formulation = as_kind(points, cells, kind)
    end = boundary_faces(cells)
    end = end[np.all(points[end, 0] > 48.0 - 1e-9, axis=1)]
    force = traction_forces(points, end, np.array([0.0, 6.25e-2, 0.0]))
    held = prescribe(len(points), (np.arange(len(points)), "z", 0.0), (np.flatnonzero(points[:, 0] < 1e-9), "xy", 0.0))
    result = solve_static(
        points, cells, Hooke(COOK_YOUNG, poisson), held, force, formulation=formulation, settings=TIGHT
    )
    corner = np.argmax(points[:, 0] + points[:, 1])
    return result.displacement_mm[corner, 1] * 1e2, pressure(result) * 1e2


COOK_REFERENCE = 7.76


def pressure_error(poisson, kind):
    """L2 error of the mean stress at the points of 16 x 16 cells, the quarter at the clamp left out; of 64 x 64's."""
    found = cook(16, poisson, kind)[1].reshape(16, 16, -1)[4:]
    right = cook(64, poisson, "mean_dilatation")[1].mean(axis=1).reshape(16, 4, 16, 4).mean(axis=(1, 3))[4:, :, None]
    return np.sqrt(((found - right) ** 2).mean() / (right**2).mean())


@pytest.mark.parametrize("poisson", RATIOS)
def test_cooks_membrane(wall, poisson):
    wall.error(
        "Cook's membrane (E 250, shear 6.25 N/mm), nu = 0.4999 and 0.49999, 32 x 32 mean dilatation: corner, 7.76",
        cook(32, poisson, "mean_dilatation")[0] / COOK_REFERENCE - 1.0,
        0.012,
        source="CalculiX C3D20R, 8 to 32 cells a side, extrapolated",
        because="the clamped corner is singular: the error falls as h^1.4, 2.2 % at 16 cells and 0.9 % at 32",
    )
    wall.error(
        "the same, 16 x 16: mean stress, but for the quarter at the clamp (L2)",
        pressure_error(poisson, "mean_dilatation"),
        0.12,
        source="64 x 64 cells",
        because="the singular corner radiates; a cell is a sixteenth of the panel",
    )


@pytest.mark.parametrize("poisson", RATIOS)
@pytest.mark.parametrize("formulation", UNCURED)
def test_cooks_membrane_locks(wall, formulation, poisson):
    corner, _ = cook(32, poisson, formulation)
    wall.contrast(f"the same, {formulation} hex8: corner", corner / COOK_REFERENCE - 1.0, 0.3, because=LOCKS)
    error = pressure_error(poisson, formulation)
    wall.contrast(f"the same, {formulation} hex8: mean stress", error, 0.3, because=LOCKS)


HALF_WIDTH, DEEP = 1.0, 4.0


def strip_stress(x, y):
    """Plane-strain stress (xx, yy, xy) under a pressure of one on |x| < a of the half-plane y < 0.

    Timoshenko & Goodier, Theory of Elasticity, in the angles at which the strip's ends are seen.
    """
    ends = np.arctan2(x[..., None] + HALF_WIDTH * np.array([-1.0, 1.0]), -y[..., None])
    angle, double = np.diff(ends)[..., 0], np.diff(np.sin(2.0 * ends))[..., 0] / 2.0
    return -(angle - double) / np.pi, -(angle + double) / np.pi, np.diff(np.sin(ends) ** 2)[..., 0] / np.pi


def strip_footing(poisson, kind, n=16):
    """L2 error of the mean stress at all points; exact tractions cut a square of four half widths out of the plane."""
    points, cells = block((DEEP, DEEP, 0.2), (n, n, 1))
    points[:, 1] -= DEEP
    points, cells, formulation = as_kind(points, cells, kind)
    faces = boundary_faces(cells)
    xyz = points[faces]
    where = {
        "footing": np.all((xyz[..., 1] > -1e-9) & (xyz[..., 0] < HALF_WIDTH + 1e-9), axis=1),
        "right": np.all(xyz[..., 0] > DEEP - 1e-9, axis=1),
        "bottom": np.all(xyz[..., 1] < -DEEP + 1e-9, axis=1),
    }
    force = traction_forces(points, faces[where["footing"]], np.array([0.0, -PRESSURE, 0.0]))
    for side, normal in (("right", 0), ("bottom", 1)):
        for face in faces[where[side]]:
            middle = points[face[:4]].mean(axis=0)
            xx, yy, xy = PRESSURE * np.array(strip_stress(middle[0], middle[1]))
            traction = np.array([xx, xy, 0.0]) if normal == 0 else -np.array([xy, yy, 0.0])
            force += traction_forces(points, face[None], traction)
    bottom = np.flatnonzero((points[:, 1] < -DEEP + 1e-9) & (points[:, 0] < 1e-9))
    held = prescribe(
        len(points),
        (np.arange(len(points)), "z", 0.0),
        (np.flatnonzero(points[:, 0] < 1e-9), "x", 0.0),
        (bottom, "y", 0.0),
    )
    result = solve_static(points, cells, Hooke(YOUNG, poisson), held, force, formulation=formulation, settings=TIGHT)
    middle = points[cells[:, :8]].mean(axis=1)
    xx, yy, _ = strip_stress(middle[:, 0], middle[:, 1])
    exact = PRESSURE * (1.0 + poisson) / 3.0 * (xx + yy)[:, None]
    return np.sqrt(((pressure(result) - exact) ** 2).mean() / (exact**2).mean())


@pytest.mark.parametrize("poisson", RATIOS)
def test_pressure_under_a_punch(wall, poisson):
    wall.error(
        "plane-strain punch: strip of pressure on a half-plane, nu = 0.4999 and 0.49999, mean dilatation: mean stress "
        "(L2)",
        strip_footing(poisson, "mean_dilatation"),
        0.03,
        source="Timoshenko & Goodier",
        because="the mean stress jumps at the edge of the strip: one cell there is off by half",
    )


@pytest.mark.parametrize("poisson", RATIOS)
@pytest.mark.parametrize("formulation", UNCURED)
def test_pressure_under_a_punch_of_other_elements(wall, formulation, poisson):
    error = strip_footing(poisson, formulation)
    wall.contrast(f"the same punch, {formulation} hex8: mean stress", error, 0.25, because=LOCKS)
