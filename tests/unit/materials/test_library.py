from __future__ import annotations

import numpy as np
import pytest

from kyphos.errors import MaterialError
from kyphos.materials import LAWS, constants_set, describe_card, interdigitated, list_cards, load_card, parse_card

GOOD = """
kind = "LinearElastic"
meaning = "an example"
[parameters.youngs_modulus_mpa]
value = 2500.0
unit = "MPa"
low = 1800.0
high = 3000.0
source = "a paper"
flag = "seen"
[parameters.poisson_ratio]
value = 0.3
unit = "1"
low = 0.2
high = 0.4
source = "assumed: usual"
flag = "assumed"
"""


def test_the_library_has_what_is_promised():
    promised = {
        "trabecular", "shell", "endplate", "pmma", "pmma-low-modulus", "calcium-phosphate",
        "pot", "void", "nucleus", "annulus-ground", "interdigitated",
    }  # fmt: skip
    assert promised <= set(list_cards())


@pytest.mark.parametrize("name", list_cards())
def test_every_card_is_complete(name):
    card = load_card(name)
    for constant in card.constants.values():
        assert constant.low <= constant.value <= constant.high
        assert constant.source
        assert constant.flag in ("seen", "assumed")
        if constant.source.startswith("assumed"):
            assert constant.flag == "assumed"
    text = describe_card(name)
    for key, constant in card.constants.items():
        assert key in text
        assert constant.source in text


@pytest.mark.parametrize(
    "name",
    [name for name in list_cards() if load_card(name).kind in LAWS and load_card(name).kind != "CrushableBone"],
)
def test_direct_cards_give_a_row_their_law_accepts(name):
    card = load_card(name)
    assert card.row().shape == (len(card.law.parameters),)


def test_good_card_passes():
    np.testing.assert_allclose(parse_card("example", GOOD).row(), [2500.0, 0.3])


@pytest.mark.parametrize("key", ["value", "unit", "low", "high", "source", "flag"])
def test_a_constant_without(key):
    lines = GOOD.splitlines()
    lines.pop(next(i for i, line in enumerate(lines) if line.startswith(key)))
    with pytest.raises(MaterialError, match=f"youngs_modulus_mpa: '{key}' is missing"):
        parse_card("example", "\n".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value = 2500.0", "value = 2.5", r"outside \[1800, 3000\] MPa; was it given in GPa"),
        ("value = 2500.0", "value = 2.5e9", "was it given in Pa"),
        ("value = 0.3", "value = 0.6", r"outside \[0.2, 0.4\] 1; Check"),
        ("value = 2500.0", 'value = "2500"', "finite number"),
        ("value = 2500.0", "value = nan", "finite number"),
        ("value = 2500.0", "value = true", "finite number"),
        ('unit = "MPa"', 'unit = "GPa"', "must be 'MPa'"),
        ('source = "a paper"', 'source = " "', "source is empty"),
        ('flag = "seen"', 'flag = "sure"', "must be one of seen, assumed"),
        ('flag = "seen"', 'flag = "seen"\nsigma = 1.0', "unknown name 'sigma'"),
        ("[parameters.poisson_ratio]", "[parameters.poisson_ration]", "did you mean 'poisson_ratio'"),
        ('kind = "LinearElastic"', 'kind = "LinearElastik"', "did you mean 'LinearElastic'"),
        ('kind = "LinearElastic"', "", "'kind' is missing"),
        ('meaning = "an example"', "", "'meaning' is missing"),
        ('meaning = "an example"', 'meaning = "x"\ncolour = "red"', "unknown name 'colour'"),
        ("value = 2500.0", "value = ", "not valid TOML"),
    ],
)
def test_bad_cards_are_refused(old, new, message):
    with pytest.raises(MaterialError, match=message):
        parse_card("example", GOOD.replace(old, new, 1))


def test_a_missing_parameter_is_named():
    with pytest.raises(MaterialError, match="'poisson_ratio' is missing"):
        parse_card("example", GOOD.split("[parameters.poisson_ratio]")[0])


def test_bone_cards_name_their_density_laws():
    text = 'kind = "CrushableBone"\nextends = "trabecular"\nmeaning = "x"\nmodulus_law = "cubic"\n'
    with pytest.raises(MaterialError, match="modulus_law='cubic' must be one of power"):
        parse_card("example", text)


def test_unknown_card_suggests_one():
    with pytest.raises(MaterialError, match="did you mean 'pmma'"):
        load_card("pmna")


def test_a_card_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_card(str(path))["youngs_modulus_mpa"] == 2500.0
    with pytest.raises(MaterialError, match="no card file"):
        load_card(str(tmp_path / "other.toml"))


def test_with_values_stays_in_range():
    card = load_card("pmma").with_values(youngs_modulus_mpa=2000.0)
    assert card["youngs_modulus_mpa"] == 2000.0
    with pytest.raises(MaterialError, match=r"youngs_modulus_mpa=2.5 is outside"):
        card.with_values(youngs_modulus_mpa=2.5)
    with pytest.raises(MaterialError, match="did you mean 'youngs_modulus_mpa'"):
        card.with_values(young_modulus_mpa=2000.0)


def test_void_is_a_foam_far_softer_than_any_bone():
    void = load_card("void")
    assert void.law.name == "Foam"
    np.testing.assert_allclose(void.row(), [0.05])
    softest = 2980.0 * load_card("trabecular")["density_floor_g_per_cc"] ** 1.05
    assert 2.0 * void["shear_modulus_mpa"] < 0.005 * softest
    with pytest.raises(MaterialError, match="did you mean 'shear_modulus_mpa'"):
        void.with_values(shear_modulus=0.02)


def test_interdigitated_cement():
    composite = interdigitated(load_card("pmma"))
    np.testing.assert_allclose(composite["youngs_modulus_mpa"], 2500.0 * 0.9**2 * 0.8, rtol=1e-12)
    assert composite["poisson_ratio"] == load_card("pmma")["poisson_ratio"]
    assert composite["yield_stress_mpa"] == pytest.approx(70.0 * 0.9**2, rel=1e-12)
    assert composite.constants["yield_stress_mpa"].high == pytest.approx(110.0 * 0.9**2, rel=1e-12)
    assert composite.law.name == "DuctileCement"
    brittle = interdigitated(load_card("calcium-phosphate"))
    assert brittle["tensile_fracture_energy_n_per_mm"] == pytest.approx(0.01 * 0.9**2, rel=1e-12)
    assert brittle["plateau_ratio"] == load_card("calcium-phosphate")["plateau_ratio"]
    with pytest.raises(MaterialError, match="no youngs_modulus_mpa"):
        interdigitated(load_card("nucleus"))
    with pytest.raises(MaterialError, match="no material by itself"):
        _ = load_card("interdigitated").law


CALIBRATED = GOOD + 'calibrated = "on three rows"\nprior = 0.25\n'


def test_a_calibrated_constant_keeps_its_guess_and_says_on_what():
    card = parse_card("example", CALIBRATED)
    assert card["poisson_ratio"] == 0.3
    assert card.constants["poisson_ratio"].guess == 0.25
    assert card.constants["poisson_ratio"].origin == "0.25 from assumed: usual; on three rows"
    assert card.constants["youngs_modulus_mpa"].guess == card["youngs_modulus_mpa"]
    assert card.uncalibrated()["poisson_ratio"] == 0.25


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prior = 0.25\n", "", "needs both"),
        ('calibrated = "on three rows"\n', "", "needs both"),
        ('"on three rows"', '" "', "needs both"),
        ("prior = 0.25", "prior = nan", "must be a finite number"),
        ('flag = "assumed"', 'flag = "seen"', "a calibrated value was not seen"),
    ],
)
def test_half_a_calibration_is_refused(old, new, message):
    assert old in CALIBRATED
    with pytest.raises(MaterialError, match=message):
        parse_card("example", CALIBRATED.replace(old, new))


def test_constants_can_be_set_for_a_while():
    before = {name: load_card(name)["creep_coefficient"] for name in ("trabecular", "shell")}
    with constants_set({"trabecular": {"creep_coefficient": 0.1}}):
        assert load_card("trabecular")["creep_coefficient"] == 0.1
        assert load_card("shell")["creep_coefficient"] == 0.1, "inherited by a card that extends it"
        assert load_card("pmma")["youngs_modulus_mpa"] == 2500.0
        with constants_set({"shell": {"creep_coefficient": 0.2}}):
            assert load_card("shell")["creep_coefficient"] == 0.2
            assert load_card("trabecular")["creep_coefficient"] == before["trabecular"]
    assert {name: load_card(name)["creep_coefficient"] for name in before} == before


def test_a_value_of_its_own_is_not_overruled_by_the_base():
    own = load_card("shell")["poisson_ratio"]
    other = 0.21
    assert own != other
    with constants_set({"trabecular": {"poisson_ratio": other}}):
        assert load_card("trabecular")["poisson_ratio"] == other
        assert load_card("shell")["poisson_ratio"] == own


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"trabecular": {"creep_coefficient": 9.0}}, "outside"),
        ({"trabecular": {"creep": 0.1}}, "unknown name"),
        ({"trabecula": {"creep_coefficient": 0.1}}, "unknown name"),
    ],
)
def test_a_constant_that_cannot_be_set_is_refused_at_once(values, told):
    with pytest.raises(MaterialError, match=told), constants_set(values):
        pytest.fail("the block must not be entered")
    assert load_card("trabecular")["creep_coefficient"] != 9.0
