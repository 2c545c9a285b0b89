"""Voxel grids: linear elasticity and plastic strength of images of bone, without a matrix.

``solve`` takes an array of moduli and returns displacements, reactions and strain energy; ``solve_plastic`` follows
a load path with a plastic law. ``docs/voxel-solver.md`` tells how, and how fast.
"""

from .grid import Condition, Grid, Hold, Platen, active_nodes, face_nodes, without_islands
from .multigrid import Smoothing
from .plastic import (
    J2,
    BatchLaw,
    PlasticResult,
    PlasticSettings,
    StrengthError,
    Tresca,
    offset_strength,
    solve_plastic,
)
from .solve import Reaction, VoxelResult, VoxelSettings, solve

__all__ = [
    "J2",
    "BatchLaw",
    "Condition",
    "Grid",
    "Hold",
    "PlasticResult",
    "PlasticSettings",
    "Platen",
    "Reaction",
    "Smoothing",
    "StrengthError",
    "Tresca",
    "VoxelResult",
    "VoxelSettings",
    "active_nodes",
    "face_nodes",
    "offset_strength",
    "solve",
    "solve_plastic",
    "without_islands",
]
