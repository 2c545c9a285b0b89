"""One static problem in one call: any hex8 or tet10 mesh, any law, given displacements and nodal forces."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import InputError

from .discretisation import discretise
from .linear import DirectSolver, LinearSolver
from .march import MarchSettings, settle
from .measure import cauchy_stress
from .newton import Equilibrium
from .recover import nodal_average
from .structure import Load, Material, State, Structure

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class StaticResult:
    """A solved static problem.

    Attributes
    ----------
    structure
        What was solved.
    equilibrium
        State, forces and convergence record.
    load
        The load that is balanced.
    """

    structure: Structure
    equilibrium: Equilibrium
    load: Load

    @property
    def state(self) -> State:
        """Converged state; the next problem may start from it."""
        return self.equilibrium.state

    @property
    def displacement_mm(self) -> Array:
        """(n, 3)."""
        return self.state.displacement_mm

    @property
    def reaction_n(self) -> Array:
        """(n, 3) force of the supports on the body: internal force less the applied one."""
        n = 3 * self.structure.n_nodes
        return np.asarray((self.equilibrium.reactions_n - self.load.force)[:n].reshape(-1, 3))

    @property
    def stress_mpa(self) -> Array:
        """(m, q, 6) Cauchy stress at the quadrature points."""
        return cauchy_stress(self.structure.mesh, self.state, self.equilibrium.evaluation.response.stress)

    @property
    def nodal_stress_mpa(self) -> Array:
        """(n, 6) Cauchy stress, extrapolated to the nodes and averaged over cells."""
        return nodal_average(self.structure.mesh, self.stress_mpa)


def prescribe(n_nodes: int, *entries: tuple[Ids, str, float]) -> Array:
    """Prescribed displacements (n, 3), mm; NaN means free.

    Parameters
    ----------
    entries
        (node ids, axes such as "xz", value in mm); where two entries meet, the later one holds.

    Raises
    ------
    InputError
        An axis that is not x, y or z.

    Examples
    --------
    >>> prescribe(2, (np.array([0]), "xyz", 0.0), (np.array([1]), "z", -0.5))
    array([[ 0. ,  0. ,  0. ],
           [ nan,  nan, -0.5]])
    """
    out = np.full((n_nodes, 3), np.nan)
    for nodes, axes, value in entries:
        if not axes or set(axes) - set("xyz"):
            raise InputError(f"axes {axes!r} must be some of the letters 'x', 'y', 'z', for example 'xz'")
        for axis in axes:
            out[nodes, "xyz".index(axis)] = value
    return out


def solve_static(
    points_mm: Array,
    cells: Ids,
    material: Material,
    prescribed_mm: Array,
    force_n: Array | None = None,
    *,
    formulation: str | NDArray[np.int8] = "standard",
    poisson_ratio: float = 0.3,
    history: Array | None = None,
    eigenstrain: Array | None = None,
    solver: LinearSolver | None = None,
    settings: MarchSettings | None = None,
) -> StaticResult:
    """Equilibrium of a body from its unloaded state.

    Parameters
    ----------
    points_mm, cells
        (n, 3) and (m, 8) or (m, 10), VTK order.
    material
        Batch law of all cells, for example a ``kyphos.materials.MaterialField``.
    prescribed_mm
        (n, 3) displacements, NaN where free; see `prescribe`.
    force_n
        (n, 3) nodal forces; see `kyphos.fem.loads`.
    formulation, poisson_ratio
        See `kyphos.fem.discretisation.discretise`.
    history
        (m, q, s) initial state of the law; None for a law without memory.
    eigenstrain
        (m, q, 6) stress-free log strain, for example of temperature.

    Raises
    ------
    InputError
        Arrays that do not fit the mesh, or a body that nothing holds.
    ConvergenceError
        No equilibrium, not even with the smallest step.
    """
    mesh = discretise(points_mm, cells, formulation, poisson_ratio)
    structure = Structure(mesh, material, eigenstrain=eigenstrain)
    if history is None:
        history = np.zeros((*structure.mesh.weight.shape, 0))
    state = structure.initial_state(history)
    start = structure.free_load(state)
    load = _static_load(structure, start, prescribed_mm, force_n)
    last = settle(structure, state, start, load, solver or DirectSolver(), settings)
    return StaticResult(structure, last.equilibrium, last.load)


def _static_load(structure: Structure, start: Load, prescribed_mm: Array, force_n: Array | None) -> Load:
    shape = (structure.n_nodes, 3)
    force = np.zeros(shape) if force_n is None else np.asarray(force_n, dtype=np.float64)
    for name, array in (("prescribed_mm", prescribed_mm), ("force_n", force)):
        if array.shape != shape:
            raise InputError(f"{name} has shape {array.shape}; the mesh needs {shape}, a row for each node")
    fixed = ~np.isnan(prescribed_mm)
    if not fixed.any(axis=0).all():
        free = ", ".join("xyz"[i] for i in np.flatnonzero(~fixed.any(axis=0)))
        raise InputError(f"nothing holds the body along {free}; prescribe at least one displacement there")
    value = np.where(fixed, prescribed_mm, 0.0)
    return replace(start, fixed=fixed.ravel(), value=value.ravel(), force=force.ravel())
