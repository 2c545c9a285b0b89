"""Mooney-Rivlin rubber: homogeneous deformations, the inflation of a thick sphere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import FINE, block, everywhere, follow, jiggled, sphere_octant
from wall import worst

from kyphos.fem import Cavity, DirectSolver, Structure, cauchy_stress, discretise, prescribe, settle
from kyphos.materials import FOAM, MOONEY_RIVLIN, MaterialField

GROUP = "Hyperelasticity"
C10, C01 = 0.12, 0.03
NEARLY = "the bulk modulus is finite: 2 (C10 + C01)/K = 3e-5, times the stretch"
SOURCE = "Rivlin 1948, incompressible"
TESTS = {
    "uniaxial": lambda s: 2.0 * (s - s**-2.0) * (C10 + C01 / s),
    "equibiaxial": lambda s: 2.0 * (s - s**-5.0) * (C10 + C01 * s**2),
    "planar": lambda s: 2.0 * (s - s**-3.0) * (C10 + C01),
}


@pytest.mark.parametrize("stretch", [0.7, 2.0])
@pytest.mark.parametrize("kind", TESTS)
def test_three_stretches(wall, kind, stretch):
    """Force over reference area of a distorted block with free, contracting sides."""
    points, cells = block(counts=(2, 2, 2))
    points = jiggled(points, 0.08)
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    high = [np.flatnonzero(points[:, i] > 1.0 - 1e-9) for i in range(3)]
    pulled = {"uniaxial": [2], "equibiaxial": [1, 2], "planar": [2]}[kind]
    legs = []
    for share in (0.25, 0.5, 0.75, 1.0):
        held = prescribe(len(points), *zip(low, "xyz", (0.0,) * 3, strict=True))
        for axis in pulled:
            held[high[axis], axis] = share * (stretch - 1.0)
        if kind == "planar":
            held[high[1], 1] = 0.0
        legs.append((held, None, 0.0))
    field = everywhere(MOONEY_RIVLIN, [C10, C01, 1e4], cells)
    *_, (_, _, support) = follow(points, cells, field, legs, formulation="mean_dilatation")
    wall.error(
        f"Mooney-Rivlin, {kind} stretch to 0.7 and 2, distorted block: nominal stress",
        support[high[2], 2].sum() / TESTS[kind](stretch) - 1.0,
        1e-3,
        source=SOURCE,
        because=NEARLY,
    )


def test_simple_shear(wall):
    """tau = 2 (C10 + C01) gamma, whatever the size; and N1 = tau gamma, the same for every isotropic solid."""
    points, cells = block(counts=(2, 2, 2))
    points = jiggled(points, 0.08)
    held = np.zeros_like(points)
    held[:, 0] = 1.5 * points[:, 1]
    half = 0.5 * held
    field = everywhere(MOONEY_RIVLIN, [C10, C01, 1e4], cells)
    *_, (structure, found, _) = follow(points, cells, field, [(half, None, 0.0), (held, None, 0.0)])
    sigma = cauchy_stress(structure.mesh, found.state, found.evaluation.response.stress)
    shear = 2.0 * (C10 + C01) * 1.5
    wall.error(
        "Mooney-Rivlin, simple shear 1.5: shear stress and first normal stress difference",
        max(worst(sigma[..., 3], shear), worst(sigma[..., 0] - sigma[..., 1], 1.5 * shear)),
        1e-9,
        source="2 (C10 + C01) gamma, and gamma times that (universal)",
        because="isochoric and homogeneous: rounding of the logarithm",
    )


def inflation(ratio, inner, outer):
    """Pressure of an incompressible thick sphere whose hole has ``ratio`` times its volume: a quadrature."""
    x, weight = np.polynomial.legendre.leggauss(40)
    R = 0.5 * (outer - inner) * x + 0.5 * (outer + inner)
    r = (R**3 + (ratio - 1.0) * inner**3) ** (1.0 / 3.0)
    s = r / R
    difference = 2.0 * (s**2 - s**-4.0) * (C10 + C01 * s**2)
    return 0.5 * (outer - inner) * np.sum(weight * 2.0 * difference / r * (R / r) ** 2)


@pytest.mark.parametrize("ratio", [1.5, 4.0])
def test_inflation_of_a_thick_sphere(wall, ratio):
    inner, outer = 1.0, 2.0
    points, shell, fluid = sphere_octant(inner, outer, 6, 8)
    cells = np.vstack([shell, fluid])
    blocks = (
        (MOONEY_RIVLIN, np.arange(len(shell)), np.array([C10, C01, 100.0])),
        (FOAM, np.arange(len(shell), len(cells)), np.array([1e-6])),
    )
    field = MaterialField(blocks, len(cells), 8)
    cavity = Cavity("balloon", np.arange(len(shell), len(cells)))
    structure = Structure(discretise(points, cells, "mean_dilatation"), field, cavities=(cavity,))
    state = structure.initial_state(field.initial_state())
    load = structure.free_load(state)
    load = replace(load, fixed=np.append(np.abs(points) < 1e-9, [False]))
    target = replace(load, volume_mm3=ratio * load.volume_mm3)
    found = settle(structure, state, load, target, DirectSolver(), replace(FINE, first=0.1)).equilibrium
    wall.error(
        "Mooney-Rivlin sphere, hole inflated to 1.5 and 4 times its volume: pressure",
        found.state.pressure_mpa[0] / inflation(ratio, inner, outer) - 1.0,
        0.02,
        source="integral of 2 (s_theta - s_r)/r dr",
        because="facets of 15 degrees, of the hole and of the wall: (pi/24)² / 2",
    )
