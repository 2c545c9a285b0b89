from __future__ import annotations

import numpy as np
import pytest

from kyphos.errors import MaterialError
from kyphos.materials import CRUSHABLE_BONE, bone_field, bone_rows, cage_parameters, load_card

NAMES = (
    "L1.trabecular",
    "L1.shell",
    "L1.superior_endplate",
    "L1.inferior_endplate",
    "superior_pot",
    "inferior_pot",
)
REGION = np.array([0, 0, 1, 2, 3, 4, 5], dtype=np.int16)
DENSITY = np.array([0.08, 0.12, 0.4, 0.3, 0.3, np.nan, np.nan])
SIZE = np.array([2.0, 2.0, 1.2, 1.0, 1.0, 2.0, 2.0])
PLACE = {parameter.name: i for i, parameter in enumerate(CRUSHABLE_BONE.parameters)}


def column(rows, name):
    return rows[:, PLACE[name]]


def test_every_region_finds_its_material():
    field = bone_field(NAMES, REGION, DENSITY, SIZE)
    assert field.laws().tolist() == [CRUSHABLE_BONE.name] * 5 + ["LinearElastic"] * 2
    strain = np.zeros((7, 8, 6))
    strain[..., 2] = -1e-4
    assert (field.update(strain, field.initial_state()).status == 0).all()


def test_density_laws_of_kopperdahl():
    rows = bone_rows(load_card("trabecular"), [0.08, 0.2], [2.0, 1.0])
    np.testing.assert_allclose(column(rows, "axial_modulus_mpa"), 2980.0 * np.array([0.08, 0.2]) ** 1.05)
    np.testing.assert_allclose(column(rows, "yield_stress_mpa"), 37.4 * np.array([0.08, 0.2]) ** 1.39)


def test_a_crush_band_is_spread_over_cells_larger_than_it_and_shared_by_smaller_ones():
    rows = bone_rows(load_card("trabecular"), [0.08] * 4, [1.0, 2.4, 3.0, 4.8])
    np.testing.assert_allclose(column(rows, "softening_strain"), 0.08 * np.array([1.0, 1.0, 0.8, 0.5]))


def test_density_of_fat_is_lifted_to_the_floor():
    low, floor = bone_rows(load_card("trabecular"), [-0.05, 0.01], [2.0, 2.0])
    np.testing.assert_array_equal(low, floor)


def test_crawford_is_selectable():
    rows = bone_rows(load_card("trabecular-crawford"), [0.1], [2.0])
    np.testing.assert_allclose(column(rows, "axial_modulus_mpa"), 3230.0 * 0.1 - 34.7)


@pytest.mark.parametrize(
    ("vbmd", "modulus"), [(40.0, 4700.0), (80.0, 4700.0), (90.0, 6525.0), (100.0, 8350.0), (200.0, 12000.0)]
)
def test_shell_follows_the_class_of_bone(vbmd, modulus):
    rows = bone_rows(load_card("shell"), [np.nan], [1.0], vbmd)
    np.testing.assert_allclose(column(rows, "axial_modulus_mpa"), modulus)
    np.testing.assert_allclose(column(rows, "yield_stress_mpa"), 0.0084 * modulus)


def test_the_shell_of_a_field_uses_the_trabecular_density_of_its_level():
    field = bone_field(NAMES, REGION, DENSITY, SIZE)
    bone = next(block for block in field.blocks if block.law is CRUSHABLE_BONE)
    assert bone.parameters[bone.cells == 2, 0] == pytest.approx(8350.0)  # mean of 80 and 120


def test_trabecular_bone_fills_what_the_shell_leaves_of_its_cells():
    field = bone_field(NAMES, REGION, DENSITY, SIZE, shell_share={"L1": 0.25})
    bone = next(block for block in field.blocks if block.law is CRUSHABLE_BONE)
    wall = bone.parameters[bone.cells == 2]
    assert column(wall, "axial_modulus_mpa") == pytest.approx(0.25 * 8350.0 + 0.75 * 2980.0 * 0.1**1.05)
    assert column(wall, "yield_stress_mpa") == pytest.approx(0.25 * 0.0084 * 8350.0 + 0.75 * 37.4 * 0.1**1.39)


def test_cards_can_be_chosen():
    stiff = load_card("endplate").with_values(youngs_modulus_mpa=2000.0)
    field = bone_field(NAMES, REGION, DENSITY, SIZE, cards={"superior_endplate": stiff, "superior_pot": "pmma"})
    bone = next(block for block in field.blocks if block.law is CRUSHABLE_BONE)
    assert bone.parameters[bone.cells == 3, 0] == 2000.0
    assert bone.parameters[bone.cells == 4, 0] == 1000.0
    assert field.laws()[5] == "DuctileCement"


def test_missing_things_are_named():
    with pytest.raises(MaterialError, match=r"region 'L1\.disc' has no card"):
        bone_field((*NAMES, "L1.disc"), np.append(REGION, 6), np.append(DENSITY, 0.1), np.append(SIZE, 1.0))
    with pytest.raises(MaterialError, match=r"'trabecular' needs density_g_per_cc .* 80"):
        bone_rows(load_card("trabecular"), [80.0], [2.0])
    with pytest.raises(MaterialError, match="nan"):
        bone_rows(load_card("trabecular"), [np.nan], [2.0])
    with pytest.raises(MaterialError, match="'shell' needs vbmd"):
        bone_rows(load_card("shell"), [0.1], [2.0])
    with pytest.raises(MaterialError, match="needs cell_size_mm"):
        bone_rows(load_card("trabecular"), [0.1], [0.0])
    with pytest.raises(MaterialError, match="kind CrushableBone"):
        bone_rows(load_card("pmma"), [0.1], [2.0])


def test_the_three_laws_of_the_modulus_agree_where_vertebral_bone_was_tested():
    laws = [load_card(name) for name in ("trabecular", "trabecular-crawford", "trabecular-morgan")]
    at_100, at_80 = ([bone_rows(card, [rho], [2.0])[0, 0] for card in laws] for rho in (0.1, 0.08))
    np.testing.assert_allclose(at_100, [265.6, 288.3, 289.0], rtol=1e-3)
    np.testing.assert_allclose(at_80, [210.1, 223.7, 204.1], rtol=1e-3)


def test_the_apparent_law_never_sees_qct_density():
    card = load_card("trabecular-morgan")
    row = bone_rows(card, [0.08], [2.0])[0]
    assert row[0] == pytest.approx(4730.0 * (0.08 / 0.6) ** 1.56, rel=1e-12)
    assert row[0] > 2.0 * 4730.0 * 0.08**1.56
    offset = bone_rows(card.with_values(ash_slope=0.887, ash_offset_g_per_cc=0.0633), [0.08], [2.0])[0, 0]
    assert offset == pytest.approx(4730.0 * ((0.887 * 0.08 + 0.0633) / 0.6) ** 1.56, rel=1e-12)
    with pytest.raises(MaterialError, match="'trabecular-morgan' needs density_g_per_cc"):
        bone_rows(card, [80.0], [2.0])


@pytest.mark.parametrize(("vbmd", "modulus"), [(120.0, 12000.0), (43.0, 8040.0), (5.0, 5966.3)])
def test_the_scaled_shell_follows_the_mean_of_its_vertebra(vbmd, modulus):
    """A loss of a third where cancellous bone has lost two thirds of its modulus (E24)."""
    row = bone_rows(load_card("shell-scaled"), [np.nan], [1.0], vbmd)[0]
    assert row[0] == pytest.approx(modulus, rel=2e-3)
    with pytest.raises(MaterialError, match="'shell-scaled' needs vbmd"):
        bone_rows(load_card("shell-scaled"), [0.1], [1.0])


def test_a_cage_keeps_the_stiffness_of_its_wall_whatever_the_cells():
    """Modulus times volume is the metal's, times the share of a lattice."""
    card = load_card("expander-cage")
    for volume_ml in (1.0, 4.0):
        law, row = cage_parameters("expander-cage", volume_ml)
        assert law.name == "LinearElastic"
        metal = card["youngs_modulus_mpa"] * card["metal_volume_mm3"] * card["lattice_share"]
        assert row[0] * 1000.0 * volume_ml == pytest.approx(metal)
    assert 100.0 < row[0] < 2500.0  # above crushed bone, below cement
    with pytest.raises(MaterialError, match=r"its metal does not fit into 0\.1 mL"):
        cage_parameters("expander-cage", 0.1)
    with pytest.raises(MaterialError, match="card 'void' is Foam; a Cage card is needed"):
        cage_parameters("void", 1.0)
