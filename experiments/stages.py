"""What each kind of stage does to the bench. One function per kind; each yields the equilibria on its way.

A stage function is a generator of :class:`Solved` rows and returns (by ``return``) the bench it ends with and the
outcomes that only it knows. Definitions: PHYSICS in ``docs/physics.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, meshes
from kyphos.errors import ConvergenceError
from kyphos.units import N_MM_PER_J

from . import adjacent, balloon, cementing, loading, next_fracture, plan
from .bench import (
    COLLAPSE_SHARE,
    LINE,
    Bench,
    Controls,
    carried_along,
    carried_n,
    current_force_n,
    drive_load,
    force_load,
    last,
    on_load_line,
    on_path,
    spare_neighbours,
    to_force,
    to_maximum,
    to_tilt,
    with_cavities,
)
from .walk import Ended, Running, Solved, passed

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

FRACTURE_STEPS = (0.004, 0.015)  # first and longest, shares of the body's height
ELSEWHERE = 0.3  # share of an approach that is the body's; below it, discs give way, and steps may be twice as long
FRACTURE_ITERATIONS = 5.0  # of Newton's method, that a step of the right length takes
FRACTURE_ACCURACY = 2e-4
SLOWEST_LOSS = 0.05  # anterior loss per approach, both as shares of the body's height; less is taken for this
UNLOADING_SHARE = 5e-4  # of the body's height, before force control takes over
SHORTER_WAIT = 0.25  # of an interval whose end could not be reached at once
STRENGTH_STEPS = 20

REPORTED_CYCLES = (1, 2, 10, 100, 500, 5000, 20_000, 100_000)


def run_stage(stage: plan.Stage, bench: Bench, controls: Controls) -> Running:
    """Walk one stage.

    Raises
    ------
    ConvergenceError
        No equilibrium; what was yielded stands.
    """
    controls.solver.reset()  # so that a resumed run repeats an uninterrupted one to the last bit
    bench = on_load_line(bench, stage.offset_anterior_mm)
    path = getattr(stage, "path", None) or LINE
    if path != bench.path:
        bench = replace((yield from passed(bench, on_path(bench, path, controls))), path=path)
    if bench.inclined or stage.tilt_deg is not None:
        steps = to_tilt(bench, stage.tilt_deg, controls)
        bench = replace((yield from passed(bench, steps)), inclined=stage.tilt_deg is not None)
    if stage.kind not in _CRUSHED:
        bench = spare_neighbours(bench, False)
    ended = yield from _KINDS[stage.kind](stage, bench, controls)
    if stage.kind == "unload":
        ended = replace(ended, bench=spare_neighbours(ended.bench, False))
    if stage.kind in _WAITING:
        bench = yield from wait(ended.bench, ended.bench.load, stage.duration_s, controls)
        ended = replace(ended, bench=bench)
    return ended


# --- loading -------------------------------------------------------------------------------------------------------


def _load(stage: plan.LoadStage, bench: Bench, controls: Controls) -> Running:
    if stage.control == "force":
        assert stage.force_n is not None
        bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    else:
        assert stage.displacement_mm is not None
        start, end = drive_load(bench, bench.approach_mm), drive_load(bench, stage.displacement_mm)
        steps = fem.march(bench.structure, bench.state, start, end, controls.solver, controls.march)
        bench = yield from passed(bench, steps)
    return Ended(bench)


def _hold(stage: plan.HoldStage, bench: Bench, controls: Controls) -> Running:
    if stage.control == "displacement":
        load = drive_load(bench, bench.approach_mm)
    else:
        assert stage.force_n is not None
        bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
        load = force_load(bench, stage.force_n)
    bench = yield from wait(bench, load, stage.duration_s, controls)
    return Ended(bench)


def _unload(stage: plan.UnloadStage, bench: Bench, controls: Controls) -> Running:
    if bench.load.fixed[bench.axis] and current_force_n(bench) > stage.force_n:
        # force control cannot start on a falling branch: first draw the load point back a little
        back_mm = UNLOADING_SHARE * bench.body.height_mm
        start, end = drive_load(bench, bench.approach_mm), drive_load(bench, bench.approach_mm - back_mm)
        steps = fem.march(bench.structure, bench.state, start, end, controls.solver, controls.in_one_step)
        bench = yield from passed(bench, steps)
    bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    return Ended(bench)


def wait(bench: Bench, load: fem.Load, duration_s: float, controls: Controls) -> Generator[Solved, None, Bench]:
    """Let time pass at constant load, in steps that grow with elapsed time (creep is logarithmic)."""
    times, trend = waiting_times(duration_s), None
    for before, after in pairwise((0.0, *times)):
        found = _waited(bench, load, after - before, trend, controls)
        trend = bench.structure.way(bench.state, found.state)
        bench = replace(bench, state=found.state, load=load)
        yield Solved(bench, found, carried_n(bench, found), share=after / duration_s, time_s=after)
    return bench


def _waited(
    bench: Bench, load: fem.Load, duration_s: float, trend: Array | None, controls: Controls
) -> fem.Equilibrium:
    """Equilibrium after so long, sought where the last change points; in shorter steps where there is none."""
    structure, state, solver, newton = bench.structure, bench.state, controls.solver, controls.march.newton
    try:
        return fem.solve_equilibrium(structure, state, load, solver, newton, dt_s=duration_s, guess=trend)
    except ConvergenceError:
        shorter = replace(controls.march, first=SHORTER_WAIT)
        *_, final = fem.march(structure, state, load, load, solver, shorter, duration_s=duration_s)
        return final.equilibrium


def waiting_times(duration_s: float) -> tuple[float, ...]:
    """About three instants per decade from 1 s on, ending at ``duration_s``."""
    if duration_s <= 1.0:
        return (duration_s,) if duration_s > 0.0 else ()
    count = max(1, round(3.0 * log(duration_s) / log(10.0)))
    return tuple(float(t) for t in np.geomspace(1.0, duration_s, count + 1))


# --- fracture ------------------------------------------------------------------------------------------------------


def _fracture(stage: plan.FractureStage, bench: Bench, controls: Controls) -> Running:
    """Press the load point down until the anterior height has shrunk by the wanted share of the intact height."""
    bench = spare_neighbours(bench, stage.neighbours != "crush")
    intact = meshes.gauge_height_mm(bench.body.gauges["anterior"], bench.mesh.points_mm)
    wanted, (step_mm, longest_mm) = stage.anterior_height_loss, bench.body.height_mm * np.array(FRACTURE_STEPS)
    loss, energy, force = _anterior_loss(bench, intact), 0.0, current_force_n(bench)
    settings, known = controls.in_one_step, None
    while abs(loss - wanted) > FRACTURE_ACCURACY:
        before = bench
        start, end = drive_load(bench, bench.approach_mm), drive_load(bench, bench.approach_mm + step_mm)
        steps = fem.march(bench.structure, bench.state, start, end, controls.solver, settings, known=known)
        for step in steps:
            known = step.equilibrium.evaluation
            at, old = bench.approach_mm, force
            bench = bench.after(step)
            force = carried_n(bench, step.equilibrium)
            energy += 0.5 * (force + old) * (bench.approach_mm - at)
            yield Solved(bench, step.equilibrium, force, share=_anterior_loss(bench, intact) / wanted)
        new = _anterior_loss(bench, intact)
        rate = (new - loss) / (bench.approach_mm - before.approach_mm)
        if bench.approach_mm > 0.8 * bench.body.height_mm or rate == 0.0:
            raise ConvergenceError(
                f"the anterior height shrank by only {new:.1%}; {wanted:.0%} is out of reach. Try a smaller "
                "anterior_height_loss, or a load further in front (offset_anterior_mm)."
            )
        loss = new
        size_mm = abs(step_mm) * float(np.clip(FRACTURE_ITERATIONS / step.equilibrium.iterations, 0.5, 1.5))
        most_mm = longest_mm * (2.0 if 0.0 < rate * bench.body.height_mm < ELSEWHERE else 1.0)
        step_mm = _next_step_mm(wanted - loss, rate, min(size_mm, most_mm), bench.body.height_mm)
    return Ended(bench, {"fracture_energy_j": energy / N_MM_PER_J})


def _next_step_mm(missing: float, rate_per_mm: float, largest_mm: float, height_mm: float) -> float:
    """Step of the load point towards a loss of height of which ``missing`` (a share) is left.

    Pressed down, the anterior height may grow for a while where the body tilts back: the step still goes down.
    """
    least = SLOWEST_LOSS / height_mm
    return float(np.clip(missing / max(rate_per_mm, least), -largest_mm, largest_mm))


def _anterior_loss(bench: Bench, intact_mm: float) -> float:
    return 1.0 - bench.heights_mm()["anterior"] / intact_mm


# --- cement --------------------------------------------------------------------------------------------------------


def _cement(stage: plan.CementStage, bench: Bench, controls: Controls) -> Running:
    """Cement takes its place stress-free in the present shape, then the preload acts again.

    Balloons that were not deflated hold the shape until the cement has set, and go then.
    """
    bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    tips = meshes.needle_tips(bench.body, stage.approach, **stage.needle)
    cemented = cementing.inject(bench, stage, tips + carried_along(bench, tips))
    bench = with_cavities(cemented.bench, (), np.zeros(0))
    bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    return Ended(bench, cemented.outcomes)


# --- cycling -------------------------------------------------------------------------------------------------------


def _cycle(stage: plan.CycleStage, bench: Bench, controls: Controls) -> Running:
    """Load cycles; heights between cycles are taken at the valley."""
    bench = yield from passed(bench, to_force(bench, stage.min_n, controls))
    valley, peak = force_load(bench, stage.min_n), force_load(bench, stage.max_n)
    settings = fem.CycleSettings(
        method=stage.method,
        dwell=stage.dwell_fraction,
        tolerance=stage.jump_tolerance,
        report=REPORTED_CYCLES,
        march=controls.in_one_step,  # a cycle is one step up and one down unless that fails
    )
    runs = fem.run_cycles(
        bench.structure, bench.state, valley, peak, stage.count, stage.frequency_hz, controls.solver, settings
    )
    equilibria, cycle, at_peak, deepest_mm = 0, 0, bench, COLLAPSE_SHARE * bench.body.height_mm
    while True:
        try:
            solved = next(runs)
        except StopIteration:
            break
        except ConvergenceError as error:
            raise error.told(_worn(stage, cycle, error)) from error
        at_peak = replace(bench, state=solved.peak.state, load=peak)
        if solved.cycle == cycle + 1 and (sunk_mm := at_peak.approach_mm - bench.approach_mm) > deepest_mm:
            raise ConvergenceError(_worn(stage, cycle, f"the load point sank {sunk_mm:.1f} mm in one cycle"))
        equilibria, cycle = solved.equilibria, solved.cycle
        share = cycle / stage.count
        yield Solved(at_peak, solved.peak, stage.max_n, cycle=cycle, share=share)
        if solved.valley is not None:
            bench = replace(bench, state=solved.valley.state, load=valley)
            yield Solved(bench, solved.valley, stage.min_n, cycle=cycle, share=share)
        if stage.stop_at_fracture and next_fracture.fractures(at_peak):
            bench = at_peak if solved.valley is None else bench
            bench = yield from passed(bench, to_force(bench, stage.min_n, controls))
            break
    return Ended(bench, {"cycles": float(cycle), "equilibria": float(equilibria)}, at_peak)


def _worn(stage: plan.CycleStage, cycle: int, error: object) -> str:
    carried = (
        f"the specimen carried {cycle} of {stage.count} cycles up to {stage.max_n:g} N and has then probably failed"
        if cycle
        else f"the specimen did not carry the first peak of {stage.max_n:g} N, which is probably above its strength"
    )
    return f"{carried}; try a lower max_n or fewer cycles. In detail: {error}"


# --- measurement ---------------------------------------------------------------------------------------------------


def _test(stage: plan.MeasureStage, bench: Bench, controls: Controls) -> Running:
    """Reference preload; on copies what the neighbours feel, and stiffness and strength with parallel platens."""
    bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    ended, outcomes, way_per_n = Ended(bench), dict[str, float](), None
    if "stiffness" in stage.record:
        outcomes["stiffness_n_per_mm"], way_per_n = _stiffness(stage, bench, controls)
    if "strength" in stage.record and bench.neighbours:
        treated = next_fracture.treated_strength(bench, stage.strength_strain, controls)
        whole = next_fracture.crushed(bench, stage.strength_strain, controls)
        outcomes |= {"strength_n": treated.force_n, "segment_strength_n": whole.force_n}
        ended = replace(ended, facts={"gave_way": asdict(whole)})
    elif {"strength", "steepest"} & set(stage.record):
        largest, slope = _strength(stage, bench, controls)
        curve = {"strength": ("strength_n", largest), "steepest": ("steepest_n_per_mm", slope)}
        outcomes |= dict(curve[name] for name in curve if name in stage.record)
    if "adjacent" in stage.record:
        assert stage.adjacent_n is not None, "the stage has checked this"
        trend = None if way_per_n is None else (stage.adjacent_n - stage.force_n) * way_per_n
        felt = adjacent.felt(last(bench, to_force(bench, stage.adjacent_n, controls, trend=trend)))
        outcomes |= felt.outcomes
        ended = replace(ended, profiles=felt.profiles)
    outcomes |= loading.looked_at(bench, stage.load_case or {}, controls)
    return replace(ended, outcomes=outcomes)


def _stiffness(stage: plan.MeasureStage, bench: Bench, controls: Controls) -> tuple[float, Array | None]:
    """Secant stiffness between the two named loads, N/mm; and the way from the bench to the upper one, q (N,) per N.

    None where the bench bears that load as it is. The hinge is locked on this way.
    """
    low = last(bench, to_force(bench, stage.stiffness_low_n, controls, locked=True))
    high = last(low, to_force(low, stage.stiffness_high_n, controls, locked=True))
    stiffness = (stage.stiffness_high_n - stage.stiffness_low_n) / (high.approach_mm - low.approach_mm)
    if stage.stiffness_high_n == stage.force_n:
        return stiffness, None
    way = bench.structure.way(bench.state, high.state)
    return stiffness, way / (stage.stiffness_high_n - stage.force_n)


def _strength(stage: plan.MeasureStage, bench: Bench, controls: Controls) -> tuple[float, float]:
    """First maximum of the compression, or the largest up to the named strain, N; steepest step before it, N/mm."""
    far = bench.approach_mm + stage.strength_strain * bench.body.height_mm
    start, end = drive_load(bench, bench.approach_mm, locked=True), drive_load(bench, far, locked=True)
    largest, slope, force = 0.0, 0.0, current_force_n(bench)
    for now, now_n in to_maximum(bench, start, end, controls, 1.0 / STRENGTH_STEPS):
        largest, slope = max(largest, now_n), max(slope, (now_n - force) / (now.approach_mm - bench.approach_mm))
        bench, force = now, now_n
    return largest, slope


_CRUSHED = ("fracture", "hold", "unload")  # neighbours that a fracture spares stay spared until it is unloaded
_WAITING = (
    "load",
    "unload",
    "fracture",
    "posture",
    "reduce",
    "deflate",
    "cement",
    "test",
)  # duration_s follows the action
_KINDS: dict[str, Callable[..., Running]] = {
    "load": _load,
    "hold": _hold,
    "unload": _unload,
    "fracture": _fracture,
    "posture": balloon.lie_down,
    "reduce": balloon.reduce,
    "deflate": balloon.deflate,
    "cement": _cement,
    "cycle": _cycle,
    "test": _test,
}
