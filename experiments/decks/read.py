"""Read a finite-element deck of somebody else's: the Abaqus and CalculiX subset that solids need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import InputError

from .deck import Deck, Equation, Material, RigidBody, Section
from .keywords import check_keywords, choice
from .lexer import Block, read_blocks
from .read_mesh import DIALECTS, Mesh, node_place, read_mesh, read_surfaces
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

DRIFTING = (
    "C3D20R of {name}, which flows: where it is a single row of elements, displacements may drift along modes that "
    "cost no energy; compare with C3D20"
)
LOCKING = (
    "C3D8 is fully integrated, as in CalculiX, and too stiff for {name}, which (nearly) keeps its volume; "
    "--dialect abaqus averages the dilatation of each element, as C3D8 does there; C3D20R and C3D10 are better"
)
INCOMPRESSIBLE = 0.4  # Poisson's ratio from which full integration is worth a note


def read_deck(path: str | Path, dialect: str = "calculix") -> Deck:
    """Read a deck and check everything that can be checked without solving.

    Parameters
    ----------
    dialect
        Where CalculiX and Abaqus mean different things by the same words: ``calculix`` or ``abaqus``.

    Raises
    ------
    DeckError
        Whatever is wrong, unknown or missing, with file and line.
    """
    if dialect not in DIALECTS:
        raise InputError(f"dialect {dialect!r} is unknown; allowed: {', '.join(DIALECTS)}")
    path = Path(path)
    blocks = read_blocks(path)
    check_keywords(blocks)
    mesh = read_mesh(blocks)
    surfaces = read_surfaces(blocks, mesh)
    materials = read_materials(blocks, dialect)
    sections = read_sections(blocks, mesh, materials)
    context = Context(mesh, surfaces, read_amplitudes(blocks))
    steps = read_steps(blocks, context)
    section = sections_of_elements(sections, mesh)
    equations, rigid_bodies = read_equations(blocks, mesh), read_rigid_bodies(blocks, mesh)
    _refuse_loose(blocks, mesh, equations, rigid_bodies)
    notes = [*_notes(blocks, mesh), *_material_notes(mesh, materials, sections, section, dialect)]
    return Deck(
        path=path,
        dialect=dialect,
        heading=_heading(blocks),
        node_ids=mesh.nodes.ids,
        points_mm=mesh.points_mm,
        elements=mesh.elements,
        node_sets=dict(mesh.node_sets.all()),
        element_sets=dict(mesh.element_sets.all()),
        surfaces=surfaces,
        materials=materials,
        sections=sections,
        section=section,
        equations=equations,
        rigid_bodies=rigid_bodies,
        amplitudes=context.amplitudes,
        held=read_held([b for b in _before_steps(blocks) if b.keyword == "BOUNDARY"], context),
        initial_temperature=read_temperatures(_initial(blocks), context),
        steps=steps,
        notes=tuple(notes),
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


def _materials_of(kind: str, mesh: Mesh, sections: Sequence[Section], section: Ids) -> Iterator[str]:
    """Names of the materials that elements of a kind have."""
    kinds = np.concatenate([np.full(len(group.ids), group.kind) for group in mesh.elements])
    yield from dict.fromkeys(sections[i].material for i in np.unique(section[kinds == kind]))


def _material_notes(
    mesh: Mesh, materials: dict[str, Material], sections: Sequence[Section], section: Ids, dialect: str
) -> Iterator[str]:
    """Materials that an element type is ill at ease with."""
    for name in _materials_of("C3D20R", mesh, sections, section):
        if materials[name].plastic or materials[name].creep:
            yield DRIFTING.format(name=name)
    for name in _materials_of("C3D8", mesh, sections, section) if dialect == "calculix" else ():
        material = materials[name]
        poisson = material.elastic[1] if material.elastic and len(material.elastic) == 2 else 0.0
        if material.plastic or material.creep or material.hyperelastic or poisson > INCOMPRESSIBLE:
            yield LOCKING.format(name=material.name)


def _notes(blocks: Sequence[Block], mesh: Mesh) -> Iterator[str]:
    """What is done in another way than a reader of the deck might think."""
    count = sum(len(group.ids) for group in mesh.elements if group.kind == "C3D8R")
    if count:
        yield REDUCED.format(count=count)
    if any("CETOL" in block.parameters for block in blocks):
        yield "CETOL does not choose increments here; those of the *VISCO line do (at least 20 without it)"


def _refuse_loose(
    blocks: Sequence[Block], mesh: Mesh, equations: Sequence[Equation], rigid_bodies: Sequence[RigidBody]
) -> None:
    """Nodes that nothing speaks of are more often a slip than meant."""
    used = np.zeros(len(mesh.nodes.ids), dtype=bool)
    for group in mesh.elements:
        used[group.nodes] = True
    used[[term.node for equation in equations for term in equation.terms]] = True
    for body in rigid_bodies:
        used[[body.reference if body.rotation is None else body.rotation, body.reference]] = True
    loose = np.flatnonzero(~used)
    if loose.size:
        others = f" ({loose.size} such nodes in all)" if loose.size > 1 else ""
        raise node_place(blocks, int(loose[0])).error(
            f"*NODE: node {mesh.nodes.ids[loose[0]]} belongs to no element, equation or rigid body{others}; "
            "connect it or remove it"
        )
