"""The materials of a whole mesh, as one object that turns strains into stresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kyphos.errors import MaterialError
from kyphos.threads import chunks, everybody

from .laws import Floats, Law

STRAINS = ("plastic_strain", "creep_strain", "kelvin_strain")
"""History variables that are inelastic strains: six components, or several times six."""
STATUS = {0: "ok", 1: "strain or state is not finite", 2: "the local equations have no solution"}


@dataclass(frozen=True, slots=True)
class Response:
    """What a batch of points answers.

    stress (m, q, 6) MPa; tangent (m, q, 6, 6) MPa; state (m, q, s), trial; status (m, q) int8, 0 is ok.
    Failed points hold NaN in stress and tangent.
    """

    stress: Floats
    tangent: Floats
    state: Floats
    status: NDArray[np.int8]

    def raise_on_failure(self) -> None:
        """Raise MaterialError naming the first failed point, if there is one."""
        bad = np.argwhere(self.status != 0)
        if bad.size:
            cell, point = bad[0]
            raise MaterialError(
                f"cell {cell}, point {point}: {STATUS[int(self.status[cell, point])]} "
                f"({len(bad)} points in all); try a smaller step"
            )


class Block(NamedTuple):
    """Cells of one law: law, ids (k,), parameters (k, p)."""

    law: Law
    cells: NDArray[np.int64]
    parameters: Floats


def _as_block(law: Law, cells: ArrayLike, parameters: ArrayLike) -> Block:
    """Checked arrays; one row of parameters is given to all cells."""
    ids = np.atleast_1d(np.asarray(cells, dtype=np.int64))
    values = np.asarray(parameters, dtype=np.float64)
    if values.ndim == 1:
        values = np.tile(values, (ids.size, 1))
    law.check(values)
    if values.shape[0] != ids.size:
        raise MaterialError(f"{law.name}: {ids.size} cells but {values.shape[0]} rows of parameters; give one row each")
    return Block(law, ids, values)


def _by_law(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """One block for each law, cells ascending: one kernel launch each."""
    groups: dict[str, list[Block]] = {}
    for block in blocks:
        if block.cells.size:
            groups.setdefault(block.law.name, []).append(block)
    merged = []
    for group in groups.values():
        cells = np.concatenate([block.cells for block in group])
        order = np.argsort(cells, kind="stable")
        parameters = np.concatenate([block.parameters for block in group])
        merged.append(Block(group[0].law, cells[order], parameters[order]))
    return tuple(merged)


@dataclass(frozen=True)
class MaterialField:
    """Which law and which constants every cell has.

    Parameters
    ----------
    blocks
        (law, cell ids (k,), parameters (k, p) or one row (p,)) each; together they hold every cell once.
    n_cells, n_points
        Cells of the mesh and quadrature points of a cell.

    Raises
    ------
    MaterialError
        A cell has no block or two, or a parameter lies outside its range.
    """

    blocks: tuple[Block, ...]
    n_cells: int
    n_points: int

    def __post_init__(self) -> None:
        blocks = _by_law(_as_block(*block) for block in self.blocks)
        cells = np.concatenate([block.cells for block in blocks]) if blocks else np.empty(0, dtype=np.int64)
        if cells.size and (cells.min() < 0 or cells.max() >= self.n_cells):
            raise MaterialError(f"cell {cells.max()} does not exist; the mesh has {self.n_cells} cells")
        count = np.bincount(cells, minlength=self.n_cells)
        wrong = np.flatnonzero(count != 1)
        if wrong.size:
            raise MaterialError(
                f"cell {wrong[0]} is in {count[wrong[0]]} blocks ({wrong.size} such cells); each cell needs exactly one"
            )
        object.__setattr__(self, "blocks", blocks)

    @property
    def state_size(self) -> int:
        """Length s of the (padded) state vector."""
        return max((block.law.state_size for block in self.blocks), default=0)

    @cached_property
    def _constants(self) -> tuple[Floats, ...]:
        return tuple(np.ascontiguousarray(block.law.pack(block.parameters)) for block in self.blocks)

    def initial_state(self) -> Floats:
        """State (m, q, s) of virgin material."""
        return np.zeros((self.n_cells, self.n_points, self.state_size))

    def update(self, strain: Floats, state: Floats, dt_s: float = 0.0, cycles: float = 0.0) -> Response:
        """Stress, tangent and trial state for logarithmic strain (m, q, 6) and committed state (m, q, s).

        `dt_s` is time under load since the last commit, `cycles` the load cycles since then.

        Raises
        ------
        MaterialError
            An array has the wrong shape, or time or cycles are negative or not finite. Points that fail do
            not raise: they are marked in `status`.
        """
        points = (self.n_cells, self.n_points)
        strain = self._checked("strain", strain, (*points, 6))
        state = self._checked("state", state, (*points, self.state_size))
        if not (0.0 <= dt_s < np.inf and 0.0 <= cycles < np.inf):
            raise MaterialError(f"dt_s={dt_s:g}, cycles={cycles:g}: both must be finite and not negative")
        stress, tangent = np.empty((*points, 6)), np.empty((*points, 6, 6))
        new_state, status = np.empty_like(state), np.zeros(points, dtype=np.int8)
        out = (stress, tangent, new_state, status)
        pieces = []
        for block, constants in zip(self.blocks, self._constants, strict=True):
            given = (strain, state, block.cells, constants, float(dt_s), float(cycles), *out)
            pieces += [partial(block.law.kernel, *given, *chunk) for chunk in chunks(block.cells.size)]
        everybody().each(len(pieces), lambda i: pieces[i]())
        for block in self.blocks:
            if block.law.state_size < self.state_size:
                new_state[block.cells, :, block.law.state_size :] = 0.0
        return Response(*out)

    @staticmethod
    def _checked(name: str, values: Floats, shape: tuple[int, ...]) -> Floats:
        array = np.ascontiguousarray(values, dtype=np.float64)
        if array.shape != shape:
            raise MaterialError(f"{name} has shape {array.shape}; expected {shape} (cells, points, components)")
        return array

    def state_field(self, state: Floats, name: str) -> Floats:
        """History variable `name` at all points: (m, q), or (m, q, c) if it has c components.

        Cells whose law has no such variable hold 0 (a cell that cannot be damaged has no damage).

        Raises
        ------
        MaterialError
            No law of this field knows the name.
        """
        known = [(block, place) for block in self.blocks if (place := block.law.place(name)) is not None]
        if not known:
            names = sorted({variable.name for block in self.blocks for variable in block.law.state})
            raise MaterialError(f"no material here has the state {name!r}; there are: {', '.join(names) or 'none'}")
        width = max(place.stop - place.start for _, place in known)
        values = np.zeros((self.n_cells, self.n_points, width))
        for block, place in known:
            values[block.cells] = state[block.cells, :, place]
        return values[..., 0] if width == 1 else values

    def inelastic_strain(self, state: Floats) -> Floats:
        """Strain (m, q, 6) that sudden unloading would leave: plastic, creep and Kelvin strain together."""
        total = np.zeros((self.n_cells, self.n_points, 6))
        for block in self.blocks:
            for name in STRAINS:
                if (place := block.law.place(name)) is not None:
                    parts = state[block.cells, :, place]
                    total[block.cells] += parts.reshape(*parts.shape[:2], -1, 6).sum(axis=2)
        return total

    @property
    def remembers(self) -> NDArray[np.bool_]:
        """(m,) whether a cell's law has a history; without one all work is stored."""
        memory = np.zeros(self.n_cells, dtype=bool)
        for block in self.blocks:
            memory[block.cells] = block.law.state_size > 0
        return memory

    def replace(self, cells: ArrayLike, law: Law, parameters: ArrayLike) -> MaterialField:
        """A new field in which `cells` have another law or other constants; follow with `carry_state`."""
        new = _as_block(law, cells, parameters)
        if np.unique(new.cells).size != new.cells.size:
            raise MaterialError("replace: a cell is named twice; give each cell once")
        kept = []
        for block in self.blocks:
            stay = ~np.isin(block.cells, new.cells)
            kept.append(Block(block.law, block.cells[stay], block.parameters[stay]))
        return MaterialField((*kept, new), self.n_cells, self.n_points)

    def carry_state(self, state: Floats, fresh: ArrayLike = ()) -> Floats:
        """State of another field of the same mesh, padded for this one; `fresh` cells start anew.

        Every cell that is not fresh must have the same law in both fields.
        """
        new = self.initial_state()
        size = min(state.shape[2], self.state_size)
        new[:, :, :size] = state[:, :, :size]
        new[np.asarray(fresh, dtype=np.int64)] = 0.0
        return new

    def laws(self) -> NDArray[np.object_]:
        """Name of the law of every cell, (m,)."""
        names = np.empty(self.n_cells, dtype=object)
        for block in self.blocks:
            names[block.cells] = block.law.name
        return names
