"""A bar of even bone between caps: what can be said by hand about its stiffness, energy and strength."""

from __future__ import annotations

import numpy as np
import pytest

from kyphos import materials, meshes
from kyphos.errors import ConvergenceError, DataError, MaterialError
from kyphos.experiments import strength
from kyphos.experiments.plan import StiffnessStage, StrengthStage
from kyphos.experiments.tables import Solver
from kyphos.fem import voxel

LIKE_PMMA = (2500.0 / 2980.0) ** (1 / 1.05)  # the density at which bone is as stiff as the caps
SIDE, LENGTH, CAP = 4, 16, 2
SOLVER = Solver(residual_tolerance=1e-6)


def bar(density_g_per_cc: float = LIKE_PMMA, change=None) -> meshes.VoxelImage:
    """A bar of SIDE x SIDE x LENGTH voxels of bone with caps of the same section."""
    labels = np.ones((SIDE, SIDE, LENGTH + 2 * CAP), dtype=np.int64)
    labels[:, :, :CAP], labels[:, :, -CAP:] = 5, 6
    if change is not None:
        labels = change(labels)
    density = np.where(np.isin(labels, (1, 2, 3, 4)), density_g_per_cc, 0.0)
    return meshes.VoxelImage(density, labels, 1.0, np.zeros(3), meshes.Labels())


def test_stiffness_and_energy_of_an_even_bar():
    specimen, stage = strength.mount(bar()), StiffnessStage(name="linear")
    found = strength.press_outcomes(specimen, stage, strength.press(specimen, stage))
    whole = LENGTH + 2 * CAP
    strain = stage.displacement_mm / whole
    assert found["stiffness_linear_n_per_mm"].value == pytest.approx(2500.0 * SIDE**2 / whole, rel=1e-6)
    assert found["energy_density_linear_mean_mpa"].value == pytest.approx(0.5 * 2500.0 * strain**2, rel=1e-6)
    assert found["energy_density_linear_p95_mpa"].value == pytest.approx(0.5 * 2500.0 * strain**2, rel=1e-6)


def test_a_perfectly_plastic_bar_carries_its_yield_stress():
    specimen, stage = strength.mount(bar()), StrengthStage(name="tresca", end_strain=0.03, steps=10)
    found = strength.crush(specimen, stage, SOLVER)
    results = strength.crush_outcomes(specimen, stage, found)
    plateau = 37.4 * LIKE_PMMA**1.39 * SIDE**2
    assert results["strength_tresca_n"].value == pytest.approx(plateau, rel=2e-3)
    assert found.load_n[-1] == pytest.approx(plateau, rel=1e-2)  # full integration: a little stiff in plastic flow
    assert results["stiffness_tresca_n_per_mm"].value == pytest.approx(2500.0 * SIDE**2 / 20.0, rel=1e-5)
    assert 0.8 < results["yielded_share_tresca"].value <= 1.0
    assert results["yielded_volume_tresca_ml"].value == pytest.approx(
        results["yielded_share_tresca"].value * SIDE**2 * LENGTH / 1000.0
    )
    assert "peak_load_tresca_n" not in results  # it never drops


def test_our_own_law_peaks_near_the_same_yield_stress_and_softens():
    image = bar(0.1)
    specimen, stage = strength.mount(image), StrengthStage(bone="trabecular", name="own", end_strain=0.03, steps=20)
    found = strength.crush(specimen, stage, SOLVER)
    results = strength.crush_outcomes(specimen, stage, found)
    peak = 37.4 * 0.1**1.39 * SIDE**2
    assert results["peak_load_own_n"].value == pytest.approx(peak, rel=0.06)
    assert results["strength_own_n"].value == pytest.approx(peak, rel=0.06)
    assert found.load_n[-1] < results["peak_load_own_n"].value
    assert found.damage.max() > 0.1
    assert found.damage[image.caps].max() == 0.0
    stiffness = SIDE**2 / (LENGTH / 265.59 + 2 * CAP / 2500.0)
    assert results["stiffness_own_n_per_mm"].value == pytest.approx(stiffness, rel=0.02)


def test_a_path_that_ends_before_the_offset_has_no_strength():
    specimen, stage = strength.mount(bar()), StrengthStage(name="short", end_strain=0.004, steps=3)
    results = strength.crush_outcomes(specimen, stage, strength.crush(specimen, stage, SOLVER))
    assert "strength_short_n" not in results
    assert results["yielded_share_short"].value == 0.0


def test_a_path_that_breaks_off_keeps_what_was_reached(monkeypatch):
    whole = voxel.solve_plastic

    def breaks(*arguments, **settings):
        *model, factors = arguments
        partial = whole(*model, factors[:wanted], **settings)
        raise voxel.StrengthError("no equilibrium", (1.0,), partial)

    monkeypatch.setattr(voxel, "solve_plastic", breaks)
    specimen, stage = strength.mount(bar()), StrengthStage(name="tresca", end_strain=0.03, steps=10)
    wanted = 8
    found = strength.crush(specimen, stage, SOLVER)
    assert str(found.stopped) == "no equilibrium"
    assert len(found.load_n) == 8
    wanted = 1
    with pytest.raises(ConvergenceError, match="no equilibrium"):
        strength.crush(specimen, stage, SOLVER)


def test_the_path_begins_elastically_and_goes_on_in_equal_steps():
    specimen = strength.mount(bar())
    stage = StrengthStage(end_strain=0.008, steps=4)
    np.testing.assert_allclose(
        strength.path_mm(specimen, stage), LENGTH * np.array([0.0005, 0.002, 0.004, 0.006, 0.008])
    )


def test_islands_are_left_out_and_a_gap_is_refused():
    def island(labels):
        wide = np.zeros((SIDE + 3, SIDE, labels.shape[2]), dtype=np.int64)
        wide[:SIDE], wide[-1, 0, 5] = labels, 4
        return wide

    specimen = strength.mount(bar(change=island))
    assert specimen.filled.sum() == SIDE**2 * (LENGTH + 2 * CAP)

    def gap(labels):
        labels[:, :, 8] = 0
        return labels

    with pytest.raises(DataError, match="not connected through bone"):
        strength.mount(bar(change=gap))


def test_fields_are_in_the_order_of_the_mesh():
    specimen, stage = strength.mount(bar()), StiffnessStage()
    mesh = meshes.voxel_mesh(specimen.image, specimen.filled, "L2")
    points, cells = strength.press_fields(specimen, stage, strength.press(specimen, stage))
    sink = points["displacement_mm"][:, 2]
    np.testing.assert_allclose(sink, -0.2 * mesh.points_mm[:, 2] / 20.0, atol=1e-8)
    np.testing.assert_allclose(cells["modulus_mpa"], 2500.0)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (StrengthStage(bone="pmma"), "card 'pmma' is DuctileCement; bone takes PlasticBone or CrushableBone"),
        (StiffnessStage(bone="trabecular"), "bone takes PlasticBone$"),
        (StiffnessStage(caps="pot"), "card 'pot' is LinearElastic; caps take J2Plasticity"),
        (StiffnessStage(bone="ct-bonne"), "did you mean 'ct-bone'"),
    ],
)
def test_cards_of_the_wrong_kind_are_refused(stage, expected):
    with pytest.raises(MaterialError, match=expected):
        strength.check_cards(stage)


def test_a_grid_has_one_poissons_ratio(monkeypatch):
    cards = {"ct-bone": materials.load_card("ct-bone").with_values(poisson_ratio=0.25)}
    load = materials.load_card
    monkeypatch.setattr(materials, "load_card", lambda name: cards.get(name) or load(name))
    with pytest.raises(MaterialError, match="a voxel grid has one"):
        strength.check_cards(StiffnessStage())
