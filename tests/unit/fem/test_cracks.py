"""Cracks on small meshes: an interface between two blocks, and a bar of brittle cement that breaks in one element."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import block, follow

from kyphos.fem import MarchSettings, NewtonSettings
from kyphos.materials import BONDED_INTERFACE, BRITTLE_CEMENT, LINEAR_ELASTIC, MaterialField, load_card

SOLID = LINEAR_ELASTIC.row(youngs_modulus_mpa=2500.0, poisson_ratio=0.3)
SETTINGS = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-7, minimum_load_n=0.1))
AXES = {"tension": 2, "shear": 0}


def layered(thickness, **values):
    """Two blocks of 2 x 2 x 1 mm with a layer one cell thick between them, that may let go: points, cells, field."""
    points, cells = block((2.0, 2.0, 3.0), (2, 2, 3))
    points[:, 2] = np.interp(points[:, 2], [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 1.0 + thickness, 2.0 + thickness])
    middle = points[cells, 2].mean(axis=1)
    layer = np.flatnonzero((middle > 1.0) & (middle < 1.0 + thickness))
    card = load_card("cement-bone-interface")
    constants = {name: card[name] for name in card.constants} | {"element_length_mm": thickness} | values
    row = BONDED_INTERFACE.row(**constants)
    solid = (LINEAR_ELASTIC, np.setdiff1d(np.arange(len(cells)), layer), SOLID)
    return points, cells, MaterialField((solid, (BONDED_INTERFACE, layer, row)), len(cells), 8)


def pulled(points, cells, field, path, along):
    """Mean traction (k,) on the top at top displacements ``path`` (k,) along one axis, the others held."""
    bottom, top = points[:, 2] < 1e-9, points[:, 2] > points[:, 2].max() - 1e-9
    legs = []
    for moved in path:
        held = np.zeros_like(points)
        held[:, along] = np.nan
        held[bottom, along], held[top, along] = 0.0, moved
        legs.append((held, None, 0.0))
    area = np.ptp(points[:, 0]) * np.ptp(points[:, 1])
    return np.array(
        [support[top, along].sum() / area for _, _, support in follow(points, cells, field, legs, settings=SETTINGS)]
    )


@pytest.mark.parametrize("thickness", [0.5, 2.0])
@pytest.mark.parametrize(("tensile", "shear"), [(1.08, 2.7), (1.5, 1.5)])
def test_a_layer_lets_go_at_its_strengths_and_spends_its_energies(thickness, tensile, shear):
    found = {}
    strengths = {"tensile_strength_mpa": tensile, "shear_strength_mpa": shear}
    energies = {"tensile_fracture_energy_n_per_mm": 0.01, "shear_fracture_energy_n_per_mm": 0.02}
    for mode, energy in (("tension", 0.01), ("shear", 0.02)):  # so little that opening stays small beside the layer
        points, cells, field = layered(thickness, **strengths, **energies)
        opening = 8.0 * energy / (tensile if mode == "tension" else shear)
        path = np.concatenate([np.linspace(0.0, 0.006, 61)[1:], 0.006 + opening * np.linspace(0.0, 1.0, 81)[1:] ** 2])
        traction = pulled(points, cells, field, path, AXES[mode])
        found[mode] = traction.max()
        spent = np.trapezoid(np.append(0.0, traction), np.append(0.0, path))
        assert spent == pytest.approx(energy, rel=0.02)
    assert found["tension"] == pytest.approx(tensile, rel=0.05)
    assert found["shear"] == pytest.approx(shear, rel=0.05)
    assert found["shear"] / found["tension"] == pytest.approx(shear / tensile, rel=0.05)


def test_a_layer_keeps_its_contact():
    """Pulled apart and pressed together again, it bears pressure as if nothing had happened."""
    points, cells, field = layered(0.5)
    path = np.array([*np.linspace(0.0, 0.5, 26)[1:], 0.1, 0.0, -0.005])
    traction = pulled(points, cells, field, path, AXES["tension"])
    constrained = 2500.0 * 0.7 / (1.3 * 0.4)
    assert 0.0 < traction[-3] < 0.2 * traction.max()
    assert traction[-1] == pytest.approx(-constrained * 0.005 / 2.5, rel=5e-3)


@pytest.mark.parametrize("count", [3, 5, 9])
def test_a_bar_of_brittle_cement_breaks_with_one_energy_whatever_its_elements(count):
    length, card = 9.0, load_card("calcium-phosphate")
    points, cells = block((1.0, 1.0, length), (1, 1, count))
    given = {name: card[name] for name in card.constants} | {"element_length_mm": length / count}
    weak = given | {"tensile_strength_mpa": 0.98 * given["tensile_strength_mpa"]}
    order = np.argsort(points[cells, 2].mean(axis=1))
    middle = order[[count // 2]]
    field = MaterialField(
        (
            (BRITTLE_CEMENT, np.setdiff1d(order, middle), BRITTLE_CEMENT.row(**given)),
            (BRITTLE_CEMENT, middle, BRITTLE_CEMENT.row(**weak)),
        ),
        count,
        8,
    )
    path = np.concatenate([np.linspace(0.0, 0.0035, 30)[1:], 0.0035 + 0.05 * np.linspace(0.0, 1.0, 120)[1:] ** 2])
    traction = pulled(points, cells, field, path, AXES["tension"])
    assert traction.max() == pytest.approx(weak["tensile_strength_mpa"], rel=0.02)
    spent = np.trapezoid(np.append(0.0, traction), np.append(0.0, path))
    assert spent == pytest.approx(card["tensile_fracture_energy_n_per_mm"], rel=0.02)
