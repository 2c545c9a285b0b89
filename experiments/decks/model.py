"""From a deck to what `kyphos.fem` solves: cells, laws, equations, stress-free strains.

Cells stand in groups of one element type and material each, not in the order of the deck: see ``Model.elements``.
Stresses are held in a unit in which moduli are below 1e6, so that a deck in Pa is solved as well as one in MPa.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, materials
from kyphos.errors import MaterialError, MeshError

from .deck import Deck, Material, Section, Term
from .lexer import Place
from .read_mesh import DIALECTS, KINDS

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
TiedTerms = tuple[list[tuple[int, float]], Place]

_LARGEST_MODULUS = 1e6
_STIFFEST_FILTER = 0.4999


@dataclass(frozen=True)
class Group:
    """Cells of one type and one section: element places (k,), first cell, type, section."""

    elements: Ids
    first: int
    kind: str
    section: int


@dataclass(frozen=True)
class Turned:
    """A material whose cells have axes of their own.

    Attributes
    ----------
    field
        The law in the material's axes.
    cells, turn
        (k,) and (k, 6, 6): strain in the material's axes = turn @ strain.
    """

    field: materials.MaterialField
    cells: Ids
    turn: Array

    def update(self, strain: Array, state: Array, dt_s: float, cycles: float) -> fem.Response:
        """As ``MaterialField.update``, in global axes."""
        local = strain.copy()
        local[self.cells] = np.einsum("kij,kqj->kqi", self.turn, strain[self.cells])
        found = self.field.update(local, state, dt_s, cycles)
        found.stress[self.cells] = np.einsum("kji,kqj->kqi", self.turn, found.stress[self.cells])
        tangent = np.einsum("kji,kqjl,klm->kqim", self.turn, found.tangent[self.cells], self.turn, optimize=True)
        found.tangent[self.cells] = tangent
        return found


@dataclass(frozen=True)
class Model:
    """A deck ready to be solved.

    Attributes
    ----------
    deck
        What was read.
    mesh
        All cells; nodes of the deck first, then one for the rotation of each rigid body without a ROT NODE.
    groups
        Which cells are which elements.
    field, material
        Laws of all cells, and the same in global axes.
    expansion
        (c, 6) thermal strain per degree in global axes.
    rotation
        For each rigid body the node whose dofs 1 to 3 are its rotation.
    stress_unit
        Stresses and forces of the deck are this times those in here.
    """

    deck: Deck
    mesh: fem.Discretisation
    groups: tuple[Group, ...]
    field: materials.MaterialField
    material: fem.Material
    expansion: Array
    rotation: tuple[int, ...]
    stress_unit: float

    @property
    def n_nodes(self) -> int:
        """Nodes of the mesh, those for rotations included."""
        return len(self.mesh.points_mm)

    @cached_property
    def elements(self) -> Ids:
        """(c,) element of every cell."""
        return np.concatenate([group.elements for group in self.groups])

    @cached_property
    def cell_of_element(self) -> Ids:
        """(m,) cell of every element."""
        out = np.empty_like(self.elements)
        out[self.elements] = np.arange(out.size)
        return out

    @cached_property
    def is_linear(self) -> bool:
        """Whether all laws are linear."""
        names = {block.law.name for block in self.field.blocks}
        return names <= {materials.LINEAR_ELASTIC.name, materials.TRANSVERSELY_ISOTROPIC.name}

    @cached_property
    def needs_finite_strain(self) -> bool:
        """Whether a law makes sense under finite strain only."""
        return any(material.hyperelastic for material in self.deck.materials.values())

    @cached_property
    def in_cells(self) -> NDArray[np.bool_]:
        """(n,) nodes of some cell."""
        found = np.zeros(self.n_nodes, dtype=bool)
        for part in self.mesh.parts:
            found[self.mesh.cells[part.cells, : part.element.n_nodes]] = True
        return found

    @cached_property
    def idle(self) -> NDArray[np.bool_]:
        """(3n,) freedoms that belong to no element, no equation and no rigid body: nothing bears a force there."""
        idle = np.repeat(~self.in_cells, 3)
        for terms, _ in [*self.equations, *self.rigid_equations]:
            idle[[at for at, _ in terms]] = False
        for body, rotation in zip(self.deck.rigid_bodies, self.rotation, strict=True):
            for node in (body.reference, rotation):
                idle[3 * node : 3 * node + 3] = False
        return idle

    def freedom(self, node: int, dof: int, place: Place, keyword: str) -> int:
        """Where a dof of a node stands among nodal displacements; DeckError if it has none."""
        if dof <= 3:
            return 3 * node + dof - 1
        for body, rotation in zip(self.deck.rigid_bodies, self.rotation, strict=True):
            if body.reference == node:
                return 3 * rotation + dof - 4
        raise place.error(
            f"*{keyword}: node {self.deck.node_ids[node]} has no dof {dof}; rotations (4 to 6) belong to "
            "reference nodes of rigid bodies"
        )

    def eigenstrain(self, warming: Array) -> Array | None:
        """(c, q, 6) thermal strain for the rise of temperature at all nodes (n,); None without expansion."""
        if not self.expansion.any():
            return None
        at_points = np.zeros(self.mesh.weight.shape)
        for part in self.mesh.parts:
            own = self.mesh.cells[part.cells, : part.element.n_nodes]
            shape = part.element.shape(part.element.points)
            at_points[part.cells, : len(shape)] = warming[own] @ shape.T
            at_points[part.cells, len(shape) :] = at_points[part.cells, :1]
        return np.asarray(at_points[:, :, None] * self.expansion[:, None, :])

    @cached_property
    def equations(self) -> list[TiedTerms]:
        """Terms (freedom, coefficient) of the deck's equations, with their lines."""
        rigid = {int(n) for body in self.deck.rigid_bodies for n in body.nodes}
        found = []
        for equation in self.deck.equations:
            if held := [t for t in equation.terms if t.node in rigid]:
                raise equation.place.error(
                    f"*EQUATION: node {self.deck.node_ids[held[0].node]} belongs to a rigid body; name its REF NODE"
                )
            found.append(([self._term(t, equation.place) for t in equation.terms], equation.place))
        return found

    def _term(self, term: Term, place: Place) -> tuple[int, float]:
        return self.freedom(term.node, term.dof, place, "EQUATION"), term.coefficient

    @cached_property
    def rigid_equations(self) -> list[TiedTerms]:
        """Rigid bodies under small rotation: u_i = u_ref + theta x r."""
        found = []
        for body, rotation in zip(self.deck.rigid_bodies, self.rotation, strict=True):
            for node in body.nodes:
                arm = self.mesh.points_mm[node] - self.mesh.points_mm[body.reference]
                for i in range(3):
                    j, k = (i + 1) % 3, (i + 2) % 3
                    terms = [(3 * int(node) + i, 1.0), (3 * body.reference + i, -1.0)]
                    terms += [(3 * rotation + j, -arm[k]), (3 * rotation + k, arm[j])]
                    found.append(([(at, float(c)) for at, c in terms if c], body.place))
        return found

    def structure(self, nlgeom: bool, held: NDArray[np.bool_], still: NDArray[np.bool_]) -> fem.Structure:
        """What is solved, given which nodal freedoms (3n,) are ever prescribed, and which are always zero.

        Raises
        ------
        DeckError
            An equation among prescribed freedoms only.
        """
        mesh, equations = replace(self.mesh, small_strain=not nlgeom), list(self.equations)
        platens, more = self._platens() if nlgeom else ((), self.rigid_equations)
        equations += more
        plain = fem.Structure(mesh, self.material, platens)
        if not equations:
            return plain
        rest = np.zeros(plain.size - held.size, dtype=bool)
        terms = [terms for terms, _ in equations]
        try:
            ties = fem.solve_ties(plain.size, terms, np.append(held, rest), np.append(still, rest))
        except fem.EquationError as error:
            place = equations[error.number][1]
            raise place.error(
                "*EQUATION: all its nodes are prescribed, by *BOUNDARY or through other equations; leave one free"
            ) from None
        return replace(plain, ties=ties)

    def _platens(self) -> tuple[tuple[fem.Platen, ...], list[TiedTerms]]:
        """Rigid bodies under any rotation; their motions follow the nodes that the deck speaks of."""
        platens, equations = list[fem.Platen](), list[TiedTerms]()
        for i, (body, rotation) in enumerate(zip(self.deck.rigid_bodies, self.rotation, strict=True)):
            platens.append(fem.Platen(f"rigid body {i + 1}", body.nodes, self.mesh.points_mm[body.reference]))
            motion = 3 * self.n_nodes + 6 * i
            for k in range(6):
                node = body.reference if k < 3 else rotation
                equations.append(([(motion + k, 1.0), (3 * node + k % 3, -1.0)], body.place))
        return tuple(platens), equations


def build_model(deck: Deck) -> Model:
    """Mesh, laws and constraints of a deck.

    Raises
    ------
    DeckError
        An element turned inside out, a constant that no law takes.
    """
    unit = _stress_unit(deck)
    points, rotation = _points(deck)
    groups = _groups(deck)
    mesh = fem.joined([_discretised(deck, points, group) for group in groups])
    laws = []
    for section in deck.sections:
        material = deck.materials[section.material]
        try:
            laws.append(_law(material, unit))
        except MaterialError as error:
            raise material.place.error(f"*MATERIAL: {material.name}: {error}") from None
    blocks = tuple(
        materials.Block(laws[g.section][0], g.first + np.arange(len(g.elements)), laws[g.section][1]) for g in groups
    )
    field = materials.MaterialField(blocks, len(mesh.cells), mesh.n_points)
    expansion = np.zeros((len(mesh.cells), 6))
    for group in groups:
        expansion[group.first : group.first + len(group.elements)] = _expansion(deck, deck.sections[group.section])
    return Model(deck, mesh, groups, field, _turned(deck, groups, field), expansion, rotation, unit)


def _points(deck: Deck) -> tuple[Array, tuple[int, ...]]:
    """All points, with one more for each rigid body without a ROT NODE; the rotation node of each body."""
    extra, rotation = list[Array](), list[int]()
    for body in deck.rigid_bodies:
        if body.rotation is None:
            rotation.append(len(deck.points_mm) + len(extra))
            extra.append(deck.points_mm[body.reference])
        else:
            rotation.append(body.rotation)
    return np.vstack([deck.points_mm, *extra]), tuple(rotation)


def _groups(deck: Deck) -> tuple[Group, ...]:
    kinds, names = np.unique(deck.kinds, return_inverse=True)
    label = names.ravel() * len(deck.sections) + deck.section
    groups, first = [], 0
    for value in np.unique(label):
        own = np.flatnonzero(label == value)
        groups.append(Group(own, first, str(kinds[value // len(deck.sections)]), int(value % len(deck.sections))))
        first += own.size
    return tuple(groups)


def _discretised(deck: Deck, points: Array, group: Group) -> fem.Discretisation:
    name, formulation = KINDS[group.kind]
    element = fem.ELEMENTS[name]
    if group.kind == "C3D8":
        formulation = DIALECTS[deck.dialect]
    nodes, first = np.empty((len(group.elements), element.n_nodes), dtype=np.int64), 0
    for block in deck.elements:
        here = (group.elements >= first) & (group.elements < first + len(block.ids))
        if here.any():
            nodes[here] = block.nodes[group.elements[here] - first]
        first += len(block.ids)
    poisson = _poisson_ratio(deck.materials[deck.sections[group.section].material])
    try:
        return fem.discretise(points, nodes, formulation, poisson, element)
    except MeshError:
        jacobian = np.linalg.det(np.einsum("mai,qak->mqik", points[nodes], element.gradient(element.points)))
        bad = int(np.argmax(np.any(~(jacobian > 0.0), axis=1)))
        at = int(group.elements[bad])
        raise deck.element_place(at).error(
            f"*ELEMENT: element {deck.element_ids[at]} ({group.kind}) has a Jacobian of {jacobian[bad].min():.3g}: it "
            "is turned inside out or badly distorted. Check the order of its nodes and their coordinates."
        ) from None


def _poisson_ratio(material: Material) -> float:
    """What assumed-strain cells are built for."""
    if material.hyperelastic is not None:
        c10, c01, d1 = material.hyperelastic
        bulk, shear = 2.0 / d1, 2.0 * (c10 + c01)
        return min((3.0 * bulk - 2.0 * shear) / (2.0 * (3.0 * bulk + shear)), _STIFFEST_FILTER)
    if material.elastic is not None and len(material.elastic) == 2:
        return min(material.elastic[1], _STIFFEST_FILTER)
    return 0.3


def _moduli(material: Material) -> Sequence[float]:
    if material.hyperelastic is not None:
        return [*material.hyperelastic[:2], 2.0 / material.hyperelastic[2]]
    elastic = material.elastic or ()
    return elastic[:1] if len(elastic) == 2 else elastic[:3] + elastic[6:]


def _stress_unit(deck: Deck) -> float:
    largest = max(max(_moduli(deck.materials[section.material])) for section in deck.sections)
    return float(10.0 ** max(0, np.ceil(np.log10(largest / _LARGEST_MODULUS))))


def _law(material: Material, unit: float) -> tuple[materials.Law, Array]:
    """The law of a material, and its parameters (p,) with stresses in ``unit``."""
    if material.hyperelastic is not None:
        c10, c01, d1 = material.hyperelastic
        law = materials.MOONEY_RIVLIN
        return law, law.row(c10_mpa=c10 / unit, c01_mpa=c01 / unit, bulk_modulus_mpa=2.0 / d1 / unit)
    assert material.elastic is not None
    if len(material.elastic) == 9:
        return materials.TRANSVERSELY_ISOTROPIC, _engineering(material.elastic, unit)
    own = {"youngs_modulus_mpa": material.elastic[0] / unit, "poisson_ratio": material.elastic[1]}
    if material.plastic is not None:
        table = material.plastic
        law = materials.plasticity_by_table(len(table.strain), table.kinematic)
        own |= {f"strain_{k + 1}": float(e) for k, e in enumerate(table.strain)}
        own |= {f"stress_{k + 1}": float(s) / unit for k, s in enumerate(table.stress_mpa)}
        return law, law.row(**own)
    if material.creep is not None:
        a, n, m = material.creep
        law = materials.NORTON_CREEP
        return law, law.row(**own, creep_coefficient=a * unit**n, stress_exponent=n, time_exponent=m)
    return materials.LINEAR_ELASTIC, materials.LINEAR_ELASTIC.row(**own)


def _engineering(elastic: Sequence[float], unit: float) -> Array:
    """Engineering constants along x, y, z in the order of the law, whose axes 1, 2, 3 are z, x, y."""
    ex, ey, ez, nu_xy, nu_xz, nu_yz, g_xy, g_xz, g_yz = elastic
    return materials.TRANSVERSELY_ISOTROPIC.row(
        youngs_modulus_1_mpa=ez / unit,
        youngs_modulus_2_mpa=ex / unit,
        youngs_modulus_3_mpa=ey / unit,
        poisson_ratio_12=nu_xz * ez / ex,
        poisson_ratio_13=nu_yz * ez / ey,
        poisson_ratio_23=nu_xy,
        shear_modulus_12_mpa=g_xz / unit,
        shear_modulus_13_mpa=g_yz / unit,
        shear_modulus_23_mpa=g_xy / unit,
    )


def strain_turn(axes: Array) -> Array:
    """(6, 6): strain, with engineering shear, in the axes that are the rows of ``axes`` (3, 3)."""
    i, j = np.array([0, 1, 2, 0, 1, 0]), np.array([0, 1, 2, 1, 2, 2])
    first = axes[i][:, i] * axes[j][:, j]
    second = axes[i][:, j] * axes[j][:, i]
    both = np.where(j[None, :] > i[None, :], 0.5 * (first + second), first)
    return np.asarray(both * np.where(j > i, 2.0, 1.0)[:, None])


def _turned(deck: Deck, groups: Sequence[Group], field: materials.MaterialField) -> fem.Material:
    cells, turns = list[Ids](), list[Array]()
    for group in groups:
        axes = deck.sections[group.section].axes
        if axes is not None:
            cells.append(group.first + np.arange(len(group.elements)))
            turns.append(np.tile(strain_turn(axes), (len(group.elements), 1, 1)))
    return Turned(field, np.concatenate(cells), np.concatenate(turns)) if cells else field


def _expansion(deck: Deck, section: Section) -> Array:
    """(6,) thermal strain per degree in global axes."""
    along = np.array(deck.materials[section.material].expansion or (0.0, 0.0, 0.0))
    axes = np.eye(3) if section.axes is None else section.axes
    tensor = axes.T @ np.diag(along) @ axes
    return np.array([*np.diag(tensor), 2.0 * tensor[0, 1], 2.0 * tensor[1, 2], 2.0 * tensor[0, 2]])
