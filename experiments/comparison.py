"""Runs side by side: one table of everything that they found, with bands where there is a population.

Definitions of what is not an outcome of a single run are in section 2 of ``docs/physics.md``.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kyphos.errors import DataError

from .arms_run import SPECIMENS, is_comparison
from .outcomes import PLACES, treatments
from .plan import CycleStage, Stage
from .result import Result, load_result
from .store import Outcome, json_bytes, replace_file

if TYPE_CHECKING:
    import pandas as pd

COMPARED_CYCLES = (1, 10, 100, 500, 5000, 20_000, 100_000)
PERCENTILES = (5.0, 50.0, 95.0)
ORDER = (
    r"height_.*",
    r"restoration.*",
    r"deflation_loss.*",
    r"retention.*",
    r"loss.*",
    r"stiffness_.*",
    r"strength_.*",
    r"cement_.*",
    r"bone_damage_.*",
    r"(adjacent|disc)_.*",
)
"""Outcomes in the order of the table; what none of these matches comes last."""
STATES = ("intact", "fractured", "reduced", "deflated", "treated", "cycled")


@dataclass(frozen=True)
class Arm:
    """One run of a comparison: its name in the table, its result, and its values (outcomes and those at cycles)."""

    name: str
    result: Result

    @cached_property
    def values(self) -> dict[str, Outcome]:
        """Everything that the table tells of the run."""
        return self.result.outcomes | at_cycles(self.result)

    @property
    def message(self) -> str:
        """Why it did not finish; empty if it did."""
        told = str(self.result.manifest.get("message") or "")
        return "" if self.result.status == "done" else told or self.result.status


@dataclass(frozen=True)
class Band:
    """Scatter of one quantity over the specimens of a population that have it."""

    count: int
    mean: float
    sd: float
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    title, description
        Of the study; of runs put together by hand, their names.
    arms
        In the order of the table.
    people
        Specimen of a population -> arm -> its run; empty without one.
    """

    title: str
    description: str
    arms: tuple[Arm, ...]
    people: Mapping[str, Mapping[str, Arm]]

    @cached_property
    def quantities(self) -> dict[str, str]:
        """Name -> unit of everything that any arm found, in the order of the table."""
        units = {name: outcome.unit for arm in self.arms for name, outcome in arm.values.items()}
        ranks = {name: _rank(name) for name in units}
        return {name: units[name] for name in sorted(units, key=lambda name: ranks[name])}

    @cached_property
    def states(self) -> list[str]:
        """All states that some arm was in, in the order of the procedure; repeated ones after the first ones."""
        found = (re.fullmatch(r"height_(.*)_anterior_mm", name) for name in self.quantities)
        return [match[1] for match in found if match and match[1].split("_")[0] in STATES]

    @cached_property
    def felt_under(self) -> dict[str, str]:
        """How segments were held and loaded when their neighbours were looked at -> where; empty for vertebrae alone.

        Where is "" if it was always so, else names arms and states.
        """
        found: dict[str, tuple[list[str], list[str]]] = {}
        for arm in self.arms:
            for state, words in arm.result.manifest.get("adjacent", {}).items():
                for place, name in zip(found.setdefault(words, ([], [])), (arm.name, state), strict=True):
                    place += [] if name in place else [name]
        if len(found) < 2:
            return dict.fromkeys(found, "")
        return {words: f"{', '.join(arms)}; {', '.join(states)}" for words, (arms, states) in found.items()}

    def value(self, arm: Arm, quantity: str) -> float | None:
        """What an arm found, or None."""
        outcome = arm.values.get(quantity)
        return None if outcome is None else outcome.value

    @cached_property
    def bands(self) -> dict[str, dict[str, Band]]:
        """Arm -> quantity -> scatter over the population; of what two specimens have at least."""
        return {arm.name: self._bands_of(arm.name) for arm in self.arms} if self.people else {}

    def _bands_of(self, arm: str) -> dict[str, Band]:
        runs = [person[arm].values for person in self.people.values() if arm in person]
        found = {name: [run[name].value for run in runs if name in run] for name in self.quantities}
        return {name: _band(values) for name, values in found.items() if len(values) > 1}


def compare(folders: Sequence[Path]) -> Comparison:
    """Read runs, or comparisons whose arms are taken one by one.

    Raises
    ------
    DataError
        A folder holds neither, or there are fewer than two runs.
    """
    if len(folders) == 1 and is_comparison(folders[0]):
        return read_comparison(folders[0])
    found: list[Path] = []
    for folder in folders:
        found += _arm_folders(folder) if is_comparison(folder) else [folder]
    if len(found) < 2:
        raise DataError("a comparison needs two runs at least, or the folder of a study with [arms]; name more folders")
    results = [load_result(folder) for folder in found]
    names = _names(found, results)
    arms = tuple(Arm(name, result) for name, result in zip(names, results, strict=True))
    return Comparison("Comparison", ", ".join(names), arms, {})


def read_comparison(folder: Path) -> Comparison:
    """Read the folder of a study with ``[arms]``, its population included.

    Raises
    ------
    DataError
        The folder is no such, or a file in it cannot be read.
    """
    if not is_comparison(folder):
        raise DataError(f"{folder}: no comparison; it is what kyphos run makes of a study with [arms]")
    case = _case(folder)
    arms = tuple(_read_arms(folder).values())
    names = [arm.name for arm in arms]
    people = {
        person.name: {n: Arm(n, load_result(person / n)) for n in names if (person / n / "manifest.json").is_file()}
        for person in sorted((folder / SPECIMENS).glob("*"))
    }
    return Comparison(str(case["name"]), str(case["description"]), arms, people)


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``comparison.csv`` and ``comparison.json``; with a population ``population.csv`` too. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"comparison.csv": _table(comparison), "comparison.json": json_bytes(as_json(comparison))}
    if comparison.people:
        made["population.csv"] = _population(comparison)
    for name, content in made.items():
        replace_file(folder / name, content)
    return [folder / name for name in made]


def as_json(comparison: Comparison) -> dict[str, object]:
    """The comparison as plain data: arms, a row per quantity (null where an arm has none), bands.

    Of segments ``adjacent`` too, as ``Comparison.felt_under``.
    """
    rows = [
        {"quantity": name, "unit": unit, "values": {arm.name: comparison.value(arm, name) for arm in comparison.arms}}
        for name, unit in comparison.quantities.items()
    ]
    arms = [{"name": a.name, "status": a.result.status, "message": a.message} for a in comparison.arms]
    told: dict[str, object] = {
        "title": comparison.title,
        "description": comparison.description,
        "arms": arms,
        "rows": rows,
    }
    told |= {"adjacent": comparison.felt_under} if comparison.felt_under else {}
    bands = {arm: {name: vars(band) for name, band in found.items()} for arm, found in comparison.bands.items()}
    return told | ({"population": {"specimens": len(comparison.people), "bands": bands}} if bands else {})


def felt_words(comparison: Comparison) -> list[str]:
    """A sentence for each way in which the segments were held and loaded when their neighbours were looked at."""
    return [
        f"Neighbours and discs are looked at under {words}{f' ({where})' if where else ''}."
        for words, where in comparison.felt_under.items()
    ]


def table_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table as text: quantity, unit, a column per arm; empty where an arm has no such value."""
    rows = []
    for name, unit in comparison.quantities.items():
        values = [comparison.value(arm, name) for arm in comparison.arms]
        rows.append([name, unit, *("" if value is None else f"{value:.6g}" for value in values)])
    return ["quantity", "unit", *(arm.name for arm in comparison.arms)], rows


# --- cycles --------------------------------------------------------------------------------------------------------


def cycled_rows(run: Result) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History rows at valleys and peaks of the treated level; ``total_cycle`` counts through its cycling stages."""
    return _rows_of(run, tuple(stage for stage in _own_stages(run) if isinstance(stage, CycleStage)))


def at_cycles(run: Result) -> dict[str, Outcome]:
    """Retention and loss after ``COMPARED_CYCLES`` of the cycles that follow the last treatment, or the last fracture.

    Heights are those at the valley of the cycle, so there is nothing where the valley is not the load of the tests.
    Between solved valleys the height is linear in the logarithm of the cycles.
    """
    if not run.spec.body_stages:
        return {}
    blocks = _last_blocks(run)
    loads = {stage.force_n for stage in run.spec.body_stages if stage.kind == "test"}
    if any(block.min_n not in loads for block in blocks) or len(loads) != 1:
        return {}
    valleys, _ = _rows_of(run, blocks)
    found: dict[str, Outcome] = {}
    for count in COMPARED_CYCLES:
        if len(valleys) and count <= valleys["total_cycle"].max():
            for place in PLACES:
                known, heights = valleys["total_cycle"].to_numpy(float), valleys[f"height_{place}_mm"].to_numpy(float)
                height = float(np.interp(np.log(count), np.log(known), heights))
                found |= _shares_at(run.outcomes, place, count, height)
    return found


def _shares_at(outcomes: Mapping[str, Outcome], place: str, count: int, height_mm: float) -> dict[str, Outcome]:
    around = list(treatments(outcomes, place).values())
    h = around[-1] if around else {}
    start = h.get("treated", _latest(outcomes, "fractured", place))
    intact = outcomes.get(f"height_intact_{place}_mm")
    found = {}
    if start is not None and intact is not None:
        found[f"loss_at_{count}_{place}"] = Outcome((start - height_mm) / intact.value, "1")
    if {"fractured", "treated"} <= h.keys() and f"retention_{place}" in outcomes:
        found[f"retention_at_{count}_{place}"] = Outcome(
            (height_mm - h["fractured"]) / (h["treated"] - h["fractured"]), "1"
        )
    return found


def _latest(outcomes: Mapping[str, Outcome], state: str, place: str) -> float | None:
    pattern = re.compile(rf"height_{state}(_\d+)?_{place}_mm")
    found = [outcome.value for name, outcome in outcomes.items() if pattern.fullmatch(name)]
    return found[-1] if found else None


def _last_blocks(run: Result) -> tuple[CycleStage, ...]:
    """The blocks of cycles after the last treatment, or the last fracture."""
    later = takewhile(lambda stage: stage.kind not in ("cement", "fracture"), reversed(_own_stages(run)))
    return tuple(stage for stage in reversed(list(later)) if isinstance(stage, CycleStage))


def _own_stages(run: Result) -> tuple[Stage, ...]:
    """The stages that act on the treated level: whose heights in the history are its own."""
    return tuple(stage for stage in run.spec.body_stages if stage.level is None)


def _rows_of(run: Result, blocks: tuple[CycleStage, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    parts, before = [], 0
    for stage in blocks:
        rows = run.history[(run.history["stage"] == stage.name) & (run.history["cycle"] > 0)]
        at_peak = rows["load_n"] > 0.5 * (stage.min_n + stage.max_n)
        parts.append(rows.assign(total_cycle=rows["cycle"] + before, at_peak=at_peak))
        before += stage.count
    if not parts:
        nothing = run.history.iloc[:0]
        return nothing, nothing
    cycled = pd.concat(parts)
    return cycled[~cycled["at_peak"]], cycled[cycled["at_peak"]]


# --- reading and writing -------------------------------------------------------------------------------------------


def _arm_folders(folder: Path) -> list[Path]:
    """The folders of the arms that have begun, in the order of the study."""
    return [folder / name for name in _case(folder)["arms"] if (folder / name / "manifest.json").is_file()]


def _case(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'case.toml'}: cannot be read: {error}") from None


def _read_arms(folder: Path) -> dict[str, Arm]:
    return {path.name: Arm(path.name, load_result(path)) for path in _arm_folders(folder)}


def _names(folders: Sequence[Path], results: Sequence[Result]) -> list[str]:
    """What to call runs: their studies' names, or if two are the same, the shortest different ends of their paths."""
    studies = [result.spec.name for result in results]
    if len(set(studies)) == len(studies):
        return studies
    paths = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise DataError(f"{folders[0]}: is named twice; name different runs")


def _rank(name: str) -> tuple[int, int, int]:
    """Kind of quantity, then which fracture or treatment, then the state in the order of the procedure."""
    kind = next((i for i, pattern in enumerate(ORDER) if re.fullmatch(pattern, name)), len(ORDER))
    told = re.search(rf"_({'|'.join(STATES)})(?:_(\d+))?_", name)
    return (kind, 0, 0) if told is None else (kind, int(told[2] or 1), STATES.index(told[1]))


def _band(values: Sequence[float]) -> Band:
    low, median, high = (float(x) for x in np.percentile(values, PERCENTILES))
    return Band(len(values), float(np.mean(values)), float(np.std(values, ddof=1)), low, median, high)


def _table(comparison: Comparison) -> bytes:
    head, rows = ["quantity", "unit"], []
    for arm in comparison.arms:
        head += [arm.name, *([f"{arm.name}_{end}" for end in ("n", "p5", "p50", "p95")] if comparison.people else [])]
    for name, unit in comparison.quantities.items():
        row: list[object] = [name, unit]
        for arm in comparison.arms:
            band = comparison.bands.get(arm.name, {}).get(name)
            row.append(comparison.value(arm, name))
            if comparison.people:
                row += [band.count, band.low, band.median, band.high] if band else [0, None, None, None]
        rows.append(row)
    return _csv([head, *rows])


def _population(comparison: Comparison) -> bytes:
    rows: list[Sequence[object]] = [("specimen", "vbmd_mg_per_cc", "arm", "status", "quantity", "unit", "value")]
    for person, arms in comparison.people.items():
        for arm in arms.values():
            who = (person, arm.result.spec.specimen.vbmd_mg_per_cc, arm.name, arm.result.status)
            rows += [(*who, name, outcome.unit, outcome.value) for name, outcome in arm.values.items()]
    return _csv(rows)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue().encode()
