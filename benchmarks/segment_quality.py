"""Random segments of one to seven levels through the quality gate.

`python benchmarks/segment_quality.py [COUNT] [SIZE_MM]` draws levels, sizes, discs and grades, prints one row per
number of levels and, at the end, how many failed; exit code 1 if any did.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from kyphos import meshes
from kyphos.errors import MeshError


def main(count: int = 300, element_size_mm: float = 2.0) -> int:
    rng = np.random.default_rng(2025)
    worst: dict[int, list[float]] = {levels: [] for levels in range(1, 8)}
    unknowns: dict[int, list[int]] = {levels: [] for levels in range(1, 8)}
    failures = []
    start = time.perf_counter()
    for number in range(count):
        drawn = meshes.random_segment(1 + number % 7, "female" if number % 2 else "male", rng)
        try:
            mesh = meshes.segment_mesh(*drawn, element_size_mm=element_size_mm, seed=number)
        except MeshError as error:
            failures.append(f"specimen {number}: {error}")
            continue
        worst[len(drawn[0])].append(float(meshes.scaled_jacobian(mesh).min()))
        unknowns[len(drawn[0])].append(3 * len(mesh.points_mm))
    print(f"{'levels':6}{'specimens':>10}{'unknowns':>10}{'worst':>8}{'median':>8}   scaled Jacobian")
    for levels, values in worst.items():
        if values:
            row = f"{len(values):10d}{np.mean(unknowns[levels]):10.0f}"
            print(f"{levels:<6}{row}{min(values):8.3f}{np.median(values):8.3f}")
    print(f"{len(failures)} of {count} failed; {time.perf_counter() - start:.0f} s")
    print("\n".join(failures[:10]))
    return 1 if failures else 0


if __name__ == "__main__":
    values = [float(word) for word in sys.argv[1:3]]
    sys.exit(main(int(values[0]) if values else 300, values[1] if len(values) > 1 else 2.0))
