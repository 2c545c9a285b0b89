"""Rigid platens: six freedoms, force or displacement; exact under finite rotation; reactions in balance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block

from kyphos.fem import (
    FREEDOMS,
    DirectSolver,
    MarchSettings,
    NewtonSettings,
    Platen,
    Structure,
    discretise,
    rotation,
    settle,
)

GROUP = "Rigid platens"
SIZE = np.array([2.0, 3.0, 4.0])
TIGHT = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-10, minimum_load_n=1e-3, linear_tolerance=1e-10))


def between_platens(top_centre_mm=(1.0, 1.5, 4.0), formulation="enhanced"):
    """A block between a fixed lower and a free upper platen: structure, state, load with nothing applied."""
    points, cells = block(SIZE, (2, 2, 3))
    lower, upper = (np.flatnonzero(np.isclose(points[:, 2], z)) for z in (0.0, 4.0))
    platens = (
        Platen("lower", lower, np.array([1.0, 1.5, 0.0])),
        Platen("upper", upper, np.array(top_centre_mm)),
    )
    structure = Structure(discretise(points, cells, formulation), Hooke(100.0, 0.3), platens)
    state = structure.initial_state(np.zeros((*structure.mesh.weight.shape, 0)))
    load = structure.free_load(state)
    fixed = load.fixed.copy()
    fixed[structure.platen_slice("lower")] = True
    return structure, state, replace(load, fixed=fixed)


def with_upper(structure, load, fixed=(), **values):
    """The load with the upper platen's named freedoms: prescribed where in ``fixed``, else a force."""
    is_fixed, value, force = load.fixed.copy(), load.value.copy(), load.force.copy()
    start = structure.platen_slice("upper").start
    for name, number in values.items():
        at = start + FREEDOMS.index(name)
        is_fixed[at] = name in fixed
        (value if name in fixed else force)[at] = number
    return replace(load, fixed=is_fixed, value=value, force=force)


@pytest.mark.parametrize(
    ("freedom", "amount"), [("x", 0.3), ("y", -0.3), ("z", -0.6), ("rx", 0.2), ("ry", 0.2), ("rz", 0.5)]
)
def test_each_freedom_under_displacement_and_under_force(wall, freedom, amount):
    """Prescribe a motion, take the reaction, apply it as a force: the same motion comes back."""
    structure, state, load = between_platens()
    driven = with_upper(structure, load, fixed=(freedom,), **{freedom: amount})
    first = settle(structure, state, load, driven, DirectSolver(), TIGHT).equilibrium
    at = structure.platen_slice("upper").start + FREEDOMS.index(freedom)
    pushed = with_upper(structure, load, **{freedom: first.reactions_n[at]})
    second = settle(structure, state, load, pushed, DirectSolver(), TIGHT).equilibrium
    assert abs(first.reactions_n[at]) > 1.0
    np.testing.assert_allclose(second.state.motion, first.state.motion, atol=1e-7)
    wall.error(
        "each of six freedoms: a motion, then its reaction as a force",
        np.abs(second.state.displacement_mm - first.state.displacement_mm).max(),
        1e-7,
        unit="mm",
        source="the same motion",
        because="the residual at which Newton stops (1e-10 of the load), over the stiffness",
    )


@pytest.mark.parametrize("formulation", ["standard", "mean_dilatation", "enhanced"])
def test_an_eccentric_force_is_balanced(wall, formulation):
    """Forces and moments of the lower support balance the load in the deformed shape, to 1e-8 of it."""
    centre = np.array([1.0, 2.3, 4.0])
    structure, state, load = between_platens(centre, formulation)
    applied = np.array([0.0, 0.0, -30.0])
    pushed = with_upper(structure, load, z=applied[2])
    found = settle(structure, state, load, pushed, DirectSolver(), TIGHT).equilibrium
    position = structure.mesh.points_mm + found.state.displacement_mm
    nodal = found.evaluation.force_n.reshape(-1, 3)
    lower, upper = (platen.nodes for platen in structure.platens)
    acts_at = centre + found.state.motion[1, :3]
    assert np.linalg.norm(found.state.motion[1, 3:]) > 0.1  # it does tilt
    np.testing.assert_allclose(nodal[upper].sum(axis=0), applied, atol=1e-8 * 30.0)
    moment = np.cross(position[lower], nodal[lower]).sum(axis=0) + np.cross(acts_at, applied)
    off = [nodal[lower].sum(axis=0) + applied, moment / 4.0]
    wall.error(
        "eccentric force that tilts a platen: forces and moments about the deformed shape",
        np.abs(off).max() / 30.0,
        1e-8,
        source="statics",
        because="the residual at which Newton stops (1e-10), summed over the nodes",
    )
    assert found.balance < 1e-8
    reaction = found.reactions_n[structure.platen_slice("lower")]
    np.testing.assert_allclose(reaction[:3], -applied, atol=1e-8 * 30.0)


def test_nodes_of_a_turned_platen_keep_their_distances(wall):
    structure, state, load = between_platens()
    turned = with_upper(structure, load, fixed=("rx", "rz", "z"), rx=0.3, rz=0.9, z=-0.3)
    step = settle(structure, state, load, turned, DirectSolver(), replace(TIGHT, first=0.25))
    moved = step.equilibrium.state
    nodes = structure.platens[1].nodes
    before, after = structure.mesh.points_mm[nodes], (structure.mesh.points_mm + moved.displacement_mm)[nodes]
    distances = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (before, after)]
    wall.error(
        "nodes of a platen turned by 0.95 rad keep their distances",
        np.abs(distances[1] - distances[0]).max(),
        1e-12,
        unit="mm",
        source="exact",
        because="rounding",
    )
    arm = before - structure.platens[1].centre_mm
    expected = structure.platens[1].centre_mm + moved.motion[1, :3] + arm @ rotation(moved.motion[1, 3:])[0].T
    np.testing.assert_allclose(after, expected, atol=1e-12)


def test_both_platens_turned_alike_carry_the_body_with_them(wall):
    """Half a turn of everything, in ten steps: no stress is left, every node is where the turn puts it."""
    structure, state, load = between_platens()
    turn = np.array([0.0, np.pi, 0.0])
    matrix = rotation(turn)[0]
    fixed, value = load.fixed.copy(), load.value.copy()
    for name in ("lower", "upper"):
        entries = structure.platen_slice(name)
        fixed[entries] = True
    current = load
    for share in np.linspace(0.1, 1.0, 10):
        for platen, name in zip(structure.platens, ("lower", "upper"), strict=True):
            shift = (rotation(share * turn)[0] - np.eye(3)) @ platen.centre_mm
            value[structure.platen_slice(name)] = [*shift, *(share * turn)]
        target = replace(load, fixed=fixed, value=value.copy())
        step = settle(structure, state, current, target, DirectSolver(), TIGHT)
        state, current = step.equilibrium.state, target
    expected = structure.mesh.points_mm @ (matrix - np.eye(3)).T
    wall.error(
        "both platens turned by 180 degrees carry the body with them",
        np.abs(state.displacement_mm - expected).max(),
        1e-8,
        unit="mm",
        source="exact",
        because="the residual at which Newton stops, over the stiffness",
    )
    assert np.abs(step.equilibrium.evaluation.response.stress).max() < 1e-6
