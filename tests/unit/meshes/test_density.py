"""The density of a parametric body: exact mean, one field for every mesh, clear errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import KDTree

from kyphos import meshes
from kyphos.errors import MeshError


def trabecular(mesh):
    """Densities and volumes of the trabecular cells."""
    cells = mesh.cells_in("L1.trabecular")
    return mesh.density_g_per_cc[cells], meshes.cell_volumes_mm3(mesh.points_mm, mesh.cells[cells])


@pytest.mark.parametrize("vbmd", [45.0, 80.0, 180.0])
def test_volume_mean_is_exactly_the_vbmd(vbmd):
    density, volume = trabecular(meshes.build_body("L1", vbmd_mg_per_cc=vbmd, element_size_mm=3.0))
    assert volume @ density / volume.sum() == pytest.approx(vbmd / 1000.0, rel=1e-12)
    assert (density > 0).all()


def test_shell_and_endplates_take_the_mean(l1):
    cells = l1.cells_in("L1.shell", "L1.superior_endplate", "L1.inferior_endplate")
    assert l1.density_g_per_cc[cells] == pytest.approx(0.080)


def test_scatter_follows_the_coefficient_of_variation():
    spread = []
    for cv in (0.0, 0.2, 0.4):
        density, _ = trabecular(meshes.build_body("L1", density_cv=cv, element_size_mm=1.5))
        spread.append(density.std() / density.mean())
    assert spread[0] < 0.08  # the regional profile alone
    assert spread[0] < spread[1] < spread[2]
    assert spread[1] == pytest.approx(0.2, abs=0.08)


def test_a_finer_mesh_samples_the_same_specimen():
    coarse, fine = (meshes.build_body("L1", element_size_mm=size) for size in (2.0, 1.0))
    cells = {id(m): m.cells_in("L1.trabecular") for m in (coarse, fine)}
    here = meshes.cell_centroids_mm(coarse.points_mm, coarse.cells[cells[id(coarse)]])
    there = meshes.cell_centroids_mm(fine.points_mm, fine.cells[cells[id(fine)]])
    _, nearest = KDTree(there).query(here)
    pair = coarse.density_g_per_cc[cells[id(coarse)]], fine.density_g_per_cc[cells[id(fine)]][nearest]
    assert np.corrcoef(pair)[0, 1] > 0.95


def test_posterior_and_endplate_bone_is_the_denser():
    mesh = meshes.build_body("L1", density_cv=0.0)
    cells = mesh.cells_in("L1.trabecular")
    place = meshes.cell_centroids_mm(mesh.points_mm, mesh.cells[cells]) - mesh.bodies["L1"].centre_mm
    density = mesh.density_g_per_cc[cells]
    assert density[place[:, 1] < -8].mean() > density[place[:, 1] > 8].mean()
    assert density[np.abs(place[:, 2]) > 7].mean() > density[np.abs(place[:, 2]) < 2].mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vbmd_mg_per_cc": 0.08}, "g/cm3 or HU"),
        ({"density_cv": 3.0}, r"density_cv=3 is outside \[0, 1\]"),
    ],
)
def test_bad_density_is_named(arguments, message):
    with pytest.raises(MeshError, match=message):
        meshes.build_body("L1", element_size_mm=3.0, **arguments)


def test_bad_correlation_length_is_named(l1):
    with pytest.raises(MeshError, match="correlation_mm=0 is outside"):
        meshes.density_field(l1, 80.0, correlation_mm=0.0)
