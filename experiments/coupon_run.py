"""The tests of a coupon: what each one does, and what it measures."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kyphos import fem, materials
from kyphos.errors import ConvergenceError
from kyphos.materials import lab

from .bench import Array, Bench, Controls, carried_n, current_force_n, drive_load, force_load, to_force
from .checkpoint import pack, unpack
from .coupon import build_coupon, coupon_of, gauge_mm, mount_coupon, section_mm2
from .fields import write_fields
from .plan import BendStage, CompressionStage, CreepStage, FatigueStage, TensionStage
from .spec import StudySpec
from .stages import wait
from .store import Checkpoint, Outcome
from .tables import Coupon
from .walk import Solved, passed
from .work import Finished, Outcomes, Reached, controls_of, rows_of, solver_facts

SECONDS_PER_MINUTE = 60.0
MIDDLE = 0.5  # share of the gauge length, about its middle, in which a fatigue coupon is watched
BROKEN = 0.1  # of the largest load: a test ends when less is left
FIRST, LEAST = 0.05, 0.01  # first and smallest increments of a test, shares of its steps
SPENT = 0.999  # used share of the fatigue life at which a section counts as broken

Quantities = dict[str, tuple[float, str]]
"""Quantity -> value, unit; the outcome is called ``QUANTITY_STAGE`` and its unit."""


@dataclass(frozen=True)
class Measured:
    """A finished test: the bench, what was measured, a few words, lines for the user."""

    bench: Bench
    quantities: Quantities
    note: str
    messages: tuple[str, ...] = ()


Testing = Generator[Solved, None, Measured]


class CouponWork:
    """A coupon in a testing machine; each stage goes on where the one before ended."""

    def __init__(self, spec: StudySpec) -> None:
        self.mesh = build_coupon(spec)
        self._spec, self._coupon = spec, coupon_of(spec)
        self._bench, self._controls = mount_coupon(spec, self.mesh), controls_of(spec.solver)
        self.facts: dict[str, Any] = {}

    def begin(self, kept: Checkpoint | None) -> Outcomes:
        """The sizes that stresses and strains refer to, or what was found before."""
        if kept is not None:
            self._bench = unpack(kept.arrays, kept.meta["bench"], self._bench)
            return kept.outcomes
        if self._coupon.shape == "bar":
            return {}
        return {
            "section_mm2": Outcome(section_mm2(self._coupon), "mm2"),
            "gauge_mm": Outcome(gauge_mm(self._coupon), "mm"),
        }

    def walk(self, index: int, before: Outcomes) -> Generator[Reached, None, Finished]:
        """One test."""
        stage, controls = self._spec.coupon_stages[index], self._controls
        past = controls.solver.record
        controls.solver.reset()  # so that a resumed run repeats an uninterrupted one to the last bit
        measured = yield from rows_of(stage.name, _TESTS[stage.kind](stage, self._coupon, self._bench, controls))
        self._bench = bench = measured.bench
        results = {
            f"{quantity}_{stage.name}{_ENDINGS[unit]}": Outcome(value, unit)
            for quantity, (value, unit) in measured.quantities.items()
        }
        arrays, meta = pack(bench)
        return Finished(
            before | results,
            measured.note,
            lambda path: write_fields(path, bench),
            solver_facts(controls.solver.record, past),
            arrays,
            {"bench": meta},
            measured.messages,
        )


_ENDINGS = {"MPa": "_mpa", "mJ": "_mj", "N": "_n", "1": ""}


# --- compression and tension ---------------------------------------------------------------------------------------


@dataclass
class _Record:
    """Points of a curve as they are measured, the first before anything moves."""

    along: list[float] = field(default_factory=list)
    load_n: list[float] = field(default_factory=list)
    across: list[tuple[float, float]] = field(default_factory=list)

    def add(self, along: float, load_n: float, across: tuple[float, float] = (np.nan, np.nan)) -> None:
        """One more point."""
        self.along.append(along)
        self.load_n.append(load_n)
        self.across.append(across)

    @property
    def broken(self) -> bool:
        """Whether the load has fallen to a trace of its maximum."""
        loads = np.abs(self.load_n)
        return bool(loads[-1] < BROKEN * loads.max())

    def curve(self, sign: float, length: float, area: float) -> lab.Curve:
        """Strain and stress from the first point on, positive in the sense of the load."""
        strain, stress = (sign * (np.array(v) - v[0]) / size for v, size in ((self.along, length), (self.load_n, area)))
        return lab.Curve(strain, stress, sign * np.array(self.across), np.zeros(len(strain)))


def _press(stage: CompressionStage | TensionStage, coupon: Coupon, bench: Bench, controls: Controls) -> Testing:
    sign = 1.0 if isinstance(stage, CompressionStage) else -1.0
    record, gauge = _Record(), _Gauge(bench, coupon)
    record.add(gauge.shortening_mm(bench), current_force_n(bench), gauge.widening(bench))
    travel = stage.end_strain * bench.body.height_mm

    def measure(solved: Solved) -> None:
        record.add(gauge.shortening_mm(solved.bench), solved.load_n, gauge.widening(solved.bench))

    def has_yielded() -> bool:
        return record.curve(sign, gauge.length_mm, 1.0).strength_mpa(stage.offset_strain) is not None

    path = _driven(bench, sign * travel, stage.steps, _seconds(travel, stage.speed_mm_per_min), controls)
    bench, error = yield from _until_broken(path, bench, record, measure, has_yielded)
    stopped = f"the path ended early: {error}" if error else ""
    curve = record.curve(sign, gauge.length_mm, section_mm2(coupon))
    quantities = _curve_quantities(curve, stage.offset_strain, coupon.ends == "slide")
    quantities["work"] = (curve.energy_mpa * section_mm2(coupon) * gauge.length_mm, "mJ")
    strength = curve.strength_mpa(stage.offset_strain)
    reached = "no strength up to there" if strength is None else f"strength {strength:.3g} MPa"
    return Measured(bench, quantities, f"modulus {curve.modulus_mpa:.4g} MPa, {reached}", (stopped,) * bool(stopped))


def _curve_quantities(curve: lab.Curve, offset_strain: float, slides: bool) -> Quantities:
    found: Quantities = {"modulus": (curve.modulus_mpa, "MPa")}
    if slides:
        found |= {f"poisson_ratio_{axis}": (v, "1") for axis, v in zip("xy", curve.poisson_ratios, strict=True)}
    strength, yielded = curve.strength_mpa(offset_strain), curve.offset_point(offset_strain)
    if strength is not None:
        found["strength"] = (strength, "MPa")
    if yielded is not None:
        found["yield_strain"] = (yielded[0], "1")
    if curve.has_peaked:
        found["peak_stress"] = (curve.peak_mpa, "MPa")
    return found


def _seconds(travel_mm: float, speed_mm_per_min: float) -> float:
    return SECONDS_PER_MINUTE * travel_mm / speed_mm_per_min if speed_mm_per_min > 0.0 else 0.0


def _driven(
    bench: Bench, travel_mm: float, steps: int, duration_s: float, controls: Controls
) -> Generator[Solved, None, Bench]:
    """The actuator comes down by ``travel_mm``: a short first step, elastic for sure, soon steps of the full length.

    A coupon that finds no equilibrium in a small part of a step has broken.
    """
    start, end = drive_load(bench, bench.approach_mm), drive_load(bench, bench.approach_mm + travel_mm)
    step = 1.0 / steps
    settings = replace(controls.march, first=FIRST * step, largest=step, smallest=LEAST * step)
    path = fem.march(bench.structure, bench.state, start, end, controls.solver, settings, duration_s=duration_s)
    return (yield from passed(bench, path))


def _until_broken(
    path: Generator[Solved, None, Bench],
    bench: Bench,
    record: _Record,
    measure: Callable[[Solved], None],
    enough: Callable[[], bool],
) -> Generator[Solved, None, tuple[Bench, ConvergenceError | None]]:
    """Measure along a path, to its end or until the coupon has broken; returns the last bench.

    Where no equilibrium is found the path ends too, and the error is returned, if there is ``enough`` on record.
    """
    while True:
        try:
            solved = next(path)
        except StopIteration:
            return bench, None
        except ConvergenceError as error:
            if not enough():
                raise
            return bench, error
        bench = solved.bench
        measure(solved)
        yield solved
        if record.broken:
            return bench, None


class _Gauge:
    """Extensometers: along z between the platens or over the waist, across in the middle half."""

    def __init__(self, bench: Bench, coupon: Coupon) -> None:
        z, centre = bench.mesh.points_mm[:, 2], bench.body.centre_mm
        self._lower = self._upper = None
        self.length_mm = gauge_mm(coupon)
        if coupon.shape == "waisted":
            self._lower, self._upper = (np.isclose(z, centre[2] + s * 0.5 * self.length_mm) for s in (-1.0, 1.0))
        self._middle = np.abs(z - centre[2]) <= 0.5 * MIDDLE * self.length_mm
        self._from_axis = bench.mesh.points_mm[self._middle, :2] - centre[:2]

    def shortening_mm(self, bench: Bench) -> float:
        """How much shorter the gauge length is."""
        if self._lower is None or self._upper is None:
            return bench.approach_mm
        up = bench.state.displacement_mm[:, 2]
        return float(up[self._lower].mean() - up[self._upper].mean())

    def widening(self, bench: Bench) -> tuple[float, float]:
        """Strains along x and y, least squares over the middle."""
        moved, at = bench.state.displacement_mm[self._middle, :2], self._from_axis
        across = (moved * at).sum(axis=0) / (at**2).sum(axis=0)
        return float(across[0]), float(across[1])


# --- bending -------------------------------------------------------------------------------------------------------


def _bend(stage: BendStage, coupon: Coupon, bench: Bench, controls: Controls) -> Testing:
    """Four-point bending; ISO 5833: E = F a (3 l^2 - 4 a^2)/(4 f b h^3) with f at mid-span, strength 3 F a/(b h^2)."""
    middle = np.isclose(bench.mesh.points_mm[:, 0], 0.0)
    record = _Record()

    def deflection_mm(now: Bench) -> float:
        return -float(now.state.displacement_mm[middle, 2].mean())

    record.add(deflection_mm(bench), current_force_n(bench))
    duration_s = _seconds(stage.deflection_mm, stage.speed_mm_per_min)

    def measure(solved: Solved) -> None:
        record.add(deflection_mm(solved.bench), solved.load_n)

    path = _driven(bench, stage.deflection_mm, stage.steps, duration_s, controls)
    bench, error = yield from _until_broken(path, bench, record, measure, lambda: len(record.load_n) >= 3)
    stopped = f"the path ended early, the bar has probably broken: {error}" if error else ""
    return _bent(stage, coupon, bench, record, stopped)


def _bent(stage: BendStage, coupon: Coupon, bench: Bench, record: _Record, stopped: str) -> Measured:
    assert coupon.width_mm is not None
    assert coupon.thickness_mm is not None
    span, arm = stage.support_span_mm, 0.5 * (stage.support_span_mm - stage.load_span_mm)
    bending = 3.0 * arm / (coupon.width_mm * coupon.thickness_mm**2)  # MPa for each N
    slope = arm * (3.0 * span**2 - 4.0 * arm**2) / (4.0 * coupon.width_mm * coupon.thickness_mm**3)  # MPa for each N/mm
    curve = record.curve(1.0, 1.0, 1.0)
    modulus, largest = slope * curve.modulus_mpa, curve.peak_mpa
    found: Quantities = {"bending_modulus": (modulus, "MPa"), "largest_load": (largest, "N")}
    note = f"bending modulus {modulus:.4g} MPa, not broken by {stage.deflection_mm:g} mm"
    if stopped or curve.has_peaked:
        found["bending_strength"] = (bending * largest, "MPa")
        note = f"bending modulus {modulus:.4g} MPa, bending strength {bending * largest:.3g} MPa"
    return Measured(bench, found, note, (stopped,) * bool(stopped))


# --- creep ---------------------------------------------------------------------------------------------------------


def _creep(stage: CreepStage, coupon: Coupon, bench: Bench, controls: Controls) -> Testing:
    """Force at once, time, no force at once, time."""
    gauge, force_n = _Gauge(bench, coupon), stage.stress_mpa * section_mm2(coupon)

    def strain(now: Bench) -> float:
        return gauge.shortening_mm(now) / gauge.length_mm

    before = strain(bench)
    bench = yield from passed(bench, to_force(bench, force_n, controls))
    loaded = strain(bench)
    bench = yield from wait(bench, force_load(bench, force_n), stage.hold_s, controls)
    found: Quantities = {
        "modulus": (stage.stress_mpa / (loaded - before), "MPa"),
        "elastic_strain": (loaded - before, "1"),
        "creep_strain": (strain(bench) - loaded, "1"),
    }
    note = f"creep {1e6 * found['creep_strain'][0]:.0f} microstrain in {stage.hold_s:g} s"
    if stage.recovery_s > 0.0:
        bench = yield from passed(bench, to_force(bench, 0.0, controls))
        bench = yield from wait(bench, force_load(bench, 0.0), stage.recovery_s, controls)
        found["residual_strain"] = (strain(bench) - before, "1")
        note += f", {1e6 * found['residual_strain'][0]:.0f} stay"
    return Measured(bench, found, note)


# --- fatigue -------------------------------------------------------------------------------------------------------


def _fatigue(stage: FatigueStage, coupon: Coupon, bench: Bench, controls: Controls) -> Testing:
    """Cycles until the middle of the gauge has used up its life; creep and fatigue act at the peak load only."""
    sign = 1.0 if stage.direction == "compression" else -1.0
    peak_n = sign * stage.peak_mpa * section_mm2(coupon)
    bench = yield from passed(bench, to_force(bench, stage.load_ratio * peak_n, controls))
    valley, peak = force_load(bench, stage.load_ratio * peak_n), force_load(bench, peak_n)
    settings = fem.CycleSettings(dwell=stage.dwell_fraction, tolerance=stage.jump_tolerance, march=controls.in_one_step)
    watch, history, message = _Watch(bench, coupon), [(0.0, 0.0)], ""
    runs = fem.run_cycles(
        bench.structure, bench.state, valley, peak, stage.run_out, stage.frequency_hz, controls.solver, settings
    )
    while history[-1][1] < SPENT:
        try:
            solved = next(runs)
        except StopIteration:
            break
        except ConvergenceError as error:
            message = f"the coupon carried {history[-1][0]:.0f} cycles and then no more: {error}"
            break
        bench = replace(bench, state=solved.peak.state, load=peak)
        history.append((float(solved.cycle), watch.spent(bench)))
        load_n = carried_n(bench, solved.peak)
        yield Solved(bench, solved.peak, load_n, solved.cycle, max(solved.cycle / stage.run_out, history[-1][1]))
    return _tired(stage, bench, history, message)


def _tired(stage: FatigueStage, bench: Bench, history: list[tuple[float, float]], message: str) -> Measured:
    cycles, spent = (np.array(column) for column in zip(*history, strict=True))
    found: Quantities = {"cycles": (float(cycles[-1]), "1"), "spent_life": (float(spent[-1]), "1")}
    if spent[-1] >= SPENT:
        found["life"] = (float(np.interp(SPENT, spent, cycles)), "1")
    elif message:
        found["life"] = (float(cycles[-1]), "1")
    else:
        return Measured(bench, found, f"survived {cycles[-1]:.0f} cycles at {stage.peak_mpa:g} MPa")
    return Measured(
        bench, found, f"life {found['life'][0]:.4g} cycles at {stage.peak_mpa:g} MPa", (message,) * bool(message)
    )


class _Watch:
    """The cells in the middle of the gauge."""

    def __init__(self, bench: Bench, coupon: Coupon) -> None:
        mesh = bench.mesh
        z = mesh.points_mm[mesh.cells, 2].mean(axis=1)
        self._cells = np.abs(z - bench.body.centre_mm[2]) <= 0.5 * MIDDLE * gauge_mm(coupon)
        self._weight: Array = bench.structure.mesh.weight[self._cells]

    def spent(self, bench: Bench) -> float:
        """Their mean used share of the fatigue life."""
        used = materials.spent_life(bench.field, bench.state.history)[self._cells]
        return float(np.average(used, weights=self._weight))


_TESTS: dict[str, Callable[..., Testing]] = {
    "coupon_compression": _press,
    "coupon_tension": _press,
    "coupon_bend": _bend,
    "coupon_creep": _creep,
    "coupon_fatigue": _fatigue,
}
