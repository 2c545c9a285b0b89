"""A thousand random specimens through the quality gate.

`python benchmarks/mesh_quality.py [COUNT] [SIZE_MM]` prints one row per level and, at the end,
how many failed; exit code 1 if any did.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from kyphos import meshes
from kyphos.errors import MeshError


def main(count: int = 1000, element_size_mm: float = 2.0) -> int:
    rng = np.random.default_rng(2024)
    worst: dict[str, list[float]] = {level: [] for level in meshes.LEVELS}
    cells: dict[str, list[int]] = {level: [] for level in meshes.LEVELS}
    failures = []
    start = time.perf_counter()
    for number in range(count):
        level = meshes.LEVELS[number % len(meshes.LEVELS)]
        size = meshes.random_dimensions(level, "female" if number % 2 else "male", rng)
        try:
            mesh = meshes.build_body(level, size, element_size_mm, seed=number)
        except MeshError as error:
            failures.append(f"specimen {number}: {error}")
            continue
        worst[level].append(float(meshes.scaled_jacobian(mesh).min()))
        cells[level].append(len(mesh.cells))
    print(f"{'level':6}{'specimens':>10}{'cells':>8}{'worst':>8}{'median':>8}   scaled Jacobian")
    for level in meshes.LEVELS:
        row = f"{len(worst[level]):10d}{np.mean(cells[level]):8.0f}"
        print(f"{level:6}{row}{min(worst[level]):8.3f}{np.median(worst[level]):8.3f}")
    print(f"{len(failures)} of {count} failed; {time.perf_counter() - start:.0f} s")
    print("\n".join(failures[:10]))
    return 1 if failures else 0


if __name__ == "__main__":
    values = [float(word) for word in sys.argv[1:3]]
    sys.exit(main(int(values[0]) if values else 1000, values[1] if len(values) > 1 else 2.0))
