"""Observables that need several arms, or all specimens of a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .reading import change_percent

if TYPE_CHECKING:
    from .protocols import Observables

Array = NDArray[np.float64]

VOLUMES_ML = (1.0, 2.0, 4.0, 7.0)
"""Cement volumes of the dose test; no cement is its first point."""
FILLS_PERCENT = (10, 16, 30)
"""Cement volumes of Rotter 2015, per cent of the body's."""
LOAD_PERCENTS = (10, 20, 30)
"""Peak loads of Lu 2004, per cent of the yield load."""
FAR_MORE = 5.0
"""Times the change by cement that counts as far more; Rohlmann's own changes are 25 times apart (D03, D07)."""
BANDS_MG_PER_CC = {"below_80": (0.0, 80.0), "80_to_100": (80.0, 100.0), "100_to_120": (100.0, 120.0)}


def creep_ratios(found: Observables) -> Mapping[str, Array]:
    """How many times faster a vertebra creeps once fractured, and how much less (per cent) once treated.

    Ratios of the group's means, as in the paper.
    """
    ratios = {}
    for place in ("anterior", "middle"):
        states = [f"creep_{state}_{place}_microstrain" for state in ("intact", "fractured", "treated")]
        if not {*states} <= found.values.keys():
            continue
        table = np.stack([found.values[name] for name in states])
        intact, fractured, treated = table[:, np.isfinite(table).all(axis=0)].mean(axis=1)
        ratios[f"creep_rise_{place}"] = np.array(fractured / intact)
        ratios[f"creep_treated_{place}_percent"] = np.array(change_percent(treated, fractured))
    return ratios


def strength_by_density(found: Observables) -> Mapping[str, Array]:
    """Strength and stiffness in the bands of vBMD, the regression of strength (kN) on vBMD (mg/cm3), and ratios.

    ``men_over_women`` and ``l3_over_l1_percent`` compare bodies of the same density and relative size.
    """
    vbmd = np.array([one.vbmd_mg_per_cc for one in found.individuals])
    strength, stiffness = (found.values.get(f"l1.{name}", np.full(len(vbmd), np.nan)) for name in _TESTED)
    derived: dict[str, Array] = {}
    for name, (low, high) in BANDS_MG_PER_CC.items():
        inside = (vbmd >= low) & (vbmd < high)
        derived[f"strength_{name}_kn"], derived[f"stiffness_{name}_kn_per_mm"] = strength[inside], stiffness[inside]
    known = np.isfinite(strength)
    if known.sum() > 2:
        slope, at_zero = np.polyfit(vbmd[known], strength[known], 1)
        derived["strength_at_80_kn"] = np.array(at_zero + 80.0 * slope)
        derived["strength_slope_n_per_mg_per_cc"] = np.array(1000.0 * slope)
    for name, other in (("men_over_women", "men"), ("l3_over_l1", "l3")):
        if f"{other}.strength_kn" in found.values:
            derived[name] = found.values[f"{other}.strength_kn"] / strength
    if "l3_over_l1" in derived:
        derived["l3_over_l1_percent"] = 100.0 * (derived["l3_over_l1"] - 1.0)
    return derived


_TESTED = ("strength_kn", "stiffness_kn_per_mm")


def dose(found: Observables) -> Mapping[str, Array]:
    """Cement that restores intact strength and stiffness, mL and per cent of the body, and how well fill explains them.

    Linear between the tested volumes; infinite where the largest one does not do.
    """
    derived: dict[str, Array] = {}
    arms = [f"v{volume:g}" for volume in VOLUMES_ML]
    if not {f"{arm}.strength_ratio" for arm in arms} | {"size.volume_ml"} <= found.values.keys():
        return derived
    body_ml, volumes = found.values["size.volume_ml"], np.array([0.0, *VOLUMES_ML])
    for name in ("strength", "stiffness"):
        none = found.values[f"{arms[0]}.{name}_fractured_ratio"]
        ratios = np.stack([none, *(found.values[f"{arm}.{name}_ratio"] for arm in arms)], axis=1)
        needed = np.array([_crossing(volumes, row) for row in ratios])
        derived[f"{name}_volume_ml"] = needed
        derived[f"{name}_fill_percent"] = 100.0 * needed / body_ml
        fills = np.broadcast_to(volumes[1:], ratios[:, 1:].shape) / body_ml[:, None]
        known = np.isfinite(ratios[:, 1:])
        derived[f"{name}_r2"] = np.array(np.corrcoef(fills[known], ratios[:, 1:][known])[0, 1] ** 2)
    return derived


def _crossing(volumes: Array, ratios: Array) -> float:
    """Smallest volume at which the ratio reaches one; infinite if none does, NaN where one is unknown."""
    if not np.isfinite(ratios).all():
        return float("nan")
    above = np.flatnonzero(ratios >= 1.0)
    if not above.size:
        return float("inf")
    k = int(above[0])
    return float(volumes[0]) if k == 0 else float(np.interp(1.0, ratios[k - 1 : k + 1], volumes[k - 1 : k + 1]))


def cement_order(found: Observables) -> Mapping[str, Array]:
    """Belkoff 2001 AJNR, per specimen: is the body with calcium phosphate weaker and less stiff than it was intact?

    And than with PMMA. 1 or 0.
    """
    names = [f"{arm}.{what}_ratio" for arm in ("kyphoplasty-cap", "kyphoplasty") for what in ("strength", "stiffness")]
    if not {*names} <= found.values.keys():
        return {}
    weak, soft, pmma_weak, pmma_soft = (found.values[name] for name in names)
    table = np.stack([weak, soft, pmma_weak, pmma_soft])
    follows = (weak < 1.0) & (soft < 1.0) & (weak < pmma_weak) & (soft < pmma_soft)
    return {"cap_weaker": np.where(np.isfinite(table).all(axis=0), follows.astype(float), np.nan)}


def fill_order(found: Observables) -> Mapping[str, Array]:
    """Rotter 2015, per specimen: does more cement lose less height? 1 or 0."""
    names = [f"f{fill}.fatigue_loss_percent" for fill in FILLS_PERCENT]
    if not {*names} <= found.values.keys():
        return {}
    table = np.stack([found.values[name] for name in names])
    falls = (np.diff(table, axis=0) < 0.0).all(axis=0)
    return {"more_fill_less_loss": np.where(np.isfinite(table).all(axis=0), falls.astype(float), np.nan)}


def neighbour_order(found: Observables) -> Mapping[str, Array]:
    """Rohlmann 2006 and Baroud 2003, per specimen: do the changes of disc pressure have their sign and order? 1 or 0.

    Cement alone raises it; in an isolated unit at one approach by more; kyphosis by far more (`FAR_MORE`) than cement.
    Corrected kyphosis costs less than uncorrected.
    """
    arms = ("cement", "isolated", "kyphosis", "corrected")
    names = [f"{arm}.pressure_change_percent" for arm in arms]
    if not {*names} <= found.values.keys():
        return {}
    table = np.stack([found.values[name] for name in names])
    cement, isolated, kyphosis, corrected = table
    known = np.isfinite(table).all(axis=0)
    by_place = (cement > 0.0) & (isolated > cement) & (kyphosis > FAR_MORE * cement)
    orders = {"pressure_ordered": by_place, "correction_helps": (corrected > 0.0) & (corrected < kyphosis)}
    return {name: np.where(known, follows.astype(float), np.nan) for name, follows in orders.items()}


def all_held(found: Observables) -> Mapping[str, Array]:
    """Lu 2004, per specimen and load: did it hold? A test that found no equilibrium did not."""
    held = [found.values.get(f"p{load}.held", np.full(len(found.individuals), np.nan)) for load in LOAD_PERCENTS]
    return {"held": np.nan_to_num(np.concatenate(held), nan=0.0)}
