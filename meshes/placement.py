"""The way of cement through bone: a front that leaves the needle tips and goes where it is fastest there.

The order in which cement reaches the cells is that of a travel time: the shortest sum of length times slowness over
all ways through the bone (an eikonal equation, solved by Dijkstra's algorithm on the graph of the cells). Two limits
of the flow in a porous body give the slowness. Where the cement is thin the pressure falls mostly in the marrow ahead
of it, whose gradient drives every part of the front alike: its speed is proportional to the permeability k, the time
to the sum of length / k. Where the cement is thick the pressure falls within it: a front at depth x moves by
dx/dt ~ k / x, so that x^2 ~ k t, and the sum of length / sqrt(k) orders the cells (the diffusive time of flight of
reservoir engineering). The first runs ahead along weak or broken bone, the second stays compact. Times are in mm of
reference bone: in it the front is as many mm from the tip.

The front is followed on a grid along the body's axes, the same for every mesh of a body, so that it does not know how
coarse the mesh is. What the mesh gives is the permeability: a Gaussian mean of the cells' values, of one length on
all meshes. The graph joins each node to the 98 around it within two layers that it sees; the longest detour against the
straight line is then some per cent, tenths of a millimetre, enough to halve the area of a deposit that grazes a wall.
Ways are therefore straightened: from nodes some hops back a straight line is tried, and taken where it is faster
(any-angle paths: Nash et al. 2007, AAAI 22:1177). A front in uniform bone is a ball.

The cells of the mesh are cut into pieces of about a millimetre, and the front's time at their centres, and at the
corners of their faces on the wall, is found in the same way from the nodes around. A piece is filled while the front
passes through it: its share rises from 0 to 1 as the front goes from half a piece before its centre to half a piece
behind. What a cell holds is the sum over its pieces. So the volume is exact, the cells of the last layer are partly
filled, and little jumps when the mesh is refined.

A cell takes the law of the cement as soon as it holds any; bone that creeps and breaks would be frozen half a cell
around the deposit. So cells filled by less than 0.4 give what they hold to the other cells of the last layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.optimize import brentq
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from kyphos.errors import MeshError
from kyphos.meshes.cement import FACES, cell_neighbours, face_areas_mm2
from kyphos.meshes.model import (
    HEX_NODES,
    Body,
    Floats,
    Ints,
    SegmentMesh,
    cell_centroids_mm,
    cell_volumes_mm3,
    shape_functions,
)
from kyphos.units import MM3_PER_ML

Bools = NDArray[np.bool_]
DepositShape = Literal["bolus", "interdigitated", "bridging", "unilateral", "separate"]
PLACES = ("superior_endplate", "inferior_endplate", "anterior_wall", "posterior_wall", "lateral_wall")
"""Where cement may touch the cortex."""

PIECE_MM = 1.05  # largest mean size of a piece: the spacing of trabeculae, which nothing smaller would resolve
SMOOTHING_MM = 2.0  # standard deviation of that mean: permeability is measured on cores of 5 to 10 mm
SAME_MM = 1e-5  # corners closer than this are one
THINNEST_FILL = 0.4  # less stays bone; see the end of the text above
HALF_GAP_MM = 3.0  # bone that stays free on either side of the midline between separate deposits
NEAR_MM = 0.25  # a corner this close to the midline lies on it
BRIDGE_MM2 = 20.0  # contact with each endplate that makes a bridge: a patch 5 mm wide
LEAST_STRETCH, STRETCH_TOLERANCE = 0.07, 0.003  # factor on axial lengths; tolerance of its logarithm
OPEN_SLOWNESS = 1e-6  # of a cavity: next to nothing, but an edge of the graph
STRAIGHT_HOPS = (16, 8, 4, 2)  # back on a way, from where a straight line is tried
GRID_MM = 0.75  # of the grid on which the front is followed
REACH_MM = 1.0  # around the centre of a piece, or its size where that is more, counts as within it
SEEN_MM = 1.3  # beyond those nodes slowness is still known: the diagonal of the grid, for what lies between them
CLOSED_SLOWNESS = 1e6  # where there is no bone
AROUND = 8  # nodes of the grid around a point, from which the front may come
THINNEST_MM = 1e-2  # of a front in a piece that is folded and holds nothing
SAMPLES = 3  # along the side of a face, to find how much of it the front has passed
FACING = 0.7  # cosine between a wall's normal and the direction that it is named after


class Wall(NamedTuple):
    """The faces between the spongy inside of a body and its cortex.

    Attributes
    ----------
    owner, behind
        (k,) cells inside and in the cortex.
    side
        (k,) which of the owner's `FACES` it is.
    place
        (k,) index into `PLACES`.
    area_mm2
        (k,) size of a face.
    thickness_mm
        (k,) of the cortex behind.
    """

    owner: Ints
    behind: Ints
    side: Ints
    place: Ints
    area_mm2: Floats
    thickness_mm: Floats

    def at(self, *places: str) -> Bools:
        """(k,) whether a face lies at one of the named places."""
        return np.isin(self.place, [PLACES.index(place) for place in places])


@dataclass(frozen=True)
class Ground:
    """What the cement finds: the cells of a mesh in their present shape.

    Parameters
    ----------
    points_mm, cells
        (n, 3) present positions, (m, 8) hexahedra.
    body
        The treated vertebral body.
    space
        (m,) share of a cell that cement can take: its pores, 1 in a cavity, 0 where none may go.
    slowness
        (m,) time per length; 1 in reference bone.
    cavity
        (m,) whether a cell is empty.
    wall
        The boundary of the inside.
    exponent
        Slowness is the permeability to the power of minus this; means are those of the permeability.
    """

    points_mm: Floats
    cells: Ints
    body: Body
    space: Floats
    slowness: Floats
    cavity: Bools
    wall: Wall
    exponent: float = 1.0

    @cached_property
    def volumes_mm3(self) -> Floats:
        """(m,) present volumes; pieces of a cell that a balloon has drawn out may be inside out, and hold nothing."""
        return np.maximum(cell_volumes_mm3(self.points_mm, self.cells), 0.0)

    @cached_property
    def centroids_mm(self) -> Floats:
        """(m, 3) present centroids."""
        return cell_centroids_mm(self.points_mm, self.cells)

    @cached_property
    def room_mm3(self) -> Floats:
        """(m,) volume that cement can take."""
        return self.space * self.volumes_mm3

    @cached_property
    def wall_corners(self) -> Ints:
        """(k, 4) points around the faces of the wall."""
        return np.asarray(self.cells[self.wall.owner[:, None], FACES[self.wall.side]])

    def local_mm(self, points_mm: Floats) -> Floats:
        """Points (p, 3) along the body's axes, from its centre."""
        return np.asarray((points_mm - self.body.centre_mm) @ self.body.axes.T)

    @cached_property
    def aside_mm(self) -> Floats:
        """(m, 8) how far the corners lie to the right of the midline."""
        return np.asarray(self.local_mm(self.points_mm)[:, 0][self.cells])


@dataclass(frozen=True)
class Front:
    """When the cement arrives, in mm of reference bone.

    Attributes
    ----------
    arrival
        (m,) at the centre of a cell; infinite where it never does.
    width
        (m,) from the near to the far side of a cell.
    touch
        (k, 4) at the corners of the faces of the wall.
    """

    arrival: Floats
    width: Floats
    touch: Floats


@dataclass(frozen=True)
class Deposit:
    """Cement in its place.

    Attributes
    ----------
    fill
        (m,) filled share of what a cell can take.
    fraction
        (m,) volume fraction of cement.
    touched
        (k,) share of each face of the wall that cement touches.
    leaked_mm3
        (k,) volume that has crossed each face of the wall.
    """

    fill: Floats
    fraction: Floats
    touched: Floats
    leaked_mm3: Floats

    def __add__(self, other: Deposit) -> Deposit:
        """Both together."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Deposit(*(one + two for one, two in pairs))


def body_wall(mesh: SegmentMesh, points_mm: Floats, level: str) -> Wall:
    """The faces between trabecular bone and cortex of one level in the shape ``points_mm`` (n, 3)."""
    body = mesh.bodies[level]
    inside = mesh.cells_in(f"{level}.trabecular")
    parts = [f"{level}.superior_endplate", f"{level}.inferior_endplate", f"{level}.shell"]
    part = np.full(len(mesh.cells), -1)
    for index, name in enumerate(parts):
        part[mesh.cells_in(name)] = index
    beside = cell_neighbours(mesh.cells)[inside]
    row, side = np.nonzero((beside >= 0) & (part[beside] >= 0))
    owner, behind = inside[row], beside[row, side]
    area = face_areas_mm2(points_mm, mesh.cells[owner])[np.arange(len(owner)), side]
    size = np.linalg.norm(area, axis=1)
    anterior = (area @ body.axes[1]) / size
    around = np.where(anterior > FACING, 2, np.where(anterior < -FACING, 3, 4))
    place = np.where(part[behind] < 2, part[behind], around)
    return Wall(owner, behind, side, place, size, cell_volumes_mm3(points_mm, mesh.cells[behind]) / size)


def check_tips(ground: Ground, tips_mm: Floats) -> None:
    """Refuse needle tips (c, 3) that lie in no cell that cement can take; MeshError names the first."""
    for number, tip in enumerate(tips_mm, 1):
        near = np.argsort(np.linalg.norm(ground.centroids_mm - tip, axis=1))[:64]
        near = near[ground.space[near] > 0.0]
        corners = ground.points_mm[ground.cells[near][:, FACES]].mean(axis=2)
        beyond = np.einsum("mfi,mfi->mf", tip - corners, face_areas_mm2(ground.points_mm, ground.cells[near]))
        if not (beyond <= 1e-9).all(axis=1).any():
            right, front, up = ground.body.axes @ (tip - ground.body.centre_mm)
            raise MeshError(
                f"the tip of needle {number} lies outside the spongy bone of {ground.body.level}, {right:.1f} mm to "
                f"the right of, {front:.1f} mm in front of and {up:.1f} mm above its centre; bring needle_depth and "
                "needle_height closer to 0.5, needle_spread closer to 0"
            )


def place_cement(
    ground: Ground, tips_mm: Floats, shape: DepositShape, volume_mm3: float, wall_slowness: Floats | None = None
) -> Deposit:
    """Put a volume of cement around needle tips.

    Parameters
    ----------
    ground
        Where it may go, and how fast.
    tips_mm
        (c, 3) needle tips in the present shape.
    shape
        ``bolus``: cavities first, then the bone around them; ``interdigitated``: everywhere at once, a cavity being
        but the fastest way; ``bridging``: the front is drawn out along the body's axis until it touches both
        endplates; ``unilateral``: the last needle alone, on its side of the midline; ``separate``: half of the volume
        on either side of it, with bone between. All but ``interdigitated`` fill cavities first.
    volume_mm3
        What is asked for; the deposit holds it to rounding, less what leaks.
    wall_slowness
        (k,) time per length in the wall: cement may cross it, and then moves on outside as in reference bone. The
        model has no cells there: the volume is taken off and reported by face. None keeps all cement inside.

    Raises
    ------
    MeshError
        No volume, no room for it, a needle where it cannot reach, or a bridge that cannot be built.
    """
    if not volume_mm3 > 0.0:
        raise MeshError(f"a volume of {volume_mm3 / MM3_PER_ML:g} mL cannot be placed; give more than 0 mL")
    if shape not in get_args(DepositShape):
        raise MeshError(f"shape {shape!r} is unknown; use one of {', '.join(get_args(DepositShape))}")
    tips = np.atleast_2d(np.asarray(tips_mm, dtype=np.float64))
    fine = cut(ground)
    delay = None if wall_slowness is None else (wall_slowness * ground.wall.thickness_mm)[fine.face]
    if shape == "separate":
        _check_two_sides(ground, tips)
        one, two = (_beside_midline(ground, fine, tip, NEAR_MM, HALF_GAP_MM) for tip in tips)
        return _placed(ground, one, tips[:1], 0.5 * volume_mm3, delay) + _placed(
            ground, two, tips[1:], 0.5 * volume_mm3, delay
        )
    if shape == "bridging":
        return _gathered(ground, fine, _bridge(fine, tips, volume_mm3, delay))
    if shape == "unilateral":
        return _placed(ground, _beside_midline(ground, fine, tips[-1], None, 0.0), tips[-1:], volume_mm3, delay)
    return _placed(ground, fine, tips, volume_mm3, delay, cavity_first=shape != "interdigitated")


def _placed(
    ground: Ground, fine: Cut, tips: Floats, volume_mm3: float, delay: Floats | None, cavity_first: bool = True
) -> Deposit:
    """Let one front fill the volume, wherever the pieces have space."""
    front = _front(fine, tips, cavity_first=cavity_first)
    return _gathered(ground, fine, _filled(fine.ground, front, volume_mm3, delay))


def room_mm3(ground: Ground, tips_mm: Floats, shape: str) -> float:
    """Volume that cement of a shape can take at most, mm3, without leaks.

    Raises
    ------
    MeshError
        Needles and shape do not go together.
    """
    tips = np.atleast_2d(np.asarray(tips_mm, dtype=np.float64))
    if shape == "separate":
        _check_two_sides(ground, tips)
        fine = cut(ground)
        sides = [_beside_midline(ground, fine, tip, NEAR_MM, HALF_GAP_MM) for tip in tips]
        return 2.0 * min(float(side.ground.room_mm3.sum()) for side in sides)
    if shape == "unilateral":
        return float(_beside_midline(ground, cut(ground), tips[-1], None, 0.0).ground.room_mm3.sum())
    return float(ground.room_mm3.sum())


def place_as(
    ground: Ground, drawn_in_mm: Floats, distance_mm: Callable[[Floats], Floats], volume_mm3: float
) -> Deposit:
    """Put a volume of cement where a drawn deposit is, which grows or shrinks evenly to that volume.

    Parameters
    ----------
    ground
        Where it may go.
    drawn_in_mm
        (n, 3) points of the mesh in the shape that the deposit was drawn in: it moves with the bone from there.
    distance_mm
        Maps points (p, 3) of that shape to their distance (p,) from the deposit's surface, negative inside.
    volume_mm3
        What is asked for.

    Raises
    ------
    MeshError
        There is less room, or the drawn deposit lies far from the bone.
    """
    fine, drawn = cut(ground), cut(replace(ground, points_mm=drawn_in_mm)).ground
    arrival = distance_mm(drawn.centroids_mm)
    if arrival.min() > PIECE_MM:
        raise MeshError(
            f"the drawn deposit lies {arrival.min():.0f} mm away from the spongy bone of {ground.body.level}; it must "
            "be drawn in the coordinates of the scan, or, without one, of the mesh"
        )
    touch = distance_mm(drawn.points_mm[drawn.wall_corners].reshape(-1, 3)).reshape(-1, 4)
    front = Front(arrival, np.maximum(np.cbrt(fine.ground.volumes_mm3), THINNEST_MM), touch)
    return _gathered(ground, fine, _filled(fine.ground, front, volume_mm3, None))


# --- pieces --------------------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """Values (a, b, c) on a grid along the body's axes, whose nodes lie at multiples of `GRID_MM` from its centre.

    ``first`` (3,) are the multiples of the first node. So all meshes of a body share the nodes.
    """

    first: Ints
    values: Floats

    @property
    def nodes_mm(self) -> Floats:
        """(a b c, 3) places of the nodes."""
        index = np.stack(np.meshgrid(*map(np.arange, self.values.shape), indexing="ij"), axis=-1)
        return np.asarray(GRID_MM * (self.first + index.reshape(-1, 3)))

    def at(self, local_mm: Floats) -> Floats:
        """(p,) values at points (p, 3), linear between nodes."""
        places = local_mm / GRID_MM - self.first
        return np.asarray(map_coordinates(self.values, places.T, order=1, mode="nearest"))


class Cut(NamedTuple):
    """The cells that cement may enter, cut into pieces, and where those come from.

    ``parent`` (p,) is the cell of each piece, ``face`` (f,) the face of the wall that each small face is part of;
    ``bone`` is the slowness of the bone.
    """

    ground: Ground
    parent: Ints
    face: Ints
    bone: Field


def cut(ground: Ground) -> Cut:
    """Cut the cells that have space into pieces of about `PIECE_MM`, the same number along each side of every cell.

    The slowness of the bone is a mean over some millimetres, below which permeability means nothing; pieces of a
    cavity keep their own.
    """
    ids = np.flatnonzero(ground.space > 0.0)
    if not ids.size:
        raise MeshError("there is no free bone that cement could enter")
    size = float(np.cbrt(np.median(ground.volumes_mm3[ids])))
    count = max(1, int(np.ceil(size / PIECE_MM)))
    line = np.linspace(-1.0, 1.0, count + 1)
    lattice = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.einsum("qa,mai->mqi", shape_functions(lattice), ground.points_mm[ground.cells[ids]])
    _, first, merged = np.unique(
        np.round(points.reshape(-1, 3) / SAME_MM).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    corners = _piece_corners(count)
    cells = merged.reshape(len(ids), -1)[:, corners].reshape(-1, 8)
    parent = np.repeat(ids, len(corners))
    wall, face = _cut_wall(ground, ids, count)
    small = Ground(
        points.reshape(-1, 3)[first],
        cells,
        ground.body,
        ground.space[parent],
        np.ones(len(parent)),
        ground.cavity[parent],
        wall,
        ground.exponent,
    )
    bone = _smooth_slowness(ground, small, parent)
    slowness = np.where(small.cavity, ground.slowness[parent], bone.at(small.local_mm(small.centroids_mm)))
    area = np.linalg.norm(face_areas_mm2(small.points_mm, cells)[wall.owner, wall.side], axis=1)
    return Cut(replace(small, slowness=slowness, wall=wall._replace(area_mm2=area)), parent, face, bone)


def _piece_corners(count: int) -> Ints:
    """(count^3, 8) corners of the pieces among the (count + 1)^3 points of the lattice, in VTK's order."""
    steps = ((HEX_NODES + 1.0) / 2.0).astype(np.int64)
    first = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place = first[:, None] + steps[None]
    return np.asarray((place[..., 0] * (count + 1) + place[..., 1]) * (count + 1) + place[..., 2])


def _smooth_slowness(ground: Ground, small: Ground, parent: Ints) -> Field:
    """Slowness of the bone of cells cut into pieces ``small``, by a Gaussian mean of the permeability.

    It rises in proportion to the damage of a cell, as permeability does: a crush band one cell wide gives the same,
    however wide the cells are, if it holds as much damage. What the mean over a cell of size h, the constant value
    within it and the grid have smoothed already, h^2 / 12 twice and g^2 / 6, is taken off the variance of the Gaussian,
    so that all meshes see the same field.
    """
    local, bone = small.local_mm(small.centroids_mm), ~small.cavity
    first = np.floor(local.min(axis=0) / GRID_MM).astype(np.int64) - 2
    shape = np.ceil(local.max(axis=0) / GRID_MM).astype(np.int64) + 3 - first
    if not bone.any() or ground.exponent <= 0.0:
        return Field(first, np.ones(shape))
    size = float(np.cbrt(np.median(ground.volumes_mm3[np.unique(parent[bone])])))
    width = np.sqrt(max(SMOOTHING_MM**2 - size**2 / 6.0 - GRID_MM**2 / 6.0, (0.5 * size) ** 2))
    places, volume = local[bone] / GRID_MM - first, small.volumes_mm3[bone]
    passing = ground.slowness[parent[bone]] ** (-1.0 / ground.exponent)
    sums = [_spread(places, part, shape) for part in (volume * passing, volume)]
    held, total = (gaussian_filter(part, width / GRID_MM, mode="constant") for part in sums)
    known = total > 1e-9 * total.max()
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    mean = np.divide(held, total, out=np.ones(shape), where=known)[tuple(nearest)]
    return Field(first, mean**-ground.exponent)


def _spread(places: Floats, amount: Floats, shape: Ints) -> Floats:
    """Amounts (k,) at ``places`` (k, 3) between the nodes of a grid, shared among the eight nodes around each."""
    low = np.floor(places).astype(np.int64)
    part, total = places - low, np.zeros(int(np.prod(shape)))
    for corner in product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, part, 1.0 - part), axis=1)
        total += np.bincount(np.ravel_multi_index((low + corner).T, shape), amount * weight, len(total))
    return total.reshape(shape)


def _cut_wall(ground: Ground, ids: Ints, count: int) -> tuple[Wall, Ints]:
    """The wall's faces in pieces, areas still to be found, and the face (f,) that each is part of."""
    wall, row = ground.wall, np.full(len(ground.cells), -1)
    row[ids] = np.arange(len(ids))
    first = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    normals = HEX_NODES[FACES].mean(axis=1)  # (6, 3) in local coordinates
    at_side = [np.flatnonzero(first[:, np.argmax(np.abs(n))] == (count - 1 if n.sum() > 0 else 0)) for n in normals]
    known = np.flatnonzero(row[wall.owner] >= 0)
    face = np.repeat(known, count**2)
    piece = np.array(at_side)[wall.side[known]].ravel()
    owner = row[wall.owner[face]] * count**3 + piece
    side, place, thickness = wall.side[face], wall.place[face], wall.thickness_mm[face]
    return Wall(owner, wall.behind[face], side, place, np.zeros(len(face)), thickness), face


def _gathered(ground: Ground, fine: Cut, deposit: Deposit) -> Deposit:
    """What the cells hold of a deposit in pieces, without cells that are hardly filled."""
    count, faces = len(ground.space), len(ground.wall.owner)
    room = np.bincount(fine.parent, fine.ground.volumes_mm3 * ground.space[fine.parent], count)
    held = np.bincount(fine.parent, fine.ground.volumes_mm3 * deposit.fraction, count)
    fill = np.divide(held, room, out=np.zeros(count), where=room > 0.0)
    fill[fill > 1.0 - 1e-12] = 1.0
    fill = _without_film(fill, ground.room_mm3)
    area = np.bincount(fine.face, fine.ground.wall.area_mm2, faces)
    touched = np.bincount(fine.face, fine.ground.wall.area_mm2 * deposit.touched, faces)
    share = np.divide(touched, area, out=np.zeros(faces), where=area > 0.0)
    leaked: Floats = np.bincount(fine.face, deposit.leaked_mm3, faces).astype(np.float64)
    return Deposit(fill, fill * ground.space, share, leaked)


# --- the front -----------------------------------------------------------------------------------------------------


def _front(fine: Cut, tips: Floats, axial: float = 1.0, cavity_first: bool = True) -> Front:
    """Arrival of a front wherever the pieces have space; lengths along the body count ``axial`` times."""
    ground, free = fine.ground, fine.ground.space > 0.0
    if not free.any():
        raise MeshError("there is no free bone around the needle; move the needle")
    ids, points = np.flatnonzero(free), np.unique(ground.wall_corners[free[ground.wall.owner]])
    centres, tips = ground.local_mm(ground.centroids_mm), ground.local_mm(tips)
    cavity = _cavities_at(ground.cells, free & ground.cavity & cavity_first, centres, tips)
    nodes = _inside(fine, ids, np.where(cavity, OPEN_SLOWNESS, ground.slowness), np.array([1.0, 1.0, axial]))
    sources = nodes.nearest(centres[cavity]) if cavity.any() else None
    leaves = np.concatenate([centres[ids], ground.local_mm(ground.points_mm[points])])
    times = _arrivals(nodes, tips, sources, leaves)
    arrival, wall = np.full(len(free), np.inf), np.full(len(ground.points_mm), np.inf)
    roots = np.flatnonzero(cavity[ids]) if cavity.any() else _nearest(centres[ids], tips)
    arrival[ids], wall[points] = _through_faces(ground.cells[ids], times[: len(ids)], roots), times[len(ids) :]
    size = np.cbrt(ground.volumes_mm3 * axial)
    width = np.maximum(size * ground.slowness, THINNEST_MM)
    if cavity.any():  # before all else, the nearest to a tip first
        width[cavity] = np.maximum(size[cavity], THINNEST_MM)
        away = cKDTree(tips * nodes.metric).query(centres[cavity] * nodes.metric)[0]
        arrival[cavity] = away - np.max(away + 0.5 * width[cavity])
        hollow = np.flatnonzero(cavity)
        offsets = centres[hollow, None] - ground.local_mm(ground.points_mm)[ground.cells[hollow]]
        near = np.linalg.norm(offsets * nodes.metric, axis=2)
        np.minimum.at(wall, ground.cells[hollow], arrival[hollow, None] + near)
    return Front(arrival, width, np.where(free[ground.wall.owner, None], wall[ground.wall_corners], np.inf))


def _cavities_at(cells: Ints, cavity: Bools, centres: Floats, tips: Floats) -> Bools:
    """(m,) those of the ``cavity`` cells (m,) that lie in one cavity with the nearest to a tip; others fill later."""
    if not cavity.any():
        return cavity
    hollow = np.flatnonzero(cavity)
    beside = cell_neighbours(cells[hollow])
    one, side = np.nonzero(beside >= 0)
    graph = sp.csr_array((np.ones(len(one)), (one, beside[one, side])), shape=(len(hollow), len(hollow)))
    _, label = csgraph.connected_components(graph, directed=False)
    found = np.zeros_like(cavity)
    found[hollow] = np.isin(label, label[_nearest(centres[hollow], tips)])
    return found


class _Nodes(NamedTuple):
    """Nodes of a grid that lie within the bone: their number (a, b, c), -1 outside, places ``at_mm`` (k, 3), the
    slowness there and around (very large beyond), and factors ``metric`` (3,) on lengths along the axes.
    """

    number: Ints
    at_mm: Floats
    slowness: Field
    metric: Floats

    @property
    def here(self) -> Floats:
        """(k,) slowness at the nodes."""
        return np.asarray(self.slowness.values[self.number >= 0])

    def nearest(self, local_mm: Floats) -> Ints:
        """Nodes (p,) nearest to points (p, 3)."""
        return _nearest(self.at_mm, local_mm)

    def length(self, offset_mm: Floats) -> Floats:
        """Lengths (...,) of offsets (..., 3)."""
        return np.asarray(np.linalg.norm(offset_mm * self.metric, axis=-1))


def _nearest(places: Floats, points: Floats) -> Ints:
    """(p,) which of ``places`` (k, 3) is nearest to each of the points (p, 3)."""
    return np.asarray(cKDTree(places).query(points)[1], dtype=np.int64)


def _inside(fine: Cut, ids: Ints, slowness: Floats, metric: Floats) -> _Nodes:
    """The nodes within the pieces ``ids`` (k,); ``slowness`` (p,) of all pieces counts in cavities."""
    ground, grid = fine.ground, fine.bone.nodes_mm
    size = np.maximum(np.cbrt(ground.volumes_mm3[ids]), REACH_MM)
    away, near = cKDTree(ground.local_mm(ground.centroids_mm[ids])).query(grid)
    inside = away <= size[near]
    if not inside.any():
        inside[np.argmin(away)] = True
    here = np.where(ground.cavity[ids][near], slowness[ids][near], fine.bone.values.ravel())
    here = np.where(away <= size[near] + SEEN_MM, here, CLOSED_SLOWNESS).reshape(fine.bone.values.shape)
    index = np.where(inside, np.cumsum(inside) - 1, -1).reshape(here.shape)
    return _Nodes(index, grid[inside], Field(fine.bone.first, here), metric)


def _arrivals(nodes: _Nodes, tips: Floats, sources: Ints | None, leaves: Floats) -> Floats:
    """Times (p,) at the points ``leaves`` (p, 3) of a front from the tips (c, 3), or from the nodes ``sources``.

    Shortest ways through the graph of the nodes are drawn straight wherever that is faster.
    """
    here = nodes.here
    start = np.full(len(here), np.inf)
    for tip in tips if sources is None else ():
        away = np.linalg.norm(nodes.at_mm - tip, axis=1)
        near = np.flatnonzero(away <= max(2.0 * GRID_MM, float(away.min()) + 1e-9))
        start[near] = np.minimum(start[near], nodes.length(nodes.at_mm[near] - tip) * here[near])
    if sources is not None:
        start[sources] = 0.0
    times, before = _travel(nodes, start)
    closed, count = ~np.isfinite(times), len(here)
    if sources is None:  # ways begin at the tips, which follow the nodes
        before = np.where(before < 0, count + cKDTree(tips * nodes.metric).query(nodes.at_mm * nodes.metric)[1], before)
    before = np.where(before < 0, np.arange(count), before)
    away, around = cKDTree(nodes.at_mm).query(leaves, k=min(AROUND, count))
    around = around.reshape(len(leaves), -1)
    late = times[around] + nodes.length(leaves[:, None] - nodes.at_mm[around]) * here[around]
    best = np.argmin(late, axis=1)[:, None]
    at = np.concatenate([nodes.at_mm, tips, leaves])
    from_node = np.take_along_axis(around, best, axis=1)[:, 0]
    before = np.concatenate([before, count + np.arange(len(tips)), from_node])
    times = np.concatenate([times, np.zeros(len(tips)), np.take_along_axis(late, best, axis=1)[:, 0]])
    times = _straightened(nodes, at, times, before)[count + len(tips) :]
    times[closed[from_node]] = np.inf
    return times


def _straightened(nodes: _Nodes, at_mm: Floats, times: Floats, before: Ints) -> Floats:
    """Times (k,) at points (k, 3) where straight lines from points ``before`` (k,) on the way are faster."""
    for hops in STRAIGHT_HOPS:
        origin = before
        for _ in range(int(np.log2(hops))):
            origin = origin[origin]
        times = np.minimum(times, times[origin] + _straight_times(nodes, at_mm[origin], at_mm, 2 * hops))
    return times


def _straight_times(nodes: _Nodes, start: Floats, end: Floats, samples: int) -> Floats:
    """(k,) times along straight lines between points (k, 3)."""
    total = np.zeros(len(end))
    for share in (np.arange(samples) + 0.5) / samples:
        total += nodes.slowness.at(start + share * (end - start))
    return nodes.length(end - start) * total / samples


def _travel(nodes: _Nodes, start: Floats) -> tuple[Floats, Ints]:
    """Shortest travel times (k,) from wherever ``start`` (k,) is finite, and the node before (k,), -1 at the start."""
    here = nodes.here
    ones: list[Ints] = []
    twos: list[Ints] = []
    costs: list[Floats] = []
    for step in _steps():
        low, high = np.maximum(-step, 0), np.maximum(step, 0)
        shape = np.array(nodes.number.shape)
        one = nodes.number[tuple(slice(a, n - b) for a, b, n in zip(low, high, shape, strict=True))].ravel()
        two = nodes.number[tuple(slice(b, n - a) for a, b, n in zip(low, high, shape, strict=True))].ravel()
        both = (one >= 0) & (two >= 0)
        ones, twos = [*ones, one[both]], [*twos, two[both]]
        costs.append(nodes.length(np.float64(GRID_MM) * step) * 0.5 * (here[one[both]] + here[two[both]]))
    first = np.flatnonzero(np.isfinite(start))
    ends = np.concatenate(ones), np.concatenate(twos)
    graph = _rooted(*ends, np.concatenate(costs), first, start[first], len(start))
    dijkstra: Any = csgraph.dijkstra  # its overloads do not know this call
    times, before = dijkstra(graph, directed=False, indices=len(start), return_predecessors=True)
    before = before[:-1].astype(np.int64)
    return times[:-1], np.where((before < 0) | (before == len(start)), -1, before)


def _steps() -> list[Ints]:
    """Steps (3,) to half of the nodes within two layers around, without those that are twice another one."""
    found = [np.array(step) for step in product(range(-2, 3), repeat=3) if step > (0, 0, 0)]
    return [step for step in found if np.gcd.reduce(step) == 1]


def _rooted(one: Ints, two: Ints, weight: Floats, first: Ints, start: Floats, count: int) -> sp.csr_array:
    """The graph of ``count`` cells with edges one - two, and a root, numbered last, that is joined to the ``first``."""
    ends = np.concatenate([one, np.full(len(first), count)]), np.concatenate([two, first])
    weights = np.maximum(np.concatenate([weight, start]), 1e-12)  # a zero would be no edge
    return sp.csr_array((weights, ends), shape=(count + 1, count + 1))


def _through_faces(cells: Ints, times: Floats, roots: Ints) -> Floats:
    """(k,) times no earlier than that of the first neighbour across a face: cement does not creep along edges.

    The time of a cell becomes the least largest time along a way through faces from a root; that way runs in the
    minimum spanning tree.
    """
    count, beside = len(times), cell_neighbours(cells)
    one, side = np.nonzero((beside > np.arange(count)[:, None]) & np.isfinite(times)[:, None])
    two = beside[one, side]
    graph: Any = _rooted(one, two, np.maximum(times[one], times[two]), roots, times[roots], count)
    tree = csgraph.minimum_spanning_tree(graph)
    order, before = csgraph.breadth_first_order(tree, count, directed=False)
    later = np.full(count + 1, np.inf)
    later[count] = 0.0
    for cell in order[1:]:
        later[cell] = max(times[cell], later[before[cell]])
    return later[:-1]


# --- the volume ----------------------------------------------------------------------------------------------------


def _filled(ground: Ground, front: Front, volume_mm3: float, delay: Floats | None) -> Deposit:
    """Let the front advance until it holds the volume; ``delay`` (k,) is the time that it needs to cross the wall."""
    now, exits = _moment(ground, front, volume_mm3, delay), _exits(front, delay)
    leaked, open_ = np.zeros(len(exits)), np.isfinite(exits)
    leaked[open_] = ground.wall.area_mm2[open_] * np.maximum(now - exits[open_], 0.0)
    fill = np.where(ground.room_mm3 > 0.0, np.clip((now - front.arrival) / front.width + 0.5, 0.0, 1.0), 0.0)
    return Deposit(fill, fill * ground.space, _touched(now, front.touch), leaked)


def _moment(ground: Ground, front: Front, volume_mm3: float, delay: Floats | None) -> float:
    """When the front holds the volume, leaks included; MeshError if it never does."""
    reached = np.flatnonzero(np.isfinite(front.arrival) & (ground.room_mm3 > 0.0))
    room, width = ground.room_mm3[reached], front.width[reached]
    if delay is None and volume_mm3 > room.sum() * (1.0 + 1e-12):
        raise MeshError(
            f"{volume_mm3 / MM3_PER_ML:.2f} mL do not fit: there is room for {room.sum() / MM3_PER_ML:.2f} mL where "
            "the cement can go; lower the volume"
        )
    exits = _exits(front, delay)
    open_ = np.isfinite(exits)
    at = np.concatenate([front.arrival[reached] - 0.5 * width, front.arrival[reached] + 0.5 * width, exits[open_]])
    return _time_of_volume(at, np.concatenate([room / width, -room / width, ground.wall.area_mm2[open_]]), volume_mm3)


def _exits(front: Front, delay: Floats | None) -> Floats:
    """(k,) when the front has crossed each face of the wall; never without a ``delay`` (k,)."""
    return np.full(len(front.touch), np.inf) if delay is None else front.touch.mean(axis=1) + delay


def _touched(now: float, touch: Floats) -> Floats:
    """(k,) share of quadrilaterals, at whose corners the front arrives at ``touch`` (k, 4), that it has passed."""
    return np.asarray((_sampled(touch) < now).mean(axis=1))


def _sampled(touch: Floats) -> Floats:
    """(k, s) arrival within quadrilaterals, evenly spread; infinite where it is at a corner."""
    along = (np.arange(SAMPLES) + 0.5) / SAMPLES
    one, two = (side.ravel() for side in np.meshgrid(along, along))
    shares = np.array([(1 - one) * (1 - two), one * (1 - two), one * two, (1 - one) * two])
    found, known = np.full((len(touch), len(one)), np.inf), np.isfinite(touch).all(axis=1)
    found[known] = touch[known] @ shares
    return found


def _time_of_volume(at: Floats, gain: Floats, volume: float) -> float:
    """When a volume is reached whose rate changes by ``gain`` (e,) at the times ``at`` (e,), from zero."""
    order = np.argsort(at, kind="stable")
    times, rate = at[order], np.cumsum(gain[order])
    filled = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(times))])
    before = min(int(np.searchsorted(filled, volume, side="right")) - 1, len(times) - 1)
    missing = volume - filled[before]
    return float(times[before] + (missing / rate[before] if missing > 0.0 and rate[before] > 0.0 else 0.0))


def _without_film(fill: Floats, room: Floats) -> Floats:
    """The same volume without the thinnest fillings; other cells filled in part take over what those held.

    The thinnest go first, as long as the others have the room.
    """
    part = np.flatnonzero((fill > 0.0) & (fill < 1.0))
    part = part[np.argsort(fill[part], kind="stable")]
    lost = np.cumsum(fill[part] * room[part])
    free = np.sum((1.0 - fill[part]) * room[part]) - np.cumsum((1.0 - fill[part]) * room[part])
    goes = (fill[part] < THINNEST_FILL) & (lost <= free)
    count = int(np.argmin(goes)) if not goes.all() else len(part)
    if count == 0:
        return fill
    kept, takes = fill.copy(), part[count:]
    kept[part[:count]] = 0.0
    kept[takes] += (1.0 - kept[takes]) * (lost[count - 1] / free[count - 1]) if len(takes) else 0.0
    return kept


# --- shapes --------------------------------------------------------------------------------------------------------


def _check_two_sides(ground: Ground, tips: Floats) -> None:
    """Separate deposits need a needle on either side."""
    aside = (tips - ground.body.centre_mm) @ ground.body.axes[0]
    if len(tips) != 2 or not aside.min() < -HALF_GAP_MM < HALF_GAP_MM < aside.max():
        raise MeshError(
            'shape = "separate" needs a needle on either side of the midline; set approach = "bipedicular" and '
            "needle_spread well above 0"
        )


def _beside_midline(ground: Ground, fine: Cut, tip: Floats, cells_mm: float | None, gap_mm: float) -> Cut:
    """The pieces with space only on the side of the midline where the tip is, from ``gap_mm`` on; pieces are divided.

    With ``cells_mm`` whole cells that come closer than that stay free too.
    """
    side = 1.0 if ground.local_mm(tip)[0] >= 0.0 else -1.0
    aside = side * fine.ground.aside_mm
    near, far = aside.min(axis=1), aside.max(axis=1)
    share = np.clip((far - gap_mm) / np.maximum(far - near, SAME_MM), 0.0, 1.0)
    if cells_mm is not None:
        share = np.where(((side * ground.aside_mm).min(axis=1) > cells_mm)[fine.parent], share, 0.0)
    return fine._replace(ground=replace(fine.ground, space=fine.ground.space * share))


def _bridge(fine: Cut, tips: Floats, volume_mm3: float, delay: Floats | None) -> Deposit:
    """Draw the front out along the body's axis, no more than it takes to touch both endplates."""
    ground, wall = fine.ground, fine.ground.wall

    @cache
    def front(stretch: float) -> Front:
        return _front(fine, tips, float(np.exp(stretch)))

    def left(stretch: float) -> float:
        """How long before the volume is in the second endplate is touched; negative if after."""
        touch = front(stretch).touch
        touched = max(_time_of_area(touch[at], wall.area_mm2[at]) for at in map(wall.at, PLACES[:2]))
        return _moment(ground, front(stretch), volume_mm3, delay) - touched

    least, stretch = float(np.log(LEAST_STRETCH)), 0.0
    if left(0.0) < 0.0:
        if left(least) <= 0.0:
            raise MeshError(
                f"{volume_mm3 / MM3_PER_ML:g} mL do not bridge the endplates of {ground.body.level}; raise the volume, "
                'or use shape = "interdigitated"'
            )
        stretch = float(brentq(left, least, 0.0, xtol=STRETCH_TOLERANCE))
    return _filled(ground, front(stretch), volume_mm3, delay)


def _time_of_area(touch: Floats, area_mm2: Floats) -> float:
    """When the front has passed `BRIDGE_MM2` of faces (k,), at whose corners it arrives at ``touch`` (k, 4)."""
    arrival = _sampled(touch).ravel()
    order = np.argsort(arrival)
    passed = np.cumsum(np.repeat(area_mm2 / SAMPLES**2, SAMPLES**2)[order])
    place = int(np.searchsorted(passed, BRIDGE_MM2))
    return min(float(arrival[order[place]]), CLOSED_SLOWNESS) if place < len(order) else CLOSED_SLOWNESS
