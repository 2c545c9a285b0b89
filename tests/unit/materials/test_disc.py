"""Annulus, draining nucleus, ligaments and facets as laws and rows: hand formulas, objectivity, refusals."""

from __future__ import annotations

from itertools import pairwise

import law_bench as bench
import numpy as np
import pytest

from kyphos.errors import MaterialError
from kyphos.materials import (
    DRAINING_SOLID,
    FIBRED_GROUND,
    HOLZAPFEL_GROUND,
    MaterialField,
    annulus_rows,
    degenerated,
    drive,
    drive_uniaxial,
    facet_row,
    fibre_directions,
    ligament_row,
    load_card,
)
from kyphos.materials.kernels.fibres import first_differences, second_difference

SOFT = {"c10_mpa": 0.18, "c01_mpa": 0.045, "bulk_modulus_mpa": 3.3}
ACROSS = ("fibre_a_y", "fibre_a_z", "fibre_b_y", "fibre_b_z")
ALONG_X = dict.fromkeys(ACROSS, 0.0) | {"fibre_a_x": 1.0, "fibre_b_x": -1.0}


def linear(**changes):
    values = SOFT | ALONG_X | {"fibre_modulus_mpa": 550.0, "fibre_fraction": 0.2, "toe_strain": 0.02}
    return FIBRED_GROUND.row(**(values | changes))


def exponential(**changes):
    values = SOFT | ALONG_X | {"k1_mpa": 4.0, "k2": 80.0, "fibre_dispersion": 0.0}
    return HOLZAPFEL_GROUND.row(**(values | changes))


def fibres_alone(law, row, stretch):
    """(n,) stress T_xx along the fibres less that of the same ground without fibres, stretched along x only."""
    strain = np.zeros((len(stretch), 6))
    strain[:, 0] = np.log(stretch)
    bare = linear(fibre_fraction=0.0)
    return (drive(law, row, strain).stress - drive(FIBRED_GROUND, bare, strain).stress)[:, 0]


def test_fibres_bear_the_linear_law_beyond_their_toe():
    """T = dW/dE = lambda dw/dlambda along the fibre, w' = phi E (e - t/2) beyond the toe."""
    stretch = np.array([1.01, 1.02, 1.03, 1.1])
    strain = stretch - 1.0
    nominal = np.where(strain < 0.02, strain**2 / 0.04, strain - 0.01) * 550.0 * 0.2
    np.testing.assert_allclose(fibres_alone(FIBRED_GROUND, linear(), stretch), stretch * nominal, rtol=1e-10)


def test_exponential_fibres_bear_holzapfels_law():
    """T = 2 lambda^2 dW/dI for each of two families along x: 4 lambda^2 k1 (I - 1) exp(k2 (I - 1)^2)."""
    stretch = np.array([1.01, 1.05])
    over = stretch**2 - 1.0
    expected = 4.0 * stretch**2 * 4.0 * over * np.exp(80.0 * over**2)
    np.testing.assert_allclose(fibres_alone(HOLZAPFEL_GROUND, exponential(), stretch), expected, rtol=1e-10)


@pytest.mark.parametrize(("law", "row"), [(FIBRED_GROUND, linear()), (HOLZAPFEL_GROUND, exponential())])
def test_fibres_bear_no_compression(law, row):
    np.testing.assert_allclose(fibres_alone(law, row, np.array([0.7, 0.99, 1.0])), 0.0, atol=1e-12)


def test_wholly_dispersed_fibres_have_no_direction():
    row = exponential(fibre_dispersion=1.0 / 3.0)
    alike = [drive_uniaxial(HOLZAPFEL_GROUND, row, [0.05], axis=axis) for axis in ("xx", "yy", "zz")]
    tension = [done.stress[0, i] for i, done in enumerate(alike)]
    np.testing.assert_allclose(tension, tension[0], rtol=1e-9)


def rotated(strain, turn):
    """(6,) of a strain in axes turned by ``turn`` (3, 3)."""
    index, half = [0, 1, 2, 0, 1, 0], np.array([1, 1, 1, 0.5, 0.5, 0.5])
    full = np.zeros((3, 3))
    for value, i, j in zip(strain * half, index, [0, 1, 2, 1, 2, 2], strict=True):
        full[i, j] = full[j, i] = value
    new = turn @ full @ turn.T
    return np.array([new[i, j] for i, j in zip(index, [0, 1, 2, 1, 2, 2], strict=True)]) / half


@pytest.mark.parametrize("fibres", ["annulus-fibres", "annulus-fibres-exponential"])
def test_body_and_fibres_turned_together_bear_the_same(fibres):
    """Energy, by its work along a path, does not know the axes: T of turned axes is T turned."""
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    law, plain = annulus_rows(bench.AROUND, bench.UP, [0.4], fibres=fibres)
    _, turned = annulus_rows(bench.AROUND @ turn.T, bench.UP @ turn.T, [0.4], fibres=fibres)
    strain = np.array([0.04, -0.02, 0.01, 0.03, -0.02, 0.05])
    before = drive(law, plain[0], strain[None]).stress[0]
    after = drive(law, turned[0], rotated(strain, turn)[None]).stress[0]
    as_strain = np.array([1, 1, 1, 2, 2, 2])
    np.testing.assert_allclose(after * as_strain, rotated(before * as_strain, turn), rtol=1e-9, atol=1e-10)


def test_stress_is_the_derivative_of_an_energy():
    """The work along two different paths to one strain is the same."""
    law, row = bench.EXAMPLES["fibres"]
    end, detour = np.array([0.05, -0.03, 0.02, 0.04, -0.02, 0.03]), np.array([-0.02, 0.06, 0.01, 0.0, 0.03, -0.01])

    def work(corners):
        total, nodes = 0.0, np.polynomial.legendre.leggauss(40)
        for start, stop in pairwise(corners):
            share = 0.5 * (nodes[0] + 1.0)
            path = start + share[:, None] * (stop - start)
            total += 0.5 * nodes[1] @ (drive(law, row, path).stress @ (stop - start))
        return total

    rest = np.zeros(6)
    np.testing.assert_allclose(work([rest, detour, end]), work([rest, end]), rtol=1e-4)


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-6, 4.9e-3, 5.1e-3])
@pytest.mark.parametrize("name", ["fibres", "dispersed fibres"])
def test_tangent_with_nearly_equal_principal_strains(name, gap):
    field = bench.points(*bench.EXAMPLES[name], 1)
    strain = np.array([0.05, 0.05 + gap, 0.05 - gap, 0.0, 0.0, 0.0])[None, None]
    assert bench.tangent_error(field, strain, field.initial_state(), step=1e-6).max() < 1e-6


def second(*points):
    e, first = np.array(points), np.empty((3, 3))
    first_differences(e, first)
    return second_difference(e, first, 0, 1, 2)


def test_second_difference_is_smooth_where_its_formula_changes():
    near, far = second(0.3, 0.3 + 4.999e-3, 0.302), second(0.3, 0.3 + 5.001e-3, 0.302)
    assert far / near - 1.0 == pytest.approx(2.0 * 2e-6 / 3.0, rel=1e-2)  # d ln f[x,y,z]/dy = 2/3 for near points
    assert second(0.1, 0.1, 0.1) == pytest.approx(2.0 * np.exp(0.2), rel=1e-14)
    assert second(0.4, -0.3, 0.1) == pytest.approx(second(0.1, 0.4, -0.3), rel=1e-14)
    divided = (np.exp(0.8) / 0.7 - np.exp(-0.6) / 0.7) - (np.exp(0.2) - np.exp(-0.6)) / 0.4
    assert second(0.4, -0.3, 0.1) == pytest.approx(divided / 0.3, rel=1e-12)


def test_a_strip_of_annulus_along_its_layers():
    """Uniaxial tension around the disc: the lamina formula of two families at +-30 degrees, fibres straight.

    Lateral strains are free and the ground is 100 times softer, so that the fibres turn towards the load and the ground
    is squeezed across: the stress must lie between the ground's and the fibres' if all lay along the load.
    """
    law, rows = annulus_rows(np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.0]]), [0.0])
    stress = drive_uniaxial(law, rows[0], np.linspace(0.01, 0.1, 10), axis="xx").stress[-1, 0]
    ground = drive_uniaxial(FIBRED_GROUND, linear(fibre_fraction=0.0), [0.1], axis="xx").stress[-1, 0]
    straight = 550.0 * 0.23 * (np.exp(0.1) - 1.01)
    assert 2.0 * ground < stress < 0.5 * straight


# --- the draining nucleus


NUCLEUS = load_card("nucleus-draining")


def test_without_time_the_nucleus_is_incompressible():
    row, plain = NUCLEUS.row(), load_card("nucleus")
    strain = np.array([[0.02, -0.01, -0.01, 0.03, 0.0, 0.01]])
    fast, fixed = drive(DRAINING_SOLID, row, strain), drive(plain.law, plain.row(), strain)
    np.testing.assert_array_equal(fast.stress, fixed.stress)


def test_a_held_pressure_squeezes_fluid_out_exponentially():
    """theta = -(p/H) (1 - exp(-t/tau)) under a constant pressure p; backward Euler in 200 steps errs by t/(2 tau n)."""
    p, tau, steps = 0.5, NUCLEUS["creep_time_s"], 200
    targets = np.tile([-p, -p, -p, 0.0, 0.0, 0.0], (steps, 1))
    done = drive(DRAINING_SOLID, NUCLEUS.row(), targets, stress_controlled=("xx", "yy", "zz"), dt_s=2.0 * tau / steps)
    expected = -(p / NUCLEUS["drained_modulus_mpa"]) * (1.0 - np.exp(-2.0))
    assert done.variable("fluid_strain")[-1] == pytest.approx(expected, rel=5e-3)
    volume = done.strain[-1, :3].sum()
    assert volume == pytest.approx(done.variable("fluid_strain")[-1] - p / NUCLEUS["bulk_modulus_mpa"], rel=1e-9)


def test_swelling_pressure_draws_fluid_in_until_it_is_balanced():
    row = NUCLEUS.with_values(swelling_pressure_mpa=0.1).row()
    held = drive(DRAINING_SOLID, row, np.zeros((1, 6)), dt_s=1e9)
    expected = 0.1 / (1.0 + NUCLEUS["drained_modulus_mpa"] / NUCLEUS["bulk_modulus_mpa"])
    assert -held.stress[0, :3].mean() == pytest.approx(expected, rel=1e-3)


# --- rows and refusals


def test_layers_take_the_constants_of_their_pair():
    around, up = np.tile([1.0, 0.0, 0.0], (4, 1)), np.tile([0.0, 0.0, 1.0], (4, 1))
    law, rows = annulus_rows(around, up, [0.0, 0.3, 0.6, 1.0])
    names = [p.name for p in law.parameters]
    np.testing.assert_array_equal(rows[:, names.index("fibre_modulus_mpa")], [550.0, 495.0, 421.5, 357.5])
    np.testing.assert_array_equal(rows[:, names.index("fibre_fraction")], [0.23, 0.2, 0.17, 0.13])
    field = MaterialField(((law, np.arange(4), rows),), 4, 8)
    assert field.state_size == 0


def test_directions_lie_at_the_angle_to_the_disc():
    families = fibre_directions(np.array([[0.0, 2.0, 0.5]]), np.array([[0.0, 0.0, 3.0]]), 30.0)[0]
    np.testing.assert_allclose(families[:, 2], [0.5, -0.5], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(families, axis=1), 1.0)


def test_worn_fibres_are_softer():
    card = degenerated(load_card("annulus-fibres"), 5)
    _, rows = annulus_rows(bench.AROUND, bench.UP, [0.0], fibres=card)
    assert rows[0, 3] == pytest.approx(0.7 * 550.0)
    assert degenerated(load_card("nucleus-draining"), 4)["bulk_modulus_mpa"] == pytest.approx(0.006 * 1666.7)


def test_rows_of_ligaments_and_facets():
    np.testing.assert_allclose(ligament_row("ligament-all"), [63.7 * 7.8, 63.7 * 20.0, 0.12, 0.0, 15.58])
    assert facet_row().shape == (3,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: annulus_rows(bench.AROUND, bench.UP, [1.2]), "depth=1.2 .row 0. is outside"),
        (lambda: annulus_rows(bench.UP, bench.UP, [0.5]), "must not be zero nor"),
        (lambda: annulus_rows(bench.AROUND, bench.UP, [0.5], ground="pmma"), "of kind MooneyRivlin is needed"),
        (lambda: annulus_rows(bench.AROUND, bench.UP, [0.5], fibres="nucleus"), "AnnulusFibres or ExponentialFibres"),
        (lambda: ligament_row("facet"), "of kind Ligament is needed"),
        (lambda: drive(FIBRED_GROUND, linear(fibre_a_x=0.9), np.zeros((1, 6))), "not of unit length"),
        (lambda: drive(HOLZAPFEL_GROUND, exponential(), np.full((1, 6), 0.6)), "have no solution"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MaterialError, match=message):
        call()
