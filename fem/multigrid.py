"""Krylov solver for large bordered systems: two grids, the finer one smoothed by clusters of nodes.

Fine: block Gauss-Seidel in single precision on the tangent itself, whose blocks are clusters of up to four nodes that
are strongly coupled, such as the two faces of a thin shell. Coarse: six rigid motions for each aggregate of about 27
nodes, with the Galerkin matrix of the tangent, factorised; it may be that of an earlier tangent. Nodes of nearly
incompressible cells, whose volume such motions cannot keep, stay alone there, and links add their share. Border columns
(platens, cavity pressures) are eliminated with the cycle in place of the inverse, once for each coarse matrix. See
``docs/linear-solver.md``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kyphos.errors import ConvergenceError, InputError
from kyphos.threads import Slabs, Team, everybody

from .kernels import blocks
from .linear import (
    Factorisation,
    Factory,
    Floats,
    Goal,
    KrylovResult,
    LaggedDirectSolver,
    Matrix,
    SolverRecord,
    Stalled,
    blas,
    check_system,
    gmres,
)
from .links import Coupling
from .memory import require
from .system import BorderedMatrix, System

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Singles = NDArray[np.float32]
Numbers = NDArray[Any]

_STRONG = 0.25  # coupling (see kernels.blocks.coupling) of nodes that are smoothed together
_SLAB_NODES = 1500
_MOST_SLABS = 16
_FACTOR_SPEED = 6.0  # operations of a factorisation in the time of one of a cycle, which waits for memory (measured)


@dataclass(frozen=True, eq=False)
class Layout:
    """Nodes in the order of the sweep, with all that depends on the pattern alone.

    Two nodes of the same colour but of different slabs are never neighbours: slabs are layers of the graph, every
    second one is of the first colour and stands first. So a sweep is the same for any number of threads.

    Attributes
    ----------
    order
        (m,) nodes that can move.
    place
        (3m,) entry of the system's nodal unknowns, or -1 where prescribed.
    back
        (k,) where each nodal unknown stands in the order of the sweep.
    held
        (m, 3) prescribed freedoms of these nodes.
    begin, column, slot
        Rows of blocks: columns ascending, ``slot`` counts in the row of ``System.column``.
    upper
        (m,) blocks of a row before the first one behind its cluster.
    bounds, inverse_at
        Rows and inverses of each cluster.
    colours
        Slabs of clusters, by colour.
    row_slabs, node_slabs
        Slabs of rows, and of ``order``.
    of, members, member_start
        Aggregate of every row; rows of every aggregate.
    coarse_slot, coarse_start, coarse_column
        Where each fine block goes among the coarse blocks, and the coarse pattern.
    """

    order: Ids
    place: Ids
    back: Ids
    held: NDArray[np.bool_]
    begin: Ids
    column: NDArray[np.int32]
    slot: NDArray[np.int16]
    upper: NDArray[np.int32]
    bounds: Ids
    inverse_at: Ids
    colours: tuple[Slabs, ...]
    row_slabs: Slabs
    of: Ids
    members: Ids
    member_start: Ids
    coarse_slot: NDArray[np.int32]
    coarse_start: Ids
    coarse_column: Ids

    @cached_property
    def widest(self) -> int:
        """Most blocks in a row."""
        return int(np.diff(self.begin).max())

    @cached_property
    def coarse_free(self) -> Ids:
        """(c,) of the six motions of every aggregate those that move it: a node alone does not turn."""
        moves = np.ones((self.member_start.size - 1, 6), dtype=bool)
        moves[np.diff(self.member_start) == 1, 3:] = False
        return np.flatnonzero(moves)


def build_layout(matrix: BorderedMatrix) -> Layout:
    """Order the nodes of a system and gather them in clusters and aggregates, by the couplings in ``matrix``."""
    system = matrix.system
    n = system.start.size - 1
    free = np.zeros(3 * n, dtype=bool)
    free[system.free] = True
    active: NDArray[np.bool_] = np.asarray(free.reshape(-1, 3).any(axis=1))
    strength = blocks.coupling(system.start, system.column, matrix.stiffness.data)
    label = _clusters(system, active, strength)
    order, slab_of = _sweep_order(system, active, label)
    m = order.size
    position = np.full(n, -1)
    position[order] = np.arange(m)

    bounds = np.flatnonzero(np.concatenate([[True], np.diff(label[order]) != 0, [True]]))
    edges = np.flatnonzero(np.concatenate([[True], np.diff(slab_of) != 0, [True]]))
    slabs = list(pairwise(np.searchsorted(bounds, edges).tolist()))
    firsts = (len(slabs) + 1) // 2
    begin, column, slot = _rows(system, order, position)
    rows = np.repeat(np.arange(m), np.diff(begin))
    cluster = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
    behind = column >= bounds[cluster[rows] + 1]
    sizes = 9 * np.diff(bounds) ** 2

    index = np.full(3 * n, -1)
    index[system.free] = np.arange(system.free.size)
    place = index.reshape(-1, 3)[order].ravel()
    back = np.empty(system.free.size, dtype=np.int64)
    back[place[place >= 0]] = np.flatnonzero(place >= 0)

    alone = np.isin(order, system.tough)
    of, count = blocks.aggregate(begin, column, strength[_entries(system, order, position)], alone)
    key, coarse_slot = np.unique(of[rows] * count + of[column], return_inverse=True)
    return Layout(
        order, place, back, place.reshape(-1, 3) < 0, begin, column, slot,
        (np.diff(begin) - np.add.reduceat(behind, begin[:-1])).astype(np.int32),
        bounds, np.concatenate([[0], np.cumsum(sizes)]),
        (tuple(slabs[:firsts]), tuple(slabs[firsts:])),
        tuple(pairwise(edges.tolist())),
        of, np.argsort(of, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(of, minlength=count))]),
        coarse_slot.astype(np.int32), np.searchsorted(key // count, np.arange(count + 1)), key % count,
    )  # fmt: skip


def _clusters(system: System, active: NDArray[np.bool_], strength: Array) -> Ids:
    """(n,) label of the cluster of each node: strongest couplings first."""
    n = active.size
    rows = np.repeat(np.arange(n), np.diff(system.start))
    strong = np.flatnonzero((strength > _STRONG) & (rows < system.column) & active[rows] & active[system.column])
    strong = strong[np.argsort(-strength[strong], kind="stable")]
    return np.asarray(blocks.join(rows[strong], system.column[strong].astype(np.int64), n, blocks.LARGEST))


def _sweep_order(system: System, active: NDArray[np.bool_], label: Ids) -> tuple[Ids, Ids]:
    """Active nodes in the order of the sweep (m,) and the slab of each."""
    n = active.size
    by_cluster = np.argsort(label, kind="stable")
    head, following = np.full(n, -1), np.full(n, -1)
    same = label[by_cluster[:-1]] == label[by_cluster[1:]]
    following[by_cluster[:-1][same]] = by_cluster[1:][same]
    head[:] = label  # the label of a cluster is its first node
    seed = int(np.flatnonzero(active)[0])
    _, far = blocks.distances(system.start, system.column, active, (head, following), seed)
    distance, _ = blocks.distances(system.start, system.column, active, (head, following), int(far))
    nodes = np.flatnonzero(active)
    population = np.bincount(distance[nodes])
    parts = int(np.clip(nodes.size // _SLAB_NODES, 1, min(_MOST_SLABS, population.size)))
    middle = np.cumsum(population) - 0.5 * population
    slab = np.minimum((middle * parts / nodes.size).astype(np.int64), parts - 1)[distance[nodes]]
    _, slab = np.unique(slab, return_inverse=True)  # a thick layer may leave one empty
    slab = np.where(slab % 2 == 0, slab // 2, parts + slab // 2)
    by = np.lexsort((nodes, label[nodes], distance[nodes], slab))
    return nodes[by], slab[by]


def _entries(system: System, order: Ids, position: Ids) -> Ids:
    """Places in ``System.column`` of the blocks in sweep order, columns ascending."""
    degree = np.diff(system.start)[order]
    entry = np.arange(degree.sum()) + np.repeat(system.start[order] - np.cumsum(degree) + degree, degree)
    to = position[system.column[entry]]
    rows = np.repeat(np.arange(order.size), degree)
    by = np.lexsort((to, rows))
    return np.asarray(entry[by][to[by] >= 0])


def _rows(system: System, order: Ids, position: Ids) -> tuple[Ids, NDArray[np.int32], NDArray[np.int16]]:
    """Pattern (begin, column, slot) of the blocks in sweep order."""
    entry = _entries(system, order, position)
    node = np.searchsorted(system.start, entry, side="right") - 1
    count = np.bincount(position[node], minlength=order.size)
    slot = (entry - system.start[node]).astype(np.int16)
    return np.concatenate([[0], np.cumsum(count)]), position[system.column[entry]].astype(np.int32), slot


class _Links:
    """The links' stiffness on the freedoms in the order of the sweep, of which it touches few.

    ``place`` (3m,) as in `Layout`; nothing pulls at prescribed freedoms.
    """

    def __init__(self, links: Coupling, place: Ids) -> None:
        touched = np.zeros(links.weights.shape[0] + 1, dtype=bool)  # the last one, place -1, is prescribed
        touched[:-1] = np.diff(links.weights.indptr) > 0
        self._rows = np.flatnonzero(touched[place])
        self._weights = sp.csr_array(links.weights[place[self._rows]])
        self._pull = sp.csr_array(links.stiffness @ self._weights.T)
        self._stiffness = links.stiffness

    def subtract(self, x: Singles, out: Singles) -> None:
        """Take from ``out`` (3m,) the forces of displacements x (3m,)."""
        out[self._rows] -= self._weights @ (self._pull @ x[self._rows])

    def coarse(self, motions: sp.csr_array) -> sp.csr_array:
        """(6g, 6g) the same for ``motions`` (3m, 6g)."""
        return Coupling(sp.csr_array(motions[self._rows].T @ self._weights), self._stiffness).tocsr()


class Cycle:
    """The two-grid cycle of one layout: an approximate inverse of the nodal block, in single precision."""

    def __init__(self, layout: Layout, team: Team, factory: Factory, sweeps: int = 1) -> None:
        self.layout, self.team, self.sweeps = layout, team, sweeps
        self._factory = factory
        self._data: Singles = np.empty(9 * layout.column.size, dtype=np.float32)
        self._inverse: Singles = np.empty(int(layout.inverse_at[-1]), dtype=np.float32)
        m = layout.order.size
        self._arm: Array = np.empty((m, 3))
        self._load, self._x, self._old, self._rest = (np.empty(3 * m, dtype=np.float32) for _ in range(4))
        self._coarse = np.empty(6 * (layout.member_start.size - 1))
        self._factor: Factorisation | None = None
        self.ready = False  # whether the coarse matrix will do
        self._links: _Links | None = None

    def smooth_with(self, matrix: BorderedMatrix) -> None:
        """Take the tangent's values for the smoother."""
        at = self.layout
        given = (matrix.system.start, matrix.stiffness.data)
        self.team.run(
            at.row_slabs, blocks.copy_rows, at.order, at.begin, at.column, at.slot, at.held, *given, self._data
        )
        scratch = [np.empty(9 * blocks.LARGEST**2) for _ in range(max(map(len, at.colours)))]
        for slabs in at.colours:
            rows = (at.bounds, at.inverse_at, at.begin, at.column, self._data, at.held, self._inverse)
            self.team.run_with(slabs, blocks.invert_clusters, rows, scratch)
        self._links = None if matrix.links is None else _Links(matrix.links, self.layout.place)

    def coarsen(self, points_mm: Array) -> None:
        """Factorise the coarse matrix of the values that the smoother has; ``points_mm`` (n, 3) are the nodes."""
        at = self.layout
        points = points_mm[at.order]
        count = at.member_start.size - 1
        size = np.bincount(at.of, minlength=count)[:, None]
        centre = np.stack([np.bincount(at.of, points[:, c], count) for c in range(3)], axis=1) / size
        self._arm = points - centre[at.of]
        self._arm /= max(float(np.sqrt((self._arm**2).mean())), 1e-300)
        out = np.zeros((at.coarse_column.size, 6, 6))
        rows = (at.members, at.member_start, at.begin, at.column, self._data, at.coarse_slot, out)
        parts = np.linspace(0, count, len(at.row_slabs) + 1).astype(int).tolist()
        self.team.run(tuple(pairwise(parts)), blocks.galerkin, at.of, self._arm, *rows)
        coarse = sp.csc_array(sp.bsr_array((out, at.coarse_column, at.coarse_start)))
        if self._links is not None:
            coarse = sp.csc_array(coarse + self._links.coarse(self._rigid_motions()))
        coarse = coarse[at.coarse_free][:, at.coarse_free]
        coarse = sp.csc_array(0.5 * (coarse + coarse.T))  # as good, and cheaper to factorise
        diagonal = np.abs(coarse.diagonal())
        spring = sp.csc_array(sp.diags_array(np.where(diagonal > 0.0, 1e-7 * diagonal, 1.0)))
        self._factor, self.ready = None, False  # the old one's memory may go first
        self._factor = self._factory.factorise(sp.csc_array(coarse + spring, dtype=np.float32))
        self.ready = True

    @property
    def renewal_iterations(self) -> int:
        """What the factorisation of the coarse matrix costs in cycles, by the work that both take."""
        assert self._factor is not None
        return round(self._factor.flops / (_FACTOR_SPEED * 2.0 * 2.5 * self._data.size))

    def _rigid_motions(self) -> sp.csr_array:
        """(3m, 6g) displacements of the nodes for the motions of the aggregates, as `blocks.prolong` adds them."""
        at, m = self.layout, self.layout.order.size
        turn = np.zeros((m, 3, 6))
        turn[:, range(3), range(3)] = 1.0
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):  # u_i = w_j a_k - w_k a_j
            turn[:, i, 3 + j], turn[:, i, 3 + k] = self._arm[:, k], -self._arm[:, j]
        rows = np.repeat(np.arange(3 * m), 6)
        columns = np.broadcast_to((6 * at.of[:, None] + np.arange(6))[:, None], (m, 3, 6))
        entries = (turn.ravel(), (rows, columns.ravel()))
        return sp.csr_array(sp.coo_array(entries, shape=(3 * m, 6 * (at.member_start.size - 1))))

    def apply(self, force: Array) -> Array:
        """(k,) approximate displacement of the nodal unknowns under ``force`` (k,): M^-1 force."""
        return self.improved(None, force).astype(np.float64)

    def improved(self, x: Singles | None, load: Numbers | None) -> Singles:
        """(k,) what one cycle makes of ``x`` (k,) as a solution of K x = ``load`` (k,): x + M^-1 (load - K x).

        None is zero. A sweep takes the forces of links from before it; the coarse matrix holds their stiffness.
        """
        for vector, given in ((self._x, x), (self._load, load)):
            vector[:] = 0.0
            if given is not None:
                vector[self.layout.back] = given
        return self._improve()

    def _improve(self) -> Singles:
        at, x = self.layout, self._x
        given = self._load if self._links is None else self._load.copy()
        rows = (at.bounds, at.inverse_at, self._inverse, at.begin, at.column, self._data, self._load, x, at.widest)
        for _ in range(self.sweeps):
            self._old[:] = x
            self._load_with_links(given)
            for slabs in at.colours:
                self.team.run(slabs, blocks.sweep, *rows)
        change = np.subtract(x, self._old, out=self._old)
        upper = (at.begin, at.column, self._data, at.upper, change, self._rest, at.widest)
        self.team.run(at.row_slabs, blocks.upper_product, *upper)
        if self._links is not None:
            self._links.subtract(change, self._rest)
        blocks.restrict(at.of, self._arm, self._rest, self._coarse)
        assert self._factor is not None
        self._coarse[at.coarse_free] = self._factor.apply(self._coarse[at.coarse_free])  # the others are zero anyway
        blocks.prolong(at.of, self._arm, at.held, self._coarse, x)
        for _ in range(self.sweeps):
            self._load_with_links(given)
            for slabs in at.colours:  # never against the order in which the data lie: that takes twice as long
                self.team.run(slabs, blocks.sweep, *rows)
        return x[at.back]

    def _load_with_links(self, given: Singles) -> None:
        """Let the load be ``given`` (3m,) less the forces that the links have at the present x."""
        if self._links is not None:
            self._load[:] = given
            self._links.subtract(self._x, self._load)


class Inverse:
    """The cycle as an approximate inverse M of the whole matrix, its border eliminated.

    ``columns`` (k, b) are what the cycle makes of the border's columns, or made of them for an earlier tangent: M is a
    good inverse still, and `product` exactly M A for any.
    """

    def __init__(self, matrix: BorderedMatrix, cycle: Cycle, columns: Array) -> None:
        self._cycle, self._corner, self._k = cycle, matrix.corner, matrix.system.free.size
        self._columns, self._right, self._left = (
            np.ascontiguousarray(border.T, dtype=np.float32) for border in (columns, matrix.right, matrix.left)
        )
        self._schur = np.linalg.inv(matrix.corner - matrix.left.T @ columns)

    def apply(self, rhs: Array) -> Array:
        """M^-1 rhs (n,)."""
        return self._bordered(self._cycle.apply(rhs[: self._k]), rhs[self._k :])

    def product(self, x: Numbers) -> Numbers:
        """M^-1 A x (n,) for x (n,): what a cycle against the border's forces takes from x. In single precision."""
        x = x.astype(np.float32, copy=False)
        nodal, border = x[: self._k], x[self._k :]
        if not border.size:
            return nodal - self._cycle.improved(nodal, None)
        gained = nodal - self._cycle.improved(nodal, -border @ self._right)
        return self._bordered(gained, self._left @ nodal + self._corner @ border)

    def _bordered(self, nodal: Numbers, rest: Numbers) -> Numbers:
        """The whole solution from that of the nodal block alone, and the right-hand side of the border."""
        if not rest.size:
            return nodal
        border = self._schur @ (rest - self._left @ nodal)
        return np.concatenate([nodal - border.astype(np.float32) @ self._columns, border.astype(nodal.dtype)])


class Operator:
    """``matrix @ x`` by blocks of nodes, shared among threads."""

    def __init__(self, matrix: BorderedMatrix, layout: Layout, team: Team) -> None:
        self._matrix, self._layout, self._team = matrix, layout, team
        n = 3 * (matrix.system.start.size - 1)
        self._x, self._y = np.zeros(n), np.zeros(n)
        self._widest = int(np.diff(matrix.system.start).max())
        self._nodes = np.sort(layout.order)

    def __matmul__(self, x: Array) -> Array:
        m, at = self._matrix, self._layout
        free = m.system.free
        self._x[free] = x[: free.size]
        given = (self._nodes, m.system.start, m.system.column, m.stiffness.data, self._widest, self._x, self._y)
        self._team.run(at.row_slabs, blocks.multiply, *given)
        nodal = self._y[free]
        if m.links is not None:
            nodal = nodal + m.links @ x[: free.size]
        border = x[free.size :]
        if not border.size:
            return nodal
        return np.concatenate([nodal + m.right @ border, m.left.T @ x[: free.size] + m.corner @ border])


class MultigridSolver:
    """GMRES with the two-grid cycle; a direct solver takes over, with a note in the record, where that stalls.

    The smoother follows every tangent. The coarse matrix is renewed when GMRES fails with an old one, and after a
    solve that took more iterations than the average since the last renewal, the renewal included. Costs are counted,
    not timed, and no sum depends on the number of threads: equal inputs give equal bits.

    Parameters
    ----------
    sweeps
        Of Gauss-Seidel before and after the coarse correction.
    max_iterations
        GMRES iterations after which a system goes to the direct solver.
    usual_iterations
        GMRES iterations after which an answer that is good enough is taken, and an old coarse matrix that has not
        led to one is renewed.
    renewal_cost_iterations
        What a renewal of the coarse matrix costs at least, in iterations (measured: 3 to 6); more where nodes of nearly
        incompressible cells make that matrix large (20 in a segment).
    """

    def __init__(
        self, sweeps: int = 1, max_iterations: int = 150, usual_iterations: int = 20, renewal_cost_iterations: int = 4
    ) -> None:
        if min(sweeps, usual_iterations, renewal_cost_iterations) < 1 or max_iterations < 2:
            raise InputError(
                f"sweeps={sweeps}, usual_iterations={usual_iterations}, renewal_cost_iterations="
                f"{renewal_cost_iterations} and max_iterations={max_iterations} must be at least 1, 1, 1 and 2"
            )
        self.sweeps, self.max_iterations, self.usual_iterations = sweeps, max_iterations, usual_iterations
        self.renewal_cost_iterations = renewal_cost_iterations
        self._direct = LaggedDirectSolver()
        self._factory = Factory()
        self._system: System | None = None
        self._cycle: Cycle | None = None
        self._columns: Array | None = None  # of the border, as old as the coarse matrix
        self._fresh = False  # whether the coarse matrix is that of the present tangent
        self._cost_iterations = 0
        self._uses = 0
        self._record = SolverRecord()

    @property
    def record(self) -> SolverRecord:
        """Counters and seconds so far, those of the direct solver included."""
        return self._record + self._direct.record

    def reset(self) -> None:
        """Forget all earlier matrices; the counters stay."""
        self._factory.forget()
        self._direct.reset()
        self._system = self._cycle = self._columns = None
        self._record = replace(self._record, most_iterations=0)

    def solve(
        self, matrix: Matrix, rhs: Floats, rtol: float = 1e-8, enough: float = 0.0, last_resort: bool = True
    ) -> Floats:
        """Solve ``matrix`` (n, n) x = ``rhs`` (n,) or (n, k), with ``|rhs - A x| <= rtol |rhs|`` per column.

        After ``usual_iterations`` a residual of ``enough`` will do; the direct solver is the ``last_resort``.

        Raises
        ------
        InputError
            For a matrix without nodes, shapes that do not fit, a tolerance outside (0, 1), or lack of memory.
        ConvergenceError
            For a singular matrix, NaN or infinity, or a residual that cannot be reached; ``Stalled`` without the last
            resort.
        """
        if not isinstance(matrix, BorderedMatrix) or not matrix.system.free.size:
            raise InputError("the multigrid solver wants the bordered matrix of a structure with free nodes")
        check_system(matrix, np.array([matrix.right.sum(), matrix.left.sum(), matrix.corner.sum()]), rhs, rtol)
        start, before = time.perf_counter(), self._direct.record.wall_s
        try:
            with blas().limit(limits=1, user_api="blas"):
                columns = np.ascontiguousarray(rhs.reshape(rhs.shape[0], -1).T, dtype=np.float64)
                found = [self._solve_one(matrix, column, rtol, enough, last_resort) for column in columns]
        finally:
            self._count(wall_s=time.perf_counter() - start - (self._direct.record.wall_s - before))
        return np.stack(found, axis=-1).reshape(rhs.shape)

    def _solve_one(self, matrix: BorderedMatrix, rhs: Floats, rtol: float, enough: float, last_resort: bool) -> Floats:
        before = self._record.krylov_iterations
        result, trouble = self._iterate(matrix, rhs, rtol, enough)
        self._record = self._record.after(before)
        if result is None or not result.residual <= max(rtol, enough):
            assert self._cycle is not None
            if not last_resort:
                check_system(matrix, matrix.stiffness.data, rhs, rtol)  # as dear as an iteration, so not beforehand
                self._cycle.ready = False
                raise Stalled(trouble)
            self._cycle = None
            self._count(notes=(f"{rhs.size:,} unknowns solved directly: {trouble}",))
            return self._direct.solve(matrix, rhs, rtol, enough)
        self._judge(result.iterations)
        self._count(solves=1)
        return result.x

    def _iterate(
        self, matrix: BorderedMatrix, rhs: Floats, rtol: float, enough: float
    ) -> tuple[KrylovResult | None, str]:
        """GMRES, a second time with a new coarse matrix if the first was old; None, and why, where that is singular."""
        goal = Goal(rtol, self.max_iterations, enough, self.usual_iterations)
        try:
            self._prepare(matrix)
            old = not self._fresh
            # with an old coarse matrix a rough answer comes as soon as usual, or with a new one
            fewer = min(self.usual_iterations, self.max_iterations)
            first = goal._replace(max_iterations=fewer) if old and enough > rtol else goal
            result = self._attempt(matrix, rhs, first)
            if old and not result.residual <= max(rtol, enough):
                self._coarsen(matrix)
                result = self._attempt(matrix, rhs, goal, result.x)
        except ConvergenceError:
            return None, "the coarse matrix of the multigrid solver is singular"
        reached = f"a residual of {result.residual:.1e} after {result.iterations} iterations, wanted {rtol:.1e}"
        return result, f"the multigrid solver stalled at {reached}"

    def _attempt(self, matrix: BorderedMatrix, rhs: Floats, goal: Goal, start: Floats | None = None) -> KrylovResult:
        assert self._cycle is not None
        operator = Operator(matrix, self._cycle.layout, self._cycle.team)
        inverse = Inverse(matrix, self._cycle, self._border(matrix))
        result = gmres(operator, rhs, inverse.apply, goal, inverse.product, np.float32, start)
        self._count(krylov_iterations=result.iterations)
        return result

    def _border(self, matrix: BorderedMatrix) -> Array:
        """(k, b) what the cycle makes of the border's columns, once for each coarse matrix, whose cost it adds to."""
        assert self._cycle is not None
        if self._columns is None:
            columns = np.zeros(matrix.right.shape)
            for i, column in enumerate(matrix.right.T):
                columns[:, i] = self._cycle.apply(column)
            self._columns = columns
            self._cost_iterations += matrix.corner.shape[0]
            self._count(krylov_iterations=matrix.corner.shape[0])
        return self._columns

    def _prepare(self, matrix: BorderedMatrix) -> None:
        """A cycle for this matrix: its smoother, and a coarse matrix that may be older."""
        team = everybody()
        known = self._system is not None and self._system.same_nodes(matrix.system)
        if self._cycle is None or self._cycle.team is not team or not known:
            start = time.perf_counter()
            require(_bytes(matrix, self.max_iterations), f"{matrix.shape[0]:,} unknowns", "try larger elements")
            self._cycle = Cycle(build_layout(matrix), team, self._factory, self.sweeps)
            self._count(analyses=1, factor_s=time.perf_counter() - start)
        if self._system is not matrix.system:  # where the border is another one, the coarse matrix may be far off
            self._cycle.ready = False
        self._system = matrix.system
        self._cycle.smooth_with(matrix)
        self._fresh = False
        if not self._cycle.ready:
            self._coarsen(matrix)

    def _coarsen(self, matrix: BorderedMatrix) -> None:
        assert self._cycle is not None
        start = time.perf_counter()
        self._cycle.coarsen(matrix.points_mm)
        self._count(factorisations=1, factor_s=time.perf_counter() - start)
        self._fresh, self._columns = True, None
        self._cost_iterations, self._uses = max(self.renewal_cost_iterations, self._cycle.renewal_iterations), 0

    def _judge(self, iterations: int) -> None:
        """Have the coarse matrix renewed once a use of it costs more than the average so far."""
        assert self._cycle is not None
        worn = self._uses > 0 and iterations * self._uses > self._cost_iterations
        self._cost_iterations += iterations
        self._uses += 1
        self._cycle.ready = not worn

    def _count(self, **increments: Any) -> None:
        now = {name: getattr(self._record, name) + value for name, value in increments.items()}
        self._record = replace(self._record, **now)


class AutomaticSolver:
    """Direct for small systems, multigrid for large ones; the default of runs.

    Parameters
    ----------
    crossover
        Unknowns from which on the multigrid solver is faster (measured, see ``docs/linear-solver.md``).
    """

    def __init__(self, crossover: int = 3_000) -> None:
        self.crossover = crossover
        self._direct, self._multigrid = LaggedDirectSolver(), MultigridSolver()

    @property
    def record(self) -> SolverRecord:
        """Counters and seconds so far, of both."""
        return self._direct.record + self._multigrid.record

    def reset(self) -> None:
        """Forget all earlier matrices; the counters stay."""
        self._direct.reset()
        self._multigrid.reset()

    def solve(
        self, matrix: Matrix, rhs: Floats, rtol: float = 1e-8, enough: float = 0.0, last_resort: bool = True
    ) -> Floats:
        """As ``LaggedDirectSolver.solve`` or ``MultigridSolver.solve``."""
        large = isinstance(matrix, BorderedMatrix) and matrix.system.free.size >= self.crossover
        return (self._multigrid if large else self._direct).solve(matrix, rhs, rtol, enough, last_resort)


def _bytes(matrix: BorderedMatrix, iterations: int) -> float:
    """Memory that the cycle, its set-up and the Krylov vectors take."""
    return 130.0 * matrix.system.column.size + 8.0 * (iterations + 20) * matrix.shape[0]
