"""How easily cement passes through bone: pore space and permeability from density and damage (card `cement-flow`)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .laws import Floats
from .library import Card, load_card

FLOW = "cement-flow"
VOLUME_FRACTIONS = (0.01, 0.6)  # of bone; beyond, Kozeny and Carman have nothing to say
CAVITY_SLOWNESS = 0.01  # against reference bone: a hole, a hundred times faster (numerical)

Viscosity = Literal["low", "high"]


def bone_volume_fraction(density_g_per_cc: ArrayLike, card: Card | None = None) -> Floats:
    """Share of bone in cancellous bone (k,) of QCT densities (k,): density over that of the mineralised tissue."""
    flow = card or load_card(FLOW)
    density = np.asarray(density_g_per_cc, dtype=np.float64)
    return np.asarray(np.clip(density / flow["tissue_mineral_density_g_per_cc"], *VOLUME_FRACTIONS))


def relative_permeability(density_g_per_cc: ArrayLike, damage: ArrayLike, card: Card | None = None) -> Floats:
    """Permeability (k,) over that of whole reference bone.

    Kozeny and Carman: k ~ (1 - b)^3 / b^2 with the bone volume fraction b. Broken bone, ``damage`` (k,) its lost share
    of stiffness, is the more permeable by a factor that rises straight to the card's `broken_gain`.

    >>> relative_permeability([0.1, 0.2], [0.0, 0.0]).round(3).tolist()
    [1.0, 0.176]
    """
    flow = card or load_card(FLOW)
    share, reference = bone_volume_fraction(density_g_per_cc, flow), flow["reference_volume_fraction"]
    whole = ((1.0 - share) / (1.0 - reference)) ** 3 * (reference / share) ** 2
    return np.asarray(whole * _broken(damage, flow))


def front_slowness(permeability: ArrayLike, viscosity: Viscosity, card: Card | None = None) -> Floats:
    """Time per length (k,) of a front of cement where bone has a relative permeability (k,); 1 in reference bone."""
    return np.asarray(np.asarray(permeability, dtype=np.float64) ** -front_exponent(viscosity, card))


def front_exponent(viscosity: Viscosity, card: Card | None = None) -> float:
    """Power of the permeability with which the slowness of a front falls."""
    return float((card or load_card(FLOW))[f"exponent_{viscosity}_viscosity"])


def wall_permeability(damage: ArrayLike, card: Card | None = None) -> Floats:
    """Relative permeability (k,) of cortex and endplates, ``damage`` (k,) being their lost share of stiffness."""
    flow = card or load_card(FLOW)
    return np.asarray(flow["wall_permeability_ratio"] * _broken(damage, flow))


def _broken(damage: ArrayLike, flow: Card) -> Floats:
    return 1.0 + (flow["broken_gain"] - 1.0) * np.asarray(damage, dtype=np.float64)
