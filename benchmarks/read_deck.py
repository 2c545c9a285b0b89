"""How long a deck of 50 MB takes to read: python benchmarks/read_deck.py [MEGABYTES].

A box of hexahedra (C3D8) with coordinates as preprocessors print them, node and element sets, a
pressure on a surface.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from kyphos.experiments.decks import read_deck


def write_deck(path: Path, megabytes: float) -> int:
    """Write a deck of about that size; returns its number of elements."""
    n = max(2, round((megabytes * 1e6 / 135.0) ** (1.0 / 3.0)))
    axis = np.linspace(0.0, 100.0, n + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    ids = np.arange(1, len(points) + 1).reshape(n + 1, n + 1, n + 1)
    lower = [ids[:-1, :-1, :-1], ids[1:, :-1, :-1], ids[1:, 1:, :-1], ids[:-1, 1:, :-1]]
    upper = [ids[:-1, :-1, 1:], ids[1:, :-1, 1:], ids[1:, 1:, 1:], ids[:-1, 1:, 1:]]
    cells = np.stack([c.ravel() for c in (*lower, *upper)], axis=1)
    with path.open("w") as file:
        file.write("*HEADING\nA box\n*NODE, NSET=NALL\n")
        np.savetxt(file, np.column_stack([ids.ravel(), points]), fmt="%9d, %.9E, %.9E, %.9E")
        file.write("*ELEMENT, TYPE=C3D8, ELSET=EALL\n")
        np.savetxt(file, np.column_stack([np.arange(1, len(cells) + 1), cells]), fmt="%d", delimiter=", ")
        file.write(f"*NSET, NSET=BOTTOM\n{_rows(ids[:, :, 0].ravel())}*ELSET, ELSET=TOP\n")
        file.write(_rows(np.arange(n - 1, len(cells), n) + 1))
        file.write("*SURFACE, NAME=LID\nTOP, S2\n*MATERIAL, NAME=M\n*ELASTIC\n1000., 0.3\n")
        file.write("*SOLID SECTION, ELSET=EALL, MATERIAL=M\n*BOUNDARY\nBOTTOM, 1, 3\n")
        file.write("*STEP\n*STATIC\n*DSLOAD\nLID, P, 1.\n*NODE PRINT, NSET=BOTTOM\nRF\n*END STEP\n")
    return len(cells)


def _rows(ids: np.ndarray) -> str:
    return "".join(", ".join(map(str, ids[i : i + 16])) + ",\n" for i in range(0, len(ids), 16))


def main() -> None:
    """Write, read, print."""
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 50.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box.inp"
        count = write_deck(path, megabytes)
        begin = time.perf_counter()
        deck = read_deck(path)
        seconds = time.perf_counter() - begin
        size = path.stat().st_size / 1e6
    print(f"{size:.1f} MB, {len(deck.node_ids):,} nodes, {count:,} elements: read in {seconds:.1f} s")


if __name__ == "__main__":
    main()
