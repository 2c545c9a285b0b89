"""Every field of every constant of every card is looked at; and what must be refused is."""

from __future__ import annotations

import copy
import csv
import re
import tomllib
from pathlib import Path

import pytest

from kyphos.errors import MaterialError
from kyphos.materials import (
    BONE_CLASSES,
    DATA_KINDS,
    card_from_table,
    cards_by_group,
    count_flags,
    degenerated,
    describe_card,
    describe_library,
    hu_line,
    list_cards,
    load_card,
    parse_card,
    usage,
    vbmd_of_bone,
    vbmd_of_t_score,
)
from kyphos.materials import library as library_module

CARDS = Path(library_module.__file__).parent / "cards"
EVIDENCE = Path(__file__).resolve().parents[3] / "docs" / "evidence.csv"
FIELDS = ("value", "unit", "low", "high", "source", "flag")
OTHER_UNIT = {"MPa": "GPa", "1": "%"}

MUTATIONS = {
    **{f"no {field}": (lambda c, field=field: c.pop(field), f"{field!r} is missing") for field in FIELDS},
    "above its range": (lambda c: c.update(value=c["high"] + max(1.0, abs(c["high"]))), "is outside"),
    "below its range": (lambda c: c.update(value=c["low"] - max(1.0, abs(c["low"]))), "is outside"),
    "range upside down": (lambda c: c.update(low=c["high"] + 1.0, high=c["low"] - 1.0), "is outside"),
    "value of text": (lambda c: c.update(value=str(c["value"])), "finite number"),
    "endless range": (lambda c: c.update(high=float("inf")), "finite number"),
    "low is not a number": (lambda c: c.update(low=float("nan")), "finite number"),
    "another unit": (lambda c: c.update(unit=OTHER_UNIT.get(c["unit"], "1")), "must be"),
    "empty source": (lambda c: c.update(source="  "), "source is empty"),
    "flag measured": (lambda c: c.update(flag="measured"), "must be one of seen, assumed"),
    "flag in capitals": (lambda c: c.update(flag="Seen"), "must be one of seen, assumed"),
    "flag of another type": (lambda c: c.update(flag=True), "must be one of seen, assumed"),
    "one field more": (lambda c: c.update(sigma=1.0), "unknown name 'sigma'"),
}


def table_of(name):
    return tomllib.loads((CARDS / f"{name}.toml").read_text(encoding="utf-8"))


def evidence():
    with EVIDENCE.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", list_cards())
def test_every_broken_constant_is_refused_and_named(name):
    table = table_of(name)
    assert card_from_table(name, table).constants.keys() >= table.get("parameters", {}).keys()
    for key in table.get("parameters", {}):
        for what, (mutate, message) in MUTATIONS.items():
            broken = copy.deepcopy(table)
            mutate(broken["parameters"][key])
            with pytest.raises(MaterialError) as refused:
                card_from_table(name, broken)
            assert message in str(refused.value), what
            assert f"{key}" in str(refused.value), what


@pytest.mark.parametrize("name", list_cards())
def test_a_constant_that_is_named_wrongly_or_missing_is_refused(name):
    table = table_of(name)
    for key in table.get("parameters", {}):
        wrong = copy.deepcopy(table)
        wrong["parameters"][f"{key}_"] = wrong["parameters"].pop(key)
        with pytest.raises(MaterialError, match=f"unknown name '{key}_'; did you mean"):
            card_from_table(name, wrong)
        missing = copy.deepcopy(table)
        missing["parameters"].pop(key)
        base = load_card(table["extends"]) if "extends" in table else None
        if base is not None and key in base.constants:
            assert card_from_table(name, missing)[key] == base[key]
        else:
            with pytest.raises(MaterialError, match=f"'{key}' is missing"):
                card_from_table(name, missing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "LigamentX"}, "did you mean 'Ligament'"),
        ({"group": "ligaments"}, "group='ligaments' must be one of bone"),
        ({"meaning": 3}, "meaning=3 must be text"),
        ({"parameters": {"area_mm2": 3.0}}, r"must be tables \[parameters.NAME\]"),
        ({"parameters": [1.0]}, r"must be tables \[parameters.NAME\]"),
        ({"extends": "ligament-al"}, "did you mean 'ligament-all'"),
    ],
)
def test_broken_heads_are_refused(change, message):
    with pytest.raises(MaterialError, match=message):
        card_from_table("x", {**table_of("ligament-all"), **change})


# --- sources -----------------------------------------------------------------------------------------------


def unproven(constant, rows):
    """Why a constant may not be called seen; empty if it may."""
    if constant.flag != "seen":
        return ""
    cited = [rows[i] for i in re.findall(r"\b[A-Z]\d\d\b", constant.source) if i in rows]
    seen = [row for row in cited if row["flag"] == "seen"]
    if not seen:
        return "cites no row of the evidence that was seen"
    if "derived" in constant.source:
        return ""
    text = " ".join(
        f"{row['quantity']} {row['condition']} {row['value']} {row['sd_or_range']} {row['note']}" for row in seen
    )
    return "" if told(constant.value, text) else f"{constant.value:g} does not stand in {[row['id'] for row in seen]}"


def told(value, text):
    """Whether a text has this number (or it as per cent), or a range from-to around it."""
    numbers = {float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?", text)}
    spans = [(float(a), float(b)) for a, b in re.findall(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text)]
    return any(
        any(abs(number - wanted) < 1e-9 * max(1.0, wanted) for number in numbers)
        or any(low <= wanted <= high for low, high in spans)
        for wanted in (abs(value), 100.0 * abs(value))
    )


@pytest.mark.parametrize("name", list_cards())
def test_what_is_called_seen_stands_in_a_row_that_was_seen(name):
    rows = evidence()
    found = {key: unproven(constant, rows) for key, constant in load_card(name).constants.items()}
    assert {key: reason for key, reason in found.items() if reason} == {}


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        ("a paper that I remember", 0.12, "no row"),
        ("E12 Kopperdahl & Keaveny 1998", 0.84, "no row"),  # an assumed row
        ("Z99 nowhere", 0.12, "no row"),
        ("E26 JHE 2017", 0.13, "does not stand in"),
        ("E33 Robo 2021", 46.0, "does not stand in"),
    ],
)
def test_what_must_not_be_called_seen_is_found(source, value, reason):
    constant = load_card("nucleus").constants["c10_mpa"]
    changed = type(constant)(value, constant.unit, 0.0, 100.0, source, "seen")
    assert reason in unproven(changed, evidence())
    assert unproven(type(constant)(value, "MPa", 0.0, 100.0, source, "assumed"), evidence()) == ""


def test_evidence_has_no_row_twice():
    with EVIDENCE.open(encoding="utf-8", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert len(ids) == len(set(ids))


# --- lists -------------------------------------------------------------------------------------------------


def test_every_tissue_has_its_card():
    ligaments = {f"ligament-{name}" for name in ("all", "pll", "lf", "cl", "isl", "ssl", "itl")}
    bone = {"trabecular", "trabecular-crawford", "trabecular-morgan", "shell", "shell-scaled", "endplate"}
    disc = {"cartilage-endplate", "nucleus", "annulus-ground", "annulus-fibres", "disc-degeneration"}
    assert ligaments | bone | disc | {"bone-quality", "hu-120kvp"} <= set(list_cards())


def test_every_card_is_in_a_named_group():
    groups = cards_by_group()
    assert "Others" not in groups, f'write group = "..." in {[card.name for card in groups["Others"]]}'
    listed = [card.name for cards in groups.values() for card in cards]
    assert sorted(listed) == list(list_cards())


def test_the_list_says_what_reads_a_card():
    text = describe_library()
    for name in list_cards():
        line = next(line for line in text.splitlines() if line.split()[:1] == [name])
        assert usage(load_card(name)) in line
    assert "data, read by kyphos.materials.ligament_row" in describe_card("ligament-pll")
    assert "no law uses it yet" not in describe_card("nucleus")
    with pytest.raises(MaterialError, match=r"'ligament-pll' .* no material by itself"):
        _ = load_card("ligament-pll").law


def test_inherited_constants_are_counted_once():
    both, one = (
        sum(count_flags(load_card(name) for name in names).values())
        for names in (("shell", "trabecular"), ("trabecular",))
    )
    assert both - one == len(table_of("shell")["parameters"])


def test_data_kinds_are_declared():
    for name in list_cards():
        card = load_card(name)
        if card.kind in DATA_KINDS:
            assert {key: c.unit for key, c in card.constants.items()} == dict(DATA_KINDS[card.kind].units)


# --- density -----------------------------------------------------------------------------------------------


def test_named_bones_fall_into_their_classes():
    normal, osteopenic, osteoporotic, severe = (vbmd_of_bone(name) for name in BONE_CLASSES)
    assert normal > 120.0 > osteopenic > 80.0 > osteoporotic > severe
    with pytest.raises(MaterialError, match=r"'brittle' is not known; allowed: normal, osteopenic"):
        vbmd_of_bone("brittle")


def test_t_scores_meet_the_limits_of_qct():
    assert vbmd_of_t_score(-1.0) == pytest.approx(120.0, rel=1e-6)
    assert vbmd_of_t_score(-2.5) == pytest.approx(80.0, rel=1e-6)


def test_the_bundled_calibration_follows_its_file():
    """K2HPO4 = rho (u/p - fat)/(K2HPO4 - fat) with the numbers of the file; a straight line from -50 to 300 HU."""
    folder = Path(library_module.__file__).parents[1] / "meshes" / "sample" / "verse004_L2"
    text = (folder / "internal_calibration_sub-verse004.txt").read_text(encoding="utf-8")

    def number(label):
        return float(re.search(rf"{re.escape(label)} +(-?[\d.]+)", text)[1])

    slope, offset = hu_line("hu-verse004")
    for hu in (0.0, 50.0, 100.0, 150.0, 200.0, 250.0):
        rho = number("HU-Material Density Slope") * hu + number("HU-Material Density Y-Intercept")
        attenuation = number("HU-u/p Slope") * hu + number("HU-u/p Y-Intercept")
        fat, salt = number("Triglyceride"), number("K2HPO4")
        assert slope * hu + offset == pytest.approx(1000.0 * rho * (attenuation - fat) / (salt - fat), abs=5.0)


def test_a_calibration_must_be_one():
    assert hu_line(load_card("hu-120kvp")) == (0.8, 0.0)
    with pytest.raises(MaterialError, match=r"'pmma' is DuctileCement; .* HuCalibration is needed"):
        hu_line("pmma")


# --- discs -------------------------------------------------------------------------------------------------


def test_degeneration_multiplies_constants_and_ranges():
    healthy, worst = load_card("nucleus"), degenerated(load_card("nucleus"), 5)
    factors = load_card("disc-degeneration")
    assert worst["c10_mpa"] == pytest.approx(healthy["c10_mpa"] * factors["nucleus_shear_factor_grade_5"])
    assert worst["bulk_modulus_mpa"] == pytest.approx(1666.7 * 0.004)
    assert worst.law is healthy.law
    assert worst.row().shape == healthy.row().shape
    for constant in worst.constants.values():
        assert constant.low <= constant.value <= constant.high
    changed = worst.constants["c10_mpa"]
    assert (changed.flag, healthy.constants["c10_mpa"].flag) == ("assumed", "seen")
    assert "E26" in changed.source


@pytest.mark.parametrize("name", ["nucleus", "annulus-ground", "annulus-fibres"])
def test_grades_change_one_way(name):
    cards = [degenerated(load_card(name), grade) for grade in range(1, 6)]
    assert cards[0] == load_card(name)
    for key in cards[0].constants:
        values = [card[key] for card in cards]
        assert values in (sorted(values), sorted(values, reverse=True)), key
    assert cards[4].constants != cards[2].constants


def test_what_does_not_degenerate_is_refused():
    with pytest.raises(MaterialError, match="grade=6 of disc degeneration must be one of 1, 2, 3, 4, 5"):
        degenerated(load_card("nucleus"), 6)
    with pytest.raises(MaterialError, match="'pmma' does not degenerate; cards that do: nucleus"):
        degenerated(load_card("pmma"), 3)
    own = parse_card("mine", 'extends = "nucleus"\nmeaning = "mine"\n')
    assert degenerated(own, 4)["c10_mpa"] == degenerated(load_card("nucleus"), 4)["c10_mpa"]


def test_fibres_and_sizes_fall_inwards_and_with_age():
    fibres = load_card("annulus-fibres")
    for what in ("modulus_pair_{}_mpa", "volume_fraction_pair_{}"):
        values = [fibres[what.format(pair)] for pair in (1, 2, 3, 4)]
        assert values == sorted(values, reverse=True)
