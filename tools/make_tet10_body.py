"""Make the tet10 body of the cross-check with CalculiX from a vertebra's surface, once.

    pip install pytetwild pyvista
    python tools/make_tet10_body.py L2.vtp tests/verification/data/12_lumbar_mean_L2

The surface is the mean second lumbar vertebra of a statistical shape model (see the README of that folder; x forward,
z up). What lies behind the body is cut away, the rest filled with straight quadratic tetrahedra, in VTK order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import meshio
import numpy as np
import pytetwild
import pyvista as pv

BEHIND_MM = -18.0  # the body's posterior wall; pedicles and processes lie behind
EDGE_SHARE = 0.1  # wanted edge over the diagonal of the bounding box
ENVELOPE_SHARE = 8e-3  # how far the new surface may lie from the old one, over the same diagonal
FLAT_MM = 3.0  # depth of the bands at both ends in which the endplates lie
EDGES = np.array([[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]])


def main(surface: Path, folder: Path) -> None:
    """Write ``mesh_tet10.vtu`` and ``sets_tet10.json``: nodes of the endplates."""
    body = pv.read(surface).clip_closed_surface("x", origin=(BEHIND_MM, 0.0, 0.0)).triangulate()
    linear = pytetwild.tetrahedralize_pv(body, edge_length_fac=EDGE_SHARE, epsilon=ENVELOPE_SHARE)
    points, cells = quadratic(np.asarray(linear.points), linear.cells_dict[pv.CellType.TETRA])
    folder.mkdir(parents=True, exist_ok=True)
    meshio.write(folder / "mesh_tet10.vtu", meshio.Mesh(points, [("tetra10", cells)]), compression="zlib")
    sets = {name: nodes.tolist() for name, nodes in endplates(points, cells).items()}
    (folder / "sets_tet10.json").write_text(json.dumps(sets))
    print(len(points), "points", len(cells), "cells", {name: len(nodes) for name, nodes in sets.items()})


def quadratic(points: np.ndarray, tets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tetrahedra (m, 4), turned to positive volume, as straight tet10 (m, 10)."""
    corner = points[tets]
    inward = np.linalg.det(corner[:, 1:] - corner[:, :1]) < 0.0
    tets = np.where(inward[:, None], tets[:, [0, 2, 1, 3]], tets)
    pairs, inverse = np.unique(np.sort(tets[:, EDGES].reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    middle = points[pairs].mean(axis=1)
    return np.vstack([points, middle]), np.hstack([tets, len(points) + inverse.reshape(-1, 6)])


def endplates(points: np.ndarray, cells: np.ndarray) -> dict[str, np.ndarray]:
    """Nodes of outer faces whose normals lie within 45 degrees of z, near the upper and the lower end."""
    table = np.array([[0, 2, 1, 6, 5, 4], [0, 1, 3, 4, 8, 7], [1, 2, 3, 5, 9, 8], [2, 0, 3, 6, 7, 9]])
    faces = cells[:, table].reshape(-1, 6)
    _, inverse, count = np.unique(np.sort(faces[:, :3], axis=1), axis=0, return_inverse=True, return_counts=True)
    outer = faces[count[inverse.ravel()] == 1]
    a, b, c = (points[outer[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    height = points[outer[:, :3], 2].mean(axis=1)
    low, high = np.percentile(height, [5, 95])
    upper = (normal[:, 2] > 0.7) & (height > high - FLAT_MM)
    lower = (normal[:, 2] < -0.7) & (height < low + FLAT_MM)
    return {"superior_platen": np.unique(outer[upper]), "inferior_platen": np.unique(outer[lower])}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
