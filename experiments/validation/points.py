"""Tests of cancellous cores, on a material point."""

from __future__ import annotations

import numpy as np

from kyphos import materials
from kyphos.experiments.stages import waiting_times
from kyphos.units import MG_PER_G

from .population import Individual

MICRO = 1e6
CORE_MM = 8.0
"""Size of a core, mm; only softening past the peak depends on it."""
PHYSIOLOGICAL_STRAIN = 2000e-6
"""Initial strain of Kim 2011: "a physiological static strain level"; the number is assumed."""
CREEP_S = 7200.0


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
