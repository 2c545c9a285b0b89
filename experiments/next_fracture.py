"""The next fracture: which neighbour of the treated body gives way, after how many cycles, and where in it.

And which body of a segment does, under rising load.

Definitions: ``docs/segment.md``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kyphos import meshes
from kyphos.errors import ConvergenceError

from .bench import DROP, LINE, Array, Bench, Controls, drive_load, last, on_path, spare_neighbours, to_maximum
from .store import Outcome
from .walk import Ended, Running, Solved

THIRDS = {"depth": ("posterior", "middle", "anterior"), "height": ("inferior", "middle", "superior")}
STEP_MM = 0.1  # of the load point in a test under rising load: discs take most of it
FARTHEST = 0.5  # of the treated body's height that the load point goes at most


@dataclass(frozen=True)
class Criterion:
    """Share of a vertebra's height whose loss makes it a fracture, with its range and source."""

    height_loss: float
    low: float
    high: float
    source: str
    flag: Literal["seen", "assumed"]


FRACTURED = Criterion(
    0.20,
    0.15,
    0.25,
    "Genant 1993, J Bone Miner Res 8:1137: a mild fracture has lost 20 to 25 % of a height; paper not read",
    "assumed",
)
"""Of the anterior, middle or posterior height, whichever has lost most, under the load that acts."""


@dataclass(frozen=True)
class Weakest:
    """How far a body is on its way to a fracture.

    Attributes
    ----------
    level, gauge, height_loss
        Body, which of its heights has lost most, and the share that is gone.
    place
        Where most of the damage is, in words; empty if there is none.
    """

    level: str
    gauge: str
    height_loss: float
    place: str

    def told(self) -> str:
        """In words."""
        where = f", most damage in its {self.place}" if self.place else ", no damage"
        return f"{self.level} has lost {self.height_loss:.1%} of its {self.gauge} height{where}"


@dataclass(frozen=True)
class NextFracture:
    """A neighbour that has just met the criterion: who, after how many cycles of the run, under which load, N."""

    at: Weakest
    cycle: int
    load_n: float


def height_losses(bench: Bench, level: str, since: Bench | None = None) -> dict[str, float]:
    """Share of each height that a body has lost since it was meshed, or since another state."""
    before = bench.mesh.points_mm if since is None else since.points_mm
    return {
        place: 1.0 - meshes.gauge_height_mm(gauge, bench.points_mm) / meshes.gauge_height_mm(gauge, before)
        for place, gauge in bench.mesh.bodies[level].gauges.items()
    }


def weakest(bench: Bench, level: str) -> Weakest:
    """How far one body is."""
    losses = height_losses(bench, level)
    gauge = max(losses, key=lambda place: losses[place])
    return Weakest(level, gauge, losses[gauge], damaged_place(bench, level))


def nearest(bench: Bench, fractured: Collection[str] = ()) -> Weakest | None:
    """The neighbour that has lost most of a height, those already ``fractured`` left out; None if none is left."""
    losses = {level: max(height_losses(bench, level).values()) for level in bench.neighbours if level not in fractured}
    return weakest(bench, max(losses, key=lambda level: losses[level])) if losses else None


def fractures(bench: Bench) -> tuple[str, ...]:
    """Neighbours that meet the criterion in the present state."""
    return tuple(
        level for level in bench.neighbours if max(height_losses(bench, level).values()) >= FRACTURED.height_loss
    )


def damaged_place(bench: Bench, level: str, since: Bench | None = None) -> str:
    """Which ninth of a body (thirds of depth and height) holds most of its damage, and in which tissue.

    Damage counts by its volume, that of overload and of fatigue alike; ``since`` leaves out what was there before.
    Empty where there is none.
    """
    cells, body = bench.mesh.bony_cells(level), bench.mesh.bodies[level]
    harm = _damage(bench)[cells] - (0.0 if since is None else _damage(since)[cells])
    if harm.max() <= 0.0:
        return ""
    local = (bench.mesh.points_mm[bench.mesh.cells[cells]].mean(axis=1) - body.centre_mm) @ body.axes.T
    ninth = 3 * _third(local[:, 1]) + _third(local[:, 2])
    worst = int(np.argmax(np.bincount(ninth, harm, minlength=9)))
    tissue = np.bincount(bench.mesh.region[cells], np.where(ninth == worst, harm, 0.0))
    name = bench.mesh.region_names[int(np.argmax(tissue))].partition(".")[2].replace("_", " ")
    return f"{THIRDS['depth'][worst // 3]} {THIRDS['height'][worst % 3]} part ({name})"


def _damage(bench: Bench) -> Array:
    """(m,) integral of the damage over each cell, mm3."""
    damage = bench.field.state_field(bench.state.history, "damage")
    return np.asarray((bench.structure.mesh.weight * damage).sum(axis=1))


def _third(along_mm: Array) -> NDArray[np.int64]:
    """0, 1 or 2: in which third of their own range coordinates (k,) lie."""
    low, high = along_mm.min(), along_mm.max()
    return np.asarray(np.clip((3.0 * (along_mm - low) / (high - low)).astype(np.int64), 0, 2))


def watched(
    running: Running, fractured: Collection[str], cycles: int
) -> Generator[Solved, None, tuple[Ended, tuple[NextFracture, ...]]]:
    """Pass a stage's equilibria on; returns its end, and the neighbours that first met the criterion in it.

    ``fractured`` have met it before, ``cycles`` were over when the stage began.

    Raises
    ------
    ConvergenceError
        As the stage; the message says which neighbour is nearest to a fracture.
    """
    found: dict[str, NextFracture] = {}
    solved: Solved | None = None
    while True:
        try:
            solved = next(running)
        except StopIteration as stop:
            return stop.value, tuple(found.values())
        except ConvergenceError as error:
            close = None if solved is None else nearest(solved.bench, (*fractured, *found))
            raise error.told(f"{error} Nearest to a fracture: {close.told()}." if close else str(error)) from error
        for level in fractures(solved.bench):
            if level not in fractured and level not in found:
                found[level] = NextFracture(weakest(solved.bench, level), cycles + solved.cycle, solved.load_n)
        yield solved


def fracture_outcomes(found: Collection[NextFracture], before: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The cycle of each fracture by level, and of the first of all as ``next_fracture_cycle``, if it is the first."""
    cycles = {f"adjacent_{one.at.level}_fracture_cycle": Outcome(float(one.cycle), "1") for one in found}
    if cycles and "next_fracture_cycle" not in before:
        cycles["next_fracture_cycle"] = Outcome(float(min(one.cycle for one in found)), "1")
    return cycles


def fractures_of(before: Mapping[str, Outcome]) -> tuple[tuple[str, ...], int]:
    """Levels that have fractured by outcomes found so far, and the cycles that are over."""
    matches = (re.fullmatch(r"adjacent_([TL]\d+)_fracture_cycle", name) for name in before)
    cycles = before.get("cycles")
    return tuple(match[1] for match in matches if match), 0 if cycles is None else round(cycles.value)


def fracture_facts(bench: Bench, found: Collection[NextFracture], fractured: Collection[str]) -> dict[str, object]:
    """For the manifest: fractures of this stage, and the neighbour that is the nearest to the next one."""
    told = [{**_entry(one.at), "cycle": one.cycle, "load_n": one.load_n} for one in found]
    close = nearest(bench, (*fractured, *(one.at.level for one in found)))
    return {"next_fractures": told, "nearest_to_fracture": None if close is None else _entry(close)}


def _entry(at: Weakest) -> dict[str, object]:
    return {**asdict(at), "words": at.told()}


# --- rising load ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crushed:
    """A test under rising load.

    Attributes
    ----------
    force_n
        First maximum of the compression, or the largest until one body had shrunk by the named strain.
    level, place
        The body that shrank most meanwhile, and where most of its new damage is.
    shrunk
        Level -> share of its height that it lost meanwhile, mean of the three.
    maximum
        Whether the compression fell.
    """

    force_n: float
    level: str
    place: str
    shrunk: dict[str, float]
    maximum: bool


def treated_strength(bench: Bench, strain: float, controls: Controls) -> Crushed:
    """Strength of the treated body in its segment: the neighbours' bone is kept from crushing."""
    return crushed(spare_neighbours(bench, True), strain, controls)


def crushed(bench: Bench, strain: float, controls: Controls) -> Crushed:
    """Press the pots together, parallel, until the compression falls or a body has shrunk by ``strain``.

    Raises
    ------
    ConvergenceError
        No equilibrium.
    """
    if bench.path != LINE:
        bench = replace(last(bench, on_path(bench, LINE, controls)), path=LINE)
    way_mm = FARTHEST * bench.body.height_mm
    start, end = (drive_load(bench, bench.approach_mm + way, locked=True) for way in (0.0, way_mm))
    largest, force, now, shrunk = 0.0, 0.0, bench, dict.fromkeys(bench.mesh.bodies, 0.0)
    for now, force in to_maximum(bench, start, end, controls, STEP_MM / way_mm):
        largest = max(largest, force)
        shrunk = {level: float(np.mean([*height_losses(now, level, bench).values()])) for level in shrunk}
        if max(shrunk.values()) > strain:
            break
    level = max(shrunk, key=lambda name: shrunk[name])
    return Crushed(largest, level, damaged_place(now, level, bench), shrunk, force < (1.0 - DROP) * largest)
