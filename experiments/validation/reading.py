"""From a finished run to what its paper reports.

Shares are in per cent and strains in microstrain where the papers use them; heights are those of bone, measured at
the gauges in the mid-sagittal plane.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from kyphos.experiments.next_fracture import FRACTURED
from kyphos.experiments.outcomes import PLACES, SMALLEST_BASE_MM
from kyphos.experiments.stages import waiting_times

if TYPE_CHECKING:
    from kyphos.experiments import Result

    from .protocols import Curve

MICRO = 1e6
CREEP_S = 3600.0


def nothing(_: Result) -> dict[str, Any]:
    """No numbers."""
    return {}


def _value(result: Result, name: str) -> float:
    return result.outcomes[name].value


def _height_mm(result: Result, stage: str, places: tuple[str, ...] = PLACES) -> float:
    """Mean height at the end of a stage over some places, mm."""
    return float(np.mean([_value(result, f"height_{stage}_{place}_mm") for place in places]))


def _last_row(result: Result, stage: str) -> Any:
    rows = result.history[result.history["stage"] == stage]
    return rows.iloc[-1]


def change_percent(after: float, before: float) -> float:
    """Change in per cent."""
    return 100.0 * (after / before - 1.0)


def crush_and_retest(result: Result) -> dict[str, float]:
    """Wegrzyn 2011: recovery of height, and change of stiffness and failure load, in per cent.

    Recovery is the share of the imposed loss of height (mean of anterior, middle, posterior) that has come back.
    """
    intact, rested = _height_mm(result, "intact"), _height_mm(result, "unload")
    crushed_row = _last_row(result, "fracture")
    crushed = float(np.mean([crushed_row[f"height_{place}_mm"] for place in PLACES]))
    return {
        "recoil_percent": 100.0 * (rested - crushed) / (intact - crushed),
        "stiffness_change_percent": change_percent(
            _value(result, "steepest_fractured_n_per_mm"), _value(result, "steepest_intact_n_per_mm")
        ),
        "strength_change_percent": change_percent(
            _value(result, "strength_fractured_n"), _value(result, "strength_intact_n")
        ),
        "strength_intact_n": _value(result, "strength_intact_n"),
        "stiffness_intact_n_per_mm": _value(result, "steepest_intact_n_per_mm"),
    }


def creep_tests(result: Result) -> dict[str, float]:
    """Luo 2016: creep strain in the hour under load, in three states, at front and middle of the wall, microstrain.

    A body that loses so much of a height in the hour that this is a fracture of its own (`FRACTURED`) gave way (1, else
    0); ``..._stood_microstrain`` leaves it out (NaN).
    """
    found = {}
    for state in ("intact", "fractured", "treated"):
        strains = {}
        for place in ("anterior", "middle"):
            before = _value(result, f"wall_elastic_{state}_{place}_mm")
            after = _value(result, f"wall_creep_{state}_{place}_mm")
            strains[place] = (before - after) / before
        gave_way = max(strains.values()) >= FRACTURED.height_loss
        found[f"creep_{state}_gave_way"] = float(gave_way)
        for place, strain in strains.items():
            found[f"creep_{state}_{place}_microstrain"] = MICRO * strain
            found[f"creep_{state}_{place}_stood_microstrain"] = np.nan if gave_way else MICRO * strain
    return found


def creep_curves(result: Result) -> dict[str, Curve]:
    """Creep strain (microstrain) at the anterior gauge against time (s), in three states."""
    curves = {}
    times = waiting_times(CREEP_S)
    for state in ("intact", "fractured", "treated"):
        rows = result.history[result.history["stage"] == f"creep_{state}"]["height_anterior_mm"].to_numpy()
        start = _value(result, f"height_elastic_{state}_anterior_mm")
        strains = MICRO * (start - rows[-len(times) :]) / start
        curves[state] = tuple((float(t), float(strain)) for t, strain in zip(times, strains, strict=True))
    return curves


def fracture_effect(result: Result) -> dict[str, float]:
    """Luo 2009: change of compressive and of bending stiffness and of the disc's pressure by a fracture, per cent.

    Bending stiffness: moment of the eccentric load over the inclination of one pot against the other. Pressure: erect,
    stooping, and the mean of both changes.
    """
    found: dict[str, float] = {}
    bent = [f"tilt_bent_{load}_{state}_deg" for state in ("intact", "fractured") for load in ("low", "high")]
    low, high, low_after, high_after = (_value(result, name) for name in bent)
    stiffness = [_value(result, f"stiffness_{state}_n_per_mm") for state in ("intact", "fractured")]
    for posture, ending in (("erect", ""), ("flexed", "_flexed")):
        names = [f"disc_L1_L2_pressure_{state}{ending}_mpa" for state in ("intact", "fractured")]
        before, after = (_value(result, name) for name in names)
        found |= {f"{posture}_intact_mpa": before, f"{posture}_change_percent": change_percent(after, before)}
    return found | {
        "compression_change_percent": change_percent(stiffness[1], stiffness[0]),
        "bending_change_percent": change_percent(high - low, high_after - low_after),
        "pressure_change_percent": (found["erect_change_percent"] + found["flexed_change_percent"]) / 2.0,
    }


def deflation(result: Result) -> dict[str, float]:
    """Rotter 2010 and 2015: anterior height lost at deflation and gained in all, per cent.

    Of the height before the treatment (2010), and of the balloons' lift (2015).
    """
    before, reduced, deflated, treated = (
        _height_mm(result, stage, ("anterior",)) for stage in ("fractured", "reduced", "deflated", "treated")
    )
    return {
        "deflation_loss_percent": 100.0 * (reduced - deflated) / before,
        "net_gain_percent": 100.0 * (treated - before) / before,
        "lift_lost_percent": 100.0 * (reduced - treated) / (reduced - before),
        "balloon_peak_pressure_mpa": _value(result, "balloon_peak_pressure_mpa"),
        "balloon_volume_ml": _value(result, "balloon_volume_ml"),
    }


def restored(result: Result) -> dict[str, float]:
    """Belkoff 2001: height restored, and stiffness and strength over those of the intact body.

    Height (mean of three gauges) in per cent of what was lost and did not come back by itself, and in mm.
    """
    intact, fractured, treated = (_height_mm(result, stage) for stage in ("intact", "fractured", "treated"))
    stiffness = {s: _value(result, f"stiffness_{s}_n_per_mm") for s in ("intact", "fractured", "treated")}
    strength = {
        s: result.outcomes[name].value
        for s in ("intact", "fractured", "treated")
        if (name := f"strength_{s}_n") in result.outcomes
    }
    ordered = stiffness["fractured"] < stiffness["treated"] < stiffness["intact"]
    return {
        "restored_percent": 100.0 * (treated - fractured) / (intact - fractured),
        "restored_mm": treated - fractured,
        "stiffness_ratio": stiffness["treated"] / stiffness["intact"],
        "stiffness_fractured_ratio": stiffness["fractured"] / stiffness["intact"],
        "stiffness_ordered": float(ordered),
        "strength_ratio": strength["treated"] / strength["intact"],
        **({"strength_fractured_ratio": strength["fractured"] / strength["intact"]} if "fractured" in strength else {}),
    }


def intact_test(result: Result) -> dict[str, float]:
    """Strength (kN) and stiffness (kN/mm) of the intact body."""
    return {
        "strength_kn": _value(result, "strength_intact_n") / 1000.0,
        "stiffness_kn_per_mm": _value(result, "stiffness_intact_n_per_mm") / 1000.0,
    }


def low_cycling(result: Result) -> dict[str, float]:
    """Lu 2004: change of stiffness by the cycles (per cent), loss of height (per cent), and whether it held (1).

    It has held if all cycles were carried and the body has lost no more than 2 % of its height.
    """
    intact, cycled = _height_mm(result, "intact"), _height_mm(result, "cycled")
    lost = 100.0 * (intact - cycled) / intact
    change = change_percent(_value(result, "stiffness_cycled_n_per_mm"), _value(result, "stiffness_intact_n_per_mm"))
    return {"stiffness_change_percent": change, "height_loss_percent": lost, "held": float(lost < 2.0)}


def fatigue_loss(result: Result) -> dict[str, float]:
    """Rotter 2015: anterior height lost in fatigue, in per cent of the treated height and of the height won back."""
    before, treated, cycled = (_height_mm(result, stage, ("anterior",)) for stage in ("fractured", "treated", "cycled"))
    return {
        "fatigue_loss_percent": 100.0 * (treated - cycled) / treated,
        "fatigue_loss_of_restored_percent": 100.0 * (treated - cycled) / (treated - before),
    }


def _disc_pressures_mpa(result: Result, load: str, state: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean pressure in each disc (d,) under a named load case, MPa."""
    names = [
        name for name in result.outcomes if re.fullmatch(rf"load_{load}_disc_[^_]+_[^_]+_pressure_{state}_mpa", name)
    ]
    return np.array([_value(result, name) for name in names])


def cement_alone(result: Result, load: str) -> dict[str, float]:
    """Change of the discs' mean pressure under a load case by cement in an unbroken body, per cent."""
    before, after = (_disc_pressures_mpa(result, load, state).mean() for state in ("intact", "treated"))
    return {"pressure_change_percent": change_percent(after, before)}


def kyphosis_effect(result: Result) -> dict[str, float]:
    """Rohlmann 2006: what the forward shift of the upper body adds once the body is cemented, per cent.

    Pressure: balanced against compensated, in the treated state, mean of the discs. Muscle force: against intact.
    """
    shifted, brought_back = (
        _disc_pressures_mpa(result, load, "treated").mean() for load in ("balanced", "balanced_compensated")
    )
    muscle_n = [_value(result, f"load_balanced_muscle_{state}_n") for state in ("intact", "treated")]
    intact = _disc_pressures_mpa(result, "balanced", "intact").mean()
    return {
        "pressure_change_percent": change_percent(shifted, brought_back),
        "pressure_change_of_intact_percent": change_percent(shifted, intact),
        "muscle_change_percent": change_percent(muscle_n[1], muscle_n[0]),
        "kyphosis_deg": _value(result, "kyphosis_treated_deg"),
    }


def height_shares(result: Result) -> dict[str, float]:
    """Every share of height that is called "restored" or "lost", per cent, with its denominator in the name."""
    found = {}
    for place in PLACES:
        intact, fractured, treated, cycled = (
            _height_mm(result, stage, (place,)) for stage in ("intact", "fractured", "treated", "cycled")
        )
        lost, won, sunk = intact - fractured, treated - fractured, treated - cycled
        shares = {"won_of_lost": (won, lost), "won_of_intact": (won, intact), "sunk_of_won": (sunk, won)}
        shares |= {"sunk_of_lost": (sunk, lost), "sunk_of_treated": (sunk, treated), "sunk_of_intact": (sunk, intact)}
        for name, (part, whole) in shares.items():
            if abs(whole) > SMALLEST_BASE_MM:
                found[f"{name}_{place}_percent"] = 100.0 * part / whole
    return found


def height_curve(result: Result) -> dict[str, Curve]:
    """Anterior height at the valley (mm below the treated height) against cycles."""
    rows = result.history[(result.history["stage"] == "cycle_1") & (result.history["cycle"] > 0)]
    valley = rows[rows["load_n"] < rows["load_n"].max()]
    treated = _height_mm(result, "treated", ("anterior",))
    pairs = zip(valley["cycle"], valley["height_anterior_mm"], strict=True)
    return {"sinking": tuple((float(cycle), treated - float(height)) for cycle, height in pairs)}
