"""Link the rooms into ``build/typing/kyphos`` for checkers that cannot follow an editable install.

Run it once, then point them there: ``MYPYPATH=build/typing mypy -p kyphos``, or pyright's ``extraPaths``.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("fem", "meshes", "materials", "experiments", "views")


def link(target: Path, place: Path) -> None:
    """Make ``place`` a link to ``target``; one that is already there is made anew."""
    place.unlink(missing_ok=True)
    place.symlink_to(target, target_is_directory=target.is_dir())


def main() -> None:
    """Make the links and say where they are."""
    package = ROOT / "build" / "typing" / "kyphos"
    package.mkdir(parents=True, exist_ok=True)
    for source in (ROOT / "src" / "kyphos").iterdir():
        if source.name != "__pycache__":
            link(source, package / source.name)
    for room in ROOMS:
        link(ROOT / room, package / room)
    print(package.parent)


if __name__ == "__main__":
    main()
