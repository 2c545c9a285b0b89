"""Make the shipped spines (meshes/sample) from their sources, and print how well the fits are.

`python tools/make_specimens.py VISIBLE_HUMAN_FOLDER VERSE_MASK.nii.gz` needs the closed surfaces `<level>_body.vtp` and
`<level>_wrap.vtp` of L1-L5 (mm, x anterior, z up), made from github.com/RemusR9/artisynth_lumbosacralSpineModel
(BSD-3-Clause), and the vertebra mask of sub-verse004 from github.com/anjany/verse (CC BY-SA 4.0). It takes two minutes.
It writes both `bodies.json`, and prints the distances between surface and fit and the proportions of the arches that
`kyphos.meshes.posterior` uses.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyvista as pv
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from kyphos.meshes.image import ScanShape
from kyphos.meshes.model import Floats
from kyphos.meshes.segment import PlacedShape
from kyphos.meshes.spine import Depth, Spine, facing, fit_body, spine_from_mask, write_spine
from kyphos.meshes.sweep import sweep_body

SAMPLE = Path(__file__).resolve().parents[1] / "meshes" / "sample"
LUMBAR = ("L1", "L2", "L3", "L4", "L5")
# The L1 of this subject is crushed to a third of its height and cannot be fitted.
VERSE_LEVELS = ("T11", "T12", "L2", "L3", "L4", "L5")


def main(human: Path, mask: Path) -> None:
    """Fit, write and report both spines."""
    surfaces = {level: [_surface(human / f"{level}_{part}.vtp") for part in ("body", "wrap")] for level in LUMBAR}
    bodies = []
    for level, (body, wrap) in surfaces.items():
        start = facing(np.array(body.center_of_mass()), np.array(wrap.points).mean(axis=0), np.array([0.0, 0.0, 1.0]))
        depth = _depth(body)
        bodies.append(fit_body(depth, start, level))
        _report(bodies[-1], depth, float(body.volume))
    source = "Visible Human male; surfaces Remus et al. 2021, doi:10.1371/journal.pone.0250456, BSD-3-Clause"
    write_spine(Spine(tuple(bodies), source), SAMPLE / "visible_human" / "bodies.json")
    for body, (_, wrap) in zip(bodies, surfaces.values(), strict=True):
        _arch(body, _inside(body, wrap.points))
    for upper, lower in pairwise(bodies):
        _facets(lower, surfaces[upper.level][1], surfaces[lower.level][1])
    verse = spine_from_mask(mask, VERSE_LEVELS)
    source = "VerSe subject 004, vertebra mask; Sekuboyina et al. 2021, doi:10.1016/j.media.2021.102166, CC BY-SA 4.0"
    write_spine(Spine(verse.bodies, source), SAMPLE / "verse004" / "bodies.json")


def _surface(path: Path) -> pv.PolyData:
    """A closed surface turned to x right, y anterior."""
    surface = pv.read(path)
    surface.points = np.column_stack([-surface.points[:, 1], surface.points[:, 0], surface.points[:, 2]])
    return surface.compute_normals(auto_orient_normals=True, consistent_normals=True)


def _depth(surface: pv.PolyData) -> Depth:
    """Exact signed distance to a closed surface, positive inside."""
    function = vtk.vtkImplicitPolyDataDistance()
    function.SetInput(surface)

    def depth(points_mm: Floats) -> Floats:
        out = vtk.vtkDoubleArray()
        function.FunctionValue(numpy_to_vtk(np.ascontiguousarray(points_mm, dtype=np.float64)), out)
        return -vtk_to_numpy(out)

    return depth


def _inside(body: PlacedShape, points: Floats) -> Floats:
    """Points (k, 3) in the body's frame."""
    return (np.array(points) - body.frame.origin_mm) @ body.frame.axes.T


def _report(body: PlacedShape, depth: Depth, volume_mm3: float) -> None:
    mesh = sweep_body(body.shape, body.level, 2.0)
    skin = np.unique(np.concatenate([mesh.face_sets[f"{body.level}.{p}"].ravel() for p in _SKIN]))
    off = np.abs(depth(body.frame.place(mesh.points_mm[skin])))
    ours = mesh.bodies[body.level].volume_mm3
    away = f"distance mean {off.mean():.2f}, 95 % {np.percentile(off, 95):.2f} mm"
    print(f"{body.level}: volume {ours:.0f} of {volume_mm3:.0f} mm3, {away}")


_SKIN = ("wall", "superior_endplate", "inferior_endplate")


def _sizes(body: PlacedShape) -> tuple[float, float, float, float]:
    """Back wall, depth, half width and height in the body's frame."""
    shape = body.shape
    assert isinstance(shape, ScanShape)
    front, back = shape.outline_mm(np.array([0.5, -0.5]) * np.pi, 0.5)
    zero = np.zeros(1)
    height = float((shape.superior_mm(zero, zero) - shape.inferior_mm(zero, zero))[0])
    return float(-back), float(front + back), float(shape.outline_mm(zero, 0.5)[0]), height


def _arch(body: PlacedShape, points: Floats) -> None:
    """Proportions of the midline of the arch, over the body's depth and height."""
    back, depth, _, height = _sizes(body)
    middle = points[(np.abs(points[:, 0]) < 3.0) & (points[:, 1] < back - 6.0)]
    tip = middle[np.argmin(middle[:, 1])]
    lamina = middle[np.abs(middle[:, 2] + 2.0) < 3.0, 1].max()
    low = middle[np.abs(middle[:, 2] + 0.48 * height) < 1.5, 1].max()
    half = middle[np.abs(middle[:, 1] - 0.5 * (lamina + tip[1])) < 1.5, 2]
    end = middle[middle[:, 1] < tip[1] + 3.0, 2]
    print(f"{body.level}: canal {(back - lamina) / depth:.2f}, low lamina {(back - low) / depth:.2f}")
    print(f"    process at half its length {half.min() / height:.2f} to {half.max() / height:.2f}")
    print(f"    tip {(back - tip[1]) / depth:.2f} behind, {end.min() / height:.2f} to {end.max() / height:.2f}")


def _facets(body: PlacedShape, above: pv.PolyData, surface: pv.PolyData) -> None:
    """Place and normal of the facets that look at the vertebra above."""
    near = np.abs(_depth(above)(np.array(surface.points))) < 2.0
    points, normals = _inside(body, surface.points), np.array(surface.point_normals) @ body.frame.axes.T
    back, depth, half, height = _sizes(body)
    for side in (-1.0, 1.0):
        here = near & (side * points[:, 0] > 5.0)
        centre, normal = points[here].mean(axis=0), normals[here].mean(axis=0)
        normal /= np.linalg.norm(normal)
        place = f"{abs(centre[0]) / half:.2f} half widths out, {(back - centre[1]) / depth:.2f} behind"
        turn, rise = np.degrees([np.arctan2(-normal[1], -side * normal[0]), np.arcsin(normal[2])])
        print(f"facet above {body.level}: {place}, {centre[2] / height:.2f} up; {turn:.0f} and {rise:.0f} degrees")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
