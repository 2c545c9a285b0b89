"""From the study's specimen to its mesh: eight numbers, or a CT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import StudyError
from kyphos.experiments.spec import StudySpec
from kyphos.experiments.tables import CARD_REGIONS, DEFAULT_VBMD_MG_PER_CC, Grade, Specimen

if TYPE_CHECKING:
    from kyphos.meshes import BodyDimensions, DiscDimensions, SegmentMesh, VoxelImage


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
    specimen, size_mm = spec.specimen, spec.mesh.element_size_mm
    if specimen.is_segment:
        mesh = _segment(spec)
    elif specimen.scan is not None:
        line = _hu_line(specimen)
        mesh = meshes.body_from_ct(*scan_paths(spec), specimen.treated, size_mm, hu_line=line)
    else:
        mesh = _parametric(specimen, size_mm)
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


def _segment(spec: StudySpec) -> SegmentMesh:
    """Bodies from numbers; the treated one from a CT, its neighbours of its size and mean density; or a real spine."""
    from kyphos import meshes

    one = spec.specimen
    assert one.sex is not None, "the specimen table fills these in"
    assert one.density_cv is not None
    size_mm, vbmd = spec.mesh.element_size_mm, one.vbmd_mg_per_cc or DEFAULT_VBMD_MG_PER_CC
    if one.spine is not None:
        spine = meshes.specimen(one.spine)
        mesh = meshes.specimen_mesh(spine, one.levels, size_mm, vbmd, one.seed, one.density_cv)
        return _with_densities(mesh, one)
    scans = {}
    if one.scan is not None:
        scans[one.treated] = ct = meshes.ct_body(*scan_paths(spec), hu_line=_hu_line(one))
        sizes = meshes.sizes_like(one.levels, one.treated, ct.shape, one.sex)
    else:
        sizes = {one.treated: _treated_sizes(one)}
    mesh = meshes.segment_mesh(
        one.levels,
        sizes,
        _discs(one),
        scans,
        sex=one.sex,
        element_size_mm=size_mm,
        vbmd_mg_per_cc=vbmd,
        seed=one.seed,
        density_cv=one.density_cv,
    )
    return _with_densities(mesh, one)


def _treated_sizes(specimen: Specimen) -> BodyDimensions:
    from kyphos import meshes

    assert specimen.sex is not None, "without a scan, the specimen table fills it in"
    sizes = specimen.dimensions.model_dump(exclude_none=True) if specimen.dimensions else {}
    return replace(meshes.default_dimensions(specimen.treated, specimen.sex), **sizes)


def _parametric(specimen: Specimen, element_size_mm: float) -> SegmentMesh:
    from kyphos import meshes

    assert specimen.vbmd_mg_per_cc is not None, "without a scan, the specimen table fills these in"
    assert specimen.density_cv is not None
    return meshes.build_body(
        specimen.treated,
        _treated_sizes(specimen),
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
    """The segment with the mean density of each level that has one of its own; its scatter is scaled along.

    Neighbours of a body from a CT have its mean, unless told otherwise.
    """
    density = mesh.density_g_per_cc.copy()
    means = specimen.level_vbmd_mg_per_cc or {}
    if specimen.scan is not None:
        own = 1000.0 * float(density[mesh.cells_in(f"{specimen.treated}.shell")[0]])  # the shell has the body's mean
        means = {level: own for level in specimen.levels if level != specimen.treated} | means
    for level, vbmd in means.items():
        density[mesh.bony_cells(level)] *= vbmd / (specimen.vbmd_mg_per_cc or DEFAULT_VBMD_MG_PER_CC)
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
