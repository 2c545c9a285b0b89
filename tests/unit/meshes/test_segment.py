"""Segments: one mesh without seams, discs as given, fibres, links that follow the bodies, specimens, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from kyphos import meshes
from kyphos.errors import DataError, MeshError
from kyphos.meshes.disc import fibre_directions
from kyphos.meshes.model import jacobians
from kyphos.meshes.spine import facing, fit_body

SIDES = [(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]


def skin_of(cells: np.ndarray) -> set[tuple[int, ...]]:
    """Sorted node tuples of the faces that belong to one cell only; no face may belong to more than two."""
    faces = np.sort(cells[:, SIDES].reshape(-1, 4), axis=1)
    unique, counts = np.unique(faces, axis=0, return_counts=True)
    assert counts.max() <= 2
    return set(map(tuple, unique[counts == 1].tolist()))


def enclosed_mm3(points: np.ndarray, faces: np.ndarray) -> float:
    """Volume within a closed surface of outward quads (k, 4), by the divergence theorem."""
    a, b, c, d = (points[faces[:, i]] for i in range(4))
    vectors = 0.5 * np.cross(c - a, d - b)
    assert np.allclose(vectors.sum(axis=0), 0.0, atol=1e-9), "the surface is closed"
    return float(np.einsum("ki,ki->", points[faces].mean(axis=1), vectors) / 3.0)


@pytest.fixture(scope="module")
def three() -> meshes.SegmentMesh:
    """T12-L1-L2 at 3 mm."""
    return meshes.segment_mesh(("T12", "L1", "L2"), element_size_mm=3.0)


@pytest.fixture(scope="module")
def all_seven() -> meshes.SegmentMesh:
    """T11 to L5 at 4 mm."""
    return meshes.segment_mesh(meshes.LEVELS, element_size_mm=4.0)


def test_the_default_segment_has_the_wanted_number_of_unknowns():
    mesh = meshes.segment_mesh()
    assert tuple(mesh.bodies) == ("T12", "L1", "L2")
    assert 60_000 <= 3 * len(mesh.points_mm) <= 150_000
    assert meshes.scaled_jacobian(mesh).min() > 0.6
    assert min(disc.annulus_layers for disc in mesh.discs.values()) >= 4


def test_a_single_level_is_the_mesh_of_build_body():
    alone = meshes.segment_mesh(["L3"], element_size_mm=3.0, seed=4)
    assert meshes.mesh_hash(alone) == meshes.mesh_hash(meshes.build_body("L3", element_size_mm=3.0, seed=4))
    assert not alone.discs
    assert not alone.links


def test_regions_are_named_from_the_top_down(three):
    bones = [f"{level}.{part}" for level in ("T12", "L1", "L2") for part in meshes.model.BONY_PARTS]
    annulus = [f"annulus_{k}" for k in range(1, 5)]
    soft = [*annulus, "inferior_cartilage", "nucleus", "superior_cartilage"]
    discs = [f"{name}.{part}" for name in ("T12_L1", "L1_L2") for part in soft]
    assert three.region_names == (*bones, *discs, "superior_pot", "inferior_pot")
    assert set(np.unique(three.region)) == set(range(len(three.region_names)))
    soft_cells = three.cells_in(*discs, "superior_pot", "inferior_pot")
    assert np.isnan(three.density_g_per_cc[soft_cells]).all()
    for level in three.bodies:
        inside = three.density_g_per_cc[three.bony_cells(level)]
        assert np.isfinite(inside).all()
    fields = [three.density_g_per_cc[three.cells_in(f"{level}.trabecular")] for level in ("L1", "L2")]
    assert not np.array_equal(*fields), "neighbours have random fields of their own"


@pytest.mark.parametrize("count", range(1, 8))
def test_no_node_is_double_or_hanging(count):
    mesh = meshes.segment_mesh(meshes.LEVELS[:count], element_size_mm=4.0)
    assert np.array_equal(np.unique(mesh.cells), np.arange(len(mesh.points_mm))), "every node is used"
    rounded = np.unique(np.round(mesh.points_mm, 6), axis=0)
    assert len(rounded) == len(mesh.points_mm), "no two nodes at one place"
    skin = skin_of(mesh.cells)  # asserts that no face has more than two cells
    walls = [faces for name, faces in mesh.face_sets.items() if name.endswith((".wall", "_platen"))]
    named = {tuple(sorted(quad)) for faces in walls for quad in faces.tolist()}
    pots = set(np.unique(mesh.cells[mesh.cells_in("superior_pot", "inferior_pot")]).tolist())
    assert named <= skin
    assert all(set(face) <= pots for face in skin - named), "the rest of the skin is the pots' side"


def test_a_seam_would_be_found(three):
    """The check above can fail: a disc with nodes of its own has free faces inside."""
    cells = three.cells.copy()
    disc = three.cells_in("L1_L2.inferior_cartilage")
    cells[disc[0], 0] = len(three.points_mm)
    assert len(skin_of(cells)) > len(skin_of(three.cells))


def test_faces_point_out_and_volumes_add_up(three):
    for name, disc in three.discs.items():
        cells = three.cells[three.cells_in(f"{name}.nucleus")]
        volume = meshes.cell_volumes_mm3(three.points_mm, cells).sum()
        assert enclosed_mm3(three.points_mm, three.face_sets[f"{name}.nucleus"]) == pytest.approx(volume, rel=2e-3)
        plates = [
            three.face_sets[f"{disc.lower}.superior_endplate"],
            three.face_sets[f"{disc.upper}.inferior_endplate"],
        ]
        around = np.vstack([three.face_sets[f"{name}.wall"], *(faces[:, ::-1] for faces in plates)])
        assert enclosed_mm3(three.points_mm, around) == pytest.approx(disc.volume_mm3, rel=2e-3)


def test_bodies_in_a_segment_are_those_alone(three):
    for level, body in three.bodies.items():
        alone = meshes.build_body(level, element_size_mm=2.0).bodies[level]
        assert body.volume_mm3 == pytest.approx(alone.volume_mm3, rel=0.012)
        assert body.height_mm == pytest.approx(alone.height_mm, abs=0.06)
        assert np.allclose(body.axes @ body.axes.T, np.eye(3), atol=1e-12)
        for gauge in body.gauges.values():
            assert np.isin(gauge.superior_ids, three.node_sets[f"{level}.superior_endplate"]).all()
            assert np.isin(gauge.inferior_ids, three.node_sets[f"{level}.inferior_endplate"]).all()
            heights = meshes.gauge_height_mm(gauge, three.points_mm)
            assert heights == pytest.approx(body.height_mm, rel=0.15)


def test_a_disc_has_the_height_and_wedge_that_were_asked_for():
    """Both rims are 34 mm deep here, so front minus back is 2 x 34 mm x sin(4 degrees)."""
    sizes = {
        level: replace(meshes.default_dimensions(level), superior_depth_mm=34.0, inferior_depth_mm=34.0)
        for level in ("L1", "L2")
    }
    asked = {"L1_L2": meshes.DiscDimensions(10.0, 8.0)}
    disc = meshes.segment_mesh(("L1", "L2"), sizes, asked, element_size_mm=3.0).discs["L1_L2"]
    assert disc.height_mm == pytest.approx(10.0, abs=1e-3)
    # the rims are tilted by their bodies' own wedges, so a little longer than 34 mm
    assert disc.anterior_height_mm - disc.posterior_height_mm == pytest.approx(2 * 34 * np.sin(np.radians(4)), rel=2e-3)


@pytest.mark.parametrize(("grade", "left"), [("mild", 0.8), ("moderate", 0.6), ("severe", 0.4)])
def test_degeneration_lowers_the_disc(grade, left):
    healthy, worn = (
        meshes.segment_mesh(("L3", "L4"), discs={"L3_L4": meshes.default_disc("L3_L4", kind)}, element_size_mm=4.0)
        for kind in ("healthy", grade)
    )
    before, after = (mesh.discs["L3_L4"] for mesh in (healthy, worn))
    assert after.anterior_height_mm == pytest.approx(left * before.anterior_height_mm, rel=0.01)
    assert after.posterior_height_mm == pytest.approx(left * before.posterior_height_mm, rel=0.01)
    assert meshes.scaled_jacobian(worn).min() > 0.5


def test_a_ct_body_stands_between_parametric_ones(l2_ct):
    ct = meshes.ct_body(*meshes.sample_ct())
    mesh = meshes.segment_mesh(("L1", "L2", "L3"), scans={"L2": ct})
    body, alone = mesh.bodies["L2"], l2_ct.bodies["L2"]
    assert body.volume_mm3 == pytest.approx(alone.volume_mm3, rel=0.01)
    assert abs(body.axes[2, 1]) > 0.01, "it is turned in the segment"
    means = [m.density_g_per_cc[m.cells_in("L2.trabecular")] for m in (mesh, l2_ct)]
    assert means[0].mean() == pytest.approx(means[1].mean(), rel=0.01)
    # the anterior third has its own density in both, so the scan is sampled in the body's frame
    thirds = []
    for m, b in ((mesh, body), (l2_ct, alone)):
        cells = m.cells_in("L2.trabecular")
        local = (meshes.cell_centroids_mm(m.points_mm, m.cells[cells]) - b.centre_mm) @ b.axes.T
        thirds.append(m.density_g_per_cc[cells][local[:, 1] > b.depth_mm / 6].mean())
    assert thirds[0] == pytest.approx(thirds[1], rel=0.01)
    assert abs(thirds[1] / means[1].mean() - 1.0) > 0.01
    for name, height in (("L1_L2", 8.6), ("L2_L3", 9.5)):
        assert mesh.discs[name].height_mm == pytest.approx(height, abs=0.01)
    with pytest.raises(MeshError, match="use body_from_ct"):
        meshes.segment_mesh(["L2"], scans={"L2": ct})


def test_the_curve_is_the_sum_of_the_wedges(all_seven):
    """L1 to L5: the angle between the superior endplate of L1 and the inferior one of L5."""
    wedges = [meshes.default_disc(name).wedge_deg for name in all_seven.discs]
    bodies = list(all_seven.bodies.values())
    first, last = bodies[0].axes[2], bodies[-1].axes[2]
    sizes = [meshes.default_dimensions(level) for level in meshes.LEVELS]
    depths = [0.5 * (size.superior_depth_mm + size.inferior_depth_mm) for size in sizes]
    rises = [s.anterior_height_mm - s.posterior_height_mm for s in sizes]
    own = [2.0 * np.degrees(np.arctan(0.5 * rise / depth)) for rise, depth in zip(rises, depths, strict=True)]
    angle = np.degrees(np.arctan2(*last[1:]) - np.arctan2(*first[1:]))
    assert angle == pytest.approx(sum(wedges) + sum(own) - 0.5 * (own[0] + own[-1]), abs=0.02)
    assert 20.0 < angle < 60.0


def test_the_load_line_runs_through_both_end_bodies(all_seven):
    frames = [all_seven.bodies[level] for level in ("T11", "L5")]
    assert abs(frames[0].centre_mm[0]) < 1e-6
    assert abs(frames[0].centre_mm[1] - frames[1].centre_mm[1]) < 2.0
    assert np.ptp(all_seven.points_mm[all_seven.node_sets["superior_platen"], 2]) < 1e-9
    assert np.ptp(all_seven.points_mm[all_seven.node_sets["inferior_platen"], 2]) < 1e-9


def test_fibres_lie_at_thirty_degrees_around_the_disc(three):
    for disc in three.discs.values():
        assert disc.fibres.shape == (len(disc.annulus_cells), 2, 3)
        assert np.linalg.norm(disc.fibres, axis=2) == pytest.approx(1.0)
        steep = disc.fibres @ disc.axes[2]
        assert steep[:, 0] == pytest.approx(0.5)
        assert steep[:, 1] == pytest.approx(-0.5)
        radial = meshes.cell_centroids_mm(three.points_mm, three.cells[disc.annulus_cells]) - disc.centre_mm
        radial -= np.outer(radial @ disc.axes[2], disc.axes[2])
        radial /= np.linalg.norm(radial, axis=1)[:, None]
        across = np.abs(np.einsum("ki,kfi->kf", radial, disc.fibres))
        assert np.median(across) < 0.2  # a kidney is no circle
        assert across.max() < 0.8


def test_fibres_of_a_round_ring_are_exact():
    """A box cell whose nodes 0 -> 3 run along y: the fibres are (0, ±cos 20, sin 20) up to sign."""
    corners = np.array([(x, y, z) for z in (0, 1) for x, y in ((0, 0), (2, 0), (2, 3), (0, 3))], dtype=float)
    fibres = fibre_directions(corners, np.arange(8)[None], np.array([0.0, 0.0, 1.0]), 20.0)[0]
    c, s = np.cos(np.radians(20.0)), np.sin(np.radians(20.0))
    assert fibres == pytest.approx(np.array([[0.0, c, s], [0.0, c, -s]]))


def test_annulus_layers_lie_outside_one_another_and_cells_run_up(three):
    disc = three.discs["T12_L1"]
    means = []
    for part in ("annulus_1", "annulus_2", "annulus_3", "annulus_4", "nucleus"):
        centres = meshes.cell_centroids_mm(three.points_mm, three.cells[three.cells_in(f"T12_L1.{part}")])
        means.append(np.linalg.norm((centres - disc.centre_mm) @ disc.axes[:2].T, axis=1).mean())
    assert means == sorted(means, reverse=True)
    third = jacobians(three.points_mm, three.cells[disc.annulus_cells], np.zeros((1, 3)))[:, 0, :, 2]
    assert (third @ disc.axes[2] > 0).all()
    assert 0.3 < disc.nucleus_share < 0.45
    bulge = three.node_sets["T12_L1.bulge"]
    away = (three.points_mm[bulge] - disc.centre_mm) @ disc.axes[2]
    assert np.abs(away).max() < 1.0
    assert set(bulge) <= set(three.face_sets["T12_L1.wall"].ravel())


def test_every_joint_has_its_links_of_plausible_length(all_seven):
    names = {"ALL", "PLL", "LF", "ISL", "SSL", "CL_left", "CL_right", "facet_left", "facet_right"}
    # widest of the lengths in evidence rows J04 and J06, half and twice
    span = {"ALL": (6.5, 31), "PLL": (3.8, 22), "LF": (8, 38), "ISL": (4.4, 26), "SSL": (5.5, 55)}
    for disc in all_seven.discs.values():
        mine = {link.name: link for link in all_seven.links if (link.upper, link.lower) == (disc.upper, disc.lower)}
        assert set(mine) == names
        for name, (low, high) in span.items():
            assert low < mine[name].length_mm < high, f"{name} of {disc.name}"
        for side, sign in (("left", 1.0), ("right", -1.0)):
            facet = mine[f"facet_{side}"]
            assert facet.normal is not None
            assert (facet.upper_mm - facet.lower_mm) @ facet.normal == pytest.approx(0.5)
            assert sign * facet.normal[0] > 0, "the lower facet looks inward"
            assert facet.normal @ disc.axes[1] < 0, "and back"
            assert sign * facet.lower_mm[0] < 0


def test_link_points_follow_any_rigid_motion(three):
    turn = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
    moved = three.points_mm @ turn.T + (3.0, -40.0, 7.0)
    for link in three.links:
        ends = (
            (link.upper_ids, link.upper_weights, link.upper_mm),
            (link.lower_ids, link.lower_weights, link.lower_mm),
        )
        for ids, weights, point in ends:
            assert weights.sum() == pytest.approx(1.0)
            assert weights @ moved[ids] == pytest.approx(turn @ point + (3.0, -40.0, 7.0), abs=1e-8)
            bones = np.unique(three.cells[three.bony_cells(link.upper if ids is link.upper_ids else link.lower)])
            assert np.isin(ids, bones).all()


@pytest.mark.parametrize(
    ("count", "element_size_mm"), [(35, 5.0), pytest.param(300, 2.0, marks=pytest.mark.validation)]
)
def test_random_segments_pass_the_gate(count, element_size_mm):
    """Every number of levels in turn; benchmarks/segment_quality.py tells more of them."""
    rng = np.random.default_rng(2025)
    for number in range(count):
        drawn = meshes.random_segment(1 + number % 7, "female" if number % 2 else "male", rng)
        mesh = meshes.segment_mesh(*drawn, element_size_mm=element_size_mm, seed=number)
        assert meshes.scaled_jacobian(mesh).min() > 0.4, number
        assert (meshes.cell_volumes_mm3(mesh.points_mm, mesh.cells) > 0).all(), number
        assert not cKDTree(mesh.points_mm).query_pairs(1e-3), f"{number}: nodes in one place"
        assert np.unique(mesh.cells).size == len(mesh.points_mm), f"{number}: nodes of no cell"
        skin_of(mesh.cells)


def test_a_segment_survives_the_disk(three, tmp_path):
    back = meshes.read_vtu(meshes.write_vtu(tmp_path / "segment.vtu", three))
    assert meshes.mesh_hash(back) == meshes.mesh_hash(three)
    assert list(back.discs) == list(three.discs)
    for name, disc in three.discs.items():
        assert np.array_equal(back.discs[name].fibres, disc.fibres)
        assert back.discs[name].height_mm == disc.height_mm
    assert [link.name for link in back.links] == [link.name for link in three.links]
    assert np.array_equal(back.links[3].upper_weights, three.links[3].upper_weights)
    assert [link.normal is None for link in back.links] == [link.normal is None for link in three.links]


# --- real shapes -------------------------------------------------------------------------------------------


def test_the_visible_human_has_the_volumes_of_its_source():
    """Bodies against the closed surfaces they were fitted to; discs against the source's own hexahedra."""
    mesh = meshes.specimen_mesh(meshes.specimen("visible-human"), ("L1", "L2", "L3", "L4", "L5"), element_size_mm=3.0)
    assert meshes.scaled_jacobian(mesh).min() > 0.5
    bodies = [body.volume_mm3 for body in mesh.bodies.values()]
    assert bodies == pytest.approx([43451, 45189, 44931, 45630, 43682], rel=0.01)
    discs = [disc.volume_mm3 for disc in mesh.discs.values()]
    assert discs == pytest.approx([16581, 17223, 18037, 21053], rel=0.01)


@pytest.mark.parametrize("levels", [("T11", "T12"), ("L2", "L3", "L4", "L5")])
def test_the_spine_of_verse004_meshes(levels):
    mesh = meshes.specimen_mesh(meshes.specimen("verse004"), levels, element_size_mm=3.0)
    assert meshes.scaled_jacobian(mesh).min() > 0.2
    for body in mesh.bodies.values():
        assert 15.0 < body.volume_mm3 / 1000.0 < 40.0
    for disc in mesh.discs.values():
        assert 3.0 < disc.height_mm < 12.0


def test_the_same_l2_in_two_sources_has_the_same_volume(l2_ct):
    """VerSe 004's L2 from the 1 mm body labels of the sample CT, and from the 2 mm mask of the whole vertebra."""
    spine = meshes.specimen("verse004")
    mesh = meshes.specimen_mesh(spine, ("L2", "L3"), element_size_mm=3.0)
    assert mesh.bodies["L2"].volume_mm3 == pytest.approx(l2_ct.bodies["L2"].volume_mm3, rel=0.12)


def test_a_body_with_pedicles_is_found_and_cut_free():
    """A tilted elliptic cylinder, 40 x 32 x 26 mm, with two stalks behind its upper half."""
    tilt = np.radians(20.0)
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    centre = np.array([3.0, -5.0, 100.0])

    def depth(points: np.ndarray) -> np.ndarray:
        x, y, z = ((points - centre) @ axes.T).T
        bone = np.minimum(16.0 * (1.0 - np.hypot(x / 20.0, y / 16.0)), 13.0 - np.abs(z))
        across, up = np.abs(np.abs(x) - 9.0), np.abs(z - 6.0)
        stalk = np.minimum(np.minimum(4.0 - across, 5.0 - up), np.minimum(-y, y + 40.0))
        return np.maximum(bone, stalk)

    inside, behind = np.array([1.5, 2.0, -1.0]), np.array([2.0, -30.0, 0.0])
    start = facing(centre + inside, centre + behind, np.array([0.0, 0.0, 1.0]))
    body = fit_body(depth, start, "L2")
    assert body.frame.axes[2] == pytest.approx(axes[2], abs=0.02)
    assert body.frame.origin_mm == pytest.approx(centre, abs=0.5)
    theta = np.linspace(-np.pi, np.pi, 36)
    ellipse = 1.0 / np.hypot(np.cos(theta) / 20.0, np.sin(theta) / 16.0)
    for share in (0.2, 0.75):
        assert body.shape.outline_mm(theta, share) == pytest.approx(ellipse, abs=3.0)
        assert np.median(np.abs(body.shape.outline_mm(theta, share) - ellipse)) < 0.6
    flat = np.zeros(1)
    assert body.shape.superior_mm(flat, flat) - body.shape.inferior_mm(flat, flat) == pytest.approx(26.0, abs=0.3)


def test_a_spine_survives_the_disk(tmp_path):
    spine = meshes.specimen("verse004")
    back = meshes.read_spine(meshes.write_spine(spine, tmp_path / "spine.json"))
    assert back.levels() == spine.levels() == ("T11", "T12", "L2", "L3", "L4", "L5")
    assert np.array_equal(back.bodies[2].frame.origin_mm, spine.bodies[2].frame.origin_mm)


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": ["L1", "T12"]}, "no run of neighbours from the top down"),
        ({"levels": ["T12", "L2"]}, "no run of neighbours"),
        ({"levels": []}, "no run of neighbours"),
        ({"levels": ["T12", "C3"]}, "level 'C3' is unknown"),
        ({"discs": {"L4_L5": meshes.DiscDimensions(8.0, 0.0)}}, "has no disc 'L4_L5'; it has T12_L1, L1_L2"),
        ({"dimensions": {"L5": meshes.default_dimensions("L5")}}, "has no level 'L5'"),
        ({"discs": {"T12_L1": meshes.DiscDimensions(3.0, 12.0)}}, "disc T12_L1 is .* mm high at its thinnest place"),
        ({"sex": "x"}, "sex 'x' is unknown"),
        ({"element_size_mm": 9.0}, "element_size_mm=9 is outside"),
        ({"vbmd_mg_per_cc": 900.0}, "vbmd_mg_per_cc=900"),
    ],
)
def test_bad_segments_are_named(arguments, message):
    with pytest.raises(MeshError, match=message):
        meshes.segment_mesh(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: meshes.DiscDimensions(0.5, 0.0), "height_mm=0.5 is outside"),
        (lambda: meshes.DiscDimensions(8.0, float("nan")), "wedge_deg=nan"),
        (lambda: meshes.DiscDimensions(8.0, 0.0, "bad"), "grade 'bad' is unknown"),
        (lambda: meshes.default_disc("L5_S1"), "there is no disc 'L5_S1'"),
    ],
)
def test_bad_discs_are_named(make, message):
    with pytest.raises(MeshError, match=message):
        make()


def test_bad_specimens_are_named(tmp_path):
    with pytest.raises(DataError, match="no specimen 'somebody'; shipped are visible-human, verse004"):
        meshes.specimen("somebody")
    with pytest.raises(DataError, match="this spine has no L1"):
        meshes.specimen_mesh(meshes.specimen("verse004"), ("T12", "L1"))
    with pytest.raises(DataError, match="two levels at least"):
        meshes.specimen_mesh(meshes.specimen("verse004"), ("L2",))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="is no spine written by Kyphos"):
        meshes.read_spine(tmp_path / "x.json")
    with pytest.raises(DataError, match="does not exist"):
        meshes.read_spine(tmp_path / "y.json")
    with pytest.raises(DataError, match=r"has no label 20 for L1"):
        meshes.spine_from_mask(meshes.sample_ct()[1], ["L1"])
    with pytest.raises(DataError, match="no body with two endplates"):
        fit_body(
            lambda points: np.full(len(points), -1.0),
            facing(np.zeros(3), np.array([0.0, -9, 0]), np.array([0, 0, 1.0])),
            "L1",
        )
