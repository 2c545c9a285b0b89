"""Cards that hold data instead of a law's constants: what each kind must contain, and who reads it.

The check is the one that laws get: the names and units are declared here, a card has all of them and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataKind:
    """One kind of data card.

    Attributes
    ----------
    name, meaning
        What a card's `kind` says, and what that is.
    units
        Name -> unit of every constant.
    used_by
        What reads such a card; empty as long as nothing does.
    """

    name: str
    meaning: str
    units: Mapping[str, str]
    used_by: str = ""


FIBRE_PAIRS = (1, 2, 3, 4)
"""Pairs of annulus layers, from the outermost in."""

GRADES = (1, 2, 3, 4, 5)
"""Grades of disc degeneration; 1 is healthy, and what the disc's cards describe."""

FACTORS = ("nucleus_shear", "nucleus_bulk", "ground", "fibre", "disc_height", "nucleus_area")
"""What degeneration changes; see the card `disc-degeneration`."""

BONE_CLASSES = ("normal", "osteopenic", "osteoporotic", "severe")
"""Named bone qualities, the best first."""

DATA_KINDS: dict[str, DataKind] = {
    kind.name: kind
    for kind in (
        DataKind(
            "Ligament",
            "a cord that bears tension only, from its slack strain on: force = area x stress, with one modulus up to "
            "the transition strain, counted from there, and another beyond",
            {
                "toe_modulus_mpa": "MPa",
                "modulus_mpa": "MPa",
                "transition_strain": "1",
                "slack_strain": "1",
                "area_mm2": "mm2",
                "length_mm": "mm",
            },
            "kyphos.materials.ligament_row",
        ),
        DataKind(
            "FacetStop",
            "a facet joint: contact without friction once its gap has closed",
            {"stiffness_n_per_mm": "N/mm", "gap_mm": "mm", "rounding_mm": "mm"},
            "kyphos.materials.facet_row",
        ),
        DataKind(
            "AnnulusFibres",
            "tension-only fibres of the annulus, by pairs of layers from the outermost in",
            {
                **{f"modulus_pair_{pair}_mpa": "MPa" for pair in FIBRE_PAIRS},
                **{f"volume_fraction_pair_{pair}": "1" for pair in FIBRE_PAIRS},
                "fibre_angle_deg": "deg",
                "toe_strain": "1",
            },
            "kyphos.materials.annulus_rows",
        ),
        DataKind(
            "ExponentialFibres",
            "exponential, dispersed fibres of the annulus after Holzapfel",
            {"k1_mpa": "MPa", "k2": "1", "fibre_dispersion": "1", "fibre_angle_deg": "deg"},
            "kyphos.materials.annulus_rows",
        ),
        DataKind(
            "DiscDegeneration",
            "factors on the constants and sizes of a healthy disc (grade 1), by grade",
            {f"{factor}_factor_grade_{grade}": "1" for factor in FACTORS for grade in GRADES[1:]},
            "kyphos.materials.degenerated",
        ),
        DataKind(
            "Cage",
            "a cage of metal around a cavity, smeared over the cells of its wall",
            {"youngs_modulus_mpa": "MPa", "poisson_ratio": "1", "metal_volume_mm3": "mm3", "lattice_share": "1"},
            "[procedure] device",
        ),
        DataKind(
            "BoneQuality",
            "mean trabecular density (QCT) by name, and the straight line from T-score to density",
            {
                **{f"vbmd_{name}_mg_per_cc": "mg/cm3" for name in BONE_CLASSES},
                "vbmd_at_t_score_zero_mg_per_cc": "mg/cm3",
                "vbmd_per_t_score_mg_per_cc": "mg/cm3",
            },
            "[specimen] bone, t_score",
        ),
        DataKind(
            "HuCalibration",
            "density (QCT, mg/cm3) = slope x HU + offset",
            {"slope_mg_per_cc_per_hu": "mg/cm3/HU", "offset_mg_per_cc": "mg/cm3"},
            "[specimen] hu_calibration",
        ),
        DataKind(
            "CementFlow",
            "pore space, relative permeability, and what viscosity makes of it",
            {
                "tissue_mineral_density_g_per_cc": "g/cm3",
                "reference_volume_fraction": "1",
                "broken_gain": "1",
                "exponent_low_viscosity": "1",
                "exponent_high_viscosity": "1",
                "wall_permeability_ratio": "1",
            },
            "the cement stage",
        ),
    )
}
"""Kinds of data cards by name."""
