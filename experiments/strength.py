"""Stiffness and strength of a CT: the voxels are the elements, PMMA caps press on the body.

Small strain. The axial displacement of the caps' outer faces is prescribed, sideways they slide. Strain is the
approach of the two faces over the height of the vertebral body, as in the published tests of this kind (Walle 2025,
doi:10.1101/2025.04.19.649449).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kyphos import materials, meshes
from kyphos.errors import ConvergenceError, DataError, InputError, MaterialError
from kyphos.fem import voxel
from kyphos.units import MG_PER_G, MM3_PER_ML

from .plan import StiffnessStage, StrengthStage, VoxelStage
from .store import Outcome
from .tables import Solver

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Fields = dict[str, NDArray[Any]]

LOWER, UPPER = "inferior_pot", "superior_pot"
ELASTIC_STRAIN = 0.0005  # of the first point of a path, whose slope the offset line takes
PERCENTILE = 95
SOLID_CAPS = materials.J2_PLASTICITY.name


@dataclass(frozen=True, eq=False)
class Specimen:
    """A CT between its caps.

    Attributes
    ----------
    image
        Densities and labels.
    filled
        (nx, ny, nz) voxels that are elements: all that is connected, face to face, from cap to cap.
    """

    image: meshes.VoxelImage
    filled: Mask

    @property
    def bone(self) -> Mask:
        """(nx, ny, nz) elements of bone."""
        return self.image.bone & self.filled

    @property
    def caps(self) -> Mask:
        """(nx, ny, nz) elements of the caps."""
        return self.image.caps & self.filled

    @property
    def bone_volume_mm3(self) -> float:
        """Volume of all bone, processes included."""
        return float(self.bone.sum() * self.image.voxel_mm**3)

    def holds(self, approach_mm: float) -> tuple[voxel.Hold, voxel.Hold]:
        """The lower cap's face stands still, the upper one's comes down by ``approach_mm``; both slide sideways."""
        labels, numbers = self.image.labels, self.image.numbers
        below = voxel.face_nodes(labels == numbers.lower_cap, "z-")
        above = voxel.face_nodes(labels == numbers.upper_cap, "z+")
        return (
            voxel.Hold(LOWER, below, (None, None, 0.0)),
            voxel.Hold(UPPER, above, (None, None, -approach_mm)),
        )


@dataclass(frozen=True, eq=False)
class Crush:
    """A load path and what it did to the bone.

    Attributes
    ----------
    path
        Of the voxel solver; its factors are mm of approach.
    yielded
        (nx, ny, nz) share of a voxel's points that have ever flowed.
    plastic_strain
        (nx, ny, nz) mean accumulated plastic strain.
    damage
        (nx, ny, nz) mean share of stiffness lost; None for a law without damage.
    stopped
        Why the path ended early; None if it did not.
    """

    path: voxel.PlasticResult
    yielded: Array
    plastic_strain: Array
    damage: Array | None
    stopped: ConvergenceError | None

    @property
    def approach_mm(self) -> Array:
        """(s,) of the caps' faces."""
        return self.path.factors

    @property
    def load_n(self) -> Array:
        """(s,) compression."""
        return np.asarray(-self.path.force_n(UPPER)[:, 2])


def mount(image: meshes.VoxelImage) -> Specimen:
    """Keep what is connected from cap to cap; DataError if the bone does not connect them."""
    whole = Specimen(image, image.labels > 0)
    grid = voxel.Grid(np.where(whole.filled, 1.0, 0.0), image.voxel_mm, 0.3)
    filled = voxel.without_islands(grid, whole.holds(0.0), "remove").filled
    if ndimage.label(filled)[1] > 1:
        raise DataError(
            "the caps are not connected through bone, face to face; close the gap between the labels of caps and bone"
        )
    return Specimen(image, filled)


def check_cards(stage: VoxelStage) -> None:
    """Load the cards of a stage; MaterialError where one is missing, or of a kind that the stage has no use for."""
    bone, caps = materials.load_card(stage.bone), materials.load_card(stage.caps)
    fit = [materials.PLASTIC_BONE]
    if isinstance(stage, StrengthStage):
        fit.append(materials.CRUSHABLE_BONE.name)
    if bone.kind not in fit:
        raise MaterialError(f"stage {stage.name!r}: card {bone.name!r} is {bone.kind}; bone takes {' or '.join(fit)}")
    if caps.kind != SOLID_CAPS:
        raise MaterialError(f"stage {stage.name!r}: card {caps.name!r} is {caps.kind}; caps take {SOLID_CAPS}")
    if bone.kind == materials.PLASTIC_BONE and bone["poisson_ratio"] != caps["poisson_ratio"]:
        raise MaterialError(
            f"stage {stage.name!r}: cards {bone.name!r} and {caps.name!r} have the Poisson's ratios "
            f"{bone['poisson_ratio']:g} and {caps['poisson_ratio']:g}; a voxel grid has one"
        )


def moduli_mpa(specimen: Specimen, stage: VoxelStage) -> Array:
    """(nx, ny, nz) Young's modulus (along z, of bone that is not isotropic), 0 where there is nothing."""
    return _spread(specimen, _bone_constants(specimen, stage)[0], materials.load_card(stage.caps)["youngs_modulus_mpa"])


def press(specimen: Specimen, stage: StiffnessStage) -> voxel.VoxelResult:
    """The linear solution at the stage's approach."""
    ratio = materials.load_card(stage.caps)["poisson_ratio"]
    holds = specimen.holds(stage.displacement_mm)
    return voxel.solve(moduli_mpa(specimen, stage), specimen.image.voxel_mm, ratio, holds)


def crush(specimen: Specimen, stage: StrengthStage, solver: Solver) -> Crush:
    """Follow the load path of a stage; one that ends early says why in ``stopped``.

    Raises
    ------
    ConvergenceError
        Not even the first two points were reached.
    """
    caps = materials.load_card(stage.caps)
    bone_mpa, limit_mpa = _bone_constants(specimen, stage)
    field = None
    law: voxel.Tresca | voxel.BatchLaw = voxel.Tresca(_spread(specimen, limit_mpa, caps["yield_stress_mpa"]))
    if materials.load_card(stage.bone).kind == materials.CRUSHABLE_BONE.name:
        field = material_field(specimen, stage)
        law = voxel.BatchLaw(field, field.initial_state())
    settings = voxel.PlasticSettings(rtol=solver.residual_tolerance, max_newton=solver.max_iterations)
    moduli = _spread(specimen, bone_mpa, caps["youngs_modulus_mpa"])
    arguments = (moduli, specimen.image.voxel_mm, caps["poisson_ratio"], law, specimen.holds(1.0))
    stopped = None
    try:
        path = voxel.solve_plastic(*arguments, path_mm(specimen, stage).tolist(), settings=settings)
    except voxel.StrengthError as error:
        if len(error.partial.factors) < 2:
            raise
        path, stopped = error.partial, error
    if field is None:
        return Crush(path, path.yielded, path.plastic_strain, None, stopped)
    return _crushed(specimen, field, path, stopped)


def path_mm(specimen: Specimen, stage: StrengthStage) -> Array:
    """(s,) approaches: one that is elastic, then equal steps to the end."""
    first = min(ELASTIC_STRAIN, 0.5 * stage.end_strain / stage.steps)
    steps = stage.end_strain * np.arange(1, stage.steps + 1) / stage.steps
    return np.asarray(specimen.image.body_height_mm * np.concatenate([[first], steps]))


def strength_n(specimen: Specimen, stage: StrengthStage, found: Crush) -> float | None:
    """Load at the offset strain; None where the path ends before."""
    strain = found.approach_mm / specimen.image.body_height_mm
    try:
        return voxel.offset_strength(strain, found.load_n, stage.offset_strain)
    except InputError:
        return None


def specimen_outcomes(specimen: Specimen) -> dict[str, Outcome]:
    """What the CT itself says."""
    image = specimen.image
    inside = image.density_g_per_cc[image.labels == image.numbers.trabecular]
    return {
        "body_height_mm": Outcome(image.body_height_mm, "mm"),
        "bone_volume_ml": Outcome(specimen.bone_volume_mm3 / MM3_PER_ML, "mL"),
        "trabecular_density_mg_per_cc": Outcome(float(inside.mean()) * MG_PER_G, "mg/cm3"),
    }


def press_outcomes(specimen: Specimen, stage: StiffnessStage, found: voxel.VoxelResult) -> dict[str, Outcome]:
    """Stiffness, and elastic energy density of the bone at the stage's approach."""
    load_n = -float(found.reaction(UPPER).force_n[2])
    density = found.energy_density_mpa[specimen.bone]
    name = f"energy_density_{stage.name}"
    return {
        f"stiffness_{stage.name}_n_per_mm": Outcome(load_n / stage.displacement_mm, "N/mm"),
        f"{name}_mean_mpa": Outcome(float(density.mean()), "MPa"),
        f"{name}_p{PERCENTILE}_mpa": Outcome(float(np.percentile(density, PERCENTILE)), "MPa"),
    }


def crush_outcomes(specimen: Specimen, stage: StrengthStage, found: Crush) -> dict[str, Outcome]:
    """Stiffness of the path's first point, strength, peak if it was passed, yielded bone at the path's end."""
    name, load_n = stage.name, found.load_n
    results = {f"stiffness_{name}_n_per_mm": Outcome(float(load_n[0] / found.approach_mm[0]), "N/mm")}
    strength = strength_n(specimen, stage, found)
    if strength is not None:
        results[f"strength_{name}_n"] = Outcome(strength, "N")
    if load_n.argmax() < len(load_n) - 1:
        results[f"peak_load_{name}_n"] = Outcome(float(load_n.max()), "N")
    volume = float(found.yielded[specimen.bone].sum()) * specimen.image.voxel_mm**3
    results[f"yielded_volume_{name}_ml"] = Outcome(volume / MM3_PER_ML, "mL")
    results[f"yielded_share_{name}"] = Outcome(volume / specimen.bone_volume_mm3, "1")
    return results


def press_fields(specimen: Specimen, stage: StiffnessStage, found: voxel.VoxelResult) -> tuple[Fields, Fields]:
    """Point data and cell data of the elastic solution, in the order of ``meshes.voxel_mesh``."""
    cells = {"modulus_mpa": found.grid.moduli_mpa, "energy_density_mpa": found.energy_density_mpa}
    return _in_order(specimen, found.displacement_mm, cells)


def crush_fields(specimen: Specimen, found: Crush) -> tuple[Fields, Fields]:
    """Point data and cell data at the end of a path, in the order of ``meshes.voxel_mesh``."""
    cells = {"yielded": found.yielded, "plastic_strain_eq": found.plastic_strain}
    if found.damage is not None:
        cells["damage"] = found.damage
    return _in_order(specimen, found.path.displacement_mm, cells)


def _in_order(specimen: Specimen, displacement_mm: Array, cells: dict[str, Array]) -> tuple[Fields, Fields]:
    nodes = voxel.active_nodes(specimen.filled)
    return {"displacement_mm": displacement_mm[nodes]}, {
        name: values[specimen.filled] for name, values in cells.items()
    }


def _spread(specimen: Specimen, bone: Array, caps: float) -> Array:
    """(nx, ny, nz) from one value for each element of bone, in C order, and one for the caps; 0 elsewhere."""
    values = np.zeros(specimen.filled.shape)
    values[specimen.bone], values[specimen.caps] = bone, caps
    return values


def _bone_constants(specimen: Specimen, stage: VoxelStage) -> tuple[Array, Array]:
    """(k,) moduli and yield stresses, MPa, of the elements of bone in C order."""
    card = materials.load_card(stage.bone)
    if card.kind == materials.PLASTIC_BONE:
        return materials.plastic_bone(card, specimen.image.density_g_per_cc[specimen.bone])
    rows = _bone_rows(specimen, card)
    names = [parameter.name for parameter in card.law.parameters]
    return rows[:, names.index("axial_modulus_mpa")], rows[:, names.index("yield_stress_mpa")]


def _bone_rows(specimen: Specimen, card: materials.Card) -> Array:
    density = specimen.image.density_g_per_cc[specimen.bone]
    return materials.bone_rows(card, density, np.full(density.shape, specimen.image.voxel_mm))


def material_field(specimen: Specimen, stage: VoxelStage) -> materials.MaterialField:
    """Material of all elements in C order, of a stage whose bone card is of kind CrushableBone."""
    bone, caps = materials.load_card(stage.bone), materials.load_card(stage.caps)
    is_bone = specimen.bone[specimen.filled]
    blocks = (
        materials.Block(bone.law, np.flatnonzero(is_bone), _bone_rows(specimen, bone)),
        materials.Block(caps.law, np.flatnonzero(~is_bone), np.tile(caps.row(), (int((~is_bone).sum()), 1))),
    )
    return materials.MaterialField(blocks, len(is_bone), 8)


def _crushed(
    specimen: Specimen, field: materials.MaterialField, path: voxel.PlasticResult, stopped: ConvergenceError | None
) -> Crush:
    """Read the history of a material field back into the grid."""

    def on_grid(values: Array) -> Array:
        grid = np.zeros(specimen.filled.shape)
        grid[specimen.filled] = values.mean(axis=1)
        return grid

    kappa = field.state_field(path.state, "kappa")
    damage = field.state_field(path.state, "damage")
    return Crush(path, on_grid(np.where(kappa > 0.0, 1.0, 0.0)), on_grid(kappa), on_grid(damage), stopped)
