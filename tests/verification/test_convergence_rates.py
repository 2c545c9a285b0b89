"""Error against mesh size for an exact solution: the observed order, not only the error."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import Hooke, block, hex20, on_box, tet10

from kyphos.fem import MarchSettings, NewtonSettings, solve_static
from kyphos.fem.elements import element_for

GROUP = "Order of convergence"
YOUNG, POISSON = 1.0, 0.3
NAMES = {"standard": "hex8", "mean_dilatation": "hex8, mean dilatation", "enhanced": "hex8, enhanced"}
TIGHT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-9, minimum_load_n=1e-12, linear_tolerance=1e-10))
WHY = "expected {}; the finest pair of meshes still differs from it by h² of the next term"
# element, its order, cells along an edge of the finer mesh
CASES = [
    ("standard", 2, 16),
    ("mean_dilatation", 2, 16),
    ("enhanced", 2, 16),
    ("hex20", 3, 6),
    ("tet4", 2, 12),
    ("tet10", 3, 8),
]


def harmonic(x):
    """Displacement and gradient of grad(e^x sin(y) (1 + z)), which needs no body force at any Poisson's ratio."""
    e, s, c, z = np.exp(x[..., 0]), np.sin(x[..., 1]), np.cos(x[..., 1]), 1.0 + x[..., 2]
    u = np.stack([e * s * z, e * c * z, e * s], axis=-1)
    hessian = np.array([[e * s * z, e * c * z, e * s], [e * c * z, -e * s * z, e * c], [e * s, e * c, 0.0 * z]])
    return u, np.moveaxis(hessian, (0, 1), (-2, -1))


def waves(x):
    """Displacement and gradient of sin(2 x + i) cos(1.5 y) sin(2 z + 0.5 i) along axis i: needs a body force."""
    u, slope = np.empty(x.shape), np.empty((*x.shape, 3))
    for i in range(3):
        a, b, c = 2.0 * x[..., 0] + i, 1.5 * x[..., 1], 2.0 * x[..., 2] + 0.5 * i
        u[..., i] = np.sin(a) * np.cos(b) * np.sin(c)
        slope[..., i, 0] = 2.0 * np.cos(a) * np.cos(b) * np.sin(c)
        slope[..., i, 1] = -1.5 * np.sin(a) * np.sin(b) * np.sin(c)
        slope[..., i, 2] = 2.0 * np.sin(a) * np.cos(b) * np.cos(c)
    return u, slope


def nominal_stress(gradient):
    """P (..., 3, 3) of Hencky's solid: F from the displacement gradient, tau = lambda tr(h) + 2 G h, h = ln V."""
    F = np.eye(3) + gradient
    value, vector = np.linalg.eigh(F @ np.swapaxes(F, -1, -2))
    log = np.einsum("...ik,...k,...jk->...ij", vector, 0.5 * np.log(value), vector)
    shear, lame = YOUNG / (2 * (1 + POISSON)), YOUNG * POISSON / ((1 + POISSON) * (1 - 2 * POISSON))
    tau = 2.0 * shear * log + lame * np.trace(log, axis1=-2, axis2=-1)[..., None, None] * np.eye(3)
    return tau @ np.swapaxes(np.linalg.inv(F), -1, -2)


def fine_rule(n_nodes):
    """A rule of degree 5 or more: the loads of the manufactured solution must not add an error of their own."""
    one, weight = np.polynomial.legendre.leggauss(4)
    grid = np.stack(np.meshgrid(one, one, one, indexing="ij"), axis=-1).reshape(-1, 3)
    product = np.einsum("i,j,k->ijk", weight, weight, weight).ravel()
    if n_nodes in (8, 20):
        return grid, product
    u, v, w = (0.5 * (1.0 + grid)).T  # the cube drawn together to a tetrahedron (Duffy)
    points = np.column_stack([u, v * (1 - u), w * (1 - u) * (1 - v)])
    return points, product / 8.0 * (1 - u) ** 2 * (1 - v)


def mesh_of(kind, points, cells):
    """Points, cells and formulation of an element, from cells of hex8."""
    if kind == "hex20":
        return *hex20(points, cells), "standard"
    if kind.startswith("tet"):
        large, tets = tet10(points, cells)
        return (large, tets, "standard") if kind == "tet10" else (points, tets[:, :4], "standard")
    return points, cells, kind


def l2_error(n: int, kind: str, field, size: float) -> float:
    """L2 norm of the error of the displacement over ``size``, on n^3 distorted cells (tetrahedra: six times as many).

    Loads: integral of P_exact : grad N, which is the body force of the exact solution on all inner nodes.
    """
    points, cells = block(counts=(n, n, n))
    points += 0.05 * np.prod(np.sin(np.pi * points), axis=1)[:, None]  # distorted, alike on all meshes
    points, cells, formulation = mesh_of(kind, points, cells)
    element = element_for(cells)
    at, weight = fine_rule(cells.shape[1])
    slope = element.gradient(at)
    jacobian = np.einsum("mai,qak->mqik", points[cells], slope)
    gradient = np.einsum("qak,mqki->mqai", slope, np.linalg.inv(jacobian))
    volume = np.linalg.det(jacobian) * weight
    exact, exact_slope = field(np.einsum("qa,mai->mqi", element.shape(at), points[cells]))
    force = np.zeros_like(points)
    loads = np.einsum("mq,mqij,mqaj->mai", volume, nominal_stress(size * exact_slope), gradient, optimize=True)
    np.add.at(force, cells, loads)
    prescribed = np.where(on_box(points)[:, None], size * field(points)[0], np.nan)
    force[on_box(points)] = 0.0
    law = Hooke(YOUNG, POISSON)
    result = solve_static(points, cells, law, prescribed, force, formulation=formulation, settings=TIGHT)
    found = np.einsum("qa,mai->mqi", element.shape(at), result.displacement_mm[cells])
    return float(np.sqrt(np.einsum("mq,mqi->", volume, (found / size - exact) ** 2)))


def observed(kind, field, size, cells):
    """Order from a mesh of ``cells`` along an edge and one of half as many."""
    coarse, fine = (l2_error(n, kind, field, size) for n in (cells // 2, cells))
    print(kind, coarse, fine)
    return np.log2(coarse / fine)


@pytest.mark.parametrize(("kind", "order", "cells"), CASES)
def test_harmonic_displacement(wall, kind, order, cells):
    wall.order(
        f"order in L2, {NAMES.get(kind, kind)}: harmonic displacement, small strain",
        observed(kind, harmonic, 1e-6, cells),
        order - (0.1 if order == 3 else 0.05),
        source="grad(e^x sin(y)(1 + z))",
        because=WHY.format(order),
    )


@pytest.mark.parametrize(("kind", "order", "cells"), [CASES[0], CASES[-1]])
@pytest.mark.parametrize("size", [1e-6, 0.15], ids=["small", "finite"])
def test_manufactured_solution(wall, kind, order, cells, size):
    """At size 0.15 stretches reach 0.7 and 1.3: the whole chain of finite strain has the order of the element."""
    strain = "finite" if size > 0.01 else "small"
    wall.order(
        f"order in L2, {NAMES.get(kind, kind)}: manufactured solution with body force, {strain} strain",
        observed(kind, waves, size, cells),
        order - (0.1 if order == 3 else 0.05),
        source="sin(2x+i) cos(1.5y) sin(2z+i/2)",
        because=WHY.format(order),
    )
