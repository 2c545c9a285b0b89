"""Runs that are killed without warning, and what they are compared with."""

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


def outcomes(folder: Path) -> dict[str, float]:
    """All outcomes but the time they took."""
    table = json.loads((folder / "outcomes.json").read_text())
    return {name: entry["value"] for name, entry in table.items() if name != "wall_s"}


def finish(*arguments: object) -> None:
    """Run the command to its end."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def killed(reached: Path, word: str, *arguments: object) -> None:
    """Start or go on, and kill without warning once a file tells that something has begun."""
    running = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 300.0
    while running.poll() is None and time.monotonic() < end:
        if reached.is_file() and word in reached.read_text().replace("\r", ""):
            break
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGKILL)
    _, said = running.communicate()
    assert running.returncode == -signal.SIGKILL, said.decode()


def same_checkpoints(ours: Path, undisturbed: Path) -> None:
    """Every stage left the same bits."""
    for path in sorted((undisturbed / "checkpoints").iterdir()):
        first, second = np.load(path), np.load(ours / "checkpoints" / path.name)
        assert first.files == second.files
        assert all(np.array_equal(first[name], second[name]) for name in first.files if name != "__meta__"), path.name
