"""The disc's tissues as they degenerate."""

from __future__ import annotations

from dataclasses import replace

from kyphos.errors import MaterialError

from .data import FIBRE_PAIRS, GRADES
from .library import Card, Constant, load_card

_DEGENERATING: dict[str, dict[str, tuple[str, ...]]] = {
    "nucleus": {"nucleus_shear": ("c10_mpa", "c01_mpa"), "nucleus_bulk": ("bulk_modulus_mpa",)},
    "annulus-ground": {"ground": ("c10_mpa", "c01_mpa")},
    "annulus-fibres": {"fibre": tuple(f"modulus_pair_{pair}_mpa" for pair in FIBRE_PAIRS)},
}
"""Tissue -> factor -> the constants that it multiplies."""


def degenerated(card: Card, grade: int) -> Card:
    """A tissue of the disc at a grade of degeneration.

    The tissue is `nucleus`, `annulus-ground`, `annulus-fibres`, or a card that extends one of them. Grade 1 is the
    healthy tissue, 5 the worst (see card `disc-degeneration`); stiffnesses and their ranges are multiplied by the
    factors of the grade. Sizes (`disc_height`, `nucleus_area`) are for who makes the mesh.

    Raises
    ------
    MaterialError
        A grade that is none of 1 to 5, or a card that is no tissue of the disc.
    """
    if grade not in GRADES:
        raise MaterialError(f"grade={grade!r} of disc degeneration must be one of {', '.join(map(str, GRADES))}")
    tissue = next((name for name in (card.name, card.base) if name in _DEGENERATING), None)
    if tissue is None:
        raise MaterialError(f"card {card.name!r} does not degenerate; cards that do: {', '.join(_DEGENERATING)}")
    if grade == 1:
        return card
    factors = load_card("disc-degeneration").constants
    changed = {
        key: _scaled(card.constants[key], factors[f"{factor}_factor_grade_{grade}"], grade)
        for factor, keys in _DEGENERATING[tissue].items()
        for key in keys
    }
    meaning = f"{card.meaning} Degenerated, grade {grade}."
    return replace(card, name=f"{card.name}-grade-{grade}", meaning=meaning, constants={**card.constants, **changed})


def _scaled(constant: Constant, factor: Constant, grade: int) -> Constant:
    """A constant times a factor; the range spans both ranges."""
    return replace(
        constant,
        value=constant.value * factor.value,
        low=constant.low * factor.low,
        high=constant.high * factor.high,
        source=f"derived: {factor.value:g} times ({constant.source}), grade {grade} of card 'disc-degeneration'",
        flag="assumed",
    )
