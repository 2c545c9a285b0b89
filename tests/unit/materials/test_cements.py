"""Cements and their interface with bone: strengths, cracks that close, energies, fatigue, admissible lengths."""

from __future__ import annotations

from itertools import pairwise

import law_bench as bench
import numpy as np
import pytest

from kyphos.errors import MaterialError
from kyphos.materials import BONDED_INTERFACE, BRITTLE_CEMENT, DUCTILE_CEMENT, drive, drive_uniaxial, load_card
from kyphos.units import S_PER_DAY

PMMA = load_card("pmma").row()
CARD = load_card("calcium-phosphate")
CAP = CARD.row()
YOUNG, NU = CARD["youngs_modulus_mpa"], CARD["poisson_ratio"]
CONSTRAINED = YOUNG * (1.0 - NU) / ((1.0 + NU) * (1.0 - 2.0 * NU))
BOND = load_card("cement-bone-interface")


def work(done):
    """Work (n,) done on a driven point up to each step, by the trapezoidal rule, N mm/mm3."""
    strain = np.vstack([np.zeros(6), done.strain])
    stress = np.vstack([np.zeros(6), done.stress])
    return np.cumsum(0.5 * np.einsum("ij,ij->i", stress[1:] + stress[:-1], np.diff(strain, axis=0)))


def dissipated(done):
    """Work (n,) less what elastic unloading to the origin would give back, N mm/mm3."""
    return work(done) - 0.5 * np.einsum("ij,ij->i", done.strain, done.stress)


def varied(card, **values):
    """A row of a card's law with other values, beyond the card's range if need be."""
    return card.law.row(**{**{name: card[name] for name in card.constants}, **values})


# --- ductile cement ------------------------------------------------------------------------------------------------


def test_pmma_yields_at_its_strength_and_unloads_elastically():
    done = drive_uniaxial(DUCTILE_CEMENT, PMMA, [-0.02, -0.028, -0.05, -0.04, -0.06])
    np.testing.assert_allclose(done.stress[:, 2], [-50.0, -70.0, -70.0, -45.0, -70.0], rtol=1e-9)
    assert np.all(np.diff(work(done)[2:5]) != 0.0)


def test_pmma_loses_its_stiffness_at_the_end_of_its_life_and_not_before():
    life = 1e6 * (44.0 / 40.0) ** 12
    shares = np.array([0.0, 0.5, 0.4, 0.09])
    done = drive_uniaxial(DUCTILE_CEMENT, PMMA, np.full(4, -40.0), control="stress", cycles=shares * life)
    used = np.cumsum(shares)
    np.testing.assert_allclose(done.variable("miner_sum"), used, rtol=1e-9)
    np.testing.assert_allclose(done.variable("damage"), 1.0 - (1.0 - used) ** 0.1, atol=1e-9)
    np.testing.assert_allclose(done.strain[:, 2], -40.0 / 2500.0 * (1.0 - used) ** -0.1, rtol=1e-9)


@pytest.mark.parametrize(("stress", "reference"), [(-30.0, 44.0), (10.0, 15.0)])
@pytest.mark.parametrize("law", [DUCTILE_CEMENT, BRITTLE_CEMENT])
def test_tension_and_compression_have_lives_of_their_own(law, stress, reference):
    card = load_card("pmma") if law is DUCTILE_CEMENT else CARD
    row = varied(card, fatigue_reference_stress_mpa=44.0, fatigue_reference_tension_mpa=15.0, fatigue_exponent=12.0)
    if law is BRITTLE_CEMENT:
        row = varied(
            CARD,
            tensile_strength_mpa=40.0,
            tensile_fracture_energy_n_per_mm=5.0,
            fatigue_reference_stress_mpa=44.0,
            fatigue_reference_tension_mpa=15.0,
            fatigue_exponent=12.0,
        )
    done = drive_uniaxial(law, row, [stress, stress], control="stress", cycles=[0.0, 1000.0])
    expected = 1e-3 * (abs(stress) / reference) ** 12
    assert done.variable("miner_sum")[1] == pytest.approx(expected, rel=1e-9)


def test_cement_hardly_ages_at_body_loads():
    done = drive_uniaxial(DUCTILE_CEMENT, PMMA, [-5.0, -5.0], control="stress", cycles=[0.0, 1e5])
    assert 0.0 < done.variable("damage")[1] < 1e-9


# --- brittle cement ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["xx", "yy", "zz"])
def test_calcium_phosphate_has_both_its_strengths(axis):
    place = ("xx", "yy", "zz").index(axis)
    pulled = drive_uniaxial(BRITTLE_CEMENT, CAP, np.linspace(1e-5, 0.004, 400), axis=axis)
    pressed = drive_uniaxial(BRITTLE_CEMENT, CAP, -np.linspace(1e-4, 0.2, 2000), axis=axis)
    assert pulled.stress[:, place].max() == pytest.approx(CARD["tensile_strength_mpa"], rel=0.01)
    assert pressed.stress[:, place].min() == pytest.approx(-CARD["compressive_strength_mpa"], rel=0.005)
    plateau = CARD["plateau_ratio"] * CARD["compressive_strength_mpa"]
    assert pressed.stress[-1, place] == pytest.approx(-plateau, rel=0.01)
    np.testing.assert_allclose(pulled.stress[0, place] / 1e-5, YOUNG, rtol=1e-9)
    np.testing.assert_allclose(pressed.stress[0, place] / -1e-4, YOUNG, rtol=1e-9)


def test_a_crack_closes_and_bears_compression_with_the_full_stiffness():
    done = drive_uniaxial(BRITTLE_CEMENT, CAP, [0.0003, 0.002, 0.001, 0.0, -0.002, 0.001, 0.002, 0.003])
    stress, damage = done.stress[:, 2], done.variable("crack_damage")
    assert damage[1] > 0.5
    assert damage[1] == damage[2] == damage[3] == damage[4]
    assert stress[2] == pytest.approx(0.5 * stress[1], rel=0.02)  # back to the origin, along the damaged modulus
    assert stress[4] == pytest.approx(-0.002 * YOUNG, rel=1e-9)
    assert stress[6] == pytest.approx(stress[1], rel=1e-9)
    assert stress[7] < stress[6]
    assert damage[7] > damage[6]


def test_crushing_leaves_a_permanent_strain_and_no_crack():
    done = drive_uniaxial(BRITTLE_CEMENT, CAP, [-0.005, -0.02, -0.03, -0.025, -0.04])
    crushed = done.variable("plastic_strain")
    assert crushed[0] == pytest.approx(np.zeros(6), abs=1e-15)
    assert crushed[2, 2] == pytest.approx(-0.03 - done.stress[2, 2] / YOUNG, rel=1e-9)
    assert done.stress[3, 2] - done.stress[2, 2] == pytest.approx(0.005 * YOUNG, rel=1e-9)
    assert done.variable("crack_damage")[-1] == 0.0


@pytest.mark.parametrize("length", [0.5, 1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("free_sideways", [True, False])
def test_a_crack_spends_its_energy_whatever_the_length_of_the_element(length, free_sideways):
    row = varied(CARD, element_length_mm=length)
    scale = CARD["tensile_fracture_energy_n_per_mm"] / (length * CARD["tensile_strength_mpa"])
    path = np.concatenate([np.linspace(0.0, 4e-4, 100)[1:], 4e-4 + scale * np.geomspace(1e-3, 8.0, 800)])
    if free_sideways:
        done = drive_uniaxial(BRITTLE_CEMENT, row, path, axis="xx")
    else:
        done = drive(BRITTLE_CEMENT, row, np.eye(6)[0] * path[:, None])
    energy = dissipated(done)[-1] * length
    assert energy == pytest.approx(CARD["tensile_fracture_energy_n_per_mm"], rel=0.02)


@pytest.mark.parametrize("length", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_crushing_spends_its_energy_above_the_plateau_whatever_the_length_of_the_element(length):
    row = varied(CARD, element_length_mm=length)
    drop = (1.0 - CARD["plateau_ratio"]) * CARD["compressive_strength_mpa"]
    scale = CARD["crush_energy_n_per_mm"] / (length * drop)
    start = CARD["compressive_strength_mpa"] / YOUNG
    path = np.array([start, *(start + scale * np.linspace(0.0, 8.0, 2000)[1:])])
    done = drive_uniaxial(BRITTLE_CEMENT, row, -path)
    crush = np.diff(done.variable("kappa"), prepend=0.0)
    plateau = CARD["plateau_ratio"] * CARD["compressive_strength_mpa"]
    energy = np.sum((-done.stress[:, 2] - plateau) * crush) * length
    assert energy == pytest.approx(CARD["crush_energy_n_per_mm"], rel=0.02)


def test_elements_that_are_too_long_are_refused_with_the_length_that_is_allowed():
    with pytest.raises(MaterialError, match=r"BrittleCement: tension: an element of 30 mm .* at most 1\d\.\d mm"):
        BRITTLE_CEMENT.pack(varied(CARD, element_length_mm=30.0)[None])
    with pytest.raises(MaterialError, match=r"BrittleCement: compression: .* at most 1\.32 mm"):
        BRITTLE_CEMENT.pack(varied(CARD, crush_energy_n_per_mm=0.2)[None])
    with pytest.raises(MaterialError, match=r"BondedInterface: shear: an element of 100 mm"):
        BONDED_INTERFACE.pack(varied(BOND, element_length_mm=100.0)[None])
    with pytest.raises(MaterialError, match="a normal is not of unit length"):
        BONDED_INTERFACE.pack(varied(BOND, normal_x=0.5)[None])


@pytest.mark.parametrize("poisson", [0.0, 0.2, 0.3, 0.4, 0.45])
def test_the_longest_element_does_not_snap_back(poisson):
    """At the allowed length the strain along a crack that is free sideways still grows with the drive."""
    modulus = YOUNG * (1.0 - poisson) / ((1.0 + poisson) * (1.0 - 2.0 * poisson))
    lateral = 2.0 * poisson**2 / (1.0 - poisson)
    least = max(0.5, 1.5 * lateral / (1.0 - lateral))
    length = 0.01 * modulus / (CARD["tensile_strength_mpa"] ** 2 * (0.5 + least))
    long = {"crush_energy_n_per_mm": 1000.0, "poisson_ratio": poisson}
    row = varied(CARD, element_length_mm=length, **long)
    done = drive_uniaxial(BRITTLE_CEMENT, row, np.linspace(0.0, 0.01, 4000)[1:])
    assert np.all(np.diff(done.variable("crack_drive_mpa")) >= -1e-12)
    assert np.abs(np.diff(done.stress[:, 2])).max() < 0.1 * CARD["tensile_strength_mpa"]
    with pytest.raises(MaterialError, match="too long"):
        BRITTLE_CEMENT.pack(varied(CARD, element_length_mm=1.01 * length, **long)[None])


def test_resorption_takes_the_stiffness_by_halves():
    row = varied(CARD, resorption_per_day=np.log(2.0) / 180.0)
    halves = [0.0, 180.0 * S_PER_DAY, 180.0 * S_PER_DAY]
    done = drive_uniaxial(BRITTLE_CEMENT, row, np.full(3, -0.001), dt_s=halves)
    np.testing.assert_allclose(done.stress[:, 2], -YOUNG * 0.001 * np.array([1.0, 0.5, 0.25]), rtol=1e-9)
    lasting = drive_uniaxial(BRITTLE_CEMENT, CAP, np.full(3, -0.001), dt_s=halves)
    np.testing.assert_allclose(lasting.stress[:, 2], -YOUNG * 0.001, rtol=1e-9)


# --- interface -----------------------------------------------------------------------------------------------------


def turned(card, normal, **values):
    """A row of the interface's law with a normal of any length."""
    unit = np.asarray(normal) / np.linalg.norm(normal)
    return varied(card, normal_x=unit[0], normal_y=unit[1], normal_z=unit[2], **values)


def tractions(done, normal):
    """Normal and shear traction (n,) on the plane of a driven point."""
    unit = np.asarray(normal) / np.linalg.norm(normal)
    s = done.stress
    full = np.stack([s[:, [0, 3, 5]], s[:, [3, 1, 4]], s[:, [5, 4, 2]]], axis=1)
    traction = full @ unit
    pull = traction @ unit
    return pull, np.linalg.norm(traction - pull[:, None] * unit, axis=1)


def opened_and_slid(normal, opening, slip):
    """Logarithmic strains (n, 6) of an opening and a slip (n,), over the length, in a direction along a plane."""
    unit = np.asarray(normal) / np.linalg.norm(normal)
    way = np.cross(unit, [0.3, -0.5, 0.81])
    way /= np.linalg.norm(way)
    gradient = np.eye(3) + opening[:, None, None] * np.outer(unit, unit) + slip[:, None, None] * np.outer(way, unit)
    values, v = np.linalg.eigh(np.swapaxes(gradient, 1, 2) @ gradient)
    full = np.einsum("nik,nk,njk->nij", v, 0.5 * np.log(values), v)
    return np.stack(
        [full[:, 0, 0], full[:, 1, 1], full[:, 2, 2], 2 * full[:, 0, 1], 2 * full[:, 1, 2], 2 * full[:, 0, 2]], axis=1
    )


NORMALS = [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.48, -0.64, 0.6)]


@pytest.mark.parametrize("normal", NORMALS)
@pytest.mark.parametrize(("tensile", "shear"), [(1.08, 2.7), (1.0, 1.0), (2.0, 1.5)])
def test_the_interface_has_the_strengths_that_it_is_given(normal, tensile, shear):
    row = turned(BOND, normal, tensile_strength_mpa=tensile, shear_strength_mpa=shear)
    path, still = np.linspace(0.0, 0.02, 2000)[1:], np.zeros(1999)
    pulled = drive(BONDED_INTERFACE, row, opened_and_slid(normal, path, still))
    slid = drive(BONDED_INTERFACE, row, opened_and_slid(normal, still, path))
    pressed = drive(BONDED_INTERFACE, row, opened_and_slid(normal, -path, still))
    assert tractions(pulled, normal)[0].max() == pytest.approx(tensile, rel=0.01)
    assert tractions(slid, normal)[1].max() == pytest.approx(shear, rel=0.01)
    constrained = 2500.0 * 0.7 / (1.3 * 0.4)
    np.testing.assert_allclose(tractions(pressed, normal)[0], constrained * np.log1p(-path), rtol=1e-9)
    assert np.all(pressed.variable("debonding") == 0.0)


@pytest.mark.parametrize("length", [1.0, 2.0, 4.0])
@pytest.mark.parametrize(("mode", "energy"), [("tensile", 0.05), ("shear", 0.12)])
def test_debonding_spends_its_energy_whatever_the_length_of_the_cell(length, mode, energy):
    normal = NORMALS[3]
    row = turned(BOND, normal, **{f"{mode}_fracture_energy_n_per_mm": energy, "element_length_mm": length})
    path = np.linspace(0.0, 9.0 * energy / (length * BOND[f"{mode}_strength_mpa"]), 4000)[1:]
    opening, slip = (path, 0.0 * path) if mode == "tensile" else (0.0 * path, path)
    done = drive(BONDED_INTERFACE, row, opened_and_slid(normal, opening, slip))
    assert work(done)[-1] * length == pytest.approx(energy, rel=0.02)


def test_what_has_come_apart_bears_pressure_and_friction():
    normal, mu = NORMALS[3], 0.3
    row = turned(BOND, normal, friction_coefficient=mu)
    bare = turned(BOND, normal)
    opening = np.array([0.5, -0.001, -0.001, -0.001, -0.001, 0.001])
    slip = np.array([0.0, 0.0, 1e-4, 0.01, -0.01, 0.01])
    path = opened_and_slid(normal, opening, slip)
    rough, smooth = drive(BONDED_INTERFACE, row, path), drive(BONDED_INTERFACE, bare, path)
    pull, shear = tractions(rough, normal)
    assert pull[1] == pytest.approx(2500.0 * 0.7 / (1.3 * 0.4) * np.log1p(-0.001), rel=1e-6)
    gone = rough.variable("debonding")[-1]
    assert gone > 0.999
    assert shear[2] == pytest.approx(1e-4 * 2500.0 / 2.6, rel=5e-3)  # sticks
    np.testing.assert_allclose(shear[3:5], mu * -pull[3:5], rtol=0.01)  # slips, either way
    np.testing.assert_allclose(tractions(smooth, normal)[1][1:5], 0.0, atol=0.01)
    assert abs(pull[5]) < 1e-3 * 2500.0 * 0.001


def test_a_frictionless_interface_has_a_symmetric_tangent_when_it_opens_or_slides_alone():
    for opening, slip in ((0.003, 0.0), (0.0, 0.02)):
        done = drive(BONDED_INTERFACE, BOND.row(), opened_and_slid((0, 0, 1.0), np.array([opening]), np.array([slip])))
        assert done.variable("debonding")[0] > 0.1
        np.testing.assert_allclose(done.tangent[0], done.tangent[0].T, atol=1e-5 * 2500.0)  # slip opens by g^4


# --- both ----------------------------------------------------------------------------------------------------------


def random_walk(seed, steps=60):
    """A strain path (n, 6) that turns, closes cracks and crushes."""
    rng = np.random.default_rng(seed)
    corners = np.vstack([np.zeros(6), rng.normal(size=(6, 6)) * [0.01, 0.01, 0.01, 0.012, 0.012, 0.012]])
    corners[3, :3] -= 0.02
    share = np.linspace(0.0, 6.0, 6 * steps + 1)[1:]
    return np.stack([np.interp(share, np.arange(7), corner) for corner in corners.T], axis=1)


LAWS = {
    "calcium phosphate": (BRITTLE_CEMENT, CAP),
    "interface": (BONDED_INTERFACE, bench.INTERFACE),
    "rough interface": (BONDED_INTERFACE, bench.ROUGH),
    "pmma": (DUCTILE_CEMENT, PMMA),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("seed", range(4))
def test_tangent_is_exact_along_a_path_that_turns(name, seed):
    law, row = LAWS[name]
    field, path = bench.points(law, row, 1), random_walk(seed, 10)
    state = field.initial_state()
    errors = []
    for strain in path[:, None, None]:
        answer = field.update(strain, state)
        if np.abs(answer.tangent).max() > 0.0:  # pressed flat from all sides, a crushed cement gives way freely
            errors.append(bench.tangent_error(field, strain, state, step=1e-7).item())
        state = answer.state
    assert len(errors) > 40
    assert np.mean(np.array(errors) < 1e-5) > 0.95  # a difference across a corner of the law says nothing
    assert np.median(errors) < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_the_tangent_of_a_cracking_cement_is_symmetric(seed):
    row = varied(CARD, compressive_strength_mpa=1000.0, crush_energy_n_per_mm=1000.0, plateau_ratio=1.0)
    done = drive(BRITTLE_CEMENT, row, random_walk(seed, 10))
    assert done.variable("crack_damage")[-1] > 0.5
    np.testing.assert_allclose(done.tangent, np.swapaxes(done.tangent, 1, 2), atol=1e-9 * YOUNG)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("seed", range(4))
def test_energy_is_dissipated_and_never_made(name, seed):
    """Work up to any moment exceeds the elastic energy that could come back, and closed loops cost work."""
    law, row = LAWS[name]
    path = random_walk(seed)
    there = drive(law, row, path)
    spent = work(there)
    back = drive(law, row, np.linspace(path[-1], 0.0, 400), after=there)
    step = np.diff(np.vstack([path[-1], back.strain]), axis=0)
    stress = np.vstack([there.stress[-1], back.stress])
    returned = np.sum(0.5 * (stress[1:] + stress[:-1]) * step)
    assert spent[-1] + returned > -1e-4 * np.abs(spent).max()
    assert spent.min() > -1e-4 * spent.max()


@pytest.mark.parametrize("seed", range(4))
def test_a_loop_without_new_damage_costs_nothing(seed):
    """Cracks open and close along a closed path inside what has been opened before: the split is a potential."""
    row = varied(CARD, compressive_strength_mpa=1000.0, crush_energy_n_per_mm=1000.0, plateau_ratio=1.0)
    cracked = drive(BRITTLE_CEMENT, row, [[0.006, 0.006, 0.006, 0.0, 0.0, 0.0]])
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(3, 6)) * 0.001
    loop = [cracked.strain[0], *corners, cracked.strain[0]]
    fine = np.vstack([np.linspace(a, b, 800) for a, b in pairwise(loop)])
    done = drive(BRITTLE_CEMENT, row, fine, after=cracked)
    assert np.all(done.variable("crack_damage") == done.variable("crack_damage")[0])
    spent = np.cumsum(0.5 * np.einsum("ij,ij->i", done.stress[1:] + done.stress[:-1], np.diff(done.strain, axis=0)))
    assert abs(spent[-1]) < 1e-4 * np.abs(spent).max()
