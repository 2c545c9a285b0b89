"""The stiffness of one cube of trilinear interpolation, eight Gauss points.

Corner ``b = 4 dz + 2 dy + dx``; entry ``8 component + b``. See Hughes, *The Finite Element Method* (2000), 3.7-3.9,
for the element; Arbenz et al., doi:10.1002/nme.2251, for voxel models of bone without a matrix.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CORNERS = np.array([[b & 1, (b >> 1) & 1, b >> 2] for b in range(8)])
GAUSS = (2.0 * CORNERS - 1.0) / np.sqrt(3.0)
"""(8, 3) Gauss points in -1..1, numbered like the corners."""


def elasticity(poisson_ratio: float) -> Array:
    """(6, 6) isotropic stiffness for a modulus of 1 MPa; xx yy zz xy yz xz, engineering shear."""
    lame = poisson_ratio / ((1.0 + poisson_ratio) * (1.0 - 2.0 * poisson_ratio))
    shear = 0.5 / (1.0 + poisson_ratio)
    moduli = np.diag([2.0 * shear] * 3 + [shear] * 3)
    moduli[:3, :3] += lame
    return moduli


def strain_matrix(voxel_mm: float) -> Array:
    """(8, 6, 24) strain at each Gauss point per displacement of the corners."""
    sign = 2.0 * CORNERS - 1.0
    strain = np.zeros((8, 6, 24))
    for q, point in enumerate(GAUSS):
        factor = 1.0 + sign * point
        for n in range(8):
            slope = [sign[n, a] * np.prod(np.delete(factor[n], a)) / (4.0 * voxel_mm) for a in range(3)]
            x, y, z = n, 8 + n, 16 + n
            strain[q, 0, x] = strain[q, 3, y] = strain[q, 5, z] = slope[0]
            strain[q, 1, y] = strain[q, 3, x] = strain[q, 4, z] = slope[1]
            strain[q, 2, z] = strain[q, 4, y] = strain[q, 5, x] = slope[2]
    return strain


def cube_stiffness(poisson_ratio: float, voxel_mm: float) -> Array:
    """(24, 24) stiffness, N/mm, for a modulus of 1 MPa."""
    return voxel_mm * _unit_stiffness(poisson_ratio)


@cache
def _unit_stiffness(poisson_ratio: float) -> Array:
    strain, moduli = strain_matrix(1.0), elasticity(poisson_ratio)
    stiffness: Array = np.einsum("qia,ij,qjb->ab", strain, moduli, strain) / 8.0
    return 0.5 * (stiffness + stiffness.T)


def cube_constants(poisson_ratio: float, voxel_mm: float) -> Array:
    """(8,) the distinct entries that are left of the stiffness under the parity transform of the corners."""
    pair = np.array([[1.0, 1.0], [1.0, -1.0]])
    parity = np.kron(np.eye(3), np.kron(np.kron(pair, pair), pair))
    k = parity @ cube_stiffness(poisson_ratio, voxel_mm) @ parity / 64.0
    x, y, z = 0, 8, 16
    trace, cubic = k[x + 1, y + 2], k[x + 6, y + 5]
    return np.array(
        [
            k[x + 1, x + 1] - trace,
            trace,
            k[x + 2, y + 1],
            k[x + 3, x + 3],
            k[x + 3, z + 6],
            k[x + 6, x + 6] - cubic,
            cubic,
            k[x + 7, x + 7],
        ]
    )
