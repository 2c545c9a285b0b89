"""The way of cement through bone: a front that leaves the needle tips and goes where it is fastest there.

The order in which cement reaches the cells is that of a travel time: the shortest sum of length times slowness over
all ways through the bone (an eikonal equation, solved by Dijkstra's algorithm on the graph of the cells). Two limits
of the flow in a porous body give the slowness. Where the cement is thin the pressure falls mostly in the marrow ahead
of it, whose gradient drives every part of the front alike: its speed is proportional to the permeability k, the time
to the sum of length / k. Where the cement is thick the pressure falls within it: a front at depth x moves by
dx/dt ~ k / x, so that x^2 ~ k t, and the sum of length / sqrt(k) orders the cells (the diffusive time of flight of
reservoir engineering). The first runs ahead along weak or broken bone, the second stays compact. Times are in mm of
reference bone: in it the front is as many mm from the tip.

The cells of the mesh are first cut into pieces of about a millimetre, so that the front does not know how coarse the
mesh is; what a cell holds is the sum over its pieces. A piece is joined to all pieces within two rings of shared
corners. On a grid of cubes the longest detour against the straight line is then 5 %, 2 % in the mean (through faces
alone: 73 %); that is some tenths of a millimetre, enough to halve the area of a deposit that grazes a wall. So ways are
then straightened: from cells some hops back a straight line is tried, and taken where it is faster (any-angle paths:
Nash et al. 2007, AAAI 22:1177). A front in uniform bone is a ball. A piece is filled while the front passes through it:
its share rises from 0 to 1 as the front goes from half a piece before its centre to half a piece behind. So the volume
is exact, the cells of the last layer are partly filled, and little jumps when the mesh is refined.

A cell takes the law of the cement as soon as it holds any; bone that creeps and breaks would be frozen half a cell
around the deposit. So cells filled by less than 0.4 give what they hold to the other cells of the last layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
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
HALF_GAP_MM = 2.5  # bone that stays free on either side of the midline between separate deposits
NEAR_MM = 0.25  # a corner this close to the midline lies on it
BRIDGE_REACH = 1.3  # a bridging front is meant to pass the further endplate by this factor
BRIDGE_TRIES, BRIDGE_STEP = 12, 0.8
OPEN_SLOWNESS = 1e-6  # of a cavity: next to nothing, but an edge of the graph
SMALLEST_MM3 = 1e-6  # that a piece counts as on the front's way
STRAIGHT_HOPS = (16, 8, 4, 2)  # back on a way, from where a straight line is tried
REACH = 1.2  # of a cell's size, about its centre, counts as within it
CLOSED_SLOWNESS = 1e6  # where there is no cell
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
    """

    points_mm: Floats
    cells: Ints
    body: Body
    space: Floats
    slowness: Floats
    cavity: Bools
    wall: Wall

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

    @cached_property
    def joined(self) -> sp.csr_array:
        """(m, m) cells within two rings of shared points, each pair twice."""
        rows = np.repeat(np.arange(len(self.cells)), 8)
        shape = (len(self.cells), len(self.points_mm))
        at = sp.csr_array((np.ones(self.cells.size, np.int32), (rows, self.cells.ravel())), shape=shape)
        ring = at @ at.T
        return sp.csr_array(ring @ ring)

    @cached_property
    def aside_mm(self) -> Floats:
        """(m, 8) how far the corners lie to the right of the midline."""
        offsets = self.points_mm - self.body.centre_mm
        return np.asarray((offsets @ self.body.axes[0])[self.cells])


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
    free = ground.space > 0.0
    if shape == "separate":
        _check_two_sides(ground, tips)
        sides = [
            (free & _on_side(ground, tip, NEAR_MM))[fine.parent] & _on_side(fine.ground, tip, HALF_GAP_MM)
            for tip in tips
        ]
        fronts = [_front(fine.ground, side, tip[None]) for side, tip in zip(sides, tips, strict=True)]
        one, two = (_filled(fine.ground, front, 0.5 * volume_mm3, delay) for front in fronts)
        return _gathered(ground, fine, one) + _gathered(ground, fine, two)
    if shape == "bridging":
        return _gathered(ground, fine, _bridge(fine.ground, tips, volume_mm3, delay))
    if shape == "unilateral":
        tips = tips[-1:]
        free = free & _on_side(ground, tips[0], 0.0)
    front = _front(fine.ground, free[fine.parent], tips, cavity_first=shape != "interdigitated")
    return _gathered(ground, fine, _filled(fine.ground, front, volume_mm3, delay))


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
    front = Front(arrival, np.cbrt(fine.ground.volumes_mm3), touch)
    return _gathered(ground, fine, _filled(fine.ground, front, volume_mm3, None))


# --- pieces --------------------------------------------------------------------------------------------------------


class Cut(NamedTuple):
    """The cells that cement may enter, cut into pieces, and where those come from.

    ``parent`` (p,) is the cell of each piece, ``face`` (f,) the face of the wall that each small face is part of.
    """

    ground: Ground
    parent: Ints
    face: Ints


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
    )
    slowness = np.where(small.cavity, ground.slowness[parent], _smooth_slowness(ground, ids, small.centroids_mm))
    area = np.linalg.norm(face_areas_mm2(small.points_mm, cells)[wall.owner, wall.side], axis=1)
    return Cut(replace(small, slowness=slowness, wall=wall._replace(area_mm2=area)), parent, face)


def _piece_corners(count: int) -> Ints:
    """(count^3, 8) corners of the pieces among the (count + 1)^3 points of the lattice, in VTK's order."""
    steps = ((HEX_NODES + 1.0) / 2.0).astype(np.int64)
    first = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place = first[:, None] + steps[None]
    return np.asarray((place[..., 0] * (count + 1) + place[..., 1]) * (count + 1) + place[..., 2])


def _smooth_slowness(ground: Ground, ids: Ints, at_mm: Floats) -> Floats:
    """(p,) slowness of the bone in the cells ``ids`` (k,) as a Gaussian mean about the points (p, 3).

    What a mean over a cell of size h has smoothed already, h^2 / 12, is taken off the variance of the Gaussian, so
    that all meshes see the same field.
    """
    bone = ids[~ground.cavity[ids]]
    if not bone.size:
        return np.ones(len(at_mm))
    size = float(np.cbrt(np.median(ground.volumes_mm3[bone])))
    width = max(np.sqrt(max(SMOOTHING_MM**2 - size**2 / 12.0, 0.0)), 0.6 * size)
    tree, centres = cKDTree(at_mm), cKDTree(ground.centroids_mm[bone])
    pairs = tree.sparse_distance_matrix(centres, 2.5 * width, output_type="ndarray")
    weight = np.exp(-0.5 * (pairs["v"] / width) ** 2) * ground.volumes_mm3[bone][pairs["j"]]
    total = np.bincount(pairs["i"], weight, len(at_mm))
    mean = np.bincount(pairs["i"], weight * ground.slowness[bone][pairs["j"]], len(at_mm))
    nearest = ground.slowness[bone][centres.query(at_mm)[1]]
    return np.asarray(np.divide(mean, total, out=nearest, where=total > 0.0))


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
    room = np.bincount(fine.parent, fine.ground.room_mm3, count)
    held = np.bincount(fine.parent, fine.ground.room_mm3 * deposit.fill, count)
    fill = np.divide(held, room, out=np.zeros(count), where=room > 0.0)
    fill[fill > 1.0 - 1e-12] = 1.0
    fill = _without_film(fill, ground.room_mm3)
    area = np.bincount(fine.face, fine.ground.wall.area_mm2, faces)
    touched = np.bincount(fine.face, fine.ground.wall.area_mm2 * deposit.touched, faces)
    share = np.divide(touched, area, out=np.zeros(faces), where=area > 0.0)
    leaked: Floats = np.bincount(fine.face, deposit.leaked_mm3, faces).astype(np.float64)
    return Deposit(fill, fill * ground.space, share, leaked)


# --- the front -----------------------------------------------------------------------------------------------------


def _front(ground: Ground, free: Bools, tips: Floats, axial: float = 1.0, cavity_first: bool = True) -> Front:
    """Arrival of a front that may go through the cells ``free`` (m,); lengths along the body count ``axial`` times."""
    if not free.any():
        raise MeshError("there is no free bone around the needle; move the needle")
    metric = ground.body.axes * np.array([[1.0], [1.0], [axial]])
    at, size = ground.centroids_mm @ metric.T, np.cbrt(np.maximum(ground.volumes_mm3, SMALLEST_MM3) * axial)
    cavity = free & ground.cavity if cavity_first else np.zeros_like(free)
    slowness, width = np.where(cavity, OPEN_SLOWNESS, ground.slowness), size * ground.slowness
    arrival = np.full(len(free), np.inf)
    ids = np.flatnonzero(free)
    joined = ground.joined if free.all() else ground.joined[ids][:, ids]
    if cavity.any():
        roots = np.flatnonzero(cavity[ids])
        start = np.where(cavity[ids], 0.0, np.inf)
    else:
        roots, start = _near_tips(at[ids], slowness[ids], joined, tips @ metric.T)
    times, before = _travel(at[ids], slowness[ids], joined, start)
    if not cavity.any():  # ways begin at the tips, which follow the cells
        before = np.where(before < 0, len(ids) + cKDTree(tips @ metric.T).query(at[ids])[1], before)
    times, wall = _straightened(ground, ids, _Ways(at, size, slowness, times, before, tips @ metric.T), metric)
    arrival[ids] = _through_faces(ground.cells[ids], times, roots)
    if cavity.any():  # before all else, the nearest to a tip first
        width[cavity] = size[cavity]
        away = cKDTree(tips @ metric.T).query(at[cavity])[0]
        arrival[cavity] = away - np.max(away + 0.5 * width[cavity])
        hollow = np.flatnonzero(cavity)
        near = np.linalg.norm(at[hollow, None] - ground.points_mm[ground.cells[hollow]] @ metric.T, axis=2)
        np.minimum.at(wall, ground.cells[hollow], arrival[hollow, None] + near)
    return Front(arrival, width, wall[ground.wall_corners])


class _Ways(NamedTuple):
    """Fastest ways through a graph: of all cells centres ``at`` (m, 3), sizes and slownesses (m,); of those that may be
    entered times (k,) and the one before on the way, itself where it begins, or (k + c) a tip (c, 3).
    """

    at: Floats
    size: Floats
    slowness: Floats
    times: Floats
    before: Ints
    tips: Floats


def _straightened(ground: Ground, ids: Ints, ways: _Ways, metric: Floats) -> tuple[Floats, Floats]:
    """Times (k,) at the cells ``ids``, and (n,) at points of the wall (infinite elsewhere), by the straightest ways."""
    count, tips = len(ids), len(ways.tips)
    cells, points = ground.cells[ids], np.unique(ground.wall_corners)
    away = np.linalg.norm(ground.points_mm[cells] @ metric.T - ways.at[ids, None], axis=2)
    around = ways.times[:, None] + away * ways.slowness[ids, None]
    order = np.argsort(-around.ravel(), kind="stable")
    last = np.full(len(ground.points_mm), -1)
    last[cells.ravel()[order]] = order // 8  # the last that is written is the earliest around
    points = points[last[points] >= 0]
    first = np.full(len(ground.points_mm), np.inf)
    first[cells.ravel()[order]] = around.ravel()[order]
    at = np.concatenate([ways.at[ids], ways.tips, ground.points_mm[points] @ metric.T])
    before = np.concatenate([ways.before, count + np.arange(tips), last[points]])
    times = np.concatenate([ways.times, np.zeros(tips), first[points]])
    start = np.flatnonzero(before < 0)
    before[start] = start
    field = _slowness_field(ways.at[ids], ways.size[ids], ways.slowness[ids])
    for hops in STRAIGHT_HOPS:
        origin = before
        for _ in range(int(np.log2(hops))):
            origin = origin[origin]
        times = np.minimum(times, times[origin] + _straight_times(field, at[origin], at, 2 * hops))
    wall = np.full(len(ground.points_mm), np.inf)
    wall[points] = times[count + tips :]
    return times[:count], wall


class _Field(NamedTuple):
    """Slowness on a grid of points ``origin_mm + spacing_mm * index``; very slow where there is no cell."""

    origin_mm: Floats
    spacing_mm: float
    values: Floats


def _slowness_field(at: Floats, size: Floats, slowness: Floats) -> _Field:
    """What the cells (k,) at ``at`` (k, 3) say, on a grid somewhat finer than they are."""
    spacing = 0.7 * float(np.median(size))
    origin = at.min(axis=0) - spacing
    shape = np.ceil((at.max(axis=0) - origin) / spacing).astype(np.int64) + 2
    grid = origin + spacing * np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    away, near = cKDTree(at).query(grid)
    return _Field(origin, spacing, np.where(away > REACH * size[near], CLOSED_SLOWNESS, slowness[near]))


def _straight_times(field: _Field, start: Floats, end: Floats, samples: int) -> Floats:
    """(k,) times along straight lines between points (k, 3)."""
    total = np.zeros(len(end))
    for share in (np.arange(samples) + 0.5) / samples:
        places = ((start + share * (end - start)) - field.origin_mm) / field.spacing_mm
        total += map_coordinates(field.values, places.T, order=1, mode="nearest")
    return np.asarray(np.linalg.norm(end - start, axis=1) * total / samples)


def _near_tips(at: Floats, slowness: Floats, joined: sp.csr_array, tips: Floats) -> tuple[Ints, Floats]:
    """Cells nearest to the tips (c,), and times (k,) straight from the tips to all around, infinite elsewhere."""
    start = np.full(len(at), np.inf)
    roots = np.array([np.argmin(np.linalg.norm(at - tip, axis=1)) for tip in tips])
    for tip, root in zip(tips, roots, strict=True):
        near = joined.indices[joined.indptr[root] : joined.indptr[root + 1]]
        start[near] = np.minimum(start[near], np.linalg.norm(at[near] - tip, axis=1) * slowness[near])
    return roots, start


def _travel(at: Floats, slowness: Floats, joined: sp.csr_array, start: Floats) -> tuple[Floats, Ints]:
    """Shortest travel times (k,) from wherever ``start`` (k,) is finite, and the cell before (k,), -1 at the start."""
    pairs = sp.triu(joined, 1, format="coo")
    one, two = pairs.coords
    cost = np.linalg.norm(at[one] - at[two], axis=1) * 0.5 * (slowness[one] + slowness[two])
    first = np.flatnonzero(np.isfinite(start))
    graph = _rooted(one, two, cost, first, start[first], len(start))
    dijkstra: Any = csgraph.dijkstra  # its overloads do not know this call
    times, before = dijkstra(graph, directed=False, indices=len(start), return_predecessors=True)
    before = before[:-1].astype(np.int64)
    return times[:-1], np.where((before < 0) | (before == len(start)), -1, before)


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
    reached = np.flatnonzero(np.isfinite(front.arrival) & (ground.room_mm3 > 0.0))
    room, half = ground.room_mm3[reached], 0.5 * front.width[reached]
    begin, end = front.arrival[reached] - half, front.arrival[reached] + half
    exits = np.full(len(front.touch), np.inf) if delay is None else front.touch.mean(axis=1) + delay
    open_ = np.flatnonzero(np.isfinite(exits))
    area = ground.wall.area_mm2[open_]
    if delay is None and volume_mm3 > room.sum() * (1.0 + 1e-12):
        raise MeshError(
            f"{volume_mm3 / MM3_PER_ML:.2f} mL do not fit: there is room for {room.sum() / MM3_PER_ML:.2f} mL where "
            "the cement can go; lower the volume"
        )
    at = np.concatenate([begin, end, exits[open_]])
    gain = np.concatenate([room / (end - begin), -room / (end - begin), area])
    now = _time_of_volume(at, gain, volume_mm3)
    leaked = np.zeros(len(exits))
    leaked[open_] = area * np.maximum(now - exits[open_], 0.0)
    fill = np.zeros(len(ground.space))
    fill[reached] = np.clip((now - begin) / (end - begin), 0.0, 1.0)
    return Deposit(fill, fill * ground.space, _touched(now, front.touch), leaked)


def _touched(now: float, touch: Floats) -> Floats:
    """(k,) share of quadrilaterals, at whose corners the front arrives at ``touch`` (k, 4), that it has passed."""
    along = (np.arange(SAMPLES) + 0.5) / SAMPLES
    one, two = (side.ravel() for side in np.meshgrid(along, along))
    shares = np.array([(1 - one) * (1 - two), one * (1 - two), one * two, (1 - one) * two])
    known = np.isfinite(touch).all(axis=1)
    passed = np.zeros(len(touch))
    passed[known] = (touch[known] @ shares < now).mean(axis=1)
    return passed


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


def _on_side(ground: Ground, tip: Floats, gap_mm: float) -> Bools:
    """(m,) cells on the side of the midline where the tip is; with a gap no corner comes closer than that."""
    side = 1.0 if (tip - ground.body.centre_mm) @ ground.body.axes[0] >= 0.0 else -1.0
    aside = side * ground.aside_mm
    return np.asarray(aside.min(axis=1) > gap_mm if gap_mm > 0.0 else aside.mean(axis=1) > 0.0)


def _bridge(ground: Ground, tips: Floats, volume_mm3: float, delay: Floats | None) -> Deposit:
    """Draw the front out along the body's axis, the more the less cement there is, until both endplates are touched."""
    axial = min(1.0, _first_stretch(ground, tips, volume_mm3))
    everywhere = np.ones(len(ground.space), dtype=bool)
    for _ in range(BRIDGE_TRIES):
        deposit = _filled(ground, _front(ground, everywhere, tips, axial), volume_mm3, delay)
        area = deposit.touched * ground.wall.area_mm2
        if all(area[ground.wall.at(place)].sum() > 0.0 for place in PLACES[:2]):
            return deposit
        axial *= BRIDGE_STEP
    raise MeshError(
        f"{volume_mm3 / MM3_PER_ML:g} mL do not bridge the endplates of {ground.body.level}; raise the volume, or use "
        'shape = "interdigitated"'
    )


def _first_stretch(ground: Ground, tips: Floats, volume_mm3: float) -> float:
    """Factor on axial lengths for a spheroid about each tip that would reach past both endplates.

    A spheroid of half-axes r and a, cut at the endplates a / 1.3 above and below its centre, holds
    pi r^2 (2 a / 1.3) (1 - 1 / (3 1.3^2)); the factor is r / a.
    """
    at = ground.points_mm[ground.wall_corners].mean(axis=1)
    up = (at - ground.body.centre_mm) @ ground.body.axes[2]
    levels = [float(np.median(up[ground.wall.at(place)])) for place in PLACES[:2]]
    tip = float(np.mean((tips - ground.body.centre_mm) @ ground.body.axes[2]))
    half = BRIDGE_REACH * max(levels[0] - tip, tip - levels[1], 1.0)
    bulk = volume_mm3 / len(tips) / float(np.average(ground.space, weights=ground.room_mm3))
    share = 2.0 / BRIDGE_REACH * (1.0 - 1.0 / (3.0 * BRIDGE_REACH**2))
    return float(np.sqrt(bulk / (np.pi * half * share)) / half)
