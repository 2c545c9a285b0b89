"""Crushable bone: crushing plasticity, overload damage, creep and fatigue behind one scalar unknown.

Everything is divided by the axial modulus E1, so stresses are strains here. With the effective stress
s_hat = sigma/((1-D) E1) and n = P s_hat/s, s = sqrt(s_hat' P s_hat), every inelastic strain increment is a
multiple of n: plasticity and irrecoverable creep by their multipliers, the Kelvin chain by its compliance
A s. So s_hat = (S0 + y P)^-1 e_trial with one unknown y >= A, and (y - A) s is the sum of the multipliers.

Within a step nothing lowers the strength: damage, densification and creep are taken at the end of the step,
softening from the plastic multiplier that was committed before it (in the spirit of IMPL-EX: Oliver, Huespe &
Cante 2008, CMAME 197:1865). `kyphos.materials.laws.CRUSHABLE_BONE` gives the equations and their sources.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from .tensors import (
    NO_ROOT,
    NOT_FINITE,
    OK,
    Block,
    Vector,
    add_outer,
    all_finite,
    block_inverse,
    block_sum,
    block_times,
    dot,
    fail,
    load_block,
    load_vector,
    scaled,
    store_block,
    store_vector,
    vector_sum,
)

# Kelvin chain for ln(1 + t/tau): retardation times over tau and weights, fitted to
# 2.1 % over 1 to 2e4 tau (7 % low at 1e5).
KELVIN_TIMES = (1.6, 16.0, 160.0, 1600.0, 16000.0)
KELVIN_WEIGHTS = (1.15, 2.26, 2.23, 2.28, 2.77)
KELVIN = len(KELVIN_TIMES)

# Places in the state vector; KELVIN_START is followed by five strains of six components.
PLASTIC, KAPPA, COMPACTION, PRIMARY, CREEP, FATIGUE, DRIVE, DAMAGE, KELVIN_START = (
    0,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
)
STATE_SIZE = KELVIN_START + 6 * KELVIN

_ITERATIONS = 200
_TOLERANCE = 1e-14


class Bone(NamedTuple):
    """Constants of one cell after the two blocks; stresses divided by the axial modulus."""

    modulus_mpa: float
    yield_strain: float
    plateau_ratio: float
    softening_strain: float
    densification_gain: float
    densification_strain: float
    damage_max: float
    damage_rate: float
    damage_cap: float
    creep_coefficient: float
    irrecoverable_share: float
    creep_time_s: float
    secondary_rate_per_s: float
    secondary_exponent: float
    fatigue_life_coefficient: float
    fatigue_life_exponent: float
    fatigue_damage_exponent: float


class Step(NamedTuple):
    """What one evaluation is given: time, and history at its start."""

    dt_s: float
    chain: float
    kappa: float
    compaction: float
    primary: float
    fatigue: float


class Point(NamedTuple):
    """For one y: M^-1 = (S0 + y P)^-1, effective stress, P times it, its norm s, w = M^-1 n, b = n'w."""

    y: float
    inverse: Block
    stress: Vector
    flow: Vector
    s: float
    w: Vector
    b: float


class Strength(NamedTuple):
    """psi = 1 - D with its derivative by kappa; Y/E1 with its derivative by compaction."""

    psi: float
    psi_kappa: float
    value: float
    value_compaction: float


class Root(NamedTuple):
    """Bracketed Newton iteration on an increasing function."""

    y: float
    low: float
    high: float
    done: bool


@njit(cache=True, error_model="numpy")
def _load_bone(c: np.ndarray) -> Bone:
    """Constants of one cell from place 18 on."""
    return Bone(
        c[18], c[19], c[20], c[21], c[22], c[23], c[24], c[25], c[26],
        c[27], c[28], c[29], c[30], c[31], c[32], c[33], c[34],
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def _point(y: float, e: Vector, compliance: Block, surface: Block) -> Point:
    inverse = block_inverse(block_sum(compliance, y, surface))
    stress = block_times(inverse, e)
    flow = block_times(surface, stress)
    s = np.sqrt(max(dot(stress, flow), 0.0))
    if s < 1e-150:  # n is undefined and not needed: all its factors vanish
        return Point(y, inverse, stress, flow, 0.0, scaled(0.0, flow), 0.0)
    w = scaled(1.0 / s, block_times(inverse, flow))
    return Point(y, inverse, stress, flow, s, w, dot(flow, w) / s)


@njit(cache=True, error_model="numpy")
def _strength(bone: Bone, step: Step, kappa: float, compaction: float) -> Strength:
    """Damage from `kappa`, densification from `compaction`, softening from the kappa at the start of the step."""
    decay = bone.damage_max * np.exp(-bone.damage_rate * kappa)
    damage = bone.damage_max - decay + step.fatigue
    slope = -bone.damage_rate * decay
    if damage >= bone.damage_cap:
        damage, slope = bone.damage_cap, 0.0
    soft = (1.0 - bone.plateau_ratio) * np.exp(-step.kappa / bone.softening_strain)
    packed = max(compaction, 0.0) / bone.densification_strain
    gain = bone.densification_gain * packed**3
    return Strength(
        1.0 - damage,
        slope,
        bone.yield_strain * (bone.plateau_ratio + soft + gain * packed),
        bone.yield_strain * 4.0 * gain / bone.densification_strain,
    )


@njit(cache=True, error_model="numpy")
def _creep(bone: Bone, step: Step, s: float, drive: float) -> tuple[float, float, float]:
    """Irrecoverable creep over the step: primary and secondary multiplier over s, and d(sum)/ds.

    Primary is the strain-hardening form of c s ln(1 + t/tau), exact at constant s; `drive` is the load
    relative to the current strength, capped at yield (there it no longer depends on s).
    """
    if step.dt_s <= 0.0:
        return 0.0, 0.0, 0.0
    c = bone.creep_coefficient * bone.irrecoverable_share
    age = 0.0
    if step.primary > 0.0:
        age = step.primary / (c * s) if s > 0.0 else np.inf
    u = np.exp(-age) * step.dt_s / bone.creep_time_s
    primary = c * np.log1p(u)
    aging = c * age * u / (1.0 + u) if u > 0.0 else 0.0
    if s <= 0.0:
        return primary, 0.0, primary + aging
    secondary = step.dt_s * bone.secondary_rate_per_s * min(drive, bone.yield_strain) ** bone.secondary_exponent / s
    rise = bone.secondary_exponent * secondary if drive < bone.yield_strain else 0.0
    return primary, secondary, primary + aging + rise


@njit(cache=True, error_model="numpy")
def _advance(root: Root, residual: float, slope: float, scale: float) -> Root:
    """One safeguarded Newton step: the residual is negative left of the root and positive right of it."""
    y, low, high = root.y, root.low, root.high
    if abs(residual) <= _TOLERANCE * scale:
        return Root(y, low, high, True)
    if residual < 0.0:
        low = y
    else:
        high = y
    new = y - residual / slope
    if not (new > low and new < high):  # also catches NaN
        new = 0.5 * (low + high) if high < np.inf else 2.0 * y + 1.0
    if not (new > low and new < high) or abs(new - y) <= 1e-15 * abs(y):
        return Root(new if new >= low and new <= high else y, low, high, True)
    return Root(new, low, high, False)


@njit(cache=True, error_model="numpy")
def _solve_creep(
    bone: Bone, step: Step, e: Vector, compliance: Block, surface: Block
) -> tuple[bool, Point, float, float, float]:
    """The state without plastic flow: y - A = (creep multiplier)/s. Returns found, point and `_creep`."""
    now = _strength(bone, step, step.kappa, step.compaction)
    load = now.psi * bone.yield_strain / now.value
    root = Root(step.chain, step.chain, np.inf, False)
    for _ in range(_ITERATIONS):
        point = _point(root.y, e, compliance, surface)
        primary, secondary, rate = _creep(bone, step, point.s, load * point.s)
        residual = root.y - step.chain - primary - secondary
        if root.done or residual == 0.0:
            return True, point, primary, secondary, rate
        slope = 1.0 + point.b * (rate - primary - secondary)
        root = _advance(root, residual, slope, max(root.y, 1e-3))
    return False, point, primary, secondary, rate


@njit(cache=True, error_model="numpy")
def _flow_state(
    bone: Bone, step: Step, point: Point, volumetric: Vector
) -> tuple[float, float, float, float, Strength, float, float]:
    """Plastic multiplier, primary and secondary creep, dL/ds, strength, trace of n, compaction at `point`."""
    primary, secondary, rate = _creep(bone, step, point.s, bone.yield_strain)
    plastic = max((point.y - step.chain - primary - secondary) * point.s, 0.0)
    trace = dot(volumetric, point.stress) / point.s
    compaction = step.compaction - plastic * trace
    now = _strength(bone, step, step.kappa + plastic, compaction)
    return plastic, primary, secondary, rate, now, trace, compaction


@njit(cache=True, error_model="numpy")
def _yield_slopes(point: Point, h: float, plastic: float, trace: float, volumetric: Vector) -> tuple[float, float]:
    """Derivatives by y of the plastic multiplier and of the compaction."""
    kappa_y = point.s * (1.0 - h * point.b)
    trace_y = trace * point.b - dot(volumetric, point.w)
    return kappa_y, -(kappa_y * trace + plastic * trace_y)


@njit(cache=True, error_model="numpy")
def _solve_yield(
    bone: Bone, step: Step, e: Vector, compliance: Block, surface: Block, start: float
) -> tuple[bool, Point]:
    """Plastic flow: psi s = Y, solved as 1/s = psi/Y because 1/s is nearly linear in y."""
    volumetric = _column_sums(surface)
    root = Root(start, start, np.inf, False)
    for _ in range(_ITERATIONS):
        point = _point(root.y, e, compliance, surface)
        if root.done:
            return True, point
        plastic, _, _, rate, now, trace, _ = _flow_state(bone, step, point, volumetric)
        h = root.y - step.chain - rate
        kappa_y, compaction_y = _yield_slopes(point, h, plastic, trace, volumetric)
        value_y = now.value_compaction * compaction_y
        ratio = now.psi / now.value
        slope = point.b / point.s - (now.psi_kappa * kappa_y - ratio * value_y) / now.value
        root = _advance(root, 1.0 / point.s - ratio, slope, ratio)
    return False, point


@njit(cache=True, error_model="numpy")
def _column_sums(surface: Block) -> Vector:
    """P (1,1,1,0,0,0): what turns a stress into the trace of its flow."""
    return (
        surface[0] + surface[3] + surface[5],
        surface[3] + surface[1] + surface[4],
        surface[5] + surface[4] + surface[2],
        0.0,
        0.0,
        0.0,
    )


@njit(cache=True, error_model="numpy")
def _write_elastic(bone: Bone, point: Point, psi: float, h: float, stress: np.ndarray, tangent: np.ndarray) -> None:
    """Stress and tangent without plastic flow; h = y - A - dL/ds carries the creep."""
    store_vector(point.stress, psi * bone.modulus_mpa, stress, 0)
    store_block(point.inverse, psi * bone.modulus_mpa, tangent)
    if h != 0.0:
        add_outer(point.w, psi * bone.modulus_mpa * h / (1.0 - h * point.b), point.w, tangent)


@njit(cache=True, error_model="numpy")
def _write_plastic(
    bone: Bone,
    point: Point,
    flow: tuple[float, float, float, float, Strength, float, float],
    h: float,
    volumetric: Vector,
    stress: np.ndarray,
    tangent: np.ndarray,
) -> None:
    """Stress and tangent on the yield surface, by the implicit function theorem through psi s - Y = 0."""
    plastic, _, _, _, now, trace, _ = flow
    kappa_y, compaction_y = _yield_slopes(point, h, plastic, trace, volumetric)
    drop = now.psi_kappa * point.s
    residual_y = drop * kappa_y - now.psi * point.s * point.b - now.value_compaction * compaction_y
    along = drop * h + now.psi + now.value_compaction * trace * (h - plastic / point.s)
    dy = scaled(along, point.w)
    dy = vector_sum(dy, now.value_compaction * plastic / point.s, block_times(point.inverse, volumetric))
    dy = scaled(-1.0 / residual_y, dy)
    left = vector_sum(scaled(-now.psi * point.s, point.w), now.psi_kappa * kappa_y, point.stress)
    store_vector(point.stress, now.psi * bone.modulus_mpa, stress, 0)
    store_block(point.inverse, now.psi * bone.modulus_mpa, tangent)
    add_outer(left, bone.modulus_mpa, dy, tangent)
    add_outer(point.stress, bone.modulus_mpa * now.psi_kappa * h, point.w, tangent)


@njit(cache=True, error_model="numpy")
def _fatigue(bone: Bone, state: np.ndarray, cycles: float) -> float:
    """Fatigue damage after `cycles` at the committed load, exact at constant load, floored at the cap."""
    if cycles <= 0.0 or state[DRIVE] <= 0.0:
        return float(state[FATIGUE])
    spent = cycles / bone.fatigue_life_coefficient * state[DRIVE] ** bone.fatigue_life_exponent
    power = bone.fatigue_damage_exponent + 1.0
    left = max((1.0 - state[FATIGUE]) ** power - spent, (1.0 - bone.damage_cap) ** power)
    return float(max(1.0 - left ** (1.0 / power), state[FATIGUE]))


@njit(cache=True, error_model="numpy")
def _start(bone: Bone, strain: np.ndarray, state: np.ndarray, dt_s: float, cycles: float) -> tuple[Vector, Step]:
    """Trial elastic strain and the history at the start of the step."""
    e = vector_sum(load_vector(strain, 0), -1.0, load_vector(state, PLASTIC))
    chain = 0.0
    for i in range(KELVIN):
        grow = -np.expm1(-dt_s / (KELVIN_TIMES[i] * bone.creep_time_s))
        chain += grow * KELVIN_WEIGHTS[i] * bone.creep_coefficient * (1.0 - bone.irrecoverable_share)
        e = vector_sum(e, grow - 1.0, load_vector(state, KELVIN_START + 6 * i))
    fatigue = _fatigue(bone, state, cycles)
    return e, Step(dt_s, chain, state[KAPPA], state[COMPACTION], state[PRIMARY], fatigue)


@njit(cache=True, error_model="numpy")
def _store_kelvin(bone: Bone, point: Point, dt_s: float, state: np.ndarray, new_state: np.ndarray) -> None:
    """Exponential step of each Kelvin element under the stress at the end of the step."""
    for i in range(KELVIN):
        grow = -np.expm1(-dt_s / (KELVIN_TIMES[i] * bone.creep_time_s))
        target = grow * KELVIN_WEIGHTS[i] * bone.creep_coefficient * (1.0 - bone.irrecoverable_share)
        place = KELVIN_START + 6 * i
        kept = scaled(1.0 - grow, load_vector(state, place))
        store_vector(vector_sum(kept, target, point.flow), 1.0, new_state, place)


@njit(cache=True, error_model="numpy")
def _store(
    bone: Bone, step: Step, point: Point, flow: tuple[float, float, float, float, Strength, float, float],
    state: np.ndarray, new_state: np.ndarray,
) -> None:  # fmt: skip
    """Write the state after the step; `flow` as `_flow_state`."""
    plastic, primary, secondary, _, now, _, compaction = flow
    creep = (primary + secondary) * point.s
    amount = (plastic + creep) / point.s if point.s > 0.0 else 0.0
    store_vector(vector_sum(load_vector(state, PLASTIC), amount, point.flow), 1.0, new_state, PLASTIC)
    new_state[KAPPA] = step.kappa + plastic
    new_state[COMPACTION] = compaction
    new_state[PRIMARY] = step.primary + primary * point.s
    new_state[CREEP] = state[CREEP] + creep
    new_state[FATIGUE] = step.fatigue
    new_state[DRIVE] = min(now.psi * point.s / now.value, 1.0) * bone.yield_strain
    new_state[DAMAGE] = 1.0 - now.psi
    if step.dt_s > 0.0:
        _store_kelvin(bone, point, step.dt_s, state, new_state)
    else:
        new_state[KELVIN_START:STATE_SIZE] = state[KELVIN_START:STATE_SIZE]


@njit(cache=True, error_model="numpy")
def bone_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    dt_s: float,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """Crushable bone at one point; returns a status code.

    strain, stress (6,); state, new_state (STATE_SIZE,); constants (35,): compliance block and surface block
    over the axial modulus, then `Bone`; tangent (6, 6).
    """
    bone = _load_bone(constants)
    compliance, surface = load_block(constants, 0), load_block(constants, 9)
    e, step = _start(bone, strain, state, dt_s, cycles)
    if not all_finite(e):
        return int(fail(NOT_FINITE, stress, tangent))
    found, point, primary, secondary, rate = _solve_creep(bone, step, e, compliance, surface)
    now = _strength(bone, step, step.kappa, step.compaction)
    if found and now.psi * point.s <= now.value * (1.0 + 1e-12):
        _write_elastic(bone, point, now.psi, point.y - step.chain - rate, stress, tangent)
        flow = (0.0, primary, secondary, rate, now, 0.0, step.compaction)
        _store(bone, step, point, flow, state, new_state)
        return OK
    found, point = _solve_yield(bone, step, e, compliance, surface, point.y)
    if not found:
        return int(fail(NO_ROOT, stress, tangent))
    volumetric = _column_sums(surface)
    flow = _flow_state(bone, step, point, volumetric)
    _write_plastic(bone, point, flow, point.y - step.chain - flow[3], volumetric, stress, tangent)
    _store(bone, step, point, flow, state, new_state)
    return OK


@njit(cache=True, parallel=True, error_model="numpy")
def bone_batch(
    strain: np.ndarray,
    state: np.ndarray,
    cells: np.ndarray,
    constants: np.ndarray,
    dt_s: float,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
    status: np.ndarray,
) -> None:
    """Crushable bone at all points of the given cells; constants (k, 35). See `MaterialField.update`."""
    points = strain.shape[1]
    for i in prange(cells.size * points):
        k = i // points
        c, p = cells[k], i % points
        status[c, p] = bone_point(
            strain[c, p],
            state[c, p],
            constants[k],
            dt_s,
            cycles,
            stress[c, p],
            tangent[c, p],
            new_state[c, p],
        )
