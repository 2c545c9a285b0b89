"""A coupon in the testing machine: its mesh, its material, and how it is held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, materials, meshes
from kyphos.errors import MaterialError, StudyError
from kyphos.units import MG_PER_G

from .bench import BOTTOM, TOP, Array, Bench, Ids, mounted, platens
from .plan import BendStage
from .spec import StudySpec
from .tables import Coupon

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Grips:
    """A rig that holds some freedoms for good and drives one other.

    Attributes
    ----------
    driven
        Place in q of the freedom that the actuator moves, up.
    still
        (N,) freedoms that are held.
    """

    driven: int
    still: Mask

    def axis(self, structure: fem.Structure) -> int:
        """The driven freedom."""
        return self.driven

    def held(self, structure: fem.Structure, state: fem.State, locked: bool) -> fem.Load:
        """What is held, in its present place; ``locked`` says nothing here."""
        return replace(structure.free_load(state), fixed=self.still)


def coupon_of(spec: StudySpec) -> Coupon:
    """The coupon of a study that has one."""
    assert spec.coupon is not None, "the caller asks only when there is a coupon"
    return spec.coupon


def section_mm2(coupon: Coupon) -> float:
    """Area of the section that carries the load along z; of the waist, if there is one."""
    if coupon.shape == "cube":
        return _size(coupon, "length_mm") ** 2
    return 0.25 * np.pi * _size(coupon, "diameter_mm") ** 2


def gauge_mm(coupon: Coupon) -> float:
    """Length over which strain is measured: between the platens, or the gauge length of a waisted bar."""
    return _size(coupon, "gauge_length_mm" if coupon.shape == "waisted" else "length_mm")


def _size(coupon: Coupon, key: str) -> float:
    value = getattr(coupon, key)
    assert value is not None, "the coupon table has filled in the sizes of its shape"
    return float(value)


def build_coupon(spec: StudySpec) -> meshes.SegmentMesh:
    """Mesh of a study's coupon, with the density of its bone; MeshError if its sizes cannot be meshed."""
    coupon, size_mm = coupon_of(spec), spec.mesh.element_size_mm
    if coupon.shape == "bar":
        length, width, height = (_size(coupon, key) for key in ("length_mm", "width_mm", "thickness_mm"))
        spans = (span for s in spec.stage if isinstance(s, BendStage) for span in (s.support_span_mm, s.load_span_mm))
        mesh = meshes.box_coupon(
            length, width, height, size_mm, [sign * 0.5 * span for span in spans for sign in (-1.0, 1.0)]
        )
    elif coupon.shape == "cube":
        edge = _size(coupon, "length_mm")
        mesh = meshes.box_coupon(edge, edge, edge, size_mm)
    else:
        mesh = meshes.round_coupon(
            _size(coupon, "diameter_mm"),
            _size(coupon, "length_mm"),
            size_mm,
            gauge_length_mm=coupon.gauge_length_mm,
            grip_diameter_mm=coupon.grip_diameter_mm,
            fillet_radius_mm=coupon.fillet_radius_mm,
        )
    meshes.check_quality(mesh)
    return mesh if coupon.density_mg_per_cc is None else replace(mesh, density_g_per_cc=_density(coupon, mesh))


def _density(coupon: Coupon, mesh: meshes.SegmentMesh) -> Array:
    """(m,) density, lower around half length if the coupon has a soft band."""
    assert coupon.density_mg_per_cc is not None
    z = meshes.cell_centroids_mm(mesh.points_mm, mesh.cells)[:, 2]
    away = (z - 0.5 * np.ptp(mesh.points_mm[:, 2])) / (0.25 * coupon.soft_width_mm)
    return coupon.density_mg_per_cc / MG_PER_G * (1.0 - coupon.soft_share * np.exp(-0.5 * away**2))


def check_card(coupon: Coupon) -> None:
    """Load the card of a coupon; MaterialError where there is none, or its density is missing or of no use."""
    card = materials.load_card(coupon.card)
    is_bone = card.law is materials.CRUSHABLE_BONE
    if is_bone and coupon.density_mg_per_cc is None:
        materials.card_rows(card, 1.0)  # some bone does without
    if not is_bone and coupon.density_mg_per_cc is not None:
        raise MaterialError(f"[coupon] card {card.name!r} does not depend on density; remove density_mg_per_cc")
    if not is_bone and coupon.soft_share > 0.0:
        raise MaterialError(f"[coupon] card {card.name!r} does not depend on density; remove soft_share")


def coupon_field(coupon: Coupon, mesh: meshes.SegmentMesh) -> materials.MaterialField:
    """Material of all cells, by the coupon's card."""
    check_card(coupon)
    card, cells = materials.load_card(coupon.card), np.arange(len(mesh.cells))
    size = np.cbrt(meshes.cell_volumes_mm3(mesh.points_mm, mesh.cells))
    rows = materials.card_rows(card, size, mesh.density_g_per_cc, coupon.density_mg_per_cc)
    return materials.MaterialField((materials.Block(card.law, cells, rows),), len(cells), 8)


def mount_coupon(spec: StudySpec, mesh: meshes.SegmentMesh) -> Bench:
    """The coupon in its machine, unloaded."""
    coupon = coupon_of(spec)
    field = coupon_field(coupon, mesh)
    bent = coupon.shape == "bar"
    cells = fem.discretise(mesh.points_mm, mesh.cells, "enhanced" if bent else "mean_dilatation")
    cells = replace(cells, small_strain=coupon.strains == "engineering")
    if bent:
        stages = [stage for stage in spec.stage if isinstance(stage, BendStage)]
        if len({(stage.support_span_mm, stage.load_span_mm) for stage in stages}) > 1:
            raise StudyError(
                "the stages of a bar differ in their spans; a bar stays on its rollers, make two studies of it"
            )
        structure, rig = _on_rollers(mesh, cells, field, stages[0])
    elif coupon.ends == "stick":
        structure, rig = _in_grips(mesh, cells, field)
    else:
        structure, rig = _on_greased_platens(mesh, cells, field)
    return mounted(mesh, structure, field, rig)


def _in_grips(
    mesh: meshes.SegmentMesh, cells: fem.Discretisation, field: materials.MaterialField
) -> tuple[fem.Structure, Grips]:
    """End faces stick to rigid platens that come together without tilting."""
    structure = fem.Structure(cells, field, platens(mesh))
    still = np.zeros(structure.size, dtype=bool)
    for name in (TOP, BOTTOM):
        still[structure.platen_slice(name)] = True
    driven = structure.platen_slice(TOP).start + 2
    still[driven] = False
    return structure, Grips(driven, still)


def _on_greased_platens(
    mesh: meshes.SegmentMesh, cells: fem.Discretisation, field: materials.MaterialField
) -> tuple[fem.Structure, Grips]:
    """End faces stay plane and slide; the middle of the lower one keeps its place."""
    low, high = mesh.node_sets[BOTTOM], mesh.node_sets[TOP]
    held = [*(3 * low + 2), *_in_place(mesh.points_mm, low)]
    return _tied(cells, field, high, held)


def _on_rollers(
    mesh: meshes.SegmentMesh, cells: fem.Discretisation, field: materials.MaterialField, stage: BendStage
) -> tuple[fem.Structure, Grips]:
    """Two lines below hold a bar up, two lines above press it down together."""
    x = np.abs(mesh.points_mm[:, 0])

    def line(face: str, span_mm: float) -> Ids:
        nodes = mesh.node_sets[face]
        return nodes[np.isclose(x[nodes], 0.5 * span_mm)]

    below = mesh.node_sets[BOTTOM]
    held = [*(3 * line(BOTTOM, stage.support_span_mm) + 2), *_in_place(mesh.points_mm, below)]
    return _tied(cells, field, line(TOP, stage.load_span_mm), held)


def _in_place(points_mm: Array, face: Ids) -> list[int]:
    """Freedoms that keep a face from wandering off and from turning: x and y of its middle, y of a place beside it."""
    middle = face[np.argmin(np.linalg.norm(points_mm[face, :2], axis=1))]
    beside = face[np.argmin(np.abs(points_mm[face, 1]) - 1e-3 * points_mm[face, 0])]
    return [3 * int(middle), 3 * int(middle) + 1, 3 * int(beside) + 1]


def _tied(
    cells: fem.Discretisation, field: materials.MaterialField, together: Ids, held: Iterable[int]
) -> tuple[fem.Structure, Grips]:
    """Nodes that move up and down ``together`` follow the first of them, which is driven."""
    size, driven = 3 * len(cells.points_mm), 3 * int(together[0]) + 2
    still = np.zeros(size, dtype=bool)
    still[list(held)] = True
    taken = still.copy()
    taken[driven] = True
    equations = [((3 * int(node) + 2, 1.0), (driven, -1.0)) for node in together[1:]]
    structure = fem.Structure(cells, field, ties=fem.solve_ties(size, equations, taken))
    return structure, Grips(driven, still)
