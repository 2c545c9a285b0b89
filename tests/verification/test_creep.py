"""Norton creep: steady states of a bent beam, of a thick cylinder and of a bar, reached through time steps."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import bending_moment, bending_slice, block, curved, cylinder_sector, everywhere, follow, jiggled
from wall import worst

from kyphos.fem import boundary_faces, prescribe, pressure_forces
from kyphos.materials import NORTON_CREEP

GROUP = "Creep"
YOUNG, POISSON, COEFFICIENT, EXPONENT = 1e6, 0.3, 1e-13, 4.0  # 100 MPa: 1e-4 elastic, 1e-5 a second
ROW = [YOUNG, POISSON, COEFFICIENT, EXPONENT, 0.0]


def growing(total, count=14, ratio=1.4):
    """Durations of steps that grow and add up to ``total``."""
    steps = ratio ** np.arange(count)
    return total * steps / steps.sum()


def test_beam_bent_at_a_constant_rate(wall):
    """Steady state: sigma = (rate z / A)^(1/n), so the moment is 2 (rate/A)^(1/n) (h/2)^(2 + 1/n) / (2 + 1/n)."""
    points, cells = bending_slice(24)
    rate = COEFFICIENT * 100.0**EXPONENT / 0.5  # 100 MPa in the outermost fibre
    times = growing(200.0)
    legs = [(curved(points, rate * t), None, dt) for t, dt in zip(np.cumsum(times), times, strict=True)]
    *_, (_, found, support) = follow(points, cells, everywhere(NORTON_CREEP, ROW, cells), legs)
    power = 1.0 / EXPONENT
    moment = 2.0 * (rate / COEFFICIENT) ** power * 0.5 ** (2.0 + power) / (2.0 + power)
    wall.error(
        "Norton beam (n = 4) bent at a constant rate: steady moment",
        bending_moment(points, support) / moment - 1.0,
        0.01,
        source="sigma = (rate z/A)^(1/n)",
        because="24 cells over the height, order two (1.3 % with sixteen)",
    )
    at = points[cells][..., 2].mean(axis=1)
    mean = found.evaluation.response.stress[..., 0].mean(axis=1)
    outer = np.abs(at) > 0.1
    exact = np.sign(at) * (rate * np.abs(at) / COEFFICIENT) ** power
    wall.error(
        "the same: mean stress of all cells but the inner fifth, over that of the outermost fibre",
        worst(mean[outer], exact[outer], 100.0),
        0.03,
        source="sigma = (rate z/A)^(1/n)",
        because="fibres nearer to the middle need longer than was waited",
    )


def test_thick_cylinder(wall):
    """Steady creep under internal pressure in plane strain (Bailey 1935; Odqvist 1966)."""
    inner, outer, pressure = 1.0, 2.0, 60.0
    points, cells = cylinder_sector(inner, outer, 0.2, (10, 10, 1))
    radius = np.hypot(points[:, 0], points[:, 1])
    faces = boundary_faces(cells)
    bore = faces[np.all(radius[faces] < inner + 1e-9, axis=1)]
    held = prescribe(
        len(points),
        (np.arange(len(points)), "z", 0.0),
        (np.flatnonzero(points[:, 0] < 1e-9), "x", 0.0),
        (np.flatnonzero(points[:, 1] < 1e-9), "y", 0.0),
    )
    force = pressure_forces(points, bore, pressure)
    legs = [(held, force, dt) for dt in (0.0, *growing(2000.0))]
    field = everywhere(NORTON_CREEP, ROW, cells)
    *_, (_, found, _) = follow(points, cells, field, legs, formulation="mean_dilatation")
    at = points[cells].mean(axis=1)
    r, turn = np.hypot(at[:, 0], at[:, 1]), np.arctan2(at[:, 1], at[:, 0])
    stress = found.evaluation.response.stress.mean(axis=1)
    double, shear = np.cos(2.0 * turn), stress[:, 3] * np.sin(2.0 * turn)
    half = 0.5 * (stress[:, 0] - stress[:, 1]) * double + shear
    mean = 0.5 * (stress[:, 0] + stress[:, 1])
    power = 2.0 / EXPONENT
    grown, whole = (outer / r) ** power, (outer / inner) ** power - 1.0
    radial, hoop = -pressure * (grown - 1.0) / whole, pressure * ((power - 1.0) * grown + 1.0) / whole
    wall.error(
        "Norton cylinder (n = 4) under internal pressure, plane strain: steady radial and hoop stress of every cell, "
        "over the pressure",
        worst([mean + half, mean - half], [radial, hoop], pressure),
        0.03,
        source="Bailey 1935",
        because="ten cells over the wall: cell means and facets are h² off",
    )
    axial = stress[:, 2]
    wall.error(
        "the same: axial stress is the mean of the two",
        worst(axial, 0.5 * (radial + hoop), pressure),
        0.02,
        source="incompressible flow in plane strain",
        because="as above",
    )


def test_bar_that_is_held_relaxes(wall):
    """s^(1-n) = s0^(1-n) + (n - 1) E A t: error of first order in the step, so the ratio of two errors is two."""
    points, cells = block(counts=(2, 2, 2))
    points = jiggled(points, 0.08)
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    top = np.flatnonzero(points[:, 2] > 1.0 - 1e-9)
    held = prescribe(len(points), *zip(low, "xyz", (0.0,) * 3, strict=True), (top, "z", np.expm1(1e-4)))
    exact = (100.0 ** (1.0 - EXPONENT) + (EXPONENT - 1.0) * YOUNG * COEFFICIENT * 100.0) ** (1.0 / (1.0 - EXPONENT))

    def error(count):
        legs = [(held, None, dt) for dt in (0.0, *np.full(count, 100.0 / count))]
        *_, (_, found, _) = follow(points, cells, everywhere(NORTON_CREEP, ROW, cells), legs)
        return worst(found.evaluation.response.stress[..., 2], exact)

    few, many = error(20), error(40)
    wall.error(
        "relaxation of a distorted block held at a strain, 40 steps: stress",
        many,
        0.02,
        source="s^(1-n) = s0^(1-n) + (n-1) E A t",
        because="backward Euler, first order in the step",
    )
    wall.order(
        "the same: order in the time step", np.log2(few / many), 0.9, source="backward Euler", because="first order"
    )


@pytest.mark.parametrize("power", [-0.5, 0.5])
def test_time_hardening(wall, power):
    """A s^n t^(m+1)/(m+1) under a constant force, in steps of any length."""
    points, cells = block(counts=(2, 2, 2))
    points = jiggled(points, 0.08)
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    top = boundary_faces(cells)
    top = top[np.all(points[top, 2] > 1.0 - 1e-9, axis=1)]
    held = prescribe(len(points), *zip(low, "xyz", (0.0,) * 3, strict=True))
    force = -pressure_forces(points, top, 100.0)
    row = [YOUNG, POISSON, COEFFICIENT, EXPONENT, power]
    legs = [(held, force, dt) for dt in (0.0, 1.0, 3.0, 6.0)]
    field = everywhere(NORTON_CREEP, row, cells)
    *_, (_, found, _) = follow(points, cells, field, legs)
    creep = field.state_field(found.state.history, "creep_strain_eq")
    wall.error(
        "time hardening (m = -0.5 and 0.5), bar under constant force: creep strain",
        worst(creep, COEFFICIENT * 100.0**EXPONENT * 10.0 ** (power + 1.0) / (power + 1.0)),
        3e-3,
        source="A s^n t^(m+1)/(m+1)",
        because="the force is dead: the bar gets thinner by 1e-4, which the exponent makes 4e-4, with its elastic part",
    )
