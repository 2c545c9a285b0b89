"""Linear equations among the unknowns, exact by elimination: q = E q with one dependent coordinate for each equation.

Forces follow by the principle of virtual work: what acts on a dependent coordinate acts, times its coefficients, on
those that it follows. No penalty and no multiplier, so nothing is added to the size or the condition of the system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kyphos.errors import InputError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Terms = Sequence[tuple[int, float]]

_NOTHING = 1e-12  # a coefficient that is a rounding error of the largest


@dataclass(frozen=True)
class Ties:
    """Equations solved for their dependent coordinates.

    Attributes
    ----------
    dependent
        (k,) places in q.
    follow
        (k, N): q[dependent] = follow @ q; columns of dependent coordinates are empty.
    """

    dependent: Ids
    follow: sp.csr_array

    @cached_property
    def expansion(self) -> sp.csr_array:
        """(N, N) matrix E: q = E q."""
        n = self.follow.shape[1]
        free = np.ones(n)
        free[self.dependent] = 0.0
        found = self.follow.tocoo()
        place = (self.dependent[found.row], found.col)
        return sp.csr_array(sp.coo_array((found.data, place), shape=(n, n)) + sp.diags_array(free))

    def obeyed(self, q: Array) -> Array:
        """Coordinates (N,) whose dependent ones follow the others."""
        return np.asarray(self.expansion @ q)

    def carried(self, force: Array) -> Array:
        """Generalised forces (N,) with those on dependent coordinates moved to the ones that they follow."""
        return np.asarray(self.expansion.T @ force)

    def forces(self, unbalanced: Array) -> Array:
        """Forces (N,) of the equations, given internal less applied forces (N,): they balance the dependent ones."""
        own = unbalanced[self.dependent]
        out = -np.asarray(self.follow.T @ own)
        out[self.dependent] += own
        return out


def solve_ties(
    size: int, equations: Sequence[Terms], held: NDArray[np.bool_], still: NDArray[np.bool_] | None = None
) -> Ties:
    """Choose a dependent coordinate for every equation sum_i c_i q_i = 0 and solve for it.

    Parameters
    ----------
    size
        N, the length of q.
    equations
        Terms (place in q, coefficient) of each; its first is the dependent one where that is possible. An equation that
        follows from others is left out.
    held
        (N,) coordinates that may not depend on others because they are prescribed.
    still
        (N,) those among them that are zero for good: an equation of such coordinates only holds anyway.

    Raises
    ------
    EquationError
        An equation that ties prescribed coordinates only.
    """
    solved: dict[int, dict[int, float]] = {}
    for number, terms in enumerate(equations):
        left = _reduced(terms, solved)
        if not left or (still is not None and all(still[i] for i in left)):
            continue
        largest = max(map(abs, left.values()))
        able = [i for i, c in left.items() if not held[i] and abs(c) > 1e-6 * largest]
        if not able:
            raise EquationError(number)
        chosen = terms[0][0] if terms[0][0] in able else max(able, key=lambda i: abs(left[i]))
        pivot = left.pop(chosen)
        solved[chosen] = {i: -c / pivot for i, c in left.items()}
    final = {i: _reduced(list(terms.items()), solved) for i, terms in solved.items()}
    rows = np.repeat(np.arange(len(final)), [len(terms) for terms in final.values()])
    columns = [i for terms in final.values() for i in terms]
    values = [c for terms in final.values() for c in terms.values()]
    follow = sp.coo_array((np.array(values, dtype=float), (rows, np.array(columns, dtype=int))), (len(final), size))
    return Ties(np.array(list(final), dtype=np.int64), sp.csr_array(follow))


class EquationError(InputError):
    """Equation ``number`` ties coordinates that are all prescribed, or that other equations have tied already."""

    def __init__(self, number: int) -> None:
        super().__init__(f"equation {number} ties only coordinates that are prescribed; leave one of them free")
        self.number = number


def _reduced(terms: Terms, solved: dict[int, dict[int, float]]) -> dict[int, float]:
    """The terms with everything solved put in; those that cancel are gone."""
    left: dict[int, float] = {}
    scale, todo = 0.0, list(terms)
    while todo:
        i, c = todo.pop()
        if i in solved:
            todo += [(j, c * d) for j, d in solved[i].items()]
        else:
            left[i] = left.get(i, 0.0) + c
            scale = max(scale, abs(c))
    return {i: c for i, c in left.items() if abs(c) > _NOTHING * scale}
