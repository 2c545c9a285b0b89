"""Published experiments as studies: on whom, what is done, and what is read off.

A protocol runs one or more arms on each specimen of its population: built-in studies (``kyphos protocols``) with
the specimen's density and sizes in place of theirs, or a test of a material point. `reading` turns a run
into numbers; names of observables carry the arm's name in front, unless it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import DataError

from . import points, reading
from .population import Individual, Population

if TYPE_CHECKING:
    from kyphos.experiments import Result

Array = NDArray[np.float64]
Values = dict[str, float]
Curve = tuple[tuple[float, float], ...]
Observe = Callable[["Result"], Values]
Compute = Callable[[Individual, float], Values]
Adapt = Callable[[Individual, Mapping[str, float]], tuple[str, ...]]
Derive = Callable[["Observables"], Mapping[str, Array]]


@dataclass(frozen=True)
class Arm:
    """One thing that is done to every specimen.

    Attributes
    ----------
    name
        Goes in front of the names of its observables; may be empty in a protocol of one arm.
    study, settings
        Built-in study, and overrides as of ``--set``.
    observe, curves
        From the finished run to numbers, and to curves (for pictures): name -> ((x, y), ...).
    adapt
        Further overrides that depend on the specimen and on the observables of earlier arms.
    needs
        Earlier arm without which this one cannot start.
    compute
        Instead of a study: from specimen and element size (mm) to numbers, in Python.
    """

    name: str = ""
    study: str = ""
    observe: Observe = reading.nothing
    settings: tuple[str, ...] = ()
    curves: Callable[[Result], dict[str, Curve]] = reading.nothing
    adapt: Adapt | None = None
    needs: str = ""
    compute: Compute | None = None


@dataclass(frozen=True)
class Observables:
    """What a protocol found.

    Attributes
    ----------
    protocol, individuals
        What was run, on whom.
    values
        Observable -> (n,) its value for each specimen, NaN where its arm failed; derived ones may have another length.
    failures
        "specimen" or "specimen arm" -> why there is no number.
    curves
        Curve -> one list of points (x, y) for each specimen that has it.
    wall_s
        Computing time of all specimens, kept ones included, s.
    """

    protocol: str
    individuals: tuple[Individual, ...]
    values: dict[str, Array]
    failures: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[Curve]] = field(default_factory=dict)
    wall_s: float = 0.0


@dataclass(frozen=True)
class Protocol:
    """A published experiment: population, arms, and how many specimens a quick and a full book take.

    ``derive`` adds observables that need several arms or all specimens.
    """

    name: str
    meaning: str
    population: Population
    arms: tuple[Arm, ...]
    derive: Derive | None = None
    quick: int = 2
    full: int = 6


ELDERLY = Population(80.2, 28.7, "E09: 48 lumbar cores at fracture sites; the paper does not tell")
CORES = Population(80.2, 28.7, "E09: 48 lumbar cores at fracture sites; the paper does not tell", (20.0, 220.0))

_ALL = (
    Protocol(
        "wegrzyn-2011",
        "L3 compressed by 25 %, left unloaded for 30 minutes, tested to failure again",
        Population(80.2, 28.7, ELDERLY.source, levels=("L3",)),
        (Arm(study="wegrzyn-2011", observe=reading.crush_and_retest),),
    ),
    Protocol(
        "luo-2016",
        "1 kN for an hour, before and after a fracture by overload; one potted vertebra instead of three with discs",
        ELDERLY,
        (Arm(study="luo-2016", observe=reading.creep_tests, curves=reading.creep_curves),),
        derive=reading.creep_rise,
    ),
    Protocol(
        "kim-2011",
        "Cancellous cores at a constant physiological load for 2 hours, then unloaded for 2 hours (a material point)",
        CORES,
        (Arm(compute=points.core_creep),),
        quick=12,
        full=48,
    ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name; DataError if there is none."""
    if name not in PROTOCOLS:
        close = get_close_matches(name, PROTOCOLS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DataError(f"no protocol {name!r} in the validation book; {hint}Known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
