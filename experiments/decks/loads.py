"""Supports, loads and temperatures over the steps of a deck: what holds when, and from which value it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .deck import Amplitude, DeckStep, Held
from .model import Model

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Entry = tuple[Ids, float, str | None]

FACES_PER_ELEMENT = 8  # room for the number of a face in the key of a pressure


@dataclass(frozen=True)
class Course:
    """Values over one step: of freedoms, faces or nodes.

    Attributes
    ----------
    key
        (k,) of what; a key may appear more than once, its values then add up.
    start, end
        (k,) value before the step, and value that the deck gives.
    amplitude
        (k,) name, or "" for none.
    """

    key: Ids = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    start: Array = field(default_factory=lambda: np.zeros(0))
    end: Array = field(default_factory=lambda: np.zeros(0))
    amplitude: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype="U1"))

    def at(self, time_s: float, clock: Clock) -> Array:
        """(k,) values ``time_s`` after the start of the step."""
        share = min(time_s / clock.period_s, 1.0) if clock.ramped else 1.0
        value = self.start + share * (self.end - self.start)
        for name in np.unique(self.amplitude):
            if name:
                own = self.amplitude == name
                value[own] = self.end[own] * clock.amplitudes[name].at(time_s, clock.start_s)
        return value


@dataclass(frozen=True)
class Clock:
    """When a step begins, how long it takes, and what amplitudes there are."""

    start_s: float
    period_s: float
    ramped: bool
    amplitudes: dict[str, Amplitude]


@dataclass(frozen=True)
class Loading:
    """Everything prescribed during one step.

    Attributes
    ----------
    supports, forces
        Keys are nodal freedoms 3 node + axis.
    pressures
        Keys are element * FACES_PER_ELEMENT + face.
    temperatures
        Keys are nodes.
    """

    clock: Clock
    supports: Course = field(default_factory=Course)
    forces: Course = field(default_factory=Course)
    pressures: Course = field(default_factory=Course)
    temperatures: Course = field(default_factory=Course)

    def breaks_s(self) -> Array:
        """Times within the step at which an amplitude that is in use has a corner."""
        clock, times = self.clock, [np.zeros(0)]
        for course in (self.supports, self.forces, self.pressures, self.temperatures):
            for name in np.unique(course.amplitude):
                if name:
                    amplitude = clock.amplitudes[name]
                    times.append(amplitude.time_s - (clock.start_s if amplitude.total_time else 0.0))
        every = np.unique(np.concatenate(times))
        return every[(every > 0.0) & (every < clock.period_s)]


def loadings(model: Model) -> list[Loading]:
    """What is prescribed in each step of a deck: what it says itself, and what earlier steps have left."""
    deck, found = model.deck, list[Loading]()
    initial = initial_temperature(model)
    before = Loading(
        Clock(0.0, 1.0, False, deck.amplitudes), supports=_course(_supports(model, deck.held), _nothing, adds=False)
    )
    for step in deck.steps:
        begin = before.clock.start_s + (before.clock.period_s if found else 0.0)
        clock = Clock(begin, step.period_s, step.ramped, deck.amplitudes)
        new = step.fresh
        before = Loading(
            clock,
            _next(before.supports, before.clock, _supports(model, step.held), "BOUNDARY" in new, gone=True),
            _next(before.forces, before.clock, _forces(model, step), "CLOAD" in new, adds=True),
            _next(before.pressures, before.clock, _pressures(step), bool(new & {"DLOAD", "DSLOAD"}), adds=True),
            _next(before.temperatures, before.clock, _temperatures(step), "TEMPERATURE" in new, rest=initial),
        )
        found.append(before)
    return found


def initial_temperature(model: Model) -> Array:
    """(n,) temperature of every node before the first step."""
    out = np.zeros(model.n_nodes)
    for entry in model.deck.initial_temperature:
        out[entry.nodes] = entry.value
    return out


def _nothing(keys: Ids) -> Array:
    return np.zeros(keys.size)


def _course(entries: Iterable[Entry], start: Callable[[Ids], Array], adds: bool) -> Course:
    """Entries of one step; the first one of a key begins at ``start``. Where they do not add, the last one holds."""
    given = list(entries)
    if not given:
        return Course()
    key = np.concatenate([keys for keys, _, _ in given])
    end = np.concatenate([np.full(keys.size, value) for keys, value, _ in given])
    names = np.concatenate([np.full(keys.size, name or "") for keys, _, name in given])
    if not adds:
        last = key.size - 1 - np.unique(key[::-1], return_index=True)[1]
        key, end, names = key[last], end[last], names[last]
    begin, (each, first) = np.zeros(key.size), np.unique(key, return_index=True)
    begin[first] = start(each)
    return Course(key, begin, end, names)


def _next(
    before: Course,
    clock: Clock,
    entries: Iterable[Entry],
    fresh: bool,
    adds: bool = False,
    gone: bool = False,
    rest: Array | None = None,
) -> Course:
    """The course of the next step: entries replace what was, which else stays as it was when its step ended.

    With ``fresh``, what is not given again returns to ``rest`` (zero), or, if ``gone``, is no longer prescribed.
    """
    last = before.at(clock.period_s, clock)
    each, inverse = np.unique(before.key, return_inverse=True)
    total = np.zeros(each.size)
    np.add.at(total, inverse, last)

    def start(keys: Ids) -> Array:
        at = np.minimum(np.searchsorted(each, keys), max(each.size - 1, 0))
        known = each[at] == keys if each.size else np.zeros(keys.size, dtype=bool)
        value = np.zeros(keys.size) if rest is None else rest[keys]
        value[known] = total[at[known]]
        return value

    new = _course(entries, start, adds)
    kept = ~np.isin(before.key, new.key)
    if fresh and gone:
        kept[:] = False
    goes_on = np.array([bool(n) and clock.amplitudes[n].total_time for n in before.amplitude], dtype=bool)
    end = np.where(goes_on, before.end, last)
    names = np.where(goes_on, before.amplitude, "") if before.key.size else before.amplitude
    if fresh:
        end = np.zeros(before.key.size) if rest is None else rest[before.key]
        names = np.full(before.key.size, "")
    return Course(
        np.concatenate([before.key[kept], new.key]),
        np.concatenate([last[kept], new.start]),
        np.concatenate([end[kept], new.end]),
        np.concatenate([names[kept], new.amplitude]),
    )


def _supports(model: Model, held: Sequence[Held]) -> Iterable[Entry]:
    rigid = {int(n) for body in model.deck.rigid_bodies for n in body.nodes}
    references = {body.reference for body in model.deck.rigid_bodies}
    for entry in held:
        if rigid and (wrong := rigid & set(entry.nodes.tolist())):
            number = model.deck.node_ids[min(wrong)]
            raise entry.place.error(f"*BOUNDARY: node {number} belongs to a rigid body; hold its REF NODE")
        for dof in entry.dofs:
            if dof <= 3:
                yield 3 * entry.nodes + dof - 1, entry.value, entry.amplitude
            elif turning := [n for n in entry.nodes.tolist() if n in references]:
                keys = [model.freedom(n, dof, entry.place, "BOUNDARY") for n in turning]
                yield np.array(keys), entry.value, entry.amplitude
            elif entry.value != 0.0:  # to hold a rotation that a node does not have is no mistake
                model.freedom(int(entry.nodes[0]), dof, entry.place, "BOUNDARY")


def _forces(model: Model, step: DeckStep) -> Iterable[Entry]:
    for force in step.forces:
        keys = np.array(
            [model.freedom(n, force.dof, force.place, "CLOAD") for n in force.nodes.tolist()], dtype=np.int64
        )
        if model.idle[keys].any():
            number = model.deck.node_ids[keys[int(np.argmax(model.idle[keys]))] // 3]
            raise force.place.error(f"*CLOAD: node {number} belongs to no element and no equation; nothing bears it")
        yield keys, force.value, force.amplitude


def _pressures(step: DeckStep) -> Iterable[Entry]:
    for pressure in step.pressures:
        yield pressure.elements * FACES_PER_ELEMENT + pressure.faces, pressure.value, pressure.amplitude


def _temperatures(step: DeckStep) -> Iterable[Entry]:
    for temperature in step.temperatures:
        yield temperature.nodes, temperature.value, temperature.amplitude
