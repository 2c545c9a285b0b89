"""Voxel grids in one run: linear, plastic, porous; one and two threads; peers where they are installed.

    python benchmarks/voxel.py [--layers 22 38 60] [--large] [--plastic 18 32] [--porous 68] [--threads 1 2]

The case is an elliptic cylinder of 45 x 32 x 27 mm in cubes, moduli 20-500 MPa inside, a shell and endplates of one
voxel with 1-5 GPa and an ellipsoid of bone cement (2.5 GPa); 22, 38, 60 and 86 layers make 51 thousand, 261 thousand,
1.0 and 3.0 million unknowns. ``--porous N`` is a random network of plates and struts one to two voxels thick in a cube
of N. Each measurement is a process of its own, warm (the kernels are compiled by a small grid first), the best of
``--repeat``; memory is the peak of the whole process. Peers: ``parosol-py`` (imported), CalculiX (``ccx`` on PATH).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

SIZE_MM = (45.0, 32.0, 27.0)
POISSON = 0.3
BINS = 64
PATH = [*np.linspace(0.1, 1.0, 10), *np.linspace(0.9, 0.5, 5)]
COMPRESSION_MM = 0.54  # 2 % of the height


def cylinder(layers: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Moduli and yield stresses (nx, ny, nz), MPa, and the voxel size, mm."""
    h = SIZE_MM[2] / layers
    nx, ny = round(SIZE_MM[0] / h), round(SIZE_MM[1] / h)
    x, y = (np.arange(nx) + 0.5 - nx / 2) * h, (np.arange(ny) + 0.5 - ny / 2) * h
    z = (np.arange(layers) + 0.5) * h
    X, Y, Z = x[:, None, None], y[None, :, None], z[None, None, :]
    section = (X / (SIZE_MM[0] / 2)) ** 2 + (Y / (SIZE_MM[1] / 2)) ** 2 <= 1.0
    cross = ndimage.generate_binary_structure(2, 1)
    core = ndimage.binary_erosion(section[:, :, 0], cross)
    mask = np.broadcast_to(section, (nx, ny, layers))
    shell = mask.copy()
    shell[:, :, 1:-1] &= ~core[:, :, None]
    random, field = np.random.default_rng(7), np.zeros(mask.shape)
    for _ in range(24):
        wave = random.normal(0, 1, 3) * 2 * np.pi / 14.0
        field += np.cos(wave[0] * X + wave[1] * Y + wave[2] * Z + random.uniform(0, 2 * np.pi))
    share = 0.5 * (1 + np.tanh(0.8 * field / np.sqrt(12.0)))
    young = np.where(shell, 1000.0 * 5.0**share, 20.0 * 25.0**share)
    low, high = np.log(20.0), np.log(5000.0)
    number = np.clip(np.floor((np.log(young) - low) / (high - low) * BINS), 0, BINS - 1)
    moduli = np.exp(low + (number + 0.5) / BINS * (high - low))
    cement = ((X - 3) / 10.0) ** 2 + (Y / 8.0) ** 2 + ((Z - SIZE_MM[2] / 2) / 7.0) ** 2 <= 1
    cement = cement & mask & ~shell
    moduli = np.where(mask, np.where(cement, 2500.0, moduli), 0.0)
    return moduli, np.where(cement, 70.0, 0.007 * moduli), h


def network(n: int) -> np.ndarray:
    """Moduli (n, n, n), MPa, of a connected network with about 26 % bone, most of it one to two voxels thick."""
    field = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(n, n, n)), 1.1141, mode="wrap")
    field -= ndimage.gaussian_filter(field, 2.0, mode="wrap")
    size = np.abs(field)
    labels, _ = ndimage.label(size < np.quantile(size, 0.3))
    return np.where(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]), 1000.0, 0.0)


def ours(kind: str, size: int, threads: int, repeat: int) -> dict[str, Any]:
    """Measure in this process."""
    from kyphos.fem import voxel

    settings = voxel.VoxelSettings(threads=threads)
    best: dict[str, Any] = {"seconds": np.inf}
    for layers in [6 if kind != "porous" else 20, *[size] * repeat]:
        if kind == "porous":
            moduli, h = network(layers), 0.05
        else:
            moduli, limit, h = cylinder(layers)
        top = -0.1 if kind != "plastic" else -COMPRESSION_MM
        conditions = [
            voxel.Hold("bottom", voxel.face_nodes(moduli, "z-")),
            voxel.Hold("top", voxel.face_nodes(moduli, "z+"), (0.0, 0.0, top)),
        ]
        start = time.perf_counter()
        if kind == "plastic":
            law = voxel.J2(limit, 0.05 * moduli)
            path = voxel.solve_plastic(
                moduli, h, POISSON, law, conditions, PATH, settings=voxel.PlasticSettings(elastic=settings)
            )
            work = f"{path.newton_iterations} Newton, {path.linear_iterations} CG"
            answer = f"{-path.force_n('top')[9, 2]:.2f} N, {path.force_n('top')[-1, 2]:.2f} N"
            unknowns = 3 * int(voxel.active_nodes(moduli > 0).sum())
        else:
            result = voxel.solve(moduli, h, POISSON, conditions, islands="remove", settings=settings)
            work, unknowns = f"{result.iterations} CG", result.unknowns
            answer = f"{-result.reaction('top').force_n[2]:.4f} N"
        seconds = time.perf_counter() - start
        if layers == size and seconds < best["seconds"]:
            best = {"seconds": seconds, "work": work, "answer": answer, "unknowns": unknowns}
    return best


def parosol(kind: str, size: int, threads: int) -> dict[str, Any] | None:
    """ParOSol through its Python package; linear and porous only. Its memory is not measured."""
    if kind == "plastic" or importlib.util.find_spec("parosol_py") is None:
        return None
    import parosol_py

    moduli, h = (network(size), 0.05) if kind == "porous" else cylinder(size)[::2]
    start = time.perf_counter()
    parosol_py.solve(
        material=np.ascontiguousarray(moduli.transpose(2, 1, 0)), spacing=(h,) * 3, poisson_ratio=POISSON,
        strain=-0.1 / (moduli.shape[2] * h), tolerance=1e-8, mpi_processes=threads,
    )  # fmt: skip
    return {"seconds": time.perf_counter() - start, "work": "input and output included", "answer": ""}


def calculix(kind: str, size: int, threads: int) -> dict[str, Any] | None:
    """CalculiX: iterative with scaling where it is linear, SPOOLES where it is plastic."""
    program = shutil.which("ccx")
    if program is None or kind == "porous":
        return None
    with tempfile.TemporaryDirectory() as folder:
        write_deck(Path(folder) / "case.inp", size, plastic=kind == "plastic")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        subprocess.run([program, "-i", "case"], cwd=folder, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        totals = [
            line.split() for line in (Path(folder) / "case.dat").read_text().splitlines() if len(line.split()) == 3
        ]
    forces = [float(row[2]) for row in totals if row[0] != "total"]
    last = -forces[9] if kind == "plastic" else -forces[-1]
    return {"seconds": seconds, "work": "deck read included", "answer": f"{last:.4f} N"}


def write_deck(path: Path, layers: int, plastic: bool) -> None:
    """The cylinder for CalculiX: C3D8, one material for each modulus."""
    moduli, limit, h = cylinder(layers)
    shape = np.array(moduli.shape) + 1
    place = np.argwhere(moduli > 0)
    corner = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    nodes = np.stack([np.ravel_multi_index((place + c).T, shape) for c in corner], axis=1)
    used, cells = np.unique(nodes, return_inverse=True)
    position = np.stack(np.unravel_index(used, shape), axis=1)
    values, material = np.unique(moduli[moduli > 0], return_inverse=True)
    yields = limit[moduli > 0]

    def ids(name: str, numbers: np.ndarray) -> str:
        return f"{name}\n" + "".join(f"{n + 1},\n" for n in numbers)

    with path.open("w") as file:
        file.write("*NODE, NSET=ALL\n")
        np.savetxt(file, np.c_[np.arange(1, len(used) + 1), position * h], fmt="%d,%.9g,%.9g,%.9g")
        file.write("*ELEMENT, TYPE=C3D8, ELSET=ALL\n")
        np.savetxt(file, np.c_[np.arange(1, len(place) + 1), cells.reshape(-1, 8) + 1], fmt="%d," * 8 + "%d")
        for n, value in enumerate(values):
            file.write(ids(f"*ELSET, ELSET=M{n}", np.flatnonzero(material == n)))
            file.write(f"*MATERIAL, NAME=M{n}\n*ELASTIC\n{value:.12g},{POISSON}\n")
            if plastic:
                start = yields[material == n][0]
                file.write(f"*PLASTIC\n{start:.12g},0.\n{start + 0.05 * value:.12g},1.\n")
            file.write(f"*SOLID SECTION, ELSET=M{n}, MATERIAL=M{n}\n")
        file.write(ids("*NSET, NSET=BOTTOM", np.flatnonzero(position[:, 2] == 0)))
        file.write(ids("*NSET, NSET=TOP", np.flatnonzero(position[:, 2] == layers)))
        file.write("*BOUNDARY\nBOTTOM,1,3\n")
        steps = [(COMPRESSION_MM, 10), (COMPRESSION_MM / 2, 5)] if plastic else [(0.1, 1)]
        for move, count in steps:
            solver = "SPOOLES" if plastic else "ITERATIVE SCALING"
            file.write(f"*STEP, INC=1000\n*STATIC, DIRECT, SOLVER={solver}\n{1.0 / count:.12g},1.0\n")
            file.write(f"*BOUNDARY\nTOP,1,2\nTOP,3,3,{-move:.12g}\n")
            file.write("*NODE PRINT, NSET=TOP, TOTALS=ONLY\nRF\n*END STEP\n")


def apart(solver: str, kind: str, size: int, threads: int, repeat: int) -> dict[str, Any] | None:
    """One measurement in a process of its own, with its peak memory."""
    command = [sys.executable, __file__, "--one", solver, kind, str(size), str(threads), str(repeat)]
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(max(threads, 1)), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{solver} {kind} {size}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found: dict[str, Any] | None = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def one(solver: str, kind: str, size: int, threads: int, repeat: int) -> None:
    """Body of the process."""
    found = ours(kind, size, threads, repeat) if solver == "kyphos" else PEERS[solver](kind, size, threads)
    if found is not None:
        peak = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        found["megabytes"] = max(resource.getrusage(who).ru_maxrss for who in peak) / 1e3
    print(json.dumps(found))


PEERS = {"parosol": parosol, "calculix": calculix}


def main() -> None:
    """Read the command line, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="*", type=int, default=[22, 38, 60])
    parser.add_argument("--large", action="store_true", help="also 3.0 million unknowns")
    parser.add_argument("--plastic", nargs="*", type=int, default=[18, 32])
    parser.add_argument("--porous", nargs="*", type=int, default=[68])
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], given.one[1], *map(int, given.one[2:]))
        return
    cases = [("linear", n) for n in [*given.layers, *([86] if given.large else [])]]
    cases += [("plastic", n) for n in given.plastic] + [("porous", n) for n in given.porous]
    print(
        f"{'case':8} {'unknowns':>9} {'solver':>9} {'threads':>7} {'seconds':>8} {'ratio':>6} {'MB':>6}  work, answer"
    )
    for kind, size in cases:
        reference: dict[int, float] = {}
        unknowns = 0
        for solver in ["kyphos", *([] if given.no_peers else PEERS)]:
            for threads in given.threads:
                found = apart(solver, kind, size, threads, given.repeat)
                if found is None:
                    continue
                unknowns = found.get("unknowns", unknowns)
                ratio = found["seconds"] / reference.setdefault(threads, found["seconds"])
                print(
                    f"{kind:8} {unknowns:9d} {solver:>9} {threads:7d} {found['seconds']:8.2f} {ratio:6.1f} "
                    f"{found['megabytes']:6.0f}  {found['work']}; {found['answer']}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
