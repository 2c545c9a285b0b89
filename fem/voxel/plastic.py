"""Strength of a voxel grid: rate-independent plasticity at small strain, in increments.

Newton's method with conjugate gradients: the tangent is applied from the quadrature points (where nothing flows, by
the fast elastic operator), and the multigrid of the *elastic* grid is the preconditioner all the way. Linear
systems are solved no better than Newton needs (Eisenstat & Walker 1996, doi:10.1137/0917003, choice 2); a line
search on the residual guards each step; an increment that fails is halved.

Eight Gauss points, full integration: what other solvers call the plain brick. It is stiff in nearly incompressible
flow, so the plateau of a coarse grid is an upper estimate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kyphos.errors import ConvergenceError, InputError
from kyphos.threads import Team, slabs_of

from ..kernels.voxel_plastic import pack_tangents, plastic_update, point_forces, point_strains, tangent_forces
from ..kernels.voxel_vectors import dot
from ..structure import Material
from .cube import strain_matrix
from .grid import Condition, Grid, Islands, prescribe, without_islands
from .solve import BYTES_PER_NODE, ElasticSystem, VoxelSettings, check_memory

Array: TypeAlias = NDArray[np.float64]

BYTES_PER_VOXEL = 3000
"""Estimate for the plastic laws of this module, per filled voxel; a batch law needs about twice that."""


@dataclass(frozen=True, eq=False)
class J2:
    """Von Mises plasticity with linear isotropic hardening.

    Attributes
    ----------
    yield_stress_mpa, hardening_mpa
        A number, or (nx, ny, nz) for each voxel. Hardening is d(stress)/d(plastic strain), 0 = perfectly plastic.
    """

    yield_stress_mpa: ArrayLike
    hardening_mpa: ArrayLike = 0.0


@dataclass(frozen=True, eq=False)
class Tresca:
    """Perfect plasticity on Tresca's hexagon: largest minus smallest principal stress stays below the yield stress.

    Attributes
    ----------
    yield_stress_mpa
        Uniaxial; a number, or (nx, ny, nz) for each voxel.
    """

    yield_stress_mpa: ArrayLike


@dataclass(frozen=True, eq=False)
class BatchLaw:
    """A law from outside.

    Attributes
    ----------
    law
        Called with all points: strain (m, 8, 6), state (m, 8, s), no time and no cycles; of the tangent the symmetric
        part is used.
    state
        (m, 8, s) to begin with; the rows are the filled voxels in C order of the grid (``np.argwhere``).
    """

    law: Material
    state: Array


Law: TypeAlias = J2 | Tresca | BatchLaw


@dataclass(frozen=True)
class PlasticSettings:
    """How increments are solved.

    Attributes
    ----------
    rtol
        Wanted norm of the out-of-balance forces relative to that of the reactions.
    max_newton
        Iterations before an increment is halved.
    max_cuts
        How often it may be halved.
    linear_tolerance
        Smallest and largest relative residual that a linear solution aims at.
    line_search
        Smallest fraction of a Newton step that is tried.
    elastic
        Of the preconditioner, and the number of threads.
    """

    rtol: float = 1e-6
    max_newton: int = 25
    max_cuts: int = 4
    linear_tolerance: tuple[float, float] = (1e-3, 3e-2)
    line_search: float = 0.06
    elastic: VoxelSettings = field(default_factory=VoxelSettings)


@dataclass(frozen=True, eq=False)
class PlasticResult:
    """A load path on a voxel grid.

    Attributes
    ----------
    grid
        What was solved, islands taken away.
    names
        Of the conditions.
    factors
        (s,) multiples of the prescribed displacements that were reached.
    forces_n, moments_n_mm
        (s, c, 3) of each condition on the grid.
    displacement_mm
        (nx + 1, ny + 1, nz + 1, 3) at the end.
    plastic_strain
        (nx, ny, nz) mean accumulated plastic strain of each voxel at the end; NaN for a batch law, whose history
        is ``state``.
    yielded
        (nx, ny, nz) share of the points of each voxel that have ever flowed; NaN for a batch law.
    state
        (m, 8, s) history at the end, rows as in ``BatchLaw``.
    newton_iterations, linear_iterations
        Of the whole path.
    residuals
        Relative out-of-balance at the end of each step, (s,).
    wall_s
        Seconds, all included.
    """

    grid: Grid
    names: tuple[str, ...]
    factors: Array
    forces_n: Array
    moments_n_mm: Array
    displacement_mm: Array
    plastic_strain: Array
    yielded: Array
    state: Array
    newton_iterations: int
    linear_iterations: int
    residuals: Array
    wall_s: float

    def force_n(self, name: str) -> Array:
        """(s, 3) force of the condition ``name``."""
        if name not in self.names:
            raise InputError(f"no condition is called {name!r}; there are: {', '.join(self.names)}")
        forces: Array = self.forces_n[:, self.names.index(name)]
        return forces


class StrengthError(ConvergenceError):
    """A load path that could not be followed to its end.

    Attributes
    ----------
    partial
        All that was reached, as a ``PlasticResult``.
    """

    def __init__(self, message: str, residuals_n: tuple[float, ...], partial: PlasticResult) -> None:
        super().__init__(message, residuals_n)
        self.partial = partial


def solve_plastic(
    moduli_mpa: ArrayLike,
    voxel_mm: float,
    poisson_ratio: float,
    law: Law,
    conditions: Sequence[Condition],
    factors: Sequence[float],
    *,
    islands: Islands = "error",
    settings: PlasticSettings | None = None,
) -> PlasticResult:
    """Follow a path of prescribed displacements with a plastic law, from the unloaded state.

    Parameters
    ----------
    moduli_mpa, voxel_mm, poisson_ratio, conditions, islands
        As for ``solve``; platens must have all their motions given. For a ``BatchLaw`` the moduli only shape the
        preconditioner and should be those of the law at no load.
    law
        ``J2``, ``Tresca`` or ``BatchLaw``.
    factors
        Increasing or decreasing multiples of the prescribed displacements, one step each.
    settings
        Tolerances.

    Raises
    ------
    InputError
        For input that makes no sense.
    StrengthError
        When a step cannot be solved; what was reached is in its ``partial``.
    """
    began = time.perf_counter()
    chosen = settings or PlasticSettings()
    grid = without_islands(Grid(np.asarray(moduli_mpa), voxel_mm, poisson_ratio), conditions, islands)
    prescribed = prescribe(grid, conditions)
    for item in prescribed:
        if item.free:
            raise InputError(f"platen {item.condition.name!r} leaves motions free: a load path needs all six given")
    steps = np.asarray(factors, dtype=np.float64)
    if steps.ndim != 1 or steps.size == 0 or not np.isfinite(steps).all():
        raise InputError("factors must be a list of at least one finite number")
    check_memory(grid, BYTES_PER_NODE + BYTES_PER_VOXEL * float(grid.filled.mean()))
    with Team(chosen.elastic.threads) as team:
        system = ElasticSystem(grid, prescribed, chosen.elastic, team)
        return _Path(system, law, chosen, began).follow(steps)


class _Points:
    """Quadrature points of all filled voxels with a law: stress, trial state and tangent at a displacement."""

    def __init__(self, system: ElasticSystem, law: Law) -> None:
        grid, moduli = system.grid, system.layout.moduli
        self.law, self.team = law, system.team
        self.cells = np.argwhere(moduli > 0.0).astype(np.int32)
        self.count = self.cells.shape[0]
        self.layer = np.searchsorted(self.cells[:, 0], np.arange(moduli.shape[0] + 1))
        order = np.ravel_multi_index(tuple(self.cells[:, ::-1].T), moduli.shape[::-1])
        self.rank = np.empty(self.count, np.int64)  # row in C order of the grid
        self.rank[np.argsort(order)] = np.arange(self.count)
        per_corner = strain_matrix(grid.voxel_mm)
        slopes = np.stack([per_corner[:, a, 8 * a : 8 * a + 8] for a in range(3)])  # axis, point, corner
        self.gradient = np.ascontiguousarray(slopes.transpose(0, 2, 1))
        self.weight = grid.voxel_mm**3 / 8.0
        self.slabs = slabs_of(self.count, 24 * self.count, at_least=500)
        self.packed = np.zeros((self.count, 21, 8), np.float32)
        self.stress = np.zeros((self.count, 8, 6))
        self.flowing = np.zeros(self.count, np.int8)
        self._begin(grid, law)

    def _begin(self, grid: Grid, law: Law) -> None:
        if isinstance(law, BatchLaw):
            self.state = np.asarray(law.state, dtype=np.float64)
            if self.state.ndim != 3 or self.state.shape[:2] != (self.count, 8):
                raise InputError(
                    f"BatchLaw.state has shape {self.state.shape}; wanted ({self.count}, 8, s): one row for each "
                    "filled voxel, islands taken away"
                )
            self.strain = np.zeros((self.count, 8, 6))
            self.trial = self.state
            self.chosen = np.arange(self.count, dtype=np.int32)
            return
        self.chosen = np.zeros(0, np.int32)
        self.state, self.trial = (np.zeros((self.count, 8, 7)) for _ in range(2))
        young, poisson = self.of_cells(grid, grid.moduli_mpa), grid.poisson_ratio
        self.bulk, self.shear = young / (3.0 * (1.0 - 2.0 * poisson)), young / (2.0 * (1.0 + poisson))
        self.limit = self.of_cells(grid, law.yield_stress_mpa)
        self.hardening = self.of_cells(grid, law.hardening_mpa if isinstance(law, J2) else 0.0)
        if not (self.limit > 0.0).all():
            raise InputError("yield_stress_mpa must be a number above 0 in every filled voxel")
        if not (self.hardening > -1.5 * self.shear).all():
            raise InputError("hardening_mpa must be a number, 0 or above, in every filled voxel")

    def of_cells(self, grid: Grid, values: ArrayLike) -> Array:
        """(m,) values of the elements from a number or an array (nx, ny, nz)."""
        array = np.asarray(values, dtype=np.float64)
        if array.ndim and array.shape != grid.moduli_mpa.shape:
            raise InputError(f"a law's array has shape {array.shape}; the grid has {grid.moduli_mpa.shape}")
        in_order: Array = np.broadcast_to(array, grid.moduli_mpa.shape)[grid.filled]
        return in_order[self.rank]

    def evaluate(self, u: Array) -> bool:
        """Fill stress, trial state and tangent at ``u``; False where the law declines."""
        if isinstance(self.law, BatchLaw):
            return self._evaluate_batch(self.law.law, u)
        self.team.run(
            self.slabs, plastic_update, u, self.cells, self.rank, self.gradient, isinstance(self.law, Tresca),
            self.bulk, self.shear, self.limit, self.hardening, self.state, self.trial, self.stress, self.packed,
            self.flowing,
        )  # fmt: skip
        self.chosen = np.flatnonzero(self.flowing).astype(np.int32)
        return bool(np.isfinite(self.stress[:, 0, 0]).all())

    def _evaluate_batch(self, law: Material, u: Array) -> bool:
        self.team.run(self.slabs, point_strains, u, self.cells, self.rank, self.gradient, self.strain)
        response = law.update(self.strain, self.state, 0.0, 0.0)
        if np.any(response.status) or not np.isfinite(response.stress).all():
            return False
        self.stress, self.trial = np.ascontiguousarray(response.stress), response.state
        self.team.run(self.slabs, pack_tangents, response.tangent, self.rank, self.packed)
        return True

    def commit(self) -> None:
        """The trial state becomes the state."""
        self.state, self.trial = self.trial, self.state
        if isinstance(self.law, BatchLaw):
            self.trial = self.state

    def in_order(self, values: Array) -> Array:
        """Rows of the elements in C order of the grid."""
        ordered = np.empty_like(values)
        ordered[self.rank] = values
        return ordered


class _Path:
    """A load path in progress."""

    def __init__(self, system: ElasticSystem, law: Law, settings: PlasticSettings, began: float) -> None:
        self.system, self.settings, self.began = system, settings, began
        self.points = _Points(system, law)
        self.cg = system.cg
        self.u, self.force, self.base = (np.zeros_like(self.cg.x) for _ in range(3))
        self.held = np.unique(np.concatenate(system.flat))
        self.unit = np.zeros_like(self.cg.x)
        system.lift(self.unit)
        self.elastic = system.layout.moduli.copy()  # zero where the points give the tangent
        self._operator = system.operator
        self._slabs = slabs_of(self.u.size, self.u.size)
        self.newton = self.linear = 0
        self.rows: list[tuple[float, Array, float]] = []

    def follow(self, factors: Array) -> PlasticResult:
        """All steps."""
        self._tangent_changed(self.points.evaluate(self.u))
        reached = 0.0
        for factor in factors:
            for share in self._shares(reached, float(factor)):
                reached = share
            forces = self.system.gather(self.force)
            self.rows.append((reached, forces, self.residual_ratio))
        return self.result()

    def _shares(self, start: float, end: float) -> Iterator[float]:
        """Reach ``end`` in as many parts as it takes; yields what has been reached."""
        at, size, cuts = start, end - start, 0
        while at != end:
            target = end if abs(end - at) <= abs(size) * (1.0 + 1e-9) else at + size
            residuals = self._increment(target - at)
            if residuals is None:
                at = target
                yield at
                continue
            cuts += 1
            if cuts > self.settings.max_cuts:
                raise self._give_up(at, target, residuals)
            size *= 0.5

    def _give_up(self, at: float, target: float, residuals: list[float]) -> StrengthError:
        span = (
            f"between {at:g} and {target:g} times the prescribed displacements, after {self.settings.max_cuts} halvings"
        )
        advice = (
            f"The {len(self.rows)} steps before are in .partial. Try smaller steps, or end the path earlier "
            "if the grid has lost its strength."
        )
        if not np.isfinite(residuals[-1]):
            return StrengthError(f"the law declines the strains {span}. {advice}", (), self.result())
        worst = np.unravel_index(int(np.argmax(np.abs(self.cg.r))), self.cg.r.shape)
        node = tuple(int(w) + low for w, low in zip(worst[:0:-1], self.system.low, strict=True))
        tail = ", ".join(f"{r:.2g}" for r in residuals[-4:])
        message = (
            f"no equilibrium {span}: out-of-balance force {residuals[-1]:.3g} N, largest at node {node}. "
            f"Last residuals: {tail} N. {advice}"
        )
        return StrengthError(message, tuple(residuals), self.result())

    def _increment(self, change: float) -> list[float] | None:
        """One increment; None if it converged, else the residuals, all being as before."""
        np.copyto(self.base, self.u)
        residuals: list[float] = []
        if self._predict(change):
            residuals.append(self._residual())
            while not residuals[-1] <= self._tolerance() and len(residuals) < self.settings.max_newton:
                if not self._improve(residuals):
                    break
            if residuals[-1] <= self._tolerance():
                self.points.commit()
                self.residual_ratio = residuals[-1] / max(self._size, 1e-300)
                return None
        np.copyto(self.u, self.base)
        self._tangent_changed(self.points.evaluate(self.u))
        return residuals or [float("nan")]

    def _predict(self, change: float) -> bool:
        """Move the supports by ``change`` times the unit field and follow with the tangent."""
        cg = self.cg
        np.multiply(self.unit, change, out=cg.p)
        self._apply(cg.p, cg.q)
        np.negative(cg.q, out=cg.r)
        cg.r -= self.force
        cg.r.reshape(-1)[self.held] = 0.0
        self._linear(self.settings.linear_tolerance[0])
        cg.x += change * self.unit
        self.u += cg.x
        return self._tangent_changed(self.points.evaluate(self.u))

    def _improve(self, residuals: list[float]) -> bool:
        """One Newton step with line search; False where no fraction of it helps."""
        low, high = self.settings.linear_tolerance
        ratio = residuals[-1] / residuals[-2] if len(residuals) > 1 else 1.0
        self._linear(min(high, max(low, 0.9 * ratio**2, 0.3 * self._tolerance() / residuals[-1])))
        step = self.cg.x.copy()
        share, taken = 1.0, 0.0
        while share >= self.settings.line_search:
            self.u += (share - taken) * step
            taken = share
            if self._tangent_changed(self.points.evaluate(self.u)):
                now = self._residual()
                if now <= (1.0 - 1e-4 * share) * residuals[-1]:
                    residuals.append(now)
                    return True
            share *= 0.5
        return False

    def _linear(self, rtol: float) -> None:
        record = self.cg.solve(self._apply, self.system.preconditioner, rtol, self.settings.elastic.max_iterations)
        self.newton += 1
        self.linear += record.iterations

    def _tangent_changed(self, good: bool) -> bool:
        """Nodal forces and the split between elastic and flowing voxels after an evaluation."""
        points, layout = self.points, self.system.layout
        if not good:
            return False
        self.system.team.run(
            layout.slabs, point_forces, points.stress, self.force, points.cells, points.layer, points.rank,
            points.gradient, points.weight,
        )  # fmt: skip
        np.copyto(self.elastic, layout.moduli)
        k, j, i = points.cells[points.chosen].T
        self.elastic[k, j, i] = 0.0
        self._layer = np.searchsorted(k, np.arange(layout.moduli.shape[0] + 1))
        return True

    def _apply(self, u: Array, out: Array) -> float:
        """out = K u with the tangent, zero where held; returns u.out."""
        points, slabs, team = self.points, self.system.layout.slabs, self.system.team
        if points.chosen.size < points.count:
            self._operator.apply(u, out, moduli=self.elastic)
        else:
            out[:] = 0.0
        team.run(
            slabs, tangent_forces, u, out, points.cells, self._layer, points.chosen, points.packed, points.gradient,
            points.weight,
        )  # fmt: skip
        flat = out.reshape(-1)
        flat[self.held] = 0.0
        return team.total(self._slabs, dot, u.reshape(-1), flat)

    def _residual(self) -> float:
        """Norm of the out-of-balance forces, which go to ``cg.r`` (as the next right-hand side)."""
        np.negative(self.force, out=self.cg.r)
        flat = self.cg.r.reshape(-1)
        self._size = float(np.linalg.norm(flat[self.held]))
        flat[self.held] = 0.0
        return self.cg.norm(self.cg.r)

    def _tolerance(self) -> float:
        return self.settings.rtol * max(self._size, 1e-12)

    residual_ratio: float = 0.0
    _size: float = 0.0

    def result(self) -> PlasticResult:
        """All that has been reached."""
        system, points = self.system, self.points
        grid, nothing = system.grid, np.full(system.grid.moduli_mpa.shape, np.nan)
        forces = np.array([row[1] for row in self.rows]).reshape(-1, len(system.prescribed), 6)
        strain, share = nothing, nothing
        if not isinstance(points.law, BatchLaw):
            grown = points.in_order(points.state[:, :, 6])
            strain, share = np.zeros(nothing.shape), np.zeros(nothing.shape)
            strain[grid.filled], share[grid.filled] = grown.mean(axis=1), (grown > 0.0).mean(axis=1)
        batch = isinstance(points.law, BatchLaw)
        return PlasticResult(
            grid,
            tuple(item.condition.name for item in system.prescribed),
            np.array([row[0] for row in self.rows]),
            forces[:, :, :3],
            forces[:, :, 3:],
            system.from_box(self.u),
            strain,
            share,
            points.state if batch else points.in_order(points.state),
            self.newton,
            self.linear,
            np.array([row[2] for row in self.rows]),
            time.perf_counter() - self.began,
        )


def offset_strength(strain: ArrayLike, stress: ArrayLike, offset: float = 0.002) -> float:
    """Stress (or force) where the curve meets its initial slope shifted by ``offset`` along strain.

    Parameters
    ----------
    strain, stress
        (s,) of the loading path, growing from near zero in size; signs do not matter. The first point gives the slope.
    offset
        0.002 is the 0.2 % of strength tests. In the units of ``strain``.

    Returns
    -------
    The stress at the crossing, positive.

    Raises
    ------
    InputError
        When the curve does not reach the shifted line: the path is too short.
    """
    e = np.concatenate([[0.0], np.abs(np.asarray(strain, dtype=np.float64))])
    s = np.concatenate([[0.0], np.abs(np.asarray(stress, dtype=np.float64))])
    if e.size < 3 or e.shape != s.shape or not np.all(np.diff(e) > 0.0):
        raise InputError("offset_strength wants at least two points (strain, stress), the strain growing in size")
    gap = s - s[1] / e[1] * (e - offset)  # positive before the crossing
    after = np.flatnonzero(gap <= 0.0)
    if after.size == 0:
        raise InputError(
            f"the curve ends at strain {e[-1]:.4g} before it meets the line of offset {offset:g}; load further"
        )
    n = int(after[0])
    share = gap[n - 1] / (gap[n - 1] - gap[n])
    return float(s[n - 1] + share * (s[n] - s[n - 1]))
