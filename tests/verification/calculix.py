"""One linear step of an exported model, by CalculiX from its deck and by ``kyphos.fem`` from its arrays."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from shapes import Batch

from kyphos import fem
from kyphos.experiments.decks.outgoing import LinearModel, stiffness_of
from kyphos.fem import voxel

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SMALL = 1e-6  # share of the linear displacements at which finite strain is linear to six digits


@dataclass(frozen=True)
class Answer:
    """Stiffness, N/mm, and von Mises stress (m * q,), MPa, at all integration points."""

    stiffness_n_per_mm: float
    von_mises_mpa: np.ndarray

    @property
    def p99_mpa(self) -> float:
        return float(np.percentile(self.von_mises_mpa, 99))


@dataclass(frozen=True)
class Orthotropic:
    """T = C : E with a stiffness (m, 6, 6) for every cell."""

    stiffness_mpa: np.ndarray

    def update(self, strain, state, dt_s, cycles) -> Batch:
        tangent = np.ascontiguousarray(np.repeat(self.stiffness_mpa[:, None], strain.shape[1], axis=1))
        stress = np.einsum("mqij,mqj->mqi", tangent, strain)
        return Batch(stress, tangent, state, np.zeros(strain.shape[:2], dtype=np.int8))


def by_kyphos(model: LinearModel) -> Answer:
    """The linear step, each cell of its own formulation."""
    mesh = fem.discretise(model.points_mm, model.cells, model.formulation)
    platens = tuple(fem.Platen(p.name, p.nodes, np.array(p.centre_mm)) for p in model.platens)
    structure = fem.Structure(mesh, Orthotropic(stiffness_of(model)), platens)
    rest = structure.initial_state(np.zeros((*mesh.weight.shape, 0)))
    load = load_of(model, structure, rest)
    map_ = structure.motion_map(rest.motion)  # (3n, 3n + 6p)
    pulls = springs_of(model)
    matrix = (map_.T @ (structure.evaluate(rest).stiffness + pulls.T @ pulls) @ map_).tocsr()
    active = np.flatnonzero(~load.fixed & ~structure.rigid_dofs)
    q = np.where(load.fixed, load.value, 0.0)
    rhs = (load.force - matrix @ q)[active]
    q[active] = fem.DirectSolver().solve(matrix[active][:, active].tocsr(), rhs, rtol=1e-10)
    displacement = (map_ @ q).reshape(-1, 3)
    moved = replace(rest, displacement_mm=SMALL * displacement)
    stress = structure.evaluate(moved).response.stress / SMALL
    reaction = matrix @ q
    return Answer(_stiffness(model, structure, q, reaction), fem.von_mises(stress).ravel())


def springs_of(model: LinearModel) -> sp.csr_array:
    """(s, 3n) B with B^T B the stiffness of all springs."""
    rows = np.zeros((len(model.springs), len(model.points_mm), 3))
    for row, spring in zip(rows, model.springs, strict=True):
        row[spring.nodes] = np.sqrt(spring.stiffness_n_per_mm) * spring.weights
    return sp.csr_array(rows.reshape(len(rows), 3 * len(model.points_mm)))


def load_of(model: LinearModel, structure: fem.Structure, rest: fem.State) -> fem.Load:
    load = structure.free_load(rest)
    fixed, value, force = load.fixed.copy(), load.value.copy(), load.force.copy()
    for platen in model.platens:
        start = structure.platen_slice(platen.name).start
        for place in range(6):
            fixed[start + place] = platen.motion[place] is not None
            value[start + place] = platen.motion[place] or 0.0
            force[start + place] = 0.0 if fixed[start + place] else platen.load[place]
    for hold in model.holds:
        for axis, given in enumerate(hold.displacement_mm):
            if given is not None:
                fixed[3 * hold.nodes + axis], value[3 * hold.nodes + axis] = True, given
    return replace(load, fixed=fixed, value=value, force=force)


def _stiffness(model, structure, q, reaction) -> float:
    if model.platens:
        axial = structure.platen_slice(model.platens[0].name).start + 2
        return float(model.platens[0].load[2] / q[axial])
    pressed = pressed_hold(model)
    return float(reaction[3 * pressed.nodes + 2].sum() / pressed.displacement_mm[2])


def pressed_hold(model: LinearModel) -> voxel.Hold:
    return next(hold for hold in model.holds if hold.displacement_mm[2])


def by_calculix(deck: Path, model: LinearModel) -> Answer:
    """Run a deck as it is and read what it prints."""
    done = subprocess.run(
        ["ccx", deck.stem], cwd=deck.parent, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert "Job finished" in done.stdout, done.stdout[-2000:]
    assert "*WARNING" not in done.stdout, done.stdout
    blocks = printed(deck.with_suffix(".dat").read_text())
    stress = next(values for title, values in blocks if title.startswith("stresses"))
    stress = stress[np.argsort(stress[:, 0], kind="stable"), 2:8]  # a set of several element types is printed by type
    if model.platens:
        moved = next(values for title, values in blocks if title.startswith("displacements"))
        stiffness = model.platens[0].load[2] / moved[0, 3]
    else:
        hold = pressed_hold(model)
        title = f"total force (fx,fy,fz) for set {hold.name.upper()}"
        force = next(values for found, values in blocks if found.startswith(title))
        stiffness = force[0, 2] / hold.displacement_mm[2]
    return Answer(float(stiffness), fem.von_mises(stress))  # the order of shear does not matter


def printed(text: str) -> list[tuple[str, np.ndarray]]:
    """Titled tables of numbers in a ``.dat``."""
    found = []
    for chunk in re.split(r"\n(?= [a-z])", text):
        title, _, body = chunk.strip().partition("\n")
        rows = [line.split()[:8] for line in body.splitlines() if line.strip()]  # then, the name of an orientation
        found.append((title, np.array(rows, dtype=np.float64)))
    return found
