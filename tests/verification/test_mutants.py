"""Break a kernel, and the wall must notice: at least five of its checks fail in a copy of the package.

A copy keeps the compiled code of what was not changed, and stays in pytest's cache for the next time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import wall as the_wall

import kyphos
import kyphos.fem
import kyphos.materials

HERE = Path(__file__).parent
ROOMS = {"fem": kyphos.fem, "materials": kyphos.materials}
ENOUGH = 5


@dataclass(frozen=True)
class Mutant:
    """One text in one file replaced by another, the tests that run, and those that are left out."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    without: str = "tet or hex20"  # those elements need kernels of their own, compiled for ten seconds each


HEX = ("test_patch", "test_kinematics", "test_macneal_harder")
TANGENT = ("test_newton_rate", "test_buckling")
MUTANTS = {
    "a Gauss point left out": Mutant(
        "fem/elements.py",
        "return _HEX_CORNERS / np.sqrt(3.0), np.ones(8)",
        "return _HEX_CORNERS / np.sqrt(3.0), np.append(np.ones(7), 0.0)",
        HEX,
    ),
    "wrong sign of a tangent term": Mutant(
        "fem/kernels/forces.py",
        "c[7 * k * nq + q] -= 2.0 * y[k * nq + q] / stretch[q, k]",
        "c[7 * k * nq + q] += 2.0 * y[k * nq + q] / stretch[q, k]",
        TANGENT,
    ),
    "no geometric stiffness": Mutant(
        "fem/kernels/forces.py",
        "moduli[o + q] += y[q]",
        "moduli[o + q] += 0.0",
        TANGENT,
    ),
    "shear strains in another order": Mutant(
        "fem/kernels/strain.py",
        "ROW_OF = np.array([0, 1, 2, 0, 1, 0]",
        "ROW_OF = np.array([0, 1, 2, 0, 0, 1]",
        ("test_anisotropy",),
    ),
    "weights of tetrahedra": Mutant(
        "fem/elements.py",
        "np.full(4, 1.0 / 24.0)",
        "np.full(4, 1.0 / 20.0)",
        ("test_patch", "test_bending", "test_macneal_harder", "test_heat", "test_convergence_rates"),
        "hex8 or hex20 or standard or mean or enhanced",
    ),
}
QUICK = ("a Gauss point left out", "wrong sign of a tangent term")


def copied(mutant: Mutant | None, folder: Path) -> None:
    """The package in ``folder``, with its compiled code but for that of the room which the mutant changes."""
    package = folder / "kyphos"
    shutil.copytree(Path(kyphos.__file__).parent, package, ignore=shutil.ignore_patterns(*ROOMS), dirs_exist_ok=True)
    for room, module in ROOMS.items():
        shutil.copytree(Path(module.__file__).parent, package / room, dirs_exist_ok=True)
    if mutant is None:
        return
    path = package / mutant.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.file} no longer holds {mutant.old!r}: choose another line to break"
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    if path.parent.name == "kernels":
        for compiled in path.parent.glob("__pycache__/*.nb[ic]"):
            compiled.unlink()


def home(mutant: Mutant | None, request, tmp_path) -> Path:
    """A folder that holds the copy: pytest's cache, by what the sources say; or one that does not last."""
    cache = getattr(request.config, "cache", None)
    if cache is None:
        copied(mutant, tmp_path)
        return tmp_path
    key = hashlib.sha256(repr(mutant).encode())
    for module in ROOMS.values():
        for path in sorted(Path(module.__file__).parent.rglob("*.py")):
            key.update(path.read_bytes())
    name = re.sub(r"\W+", "-", mutant.file + mutant.new if mutant else "whole")[-60:]
    folder = Path(cache.mkdir("mutants"))
    place = folder / f"{name}-{key.hexdigest()[:16]}"
    if not (place / "done").exists():
        for old in folder.glob(f"{name}-*"):
            shutil.rmtree(old)
        copied(mutant, place)
        (place / "done").touch()
    return place


def failures(place: Path, tests: tuple[str, ...], without: str, tmp_path) -> tuple[set[str], dict[str, int]]:
    """Names of the checks that break in the copy, or do not come to be declared; how many cases passed and failed."""
    rows = tmp_path / "rows.json"
    env = {**os.environ, "PYTHONPATH": str(place), "KYPHOS_WALL": str(rows)}
    which = subprocess.run(
        [sys.executable, "-c", "import kyphos.fem; print(kyphos.fem.__file__)"],
        env=env, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(which.stdout.strip()).is_relative_to(place)
    options = ["-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", "-k", f"not ({without})"]
    command = [sys.executable, "-m", "pytest", *options, *(str(HERE / f"{name}.py") for name in tests)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    count = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    declared = the_wall.read(rows)
    broken = {row.name for row in declared if not row.holds and row.kind != "contrast"}
    dead = re.findall(r"^(?:FAILED|ERROR) \S*?(\w+)\.py(::.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    silent = {"".join(test) for test in dead} - {row.test for row in declared if not row.holds}
    return broken | {row.name for row in the_wall.read() if row.test in silent and row.kind != "contrast"}, count


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.validation) for n in MUTANTS])
def test_the_wall_notices(name, request, tmp_path):
    mutant = MUTANTS[name]
    found, count = failures(home(mutant, request, tmp_path), mutant.tests, mutant.without, tmp_path)
    print(f"{name}: {len(found)} checks break, cases: {count}: {'; '.join(sorted(found))}")
    assert len(found) >= ENOUGH, sorted(found)


def test_an_unbroken_copy_passes(request, tmp_path):
    """Otherwise the mutants would prove nothing."""
    found, count = failures(home(None, request, tmp_path), ("test_patch", "test_newton_rate"), "tet or hex20", tmp_path)
    assert found == set()
    assert set(count) == {"passed"}
    assert count["passed"] > 20
