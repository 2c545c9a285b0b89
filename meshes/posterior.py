"""Where ligaments and facets of a joint act: points from the bodies' dimensions, and the nodes that carry them.

The posterior elements have no cells. Their points are shares of the body's size, measured on the surfaces of the
Visible Human male, L1 to L5 (`tools/make_specimens.py` prints them; means over the levels), one man of 39 years: every
one is `assumed` for anybody else. Joints above L1-L2, which those surfaces lack, take its values, but for the facets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kyphos.errors import MeshError
from kyphos.meshes.model import Body, Floats, Ints, Link, SegmentMesh

LAMINA_LOW = (-0.48, 0.40)
"""Upper end of the ligamentum flavum: height share from the middle, depth share behind the wall (0.33-0.52)."""
LAMINA_HIGH = (0.10, 0.36)
"""Lower end of the ligamentum flavum, on the next lamina (0.30-0.46)."""
SPINE_LOW = (-0.79, 1.01)
"""Upper end of the ISL, on the lower edge of the spinous process: height share (-0.65 to -0.85), depth share.

Fibres of the ISL run backwards and up (Heylings 1978, recalled), here from the front to the back third of the
processes, which reach from the lamina, 0.38 depths behind the wall, to the tip; edges were measured at half length."""
SPINE_HIGH = (0.01, 0.70)
"""Lower end of the ISL, on the upper edge of the next spinous process (0.07 to -0.03)."""
TIP = (-0.53, 1.31)
"""Middle of the tip of the spinous process, where the SSL takes hold: its back corners lie at height shares of
-0.77 (-0.72 to -0.86) and -0.29 (-0.24 to -0.37), 1.28-1.38 depths behind the wall."""
FACET_BEHIND = 0.47
"""Facet's centre behind the lower body's wall, share of its depth (0.43-0.52)."""
FACET_HEIGHT = 0.40
"""Facet's centre above the lower body's middle, share of its height (0.37-0.43)."""
FACET_RISE_DEG = 19.0
"""The lower vertebra's facets look up by this angle (14-25)."""
FACET_GAP_MM = 0.5
"""Free way between the cartilages before a facet closes (J22; 0.1-1 mm)."""
CAPSULE_MM = 5.0
"""Length of a capsular ligament across the joint's gap, as its fibres run (assumed; J06 has 2.2 mm)."""
LEAST_LENGTH_MM = 5.0
"""Processes that would come closer than this end earlier (assumed; distances of 3-22 mm are seen: H20)."""
RIM_MM = 1.5
"""ALL and PLL hold the wall over a patch around this distance from the rim (assumed; lengths as in J04, J06)."""
PATCH_MM = 4.0


@dataclass(frozen=True, slots=True)
class FacetPair:
    """Both facets of a joint.

    Parameters
    ----------
    half_distance
        Distance of a facet's centre from the midline, share of the lower body's half width.
    sagittal_deg
        Angle of the joint's plane to the sagittal plane: 0 stops rotation, 90 stops forward shear.
    """

    half_distance: float
    sagittal_deg: float

    def __post_init__(self) -> None:
        if not (0.2 <= self.half_distance <= 1.2 and 0.0 <= self.sagittal_deg <= 90.0):
            raise MeshError(
                f"facets at half_distance={self.half_distance:g} and sagittal_deg={self.sagittal_deg:g}: "
                "the first must lie in [0.2, 1.2], the second in [0, 90]"
            )


# From L1-L2 on the Visible Human's; T12-L1 as L1-L2, T11-T12 with the coronal facets of a chest vertebra (assumed).
FACETS = {
    "T11_T12": FacetPair(0.55, 75.0),
    "T12_L1": FacetPair(0.53, 20.0),
    "L1_L2": FacetPair(0.53, 20.0),
    "L2_L3": FacetPair(0.50, 17.0),
    "L3_L4": FacetPair(0.58, 27.0),
    "L4_L5": FacetPair(0.70, 30.0),
}


def with_links(mesh: SegmentMesh) -> SegmentMesh:
    """The segment with the ligaments and facets of all its joints."""
    carriers = {level: _arch_carriers(mesh, body) for level, body in mesh.bodies.items()}
    links: list[Link] = []
    for disc in mesh.discs.values():
        upper, lower = (_End(mesh, mesh.bodies[level], carriers[level]) for level in (disc.upper, disc.lower))
        links += _along_walls(mesh, upper, lower) + _behind(upper, lower) + _facets(upper, lower, FACETS[disc.name])
    return replace(mesh, links=tuple(links))


@dataclass(frozen=True, slots=True)
class _End:
    """One body of a joint and the nodes that carry its arch."""

    mesh: SegmentMesh
    body: Body
    carriers: Ints

    def local(self, ids: Ints) -> Floats:
        """Positions (k, 3) of nodes in the body's frame."""
        positions: Floats = (self.mesh.points_mm[ids] - self.body.centre_mm) @ self.body.axes.T
        return positions

    def point(self, right_mm: float, behind: float, height: float) -> Floats:
        """A point (3,) `behind` depths behind the posterior wall and `height` heights above the middle."""
        body = self.body
        wall = self.local(self.mesh.face_sets[f"{body.level}.wall"].ravel())
        back = wall[np.abs(wall[:, 0]) < 0.1 * body.width_mm, 1].min()
        at = np.array([right_mm, back - behind * body.depth_mm, height * body.height_mm])
        point: Floats = body.centre_mm + at @ body.axes
        return point

    def weights(self, point_mm: Floats) -> Floats:
        """Weights (k,) of the carriers for a point: least squares with sum 1 and first moment at the point."""
        nodes = self.mesh.points_mm[self.carriers]
        system = np.vstack([np.ones(len(nodes)), (nodes - nodes.mean(axis=0)).T])
        target = np.concatenate([[1.0], point_mm - nodes.mean(axis=0)])
        weights: Floats = np.linalg.lstsq(system, target, rcond=None)[0]
        return weights


def _arch_carriers(mesh: SegmentMesh, body: Body) -> Ints:
    """Nodes (k,) of the outer wall where the pedicles spring: the back third, from below the middle to the top."""
    ids = np.unique(mesh.face_sets[f"{body.level}.wall"])
    local = (mesh.points_mm[ids] - body.centre_mm) @ body.axes.T
    back = local[:, 1].min()
    held = (local[:, 1] < back + body.depth_mm / 3.0) & (local[:, 2] > -0.15 * body.height_mm)
    chosen: Ints = ids[held]
    return chosen


def _along_walls(mesh: SegmentMesh, upper: _End, lower: _End) -> list[Link]:
    """Anterior and posterior longitudinal ligaments, each between two patches of wall near the rims."""
    links = []
    for name, side in (("ALL", 1.0), ("PLL", -1.0)):
        ends = []
        for end, plate in ((upper, "inferior_endplate"), (lower, "superior_endplate")):
            rim = np.intersect1d(mesh.face_sets[f"{end.body.level}.wall"], mesh.node_sets[f"{end.body.level}.{plate}"])
            local = end.local(rim)
            middle = rim[np.argmin(np.abs(local[:, 0]) - side * local[:, 1])]
            inward = -1.0 if plate.startswith("superior") else 1.0
            aim = mesh.points_mm[middle] + inward * RIM_MM * end.body.axes[2]
            wall = np.unique(mesh.face_sets[f"{end.body.level}.wall"])
            away = np.linalg.norm(mesh.points_mm[wall] - aim, axis=1) / PATCH_MM
            ids = wall[away < 1.0]
            weights = (1.0 - away[away < 1.0]) ** 2
            weights /= weights.sum()
            ends.append((weights @ mesh.points_mm[ids], ids, weights))
        links.append(_link(name, upper, lower, ends[0], ends[1]))
    return links


def _behind(upper: _End, lower: _End) -> list[Link]:
    """Ligamentum flavum, interspinous and supraspinous ligaments, in the midline."""
    places = {"LF": (LAMINA_LOW, LAMINA_HIGH), "ISL": (SPINE_LOW, SPINE_HIGH), "SSL": (TIP, TIP)}
    links = []
    for name, ((low, depth), (high, next_depth)) in places.items():
        above, below = upper.point(0.0, depth, low), lower.point(0.0, next_depth, high)
        up = lower.body.axes[2]
        lack = max(0.0, LEAST_LENGTH_MM - float((above - below) @ up))
        links.append(_carried(name, upper, lower, above + 0.5 * lack * up, below - 0.5 * lack * up))
    return links


def _facets(upper: _End, lower: _End, pair: FacetPair) -> list[Link]:
    """Both facets, and the capsular ligaments, whose fibres cross the gap: facets glide, before these are taut."""
    links = []
    turn, rise = np.radians(pair.sagittal_deg), np.radians(FACET_RISE_DEG)
    for side, right in (("left", -1.0), ("right", 1.0)):
        flat = np.array([-right * np.cos(turn), -np.sin(turn), 0.0])
        normal = (np.cos(rise) * flat + np.sin(rise) * np.array([0.0, 0.0, 1.0])) @ lower.body.axes
        base = lower.point(right * pair.half_distance * 0.5 * lower.body.width_mm, FACET_BEHIND, FACET_HEIGHT)
        top = base + FACET_GAP_MM * normal
        links.append(_carried(f"facet_{side}", upper, lower, top, base, normal))
        middle, half = 0.5 * (base + top), 0.5 * CAPSULE_MM * normal
        links.append(_carried(f"CL_{side}", upper, lower, middle + half, middle - half))
    return links


def _carried(
    name: str, upper: _End, lower: _End, upper_mm: Floats, lower_mm: Floats, normal: Floats | None = None
) -> Link:
    """A link between two points of the arches."""
    above = (upper_mm, upper.carriers, upper.weights(upper_mm))
    below = (lower_mm, lower.carriers, lower.weights(lower_mm))
    return _link(name, upper, lower, above, below, normal)


def _link(
    name: str,
    upper: _End,
    lower: _End,
    above: tuple[Floats, Ints, Floats],
    below: tuple[Floats, Ints, Floats],
    normal: Floats | None = None,
) -> Link:
    """Put together a link from (point, carriers, weights) at both ends."""
    return Link(
        name, upper.body.level, lower.body.level, above[0], below[0], above[1], above[2], below[1], below[2], normal
    )
