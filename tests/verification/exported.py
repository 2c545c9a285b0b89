"""Models as they are exported: four studies, and a tet10 body of a surface."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import meshio
import numpy as np

from kyphos.experiments import read_study
from kyphos.experiments.decks.export import specimen_of
from kyphos.experiments.decks.outgoing import LinearModel, isotropic_constants
from kyphos.fem import FORMULATIONS, boundary_faces, voxel

DATA = Path(__file__).parent / "data" / "12_lumbar_mean_L2"
UNIT = ('specimen.levels=["T12","L1"]', "specimen.treated=L1")
BENT = {"kind": "load", "name": "bent", "force_n": 300.0, "offset_anterior_mm": 20.0}
QUICK = ("solver.initial_step=0.5", "fracture.hold_s=60", "fracture.recovery_s=60")


def parametric(size_mm: float) -> LinearModel:
    """A body from eight numbers, untouched."""
    return specimen_of(read_study("untreated-L1", [f"mesh.element_size_mm={size_mm}"])).model


def scanned(size_mm: float) -> LinearModel:
    """The body of the sample CT, untouched."""
    return specimen_of(read_study("kyphoplasty-pmma", [f"mesh.element_size_mm={size_mm}"])).model


def cemented(size_mm: float) -> LinearModel:
    """A body that was fractured and filled with cement, as it stands after that."""
    study = read_study("vertebroplasty-pmma-L1", [f"mesh.element_size_mm={size_mm}", *QUICK])
    return specimen_of(study, "treated").model


def segment(size_mm: float) -> LinearModel:
    """T12-L1-L2, untouched: discs at rest, no link bears."""
    return specimen_of(read_study("segment-kyphoplasty", [f"mesh.element_size_mm={size_mm}"])).model


def stood_on(size_mm: float) -> LinearModel:
    """T12-L1-L2 under its preload."""
    return specimen_of(read_study("segment-kyphoplasty", [f"mesh.element_size_mm={size_mm}"]), "intact").model


def bent_unit(size_mm: float) -> LinearModel:
    """Two levels bent forwards: taut fibres, ligaments that pull."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bent.toml"
        path.write_text("[output]\npictures = false\n[[stage]]\n" + toml_lines(BENT), encoding="utf-8")
        return specimen_of(read_study(path, [*UNIT, f"mesh.element_size_mm={size_mm}"]), "bent").model


def toml_lines(table: dict[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


def voxels(size_mm: float) -> LinearModel:
    """The voxels of the sample CT between its caps."""
    return specimen_of(read_study("ct-strength", [f"mesh.element_size_mm={size_mm}"])).model


def tetrahedra(_: float = 0.0) -> LinearModel:
    """A body meshed from a surface: stiff at the surface, soft and uneven inside."""
    source = meshio.read(DATA / "mesh_tet10.vtu")
    points, cells = np.array(source.points), source.cells[0].data.astype(np.int64)
    sets = {name: np.array(ids) for name, ids in json.loads((DATA / "sets_tet10.json").read_text()).items()}
    outer = boundary_faces(cells)
    x, y, z = points[cells[:, :4]].mean(axis=1).T
    shell = np.isin(cells[:, :4], outer).any(axis=1)
    young = np.where(shell, 2000.0, 200.0 * (1.0 + 0.5 * np.sin(x / 5.0) * np.cos(y / 7.0) * np.sin(z / 6.0)))
    top, bottom = (points[sets[name]].mean(axis=0).tolist() for name in ("superior_platen", "inferior_platen"))
    pressed = (0.0, 0.0, None, 0.0, 0.0, 0.0)
    return LinearModel(
        title="mean L2 of a shape model, tet10",
        notes=(),
        points_mm=points,
        cells=cells,
        formulation=np.full(len(cells), FORMULATIONS["standard"], dtype=np.int8),
        region=shell.astype(np.int16),
        region_names=("L2.inside", "L2.shell"),
        density_g_per_cc=np.full(len(cells), np.nan),
        constants=isotropic_constants(young, 0.3),
        axes=None,
        conditions=(
            voxel.Platen("superior_platen", sets["superior_platen"], tuple(top), pressed, (0, 0, -100.0, 0, 0, 0)),
            voxel.Platen("inferior_platen", sets["inferior_platen"], tuple(bottom)),
        ),
        node_sets=sets,
        face_sets={name: outer[np.isin(outer, ids).all(axis=1)] for name, ids in sets.items()},
    )
