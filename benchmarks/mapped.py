"""Multigrid against the direct solver on the crushing of a mapped vertebra: one run, the same systems, a table.

    python benchmarks/mapped.py                 # element sizes 2.0, 1.6, 1.2 mm
    python benchmarks/mapped.py 0.82 --most 12  # 150 thousand unknowns

Each Newton system of the path is given to both solvers, which keep what they know (factorisation, hierarchy) from one
to the next as in a run; Newton goes on with the answer of multigrid. Wall times, and CPU times for busy machines.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field

import numpy as np

from kyphos import fem
from kyphos.errors import ConvergenceError
from kyphos.experiments.bench import drive_load, on_load_line
from kyphos.experiments.run import specimen_bench
from kyphos.experiments.spec import read_study
from kyphos.experiments.specimen import build_mesh
from kyphos.fem.linear import Matrix, SolverRecord


class Enough(Exception):
    """The wanted number of systems has been solved."""


@dataclass
class Both:
    """Gives every system to multigrid and to the direct solver; counts wall and CPU seconds of each."""

    most: int
    direct: bool = True
    solvers: tuple[fem.MultigridSolver, fem.LaggedDirectSolver] = field(
        default_factory=lambda: (fem.MultigridSolver(), fem.LaggedDirectSolver())
    )
    wall_s: np.ndarray = field(default_factory=lambda: np.zeros(2))
    cpu_s: np.ndarray = field(default_factory=lambda: np.zeros(2))
    systems: int = 0

    @property
    def record(self) -> SolverRecord:
        """That of multigrid."""
        return self.solvers[0].record

    def reset(self) -> None:
        """Both forget."""
        for solver in self.solvers:
            solver.reset()

    def solve(
        self, matrix: Matrix, rhs: np.ndarray, rtol: float = 1e-8, enough: float = 0.0, last_resort: bool = True
    ) -> np.ndarray:
        """The answer of multigrid; raises ``Enough`` at the end."""
        if self.systems == self.most:
            raise Enough
        answers = []
        for i, solver in enumerate(self.solvers[: 1 + self.direct]):
            wall, cpu = time.perf_counter(), time.process_time()
            answers.append(solver.solve(matrix, rhs, rtol, enough, last_resort))
            self.wall_s[i] += time.perf_counter() - wall
            self.cpu_s[i] += time.process_time() - cpu
        self.systems += 1
        return answers[0]


def crush(size_mm: float, both: Both, rtol: float, press_mm: float) -> tuple[int, float, float]:
    """Press the vertebra of the built-in study; unknowns, wall and CPU seconds in all."""
    spec = read_study("kyphoplasty-pmma-L1")
    spec = spec.model_copy(update={"mesh": spec.mesh.model_copy(update={"element_size_mm": size_mm})})
    bench = on_load_line(specimen_bench(build_mesh(spec)), 10.0)
    newton = fem.NewtonSettings(residual_tolerance=1e-4, linear_tolerance=rtol, max_iterations=25)
    settings = fem.MarchSettings(first=0.1, largest=0.1, newton=newton)
    start, end = drive_load(bench, 0.0), drive_load(bench, press_mm)
    bench.structure.evaluate(bench.state)  # compilation
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        for _ in fem.march(bench.structure, bench.state, start, end, both, settings):
            pass
    except (Enough, ConvergenceError) as end_of_path:
        if isinstance(end_of_path, ConvergenceError):
            print(f"stopped early: {end_of_path}")
    return 3 * bench.structure.n_nodes, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=float, nargs="*", default=[2.0, 1.6, 1.2], help="element sizes, mm")
    parser.add_argument("--most", type=int, default=30, help="Newton systems")
    parser.add_argument("--press", type=float, default=1.5, help="depth of the load point at the end of the path, mm")
    parser.add_argument("--rtol", type=float, default=3e-2, help="tolerance of each linear solution")
    parser.add_argument("--alone", action="store_true", help="multigrid only")
    chosen = parser.parse_args()
    with fem.tuned_process():
        measure(chosen)


def measure(chosen: argparse.Namespace) -> None:
    """Run every size and print its row."""
    crush(4.0, Both(2), chosen.rtol, 0.1)  # compilation
    print("seconds per Newton iteration, wall (CPU); the rest is element forces, assembly, line search")
    print("unknowns  systems  multigrid      iterations  direct         factorised  ratio, wall (CPU)  rest")
    for size_mm in chosen.sizes:
        both = Both(chosen.most, direct=not chosen.alone)
        unknowns, wall, cpu = crush(size_mm, both, chosen.rtol, chosen.press)
        per = np.stack([both.wall_s, both.cpu_s]) / both.systems
        rest = np.array([wall - both.wall_s.sum(), cpu - both.cpu_s.sum()]) / both.systems
        ratio = per[:, 1] / per[:, 0]
        record = [solver.record for solver in both.solvers]
        print(
            f"{unknowns:8,}  {both.systems:7d}  {per[0, 0]:5.3f} ({per[1, 0]:5.3f})  "
            f"{record[0].krylov_iterations / both.systems:10.1f}  {per[0, 1]:5.2f} ({per[1, 1]:5.2f})  "
            f"{record[1].factorisations:10d}  {ratio[0]:6.1f} ({ratio[1]:4.1f})      {rest[0]:5.2f} ({rest[1]:5.2f})",
            flush=True,
        )
        for note in record[0].notes:
            print(f"          {note}")


if __name__ == "__main__":
    main()
