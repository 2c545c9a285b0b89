"""Steps of a deck: procedure, supports, loads, temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .deck import Amplitude, DeckStep, Force, Held, Pressure, Temperature
from .keywords import choice
from .lexer import Block, Place, number
from .names import integer, is_integer
from .read_mesh import Mesh, face_number

Ids = NDArray[np.int64]

NAMED = {  # what stands for several dofs
    "ENCASTRE": (1, 2, 3, 4, 5, 6),
    "PINNED": (1, 2, 3),
    "XSYMM": (1, 5, 6),
    "YSYMM": (2, 4, 6),
    "ZSYMM": (3, 4, 5),
}


@dataclass(frozen=True)
class Context:
    """What loads refer to."""

    mesh: Mesh
    surfaces: dict[str, tuple[Ids, Ids]]
    amplitudes: dict[str, Amplitude]


def read_steps(blocks: Sequence[Block], context: Context) -> tuple[DeckStep, ...]:
    """All steps; once NLGEOM, always NLGEOM."""
    steps: list[DeckStep] = []
    inside: list[Block] | None = None
    for block in blocks:
        if block.keyword == "STEP":
            inside = [block]
        elif block.keyword == "END STEP" and inside is not None:
            before = bool(steps) and steps[-1].nlgeom
            steps.append(_step(inside, context, before))
            inside = None
        elif inside is not None:
            inside.append(block)
    return tuple(steps)


def _step(blocks: Sequence[Block], context: Context, nlgeom: bool) -> DeckStep:
    head = blocks[0]
    if "NLGEOM" in head.parameters:
        nlgeom = choice(head, "NLGEOM", ("YES", "NO", ""), "") != "NO" or nlgeom
    procedures = [b for b in blocks if b.keyword in ("STATIC", "VISCO")]
    if len(procedures) != 1:
        raise head.error(f"the step has {len(procedures)} procedures; it needs one *STATIC or *VISCO")
    procedure = procedures[0]
    first, period, smallest, largest = _times(procedure)
    fresh = frozenset(b.keyword for b in blocks if choice(b, "OP", ("MOD", "NEW"), "MOD") == "NEW")
    return DeckStep(
        place=head.place,
        creep=procedure.keyword == "VISCO",
        nlgeom=nlgeom,
        first_s=first,
        period_s=period,
        smallest_s=smallest,
        largest_s=largest,
        fixed_increments="DIRECT" in procedure.parameters,
        ramped=choice(head, "AMPLITUDE", ("RAMP", "STEP"), "RAMP") == "RAMP",
        max_increments=integer(head.parameters["INC"], head.place, "STEP") if head.parameters.get("INC") else 10_000,
        fresh=fresh,
        held=read_held([b for b in blocks if b.keyword == "BOUNDARY"], context),
        forces=_forces([b for b in blocks if b.keyword == "CLOAD"], context),
        pressures=_pressures(blocks, context),
        temperatures=read_temperatures([b for b in blocks if b.keyword == "TEMPERATURE"], context),
    )


def _times(block: Block) -> tuple[float, float, float, float]:
    """First increment, period, smallest and largest increment; NaN where not given, period 1."""
    values, _ = block.numbers()
    first, period, smallest, largest = (
        float(v) if v > 0.0 else np.nan for v in np.resize(np.append(values, [0.0] * 4), 4)
    )
    period = 1.0 if np.isnan(period) else period
    if values.size > 4 or np.any(values < 0.0) or first > period * (1.0 + 1e-9):
        raise block.error("needs: first increment, period, smallest increment, largest increment; none negative")
    return first, period, smallest, largest


def _amplitude(block: Block, context: Context) -> str | None:
    name = block.parameters.get("AMPLITUDE")
    if name is None:
        return None
    if name.upper() not in context.amplitudes:
        raise block.error(f"there is no *AMPLITUDE {name!r}")
    return name.upper()


def read_held(blocks: Sequence[Block], context: Context) -> tuple[Held, ...]:
    """Lines of *BOUNDARY."""
    found = []
    for block in blocks:
        choice(block, "TYPE", ("DISPLACEMENT",), "DISPLACEMENT")
        amplitude = _amplitude(block, context)
        for place, row in block.rows():
            nodes = context.mesh.node_sets.find(row[0], place, "BOUNDARY")
            dofs, value = _dofs(row[1:], place)
            found.append(Held(nodes, dofs, value, amplitude, place))
    return tuple(found)


def _dofs(row: Sequence[str], place: Place) -> tuple[tuple[int, ...], float]:
    if not row or not row[0]:
        raise place.error("*BOUNDARY: a dof is missing; allowed: 1 to 6, " + ", ".join(NAMED))
    if not is_integer(row[0]):
        if row[0].upper() not in NAMED:
            raise place.error(f"*BOUNDARY: {row[0]!r} is not supported; allowed: 1 to 6, {', '.join(NAMED)}")
        return NAMED[row[0].upper()], 0.0
    first = integer(row[0], place, "BOUNDARY")
    last = integer(row[1], place, "BOUNDARY") if len(row) > 1 and row[1] else first
    if not 1 <= first <= last <= 6:
        raise place.error(f"*BOUNDARY: dofs {first} to {last}; allowed: 1 to 6, the last not below the first")
    value = number(row[2], place, "BOUNDARY") if len(row) > 2 and row[2] else 0.0
    return tuple(range(first, last + 1)), value


def _forces(blocks: Sequence[Block], context: Context) -> tuple[Force, ...]:
    found = []
    for block in blocks:
        amplitude = _amplitude(block, context)
        for place, row in block.rows():
            if len(row) != 3:
                raise place.error("*CLOAD: needs a node or set, a dof, a force")
            dof = integer(row[1], place, "CLOAD")
            if not 1 <= dof <= 6:
                raise place.error(f"*CLOAD: dof {dof}; allowed: 1 to 6")
            nodes = context.mesh.node_sets.find(row[0], place, "CLOAD")
            found.append(Force(nodes, dof, number(row[2], place, "CLOAD"), amplitude, place))
    return tuple(found)


def _pressures(blocks: Sequence[Block], context: Context) -> tuple[Pressure, ...]:
    found = []
    for block in blocks:
        if block.keyword not in ("DLOAD", "DSLOAD"):
            continue
        amplitude = _amplitude(block, context)
        for place, row in block.rows():
            if len(row) != 3:
                raise place.error(f"*{block.keyword}: needs where, the kind of load and its value")
            elements, faces = _faces(block, row, place, context)
            value = number(row[2], place, block.keyword)
            found.append(Pressure(elements, faces, value, amplitude, place))
    return tuple(found)


def _faces(block: Block, row: Sequence[str], place: Place, context: Context) -> tuple[Ids, Ids]:
    if block.keyword == "DLOAD":
        elements = context.mesh.element_sets.find(row[0], place, "DLOAD")
        return elements, np.full(len(elements), face_number(row[1:2], "P", elements, context.mesh, place, "DLOAD"))
    if row[1].upper() != "P":
        raise place.error(f"*DSLOAD: {row[1]!r} is not supported; allowed: P (pressure)")
    if row[0].upper() not in context.surfaces:
        raise place.error(f"*DSLOAD: there is no surface {row[0]!r} of element faces")
    return context.surfaces[row[0].upper()]


def read_temperatures(blocks: Sequence[Block], context: Context) -> tuple[Temperature, ...]:
    """Lines of *TEMPERATURE and *INITIAL CONDITIONS, TYPE=TEMPERATURE."""
    found = []
    for block in blocks:
        amplitude = _amplitude(block, context)
        for place, row in block.rows():
            if len(row) != 2:
                raise place.error(f"*{block.keyword}: needs a node or set and a temperature")
            nodes = context.mesh.node_sets.find(row[0], place, block.keyword)
            found.append(Temperature(nodes, number(row[1], place, block.keyword), amplitude, place))
    return tuple(found)
