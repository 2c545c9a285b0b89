"""From the study's specimen to its mesh: eight numbers, or a CT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import StudyError
from kyphos.experiments.spec import StudySpec
from kyphos.experiments.tables import CARD_REGIONS, Grade, Specimen

if TYPE_CHECKING:
    from kyphos.meshes import DiscDimensions, SegmentMesh, VoxelImage


def build_mesh(spec: StudySpec) -> SegmentMesh:
    """Return the checked mesh of a study's specimen, with densities; of a study on voxels, the voxels.

    Raises
    ------
    MeshError
        If the sizes cannot be meshed within the stated quality.
    DataError
        If the scan or its labels cannot be used.
    """
    from kyphos import meshes

    if spec.coupon is not None:
        from kyphos.experiments.coupon import build_coupon

        return build_coupon(spec)
    if spec.on_voxels:
        voxels = read_voxels(spec)
        return meshes.voxel_mesh(voxels, voxels.labels > 0, spec.specimen.treated)
    if spec.specimen.scan is not None:
        image, labels = scan_paths(spec)
        line = _hu_line(spec.specimen)
        mesh = meshes.body_from_ct(image, labels, spec.specimen.treated, spec.mesh.element_size_mm, hu_line=line)
    else:
        mesh = _parametric(spec.specimen, spec.mesh.element_size_mm)
    meshes.check_quality(mesh)
    return mesh


def scanner_frame(spec: StudySpec) -> NDArray[np.float64]:
    """Affine (4, 4), mm, from the mesh to the scanner; only if a deposit is drawn there, else the identity."""
    from kyphos import meshes

    drawn = any(getattr(stage, "file", None) is not None for stage in spec.body_stages)
    if not drawn or spec.specimen.scan is None:
        return np.eye(4)
    return meshes.scan_frame(*scan_paths(spec), hu_line=_hu_line(spec.specimen))


def bone_cards(specimen: Specimen) -> dict[str, str]:
    """Part of a vertebral body -> name of the card that the study gives it; for ``materials.bone_field``."""
    named = {key: getattr(specimen, key) for key in CARD_REGIONS}
    return {part: card for key, card in named.items() if card is not None for part in CARD_REGIONS[key]}


def mesh_facts(mesh: SegmentMesh) -> dict[str, Any]:
    """What the manifest says of a mesh."""
    from kyphos import meshes

    return {
        "mesh_hash": meshes.mesh_hash(mesh),
        "region_names": list(mesh.region_names),
        "mesh": {"points": len(mesh.points_mm), "cells": len(mesh.cells), "unknowns": 3 * len(mesh.points_mm)},
    }


def read_voxels(spec: StudySpec) -> VoxelImage:
    """Return the study's scan as cubes of its element size; DataError if it cannot be used, or has no caps."""
    from kyphos import meshes

    scan = meshes.read_scan(*scan_paths(spec), hu_line=_hu_line(spec.specimen))
    return meshes.voxel_image(scan, spec.mesh.element_size_mm)


def _hu_line(specimen: Specimen) -> tuple[float, float] | None:
    """Slope and offset that turn the scan's HU into mg/cm3; None for a scan that is in mg/cm3."""
    if specimen.hu_calibration is None:
        return None
    from kyphos.materials import hu_line

    return hu_line(specimen.hu_calibration)


def _parametric(specimen: Specimen, element_size_mm: float) -> SegmentMesh:
    from kyphos import meshes

    assert specimen.sex is not None, "without a scan, the specimen table fills these in"
    assert specimen.vbmd_mg_per_cc is not None
    assert specimen.density_cv is not None
    sizes = specimen.dimensions.model_dump(exclude_none=True) if specimen.dimensions else {}
    treated = replace(meshes.default_dimensions(specimen.treated, specimen.sex), **sizes)
    if specimen.is_segment:
        mesh = meshes.segment_mesh(
            specimen.levels,
            {specimen.treated: treated},
            _discs(specimen),
            sex=specimen.sex,
            element_size_mm=element_size_mm,
            vbmd_mg_per_cc=specimen.vbmd_mg_per_cc,
            seed=specimen.seed,
            density_cv=specimen.density_cv,
        )
        return _with_densities(mesh, specimen)
    return meshes.build_body(
        specimen.treated,
        treated,
        element_size_mm=element_size_mm,
        vbmd_mg_per_cc=specimen.vbmd_mg_per_cc,
        seed=specimen.seed,
        density_cv=specimen.density_cv,
    )


def disc_grades(specimen: Specimen) -> dict[str, Grade]:
    """Grade of degeneration of every disc, from the top down."""
    own = {name: disc.grade for name, disc in (specimen.discs or {}).items()}
    return {name: own.get(name) or specimen.disc_grade or "healthy" for name in specimen.joints}


def _discs(specimen: Specimen) -> dict[str, DiscDimensions]:
    """Sizes of all discs; where a lordosis is given, what it differs by is shared by the discs without a wedge."""
    from kyphos import meshes

    discs = {name: meshes.default_disc(name, grade) for name, grade in disc_grades(specimen).items()}
    given = {name: one.model_dump(exclude_none=True, exclude={"grade"}) for name, one in (specimen.discs or {}).items()}
    discs |= {name: replace(discs[name], **sizes) for name, sizes in given.items()}
    if specimen.lordosis_deg is not None:
        free = [name for name in discs if "wedge_deg" not in given.get(name, {})]
        if not free:
            raise StudyError("lordosis_deg and the wedge_deg of every disc are given; remove one of them")
        more = (specimen.lordosis_deg - sum(disc.wedge_deg for disc in discs.values())) / len(free)
        discs |= {name: replace(discs[name], wedge_deg=discs[name].wedge_deg + more) for name in free}
    return discs


def _with_densities(mesh: SegmentMesh, specimen: Specimen) -> SegmentMesh:
    """The segment with the mean density of each level that has one of its own; its scatter is scaled along."""
    density = mesh.density_g_per_cc.copy()
    for level, vbmd in (specimen.level_vbmd_mg_per_cc or {}).items():
        assert specimen.vbmd_mg_per_cc is not None, "a segment has no scan"
        density[mesh.bony_cells(level)] *= vbmd / specimen.vbmd_mg_per_cc
    return replace(mesh, density_g_per_cc=density)


def scan_paths(spec: StudySpec) -> tuple[Path, Path]:
    """Return the image and the label map of a study that has a scan; ``sample:`` names the shipped one."""
    from kyphos import meshes

    scan, labels = spec.specimen.scan, spec.specimen.labels
    assert scan is not None, "the caller asks only when there is a scan"
    if scan.startswith("sample:"):
        return meshes.sample_ct()
    assert labels is not None, "the specimen table has checked this"
    return Path(scan), Path(labels)
