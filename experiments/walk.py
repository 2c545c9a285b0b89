"""What walking a stage yields on its way, and what it leaves."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kyphos import fem

from .bench import Bench, carried_n
from .profiles import Profile


@dataclass(frozen=True)
class Solved:
    """One equilibrium of a stage, as it goes into the history.

    ``pressure_mpa`` and ``volume_ml`` are those of the balloons (largest pressure, summed volume), NaN without one;
    ``stiffness_n_per_mm`` is the secant of a load cycle, at its valley, NaN elsewhere; ``time_s`` how long a load has
    been held, NaN while none is.
    """

    bench: Bench
    equilibrium: fem.Equilibrium
    load_n: float
    cycle: int = 0
    share: float = 1.0
    pressure_mpa: float = float("nan")
    volume_ml: float = float("nan")
    stiffness_n_per_mm: float = float("nan")
    time_s: float = float("nan")


@dataclass(frozen=True)
class Ended:
    """A finished stage: the bench, and outcomes (without the stage's name in them).

    Of cycles also the last peak; of a segment's tests also profiles of stress, and facts for the manifest.
    """

    bench: Bench
    outcomes: dict[str, float] = field(default_factory=dict)
    peak: Bench | None = None
    profiles: tuple[Profile, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


Running = Generator[Solved, None, Ended]


def passed(bench: Bench, steps: Iterator[fem.Step]) -> Generator[Solved, None, Bench]:
    """Pass steps on as history; returns the bench after the last."""
    for step in steps:
        bench = bench.after(step)
        yield Solved(bench, step.equilibrium, carried_n(bench, step.equilibrium), share=step.share)
    return bench
