"""Linear elasticity of a voxel grid: the way in.

Prescribed displacements are lifted; a platen that finds its own motion costs one more solution per free motion,
after which its motions follow from a small system of equations.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kyphos.errors import ConvergenceError, InputError
from kyphos.threads import Team, slabs_of

from ..kernels.voxel_operator import strain_energy
from ..memory import require
from .composite import CompositeMultigrid, porosity
from .cube import cube_stiffness
from .grid import Condition, Grid, Islands, Prescribed, prescribe, without_islands
from .krylov import ConjugateGradients, KrylovRecord
from .multigrid import Layout, Multigrid, Operator, Preconditioner, Smoothing

Array: TypeAlias = NDArray[np.float64]
Coarsening: TypeAlias = Literal["auto", "averaged", "composite"]

POROUS = 0.6
"""Share of coarse voxels that are partly empty above which "auto" takes the composite hierarchy."""
BYTES_PER_NODE = 330
"""Measured: vectors and hierarchy of a linear solution, per node of the box around the filled voxels."""


@dataclass(frozen=True)
class VoxelSettings:
    """How a voxel grid is solved.

    Attributes
    ----------
    rtol
        Wanted residual relative to the forces that the prescribed displacements cause.
    max_iterations
        Of conjugate gradients.
    coarsening
        "averaged": coarse grids carry mean moduli; "composite": coarse voxels are split where the bone in them is
        not connected, for porous networks; "auto" looks at the grid.
    smoothing
        Of multigrid; the defaults are the best measured.
    threads
        None takes as many as Numba has been told to use. The result does not depend on it.
    """

    rtol: float = 1e-8
    max_iterations: int = 400
    coarsening: Coarsening = "auto"
    smoothing: Smoothing = field(default_factory=Smoothing)
    threads: int | None = None

    def __post_init__(self) -> None:
        if not 1e-13 < self.rtol < 1.0:
            raise InputError(f"rtol={self.rtol:g} must be inside (1e-13, 1)")
        if self.coarsening not in ("auto", "averaged", "composite"):
            raise InputError(f"coarsening={self.coarsening!r} is unknown; allowed: 'auto', 'averaged', 'composite'")


@dataclass(frozen=True)
class Reaction:
    """What a condition does to the grid.

    Attributes
    ----------
    name
        Of the condition.
    force_n, moment_n_mm
        (3,) on the grid; the moment about the platen's centre, or the mean position of a Hold's nodes.
    motion
        (6,) of a platen, mm and rad, the free ones as found; zeros for a Hold.
    """

    name: str
    force_n: Array
    moment_n_mm: Array
    motion: Array


@dataclass(frozen=True, eq=False)
class VoxelResult:
    """Solution on a voxel grid.

    Attributes
    ----------
    grid
        What was solved, islands taken away.
    displacement_mm
        (nx + 1, ny + 1, nz + 1, 3); zero at nodes of empty voxels. What no condition holds (sliding) has no mean
        translation and rotation.
    reactions
        One for each condition, in their order.
    energy_mj
        (nx, ny, nz) elastic strain energy of each voxel (mJ = N mm).
    iterations
        Of conjugate gradients, all solutions together.
    residuals
        History of the (last) solution, relative.
    unknowns
        Three for each node of a filled voxel.
    wall_s
        Seconds, all included.
    """

    grid: Grid
    displacement_mm: Array
    reactions: tuple[Reaction, ...]
    energy_mj: Array
    iterations: int
    residuals: tuple[float, ...]
    unknowns: int
    wall_s: float

    @cached_property
    def energy_density_mpa(self) -> Array:
        """(nx, ny, nz) strain energy per volume of voxel, MPa = mJ/mm3."""
        return self.energy_mj / self.grid.voxel_mm**3

    def reaction(self, name: str) -> Reaction:
        """The reaction of the condition ``name``."""
        for reaction in self.reactions:
            if reaction.name == name:
                return reaction
        known = ", ".join(r.name for r in self.reactions)
        raise InputError(f"no condition is called {name!r}; there are: {known}")


def solve(
    moduli_mpa: ArrayLike,
    voxel_mm: float,
    poisson_ratio: float,
    conditions: Sequence[Condition],
    *,
    islands: Islands = "error",
    settings: VoxelSettings | None = None,
) -> VoxelResult:
    """Linear elastic equilibrium of a grid of cubic voxels.

    Parameters
    ----------
    moduli_mpa
        (nx, ny, nz) Young's moduli, 0 = empty.
    voxel_mm
        Edge of a voxel.
    poisson_ratio
        Of all voxels.
    conditions
        ``Hold`` and ``Platen``; at least one.
    islands
        What becomes of voxels that are connected to no condition, face to face: "error" or "remove".
    settings
        Tolerance, threads, coarsening.

    Raises
    ------
    InputError
        For input that makes no sense, islands, or a grid that needs more memory than there is.
    ConvergenceError
        When the tolerance is out of reach.
    """
    began = time.perf_counter()
    chosen = settings or VoxelSettings()
    grid = without_islands(Grid(np.asarray(moduli_mpa), voxel_mm, poisson_ratio), conditions, islands)
    prescribed = prescribe(grid, conditions)
    check_memory(grid, BYTES_PER_NODE)
    with Team(chosen.threads) as team:
        system = ElasticSystem(grid, prescribed, chosen, team)
        return _superpose(system, began)


class ElasticSystem:
    """A grid ready for solutions: operator, hierarchy and vectors on the box around the filled voxels.

    Vectors are ``(3, nz + 1, ny + 1, nx + 1)``; ``to_box`` and ``from_box`` translate.
    """

    def __init__(self, grid: Grid, prescribed: tuple[Prescribed, ...], settings: VoxelSettings, team: Team) -> None:
        self.grid, self.prescribed, self.settings, self.team = grid, prescribed, settings, team
        filled = grid.filled
        spans = [np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        self.low = tuple(int(span[0]) for span in spans)
        self.box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        moduli = np.ascontiguousarray(grid.moduli_mpa[self.box].transpose(2, 1, 0))
        node_shape = tuple(n + 1 for n in moduli.shape)
        held = np.zeros(node_shape, np.uint8)
        self.flat = tuple(self.to_box(item.entries, node_shape) for item in prescribed)
        for ids in self.flat:
            component, node = np.divmod(ids, held.size)
            np.bitwise_or.at(held.reshape(-1), node, (1 << component).astype(np.uint8))
        self.layout = Layout(moduli, held, grid.voxel_mm, grid.poisson_ratio).build(team)
        self.operator = Operator(self.layout, team)
        self.preconditioner = precondition(self.layout, settings, team)
        self.cg = ConjugateGradients(self.layout.vector_shape, team)

    def to_box(self, entries: NDArray[np.int64], node_shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Flat positions in a vector of the ``entries`` 3 node + component of the whole grid."""
        node, component = np.divmod(entries, 3)
        i, j, k = (n - low for n, low in zip(np.unravel_index(node, self.grid.node_shape), self.low, strict=True))
        flat = ((component * node_shape[0] + k) * node_shape[1] + j) * node_shape[2] + i
        return np.asarray(flat, dtype=np.int64)

    def from_box(self, vector: Array) -> Array:
        """(nx + 1, ny + 1, nz + 1, 3) of the whole grid; zero outside the box."""
        whole = np.zeros((*self.grid.node_shape, 3))
        place = tuple(slice(s.start, s.stop + 1) for s in self.box)
        whole[place] = vector.transpose(3, 2, 1, 0)
        return whole

    def lift(self, out: Array, part: int | None = None, motion: int = 0) -> None:
        """Set ``out`` to zero but for all given displacements, or for one unit ``motion`` of condition ``part``."""
        out[:] = 0.0
        flat = out.reshape(-1)
        for number, (ids, item) in enumerate(zip(self.flat, self.prescribed, strict=True)):
            if part is None:
                flat[ids] = item.value_mm
            elif part == number:
                flat[ids] = item.unit[:, motion]

    def equilibrium(self, part: int | None = None, motion: int = 0) -> tuple[Array, Array, KrylovRecord]:
        """Displacement for the lifted field, (6,) generalised forces of each condition (c, 6), and the record."""
        cg = self.cg
        self.lift(cg.p, part, motion)
        lifted = cg.p.copy()
        self.operator.apply(cg.p, cg.q)
        np.negative(cg.q, out=cg.r)
        size = cg.norm(cg.r)
        record = cg.solve(self.operator.apply, self.preconditioner, self.settings.rtol, self.settings.max_iterations)
        np.add(cg.x, lifted, out=lifted)
        record = self._check(record, lifted, size)
        return lifted, self.forces(lifted), record

    def _check(self, record: KrylovRecord, u: Array, size: float) -> KrylovRecord:
        """The true residual in the end; raise where the tolerance was missed."""
        self.operator.apply(u, self.cg.q)
        true = self.cg.norm(self.cg.q) / size if size > 0.0 else 0.0
        if true <= 2.0 * self.settings.rtol:
            return KrylovRecord((*record.residuals[:-1], true), True)
        worst = np.unravel_index(int(np.argmax(np.abs(self.cg.q))), self.cg.q.shape)
        node = tuple(int(w) + low for w, low in zip(worst[:0:-1], self.low, strict=True))
        tail = ", ".join(f"{r:.1e}" for r in record.residuals[-4:])
        raise ConvergenceError(
            f"no elastic equilibrium after {record.iterations} iterations: relative residual {true:.1e}, wanted "
            f"{self.settings.rtol:.1e}. Largest at node {node}, component {'xyz'[worst[0]]}. Last residuals: {tail}. "
            "Try coarsening='composite' for porous grids, more max_iterations, or a larger rtol."
        )

    def forces(self, u: Array) -> Array:
        """(c, 6) force and moment that each condition exerts on the grid at displacement ``u``."""
        self.operator.apply(u, self.cg.q, release=False)
        return self.gather(self.cg.q)

    def gather(self, force: Array) -> Array:
        """(c, 6) generalised forces of nodal forces (a vector)."""
        flat = force.reshape(-1)
        return np.stack([item.unit.T @ flat[ids] for ids, item in zip(self.flat, self.prescribed, strict=True)])


def precondition(layout: Layout, settings: VoxelSettings, team: Team) -> Preconditioner:
    """The hierarchy that ``settings.coarsening`` asks for."""
    kind = settings.coarsening
    if kind == "auto":
        kind = "composite" if porosity(layout.moduli) > POROUS else "averaged"
    if kind == "composite":
        return CompositeMultigrid(layout, team, settings.smoothing)
    return Multigrid(layout, team, settings.smoothing)


def _superpose(system: ElasticSystem, began: float) -> VoxelResult:
    """Solve for what is given and for each free motion; combine so that free motions feel their loads."""
    u, forces, record = system.equilibrium()
    motions = [_given_motion(item) for item in system.prescribed]
    iterations = record.iterations
    free = [(part, motion) for part, item in enumerate(system.prescribed) for motion in item.free]
    if free:
        parts, rows = zip(*free, strict=True)
        answers = [system.equilibrium(part, motion) for part, motion in free]
        iterations += sum(answer[2].iterations for answer in answers)
        load = np.array([_load(system.prescribed[part], motion) for part, motion in free])
        flexibility = np.stack([answer[1][list(parts), list(rows)] for answer in answers], axis=1)
        amount = np.linalg.lstsq(flexibility, load - forces[list(parts), list(rows)], rcond=1e-12)[0]
        for a, (part, motion), (field_mm, force, _) in zip(amount, free, answers, strict=True):
            u += a * field_mm
            forces += a * force
            motions[part][motion] = a
        record = answers[-1][2]
    drop_drift(system, u)
    return VoxelResult(
        system.grid,
        system.from_box(u),
        tuple(
            Reaction(item.condition.name, force[:3], force[3:], motion)
            for item, force, motion in zip(system.prescribed, forces, motions, strict=True)
        ),
        _energy(system, u),
        iterations,
        record.residuals,
        3 * int(np.count_nonzero(system.layout.inverse)),
        time.perf_counter() - began,
    )


def _given_motion(item: Prescribed) -> Array:
    motion = getattr(item.condition, "motion", (0.0,) * 6)
    return np.array([0.0 if m is None else m for m in motion], dtype=np.float64)


def _load(item: Prescribed, motion: int) -> float:
    return float(getattr(item.condition, "load", (0.0,) * 6)[motion])


def _energy(system: ElasticSystem, u: Array) -> Array:
    moduli = system.layout.moduli
    energy = np.zeros_like(moduli)
    stiffness = cube_stiffness(system.grid.poisson_ratio, system.grid.voxel_mm)
    slabs = slabs_of(moduli.shape[0], 3 * moduli.size)
    system.team.run(slabs, strain_energy, u, moduli, stiffness, energy)
    whole = np.zeros_like(system.grid.moduli_mpa)
    whole[system.box] = energy.transpose(2, 1, 0)
    return whole


def drop_drift(system: ElasticSystem, u: Array) -> None:
    """Take from ``u`` the rigid motions that no condition resists, so that sliding bodies do not drift."""
    shape = system.layout.held.shape
    held = np.concatenate([_rigid_rows(shape, ids) for ids in system.flat])
    values, vectors = np.linalg.eigh(held.T @ held)
    loose = vectors[:, values < 1e-10 * max(float(values[-1]), 1e-300)]
    if loose.shape[1] == 0:
        return
    active = np.flatnonzero(system.layout.inverse.reshape(-1))
    flat, parts = u.reshape(-1), [active + c * system.layout.held.size for c in range(3)]
    modes = [_rigid_rows(shape, ids) @ loose for ids in parts]
    gram = sum((m.T @ m for m in modes), np.zeros((loose.shape[1],) * 2))
    share = sum((m.T @ flat[ids] for m, ids in zip(modes, parts, strict=True)), np.zeros(loose.shape[1]))
    amount = np.linalg.solve(gram, share)
    for m, ids in zip(modes, parts, strict=True):
        flat[ids] -= m @ amount


def _rigid_rows(shape: tuple[int, ...], ids: NDArray[np.int64]) -> Array:
    """(e, 6) displacement of the entries ``ids`` of a vector per unit rigid motion about the middle of the box."""
    component, node = np.divmod(ids, int(np.prod(shape)))
    place = np.stack(np.unravel_index(node, shape)[::-1], axis=-1)
    arm = (place - (np.array(shape[::-1]) - 1) / 2.0) / max(shape)
    rows = np.zeros((ids.size, 6))
    every = np.arange(ids.size)
    rows[every, component] = 1.0
    for axis in range(3):
        rows[:, 3 + axis] = np.cross(np.eye(3)[axis], arm)[every, component]
    return rows


def check_memory(grid: Grid, bytes_per_node: float) -> None:
    """Raise ``InputError`` where a solution would need more memory than is free, with the estimate."""
    filled = grid.filled
    spans = [np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    nodes = float(np.prod([span[-1] - span[0] + 2 for span in spans]))
    instead = "crop the image or coarsen it (twice the voxel size needs an eighth)"
    require(nodes * bytes_per_node, f"this grid of {nodes:.2g} nodes", instead)
