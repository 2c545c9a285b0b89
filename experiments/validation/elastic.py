"""What the shell contributes to an intact body: elastic solutions between parallel platens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, materials, meshes
from kyphos.errors import ConvergenceError
from kyphos.experiments.bench import Bench, Controls, last, to_force, with_material
from kyphos.experiments.run import specimen_bench
from kyphos.units import MG_PER_G, MM3_PER_ML

from ..population import Individual, dimensions

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

LOW_N, HIGH_N = 20.0, 100.0  # without its shell a weak body yields at 500 N
MIDDLE_SHARE = 0.25  # of the height: where the weight of a cell's load has fallen to zero, from 1 at mid-height


def mesh_of(individual: Individual, element_size_mm: float) -> meshes.SegmentMesh:
    """Mesh of a specimen's body with its density."""
    return meshes.build_body(
        individual.level,
        dimensions(individual),
        element_size_mm=element_size_mm,
        vbmd_mg_per_cc=individual.vbmd_mg_per_cc,
        seed=individual.seed,
        density_cv=0.2,
    )


def body_volume(individual: Individual, element_size_mm: float) -> dict[str, float]:
    """Volume of the body, mL."""
    mesh = mesh_of(individual, element_size_mm)
    return {"volume_ml": mesh.bodies[individual.level].volume_mm3 / MM3_PER_ML}


def shell_share(individual: Individual, element_size_mm: float) -> dict[str, float]:
    """Per cent of stiffness lost with the cortex (Eswaran 2007), and of the load it carries at mid-height (Yang 2012).

    Of the meshed wall only the cortex goes; the struts that root in it stay. The load share is the cortex's part of
    the axial stress integrated over the body, weighted towards mid-height.
    """
    fem.use_threads(1)
    controls = Controls(fem.AutomaticSolver(), fem.MarchSettings())
    bench = specimen_bench(mesh_of(individual, element_size_mm))
    wall = bench.mesh.cells_in(f"{individual.level}.shell")
    whole, loaded = _stiffness(bench, controls)
    struts = _struts(bench, individual, wall)
    without, _ = _stiffness(with_material(bench, wall, struts.law, struts.parameters), controls)
    modulus = [parameter.name for parameter in struts.law.parameters].index("axial_modulus_mpa")
    cortex = 1.0 - struts.parameters[:, modulus] / _parameters(bench, wall)[:, modulus]
    return {"stiffness_percent": 100.0 * (1.0 - without / whole), "load_percent": _load_percent(loaded, wall, cortex)}


def _struts(bench: Bench, individual: Individual, wall: Ids) -> materials.Block:
    """The wall's cells with trabecular bone in them only, as much as there is beside the cortex."""
    card = materials.load_card("trabecular")
    volume = bench.structure.mesh.weight[wall].sum(axis=1)
    rows = materials.bone_rows(card, individual.vbmd_mg_per_cc / MG_PER_G, np.cbrt(volume))
    names = [parameter.name for parameter in card.law.parameters]
    for name in ("axial_modulus_mpa", "yield_stress_mpa"):
        rows[:, names.index(name)] *= 1.0 - bench.body.shell_share
    return materials.Block(card.law, wall, rows)


def _parameters(bench: Bench, cells: Ids) -> Floats:
    """Parameters (k, p) of some cells that one block of the field holds."""
    block = next(block for block in bench.field.blocks if np.isin(cells, block.cells).all())
    order = np.argsort(block.cells)
    return np.asarray(block.parameters[order[np.searchsorted(block.cells, cells, sorter=order)]])


def _stiffness(bench: Bench, controls: Controls) -> tuple[float, Bench]:
    """Secant stiffness between parallel platens (N/mm), and the loaded bench."""
    low = last(bench, to_force(bench, LOW_N, controls, locked=True))
    high = last(low, to_force(low, HIGH_N, controls, locked=True))
    return (HIGH_N - LOW_N) / (high.approach_mm - low.approach_mm), high


def _load_percent(bench: Bench, wall: Ids, cortex: Floats) -> float:
    """``cortex`` (k,): its part of the load of the wall's cells (k,)."""
    evaluation = bench.structure.evaluate(bench.state)
    if evaluation is None:
        raise ConvergenceError("the loaded body cannot be evaluated")
    axial_n_mm = (evaluation.response.stress[..., 2] * bench.structure.mesh.weight).sum(axis=1)
    heights = bench.mesh.points_mm[bench.mesh.cells].mean(axis=1)[:, 2] - bench.body.centre_mm[2]
    weighted = axial_n_mm * np.maximum(0.0, 1.0 - np.abs(heights) / (MIDDLE_SHARE * bench.body.height_mm))
    return 100.0 * float(weighted[wall] @ cortex / weighted.sum())
