"""Bone of a voxel grid by density: the law as printed, its floor, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from kyphos.errors import MaterialError
from kyphos.materials import load_card, parse_card, plastic_bone

CARD = load_card("ct-bone")


def test_the_law_is_that_of_the_paper():
    modulus, limit = plastic_bone(CARD, [0.05, 0.1, 1.0])
    np.testing.assert_allclose(modulus, [128.28, 265.59, 2980.0], rtol=1e-4)
    np.testing.assert_allclose(limit, [0.58138, 1.52364, 37.4], rtol=1e-4)


def test_fat_and_noise_are_lifted_to_the_floor():
    floor = CARD["density_floor_g_per_cc"]
    np.testing.assert_array_equal(plastic_bone(CARD, [-0.2, 0.0]), plastic_bone(CARD, [floor, floor]))


def test_other_density_laws():
    text = 'kind = "PlasticBone"\nextends = "ct-bone"\nmeaning = "x"\n'
    strain = """yield_law = "strain"
        [parameters.yield_strain]
        value = 0.01
        unit = "1"
        low = 0.0
        high = 0.1
        source = "assumed: a test"
        flag = "assumed" """
    modulus, limit = plastic_bone(parse_card("by-strain", text + strain), [0.3])
    np.testing.assert_allclose(limit, 0.01 * modulus)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(MaterialError, match="'trabecular' is CrushableBone"):
        plastic_bone(load_card("trabecular"), [0.1])
    with pytest.raises(MaterialError, match=r"needs density_g_per_cc in \[-2, 3\]; cell 1"):
        plastic_bone(CARD, [0.1, 80.0])
    with pytest.raises(MaterialError, match="no material by itself"):
        CARD.row()
