"""A segment under named loads: on copies of the bench, so that nothing is harmed.

Three ways to hold it, see ``tables.LoadCase``: on the guided hinge, with a free upper pot, or balanced by muscles. What
acts when a case begins (also what supports have borne) is handed over as forces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from kyphos import fem
from kyphos.errors import ConvergenceError
from kyphos.units import N_MM_PER_NM

from . import adjacent
from .bench import (
    BOTTOM,
    LINE,
    TOP,
    Array,
    Bench,
    Controls,
    drive_load,
    evaluated,
    last,
    on_load_line,
    on_path,
    to_force,
)
from .tables import LoadCase

TURNS = {"flexion_deg": -1.0, "bending_deg": 1.0, "rotation_deg": 1.0}
"""How far the upper pot turns about x, y and z, with the sense that counts as positive."""
MOMENT_ACCURACY = 0.005  # share of a moment that may be missing
MUSCLE_STEPS = 8
FIRST_STEP = 0.25


def looked_at(bench: Bench, cases: Mapping[str, LoadCase], controls: Controls) -> dict[str, float]:
    """What neighbours and discs feel under each load case, by outcome; see ``docs/segment.md``.

    Raises
    ------
    ConvergenceError
        No equilibrium under one of them; the message names it.
    """
    found: dict[str, float] = {}
    for name, case in cases.items():
        try:
            loaded, told = _loaded(bench, case, controls)
        except ConvergenceError as error:
            raise error.told(f"load case {name!r} ({case.words}): {error}") from error
        felt = {key: value for key, value in adjacent.felt(loaded).outcomes.items() if adjacent.in_brief(key)}
        found |= {f"load_{name}_{key}": value for key, value in (felt | told).items()}
    return found


def _loaded(bench: Bench, case: LoadCase, controls: Controls) -> tuple[Bench, dict[str, float]]:
    """A copy of the bench under a load case, and what only that knows."""
    if case.on_hinge:
        return _hinged(bench, case, controls), {}
    if case.weight_n is not None:
        return _balanced(bench, case, case.weight_n, controls)
    return _free(bench, case, controls)


def _hinged(bench: Bench, case: LoadCase, controls: Controls) -> Bench:
    bench = on_load_line(bench, case.offset_anterior_mm)
    if bench.path != LINE:
        bench = replace(last(bench, on_path(bench, LINE, controls)), path=LINE)
    if case.axial_n is not None:
        return last(bench, to_force(bench, case.axial_n, controls))
    assert case.approach_mm is not None, "the case has checked this"
    return settled(bench, drive_load(bench, case.approach_mm), controls)


# --- free upper pot ------------------------------------------------------------------------------------------------


def _free(bench: Bench, case: LoadCase, controls: Controls) -> tuple[Bench, dict[str, float]]:
    """Follower load first; how far the pure moments turn the upper pot is told against that."""
    upright = settled(bench, _open_load(bench, case.follower_n), controls)
    wanted = N_MM_PER_NM * np.array(case.moment_nm)
    if not wanted.any():
        return upright, {}
    bench = _turned(upright, wanted, controls)
    before, after = (Rotation.from_rotvec(top_motion(one)[3:]) for one in (upright, bench))
    turns = (after * before.inv()).as_rotvec(degrees=True)
    return bench, {name: sign * float(turns[i]) for i, (name, sign) in enumerate(TURNS.items()) if wanted[i]}


def _turned(bench: Bench, moment_n_mm: Array, controls: Controls) -> Bench:
    """The bench under pure moments (3,) about the fixed axes, besides what acts: their conjugates are renewed."""
    rotations = _rotations(bench)
    for _ in range(MUSCLE_STEPS):
        force = _open_load(bench, float(bench.load.tension_n[0])).force
        force[rotations] = fem.conjugate_moment(top_motion(bench)[3:], moment_n_mm)
        bench = settled(bench, replace(bench.load, force=force), controls)
        acts = fem.applied_moment(top_motion(bench)[3:], force[rotations])
        if np.linalg.norm(acts - moment_n_mm) <= MOMENT_ACCURACY * np.linalg.norm(moment_n_mm):
            return bench
    raise ConvergenceError("the pure moment is not reached; try a smaller one")


def _open_load(bench: Bench, tension_n: float) -> fem.Load:
    """Lower pot fixed, upper pot free, a follower load of this tension."""
    load = bench.structure.free_load(bench.state)
    fixed = load.fixed.copy()
    fixed[bench.structure.platen_slice(BOTTOM)] = True
    return replace(load, fixed=fixed, tension_n=np.array([tension_n]))


# --- balanced by muscles -------------------------------------------------------------------------------------------


def _balanced(bench: Bench, case: LoadCase, weight_n: float, controls: Controls) -> tuple[Bench, dict[str, float]]:
    """Weight in front, erector spinae behind: the muscle force under which the upper pot keeps its inclination.

    That inclination is the one that the segment takes under as much compression along its curve. The weight's line is
    where the wedge of the treated body, measured now, has brought it.
    """
    kyphosis = adjacent.gained_kyphosis_deg(bench)
    arm_mm = case.weight_arm_mm + case.weight_height_mm * float(np.sin(np.radians(kyphosis)))
    load = _sagittal(_open_load(bench, case.follower_n + weight_n), bench, tilting=True)
    bench = settled(bench, load, controls)
    muscle_n = weight_n * arm_mm / case.muscle_arm_mm
    tried: list[tuple[float, float]] = []
    for _ in range(MUSCLE_STEPS):
        load = _sagittal(_open_load(bench, case.follower_n), bench, tilting=False)
        load.force[bench.axis] = -(weight_n + muscle_n)
        bench = settled(bench, load, controls)
        missing = _missing_moment(bench, arm_mm, weight_n, case.muscle_arm_mm, muscle_n)
        if abs(missing) <= MOMENT_ACCURACY * weight_n * abs(case.muscle_arm_mm):
            return bench, {"muscle_n": float(muscle_n), "weight_arm_mm": arm_mm}
        tried = [*tried[-1:], (muscle_n, missing)]
        muscle_n -= missing / _slope(tried, case.muscle_arm_mm)
    raise ConvergenceError("no muscle force is found that holds the upper body; try a smaller weight_arm_mm")


def _sagittal(load: fem.Load, bench: Bench, tilting: bool) -> fem.Load:
    """The same with the upper pot kept in the sagittal plane, and (not tilting) at its inclination."""
    top = bench.structure.platen_slice(TOP).start
    fixed = load.fixed.copy()
    fixed[[top, top + 4, top + 5]] = True
    fixed[top + 3] = not tilting
    return replace(load, fixed=fixed)


def _missing_moment(bench: Bench, arm_mm: float, weight_n: float, muscle_arm_mm: float, muscle_n: float) -> float:
    """Extending moment on the upper pot that weight and muscle give beyond what the segment needs, N mm.

    The pot turns about x only, so a vertical force works on its lever arm along y.
    """
    middle_mm = treated_middle_mm(bench)[1]
    top = bench.structure.platen_slice(TOP).start
    index = next(i for i, platen in enumerate(bench.structure.platens) if platen.name == TOP)
    pot_mm = bench.structure.platens[index].centre_mm[1] + top_motion(bench)[1]
    applied = -weight_n * (middle_mm + arm_mm - pot_mm) - muscle_n * (middle_mm - muscle_arm_mm - pot_mm)
    evaluation, _ = evaluated(bench)
    return float(applied - fem.reactions(bench.structure, evaluation, bench.state)[top + 3])


def _slope(tried: list[tuple[float, float]], arm_mm: float) -> float:
    """Change of the missing moment with the muscle force, mm: the lever arm, or the secant of the last two."""
    if len(tried) < 2 or tried[0][0] == tried[1][0]:
        return arm_mm
    (force, moment), (later, now) = tried
    return float(np.clip((now - moment) / (later - force), 0.3 * arm_mm, 3.0 * arm_mm))


def treated_middle_mm(bench: Bench) -> Array:
    """(3,) where the middle of the treated body is: that point of the follower's cable."""
    links = bench.structure.links
    assert links is not None
    assert links.cables is not None
    at = 1 + list(bench.mesh.bodies).index(bench.body.level)
    return np.asarray(links.points_mm(bench.points_mm)[links.cables.paths[0][at]])


# --- common --------------------------------------------------------------------------------------------------------


def settled(bench: Bench, load: fem.Load, controls: Controls) -> Bench:
    """The bench under another load; what was held and no longer is bears, at first, what it bore."""
    known, _ = evaluated(bench)
    upper = bench.structure.platen_slice(TOP)
    force = load.force.copy()
    force[upper] = fem.reactions(bench.structure, known, bench.state)[upper]
    force[load.fixed] = 0.0
    value = bench.structure.coordinates(bench.state)
    start = replace(load, value=value, force=force, tension_n=bench.load.tension_n)
    settings = replace(controls.march, first=max(FIRST_STEP, controls.march.first))
    steps = fem.march(bench.structure, bench.state, start, load, controls.solver, settings, known=known)
    return last(bench, steps)


def top_motion(bench: Bench) -> Array:
    """(6,) motion of the upper pot: mm, and its rotation vector, rad."""
    return np.asarray(bench.structure.coordinates(bench.state)[bench.structure.platen_slice(TOP)])


def _rotations(bench: Bench) -> slice:
    start = bench.structure.platen_slice(TOP).start
    return slice(start + 3, start + 6)
