"""Geometric multigrid on averaged moduli: the preconditioner of grids that are mostly solid.

One V-cycle in float32: Chebyshev smoothing before and after, trilinear transfer, and on the coarsest grid a dense
pseudo-inverse, so that motions without energy (a body between two sliding faces) need no special care. The bound of
the smoother is that of a single cube: no eigenvalue of D^-1 A exceeds the largest of a cube's own (Wathen 1987,
doi:10.1093/imanum/7.4.449). Coarse grids carry the mean modulus of their eight voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kyphos.threads import Slabs, Team, slabs_of

from ..kernels.voxel_composite import cube_matrix
from ..kernels.voxel_operator import apply, smooth, smooth_from_zero
from ..kernels.voxel_transfer import (
    coarse_held,
    coarse_moduli,
    held_by_layer,
    interpolate,
    inverse_diagonal,
    restrict,
    row_extents,
)
from .cube import cube_constants, cube_stiffness

Array: TypeAlias = NDArray[np.float64]
Single: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.uint8]

COARSEST = 600  # unknowns of the dense grid
_NULL = 2e-6  # of the largest eigenvalue: motions without energy, in float32


@dataclass(frozen=True)
class Smoothing:
    """Chebyshev smoothing: ``degree`` products before and after, on eigenvalues from ``low`` times the largest."""

    degree: int = 3
    low: float = 0.1

    def coefficients(self, largest: float) -> list[tuple[float, float]]:
        """(keep, gain) of each step, for the spectrum up to ``largest``. Saad (2003), algorithm 12.1."""
        middle, half = largest * (1.0 + self.low) / 2.0, largest * (1.0 - self.low) / 2.0
        sigma = middle / half
        rho, found = 1.0 / sigma, [(0.0, 1.0 / middle)]
        for _ in range(self.degree - 1):
            following = 1.0 / (2.0 * sigma - rho)
            found.append((following * rho, 2.0 * following / half))
            rho = following
        return found


class Preconditioner(Protocol):
    """An approximate inverse of the elastic operator in float32."""

    @property
    def rhs(self) -> Single:
        """Right-hand side; fill it before ``cycle``."""
        ...

    def cycle(self) -> Single:
        """Approximate solution for ``rhs``; both (3, nz + 1, ny + 1, nx + 1). Valid until the next call."""
        ...


@dataclass
class Layout:
    """Where the entries of one grid are: rows that are filled, entries that are held, slabs for threads.

    Attributes
    ----------
    moduli
        (nz, ny, nx), float64 or float32.
    held
        (nz + 1, ny + 1, nx + 1) bits of held components.
    edge_mm
        Edge of a voxel.
    """

    moduli: NDArray[Any]
    held: Bits
    edge_mm: float
    poisson_ratio: float
    extent: NDArray[np.int64] = field(init=False)
    node_extent: NDArray[np.int64] = field(init=False)
    inverse: Single = field(init=False)
    start: NDArray[np.int64] = field(init=False)
    index: NDArray[np.int32] = field(init=False)
    slabs: Slabs = field(init=False)
    largest: float = field(init=False)

    def build(self, team: Team) -> Layout:
        """Fill in the rest."""
        nz, ny, _ = self.moduli.shape
        self.slabs = slabs_of(nz + 1, 3 * self.held.size)
        self.extent = np.empty((nz, ny, 2), np.int64)
        self.node_extent = np.empty((nz + 1, ny + 1, 2), np.int64)
        row_extents(self.moduli, self.extent, self.node_extent)
        stiffness = cube_stiffness(self.poisson_ratio, self.edge_mm)
        self.inverse = np.empty(self.held.shape, np.float32)
        team.run(self.slabs, inverse_diagonal, self.moduli, stiffness[0, 0], self.inverse)
        self.largest = float(np.linalg.eigvalsh(stiffness)[-1] / stiffness[0, 0])
        self.start, self.index = held_by_layer(self.held, self.inverse)
        return self

    @property
    def vector_shape(self) -> tuple[int, int, int, int]:
        """Of displacements and forces."""
        return (3, *self.held.shape)

    @cached_property
    def nothing_held(self) -> NDArray[np.int64]:
        """``start`` of a grid without supports: for reactions."""
        return np.zeros_like(self.start)

    def rings(self, dtype: type[np.floating[Any]]) -> list[NDArray[Any]]:
        """Scratch of each slab: forces on two node layers."""
        return [np.zeros((2, 3, *self.held.shape[1:]), dtype) for _ in self.slabs]


class Operator:
    """The elastic operator in float64; ``u`` must be zero where held, unless reactions are wanted."""

    def __init__(self, layout: Layout, team: Team) -> None:
        self.layout, self.team = layout, team
        self._constants = cube_constants(layout.poisson_ratio, layout.edge_mm)
        self._rings = layout.rings(np.float64)

    def apply(self, u: Array, out: Array, release: bool = True, moduli: Array | None = None) -> float:
        """out = A u, zero where held if ``release``; returns u.out. ``moduli`` may stand in for those of the grid."""
        at = self.layout
        start = at.start if release else at.nothing_held
        given = at.moduli if moduli is None else moduli
        arguments = (u, out, given, at.extent, at.node_extent, start, at.index, self._constants)
        return float(np.sum(self.team.run_with(at.slabs, apply, arguments, self._rings)))


class Level:
    """One grid of the hierarchy with its vectors."""

    def __init__(self, layout: Layout, team: Team, smoothing: Smoothing) -> None:
        self.layout, self.team = layout, team
        shape = layout.vector_shape
        self.rhs, self.x, self.other, self._step = (np.zeros(shape, np.float32) for _ in range(4))
        self._constants = cube_constants(layout.poisson_ratio, layout.edge_mm).astype(np.float32)
        self._coefficients = [
            (np.float32(keep), np.float32(gain)) for keep, gain in smoothing.coefficients(layout.largest)
        ]
        self._rings = layout.rings(np.float32)

    def smooth(self, from_zero: bool) -> None:
        """Improve ``x`` for ``rhs``."""
        coefficients, at = self._coefficients, self.layout
        if from_zero:
            gain = coefficients[0][1]
            self.team.run(at.slabs, smooth_from_zero, self.x, self._step, self.rhs, at.inverse, at.node_extent, gain)
            coefficients = coefficients[1:]
        for keep, gain in coefficients:
            self._sweep(keep, gain, residual=False)
            self.x, self.other = self.other, self.x

    def residual(self) -> Single:
        """rhs - A x, in ``other``."""
        self._sweep(np.float32(0.0), np.float32(0.0), residual=True)
        return self.other

    def _sweep(self, keep: np.float32, gain: np.float32, residual: bool) -> None:
        at = self.layout
        arguments = (
            self.x, self.other, self._step, self.rhs, at.inverse, at.moduli, at.extent, at.node_extent,
            at.start, at.index, self._constants, keep, gain, residual,
        )  # fmt: skip
        self.team.run_with(at.slabs, smooth, arguments, self._rings)


class Multigrid:
    """V-cycle on averaged moduli; a ``Preconditioner``.

    Parameters
    ----------
    layout
        Of the finest grid, moduli in float64 or float32.
    """

    def __init__(self, layout: Layout, team: Team, smoothing: Smoothing) -> None:
        self._team = team
        self._levels: list[Level] = []
        layout = single(layout)
        while True:
            self._levels.append(Level(layout, team, smoothing))
            if 3 * layout.held.size <= COARSEST or max(layout.moduli.shape) <= 2:
                break
            layout = coarser(layout, team)
        last = self._levels[-1].layout
        matrix, self._ids = cube_matrix(
            last.moduli, cube_stiffness(last.poisson_ratio, last.edge_mm), last.held, last.inverse
        )
        self._dense = pseudo_inverse(matrix)

    @property
    def rhs(self) -> Single:
        """Right-hand side of the finest grid; fill it before ``cycle``."""
        return self._levels[0].rhs

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Voxels (nz, ny, nx) of each grid."""
        return [level.layout.moduli.shape for level in self._levels]

    def cycle(self) -> Single:
        """One V-cycle; the answer is valid until the next one."""
        self._descend(0)
        return self._levels[0].x

    def _descend(self, number: int) -> None:
        level = self._levels[number]
        if number == len(self._levels) - 1:
            level.x.reshape(-1)[self._ids] = self._dense @ level.rhs.reshape(-1)[self._ids]
            return
        below = self._levels[number + 1]
        level.smooth(from_zero=True)
        fine, coarse = level.layout, below.layout
        self._team.run(coarse.slabs, restrict, level.residual(), below.rhs, coarse.start, coarse.index)
        self._descend(number + 1)
        self._team.run(fine.slabs, interpolate, below.x, level.x, fine.start, fine.index, fine.inverse)
        level.smooth(from_zero=False)


def single(layout: Layout) -> Layout:
    """The same grid with moduli in float32."""
    copy = object.__new__(Layout)
    copy.__dict__.update(layout.__dict__, moduli=layout.moduli.astype(np.float32))
    return copy


def coarser(layout: Layout, team: Team) -> Layout:
    """The grid of twice the voxel size; where a held face falls inside a coarse voxel, the rest mirrors the grid."""
    shape = tuple((n + 1) // 2 for n in layout.moduli.shape)
    moduli = np.empty(shape, np.float32)
    coarse_moduli(layout.moduli, _held_faces(layout), moduli)
    held = np.zeros(tuple(n + 1 for n in shape), np.uint8)
    coarse_held(layout.held, layout.inverse, held)
    return Layout(moduli, held, 2.0 * layout.edge_mm, layout.poisson_ratio).build(team)


def _held_faces(layout: Layout) -> int:
    """Bits x y z of the axes whose far face is mostly held."""
    bits = 0
    for axis, bit in ((2, 1), (1, 2), (0, 4)):
        face = np.take(layout.held, -1, axis=axis)[np.take(layout.inverse, -1, axis=axis) > 0.0]
        if face.size and np.count_nonzero(face) > 0.5 * face.size:
            bits |= bit
    return bits


def pseudo_inverse(matrix: Array) -> Single:
    """Inverse (n, n) of a symmetric positive semi-definite matrix, without its motions of no energy."""
    diagonal = np.diag(matrix).copy()
    scale = np.divide(1.0, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0.0)
    values, vectors = np.linalg.eigh(scale[:, None] * matrix * scale)
    kept = values > _NULL * values[-1]
    half = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    return np.ascontiguousarray(half @ half.T, dtype=np.float32)
