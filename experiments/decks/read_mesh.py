"""Nodes, elements, sets and surfaces of a deck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kyphos import fem

from .deck import Elements
from .keywords import choice
from .lexer import Block, Place
from .names import Index, Sets

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

DIALECTS = {"calculix": "standard", "abaqus": "mean_dilatation"}
"""Whose deck it is, and how C3D8 is integrated there: docs/decks.md says how this was found."""

# element of fem, formulation
KINDS = {
    "C3D4": ("tet4", "standard"),
    "C3D8": ("hex8", "by dialect"),
    "C3D8I": ("hex8", "enhanced"),
    "C3D8R": ("hex8", "enhanced"),
    "C3D10": ("tet10", "standard"),
    "C3D20": ("hex20", "standard"),
    "C3D20R": ("hex20r", "standard"),
}


@dataclass(frozen=True)
class Mesh:
    """Nodes, elements and sets while a deck is read."""

    points_mm: Array
    nodes: Index
    elements: tuple[Elements, ...]
    element_index: Index
    node_sets: Sets
    element_sets: Sets


def read_mesh(blocks: Sequence[Block]) -> Mesh:
    """All nodes, then all elements, then all sets, whatever the order in the deck.

    Raises
    ------
    DeckError
        Numbers given twice, nodes that do not exist, an element that is not supported.
    """
    points, nodes, groups = _read_nodes([b for b in blocks if b.keyword == "NODE"])
    node_sets = Sets(nodes)
    for block, members in groups:
        if "NSET" in block.parameters:
            node_sets.add(block.parameters["NSET"], members)
    given = [b for b in blocks if b.keyword == "ELEMENT"]
    elements = tuple(_read_elements(block, nodes) for block in given)
    if not any(len(group.ids) for group in elements):
        raise blocks[-1].place.error("the deck has no *ELEMENT")
    index = Index("element", np.concatenate([group.ids for group in elements]))
    _refuse_repeated_elements(index, elements)
    element_sets, first = Sets(index), 0
    for block, group in zip(given, elements, strict=True):
        if "ELSET" in block.parameters:
            element_sets.add(block.parameters["ELSET"], first + np.arange(len(group.ids)))
        first += len(group.ids)
    mesh = Mesh(points, nodes, elements, index, node_sets, element_sets)
    for block in blocks:
        if block.keyword == "ELSET":
            element_sets.read(block, block.parameters["ELSET"])
        elif block.keyword == "NSET":
            _read_node_set(block, mesh)
    return mesh


def _read_nodes(blocks: Sequence[Block]) -> tuple[Array, Index, list[tuple[Block, Ids]]]:
    tables = [_node_table(block) for block in blocks]
    table = np.concatenate([np.zeros((0, 4)), *tables])
    index = Index("node", table[:, 0].astype(np.int64))
    first = np.cumsum([0, *map(len, tables)])
    if twice := index.repeated():
        places = [_row_of(blocks, first, at) for at in twice]
        raise places[1].error(f"*NODE: node {index.ids[twice[0]]} is given twice; first at {places[0]}")
    groups = [(b, np.arange(first[i], first[i + 1])) for i, b in enumerate(blocks)]
    return np.ascontiguousarray(table[:, 1:]), index, groups


def node_place(blocks: Sequence[Block], at: int) -> Place:
    """Where the deck defines the node in place ``at``."""
    given = [block for block in blocks if block.keyword == "NODE"]
    return _row_of(given, np.cumsum([0, *(len(_node_table(block)) for block in given)]), at)


def _row_of(blocks: Sequence[Block], first: Ids, at: int) -> Place:
    block = int(np.searchsorted(first, at, side="right")) - 1
    return blocks[block].row_place(at - int(first[block]))


def _node_table(block: Block) -> Array:
    """(k, 4): number, x, y, z; coordinates that are left out are 0."""
    values, counts = block.numbers()
    if counts.size and np.all(counts == 4):
        table = values.reshape(-1, 4)
    else:
        wrong = np.flatnonzero((counts < 1) | (counts > 4))
        if wrong.size:
            raise block.row_place(int(wrong[0])).error(f"*NODE: {counts[wrong[0]]} numbers; number, x, y, z are needed")
        table = np.zeros((counts.size, 4))
        table[np.arange(4) < counts[:, None]] = values
    bad = np.flatnonzero((table[:, 0] < 1) | (table[:, 0] % 1 != 0))
    if bad.size:
        raise block.row_place(int(bad[0])).error(f"*NODE: {table[bad[0], 0]:g} is no node number; it must be 1 or more")
    return table


def _read_elements(block: Block, nodes: Index) -> Elements:
    kind = choice(block, "TYPE", tuple(KINDS), "")
    width = 1 + fem.ELEMENTS[KINDS[kind][0]].n_nodes
    values, counts = block.numbers()
    table = values.astype(np.int64)
    end = np.cumsum(counts)
    start = np.searchsorted(end, np.arange(0, table.size, width), side="right")
    ends = np.isin(np.arange(width, table.size + 1, width), end)  # elements must end where a line ends
    if table.size % width or not ends.all():
        row = int(start[int(np.argmin(ends))]) if not ends.all() else int(start[-1])
        raise block.row_place(row).error(f"*ELEMENT: {kind} needs a number and {width - 1} nodes")
    if np.any(table != values) or np.any(table < 1):
        row = int(np.searchsorted(end, int(np.argmax((table != values) | (table < 1))), side="right"))
        raise block.row_place(row).error("*ELEMENT: numbers of elements and nodes are whole and positive")
    table = table.reshape(-1, width)
    found = nodes.find(table[:, 1:].ravel()).reshape(len(table), width - 1)
    if np.any(found < 0):
        i, a = np.argwhere(found < 0)[0]
        place = block.row_place(int(start[i]))
        raise place.error(f"*ELEMENT: element {table[i, 0]} has node {table[i, 1 + a]}, which does not exist")
    group = Elements(kind, table[:, 0].copy(), found, block, start)
    _refuse_repeated_nodes(group)
    return group


def _refuse_repeated_nodes(group: Elements) -> None:
    ordered = np.sort(group.nodes, axis=1)
    wrong = np.flatnonzero(np.any(ordered[:, 1:] == ordered[:, :-1], axis=1))
    if wrong.size:
        i = int(wrong[0])
        raise group.place(i).error(
            f"*ELEMENT: element {group.ids[i]} names a node twice; {group.kind} needs "
            f"{group.nodes.shape[1]} different ones"
        )


def _refuse_repeated_elements(index: Index, elements: Sequence[Elements]) -> None:
    if twice := index.repeated():
        places = []
        for at in twice:
            for group in elements:
                if at < len(group.ids):
                    places.append(group.place(at))
                    break
                at -= len(group.ids)
        raise places[1].error(f"*ELEMENT: element {index.ids[twice[0]]} is given twice; first at {places[0]}")


def _read_node_set(block: Block, mesh: Mesh) -> None:
    name = block.parameters["NSET"]
    if "ELSET" not in block.parameters:
        mesh.node_sets.read(block, name)
        return
    chosen = mesh.element_sets.get(block.parameters["ELSET"], block.place, "NSET")
    mesh.node_sets.add(name, nodes_of(mesh.elements, chosen))


def nodes_of(elements: Sequence[Elements], chosen: Ids) -> Ids:
    """Nodes of the elements ``chosen``, ascending."""
    first, found = 0, [np.zeros(0, dtype=np.int64)]
    for group in elements:
        own = chosen[(chosen >= first) & (chosen < first + len(group.ids))] - first
        found.append(group.nodes[own].ravel())
        first += len(group.ids)
    return np.unique(np.concatenate(found))


def read_surfaces(blocks: Sequence[Block], mesh: Mesh) -> dict[str, tuple[Ids, Ids]]:
    """Element surfaces by upper-case name: elements (k,) and faces (k,), 1 to 6; node surfaces become node sets."""
    surfaces: dict[str, tuple[Ids, Ids]] = {}
    for block in blocks:
        if block.keyword != "SURFACE":
            continue
        name = block.parameters["NAME"]
        if choice(block, "TYPE", ("ELEMENT", "NODE"), "ELEMENT") == "NODE":
            for place, row in block.rows():
                mesh.node_sets.add(name, mesh.node_sets.find(row[0], place, "SURFACE"))
            continue
        elements, faces = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for place, row in block.rows():
            found = mesh.element_sets.find(row[0], place, "SURFACE")
            elements.append(found)
            faces.append(np.full(len(found), face_number(row[1:2], "S", found, mesh, place, "SURFACE")))
        surfaces[name.upper()] = np.concatenate(elements), np.concatenate(faces)
    return surfaces


def face_number(fields: Sequence[str], letter: str, found: Ids, mesh: Mesh, place: Place, keyword: str) -> int:
    """The number in a face's name, such as 3 in S3; DeckError if the elements ``found`` have no such face."""
    text = fields[0].upper() if fields else ""
    if not (len(text) == 2 and text[0] == letter and text[1] in "123456"):
        allowed = f"{letter}1 to {letter}6" + (" (a body force is not supported)" if letter == "P" else "")
        raise place.error(f"*{keyword}: {text or 'no'} face; allowed: {allowed}")
    first = 0
    for group in mesh.elements:
        own = (found >= first) & (found < first + len(group.ids))
        if own.any() and int(text[1]) > len(fem.FACES[group.nodes.shape[1]]):
            raise place.error(f"*{keyword}: {group.kind} has no face {text}; its last is {letter}4")
        first += len(group.ids)
    return int(text[1])
