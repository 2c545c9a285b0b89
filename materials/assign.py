"""From regions and densities to a `MaterialField`: the density laws of bone, and the choice of cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kyphos.errors import MaterialError
from kyphos.units import MG_PER_G, MM3_PER_ML

from .field import Block, MaterialField
from .laws import BONDED_INTERFACE, CRUSHABLE_BONE, LINEAR_ELASTIC, Floats, Law
from .library import PLASTIC_BONE, SCALED_UNITS, Card, interdigitated, load_card

ELEMENT_LENGTH = "element_length_mm"
DEFAULT_CARDS: dict[str, str] = {
    "trabecular": "trabecular",
    "shell": "shell",
    "superior_endplate": "endplate",
    "inferior_endplate": "endplate",
    "superior_pot": "pot",
    "inferior_pot": "pot",
}
"""Card of each kind of region: the part of a region's name after the last dot."""


def _modulus_mpa(card: Card, density_g_per_cc: Floats, vbmd_mg_per_cc: Floats) -> Floats:
    """Axial modulus (k,), MPa, by the card's modulus law."""
    if card.modulus_law == "power":
        return np.asarray(card["modulus_coefficient_mpa"] * density_g_per_cc ** card["modulus_exponent"])
    if card.modulus_law == "linear":
        return card["modulus_slope_mpa"] * density_g_per_cc + card["modulus_intercept_mpa"]
    if card.modulus_law == "apparent":
        density = apparent_density_g_per_cc(card, density_g_per_cc)
        return np.asarray(card["modulus_coefficient_mpa"] * density ** card["modulus_exponent"])
    if card.modulus_law == "scaled":
        share = np.maximum(vbmd_mg_per_cc, card["vbmd_floor_mg_per_cc"]) / card["vbmd_reference_mg_per_cc"]
        return np.asarray(card["modulus_reference_mpa"] * share ** card["vbmd_exponent"])
    if card.modulus_law == "classes":
        names = ("osteoporosis", "osteopenia", "healthy")
        known = [card[f"vbmd_{name}_mg_per_cc"] for name in names]
        return np.interp(vbmd_mg_per_cc, known, [card[f"modulus_{name}_mpa"] for name in names])
    return np.full(density_g_per_cc.shape, card["youngs_modulus_mpa"])


def apparent_density_g_per_cc(card: Card, density_g_per_cc: Floats) -> Floats:
    """Wet apparent density (k,) from QCT mineral density (k,), as a card with an apparent-density law converts it.

    rho_ash = ash_slope rho_QCT + ash_offset, rho_app = rho_ash / ash_fraction (Schileo et al. 2008,
    J Biomech 41:2483, has the form; the numbers are the card's).
    """
    return (card["ash_slope"] * density_g_per_cc + card["ash_offset_g_per_cc"]) / card["ash_fraction"]


_BY_CELL = ("power", "linear", "apparent")
_BY_VERTEBRA = ("classes", "scaled")
"""Laws of the modulus that take the density of the cell, and those that take the mean of the vertebra."""


def _needs_density(card: Card) -> bool:
    return card.modulus_law in _BY_CELL or card.yield_law == "power"


def bone_rows(
    card: Card,
    density_g_per_cc: ArrayLike,
    cell_size_mm: ArrayLike,
    vbmd_mg_per_cc: ArrayLike | None = None,
) -> Floats:
    """Parameters (k, p) of `CRUSHABLE_BONE` for k cells.

    Parameters
    ----------
    card
        A card of kind CrushableBone.
    density_g_per_cc
        (k,), QCT mineral density of the cell; values below the card's floor (fat, voids, noise below zero)
        are lifted to it, so that no cell loses all stiffness. May be NaN where the card does not use it.
    cell_size_mm
        (k,), cube root of the cell's volume. In a cell larger than the card's crush band the softening strain is that
        much shorter (crack band: strain x band / size), so that the mesh does not set the energy of crushing; smaller
        cells share a band, which the law's hardening by packing keeps from narrowing.
    vbmd_mg_per_cc
        (k,) or one number: mean trabecular density of the vertebra, for a modulus by class (the shell).

    Raises
    ------
    MaterialError
        Density or size is missing, not finite or not positive, or a result leaves the range of the law.
    """
    if card.kind != CRUSHABLE_BONE.name:
        raise MaterialError(f"card {card.name!r} is {card.kind}; bone needs a card of kind {CRUSHABLE_BONE.name}")
    size = np.atleast_1d(np.asarray(cell_size_mm, dtype=np.float64))
    density = np.broadcast_to(np.asarray(density_g_per_cc, dtype=np.float64), size.shape)
    vbmd = np.broadcast_to(np.asarray(np.nan if vbmd_mg_per_cc is None else vbmd_mg_per_cc, float), size.shape)
    _check_input(card, "cell_size_mm", size, 1e-3, 100.0, True)
    _check_input(card, "density_g_per_cc", density, -2.0, 3.0, _needs_density(card))
    _check_input(card, "vbmd_mg_per_cc", vbmd, -2000.0, 3000.0, card.modulus_law in _BY_VERTEBRA)
    density = np.maximum(density, card["density_floor_g_per_cc"])
    modulus = _modulus_mpa(card, density, vbmd)
    special = {
        "axial_modulus_mpa": modulus,
        "yield_stress_mpa": _strength_mpa(card, density, modulus),
        "softening_strain": card["softening_strain"] * card["crush_band_mm"] / np.maximum(size, card["crush_band_mm"]),
    }
    names = [parameter.name for parameter in CRUSHABLE_BONE.parameters]
    rows = [special[name] if name in special else np.full(size.shape, card[name]) for name in names]
    parameters = np.stack(rows, axis=1)
    CRUSHABLE_BONE.check(parameters)
    return parameters


def card_rows(
    card: Card, cell_size_mm: ArrayLike, density_g_per_cc: ArrayLike = np.nan, vbmd_mg_per_cc: ArrayLike | None = None
) -> Floats:
    """Parameters (k, p) of any card's law for k cells, also of those whose constants depend on the cell.

    Arguments and errors are those of `bone_rows`; density is ignored where the law has no use for it. A law with an
    ``element_length_mm`` takes the cell's size in its place.
    """
    if card.law is CRUSHABLE_BONE:
        return bone_rows(card, density_g_per_cc, cell_size_mm, vbmd_mg_per_cc)
    size = np.atleast_1d(np.asarray(cell_size_mm, dtype=np.float64))
    rows = np.tile(card.row(), (size.size, 1))
    names = [parameter.name for parameter in card.law.parameters]
    if ELEMENT_LENGTH in names:
        rows[:, names.index(ELEMENT_LENGTH)] = size
        card.law.check(rows)
    return rows


def plastic_bone(card: Card, density_g_per_cc: ArrayLike) -> tuple[Floats, Floats]:
    """Young's modulus and uniaxial yield stress (k,), MPa, of isotropic, perfectly plastic bone.

    Parameters
    ----------
    card
        A card of kind PlasticBone.
    density_g_per_cc
        (k,), QCT mineral density; values below the card's floor are lifted to it.

    Raises
    ------
    MaterialError
        Another kind of card, or a density that is not finite or no density.
    """
    if card.kind != PLASTIC_BONE:
        raise MaterialError(f"card {card.name!r} is {card.kind}; a card of kind {PLASTIC_BONE} is needed")
    density = np.atleast_1d(np.asarray(density_g_per_cc, dtype=np.float64))
    _check_input(card, "density_g_per_cc", density, -2.0, 3.0, True)
    density = np.maximum(density, card["density_floor_g_per_cc"])
    unknown = np.full(density.shape, np.nan)
    _check_input(card, "vbmd_mg_per_cc", unknown, -2000.0, 3000.0, card.modulus_law in _BY_VERTEBRA)
    modulus = _modulus_mpa(card, density, unknown)
    _check_input(card, "a modulus", modulus, 1e-6, 1e6, True)
    return modulus, _strength_mpa(card, density, modulus)


def _strength_mpa(card: Card, density_g_per_cc: Floats, modulus_mpa: Floats) -> Floats:
    """Axial yield stress (k,), MPa, by the card's yield law."""
    if card.yield_law == "power":
        return np.asarray(card["yield_coefficient_mpa"] * density_g_per_cc ** card["yield_exponent"])
    return np.asarray(card["yield_strain"] * modulus_mpa)


def _check_input(card: Card, name: str, values: Floats, low: float, high: float, needed: bool) -> None:
    bad = np.flatnonzero(~((values >= low) & (values <= high)))
    if needed and bad.size:
        raise MaterialError(
            f"card {card.name!r} needs {name} in [{low:g}, {high:g}]; cell {bad[0]} of its region has "
            f"{values[bad[0]]:g} ({bad.size} in all)"
        )


def _level_vbmd(
    level: str, region_names: Sequence[str], region: NDArray[np.int16], density: Floats, volume: Floats
) -> float:
    """Mean trabecular density of one vertebra, mg/cm3, weighted by volume; NaN without such cells."""
    name = f"{level}.trabecular"
    if name not in region_names:
        return float("nan")
    inside = region == list(region_names).index(name)
    if not inside.any():
        return float("nan")
    return float(np.average(density[inside], weights=volume[inside]) * MG_PER_G)


def bone_field(
    region_names: Sequence[str],
    region: NDArray[np.int16],
    density_g_per_cc: Floats,
    cell_size_mm: Floats,
    *,
    shell_share: Mapping[str, float] | None = None,
    cards: Mapping[str, str | Card] | None = None,
    others: Sequence[Block] = (),
    n_points: int = 8,
) -> MaterialField:
    """The field of an untreated segment.

    Parameters
    ----------
    region_names, region
        Names, and index into them of every cell, (m,). What follows the last dot of a name chooses the card.
    density_g_per_cc, cell_size_mm
        (m,) each, see `bone_rows`. The shell's modulus follows the mean trabecular density of its level.
    shell_share
        Share of cortex in the shell cells of each level; trabecular bone of the level's mean density fills the rest,
        in parallel. Default: all cortex.
    cards
        Other cards than `DEFAULT_CARDS`, by kind of region: {"trabecular": card or its name}.
    others
        Blocks of cells that have their material already, such as discs; their regions need no card.
    n_points
        Quadrature points of a cell.

    Raises
    ------
    MaterialError
        A region has no card, or a card cannot be applied.
    """
    chosen: dict[str, str | Card] = {**DEFAULT_CARDS, **(cards or {})}
    volume = cell_size_mm**3
    blocks = list(others)
    bare = np.ones(region.size, dtype=bool)
    for block in others:
        bare[block.cells] = False
    for index, name in enumerate(region_names):
        cells = np.flatnonzero((region == index) & bare)
        if not cells.size:
            continue
        level, _, part = name.rpartition(".")
        if part not in chosen:
            raise MaterialError(
                f"region {name!r} has no card; give cards={{{part!r}: ...}}, known: {', '.join(chosen)}"
            )
        card = _card(chosen[part])
        vbmd = _level_vbmd(level, region_names, region, density_g_per_cc, volume)
        rows = card_rows(card, cell_size_mm[cells], density_g_per_cc[cells], vbmd)
        share = (shell_share or {}).get(level, 1.0)
        if part == "shell" and share < 1.0 and card.law is CRUSHABLE_BONE:
            filler = _card(chosen["trabecular"])
            rows = _in_parallel(share, rows, bone_rows(filler, vbmd / MG_PER_G, cell_size_mm[cells]))
        blocks.append(Block(card.law, cells, rows))
    return MaterialField(tuple(blocks), region.size, n_points)


def _card(choice: str | Card) -> Card:
    return load_card(choice) if isinstance(choice, str) else choice


def _in_parallel(share: float, rows: Floats, filler: Floats) -> Floats:
    """Rows (k, p) of bone, a share of whose section carries as `rows` say and the rest as `filler` does."""
    mixed = rows.copy()
    for name in ("axial_modulus_mpa", "yield_stress_mpa"):
        place = _column(CRUSHABLE_BONE, name)
        mixed[:, place] = share * rows[:, place] + (1.0 - share) * filler[:, place]
    return mixed


def cement_parameters(
    cement: Card | str, share: ArrayLike, in_bone: ArrayLike, cell_size_mm: ArrayLike
) -> tuple[Law, Floats]:
    """Law and parameters (k, p) of k cells that hold cement.

    Parameters
    ----------
    cement
        The cement's card or its name.
    share
        (k,) volume fraction of cement in the cell, in (0, 1]; moduli, strengths and fracture energies are that share of
        the full ones.
    in_bone
        (k,) whether the cell is bone that the cement has filled (interdigitated) or an empty cavity.
    cell_size_mm
        (k,), cube root of the cell's volume: over it a crack spends its energy, if the cement cracks.

    Raises
    ------
    MaterialError
        The card is no cement (it has no Young's modulus), a share lies outside (0, 1], or a cell is too long for the
        fracture energy of the cement.
    """
    card = _card(cement)
    shares = np.asarray(share, dtype=np.float64)
    if np.any(~((shares > 0.0) & (shares <= 1.0))):
        raise MaterialError(f"share of cement from {shares.min():g} to {shares.max():g}; it must lie in (0, 1]")
    rows = np.where(np.asarray(in_bone, dtype=bool)[:, None], interdigitated(card).row(), card.row())
    _scale(card.law, rows, shares)
    if ELEMENT_LENGTH in card.constants:
        rows[:, _column(card.law, ELEMENT_LENGTH)] = cell_size_mm
    card.law.check(rows)
    card.law.pack(rows)
    return card.law, rows


def cage_parameters(cage: Card | str, volume_ml: float) -> tuple[Law, Floats]:
    """Law and parameters (p,) of the cells over which a cage of metal is smeared.

    Their modulus is that of the metal times its share of ``volume_ml`` (of all these cells), which keeps the stiffness
    of the wall whatever the cells' size, times the share that a lattice of struts, which bend, has of it.

    Raises
    ------
    MaterialError
        The card is no cage, or its metal does not fit into the volume.
    """
    card = _card(cage)
    if card.kind != "Cage":
        raise MaterialError(f"card {card.name!r} is {card.kind}; a Cage card is needed")
    share = card["metal_volume_mm3"] / (MM3_PER_ML * volume_ml)
    if share >= 1.0:
        raise MaterialError(f"card {card.name!r}: its metal does not fit into {volume_ml:g} mL; try a larger balloon")
    modulus = share * card["lattice_share"] * card["youngs_modulus_mpa"]
    return LINEAR_ELASTIC, LINEAR_ELASTIC.row(youngs_modulus_mpa=modulus, poisson_ratio=card["poisson_ratio"])


def interface_parameters(
    interface: Card | str, cement: tuple[Law, Floats], share: ArrayLike, normal: Floats, length_mm: ArrayLike
) -> tuple[Law, Floats]:
    """Law and parameters (k, p) of k cells at the rim of the cement that may let go of the bone.

    Parameters
    ----------
    interface
        The interface's card or its name.
    cement
        What `cement_parameters` says of the same cells: elastic as that, intact, they stay.
    share
        (k,) volume fraction of cement in the cell: the interface has that share of its strengths and energies.
    normal, length_mm
        (k, 3) unit normals of the interface, and (k,) the cells' lengths along them.

    Raises
    ------
    MaterialError
        The card is no interface, or a cell is too long for its fracture energies.
    """
    card = _card(interface)
    if card.law is not BONDED_INTERFACE:
        raise MaterialError(f"card {card.name!r} is {card.kind}; a card of kind {BONDED_INTERFACE.name} is needed")
    law, given = cement
    rows = np.tile(card.row(), (len(given), 1))
    _scale(card.law, rows, np.asarray(share, dtype=np.float64))
    for name in ("youngs_modulus_mpa", "poisson_ratio"):
        rows[:, _column(card.law, name)] = given[:, _column(law, name)]
    for axis, name in enumerate(("normal_x", "normal_y", "normal_z")):
        rows[:, _column(card.law, name)] = normal[:, axis]
    rows[:, _column(card.law, ELEMENT_LENGTH)] = length_mm
    card.law.check(rows)
    card.law.pack(rows)
    return card.law, rows


def _column(law: Law, name: str) -> int:
    """Place of a parameter in a row."""
    return [parameter.name for parameter in law.parameters].index(name)


def _scale(law: Law, rows: Floats, factor: Floats) -> None:
    """Multiply all moduli, strengths and energies of ``rows`` (k, p) by ``factor`` (k,), in place."""
    for column, parameter in enumerate(law.parameters):
        if parameter.unit in SCALED_UNITS:
            rows[:, column] *= factor
