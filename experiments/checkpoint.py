"""A bench as plain arrays and back, to the last bit: what a checkpoint keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, materials

from .bench import Bench, Rebase

Arrays = dict[str, NDArray[Any]]


def pack(bench: Bench) -> tuple[Arrays, dict[str, Any]]:
    """Everything about a bench that its mesh does not say: arrays, and names for JSON."""
    state, load = bench.state, bench.load
    arrays: Arrays = {
        "displacement_mm": state.displacement_mm,
        "motion": state.motion,
        "pressure_mpa": state.pressure_mpa,
        "history": state.history,
        "load_fixed": load.fixed,
        "load_value": load.value,
        "load_force": load.force,
        "load_volume": load.volume_mm3,
        "load_tension": load.tension_n,
        "centres_mm": np.array([platen.centre_mm for platen in bench.structure.platens]),
        "cavity": bench.cavity,
        "cement_share": bench.cement_share,
    }
    for i, block in enumerate(bench.field.blocks):
        arrays[f"block_{i}_cells"], arrays[f"block_{i}_parameters"] = block.cells, block.parameters
    for i, rebase in enumerate(bench.rebases):
        arrays[f"rebase_{i}_cells"], arrays[f"rebase_{i}_points"] = rebase.cells, rebase.points_mm
    for i, cavity in enumerate(bench.structure.cavities):
        arrays[f"cavity_{i}_cells"] = cavity.cells
    meta = {
        "laws": [block.law.name for block in bench.field.blocks],
        "rebases": len(bench.rebases),
        "cavities": [cavity.name for cavity in bench.structure.cavities],
        "level": bench.level,
        "path": bench.path,
        "spared": bench.spared,
        "inclined": bench.inclined,
    }
    return arrays, meta


def unpack(arrays: Arrays, meta: dict[str, Any], fresh: Bench) -> Bench:
    """The bench that was packed; ``fresh`` is its untouched specimen on the machine."""
    blocks = tuple(
        materials.Block(materials.LAWS[law], arrays[f"block_{i}_cells"], arrays[f"block_{i}_parameters"])
        for i, law in enumerate(meta["laws"])
    )
    field = materials.MaterialField(blocks, fresh.field.n_cells, fresh.field.n_points)
    rebases = tuple(Rebase(arrays[f"rebase_{i}_cells"], arrays[f"rebase_{i}_points"]) for i in range(meta["rebases"]))
    mesh = fresh.structure.mesh
    for rebase in rebases:
        mesh = mesh.rebased(rebase.cells, rebase.points_mm)
    platens = tuple(
        replace(platen, centre_mm=centre)
        for platen, centre in zip(fresh.structure.platens, arrays["centres_mm"], strict=True)
    )
    cavities = tuple(fem.Cavity(name, arrays[f"cavity_{i}_cells"]) for i, name in enumerate(meta["cavities"]))
    structure = replace(fresh.structure, mesh=mesh, material=field, platens=platens, cavities=cavities)
    state = fem.State(*(arrays[n] for n in ("displacement_mm", "motion", "pressure_mpa", "history")))
    load = fem.Load(*(arrays[f"load_{n}"] for n in ("fixed", "value", "force", "volume", "tension")))
    return replace(
        fresh,
        structure=structure,
        state=state,
        load=load,
        field=field,
        cavity=arrays["cavity"],
        cement_share=arrays["cement_share"],
        rebases=rebases,
        level=meta["level"],
        path=meta["path"],
        spared=meta["spared"],
        inclined=meta["inclined"],
    )
