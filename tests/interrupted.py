"""Runs of the command line in a process of their own: killed without warning, finished, compared to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COMMAND = [sys.executable, "-c", "from kyphos.cli import main; main()", "run", "--quiet"]


def finish(*arguments: object) -> None:
    """Run ``kyphos run`` with these arguments to its end."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def killed(file: Path, word: str, *arguments: object) -> None:
    """Start ``kyphos run``, and kill it once ``word`` stands in a file (``killed_in`` knows a stage's)."""
    running = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 300.0
    while running.poll() is None and time.monotonic() < end:
        if file.is_file() and word in file.read_text().replace("\r", ""):
            break
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGKILL)
    _, said = running.communicate()
    assert running.returncode == -signal.SIGKILL, said.decode()


def killed_in(stage: str, folder: Path, *arguments: object) -> None:
    """Start a run in ``folder``, or go on with it, and kill it once its history has a state of ``stage``."""
    killed(folder / "history.csv", f"\n{stage},", *arguments)
    assert json.loads((folder / "manifest.json").read_text())["status"] == "running"


def outcomes(folder: Path) -> dict[str, float]:
    """All outcomes of a run but the time it took."""
    table = json.loads((folder / "outcomes.json").read_text())
    return {name: entry["value"] for name, entry in table.items() if name != "wall_s"}


def same_run(ours: Path, undisturbed: Path) -> None:
    """Outcomes, their order, and every number of every checkpoint are the same, to the last bit."""
    found, expected = outcomes(ours), outcomes(undisturbed)
    assert list(found) == list(expected)
    assert found == expected
    for path in sorted((undisturbed / "checkpoints").iterdir()):
        first, second = np.load(path), np.load(ours / "checkpoints" / path.name)
        assert first.files == second.files
        assert all(np.array_equal(first[name], second[name]) for name in first.files if name != "__meta__"), path.name
