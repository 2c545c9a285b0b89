"""A grid of cubic voxels, and how it is held: what goes into a solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from kyphos.errors import InputError

Array: TypeAlias = NDArray[np.float64]
Ids: TypeAlias = NDArray[np.int64]
Side: TypeAlias = Literal["x-", "x+", "y-", "y+", "z-", "z+"]
Islands: TypeAlias = Literal["error", "remove"]

SIDES: tuple[Side, ...] = ("x-", "x+", "y-", "y+", "z-", "z+")
COMPONENTS = "xyz"


@dataclass(frozen=True, eq=False)
class Grid:
    """Cubes of one size and one Poisson's ratio; nodes are numbered in C order of ``node_shape``.

    Attributes
    ----------
    moduli_mpa
        (nx, ny, nz) Young's modulus of each voxel; 0 = empty.
    voxel_mm
        Edge of a voxel. Node (i, j, k) lies at (i, j, k) times this.
    poisson_ratio
        Of all voxels, inside (-1, 0.5); above 0.45 the cubes begin to lock.
    """

    moduli_mpa: Array
    voxel_mm: float
    poisson_ratio: float

    def __post_init__(self) -> None:
        moduli = np.asarray(self.moduli_mpa, dtype=np.float64)
        object.__setattr__(self, "moduli_mpa", moduli)
        if moduli.ndim != 3:
            raise InputError(f"moduli_mpa has shape {moduli.shape}; wanted three axes (nx, ny, nz)")
        bad = ~np.isfinite(moduli)
        if bad.any():
            raise InputError(
                f"moduli_mpa: {bad.sum()} voxels are NaN or infinite, the first at {_first(bad)}; "
                "mark empty voxels with 0"
            )
        if (moduli < 0.0).any():
            raise InputError(
                f"moduli_mpa: {(moduli < 0.0).sum()} voxels are negative, the first at {_first(moduli < 0.0)}; "
                "a modulus is above 0, or 0 for an empty voxel"
            )
        if not (moduli > 0.0).any():
            raise InputError("moduli_mpa: no voxel is filled; give a modulus above 0 to at least one")
        if not (np.isfinite(self.voxel_mm) and self.voxel_mm > 0.0):
            raise InputError(f"voxel_mm={self.voxel_mm:g} must be above 0")
        if not -1.0 < self.poisson_ratio < 0.5:
            raise InputError(f"poisson_ratio={self.poisson_ratio:g} is outside (-1, 0.5); bone takes about 0.3")

    @property
    def node_shape(self) -> tuple[int, int, int]:
        """(nx + 1, ny + 1, nz + 1)."""
        nx, ny, nz = self.moduli_mpa.shape
        return nx + 1, ny + 1, nz + 1

    @property
    def filled(self) -> NDArray[np.bool_]:
        """(nx, ny, nz): voxels that are not empty."""
        return self.moduli_mpa > 0.0

    def positions_mm(self, nodes: Ids) -> Array:
        """(k, 3) places of ``nodes`` (k,)."""
        place = np.stack(np.unravel_index(nodes, self.node_shape), axis=-1)
        return np.asarray(place * self.voxel_mm, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Hold:
    """Nodes whose displacement is prescribed.

    Attributes
    ----------
    name
        For messages and tables.
    nodes
        (k,) node ids, see ``Grid`` and ``face_nodes``.
    displacement_mm
        Along x, y, z; None leaves the component free. ``(None, None, -0.1)`` is a sliding support.
    """

    name: str
    nodes: Ids
    displacement_mm: tuple[float | None, float | None, float | None] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Platen:
    """Nodes that move as one rigid plate (small rotations).

    Attributes
    ----------
    name
        For messages and tables.
    nodes
        (k,) node ids.
    centre_mm
        Point about which the plate turns and to which forces and moments refer.
    motion
        Translation mm and rotation rad (x y z, rx ry rz); None where the plate finds its own motion under ``load``.
    load
        Force N and moment N mm on the plate; counts only where ``motion`` is None.
    grips
        Components in which the nodes follow; (False, False, True) is a plate without friction.
    """

    name: str
    nodes: Ids
    centre_mm: tuple[float, float, float]
    motion: tuple[float | None, ...] = (0.0,) * 6
    load: tuple[float, ...] = (0.0,) * 6
    grips: tuple[bool, bool, bool] = (True, True, True)

    def __post_init__(self) -> None:
        if len(self.motion) != 6 or len(self.load) != 6:
            raise InputError(
                f"platen {self.name!r}: motion and load take six numbers each (x y z mm or N, rx ry rz rad or N mm)"
            )


Condition: TypeAlias = Hold | Platen


def face_nodes(filled: ArrayLike, side: Side) -> Ids:
    """Nodes on the outermost face of the filled voxels at one side.

    Parameters
    ----------
    filled
        (nx, ny, nz), not zero where a voxel counts: the moduli of the grid, or a mask of one part of it such as a
        cap. Its shape must be that of the grid.
    side
        "x-", "x+", "y-", "y+", "z-" or "z+".
    """
    mask = np.asarray(filled) != 0
    if side not in SIDES:
        raise InputError(f"side {side!r} is unknown; allowed: {', '.join(SIDES)}")
    if mask.ndim != 3 or not mask.any():
        raise InputError(f"face_nodes({side!r}): no voxel is filled; wanted a mask (nx, ny, nz)")
    axis = COMPONENTS.index(side[0])
    layers = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    layer = int(layers[-1] if side[1] == "+" else layers[0])
    face = np.take(mask, layer, axis=axis)
    corner = np.pad(face, 1)
    touched = corner[1:, 1:] | corner[:-1, 1:] | corner[1:, :-1] | corner[:-1, :-1]
    index = list(np.nonzero(touched))
    index.insert(axis, np.full(index[0].size, layer + (side[1] == "+")))
    return np.asarray(np.ravel_multi_index(tuple(index), tuple(n + 1 for n in mask.shape)), dtype=np.int64)


def active_nodes(filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(nx + 1, ny + 1, nz + 1): nodes of at least one filled voxel."""
    nodes = np.zeros(tuple(n + 1 for n in filled.shape), dtype=bool)
    for corner in np.ndindex(2, 2, 2):
        nodes[tuple(slice(c, c + n) for c, n in zip(corner, filled.shape, strict=True))] |= filled
    return nodes


def without_islands(grid: Grid, conditions: Sequence[Condition], islands: Islands) -> Grid:
    """The grid with every voxel connected, face to face, to a condition; see ``solve`` for ``islands``.

    Raises
    ------
    InputError
        Where voxels float and ``islands`` is "error": how many, and where.
    """
    if islands not in ("error", "remove"):
        raise InputError(f"islands={islands!r} is unknown; allowed: 'error', 'remove'")
    labels, count = ndimage.label(grid.filled)
    if count == 1:
        return grid
    floating = np.ones(count + 1, dtype=bool)
    floating[0] = False
    padded = np.pad(labels, 1)
    for condition in conditions:
        place = np.unravel_index(condition.nodes, grid.node_shape)
        for corner in np.ndindex(2, 2, 2):
            floating[padded[tuple(p + c for p, c in zip(place, corner, strict=True))]] = False
    if not floating.any():
        return grid
    voxels = floating[labels]
    if islands == "remove":
        return Grid(np.where(voxels, 0.0, grid.moduli_mpa), grid.voxel_mm, grid.poisson_ratio)
    first = int(np.flatnonzero(floating)[0])
    raise InputError(
        f"{int(voxels.sum())} voxels in {int(floating.sum())} islands are connected to no support face to face, the "
        f"first around voxel {_first(labels == first)} ({int((labels == first).sum())} voxels). "
        "Try islands='remove', or close the gap in the segmentation."
    )


@dataclass(frozen=True, eq=False)
class Prescribed:
    """One condition as entries of the displacement (nx + 1, ny + 1, nz + 1, 3).

    Attributes
    ----------
    condition
        Where it comes from.
    entries
        (e,) ids 3 node + component.
    unit
        (e, 6) displacement of each entry per unit of the six motions (columns of a Hold's rotations are zero).
    value_mm
        (e,) displacement by the motions that are given.
    free
        Motions that the solution must find.
    centre_mm
        (3,) to which moments refer.
    """

    condition: Condition
    entries: Ids
    unit: Array
    value_mm: Array
    free: tuple[int, ...] = field(default=())
    centre_mm: Array = field(default_factory=lambda: np.zeros(3))


def prescribe(grid: Grid, conditions: Sequence[Condition]) -> tuple[Prescribed, ...]:
    """Turn conditions into entries; nodes of empty voxels are left out.

    Raises
    ------
    InputError
        Nothing is prescribed, a node does not exist, or two conditions contradict each other.
    """
    if not conditions:
        raise InputError("nothing is prescribed: give at least one Hold or Platen, or the grid would float")
    active = active_nodes(grid.filled).ravel()
    found = tuple(_prescribe_one(grid, condition, active) for condition in conditions)
    if not any(item.entries.size for item in found):
        raise InputError("nothing is prescribed: all components of all conditions are free")
    _check_overlap(found)
    return found


def _prescribe_one(grid: Grid, condition: Condition, active: NDArray[np.bool_]) -> Prescribed:
    nodes = np.unique(np.asarray(condition.nodes, dtype=np.int64))
    if nodes.size and not (nodes[0] >= 0 and nodes[-1] < active.size):
        raise InputError(f"condition {condition.name!r}: node ids must be in 0..{active.size - 1} (C order)")
    nodes = nodes[active[nodes]]
    if nodes.size == 0:
        raise InputError(
            f"condition {condition.name!r} holds no node of a filled voxel; take its nodes from face_nodes"
        )
    place = grid.positions_mm(nodes)
    if isinstance(condition, Hold):
        centre = place.mean(axis=0)
        held = [c for c in range(3) if condition.displacement_mm[c] is not None]
        motion: tuple[float | None, ...] = tuple(v if v is not None else 0.0 for v in condition.displacement_mm)
        motion += (0.0, 0.0, 0.0)
    else:
        centre = np.asarray(condition.centre_mm, dtype=np.float64)
        held = [c for c in range(3) if condition.grips[c]]
        motion = condition.motion
    given = np.array([np.nan if m is None else m for m in motion], dtype=np.float64)
    if not np.isfinite([m for m in motion if m is not None]).all() or not np.isfinite(place - centre).all():
        raise InputError(f"condition {condition.name!r}: displacements, motions and centre must be finite numbers")
    unit = _rigid_motions(place - centre)[:, held, :].reshape(-1, 6)
    entries = (3 * nodes[:, None] + np.array(held, dtype=np.int64)).ravel()
    free = tuple(m for m in range(6) if np.isnan(given[m]) and np.abs(unit[:, m]).max(initial=0.0) > 0.0)
    return Prescribed(condition, entries, unit, unit @ np.nan_to_num(given), free, centre)


def _rigid_motions(arm: Array) -> Array:
    """Displacement (k, 3) of points at ``arm`` (k, 3) per unit translation and small rotation: (k, 3, 6)."""
    motions = np.zeros((arm.shape[0], 3, 6))
    motions[:, [0, 1, 2], [0, 1, 2]] = 1.0
    for axis in range(3):
        motions[:, :, 3 + axis] = np.cross(np.eye(3)[axis], arm)
    return motions


def _check_overlap(found: tuple[Prescribed, ...]) -> None:
    entries = np.concatenate([item.entries for item in found])
    value = np.concatenate([np.where(bool(item.free), np.nan, item.value_mm) for item in found])
    owner = np.repeat(np.arange(len(found)), [item.entries.size for item in found])
    order = np.argsort(entries, kind="stable")
    same = entries[order][1:] == entries[order][:-1]
    differ = ~(value[order][1:] == value[order][:-1])  # a free platen differs from everything
    clash = np.flatnonzero(same & differ)
    if clash.size:
        one, two = (found[owner[order][clash[0] + step]].condition.name for step in (0, 1))
        raise InputError(
            f"conditions {one!r} and {two!r} prescribe different displacements of {clash.size} shared components; "
            "take the shared nodes out of one of them"
        )


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])
