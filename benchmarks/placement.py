"""Random requests for cement, and what refining the mesh changes about it.

`python benchmarks/placement.py [COUNT]` places COUNT requests (300): 2 to 8 mL, all shapes, one and two needles, three
densities, with and without a cleft and cavities, with and without leaks. It prints the worst of each promise; exit
code 1 if one is broken. `python benchmarks/placement.py refine` prints the table of `docs/placement.md`: fill fraction
and contact areas on meshes of 3, 2 and 1.5 mm, and the largest changes from one mesh to the next.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

import numpy as np

from kyphos import meshes
from kyphos.errors import MeshError
from kyphos.experiments import read_study
from kyphos.experiments.cementing import ground_of
from kyphos.experiments.plan import CementStage
from kyphos.experiments.run import specimen_bench
from kyphos.experiments.specimen import build_mesh
from kyphos.materials import load_card
from kyphos.meshes.cement import cell_neighbours
from kyphos.meshes.deposit import count_deposits
from kyphos.meshes.model import GAUSS_POINTS, shape_functions
from kyphos.meshes.placement import DepositShape

DENSITIES = (50.0, 80.0, 120.0)
CLEFT_WIDTH_MM = 3.0  # about that of a crush band
TOLERANCE = 0.01
SIZES_MM = (3.0, 2.0, 1.5)
REFINED = ((2.5, "unipedicular"), (4.0, "bipedicular"), (6.0, "bipedicular"))
CONTACTS = ("superior_endplate", "inferior_endplate", "cortex", "posterior_wall")


@dataclass(frozen=True)
class Request:
    """What is asked for, and what it is asked of."""

    shape: DepositShape
    volume_ml: float
    approach: str
    vbmd_mg_per_cc: float
    viscosity: str
    cleft: bool
    cavities: bool
    leak: bool


def random_request(rng: np.random.Generator) -> Request:
    shape = str(rng.choice(get_args(DepositShape)))
    approach = "bipedicular" if shape == "separate" else str(rng.choice(["bipedicular", "unipedicular"]))
    flags = rng.random(3) < (0.5, 0.3, 0.3)
    density, volume = float(rng.choice(DENSITIES)), float(rng.uniform(2.0, 8.0))
    return Request(shape, volume, approach, density, str(rng.choice(["low", "high"])), *map(bool, flags))


def ground_for(request: Request, element_size_mm: float, seed: int = 1) -> tuple[meshes.Ground, np.ndarray]:
    """The ground of a request in a parametric L1, and the needle tips (c, 3)."""
    settings = {
        "mesh.element_size_mm": element_size_mm,
        "specimen.vbmd_mg_per_cc": request.vbmd_mg_per_cc,
        "specimen.seed": seed,
    }
    spec = read_study("kyphoplasty-pmma-L1", [f"{key}={value}" for key, value in settings.items()])
    bench = specimen_bench(build_mesh(spec))
    stage = CementStage(approach=request.approach, viscosity=request.viscosity)
    ground = ground_of(bench, stage)
    tips = meshes.needle_tips(bench.body, stage.approach, **stage.needle)
    if request.cleft:
        gain = load_card("cement-flow")["broken_gain"]
        faster = (1.0 + (gain - 1.0) * broken_share(ground)) ** -ground.exponent
        ground = replace(ground, slowness=ground.slowness * faster)
    if request.cavities:
        near = np.linalg.norm(ground.centroids_mm[:, None] - tips, axis=2).min(axis=1) < 6.0
        cavity = near & (ground.space > 0.0)
        ground = replace(ground, cavity=cavity, space=np.where(cavity, 1.0, ground.space))
    return ground, tips


def broken_share(ground: meshes.Ground) -> np.ndarray:
    """(m,) damage of the bone, 1 amid a band 3 mm above the middle; a mean over 2 x 2 x 2 points, as in a study."""
    corners = ground.local_mm(ground.points_mm)[:, 2][ground.cells]
    up = corners @ shape_functions(GAUSS_POINTS).T
    return np.exp(-(((up - 3.0) / CLEFT_WIDTH_MM) ** 2)).mean(axis=1)


def place(request: Request, ground: meshes.Ground, tips: np.ndarray) -> meshes.Deposit:
    wall = np.full(len(ground.wall.owner), 10.0) if request.leak else None
    return meshes.place_cement(ground, tips, request.shape, 1000.0 * request.volume_ml, wall)


def broken(request: Request, ground: meshes.Ground, tips: np.ndarray, deposit: meshes.Deposit) -> list[str]:
    """Promises that a deposit breaks."""
    found = []
    placed = deposit.fraction @ ground.volumes_mm3 + deposit.leaked_mm3.sum()
    if abs(placed / (1000.0 * request.volume_ml) - 1.0) > TOLERANCE:
        found.append(f"volume {placed / 1000.0:.4f} mL")
    if np.any(deposit.fraction > ground.space + 1e-12) or np.any(deposit.fraction < 0.0):
        found.append("cement where there is no room")
    if not request.leak and deposit.leaked_mm3.any():
        found.append("cement outside")
    if unconnected(ground, tips, deposit):
        found.append("not connected to a needle")
    if request.shape == "separate" and count_deposits(ground.cells, deposit.fill > 0.0) != 2:
        found.append("separate deposits touch")
    again = place(request, ground, tips)
    if not np.array_equal(again.fraction, deposit.fraction):
        found.append("not the same again")
    return found


def unconnected(ground: meshes.Ground, tips: np.ndarray, deposit: meshes.Deposit) -> int:
    """Cells with cement that no way through faces joins to a cell next to a needle tip."""
    filled = deposit.fill > 0.0
    reached = np.zeros(len(filled), dtype=bool)
    for tip in tips:
        near = np.flatnonzero(filled)
        reached[near[np.argmin(np.linalg.norm(ground.centroids_mm[near] - tip, axis=1))]] = True
    beside = cell_neighbours(ground.cells)
    while True:
        around = beside[reached]
        grown = reached.copy()
        grown[around[around >= 0]] = True
        grown &= filled
        if np.array_equal(grown, reached):
            return int((filled & ~reached).sum())
        reached = grown


def main(count: int = 300) -> int:
    rng = np.random.default_rng(2026)
    start, failures, refused, worst = time.perf_counter(), [], [], 0.0
    for number in range(count):
        request = random_request(rng)
        ground, tips = ground_for(request, 2.0, seed=number)
        try:
            deposit = place(request, ground, tips)
        except MeshError as error:
            refused.append(f"{request}: {error}")
            continue
        placed = deposit.fraction @ ground.volumes_mm3 + deposit.leaked_mm3.sum()
        worst = max(worst, abs(placed / (1000.0 * request.volume_ml) - 1.0))
        failures += [f"{number} {request}: {problem}" for problem in broken(request, ground, tips, deposit)]
    print(f"{count} requests: {len(failures)} broken promises, {len(refused)} refused for lack of room or reach")
    print(f"largest error of volume {worst:.1e}; {time.perf_counter() - start:.0f} s")
    print("\n".join([*failures[:20], *refused[:20]]))
    return 1 if failures else 0


def refine() -> int:
    head = ("shape", "mL", "needles", "viscosity", "mesh, mm", "fill fraction", *CONTACTS)
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    changes: dict[str, list[str]] = {"fill fraction": [], "contact": []}
    for shape in get_args(DepositShape):
        for volume, approach in REFINED:
            if shape == "separate" and approach == "unipedicular":
                continue
            viscosity = "low" if shape == "interdigitated" else "high"
            request = Request(shape, volume, approach, 80.0, viscosity, True, False, False)
            found = [_described(request, size) for size in SIZES_MM]
            for size, values in zip(SIZES_MM, found, strict=True):
                words = [shape, f"{volume:g}", approach, viscosity, f"{size:g}", f"{values[0]:.4f}"]
                print("| " + " | ".join([*words, *(f"{area:.0f}" for area in values[1:])]) + " |", flush=True)
            for where, (coarse, fine) in zip(pairwise(SIZES_MM), pairwise(found), strict=True):
                for name, old, new in zip(("fill fraction", *CONTACTS), coarse, fine, strict=True):
                    told = f"{shape} {volume:g} mL, {where[0]:g} to {where[1]:g} mm, {name}: {old:.4g} to {new:.4g}"
                    if old != new:
                        kind = name if name in changes else "contact"
                        changes[kind].append(f"{abs(old / new - 1.0) if new else 1.0:7.1%}  {told}")
    for told in changes.values():
        print("\n".join(sorted(told, reverse=True)[:12]))
    return 0


def _described(request: Request, size_mm: float) -> list[float]:
    """Fill fraction and contact areas on a mesh of one size."""
    ground, tips = ground_for(request, size_mm)
    facts = meshes.deposit_facts(ground, place(request, ground, tips), _bony(ground))
    return [facts["cement_fill_fraction"], *(facts[f"cement_contact_{name}_mm2"] for name in CONTACTS)]


def _bony(ground: meshes.Ground) -> np.ndarray:
    return np.unique(np.concatenate([np.flatnonzero(ground.space > 0.0), ground.wall.behind]))


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(refine() if words == ["refine"] else main(int(words[0]) if words else 300))
