"""Coupons on meshes return the constants of their cards; the references are formulas worked out by hand."""

from __future__ import annotations

import math

import meshio
import numpy as np
import pytest

from kyphos.errors import MaterialError, StudyError
from kyphos.experiments import load_result, read_study
from kyphos.experiments.run import run_study
from kyphos.materials import load_card

WITHIN = 0.03
CARDS = ("trabecular", "shell", "pmma", "pmma-low-modulus", "calcium-phosphate")
QUICK = "[solver]\nthreads = 1\n[output]\nfields = false\npictures = false\n"


def run(folder, coupon, stages="", more=QUICK, size=2.0):
    """Outcomes of a study, by name."""
    (folder / "coupon.toml").write_text(f"{more}[mesh]\nelement_size_mm = {size}\n[coupon]\n{coupon}\n{stages}")
    result = run_study(read_study(folder / "coupon.toml"), folder / "run")
    return {name: outcome.value for name, outcome in result.outcomes.items()}


def by_card(card):
    """Keys that a coupon of a card needs, and Young's modulus along z, Poisson's ratio, strength, by hand."""
    constants = load_card(card)
    if card == "trabecular":
        return (
            'card = "trabecular"\ndensity_mg_per_cc = 100.0',
            2980.0 * 0.1**1.05,
            0.25 / math.sqrt(0.35),
            37.4 * 0.1**1.39,
        )
    if card == "shell":
        return 'card = "shell"\ndensity_mg_per_cc = 100.0', 8350.0, 0.3, 0.0084 * 8350.0
    strength = next(constants[n] for n in ("compressive_strength_mpa", "yield_stress_mpa") if n in constants.constants)
    return f'card = "{card}"', constants["youngs_modulus_mpa"], constants["poisson_ratio"], strength


@pytest.mark.parametrize("card", CARDS)
def test_a_compressed_cylinder_returns_its_card(card, tmp_path):
    keys, young, poisson, strength = by_card(card)
    end = 2.0 * strength / young + 0.004
    found = run(tmp_path, keys, f'[[stage]]\nkind = "coupon_compression"\nname = "c"\nend_strain = {end}\nsteps = 80')
    assert found["modulus_c_mpa"] == pytest.approx(young, rel=WITHIN)
    assert (found["poisson_ratio_x_c"], found["poisson_ratio_y_c"]) == pytest.approx((poisson, poisson), rel=WITHIN)
    assert found["strength_c_mpa"] == pytest.approx(strength, rel=WITHIN)
    if "yield_strain_c" in found:  # a cement that cracks and softens at once has its peak before the offset
        assert found["yield_strain_c"] == pytest.approx(strength / young + 0.002, rel=WITHIN)
    assert found["section_mm2"] == pytest.approx(9.0 * math.pi)


@pytest.mark.parametrize("card", ["pmma", "pmma-low-modulus", "calcium-phosphate"])
def test_a_bent_bar_returns_the_modulus_of_its_card(card, tmp_path):
    keys, young, _, _ = by_card(card)
    stage = '[[stage]]\nkind = "coupon_bend"\nname = "b"\ndeflection_mm = 0.02\nsteps = 2'
    found = run(tmp_path, f'{keys}\nshape = "bar"', stage)
    assert found["bending_modulus_b_mpa"] == pytest.approx(young, rel=WITHIN)
    assert "bending_strength_b_mpa" not in found


def test_a_bar_of_cement_yields_at_the_plastic_moment(tmp_path):
    """Perfectly plastic: the moment tends to Y b h^2/4, so the nominal stress 3 F a/(b h^2) to 1.5 Y, from below."""
    keys, _, _, strength = by_card("pmma")
    stage = '[[stage]]\nkind = "coupon_bend"\nname = "b"\ndeflection_mm = 14.0\nsteps = 20'
    found = run(tmp_path, f'{keys}\nshape = "bar"\nwidth_mm = 4.0', stage)
    nominal = 3.0 * found["largest_load_b_n"] * 20.0 / (4.0 * 3.3**2)
    assert 1.35 * strength < nominal < 1.03 * 1.5 * strength


@pytest.mark.parametrize("card", ["trabecular", "shell"])
def test_creep_in_an_hour_and_what_stays(card, tmp_path):
    keys, young, _, strength = by_card(card)
    constants, stress = load_card(card), 0.3 * strength
    stage = f'[[stage]]\nkind = "coupon_creep"\nname = "c"\nstress_mpa = {stress}\nrecovery_s = 1e7'
    found = run(tmp_path, keys, stage)
    creep = constants["creep_coefficient"] * stress / young * math.log1p(3600.0)
    assert found["modulus_c_mpa"] == pytest.approx(young, rel=WITHIN)
    assert found["elastic_strain_c"] == pytest.approx(stress / young, rel=WITHIN)
    assert found["creep_strain_c"] == pytest.approx(creep, rel=WITHIN)
    assert found["residual_strain_c"] == pytest.approx(constants["irrecoverable_share"] * creep, rel=WITHIN)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("direction", ["compression", "tension"])
def test_a_cycled_cylinder_lives_as_long_as_its_card_says(card, direction, tmp_path):
    """Basquin with the reference of the direction for cements; Haddock's line for bone, which knows no direction.

    A cement breaks when its strength, which falls with 1 - D, has come down to the peak: (1 - S)^(1/(k + 1)) = peak/Y.
    """
    keys, young, _, strength = by_card(card)
    constants = load_card(card)
    if card in ("trabecular", "shell"):
        peak = 0.5 * strength
        wanted = constants["fatigue_life_coefficient"] * (peak / young) ** -constants["fatigue_life_exponent"]
    else:
        names = {"compression": "fatigue_reference_stress_mpa", "tension": "fatigue_reference_tension_mpa"}
        peak = 1.15 * constants[names[direction]]
        wanted = constants["fatigue_reference_cycles"] * 1.15 ** -constants["fatigue_exponent"]
        if direction == "compression":
            wanted *= 1.0 - (peak / strength) ** (constants["fatigue_damage_exponent"] + 1.0)
    stage = (
        f'[[stage]]\nkind = "coupon_fatigue"\nname = "f"\npeak_mpa = {peak}\nload_ratio = 0.1\njump_tolerance = 0.05\n'
    )
    found = run(tmp_path, keys, f'{stage}direction = "{direction}"\nrun_out = 100000000')
    assert found["life_f"] == pytest.approx(wanted, rel=WITHIN)
    assert found["cycles_f"] >= found["life_f"]


def test_a_survivor_has_no_life(tmp_path):
    stage = '[[stage]]\nkind = "coupon_fatigue"\nname = "f"\npeak_mpa = 10.0\nload_ratio = -1.0\nrun_out = 1000'
    found = run(tmp_path, 'card = "pmma"\nshape = "waisted"\nends = "stick"', stage, size=1.6)
    assert found["cycles_f"] == 1000.0
    assert "life_f" not in found
    assert 0.0 < found["spent_life_f"] < 0.01


def test_sticking_ends_stiffen_and_logarithmic_strains_barely_matter(tmp_path):
    """Ends that may not widen: stiffer by less than confined compression; at small strain both kinematics agree."""
    keys, young, _, _ = by_card("trabecular")
    stage = '[[stage]]\nkind = "coupon_compression"\nname = "c"\nend_strain = 0.001\nsteps = 2'
    moduli = {}
    stick, log = 'ends = "stick"', 'strains = "logarithmic"'
    for number, extra in enumerate((stick, f"{stick}\n{log}", log)):
        (tmp_path / str(number)).mkdir()
        moduli[extra] = run(tmp_path / str(number), f"{keys}\n{extra}", stage)["modulus_c_mpa"]
    stuck, stuck_log, free_log = moduli.values()
    assert 1.01 * young < stuck < 1.35 * young
    assert stuck_log == pytest.approx(stuck, rel=2e-3)
    assert free_log == pytest.approx(young, rel=2e-3)


TWO = """
[[stage]]
kind = "coupon_creep"
name = "creep"
stress_mpa = 0.3
hold_s = 100.0
recovery_s = 100.0
[[stage]]
kind = "coupon_compression"
name = "crush"
end_strain = 0.02
steps = 10
"""


def test_the_folder_is_that_of_any_run_and_a_run_goes_on(tmp_path):
    keys = 'card = "trabecular"\ndensity_mg_per_cc = 100.0\nsoft_share = 0.3'
    found = run(tmp_path, keys, TWO, "[solver]\nthreads = 1\n[output]\npictures = false\n")
    whole = load_result(tmp_path / "run")
    assert whole.status == "done"
    assert list(dict.fromkeys(whole.history["stage"])) == ["creep", "crush"]
    assert (whole.history["balance"] < 1e-3).all()
    assert whole.history["time_s"].max() == 100.0
    cells = {name: values[0] for name, values in meshio.read(whole.fields_path("crush")).cell_data.items()}
    assert np.isfinite(cells["stress_mpa"]).all()
    middle, end = cells["density"].min(), cells["density"].max()
    assert middle < 0.085 < 0.098 < end <= 0.1
    assert cells["crush"][cells["density"] == middle].min() > cells["crush"][cells["density"] == end].max()
    assert read_study(tmp_path / "run" / "case.toml") == whole.spec
    sorted((tmp_path / "run" / "checkpoints").iterdir())[-1].unlink()
    again = run_study(whole.spec, tmp_path / "run", resume=True)
    assert {n: o.value for n, o in again.outcomes.items() if n != "wall_s"} == {
        n: v for n, v in found.items() if n != "wall_s"
    }


def study(folder, text):
    (folder / "study.toml").write_text(text)
    return read_study(folder / "study.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[coupon]\nshape = "ball"', "Allowed: 'cylinder', 'cube', 'bar', 'waisted'"),
        ("[coupon]\nwidth_mm = 3.0", "a cylinder has no width_mm; its sizes are diameter_mm, length_mm"),
        ("[coupon]\ndiameter_mm = 600.0", "outside 1 to 50 mm"),
        ('[coupon]\ntest = "bend"', "a bar is bent"),
        ('[coupon]\nshape = "bar"', "a bar is bent"),
        ('[coupon]\n[specimen]\nlevels = ["L1"]', "[specimen] is for a vertebra"),
        ("[coupon]\n[fracture]\nhold_s = 1.0", "[fracture] is for a vertebra"),
        ('[coupon]\n[[stage]]\nkind = "hold"\nforce_n = 100.0', "is not for a [coupon]"),
        ('[[stage]]\nkind = "coupon_creep"', "needs a [coupon] table"),
        ('[coupon]\ntest = "creep"\n[[stage]]\nkind = "coupon_tension"', "disagree"),
        (
            '[coupon]\nshape = "bar"\nlength_mm = 50.0\n[[stage]]\nkind = "coupon_bend"',
            "support_span_mm = 60 must lie below the bar's length_mm = 50",
        ),
    ],
)
def test_wrong_coupons_are_refused(text, words, tmp_path):
    with pytest.raises(StudyError) as error:
        study(tmp_path, text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[coupon]\ncard = "trabecular"', "density"),
        ('[coupon]\ncard = "pmma"\ndensity_mg_per_cc = 100.0', "does not depend on density"),
        ('[coupon]\ncard = "nothing"', "unknown name 'nothing'"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_before_anything_is_written(text, words, tmp_path):
    with pytest.raises(MaterialError, match=words):
        run_study(study(tmp_path, text), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_test_stands_for_one_stage(tmp_path):
    spec = study(tmp_path, '[coupon]\ntest = "creep"')
    assert [(stage.name, stage.kind) for stage in spec.stage] == [("creep", "coupon_creep")]
    assert study(tmp_path, "[coupon]").stage[0].kind == "coupon_compression"
