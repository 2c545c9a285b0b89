"""Materials, sections, orientations, amplitudes, equations and rigid bodies of a deck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .deck import Amplitude, Equation, Material, Plastic, RigidBody, Section, Term
from .keywords import choice
from .lexer import Block, Place, number
from .names import integer, is_integer
from .read_mesh import Mesh, nodes_of

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

PROPERTIES = ("ELASTIC", "PLASTIC", "HYPERELASTIC", "CREEP", "EXPANSION", "DENSITY")


def read_materials(blocks: Sequence[Block], dialect: str = "calculix") -> dict[str, Material]:
    """Materials by upper-case name; ``dialect`` decides what *CREEP means without LAW.

    Raises
    ------
    DeckError
        A property outside a material, one that is not supported, two that do not go together.
    """
    materials: dict[str, Material] = {}
    current: str | None = None
    for block in blocks:
        if block.keyword == "MATERIAL":
            current = block.parameters["NAME"].upper()
            if current in materials:
                first = materials[current].place
                raise block.error(f"the material {block.parameters['NAME']} is given twice; first at {first}")
            materials[current] = Material(block.parameters["NAME"], block.place)
        elif block.keyword in PROPERTIES:
            if current is None:
                raise block.error("it belongs to a material; begin one with *MATERIAL, NAME=...")
            materials[current] = _with_property(materials[current], block, dialect)
        else:
            current = None
    for material in materials.values():
        _check_material(material)
    return materials


def _with_property(material: Material, block: Block, dialect: str) -> Material:
    if block.keyword == "ELASTIC":
        return replace(material, elastic=_elastic(block))
    if block.keyword == "PLASTIC":
        return replace(material, plastic=_plastic(block))
    if block.keyword == "HYPERELASTIC":
        return replace(material, hyperelastic=_hyperelastic(block))
    if block.keyword == "CREEP":
        return replace(material, creep=_creep(block, dialect))
    if block.keyword == "EXPANSION":
        return replace(material, expansion=_expansion(block))
    return material


def _check_material(material: Material) -> None:
    error = material.place.error
    head = f"*MATERIAL: {material.name}"
    if material.elastic is None and material.hyperelastic is None:
        raise error(f"{head} has no *ELASTIC and no *HYPERELASTIC")
    given = [name for name in ("hyperelastic", "plastic", "creep") if getattr(material, name) is not None]
    if len(given) > 1:
        raise error(f"{head} has *{given[0].upper()} and *{given[1].upper()}; only one of them is supported")
    if material.hyperelastic is not None and material.elastic is not None:
        raise error(f"{head} has *ELASTIC and *HYPERELASTIC; give one of them")
    if given and material.elastic is not None and len(material.elastic) != 2:
        raise error(f"{head}: *{given[0].upper()} needs isotropic elasticity")


def _constants(block: Block, count: int, names: str) -> tuple[float, ...]:
    """So many constants from the data, which may also give them at one temperature, but not at several."""
    values, counts = block.numbers()
    lines = 2 if count > 8 else 1
    if values.size == count + 1 and counts.size == lines:
        values = values[:count]
    if values.size != count or counts.size > lines:
        problem = "constants that depend on temperature are not supported" if counts.size > lines else "wrong count"
        raise block.error(f"{problem}: needs {names}, found {values.size} numbers in {counts.size} lines")
    return tuple(map(float, values))


def _elastic(block: Block) -> tuple[float, ...]:
    kind = choice(block, "TYPE", ("ISO", "ISOTROPIC", "ENGINEERING CONSTANTS"), "ISO")
    if kind == "ENGINEERING CONSTANTS":
        found = _constants(block, 9, "E1, E2, E3, nu12, nu13, nu23, G12, G13, G23")
        if min(found[:3] + found[6:]) <= 0.0:
            raise block.error("all moduli must be positive")
        return found
    young, poisson = _constants(block, 2, "E, nu")
    if young <= 0.0 or not -0.5 <= poisson < 0.5:
        raise block.error(f"E={young:g}, nu={poisson:g}: E must be positive, nu within [-0.5, 0.5)")
    return young, poisson


def _plastic(block: Block) -> Plastic:
    hardening = choice(block, "HARDENING", ("ISOTROPIC", "KINEMATIC"), "ISOTROPIC")
    values, counts = block.numbers()
    if counts.size == 0 or np.any(counts != counts[0]) or counts[0] not in (2, 3):
        raise block.error("each line needs a yield stress and a plastic strain")
    table = values.reshape(-1, counts[0])
    if counts[0] == 3 and np.any(table[:, 2] != table[0, 2]):
        raise block.error("a table that depends on temperature is not supported")
    stress, strain = table[:, 0], table[:, 1]
    if stress[0] <= 0.0 or strain[0] != 0.0 or np.any(np.diff(strain) <= 0.0):
        raise block.error("the first line needs a positive stress at strain 0; strains must grow from line to line")
    if np.any(np.diff(stress) < 0.0):
        raise block.error("stresses that fall (softening) are not supported; they depend on the size of the elements")
    return Plastic(stress.copy(), strain.copy(), hardening == "KINEMATIC")


def _hyperelastic(block: Block) -> tuple[float, float, float]:
    neo, mooney = "NEO HOOKE" in block.parameters, "MOONEY-RIVLIN" in block.parameters
    if neo == mooney:
        raise block.error("give NEO HOOKE or MOONEY-RIVLIN")
    found = _constants(block, 2, "C10, D1") if neo else _constants(block, 3, "C10, C01, D1")
    c10, c01, d1 = (found[0], 0.0, found[1]) if neo else found
    if d1 <= 0.0:
        raise block.error(f"D1={d1:g}: it must be positive, 2 / bulk modulus; 0 would mean wholly incompressible")
    if c10 < 0.0 or c01 < 0.0 or c10 + c01 <= 0.0:
        raise block.error(f"C10={c10:g}, C01={c01:g}: neither may be negative, one must be positive")
    return c10, c01, d1


def _creep(block: Block, dialect: str) -> tuple[float, float, float]:
    law = choice(block, "LAW", ("NORTON", "TIME", "STRAIN"), "NORTON" if dialect == "calculix" else "STRAIN")
    coefficient, exponent, time = _constants(block, 3, "A, n, m")
    if law == "STRAIN" and time != 0.0:
        raise block.error(
            f"m={time:g} with strain hardening is not supported; LAW=NORTON or TIME has the rate A s^n t^m"
        )
    if coefficient < 0.0 or exponent < 1.0 or time <= -1.0:
        raise block.error(f"A={coefficient:g}, n={exponent:g}, m={time:g}: A >= 0, n >= 1 and m > -1 are needed")
    return coefficient, exponent, time


def _expansion(block: Block) -> tuple[float, float, float]:
    kind = choice(block, "TYPE", ("ISO", "ORTHO"), "ISO")
    if kind == "ISO":
        (alpha,) = _constants(block, 1, "the coefficient")
        return alpha, alpha, alpha
    x, y, z = _constants(block, 3, "three coefficients")
    return x, y, z


def read_sections(blocks: Sequence[Block], mesh: Mesh, materials: dict[str, Material]) -> tuple[Section, ...]:
    """All *SOLID SECTION; DeckError for a set, material or orientation that does not exist."""
    orientations = {b.parameters["NAME"].upper(): _axes(b) for b in blocks if b.keyword == "ORIENTATION"}
    sections = []
    for block in blocks:
        if block.keyword != "SOLID SECTION":
            continue
        name, material = block.parameters["ELSET"], block.parameters["MATERIAL"].upper()
        elements = mesh.element_sets.get(name, block.place, block.keyword)
        if material not in materials:
            known = ", ".join(m.name for m in materials.values()) or "none"
            raise block.error(f"there is no material {block.parameters['MATERIAL']!r}; the deck has: {known}")
        axes = None
        if "ORIENTATION" in block.parameters:
            orientation = block.parameters["ORIENTATION"]
            if orientation.upper() not in orientations:
                raise block.error(f"there is no orientation {orientation!r}")
            axes = orientations[orientation.upper()]
        sections.append(Section(mesh.element_sets.spelling(name), elements, material, axes, block.place))
    return tuple(sections)


def sections_of_elements(sections: Sequence[Section], mesh: Mesh) -> Ids:
    """(m,) section of every element; DeckError where an element has none or two."""
    out = np.full(len(mesh.element_index.ids), -1)
    for i, section in enumerate(sections):
        taken = section.elements[out[section.elements] >= 0]
        if taken.size:
            other = sections[out[taken[0]]]
            raise section.place.error(
                f"*SOLID SECTION: element {mesh.element_index.ids[taken[0]]} has a section already, from {other.place}"
            )
        out[section.elements] = i
    without, first = np.flatnonzero(out < 0), 0
    for group in mesh.elements:
        if without.size and without[0] < first + len(group.ids):
            at = int(without[0]) - first
            raise group.place(at).error(
                f"*ELEMENT: element {group.ids[at]} has no *SOLID SECTION, and so no material ({without.size} in all)"
            )
        first += len(group.ids)
    return out


def _axes(block: Block) -> Array:
    """Rows: the material's axes. x through the first point, the second in the xy plane."""
    choice(block, "SYSTEM", ("RECTANGULAR",), "RECTANGULAR")
    choice(block, "DEFINITION", ("COORDINATES",), "COORDINATES")
    values, counts = block.numbers()
    if counts.size == 2 and not values[counts[0] + 1 :].any():  # a second line: a further rotation, of nothing
        values, counts = values[: counts[0]], counts[:1]
    if counts.size != 1 or values.size not in (6, 9):
        raise block.error("needs one line: the coordinates of two points; a further rotation is not supported")
    origin = values[6:] if values.size == 9 else np.zeros(3)
    first, second = values[:3] - origin, values[3:6] - origin
    normal = np.cross(first, second)
    if np.linalg.norm(normal) <= 1e-9 * np.linalg.norm(first) * np.linalg.norm(second) or not first.any():
        raise block.error("the two points lie on one line with the origin; they give no plane")
    x, z = first / np.linalg.norm(first), normal / np.linalg.norm(normal)
    return np.stack([x, np.cross(z, x), z])


def read_amplitudes(blocks: Sequence[Block]) -> dict[str, Amplitude]:
    """Amplitudes by upper-case name."""
    found = {}
    for block in blocks:
        if block.keyword != "AMPLITUDE":
            continue
        choice(block, "DEFINITION", ("TABULAR",), "TABULAR")
        choice(block, "VALUE", ("RELATIVE",), "RELATIVE")
        total = choice(block, "TIME", ("STEP TIME", "TOTAL TIME"), "STEP TIME") == "TOTAL TIME"
        values, _ = block.numbers()
        if values.size < 2 or values.size % 2 or np.any(np.diff(values[::2]) < 0.0):
            raise block.error("needs pairs of time and factor, times growing")
        name = block.parameters["NAME"]
        found[name.upper()] = Amplitude(name, values[::2].copy(), values[1::2].copy(), total)
    return found


def read_equations(blocks: Sequence[Block], mesh: Mesh) -> tuple[Equation, ...]:
    """All equations; a set in place of a node makes one for each of its nodes."""
    found: list[Equation] = []
    for block in blocks:
        if block.keyword != "EQUATION":
            continue
        rows = list(block.rows())
        while rows:
            place, head = rows.pop(0)
            if len(head) != 1 or not is_integer(head[0]) or int(head[0]) < 1:
                raise place.error("*EQUATION: needs the number of terms on a line of its own")
            fields: list[str] = []
            while rows and len(fields) < 3 * int(head[0]):
                fields += rows.pop(0)[1]
            if len(fields) != 3 * int(head[0]):
                raise place.error(f"*EQUATION: {head[0]} terms need {3 * int(head[0])} fields (node, dof, coefficient)")
            found += _equations(fields, mesh, place)
    return tuple(found)


def _equations(fields: list[str], mesh: Mesh, place: Place) -> list[Equation]:
    nodes = [mesh.node_sets.find(text, place, "EQUATION") for text in fields[::3]]
    dofs = [integer(text, place, "EQUATION") for text in fields[1::3]]
    coefficients = [number(text, place, "EQUATION") for text in fields[2::3]]
    if not all(1 <= dof <= 6 for dof in dofs):
        raise place.error("*EQUATION: a dof is 1, 2 or 3 (4 to 6 at the reference node of a rigid body)")
    if coefficients[0] == 0.0:
        raise place.error("*EQUATION: the first coefficient may not be 0")
    count = max(map(len, nodes))
    if any(len(n) not in (1, count) for n in nodes):
        raise place.error(f"*EQUATION: sets of {', '.join(str(len(n)) for n in nodes)} nodes do not fit together")
    return [
        Equation(
            tuple(
                Term(int(n[min(i, len(n) - 1)]), d, c) for n, d, c in zip(nodes, dofs, coefficients, strict=True) if c
            ),
            place,
        )
        for i in range(count)
    ]


def read_rigid_bodies(blocks: Sequence[Block], mesh: Mesh) -> tuple[RigidBody, ...]:
    """All rigid bodies and kinematic couplings; DeckError where a node would belong to two."""
    found: list[RigidBody] = []
    taken = np.zeros(len(mesh.nodes.ids), dtype=bool)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.keyword == "RIGID BODY":
            nodes = _rigid_nodes(block, mesh)
        elif block.keyword == "COUPLING":
            nodes = _coupled_nodes(block, following, mesh)
        else:
            continue
        reference = _one_node(block, "REF NODE", mesh)
        rotation = _one_node(block, "ROT NODE", mesh) if "ROT NODE" in block.parameters else None
        nodes = nodes[nodes != reference]
        if not nodes.size or taken[nodes].any():
            raise block.error("it has no nodes" if not nodes.size else "some of its nodes belong to another rigid body")
        taken[nodes] = True
        found.append(RigidBody(nodes, reference, rotation, block.place))
    return tuple(found)


def _rigid_nodes(block: Block, mesh: Mesh) -> Ids:
    if ("NSET" in block.parameters) == ("ELSET" in block.parameters):
        raise block.error("give NSET or ELSET")
    if "NSET" in block.parameters:
        return mesh.node_sets.get(block.parameters["NSET"], block.place, block.keyword)
    chosen = mesh.element_sets.get(block.parameters["ELSET"], block.place, block.keyword)
    return nodes_of(mesh.elements, chosen)


def _coupled_nodes(block: Block, following: Block | None, mesh: Mesh) -> Ids:
    """Nodes of the node surface of a *COUPLING; the *KINEMATIC after it must tie all of their dofs."""
    if following is None or following.keyword != "KINEMATIC":
        raise block.error("a *KINEMATIC must follow; other couplings are not supported")
    tied: set[int] = set()
    for place, row in following.rows():
        first, last = (integer(text, place, "KINEMATIC") for text in (row[0], row[1] if len(row) > 1 else row[0]))
        tied |= set(range(first, last + 1))
    if tied and not {1, 2, 3} <= tied:
        raise following.error("only a coupling of the dofs 1, 2 and 3 together is supported; write 1, 3")
    return mesh.node_sets.get(block.parameters["SURFACE"], block.place, block.keyword)


def _one_node(block: Block, name: str, mesh: Mesh) -> int:
    found = mesh.node_sets.find(block.parameters[name], block.place, block.keyword)
    if len(found) != 1:
        raise block.error(f"{name} must be one node, found {len(found)}")
    return int(found[0])
