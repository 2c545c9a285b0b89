"""Pictures and charts of a made run: they exist, they show what was saved, on one scale."""

from __future__ import annotations

import json
import shutil
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.image import imread

from kyphos import meshes
from kyphos.errors import DataError
from kyphos.views import charts, make_pictures, read_run, read_stage
from kyphos.views.pictures import choose_shades, main_stages
from kyphos.views.reading import StageFile, stage_files
from kyphos.views.scene import common_frame, draw_shaded, draw_solid, split, studio


@pytest.fixture(scope="module")
def pictures(run_dir):
    return make_pictures(run_dir)


@pytest.fixture(scope="module")
def run(run_dir):
    return read_run(run_dir)


@pytest.fixture
def copied(run_dir, tmp_path):
    return shutil.copytree(run_dir, tmp_path / "copy", ignore=shutil.ignore_patterns("pictures"))


def half(run, stage, cut=True):
    grid = read_stage(StageFile(stage, run.fields_path(stage)))
    return split(grid, tuple(run.manifest["region_names"]), cut=cut)


def test_every_stage_and_every_chart_has_a_picture(run, pictures):
    names = {path.name for path in pictures}
    charts_expected = {"heights_stages.png", "heights_cycles.png", "load_displacement.png", "balloon.png"}
    stages = {f"stage_{index:02d}_{file.stage}.png" for index, file in enumerate(stage_files(run))}
    assert names == {"stages.png"} | stages | charts_expected


def test_no_picture_is_empty(pictures):
    assert all(imread(path)[..., :3].std() > 0.02 for path in pictures)


def test_stages_differ_in_their_pictures(pictures):
    """One figure serves all of them: title and panels must be those of each."""
    images = [imread(path) for path in pictures if path.name.startswith("stage_")]
    apart = [np.abs(a - b).max(axis=(1, 2)) > 0.1 for a, b in pairwise(images)]
    assert all(rows[: len(rows) // 10].any() and rows[len(rows) // 4 :].any() for rows in apart)


def test_a_cut_away_is_the_left_half_of_the_deformed_body(run):
    whole, cut = half(run, "fractured", cut=False).bone.bounds, half(run, "fractured").bone.bounds
    assert cut.x_max == pytest.approx(0.0, abs=1e-6)
    assert cut.x_min == pytest.approx(whole.x_min)
    assert cut[2:] == pytest.approx(whole[2:])


def test_the_shape_is_the_deformed_one(run):
    intact, fractured = half(run, "intact", cut=False).bone, half(run, "fractured", cut=False).bone
    assert intact.bounds.z_max - intact.bounds.z_min == pytest.approx(28.0)
    assert fractured.bounds.z_max - fractured.bounds.z_min == pytest.approx(0.96 * 28.0)
    assert fractured["distance_mm"].max() == pytest.approx(0.22 * 28.0)


def test_pots_and_bone_do_not_overlap(run):
    parts = half(run, "intact", cut=False)
    pots = {tuple(centre) for centre in parts.pots.cell_centers().points.round(6)}
    bone = {tuple(centre) for centre in parts.bone.cell_centers().points.round(6)}
    assert pots
    assert not pots & bone


def test_the_fields_that_a_run_writes_are_the_ones_that_are_drawn(tmp_path):
    mesh = meshes.build_body("L1", element_size_mm=5.0)
    still = {"displacement_mm": np.zeros_like(mesh.points_mm)}
    meshes.write_vtu(tmp_path / "body.vtu", mesh, point_data=still)
    grid = read_stage(StageFile("intact", tmp_path / "body.vtu"))
    parts = split(grid, mesh.region_names, cut=True)
    assert {"density", "distance_mm"} <= {shade.array for shade in choose_shades([parts])}
    assert parts.pots.n_cells > 0


def test_cement_and_cavity_are_parts_of_their_own(run):
    assert half(run, "intact").cavity.n_cells == half(run, "intact").cement.n_cells == 0
    assert half(run, "reduced").cavity.n_cells > 0
    assert half(run, "treated").cavity.n_cells == 0
    assert half(run, "treated").cement.n_cells > 0


def test_all_stages_share_one_range_per_shade(run):
    stages = [half(run, file.stage) for file in stage_files(run)]
    shades = {shade.array: shade for shade in choose_shades(stages)}
    assert set(shades) == {"density", "damage", "distance_mm"}
    moved = max(stage.bone["distance_mm"].max() for stage in stages)
    assert 0.8 * moved < shades["distance_mm"].high < 1.3 * moved


def test_the_solid_drawing_has_the_size_of_its_frame_and_shows_something(run):
    grid = read_stage(stage_files(run)[0])
    frame = common_frame([grid])
    with studio(frame) as plotter:
        image = draw_solid(plotter, split(grid, tuple(run.manifest["region_names"]), cut=False))
    assert image.shape == (frame.size_px[1], frame.size_px[0], 3)
    assert 0.3 < np.mean(image.min(axis=2) < 250) < 0.95  # neither empty nor cropped


def test_a_plotter_that_is_used_again_shows_the_new_drawing(run):
    shades = choose_shades([half(run, "fractured")])
    frame = common_frame([read_stage(file) for file in stage_files(run)])
    with studio(frame) as plotter:
        images = [draw_shaded(plotter, half(run, "fractured"), shade) for shade in shades]
        images.append(draw_solid(plotter, half(run, "fractured")))
        again = draw_shaded(plotter, half(run, "fractured"), shades[0])
    assert all((one != other).any() for one, other in combinations(images, 2))
    np.testing.assert_array_equal(again, images[0])


def test_the_sheet_leaves_out_stages_that_only_wait(run):
    assert main_stages(run, ["intact", "hold", "fractured", "cycle_1", "cycled"]) == [
        "intact",
        "fractured",
        "cycled",
    ]
    assert main_stages(run, ["hold", "cycle_1"]) == ["hold", "cycle_1"]


def test_the_cycle_chart_shows_the_valleys(run):
    valley, peak = charts.cycled_rows(run)
    assert set(valley["load_n"]) == {100.0}
    assert set(peak["load_n"]) == {600.0}
    left, right = charts.height_chart(run).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), valley["height_anterior_mm"])
    retention = right.lines[0].get_ydata()
    assert retention[-1] == pytest.approx((0.84 - 0.78) / (0.875 - 0.78))


def test_the_height_chart_shows_the_outcomes(run):
    axes = charts.stage_heights_chart(run).axes[0]
    anterior = axes.lines[0].get_ydata()
    assert list(anterior) == pytest.approx([28.0 * share for share in (1, 0.78, 0.95, 0.88, 0.875, 0.84)])


def test_a_run_without_fields_still_gets_its_charts(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"fields": []}))
    assert {path.name for path in make_pictures(copied)} == {
        "heights_stages.png",
        "heights_cycles.png",
        "load_displacement.png",
        "balloon.png",
    }


def test_a_run_that_stopped_early_has_no_empty_charts(copied):
    history = (copied / "history.csv").read_text().splitlines()
    (copied / "history.csv").write_text("\n".join(history[:1]) + "\n")
    (copied / "outcomes.json").unlink()
    run = read_run(copied)
    assert charts.height_chart(run) is None
    assert charts.load_chart(run) is None
    assert charts.stage_heights_chart(run) is None
    assert charts.balloon_chart(run) is None


def test_missing_fields_are_named(copied):
    (copied / "fields_0001.vtu").unlink()
    with pytest.raises(DataError, match=r"fields_0001\.vtu: the fields of stage 'fractured' are missing"):
        make_pictures(copied)


def test_fields_without_displacement_are_refused(run, tmp_path):
    grid = read_stage(stage_files(run)[0])
    del grid.point_data["displacement_mm"]
    grid.save(tmp_path / "bare.vtu")
    with pytest.raises(DataError, match="no array 'displacement_mm'"):
        read_stage(StageFile("bare", tmp_path / "bare.vtu"))
