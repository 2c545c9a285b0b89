"""Room ``materials``: what everything is made of.

Laws, constants with their sources, and a bench for one point.
"""

if __name__ != "kyphos.materials":
    raise ImportError("import kyphos.materials, not materials: two copies of a class would not match")

from .assign import (
    DEFAULT_CARDS,
    ELEMENT_LENGTH,
    bone_field,
    bone_rows,
    cage_parameters,
    card_rows,
    cement_parameters,
    interface_parameters,
    plastic_bone,
)
from .data import BONE_CLASSES, DATA_KINDS, DataKind
from .disc import degenerated
from .field import Block, MaterialField, Response
from .flow import (
    CAVITY_SLOWNESS,
    bone_volume_fraction,
    front_slowness,
    relative_permeability,
    wall_permeability,
)
from .lab import spent_life
from .laws import (
    BALLOON_SKIN,
    BONDED_INTERFACE,
    BRITTLE_CEMENT,
    CRUSHABLE_BONE,
    DUCTILE_CEMENT,
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
from .library import (
    PLASTIC_BONE,
    Card,
    Constant,
    card_from_table,
    cards_by_group,
    constants_set,
    count_flags,
    describe_card,
    describe_library,
    interdigitated,
    list_cards,
    load_card,
    parse_card,
    usage,
)
from .point import Drive, drive, drive_uniaxial
from .quality import hu_line, vbmd_of_bone, vbmd_of_t_score

__all__ = [
    "BALLOON_SKIN",
    "BONDED_INTERFACE",
    "BONE_CLASSES",
    "BRITTLE_CEMENT",
    "CAVITY_SLOWNESS",
    "CRUSHABLE_BONE",
    "DATA_KINDS",
    "DEFAULT_CARDS",
    "DUCTILE_CEMENT",
    "ELEMENT_LENGTH",
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
    "DataKind",
    "Drive",
    "Law",
    "MaterialField",
    "Parameter",
    "Response",
    "Variable",
    "bone_field",
    "bone_rows",
    "bone_volume_fraction",
    "cage_parameters",
    "card_from_table",
    "card_rows",
    "cards_by_group",
    "cement_parameters",
    "constants_set",
    "count_flags",
    "degenerated",
    "describe_card",
    "describe_library",
    "drive",
    "drive_uniaxial",
    "front_slowness",
    "hu_line",
    "interdigitated",
    "interface_parameters",
    "list_cards",
    "load_card",
    "parse_card",
    "plastic_bone",
    "plasticity_by_table",
    "relative_permeability",
    "spent_life",
    "usage",
    "vbmd_of_bone",
    "vbmd_of_t_score",
    "wall_permeability",
]
