"""A lumbar motion unit, L4-L5 with its disc, ligaments and facets: pressure, bulge, stiffness, ranges of motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kyphos import fem, meshes
from kyphos.errors import ConvergenceError
from kyphos.experiments.adjacent import disc_pressures, endplate_bulge_mm, rigid_motion
from kyphos.experiments.bench import BOTTOM, SPARED_STRENGTH, TOP, Bench, Controls, last, stronger, to_force
from kyphos.experiments.run import specimen_bench

from ..population import Individual, dimensions

Array = NDArray[np.float64]

UPPER, LOWER = "L4", "L5"
DISC = f"{UPPER}_{LOWER}"
FORCE_N, MOMENT_NMM = 500.0, 7500.0
BENT_N = 1175.0
"""Follower load of standing bent forwards, with `MOMENT_NMM` (Rohlmann 2009 J Biomech 42:884; within F13)."""
ENDPLATE_N = 1600.0
"""Compression under which Holmes 1993 measured how far an endplate gives way (M07)."""
DENSITY_CV = 0.2
MOMENTS = {"flexion": (0, -1.0), "extension": (0, 1.0), "bending": (1, 1.0), "rotation": (2, 1.0)}
"""Motion -> axis of the moment on the upper body (right, anterior, superior), and its sense."""
_RIMS_MM = {"L3": (53.2, 37.3), "L4": (54.9, 36.6), "L5": (55.1, 35.3)}
"""Inferior rims, width and depth, of the mean vertebrae of 87 patients of both sexes (H21)."""
_FULLER = 0.976
"""Factor of lengths by which the section meshed here, which is 5 % fuller, gets the area of those rims (1629 mm2)."""
_CONTROLS = Controls(fem.AutomaticSolver(), fem.MarchSettings(first=0.25, largest=0.25))


def unit_bench(individual: Individual, element_size_mm: float) -> Bench:
    """Both bodies, of the specimen's density and size against the mean; their bone, which tests spare, cannot yield.

    The coarse rims and the places of the pedicles, which the model does not harden, would crush where ligaments pull.
    """
    mesh = meshes.segment_mesh(
        (UPPER, LOWER),
        {UPPER: _dimensions(individual, UPPER, "L3"), LOWER: _dimensions(individual, LOWER, "L4")},
        sex="male" if individual.sex == "male" else "female",
        element_size_mm=element_size_mm,
        vbmd_mg_per_cc=individual.vbmd_mg_per_cc,
        seed=individual.seed,
        density_cv=DENSITY_CV,
    )
    bench = specimen_bench(mesh, level=UPPER)
    return stronger(bench, np.ones(len(mesh.cells), dtype=bool), SPARED_STRENGTH)


def _dimensions(individual: Individual, level: str, above: str) -> meshes.BodyDimensions:
    """Sizes of one body; its superior rim is that of the inferior one above, which faces the same disc.

    Default bodies have recalled sizes (H10, H11), and discs of 1190 mm2 (women) and 1400 mm2 (men).
    """
    names = ("superior_width_mm", "superior_depth_mm", "inferior_width_mm", "inferior_depth_mm")
    rims = zip(names, (*_RIMS_MM[above], *_RIMS_MM[level]), strict=True)
    return dimensions(replace(individual, level=level), {name: _FULLER * size for name, size in rims})


def pressed(individual: Individual, element_size_mm: float) -> dict[str, float]:
    """500 N between parallel platens, with 7.5 N m of flexion more on a platen that is free, and bent forwards.

    Pressure of the nucleus (MPa) straight, flexed (and whether that raises it, 1 or 0) and bent forwards under a
    follower load; secant stiffness of the unit, pots included (N/mm); bulge of the disc's wall at mid-height: largest
    of sides and back, of the front, mean (mm); area of the disc (mm2).
    """
    fem.use_threads(1)
    bench = unit_bench(individual, element_size_mm)
    straight = last(bench, to_force(bench, FORCE_N, _CONTROLS, locked=True))
    flexion = np.array([0.0, 0.0, 0.0, -MOMENT_NMM, 0.0, 0.0])
    flexed = freely_loaded(bench, flexion - np.array([0.0, 0.0, FORCE_N, 0.0, 0.0, 0.0]))
    bent = freely_loaded(bench, flexion, BENT_N)
    pressure, flexed_pressure, bent_pressure = (_pressure_mpa(one) for one in (straight, flexed, bent))
    bulge, front = wall_bulge_mm(straight), in_front(straight)
    return {
        "pressure_mpa": pressure,
        "flexed_pressure_mpa": flexed_pressure,
        "flexion_raises_pressure": float(flexed_pressure > pressure),
        "bent_pressure_mpa": bent_pressure,
        "stiffness_n_per_mm": FORCE_N / (straight.approach_mm - bench.approach_mm),
        "bulge_mm": float(bulge[~front].max()),
        "front_bulge_mm": float(bulge[front].max()),
        "mean_bulge_mm": float(bulge.mean()),
        "disc_area_mm2": bench.mesh.discs[DISC].area_mm2,
    }


def squeezed(individual: Individual, element_size_mm: float) -> dict[str, float]:
    """How far L5's endplate goes down in its middle under 1.6 kN between parallel platens, and against its rim (mm)."""
    fem.use_threads(1)
    bench = unit_bench(individual, element_size_mm)
    found = last(bench, to_force(bench, ENDPLATE_N, _CONTROLS, locked=True))
    return {
        "depth_mm": _middle_mm(bench) - _middle_mm(found),
        "bulge_mm": endplate_bulge_mm(found, LOWER, "superior"),
    }


def turned(individual: Individual, element_size_mm: float) -> dict[str, float]:
    """Rotation of the upper against the lower body under pure moments of 7.5 N m about three axes, degrees."""
    fem.use_threads(1)
    bench = unit_bench(individual, element_size_mm)
    found = {}
    for motion, (axis, sense) in MOMENTS.items():
        force = np.zeros(6)
        force[3 + axis] = sense * MOMENT_NMM
        found[f"{motion}_deg"] = sense * float(rotation_deg(freely_loaded(bench, force))[axis])
    return found


def freely_loaded(bench: Bench, force: Array, follower_n: float = 0.0) -> Bench:
    """The unit under forces and moments (6,) on its upper platen, which is free in all ways, and a cable; from rest."""
    structure = bench.structure
    start = structure.free_load(bench.state)
    fixed, total = start.fixed.copy(), start.force.copy()
    fixed[structure.platen_slice(BOTTOM)] = True
    total[structure.platen_slice(TOP)] = force
    start = replace(start, fixed=fixed)
    end = replace(start, force=total, tension_n=np.array([follower_n]))
    return bench.after(fem.settle(structure, bench.state, start, end, _CONTROLS.solver, _CONTROLS.march))


def rotation_deg(bench: Bench) -> Array:
    """(3,) rotation vector of the upper body against the lower one, each as its two rims turn, degrees."""
    turns = []
    for level in (LOWER, UPPER):
        ends = np.union1d(*(bench.mesh.node_sets[f"{level}.{end}_endplate"] for end in ("superior", "inferior")))
        rims = np.intersect1d(ends, bench.mesh.face_sets[f"{level}.wall"])
        turns.append(Rotation.from_matrix(rigid_motion(bench.mesh.points_mm[rims], bench.points_mm[rims])[0]))
    return np.asarray((turns[0].inv() * turns[1]).as_rotvec(degrees=True))


def wall_bulge_mm(bench: Bench) -> Array:
    """(k,) way outwards, in the disc's plane, of the nodes of its wall at mid-height."""
    place, axes = _on_the_wall(bench), bench.mesh.discs[DISC].axes[:2]
    way = bench.state.displacement_mm[bench.mesh.node_sets[f"{DISC}.bulge"]] @ axes.T
    outward = place / np.ptp(place, axis=0) ** 2  # normal of an ellipse
    return np.asarray(np.einsum("ki,ki->k", way, outward) / np.linalg.norm(outward, axis=1))


def in_front(bench: Bench) -> NDArray[np.bool_]:
    """(k,) which of those nodes lie before the sides; Reuber 1982 measured at the sides and behind (M01)."""
    ahead = _on_the_wall(bench)[:, 1]
    return np.asarray(ahead > 0.05 * np.ptp(ahead))


def _on_the_wall(bench: Bench) -> Array:
    """(k, 2) nodes of the disc's wall at mid-height, right and ahead of its centre, as meshed, mm."""
    disc, nodes = bench.mesh.discs[DISC], bench.mesh.node_sets[f"{DISC}.bulge"]
    return np.asarray((bench.mesh.points_mm[nodes] - disc.centre_mm) @ disc.axes[:2].T)


def _middle_mm(bench: Bench) -> float:
    """Height of the lower body in its middle, on bone."""
    return meshes.gauge_height_mm(bench.mesh.bodies[LOWER].gauges["middle"], bench.points_mm)


def _pressure_mpa(bench: Bench) -> float:
    evaluation = bench.structure.evaluate(bench.state)
    if evaluation is None:
        raise ConvergenceError("the loaded unit cannot be evaluated")
    return disc_pressures(bench, evaluation)[f"disc_{DISC}_pressure_mpa"]
