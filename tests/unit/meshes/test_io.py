"""Files: what is written is read back, and what cannot be read says so."""

from __future__ import annotations

import numpy as np
import pytest

from kyphos import meshes
from kyphos.errors import DataError


def test_round_trip_keeps_everything(l1, tmp_path):
    path = meshes.write_vtu(tmp_path / "deep" / "l1.vtu", l1)
    back = meshes.read_vtu(path)
    assert meshes.mesh_hash(back) == meshes.mesh_hash(l1)
    assert np.array_equal(back.region, l1.region)
    assert back.region.dtype == l1.region.dtype
    for name, ids in l1.node_sets.items():
        assert np.array_equal(back.node_sets[name], ids)
    for name, faces in l1.face_sets.items():
        assert np.array_equal(back.face_sets[name], faces)
    here, there = l1.bodies["L1"], back.bodies["L1"]
    assert there.volume_mm3 == here.volume_mm3
    assert np.array_equal(there.centre_mm, here.centre_mm)
    for place, gauge in here.gauges.items():
        height = meshes.gauge_height_mm(gauge, l1.points_mm)
        assert meshes.gauge_height_mm(there.gauges[place], back.points_mm) == height


def test_fields_travel_along(l1, tmp_path):
    lift = np.outer(l1.points_mm[:, 2], (0.0, 0.0, 0.1))
    damage = np.linspace(0, 1, len(l1.cells))
    path = meshes.write_vtu(tmp_path / "f.vtu", l1, {"displacement_mm": lift}, {"damage": damage}, sidecar=False)
    points, cells, data = meshes.read_vtu_mesh(path)
    assert np.array_equal(points, l1.points_mm)
    assert np.array_equal(cells["hexahedron"], l1.cells)
    assert set(data) == {"region", "density", "quality", "damage"}
    assert data["quality"]["hexahedron"] == pytest.approx(meshes.scaled_jacobian(l1))
    with pytest.raises(DataError, match=r"f\.mesh\.json is missing"):
        meshes.read_vtu(path)


def test_other_formats_are_refused(l1, tmp_path):
    with pytest.raises(DataError, match=r"only \.vtu keeps labels"):
        meshes.write_vtu(tmp_path / "l1.msh", l1)
    with pytest.raises(DataError, match=r"only \.vtu keeps labels"):
        meshes.read_vtu_mesh(tmp_path / "l1.inp")


def test_missing_and_broken_files_are_named(l1, tmp_path):
    with pytest.raises(DataError, match=r"none\.vtu does not exist"):
        meshes.read_vtu(tmp_path / "none.vtu")
    (tmp_path / "junk.vtu").write_text("no xml")
    with pytest.raises(DataError, match=r"junk\.vtu cannot be read as VTU"):
        meshes.read_vtu_mesh(tmp_path / "junk.vtu")
    path = meshes.write_vtu(tmp_path / "l1.vtu", l1)
    (tmp_path / "l1.mesh.json").write_text("{}")
    with pytest.raises(DataError, match="not a mesh written by Kyphos"):
        meshes.read_vtu(path)
