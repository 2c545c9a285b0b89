"""The parametric body: contract, geometry independent of the elements, quality of random specimens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from kyphos import meshes
from kyphos.errors import MeshError
from kyphos.meshes.model import HEX_NODES, jacobians
from kyphos.meshes.vertebra import ParametricShape


def outward_area(points: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Area vectors (k, 3) of quads (k, 4)."""
    a, b, c, d = (points[quads[:, i]] for i in range(4))
    return 0.5 * np.cross(c - a, d - b)


def boundary(cells: np.ndarray) -> set[tuple[int, ...]]:
    """Sorted node tuples of the faces that belong to one cell only."""
    faces = [(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    counted = Counter(tuple(sorted(cell[list(face)].tolist())) for cell in cells for face in faces)
    assert max(counted.values()) == 2
    return {face for face, count in counted.items() if count == 1}


def test_mesh_keeps_the_contract_of_the_house(l1):
    parts = ("trabecular", "shell", "superior_endplate", "inferior_endplate")
    assert l1.region_names == (*(f"L1.{part}" for part in parts), "superior_pot", "inferior_pot")
    assert l1.points_mm.dtype == np.float64
    assert l1.cells.dtype == np.int64
    assert l1.region.dtype == np.int16
    assert set(np.unique(l1.region)) == set(range(6))
    assert np.array_equal(np.unique(l1.cells), np.arange(len(l1.points_mm))), "every node is used"
    in_pots = np.isin(np.arange(len(l1.cells)), l1.cells_in("superior_pot", "inferior_pot"))
    assert np.array_equal(np.isnan(l1.density_g_per_cc), in_pots)
    surfaces = {"superior_platen", "inferior_platen", "L1.superior_endplate", "L1.inferior_endplate"}
    assert set(l1.node_sets) == surfaces
    assert set(l1.face_sets) == surfaces | {"L1.wall"}
    with pytest.raises(MeshError, match=r"no region 'L2\.shell'"):
        l1.cells_in("L2.shell")


def test_cells_conform_and_the_face_sets_close_the_bone(l1):
    skin = boundary(l1.cells[l1.bony_cells("L1")])
    named = [l1.face_sets[f"L1.{name}"] for name in ("superior_endplate", "inferior_endplate", "wall")]
    assert {tuple(sorted(quad)) for faces in named for quad in faces.tolist()} == skin
    vectors = outward_area(l1.points_mm, np.vstack(named))
    middles = l1.points_mm[np.vstack(named)].mean(axis=1)
    assert np.allclose(vectors.sum(axis=0), 0.0, atol=1e-9)
    volume = np.einsum("ki,ki->", middles, vectors) / 3.0  # divergence theorem: all normals point out
    assert volume == pytest.approx(l1.bodies["L1"].volume_mm3, rel=2e-3)


@pytest.mark.parametrize("name", ["superior_platen", "inferior_platen"])
def test_platens_are_flat_and_face_outwards(l1, name):
    z = l1.points_mm[l1.node_sets[name], 2]
    assert np.ptp(z) < 1e-12
    assert (np.sign(outward_area(l1.points_mm, l1.face_sets[name])[:, 2]) == np.sign(z[0])).all()
    assert np.array_equal(np.unique(l1.face_sets[name]), l1.node_sets[name])


def test_third_local_axis_runs_outwards_through_shell_and_endplates(l1):
    centres = meshes.cell_centroids_mm(l1.points_mm, l1.cells)
    third = jacobians(l1.points_mm, l1.cells, np.zeros((1, 3)))[:, 0, :, 2]
    radial = centres * (1.0, 1.0, 0.0)
    shell, top, bottom = (l1.cells_in(f"L1.{p}") for p in ("shell", "superior_endplate", "inferior_endplate"))
    assert (np.einsum("mi,mi->m", third[shell], radial[shell]) > 0).all()
    assert (third[top, 2] > 0).all()
    assert (third[bottom, 2] < 0).all()
    assert 2 * np.linalg.norm(third[top], axis=1) == pytest.approx(0.5, rel=0.02)


def test_the_wall_has_its_thickness_along_its_normal_and_knows_its_share_of_cortex(l1):
    shell = l1.cells[l1.cells_in("L1.shell")]
    centres = l1.points_mm[shell[:, :4]].mean(axis=1)
    normals = outward_area(l1.points_mm, shell[:, 4:])
    normals[:, 2] = 0.0  # the thickness is a horizontal one
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    through = np.einsum("mi,mi->m", l1.points_mm[shell[:, 4:]].mean(axis=1) - centres, normals)
    assert np.mean(through) == pytest.approx(1.2, rel=0.02)
    assert through == pytest.approx(1.2, rel=0.08)
    assert l1.bodies["L1"].shell_share == pytest.approx(0.38 / 1.2)


def test_a_shell_thicker_than_the_wall_is_all_cortex():
    thick = replace(meshes.default_dimensions("L1"), shell_thickness_mm=1.4)
    assert meshes.build_body("L1", thick, element_size_mm=3.0).bodies["L1"].shell_share == 1.0


def test_dimensions_come_out_as_they_went_in():
    want = meshes.default_dimensions("L3", "male")
    mesh = meshes.build_body("L3", want, element_size_mm=1.5)
    top = mesh.points_mm[mesh.node_sets["L3.superior_endplate"]]
    bottom = mesh.points_mm[mesh.node_sets["L3.inferior_endplate"]]
    assert np.ptp(top[:, 0]) == pytest.approx(want.superior_width_mm, rel=0.01)
    assert np.ptp(bottom[:, 0]) == pytest.approx(want.inferior_width_mm, rel=0.01)
    middle = np.abs(top[:, 0]) < 1e-6
    assert np.ptp(top[middle, 1]) == pytest.approx(want.superior_depth_mm, rel=0.01)
    centre_top = top[np.argmin(np.linalg.norm(top[:, :2], axis=1)), 2]
    centre_bottom = bottom[np.argmin(np.linalg.norm(bottom[:, :2], axis=1)), 2]
    mean_mm = 0.5 * (want.anterior_height_mm + want.posterior_height_mm)
    hollow_mm = want.superior_concavity_mm + want.inferior_concavity_mm
    assert centre_top - centre_bottom == pytest.approx(mean_mm - hollow_mm, abs=0.05)


def test_gauges_of_a_plain_wedge_are_exact():
    """Flat tilted endplates: each gauge reads the plane's height at its own place, to rounding."""
    change = {"superior_concavity_mm": 0.0, "inferior_concavity_mm": 0.0, "anterior_height_mm": 18.0}
    flat = replace(meshes.default_dimensions("L1"), **change)
    mesh = meshes.build_body("L1", flat)
    shape = ParametricShape(flat)
    for gauge in mesh.bodies["L1"].gauges.values():
        assert gauge.superior_weights.sum() == pytest.approx(1.0)
        x, y, _ = gauge.superior_weights @ mesh.points_mm[gauge.superior_ids]
        assert x == pytest.approx(0.0, abs=1e-9)
        place = np.array([x]), np.array([y])
        wanted = shape.superior_mm(*place)[0] - shape.inferior_mm(*place)[0]
        assert meshes.gauge_height_mm(gauge, mesh.points_mm) == pytest.approx(wanted, abs=1e-9)


def test_gauges_ignore_a_rigid_motion_and_see_a_crush(l1):
    turn = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    crushed = l1.points_mm * (1.0, 1.0, 0.9)
    for gauge in l1.bodies["L1"].gauges.values():
        height = meshes.gauge_height_mm(gauge, l1.points_mm)
        assert meshes.gauge_height_mm(gauge, l1.points_mm @ turn.T + 5.0) == pytest.approx(height, abs=1e-10)
        assert meshes.gauge_height_mm(gauge, crushed) == pytest.approx(0.9 * height, rel=1e-3)


def test_element_size_changes_counts_and_not_geometry():
    sizes = (3.0, 2.0, 1.5, 1.0)
    built = [meshes.build_body("L2", element_size_mm=size) for size in sizes]
    bodies = [mesh.bodies["L2"] for mesh in built]
    counts = [len(mesh.cells) for mesh in built]
    assert counts == sorted(counts)
    assert counts[-1] > 10 * counts[0]
    volumes = [body.volume_mm3 for body in bodies]
    assert volumes == pytest.approx([volumes[-1]] * 4, rel=0.012)  # what is left is the faceting of the wall
    errors = [abs(volume - volumes[-1]) for volume in volumes[:-1]]
    assert errors[0] > errors[1] > errors[2]
    for place in ("anterior", "middle", "posterior"):
        heights = [meshes.gauge_height_mm(m.bodies["L2"].gauges[place], m.points_mm) for m in built]
        assert heights == pytest.approx([heights[-1]] * 4, abs=0.06)


def test_volume_is_that_of_the_shape():
    shape = ParametricShape(meshes.default_dimensions("L4"))
    theta = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    volume = 0.0
    shares, weights = np.polynomial.legendre.leggauss(12)
    for fraction, weight in zip(0.5 * (shares + 1), 0.5 * weights, strict=True):
        outer = shape.outline_mm(theta, fraction)
        radius = outer[:, None] * (np.arange(40) + 0.5) / 40
        x, y = radius * np.cos(theta)[:, None], radius * np.sin(theta)[:, None]
        height = shape.superior_mm(x, y) - shape.inferior_mm(x, y)
        volume += weight * float((height * radius * outer[:, None] / 40).sum() * (2 * np.pi / 720))
    mesh = meshes.build_body("L4", element_size_mm=1.0)
    assert mesh.bodies["L4"].volume_mm3 == pytest.approx(volume, rel=0.01)


@pytest.mark.parametrize("level", meshes.LEVELS)
@pytest.mark.parametrize("sex", ["female", "male"])
def test_every_level_meshes_well_and_has_the_published_wedge(level, sex):
    mesh = meshes.build_body(level, meshes.default_dimensions(level, sex))
    assert meshes.scaled_jacobian(mesh).min() > 0.6
    size = meshes.default_dimensions(level, sex)
    depth = 0.5 * (size.superior_depth_mm + size.inferior_depth_mm)
    wedge = np.degrees(np.arctan((size.posterior_height_mm - size.anterior_height_mm) / depth))
    published = {"T11": 4.6, "T12": 3.5, "L1": 2.6, "L2": 0.7, "L3": -1.1, "L4": -3.1, "L5": -7.8}  # H01
    assert wedge == pytest.approx(published[level], abs=1e-6)


def test_random_specimens_pass_the_gate():
    """A sample of the thousand that benchmarks/mesh_quality.py runs."""
    rng = np.random.default_rng(7)
    for number in range(28):
        level = meshes.LEVELS[number % 7]
        size = meshes.random_dimensions(level, "female" if number % 2 else "male", rng)
        mesh = meshes.build_body(level, size, element_size_mm=3.0)
        assert meshes.scaled_jacobian(mesh).min() > 0.3
        assert (meshes.cell_volumes_mm3(mesh.points_mm, mesh.cells) > 0).all()


def test_same_input_gives_the_same_mesh_and_another_seed_another_density(l1):
    assert meshes.mesh_hash(meshes.build_body("L1")) == meshes.mesh_hash(l1)
    other = meshes.build_body("L1", seed=2)
    assert meshes.mesh_hash(other) != meshes.mesh_hash(l1)
    assert np.array_equal(other.points_mm, l1.points_mm)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"waist_ratio": 0.5}, r"waist_ratio=0.5 is outside \[0.75, 1\]"),
        ({"superior_width_mm": 4.0}, "superior_width_mm=4 is outside"),
        ({"anterior_height_mm": float("nan")}, "anterior_height_mm=nan"),
    ],
)
def test_bad_dimensions_are_named(change, message):
    with pytest.raises(MeshError, match=message):
        replace(meshes.default_dimensions("L1"), **change)


def test_unknown_level_sex_and_element_size_are_named():
    with pytest.raises(MeshError, match="T11, T12"):
        meshes.default_dimensions("C3")
    with pytest.raises(MeshError, match="'female' or 'male'"):
        meshes.default_dimensions("L1", "other")
    with pytest.raises(MeshError, match=r"element_size_mm=20 is outside \[0.5, 6\] mm"):
        meshes.build_body("L1", element_size_mm=20.0)


def test_the_centre_of_a_folded_cell_stays_among_its_corners():
    """One corner of a cube is drawn far through the opposite one, so that parts are inside out."""
    corners = HEX_NODES.copy()
    corners[6] = [-2.9, -2.9, -2.9]
    centre = meshes.cell_centroids_mm(corners, np.arange(8)[None])[0]
    assert np.all((corners.min(axis=0) <= centre) & (centre <= corners.max(axis=0)))
