"""The calibration finds what it should on problems whose answer is known, and says what data cannot tell."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from kyphos.errors import ConvergenceError, MaterialError
from kyphos.experiments import calibration as cal
from kyphos.experiments.calibration.__main__ import main
from kyphos.experiments.calibration.calibrate import _spared, calibrate
from kyphos.experiments.calibration.experiments import CORRELATED, SAME_QUANTITY, experiments_and_data, left_out
from kyphos.experiments.calibration.freeze import frozen
from kyphos.experiments.calibration.report import open_questions, summary, written
from kyphos.experiments.calibration.targets import dampened
from kyphos.experiments.validation import read_rows
from kyphos.materials import parse_card

WIDE = 50.0
WIDE_BOUNDS = (np.array([-50.0]), np.array([50.0]))


def problem(residual, size, bound=WIDE):
    return cal.Problem(residual, np.full(size, -bound), np.full(size, bound))


def posterior_of(matrix, target):
    """Mode and covariance of |A z - t|^2 + |z|^2 in closed form."""
    covariance = np.linalg.inv(matrix.T @ matrix + np.eye(matrix.shape[1]))
    return covariance @ matrix.T @ target, covariance


# --- inference -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_problem_has_its_closed_form(seed):
    random = np.random.default_rng(seed)
    matrix, target = random.normal(size=(6, 4)), 3.0 * random.normal(size=6)
    wanted, covariance = posterior_of(matrix, target)
    found = cal.fit(problem(lambda z: matrix @ z - target, 4), np.zeros(4), tolerance=1e-12)
    assert found.converged
    np.testing.assert_allclose(found.model.at, wanted, atol=1e-6)
    np.testing.assert_allclose(cal.covariance(found.model), covariance, rtol=1e-9)


def test_a_curved_problem_is_solved_from_afar():
    """Two exponentials, sampled without noise, sharply: the truth comes back, and each step lowers the objective."""
    time, truth = np.linspace(0.0, 3.0, 12), np.array([0.8, -0.6])

    def residual(z):
        return 1e3 * (np.exp(z[0]) * np.exp(-np.exp(z[1]) * time) - np.exp(0.8) * np.exp(-np.exp(-0.6) * time))

    found = cal.fit(problem(residual, 2, 2.0), np.zeros(2), rounds=8, steps=10, tolerance=1e-8)
    np.testing.assert_allclose(found.model.at, truth, atol=1e-3)
    assert np.all(np.diff(found.objectives) < 0.0)


def test_bounds_hold_and_the_rest_makes_the_best_of_it():
    matrix = np.array([[3.0, 1.0], [0.0, 2.0]])
    bounded = cal.Problem(lambda z: matrix @ z - np.array([6.0, 0.0]), np.full(2, -1.0), np.full(2, 1.0))
    found = cal.fit(bounded, np.zeros(2), tolerance=1e-10)
    assert found.model.at[0] == pytest.approx(1.0, abs=1e-9)
    assert found.model.at[1] == pytest.approx(0.5, abs=1e-6)  # smallest (3 - z)^2 + (2 z)^2 + z^2


def test_a_region_without_answer_is_walked_around():
    def residual(z):
        if z[0] > 0.9:
            raise ConvergenceError("collapse")
        return np.array([2.0 * (z[0] - 0.7), z[1] - 0.5])

    found = cal.fit(problem(residual, 2), np.zeros(2), rounds=6, tolerance=1e-6)
    np.testing.assert_allclose(found.model.at, [0.56, 0.25], atol=1e-3)


def test_a_cliff_is_not_taken_for_a_slope():
    """A balloon that stalls below -0.3 loses five at once; the slope on its other side is 1."""
    found = cal.linearise(problem(lambda z: np.array([z[0] - 5.0 * (z[0] < -0.3)]), 1), np.zeros(1), np.zeros(1))
    np.testing.assert_allclose(found.jacobian, [[1.0]])
    steep = cal.linearise(problem(lambda z: 9.0 * z, 1), np.zeros(1), np.zeros(1))
    np.testing.assert_allclose(steep.jacobian, [[9.0]])
    valley = cal.linearise(problem(lambda z: 9.0 * np.abs(z), 1), np.zeros(1), np.zeros(1))
    np.testing.assert_allclose(valley.jacobian, [[0.0]])


def test_a_model_that_always_fails_says_so():
    def residual(z):
        if z.any():
            raise ConvergenceError("no equilibrium")
        return np.ones(2)

    with pytest.raises(ConvergenceError, match="no equilibrium"):
        cal.fit(problem(residual, 2), np.zeros(2))


def test_what_only_a_product_shows_leaves_one_direction_open():
    """Rows that see the sum of two scores alone narrow it, and nothing across it."""
    model = cal.Linear(np.zeros(2), np.zeros(2), np.array([[4.0, 4.0], [2.0, 2.0]]))
    best, worst = cal.directions(model)
    np.testing.assert_allclose(best.vector, np.sqrt([0.5, 0.5]))
    assert best.shrinkage == pytest.approx(1.0 / np.sqrt(1.0 + 40.0))
    assert worst.shrinkage == pytest.approx(1.0)
    # each alone keeps nearly 1/sqrt(2) of its prior: the open direction is half its own
    ratio = np.sqrt(np.diag(cal.covariance(model)))
    np.testing.assert_allclose(ratio, np.sqrt(0.5 * (1.0 + 1.0 / 41.0)))


def test_profiles_agree_with_the_posterior_and_the_data():
    matrix = np.array([[2.0, 0.5], [0.3, 1.0], [0.0, 0.0]])
    found = cal.fit(problem(lambda z: matrix @ z - np.array([1.0, 1.0, 1.0]), 2), np.zeros(2), tolerance=1e-12)
    drawn = cal.profile(cal.Problem(lambda z: z, np.full(2, -40.0), np.full(2, 40.0)), found.model, 0, points=41)
    variance = cal.covariance(found.model)[0, 0]
    least = found.model.objective
    np.testing.assert_allclose(drawn.all - least, (drawn.score - found.model.at[0]) ** 2 / variance, atol=1e-6)
    assert drawn.data.min() >= 1.0  # the third row can never be met
    assert np.all(drawn.data <= drawn.all)


def test_a_profile_is_flat_where_the_data_say_nothing():
    model = cal.Linear(np.zeros(2), np.array([1.0]), np.array([[1.0, 0.0]]))
    drawn = cal.profile(problem(lambda z: z, 2, 2.0), model, 1)
    np.testing.assert_allclose(drawn.data, 0.0, atol=1e-12)


# --- parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", cal.chosen_parameters(), ids=lambda parameter: parameter.name)
def test_scores_and_values_are_inverse_and_cover_the_range(parameter):
    assert parameter.score(parameter.guess) == 0.0
    assert parameter.score(parameter.high) - parameter.score(parameter.low) == pytest.approx(4.0)
    for value in np.linspace(parameter.low, parameter.high, 5):
        assert parameter.value(parameter.score(value)) == pytest.approx(value)
    step = 1e-6
    slope = (parameter.value(step) - parameter.value(0.0)) / step
    assert parameter.deviation(0.0, 1.0) == pytest.approx(slope, rel=1e-4)


def test_a_range_from_zero_has_no_logarithm():
    with pytest.raises(MaterialError, match="low > 0 for a log scale"):
        cal.Parameter("trabecular", "secondary_rate_per_s", "1/s", 2e33, 0.0, 1e35, "log")


# --- targets -------------------------------------------------------------------------------------------------------


def test_a_value_without_spread_counts_as_known_to_a_factor():
    deviation, scale = cal.spread(4513.0, None, positive=True)
    target = cal.Target("creep", 4513.0, "microstrain", deviation, scale)
    assert target.miss(1.5 * 4513.0) == pytest.approx(1.0)
    assert target.miss(4513.0 / 1.5) == pytest.approx(-1.0)
    assert target.band == pytest.approx((4513.0 / 1.5, 4513.0 * 1.5))
    with pytest.raises(ConvergenceError, match="no ratio"):
        target.miss(-1.0)


def test_a_wide_spread_of_a_positive_quantity_is_compared_by_logarithm():
    deviation, scale = cal.spread(3877.0, 2158.0, positive=True)
    assert scale == "log"
    assert deviation == pytest.approx(0.519, abs=1e-3)
    assert cal.spread(-11.0, 19.0, positive=False) == (19.0, "linear")
    assert cal.spread(31.0, 7.0, positive=True) == (7.0, "linear")


def test_rows_that_repeat_one_quantity_share_its_weight():
    twins = tuple(cal.Target(name, 10.0, "1", 2.0, "linear", weight=0.5) for name in ("a", "b"))
    alone = cal.Data((cal.Target("a", 10.0, "1", 2.0, "linear"),), {})
    both = cal.Data(twins, {})
    two, one = (data.felt(data.whitened({"a": 13.0, "b": 13.0}))[0] for data in (both, alone))
    assert two @ two == pytest.approx(one @ one)


def test_an_outlier_is_dampened_and_a_small_miss_is_not():
    misses = np.array([0.0, 0.1, -1.0, 2.0, 8.0, -8.0])
    value, slope = dampened(misses)
    np.testing.assert_allclose(value[:3], misses[:3], rtol=0.06, atol=1e-9)
    np.testing.assert_allclose(value[4:] ** 2, 4.0 * np.log(17.0))
    step = 1e-6
    np.testing.assert_allclose(slope, (dampened(misses + step)[0] - value) / step, rtol=1e-4)
    # the pull on the fit, half the derivative of the square, is r / (1 + (r/2)^2): from 2 on less and less
    np.testing.assert_allclose((value * slope)[3:5], [1.0, 8.0 / 17.0])


def test_a_hopeless_row_does_not_drag_the_others():
    """Ten rows near 1 and one at 30: least squares would be dragged to 3.3, as felt the fit stays near 1."""
    data = cal.Data(tuple(cal.Target(str(i), 1.0, "1", 1.0, "linear") for i in range(11)), {})
    wanted = np.r_[np.ones(10), 30.0]
    dragged = cal.fit(cal.Problem(lambda z: z[0] - wanted, *WIDE_BOUNDS), np.zeros(1), tolerance=1e-9)
    felt = cal.fit(cal.Problem(lambda z: z[0] - wanted, *WIDE_BOUNDS, data.felt), np.zeros(1), tolerance=1e-9, rounds=9)
    assert dragged.model.at[0] == pytest.approx(40.0 / 12.0)
    assert 0.8 < felt.model.at[0] < 1.2


def test_correlated_errors_are_whitened():
    data = cal.Data(tuple(cal.Target(n, 0.0, "1", 1.0, "linear") for n in "ab"), {("a", "b"): 0.94})
    together, apart = data.whitened({"a": 1.0, "b": 1.0}), data.whitened({"a": 1.0, "b": -1.0})
    # the quadratic form of the inverse of [[1, c], [c, 1]]: 2/(1+c) and 2/(1-c)
    assert together @ together == pytest.approx(2.0 / 1.94)
    assert apart @ apart == pytest.approx(2.0 / 0.06)


# --- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_is_kept_by_the_constants_it_reads(tmp_path):
    asked = []

    def run(constants):
        asked.append(dict(constants))
        if constants["a"] > 1.0:
            raise ConvergenceError("collapse")
        return {"row": 2.0 * constants["a"]}

    experiment = cal.Experiment("double", ("a",), run)
    kept = cal.Kept(tmp_path, "code")
    assert kept(experiment, {"a": 1.0, "b": 5.0}) == {"row": 2.0}
    assert kept(experiment, {"a": 1.0, "b": 7.0}) == {"row": 2.0}
    for _ in range(2):
        with pytest.raises(ConvergenceError, match="double: collapse"):
            kept(experiment, {"a": 2.0, "b": 5.0})
    assert asked == [{"a": 1.0}, {"a": 2.0}]
    assert len(kept.asked) == 2
    assert cal.Kept(tmp_path, "code")(experiment, {"a": 1.0}) == {"row": 2.0}
    assert len(asked) == 2
    cal.Kept(tmp_path, "other code")(experiment, {"a": 1.0})
    assert len(asked) == 3


# --- freezing ------------------------------------------------------------------------------------------------------


def card_text():
    return (resources.files("kyphos.materials") / "cards" / "trabecular.toml").read_text(encoding="utf-8")


def test_frozen_constants_keep_their_guess_and_are_not_seen():
    before = parse_card("trabecular", card_text())
    text = frozen("trabecular", card_text(), {"damage_max": 0.83}, {"damage_max": 'calibrated on "all"'})
    after = parse_card("trabecular", text)
    constant = after.constants["damage_max"]
    assert constant.value == 0.83
    assert constant.guess == before.constants["damage_max"].guess
    assert (constant.flag, constant.calibrated) == ("assumed", 'calibrated on "all"')
    assert constant.source == before.constants["damage_max"].source
    same = [name for name in before.constants if after.constants[name] == before.constants[name]]
    assert len(same) == len(before.constants) - 1


def test_freezing_twice_is_freezing_once():
    once = frozen("trabecular", card_text(), {"creep_coefficient": 0.2}, {"creep_coefficient": "first"})
    twice = frozen("trabecular", once, {"creep_coefficient": 0.15}, {"creep_coefficient": "second"})
    direct = frozen("trabecular", card_text(), {"creep_coefficient": 0.15}, {"creep_coefficient": "second"})
    assert twice == direct


def test_a_value_outside_its_range_or_an_inherited_one_is_not_frozen():
    with pytest.raises(MaterialError, match=r"damage_max=0\.5 is outside"):
        frozen("trabecular", card_text(), {"damage_max": 0.5}, {"damage_max": "x"})
    with pytest.raises(MaterialError, match=r"no \[parameters\.damage_max\] of its own"):
        frozen("shell", 'extends = "trabecular"\nmeaning = "x"\n', {"damage_max": 0.85}, {"damage_max": "x"})


# --- the whole -----------------------------------------------------------------------------------------------------


def test_a_calibration_finds_the_constants_behind_made_up_data(tmp_path):
    """Two constants of the card decide three sharp rows, a third nothing: found, found, left at its guess."""
    parameters = tuple(
        p for p in cal.chosen_parameters() if p.name in ("creep_coefficient", "damage_max", "creep_time_s")
    )
    guesses = {p.name: p.guess for p in parameters}

    def observed(c):
        return {
            "creep": 8.0 * c["creep_coefficient"],
            "damage": c["damage_max"],
            "both": 0.1 * c["creep_coefficient"] / (1.0 - c["damage_max"]),
        }

    truth = {**guesses, "creep_coefficient": 0.2, "damage_max": 0.83}
    rows = tuple(cal.Target(name, value, "1", 0.01 * value, "linear") for name, value in observed(truth).items())
    model = cal.Experiment("made-up", tuple(p.name for p in parameters), observed)
    done = calibrate(
        parameters, [model], cal.Data(rows, {}), cal.Kept(tmp_path, ""), passes=1, rounds=6, told=lambda line: None
    )
    assert done.fit.converged
    assert done.constants["creep_coefficient"] == pytest.approx(0.2, rel=0.01)
    assert done.constants["damage_max"] == pytest.approx(0.83, rel=0.01)
    assert done.constants["creep_time_s"] == guesses["creep_time_s"]
    assert done.after == observed(done.constants)
    assert done.before == pytest.approx(observed(guesses))
    kept = json.loads(written(summary(done)))
    told = {p["name"]: p for p in kept["parameters"]}
    assert told["creep_time_s"]["shrinkage"] == 1.0
    assert told["creep_coefficient"]["value"] == done.constants["creep_coefficient"]
    assert told["creep_coefficient"]["sd"] == pytest.approx(0.01 * 0.2, rel=0.2)  # differences are coarse
    assert kept["within_one"] == {"before": 0, "after": 3}
    assert "Not identified** (more than 90% left): `creep_time_s` (100%)" in open_questions(kept)


def test_the_mean_of_the_population_is_fitted_not_the_mean_specimen(tmp_path):
    """Creep of the population exceeds that of its mean specimen, the more the larger it is: the fit must see that."""
    parameters = tuple(p for p in cal.chosen_parameters() if p.name == "creep_coefficient")

    def of_one(c):
        return {"creep": c["creep_coefficient"]}

    def of_all(c):
        return {"creep": c["creep_coefficient"] * (1.0 + 2.0 * c["creep_coefficient"])}

    reads = ("creep_coefficient",)
    model = cal.Experiment("one", reads, of_one, cal.Experiment("all", reads, of_all))
    row = cal.Target("creep", 0.2 * 1.4, "1", 0.02, "log")
    kept, nobody = cal.Kept(tmp_path, ""), lambda line: None
    done = calibrate(parameters, [model], cal.Data((row,), {}), kept, passes=8, rounds=4, told=nobody)
    assert done.constants["creep_coefficient"] == pytest.approx(0.2, rel=0.01)
    assert done.after["creep"] == pytest.approx(0.28, rel=0.01)
    assert len(done.steps) == 8


def test_an_open_score_goes_back_to_its_guess_unless_a_row_minds():
    """Flat at the mode in all three; but above -0.5 of the first a threshold loses two, and at 0.4 of the third the
    model fails on the way back.
    """

    def residual(z):
        if abs(z[2]) < 0.1:
            raise ConvergenceError("collapse")
        return np.array([2.0 * (z[0] > -0.5)])

    flat = cal.Linear(np.array([-1.0, 0.3, 0.4]), np.zeros(1), np.zeros((1, 3)))
    lines: list[str] = []
    spared = _spared(problem(residual, 3), cal.Fit(flat, (1.25,), 2, True), lines.append)
    np.testing.assert_array_equal(spared, [-1.0, 0.0, 0.4])
    assert [line.split()[-1] for line in lines] == ["refused", "kept", "refused"]


def test_the_rows_of_the_book_make_a_calibration():
    """Every calibrate row that holds a number is a target; its protocol reads what it can depend on."""
    models, data = experiments_and_data()
    rows = {row.name for row in read_rows() if row.use == "calibrate"}
    assert {target.name for target in data.targets} | left_out().keys() == rows
    assert not {target.name for target in data.targets} & left_out().keys()
    assert all(target.deviation > 0.0 for target in data.targets)
    known = {p.name for p in cal.chosen_parameters()}
    assert all(set(model.reads) <= known for model in models)
    together = {name for group in SAME_QUANTITY for name in group} | {name for pair in CORRELATED for name in pair}
    assert together <= {row.name for row in read_rows()}


def test_cores_creep_in_proportion_to_the_coefficient():
    """Kim's cores through the real chain: below yield creep is linear in c1; the share decides what is left."""
    models, _ = experiments_and_data()
    kim = next(model for model in models if model.name == "kim-2011")
    guesses = {p.name: p.guess for p in cal.chosen_parameters()}
    one = kim.run(guesses)
    twice = kim.run({**guesses, "creep_coefficient": 2.0 * guesses["creep_coefficient"]})
    assert twice["kim-creep"] / one["kim-creep"] == pytest.approx(2.0, rel=0.1)
    lasting = kim.run({**guesses, "irrecoverable_share": 0.7})
    assert lasting["kim-residual"] > 1.2 * one["kim-residual"]
    by_hand = 1e6 * 2000e-6 * guesses["creep_coefficient"] * np.log(7200.0 / guesses["creep_time_s"])
    assert one["kim-creep"] == pytest.approx(by_hand, rel=0.25)  # the mean over densities of 1/E lies above 1/mean


def test_freezing_what_was_never_calibrated_is_refused(tmp_path, capsys):
    assert main(["--freeze", "--out", str(tmp_path)]) == 2
    assert "calibrate first" in capsys.readouterr().err
