"""Read a finite-element deck of somebody else's: the Abaqus and CalculiX subset that solids need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .deck import Deck
from .keywords import check_keywords, choice
from .lexer import Block, read_blocks
from .read_mesh import Mesh, read_mesh, read_surfaces
from .read_properties import (
    read_amplitudes,
    read_equations,
    read_materials,
    read_rigid_bodies,
    read_sections,
    sections_of_elements,
)
from .read_steps import Context, read_held, read_steps, read_temperatures

Ids = NDArray[np.int64]

REDUCED = (
    "{count} C3D8R elements are solved with eight points and assumed strain, as C3D8I: "
    "no hourglass modes, and no softening from one-point integration"
)


def read_deck(path: str | Path) -> Deck:
    """Read a deck and check everything that can be checked without solving.

    Raises
    ------
    DeckError
        Whatever is wrong, unknown or missing, with file and line.
    """
    path = Path(path)
    blocks = read_blocks(path)
    check_keywords(blocks)
    mesh = read_mesh(blocks)
    surfaces = read_surfaces(blocks, mesh)
    materials = read_materials(blocks)
    sections = read_sections(blocks, mesh, materials)
    context = Context(mesh, surfaces, read_amplitudes(blocks))
    steps = read_steps(blocks, context)
    return Deck(
        path=path,
        heading=_heading(blocks),
        node_ids=mesh.nodes.ids,
        points_mm=mesh.points_mm,
        elements=mesh.elements,
        node_sets=dict(mesh.node_sets.all()),
        element_sets=dict(mesh.element_sets.all()),
        surfaces=surfaces,
        materials=materials,
        sections=sections,
        section=sections_of_elements(sections, mesh),
        equations=read_equations(blocks, mesh),
        rigid_bodies=read_rigid_bodies(blocks, mesh),
        amplitudes=context.amplitudes,
        held=read_held([b for b in _before_steps(blocks) if b.keyword == "BOUNDARY"], context),
        initial_temperature=read_temperatures(_initial(blocks), context),
        steps=steps,
        notes=_notes(mesh),
    )


def _heading(blocks: Sequence[Block]) -> str:
    lines = [",".join(row) for b in blocks if b.keyword == "HEADING" for _, row in b.rows()]
    return "\n".join(lines)


def _before_steps(blocks: Sequence[Block]) -> Sequence[Block]:
    first = next(i for i, block in enumerate(blocks) if block.keyword == "STEP")
    return blocks[:first]


def _initial(blocks: Sequence[Block]) -> list[Block]:
    found = [block for block in blocks if block.keyword == "INITIAL CONDITIONS"]
    for block in found:
        choice(block, "TYPE", ("TEMPERATURE",), "")
    return found


def _notes(mesh: Mesh) -> tuple[str, ...]:
    """What is done in another way than a reader of the deck might think."""
    notes = []
    count = Counter({g.kind: 0 for g in mesh.elements})
    for group in mesh.elements:
        count[group.kind] += len(group.ids)
    if count["C3D8R"]:
        notes.append(REDUCED.format(count=count["C3D8R"]))
    used = np.zeros(len(mesh.nodes.ids), dtype=bool)
    for group in mesh.elements:
        used[group.nodes] = True
    loose = np.flatnonzero(~used)
    if loose.size:
        notes.append(f"{loose.size} nodes belong to no element; the first is {mesh.nodes.ids[loose[0]]}")
    return tuple(notes)
