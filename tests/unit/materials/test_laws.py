from __future__ import annotations

import itertools

import law_bench as bench
import numpy as np
import pytest

from kyphos.errors import MaterialError
from kyphos.materials import (
    BALLOON_SKIN,
    FOAM,
    J2_PLASTICITY,
    LAWS,
    LINEAR_ELASTIC,
    MOONEY_RIVLIN,
    NORTON_CREEP,
    TRANSVERSELY_ISOTROPIC,
    drive,
    drive_uniaxial,
    load_card,
    plasticity_by_table,
)

DIRECTION = np.array([0.3, -0.2, -1.0, 0.4, 0.25, -0.35])
PATHS = {
    "elastic": ([1e-5], 0.0, 0.0),
    "loading": ([2e-3, 2e-2], 0.0, 0.0),
    "unloading": ([2e-2, 1.6e-2], 0.0, 0.0),
    "reloading": ([2e-2, 1.2e-2, 2.5e-2], 0.0, 0.0),
    "reversed": ([2e-2, -2e-2], 0.0, 0.0),
    "deep": ([0.1, 0.4, 0.9], 0.0, 0.0),
    "hold": ([3e-3, 3.1e-3], 900.0, 0.0),
    "hold beyond yield": ([2e-2, 2.2e-2], 900.0, 0.0),
    "fatigue": ([3e-3, 3.1e-3], 0.0, 50.0),
    "cycles under load": ([4e-3, 4.2e-3], 250.0, 500.0),
}


def test_every_law_is_tested():
    by_table = {plasticity_by_table(3, kinematic).name for kinematic in (False, True)}
    assert {law.name for law, _ in bench.EXAMPLES.values()} == set(LAWS) | by_table


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", bench.EXAMPLES)
def test_tangent_is_the_derivative_of_stress(name, path):
    law, row = bench.EXAMPLES[name]
    field = bench.points(law, row, 1)
    amplitudes, dt_s, cycles = PATHS[path]
    state = field.initial_state()
    for amplitude in amplitudes[:-1]:
        state = field.update((amplitude * DIRECTION)[None, None], state).state
    strain = (amplitudes[-1] * DIRECTION)[None, None]
    assert bench.tangent_error(field, strain, state, dt_s, cycles).max() < 1e-6


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", ["mooney", "foam", "skin", "j2", "table", "moving table", "skewed bone"])
def test_tangent_in_pure_tension_compression_and_shear(name, axis, sign):
    law, row = bench.EXAMPLES[name]
    field = bench.points(law, row, 1)
    strain = np.zeros((1, 1, 6))
    strain[..., axis] = 0.03 * sign
    assert bench.tangent_error(field, strain, field.initial_state()).max() < 1e-6


def test_a_wrong_tangent_is_noticed():
    law, row = bench.EXAMPLES["bone"]
    field = bench.points(law, row, 1)
    strain = (2e-2 * DIRECTION)[None, None]
    elastic = field.update(strain * 1e-6, field.initial_state()).tangent
    numerical = bench.central_tangent(field, strain, field.initial_state(), 0.0, 0.0, 1e-7)
    assert np.abs(elastic - numerical).max() > 0.1 * np.abs(elastic).max()


def test_isotropic_elasticity_obeys_hooke():
    row = LINEAR_ELASTIC.row(youngs_modulus_mpa=1000.0, poisson_ratio=0.3)
    done = drive_uniaxial(LINEAR_ELASTIC, row, [-0.01], axis="xx")
    np.testing.assert_allclose(done.stress[0, 0], -10.0, rtol=1e-12)
    np.testing.assert_allclose(done.strain[0, 1:3], 0.003, rtol=1e-12)
    np.testing.assert_allclose(done.tangent[0, 3, 3], 1000.0 / 2.6, rtol=1e-12)


@pytest.mark.parametrize(("axis", "modulus", "contractions"), [("zz", 300.0, (0.3, 0.28)), ("xx", 120.0, (0.2,))])
def test_orthotropic_moduli_and_contractions(axis, modulus, contractions):
    done = drive_uniaxial(TRANSVERSELY_ISOTROPIC, bench.EXAMPLES["orthotropic"][1], [0.001], axis=axis)
    place = ("xx", "yy", "zz").index(axis)
    np.testing.assert_allclose(done.stress[0, place], 0.001 * modulus, rtol=1e-10)
    others = {"zz": (0, 1), "xx": (1,)}[axis]
    np.testing.assert_allclose(done.strain[0, others], -0.001 * np.array(contractions), rtol=1e-10)
    np.testing.assert_allclose(np.diag(done.tangent[0])[3:], [40.0, 55.0, 60.0], rtol=1e-12)


def test_orthotropic_rejects_an_indefinite_energy():
    row = np.array([100.0, 10.0, 10.0, 1.4, 1.4, 0.9, 5.0, 5.0, 5.0])
    with pytest.raises(MaterialError, match="not positive"):
        bench.points(TRANSVERSELY_ISOTROPIC, row, 1).update(np.zeros((1, 1, 6)), np.zeros((1, 1, 0)))


def test_mooney_rivlin_uniaxial_matches_the_closed_form():
    """sigma = 2 (L^2 - 1/L)(C10 + C01/L), incompressible; T of the axis equals Cauchy stress then."""
    row = MOONEY_RIVLIN.row(c10_mpa=0.12, c01_mpa=0.03, bulk_modulus_mpa=1e5)
    stretch = np.array([0.7, 0.9, 1.2, 1.6])
    done = drive_uniaxial(MOONEY_RIVLIN, row, np.log(stretch))
    expected = 2.0 * (stretch**2 - 1.0 / stretch) * (0.12 + 0.03 / stretch)
    np.testing.assert_allclose(done.stress[:, 2], expected, rtol=1e-4)


@pytest.mark.parametrize("gap", [0.0, 1e-14, 1e-9, 1e-5, 1e-3])
@pytest.mark.parametrize(("law", "card"), [(MOONEY_RIVLIN, "annulus-ground"), (FOAM, "void")])
def test_hyperelasticity_survives_equal_principal_strains(law, card, gap):
    field = bench.points(law, load_card(card).row(), 1)
    strain = np.array([0.2, 0.2 + gap, -0.4, 0.0, 0.0, 0.0])[None, None]
    assert bench.tangent_error(field, strain, field.initial_state(), step=1e-6).max() < 1e-6


@pytest.mark.parametrize("name", ["mooney", "foam"])
def test_hyperelasticity_is_isotropic(name):
    rng = np.random.default_rng(3)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    principal = np.diag([0.3, -0.1, -0.25])
    field = bench.points(*bench.EXAMPLES[name], 2)

    def voigt(a, shear):
        return np.array([a[0, 0], a[1, 1], a[2, 2], shear * a[0, 1], shear * a[1, 2], shear * a[0, 2]])

    strain = np.stack([voigt(principal, 2.0), voigt(rotation @ principal @ rotation.T, 2.0)])[:, None]
    stress = field.update(strain, field.initial_state()).stress[:, 0]
    np.testing.assert_allclose(
        stress[1], voigt(rotation @ np.diag(stress[0, :3]) @ rotation.T, 1.0), rtol=1e-10, atol=1e-12
    )


def test_foam_uniaxial_matches_the_closed_form():
    """T = mu (L^2 - 1) along the stretch and no lateral strain."""
    stretch = np.array([0.1, 0.5, 0.9, 1.2, 2.0, 5.0])
    done = drive_uniaxial(FOAM, FOAM.row(shear_modulus_mpa=0.03), np.log(stretch), axis="yy")
    np.testing.assert_allclose(done.stress[:, 1], 0.03 * (stretch**2 - 1.0), rtol=1e-9)
    np.testing.assert_allclose(done.strain[:, [0, 2, 3, 4, 5]], 0.0, atol=1e-9)


def test_foam_at_rest_is_a_solid_without_lateral_coupling():
    done = drive(FOAM, FOAM.row(shear_modulus_mpa=0.03), np.zeros((1, 6)))
    np.testing.assert_allclose(done.tangent[0], np.diag([0.06] * 3 + [0.03] * 3), atol=1e-15)


def test_skin_is_a_foam_whose_fibres_stiffen_along_their_axis_alone():
    """T_y = mu (L^2 - 1) + k_y L^2 <L^2 - 1>^2: the fibres of no other axis are stretched, and none is pressed."""
    stretch, row = (
        np.array([0.5, 0.9, 1.2, 2.0, 3.0]),
        BALLOON_SKIN.row(shear_modulus_mpa=0.3, fibre_x_mpa=5.0, fibre_y_mpa=0.03, fibre_z_mpa=7.0),
    )
    done = drive_uniaxial(BALLOON_SKIN, row, np.log(stretch), axis="yy")
    longer = np.maximum(stretch**2 - 1.0, 0.0)
    expected = 0.3 * (stretch**2 - 1.0) + 0.03 * stretch**2 * longer**2
    np.testing.assert_allclose(done.stress[:, 1], expected, rtol=1e-9)
    np.testing.assert_allclose(done.strain[:, [0, 2, 3, 4, 5]], 0.0, atol=1e-9)


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-4, 9e-3, 1.1e-2, 0.3])
def test_skin_stress_is_the_slope_of_its_energy(spread):
    """Central differences of W, with principal strains that coincide, nearly coincide and lie apart."""
    mu, fibres = 0.3, np.array([3.0, 2.0, 0.1])
    field = bench.points(BALLOON_SKIN, np.array([mu, *fibres]), 1)
    e = np.array([0.3, 0.3, 0.3, 0.0, 0.0, 0.0]) + spread * np.array([0.3, -0.2, 0.5, 0.4, 0.9, -0.7])

    def energy(voigt_strain):
        tensor = np.diag(voigt_strain[:3])
        for k, (i, j) in enumerate(((0, 1), (1, 2), (0, 2))):
            tensor[i, j] = tensor[j, i] = 0.5 * voigt_strain[3 + k]
        values, vectors = np.linalg.eigh(tensor)
        c = vectors @ np.diag(np.exp(2.0 * values)) @ vectors.T
        longer = np.maximum(np.diag(c) - 1.0, 0.0)
        return 0.5 * mu * (np.trace(c) - 3.0 - 2.0 * values.sum()) + (fibres * longer**3).sum() / 6.0

    step = 1e-5 * np.eye(6)
    slope = [(energy(e + one) - energy(e - one)) / 2e-5 for one in step]
    np.testing.assert_allclose(field.update(e[None, None], field.initial_state()).stress[0, 0], slope, atol=1e-7)


def least_nominal_stiffness(law, row, stretch):
    """Smallest eigenvalue (k,) of dP_i/dL_j at principal stretches (k, 3), P_i = T_i/L_i, over that at rest."""
    strain = np.zeros((len(stretch) + 1, 6))
    strain[1:, :3] = np.log(stretch)
    done = drive(law, row, strain)
    sizes = np.exp(strain[:, :3])
    nominal = done.tangent[:, :3, :3] / (sizes[:, :, None] * sizes[:, None, :])
    nominal[:, range(3), range(3)] -= done.stress[:, :3] / sizes**2
    least = np.linalg.eigvalsh(nominal)[:, 0]
    return least[1:] / least[0]


def test_a_stretched_foam_stays_stable():
    """Hencky's solid loses its nominal stiffness at L = e; what fills a cavity under a balloon must not."""
    stretch = np.array([(5.0, 1.0, 1.0), (5.0, 5.0, 0.2), (5.0, 5.0, 5.0), (0.1, 0.1, 0.1), (10.0, 0.1, 3.0)])
    foam = least_nominal_stiffness(FOAM, load_card("void").row(), stretch)
    np.testing.assert_allclose(foam, 0.5 * (1.0 + stretch.max(axis=1) ** -2.0), rtol=1e-9)
    hencky = LINEAR_ELASTIC.row(youngs_modulus_mpa=0.02, poisson_ratio=0.0)
    assert least_nominal_stiffness(LINEAR_ELASTIC, hencky, stretch[:1])[0] < 0.0


@pytest.mark.parametrize(
    ("hardening", "expected", "tolerance"),
    [
        (0.0, [5, 5, 5, 5, 5, 5, 3.917, 5], 0.005),
        (62500.0, [5, 5.862, 5.482, 6.361, 6.635, 7.313, 4.189, 5.623], 0.003),
    ],
)
def test_nafems_nl1(hardening, expected, tolerance):
    """NAFEMS NL1 (Abaqus Benchmarks guide); with hardening: a converged backward Euler of 2000 steps."""
    row = J2_PLASTICITY.row(
        youngs_modulus_mpa=250000.0,
        poisson_ratio=0.25,
        yield_stress_mpa=5.0,
        isotropic_hardening_mpa=hardening,
        kinematic_hardening_mpa=0.0,
    )
    corners = 0.25e-4 * np.array([(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1), (0, 0)], float)
    substeps = 200
    legs = [np.linspace(a, b, substeps + 1)[1:] for a, b in itertools.pairwise(corners)]
    path = np.zeros((substeps * 8, 6))
    path[:, :2] = np.concatenate(legs)
    t = drive(J2_PLASTICITY, row, path).stress[substeps - 1 :: substeps]
    mises = np.sqrt(
        0.5 * ((t[:, 0] - t[:, 1]) ** 2 + (t[:, 1] - t[:, 2]) ** 2 + (t[:, 2] - t[:, 0]) ** 2)
        + 3.0 * (t[:, 3:] ** 2).sum(axis=1)
    )
    np.testing.assert_allclose(mises, expected, rtol=tolerance)


def test_kinematic_hardening_shows_the_bauschinger_effect():
    row = J2_PLASTICITY.row(
        youngs_modulus_mpa=1000.0,
        poisson_ratio=0.3,
        yield_stress_mpa=1.0,
        isotropic_hardening_mpa=0.0,
        kinematic_hardening_mpa=100.0,
    )
    path = np.concatenate([np.linspace(0, 0.02, 41)[1:], np.linspace(0.02, -0.02, 401)[1:]])
    done = drive_uniaxial(J2_PLASTICITY, row, path)
    top = done.stress[39, 2]
    back = done.stress[40:, 2][np.diff(done.variable("kappa")[39:]) > 0.0][0]
    np.testing.assert_allclose(top - back, 2.0, atol=0.15)  # the elastic range keeps its width
    np.testing.assert_allclose(done.tangent[30, 2, 2] > 0.0, True)


TABLE = {"strain_1": 0.0, "stress_1": 10.0, "strain_2": 0.01, "stress_2": 14.0, "strain_3": 0.03, "stress_3": 16.0}


@pytest.mark.parametrize("kinematic", [False, True])
@pytest.mark.parametrize("steps", [1, 40])
def test_a_table_is_followed_exactly_however_long_the_step(kinematic, steps):
    """Loading once: the stress is the table's at the plastic strain, also across corners and beyond the end."""
    law = plasticity_by_table(3, kinematic)
    for total, plastic, stress in [(0.012, 0.0, 12.0), (0.017, 0.005, 12.0), (0.035, 0.02, 15.0), (0.116, 0.1, 16.0)]:
        row = law.row(youngs_modulus_mpa=1000.0, poisson_ratio=0.3, **TABLE)
        done = drive_uniaxial(law, row, np.linspace(0.0, total, steps + 1)[1:])
        if plastic:
            np.testing.assert_allclose(done.stress[-1, 2], stress, rtol=1e-9)
            np.testing.assert_allclose(done.variable("kappa")[-1], plastic, rtol=1e-9)
        else:
            np.testing.assert_allclose(done.stress[-1, 2], 10.0 + 4.0 * 2.0 / 14.0, rtol=1e-9)


@pytest.mark.parametrize(("kinematic", "reverse"), [(False, -15.0), (True, -5.0)])
def test_reversed_yield_tells_growth_from_motion(kinematic, reverse):
    """Loaded to 15 MPa and back: isotropic hardening yields at -15 MPa, kinematic at 15 - 2 * 10 MPa."""
    law = plasticity_by_table(3, kinematic)
    row = law.row(youngs_modulus_mpa=1000.0, poisson_ratio=0.3, **TABLE)
    turn = 0.02 + 0.015
    path = [turn, turn + (reverse - 15.0) / 1000.0, turn + (reverse - 15.0) / 1000.0 - 1e-4]
    done = drive_uniaxial(law, row, path)
    np.testing.assert_allclose(done.stress[:2, 2], [15.0, reverse], rtol=1e-9)
    np.testing.assert_allclose(np.diff(done.variable("kappa"))[0], 0.0, atol=1e-12)
    assert np.diff(done.variable("kappa"))[1] > 5e-5


def test_two_points_moving_are_pragers_rule():
    law = plasticity_by_table(2, True)
    table = law.row(
        youngs_modulus_mpa=1000.0, poisson_ratio=0.3, strain_1=0.0, stress_1=10.0, strain_2=1.0, stress_2=110.0
    )
    path = np.concatenate([np.linspace(0, 0.04, 9), np.linspace(0.04, -0.03, 15)])
    one = drive_uniaxial(law, table, path)
    two = drive_uniaxial(J2_PLASTICITY, [1000.0, 0.3, 10.0, 0.0, 100.0], path)
    np.testing.assert_allclose(one.stress, two.stress, rtol=1e-9, atol=1e-9)


def test_one_point_is_perfect_plasticity():
    law = plasticity_by_table(1, False)
    done = drive_uniaxial(law, [1000.0, 0.3, 0.0, 10.0], [0.005, 0.02, 0.015, -0.03])
    np.testing.assert_allclose(done.stress[:, 2], [5.0, 10.0, 5.0, -10.0], rtol=1e-9)


@pytest.mark.parametrize(
    "change", [{"strain_1": 0.001}, {"strain_2": 0.0}, {"strain_3": 0.005}, {"stress_2": 9.0}, {"stress_3": 13.0}]
)
def test_a_table_that_does_not_grow_is_refused(change):
    law = plasticity_by_table(3, False)
    row = law.row(youngs_modulus_mpa=1000.0, poisson_ratio=0.3, **{**TABLE, **change})
    with pytest.raises(MaterialError, match="must start at 0 and grow"):
        bench.points(law, row, 1).update(np.zeros((1, 1, 6)), np.zeros((1, 1, law.state_size)))
    with pytest.raises(MaterialError, match="at least one"):
        plasticity_by_table(0, False)


def test_the_same_table_law_is_the_same_object():
    assert plasticity_by_table(3, True) is plasticity_by_table(3, True)


@pytest.mark.parametrize("power", [0.0, -0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 7])
def test_creep_under_constant_stress_is_the_integral(power, steps):
    """A s^n t^(m+1)/(m+1): at constant stress the implicit step is exact, however long."""
    row = NORTON_CREEP.row(
        youngs_modulus_mpa=1000.0, poisson_ratio=0.3, creep_coefficient=1e-8, stress_exponent=4.0, time_exponent=power
    )
    times = np.concatenate([[0.0], np.full(steps, 90.0 / steps)])
    done = drive_uniaxial(NORTON_CREEP, row, np.full(steps + 1, -10.0), control="stress", dt_s=times)
    creep = 1e-8 * 10.0**4 * 90.0 ** (power + 1.0) / (power + 1.0)
    np.testing.assert_allclose(done.variable("creep_strain_eq")[-1], creep, rtol=1e-9)
    np.testing.assert_allclose(done.strain[-1, 2], -0.01 - creep, rtol=1e-9)
    np.testing.assert_allclose(done.strain[-1, 0], 0.003 + 0.5 * creep, rtol=1e-9)
    np.testing.assert_allclose(done.variable("time_s")[-1], 90.0, rtol=1e-12)


def test_creep_relaxes_as_the_closed_form_says():
    """s^(1-n) = s0^(1-n) + (n - 1) E A t in uniaxial stress at constant strain; first order in the step."""
    row = [1000.0, 0.3, 1e-8, 4.0, 0.0]
    exact = (10.0**-3.0 + 3.0 * 1000.0 * 1e-8 * 500.0) ** (-1.0 / 3.0)

    def error(steps):
        done = drive_uniaxial(NORTON_CREEP, row, np.full(steps + 1, 0.01), dt_s=[0.0] + [500.0 / steps] * steps)
        return done.stress[-1, 2] / exact - 1.0

    assert error(100) == pytest.approx(0.0, abs=0.01)
    assert error(100) / error(200) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("exponent", [1.0, 4.0, 30.0])
def test_creep_with_any_exponent_and_step_has_a_stress(exponent):
    """From no creep to complete relaxation; the tangent stays that of the stress."""
    for dt_s in (1e-12, 1.0, 1e12):
        field = bench.points(NORTON_CREEP, np.array([1000.0, 0.3, 10.0**-exponent, exponent, 0.0]), 1)
        strain = (0.02 * DIRECTION)[None, None]
        answer = field.update(strain, field.initial_state(), dt_s)
        answer.raise_on_failure()
        assert bench.tangent_error(field, strain, field.initial_state(), dt_s).max() < 1e-6


def test_creep_without_time_is_elastic():
    done = drive_uniaxial(NORTON_CREEP, bench.EXAMPLES["creep"][1], [0.01, -0.02])
    np.testing.assert_allclose(done.stress[:, 2], [25.0, -50.0], rtol=1e-9)
    np.testing.assert_allclose(done.state, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", bench.EXAMPLES)
def test_a_strain_that_is_no_number_is_reported(name, bad):
    law, row = bench.EXAMPLES[name]
    field = bench.points(law, row, 3)
    strain = np.zeros((3, 1, 6))
    strain[1, 0, 4] = bad
    response = field.update(strain, field.initial_state())
    assert response.status[:, 0].tolist() == [0, 1, 0]
    assert np.isnan(response.stress[1]).all()
    assert np.isfinite(response.stress[[0, 2]]).all()
    with pytest.raises(MaterialError, match="cell 1, point 0"):
        response.raise_on_failure()


def test_row_names_what_is_wrong():
    with pytest.raises(MaterialError, match="'poisson_ratio'"):
        LINEAR_ELASTIC.row(youngs_modulus_mpa=1.0)
    with pytest.raises(MaterialError, match=r"poisson_ratio=0.7 .*0.4999"):
        LINEAR_ELASTIC.row(youngs_modulus_mpa=1.0, poisson_ratio=0.7)
