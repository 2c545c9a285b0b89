"""``python -m kyphos.experiments.calibration``: run the calibration, keep it, and on demand freeze it in the card."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from kyphos.errors import DataError, KyphosError
from kyphos.experiments.store import installed_versions
from kyphos.experiments.validation.running import code_hash

from .calibrate import calibrate
from .experiments import experiments_and_data, left_out
from .freeze import frozen
from .parameters import chosen_parameters
from .report import Table, note, parameter_table, row_table, summary, written
from .runs import Kept

PASSES, ROUNDS = {False: 3, True: 2}, {False: 3, True: 2}
"""Times that all specimens are looked at, and fresh Jacobians of each at most, without and with `--quick`."""
RESULT = "calibration.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.freeze:
            _freeze(asked.out / RESULT)
        else:
            _calibrate(asked.out, asked.quick)
    except KyphosError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kyphos.experiments.calibration",
        description="Calibrate the bone's constants on the book's rows marked 'calibrate'. Finished runs are kept: a "
        "stopped calibration goes on where it was.",
    )
    parser.add_argument("--out", type=Path, default=Path("calibration"), metavar="DIR", help="default: calibration")
    parser.add_argument(
        "--quick", action="store_true", help="two looks at all specimens, with steps on one Jacobian each"
    )
    parser.add_argument(
        "--freeze", action="store_true", help=f"calibrate nothing: write the constants of DIR/{RESULT} into the cards"
    )
    return parser


def _calibrate(out: Path, quick: bool) -> None:
    experiments, data = experiments_and_data()
    kept = Kept(out / "runs", code_hash(), _tell)
    done = calibrate(
        chosen_parameters(), experiments, data, kept, passes=PASSES[quick], rounds=ROUNDS[quick], told=_tell
    )
    result: Table = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": installed_versions()["kyphos"],
        "code": kept.salt,
        "quick": quick,
        "runs": len(kept.asked),
        "wall_s": round(sum(kept.asked.values()), 1),
        "left_out": left_out(),
        **summary(done),
    }
    (out / RESULT).write_text(written(result), encoding="utf-8")
    for head, lines in (parameter_table(result), row_table(result)):
        print(_aligned([head, *lines]), end="\n\n")
    print(
        f"{result['within_one']['before']} of {len(result['rows'])} rows within one sd before, "
        f"{result['within_one']['after']} after; {'converged' if result['converged'] else 'NOT converged'}; "
        f"kept in {out / RESULT}"
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)


def _freeze(path: Path) -> None:
    """Write the constants of a kept calibration into the cards that they belong to."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; calibrate first, without --freeze")
    kept = json.loads(path.read_text(encoding="utf-8"))
    moved = [parameter for parameter in kept["parameters"] if parameter["value"] != parameter["guess"]]
    for card in sorted({parameter["card"] for parameter in moved}):
        values = {p["name"]: float(p["value"]) for p in moved if p["card"] == card}
        place = Path(str(files("kyphos.materials") / "cards" / f"{card}.toml"))
        text = frozen(card, place.read_text(encoding="utf-8"), values, {name: note(kept, name) for name in values})
        place.write_text(text, encoding="utf-8")
        print(f"{place}: {len(values)} constants written")


if __name__ == "__main__":
    sys.exit(main())
