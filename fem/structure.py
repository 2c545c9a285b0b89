"""A structure: discretised cells, one material, rigid platens, fluid cavities; its state and its loads.

The unknowns are q = [3 displacements per node, 6 motions per platen, 1 pressure per cavity]. Nodes of a platen follow
it, and ties let some coordinates follow others: such entries are never active.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kyphos.threads import chunks, everybody

from .discretisation import Discretisation
from .kernels.forces import Cells, assembled_forces, assembled_stiffness
from .kernels.strain import MEAN_DILATATION, OK, log_strains
from .links import Coupling, Links
from .pattern import Pattern, stiffness_pattern
from .rigid import Platen, platen_displacement, platen_slopes, platen_stiffness
from .ties import Ties

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_TOUGH = 30.0  # bulk modulus over shear modulus: Poisson's ratio 0.484
_CREDIBLE = (-3.0, 1.0)  # mean stress over shear modulus that the tangent of such cells believes

FREEDOMS = ("x", "y", "z", "rx", "ry", "rz")


class Response(Protocol):
    """What a material returns for a batch of log strains."""

    @property
    def stress(self) -> Array:
        """(m, q, 6) MPa, conjugate to log strain."""

    @property
    def tangent(self) -> Array:
        """(m, q, 6, 6) MPa."""

    @property
    def state(self) -> Array:
        """(m, q, s) trial history."""

    @property
    def status(self) -> NDArray[np.int8]:
        """(m, q), 0 = good."""


class Material(Protocol):
    """Anything that turns a batch of log strains into stresses."""

    def update(self, strain: Array, state: Array, dt_s: float, cycles: float) -> Response:
        """Trial response; ``state`` is only read, and all zeros where the material is fresh."""


@dataclass(frozen=True)
class Cavity:
    """Cells filled by a fluid of one pressure (a balloon)."""

    name: str
    cells: Ids


@dataclass(frozen=True)
class State:
    """A converged (or trial) state; arrays are never changed in place.

    Attributes
    ----------
    displacement_mm
        (n, 3), with respect to ``Discretisation.points_mm``.
    motion
        (p, 6) platen translation mm and rotation vector rad.
    pressure_mpa
        (b,) cavity pressures.
    history
        (m, q, s) material state.
    """

    displacement_mm: Array
    motion: Array
    pressure_mpa: Array
    history: Array


@dataclass(frozen=True)
class Load:
    """Prescribed coordinates and generalised forces; entries follow q.

    Attributes
    ----------
    fixed
        (N,) bool: coordinate is prescribed (a fixed cavity entry prescribes the pressure).
    value
        (N,) the prescribed coordinate; ignored where not fixed.
    force
        (N,) conjugate force: N, N mm for rotations.
    volume_mm3
        (b,) prescribed volume of cavities whose pressure is not fixed.
    tension_n
        (c,) tension of the links' cables; empty means none.
    """

    fixed: NDArray[np.bool_]
    value: Array
    force: Array
    volume_mm3: Array
    tension_n: Array = field(default_factory=lambda: np.zeros(0))

    def between(self, start: Load, share: float) -> Load:
        """The load at ``share`` (0..1) of the way from ``start`` (its prescribed values) to this one."""
        return replace(
            self,
            value=start.value + share * (self.value - start.value),
            force=start.force + share * (self.force - start.force),
            volume_mm3=start.volume_mm3 + share * (self.volume_mm3 - start.volume_mm3),
            tension_n=_between(start.tension_n, self.tension_n, share),
        )


def _finite(array: Array) -> bool:
    """Whether all numbers (m, ..) are finite; one sum tells of a chunk."""
    sums = everybody().run(chunks(len(array)), lambda first, last: array[first:last].sum())
    return bool(np.isfinite(sums).all())


def _between(start: Array, end: Array, share: float) -> Array:
    """Tensions on the way; none at all count as zero."""
    if start.size == 0 or end.size == 0:
        start, end = (x if x.size else np.zeros(max(start.size, end.size)) for x in (start, end))
    return start + share * (end - start)


class Late:
    """A matrix that is made when it is first asked for: a trial that is rejected needs none."""

    def __init__(self, make: Callable[[], sp.csr_array]) -> None:
        self._make = make

    @cached_property
    def matrix(self) -> sp.csr_array:
        """The matrix."""
        made = self._make()
        del self._make  # what it is made of may go
        return made


@dataclass(frozen=True)
class Evaluation:
    """Everything known at one trial state."""

    force_n: Array  # (3n,) internal nodal forces, those of links included
    late_stiffness: Late
    volume_mm3: Array  # (b,)
    volume_slope: sp.csr_array  # (3n, b)
    response: Response
    strain: Array
    link_force_n: Array | None = None  # (3n,) the share of links, if there are any
    coupling: Coupling | None = None  # (3n, 3n) their stiffness

    @property
    def stiffness(self) -> sp.csr_array:
        """(3n, 3n), of the cells."""
        return self.late_stiffness.matrix

    def pushed(self, x: Array) -> Array:
        """Stiffness of cells and links times x (3n,) or (3n, b)."""
        own = self.stiffness @ x
        return np.asarray(own if self.coupling is None else own + self.coupling @ x)


class _Shape(NamedTuple):
    """What `log_strains` returns."""

    strain: Array
    f: Array
    stretch: Array
    frame: Array
    status: NDArray[np.int8]


@dataclass(frozen=True)
class Structure:
    """What is solved: cells, material, platens, cavities.

    Attributes
    ----------
    mesh
        Discretised cells.
    material
        Batch law of all cells.
    platens
        Rigid node sets.
    cavities
        Fluid-filled sets of cells.
    eigenstrain
        (m, q, 6) stress-free log strain (thermal), or None.
    ties
        Linear equations among nodal displacements and platen motions (not of nodes of a platen), or None.
        ``Load.force`` is then `Ties.carried`.
    links
        Elements between points that nodes carry, or None.
    """

    mesh: Discretisation
    material: Material
    platens: tuple[Platen, ...] = ()
    cavities: tuple[Cavity, ...] = ()
    eigenstrain: Array | None = field(default=None, repr=False)
    ties: Ties | None = None
    links: Links | None = None

    @property
    def n_nodes(self) -> int:
        """Nodes of the mesh."""
        return len(self.mesh.points_mm)

    @property
    def size(self) -> int:
        """Length of q."""
        return 3 * self.n_nodes + 6 * len(self.platens) + len(self.cavities)

    def platen_slice(self, name: str) -> slice:
        """Where the six motions of a platen stand in q."""
        index = [p.name for p in self.platens].index(name)
        start = 3 * self.n_nodes + 6 * index
        return slice(start, start + 6)

    def initial_state(self, history: Array) -> State:
        """Unloaded state with the material's ``history`` (m, q, s)."""
        return State(
            np.zeros((self.n_nodes, 3)),
            np.zeros((len(self.platens), 6)),
            np.zeros(len(self.cavities)),
            history,
        )

    def coordinates(self, state: State) -> Array:
        """q (N,) of a state."""
        return np.concatenate([state.displacement_mm.ravel(), state.motion.ravel(), state.pressure_mpa])

    def way(self, before: State, after: State) -> Array:
        """Change of q (N,) from one state to another."""
        return self.coordinates(after) - self.coordinates(before)

    def rebased(self, cell_ids: Ids, state: State) -> Structure:
        """Cells (k,) become stress-free in their current shape.

        Their material history is the caller's to renew.
        """
        mesh = self.mesh.rebased(cell_ids, self.mesh.points_mm + state.displacement_mm)
        return replace(self, mesh=mesh)

    def free_load(self, state: State) -> Load:
        """No force, nothing prescribed but the cavity volumes, which stay what they are."""
        q = self.coordinates(state)
        volumes = self.cavity_volumes(state)
        return Load(np.zeros(self.size, dtype=bool), q, np.zeros(self.size), volumes)

    def cavity_volumes(self, state: State) -> Array:
        """(b,) current volumes, mm3."""
        from .measure import cell_volumes

        if not self.cavities:
            return np.zeros(0)
        volume = cell_volumes(self.mesh, state)
        return np.array([volume[c.cells].sum() for c in self.cavities])

    @cached_property
    def rigid_dofs(self) -> NDArray[np.bool_]:
        """(N,) entries of q that follow others: of platen nodes, and those that ties make dependent."""
        rigid = self._platen_dofs.copy()
        if self.ties is not None:
            rigid[self.ties.dependent] = True
        return rigid

    @cached_property
    def _platen_dofs(self) -> NDArray[np.bool_]:
        rigid = np.zeros(self.size, dtype=bool)
        for platen in self.platens:
            rigid[(3 * platen.nodes[:, None] + np.arange(3)).ravel()] = True
        return rigid

    def moved(self, state: State, step: Array) -> State:
        """The state after adding ``step`` (N,) to q; what follows platens or ties does so exactly."""
        q = self.coordinates(state) + step
        if self.ties is not None:
            q = self.ties.obeyed(q)
        n = 3 * self.n_nodes
        motion = q[n : n + 6 * len(self.platens)].reshape(-1, 6)
        displacement = q[:n].reshape(-1, 3).copy()
        for platen, m in zip(self.platens, motion, strict=True):
            displacement[platen.nodes] = platen_displacement(platen, self.mesh.points_mm, m)
        return State(displacement, motion, q[n + 6 * len(self.platens) :], state.history)

    def motion_map(self, motion: Array) -> sp.csr_array:
        """(3n, 3n + 6p) derivative of all nodal displacements by q (without pressures); not to be changed."""
        key, found = motion.tobytes(), self._remembered.get("motion_map")  # forces and tangent ask for the same
        if found is None or found[0] != key:
            found = self._remembered["motion_map"] = (key, self._motion_map(motion))
        return sp.csr_array(found[1])

    def _motion_map(self, motion: Array) -> sp.csr_array:
        n = 3 * self.n_nodes
        free = np.flatnonzero(~self._platen_dofs[:n])
        rows, columns, values = [free], [free], [np.ones(free.size)]
        for i, (platen, m) in enumerate(zip(self.platens, motion, strict=True)):
            dof = 3 * platen.nodes[:, None] + np.arange(3)  # (k, 3)
            slopes = platen_slopes(platen, self.mesh.points_mm, m[3:])  # (k, 3, 3)
            start = n + 6 * i
            rows += [dof.ravel(), np.repeat(dof.ravel(), 3)]
            columns += [
                np.tile(start + np.arange(3), len(dof)),
                np.tile(start + 3 + np.arange(3), dof.size),
            ]
            values += [np.ones(dof.size), slopes.ravel()]
        shape = (n, n + 6 * len(self.platens))
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        found = sp.csr_array(sp.coo_array(entries, shape=shape))
        return found if self.ties is None else sp.csr_array(found @ self.ties.expansion[: shape[1], : shape[1]])

    def rigid_stiffness(self, motion: Array, force_n: Array) -> list[Array]:
        """(3, 3) geometric stiffness of each platen's rotation; ``force_n`` (3n,) internal forces."""
        force = force_n.reshape(-1, 3)
        return [
            platen_stiffness(p, self.mesh.points_mm, m[3:], force[p.nodes])
            for p, m in zip(self.platens, motion, strict=True)
        ]

    @cached_property
    def systems(self) -> dict[bytes, Any]:
        """Linear systems built for this structure (see `newton`), by what was unknown."""
        return {}

    @cached_property
    def _assumed_eigenstrain(self) -> Array:
        """(m, q, 6) eigenstrain as the elements see strain: projected, or with its mean dilatation."""
        assert self.eigenstrain is not None
        assumed, mesh = self.eigenstrain.copy(), self.mesh
        mean = mesh.formulation == MEAN_DILATATION
        trace = assumed[mean, :, :3].sum(axis=2)
        average = np.average(trace, axis=1, weights=mesh.weight[mean])[:, None] if mean.any() else trace
        assumed[mean, :, :3] += ((average - trace) / 3.0)[:, :, None]
        enhanced = np.flatnonzero(mesh.enhanced_index >= 0)
        if enhanced.size:
            flat = assumed[enhanced].reshape(enhanced.size, -1, 1)
            flat = flat - mesh.modes @ (mesh.filters @ flat)
            assumed[enhanced] = flat.reshape(enhanced.size, *assumed.shape[1:])
        return assumed

    @cached_property
    def _remembered(self) -> dict[str, Any]:
        return {}

    def tough_cells(self, state: State) -> Ids:
        """(k,) nearly incompressible cells, by the tangent of fresh material at rest; ``state`` lends its shape."""
        if "tough" not in self._remembered:
            rest = np.zeros((*self.mesh.weight.shape, 6))
            tangent = self.material.update(rest, np.zeros_like(state.history), 0.0, 0.0).tangent[:, 0]
            bulk, shear = tangent[:, :3, :3].sum(axis=(1, 2)) / 9.0, tangent[:, 3:, 3:].trace(axis1=1, axis2=2) / 3.0
            cells = np.flatnonzero(bulk > _TOUGH * shear)
            self._remembered["tough"] = (cells, shear[cells])
        return np.asarray(self._remembered["tough"][0])

    def _believed(self, state: State, stress: Array) -> Array:
        """(m, q, 6) what the tangent believes of a stress: of nearly incompressible cells, no wild pressures.

        A step that keeps the volume to first order changes it to second, by which the bulk modulus makes hundreds of
        MPa. They vanish with the next step if its tangent does not see them; there they would drown the geometric part.
        Only where links make a segment of cells: rubber at large strain means such pressures, and has a rate to lose.
        The bounds are measured: a unit in bending took 17 Newton iterations with them and 57 without, and 15, not 37,
        under 2500 N, although the true pressure is beyond them then (see ``docs/disc.md``).
        """
        cells = self.tough_cells(state) if self.links is not None else np.zeros(0, dtype=np.int64)
        if not cells.size:
            return stress
        least, most = (share * self._remembered["tough"][1][:, None] for share in _CREDIBLE)
        mean = stress[cells, :, :3].mean(axis=2)
        out = stress.copy()
        out[cells, :, :3] -= (mean - np.clip(mean, least, most))[:, :, None]
        return out

    @cached_property
    def _pattern(self) -> Pattern:
        return stiffness_pattern(self.mesh.cells, self.n_nodes)

    def evaluate(
        self, state: State, dt_s: float = 0.0, cycles: float = 0.0, tension_n: Array | None = None
    ) -> Evaluation | None:
        """Internal forces and stiffness at a trial state; None where a cell inverts or the law fails.

        ``tension_n`` (c,) is that of the links' cables; see `Load`.
        """
        shape = self._shape(state)
        if np.any(shape.status != OK):
            return None
        elastic = shape.strain if self.eigenstrain is None else shape.strain - self._assumed_eigenstrain
        response = self.material.update(elastic, state.history, dt_s, cycles)
        if np.any(response.status != OK) or not (_finite(response.stress) and _finite(response.tangent)):
            return None
        pressure = np.zeros(len(self.mesh.cells))
        for cavity, p in zip(self.cavities, state.pressure_mpa, strict=True):
            pressure[cavity.cells] = p
        cells = self._stressed(shape, response.stress, response.tangent, pressure)
        force, volume, slope = assembled_forces(cells)
        late = Late(lambda: self._stiffness(cells._replace(stress=self._believed(state, response.stress))))
        volumes = np.array([volume[c.cells].sum() for c in self.cavities])
        found = Evaluation(force, late, volumes, self._volume_slope(slope), response, shape.strain)
        return self.linked(found, state, tension_n)

    def linked(self, evaluation: Evaluation, state: State, tension_n: Array | None = None) -> Evaluation:
        """The evaluation with what the links do in ``state`` under tensions (c,), in place of what they did before."""
        if self.links is None:
            return evaluation
        force = evaluation.force_n if evaluation.link_force_n is None else evaluation.force_n - evaluation.link_force_n
        tension = np.zeros(0) if tension_n is None else tension_n
        acting = self.links.acting(self.mesh.points_mm + state.displacement_mm, tension)
        return replace(
            evaluation, force_n=force + acting.force_n, link_force_n=acting.force_n, coupling=acting.coupling
        )

    def elastic_stiffness(self, state: State) -> sp.csr_array:
        """(3n, 3n) stiffness that fresh, unstressed material would have in the shape of ``state``; positive."""
        shape = self._shape(state)
        response = self.material.update(np.zeros_like(shape.strain), np.zeros_like(state.history), 0.0, 0.0)
        unstressed, no_pressure = np.zeros_like(response.stress), np.zeros(len(self.mesh.cells))
        return self._stiffness(self._stressed(shape, unstressed, response.tangent, no_pressure))

    def _shape(self, state: State) -> _Shape:
        mesh = self.mesh
        points = mesh.points_mm + state.displacement_mm
        bending = (mesh.enhanced_index, mesh.modes, mesh.filters, mesh.small_strain)
        return _Shape(*log_strains(points, mesh.cells, mesh.gradient, mesh.weight, mesh.formulation, *bending))

    def _stressed(self, shape: _Shape, stress: Array, tangent: Array, pressure: Array) -> Cells:
        """The cells under ``stress`` (m, q, 6) with its ``tangent`` (m, q, 6, 6), and ``pressure`` (m,) in them."""
        mesh, pattern = self.mesh, self._pattern
        return Cells(
            mesh.gradient,
            mesh.weight,
            shape.f,
            shape.stretch,
            shape.frame,
            stress,
            tangent,
            mesh.formulation,
            pressure,
            mesh.enhanced_index,
            mesh.small_strain,
            mesh.modes,
            mesh.filters,
            mesh.cells,
            pattern.place,
            pattern.width,
            pattern.turns,
        )

    def _stiffness(self, cells: Cells) -> sp.csr_array:
        """(3n, 3n) stiffness of the cells."""
        pattern, n = self._pattern, 3 * self.n_nodes
        return sp.csr_array((assembled_stiffness(cells), pattern.indices, pattern.indptr), shape=(n, n))

    def _volume_slope(self, slope: Array) -> sp.csr_array:
        """(3n, b) of the cavities from that of every cell (m, 3a)."""
        mesh, n = self.mesh, 3 * self.n_nodes
        slopes = [sp.csc_array((n, 0))]
        for cavity in self.cavities:
            at = mesh.dofs[cavity.cells].ravel()  # all of them, also where zero: the pattern must not change
            entries = (slope[cavity.cells].ravel(), (at, np.zeros_like(at)))
            slopes.append(sp.csc_array(sp.coo_array(entries, shape=(n, 1))))
        return sp.csr_array(sp.hstack(slopes))
