"""Linear solvers behind one small interface: what Newton asks, and how often the work was done.

``DirectSolver`` factorises every matrix. ``LaggedDirectSolver`` keeps an old factorisation as the
preconditioner of GMRES and renews it only when that pays; ``multigrid`` has solvers for large systems. All check
the residual of what they return against the matrix itself: a factorisation may be old, an answer never is.

Matrices may be unsymmetric and may hold dense rows and columns (rigid platens) and rows with a zero
diagonal (volume constraints): no special ordering of the unknowns is asked for. Why these libraries were
chosen, with measured times, is told in ``docs/linear-solver.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import rslab
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from kyphos.errors import ConvergenceError, InputError
from kyphos.threads import thread_count

from .memory import require

Floats: TypeAlias = NDArray[np.float64]
SparseMatrix: TypeAlias = "sp.csr_array[Any] | sp.csc_array[Any] | sp.csr_matrix[Any] | sp.csc_matrix[Any]"
Precision: TypeAlias = "type[np.float64] | type[np.float32]"
Engine: TypeAlias = Literal["rslab", "superlu"]

_MOST_THREADS = 4  # of a factorisation: more bring little

rslab.set_log_level("error")  # what it warns of comes back as an error of ours

_ROUGH = 1e-3  # of a goal: what GMRES says of its progress is true to more digits than that, in single precision too
_FINEST = 1e3  # machine epsilons: to where the basis of GMRES is believed
_FURTHER = 0.7  # where the measures of GMRES disagree, one falls more or less as the other
_AT_ONCE = 0.1  # share to which the goal of a cycle is lowered at most, before the residual is looked at again

SYMMETRY_TOLERANCE = 1e-12
SINGULAR_GROWTH = 1e13
"""Growth of a random vector under the inverse of the scaled matrix that means 'singular'. Measured: 7 for a
vertebra-like block, 6e7 for a stiff inclusion held by a void of 1e-6 MPa, above 1e14 for a floating body."""


@dataclass(frozen=True, slots=True)
class SolverRecord:
    """What a solver has done since it was made; ``reset`` clears ``most_iterations`` only.

    ``solves`` and ``krylov_iterations`` count right-hand sides and preconditioned matrix products,
    ``factorisations`` numeric factorisations, ``analyses`` orderings of a new sparsity pattern;
    ``factor_s`` is the part of ``wall_s`` spent on the last two. ``most_iterations`` is the largest number that one
    right-hand side took since the last ``reset``. ``notes`` tell what did not go as meant, such as
    systems that an iterative solver had to leave to a direct one.
    """

    solves: int = 0
    factorisations: int = 0
    analyses: int = 0
    krylov_iterations: int = 0
    most_iterations: int = 0
    factor_s: float = 0.0
    wall_s: float = 0.0
    notes: tuple[str, ...] = ()

    def after(self, iterations: int) -> SolverRecord:
        """The record once a right-hand side is done, before which there were so many ``krylov_iterations``."""
        return replace(self, most_iterations=max(self.most_iterations, self.krylov_iterations - iterations))

    def __add__(self, other: SolverRecord) -> SolverRecord:
        """What two solvers did together."""
        both = SolverRecord(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))
        return replace(both, most_iterations=max(self.most_iterations, other.most_iterations))


class Convertible(Protocol):
    """A matrix in parts of its own that becomes one sparse matrix on demand."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        ...

    def tocsr(self) -> sp.csr_array[Any]:
        """The sparse matrix; its pattern does not depend on values."""
        ...


Matrix: TypeAlias = "SparseMatrix | Convertible"


class Stalled(ConvergenceError):
    """An iterative solver got nowhere, and was not to fall back on a direct one."""


class LinearSolver(Protocol):
    """Anything that solves a sparse system; later solvers join by having these three members."""

    @property
    def record(self) -> SolverRecord:
        """Counters and seconds so far."""
        ...

    def solve(
        self, matrix: Matrix, rhs: Floats, rtol: float = 1e-8, enough: float = 0.0, last_resort: bool = True
    ) -> Floats:
        """Solve ``matrix`` (n, n) x = ``rhs`` (n,) or (n, k), with ``|rhs - A x| <= rtol |rhs|`` per column.

        Where ``rtol`` would cost far more than usual, a residual of ``enough`` will do. Raises ``ConvergenceError``
        where neither can be reached; never returns NaN. Without ``last_resort`` an iterative solver that gets nowhere
        raises ``Stalled`` and leaves it at that.
        """
        ...

    def reset(self) -> None:
        """Forget all earlier matrices, so that what follows does not depend on what went before."""
        ...


class KrylovResult(NamedTuple):
    """Outcome of ``gmres``: ``x`` (n,), the number of iterations, and the larger of the two relative residuals."""

    x: Floats
    iterations: int
    residual: float


class Operator(Protocol):
    """Anything that can be multiplied by a vector."""

    def __matmul__(self, x: Floats, /) -> Floats:
        """A x."""
        ...


class Goal(NamedTuple):
    """What an iterative solution is to reach: ``rtol``, or ``enough`` once ``usual_iterations`` are spent."""

    rtol: float
    max_iterations: int
    enough: float = 0.0
    usual_iterations: int = 0

    def at(self, iterations: int) -> float:
        """The residual that will do after so many iterations."""
        return self.rtol if iterations < self.usual_iterations else max(self.rtol, self.enough)

    def after(self, iterations: int) -> Goal:
        """The same, seen from there."""
        left = self.max_iterations - iterations, self.usual_iterations - iterations
        return Goal(self.rtol, left[0], self.enough, left[1])


class Aim(NamedTuple):
    """What a cycle of GMRES starts from, relative to the right-hand side, and the goal seen from there.

    Of ``x`` (n,) the ``residual`` |b - A x| and the ``gap`` |M (b - A x)| / |M b|; |b| is one.
    """

    matrix: Operator | SparseMatrix
    rhs: Floats
    x: Floats
    residual: float
    gap: float
    goal: Goal

    def share(self, iterations: int) -> float:
        """Of the gap, what may be left after so many iterations; half of that where the residual must follow."""
        rtol = self.goal.at(iterations)
        return min(rtol / self.gap, 0.5 * rtol / self.residual) if self.residual > rtol else rtol / self.gap

    def left(self, step: Floats) -> Floats:
        """(n,) residual of ``x`` and a step."""
        return self.rhs - self.matrix @ (self.x + step)


def gmres(
    matrix: Operator | SparseMatrix,
    rhs: Floats,
    precondition: Callable[[Floats], Floats],
    goal: Goal,
    product: Callable[[Floats], Floats] | None = None,
    precision: Precision = np.float64,
    start: Floats | None = None,
) -> KrylovResult:
    """Left-preconditioned GMRES with a doubly orthogonalised basis; Saad, *Iterative methods for sparse systems*, 9.3.

    Two measures must reach the goal: the residual r relative to the right-hand side b, and the correction M r
    that the preconditioner M makes of it, relative to M b. The second estimates the error of x itself, which the first
    hides wherever stiff parts, with their large forces, stand beside soft ones; GMRES minimises it. Where its estimate
    says 'done' and the first measure disagrees, it goes on in the same basis if the goal is rough and that measure has
    fallen; else the basis is rebuilt, and a cycle that gains less than half ends the attempt. Where the goal is rough,
    the estimate is taken for the second measure.

    Parameters
    ----------
    matrix, rhs
        (n, n) and (n,).
    precondition
        Applies an approximate inverse to one vector (n,).
    goal
        Wanted ``|r| / |b|`` and ``|M r| / |M b|``, and the bound on the iterations, all cycles together.
    product
        M A x for x (n,), where that costs less than one after the other; it may be less exact.
    precision
        Of the basis; single is faster, and as good where ``product`` is no more exact: residuals are always double.
    start
        (n,) where to begin; from zero by default.
    """
    both = product or (lambda v: precondition(matrix @ v))
    size, x = float(np.linalg.norm(rhs)), np.zeros_like(rhs)
    if size == 0.0:
        return KrylovResult(x, 0, 0.0)
    unit = rhs / size
    correction = precondition(unit)
    scale, residual, gap, done = float(np.linalg.norm(correction)), 1.0, 1.0, 0
    if start is not None and scale > 0.0:
        x = start / size
        left = unit - matrix @ x
        correction, residual = precondition(left), float(np.linalg.norm(left))
        gap = float(np.linalg.norm(correction)) / scale
    while max(residual, gap) > goal.at(done) and done < goal.max_iterations and np.isfinite(scale) and scale > 0.0:
        aim = Aim(matrix, unit, x, residual, gap, goal.after(done))
        step, count, estimate = _gmres_cycle(both, correction, aim, precision)
        done += count
        left = aim.left(step)
        residual_now, gap_now = float(np.linalg.norm(left)), gap * estimate
        if max(residual_now, gap_now, _ROUGH) <= goal.at(done):
            return KrylovResult(size * (x + step), done, max(residual_now, gap_now))
        correction = precondition(left)
        gap_now = float(np.linalg.norm(correction)) / scale
        better = min(residual_now / residual, gap_now / gap)
        if not better < 1.0:  # also NaN
            break
        x, residual, gap = x + step, residual_now, gap_now
        if better > 0.5:
            break
    return KrylovResult(size * x, done, max(residual, gap))


def _gmres_cycle(
    product: Callable[[Floats], Floats], start: Floats, aim: Aim, precision: Precision
) -> tuple[Floats, int, float]:
    """One unrestarted run for the preconditioned residual ``start``.

    The correction (n,), the iterations spent, and the share of ``start`` that should be left. While the goal is rough,
    a residual that has fallen and is still too large lowers that share.
    """

    def step() -> Floats:
        return norm * np.asarray(y.astype(precision) @ basis[: y.size], dtype=np.float64)

    goal, finest, norm = aim.goal, _FINEST * float(np.finfo(precision).eps), float(np.linalg.norm(start))
    limit = goal.max_iterations
    basis: Any = np.empty((limit + 1, start.size), dtype=precision)  # of either precision
    hessenberg = np.zeros((limit + 1, limit))
    basis[0] = start / norm
    y, error, lower, residual = np.zeros(0), 1.0, 1.0, aim.residual
    for j in range(limit):
        w: Any = product(basis[j]).astype(precision, copy=False)
        seen = basis[: j + 1]
        length = float(np.linalg.norm(w))
        for _ in range(2):  # classical Gram-Schmidt, again if most of w went: as orthogonal as need be, and all BLAS
            before, h = length, seen @ w
            w -= h @ seen
            hessenberg[: j + 1, j] += h
            length = float(np.linalg.norm(w))
            if length > 0.7 * before:
                break
        if not np.isfinite(length):
            break
        hessenberg[j + 1, j] = length
        y, error = _least_squares(hessenberg[: j + 2, : j + 1])
        if length <= 1e-14 * float(np.linalg.norm(hessenberg[:, j])):
            break
        if error <= lower * aim.share(j + 1):
            last, residual = residual, float(np.linalg.norm(aim.left(step()))) if goal.rtol >= _ROUGH else 0.0
            if error <= finest or not goal.at(j + 1) < residual < last:
                break
            further = max(_FURTHER * goal.at(j + 1) / residual, _AT_ONCE)
            lower = max(further * error, finest) / aim.share(j + 1)
        if _too_slow(j + 1, error, lower * aim.share(limit), limit):
            break
        basis[j + 1] = w / length
    return step(), j + 1, error


def _least_squares(hessenberg: Floats) -> tuple[Floats, float]:
    """Minimiser y (j,) of ``|e1 - H y|`` for H (j + 1, j), and the minimum."""
    first = np.zeros(hessenberg.shape[0])
    first[0] = 1.0
    y: Floats = np.linalg.lstsq(hessenberg, first, rcond=None)[0].astype(np.float64, copy=False)
    return y, float(np.linalg.norm(first - hessenberg @ y))


def _too_slow(iterations: int, error: float, rtol: float, limit: int) -> bool:
    """True once the mean convergence so far promises to need more than twice the iterations allowed."""
    return iterations >= max(8, limit // 4) and iterations * np.log(rtol) < 2.0 * limit * np.log(min(error, 0.999))


@dataclass(frozen=True, slots=True)
class Factorisation:
    """A factorised matrix of ``size`` unknowns; ``apply`` solves for one vector (n,).

    ``flops`` are those of the factorisation as its library foresees them; 0 where it does not.
    """

    size: int
    apply: Callable[[Floats], Floats]
    flops: float = 0.0


@dataclass(slots=True)
class Factory:
    """Makes factorisations with one library and remembers the ordering of each sparsity pattern.

    Parameters
    ----------
    engine
        ``"rslab"``: supernodal LDL' of symmetric and LU of other matrices, nested dissection.
        ``"superlu"``: the LU inside SciPy, several times slower; for cross-checks.
    threads
        Of the factorisation; None takes those that kernels run on, up to four. The result does not depend on it.
    """

    engine: Engine = "rslab"
    threads: int | None = None
    analyses: int = 0
    _patterns: dict[str, tuple[NDArray[Any], NDArray[Any], Any]] = field(default_factory=dict)

    def factorise(self, matrix: SparseMatrix) -> Factorisation:
        """Factorise (n, n); raises ``ConvergenceError`` for a singular one, ``InputError`` for lack of memory."""
        csc = _canonical(matrix)
        try:
            apply, flops = self._superlu(csc) if self.engine == "superlu" else self._rslab(csc)
        except RuntimeError as error:
            raise _singular(str(error)) from error
        growth = _inverse_growth(csc, apply)
        if not growth < SINGULAR_GROWTH:
            raise _singular(f"its inverse magnifies a random load {growth:.0e} times")
        return Factorisation(csc.shape[0], apply, flops)

    def forget(self) -> None:
        """Drop the remembered orderings."""
        self._patterns.clear()

    def _superlu(self, csc: sp.csc_array[Any]) -> tuple[Callable[[Floats], Floats], float]:
        # a small threshold keeps the pivots on the diagonal, and so the ordering, except where it is zero
        options = {"SymmetricMode": True}
        self.analyses += 1
        lu = sla.splu(csc, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=1e-3, options=options)
        return lambda rhs: lu.solve(rhs.astype(csc.dtype, copy=False)), 0.0

    def _rslab(self, csc: sp.csc_array[Any]) -> tuple[Callable[[Floats], Floats], float]:
        if is_symmetric(csc):
            try:
                return self._factored(csc, "ldlt")
            except RuntimeError:
                pass  # pivots on the diagonal cannot always order a saddle point; LU judges whether it is singular
        return self._factored(csc, "lu")

    def _factored(
        self, csc: sp.csc_array[Any], path: Literal["ldlt", "lu"]
    ) -> tuple[Callable[[Floats], Floats], float]:
        threads = self.threads or min(thread_count(), _MOST_THREADS)
        key = f"{path} on {threads}"
        known = self._patterns.get(key)
        if known is None or not (np.array_equal(known[0], csc.indptr) and np.array_equal(known[1], csc.indices)):
            symbolic = rslab.analyze(csc, path=path, ordering="metis", threads=threads)
            self.analyses += 1
            known = self._patterns[key] = (csc.indptr.copy(), csc.indices.copy(), symbolic)
        estimate = known[2].estimate_memory()
        require(
            estimate["transient_peak_bytes"],
            f"the factorisation of {csc.shape[0]:,} unknowns",
            "try larger elements (mesh.element_size_mm)",
        )
        factor = known[2].factor(csc)
        return lambda rhs: factor.solve(rhs.astype(csc.dtype, copy=False)), float(estimate["factor_flops"])


def _canonical(matrix: SparseMatrix) -> sp.csc_array[Any]:
    """The matrix as CSC with sorted, unique entries; zeros that are stored stay, so patterns stay equal."""
    csc = sp.csc_array(matrix)
    if not csc.has_canonical_format:
        csc = csc.copy()
        csc.sum_duplicates()
    return csc


def is_symmetric(matrix: SparseMatrix) -> bool:
    """Whether x.Ay = y.Ax for a fixed random pair: a test that costs two products and no transpose.

    Asymmetry below the tolerance may pass unseen. That only makes the factorisation a little inexact;
    the solvers iterate on the true matrix.
    """
    x, y = np.random.default_rng(0).standard_normal((2, matrix.shape[0]))
    ax, ay = matrix @ x, matrix @ y
    return bool(abs(x @ ay - y @ ax) <= SYMMETRY_TOLERANCE * np.linalg.norm(x) * np.linalg.norm(ay))


def _inverse_growth(csc: sp.csc_array[Any], apply: Callable[[Floats], Floats]) -> float:
    """``|S^-1 A^-1 S^-1 y| / |y|`` for a fixed random y; S scales the columns to about one.

    A null vector of A, such as a rigid motion, has a share in y, which rounding then blows up. The scaling
    makes the number blind to the contrast between soft and stiff materials.
    """
    largest = abs(csc).max(axis=0).toarray().ravel()
    scale = np.sqrt(np.where(largest > 0.0, largest, 1.0))
    y = np.random.default_rng(1).standard_normal(scale.size)
    return float(np.linalg.norm(scale * apply(scale * y)) / np.linalg.norm(y))


def _singular(detail: str) -> ConvergenceError:
    return ConvergenceError(
        f"the stiffness matrix is singular ({detail}): something moves freely. Try to hold every part "
        "against rigid motion, or smaller steps if the material has lost all stiffness."
    )


@cache
def blas() -> ThreadpoolController:
    """The BLAS libraries of this process."""
    # found once: looking for the loaded libraries takes longer than a small solve
    return ThreadpoolController()


class LaggedDirectSolver:
    """GMRES preconditioned by the factorisation of an earlier matrix.

    The factorisation is renewed when GMRES fails with it, and after the first solve that cost more
    iterations than the average since the last renewal, the renewal included: from there on the average
    would only rise. Costs are counted, not timed, so equal inputs give equal bits. A renewed factorisation
    that fails as well raises.

    Parameters
    ----------
    engine, threads
        See ``Factory``.
    max_iterations
        GMRES iterations after which an old factorisation is given up.
    factor_cost_iterations
        What a factorisation costs, in iterations (measured: 25 to 55).
    """

    def __init__(
        self,
        engine: Engine = "rslab",
        threads: int | None = None,
        max_iterations: int = 30,
        factor_cost_iterations: int = 15,
    ) -> None:
        if engine not in ("rslab", "superlu"):
            raise InputError(f"solver engine {engine!r} is unknown; allowed: 'rslab', 'superlu'")
        if max_iterations < 2 or factor_cost_iterations < 1:
            raise InputError(
                f"max_iterations={max_iterations} and factor_cost_iterations={factor_cost_iterations} "
                "must be at least 2 and 1"
            )
        self.max_iterations = max_iterations
        self.factor_cost_iterations = factor_cost_iterations
        self._factory = Factory(engine, threads)
        self._factor: Factorisation | None = None
        self._cost_iterations = 0
        self._uses = 0
        self._record = SolverRecord()

    @property
    def record(self) -> SolverRecord:
        """Counters and seconds so far."""
        return self._record

    def reset(self) -> None:
        """Forget all earlier matrices; the counters stay."""
        self._factory.forget()
        self._factor = None
        self._record = replace(self._record, most_iterations=0)

    def solve(
        self, matrix: Matrix, rhs: Floats, rtol: float = 1e-8, enough: float = 0.0, last_resort: bool = True
    ) -> Floats:
        """Solve ``matrix`` (n, n) x = ``rhs`` (n,) or (n, k), with ``|rhs - A x| <= rtol |rhs|`` per column.

        Where a new factorisation does not reach ``rtol``, a residual of ``enough`` will do. This is the last resort.

        Raises
        ------
        InputError
            For shapes that do not fit or a tolerance outside (0, 1).
            Also where the factorisation would need more memory than there is.
        ConvergenceError
            For a singular matrix, NaN or infinity, or a residual that cannot be reached.
        """
        start = time.perf_counter()
        matrix = matrix if sp.issparse(matrix) else matrix.tocsr()
        check_system(matrix, matrix.data, rhs, rtol)
        try:
            # one BLAS thread: the vectors are too short for more, and their order of summation stays fixed
            with blas().limit(limits=1, user_api="blas"):
                columns = np.ascontiguousarray(rhs.reshape(rhs.shape[0], -1).T, dtype=np.float64)
                solution = np.stack([self._solve_one(matrix, column, rtol, enough) for column in columns], axis=-1)
        finally:
            self._count(wall_s=time.perf_counter() - start)
        return solution.reshape(rhs.shape)

    def _solve_one(self, matrix: SparseMatrix, rhs: Floats, rtol: float, enough: float) -> Floats:
        fresh, before = self._factor is None or self._factor.size != rhs.size, self._record.krylov_iterations
        result = self._attempt(matrix, rhs, rtol, renew=fresh)
        if result.residual > rtol and not fresh:
            result = self._attempt(matrix, rhs, rtol, renew=True)
        if not result.residual <= max(rtol, enough):
            self._factor = None
            raise ConvergenceError(
                f"the linear solver reached a relative residual of {result.residual:.1e}, wanted {rtol:.1e}: "
                "the stiffness matrix is singular or close to it. Try to hold every part against rigid motion, "
                "smaller steps, or a looser tolerance."
            )
        self._judge(result.iterations)
        self._count(solves=1)
        self._record = self._record.after(before)
        return result.x

    def _attempt(self, matrix: SparseMatrix, rhs: Floats, rtol: float, renew: bool) -> KrylovResult:
        """GMRES with the factorisation at hand, renewed first if asked."""
        factor = self._renew(matrix) if renew or self._factor is None else self._factor
        result = gmres(matrix, rhs, factor.apply, Goal(rtol, self.max_iterations))
        self._count(krylov_iterations=result.iterations)
        return result

    def _renew(self, matrix: SparseMatrix) -> Factorisation:
        self._factor = None
        start, analyses = time.perf_counter(), self._factory.analyses
        self._factor = self._factory.factorise(self._to_factorise(matrix))
        self._count(
            factorisations=1,
            analyses=self._factory.analyses - analyses,
            factor_s=time.perf_counter() - start,
        )
        self._cost_iterations, self._uses = self.factor_cost_iterations, 0
        return self._factor

    def _to_factorise(self, matrix: SparseMatrix) -> SparseMatrix:
        """The symmetric part: as good a preconditioner here, and a third cheaper to factorise (LDL' for LU)."""
        csc = _canonical(matrix)
        turned = _canonical(csc.T)
        if not np.array_equal(csc.indices, turned.indices):
            return sp.csc_array(0.5 * (csc + turned))
        # entry by entry, since a sum of sparse matrices drops zeros, and so changes the pattern
        return sp.csc_array((0.5 * (csc.data + turned.data), csc.indices, csc.indptr), shape=csc.shape)

    def _judge(self, iterations: int) -> None:
        """Drop the factorisation once a use of it costs more than the average so far."""
        worn = self._uses > 0 and iterations * self._uses > self._cost_iterations
        self._cost_iterations += iterations
        self._uses += 1
        if worn:
            self._factor = None

    def _count(self, **increments: float) -> None:
        now = {name: getattr(self._record, name) + value for name, value in increments.items()}
        self._record = replace(self._record, **now)


class DirectSolver(LaggedDirectSolver):
    """Factorises every matrix; GMRES then only polishes the answer (one iteration as a rule).

    Parameters
    ----------
    engine, threads
        See ``Factory``.
    """

    def __init__(self, engine: Engine = "rslab", threads: int | None = None) -> None:
        super().__init__(engine, threads)

    def solve(
        self, matrix: Matrix, rhs: Floats, rtol: float = 1e-8, enough: float = 0.0, last_resort: bool = True
    ) -> Floats:
        """As ``LaggedDirectSolver.solve``, with the factorisation of this very matrix."""
        self._factor = None
        return super().solve(matrix, rhs, rtol, enough)

    def _to_factorise(self, matrix: SparseMatrix) -> SparseMatrix:
        """The matrix itself."""
        return matrix

    def _judge(self, iterations: int) -> None:
        """Keep the factorisation for the other columns of this right-hand side."""


def check_system(matrix: Matrix, values: Floats, rhs: Floats, rtol: float) -> None:
    """Raise for shapes that do not fit, a tolerance outside (0, 1), or matrix ``values`` and loads that are no numbers.

    Raises
    ------
    InputError, ConvergenceError
    """
    if matrix.shape[0] != matrix.shape[1] or rhs.ndim not in (1, 2) or rhs.shape[0] != matrix.shape[0] or not rhs.size:
        raise InputError(
            f"matrix {matrix.shape} and right-hand side {rhs.shape} do not fit; allowed are (n, n) with (n,) or (n, k)"
        )
    if not 0.0 < rtol < 1.0:
        raise InputError(f"rtol={rtol:g} is outside (0, 1)")
    for name, numbers in (("stiffness matrix", values), ("right-hand side", rhs)):
        if not np.isfinite(numbers.sum()):
            raise ConvergenceError(f"the {name} holds NaN or infinity: the last step was too large. Try smaller steps.")
