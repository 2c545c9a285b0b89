"""Package layout only: the rooms live at the root and are imported as ``kyphos.<room>``."""

from setuptools import find_packages, setup

ROOMS = ("fem", "meshes", "materials", "experiments", "views")
found = find_packages(".", include=[*ROOMS, *(f"{room}.*" for room in ROOMS)])
setup(
    packages=["kyphos", *(f"kyphos.{name}" for name in found)],
    package_dir={"kyphos": "src/kyphos", **{f"kyphos.{room}": room for room in ROOMS}},
)
