"""The rooms are imported as kyphos.<room>; a second copy under a bare name is refused."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("fem", "meshes", "materials", "experiments", "views")


@pytest.mark.parametrize("room", ROOMS)
def test_a_bare_import_from_the_root_is_refused(room):
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"ImportError: import kyphos.{room}, not {room}" in done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_the_room_is_importable_as_part_of_kyphos(room):
    assert importlib.import_module(f"kyphos.{room}").__doc__


def test_importing_kyphos_alone_loads_no_heavy_library():
    code = "import sys, kyphos; print(*sorted({'numba', 'pyvista', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
