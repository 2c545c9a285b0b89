"""From the study's specimen to its mesh: eight numbers, or a CT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kyphos.experiments.spec import StudySpec
from kyphos.experiments.tables import CARD_REGIONS, Specimen

if TYPE_CHECKING:
    from kyphos.meshes import SegmentMesh, VoxelImage


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
    return meshes.build_body(
        specimen.treated,
        replace(meshes.default_dimensions(specimen.treated, specimen.sex), **sizes),
        element_size_mm=element_size_mm,
        vbmd_mg_per_cc=specimen.vbmd_mg_per_cc,
        seed=specimen.seed,
        density_cv=specimen.density_cv,
    )


def scan_paths(spec: StudySpec) -> tuple[Path, Path]:
    """Return the image and the label map of a study that has a scan; ``sample:`` names the shipped one."""
    from kyphos import meshes

    scan, labels = spec.specimen.scan, spec.specimen.labels
    assert scan is not None, "the caller asks only when there is a scan"
    if scan.startswith("sample:"):
        return meshes.sample_ct()
    assert labels is not None, "the specimen table has checked this"
    return Path(scan), Path(labels)
