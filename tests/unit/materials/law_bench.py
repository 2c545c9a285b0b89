"""Shared by the tests of this room: example rows, and tangents by central differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kyphos.materials import (
    BALLOON_SKIN,
    BONDED_INTERFACE,
    BRITTLE_CEMENT,
    CRUSHABLE_BONE,
    DUCTILE_CEMENT,
    FOAM,
    J2_PLASTICITY,
    LINEAR_ELASTIC,
    MOONEY_RIVLIN,
    NORTON_CREEP,
    TRANSVERSELY_ISOTROPIC,
    Law,
    MaterialField,
    bone_rows,
    load_card,
    plasticity_by_table,
)

Floats = NDArray[np.float64]

BONE = bone_rows(load_card("trabecular"), [0.12], [2.0])[0]
SKEWED_BONE = bone_rows(
    load_card("trabecular").with_values(modulus_ratio_x=0.42, modulus_ratio_y=0.29, plastic_poisson_ratio=0.07),
    [0.08],
    [1.5],
)[0]

INTERFACE = load_card("cement-bone-interface").with_values(normal_x=0.48, normal_y=-0.64, normal_z=0.6).row()
ROUGH = load_card("cement-bone-interface").with_values(friction_coefficient=0.3).row()

EXAMPLES: dict[str, tuple[Law, Floats]] = {
    "elastic": (LINEAR_ELASTIC, LINEAR_ELASTIC.row(youngs_modulus_mpa=2500.0, poisson_ratio=0.3)),
    "orthotropic": (
        TRANSVERSELY_ISOTROPIC,
        np.array([300.0, 120.0, 90.0, 0.3, 0.28, 0.2, 60.0, 55.0, 40.0]),
    ),
    "mooney": (MOONEY_RIVLIN, load_card("nucleus").row()),
    "foam": (FOAM, load_card("void").row()),
    "skin": (BALLOON_SKIN, np.array([0.3, 3.0, 2.0, 0.1])),
    "j2": (J2_PLASTICITY, np.array([250000.0, 0.25, 5.0, 62500.0, 20000.0])),
    "table": (plasticity_by_table(3, False), np.array([2500.0, 0.3, 0.0, 20.0, 0.01, 30.0, 0.05, 35.0])),
    "moving table": (plasticity_by_table(3, True), np.array([2500.0, 0.3, 0.0, 20.0, 0.01, 30.0, 0.05, 35.0])),
    "creep": (NORTON_CREEP, np.array([2500.0, 0.3, 1e-9, 4.0, -0.3])),
    "pmma": (DUCTILE_CEMENT, load_card("pmma").row()),
    "calcium phosphate": (BRITTLE_CEMENT, load_card("calcium-phosphate").row()),
    "interface": (BONDED_INTERFACE, INTERFACE),
    "rough interface": (BONDED_INTERFACE, ROUGH),
    "bone": (CRUSHABLE_BONE, BONE),
    "skewed bone": (CRUSHABLE_BONE, SKEWED_BONE),
}


def points(law: Law, row: Floats, count: int) -> MaterialField:
    """A field of `count` cells with one point each."""
    return MaterialField(((law, np.arange(count), row),), count, 1)


def central_tangent(
    field: MaterialField, strain: Floats, state: Floats, dt_s: float, cycles: float, step: float
) -> Floats:
    """dT/dE (m, q, 6, 6) by central differences of relative size `step`."""
    tangent = np.empty((*strain.shape, 6))
    for j, (behind, ahead) in enumerate(neighbours(strain, step)):
        high, low = field.update(ahead, state, dt_s, cycles), field.update(behind, state, dt_s, cycles)
        tangent[..., j] = (high.stress - low.stress) / (ahead - behind)[..., j, None]
    return tangent


def neighbours(strain: Floats, step: float) -> list[tuple[Floats, Floats]]:
    """The six pairs of strains (m, q, 6), just below and just above in one component, of central differences."""
    size = step * np.maximum(np.abs(strain).max(axis=-1, keepdims=True), 1e-3)
    return [(strain - size * unit, strain + size * unit) for unit in np.eye(6)]


def tangent_error(
    field: MaterialField,
    strain: Floats,
    state: Floats,
    dt_s: float = 0.0,
    cycles: float = 0.0,
    step: float = 1e-7,
) -> Floats:
    """Largest difference between the tangent and central differences, over the largest entry, (m, q)."""
    tangent = field.update(strain, state, dt_s, cycles).tangent
    difference = np.abs(central_tangent(field, strain, state, dt_s, cycles, step) - tangent)
    return np.asarray(difference.max(axis=(-1, -2)) / np.abs(tangent).max(axis=(-1, -2)))
