"""What a deck says, checked and resolved: nodes, elements, sets, materials, constraints, steps.

Nodes and elements are told by their place in ``node_ids`` and ``element_ids``, freedoms by (node, dof), dof 1 to 6.
A deck has no units; Kyphos reads its numbers as mm, N, MPa and s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .lexer import Block, Place

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Elements:
    """One *ELEMENT block.

    Attributes
    ----------
    kind
        Type as in the deck, such as C3D8.
    ids
        (m,) numbers of the deck.
    nodes
        (m, a) places in ``Deck.node_ids``.
    block, first_row
        Where they stand: the keyword, and (m,) the data line that each element begins at.
    """

    kind: str
    ids: Ids
    nodes: Ids
    block: Block
    first_row: Ids

    def place(self, index: int) -> Place:
        """The line of an element."""
        return self.block.row_place(int(self.first_row[index]))


@dataclass(frozen=True)
class Plastic:
    """Yield stress (k,) MPa against plastic strain (k,)."""

    stress_mpa: Array
    strain: Array
    kinematic: bool


@dataclass(frozen=True)
class Material:
    """What the deck says of a material; what it does not say is None.

    Attributes
    ----------
    elastic
        (E, nu), or the nine engineering constants E1 E2 E3 nu12 nu13 nu23 G12 G13 G23.
    hyperelastic
        (C10, C01, D1).
    creep
        (A, n, m): rate A s^n t^m.
    expansion
        (3,) along the axes of the section, 1/K.
    """

    name: str
    place: Place
    elastic: tuple[float, ...] | None = None
    plastic: Plastic | None = None
    hyperelastic: tuple[float, float, float] | None = None
    creep: tuple[float, float, float] | None = None
    expansion: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Section:
    """A material for elements; ``axes`` (3, 3) rows are the material's axes, None for the global ones."""

    name: str
    elements: Ids
    material: str
    axes: Array | None
    place: Place


@dataclass(frozen=True)
class Term:
    """One term of an equation: coefficient times the displacement of a node along a dof."""

    node: int
    dof: int
    coefficient: float


@dataclass(frozen=True)
class Equation:
    """Sum of terms = 0."""

    terms: tuple[Term, ...]
    place: Place


@dataclass(frozen=True)
class RigidBody:
    """Nodes that move as one with ``reference``; its rotation is dof 4 to 6 there, or 1 to 3 of ``rotation``."""

    nodes: Ids
    reference: int
    rotation: int | None
    place: Place


@dataclass(frozen=True)
class Amplitude:
    """A factor over time, linear between its points."""

    name: str
    time_s: Array
    factor: Array
    total_time: bool

    def at(self, step_time_s: float, start_s: float) -> float:
        """The factor ``step_time_s`` after the start of a step that began at ``start_s``."""
        return float(np.interp(step_time_s + (start_s if self.total_time else 0.0), self.time_s, self.factor))


@dataclass(frozen=True)
class Held:
    """Prescribed displacement of nodes along dofs; ``amplitude`` names one, or None."""

    nodes: Ids
    dofs: tuple[int, ...]
    value: float
    amplitude: str | None
    place: Place


@dataclass(frozen=True)
class Force:
    """Force on each of the nodes along a dof."""

    nodes: Ids
    dof: int
    value: float
    amplitude: str | None
    place: Place


@dataclass(frozen=True)
class Pressure:
    """Pressure on faces: elements (k,) and the number of the face (k,), 1 to 6."""

    elements: Ids
    faces: Ids
    value: float
    amplitude: str | None
    place: Place


@dataclass(frozen=True)
class Temperature:
    """Temperature of nodes."""

    nodes: Ids
    value: float
    amplitude: str | None
    place: Place


@dataclass(frozen=True)
class DeckStep:
    """One *STEP.

    Attributes
    ----------
    creep
        *VISCO: time passes for materials; *STATIC: it does not.
    nlgeom
        Finite strain, or small.
    first_s, period_s, smallest_s, largest_s
        Increments of time as the deck gives them; NaN where it does not.
    fixed_increments
        DIRECT.
    ramped
        Loads without an amplitude grow over the step; else they act from its start.
    max_increments
        INC of *STEP.
    fresh
        Keywords given with OP=NEW: what earlier steps said with them is forgotten.
    """

    place: Place
    creep: bool
    nlgeom: bool
    first_s: float
    period_s: float
    smallest_s: float
    largest_s: float
    fixed_increments: bool
    ramped: bool
    max_increments: int
    fresh: frozenset[str]
    held: tuple[Held, ...]
    forces: tuple[Force, ...]
    pressures: tuple[Pressure, ...]
    temperatures: tuple[Temperature, ...]


@dataclass(frozen=True)
class Deck:
    """A whole deck: ``dialect`` says whose, ``section`` (m,) is that of each element. Sets keep the first spelling."""

    path: Path
    dialect: str
    heading: str
    node_ids: Ids
    points_mm: Array
    elements: tuple[Elements, ...]
    node_sets: dict[str, Ids]
    element_sets: dict[str, Ids]
    surfaces: dict[str, tuple[Ids, Ids]]
    materials: dict[str, Material]
    sections: tuple[Section, ...]
    section: Ids
    equations: tuple[Equation, ...]
    rigid_bodies: tuple[RigidBody, ...]
    amplitudes: dict[str, Amplitude]
    held: tuple[Held, ...]
    initial_temperature: tuple[Temperature, ...]
    steps: tuple[DeckStep, ...]
    notes: tuple[str, ...]

    @cached_property
    def element_ids(self) -> Ids:
        """(m,) numbers of all elements."""
        return np.concatenate([block.ids for block in self.elements])

    @cached_property
    def kinds(self) -> NDArray[np.str_]:
        """(m,) type of every element."""
        return np.concatenate([np.full(len(block.ids), block.kind) for block in self.elements])

    def element_place(self, index: int) -> Place:
        """The line of an element, told by its place in ``element_ids``."""
        for block in self.elements:
            if index < len(block.ids):
                return block.place(index)
            index -= len(block.ids)
        raise IndexError(index)
