"""What a segment has besides bone: discs, ligaments, facets, and the cable of a follower load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kyphos import fem, materials, meshes

from .bench import FOLLOWER, LINE
from .plan import MeasureStage, Stage
from .tables import HINGED

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

ALONG_BODIES = ("ALL", "PLL")
"""Ligaments that stay where the posterior elements are cut off: the arches bear all others, and the facets."""

TISSUE_GRADE = {"healthy": 1, "mild": 3, "moderate": 4, "severe": 5}
"""Grade of a disc -> that of its tissues; the pairs have one height (card ``disc-degeneration``, ``meshes.GRADES``)."""


def disc_blocks(mesh: meshes.SegmentMesh, grades: Mapping[str, str]) -> list[materials.Block]:
    """Materials of all discs, by the grades of those that are not healthy; none for a vertebra alone.

    Raises
    ------
    MaterialError
        A card that is no tissue of the disc.
    """
    blocks: list[materials.Block] = []
    for name, disc in mesh.discs.items():
        grade = TISSUE_GRADE[grades.get(name, "healthy")]
        nucleus = materials.degenerated(materials.load_card("nucleus"), grade)
        blocks.append(materials.Block(nucleus.law, *_alike(nucleus, mesh.cells_in(f"{name}.nucleus"))))
        cartilage = materials.load_card("cartilage-endplate")
        cells = mesh.cells_in(f"{name}.superior_cartilage", f"{name}.inferior_cartilage")
        blocks.append(materials.Block(cartilage.law, *_alike(cartilage, cells)))
        blocks.append(_annulus(mesh, disc, grade))
    return blocks


def _alike(card: materials.Card, cells: Ids) -> tuple[Ids, Array]:
    return cells, np.tile(card.row(), (len(cells), 1))


def _annulus(mesh: meshes.SegmentMesh, disc: meshes.Disc, grade: int) -> materials.Block:
    """Fibres as the mesh has them: around the disc, at the card's angle to its plane."""
    around, up = disc.fibres.sum(axis=1), np.tile(disc.axes[2], (len(disc.fibres), 1))
    layer = np.array([int(mesh.region_names[i].rpartition("_")[2]) for i in mesh.region[disc.annulus_cells]])
    law, rows = materials.annulus_rows(
        around,
        up,
        (layer - 0.5) / disc.annulus_layers,
        ground=materials.degenerated(materials.load_card("annulus-ground"), grade),
        fibres=materials.degenerated(materials.load_card("annulus-fibres"), grade),
    )
    return materials.Block(law, disc.annulus_cells, rows)


class _Points:
    """Points of links, each with the nodes and weights that carry it."""

    def __init__(self, mesh: meshes.SegmentMesh) -> None:
        self.mesh = mesh
        self.ids: list[Ids] = []
        self.weights: list[Array] = []

    def add(self, ids: Ids, weights: Array) -> int:
        """The number of the new point."""
        self.ids.append(ids)
        self.weights.append(weights)
        return len(self.ids) - 1

    def carried(self, ids: Ids, at_mm: Array) -> int:
        """The number of a point at (3,) that the nodes carry together."""
        row = fem.carried_points(self.mesh.points_mm, [ids], at_mm).toarray()[0]
        return self.add(ids, row[ids])

    def places_mm(self) -> Array:
        """(k, 3) at rest."""
        return np.array([w @ self.mesh.points_mm[i] for i, w in zip(self.ids, self.weights, strict=True)])

    def matrix(self) -> sp.csr_array:
        """(k, n) weights of all nodes."""
        return fem.point_weights(self.ids, self.weights, len(self.mesh.points_mm))


def segment_links(mesh: meshes.SegmentMesh, posterior: bool = True) -> fem.Links | None:
    """Ligaments, facet stops and the follower's cable of a segment; None for a vertebra alone.

    In the shape that was meshed ligaments bear nothing, and are as slack as their cards say; facets have the gap of
    theirs. Without ``posterior`` parts the ligaments along the bodies are left. The cable runs from platen to platen
    through the middles of the bodies.
    """
    if not mesh.links:
        return None
    points = _Points(mesh)
    kept = [link for link in mesh.links if posterior or link.name in ALONG_BODIES]
    springs = _springs(points, [link for link in kept if link.normal is None])
    facets = [link for link in kept if link.normal is not None]
    stops = _stops(points, facets) if facets else None
    path = np.array([points.carried(ids, at) for ids, at in _follower_points(mesh)])
    return fem.Links(points.matrix(), springs, stops, fem.Cables((FOLLOWER,), (path,)))


def _springs(points: _Points, links: Sequence[meshes.Link]) -> fem.Springs:
    ends, rows = [], []
    for link in links:
        kind = link.name.partition("_")[0]
        toe_n, stiff_n, transition, slack, _ = materials.ligament_row(f"ligament-{kind.lower()}")
        ends.append([points.add(link.upper_ids, link.upper_weights), points.add(link.lower_ids, link.lower_weights)])
        rows.append([(1.0 + slack) * link.length_mm, toe_n, stiff_n, transition])
    return fem.Springs(np.array(ends), *np.array(rows).T)


def _stops(points: _Points, links: Sequence[meshes.Link]) -> fem.Stops:
    stiffness, gap, rounding = materials.facet_row()
    ends = []
    for link in links:
        assert link.normal is not None, "the caller has picked the facets"
        base = points.add(link.lower_ids, link.lower_weights)
        tip = points.carried(link.lower_ids, link.lower_mm + link.normal)
        ends.append([base, tip, points.add(link.upper_ids, link.upper_weights)])
    count = len(ends)
    return fem.stops_at_rest(
        points.places_mm(), np.array(ends), np.full(count, gap), np.full(count, stiffness), rounding
    )


def _follower_points(mesh: meshes.SegmentMesh) -> list[tuple[Ids, Array]]:
    """Carriers (k,) and places (3,) of the points that a follower load runs through, from the top down.

    Bodies carry their middle by the rims of both endplates, which are stiff and wide and stay bone.
    """
    found = []
    for level, body in mesh.bodies.items():
        wall = np.unique(mesh.face_sets[f"{level}.wall"])
        rims = [np.intersect1d(wall, mesh.node_sets[f"{level}.{end}_endplate"]) for end in ("superior", "inferior")]
        found.append((np.concatenate(rims), body.centre_mm))
    upper, lower = (mesh.node_sets[name] for name in ("superior_platen", "inferior_platen"))
    (_, first), (_, final) = found[0], found[-1]
    ends = [np.array([*at[:2], mesh.points_mm[ids, 2].mean()]) for ids, at in ((upper, first), (lower, final))]
    return [(upper, ends[0]), *found, (lower, ends[1])]


def boundary_condition(stages: Iterable[Stage]) -> dict[str, str]:
    """Name of each stage that looks at the neighbours -> how the segment is held and loaded meanwhile, in words."""
    return {
        stage.name: f"{stage.adjacent_n:g} N {_PATHS[stage.path or LINE]}; {_held(stage)}"
        for stage in stages
        if isinstance(stage, MeasureStage) and stage.adjacent_n is not None
    }


def _held(stage: MeasureStage) -> str:
    """How the pots are held in a stage, in words."""
    if stage.tilt_deg is None:
        return HINGED
    return f"lower pot fixed, upper pot guided and kept {stage.tilt_deg:g} degrees forwards"


def load_case_conditions(stages: Iterable[Stage]) -> dict[str, str]:
    """Name of each load case under which the segment is looked at -> how it is held and loaded, in words."""
    cases = (stage.load_case or {} for stage in stages if isinstance(stage, MeasureStage))
    return {name: case.words for some in cases for name, case in some.items()}


_PATHS = {
    LINE: "on a line through the hinge",
    FOLLOWER: "as a follower load, a cable from pot to pot through the middles of the bodies",
}
