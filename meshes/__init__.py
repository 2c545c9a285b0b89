"""Room ``meshes`` of Kyphos: what shape is it, and how is it cut into elements."""

if __name__ != "kyphos.meshes":
    raise ImportError("import kyphos.meshes, not meshes: two copies of a class would not match")

from kyphos.meshes.cement import Rim, cement_rim, needle_tips, select_volume
from kyphos.meshes.coupons import box_coupon, round_coupon
from kyphos.meshes.density import density_field
from kyphos.meshes.image import Labels, Scan, body_from_ct, read_scan, sample_ct
from kyphos.meshes.io import read_vtu, read_vtu_mesh, write_grid, write_vtu
from kyphos.meshes.model import (
    Body,
    Gauge,
    SegmentMesh,
    cell_centroids_mm,
    cell_volumes_mm3,
    gauge_height_mm,
    mesh_hash,
)
from kyphos.meshes.quality import check_quality, scaled_jacobian
from kyphos.meshes.vertebra import LEVELS, BodyDimensions, build_body, default_dimensions, random_dimensions
from kyphos.meshes.voxels import VoxelImage, voxel_image, voxel_mesh

__all__ = [
    "LEVELS",
    "Body",
    "BodyDimensions",
    "Gauge",
    "Labels",
    "Rim",
    "Scan",
    "SegmentMesh",
    "VoxelImage",
    "body_from_ct",
    "box_coupon",
    "build_body",
    "cell_centroids_mm",
    "cell_volumes_mm3",
    "cement_rim",
    "check_quality",
    "default_dimensions",
    "density_field",
    "gauge_height_mm",
    "mesh_hash",
    "needle_tips",
    "random_dimensions",
    "read_scan",
    "read_vtu",
    "read_vtu_mesh",
    "round_coupon",
    "sample_ct",
    "scaled_jacobian",
    "select_volume",
    "voxel_image",
    "voxel_mesh",
    "write_grid",
    "write_vtu",
]
