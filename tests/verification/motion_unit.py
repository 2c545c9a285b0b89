"""A motion segment made of elliptic cylinders: bone, endplates, cartilage, disc; with ligaments and facets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kyphos import materials
from kyphos.fem import (
    FORMULATIONS,
    Cables,
    Discretisation,
    Links,
    Load,
    Platen,
    Springs,
    State,
    Structure,
    carried_points,
    discretise,
    stops_at_rest,
)
from kyphos.materials import LINEAR_ELASTIC, Block, MaterialField, annulus_rows, load_card

HALF_WIDTH, HALF_DEPTH = 26.0, 19.0  # mm; area 1552 mm2, a lumbar disc
NUCLEUS_SHARE = 0.43  # of the area
BONE, ENDPLATE, CARTILAGE, DISC = 20.0, 0.8, 0.8, 10.0  # heights, mm


def round_grid(core: int, rings: int, radii: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Quads of a disc: a square core of ``core`` cells a side, ``rings`` rings to the first circle, one to each next.

    Points (n, 2), quads (m, 4), counter-clockwise.
    """
    s = np.linspace(-1.0, 1.0, core + 1)
    x, y = np.meshgrid(s, s, indexing="ij")
    bulge = 0.6  # of the core's sides, towards the circle
    shrink = (1.0 - bulge) + bulge / np.maximum(np.hypot(x, y) / np.maximum(np.maximum(abs(x), abs(y)), 1e-12), 1.0)
    points = [0.5 * radii[0] * np.stack([x * shrink, y * shrink], axis=-1).reshape(-1, 2)]
    ids = np.arange((core + 1) ** 2).reshape(core + 1, core + 1)
    quads = [np.stack([ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]], axis=-1).reshape(-1, 4)]
    rim = np.concatenate([ids[:-1, 0], ids[-1, :-1], ids[:0:-1, -1], ids[0, :0:-1]])
    inner = points[0][rim]
    angle = np.arctan2(inner[:, 1], inner[:, 0])
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    places = [inner + (radii[0] * circle - inner) * ring / rings for ring in range(1, rings + 1)]
    for place in places + [radius * circle for radius in radii[1:]]:
        new = sum(map(len, points)) + np.arange(rim.size)
        points.append(place)
        quads.append(np.stack([rim, new, np.roll(new, -1), np.roll(rim, -1)], axis=-1))
        rim = new
    return np.concatenate(points), np.concatenate(quads)


def extruded(plane: np.ndarray, quads: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hex8 mesh of a plane mesh between the heights (k,); cells layer by layer."""
    n = len(plane)
    points = np.concatenate([np.column_stack([plane, np.full(n, z)]) for z in heights])
    layers = [np.concatenate([quads + k * n, quads + (k + 1) * n], axis=1) for k in range(len(heights) - 1)]
    return points, np.concatenate(layers)


@dataclass(frozen=True)
class Unit:
    """A meshed unit: cells by region, and where its disc's nucleus is."""

    mesh: Discretisation
    field: MaterialField
    region: np.ndarray
    platens: tuple[Platen, Platen]
    links: Links | None

    @property
    def structure(self) -> Structure:
        return Structure(self.mesh, self.field, self.platens, links=self.links)

    def start(self) -> tuple[Structure, State, Load]:
        """Structure, state at rest and a load that holds the lower platen."""
        structure = self.structure
        state = structure.initial_state(self.field.initial_state())
        load = structure.free_load(state)
        fixed = load.fixed.copy()
        fixed[structure.platen_slice("lower")] = True
        return structure, state, replace(load, fixed=fixed)


def motion_unit(
    core: int = 6,
    rings: int = 2,
    annulus: int = 4,
    layers: int = 4,
    *,
    grade: int = 1,
    fibres: str = "annulus-fibres",
    nucleus: str = "nucleus",
    formulation: str = "mean_dilatation",
    linked: bool = True,
) -> Unit:
    """The unit with a nucleus of ``core`` x ``core`` cells and ``rings`` rings, and ``annulus`` rings around it."""
    plane, quads = round_grid(core, rings, np.linspace(np.sqrt(NUCLEUS_SHARE), 1.0, annulus + 1).tolist())
    plane = plane * [HALF_WIDTH, HALF_DEPTH]
    bone = np.linspace(0.0, BONE, max(core // 2, 2) + 1)
    up = [bone, BONE + np.array([ENDPLATE]), BONE + ENDPLATE + np.array([CARTILAGE])]
    lower = np.concatenate(up)
    disc = lower[-1] + np.linspace(0.0, DISC, layers + 1)[1:]
    upper = disc[-1] + lower[-1] - lower[::-1][1:]
    heights = np.concatenate([lower, disc, upper])
    points, cells = extruded(plane, quads, heights)
    middle = points[cells].mean(axis=1)
    region = _regions(middle, lower[-1], disc[-1])
    soft = np.isin(region, ["nucleus", "annulus"])
    codes = np.where(soft, FORMULATIONS[formulation], FORMULATIONS["enhanced"]).astype(np.int8)
    mesh = discretise(points, cells, codes)
    field = _field(middle, region, grade, fibres, nucleus, mesh.n_points)
    ends = [np.flatnonzero(points[:, 2] < 1e-9), np.flatnonzero(points[:, 2] > heights[-1] - 1e-9)]
    platens = (
        Platen("lower", ends[0], np.array([0.0, 0.0, 0.0])),
        Platen("upper", ends[1], np.array([0.0, 0.0, heights[-1]])),
    )
    return Unit(mesh, field, region, platens, _links(points, lower[-1], disc[-1]) if linked else None)


def share_of_radius(middle: np.ndarray) -> np.ndarray:
    """(m,) distance from the axis, one at the wall."""
    return np.hypot(middle[:, 0] / HALF_WIDTH, middle[:, 1] / HALF_DEPTH)


def _regions(middle: np.ndarray, floor: float, roof: float) -> np.ndarray:
    beyond = np.where(middle[:, 2] < floor, floor - middle[:, 2], middle[:, 2] - roof)
    region = np.where(beyond < CARTILAGE, "cartilage", np.where(beyond < CARTILAGE + ENDPLATE, "endplate", "bone"))
    inside = (middle[:, 2] > floor) & (middle[:, 2] < roof)
    return np.where(
        inside, np.where(share_of_radius(middle) < np.sqrt(NUCLEUS_SHARE), "nucleus", "annulus"), region
    ).astype(object)


def _field(middle, region, grade, fibres, nucleus, n_points) -> MaterialField:
    blocks = []
    for name, young in (("bone", 300.0), ("endplate", 1000.0)):
        row = LINEAR_ELASTIC.row(youngs_modulus_mpa=young, poisson_ratio=0.3)
        blocks.append(Block(LINEAR_ELASTIC, np.flatnonzero(region == name), row))
    cartilage = load_card("cartilage-endplate")
    blocks.append(Block(cartilage.law, np.flatnonzero(region == "cartilage"), cartilage.row()))
    core = materials.degenerated(load_card(nucleus), grade)
    blocks.append(Block(core.law, np.flatnonzero(region == "nucleus"), core.row()))
    ring = np.flatnonzero(region == "annulus")
    place = middle[ring]
    around = np.column_stack([-place[:, 1] / HALF_DEPTH**2, place[:, 0] / HALF_WIDTH**2, np.zeros(ring.size)])
    inner = np.sqrt(NUCLEUS_SHARE)
    depth = np.clip((1.0 - share_of_radius(place)) / (1.0 - inner), 0.0, 1.0)
    up = np.broadcast_to([0.0, 0.0, 1.0], place.shape)
    tissues = {
        "ground": materials.degenerated(load_card("annulus-ground"), grade),
        "fibres": materials.degenerated(load_card(fibres), grade),
    }
    law, rows = annulus_rows(around, up, depth, **tissues)
    blocks.append(Block(law, ring, rows))
    return MaterialField(tuple(blocks), len(region), n_points)


LIGAMENTS = {  # x, y of those that run upright, mm
    "all": [(0.0, HALF_DEPTH)],
    "pll": [(0.0, -HALF_DEPTH)],
    "lf": [(-8.0, -35.0), (8.0, -35.0)],
    "isl": [(0.0, -50.0)],
    "ssl": [(0.0, -65.0)],
}


def _links(points: np.ndarray, floor: float, roof: float) -> Links:
    """Ligaments as long as their cards say, facets, a follower through the bodies' middles.

    All run upright but the capsular ones, which cross their joints.
    """
    below, above = np.flatnonzero(points[:, 2] < 0.6 * floor), np.flatnonzero(points[:, 2] > roof + 0.4 * floor)
    middle = 0.5 * (floor + roof)
    at, carriers, pairs, rows = [], [], [], []

    def carried(place, nodes):
        at.append(place)
        carriers.append(nodes)
        return len(at) - 1

    for name, spots in LIGAMENTS.items():
        toe, stiff, transition, slack, length = materials.ligament_row(f"ligament-{name}")
        for x, y in spots:
            ends = [
                carried([x, y, middle + half], nodes) for half, nodes in ((-length / 2, below), (length / 2, above))
            ]
            pairs.append(ends)
            rows.append([(1.0 + slack) * length, toe / len(spots), stiff / len(spots), transition])
    stiffness, gap, rounding = materials.facet_row()
    toe, stiff, transition, slack, length = materials.ligament_row("ligament-cl")
    triples = []
    for side in (-1.0, 1.0):
        base = np.array([side * 16.0, -38.0, middle])
        normal = np.array([-side * 0.5, -0.8, 0.33])  # the lower body's facet faces back, inwards and up
        triples.append([carried(base, below), carried(base + normal, below), carried(base, above)])
        pairs.append([carried(base, below), carried(base + length * normal, above)])
        rows.append([(1.0 + slack) * length * np.linalg.norm(normal), toe, stiff, transition])
    path = np.array([carried([0.0, 0.0, z], nodes) for z, nodes in ((0.5 * floor, below), (roof + 0.5 * floor, above))])
    triples = np.array(triples)
    at = np.array(at)
    stops = stops_at_rest(at, triples, np.full(2, gap), np.full(2, stiffness), rounding)
    springs = Springs(np.array(pairs), *np.array(rows).T)
    return Links(carried_points(points, carriers, at), springs, stops, Cables(("follower",), (path,)))
