"""Balloons: where they start, how they are inflated and let go, and what stays in the bone after them.

A device is a liquid of one pressure in a set of cells, with a skin. Devices differ in their skin, in the pressure they
are rated for (``tables.PRESSURE_MPA``) and in whether a cage of metal stays behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kyphos import fem, materials, meshes
from kyphos.errors import StudyError
from kyphos.units import MM3_PER_ML, N_MM_PER_J

from . import plan
from .bench import (
    Bench,
    Controls,
    bone_cells,
    carried_along,
    carried_n,
    force_load,
    rebased,
    to_force,
    with_cavities,
    with_material,
)
from .cementing import ground_of
from .energy import Ledger
from .walk import Ended, Running, Solved, passed

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

SEED_ML = 0.6  # volume of a deflated balloon with its channel
SEED_RATIOS = np.array([1.0, 2.0, 1.0])  # its shape: twice as long, front to back, as wide
SEED_OFF_MM = 4.0  # a deflated balloon that comes to lie further from its tip than its half width has no room there
AIMS = 6  # trials to bring the seed's centre to the tip
LARGEST_SHARE = 0.7  # of the body's volume, that all balloons together may take
INFLATION_STEPS = 12
_FIRST = 0.25  # of a step, the first one: pressure rises fastest at the beginning
CONTACT_GAP_MM = 2.0  # of bone between balloon and endplate, below which the two count as in contact
SAMPLES = 4  # along each edge of a face of the cavity, where that gap is measured
SKINS = {"directional-balloon": "balloon-directional"}  # card of a device's skin, where it is not the balloon's
CAGE_CARD = "expander-cage"


# --- before anything is solved -------------------------------------------------------------------------------------


def check_room(stage: plan.ReduceStage, bench: Bench) -> None:
    """Refuse balloons that are too small, too large for the body or whose tips leave them no room.

    Raises
    ------
    StudyError
        What is wrong, what is allowed, and what to try.
    MeshError
        A tip lies outside the bone.
    """
    where = f"stage {stage.name!r}: balloon_volume_ml = {stage.balloon_volume_ml:g}"
    if stage.balloon_volume_ml < SEED_ML:
        raise StudyError(
            f"{where} is less than the deflated balloon with its channel; allowed: from {SEED_ML:g} mL. "
            "Usual volumes are 2 to 4 mL each."
        )
    count = len(meshes.needle_tips(bench.body, stage.approach, **stage.needle))
    body_ml = bench.body.volume_mm3 / MM3_PER_ML
    most_ml = LARGEST_SHARE * body_ml / count
    if stage.balloon_volume_ml > most_ml:
        raise StudyError(
            f"{where}: {'two balloons' if count == 2 else 'a balloon'} of that size would burst the wall of the body "
            f"of {body_ml:.1f} mL; allowed: up to {most_ml:.1f} mL each ({LARGEST_SHARE:.0%} of the body in all). "
            "Usual volumes are 2 to 4 mL each."
        )
    tips = meshes.needle_tips(bench.body, stage.approach, **stage.needle)
    meshes.check_tips(ground_of(bench, plan.CementStage()), tips)
    seeds(bench, stage)


@dataclass(frozen=True)
class _Seed:
    """Cells (k,) of a deflated balloon, and how far their centre lies from the needle's tip."""

    cells: Ids
    off_mm: float


def seeds(bench: Bench, stage: plan.ReduceStage) -> list[_Seed]:
    """Bone around each needle tip that a deflated balloon takes the place of.

    Raises
    ------
    StudyError
        A tip with no room around it: outside the trabecular bone, or too close to its wall.
    """
    tips = meshes.needle_tips(bench.body, stage.approach, **stage.needle)
    volumes = fem.cell_volumes(bench.structure.mesh, bench.state)
    free, found = bone_cells(bench), list[_Seed]()
    for tip in tips + carried_along(bench, tips):
        seed = _centred(bench, volumes, tip, free)
        if seed.off_mm > SEED_OFF_MM:
            raise StudyError(
                f"stage {stage.name!r}: around needle tip {len(found) + 1} there is no room for a deflated balloon of "
                f"{SEED_ML:g} mL: the nearest bone that could hold it lies {seed.off_mm:.1f} mm away (allowed: "
                f"{SEED_OFF_MM:g} mm). Move the needles towards the middle of the body."
            )
        found.append(seed)
        free = np.setdiff1d(free, seed.cells)
    return found


def _centred(bench: Bench, volumes: Array, tip: Array, free: Ids) -> _Seed:
    """Whole cells of ``free`` whose common centre comes as near to the tip (3,) as a few trials can bring it.

    Where an ellipsoid around the tip picks cells that lie to one side, the next one is aimed to the other.
    """
    centroids = bench.points_mm[bench.mesh.cells].mean(axis=1)
    aim, best = tip, _Seed(np.zeros(0, dtype=np.int64), np.inf)
    for _ in range(AIMS):
        cells, _ = meshes.select_volume(
            centroids, volumes, aim, SEED_RATIOS, free, SEED_ML * MM3_PER_ML, bench.body.axes
        )
        off = np.average(centroids[cells], axis=0, weights=volumes[cells]) - tip
        seed = _Seed(cells, float(np.linalg.norm(off)))
        best, aim = min(best, seed, key=lambda one: one.off_mm), aim - 0.5 * off
    return best


# --- inflation -----------------------------------------------------------------------------------------------------


def reduce(stage: plan.ReduceStage, bench: Bench, controls: Controls) -> Running:
    """Inflate balloons until each holds its volume, the first one reaches the pressure limit, or the height is back."""
    bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    before = bench.heights_mm()
    bench = _inserted(bench, stage)
    load = force_load(bench, stage.force_n)
    step = fem.settle(bench.structure, bench.state, load, load, controls.solver, controls.in_one_step)
    bench, ledger, peak = bench.after(step), Ledger(step.equilibrium), float(step.equilibrium.state.pressure_mpa.max())
    yield _row(bench, step.equilibrium, 0.0)
    for share, step in _inflation(bench, stage, controls):
        bench = bench.after(step)
        ledger, peak = ledger.after(bench, step.equilibrium), max(peak, float(bench.state.pressure_mpa.max()))
        yield _row(bench, step.equilibrium, share)
    return Ended(bench, _inflated(bench, before, ledger) | {"balloon_peak_pressure_mpa": peak})


def _inserted(bench: Bench, stage: plan.ReduceStage) -> Bench:
    """The bench with a deflated balloon, stress-free, in place of the bone around each tip."""
    found = seeds(bench, stage)
    wanted, largest = stage.balloon_volume_ml, max(_volume_ml(bench, seed.cells) for seed in found)
    if wanted < largest:
        raise StudyError(
            f"balloon_volume_ml={wanted:g} is less than the deflated balloon, {largest:.2f} mL; try a larger one"
        )
    cells = np.sort(np.concatenate([seed.cells for seed in found]))
    skin = materials.load_card(SKINS.get(stage.device, "balloon"))
    bench = rebased(with_material(bench, cells, skin.law, skin.row()), cells)
    cavities = tuple(fem.Cavity(f"balloon_{i}", seed.cells) for i, seed in enumerate(found, 1))
    taken = bench.cavity.copy()
    taken[cells] = True
    return replace(with_cavities(bench, cavities, np.zeros(len(cavities))), cavity=taken)


def _volume_ml(bench: Bench, cells: Ids) -> float:
    return float(fem.cell_volumes(bench.structure.mesh, bench.state)[cells].sum()) / MM3_PER_ML


def _cavities_ml(bench: Bench) -> float:
    return float(bench.structure.cavity_volumes(bench.state).sum()) / MM3_PER_ML


def _inflation(bench: Bench, stage: plan.ReduceStage, controls: Controls) -> Iterator[tuple[float, fem.Step]]:
    """Steps by volume, each with its share of the way; the last to the pressure limit, or the intact height."""
    start = force_load(bench, stage.force_n)
    end = replace(start, volume_mm3=np.full(len(start.volume_mm3), stage.balloon_volume_ml * MM3_PER_ML))
    length = 1.0 / INFLATION_STEPS
    settings = replace(controls.march, first=_FIRST * length, largest=length)
    for step in fem.march(bench.structure, bench.state, start, end, controls.solver, settings):
        if step.equilibrium.state.pressure_mpa.max() > stage.balloon_pressure_limit_mpa:
            yield from _up_to_limit(bench, stage, step.equilibrium.state.pressure_mpa, controls)
            return
        before, bench = bench, bench.after(step)
        if stage.stop_when_restored and (way := _way_to_intact(before, bench)) <= 1.0:
            yield from _part_of_the_way(before, step, max(way, 0.0), controls)
            return
        yield step.share, step


def _way_to_intact(before: Bench, after: Bench) -> float:
    """Share of a step after which the anterior height is the intact one again; more than 1 if it is not yet."""
    gauge = before.body.gauges["anterior"]
    intact = meshes.gauge_height_mm(gauge, before.mesh.points_mm)
    old, new = (meshes.gauge_height_mm(gauge, bench.points_mm) for bench in (before, after))
    return (intact - old) / (new - old) if new > old else np.inf


def _part_of_the_way(bench: Bench, to: fem.Step, way: float, controls: Controls) -> Iterator[tuple[float, fem.Step]]:
    """A share of a step by volume, in its place."""
    start = replace(to.load, volume_mm3=bench.structure.cavity_volumes(bench.state))
    end = replace(to.load, volume_mm3=start.volume_mm3 + way * (to.load.volume_mm3 - start.volume_mm3))
    for step in fem.march(bench.structure, bench.state, start, end, controls.solver, controls.in_one_step):
        yield to.share, step


def _up_to_limit(
    bench: Bench, stage: plan.ReduceStage, beyond_mpa: Array, controls: Controls
) -> Iterator[tuple[float, fem.Step]]:
    """From the last step below the limit to where the first balloon reaches it, under pressure control.

    ``beyond_mpa`` (b,) are the pressures a volume step later; the others stop on their way there.
    """
    before = bench.state.pressure_mpa
    first = int(np.argmax(beyond_mpa))
    way = (stage.balloon_pressure_limit_mpa - before[first]) / (beyond_mpa[first] - before[first])
    start = pressure_load(bench, stage.force_n, before)
    end = pressure_load(bench, stage.force_n, before + way * (beyond_mpa - before))
    for step in fem.march(bench.structure, bench.state, start, end, controls.solver, controls.in_one_step):
        yield 1.0, step


def pressure_load(bench: Bench, force_n: float, pressure_mpa: Array) -> fem.Load:
    """A force on the body and the pressures (b,) of its cavities."""
    load = force_load(bench, force_n)
    fixed, value = load.fixed.copy(), load.value.copy()
    fixed[-len(pressure_mpa) :] = True
    value[-len(pressure_mpa) :] = pressure_mpa
    return replace(load, fixed=fixed, value=value)


def _row(bench: Bench, found: fem.Equilibrium, share: float) -> Solved:
    volume = float(found.evaluation.volume_mm3.sum()) / MM3_PER_ML
    pressure = float(found.state.pressure_mpa.max())
    return Solved(bench, found, carried_n(bench, found), share=share, pressure_mpa=pressure, volume_ml=volume)


# --- what inflation found ------------------------------------------------------------------------------------------


def _inflated(bench: Bench, before_mm: dict[str, float], ledger: Ledger) -> dict[str, float]:
    volume_ml = _cavities_ml(bench)
    lift = {place: height - before_mm[place] for place, height in bench.heights_mm().items()}
    return {
        "balloon_volume_ml": volume_ml,
        "balloon_work_j": ledger.pressure_n_mm / N_MM_PER_J,
        "balloon_lifting_work_j": -ledger.load_n_mm / N_MM_PER_J,
        "balloon_stored_j": ledger.stored_n_mm / N_MM_PER_J,
        "balloon_spent_j": ledger.spent_n_mm / N_MM_PER_J,
        "balloon_energy_error": ledger.error,
        **{f"lift_{place}_mm": value for place, value in lift.items()},
        **{f"lift_{place}_mm_per_ml": value / volume_ml for place, value in lift.items()},
        **{f"balloon_contact_{name}_mm2": area for name, area in contact_areas_mm2(bench).items()},
    }


def contact_areas_mm2(bench: Bench) -> dict[str, float]:
    """Area of the balloons that lies on each endplate, by the endplate's name, mm2.

    Seen along the body's axis: the parts of the cavity's surface that look at an endplate with less than
    ``CONTACT_GAP_MM`` of (compacted) bone between, measured to the plane of the nearest face of the endplate.
    """
    points, level, upwards = bench.points_mm, bench.body.level, bench.body.axes[2]
    places, area = _samples(points, fem.boundary_faces(bench.mesh.cells[bench.cavity]))
    found = {}
    for name, sign in (("superior_endplate", 1.0), ("inferior_endplate", -1.0)):
        plate, normal = _samples(points, _inner_faces(bench, f"{level}.{name}"))
        normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        _, nearest = cKDTree(plate).query(places)
        gap = np.abs(np.einsum("si,si->s", places - plate[nearest], normal[nearest]))
        looking = sign * (area @ upwards)
        found[name] = float(looking[(gap < CONTACT_GAP_MM) & (looking > 0.0)].sum())
    return found


def _inner_faces(bench: Bench, region: str) -> Ids:
    """(f, 4) faces of an endplate's cells that lie on trabecular bone: those not on its outer surface or its rim."""
    inside = bench.mesh.region == bench.mesh.region_names.index(region)
    faces = fem.boundary_faces(bench.mesh.cells[inside])
    trabecular = bench.mesh.region == bench.mesh.region_names.index(f"{bench.body.level}.trabecular")
    below = np.zeros(len(bench.mesh.points_mm), dtype=bool)
    below[bench.mesh.cells[trabecular]] = True
    return np.asarray(faces[below[faces].all(axis=1)])


def _samples(points_mm: Array, faces: Ids) -> tuple[Array, Array]:
    """Places (s, 3) spread evenly over quads (f, 4), and the part (s, 3) of the quad's area vector that each has."""
    across = (np.arange(SAMPLES) + 0.5) / SAMPLES
    u, v = (grid.ravel() for grid in np.meshgrid(across, across))
    shape = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=1)
    corners = points_mm[faces]
    area = 0.5 * np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]) / len(u)
    return (shape @ corners).reshape(-1, 3), np.repeat(area, len(u), axis=0)


# --- deflation -----------------------------------------------------------------------------------------------------


def deflate(stage: plan.DeflateStage, bench: Bench, controls: Controls) -> Running:
    """Take the balloons' skin away, let the pressure go under the preload; the cavity stays, empty or caged."""
    if not bench.structure.cavities:
        raise StudyError(
            f"stage {stage.name!r}: there are no balloons to deflate; put a stage of kind 'reduce' before it"
        )
    bench, step = _let_go(bench, stage, controls)
    yield _row(bench, step.equilibrium, 0.0)
    full_ml, ledger = _cavities_ml(bench), Ledger(step.equilibrium)
    start = pressure_load(bench, stage.force_n, bench.state.pressure_mpa)
    end = pressure_load(bench, stage.force_n, np.zeros(len(bench.structure.cavities)))
    settings = replace(controls.march, first=0.1, largest=0.2)
    for step in fem.march(bench.structure, bench.state, start, end, controls.solver, settings):
        bench = bench.after(step)
        ledger = ledger.after(bench, step.equilibrium)
        yield _row(bench, step.equilibrium, step.share)
    left_ml = _cavities_ml(bench)
    bench = with_cavities(bench, (), np.zeros(0))
    bench = replace(bench, load=force_load(bench, stage.force_n))
    bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    found = {
        "cavity_inflated_ml": full_ml,
        "cavity_volume_ml": left_ml,
        "cavity_collapse": 1.0 - left_ml / full_ml,
        "deflation_released_j": -ledger.stored_n_mm / N_MM_PER_J,
        "deflation_spent_j": ledger.spent_n_mm / N_MM_PER_J,
        "deflation_energy_error": ledger.error,
    }
    return Ended(bench, found)


def _let_go(bench: Bench, stage: plan.DeflateStage, controls: Controls) -> tuple[Bench, fem.Step]:
    """The same cavities held open by pressure alone.

    What is in them is stress-free, so that nothing draws them in: void, and the cage of an expander.
    """
    empty = materials.load_card("void")
    cells = np.unique(np.concatenate([cavity.cells for cavity in bench.structure.cavities]))
    bench = rebased(with_material(bench, cells, empty.law, empty.row()), cells)
    if stage.device == "expander":
        for cavity in bench.structure.cavities:
            rim = _rim(bench, cavity.cells)
            bench = with_material(bench, rim, *materials.cage_parameters(CAGE_CARD, _volume_ml(bench, rim)))
    load = replace(force_load(bench, stage.force_n), volume_mm3=bench.structure.cavity_volumes(bench.state))
    step = fem.settle(bench.structure, bench.state, load, load, controls.solver, controls.in_one_step)
    return bench.after(step), step


def _rim(bench: Bench, cells: Ids) -> Ids:
    """Those of some cells that have a face on other ones."""
    outer = {tuple(face) for face in np.sort(fem.boundary_faces(bench.mesh.cells[cells]), axis=1).tolist()}
    faces = np.sort(bench.mesh.cells[cells][:, fem.FACES[8]], axis=2)  # (k, 6, 4)
    return np.array([cell for cell, own in zip(cells, faces.tolist(), strict=True) if outer & {tuple(f) for f in own}])


# --- posture -------------------------------------------------------------------------------------------------------


def lie_down(stage: plan.PostureStage, bench: Bench, controls: Controls) -> Running:
    """Take the load of standing away, or pull: a mobile fracture opens again, as far as its bone lets it."""
    before = bench.heights_mm()
    bench = yield from passed(bench, to_force(bench, stage.force_n, controls))
    gain = {f"posture_gain_{place}_mm": height - before[place] for place, height in bench.heights_mm().items()}
    return Ended(bench, gain)
