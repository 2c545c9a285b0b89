"""Softening that spends a fracture energy whatever the size of the element (crack band: Bazant & Oh 1983)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import MaterialError

Floats = NDArray[np.float64]

STEEPEST = 0.5  # softening strain over that at the peak: no steeper fall is allowed
MARGIN = 1.5  # over where a point would snap back


def crack_softening(
    what: str, energy_n_per_mm: Floats, strength_mpa: Floats, modulus_mpa: Floats, poisson: Floats, length_mm: Floats
) -> Floats:
    """Softening beta (k,) over the peak's strain, so that a crack across the element spends its fracture energy.

    The traction is s = f exp(-(x - 1)/beta), x = M e/f with M the modulus against the opening (or the slip) alone; the
    area under it up to full separation is f^2/M (1/2 + beta) = G/h.

    Parameters
    ----------
    what
        Names law and mode in the message.
    energy_n_per_mm, strength_mpa, modulus_mpa, poisson, length_mm
        (k,): G, f, M, Poisson's ratio (0 for slip), and h, the element's length across the crack.

    Raises
    ------
    MaterialError
        An element is too long: free to contract sideways, its point would snap back. With a = 2 nu^2/(1 - nu) it
        does not while beta > a/(1 - a); half as much again is asked, and at least 1/2.
    """
    lateral = 2.0 * poisson**2 / (1.0 - poisson)
    least = np.maximum(STEEPEST, MARGIN * lateral / (1.0 - lateral))
    longest = energy_n_per_mm * modulus_mpa / (strength_mpa**2 * (0.5 + least))
    too_long = np.flatnonzero(length_mm > longest * (1.0 + 1e-12))
    if too_long.size:
        raise MaterialError(_too_long(what, int(too_long[0]), length_mm, longest))
    return np.asarray(energy_n_per_mm * modulus_mpa / (length_mm * strength_mpa**2) - 0.5)


def crush_softening(
    what: str, energy_n_per_mm: Floats, drop_mpa: Floats, young_mpa: Floats, length_mm: Floats
) -> Floats:
    """Crush strain (k,) over which the strength decays by `drop_mpa` (k,), so that the drop spends its energy.

    Raises
    ------
    MaterialError
        An element is so long that it would snap back: energy < drop^2 h/E.
    """
    drop = np.maximum(drop_mpa, 1e-12)  # a strength that does not fall needs no length
    longest = energy_n_per_mm * young_mpa / drop**2
    too_long = np.flatnonzero(length_mm > longest * (1.0 + 1e-12))
    if too_long.size:
        raise MaterialError(_too_long(what, int(too_long[0]), length_mm, longest))
    return np.asarray(energy_n_per_mm / (length_mm * drop))


def _too_long(what: str, row: int, length_mm: Floats, longest_mm: Floats) -> str:
    return (
        f"{what}: an element of {length_mm[row]:.3g} mm (row {row}) is too long for the fracture energy, it would snap "
        f"back; at most {longest_mm[row]:.3g} mm. Try a smaller mesh.element_size_mm, a larger fracture energy or a "
        "lower strength"
    )
