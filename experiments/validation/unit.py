"""A lumbar motion unit, L4-L5 with its disc, ligaments and facets: pressure, bulge, stiffness, ranges of motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kyphos import fem, meshes
from kyphos.errors import ConvergenceError
from kyphos.experiments.adjacent import disc_pressures, rigid_motion
from kyphos.experiments.bench import BOTTOM, SPARED_STRENGTH, TOP, Bench, Controls, last, stronger, to_force
from kyphos.experiments.run import specimen_bench

from ..population import Individual, dimensions

Array = NDArray[np.float64]

UPPER, LOWER = "L4", "L5"
DISC = f"{UPPER}_{LOWER}"
FORCE_N, MOMENT_NMM = 500.0, 7500.0
DENSITY_CV = 0.2
MOMENTS = {"flexion": (0, -1.0), "extension": (0, 1.0), "bending": (1, 1.0), "rotation": (2, 1.0)}
"""Motion -> axis of the moment on the upper body (right, anterior, superior), and its sense."""
_CONTROLS = Controls(fem.AutomaticSolver(), fem.MarchSettings(first=0.25, largest=0.25))


def unit_bench(individual: Individual, element_size_mm: float) -> Bench:
    """Both bodies of the specimen's density and relative size; their bone is too strong to yield, for tests spare it.

    The coarse rims and the places of the pedicles, which the model does not harden, would crush where ligaments pull.
    """
    mesh = meshes.segment_mesh(
        (UPPER, LOWER),
        {level: dimensions(replace(individual, level=level)) for level in (UPPER, LOWER)},
        sex="male" if individual.sex == "male" else "female",
        element_size_mm=element_size_mm,
        vbmd_mg_per_cc=individual.vbmd_mg_per_cc,
        seed=individual.seed,
        density_cv=DENSITY_CV,
    )
    bench = specimen_bench(mesh, level=UPPER)
    return stronger(bench, np.ones(len(mesh.cells), dtype=bool), SPARED_STRENGTH)


def pressed(individual: Individual, element_size_mm: float) -> dict[str, float]:
    """500 N between parallel platens, and with 7.5 N m of flexion more on a platen that is free.

    Pressure of the nucleus (MPa) in both, and whether flexion raises it (1 or 0); secant stiffness of the unit, pots
    included (N/mm), bulge of the disc's wall at mid-height, largest and mean (mm), and area of the disc (mm2).
    """
    fem.use_threads(1)
    bench = unit_bench(individual, element_size_mm)
    straight = last(bench, to_force(bench, FORCE_N, _CONTROLS, locked=True))
    flexed = freely_loaded(bench, np.array([0.0, 0.0, -FORCE_N, -MOMENT_NMM, 0.0, 0.0]))
    pressure, flexed_pressure = (_pressure_mpa(one) for one in (straight, flexed))
    bulge = wall_bulge_mm(straight)
    return {
        "pressure_mpa": pressure,
        "flexed_pressure_mpa": flexed_pressure,
        "flexion_raises_pressure": float(flexed_pressure > pressure),
        "stiffness_n_per_mm": FORCE_N / (straight.approach_mm - bench.approach_mm),
        "bulge_mm": float(bulge.max()),
        "mean_bulge_mm": float(bulge.mean()),
        "disc_area_mm2": bench.mesh.discs[DISC].area_mm2,
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


def freely_loaded(bench: Bench, force: Array) -> Bench:
    """The unit under forces and moments (6,) on its upper platen, which is free in all ways; from rest."""
    structure = bench.structure
    start = structure.free_load(bench.state)
    fixed, total = start.fixed.copy(), start.force.copy()
    fixed[structure.platen_slice(BOTTOM)] = True
    total[structure.platen_slice(TOP)] = force
    start = replace(start, fixed=fixed)
    end = replace(start, force=total)
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
    disc, nodes = bench.mesh.discs[DISC], bench.mesh.node_sets[f"{DISC}.bulge"]
    place, way = (values[nodes] @ disc.axes[:2].T for values in (bench.mesh.points_mm, bench.state.displacement_mm))
    outward = (place - disc.axes[:2] @ disc.centre_mm) / np.ptp(place, axis=0) ** 2  # normal of an ellipse
    return np.asarray(np.einsum("ki,ki->k", way, outward) / np.linalg.norm(outward, axis=1))


def _pressure_mpa(bench: Bench) -> float:
    evaluation = bench.structure.evaluate(bench.state)
    if evaluation is None:
        raise ConvergenceError("the loaded unit cannot be evaluated")
    return disc_pressures(bench, evaluation)[f"disc_{DISC}_pressure_mpa"]
