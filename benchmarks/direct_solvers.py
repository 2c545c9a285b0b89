"""Sparse direct solvers on one elasticity matrix, in one run: factor, solve, fill, residual, ratios.

    python benchmarks/direct_solvers.py [CELLS_X CELLS_Y CELLS_Z] [--softening]

Peers that are not installed are skipped. The matrix is a hex8 block with a random trabecular modulus
(20-500 MPa) inside a stiff shell (5000 MPa) and endplates (3000 MPa), held at both ends. ``--softening``
instead runs the solvers of ``kyphos.fem.linear`` through a crush: twenty matrices, ever softer in a band.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla

from kyphos.fem.linear import DirectSolver, LaggedDirectSolver, LinearSolver

Solve = Callable[[np.ndarray], np.ndarray]
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])


def unit_cube_stiffness(poisson_ratio: float = 0.3) -> np.ndarray:
    """Stiffness (24, 24) of a trilinear 1 mm cube with a modulus of 1 MPa."""
    lame = poisson_ratio / ((1 + poisson_ratio) * (1 - 2 * poisson_ratio))
    shear = 0.5 / (1 + poisson_ratio)
    moduli = np.diag([2 * shear] * 3 + [shear] * 3)
    moduli[:3, :3] += lame
    stiffness = np.zeros((24, 24))
    sign = 2 * CORNERS - 1
    for point in sign / np.sqrt(3):
        factor = 1 + sign * point
        strain = np.zeros((6, 24))
        for a in range(8):
            x, y, z = (sign[a, i] * np.prod(np.delete(factor[a], i)) / 4 for i in range(3))
            strain[:, 3 * a : 3 * a + 3] = [[x, 0, 0], [0, y, 0], [0, 0, z], [y, x, 0], [0, z, y], [z, 0, x]]
        stiffness += strain.T @ moduli @ strain / 8
    return 0.5 * (stiffness + stiffness.T)


def block_moduli(cells: tuple[int, int, int]) -> np.ndarray:
    """Moduli (nx, ny, nz), MPa, of a vertebra-like block."""
    moduli = np.random.default_rng(0).uniform(20.0, 500.0, cells)
    moduli[[0, -1]] = moduli[:, [0, -1]] = 5000.0
    moduli[:, :, [0, -1]] = 3000.0
    return moduli


def block_stiffness(moduli_mpa: np.ndarray) -> sp.csc_array:
    """Stiffness (n, n) of a block of unit cubes (nx, ny, nz) whose lower and upper faces are held."""
    shape = np.array(moduli_mpa.shape) + 1
    origin = np.stack(np.meshgrid(*map(np.arange, moduli_mpa.shape), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    nodes = np.ravel_multi_index(np.moveaxis(origin + CORNERS, -1, 0), shape)
    unknowns = (3 * nodes[:, :, None] + np.arange(3)).reshape(-1, 24)
    values = moduli_mpa.reshape(-1, 1, 1) * unit_cube_stiffness()
    place = (np.repeat(unknowns, 24, axis=1).ravel(), np.tile(unknowns, (1, 24)).ravel())
    whole = sp.coo_array((values.ravel(), place), shape=(3 * shape.prod(),) * 2).tocsc()
    height = np.arange(shape.prod()) % shape[2]
    free = np.flatnonzero(np.repeat((height > 0) & (height < shape[2] - 1), 3))
    return whole[free][:, free]


def superlu(matrix: sp.csc_array, **options: Any) -> Solve:
    """SuperLU as SciPy brings it."""
    solve: Solve = sla.splu(matrix, **options).solve
    return solve


def superlu_nested_dissection(matrix: sp.csc_array) -> Solve:
    """SuperLU, the nodes ordered by METIS."""
    pymetis = importlib.import_module("pymetis")
    n = matrix.shape[0] // 3
    row, column = matrix.tocoo().coords
    graph = sp.coo_array((np.ones(matrix.nnz), (row // 3, column // 3)), shape=(n, n)).tocsr()
    graph.setdiag(0.0)
    graph.eliminate_zeros()
    nodes = np.asarray(pymetis.nested_dissection(pymetis.CSRAdjacency(graph.indptr, graph.indices))[0])
    order = (3 * nodes[:, None] + np.arange(3)).ravel()
    options = {"SymmetricMode": True}
    permuted = matrix[order][:, order].tocsc()
    lu = sla.splu(permuted, permc_spec="NATURAL", diag_pivot_thresh=0.0, options=options)
    back = np.argsort(order)
    return lambda rhs: lu.solve(rhs[order])[back]


def supernodal(matrix: sp.csc_array, kind: str) -> Solve:
    """The library behind ``kyphos.fem.linear``, as LU or as LDL'."""
    solve: Solve = getattr(importlib.import_module("rslab"), kind)(matrix, ordering="metis").solve
    return solve


def pardiso(matrix: sp.csc_array) -> Solve:
    """MKL PARDISO (proprietary)."""
    solver = importlib.import_module("pypardiso").PyPardisoSolver()
    rows = matrix.tocsr()
    solver.factorize(rows)
    return lambda rhs: solver.solve(rows, rhs)


def cholmod(matrix: sp.csc_array) -> Solve:
    """CHOLMOD as CVXOPT brings it (GPL)."""
    cvxopt, library = importlib.import_module("cvxopt"), importlib.import_module("cvxopt.cholmod")
    lower = sp.tril(matrix).tocoo()
    given = cvxopt.spmatrix(lower.data, lower.row, lower.col, matrix.shape)
    factor = library.symbolic(given)
    library.numeric(given, factor)
    return lambda rhs: _in_place(cvxopt.matrix(rhs), lambda x: library.solve(factor, x))


def umfpack(matrix: sp.csc_array) -> Solve:
    """UMFPACK as KVXOPT brings it (GPL)."""
    kvxopt, library = importlib.import_module("kvxopt"), importlib.import_module("kvxopt.umfpack")
    entries = matrix.tocoo()
    given = kvxopt.spmatrix(entries.data, entries.row, entries.col, matrix.shape)
    factor = library.numeric(given, library.symbolic(given))
    return lambda rhs: _in_place(kvxopt.matrix(rhs), lambda x: library.solve(given, factor, x))


def _in_place(x: Any, solve: Callable[[Any], None]) -> np.ndarray:
    solve(x)
    return np.array(x).ravel()


MMD = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
PEERS: dict[str, Callable[[sp.csc_array], Solve]] = {
    "rslab LU": lambda a: supernodal(a, "lu"),
    "rslab LDL'": lambda a: supernodal(a, "ldlt"),
    "SuperLU, METIS": superlu_nested_dissection,
    "SuperLU, MMD on A'+A": lambda a: superlu(a, **MMD),
    "SuperLU, default": superlu,
    "MKL PARDISO": pardiso,
    "CHOLMOD": cholmod,
    "UMFPACK": umfpack,
}


def compare(matrix: sp.csc_array, skip: list[str]) -> None:
    """Print a table, ratios relative to the first peer."""
    rhs = np.random.default_rng(1).normal(size=matrix.shape[0])
    print(f"{matrix.shape[0]} unknowns, {matrix.nnz} entries")
    print(f"{'solver':22} {'factor s':>9} {'solve s':>8} {'ratio':>6} {'residual':>9}")
    reference_s = 0.0
    for name, factorise in PEERS.items():
        if name in skip:
            continue
        try:
            start = time.perf_counter()
            solve = factorise(matrix)
        except ImportError as missing:
            print(f"{name:22} skipped: {missing}")
            continue
        factor_s = time.perf_counter() - start
        x = solve(rhs)
        solve_s = time.perf_counter() - start - factor_s
        reference_s = reference_s or factor_s
        error = np.linalg.norm(matrix @ x - rhs) / np.linalg.norm(rhs)
        print(f"{name:22} {factor_s:9.2f} {solve_s:8.3f} {factor_s / reference_s:6.1f} {error:9.0e}", flush=True)


def soften(cells: tuple[int, int, int]) -> None:
    """Time our solvers on twenty slightly unsymmetric matrices that lose stiffness in a growing band."""
    moduli, height = block_moduli(cells), np.arange(cells[2])
    matrices = []
    for step in range(20):
        band = np.abs(height - cells[2] / 2) < 1 + step / 6
        matrix = block_stiffness(moduli * np.where(band, 0.05 + 0.95 * 0.8**step, 1.0))
        tilt = 1.0 + 0.02 * np.random.default_rng(step).uniform(-1.0, 1.0, matrix.shape[0])
        matrices.append(sp.csc_array(sp.diags_array(tilt) @ matrix))
    rhs = np.random.default_rng(1).normal(size=matrices[0].shape[0])
    solvers: dict[str, LinearSolver] = {"direct": DirectSolver(), "lagged": LaggedDirectSolver()}
    for rtol in (1e-3, 1e-6):
        for name, solver in solvers.items():
            solver.reset()
            before = solver.record
            for matrix in matrices:
                solver.solve(matrix, rhs, rtol)
            now = solver.record
            print(
                f"rtol {rtol:.0e} {name:7} {now.wall_s - before.wall_s:6.2f} s, "
                f"{now.factorisations - before.factorisations} factorisations, "
                f"{now.krylov_iterations - before.krylov_iterations} iterations",
                flush=True,
            )


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", type=int, default=[20, 16, 20], metavar="CELLS")
    parser.add_argument("--softening", action="store_true")
    parser.add_argument("--skip", action="append", default=[], help="a solver of the table to leave out")
    arguments = parser.parse_args()
    cells = tuple(arguments.cells)
    if len(cells) != 3:
        parser.error("give three numbers of cells")
    if arguments.softening:
        soften(cells)
    else:
        compare(block_stiffness(block_moduli(cells)), arguments.skip)


if __name__ == "__main__":
    main()
