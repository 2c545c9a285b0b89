"""Room ``meshes`` of Kyphos: what shape is it, and how is it cut into elements."""

if __name__ != "kyphos.meshes":
    raise ImportError("import kyphos.meshes, not meshes: two copies of a class would not match")

from kyphos.meshes.cement import Rim, cement_rim, needle_tips, select_volume
from kyphos.meshes.cement_file import DrawnDeposit, read_deposit
from kyphos.meshes.coupons import box_coupon, round_coupon
from kyphos.meshes.density import density_field
from kyphos.meshes.deposit import deposit_facts, leak_facts
from kyphos.meshes.disc import DiscDimensions, default_disc
from kyphos.meshes.image import CtBody, Labels, Scan, body_from_ct, ct_body, read_scan, sample_ct, scan_frame
from kyphos.meshes.io import read_vtu, read_vtu_mesh, write_grid, write_vtu
from kyphos.meshes.model import (
    Body,
    Disc,
    Gauge,
    Link,
    SegmentMesh,
    cell_centroids_mm,
    cell_volumes_mm3,
    gauge_height_mm,
    mesh_hash,
    wall_gauges,
)
from kyphos.meshes.placement import Deposit, Ground, Wall, body_wall, check_tips, place_as, place_cement, room_mm3
from kyphos.meshes.quality import check_quality, scaled_jacobian
from kyphos.meshes.segment import Frame, PlacedShape, random_segment, segment_mesh, sizes_like, sweep_segment
from kyphos.meshes.spine import (
    SPECIMENS,
    Spine,
    read_spine,
    specimen,
    specimen_mesh,
    spine_from_mask,
    write_spine,
)
from kyphos.meshes.vertebra import LEVELS, BodyDimensions, build_body, default_dimensions, random_dimensions
from kyphos.meshes.voxels import VoxelImage, voxel_image, voxel_mesh

__all__ = [
    "LEVELS",
    "SPECIMENS",
    "Body",
    "BodyDimensions",
    "CtBody",
    "Deposit",
    "Disc",
    "DiscDimensions",
    "DrawnDeposit",
    "Frame",
    "Gauge",
    "Ground",
    "Labels",
    "Link",
    "PlacedShape",
    "Rim",
    "Scan",
    "SegmentMesh",
    "Spine",
    "VoxelImage",
    "Wall",
    "body_from_ct",
    "body_wall",
    "box_coupon",
    "build_body",
    "cell_centroids_mm",
    "cell_volumes_mm3",
    "cement_rim",
    "check_quality",
    "check_tips",
    "ct_body",
    "default_dimensions",
    "default_disc",
    "density_field",
    "deposit_facts",
    "gauge_height_mm",
    "leak_facts",
    "mesh_hash",
    "needle_tips",
    "place_as",
    "place_cement",
    "random_dimensions",
    "random_segment",
    "read_deposit",
    "read_scan",
    "read_spine",
    "read_vtu",
    "read_vtu_mesh",
    "room_mm3",
    "round_coupon",
    "sample_ct",
    "scaled_jacobian",
    "scan_frame",
    "segment_mesh",
    "select_volume",
    "sizes_like",
    "specimen",
    "specimen_mesh",
    "spine_from_mask",
    "sweep_segment",
    "voxel_image",
    "voxel_mesh",
    "wall_gauges",
    "write_grid",
    "write_spine",
    "write_vtu",
]
