"""Room ``materials``: what everything is made of.

Laws, constants with their sources, and a bench for one point.
"""

if __name__ != "kyphos.materials":
    raise ImportError("import kyphos.materials, not materials: two copies of a class would not match")

from .assign import DEFAULT_CARDS, bone_field, bone_rows, cement_parameters, plastic_bone
from .field import Block, MaterialField, Response
from .lab import Drive, drive, drive_uniaxial
from .laws import (
    CRUSHABLE_BONE,
    FATIGUE_ELASTIC,
    FOAM,
    J2_PLASTICITY,
    LAWS,
    LINEAR_ELASTIC,
    MOONEY_RIVLIN,
    NORTON_CREEP,
    TRANSVERSELY_ISOTROPIC,
    Law,
    Parameter,
    Variable,
    plasticity_by_table,
)
from .library import PLASTIC_BONE, Card, Constant, describe_card, interdigitated, list_cards, load_card, parse_card

__all__ = [
    "CRUSHABLE_BONE",
    "DEFAULT_CARDS",
    "FATIGUE_ELASTIC",
    "FOAM",
    "J2_PLASTICITY",
    "LAWS",
    "LINEAR_ELASTIC",
    "MOONEY_RIVLIN",
    "NORTON_CREEP",
    "PLASTIC_BONE",
    "TRANSVERSELY_ISOTROPIC",
    "Block",
    "Card",
    "Constant",
    "Drive",
    "Law",
    "MaterialField",
    "Parameter",
    "Response",
    "Variable",
    "bone_field",
    "bone_rows",
    "cement_parameters",
    "describe_card",
    "drive",
    "drive_uniaxial",
    "interdigitated",
    "list_cards",
    "load_card",
    "parse_card",
    "plastic_bone",
    "plasticity_by_table",
]
