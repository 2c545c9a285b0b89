"""The specimen on the testing machine: what a stage acts upon, and the elementary things a stage can do to it.

A :class:`Bench` is a value: every action returns the steps it took, and the bench that a step leads to.
Its rig says what is held and which freedom the actuator drives. That of a vertebra is a :class:`Hinge`: the lower
platen stands still; the upper one is a hinge on the load line: it may tilt in the sagittal plane, its load point
follows the actuator; with ``locked``, or on a bench that is ``inclined``, it may not tilt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from dataclasses import field as made
from math import degrees, radians
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, materials, meshes
from kyphos.errors import ConvergenceError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

LINE, FOLLOWER = "line", "follower"
TOP, BOTTOM = "superior_platen", "inferior_platen"
COLLAPSE_SHARE = 0.08  # of the body's height: a force step that sinks further has passed the strength
SPARED_STRENGTH = 16.0  # times its strength, that the neighbours' bone has while the treated body is crushed
AT_ONCE_N = 100.0  # change of load that is taken in one step; weak vertebrae carry twenty times as much


@dataclass(frozen=True)
class Rebase:
    """Cells that took the shape of ``points_mm`` (n, 3) as their stress-free configuration."""

    cells: Ids
    points_mm: Array


@dataclass(frozen=True)
class Controls:
    """How equilibria are sought: linear solver, step control, report of progress."""

    solver: fem.LinearSolver
    march: fem.MarchSettings

    @property
    def in_one_step(self) -> fem.MarchSettings:
        """Step control for a way that hardly changes what bears the load: in one step, unless that fails."""
        return replace(self.march, first=1.0)


class Rig(Protocol):
    """How a specimen is held."""

    def axis(self, structure: fem.Structure) -> int:
        """Index in q of the freedom that the actuator drives, up."""

    def held(self, structure: fem.Structure, state: fem.State, locked: bool) -> fem.Load:
        """Nothing but what is held in its present place; the driven freedom is open."""


@dataclass(frozen=True)
class Hinge:
    """Lower platen still, upper one guided, free to tilt forwards and backwards unless locked."""

    def axis(self, structure: fem.Structure) -> int:
        """The upper platen's axial freedom."""
        return int(structure.platen_slice(TOP).start) + 2

    def held(self, structure: fem.Structure, state: fem.State, locked: bool) -> fem.Load:
        """Axial freedom open, cavities kept at their volume."""
        load = structure.free_load(state)
        fixed = load.fixed.copy()
        fixed[structure.platen_slice(BOTTOM)] = True
        top = structure.platen_slice(TOP).start
        fixed[[top, top + 1, top + 4, top + 5]] = True
        fixed[top + 3] = locked
        return replace(load, fixed=fixed)


@dataclass(frozen=True)
class Bench:
    """Specimen, machine and state.

    Attributes
    ----------
    mesh
        The specimen as meshed.
    structure, state, load
        Model, last equilibrium, and the load it balances.
    field
        Material of every cell (also ``structure.material``).
    cavity
        (m,) bool: emptied by a balloon.
    cement_share
        (m,) cement volume fraction, 0..1.
    rebases
        Cells with a later stress-free configuration, oldest first.
    rig
        How it is held.
    level
        The level that is acted upon; empty: the uppermost, which is the only one of a vertebra alone.
    path
        How the compression acts: on the ``line`` of the hinge, or as a ``follower`` through all bodies of a segment.
    spared
        Whether the neighbours' bone is kept from crushing, see `spare_neighbours`.
    inclined
        Whether the upper platen is kept at its inclination, see `to_tilt`.
    scanner
        (4, 4) from the mesh's coordinates to those of the scanner, mm.
    """

    mesh: meshes.SegmentMesh
    structure: fem.Structure
    state: fem.State
    load: fem.Load
    field: materials.MaterialField
    cavity: NDArray[np.bool_]
    cement_share: Array
    rebases: tuple[Rebase, ...] = ()
    rig: Rig = Hinge()
    level: str = ""
    path: str = LINE
    spared: bool = False
    inclined: bool = False
    scanner: Array = made(default_factory=lambda: np.eye(4))

    @property
    def body(self) -> meshes.Body:
        """The vertebral body that is acted upon."""
        return treated_body(self.mesh, self.level)

    @property
    def neighbours(self) -> tuple[str, ...]:
        """All other levels, from the top down."""
        return tuple(level for level in self.mesh.bodies if level != self.body.level)

    @property
    def of_neighbours(self) -> NDArray[np.bool_]:
        """(m,) bone of all other levels."""
        others = np.zeros(len(self.mesh.cells), dtype=bool)
        for level in self.neighbours:
            others[self.mesh.bony_cells(level)] = True
        return others

    @property
    def points_mm(self) -> Array:
        """(n, 3) current node positions."""
        return np.asarray(self.mesh.points_mm + self.state.displacement_mm)

    @property
    def axis(self) -> int:
        """Index in q of the freedom that the actuator drives."""
        return self.rig.axis(self.structure)

    @property
    def approach_mm(self) -> float:
        """How far the load point has moved down."""
        return -float(self.structure.coordinates(self.state)[self.axis])

    @property
    def tilt_deg(self) -> float:
        """How far the upper platen is inclined forwards."""
        return -degrees(float(self.structure.coordinates(self.state)[_tilt(self)]))

    def heights_mm(self) -> dict[str, float]:
        """Anterior, middle and posterior height of the body, measured on bone."""
        gauges = self.body.gauges
        return {place: meshes.gauge_height_mm(gauge, self.points_mm) for place, gauge in gauges.items()}

    def wall_heights_mm(self) -> dict[str, float]:
        """Anterior, middle and posterior height of the body's lateral wall, mean of both sides."""
        sides = meshes.wall_gauges(self.mesh, self.body.level)
        return {
            place: float(np.mean([meshes.gauge_height_mm(gauge, self.points_mm) for gauge in gauges]))
            for place, gauges in sides.items()
        }

    def after(self, step: fem.Step) -> Bench:
        """The bench at an accepted step."""
        return replace(self, state=step.equilibrium.state, load=step.load)


def mount(
    mesh: meshes.SegmentMesh,
    field: materials.MaterialField,
    formulation: NDArray[np.int8],
    level: str = "",
    links: fem.Links | None = None,
) -> Bench:
    """Put an untouched specimen between the platens, unloaded; ``level`` as in `Bench`."""
    structure = fem.Structure(
        fem.discretise(mesh.points_mm, mesh.cells, formulation),
        field,
        platens(mesh, level),
        links=links,
    )
    return mounted(mesh, structure, field, Hinge(), level)


def treated_body(mesh: meshes.SegmentMesh, level: str) -> meshes.Body:
    """The body of a level, or (no level given) the uppermost."""
    return mesh.bodies[level] if level else next(iter(mesh.bodies.values()))


def platens(mesh: meshes.SegmentMesh, level: str = "") -> tuple[fem.Platen, fem.Platen]:
    """The upper and the lower platen, with their centres above and below that of the treated body."""
    return _platen(mesh, TOP, level), _platen(mesh, BOTTOM, level)


def mounted(
    mesh: meshes.SegmentMesh, structure: fem.Structure, field: materials.MaterialField, rig: Rig, level: str = ""
) -> Bench:
    """The bench of an untouched structure, unloaded."""
    state = structure.initial_state(field.initial_state())
    bench = Bench(
        mesh,
        structure,
        state,
        structure.free_load(state),
        field,
        np.zeros(len(mesh.cells), dtype=bool),
        np.zeros(len(mesh.cells)),
        rig=rig,
        level=level,
    )
    return replace(bench, load=force_load(bench, 0.0))


def _platen(mesh: meshes.SegmentMesh, name: str, level: str) -> fem.Platen:
    nodes = mesh.node_sets[name]
    body = treated_body(mesh, level)
    centre = np.array([*body.centre_mm[:2], mesh.points_mm[nodes, 2].mean()])
    return fem.Platen(name, nodes, centre)


def on_load_line(bench: Bench, offset_anterior_mm: float) -> Bench:
    """The same position with the hinge moved to another load line; forces stay as they are told about the new one."""
    index = next(i for i, p in enumerate(bench.structure.platens) if p.name == TOP)
    platen = bench.structure.platens[index]
    centre = _platen(bench.mesh, TOP, bench.level).centre_mm + np.array([0.0, offset_anterior_mm, 0.0])
    moved, motion = fem.moved_centre(platen, bench.state.motion[index], centre)
    platens = tuple(moved if i == index else p for i, p in enumerate(bench.structure.platens))
    motions = bench.state.motion.copy()
    motions[index] = motion
    state = replace(bench.state, motion=motions)
    structure = replace(bench.structure, platens=platens)
    value = structure.coordinates(state)
    return replace(bench, structure=structure, state=state, load=replace(bench.load, value=value))


def force_load(bench: Bench, force_n: float, locked: bool = False) -> fem.Load:
    """Compression ``force_n`` on the bench's path; the other path bears nothing."""
    load = bench.rig.held(bench.structure, bench.state, locked or bench.inclined)
    if bench.path == FOLLOWER:
        return replace(load, tension_n=np.array([force_n]))
    force = load.force.copy()
    force[bench.axis] = -force_n
    return replace(load, force=force)


def drive_load(bench: Bench, approach_mm: float, locked: bool = False) -> fem.Load:
    """The load point pressed down to ``approach_mm`` below its first position."""
    load = bench.rig.held(bench.structure, bench.state, locked or bench.inclined)
    fixed, value = load.fixed.copy(), load.value.copy()
    fixed[bench.axis] = True
    value[bench.axis] = -approach_mm
    return replace(load, fixed=fixed, value=value)


def carried_n(bench: Bench, equilibrium: fem.Equilibrium) -> float:
    """Compression on the bench's path, N: what the upper platen carries, or the tension of the follower's cable."""
    if bench.path == FOLLOWER:
        return float(bench.load.tension_n[0])
    return -float(equilibrium.reactions_n[bench.axis])


def current_force_n(bench: Bench) -> float:
    """Axial compression in the present state, from a fresh evaluation, N."""
    return evaluated(bench)[1]


def look(bench: Bench) -> fem.Evaluation:
    """A fresh evaluation of the present state; ConvergenceError if it has none (a cell is inverted)."""
    evaluation = bench.structure.evaluate(bench.state, tension_n=bench.load.tension_n)
    if evaluation is None:
        raise ConvergenceError("the present state cannot be evaluated: a cell is inverted")
    return evaluation


def evaluated(bench: Bench) -> tuple[fem.Evaluation, float]:
    """A fresh evaluation of the present state, and its compression, N; raises as `look`."""
    evaluation = look(bench)
    if bench.path == FOLLOWER:
        return evaluation, float(bench.load.tension_n[0])
    return evaluation, -float(fem.reactions(bench.structure, evaluation, bench.state)[bench.axis])


DROP = 0.03
"""Fall below the first maximum of the compression that ends a test under rising load."""


def to_maximum(
    bench: Bench, start: fem.Load, end: fem.Load, controls: Controls, longest: float
) -> Iterator[tuple[Bench, float]]:
    """Bench and compression, N, after every step from one load to another, until the compression has fallen by `DROP`.

    ``longest`` is the first and longest step, as a share of the way.

    Raises
    ------
    ConvergenceError
        No equilibrium.
    """
    largest_n, settings = 0.0, replace(controls.march, first=longest, largest=longest)
    for step in fem.march(bench.structure, bench.state, start, end, controls.solver, settings):
        bench = bench.after(step)
        force_n = carried_n(bench, step.equilibrium)
        yield bench, force_n
        if force_n < (1.0 - DROP) * largest_n:
            return
        largest_n = max(largest_n, force_n)


def to_force(
    bench: Bench, force_n: float, controls: Controls, locked: bool = False, trend: Array | None = None
) -> Iterator[fem.Step]:
    """Bring the axial compression to ``force_n``; ``trend`` as in `fem.march`.

    Raises
    ------
    ConvergenceError
        No equilibrium; also where one step sinks by more than 8 % of the body's height: the specimen has
        given way and lands far from where it was, which force control cannot follow.
    """
    (now_known, reached_n), before = evaluated(bench), bench.approach_mm
    start, end = force_load(bench, reached_n, locked), force_load(bench, force_n, locked)
    first = min(1.0, AT_ONCE_N / max(abs(force_n - reached_n), 1e-9))
    settings = replace(controls.march, first=max(first, controls.march.first))
    way = (bench.structure, bench.state, start, end, controls.solver, settings)
    steps = fem.march(*way, known=now_known, trend=trend)
    while True:
        try:
            step = next(steps)
        except StopIteration:
            return
        except ConvergenceError as error:
            raise error.told(_stuck(reached_n, force_n, error)) from error
        now = bench.after(step)
        sunk = now.approach_mm - before
        reached_n, before = carried_n(now, step.equilibrium), now.approach_mm
        if sunk > COLLAPSE_SHARE * bench.body.height_mm and force_n > 0.0:
            raise ConvergenceError(
                f"the specimen collapses under {reached_n:.0f} N on the way to {force_n:.0f} N "
                f"(the load point sank {sunk:.1f} mm at once): the load lies above its strength. "
                "Try a lower force, or displacement control."
            )
        yield step


def on_path(bench: Bench, path: str, controls: Controls) -> Iterator[fem.Step]:
    """Hand the present compression over to another path; the steps lead to a bench whose ``path`` is to be set."""
    known, reached_n = evaluated(bench)
    start, end = force_load(bench, reached_n), force_load(replace(bench, path=path), reached_n)
    yield from fem.march(bench.structure, bench.state, start, end, controls.solver, controls.in_one_step, known=known)


def to_tilt(bench: Bench, tilt_deg: float | None, controls: Controls) -> Iterator[fem.Step]:
    """Incline the upper platen forwards, or (None) let it go, under the compression that acts.

    The steps lead to a bench whose ``inclined`` is to be set. Raises ConvergenceError where there is no equilibrium.
    """
    known, reached_n = evaluated(bench)
    end = force_load(replace(bench, inclined=tilt_deg is not None), reached_n)
    if tilt_deg is None:
        force = end.force.copy()
        force[_tilt(bench)] = fem.reactions(bench.structure, known, bench.state)[_tilt(bench)]
        start = replace(end, force=force)
    else:
        start, value = end, end.value.copy()
        value[_tilt(bench)] = -radians(tilt_deg)
        end = replace(end, value=value)
    yield from fem.march(bench.structure, bench.state, start, end, controls.solver, controls.march, known=known)


def _tilt(bench: Bench) -> int:
    """Index in q of the upper platen's rotation about the axis to the right: backwards is positive."""
    return int(bench.structure.platen_slice(TOP).start) + 3


def _stuck(reached_n: float, force_n: float, error: ConvergenceError) -> str:
    text = f"no way on from {reached_n:.0f} N to {force_n:.0f} N"
    if force_n > reached_n:
        text += ": the load probably lies above the specimen's strength; try a lower force, or displacement control"
    return f"{text}. In detail: {error}"


def last(bench: Bench, steps: Iterator[fem.Step]) -> Bench:
    """The bench after the last of some steps."""
    for step in steps:
        bench = bench.after(step)
    return bench


def with_material(bench: Bench, cells: Ids, law: Any, parameters: Array) -> Bench:
    """Give cells another material, virgin."""
    field = bench.field.replace(cells, law, parameters)
    history = field.carry_state(bench.state.history, fresh=cells)
    state = replace(bench.state, history=history)
    return replace(bench, structure=replace(bench.structure, material=field), state=state, field=field)


def with_cavities(bench: Bench, cavities: tuple[fem.Cavity, ...], pressure_mpa: Array) -> Bench:
    """Fill sets of cells with fluids, or (none given) drain them all."""
    structure = replace(bench.structure, cavities=cavities)
    state = replace(bench.state, pressure_mpa=np.asarray(pressure_mpa, dtype=np.float64))
    return replace(bench, structure=structure, state=state)


def rebased(bench: Bench, cells: Ids) -> Bench:
    """Make the present shape of ``cells`` their stress-free configuration."""
    rebase = Rebase(cells, bench.points_mm)
    structure = bench.structure.rebased(cells, bench.state)
    return replace(bench, structure=structure, rebases=(*bench.rebases, rebase))


def bone_cells(bench: Bench) -> Ids:
    """Trabecular cells of the treated body that hold neither cavity nor cement."""
    trabecular = np.zeros(len(bench.mesh.cells), dtype=bool)
    trabecular[bench.mesh.cells_in(f"{bench.body.level}.trabecular")] = True
    return np.flatnonzero(trabecular & ~bench.cavity & (bench.cement_share == 0.0))


def on_level(bench: Bench, level: str) -> Bench:
    """The same state with another level to act upon and to measure; neighbours that were spared are so no more."""
    return bench if level == bench.body.level else replace(spare_neighbours(bench, False), level=level)


def spare_neighbours(bench: Bench, spared: bool) -> Bench:
    """The same state with the neighbours' bone far from crushing, or as it was before.

    Only the strength changes, by a power of two, so that the way back ends at the very same number; elasticity, creep
    and what the bone remembers stay.
    """
    if spared == bench.spared or not bench.neighbours:
        return bench
    factor = SPARED_STRENGTH if spared else 1.0 / SPARED_STRENGTH
    return replace(stronger(bench, bench.of_neighbours, factor), spared=spared)


def stronger(bench: Bench, cells: NDArray[np.bool_], factor: float) -> Bench:
    """The same state with the bone in ``cells`` (m,) bool so many times as strong."""
    field = bench.field
    for law, ids, parameters in bench.field.blocks:
        mine = cells[ids]
        if law is materials.CRUSHABLE_BONE and mine.any():
            rows = parameters[mine].copy()
            rows[:, [p.name for p in law.parameters].index("yield_stress_mpa")] *= factor
            field = field.replace(ids[mine], law, rows)
    return replace(bench, structure=replace(bench.structure, material=field), field=field)


def carried_along(bench: Bench, points: Array) -> Array:
    """Displacement (k, 3) of the bone nearest to reference ``points`` (k, 3)."""
    distance = np.linalg.norm(bench.mesh.points_mm[None] - points[:, None], axis=2)
    return np.asarray(bench.state.displacement_mm[np.argmin(distance, axis=1)])
