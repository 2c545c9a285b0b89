"""Published experiments as studies: on whom, what is done, and what is read off.

A protocol runs one or more arms on each specimen of its population: built-in studies (``kyphos protocols``) with
the specimen's density and sizes in place of theirs, or a test of a material point. `reading` turns a run
into numbers; names of observables carry the arm's name in front, unless it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import DataError

from ..population import Individual, Population, specimen_settings
from . import derived, elastic, points, reading, unit

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
        Observable -> (n,) its value for each specimen, NaN where its arm failed. Derived ones may have another
        length, or none: () one number for the whole group.
    failures
        "specimen" or "specimen arm" -> why there is no number.
    curves
        Curve -> one list of points (x, y) for each specimen that has it.
    computing_s
        Processor time of all specimens, kept ones included, s.
    """

    protocol: str
    individuals: tuple[Individual, ...]
    values: dict[str, Array]
    failures: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[Curve]] = field(default_factory=dict)
    computing_s: float = 0.0


@dataclass(frozen=True)
class Protocol:
    """A published experiment: population, arms, and how many specimens a quick and a full book take.

    Full: as many as the paper had where it tells and they are affordable, so that means scatter no more than its own.
    ``derive`` adds observables that need several arms or all specimens.
    """

    name: str
    meaning: str
    population: Population
    arms: tuple[Arm, ...]
    derive: Derive | None = None
    quick: int = 3
    full: int = 8


ELDERLY = Population(80.2, 28.7, "E09: 48 lumbar cores at fracture sites; the paper is not read this far")
THORACOLUMBAR = replace(ELDERLY, levels=("L1", "T12", "L3", "T11", "L2", "L4"))
OSTEOPOROTIC = Population(
    62.5, 20.2, "below 80, the cut-off of osteoporosis (E10, J11); spread evenly (assumed)", (45.0, 80.0), even=True
)
YOUNG = Population(160.0, 25.0, "assumed: normal is above 120 (E10)", (120.0, 220.0), levels=("L1", "L3", "T12", "L2"))
VERSE = Population(95.0, 30.0, "bands of C28-C30, spread evenly", (50.0, 140.0), even=True)

_VERTEBROPLASTY_CEMENT, _KYPHOPLASTY_CEMENT = "stage.4", "stage.6"  # of the Belkoff and Rotter studies


def _other_sex(individual: Individual, _: Mapping[str, float]) -> tuple[str, ...]:
    return specimen_settings(replace(individual, sex="male"))


def _at_l3(individual: Individual, _: Mapping[str, float]) -> tuple[str, ...]:
    return specimen_settings(replace(individual, level="L3"))


def _filled(_: Individual, known: Mapping[str, float], percent: float) -> tuple[str, ...]:
    """Cement of so many per cent of the body's volume."""
    return (f"{_KYPHOPLASTY_CEMENT}.volume_ml={0.01 * percent * known['size.volume_ml']:.3f}",)


def _below_yield(_: Individual, known: Mapping[str, float], percent: float) -> tuple[str, ...]:
    """Cycles up to so many per cent of the specimen's own strength."""
    return (f"stage.1.max_n={10.0 * percent * known['yield.strength_kn']:.1f}",)


def _dose_arm(volume_ml: float) -> Arm:
    setting = f"{_VERTEBROPLASTY_CEMENT}.volume_ml={volume_ml}"
    return Arm(f"v{volume_ml:g}", "belkoff-2001-vertebroplasty", reading.restored, (setting,))


def _filled_arm(percent: int) -> Arm:
    adapt = partial(_filled, percent=percent)
    return Arm(f"f{percent}", "rotter-2015", reading.fatigue_loss, adapt=adapt, needs="size")


def _cycled_arm(percent: int) -> Arm:
    adapt = partial(_below_yield, percent=percent)
    return Arm(f"p{percent}", "lu-2004", reading.low_cycling, adapt=adapt, needs="yield")


_OF_THE_UNIT = ('specimen.levels=["L1","L2"]', "specimen.treated=L1")


def _segment(individual: Individual, _: Mapping[str, float], levels: str, treated: str) -> tuple[str, ...]:
    """The specimen's sizes at the treated level of a segment, its density at all."""
    return (*specimen_settings(replace(individual, level=treated)), f"specimen.levels={levels}")


_OF_L1 = partial(_segment, levels='["T12", "L1", "L2"]', treated="L1")
_OF_L4 = partial(_segment, levels='["L4", "L5"]', treated="L4")

_SIZE = Arm("size", compute=elastic.body_volume)

_ALL = (
    Protocol(
        "luo-2016",
        "T12-L1-L2 under 1 kN for an hour: intact, after a fracture of L1 by overload, after vertebroplasty",
        ELDERLY,
        (Arm("", "luo-2016", reading.creep_tests, curves=reading.creep_curves, adapt=_OF_L1),),
        derive=derived.creep_ratios,
        quick=2,
        full=14,  # half of the paper's: three levels, three hours
    ),
    Protocol(
        "luo-2009",
        "Stiffness and disc pressure of an L1-L2 motion segment before and after a fracture of L1 by overload",
        ELDERLY,
        (Arm("", "luo-2009", reading.fracture_effect, _OF_THE_UNIT),),
        quick=2,
        full=19,
    ),
    Protocol(
        "unit",
        "An L4-L5 motion segment under 500 N, straight and flexed, and under pure moments of 7.5 N m",
        replace(YOUNG, levels=(unit.UPPER,), sexes=("female", "male")),
        (Arm("pressed", compute=unit.pressed), Arm("turned", compute=unit.turned)),
        quick=2,
        full=4,
    ),
    Protocol(
        "endplate",
        "An L4-L5 motion segment of old bone under 1.6 kN: how far L5's endplate gives way",
        replace(ELDERLY, levels=(unit.UPPER,), sexes=("female", "male")),
        (Arm(compute=unit.squeezed),),
        quick=2,
        full=6,
    ),
    Protocol(
        "wegrzyn-2011",
        "L3 compressed by 25 %, left unloaded for 30 minutes, tested to failure again",
        replace(ELDERLY, levels=("L3",)),
        (Arm("", "wegrzyn-2011", reading.crush_and_retest),),
        full=21,
    ),
    Protocol(
        "kim-2011",
        "Cancellous cores at a constant physiological load for 2 hours, then unloaded for 2 hours (a material point)",
        ELDERLY,
        (Arm(compute=points.core_creep),),
        quick=12,
        full=68,
    ),
    Protocol(
        "haddock-2004",
        "Cancellous cores cycled to failure at two loads (a material point)",
        ELDERLY,
        (Arm(compute=points.core_life),),
        quick=6,
        full=35,
    ),
    Protocol(
        "rotter-2010",
        "25 % wedge, balloons under 100 N inflated and emptied, or a stent that stays, cement",
        THORACOLUMBAR,
        (
            Arm("", "rotter-2010", reading.deflation),
            Arm("stent", "rotter-2010-stent", reading.deflation),
        ),
        full=12,
    ),
    Protocol(
        "belkoff-2001",
        "25 % compression; balloons and PMMA, or calcium phosphate, or vertebroplasty, all without preload",
        OSTEOPOROTIC,
        (
            Arm("kyphoplasty", "belkoff-2001-kyphoplasty", reading.restored),
            Arm(
                "kyphoplasty-cap",
                "belkoff-2001-kyphoplasty",
                reading.restored,
                (f"{_KYPHOPLASTY_CEMENT}.card=calcium-phosphate",),
            ),
            Arm("vertebroplasty", "belkoff-2001-vertebroplasty", reading.restored),
        ),
        derive=derived.cement_order,
    ),
    Protocol(
        "dose",
        f"Vertebroplasty with {', '.join(f'{v:g}' for v in derived.VOLUMES_ML)} mL: strength and stiffness restored",
        ELDERLY,
        (_SIZE, *map(_dose_arm, derived.VOLUMES_ML)),
        derive=derived.dose,
    ),
    Protocol(
        "lu-2004",
        "20,000 cycles at 10, 20 and 30 % of the yield load, young vertebrae",
        YOUNG,
        (
            Arm("yield", "strength", reading.intact_test),
            *map(_cycled_arm, derived.LOAD_PERCENTS),
        ),
        derive=derived.all_held,
        full=6,
    ),
    Protocol(
        "shell",
        "Stiffness with and without the shell, and the shell's share of the load at mid-height",
        THORACOLUMBAR,
        (Arm(compute=elastic.shell_share),),
        quick=4,
        full=8,
    ),
    Protocol(
        "rotter-2015",
        "Kyphoplasty under 100 N with cement for 10, 16 or 30 % of the body, 10,000 cycles",
        ELDERLY,
        (
            _SIZE,
            *map(_filled_arm, derived.FILLS_PERCENT),
        ),
        derive=derived.fill_order,
        full=6,
    ),
    Protocol(
        "strength",
        "Strength of intact vertebrae of 50 to 140 mg/cm3 between parallel platens; larger levels, and men",
        VERSE,
        (
            Arm("l1", "strength", reading.intact_test),
            Arm("l3", "strength", reading.intact_test, adapt=_at_l3),
            Arm("men", "strength", reading.intact_test, adapt=_other_sex),
        ),
        derive=derived.strength_by_density,
        quick=8,
        full=16,
    ),
    Protocol(
        "yield",
        "Cancellous cores compressed past their yield point (a material point)",
        ELDERLY,
        (Arm(compute=points.core_yield),),
        quick=12,
        full=68,
    ),
    Protocol(
        "neighbours",
        "Disc pressure by cement alone and by kyphosis in a muscle-balanced segment, and in an isolated unit",
        ELDERLY,
        (
            Arm("cement", "segment-cement-alone", partial(reading.cement_alone, load="balanced"), adapt=_OF_L1),
            Arm("isolated", "unit-cement", partial(reading.cement_alone, load="compressed"), adapt=_OF_L4),
            Arm("kyphosis", "segment-kyphosis", reading.kyphosis_effect, adapt=_OF_L1),
            Arm(
                "corrected",
                "segment-kyphosis",
                reading.kyphosis_effect,
                ("procedure.kind=kyphoplasty", "cement.shape=bolus"),
                adapt=_OF_L1,
            ),
        ),
        derive=derived.neighbour_order,
        quick=1,
        full=4,
    ),
    Protocol(
        "seed",
        "The built-in kyphoplasty and vertebroplasty of an L1, 500 cycles of 100 to 600 N",
        ELDERLY,
        (
            Arm("kyphoplasty", "kyphoplasty-pmma-L1", reading.height_shares, curves=reading.height_curve),
            Arm("vertebroplasty", "vertebroplasty-pmma-L1", reading.height_shares, curves=reading.height_curve),
        ),
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
