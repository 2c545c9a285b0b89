"""The tissues of disc and motion segment: annulus by layer, ligaments, facets; and the disc as it degenerates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from kyphos.errors import MaterialError

from .data import FIBRE_PAIRS, GRADES
from .laws import FIBRED_GROUND, HOLZAPFEL_GROUND, Floats, Law
from .library import Card, Constant, load_card

_DEGENERATING: dict[str, dict[str, tuple[str, ...]]] = {
    "nucleus": {"nucleus_shear": ("c10_mpa", "c01_mpa"), "nucleus_bulk": ("bulk_modulus_mpa",)},
    "annulus-ground": {"ground": ("c10_mpa", "c01_mpa")},
    "annulus-fibres": {"fibre": tuple(f"modulus_pair_{pair}_mpa" for pair in FIBRE_PAIRS)},
    "annulus-fibres-exponential": {"fibre": ("k1_mpa",)},
}
"""Tissue -> factor -> the constants that it multiplies."""


def fibre_directions(around: Floats, up: Floats, angle_deg: float) -> Floats:
    """Directions (k, 2, 3) of the two families of fibres, of unit length.

    Parameters
    ----------
    around, up
        (k, 3): along the layer within the disc's plane (either sense), and along the disc's axis; any length.
    angle_deg
        Between fibres and the disc's plane.

    Raises
    ------
    MaterialError
        A direction without length, or both along one line.
    """
    axis = _unit(np.asarray(up, dtype=np.float64))
    along = np.asarray(around, dtype=np.float64)
    along = _unit(along - np.einsum("ki,ki->k", along, axis)[:, None] * axis)
    angle = np.radians(angle_deg)
    return np.stack([np.cos(angle) * along + sign * np.sin(angle) * axis for sign in (1.0, -1.0)], axis=1)


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~(length > 1e-9))
    if bad.size:
        raise MaterialError(
            f"fibre_directions: row {bad[0]} has no direction ({bad.size} such rows); `around` must not be zero nor "
            "lie along `up`"
        )
    return np.asarray(vectors / length[:, None])


def annulus_rows(
    around: Floats,
    up: Floats,
    depth: ArrayLike,
    *,
    ground: Card | str = "annulus-ground",
    fibres: Card | str = "annulus-fibres",
) -> tuple[Law, Floats]:
    """Law and parameters (k, p) of k cells of the annulus.

    Parameters
    ----------
    around, up
        (k, 3) see `fibre_directions`.
    depth
        (k,) 0 at the outer surface of the annulus, 1 at its inner one: which of the four pairs of layers a cell is.
    ground, fibres
        Cards, or their names; fibres of kind `AnnulusFibres` (law `FIBRED_GROUND`) or `ExponentialFibres`
        (law `HOLZAPFEL_GROUND`). See `degenerated` for the grades.

    Raises
    ------
    MaterialError
        Cards of another kind, a depth outside [0, 1], or a direction without length.
    """
    matrix, cords = _card(ground, "MooneyRivlin"), _card(fibres, *_FIBRES)
    directions = fibre_directions(around, up, cords["fibre_angle_deg"]).reshape(-1, 6)
    inward = np.broadcast_to(np.asarray(depth, dtype=np.float64), len(directions))
    bad = np.flatnonzero(~((inward >= 0.0) & (inward <= 1.0)))
    if bad.size:
        raise MaterialError(f"annulus_rows: depth={inward[bad[0]]:g} (row {bad[0]}) is outside [0, 1]")
    law, columns = _FIBRES[cords.kind]
    rows = np.column_stack([np.tile(matrix.row(), (len(directions), 1)), columns(cords, inward), directions])
    law.check(rows)
    return law, rows


def _layered(card: Card, depth: Floats) -> Floats:
    """Fibre modulus, fraction and toe (k, 3) by pair of layers."""
    pair = np.minimum((depth * len(FIBRE_PAIRS)).astype(int), len(FIBRE_PAIRS) - 1)
    modulus, fraction = (
        np.array([card[name.format(p)] for p in FIBRE_PAIRS])[pair]
        for name in ("modulus_pair_{}_mpa", "volume_fraction_pair_{}")
    )
    return np.column_stack([modulus, fraction, np.full(len(depth), card["toe_strain"])])


def _alike(card: Card, depth: Floats) -> Floats:
    """k1, k2, kappa (k, 3), the same in all layers."""
    return np.tile([card["k1_mpa"], card["k2"], card["fibre_dispersion"]], (len(depth), 1))


_FIBRES: dict[str, tuple[Law, Callable[[Card, Floats], Floats]]] = {
    "AnnulusFibres": (FIBRED_GROUND, _layered),
    "ExponentialFibres": (HOLZAPFEL_GROUND, _alike),
}
"""Kind of card -> law, and its columns from card and depth."""


def ligament_row(ligament: Card | str) -> Floats:
    """Constants (5,) of a ligament as `kyphos.fem.Springs` takes them.

    Force per unit strain below the transition and beyond it (N; modulus times area), transition strain, the strain of
    the unloaded joint's ligament at which it is taut, from which the others count, and the length (mm) that the
    card's source has.

    Raises
    ------
    MaterialError
        A card of another kind.
    """
    card = _card(ligament, "Ligament")
    area = card["area_mm2"]
    stiffness = [area * card["toe_modulus_mpa"], area * card["modulus_mpa"]]
    return np.array([*stiffness, card["transition_strain"], card["slack_strain"], card["length_mm"]])


def facet_row(facet: Card | str = "facet") -> Floats:
    """Constants (3,) of a facet joint as `kyphos.fem.Stops` takes them: stiffness N/mm, gap mm, rounding mm.

    Raises
    ------
    MaterialError
        A card of another kind.
    """
    card = _card(facet, "FacetStop")
    return np.array([card["stiffness_n_per_mm"], card["gap_mm"], card["rounding_mm"]])


def _card(choice: Card | str, *kinds: str) -> Card:
    card = load_card(choice) if isinstance(choice, str) else choice
    if card.kind not in kinds:
        raise MaterialError(f"card {card.name!r} is {card.kind}; a card of kind {' or '.join(kinds)} is needed")
    return card


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
