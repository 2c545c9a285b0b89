"""Conjugate gradients in float64 with a preconditioner in float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kyphos.threads import Team, slabs_of

from ..kernels.voxel_vectors import advance, dot, turn
from .multigrid import Preconditioner

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class KrylovRecord:
    """How an iteration went: residuals relative to the right-hand side, the first being 1."""

    residuals: tuple[float, ...]
    reached: bool

    @property
    def iterations(self) -> int:
        """Applications of operator and preconditioner."""
        return len(self.residuals) - 1


class ConjugateGradients:
    """Vectors of one size, kept between solutions.

    Parameters
    ----------
    shape
        Of all vectors, (3, nz + 1, ny + 1, nx + 1).
    """

    def __init__(self, shape: tuple[int, ...], team: Team) -> None:
        self.team = team
        self.x, self.r, self.p, self.q = (np.zeros(shape) for _ in range(4))
        self._slabs = slabs_of(self.x.size, self.x.size)

    def norm(self, vector: Array) -> float:
        """Euclidean norm."""
        flat = vector.reshape(-1)
        return math.sqrt(self.team.total(self._slabs, dot, flat, flat))

    def solve(
        self,
        apply: Callable[[Array, Array], float],
        precondition: Preconditioner,
        rtol: float,
        max_iterations: int,
        start_from_zero: bool = True,
    ) -> KrylovRecord:
        """Solve A x = b with b in ``r`` (then destroyed) until ``|r| <= rtol |b|``; the solution is in ``x``.

        ``apply(u, out)`` sets out = A u and returns u.out. A direction without stiffness, which only a softening
        tangent has, ends the iteration: what has been found so far still points downhill. Saad (2003), 9.2.
        """
        run, total, slabs = self.team.run, self.team.total, self._slabs
        x, r, p, q = (v.reshape(-1) for v in (self.x, self.r, self.p, self.q))
        if start_from_zero:
            x[:] = 0.0
        p[:] = 0.0
        first = self.norm(self.r)
        if first == 0.0:
            return KrylovRecord((0.0,), True)
        scale = 1.0 / first  # keeps float32 far from its smallest numbers
        single = precondition.rhs.reshape(-1)
        total(slabs, advance, x, r, p, p, 0.0, single, scale)
        history, before = [1.0], 1.0
        while history[-1] > rtol and len(history) <= max_iterations:
            z = precondition.cycle().reshape(-1)
            now = total(slabs, dot, r, z)
            run(slabs, turn, p, z, now / before if len(history) > 1 else 0.0)
            before = now
            curvature = apply(self.p, self.q)
            if not (curvature > 0.0 and math.isfinite(now)):
                break
            left = total(slabs, advance, x, r, p, q, now / curvature, precondition.rhs.reshape(-1), scale)
            history.append(math.sqrt(left) * scale)
        return KrylovRecord(tuple(history), history[-1] <= rtol)
