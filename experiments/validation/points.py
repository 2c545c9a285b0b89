"""Tests of cancellous cores, on a material point."""

from __future__ import annotations

import numpy as np

from kyphos import materials
from kyphos.errors import ConvergenceError
from kyphos.experiments.stages import waiting_times
from kyphos.units import MG_PER_G

from ..population import Individual

MICRO = 1e6
CORE_MM = 8.0
"""Size of a core, mm; only softening past the peak depends on it."""
PHYSIOLOGICAL_STRAIN = 2000e-6
"""Initial strain of Kim 2011: "a physiological static strain level"; the number is assumed."""
CREEP_S = 7200.0
OFFSET = 0.002
LOADS = (0.0026, 0.0043)
"""Stress over modulus: lower end and geometric mean of the range that Haddock 2004 tested (evidence E17)."""
LIFE_DAMAGE = 0.5
LONGEST_LIFE, STEPS = 1e7, 400


def core(individual: Individual) -> tuple[materials.Law, np.ndarray, float]:
    """Law, parameters (p,) and axial modulus (MPa) of a core of the specimen's density."""
    card = materials.load_card("trabecular")
    row = materials.bone_rows(card, individual.vbmd_mg_per_cc / MG_PER_G, CORE_MM)[0]
    names = [parameter.name for parameter in card.law.parameters]
    return card.law, row, float(row[names.index("axial_modulus_mpa")])


def core_creep(individual: Individual, _: float) -> dict[str, float]:
    """Kim 2011: creep in 2 h under the load that strains the core by 0.2 %, and what is left after 2 h unloaded.

    Both in microstrain. All cores start from the same strain, so density scatters nothing here: what scatters
    creep among real cores (the tissue and its mineral, says the paper) is not in the model.
    """
    law, row, modulus = core(individual)
    stress = -PHYSIOLOGICAL_STRAIN * modulus
    loaded = materials.drive_uniaxial(law, row, [0.25 * stress, 0.5 * stress, 0.75 * stress, stress], control="stress")
    steps = np.diff([0.0, *waiting_times(CREEP_S)])
    crept = materials.drive_uniaxial(law, row, np.full(steps.size, stress), control="stress", dt_s=steps, after=loaded)
    freed = materials.drive_uniaxial(law, row, [0.5 * stress, 0.0], control="stress", after=crept)
    rested = materials.drive_uniaxial(law, row, np.zeros(steps.size), control="stress", dt_s=steps, after=freed)
    return {
        "creep_microstrain": MICRO * float(loaded.strain[-1, 2] - crept.strain[-1, 2]),
        "residual_microstrain": -MICRO * float(rested.strain[-1, 2]),
        "elastic_microstrain": -MICRO * float(loaded.strain[-1, 2]),
    }


def core_yield(individual: Individual, _: float) -> dict[str, float]:
    """Yield strain (per cent) by an offset of 0.2 %, and yield stress (MPa), in compression along the axis."""
    law, row, modulus = core(individual)
    strain = np.linspace(0.0, 0.03, 301)[1:]
    stress = -materials.drive_uniaxial(law, row, -strain).stress[:, 2]
    below = stress - modulus * (strain - OFFSET)
    first = int(np.argmax(below < 0.0))
    at = float(np.interp(0.0, [-below[first - 1], -below[first]], [strain[first - 1], strain[first]]))
    return {"yield_strain_percent": 100.0 * at, "yield_stress_mpa": float(np.interp(at, strain, stress))}


def core_life(individual: Individual, _: float) -> dict[str, float]:
    """Haddock 2004: cycles until half the stiffness is gone, at both ends of the lower half of the tested range.

    Loads are given as stress over initial modulus; ``exponent`` is the slope of log life over log load.
    """
    lives = {load: _life(individual, load) for load in LOADS}
    low, high = LOADS
    slope = np.log(lives[high] / lives[low]) / np.log(high / low)
    return {"life_low": lives[low], "life_high": lives[high], "exponent": float(slope)}


def _life(individual: Individual, load: float) -> float:
    """Cycles at a peak stress of ``load`` times the modulus until half the stiffness is gone."""
    law, row, modulus = core(individual)
    stress = -load * modulus
    at = materials.drive_uniaxial(law, row, np.linspace(0.0, stress, 9)[1:], control="stress")
    start, done, damage = float(at.variable("damage")[-1]), 0.0, 0.0
    for step in map(float, np.diff(np.geomspace(1.0, LONGEST_LIFE, STEPS), prepend=0.0)):
        try:
            at = materials.drive_uniaxial(law, row, [stress], control="stress", cycles=step, after=at)
        except ConvergenceError:  # what is left does not carry the load
            return done + 0.5 * step
        before, damage = damage, float(at.variable("damage")[-1]) - start
        if damage >= LIFE_DAMAGE:
            return done + step * (LIFE_DAMAGE - before) / (damage - before)
        done += step
    return LONGEST_LIFE
