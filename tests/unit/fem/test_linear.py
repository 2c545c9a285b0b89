"""Linear solvers: right answers from hard matrices, work counted, nothing remembered after a reset."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from kyphos.errors import ConvergenceError, InputError
from kyphos.fem.linear import DirectSolver, Goal, LaggedDirectSolver, gmres, is_symmetric

RNG_SEED = 7


def lattice(n: int = 9, held: bool = True, seed: int = RNG_SEED) -> sp.csc_array:
    """Stiffness (m, m) of n^3 nodes joined by springs to all 26 neighbours: elasticity with nu = 1/4."""
    index = np.arange(n**3).reshape(n, n, n)
    rng = np.random.default_rng(seed)
    rows = []
    for step in itertools.product((-1, 0, 1), repeat=3):
        if step <= (0, 0, 0):
            continue
        here = tuple(slice(max(0, -s), n - max(0, s)) for s in step)
        there = tuple(slice(max(0, s), n + min(0, s)) for s in step)
        a, b = index[here].ravel(), index[there].ravel()
        way = np.sqrt(rng.uniform(20.0, 500.0, a.size))[:, None] * np.array(step) / np.linalg.norm(step) ** 2
        columns = np.hstack([3 * a[:, None] + np.arange(3), 3 * b[:, None] + np.arange(3)])
        line = np.repeat(np.arange(a.size), 6)
        values = np.hstack([-way, way]).ravel()
        rows.append(sp.coo_array((values, (line, columns.ravel())), shape=(a.size, 3 * n**3)))
    spread = sp.vstack(rows, format="csr")
    stiffness = sp.csc_array(spread.T @ spread)
    free = np.arange(3 * index[:, :, 0].size if held else 0, stiffness.shape[0])
    return stiffness[free][:, free]


def unsymmetric(matrix: sp.csc_array, share: float) -> sp.csc_array:
    """Every entry changed by up to ``share``, each in its own way, as non-associated flow does."""
    changed = matrix.copy()
    changed.data *= 1.0 + share * np.random.default_rng(3).uniform(-1.0, 1.0, changed.nnz)
    return changed


def bordered(matrix: sp.csc_array, stiffness: float, n_border: int) -> sp.csc_array:
    """Dense rows and columns at the end, with ``stiffness`` on their diagonal."""
    rng = np.random.default_rng(5)
    border = np.where(rng.random((matrix.shape[0], n_border)) < 0.4, rng.normal(size=(1, n_border)) * 100.0, 0.0)
    corner = stiffness * np.eye(n_border)
    return sp.csc_array(sp.block_array([[matrix, border], [border.T, corner]], format="csc"))


def load(matrix: sp.csc_array, columns: int | None = None) -> np.ndarray:
    size = (matrix.shape[0],) if columns is None else (matrix.shape[0], columns)
    return np.random.default_rng(11).normal(size=size)


def relative_residual(matrix: sp.csc_array, x: np.ndarray, rhs: np.ndarray) -> float:
    return float(np.max(np.linalg.norm(rhs - matrix @ x, axis=0) / np.linalg.norm(rhs, axis=0)))


HARD = {
    "symmetric": lambda: lattice(),
    "unsymmetric": lambda: unsymmetric(lattice(), 0.1),
    "platens": lambda: bordered(lattice(), 1e5, 12),
    "balloons": lambda: bordered(lattice(), 0.0, 2),
    "unsymmetric balloons": lambda: unsymmetric(bordered(lattice(), 0.0, 2), 0.01),
    "stiff inclusion": lambda: lattice() + sp.csc_array(sp.diags_array(np.r_[np.full(30, 1e7), np.zeros(1914)])),
}


@pytest.mark.parametrize("engine", ["rslab", "superlu"])
@pytest.mark.parametrize("kind", HARD)
def test_answer_agrees_with_a_dense_solve(kind, engine):
    matrix = HARD[kind]()
    rhs = load(matrix)
    x = DirectSolver(engine).solve(matrix, rhs, rtol=1e-11)
    assert relative_residual(matrix, x, rhs) < 1e-11
    np.testing.assert_allclose(x, np.linalg.solve(matrix.toarray(), rhs), rtol=0, atol=1e-8 * np.abs(x).max())


@pytest.mark.parametrize("solver", [DirectSolver(), LaggedDirectSolver()], ids=["direct", "lagged"])
def test_many_columns_share_one_factorisation(solver):
    matrix = lattice()
    rhs = load(matrix, columns=4)
    x = solver.solve(matrix, rhs)
    assert x.shape == rhs.shape
    assert relative_residual(matrix, x, rhs) < 1e-8
    assert (solver.record.factorisations, solver.record.solves) == (1, 4)


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_array, sp.csr_matrix, sp.csc_matrix])
def test_every_form_gives_the_same_bits(form):
    matrix = unsymmetric(lattice(6), 0.1)
    rhs = load(matrix)
    x = LaggedDirectSolver().solve(form(matrix), rhs)
    assert relative_residual(matrix, x, rhs) < 1e-8
    np.testing.assert_allclose(x, DirectSolver().solve(matrix, rhs), rtol=0, atol=1e-6 * np.abs(x).max())


def test_the_input_is_left_alone():
    matrix = lattice(6)
    before, rhs = matrix.copy(), load(matrix)
    given = rhs.copy()
    LaggedDirectSolver().solve(matrix, rhs)
    assert (matrix != before).nnz == 0
    np.testing.assert_array_equal(rhs, given)


def test_direct_solver_factorises_each_matrix_but_orders_a_pattern_once():
    solver = DirectSolver()
    matrix = lattice(6)
    for factor in (1.0, 2.0, 3.0):
        solver.solve(factor * matrix, load(matrix))
    assert (solver.record.factorisations, solver.record.analyses) == (3, 1)
    solver.solve(lattice(5), load(lattice(5)))
    assert (solver.record.factorisations, solver.record.analyses) == (4, 2)


def test_lagged_solver_keeps_a_factorisation_while_it_serves():
    solver = LaggedDirectSolver()
    matrix = lattice()
    rhs = load(matrix)
    for k in range(6):
        near = unsymmetric(matrix, 0.003 * k)
        assert relative_residual(near, solver.solve(near, rhs, rtol=1e-6), rhs) <= 1e-6
    record = solver.record
    assert record.factorisations == 1
    assert 6 < record.krylov_iterations < 6 * 8
    assert record.krylov_iterations / 6 < record.most_iterations <= 8
    assert 0.0 < record.factor_s < record.wall_s
    solver.reset()
    assert (solver.record.most_iterations, solver.record.krylov_iterations) == (0, record.krylov_iterations)


def test_lagged_solver_renews_a_factorisation_that_is_of_no_use():
    solver = LaggedDirectSolver(max_iterations=12)
    first, other = lattice(seed=1), bordered(lattice(seed=2), 0.0, 2)
    same_size = other[:-2][:, :-2] + 50.0 * sp.diags_array(np.geomspace(1e-2, 1e3, first.shape[0]))
    solver.solve(first, load(first))
    x = solver.solve(sp.csc_array(same_size), load(first), rtol=1e-10)
    assert relative_residual(same_size, x, load(first)) <= 1e-10
    assert solver.record.factorisations == 2
    solver.solve(other, load(other))  # another size: no attempt with the old one
    assert solver.record.factorisations == 3


def test_a_worn_factorisation_is_replaced_before_it_fails():
    solver = LaggedDirectSolver(factor_cost_iterations=4)
    matrix = lattice()
    counts = []
    for k in range(8):
        drifted = sp.csc_array(matrix + (3.0 * k) * sp.diags_array(np.linspace(0.0, 40.0, matrix.shape[0])))
        solver.solve(drifted, load(matrix))
        counts.append(solver.record.factorisations)
    assert 1 < counts[-1] < 8  # neither for ever, nor every time


@pytest.mark.parametrize("solver_class", [DirectSolver, LaggedDirectSolver])
def test_after_a_reset_history_leaves_no_bit(solver_class):
    matrix = unsymmetric(bordered(lattice(), 0.0, 2), 0.02)
    rhs = load(matrix)
    used, fresh = solver_class(), solver_class()
    for share in (0.0, 0.01, 0.05):
        used.solve(unsymmetric(matrix, share), rhs)
    used.solve(lattice(6), load(lattice(6)))
    used.reset()
    for share in (0.0, 0.01, 0.02):
        changed = unsymmetric(matrix, share)
        np.testing.assert_array_equal(used.solve(changed, rhs), fresh.solve(changed, rhs))


def test_the_number_of_threads_changes_no_bit():
    matrix = unsymmetric(lattice(12), 0.02)
    one, two = (LaggedDirectSolver(threads=k).solve(matrix, load(matrix)) for k in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("engine", ["rslab", "superlu"])
@pytest.mark.parametrize("share", [0.0, 0.05], ids=["symmetric", "unsymmetric"])
def test_a_floating_body_is_singular(engine, share):
    matrix = lattice(held=False)
    scale = sp.diags_array(np.random.default_rng(2).uniform(1.0, 1.0 + share, matrix.shape[0]))
    with pytest.raises(ConvergenceError, match=r"singular.*rigid motion"):
        LaggedDirectSolver(engine).solve(sp.csc_array(scale @ matrix), load(matrix))


@pytest.mark.parametrize("engine", ["rslab", "superlu"])
def test_an_unconnected_unknown_is_singular(engine):
    matrix = sp.csc_array(sp.block_diag([lattice(6), sp.csc_array((1, 1))]))
    with pytest.raises(ConvergenceError, match="singular"):
        LaggedDirectSolver(engine).solve(matrix, load(matrix))


def test_a_solver_works_again_after_a_failure():
    solver = LaggedDirectSolver()
    good, bad = lattice(), lattice()
    bad.data[5] = np.nan
    x = solver.solve(good, load(good))
    for wrong in (bad, sp.csc_array(0.0 * good)):
        with pytest.raises(ConvergenceError):
            solver.solve(wrong, load(good))
    np.testing.assert_allclose(solver.solve(good, load(good)), x, rtol=0, atol=1e-6 * np.abs(x).max())


def test_a_wide_contrast_of_stiffness_is_not_called_singular():
    matrix = lattice()
    soft = np.ones(matrix.shape[0])
    soft[900:1200] = 1e-5  # squared below: a void that keeps 1e-10 of its stiffness
    matrix = sp.csc_array(sp.diags_array(soft) @ matrix @ sp.diags_array(soft))
    x = LaggedDirectSolver().solve(matrix, load(matrix), rtol=1e-4)
    assert relative_residual(matrix, x, load(matrix)) <= 1e-4


def test_bad_arguments_are_named():
    matrix = lattice(4)
    solver = DirectSolver()
    with pytest.raises(InputError, match="do not fit"):
        solver.solve(matrix, np.ones(3))
    with pytest.raises(InputError, match="rtol"):
        solver.solve(matrix, load(matrix), rtol=0.0)
    with pytest.raises(InputError, match="engine"):
        DirectSolver("pardiso")
    with pytest.raises(InputError, match="max_iterations"):
        LaggedDirectSolver(max_iterations=0)
    with pytest.raises(ConvergenceError, match="right-hand side"):
        solver.solve(matrix, np.full(matrix.shape[0], np.inf))


def test_no_load_gives_no_displacement():
    matrix = lattice(4)
    assert not np.any(LaggedDirectSolver().solve(matrix, np.zeros(matrix.shape[0])))


def test_symmetry_is_seen():
    matrix = lattice()
    assert is_symmetric(matrix)
    touched = matrix.copy()
    touched[17, 20] += 1e-4 * matrix[17, 17]
    assert not is_symmetric(touched)


def test_gmres_without_a_preconditioner_ends_in_n_steps():
    dense = np.random.default_rng(0).normal(size=(40, 40)) + 10.0 * np.eye(40)
    rhs = np.arange(40.0)
    result = gmres(sp.csr_array(dense), rhs, lambda v: v, Goal(1e-10, 45))
    assert result.residual <= 1e-10
    np.testing.assert_allclose(result.x, np.linalg.solve(dense, rhs), atol=1e-9)


def test_gmres_that_may_not_finish_says_so():
    matrix = lattice()
    result = gmres(matrix, load(matrix), lambda v: v, Goal(1e-10, 5))
    assert result.iterations <= 5
    assert result.residual == pytest.approx(relative_residual(matrix, result.x, load(matrix)))
    assert result.residual > 1e-3


def test_gmres_goes_on_from_where_it_was():
    """To what a first attempt has reached a second one adds; from the answer there is nothing left to do."""
    matrix, diagonal = lattice(), lattice().diagonal()
    rhs, jacobi = load(matrix), lambda v: v / diagonal
    half = gmres(matrix, rhs, jacobi, Goal(1e-3, 200))
    rest = gmres(matrix, rhs, jacobi, Goal(1e-6, 200), start=half.x)
    whole = gmres(matrix, rhs, jacobi, Goal(1e-6, 200))
    assert relative_residual(matrix, rest.x, rhs) <= 1e-6
    assert 0 < rest.iterations < whole.iterations
    again = gmres(matrix, rhs, jacobi, Goal(1e-5, 200), start=rest.x)
    assert again.iterations == 0
    np.testing.assert_array_equal(again.x, rest.x)


def disagreeing(seed: int):
    """Soft and stiff parts, a load on the soft one alone: of an error that hardly counts the residual is large."""
    random, n = np.random.default_rng(seed), 60
    turn = np.linalg.qr(random.normal(size=(n, n)))[0]
    part = turn @ np.diag(np.geomspace(1.0, 30.0, n)) @ turn.T
    coupling = 0.3 * random.normal(size=(n, n))
    matrix = sp.csr_array(np.block([[part, coupling], [coupling.T, 1e5 * part]]))
    inverse = np.repeat([0.2, 2e-6], n)
    return matrix, np.concatenate([random.normal(size=n), np.zeros(n)]), lambda v: inverse * v


@pytest.fixture
def cycles(monkeypatch):
    """What every cycle of GMRES from now on comes to: its step, iterations, and estimate."""
    module, told = importlib.import_module("kyphos.fem.linear"), []
    one = module._gmres_cycle
    monkeypatch.setattr(module, "_gmres_cycle", lambda *given: told.append(one(*given)) or told[-1])
    return told


@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_gmres_goes_on_in_one_basis_while_the_residual_falls(cycles, seed, precision):
    """A new basis for every disagreement took 17 or 18 iterations; the estimate alone says 'done' after 12."""
    matrix, rhs, inverse = disagreeing(seed)
    found = gmres(matrix, rhs, inverse, Goal(0.03, 100), precision=precision)
    assert relative_residual(matrix, found.x, rhs) <= 0.03
    ((_, iterations, estimate),) = cycles
    assert found.iterations == iterations <= 16
    assert estimate < 0.3 * 0.5 * 0.03


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_gmres_takes_a_new_basis_where_the_residual_rises(cycles, seed):
    matrix, rhs, inverse = disagreeing(seed)
    found = gmres(matrix, rhs, inverse, Goal(0.03, 100), precision=np.float32)
    assert relative_residual(matrix, found.x, rhs) <= 0.03
    assert len(cycles) > 1
    assert found.iterations <= 40


def test_a_fine_goal_has_a_new_basis_for_every_disagreement(cycles):
    """There a new basis also mends what rounding has done to the old one."""
    matrix, rhs, inverse = disagreeing(3)
    found = gmres(matrix, rhs, inverse, Goal(5e-4, 200))
    assert relative_residual(matrix, found.x, rhs) <= 5e-4
    assert len(cycles) > 1
    assert cycles[0][2] > 0.01 * 5e-4
