"""Multigrid for porous networks: coarse voxels split where the bone in them is not connected, Galerkin operators.

Where struts are as thin as voxels, coarse grids that average moduli tie neighbouring struts together that never
touch, and the coarse correction is far too stiff. Here a block of 2 x 2 x 2 becomes as many coarse hexahedra as it
has connected parts, each with nodes of its own (as in composite finite elements: Hackbusch & Sauter 1997,
doi:10.1007/s002110050248; Nesme et al. 2009, doi:10.1145/1531326.1531358), and the coarse matrices are the exact
Galerkin products P'AP. They are stored as 3 x 3 blocks in float32; only the finest grid stays free of matrices.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray

from kyphos.threads import Team, slabs_of

from ..kernels import voxel_composite as kernels
from .cube import CORNERS, cube_stiffness
from .multigrid import COARSEST, Layout, Level, Single, Smoothing, pseudo_inverse, single

Ids: TypeAlias = NDArray[Any]

FIRST, DEEPER = Smoothing(4, 0.06), Smoothing(5, 0.04)
"""Of the first coarse level, and of those below, which are cheap: corners of small parts are badly scaled, and so
there is more to smooth than on a grid."""
_POWER_STEPS = 10
_MARGIN = 1.1  # on the largest eigenvalue, which power steps approach from below


def porosity(moduli: NDArray[Any]) -> float:
    """Share of the blocks of 2 x 2 x 2 voxels with bone that are partly empty."""
    even = np.pad(moduli > 0, [(0, n % 2) for n in moduli.shape]).view(np.uint8)
    blocks = even[::2] + even[1::2]
    blocks = blocks[:, ::2] + blocks[:, 1::2]
    blocks = blocks[:, :, ::2] + blocks[:, :, 1::2]
    filled, whole = int(np.count_nonzero(blocks)), int(np.count_nonzero(blocks == 8))
    return (filled - whole) / max(1, filled)


def octant_transfers() -> NDArray[np.float64]:
    """(8, 8, 8): for each octant of a block, the values at its corners per value at those of the block."""
    transfer = np.empty((8, 8, 8))
    for octant in range(8):
        place = (CORNERS + CORNERS[octant]) / 2.0  # of the octant's corners, in 0..1
        for corner in range(8):
            transfer[octant, :, corner] = np.prod(np.where(CORNERS[corner] == 1, place, 1.0 - place), axis=1)
    return transfer


class Blocks:
    """A coarse level: its hexahedra while the hierarchy is built, its block matrix and vectors afterwards.

    Smoothed by Chebyshev with inverse diagonal blocks.
    """

    def __init__(self, pos: Ids, conn: Ids, n: int, matrix: Single, team: Team, smoothing: Smoothing) -> None:
        self.pos, self.conn, self.n, self.matrix = pos, conn, n, matrix
        self.start, self.items = kernels.incidence(conn, n)
        self._rows = kernels.assemble_blocks(conn, self.start, self.items, matrix)
        self._inverse = kernels.inverse_blocks(*self._rows)
        self.rhs, self.x, self._other, self._step = (np.zeros((n, 4), np.float32) for _ in range(4))
        self.team, self.slabs = team, slabs_of(n, 3 * n, at_least=2000)
        largest = self._largest_eigenvalue()
        self._coefficients = [(np.float32(keep), np.float32(gain)) for keep, gain in smoothing.coefficients(largest)]

    def forget_elements(self) -> None:
        """Free what only the set-up of the next level needs."""
        nothing: Ids = np.zeros(0, np.float32)
        self.pos = self.conn = self.matrix = self.start = self.items = nothing

    def sparse(self) -> sp.csr_array[Any]:
        """The matrix (3n, 3n)."""
        row, column, block = self._rows
        size, full = 3 * self.n, block[:, :, :3].transpose(0, 2, 1).astype(np.float64)
        return sp.csr_array(sp.bsr_array((full, column, row), shape=(size, size)))

    def _sweep(self, keep: np.float32, gain: np.float32, residual: bool = False, still: bool = False) -> None:
        self.team.run(
            self.slabs, kernels.block_smooth, self.x, self._other, self._step, self.rhs, self._inverse,
            *self._rows, keep, gain, residual, still,
        )  # fmt: skip

    def _largest_eigenvalue(self) -> float:
        """Of D^-1 A, by power steps from a fixed start."""
        zero, one = np.float32(0.0), np.float32(1.0)
        self.x[:, :3] = np.random.default_rng(0).standard_normal((self.n, 3))
        largest = 1.0
        for _ in range(_POWER_STEPS):
            self._sweep(zero, one)  # rhs is zero: step = -D^-1 A x
            norm = float(np.linalg.norm(self._step))
            largest = norm / max(float(np.linalg.norm(self.x)), 1e-30)
            np.divide(self._step, max(norm, 1e-30), out=self.x)
        self.x[:] = 0.0
        return _MARGIN * max(largest, 1.0)

    def smooth(self, from_zero: bool) -> None:
        """Improve ``x`` for ``rhs``."""
        if from_zero:
            self.x[:] = 0.0
        for k, (keep, gain) in enumerate(self._coefficients):
            self._sweep(keep, gain, still=from_zero and k == 0)
            self.x, self._other = self._other, self.x

    def residual(self) -> Single:
        """rhs - A x; valid until the next step."""
        self._sweep(np.float32(0.0), np.float32(0.0), residual=True)
        return self._other


class CompositeMultigrid:
    """V-cycle for porous networks; a ``Preconditioner``.

    Parameters
    ----------
    layout
        Of the finest grid.
    """

    def __init__(self, layout: Layout, team: Team, smoothing: Smoothing) -> None:
        self._team, self._layout = team, layout
        self._fine = Level(single(layout), team, smoothing)
        self._held = layout.held.reshape(-1)
        pos, conn, self._flat = kernels.list_cubes(layout.moduli, layout.inverse)
        self._levels: list[Blocks] = []
        self._transfers: list[tuple[Any, Any]] = []
        n = self._flat.size
        start_items = kernels.incidence(conn, n)
        while True:
            up, place, coarse_conn, coarse_n = self._split(pos, conn, n, *start_items)
            matrix = self._matrices(pos, up, place.shape[0])
            if self._levels:
                self._levels[-1].forget_elements()
            degree = DEEPER if self._levels else FIRST
            self._levels.append(Blocks(place, coarse_conn, coarse_n, matrix, team, degree))
            last = self._levels[-1]
            if 3 * coarse_n <= COARSEST or coarse_n > 0.8 * n or place.max() < 2:
                break
            pos, conn, n, start_items = last.pos, last.conn, coarse_n, (last.start, last.items)
        last.forget_elements()
        self._solve = _coarsest(last)

    def _split(self, pos: Ids, conn: Ids, n: int, start: Ids, items: Ids) -> tuple[Ids, Ids, Ids, int]:
        """Coarse hexahedra of a level; remembers the transfer between the two."""
        block = pos.astype(np.int64) >> 1
        size = block.max(axis=0) + 1
        key = (block[:, 0] * size[1] + block[:, 1]) * size[2] + block[:, 2]
        up, place = kernels.split_blocks(pos, conn, np.argsort(key, kind="stable"), key)
        coarse_conn, coarse_n = kernels.join_corners(pos, conn, up, place, start, items)
        rows = kernels.interpolation(pos, up, place, coarse_conn, start, items)
        row, column, weight = rows
        self._transfers.append((rows, kernels.transposed(row, column, weight, coarse_n)))
        return up, place, coarse_conn, coarse_n

    def _matrices(self, pos: Ids, up: Ids, count: int) -> Single:
        transfer = octant_transfers()
        if self._levels:
            return np.asarray(kernels.project_matrices(pos, up, count, self._levels[-1].matrix, transfer))
        at = self._layout
        stiffness = cube_stiffness(at.poisson_ratio, at.edge_mm)
        wide = np.stack([np.kron(np.eye(3), t) for t in transfer])
        projected = np.einsum("opa,pq,oqb->oab", wide, stiffness, wide, optimize=True)
        return np.asarray(kernels.project_cubes(pos, up, count, at.moduli, at.held, stiffness, projected, transfer))

    @property
    def rhs(self) -> Single:
        """Right-hand side of the finest grid; fill it before ``cycle``."""
        return self._fine.rhs

    @property
    def sizes(self) -> list[int]:
        """Nodes of each level."""
        return [self._flat.size, *(level.n for level in self._levels)]

    def cycle(self) -> Single:
        """One V-cycle; the answer is valid until the next one."""
        run, fine, first = self._team.run, self._fine, self._levels[0]
        rows, columns = self._transfers[0]
        flat_shape = (3, self._held.size)
        fine.smooth(from_zero=True)
        residual = fine.residual().reshape(flat_shape)
        run(first.slabs, kernels.restrict_grid, *columns, self._flat, residual, first.rhs)
        self._descend(0)
        slabs = slabs_of(self._flat.size, 3 * self._flat.size, at_least=2000)
        x = fine.x.reshape(flat_shape)
        run(slabs, kernels.interpolate_grid, *rows, self._flat, self._held, first.x, x)
        fine.smooth(from_zero=False)
        return fine.x

    def _descend(self, number: int) -> None:
        level = self._levels[number]
        if number == len(self._levels) - 1:
            level.x[:, :3] = self._solve(level.rhs[:, :3].reshape(-1)).reshape(-1, 3)
            return
        below = self._levels[number + 1]
        rows, columns = self._transfers[number + 1]
        level.smooth(from_zero=True)
        self._team.run(below.slabs, kernels.sum_rows, *columns, level.residual(), below.rhs, False)
        self._descend(number + 1)
        self._team.run(level.slabs, kernels.sum_rows, *rows, below.x, level.x, True)
        level.smooth(from_zero=False)


def _coarsest(level: Blocks) -> Any:
    """Solver of the last level: dense if small, else sparse with a touch of shift against motions without energy."""
    matrix = level.sparse()
    if matrix.shape[0] <= COARSEST:
        dense = pseudo_inverse(matrix.toarray())
        return lambda rhs: dense @ rhs
    diagonal = matrix.diagonal()
    shift = np.where(diagonal > 0.0, 1e-6 * diagonal, 1.0)
    factor = sla.splu(sp.csc_array(matrix + sp.diags_array(shift)), permc_spec="MMD_AT_PLUS_A")
    return lambda rhs: factor.solve(rhs.astype(np.float64)).astype(np.float32)
