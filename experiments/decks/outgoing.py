"""A specimen as other codes can take it: a mesh, linear elasticity, rigid platens or held nodes, one load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kyphos import materials
from kyphos.errors import InputError, MaterialError
from kyphos.fem import FACES, voxel

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

CLASS_WIDTH = 0.01
"""Cells whose moduli differ by less than this share are given one material, the mean of theirs."""
AXES_WIDTH_RAD = np.deg2rad(2.0)
"""Cells whose material axes differ by less than about this angle are given one orientation."""

MODULI, RATIOS = slice(0, 3), slice(3, 6)  # E1 E2 E3, nu12 nu13 nu23, then G12 G13 G23
_ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2), (3, 3), (5, 5), (4, 4))  # in a compliance xx yy zz xy yz xz

_PAIRS = np.array([(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)])  # of xx yy zz xy yz xz
_SIX_OF = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])  # place of ij among them


@dataclass(frozen=True, eq=False)
class Spring:
    """A linear spring on weighted displacements of nodes, which may be many: a ligament or a facet of a segment.

    It is stretched by the sum of ``weights`` (k, 3) times the displacements of ``nodes`` (k,), and pulls against that
    with ``stiffness_n_per_mm`` times it.
    """

    name: str
    nodes: Ids
    weights: Array
    stiffness_n_per_mm: float


@dataclass(frozen=True, eq=False)
class LinearModel:
    """What every writer writes.

    Attributes
    ----------
    title, notes
        One line that names study and state, and what a reader of the deck must know, a line each.
    points_mm, cells
        (n, 3) and (m, 8) or (m, 10), VTK order.
    formulation
        (m,) codes of ``kyphos.fem.FORMULATIONS``.
    region, region_names
        (m,) index into the names.
    density_g_per_cc
        (m,) QCT mineral density, NaN where there is none.
    constants
        (m, 9) engineering constants along each cell's own axes: E1 E2 E3 (MPa), nu12 nu13 nu23, G12 G13 G23 (MPa).
    axes
        (m, 3, 3), rows: unit vectors of these axes; None where all are the global ones.
    conditions
        How it is held and loaded.
    tangent_cells, tangents
        (k,) cells and (k, 6, 6) stiffness, xx yy zz xy yz xz in the global axes, MPa: they have this one in place of
        their constants.
    springs
        Between nodes, beside the cells.
    cell_sets, node_sets, face_sets
        Names -> (k,) cells (beside the regions), (k,) nodes, (k, 4) or (k, 6) outward faces.
    """

    title: str
    notes: tuple[str, ...]
    points_mm: Array
    cells: Ids
    formulation: NDArray[np.int8]
    region: NDArray[np.int16]
    region_names: tuple[str, ...]
    density_g_per_cc: Array
    constants: Array
    axes: Array | None
    conditions: tuple[voxel.Condition, ...]
    tangent_cells: Ids = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    tangents: Array = field(default_factory=lambda: np.zeros((0, 6, 6)))
    springs: tuple[Spring, ...] = ()
    cell_sets: Mapping[str, Ids] = field(default_factory=dict)
    node_sets: Mapping[str, Ids] = field(default_factory=dict)
    face_sets: Mapping[str, Ids] = field(default_factory=dict)

    @property
    def platens(self) -> tuple[voxel.Platen, ...]:
        """The rigid plates among the conditions."""
        return tuple(c for c in self.conditions if isinstance(c, voxel.Platen))

    @property
    def holds(self) -> tuple[voxel.Hold, ...]:
        """The held nodes among the conditions."""
        return tuple(c for c in self.conditions if isinstance(c, voxel.Hold))


@dataclass(frozen=True, eq=False)
class Section:
    """Cells (k,) of one material: constants (9,) and, unless they do not matter or are global, axes (3, 3).

    Or, in place of the constants, a ``stiffness`` (6, 6) in the global axes.
    """

    name: str
    cells: Ids
    constants: Array
    axes: Array | None
    stiffness: Array | None = None

    @property
    def isotropic(self) -> bool:
        """Whether a Young's modulus and a Poisson's ratio say everything."""
        return self.stiffness is None and bool(_isotropic(self.constants[None])[0])


def elastic_constants(field: materials.MaterialField, history: Array | None = None) -> Array:
    """Engineering constants (m, 9) of every cell at rest, less what damage has taken.

    Parameters
    ----------
    field
        The materials. Their tangent at zero strain, virgin, is scaled by 1 - damage, the mean over a cell's points.
    history
        (m, q, s) state of the material; None: untouched.

    Raises
    ------
    MaterialError
        A law that is not orthotropic along the global axes.
    """
    virgin = field.update(np.zeros((field.n_cells, field.n_points, 6)), field.initial_state())
    virgin.raise_on_failure()
    damaged = any(block.law.place("damage") is not None for block in field.blocks)
    left = 1.0 - field.state_field(history, "damage") if damaged and history is not None else None
    stiffness = virgin.tangent if left is None else virgin.tangent * left[:, :, None, None]
    return engineering_constants(stiffness.mean(axis=1))


def engineering_constants(stiffness_mpa: Array) -> Array:
    """E1 E2 E3, nu12 nu13 nu23, G12 G13 G23 (m, 9) of orthotropic stiffness (m, 6, 6), xx yy zz xy yz xz.

    Raises
    ------
    MaterialError
        Not orthotropic along x, y, z.
    """
    compliance = np.linalg.inv(stiffness_mpa)
    coupling = compliance.copy()
    coupling[:, :3, :3] = 0.0
    coupling[:, range(3, 6), range(3, 6)] = 0.0
    if np.abs(coupling).max(initial=0.0) > 1e-9 * np.abs(compliance).max(initial=0.0):
        raise MaterialError("a material couples normal strain and shear in the global axes; it cannot be exported")
    c = np.stack([compliance[:, i, j] for i, j in _ORDER], axis=1)
    ratios = -c[:, 3:6] / c[:, [0, 0, 1]]
    return np.concatenate([1.0 / c[:, :3], ratios, 1.0 / c[:, 6:]], axis=1)


def turned_stiffness(stiffness_mpa: Array, axes: Array) -> Array:
    """Stiffness (m, 6, 6), xx yy zz xy yz xz, of materials whose axes are the rows of (m, 3, 3)."""
    tensor = stiffness_mpa[:, _SIX_OF][:, :, :, _SIX_OF]  # (m, 3, 3, 3, 3)
    turned = np.einsum("mpi,mqj,mrk,msl,mpqrs->mijkl", axes, axes, axes, axes, tensor, optimize=True)
    i, j = _PAIRS.T
    return np.asarray(turned[:, i[:, None], j[:, None], i, j])


def stiffness_of(model: LinearModel, cells: Ids | None = None) -> Array:
    """Stiffness (k, 6, 6), xx yy zz xy yz xz in the global axes, MPa, of some cells (k,) of a model; None: of all."""
    constants = model.constants if cells is None else model.constants[cells]
    compliance = np.zeros((len(constants), 6, 6))
    moduli, ratios = np.delete(constants, RATIOS, axis=1), constants[:, RATIOS]
    for modulus, (i, j) in zip(moduli.T, _ORDER[:3] + _ORDER[6:], strict=True):
        compliance[:, i, j] = 1.0 / modulus
    for ratio, (i, j) in zip(ratios.T, _ORDER[3:6], strict=True):
        compliance[:, i, j] = compliance[:, j, i] = -ratio * compliance[:, i, i]
    stiffness: Array = np.asarray(np.linalg.inv(compliance), dtype=np.float64)
    if model.axes is not None:
        stiffness = turned_stiffness(stiffness, model.axes if cells is None else model.axes[cells])
    tangent_of = np.full(len(model.cells), -1)
    tangent_of[model.tangent_cells] = np.arange(len(model.tangent_cells))
    own = tangent_of if cells is None else tangent_of[cells]
    stiffness[own >= 0] = model.tangents[own[own >= 0]]
    return stiffness


def isotropic_constants(young_mpa: Array, poisson_ratio: float) -> Array:
    """Engineering constants (m, 9) of isotropic cells with moduli (m,)."""
    shear = young_mpa / (2.0 * (1.0 + poisson_ratio))
    ratio = np.full_like(young_mpa, poisson_ratio)
    return np.stack([young_mpa] * 3 + [ratio] * 3 + [shear] * 3, axis=1)


def sections(model: LinearModel) -> list[Section]:
    """The cells of each region, gathered into classes of nearly one material (see ``CLASS_WIDTH``).

    A class takes the geometric mean of its cells' moduli, the mean of their Poisson's ratios and the mean of
    their axes. Cells with a stiffness of their own are classes of one.
    """
    found = [
        Section(
            f"{deck_name(model.region_names[model.region[cell]])}_cell_{cell + 1}",
            np.array([cell]),
            model.constants[cell],
            None,
            stiffness,
        )
        for cell, stiffness in zip(model.tangent_cells.tolist(), model.tangents, strict=True)
    ]
    plain = np.ones(len(model.cells), dtype=bool)
    plain[model.tangent_cells] = False
    for index, region in enumerate(model.region_names):
        cells = np.flatnonzero((model.region == index) & plain)
        if not cells.size:
            continue
        axes = None if model.axes is None else model.axes[cells]
        group = _classes(model.constants[cells], axes)
        for number in range(group.max() + 1):
            own = group == number
            constants = _mean_constants(model.constants[cells[own]])
            turned = None if axes is None or _isotropic(constants[None])[0] else _mean_axes(axes[own])
            found.append(Section(f"{deck_name(region)}_{number + 1:04d}", cells[own], constants, turned))
    return found


def _classes(constants: Array, axes: Array | None) -> Ids:
    """(k,) class of every cell, numbered by rising modulus."""
    logs = np.log(np.delete(constants, RATIOS, axis=1))
    key = np.concatenate(
        [
            np.floor(logs[:, :1] / CLASS_WIDTH),
            np.round((logs[:, 1:] - logs[:, :1]) / CLASS_WIDTH),
            np.round(constants[:, RATIOS] / CLASS_WIDTH),
        ],
        axis=1,
    )
    if axes is not None:
        turn = np.round(_rotation_vectors(axes) / AXES_WIDTH_RAD)
        key = np.concatenate([key, np.where(_isotropic(constants)[:, None], 0.0, turn)], axis=1)
    return np.asarray(np.unique(key, axis=0, return_inverse=True)[1]).ravel()


def _mean_constants(constants: Array) -> Array:
    mean: Array = np.exp(np.log(np.where(constants > 0.0, constants, 1.0)).mean(axis=0))
    mean[RATIOS] = constants[:, RATIOS].mean(axis=0)
    if _isotropic(constants).all():  # stays so to the last digit
        mean[MODULI] = mean[0]
        mean[RATIOS] = mean[3]
        mean[6:] = mean[0] / (2.0 * (1.0 + mean[3]))
    return mean


def _isotropic(constants: Array) -> NDArray[np.bool_]:
    """(k,) bool."""
    shear = constants[:, 0] / (2.0 * (1.0 + constants[:, 3]))
    wanted = np.concatenate([constants[:, [0, 0, 0, 3, 3, 3]], np.stack([shear] * 3, axis=1)], axis=1)
    return np.asarray(np.isclose(constants, wanted, rtol=1e-9, atol=1e-9).all(axis=1))


def _mean_axes(axes: Array) -> Array | None:
    """The rotation nearest to the mean (3, 3); None where it is none."""
    left, _, right = np.linalg.svd(axes.mean(axis=0))
    mean = left @ right
    return None if np.allclose(mean, np.eye(3), atol=1e-9) else np.asarray(mean)


def _rotation_vectors(axes: Array) -> Array:
    """(k, 3) half the axial part of rotations: sine of the angle about each axis, enough to tell them apart."""
    return np.asarray(0.5 * np.stack([axes[:, i, j] - axes[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], axis=1))


def face_labels(cells: Ids, faces: Ids) -> tuple[Ids, Ids]:
    """Cell (f,) and number of the face in it (f,), from 1, of outward faces (f, 4), or (f, 3 or 6) of tetrahedra.

    Raises
    ------
    InputError
        A face that no cell has on its outside.
    """
    corners = 4 if cells.shape[1] == 8 else 3
    table = FACES[cells.shape[1]][:, :corners]
    known = _from_smallest(cells[:, table].reshape(-1, corners))
    wanted = _from_smallest(faces[:, :corners])
    both, inverse = np.unique(np.concatenate([known, wanted]), axis=0, return_inverse=True)
    place = np.full(len(both), -1)
    place[inverse.ravel()[: len(known)]] = np.arange(len(known))
    found = place[inverse.ravel()[len(known) :]]
    if (found < 0).any():
        raise InputError(f"face {faces[np.argmin(found)].tolist()} is not an outward face of any cell")
    cell, number = np.divmod(found, len(table))
    return cell, number + 1


def _from_smallest(faces: Ids) -> Ids:
    """The same faces (f, c), turned so that the smallest node comes first."""
    start = faces.argmin(axis=1)
    turned = (start[:, None] + np.arange(faces.shape[1])) % faces.shape[1]
    return np.take_along_axis(faces, turned, axis=1)


def deck_name(name: str) -> str:
    """A name that every code takes: letters, digits and underscores, a letter first.

    Examples
    --------
    >>> deck_name("L1.trabecular")
    'L1_trabecular'
    """
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return plain if plain[:1].isalpha() else f"s_{plain}"
