"""A deck for CalculiX and Abaqus: one linear static step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kyphos.fem import FORMULATIONS, voxel

from .outgoing import Array, Ids, LinearModel, Section, deck_name, face_labels, sections
from .volumes import with_volume_springs

PER_LINE = 16
DENSITIES_PER_LINE = 10
HEX_KINDS = {"standard": "C3D8", "mean_dilatation": "C3D8I", "enhanced": "C3D8I"}
"""Element type of each formulation. CalculiX integrates its C3D8 fully, as our standard cells: they agree to the last
digit. It has no mean dilatation; nearest to that comes C3D8I, the only one that does not lock in volume either."""
TERMS_PER_LINE = 4
ALL, REFERENCES, GLOBAL_AXES, STRETCHES = "all_elements", "reference_nodes", "global_axes", "spring_stretches"


def write_inp(path: Path, model: LinearModel) -> None:
    """Write a deck that CalculiX runs as it is, in keywords that Abaqus has too.

    Hexahedra become C3D8 or C3D8I (see ``HEX_KINDS``; those of discs with springs, see ``volumes``), tetrahedra C3D10.
    Node and element numbers are ours from 1; each platen adds a reference node, and so does each spring, the last ones.

    Raises
    ------
    InputError
        A face set that does not lie on the outside of its cells.
    """
    model = with_volume_springs(model)
    parts = sections(model)
    with path.open("w", encoding="ascii", errors="replace", newline="\n") as file:
        for block in (
            _heading(model, parts),
            _mesh(model),
            _sets(model),
            _materials(parts),
            _platens(model),
            _springs(model),
        ):
            file.writelines(f"{line}\n" for line in block)
        file.writelines(f"{line}\n" for line in _step(model))


def _heading(model: LinearModel, parts: list[Section]) -> Iterator[str]:
    yield "*HEADING"
    yield model.title
    yield "** Units: mm, N, MPa. Axes: x right, y anterior, z superior."
    yield from (f"** {note}" for note in model.notes)
    yield f"** {len(model.points_mm)} nodes, {len(model.cells)} elements, {len(parts)} materials."


def _mesh(model: LinearModel) -> Iterator[str]:
    yield "*NODE, NSET=all_nodes"
    for number, (x, y, z) in enumerate(model.points_mm.tolist(), start=1):
        yield f"{number}, {x:.10g}, {y:.10g}, {z:.10g}"
    kinds = _kinds(model)
    for kind in np.unique(kinds):
        chosen = kinds == kind
        yield f"*ELEMENT, TYPE={kind}, ELSET={ALL}"
        numbers = (np.flatnonzero(chosen) + 1).tolist()
        for number, nodes in zip(numbers, (model.cells[chosen] + 1).tolist(), strict=True):
            yield f"{number}, {', '.join(map(str, nodes))}"


def _kinds(model: LinearModel) -> NDArray[np.str_]:
    """(m,) element types."""
    if model.cells.shape[1] == 10:
        return np.full(len(model.cells), "C3D10")
    kinds = np.full(len(model.cells), "C3D8I")
    for name, kind in HEX_KINDS.items():
        kinds[model.formulation == FORMULATIONS[name]] = kind
    return kinds


def _sets(model: LinearModel) -> Iterator[str]:
    for index, region in enumerate(model.region_names):
        yield from _id_set("ELSET", region, np.flatnonzero(model.region == index))
    for name, cells in model.cell_sets.items():
        yield from _id_set("ELSET", name, cells)
    named = dict(model.node_sets) | {c.name: c.nodes for c in model.conditions}
    for name, nodes in named.items():
        yield from _id_set("NSET", name, nodes)
    for name, faces in model.face_sets.items():
        cells, labels = face_labels(model.cells, faces)
        yield f"*SURFACE, NAME={deck_name(name)}, TYPE=ELEMENT"
        yield from (f"{cell}, S{label}" for cell, label in zip((cells + 1).tolist(), labels.tolist(), strict=True))
    yield f"** QCT mineral density of elements 1, 2, ..., g/cm3 (nan: no bone), {DENSITIES_PER_LINE} on a line"
    for values in _chunks([f"{value:.4g}" for value in model.density_g_per_cc.tolist()], DENSITIES_PER_LINE):
        yield f"** density {' '.join(values)}"


def _id_set(keyword: str, name: str, ids: Ids) -> Iterator[str]:
    if not ids.size:
        return
    yield f"*{keyword}, {keyword}={deck_name(name)}"
    for numbers in _chunks([str(number) for number in (ids + 1).tolist()], PER_LINE):
        yield ", ".join(numbers)


def _chunks(items: list[str], length: int) -> Iterator[list[str]]:
    return (items[start : start + length] for start in range(0, len(items), length))


def _materials(parts: list[Section]) -> Iterator[str]:
    """Materials and sections; what is not isotropic names its axes even where they are the global ones, for Abaqus."""
    yield from _orientation(GLOBAL_AXES, np.eye(3))
    for part in parts:
        yield from _id_set("ELSET", part.name, part.cells)
        values = [f"{value:.9g}" for value in part.constants.tolist()]
        section = f"*SOLID SECTION, ELSET={part.name}, MATERIAL={part.name}"
        if part.axes is not None:
            yield from _orientation(part.name, part.axes)
        yield f"*MATERIAL, NAME={part.name}"
        if part.stiffness is not None:
            yield "*ELASTIC, TYPE=ANISO"
            yield from map(", ".join, _chunks([f"{value:.9g}" for value in _upper(part.stiffness)], 8))
        elif part.isotropic:
            yield "*ELASTIC"
            yield f"{values[0]}, {values[3]}"
        else:
            section += f", ORIENTATION={GLOBAL_AXES if part.axes is None else part.name}"
            yield "*ELASTIC, TYPE=ENGINEERING CONSTANTS"
            yield ", ".join(values[:8])
            yield values[8]
        yield section


def _upper(stiffness: Array) -> list[float]:
    """The 21 constants of a symmetric (6, 6), column by column down to the diagonal, in the order 11 22 33 12 13 23."""
    order = [0, 1, 2, 3, 5, 4]
    own = 0.5 * (stiffness + stiffness.T)[np.ix_(order, order)]
    return [float(own[i, j]) for j in range(6) for i in range(j + 1)]


def _orientation(name: str, axes: Array) -> Iterator[str]:
    yield f"*ORIENTATION, NAME={name}, SYSTEM=RECTANGULAR"
    yield ", ".join(f"{value:.9g}" for value in axes[:2].ravel())


def _platens(model: LinearModel) -> Iterator[str]:
    """Rigid platens: nodes that follow a reference node of their own."""
    if not model.platens:
        return
    yield f"*NODE, NSET={REFERENCES}"
    for platen, number in _references(model):
        x, y, z = platen.centre_mm
        yield f"{number}, {x:.10g}, {y:.10g}, {z:.10g}"
    for platen, number in _references(model):
        name = deck_name(platen.name)
        yield from _id_set("NSET", f"{name}_reference", np.array([number - 1]))
        yield f"*SURFACE, NAME={name}_nodes, TYPE=NODE"
        yield f"{name},"
        yield f"*COUPLING, CONSTRAINT NAME={name}, REF NODE={number}, SURFACE={name}_nodes"
        yield "*KINEMATIC"
        yield "1, 3"


def _springs(model: LinearModel) -> Iterator[str]:
    """Springs to the ground on nodes of their own, whose first displacement an equation makes the spring's stretch."""
    if not model.springs:
        return
    yield "** Springs: the stretch of each is the first displacement of a node of its own, where it pulls."
    first = len(model.points_mm) + 1 + len(model.platens)
    yield f"*NODE, NSET={STRETCHES}"
    for number, spring in enumerate(model.springs, start=first):
        x, y, z = model.points_mm[spring.nodes].mean(axis=0)
        yield f"{number}, {x:.10g}, {y:.10g}, {z:.10g}"
    for index, spring in enumerate(model.springs):
        name, own = deck_name(spring.name), first + index
        at, axis = np.nonzero(spring.weights)
        terms = [
            f"{node}, {place}, {weight:.10g}"
            for node, place, weight in zip(
                (spring.nodes[at] + 1).tolist(), (axis + 1).tolist(), spring.weights[at, axis].tolist(), strict=True
            )
        ]
        yield "*EQUATION"
        yield str(len(terms) + 1)
        yield from map(", ".join, _chunks([f"{own}, 1, -1", *terms], TERMS_PER_LINE))
        yield f"*ELEMENT, TYPE=SPRING1, ELSET={name}"
        yield f"{len(model.cells) + 1 + index}, {own}"
        yield f"*SPRING, ELSET={name}"
        yield "1"
        yield f"{spring.stiffness_n_per_mm:.9e}"  # a number without a point is not read


def _references(model: LinearModel) -> Iterable[tuple[voxel.Platen, int]]:
    return [(platen, len(model.points_mm) + 1 + index) for index, platen in enumerate(model.platens)]


def _step(model: LinearModel) -> Iterator[str]:
    yield "*STEP"
    yield "*STATIC"
    yield "*BOUNDARY"
    if model.springs:
        yield f"{STRETCHES}, 2, 3, 0"
    loads, prints = [], []
    for platen, number in _references(model):
        for place, (motion, load) in enumerate(zip(platen.motion, platen.load, strict=True), start=1):
            if motion is not None:
                yield f"{number}, {place}, {place}, {motion:.10g}"
            elif load != 0.0:
                loads.append(f"{number}, {place}, {load:.10g}")
    for hold in model.holds:
        name = deck_name(hold.name)
        for place, value in enumerate(hold.displacement_mm, start=1):
            if value is not None:
                yield f"{name}, {place}, {place}, {value:.10g}"
        prints += [f"*NODE PRINT, NSET={name}, TOTALS=YES", "RF"]
    yield from ["*CLOAD", *loads] if loads else []
    yield from [f"*NODE PRINT, NSET={REFERENCES}", "U, RF"] if model.platens else []
    yield from prints
    yield from (f"*EL PRINT, ELSET={ALL}", "S", "*NODE FILE", "U", "*EL FILE", "S", "*END STEP")
