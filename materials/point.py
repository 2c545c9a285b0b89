"""A bench for one point: drive a law through any path of strains and stresses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kyphos.errors import ConvergenceError, MaterialError

from .field import Block, MaterialField, Response
from .laws import Floats, Law

_AXES = {"xx": 0, "yy": 1, "zz": 2, "xy": 3, "yz": 4, "xz": 5}
_ITERATIONS = 50
_LONGEST = 0.05  # strain of one Newton step: the tangent of a plateau would send an unloading point anywhere
_UNREACHED = "the point does not reach its stress"
_ADVICE = "try smaller steps, or control the strain (the stress may lie above the strength)"


@dataclass(frozen=True)
class Drive:
    """What a driven point did at the end of each of n steps.

    strain (n, 6) logarithmic; stress (n, 6) MPa; tangent (n, 6, 6) MPa; state (n, s).
    """

    law: Law
    strain: Floats
    stress: Floats
    tangent: Floats
    state: Floats

    def variable(self, name: str) -> Floats:
        """History variable `name` after each step, (n,) or (n, c)."""
        place = self.law.place(name)
        if place is None:
            raise MaterialError(
                f"{self.law.name} has no state {name!r}; it has {', '.join(v.name for v in self.law.state)}"
            )
        values = self.state[:, place]
        return values[:, 0] if values.shape[1] == 1 else values


@dataclass(frozen=True)
class _Point:
    """One point at the start of a step; targets (6,) are strains or, where controlled, stresses."""

    field: MaterialField
    strain: Floats
    state: Floats
    targets: Floats
    controlled: NDArray[np.bool_]
    dt_s: float
    cycles: float

    def answer(self, strain: Floats) -> tuple[Response, Floats]:
        """Response to a strain (6,), and how far the controlled stresses (c,) are from their targets."""
        response = self.field.update(strain[None, None], self.state[None, None], self.dt_s, self.cycles)
        response.raise_on_failure()
        return response, (response.stress[0, 0] - self.targets)[self.controlled]


def _step_of(point: _Point, response: Response, residual: Floats) -> Floats:
    """Newton step (6,), zero where the strain is prescribed, cut to `_LONGEST`."""
    step = np.zeros(6)
    among = np.ix_(point.controlled, point.controlled)
    try:
        step[point.controlled] = -np.linalg.solve(response.tangent[0, 0][among], residual)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(f"{_UNREACHED}: the tangent is singular; {_ADVICE}") from error
    return step * min(1.0, _LONGEST / max(float(np.abs(step).max()), _LONGEST))


def _predict(point: _Point) -> Floats:
    """First guess (6,): the prescribed strains, and what the tangent at the start says of the others."""
    response, residual = point.answer(point.strain)
    jump = np.where(point.controlled, 0.0, point.targets - point.strain)
    return point.strain + jump + _step_of(point, response, residual + (response.tangent[0, 0] @ jump)[point.controlled])


def _solve_step(point: _Point) -> tuple[Floats, Floats, Floats, Floats]:
    """Damped Newton iteration for the controlled stresses; returns strain, stress, tangent, state."""
    strain = _predict(point) if point.controlled.any() else point.targets
    response, residual = point.answer(strain)
    sizes = []
    for _ in range(_ITERATIONS):
        stress = response.stress[0, 0]
        sizes.append(float(np.abs(residual).max(initial=0.0)))
        if sizes[-1] <= 1e-10 * max(float(np.abs(stress).max()), float(np.abs(point.targets).max()), 1e-3):
            return strain, stress, response.tangent[0, 0], response.state[0, 0]
        step = _step_of(point, response, residual)
        for damping in 0.5 ** np.arange(10):
            response, residual = point.answer(strain + damping * step)
            if np.abs(residual).max() < sizes[-1]:
                break
        strain = strain + damping * step
    raise ConvergenceError(
        f"{_UNREACHED}: off by {sizes[-1]:.3g} MPa after {_ITERATIONS} iterations; {_ADVICE}",
        tuple(sizes),
    )


def drive(
    law: Law,
    parameters: ArrayLike,
    targets: ArrayLike,
    *,
    stress_controlled: tuple[str, ...] = (),
    dt_s: ArrayLike = 0.0,
    cycles: ArrayLike = 0.0,
    after: Drive | None = None,
) -> Drive:
    """Drive one point through n steps.

    Parameters
    ----------
    law, parameters
        The law and one row (p,) of its parameters.
    targets
        (n, 6): the logarithmic strain wanted at the end of each step, or the stress (MPa) for the components
        named in `stress_controlled` ("xx", ..., "xz").
    dt_s, cycles
        Duration under load and load cycles of each step, (n,) or one number.
    after
        An earlier drive of the same law: go on from its last strain and state.

    Raises
    ------
    MaterialError
        A shape is wrong, or the law fails at the point.
    ConvergenceError
        A stress cannot be reached.
    """
    wanted = np.asarray(targets, dtype=np.float64)
    if wanted.ndim != 2 or wanted.shape[1] != 6:
        raise MaterialError(f"targets have shape {wanted.shape}; expected (steps, 6)")
    controlled = np.zeros(6, dtype=bool)
    controlled[[_AXES[name] for name in stress_controlled]] = True
    times = np.broadcast_to(np.asarray(dt_s, dtype=np.float64), wanted.shape[:1])
    counts = np.broadcast_to(np.asarray(cycles, dtype=np.float64), wanted.shape[:1])
    field = MaterialField((Block(law, np.zeros(1, dtype=np.int64), np.asarray(parameters, dtype=np.float64)),), 1, 1)
    strain, state = (np.zeros(6), field.initial_state()[0, 0]) if after is None else (after.strain[-1], after.state[-1])
    steps = []
    for target, dt, count in zip(wanted, times, counts, strict=True):
        step = _solve_step(_Point(field, strain, state, target, controlled, float(dt), float(count)))
        strain, state = step[0], step[3]
        steps.append(step)
    return Drive(law, *(np.array(column) for column in zip(*steps, strict=True)))


def drive_uniaxial(
    law: Law,
    parameters: ArrayLike,
    axial: ArrayLike,
    *,
    axis: str = "zz",
    control: str = "strain",
    dt_s: ArrayLike = 0.0,
    cycles: ArrayLike = 0.0,
    after: Drive | None = None,
) -> Drive:
    """Drive one point by its axial strain or stress (n,), free of stress in all other components.

    `axis` is "xx", "yy" or "zz"; `control` is "strain" (logarithmic) or "stress" (MPa). Raises as `drive`.
    """
    if axis not in ("xx", "yy", "zz") or control not in ("strain", "stress"):
        raise MaterialError(f"axis={axis!r}, control={control!r}: use xx, yy or zz, and strain or stress")
    values = np.asarray(axial, dtype=np.float64)
    targets = np.zeros((values.size, 6))
    targets[:, _AXES[axis]] = values
    free = tuple(name for name in _AXES if name != axis or control == "stress")
    return drive(law, parameters, targets, stress_controlled=free, dt_s=dt_s, cycles=cycles, after=after)
