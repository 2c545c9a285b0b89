"""The vertebra-like cylinder and the porous network of ``benchmarks/voxel.py``, against other solvers' answers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from kyphos.fem import voxel
from kyphos.fem.voxel.composite import porosity

GROUP = "Voxel grids"


@pytest.fixture(scope="module")
def cases():
    """The benchmark as a module."""
    place = Path(__file__).parents[2] / "benchmarks" / "voxel.py"
    spec = importlib.util.spec_from_file_location("benchmarks_voxel", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def compression(moduli, move_mm):
    return [
        voxel.Hold("bottom", voxel.face_nodes(moduli, "z-")),
        voxel.Hold("top", voxel.face_nodes(moduli, "z+"), (0.0, 0.0, -move_mm)),
    ]


def test_linear_reaction_is_that_of_six_other_solvers(wall, cases):
    """1946.3803 N: ParOSol, PETSc, DOLFINx, Kratos, FEBio and CalculiX (direct) on the same grid."""
    moduli, _, h = cases.cylinder(22)
    result = voxel.solve(moduli, h, 0.3, compression(moduli, 0.1))
    assert result.unknowns == 55890
    wall.error(
        "vertebra-like cylinder of voxels, 55,890 unknowns: reaction 1946.3803 N",
        -result.reaction("top").force_n[2] / 1946.3803 - 1.0,
        2.5e-7,
        source="ParOSol, PETSc, DOLFINx, Kratos, FEBio and CalculiX on the same grid",
        because="one discrete problem; the published digits",
    )
    assert result.reaction("bottom").force_n[2] == pytest.approx(1946.3803, abs=5e-4)
    assert result.energy_mj.sum() == pytest.approx(0.5 * 1946.3803 * 0.1, rel=1e-6)
    assert result.iterations <= 25


def test_plastic_force_is_that_of_calculix(wall, cases):
    """4812.80 N at 2 % strain and 1111.56 N after unloading to 1 %: CalculiX with tight tolerances."""
    moduli, limit, h = cases.cylinder(18)
    result = voxel.solve_plastic(
        moduli, h, 0.3, voxel.J2(limit, 0.05 * moduli), compression(moduli, cases.COMPRESSION_MM), cases.PATH
    )
    force = result.force_n("top")[:, 2]
    wall.error(
        "the same with plasticity: force 4812.80 N at 2 % strain",
        -force[9] / 4812.80 - 1.0,
        2.1e-6,
        source="CalculiX with tight tolerances",
        because="one discrete problem; the digits of the reference",
    )
    assert force[-1] == pytest.approx(1111.56, abs=0.01)
    assert result.newton_iterations <= 75
    assert np.all(result.residuals <= 1e-6)


@pytest.mark.parametrize("contrast", [1e2, 1e4])
def test_iterations_stay_bounded_under_contrast(contrast):
    """A stiff inclusion and a soft core side by side, in a block that needs four grids."""
    moduli = np.full((21, 22, 23), 100.0)
    moduli[5:12, 5:15, 6:14] = 100.0 * np.sqrt(contrast)
    moduli[12:18, 5:15, 6:14] = 100.0 / np.sqrt(contrast)
    result = voxel.solve(moduli, 1.0, 0.3, compression(moduli, 0.1))
    assert result.iterations <= 50


def test_iterations_hardly_grow_with_the_grid():
    counts = []
    for n in (8, 16, 32):
        moduli = np.random.default_rng(0).uniform(20.0, 500.0, (n, n, n))
        counts.append(voxel.solve(moduli, 1.0, 0.3, compression(moduli, 0.1)).iterations)
    assert counts[-1] <= counts[0] + 8


def test_porous_network_takes_the_composite_hierarchy_and_few_iterations(cases):
    moduli = cases.network(28)
    assert porosity(moduli) > 0.6
    results = {
        kind: voxel.solve(
            moduli, 0.05, 0.3, compression(moduli, 0.01), islands="remove",
            settings=voxel.VoxelSettings(coarsening=kind),
        )
        for kind in ("auto", "averaged")
    }  # fmt: skip
    assert results["auto"].iterations <= 60
    assert results["averaged"].iterations > 1.7 * results["auto"].iterations
    forces = [result.reaction("top").force_n[2] for result in results.values()]
    assert forces[0] == pytest.approx(forces[1], rel=1e-7)


def test_two_sliding_faces_are_no_trouble(cases):
    """Nothing holds the body sideways; the answer must not depend on the null motions."""
    moduli, _, h = cases.cylinder(14)
    conditions = [
        voxel.Hold("bottom", voxel.face_nodes(moduli, "z-"), (None, None, 0.0)),
        voxel.Hold("top", voxel.face_nodes(moduli, "z+"), (None, None, -0.1)),
    ]
    free = voxel.solve(moduli, h, 0.3, conditions)
    nodes = np.unravel_index(voxel.face_nodes(moduli, "z-"), free.grid.node_shape)
    ends = [voxel.face_nodes(moduli, "z-")[i] for i in (np.argmin(nodes[0]), np.argmax(nodes[0]))]
    pinned = [  # just enough to stop the drift
        voxel.Hold("pin", ends[:1], (0.0, 0.0, None)),
        voxel.Hold("guide", ends[1:], (None, 0.0, None)),
    ]
    held = voxel.solve(moduli, h, 0.3, conditions + pinned)
    assert free.reaction("top").force_n[2] == pytest.approx(held.reaction("top").force_n[2], rel=1e-6)
    assert free.iterations <= 40
    assert np.abs(free.displacement_mm).max() < 0.2
