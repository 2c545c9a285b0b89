"""The main job as a user meets it: with an empty Numba cache, warm, and with forty times the cycles.

    python benchmarks/main_job.py                        # kyphoplasty-pmma on the default mesh
    python benchmarks/main_job.py untreated-L1 --warm 3

Each run is a process of its own, from start to exit, pictures and report included. Ratios are to the best warm run.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

RUN = "from kyphos.cli import app; app()"


class Cost(NamedTuple):
    """Wall and CPU seconds, and the largest memory of the process in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def cost(study: str, cache: str | None, settings: tuple[str, ...] = ()) -> Cost:
    """Run a study in a fresh process; ``cache`` is a folder for compiled kernels, None the usual one."""
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", RUN, "run", study, "--quiet", "--out", str(Path(folder) / "run")]
        command += [part for setting in settings for part in ("--set", setting)]
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(command, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{study} ended with status {os.waitstatus_to_exitcode(status)}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(time.perf_counter() - start, cpu_s, used.ru_maxrss / 1e3)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="kyphoplasty-pmma")
    parser.add_argument("--warm", type=int, default=2, help="warm runs; the best counts")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        rows = {"empty Numba cache": cost(wanted.study, empty)}
        rows["warm"] = min(cost(wanted.study, empty) for _ in range(wanted.warm))
        rows["warm, 20,000 cycles"] = cost(wanted.study, empty, ("cycling.0.count=20000",))
    print(f"{wanted.study}\n\n| run | wall, s | CPU, s | memory, MB | wall, ratio |\n|---|---|---|---|---|")
    for name, row in rows.items():
        ratio = row.wall_s / rows["warm"].wall_s
        print(f"| {name} | {row.wall_s:.1f} | {row.cpu_s:.1f} | {row.peak_mb:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
