"""Coupons: exact sections, the profile of a waist, nodes where rollers stand, and sizes that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from kyphos.errors import MeshError
from kyphos.meshes import box_coupon, cell_volumes_mm3, check_quality, round_coupon


@pytest.mark.parametrize("size", [0.7, 1.0, 2.0])
def test_a_cylinder_has_the_volume_of_the_circle_at_any_element_size(size):
    mesh = round_coupon(6.0, 12.0, size)
    assert mesh.bodies["coupon"].volume_mm3 == pytest.approx(np.pi * 9.0 * 12.0, rel=1e-9)
    assert check_quality(mesh).min() > 0.35
    top, bottom = mesh.node_sets["superior_platen"], mesh.node_sets["inferior_platen"]
    assert len(top) == len(bottom)
    assert (mesh.points_mm[top, 2], mesh.points_mm[bottom, 2]) == (pytest.approx(12.0), pytest.approx(0.0))


def test_a_waist_is_straight_over_its_gauge_and_an_arc_beyond():
    mesh = round_coupon(5.0, 40.0, 0.8, gauge_length_mm=10.0, grip_diameter_mm=8.0, fillet_radius_mm=25.0)
    layers = np.unique(np.round(mesh.points_mm[:, 2], 9))
    assert {15.0, 25.0} <= set(layers)
    rim = np.array(
        [np.linalg.norm(mesh.points_mm[np.isclose(mesh.points_mm[:, 2], z), :2], axis=1).max() for z in layers]
    )
    waist = rim[np.abs(layers - 20.0) <= 5.0 + 1e-9]
    np.testing.assert_allclose(waist, waist[0])
    scale = waist[0] / 2.5  # of the polygon with the circle's area
    assert scale == pytest.approx(1.0, abs=0.02)
    assert rim[[0, -1]] == pytest.approx(4.0 * scale)
    beyond = (np.abs(layers - 20.0) > 5.0) & (rim < 3.99 * scale)
    arc = 27.5 - np.sqrt(25.0**2 - (np.abs(layers - 20.0) - 5.0)[beyond] ** 2)
    np.testing.assert_allclose(rim[beyond], scale * arc, rtol=1e-9)
    assert check_quality(mesh).min() > 0.3


def test_a_bar_has_nodes_under_its_rollers():
    mesh = box_coupon(75.0, 10.0, 3.3, 1.7, (-30.0, -10.0, 10.0, 30.0))
    assert cell_volumes_mm3(mesh.points_mm, mesh.cells).sum() == pytest.approx(75.0 * 10.0 * 3.3)
    for x in (-30.0, -10.0, 0.0, 10.0, 30.0):
        assert np.isclose(mesh.points_mm[:, 0], x).any()
    assert mesh.points_mm[mesh.node_sets["superior_platen"], 2] == pytest.approx(3.3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: round_coupon(6.0, 12.0, 3.0), "too coarse for a diameter of 6 mm"),
        (lambda: round_coupon(5.0, 40.0, 1.0, gauge_length_mm=10.0), "together"),
        (
            lambda: round_coupon(5.0, 20.0, 1.0, gauge_length_mm=10.0, grip_diameter_mm=8.0, fillet_radius_mm=25.0),
            "length_mm=20 is too short",
        ),
        (
            lambda: round_coupon(5.0, 40.0, 1.0, gauge_length_mm=10.0, grip_diameter_mm=4.0, fillet_radius_mm=25.0),
            "must lie above the waist",
        ),
        (lambda: box_coupon(50.0, 10.0, 3.3, 1.0, (30.0,)), "do not lie on a bar of 50 mm"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, words):
    with pytest.raises(MeshError, match=words):
        make()
