"""The wheel holds every module and every data file of the tree, under ``kyphos/``, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("fem", "meshes", "materials", "experiments", "views")
SHIPPED = (*ROOMS, "src", "pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
JUNK = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of what is packaged: a build leaves traces, and old traces would end up in the wheel."""
    copy = tmp_path_factory.mktemp("tree")
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=JUNK)
        else:
            shutil.copy(source, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel_names(tree, tmp_path_factory) -> set[str]:
    """The names of the files in a freshly built wheel."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    with zipfile.ZipFile(next(out.glob("kyphos-*.whl"))) as wheel:
        return {name for name in wheel.namelist() if not name.endswith("/")}


def expected_names(tree: Path) -> set[str]:
    """Every file of the rooms and of src/kyphos, where an import will look for it."""
    sources = [(room, tree / room) for room in ROOMS] + [("", tree / "src" / "kyphos")]
    return {
        (Path("kyphos") / prefix / path.relative_to(folder)).as_posix()
        for prefix, folder in sources
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_wheel_is_the_tree(tree, wheel_names):
    packaged = {name for name in wheel_names if ".dist-info/" not in name}
    assert packaged == expected_names(tree)


def test_the_wheel_puts_everything_under_one_name(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kyphos"}


def test_the_wheel_carries_the_licences(wheel_names):
    licences = {name.rsplit("/", 1)[-1] for name in wheel_names if ".dist-info/licenses/" in name}
    assert {"LICENSE", "NOTICE"} <= licences
    assert any(name.startswith("LICENSE_ATTRIBUTION") for name in licences)
