"""Meshes and laws for the tests: blocks, sectors, tetrahedra, a linear law that needs no other room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from kyphos.fem import DirectSolver, Load, MarchSettings, NewtonSettings, State, Structure, discretise, march, prescribe
from kyphos.materials import MaterialField

HEX_EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
INNER_SEED = 7  # any seed: the checks must hold for each


@dataclass(frozen=True)
class Batch:
    """A response as ``kyphos.fem.Response`` asks for it."""

    stress: np.ndarray
    tangent: np.ndarray
    state: np.ndarray
    status: np.ndarray


@dataclass(frozen=True)
class Hooke:
    """T = C : E with Young's modulus (a number, or one per cell) and Poisson's ratio."""

    young_mpa: float | np.ndarray
    poisson: float

    @property
    def stiffness(self) -> np.ndarray:
        """(6, 6) for a modulus of one."""
        nu = self.poisson
        out = np.diag([1.0 - 2.0 * nu] * 3 + [0.5 - nu] * 3)
        out[:3, :3] += nu
        return out / ((1.0 + nu) * (1.0 - 2.0 * nu))

    def update(self, strain, state, dt_s, cycles) -> Batch:
        modulus = np.broadcast_to(self.young_mpa, strain.shape[0])[:, None, None, None]
        tangent = np.broadcast_to(self.stiffness * modulus, (*strain.shape, 6))
        stress = np.einsum("mqij,mqj->mqi", tangent, strain)
        status = np.zeros(strain.shape[:2], dtype=np.int8)
        return Batch(stress, np.ascontiguousarray(tangent), state, status)


def block(size_mm=(1.0, 1.0, 1.0), counts=(2, 2, 2)) -> tuple[np.ndarray, np.ndarray]:
    """Hex8 grid on [0, size]: points (n, 3), cells (m, 8); x runs slowest."""
    axes = [np.linspace(0.0, s, n + 1) for s, n in zip(size_mm, counts, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    ids = np.arange(len(points)).reshape([n + 1 for n in counts])
    lower = [ids[:-1, :-1, :-1], ids[1:, :-1, :-1], ids[1:, 1:, :-1], ids[:-1, 1:, :-1]]
    upper = [ids[:-1, :-1, 1:], ids[1:, :-1, 1:], ids[1:, 1:, 1:], ids[:-1, 1:, 1:]]
    return points, np.stack([c.ravel() for c in (*lower, *upper)], axis=1)


def on_box(points, tolerance=1e-9) -> np.ndarray:
    """(n,) bool: nodes on the faces of the bounding box."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.any((points < low + tolerance) | (points > high - tolerance), axis=1)


def jiggled(points, amount_mm, seed=INNER_SEED) -> np.ndarray:
    """Inner nodes moved at random, at most ``amount_mm`` along each axis."""
    out = points.copy()
    inner = ~on_box(points)
    out[inner] += np.random.default_rng(seed).uniform(-amount_mm, amount_mm, (inner.sum(), 3))
    return out


def tet10(points, cells) -> tuple[np.ndarray, np.ndarray]:
    """Each hex of a structured grid as six quadratic tets about its diagonal 0-6 (Kuhn); straight edges."""
    corner_of = {(0, 0, 0): 0, (1, 0, 0): 1, (1, 1, 0): 2, (0, 1, 0): 3}
    corner_of |= {(i, j, 1): n + 4 for (i, j, _), n in list(corner_of.items())}
    tets = []
    for order in permutations(range(3)):
        path = np.zeros((4, 3), dtype=int)
        for step, axis in enumerate(order):
            path[step + 1 :, axis] = 1
        even = np.linalg.det(np.eye(3)[list(order)]) > 0
        tets.append([corner_of[tuple(p)] for p in (path if even else path[[0, 2, 1, 3]])])
    linear = cells[:, np.array(tets)].reshape(-1, 4)
    return with_midsides(points, linear)


def with_midsides(points, linear) -> tuple[np.ndarray, np.ndarray]:
    """Linear tets (m, 4) to tet10 with straight edges."""
    pairs = linear[:, [[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]]]
    edges, inverse = np.unique(np.sort(pairs.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    middle = points[edges].mean(axis=1)
    return np.vstack([points, middle]), np.hstack([linear, len(points) + inverse.reshape(-1, 6)])


def hex20(points, cells) -> tuple[np.ndarray, np.ndarray]:
    """Hex8 cells (m, 8) to hex20 with straight edges."""
    pairs, inverse = np.unique(np.sort(cells[:, HEX_EDGES].reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    return np.vstack([points, points[pairs].mean(axis=1)]), np.hstack([cells, len(points) + inverse.reshape(-1, 12)])


def cylinder_sector(inner_mm, outer_mm, length_mm, counts, angle=np.pi / 2) -> tuple[np.ndarray, np.ndarray]:
    """Hex8 sector of a tube about z from the x axis on; ``counts`` radial, round, axial; geometric rings."""
    points, cells = block((1.0, 1.0, 1.0), counts)
    radius = inner_mm * (outer_mm / inner_mm) ** points[:, 0]
    turn = angle * points[:, 1]
    return np.column_stack([radius * np.cos(turn), radius * np.sin(turn), length_mm * points[:, 2]]), cells


def with_core(points, cells, inner) -> tuple[np.ndarray, np.ndarray]:
    """Fill the hole behind cells whose face 0-3-7-4 lies on ``inner`` nodes (n,) bool with a fluid cell each.

    The face is drawn to its foot on the axis x = y = 0 (a new node for each z): the fluid cells are wedges.
    """
    faces = cells[np.all(inner[cells[:, [0, 3, 7, 4]]], axis=1)][:, [0, 3, 7, 4]]
    height, foot = np.unique(np.round(points[faces, 2], 9), return_inverse=True)
    foot = len(points) + foot.reshape(faces.shape)
    axis = np.column_stack([np.zeros((height.size, 2)), height])
    filling = np.column_stack([foot[:, 0], faces[:, 0], faces[:, 1], foot[:, 1]])
    filling = np.column_stack([filling, foot[:, 3], faces[:, 3], faces[:, 2], foot[:, 2]])
    return np.vstack([points, axis]), filling


def sphere_octant(inner_mm, outer_mm, n_round, n_radial) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Octant of a thick sphere: points, hex8 cells, and fluid cells (pyramids) that fill the hole."""
    grid, cells = block((1.0, 1.0, 1.0), (n_radial, n_round, n_round))
    radius = inner_mm * (outer_mm / inner_mm) ** grid[:, 0]
    face = np.tan(np.pi / 4 * grid[:, 1:])
    patch = np.column_stack([np.ones(len(grid)), face])
    patch *= (radius / np.linalg.norm(patch, axis=1))[:, None]
    points = np.vstack([np.roll(patch, k, axis=1) for k in range(3)])
    every = np.vstack([cells + k * len(grid) for k in range(3)])
    _, first, merged = np.unique(np.round(points, 9), axis=0, return_index=True, return_inverse=True)
    points, every = points[first], merged.ravel()[every]
    hole = np.isclose(np.linalg.norm(points, axis=1), inner_mm)
    face_ids = every[np.all(hole[every[:, [0, 3, 7, 4]]], axis=1)][:, [0, 3, 7, 4]]
    centre = np.full((len(face_ids), 4), len(points))
    filling = np.column_stack([centre[:, :1], face_ids[:, :1], face_ids[:, 1:2], centre[:, 1:2]])
    filling = np.column_stack([filling, centre[:, 3:4], face_ids[:, 3:4], face_ids[:, 2:3], centre[:, 2:3]])
    return np.vstack([points, np.zeros((1, 3))]), every, filling


FINE = MarchSettings(newton=NewtonSettings(residual_tolerance=1e-7, minimum_load_n=1e-6))


def everywhere(law, row, cells) -> MaterialField:
    """One law with one row of parameters in all cells."""
    points = 8 if cells.shape[1] == 8 else 4
    return MaterialField(((law, np.arange(len(cells)), np.asarray(row, dtype=float)),), len(cells), points)


def follow(points, cells, field, targets, *, formulation="standard", settings=FINE, first=1.0, poisson=0.3):
    """Equilibria at the ends of several legs: (structure, equilibrium, nodal support forces (n, 3)) each.

    ``targets``: (prescribed (n, 3) with nan where free, forces (n, 3) or None, duration in s); what is prescribed
    must be the same all along; ``first`` is the share of a leg done in its first step.
    """
    structure = Structure(discretise(points, cells, formulation, poisson), field)
    state = structure.initial_state(field.initial_state())
    load = structure.free_load(state)
    for prescribed, force, duration in targets:
        fixed = ~np.isnan(prescribed).ravel()
        value = np.where(fixed, np.nan_to_num(prescribed).ravel(), 0.0)
        push = np.zeros(points.size) if force is None else force.ravel()
        target = replace(load, fixed=fixed, value=value, force=push)
        steps = replace(settings, first=first, largest=first)
        for step in march(structure, state, load, target, DirectSolver(), steps, duration):
            state = step.equilibrium.state
        load = step.load
        yield structure, step.equilibrium, (step.equilibrium.reactions_n - push)[: points.size].reshape(-1, 3)


def cornered_cube(force_n: float) -> tuple[Structure, State, Load]:
    """A linear cube on rollers, at rest, and the load of a force (z) on the corner opposite to them."""
    points, cells = block((2.0, 2.0, 2.0), (2, 2, 2))
    structure = Structure(discretise(points, cells), Hooke(100.0, 0.3))
    state = structure.initial_state(np.zeros((len(cells), 8, 0)))
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    held = prescribe(len(points), (low[0], "x", 0.0), (low[1], "y", 0.0), (low[2], "z", 0.0)).ravel()
    force = np.zeros(structure.size)
    force[-1] = force_n
    load = replace(structure.free_load(state), fixed=~np.isnan(held), value=np.nan_to_num(held), force=force)
    return structure, state, load


def bending_slice(n, height=1.0) -> tuple[np.ndarray, np.ndarray]:
    """A thin slice of a beam: n cells over the height (z, about 0), one along x and y; so short that it cannot lock."""
    points, cells = block((height / 16.0, height / 16.0, height), (1, 1, n))
    points[:, 2] -= 0.5 * height
    return points, cells


def curved(points, curvature) -> np.ndarray:
    """Prescribed displacements (n, 3) that bend a slice: end face x = L turned, sides free to contract."""
    length = points[:, 0].max()
    out = np.full_like(points, np.nan)
    out[points[:, 0] < 1e-9, 0] = 0.0
    end = points[:, 0] > length - 1e-9
    out[end, 0] = curvature * length * points[end, 2]
    out[points[:, 1] < 1e-9, 1] = 0.0
    out[np.argmin(np.abs(points).sum(axis=1)), 2] = 0.0
    return out


def bending_moment(points, support) -> float:
    """Moment about y of the support forces on the end face, per unit width."""
    end = points[:, 0] > points[:, 0].max() - 1e-9
    return float(support[end, 0] @ points[end, 2]) / np.ptp(points[:, 1])
