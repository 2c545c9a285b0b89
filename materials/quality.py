"""Bone by name, by T-score or by Hounsfield units: everything that ends in a QCT mineral density."""

from __future__ import annotations

from kyphos.errors import MaterialError

from .data import BONE_CLASSES
from .library import Card, load_card

QUALITY = "bone-quality"
"""The card with the named densities and the T-score relation."""


def vbmd_of_bone(name: str) -> float:
    """Mean trabecular density, mg/cm3, of a named bone quality (`BONE_CLASSES`).

    Raises
    ------
    MaterialError
        No such name.
    """
    if name not in BONE_CLASSES:
        raise MaterialError(f"bone = {name!r} is not known; allowed: {', '.join(BONE_CLASSES)}")
    return load_card(QUALITY)[f"vbmd_{name}_mg_per_cc"]


def vbmd_of_t_score(t_score: float) -> float:
    """Mean trabecular density, mg/cm3, at a T-score: the straight line of the card `bone-quality`.

    >>> round(vbmd_of_t_score(-2.5), 6), round(vbmd_of_t_score(-1.0), 6)
    (80.0, 120.0)
    """
    card = load_card(QUALITY)
    return card["vbmd_at_t_score_zero_mg_per_cc"] + card["vbmd_per_t_score_mg_per_cc"] * t_score


def hu_line(calibration: Card | str) -> tuple[float, float]:
    """Slope, mg/cm3 per HU, and offset, mg/cm3, of a calibration card (or its name, or its file).

    Raises
    ------
    MaterialError
        No such card, or a card of another kind.
    """
    card = load_card(calibration) if isinstance(calibration, str) else calibration
    if card.kind != "HuCalibration":
        raise MaterialError(
            f"card {card.name!r} is {card.kind}; to turn HU into density a card of kind HuCalibration is needed"
        )
    return card["slope_mg_per_cc_per_hu"], card["offset_mg_per_cc"]
