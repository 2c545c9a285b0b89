"""Crushable bone: what it must do, by formulas written here a second time."""

from __future__ import annotations

import itertools

import law_bench as bench
import numpy as np
import pytest
from scipy.optimize import brentq

from kyphos.materials import CRUSHABLE_BONE, bone_rows, drive, drive_uniaxial, load_card
from kyphos.materials.kernels import bone as kernel
from kyphos.materials.kernels.bone import KELVIN_TIMES, KELVIN_WEIGHTS

DENSITY, SIZE = 0.08, 2.0
MODULUS, STRENGTH = 2980.0 * DENSITY**1.05, 37.4 * DENSITY**1.39
YIELD_STRAIN = STRENGTH / MODULUS
ROW = bone_rows(load_card("trabecular"), [DENSITY], [SIZE])[0]
NAMES = [parameter.name for parameter in CRUSHABLE_BONE.parameters]


def changed(row=ROW, **values):
    new = row.copy()
    for name, value in values.items():
        new[NAMES.index(name)] = value
    return new


def at_rest(row=ROW):
    """Without creep and fatigue."""
    return changed(row, creep_coefficient=0.0, secondary_rate_per_s=0.0)


def phi(stress, row):
    """Deshpande-Fleck norm of stresses (..., 6), from its definition."""
    value = dict(zip(NAMES, row, strict=True))
    r = np.array([value["modulus_ratio_x"], value["modulus_ratio_y"], 1.0])
    pairs = np.array([r[0] * r[1], r[1] * r[2], r[0] * r[2]])
    normal, shear = stress[..., :3] / r, stress[..., 3:] / np.sqrt(pairs)
    mean = normal.mean(axis=-1)
    mises2 = 1.5 * ((normal - mean[..., None]) ** 2).sum(-1) + 3.0 * (shear**2).sum(-1)
    nu = value["plastic_poisson_ratio"]
    alpha2 = 9.0 * (0.5 - nu) / (1.0 + nu)
    return np.sqrt((mises2 + alpha2 * mean**2) / (1.0 + alpha2 / 9.0))


def strength(softened_by, compaction, row):
    """Y for the kappa at the start of a step and the compaction at its end."""
    value = dict(zip(NAMES, row, strict=True))
    plateau = value["plateau_ratio"]
    packed = np.maximum(compaction, 0.0) / value["densification_strain"]
    soft = (1.0 - plateau) * np.exp(-softened_by / value["softening_strain"])
    return value["yield_stress_mpa"] * (plateau + soft + value["densification_gain"] * packed**4)


def overload_damage(kappa, row=ROW):
    value = dict(zip(NAMES, row, strict=True))
    return value["damage_max"] * (1.0 - np.exp(-value["damage_rate"] * kappa))


def before(values):
    """What a history variable (n,) was at the start of each of n steps from rest."""
    return np.concatenate([[0.0], values[:-1]])


def steepest_softening(row=ROW):
    """Largest fall of Y over a kappa, MPa: the slope at yield."""
    value = dict(zip(NAMES, row, strict=True))
    return value["yield_stress_mpa"] * (1.0 - value["plateau_ratio"]) / value["softening_strain"]


def implicit_stress(strain):
    """Magnitude (n,) under uniaxial compression (n,) along z if softening too were that of the end of the step.

    With plastic Poisson's ratio 0 the plastic strain is -kappa along z alone, so compaction = kappa and
    (1 - D(kappa)) E1 (strain - kappa) = Y(kappa, kappa) is one equation for kappa.
    """

    def excess(kappa, size):
        return (1.0 - overload_damage(kappa)) * MODULUS * (size - kappa) - strength(kappa, kappa, ROW)

    sizes = np.abs(strain)
    flowing = [brentq(excess, 0.0, e, (e,), xtol=1e-15) if e > YIELD_STRAIN else 0.0 for e in sizes]
    kappa = np.array(flowing)
    return (1.0 - overload_damage(kappa)) * MODULUS * (sizes - kappa)


@pytest.mark.parametrize(("axis", "ratio"), [("zz", 1.0), ("xx", 0.35), ("yy", 0.35)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_uniaxial_stiffness_and_yield(axis, ratio, sign):
    strain = sign * YIELD_STRAIN * np.array([0.5, 0.999, 1.001])
    done = drive_uniaxial(CRUSHABLE_BONE, ROW, strain, axis=axis)
    place = ("xx", "yy", "zz").index(axis)
    np.testing.assert_allclose(done.stress[:2, place], ratio * MODULUS * strain[:2], rtol=1e-9)
    assert done.variable("kappa")[1] == 0.0
    assert done.variable("kappa")[2] > 0.0
    np.testing.assert_allclose(abs(done.stress[2, place]), ratio * STRENGTH, rtol=1e-3)


def test_crushing_softens_then_packs():
    strain = -np.linspace(0.0, 0.9, 451)[1:]
    done = drive_uniaxial(CRUSHABLE_BONE, ROW, strain)
    stress, kappa, compaction = -done.stress[:, 2], done.variable("kappa"), done.variable("compaction")
    flowing = kappa > before(kappa)
    np.testing.assert_allclose(stress[flowing], strength(before(kappa), compaction, ROW)[flowing], rtol=1e-8)
    # packing sets in before softening ends, so the lowest point lies above the plateau's 0.65
    lowest = stress[flowing].min() / STRENGTH
    ks = 0.08 * 2.4 / SIZE
    valley = min(0.65 + 0.35 * np.exp(-k / ks) + (k / 0.51) ** 4 for k in np.linspace(0.0, 0.6, 601))
    assert lowest == pytest.approx(valley, abs=0.35 / ks * 0.002)
    assert 0.65 < lowest < 0.75
    at_packing = np.argmin(np.abs(compaction - 0.51))
    assert stress[at_packing] / STRENGTH == pytest.approx(1.65, abs=0.02)
    assert stress[-1] > 1.5 * stress[at_packing]


def test_stress_never_falls_within_a_step():
    """Softening waits for the next step, so that equilibrium has no softening branch to jump along."""
    for depth in (0.01, 0.03, 0.1):
        crushed = drive_uniaxial(CRUSHABLE_BONE, at_rest(), -np.linspace(0.0, depth, 51)[1:])
        ends = depth + np.array([0.0, 1e-4, 1e-3, 0.01, 0.05])
        once = [-drive_uniaxial(CRUSHABLE_BONE, at_rest(), [-e], after=crushed).stress[-1, 2] for e in ends]
        assert (np.diff(once) >= -1e-9 * STRENGTH).all()
        assert once[0] < -crushed.stress[-1, 2]  # the fall comes between steps


def test_steps_of_softening_converge_to_the_implicit_curve():
    """First order in the step, from above, and never off by more than the softening of one step."""
    gaps, works = [], []
    for steps in (50, 100, 200, 400):
        strain = -np.linspace(0.0, 0.1, steps + 1)[1:]
        done = drive_uniaxial(CRUSHABLE_BONE, at_rest(), strain)
        gap = -done.stress[:, 2] - implicit_stress(strain)
        assert (gap >= -1e-8 * STRENGTH).all()
        assert gap.max() < steepest_softening() * 0.1 / steps  # kappa grows less than strain does
        gaps.append(gap[steps // 50 * np.arange(5, 50) - 1].max())
        works.append(gap.sum() * 0.1 / steps)
    for errors in (np.array(gaps), np.array(works)):
        assert errors[:-1] / errors[1:] == pytest.approx(2.0, abs=0.2)


def test_standing_still_ends_on_the_implicit_curve():
    """The softening of the last step follows in steps without motion, each smaller than the one before."""
    strain = np.concatenate([-np.linspace(0.0, 0.05, 11)[1:], np.full(12, -0.05)])
    gap = -drive_uniaxial(CRUSHABLE_BONE, at_rest(), strain).stress[9:, 2] - implicit_stress(strain[-1:])
    assert (gap[1:] < 0.5 * gap[:-1] + 1e-9).all()
    assert gap[0] > 1e-3 * STRENGTH > 1e3 * abs(gap[-1])


def test_triaxial_compression_crushes():
    """A surface without a cap could not do this."""
    path = -np.linspace(0.0, 0.2, 101)[1:, None] * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    done = drive(CRUSHABLE_BONE, ROW, path)
    assert done.variable("compaction")[-1] > 0.4
    assert np.abs(done.stress).max() < 2.0 * STRENGTH


def test_unloading_follows_the_damaged_modulus():
    for depth in (-0.01, -0.02, -0.05):
        path = np.array([*np.linspace(0.0, depth, 51)[1:], depth + 1e-4])
        done = drive_uniaxial(CRUSHABLE_BONE, ROW, path)
        slope = (done.stress[-1, 2] - done.stress[-2, 2]) / 1e-4
        damage = overload_damage(done.variable("kappa")[-1])
        np.testing.assert_allclose(slope, (1.0 - damage) * MODULUS, rtol=1e-6)
        np.testing.assert_allclose(done.variable("damage")[-1], damage, rtol=1e-12)


def test_reloading_meets_the_curve_where_it_left():
    """Going away and back is no different from standing still for a step; it costs the softening of the last one."""
    there = [*np.linspace(0.0, -0.03, 61)[1:]]
    away = [*np.linspace(-0.03, 0.0, 11)[1:], *np.linspace(0.0, -0.03, 11)[1:]]
    done = drive_uniaxial(CRUSHABLE_BONE, ROW, np.array(there + away))
    stayed = drive_uniaxial(CRUSHABLE_BONE, ROW, np.array([*there, -0.03]))
    np.testing.assert_allclose(done.stress[-1], stayed.stress[-1], rtol=1e-8, atol=1e-9)
    lost = done.stress[-1, 2] - done.stress[59, 2]
    assert 0.0 < lost <= steepest_softening() * np.diff(done.variable("kappa"))[58]


def test_work_of_a_closed_cycle_is_not_negative():
    rng = np.random.default_rng(5)
    corners = rng.uniform(-0.03, 0.03, size=(12, 6))
    corners = np.concatenate([np.zeros((1, 6)), corners, np.zeros((1, 6))])
    path = np.concatenate([np.linspace(a, b, 101)[1:] for a, b in itertools.pairwise(corners)])
    done = drive(CRUSHABLE_BONE, ROW, path)
    stress = np.concatenate([np.zeros((1, 6)), done.stress])
    steps = np.diff(np.concatenate([np.zeros((1, 6)), path]), axis=0)
    assert (0.5 * (stress[1:] + stress[:-1]) * steps).sum() > 0.0


def test_kelvin_chain_follows_the_logarithm():
    time = np.logspace(0.0, 4.0, 200)
    chain = sum(w * -np.expm1(-time / t) for w, t in zip(KELVIN_WEIGHTS, KELVIN_TIMES, strict=True))
    assert np.abs(chain / np.log1p(time) - 1.0).max() < 0.022


def test_creep_of_an_hour_and_what_stays():
    s = 0.4 * YIELD_STRAIN
    load = -s * MODULUS
    times = [0.0, 3600.0, 0.0, 1e9]
    done = drive_uniaxial(CRUSHABLE_BONE, ROW, [load, load, 0.0, 0.0], control="stress", dt_s=times)
    crept = -(done.strain[1, 2] - done.strain[0, 2])
    np.testing.assert_allclose(crept, 0.12 * s * np.log(3601.0), rtol=0.03)
    np.testing.assert_allclose(-done.strain[3, 2], 0.46 * 0.12 * s * np.log(3601.0), rtol=1e-6)
    np.testing.assert_allclose(done.variable("creep_strain_eq")[1], -done.strain[3, 2], rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_creep_at_constant_stress_does_not_depend_on_the_steps(steps):
    load = -0.5 * STRENGTH
    path = np.full(steps + 1, load)
    times = np.array([0.0, *np.full(steps, 900.0 / steps)])
    done = drive_uniaxial(CRUSHABLE_BONE, changed(secondary_rate_per_s=0.0), path, control="stress", dt_s=times)
    once = drive_uniaxial(
        CRUSHABLE_BONE, changed(secondary_rate_per_s=0.0), [load, load], control="stress", dt_s=[0.0, 900.0]
    )
    np.testing.assert_allclose(done.strain[-1], once.strain[-1], rtol=1e-8)


def test_secondary_creep_rate():
    s = 0.9 * YIELD_STRAIN
    load = -s * MODULUS
    row = changed(creep_coefficient=0.0)
    done = drive_uniaxial(CRUSHABLE_BONE, row, [load, load], control="stress", dt_s=[0.0, 1000.0])
    rate = -(done.strain[1, 2] - done.strain[0, 2]) / 1000.0
    np.testing.assert_allclose(rate, 2.21e33 * s**17.65, rtol=1e-6)


def test_relaxation_lowers_the_stress_and_converges_with_the_step():
    last = []
    for steps in (10, 20, 40, 80):
        path = np.full(steps + 1, -0.9 * YIELD_STRAIN)
        times = np.array([0.0, *np.full(steps, 900.0 / steps)])
        done = drive_uniaxial(CRUSHABLE_BONE, ROW, path, dt_s=times)
        assert (np.diff(-done.stress[:, 2]) < 0.0).all()
        last.append(done.stress[-1, 2])
    changes = np.abs(np.diff(last))
    assert changes[2] < 0.65 * changes[1] < 0.65**2 * changes[0] * 1.0001


def test_crushed_bone_creeps_faster_than_intact_bone():
    """At the same stress, because s holds (1 - D); no further constant (Luo 2016)."""
    load = -0.3 * STRENGTH
    intact = drive_uniaxial(CRUSHABLE_BONE, ROW, [load, load], control="stress", dt_s=[0.0, 3600.0])
    crushed = drive_uniaxial(CRUSHABLE_BONE, ROW, np.linspace(0.0, -0.08, 81)[1:])
    rested = drive_uniaxial(CRUSHABLE_BONE, ROW, [load, load], control="stress", dt_s=[0.0, 3600.0], after=crushed)
    damage = crushed.variable("damage")[-1]
    ratio = np.diff(rested.strain[:, 2]) / np.diff(intact.strain[:, 2])
    np.testing.assert_allclose(ratio, 1.0 / (1.0 - damage), rtol=1e-3)
    assert ratio > 8.0


def test_fatigue_life_at_constant_load():
    s = 0.7 * YIELD_STRAIN
    life = 4.57e-18 * s**-8.54
    load = -s * MODULUS
    done = drive_uniaxial(
        CRUSHABLE_BONE, ROW, np.full(4, load), control="stress", cycles=[0.0, 0.3 * life, 0.3 * life, life]
    )
    damage = done.variable("fatigue_damage")
    np.testing.assert_allclose(damage[1:3], 1.0 - np.array([0.7, 0.4]) ** (1.0 / 3.0), rtol=1e-9)
    np.testing.assert_allclose(damage[3], 0.95, rtol=1e-12)
    np.testing.assert_allclose(done.strain[2, 2], load / MODULUS / (1.0 - damage[2]), rtol=1e-9)


def test_cycles_do_nothing_to_unloaded_bone():
    done = drive_uniaxial(CRUSHABLE_BONE, ROW, [0.0, 0.0], cycles=[0.0, 1e6])
    assert (done.state[1] == 0.0).all()


def random_walk(row, count, seed):
    """A random path of many points: yields (field, strain, state before, dt, cycles, response)."""
    rng = np.random.default_rng(seed)
    field = bench.points(CRUSHABLE_BONE, row, count)
    strain, state = np.zeros((count, 1, 6)), field.initial_state()
    schedule = [(0.0, 0.0), (0.0, 0.0), (10.0, 0.0), (0.0, 100.0), (900.0, 0.0), (250.0, 500.0), (0.0, 0.0)]
    for dt_s, cycles in schedule:
        size = 10.0 ** rng.uniform(-6.0, np.log10(0.5), size=(count, 1, 1))
        strain = np.clip(strain + size * rng.uniform(-1.0, 1.0, size=strain.shape), -2.0, 2.0)
        response = field.update(strain, state, dt_s, cycles)
        yield field, strain, state, dt_s, cycles, response
        state = response.state


def branch(field, strain, state, dt_s, cycles):
    """Which smooth piece of the law answers: flowing or not, damage at its cap or not."""
    response = field.update(strain, state, dt_s, cycles)
    flowing = field.state_field(response.state, "kappa") > field.state_field(state, "kappa")
    return flowing, field.state_field(response.state, "damage") >= 0.95 - 1e-9


@pytest.mark.parametrize("row", [ROW, bench.SKEWED_BONE], ids=["usual", "skewed"])
def test_tangent_on_random_paths(row):
    """Every point that is not astride a kink (yield, damage cap) has the exact tangent."""
    flowing = total = 0
    for field, strain, state, dt_s, cycles, _ in random_walk(row, 40, 11):
        error = bench.tangent_error(field, strain, state, dt_s, cycles)
        here = branch(field, strain, state, dt_s, cycles)
        smooth = np.ones(error.shape, dtype=bool)
        for shift in (0.9999999, 1.0000001):
            there = branch(field, strain * shift, state, dt_s, cycles)
            smooth &= (here[0] == there[0]) & (here[1] == there[1])
        assert error[smooth].max() < 1e-6
        assert smooth.mean() > 0.9
        flowing, total = flowing + here[0].sum(), total + error.size
    assert 0.1 < flowing / total < 0.9


COARSE = bone_rows(load_card("trabecular").with_values(softening_strain=0.02), [0.2], [8.0])[0]


@pytest.mark.parametrize("row", [ROW, bench.SKEWED_BONE, COARSE], ids=["usual", "skewed", "coarse"])
def test_stress_never_leaves_the_yield_surface(row):
    for field, _, state, _, _, response in random_walk(row, 200, 23):
        assert (response.status == 0).all()
        assert np.isfinite(response.tangent).all()
        kappa, compaction = (field.state_field(response.state, name) for name in ("kappa", "compaction"))
        limit = strength(field.state_field(state, "kappa"), compaction, row)
        norm = phi(response.stress, row)
        assert (norm <= limit * (1.0 + 1e-10)).all()
        flowing = kappa > field.state_field(state, "kappa")
        np.testing.assert_allclose(norm[flowing], limit[flowing], rtol=1e-9)
        assert (kappa >= field.state_field(state, "kappa")).all()


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-100, 1e-30, 1e-14])
@pytest.mark.parametrize("dt_s", [0.0, 900.0])
def test_tiny_strains_are_linear(size, dt_s):
    field = bench.points(CRUSHABLE_BONE, ROW, 1)
    strain = size * np.array([0.1, -0.2, -1.0, 0.3, 0.2, -0.4])[None, None]
    response = field.update(strain, field.initial_state(), dt_s)
    assert response.status[0, 0] == 0
    np.testing.assert_allclose(response.stress[0, 0], response.tangent[0, 0] @ strain[0, 0], rtol=1e-6)


@pytest.mark.parametrize("amount", [-2.0, -0.5, 0.5, 2.0])
@pytest.mark.parametrize("dt_s", [0.0, 900.0])
def test_one_huge_step(amount, dt_s):
    field = bench.points(CRUSHABLE_BONE, ROW, 6)
    strain = (amount * np.eye(6))[:, None]
    response = field.update(strain, field.initial_state(), dt_s)
    assert (response.status == 0).all()
    assert np.isfinite(response.stress).all()


def test_steps_of_crushing_converge():
    """Backward Euler: one step and a thousand agree in uniaxial strain to the order of the step."""
    final = []
    for steps in (50, 100, 200, 400):
        path = np.zeros((steps, 6))
        path[:, 2] = np.linspace(0.0, -0.1, steps + 1)[1:]
        path[:, 5] = np.linspace(0.0, 0.05, steps + 1)[1:]
        final.append(drive(CRUSHABLE_BONE, at_rest(), path).stress[-1])
    changes = np.abs(np.diff(np.array(final), axis=0)).max(axis=1)
    assert changes[2] < 0.6 * changes[1] < 0.36 * changes[0] * 1.2


def test_the_law_names_the_places_the_kernel_uses():
    assert CRUSHABLE_BONE.state_size == kernel.STATE_SIZE
    places = {
        "plastic_strain": kernel.PLASTIC,
        "kappa": kernel.KAPPA,
        "compaction": kernel.COMPACTION,
        "primary_creep": kernel.PRIMARY,
        "creep_strain_eq": kernel.CREEP,
        "fatigue_damage": kernel.FATIGUE,
        "s_peak": kernel.DRIVE,
        "damage": kernel.DAMAGE,
        "kelvin_strain": kernel.KELVIN_START,
    }
    assert {variable.name for variable in CRUSHABLE_BONE.state} == set(places)
    for name, start in places.items():
        assert CRUSHABLE_BONE.place(name).start == start
    assert [p.name for p in CRUSHABLE_BONE.parameters[6:]] == list(kernel.Bone._fields[2:])
