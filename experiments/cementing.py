"""The cement stage: what the cement finds in the specimen, where it goes, and what it makes of the cells there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kyphos import materials, meshes
from kyphos.errors import StudyError
from kyphos.units import MM3_PER_ML

from . import plan
from .bench import Bench, on_level, rebased, with_material

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

INTERFACE_CARD = "cement-bone-interface"


@dataclass(frozen=True)
class Cemented:
    """A bench with cement that has set in its present shape, and what is known of the deposit."""

    bench: Bench
    outcomes: dict[str, float]


def inject(bench: Bench, stage: plan.CementStage, tips_mm: Array) -> Cemented:
    """Put the cement of a stage around needle tips (c, 3) in their present position; nothing moves meanwhile.

    Raises
    ------
    MeshError
        There is no room for it, or the shape cannot be made.
    DataError
        The file of the deposit cannot be used.
    """
    ground = ground_of(bench, stage)
    deposit = _deposit(bench, stage, ground, tips_mm)
    cells = np.flatnonzero(deposit.fill > 0.0)
    filled = _with_cement(bench, stage, ground, deposit.fill)
    filled = replace(rebased(filled, cells), cement_share=bench.cement_share + deposit.fraction)
    outcomes = {"cement_volume_ml": float(deposit.fraction @ ground.volumes_mm3) / MM3_PER_ML}
    outcomes |= meshes.deposit_facts(ground, deposit, bench.mesh.bony_cells(bench.body.level))
    return Cemented(filled, outcomes | (meshes.leak_facts(ground, deposit) if stage.leak else {}))


def ground_of(bench: Bench, stage: plan.CementStage) -> meshes.Ground:
    """What the cement finds in the present shape: pores, their permeability, cavities.

    Bone that was pressed together holds less room, and lets less pass; broken bone lets more pass. Cells with cement
    from an earlier stage take no more.
    """
    mesh, points, level = bench.mesh, bench.points_mm, bench.body.level
    volumes = meshes.cell_volumes_mm3(points, mesh.cells)
    open_ = np.zeros(len(mesh.cells), dtype=bool)
    open_[mesh.cells_in(f"{level}.trabecular")] = True
    open_ &= bench.cement_share == 0.0
    bone, cavity = open_ & ~bench.cavity, open_ & bench.cavity
    space, slowness = cavity.astype(np.float64), np.full(len(open_), materials.CAVITY_SLOWNESS)
    packing = meshes.cell_volumes_mm3(mesh.points_mm, mesh.cells[bone]) / volumes[bone]
    density = mesh.density_g_per_cc[bone] * packing
    space[bone] = 1.0 - materials.bone_volume_fraction(density)
    passing = materials.relative_permeability(density, _damage(bench)[bone])
    slowness[bone] = materials.front_slowness(passing, stage.viscosity or "high")
    wall = meshes.body_wall(mesh, points, level)
    exponent = materials.front_exponent(stage.viscosity or "high")
    return meshes.Ground(points, mesh.cells, bench.body, space, slowness, cavity, wall, exponent)


def check_requests(stages: Iterable[plan.Stage], bench: Bench) -> None:
    """Refuse what could never be placed before anything is solved; ``bench`` is the untouched specimen.

    Raises
    ------
    MeshError
        A needle ends outside the bone, or needles and shape do not go together.
    StudyError
        More cement than its side of the body can take.
    DataError
        A drawn deposit that cannot be used.
    """
    for stage in stages:
        if isinstance(stage, plan.CementStage):
            _check(stage, on_level(bench, stage.level or bench.body.level))


def _check(stage: plan.CementStage, bench: Bench) -> None:
    ground = ground_of(bench, stage)
    if stage.file is not None:
        meshes.read_deposit(Path(stage.file))
        return
    tips = meshes.needle_tips(bench.body, stage.approach, **stage.needle)
    meshes.check_tips(ground, tips)
    if stage.shape == "separate" and stage.approach != "bipedicular":
        raise StudyError(
            f'stage {stage.name!r}: shape = "separate" needs two needles; set approach = "bipedicular", or '
            'shape = "unilateral"'
        )
    room_ml = meshes.room_mm3(ground, tips, stage.shape) / MM3_PER_ML
    if stage.volume_ml > room_ml and not stage.leak:
        raise StudyError(
            f"stage {stage.name!r}: volume_ml = {stage.volume_ml:g} is more cement than the pores take where "
            f'shape = "{stage.shape}" lets it go, about {room_ml:.1f} mL; lower volume_ml'
        )


def _deposit(bench: Bench, stage: plan.CementStage, ground: meshes.Ground, tips_mm: Array) -> meshes.Deposit:
    volume = stage.volume_ml * MM3_PER_ML
    if stage.shape != "file":
        leak = _wall_slowness(bench, stage, ground.wall) if stage.leak else None
        return meshes.place_cement(ground, tips_mm, stage.shape, volume, leak)
    assert stage.file is not None, "the table has checked this"
    drawn = meshes.read_deposit(Path(stage.file))
    at_first = bench.mesh.points_mm @ bench.scanner[:3, :3].T + bench.scanner[:3, 3]
    return meshes.place_as(ground, at_first, drawn.at, volume)


def _wall_slowness(bench: Bench, stage: plan.CementStage, wall: meshes.Wall) -> Array:
    """(k,) slowness of the front in the wall behind each of its faces."""
    passing = materials.wall_permeability(_damage(bench)[wall.behind])
    return materials.front_slowness(passing, stage.viscosity or "high")


def _damage(bench: Bench) -> Array:
    """(m,) lost share of stiffness, mean of each cell."""
    return np.asarray(bench.field.state_field(bench.state.history, "damage").mean(axis=1))


def _with_cement(bench: Bench, stage: plan.CementStage, ground: meshes.Ground, fill: Array) -> Bench:
    """Give the filled cells the cement, and those of its rim, where the study asks for it, a weak interface."""
    cells = np.flatnonzero(fill > 0.0)
    sizes = np.cbrt(ground.volumes_mm3[cells])
    law, rows = materials.cement_parameters(stage.card, fill[cells], ~ground.cavity[cells], sizes)
    filled = with_material(bench, cells, law, rows)
    if stage.interface == "bonded":
        return filled
    rim = meshes.cement_rim(ground.points_mm, ground.cells, fill, ~ground.cavity & (bench.cement_share == 0.0))
    given = rows[np.searchsorted(cells, rim.cells)]
    weak = materials.interface_parameters(INTERFACE_CARD, (law, given), fill[rim.cells], rim.normals, rim.lengths_mm)
    return with_material(filled, rim.cells, *weak)
