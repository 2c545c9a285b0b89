"""Named tests at a point return the constants of the card; the references are formulas worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kyphos.errors import MaterialError
from kyphos.materials import load_card
from kyphos.materials.kernels.bone import KELVIN_TIMES, KELVIN_WEIGHTS
from kyphos.materials.lab import CreepTest, PointTest, dixon_mood, drawn, life, run_creep, run_test, sample, staircase

WITHIN = 0.03
VBMD = 100.0  # mg/cm3
ELASTIC = {  # card -> Young's modulus along z, Poisson's ratios zx and zy (nu/sqrt(r) of a fabric of ratio r)
    "trabecular": (2980.0 * 0.1**1.05, 0.25 / math.sqrt(0.35)),
    "shell": (8350.0, 0.3),
    "pmma": (2500.0, 0.3),
    "pmma-low-modulus": (954.0, 0.3),
    "calcium-phosphate": (5000.0, 0.21),
}
STRENGTH = {
    "trabecular": 37.4 * 0.1**1.39,
    "shell": 0.0084 * 8350.0,
    "pmma": 70.0,
    "pmma-low-modulus": 28.0,
    "calcium-phosphate": 55.0,
}


def of(card):
    return sample(card, VBMD if load_card(card).kind == "CrushableBone" else None)


@pytest.mark.parametrize("card", ELASTIC)
@pytest.mark.parametrize("kind", ["compression", "tension"])
def test_a_uniaxial_test_returns_modulus_and_poisson_ratio(card, kind):
    curve = run_test(of(card), PointTest(kind, end_strain=1e-3, steps=10))
    young, poisson = ELASTIC[card]
    assert curve.modulus_mpa == pytest.approx(young, rel=WITHIN)
    assert curve.poisson_ratios == pytest.approx((poisson, poisson), rel=WITHIN)


@pytest.mark.parametrize("card", STRENGTH)
def test_a_compression_test_returns_the_strength(card):
    curve = run_test(of(card), PointTest("compression", end_strain=0.05, steps=500))
    assert curve.peak_mpa == pytest.approx(STRENGTH[card], rel=WITHIN)
    assert curve.strength_mpa() == pytest.approx(STRENGTH[card], rel=WITHIN)
    assert curve.has_peaked == ("pmma" not in card)  # which flows at its yield stress
    strain, _ = curve.offset_point()
    assert strain == pytest.approx(STRENGTH[card] / ELASTIC[card][0] + 0.002, rel=WITHIN)


def test_confined_hydrostatic_and_shear_return_the_moduli_of_an_isotropic_card():
    young, nu = 2500.0, 0.3
    wanted = {
        "confined": young * (1 - nu) / ((1 + nu) * (1 - 2 * nu)),
        "hydrostatic": young / (3 * (1 - 2 * nu)),
        "shear": young / (2 * (1 + nu)),
    }
    for kind, modulus in wanted.items():
        curve = run_test(of("pmma"), PointTest(kind, end_strain=1e-3, steps=5))
        assert curve.modulus_mpa == pytest.approx(modulus, rel=1e-6), kind
        assert curve.energy_mpa == pytest.approx(0.5 * modulus * 1e-6, rel=1e-6), kind


def test_bone_crushes_confined_and_from_all_sides_but_packs():
    """A cap: strength is found in triaxial compression too, and packed bone gets stronger again."""
    for kind in ("confined", "hydrostatic"):
        curve = run_test(of("trabecular"), PointTest(kind, end_strain=0.6, steps=300))
        early = curve.strain < 0.3
        assert 0.3 < curve.stress_mpa[early].max() / STRENGTH["trabecular"] < 3.0
        assert curve.stress_mpa[-1] > 1.2 * curve.stress_mpa[early][-1]


def test_creep_follows_the_card_and_part_of_it_stays():
    """s = stress/E1: c1 s times share ln(1 + t/tau) and the Kelvin chain; unloaded, the irrecoverable part stays."""
    bone, card = of("trabecular"), load_card("trabecular")
    stress = 0.3 * STRENGTH["trabecular"]
    curve = run_creep(bone, CreepTest(stress, hold_s=3600.0, recovery_s=1e7))
    s = stress / ELASTIC["trabecular"][0]
    share, c1 = card["irrecoverable_share"], card["creep_coefficient"]
    for after in (60.0, 3600.0):
        chain = sum(w * (1 - math.exp(-after / t)) for w, t in zip(KELVIN_WEIGHTS, KELVIN_TIMES, strict=True))
        wanted = c1 * s * (share * math.log1p(after) + (1 - share) * chain)
        assert curve.creep_strain(after) == pytest.approx(wanted, rel=WITHIN)
        assert curve.creep_strain(after) == pytest.approx(c1 * s * math.log1p(after), rel=WITHIN)
    assert curve.residual_strain == pytest.approx(c1 * s * share * math.log1p(3600.0), rel=WITHIN)


@pytest.mark.parametrize(
    ("card", "levels"), [("pmma", (45, 60)), ("pmma-low-modulus", (4, 6)), ("trabecular", (0.4, 0.6))]
)
def test_lives_lie_on_the_line_of_the_card(card, levels):
    """Basquin for cement; Haddock's line s^-8.54 for bone, at stresses below yield."""
    constants = load_card(card)
    for level in levels:
        peak, wanted = level, 0.0
        if card == "trabecular":
            peak = level * 0.84e-2 * ELASTIC[card][0] * 0.8
            s = peak / ELASTIC[card][0]
            wanted = constants["fatigue_life_coefficient"] * s ** -constants["fatigue_life_exponent"]
        else:
            ratio = peak / constants["fatigue_reference_stress_mpa"]
            wanted = constants["fatigue_reference_cycles"] * ratio ** -constants["fatigue_exponent"]
            # it breaks when its strength, which falls with 1 - D = (1 - S)^(1/(k + 1)), has come down to the peak
            wanted *= 1.0 - (peak / constants["yield_stress_mpa"]) ** (constants["fatigue_damage_exponent"] + 1.0)
        assert life(of(card), peak) == pytest.approx(wanted, rel=WITHIN)
    assert life(of(card), 0.01 * levels[0], run_out=1e4) == math.inf


def test_a_first_load_above_the_strength_is_no_cycle():
    assert life(of("trabecular"), 2.0 * STRENGTH["trabecular"]) == 0.0
    with pytest.raises(MaterialError, match="does not tire"):
        life(of("pot"), 10.0)


def test_dixon_and_mood_by_hand():
    """Failures at 12, 12, 10, 14, survivors at 8, 10, 10, 12, 8: by hand N = 4, A = 4, B = 6, v = 0.5."""
    levels = [8, 10, 12, 10, 12, 10, 8, 10, 12, 14]
    failed = [False, False, True, False, True, True, False, False, False, True]
    mean, sd = dixon_mood(levels, failed, 2.0)
    assert mean == pytest.approx(10 + 2 * (4 / 4 - 0.5))
    assert sd == pytest.approx(1.62 * 2 * (0.5 + 0.029))
    with pytest.raises(MaterialError, match="all 3 specimens survived"):
        dixon_mood([1, 2, 3], [False] * 3, 1.0)


def test_a_staircase_finds_the_population_it_draws_from():
    """The strength at run-out of each drawn card follows from its constants; mean and deviation are those of many."""
    card, run_out = load_card("pmma"), 1e6
    rng = np.random.default_rng(0)
    many = [drawn(card, rng) for _ in range(4000)]
    names = ("fatigue_reference_stress_mpa", "fatigue_reference_cycles", "fatigue_exponent")
    reference, cycles, exponent = (np.array([one[name] for one in many]) for name in names)
    strengths = reference * (cycles / run_out) ** (1.0 / exponent)
    found = staircase(card, start_mpa=45.0, step_mpa=2.0, specimens=40, run_out=run_out, seed=3)
    assert found.mean_mpa == pytest.approx(strengths.mean(), abs=2.0 * strengths.std() / math.sqrt(40 / 2))
    assert 0.5 < found.sd_mpa / strengths.std() < 2.0
    again = staircase(card, start_mpa=45.0, step_mpa=2.0, specimens=40, run_out=run_out, seed=3)
    np.testing.assert_array_equal(found.peak_mpa, again.peak_mpa)


def test_without_scatter_a_staircase_stands_on_one_step():
    found = staircase("pmma", start_mpa=41.5, step_mpa=1.0, specimens=12, scatter=())
    assert set(found.peak_mpa[3:]) == {43.5, 44.5}
    assert found.mean_mpa == pytest.approx(44.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sample("trabecular"), "density"),
        (lambda: sample("interdigitated"), "no material by itself"),
        (lambda: PointTest("bending"), "use compression"),
        (lambda: PointTest("shear", end_strain=2.0), "end_strain=2"),
        (lambda: run_creep(of("pmma"), CreepTest(10.0, hold_s=0.0)), "time to hold it"),
        (lambda: run_creep(of("pmma"), CreepTest(10.0)).creep_strain(1e5), "3600 s that the load was held"),
        (lambda: staircase("pmma", start_mpa=1.0, step_mpa=1.0, specimens=1), "at least two"),
    ],
)
def test_bad_tests_say_what_is_wrong(call, words):
    with pytest.raises(MaterialError, match=words):
        call()
