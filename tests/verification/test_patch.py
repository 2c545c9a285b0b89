"""Patch tests: any mesh must carry a constant stress exactly."""

from __future__ import annotations

import json
from pathlib import Path

import meshio
import numpy as np
import pytest
from scipy.spatial import Delaunay
from shapes import Hooke, block, hex20, jiggled, on_box, tet10, with_midsides
from wall import worst

from kyphos.fem import MarchSettings, NewtonSettings, solve_static

GROUP = "Patch tests"
EXACT = "exact: rounding alone, 1e-16 of the forces times the condition of the stiffness"
PAPER = "MacNeal & Harder 1985"
DATA = Path(__file__).parent / "data" / "06_patch_macneal_harder"
# as tight as rounding allows: residuals are 1e-16 of the nodal forces, which are 1e-2 N here and there
TIGHT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-11, minimum_load_n=1e-9, linear_tolerance=1e-12))

# A symmetric displacement gradient: strain without rotation, so that log strain is ln(1 + G) in closed form.
GRADIENT = np.array([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]) / 2.0


def log_stress(law: Hooke, gradient: np.ndarray) -> np.ndarray:
    """(6,) C : ln(1 + G) for a symmetric G."""
    value, vector = np.linalg.eigh(gradient)
    e = (vector * np.log1p(value)) @ vector.T
    return law.young_mpa * law.stiffness @ np.array([e[0, 0], e[1, 1], e[2, 2], 2 * e[0, 1], 2 * e[1, 2], 2 * e[0, 2]])


def solved(points, cells, law, field, formulation="standard"):
    prescribed = np.full_like(points, np.nan)
    outer = on_box(points)
    prescribed[outer] = field(points[outer])
    return solve_static(points, cells, law, prescribed, formulation=formulation, settings=TIGHT)


MIXED = np.arange(27, dtype=np.int8) % 3  # neighbours of every formulation in one mesh


@pytest.mark.parametrize(
    "formulation",
    ["standard", "mean_dilatation", "enhanced", MIXED],
    ids=["standard", "mean", "enhanced", "mixed"],
)
@pytest.mark.parametrize("size", [1e-3, 0.2], ids=["small", "finite"])
def test_distorted_hex8_carry_a_constant_stress(wall, formulation, size):
    points, cells = block((3.0, 3.0, 3.0), (3, 3, 3))
    points, law = jiggled(points, 0.25), Hooke(1000.0, 0.3)
    result = solved(points, cells, law, lambda x: x @ (size * GRADIENT), formulation)
    np.testing.assert_allclose(result.displacement_mm, points @ (size * GRADIENT), atol=1e-9 * size)
    stress = result.equilibrium.evaluation.response.stress
    wall.error(
        "constant stress, 27 distorted hex8: standard, mean dilatation, enhanced, all three mixed; strain up to 0.4",
        worst(stress, log_stress(law, size * GRADIENT)),
        1e-8,
        source="C : ln(1 + G)",
        because=EXACT,
    )


@pytest.mark.parametrize("kind", ["tet10", "tet4", "hex20"])
def test_other_distorted_cells_carry_a_constant_stress(wall, kind):
    points, cells = block((2.0, 2.0, 2.0), (2, 2, 2))
    points = jiggled(points, 0.2)
    if kind == "tet4":
        cells = tet10(points, cells)[1][:, :4]
    else:
        points, cells = (tet10 if kind == "tet10" else hex20)(points, cells)
    law = Hooke(1000.0, 0.3)
    result = solved(points, cells, law, lambda x: x @ (0.2 * GRADIENT))
    np.testing.assert_allclose(result.displacement_mm, points @ (0.2 * GRADIENT), atol=1e-9)
    stress = result.equilibrium.evaluation.response.stress
    wall.error(
        "constant stress, 48 distorted tet10 and tet4, 8 hex20, strain up to 0.4",
        worst(stress, log_stress(law, 0.2 * GRADIENT)),
        1e-8,
        source="C : ln(1 + G)",
        because=EXACT,
    )


def macneal_mesh(kind: str):
    """The seven irregular hexes, or a Delaunay mesh of tet10 on the same sixteen points."""
    source = meshio.read(DATA / "mesh_hex8.vtu")
    points = np.array(source.points)
    if kind == "tet10":
        tets = Delaunay(points).simplices.astype(np.int64)
        edges = points[tets[:, 1:]] - points[tets[:, :1]]
        volume = np.linalg.det(edges) / 6.0
        tets[volume < 0.0] = tets[volume < 0.0][:, [0, 2, 1, 3]]
        points, cells = with_midsides(points, tets[np.abs(volume) > 1e-12])  # flat ones lie on the cube's faces
        return points, cells, "standard"
    return points, source.cells[0].data.astype(np.int64), kind


KINDS = ["standard", "mean_dilatation", "enhanced", "tet10"]
EXPECTED = json.loads((DATA / "expected.json").read_text())["checks"]
PUBLISHED = np.array(EXPECTED[0]["value"] + EXPECTED[1]["value"], dtype=float)  # xx yy zz xy yz xz


@pytest.mark.parametrize("kind", KINDS)
def test_macneal_harder_stress_is_exact_at_finite_strain(wall, kind):
    """Stress 2000 and 400 at every point (MacNeal & Harder); published strain as log strain, F = exp(E)."""
    points, cells, formulation = macneal_mesh(kind)
    value, vector = np.linalg.eigh(1e-3 * GRADIENT)
    stretch = (vector * np.expm1(value)) @ vector.T
    result = solved(points, cells, Hooke(1e6, 0.25), lambda x: x @ stretch, formulation)
    wall.error(
        "MacNeal-Harder solid patch: stress 2000 and 400 at every point, hex8 (three formulations) and tet10; "
        "published strain as log strain",
        worst(result.equilibrium.evaluation.response.stress, PUBLISHED),
        1e-8,
        source=PAPER,
        because=EXACT,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_macneal_harder_with_the_published_displacement(wall, kind):
    """The published numbers are the limit of small strain; at the published strain ours differ by 1e-3.

    Two scaled fields s, s/2 give that limit: 2 S(s/2) - S(s) errs by (1e-3 s)^2 = 4e-10 for s = 0.02.
    """
    points, cells, formulation = macneal_mesh(kind)
    scaled = {}
    for s in (0.02, 0.01):
        result = solved(points, cells, Hooke(1e6, 0.25), lambda x, s=s: x @ (s * 1e-3 * GRADIENT), formulation)
        scaled[s] = result.stress_mpa / s
    stress = 2.0 * scaled[0.01] - scaled[0.02]
    wall.error(
        "the same with the published displacement, in the limit of small strain",
        worst(stress, PUBLISHED),
        1e-8,
        source=PAPER,
        because="two scales extrapolated: what is left is (2e-5)² = 4e-10",
    )
    inner = result.displacement_mm[:8] / s
    np.testing.assert_allclose(inner, EXPECTED[2]["value"], rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quadratic_field_does_not_pass(wall, kind):
    """The check above can fail: with a quadratic field on the boundary the stress is far from constant."""
    points, cells, formulation = macneal_mesh(kind)
    result = solved(points, cells, Hooke(1e6, 0.25), lambda x: 1e-3 * (x @ GRADIENT) ** 2, formulation)
    stress = result.equilibrium.evaluation.response.stress
    wall.contrast(
        "spread of stress in the same patch under a quadratic displacement",
        np.ptp(stress, axis=(0, 1)).max() / PUBLISHED.max(),
        0.1,
        because="the patch test can fail: the field is not linear",
    )
