"""Texts of decks for the tests: a box of any element type, held and loaded as asked."""

from __future__ import annotations

import numpy as np
from shapes import block, hex20, tet10

ELASTIC = "*ELASTIC\n1000., 0.3\n"


def grid(kind: str, size=(1.0, 1.0, 1.0), counts=(1, 1, 1)) -> tuple[np.ndarray, np.ndarray]:
    """Points and cells of a box of the given type of the deck."""
    points, cells = block(size, counts)
    if kind.startswith("C3D20"):
        return hex20(points, cells)
    if kind == "C3D10":
        return tet10(points, cells)
    if kind == "C3D4":
        return points, tet10(points, cells)[1][:, :4]
    return points, cells


def lines(rows) -> str:
    """Rows of numbers as data lines; long ones go on after a comma."""
    text = []
    for row in rows:
        parts = [repr(x) if isinstance(x, float) else str(x) for x in row]
        text += [", ".join(parts[i : i + 12]) + ("," if i + 12 < len(parts) else "") for i in range(0, len(parts), 12)]
    return "\n".join(text) + "\n"


def mesh_text(points, cells, kind: str) -> str:
    """*NODE (set NALL) and *ELEMENT (set EALL)."""
    nodes = lines([i + 1, *map(float, p)] for i, p in enumerate(points))
    elements = lines([i + 1, *(int(a) + 1 for a in cell)] for i, cell in enumerate(cells))
    return f"*NODE, NSET=NALL\n{nodes}*ELEMENT, TYPE={kind}, ELSET=EALL\n{elements}"


def sides(points) -> str:
    """Node sets X0 X1 Y0 Y1 Z0 Z1 of the sides of the box of all points."""
    text = ""
    for axis, name in enumerate("XYZ"):
        for end, value in enumerate((points[:, axis].min(), points[:, axis].max())):
            ids = np.flatnonzero(np.isclose(points[:, axis], value, atol=1e-9)) + 1
            text += f"*NSET, NSET={name}{end}\n" + lines(ids[i : i + 12].tolist() for i in range(0, len(ids), 12))
    return text


def section(material: str) -> str:
    """One material for all elements."""
    return f"*MATERIAL, NAME=M\n{material}*SOLID SECTION, ELSET=EALL, MATERIAL=M\n"


SYMMETRY = "*BOUNDARY\nX0, 1\nY0, 2\nZ0, 3\n"


def step(body: str, head: str = "", procedure: str = "*STATIC\n") -> str:
    """One *STEP."""
    return f"*STEP{head}\n{procedure}{body}*END STEP\n"


def box(
    body: str,
    kind: str = "C3D8",
    material: str = ELASTIC,
    size=(1.0, 1.0, 1.0),
    counts=(1, 1, 1),
    before: str = SYMMETRY,
    head: str = "",
    procedure: str = "*STATIC\n",
) -> str:
    """A whole deck of a box with symmetry on its three lower sides and one step."""
    points, cells = grid(kind, size, counts)
    text = mesh_text(points, cells, kind) + sides(points) + section(material) + before
    return text + step(body, head, procedure)
