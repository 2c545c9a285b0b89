"""Solve a deck: step after step, increment after increment; what has converged is kept whatever comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kyphos import fem
from kyphos.errors import ConvergenceError

from .deck import Deck, DeckStep
from .loads import FACES_PER_ELEMENT, Loading, initial_temperature, loadings
from .model import Model, build_model
from .supports import check_supports, find_bodies

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_SMALLEST = 1e-5  # increment, as a share of the step, where the deck does not say
_CREEP_INCREMENTS = 20  # at least, in a *VISCO step that does not say
_EASY = 8  # Newton iterations after which the next increment may be longer
_GROWTH = 1.5
_FOLLOWS = 1e-7  # change of a pressure's forces with the shape, as a share, that is no change
_TURNS = 40  # of forces following the shape
_DIRECT = 60_000  # unknowns up to which equations are solved directly


@dataclass(frozen=True)
class Increment:
    """One converged increment.

    Attributes
    ----------
    step
        From 1.
    time_s
        From the start of the analysis.
    state, evaluation
        Of the structure.
    applied, support, equation
        (3n,) nodal forces: of loads, of supports, of equations; with the internal forces they balance.
    temperature
        (n,).
    record
        The row of the convergence record.
    """

    step: int
    time_s: float
    structure: fem.Structure
    state: fem.State
    evaluation: fem.Evaluation
    applied: Array
    support: Array
    equation: Array
    temperature: Array
    record: dict[str, float | int | str]


@dataclass(frozen=True)
class Solution:
    """A solved deck.

    Attributes
    ----------
    model
        What was solved.
    steps
        The last converged increment of every step that has one.
    records
        A row for each increment.
    notes
        What was done in another way than the deck might mean.
    failure
        Why it stopped early, or None.
    """

    model: Model
    steps: tuple[Increment, ...]
    records: tuple[dict[str, float | int | str], ...]
    notes: tuple[str, ...]
    failure: str | None


Listener = Callable[[Increment], None]


def solve_deck(deck: Deck, listener: Listener | None = None) -> Solution:
    """Solve all steps of a deck; a step that does not converge ends the solution but loses nothing.

    Raises
    ------
    DeckError
        What only shows when the model is built: elements turned inside out, supports that leave something free.
    """
    model = build_model(deck)
    courses = loadings(model)
    _check(model, courses)
    run = _Run(model, *_prescribed(model, courses))
    finished, records, failure = dict[int, Increment](), list[dict[str, float | int | str]](), None
    try:
        for number, (step, course) in enumerate(zip(deck.steps, courses, strict=True), start=1):
            for increment in run.step(number, step, course):
                finished[number] = increment
                records.append(increment.record)
                if listener is not None:
                    listener(increment)
    except ConvergenceError as error:
        failure = str(error)
    return Solution(model, tuple(finished.values()), tuple(records), (*deck.notes, *run.notes), failure)


def _check(model: Model, courses: list[Loading]) -> None:
    """Refuse singular supports before anything is solved."""
    bodies, seen = find_bodies(model), set[bytes]()
    for step, course in zip(model.deck.steps, courses, strict=True):
        held = np.zeros(3 * model.n_nodes, dtype=bool)
        held[course.supports.key] = True
        if held.tobytes() not in seen:
            check_supports(model, bodies, held, step.place)
            seen.add(held.tobytes())


def _prescribed(model: Model, courses: list[Loading]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Freedoms (3n,) that are prescribed in some step, and those that are zero in all."""
    held, still = model.idle.copy(), np.ones_like(model.idle)
    for course in courses:
        supports = course.supports
        held[supports.key] = True
        zero = model.idle.copy()
        zero[supports.key[(supports.start == 0.0) & (supports.end == 0.0)]] = True
        still &= zero
    return held, still


class _Run:
    """The state of a solution on its way."""

    def __init__(self, model: Model, held: NDArray[np.bool_], still: NDArray[np.bool_]) -> None:
        self.model = model
        self.held, self.still = held, still
        self.solver = fem.AutomaticSolver(_DIRECT)
        self.notes: list[str] = []
        self.initial = initial_temperature(model)
        self.temperature = self.initial.copy()
        self.faces = _faces(model)
        self.structure: fem.Structure | None = None
        self.state = fem.State(np.zeros((model.n_nodes, 3)), np.zeros((0, 6)), np.zeros(0), model.field.initial_state())
        self.settings = fem.NewtonSettings()

    def step(self, number: int, step: DeckStep, course: Loading) -> Iterator[Increment]:
        """Increments of one step."""
        self._prepare(step)
        time, length = 0.0, self._first(step, course)
        breaks, count = [*course.breaks_s(), step.period_s], 0
        while time < step.period_s * (1.0 - 1e-12):
            if count == step.max_increments:
                raise ConvergenceError(
                    f"{step.place}: *STEP: INC={count} increments end at {time:g} of {step.period_s:g}"
                )
            target = min(time + length, next(b for b in breaks if b > time * (1.0 + 1e-12)))
            if step.period_s - target < 1e-9 * step.period_s:
                target = step.period_s
            try:
                found = self._increment(number, step, course, time, target)
            except ConvergenceError as error:
                length = 0.5 * (target - time)
                smallest = _SMALLEST * step.period_s if np.isnan(step.smallest_s) else step.smallest_s
                if step.fixed_increments or length < smallest:
                    where = f"{step.place}: step {number} does not converge after time {time:g} of {step.period_s:g}"
                    raise error.told(f"{where}: {error}") from None
                continue
            time, count = target, count + 1
            self.state, self.temperature = found.state, found.temperature
            yield found
            if int(found.record["iterations"]) <= _EASY and not step.fixed_increments:
                length = min(length * _GROWTH, self._longest(step))

    def _prepare(self, step: DeckStep) -> None:
        nlgeom = step.nlgeom or self.model.needs_finite_strain
        if nlgeom and not step.nlgeom:
            self._note("the steps are solved with NLGEOM, since *HYPERELASTIC makes sense under finite strain only")
        if self.structure is None or self.structure.mesh.small_strain == nlgeom:
            self.structure = self.model.structure(nlgeom, self.held, self.still)
            motion = [
                self.state.displacement_mm[[body.reference, rotation]].ravel()
                for body, rotation in zip(self.model.deck.rigid_bodies, self.model.rotation, strict=True)
            ]
            self.state = replace(self.state, motion=np.reshape(motion if nlgeom else [], (-1, 6)))
            self.settings = self._settings(self.structure)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _settings(self, structure: fem.Structure) -> fem.NewtonSettings:
        """Tolerances; loads that move nothing by more than rounding count as none."""
        stiffness = structure.elastic_stiffness(self.state).diagonal()
        size = float(np.abs(self.model.mesh.points_mm[self.model.in_cells]).max())
        return fem.NewtonSettings(
            residual_tolerance=1e-6,
            minimum_load_n=1e-8 * float(np.median(stiffness[stiffness > 0.0])) * size,
            max_iterations=25,
            linear_tolerance=1e-8,
            loosest_linear_tolerance=1e-4,
        )

    def _first(self, step: DeckStep, course: Loading) -> float:
        linear = self.model.is_linear and not step.nlgeom and not step.creep
        if linear and not step.fixed_increments:
            return step.period_s
        first = step.period_s if np.isnan(step.first_s) else step.first_s
        return min(first, self._longest(step))

    def _longest(self, step: DeckStep) -> float:
        if not np.isnan(step.largest_s):
            return step.largest_s
        creeping = step.creep and any(m.creep for m in self.model.deck.materials.values())
        return step.period_s / _CREEP_INCREMENTS if creeping and np.isnan(step.first_s) else step.period_s

    def _increment(self, number: int, step: DeckStep, course: Loading, time: float, target: float) -> Increment:
        structure, temperature = self._at_temperature(course, target)
        fixed, value = self._supports(structure, course, target)
        dead = np.zeros(3 * self.model.n_nodes)
        np.add.at(dead, course.forces.key, course.forces.at(target, course.clock) / self.model.stress_unit)
        pressures = _Pressures(self.faces, course.pressures.key, course.pressures.at(target, course.clock), self.model)
        dt = target - time if step.creep else 0.0
        state, follows = self.state, not structure.mesh.small_strain and pressures.key.size > 0
        applied = dead + pressures.forces(state.displacement_mm if follows else None)
        for _ in range(_TURNS):
            load = _load(structure, state, fixed, value, applied)
            found = fem.solve_equilibrium(structure, state, load, self.solver, self.settings, dt_s=dt)
            if not follows:
                break
            again = dead + pressures.forces(found.state.displacement_mm)
            change, applied = float(np.abs(again - applied).max()), again
            if change <= _FOLLOWS * max(float(np.abs(applied).max()), self.settings.minimum_load_n):
                break
            state = replace(found.state, history=self.state.history)
        else:
            raise ConvergenceError("the pressure does not settle on the deformed shape")
        return self._found(number, structure, found, load, applied, temperature, course.clock.start_s + target)

    def _at_temperature(self, course: Loading, target: float) -> tuple[fem.Structure, Array]:
        assert self.structure is not None
        temperature = self.initial.copy()
        temperature[course.temperatures.key] = course.temperatures.at(target, course.clock)
        changed = not np.array_equal(temperature, self.temperature)
        if changed or (self.structure.eigenstrain is None and np.any(temperature != self.initial)):
            eigenstrain = self.model.eigenstrain(temperature - self.initial)
            if eigenstrain is None:
                self._note("temperatures have no effect: no material has *EXPANSION")
            else:
                return replace(self.structure, eigenstrain=eigenstrain), temperature
        return self.structure, temperature

    def _supports(self, structure: fem.Structure, course: Loading, target: float) -> tuple[NDArray[np.bool_], Array]:
        fixed, value = np.zeros(structure.size, dtype=bool), np.zeros(structure.size)
        fixed[: self.model.idle.size] = self.model.idle
        fixed[course.supports.key] = True
        value[course.supports.key] = course.supports.at(target, course.clock)
        return fixed, value

    def _found(
        self,
        number: int,
        structure: fem.Structure,
        found: fem.Equilibrium,
        load: fem.Load,
        applied: Array,
        temperature: Array,
        time_s: float,
    ) -> Increment:
        self.structure, unit, n = structure, self.model.stress_unit, 3 * self.model.n_nodes
        unbalanced = found.evaluation.force_n - applied
        support = np.where(load.fixed, found.reactions_n - load.force, 0.0)[:n] * unit
        equation = unit * unbalanced - support  # what neither loads nor supports explain; zero but for equations
        record: dict[str, float | int | str] = {
            "step": number,
            "time_s": time_s,
            "iterations": found.iterations,
            "residual_n": found.residuals_n[-1] * unit,
            "balance": found.balance,
            "status": "converged",
        }
        return Increment(
            number,
            time_s,
            structure,
            found.state,
            found.evaluation,
            applied * unit,
            support,
            equation,
            temperature,
            record,
        )


def _load(structure: fem.Structure, state: fem.State, fixed: NDArray[np.bool_], value: Array, force: Array) -> fem.Load:
    every = np.zeros(structure.size)
    every[: force.size] = force
    if structure.ties is not None:
        every = structure.ties.carried(every)
    return fem.Load(fixed, value, every, np.zeros(0))


@dataclass(frozen=True)
class _Pressures:
    """Pressures on faces: their keys (k,) and values (k,) in the deck's units."""

    faces: Callable[[Ids], list[tuple[Ids, Ids]]]
    key: Ids
    value: Array
    model: Model

    def forces(self, displacement_mm: Array | None) -> Array:
        """(3n,) nodal forces on the shape moved by (n, 3), or the first one."""
        points = self.model.mesh.points_mm
        out = np.zeros_like(points)
        if not self.key.size:
            return out.ravel()
        shape = points if displacement_mm is None else points + displacement_mm
        for which, faces in self.faces(self.key):
            pressure = self.value[which] / self.model.stress_unit
            out += fem.pressure_forces(shape, faces, pressure)
        return out.ravel()


def _faces(model: Model) -> Callable[[Ids], list[tuple[Ids, Ids]]]:
    """A function from keys of pressures to [(which keys, nodes (f, a) of their faces)]."""

    def nodes(key: Ids) -> list[tuple[Ids, Ids]]:
        cell, face = model.cell_of_element[key // FACES_PER_ELEMENT], key % FACES_PER_ELEMENT - 1
        found = []
        for part in model.mesh.parts:
            which = np.flatnonzero((cell >= part.cells[0]) & (cell <= part.cells[-1]))
            if which.size:
                table = fem.FACES[part.element.n_nodes][face[which]]
                found.append((which, np.take_along_axis(model.mesh.cells[cell[which]], table, axis=1)))
        return found

    return nodes
