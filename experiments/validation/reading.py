"""From a finished run to what its paper reports.

Shares are in per cent and strains in microstrain where the papers use them; heights are those of bone, measured at
the gauges in the mid-sagittal plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kyphos.experiments.outcomes import PLACES
from kyphos.experiments.stages import waiting_times

if TYPE_CHECKING:
    from kyphos.experiments import Result

    from .protocols import Curve, Observables

Array = NDArray[np.float64]
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


def _change(after: float, before: float) -> float:
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
        "stiffness_change_percent": _change(
            _value(result, "stiffness_fractured_n_per_mm"), _value(result, "stiffness_intact_n_per_mm")
        ),
        "strength_change_percent": _change(
            _value(result, "strength_fractured_n"), _value(result, "strength_intact_n")
        ),
        "strength_intact_n": _value(result, "strength_intact_n"),
        "stiffness_intact_n_per_mm": _value(result, "stiffness_intact_n_per_mm"),
    }


def creep_tests(result: Result) -> dict[str, float]:
    """Luo 2016: creep strain in the hour under load, intact and fractured, at anterior and middle gauge, microstrain."""
    found = {}
    for state in ("intact", "fractured"):
        for place in ("anterior", "middle"):
            before = _value(result, f"height_elastic_{state}_{place}_mm")
            after = _value(result, f"height_creep_{state}_{place}_mm")
            found[f"creep_{state}_{place}_microstrain"] = MICRO * (before - after) / before
    return found


def creep_curves(result: Result) -> dict[str, Curve]:
    """Creep strain (microstrain) at the anterior gauge against time (s), intact and fractured."""
    curves = {}
    times = waiting_times(CREEP_S)
    for state in ("intact", "fractured"):
        rows = result.history[result.history["stage"] == f"creep_{state}"]["height_anterior_mm"].to_numpy()
        start = _value(result, f"height_elastic_{state}_anterior_mm")
        strains = MICRO * (start - rows[-len(times) :]) / start
        curves[state] = tuple((float(t), float(strain)) for t, strain in zip(times, strains, strict=True))
    return curves


def creep_rise(found: Observables) -> Mapping[str, Array]:
    """How many times faster the fractured vertebra creeps than it did intact; means of the group, as in the paper."""
    rises = {}
    for place in ("anterior", "middle"):
        intact, fractured = (found.values[f"creep_{state}_{place}_microstrain"] for state in ("intact", "fractured"))
        known = np.isfinite(intact) & np.isfinite(fractured)
        if known.any():
            rises[f"creep_rise_{place}"] = np.array([fractured[known].mean() / intact[known].mean()])
    return rises
