"""Material cards: every constant with value, unit, range, source and a `seen`/`assumed` flag.

A card is a TOML file in `cards/`: `kind` names a law (or a kind that is no law by itself), `meaning` says what it is,
each `[parameters.NAME]` holds `value`, `unit`, `low`, `high`, `source`, `flag` (and, where a calibration has set the
value, `calibrated`, on what, and `prior`, the value before). A `CrushableBone` or `PlasticBone` card also names its
`modulus_law` and `yield_law`. A card may `extends` another, overriding what differs. Cards of the kinds in
`DATA_KINDS` hold data that no law takes as they are. `group` says where a list shows the card.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from kyphos.errors import MaterialError

from .data import DATA_KINDS
from .laws import LAWS, Floats, Law

Table = dict[str, Any]

FLAGS = ("seen", "assumed")
GROUPS = {
    "bone": "Bone",
    "disc": "Disc and endplates",
    "ligament": "Ligaments",
    "cement": "Cement and its interface",
    "machine": "Balloon, cavity, caps and pots",
    "density": "Density: quality of bone, HU calibrations",
    "": "Others",
}
"""Where a list shows a card: `group` of the card -> heading."""
CALIBRATED = {"calibrated", "prior"}
"""What only a calibrated constant has."""
COMPOSITE = "InterdigitatedComposite"
PLASTIC_BONE = "PlasticBone"
"""Isotropic, perfectly plastic bone by density, for voxel grids; see `plastic_bone`."""

_BONE_UNITS = {
    "modulus_ratio_x": "1",
    "modulus_ratio_y": "1",
    "poisson_ratio": "1",
    "plastic_poisson_ratio": "1",
    "density_floor_g_per_cc": "g/cm3",
    "plateau_ratio": "1",
    "softening_strain": "1",
    "crush_band_mm": "mm",
    "densification_gain": "1",
    "densification_strain": "1",
    "damage_max": "1",
    "damage_rate": "1",
    "damage_cap": "1",
    "creep_coefficient": "1",
    "irrecoverable_share": "1",
    "creep_time_s": "s",
    "secondary_rate_per_s": "1/s",
    "secondary_exponent": "1",
    "fatigue_life_coefficient": "1",
    "fatigue_life_exponent": "1",
    "fatigue_damage_exponent": "1",
    "springback_share": "1",
    "tension_share": "1",
    "tension_strength_share": "1",
    "packing_exponent": "1",
}
_PLASTIC_BONE_UNITS = {"poisson_ratio": "1", "density_floor_g_per_cc": "g/cm3"}
MODULUS_LAWS = {
    "power": {"modulus_coefficient_mpa": "MPa", "modulus_exponent": "1"},
    "linear": {"modulus_slope_mpa": "MPa", "modulus_intercept_mpa": "MPa"},
    "apparent": {
        "modulus_coefficient_mpa": "MPa",
        "modulus_exponent": "1",
        "ash_slope": "1",
        "ash_offset_g_per_cc": "g/cm3",
        "ash_fraction": "1",
    },
    "scaled": {
        "modulus_reference_mpa": "MPa",
        "vbmd_reference_mg_per_cc": "mg/cm3",
        "vbmd_floor_mg_per_cc": "mg/cm3",
        "vbmd_exponent": "1",
    },
    "classes": {
        "modulus_osteoporosis_mpa": "MPa",
        "modulus_osteopenia_mpa": "MPa",
        "modulus_healthy_mpa": "MPa",
        "vbmd_osteoporosis_mg_per_cc": "mg/cm3",
        "vbmd_osteopenia_mg_per_cc": "mg/cm3",
        "vbmd_healthy_mg_per_cc": "mg/cm3",
    },
    "constant": {"youngs_modulus_mpa": "MPa"},
}
YIELD_LAWS = {
    "power": {"yield_coefficient_mpa": "MPa", "yield_exponent": "1"},
    "strain": {"yield_strain": "1"},
}
SCALED_UNITS = ("MPa", "N/mm")
"""Units of constants that shrink with the share of a cell that is filled."""
_COMPOSITE_UNITS = {"porosity": "1", "porosity_exponent": "1", "interface_knock_down": "1"}


@dataclass(frozen=True, slots=True)
class Constant:
    """One number of a card: value, unit, range of uncertainty, source, and whether the source was seen.

    A calibrated constant also says on what (`calibrated`), and keeps the value its source gave (`prior`).
    """

    value: float
    unit: str
    low: float
    high: float
    source: str
    flag: str
    calibrated: str = ""
    prior: float | None = None

    @property
    def guess(self) -> float:
        """The value before any calibration."""
        return self.value if self.prior is None else self.prior

    @property
    def origin(self) -> str:
        """Where the value comes from: its source, and what a calibration made of it."""
        return self.source if self.prior is None else f"{self.prior:g} from {self.source}; {self.calibrated}"


@dataclass(frozen=True)
class Card:
    """One material: which law, and all constants by name; `base` is the card that it extends."""

    name: str
    kind: str
    meaning: str
    constants: Mapping[str, Constant]
    modulus_law: str = ""
    yield_law: str = ""
    group: str = ""
    base: str = ""

    @property
    def law(self) -> Law:
        """The law of this card; raises MaterialError for a card that only modifies others."""
        if self.kind not in LAWS:
            raise MaterialError(f"card {self.name!r} ({self.kind}) is no material by itself; it is {usage(self)}")
        return LAWS[self.kind]

    def __getitem__(self, name: str) -> float:
        """Value of one constant."""
        return self.constants[name].value

    def row(self) -> Floats:
        """Parameters (p,) of the law; for bone, whose parameters depend on density, see `bone_rows`."""
        if self.kind == "CrushableBone":
            raise MaterialError(f"card {self.name!r} depends on density and cell size; use bone_rows(card, ...)")
        return self.law.row(**{name: constant.value for name, constant in self.constants.items()})

    def with_values(self, **values: float) -> Card:
        """A copy with other values; each must exist and lie within the card's range."""
        for name in values:
            if name not in self.constants:
                raise MaterialError(_unknown(f"card {self.name!r}", name, self.constants))
        changed = {name: replace(self.constants[name], value=float(value)) for name, value in values.items()}
        for name, constant in changed.items():
            _check_range(f"card {self.name!r}: {name}", constant)
        return replace(self, constants={**self.constants, **changed})

    def uncalibrated(self) -> Card:
        """A copy with the values that all constants had before any calibration."""
        return self.with_values(**{name: constant.guess for name, constant in self.constants.items()})


def _unknown(where: str, name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{where}: unknown name {name!r}{hint} Known: {', '.join(sorted(known))}"


def _check_range(where: str, constant: Constant) -> None:
    if not constant.low <= constant.value <= constant.high:
        slips = {1000.0: "was it given in GPa? ", 1e-6: "was it given in Pa? "} if constant.unit == "MPa" else {}
        hint = [text for k, text in slips.items() if constant.low <= k * constant.value <= constant.high]
        raise MaterialError(
            f"{where}={constant.value:g} is outside [{constant.low:g}, {constant.high:g}] {constant.unit}; "
            f"{''.join(hint)}Check the unit, or widen the card's range with a source"
        )


def _constant(where: str, table: Table, unit: str) -> Constant:
    """One validated `[parameters.NAME]` table."""
    names = [field.name for field in fields(Constant)]
    needed = [name for name in names if name not in CALIBRATED]
    if missing := [name for name in needed if name not in table]:
        raise MaterialError(f"{where}: {missing[0]!r} is missing; every constant needs {', '.join(needed)}")
    if extra := sorted(set(table) - set(names)):
        raise MaterialError(_unknown(where, extra[0], dict.fromkeys(names)))
    numbers = [name for name in ("value", "low", "high", "prior") if name in table]
    for name in numbers:
        number = table[name]
        if isinstance(number, bool) or not isinstance(number, int | float) or not isfinite(number):
            raise MaterialError(f"{where}: {name}={number!r} must be a finite number")
    if not isinstance(table["source"], str) or not table["source"].strip():
        raise MaterialError(f"{where}: source is empty; name a paper, a DOI, or why the value is assumed")
    if table["flag"] not in FLAGS:
        raise MaterialError(f"{where}: flag={table['flag']!r} must be one of {', '.join(FLAGS)}")
    if table["unit"] != unit:
        raise MaterialError(f"{where}: unit={table['unit']!r} must be {unit!r}")
    if CALIBRATED & set(table):
        _check_calibrated(where, table)
    values: Table = table | {name: float(table[name]) for name in numbers}
    constant = Constant(**values)
    _check_range(where, constant)
    return constant


def _check_calibrated(where: str, table: Table) -> None:
    """A calibrated constant says on what, keeps its prior value, and is not seen."""
    if not set(table) >= CALIBRATED or not isinstance(table["calibrated"], str) or not table["calibrated"].strip():
        raise MaterialError(
            f"{where}: a calibrated constant needs both `calibrated`, a text that is not empty, and `prior`"
        )
    if table["flag"] != "assumed":
        raise MaterialError(f"{where}: flag={table['flag']!r} must be assumed: a calibrated value was not seen")


def _expected(where: str, table: Table) -> dict[str, str]:
    """Names and units of the constants that a card of this kind must have."""
    kind = table["kind"]
    if kind == COMPOSITE:
        return _COMPOSITE_UNITS
    if kind in DATA_KINDS:
        return dict(DATA_KINDS[kind].units)
    by_density = {"CrushableBone": _BONE_UNITS, PLASTIC_BONE: _PLASTIC_BONE_UNITS}
    if kind not in {**LAWS, **by_density}:
        raise MaterialError(
            _unknown(f"{where}: kind", str(kind), {**LAWS, **by_density, COMPOSITE: None, **DATA_KINDS})
        )
    if kind not in by_density:
        return {parameter.name: parameter.unit for parameter in LAWS[kind].parameters}
    units = dict(by_density[kind])
    for key, choices in (("modulus_law", MODULUS_LAWS), ("yield_law", YIELD_LAWS)):
        if table.get(key) not in choices:
            raise MaterialError(f"{where}: {key}={table.get(key)!r} must be one of {', '.join(choices)}")
        units |= choices[table[key]]
    return units


def parse_card(name: str, text: str) -> Card:
    """A card from TOML text; see `card_from_table` for what is refused.

    Raises
    ------
    MaterialError
        Broken TOML, or whatever `card_from_table` refuses.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MaterialError(f"card {name!r}: not valid TOML: {error}") from error
    return card_from_table(name, table)


def card_from_table(name: str, table: Table) -> Card:
    """A card from the tables of its file.

    Raises
    ------
    MaterialError
        A missing or unknown name, a constant without unit, range, source or flag, or a value outside its range.
    """
    where = f"card {name!r}"
    head, base = _head(where, table)
    units = _expected(where, head)
    own = table.get("parameters", {})
    if not isinstance(own, dict) or not all(isinstance(constant, dict) for constant in own.values()):
        raise MaterialError(f"{where}: parameters must be tables [parameters.NAME], each with value, unit, ...")
    if extra := sorted(set(own) - set(units)):
        raise MaterialError(_unknown(where, extra[0], units))
    constants = {key: _constant(f"{where}: {key}", own[key], unit) for key, unit in units.items() if key in own}
    inherited = {key: base.constants[key] for key in units if base and key in base.constants}
    if missing := [key for key in units if key not in constants and key not in inherited]:
        raise MaterialError(f"{where}: parameter {missing[0]!r} is missing")
    merged = {key: constants.get(key) or inherited[key] for key in units}
    return Card(name, constants=merged, base=base.name if base else "", **head)


def _head(where: str, table: Table) -> tuple[dict[str, str], Card | None]:
    """What stands above the parameters, completed from the card that this one extends, and that card."""
    keys = ("kind", "meaning", "modulus_law", "yield_law", "group")
    if extra := sorted(set(table) - {*keys, "extends", "parameters"}):
        raise MaterialError(_unknown(where, extra[0], dict.fromkeys((*keys, "extends", "parameters"))))
    for key in (*keys, "extends"):
        if key in table and not isinstance(table[key], str):
            raise MaterialError(f"{where}: {key}={table[key]!r} must be text in quotes")
    base = load_card(table["extends"]) if "extends" in table else None
    inherited = {key: getattr(base, key) for key in keys if key != "meaning"} if base else {}
    head: dict[str, str] = {**inherited, **{key: table[key] for key in keys if key in table}}
    for key in ("kind", "meaning"):
        if not head.get(key):
            raise MaterialError(f"{where}: {key!r} is missing")
    if head.get("group", "") not in GROUPS:
        raise MaterialError(f"{where}: group={head['group']!r} must be one of {', '.join(filter(None, GROUPS))}")
    return head, base


def list_cards() -> tuple[str, ...]:
    """Names of the built-in cards, in alphabetical order."""
    folder = files("kyphos.materials") / "cards"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


_Settings = tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
_settings: ContextVar[_Settings] = ContextVar("constants that differ from the cards", default=())


@contextmanager
def constants_set(values: Mapping[str, Mapping[str, float]]) -> Iterator[None]:
    """Within the block, `load_card` gives cards these values: card -> constant -> value.

    A card that extends another inherits what is set there, unless it has a value of its own. Values must lie
    within the card's range. Settings of an outer block do not hold inside.

    Raises
    ------
    MaterialError
        At once: an unknown card or constant, or a value outside its range.
    """
    settings = tuple((card, tuple(sorted(constants.items()))) for card, constants in sorted(values.items()))
    token = _settings.set(settings)
    try:
        for card in values:
            load_card(card)
        yield
    finally:
        _settings.reset(token)


def load_card(name: str) -> Card:
    """A built-in card by name, or a card file by path (ending in .toml); see also `constants_set`.

    Raises
    ------
    MaterialError
        No such card, or an invalid one.
    """
    settings = _settings.get()
    return _load(name, settings).with_values(**dict(dict(settings).get(name, ())))


@lru_cache(maxsize=512)
def _load(name: str, settings: _Settings) -> Card:
    """The card before its own settings; `settings` is part of the key because those of its base are in it."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise MaterialError(f"no card file {name!r}; give the path of an existing .toml file")
        return parse_card(path.stem, path.read_text(encoding="utf-8"))
    if name not in list_cards():
        raise MaterialError(_unknown("material card", name, dict.fromkeys(list_cards())))
    entry = files("kyphos.materials") / "cards" / f"{name}.toml"
    return parse_card(name, entry.read_text(encoding="utf-8"))


def cards_by_group() -> dict[str, list[Card]]:
    """The built-in cards under the headings of `GROUPS`; headings without cards are left out."""
    cards = [load_card(name) for name in list_cards()]
    groups = {heading: [card for card in cards if card.group == group] for group, heading in GROUPS.items()}
    return {heading: members for heading, members in groups.items() if members}


def describe_library() -> str:
    """All built-in cards as text, by group: name, kind, number of constants seen and assumed, meaning."""
    width = max(len(name) for name in list_cards())
    lines = []
    for heading, cards in cards_by_group().items():
        lines += [heading, *(f"  {card.name:<{width}}  {_first_sentence(card)}  ({usage(card)})" for card in cards), ""]
    total = count_flags(card for cards in cards_by_group().values() for card in cards)
    return "\n".join(
        [*lines, f"{', '.join(f'{number} {flag}' for flag, number in total.items())} (each constant once)"]
    )


def _first_sentence(card: Card) -> str:
    return re.split(r"[;.](?: |$)", card.meaning, maxsplit=1)[0]


def usage(card: Card) -> str:
    """What a card is for a solver: its law, or what reads its data."""
    if card.kind in LAWS:
        return f"law {card.kind}"
    if card.kind in DATA_KINDS:
        return (
            f"data, read by {DATA_KINDS[card.kind].used_by}" if DATA_KINDS[card.kind].used_by else "no law uses it yet"
        )
    return {COMPOSITE: "rule for cements in bone", PLASTIC_BONE: "law of voxel grids"}[card.kind]


def count_flags(cards: Iterable[Card]) -> dict[str, int]:
    """How many constants carry each flag; what a card inherits is counted where it stands first."""
    counts = dict.fromkeys(FLAGS, 0)
    for card in cards:
        known = load_card(card.base).constants if card.base else {}
        for key, constant in card.constants.items():
            counts[constant.flag] += known.get(key) != constant
    return counts


def describe_card(name: str) -> str:
    """All constants of a card as text: value, range, unit, flag, source."""
    card = load_card(name)
    laws = "".join(
        f", {key} {value}" for key, value in (("modulus", card.modulus_law), ("yield", card.yield_law)) if value
    )
    flags = [constant.flag for constant in card.constants.values()]
    counts = ", ".join(f"{flags.count(flag)} {flag}" for flag in FLAGS)
    lines = [f"{card.name}: {card.kind}{laws} ({usage(card)})", card.meaning, f"{len(flags)} constants: {counts}", ""]
    if card.base:
        lines.insert(2, f"Where it does not say otherwise as card {card.base!r}.")
    width = max(len(key) for key in card.constants)
    for key, c in card.constants.items():
        number = f"{c.value:.6g} [{c.low:.6g}, {c.high:.6g}] {c.unit}"
        lines.append(f"  {key:<{width}}  {number:<34} {c.flag:<8} {c.origin}")
    return "\n".join(lines)


def interdigitated(cement: Card, composite: Card | None = None) -> Card:
    """Cement interdigitated with cancellous bone: E = E_cement (1 - porosity)^n (1 - knock-down).

    Strengths and fracture energies go with (1 - porosity)^n: yield stress falls with porosity as the modulus does, and
    the bone inside is 'switched off' (Kinzl 2011, J Biomech 44:2732); contact instead of bond at the interface costs
    the modulus its knock-down (Kinzl 2012, J Biomech 45:1478). `composite` defaults to the card `interdigitated`.
    """
    rule = composite if composite is not None else load_card("interdigitated")
    if rule.kind != COMPOSITE:
        raise MaterialError(f"card {rule.name!r} is {rule.kind}; an {COMPOSITE} card is needed")
    if "youngs_modulus_mpa" not in cement.constants:
        raise MaterialError(f"card {cement.name!r} has no youngs_modulus_mpa; give a cement card")
    solid = (1.0 - rule["porosity"]) ** rule["porosity_exponent"]
    factors = {name: solid for name, constant in cement.constants.items() if constant.unit in SCALED_UNITS}
    factors["youngs_modulus_mpa"] *= 1.0 - rule["interface_knock_down"]
    constants = {**cement.constants}
    for name, factor in factors.items():
        bulk = cement.constants[name]
        source = f"derived: {factor:.3g} of card {cement.name!r} by card {rule.name!r}"
        numbers = (factor * bulk.value, bulk.unit, factor * bulk.low, factor * bulk.high)
        constants[name] = Constant(*numbers, source, "assumed")
    meaning = f"{cement.meaning} Interdigitated with cancellous bone."
    return replace(cement, name=f"{cement.name}-interdigitated", meaning=meaning, constants=constants)
