"""Error against mesh size for an exact solution: the observed order, not only the error."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, on_box, tet10

from kyphos.fem import MarchSettings, NewtonSettings, solve_static
from kyphos.fem.elements import element_for

AMPLITUDE = 1e-6  # small strain: the exact solution is one of linear elasticity
TIGHT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-8, minimum_load_n=1e-9))


def exact(x):
    """Gradient of the harmonic function e^x sin(y) (1 + z): free of body force for every Poisson's ratio."""
    e, s, c = np.exp(x[..., 0]), np.sin(x[..., 1]), np.cos(x[..., 1])
    return AMPLITUDE * np.stack([e * s * (1 + x[..., 2]), e * c * (1 + x[..., 2]), e * s], axis=-1)


def l2_error(n: int, kind: str) -> float:
    points, cells = block(counts=(n, n, n))
    points += 0.05 * np.prod(np.sin(np.pi * points), axis=1)[:, None]  # distorted, alike on all meshes
    if kind == "tet10":
        points, cells = tet10(points, cells)
    prescribed = np.where(on_box(points)[:, None], exact(points), np.nan)
    formulation = "standard" if kind == "tet10" else kind
    result = solve_static(points, cells, Hooke(1.0, 0.3), prescribed, formulation=formulation, settings=TIGHT)
    element = element_for(cells)
    shape = element.shape(element.points)
    at = np.einsum("qa,mai->mqi", shape, points[cells])
    found = np.einsum("qa,mai->mqi", shape, result.displacement_mm[cells])
    weight = result.structure.mesh.weight
    return float(np.sqrt(np.einsum("mq,mqi->", weight, (found - exact(at)) ** 2)) / AMPLITUDE)


@pytest.mark.parametrize(
    ("kind", "counts", "order"),
    [
        ("standard", (4, 8), 2.0),
        ("mean_dilatation", (4, 8), 2.0),
        ("enhanced", (4, 8), 2.0),
        ("tet10", (2, 4), 3.0),
    ],
)
def test_displacement_converges_at_the_order_of_the_element(kind, counts, order):
    coarse, fine = (l2_error(n, kind) for n in counts)
    observed = np.log2(coarse / fine)
    print(kind, coarse, fine, observed)
    assert observed == pytest.approx(order, abs=0.15)  # the next term of the error is h^2 smaller
