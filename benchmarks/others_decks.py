"""Decks of others: which of a folder's are read and solved, and how far the displacements are from CalculiX's.

    apt-get download calculix-ccx-test && dpkg -x calculix-ccx-test_*.deb examples
    python benchmarks/others_decks.py examples/usr/share/doc/calculix-ccx-test/examples/test

Displacements are those of the last increment, the difference the largest of any node over the largest displacement.
Needs ``ccx`` on the path. Decks that are refused are counted by the reason.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from kyphos.errors import ConvergenceError, InputError
from kyphos.experiments.decks import Solution, read_deck, solve_deck


def unpacked(source: Path, folder: Path) -> list[Path]:
    """Copies of all decks of ``source``, compressed ones unpacked."""
    for file in sorted(source.iterdir()):
        if file.name.endswith(".inp.gz"):
            (folder / file.name[:-3]).write_bytes(gzip.decompress(file.read_bytes()))
        elif file.suffix == ".inp":
            shutil.copy(file, folder)
    return sorted(folder.glob("*.inp"))


def by_calculix(deck: Path, folder: Path) -> dict[int, list[float]]:
    """Displacement of every node after the last increment; empty where CalculiX gives none."""
    text = re.sub(r"(?im)^\*END STEP", "*NODE FILE\nU\n*END STEP", deck.read_text(errors="replace"))
    (folder / deck.name).write_text(text)
    subprocess.run(["ccx", "-i", deck.stem], cwd=folder, capture_output=True, check=False, timeout=120)
    found: dict[int, list[float]] = {}
    inside = False
    results = folder / f"{deck.stem}.frd"
    for line in results.read_text(errors="replace").splitlines() if results.exists() else ():
        if line.startswith(" -4"):
            inside = "DISP" in line
        elif line.startswith(" -3"):
            inside = False
        elif line.startswith(" -1") and inside:
            found[int(line[3:13])] = [float(line[13 + 12 * i : 25 + 12 * i]) for i in range(3)]
    return found


def difference(solution: Solution, other: dict[int, list[float]]) -> float:
    """Largest difference of any node over the largest displacement."""
    shared = [(i, int(n)) for i, n in enumerate(solution.model.deck.node_ids) if int(n) in other]
    ours = solution.steps[-1].state.displacement_mm[[i for i, _ in shared]]
    theirs = np.array([other[n] for _, n in shared])
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def main() -> None:
    """Print a row for each deck that is solved, and the reasons why others are not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    source, refused = parser.parse_args().folder, Counter[str]()
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        for deck in unpacked(source, Path(ours)):
            try:
                solution = solve_deck(read_deck(deck))
            except (InputError, ConvergenceError) as error:
                refused[re.sub(r"^.*?:\d+: ", "", str(error))[:70]] += 1
                continue
            other = by_calculix(deck, Path(theirs))
            if solution.failure is not None or not other:
                print(f"{deck.name:20s} {solution.failure or 'CalculiX gives no displacement'}")
            else:
                print(f"{deck.name:20s} {difference(solution, other):.1e}", flush=True)
    for reason, count in refused.most_common(12):
        print(f"{count:4d} refused: {reason}")


if __name__ == "__main__":
    main()
