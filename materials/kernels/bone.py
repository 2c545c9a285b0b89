"""Crushable bone: crushing plasticity, overload damage, creep and fatigue behind one scalar unknown.

Everything is divided by the axial modulus E1, so stresses are strains here. With the effective stress
s_hat = sigma/((1-D) E1) and n = P s_hat/s, s = sqrt(s_hat' P s_hat), every inelastic strain increment is a
multiple of n: plasticity and irrecoverable creep by their multipliers, the Kelvin chain by its compliance
A s. So s_hat = (S0 + y P)^-1 e_trial with one unknown y >= A, and (y - A) s is the sum of the multipliers.
Along an axis in tension S0 and P of crushed bone have more on their diagonals: its struts part there, and touch again.

Within a step nothing lowers the strength Y: damage, densification and creep are taken at the end of the step,
softening from the history that was committed before it (in the spirit of IMPL-EX: Oliver, Huespe & Cante 2008,
CMAME 197:1865). But for densification all derives from a potential, so that without creep the tangent is symmetric.
`kyphos.materials.laws.CRUSHABLE_BONE` gives the equations and their sources.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .tensors import (
    NO_ROOT,
    NOT_FINITE,
    OK,
    OPTIONS,
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
    widened,
)

# Kelvin chain for ln(1 + t/tau): retardation times over tau and weights, fitted to
# 2.1 % over 1 to 2e4 tau (7 % low at 1e5).
KELVIN_TIMES = (1.6, 16.0, 160.0, 1600.0, 16000.0)
KELVIN_WEIGHTS = (1.15, 2.26, 2.23, 2.28, 2.77)
KELVIN = len(KELVIN_TIMES)
# How what springs back after crushing is shared among the elements: gone within half an hour for tau = 1 s.
SPRINGBACK = (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0)

# Places in the state vector; KELVIN_START is followed by five strains of six components.
PLASTIC, KAPPA, COMPACTION, PRIMARY, CREEP, FATIGUE, DRIVE, DAMAGE, FLOW, KELVIN_START = (
    0,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    19,
)
STATE_SIZE = KELVIN_START + 6 * KELVIN

_ITERATIONS = 200
_TOLERANCE = 1e-14
_ROUNDS = 8
_SHUT = (0.0, 0.0, 0.0)


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
    springback_share: float
    tension_share: float
    tension_strength_share: float
    packing_exponent: float


class Element(NamedTuple):
    """One Kelvin element over a step: the share of its strain that stays, its compliance, and what parts of it make
    strain of the flow at the step's start and at its end.
    """

    stays: float
    compliance: float
    before: float
    after: float


Chain = tuple[Element, Element, Element, Element, Element]
Axes = tuple[float, float, float]
Blocks = tuple[Block, Block, Vector]


class Step(NamedTuple):
    """What one evaluation is given: time, history at its start, and what is held through it.

    `soft` is Y/E1 there without what packing adds, `load` turns the stress s into that relative to the strength,
    `crushed` is the compliance that springs back, `chain` the sum A of the Kelvin elements' compliances over what the
    step's time lets act, `gaping` what S0 gets on its diagonal along an axis in tension and `parting` what P does,
    `packed` how much stiffer packing has made it.
    """

    dt_s: float
    crushed: float
    chain: float
    kappa: float
    compaction: float
    primary: float
    fatigue: float
    soft: float
    load: float
    gaping: Axes
    parting: Axes
    packed: float


class Point(NamedTuple):
    """For one y: M^-1 = (S0 + y P)^-1, opened in tension, effective stress, P times it, its norm s, w = M^-1 n,
    b = n'w, and P (1,1,1,0,0,0); P as opened too.
    """

    y: float
    inverse: Block
    stress: Vector
    flow: Vector
    s: float
    w: Vector
    b: float
    volumetric: Vector


class Yield(NamedTuple):
    """psi = 1 - D with packing in D, first and second derivative of D by kappa, Y/E1, and the threshold of `_excess`
    with its derivative by compaction.
    """

    psi: float
    slope: float
    bend: float
    strength: float
    threshold: float
    packing: float


class Flow(NamedTuple):
    """Plastic multiplier, primary and secondary creep over s, dL/ds, trace of n, and the `Yield` they lead to."""

    plastic: float
    primary: float
    secondary: float
    rate: float
    trace: float
    now: Yield


class Root(NamedTuple):
    """Bracketed Newton iteration on an increasing function."""

    y: float
    low: float
    high: float
    done: bool


@njit(**OPTIONS)
def _load_bone(c: np.ndarray) -> Bone:
    """Constants of one cell from place 18 on."""
    return Bone(
        c[18], c[19], c[20], c[21], c[22], c[23], c[24], c[25], c[26],
        c[27], c[28], c[29], c[30], c[31], c[32], c[33], c[34], c[35], c[36], c[37], c[38],
    )  # fmt: skip


@njit(**OPTIONS)
def _axes_sum(a: Axes, factor: float, b: Axes) -> Axes:
    """a + factor b."""
    return (a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2])


@njit(**OPTIONS)
def _opened(more: Axes, stress: Vector) -> Axes:
    """`more` along the axes in tension, zero along the others."""
    return (
        more[0] if stress[0] > 0.0 else 0.0,
        more[1] if stress[1] > 0.0 else 0.0,
        more[2] if stress[2] > 0.0 else 0.0,
    )


@njit(**OPTIONS)
def _point(y: float, e: Vector, blocks: Blocks, step: Step) -> Point:
    """The state at y. Which axes are in tension is found by trying again until none changes: the energy is convex,
    and nothing off the diagonal is positive (for Poisson's ratios not below zero): what a round closes stays closed.
    """
    compliance, surface, volumetric = blocks
    closed = block_sum(compliance, y, surface)
    wide = _axes_sum(step.gaping, y, step.parting)
    inverse = block_inverse(closed)
    stress = block_times(inverse, e)
    opened = _opened(wide, stress)
    for _ in range(_ROUNDS):
        if opened == _SHUT:
            break
        inverse = block_inverse(widened(closed, opened))
        stress = block_times(inverse, e)
        tried, opened = opened, _opened(wide, stress)
        if tried == opened:
            break
    parted = _opened(step.parting, stress)  # not only where `opened`: at y = 0 a strength may part and no stiffness
    if parted != _SHUT:
        surface = widened(surface, parted)
        volumetric = vector_sum(volumetric, 1.0, (parted[0], parted[1], parted[2], 0.0, 0.0, 0.0))
    flow = block_times(surface, stress)
    s = np.sqrt(max(dot(stress, flow), 0.0))
    if s < 1e-150:  # n is undefined and not needed: all its factors vanish
        return Point(y, inverse, stress, flow, 0.0, scaled(0.0, flow), 0.0, volumetric)
    w = scaled(1.0 / s, block_times(inverse, flow))
    return Point(y, inverse, stress, flow, s, w, dot(flow, w) / s, volumetric)


@njit(**OPTIONS)
def _soft(bone: Bone, kappa: float) -> float:
    """Y/E1, softened by `kappa`, of bone that is not packed."""
    left = (1.0 - bone.plateau_ratio) * np.exp(-kappa / bone.softening_strain)
    return float(bone.yield_strain * (bone.plateau_ratio + left))


@njit(**OPTIONS)
def _packed(bone: Bone, compaction: float) -> tuple[float, float]:
    """What packing by `compaction` adds to Y/E1, and its derivative."""
    packed = compaction / bone.densification_strain
    gain = bone.yield_strain * bone.densification_gain * packed * packed * packed
    return gain * packed, 4.0 * gain / bone.densification_strain


@njit(**OPTIONS)
def _yield(bone: Bone, step: Step, plastic: float, trace: float) -> Yield:
    """After crushing by `plastic` with flow of `trace`: damage, and the threshold Y + D'/2 (Y/psi)^2.

    With it uniaxial compression along z yields at Y whatever D'. Softening is that of the kappa at the step's start.
    """
    decay = bone.damage_max * np.exp(-bone.damage_rate * (step.kappa + plastic))
    damage, slope = bone.damage_max - decay + step.fatigue, bone.damage_rate * decay
    if damage >= bone.damage_cap:
        damage, slope = bone.damage_cap, 0.0
    psi, slope = step.packed * (1.0 - damage), step.packed * slope
    if psi > 1.0:
        psi, slope = 1.0, 0.0
    more, rise = _packed(bone, step.compaction + max(-plastic * trace, 0.0))
    strength = step.soft + more
    if trace > 0.0:  # drawn apart, it stays as packed as it was
        rise = 0.0
    threshold = strength + 0.5 * slope * (strength / psi) ** 2
    packing = rise * (1.0 + slope * strength / psi**2)
    return Yield(psi, slope, -bone.damage_rate * slope, strength, threshold, packing)


@njit(**OPTIONS)
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


@njit(**OPTIONS)
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


@njit(**OPTIONS)
def _energy(point: Point, e: Vector) -> float:
    """Twice the elastic energy of the effective stress, s_hat' S0 s_hat."""
    return float(dot(point.stress, e) - point.y * point.s**2)


@njit(**OPTIONS)
def _solve_creep(bone: Bone, step: Step, e: Vector, blocks: Blocks) -> tuple[bool, Point, float, float, float]:
    """The state without plastic flow: y - A = (creep multiplier)/s. Returns found, point and `_creep`."""
    root = Root(step.chain, step.chain, np.inf, False)
    for _ in range(_ITERATIONS):
        point = _point(root.y, e, blocks, step)
        primary, secondary, rate = _creep(bone, step, point.s, step.load * point.s)
        residual = root.y - step.chain - primary - secondary
        if root.done or residual == 0.0:
            return True, point, primary, secondary, rate
        slope = 1.0 + point.b * (rate - primary - secondary)
        root = _advance(root, residual, slope, max(root.y, 1e-3))
        if root.done and root.y == point.y:
            return True, point, primary, secondary, rate
    return False, point, primary, secondary, rate


@njit(**OPTIONS)
def _flow(bone: Bone, step: Step, point: Point) -> Flow:
    """What flows at `point`."""
    primary, secondary, rate = _creep(bone, step, point.s, step.load * point.s)
    plastic = max((point.y - step.chain - primary - secondary) * point.s, 0.0)
    trace = dot(point.volumetric, point.stress) / point.s
    return Flow(plastic, primary, secondary, rate, trace, _yield(bone, step, plastic, trace))


@njit(**OPTIONS)
def _excess(now: Yield, s: float, energy: float) -> float:
    """f = psi s + D'/2 (s_hat' S0 s_hat) - threshold: the second term is what damage releases."""
    return now.psi * s + 0.5 * now.slope * energy - now.threshold


@njit(**OPTIONS)
def _excess_kappa(now: Yield, s: float, energy: float) -> float:
    """df/dkappa at fixed stress and strength."""
    effective = (now.strength / now.psi) ** 2
    return -now.slope * s + 0.5 * now.bend * (energy - effective) - now.slope**2 * effective / now.psi


@njit(**OPTIONS)
def _excess_y(point: Point, h: float, flow: Flow, energy: float) -> float:
    """df/dy at fixed strain."""
    now = flow.now
    kappa_y = point.s * (1.0 - h * point.b)
    trace_y = flow.trace * point.b - dot(point.volumetric, point.w)
    release = now.slope * point.s**2 * (1.0 - point.y * point.b)
    packed = now.packing * (kappa_y * flow.trace + flow.plastic * trace_y)
    return float(_excess_kappa(now, point.s, energy) * kappa_y - now.psi * point.s * point.b - release + packed)


@njit(**OPTIONS)
def _solve_yield(bone: Bone, step: Step, e: Vector, blocks: Blocks, start: float) -> tuple[bool, Point, Flow]:
    """Plastic flow: f = 0, solved as -f/s = 0 because 1/s is nearly linear in y."""
    root = Root(start, start, np.inf, False)
    for _ in range(_ITERATIONS):
        point = _point(root.y, e, blocks, step)
        flow = _flow(bone, step, point)
        if root.done:
            return True, point, flow
        energy = _energy(point, e)
        excess = _excess(flow.now, point.s, energy)
        h = root.y - step.chain - flow.rate
        slope = _excess_y(point, h, flow, energy) + point.b * excess
        root = _advance(root, -excess / point.s, -slope / point.s, flow.now.psi)
        if root.done and root.y == point.y:
            return True, point, flow
    return False, point, flow


@njit(**OPTIONS)
def _write_elastic(bone: Bone, point: Point, psi: float, h: float, stress: np.ndarray, tangent: np.ndarray) -> None:
    """Stress and tangent without plastic flow; h = y - A - dL/ds carries the creep."""
    store_vector(point.stress, psi * bone.modulus_mpa, stress, 0)
    store_block(point.inverse, psi * bone.modulus_mpa, tangent)
    if h != 0.0:
        add_outer(point.w, psi * bone.modulus_mpa * h / (1.0 - h * point.b), point.w, tangent)


@njit(**OPTIONS)
def _write_plastic(
    bone: Bone, step: Step, e: Vector, point: Point, flow: Flow, stress: np.ndarray, tangent: np.ndarray
) -> None:
    """Stress and tangent on the yield surface, by the implicit function theorem through f = 0."""
    now, energy, h = flow.now, _energy(point, e), point.y - step.chain - flow.rate
    kappa_y = point.s * (1.0 - h * point.b)
    along = now.psi + _excess_kappa(now, point.s, energy) * h - now.slope * point.y * point.s
    along += now.packing * flow.trace * (h - flow.plastic / point.s)
    gradient = vector_sum(scaled(along, point.w), now.slope, point.stress)
    gradient = vector_sum(gradient, now.packing * flow.plastic / point.s, block_times(point.inverse, point.volumetric))
    dy = scaled(-1.0 / _excess_y(point, h, flow, energy), gradient)
    left = vector_sum(scaled(-now.psi * point.s, point.w), -now.slope * kappa_y, point.stress)
    store_vector(point.stress, now.psi * bone.modulus_mpa, stress, 0)
    store_block(point.inverse, now.psi * bone.modulus_mpa, tangent)
    add_outer(left, bone.modulus_mpa, dy, tangent)
    add_outer(point.stress, -bone.modulus_mpa * now.slope * h, point.w, tangent)


@njit(**OPTIONS)
def _fatigue(bone: Bone, before: float, cycles: float, drive: float, drive_end: float) -> float:
    """Fatigue damage after `cycles`, from `before`: exact at constant load, trapezoidal between two, up to the cap."""
    if cycles <= 0.0:
        return before
    power = bone.fatigue_damage_exponent + 1.0
    per_cycle = 0.5 * (drive**bone.fatigue_life_exponent + drive_end**bone.fatigue_life_exponent)
    spent = cycles / bone.fatigue_life_coefficient * per_cycle
    left = max((1.0 - before) ** power - spent, (1.0 - bone.damage_cap) ** power)
    return float(max(1.0 - left ** (1.0 / power), before))


@njit(**OPTIONS)
def _element(bone: Bone, dt_s: float, i: int) -> Element:
    """Kelvin element i, exact for a stress that changes linearly in the step (Taylor, Pister & Goudreau 1970, IJNME
    2:45).
    """
    compliance = bone.creep_coefficient * (1.0 - bone.irrecoverable_share) * KELVIN_WEIGHTS[i]
    if dt_s <= 0.0:
        return Element(1.0, compliance, 0.0, 0.0)
    x = dt_s / (KELVIN_TIMES[i] * bone.creep_time_s)
    gone = -np.expm1(-x)
    mean = gone / x if x > 1e-5 else 1.0 - 0.5 * x
    return Element(1.0 - gone, compliance, mean - 1.0 + gone, 1.0 - mean)


@njit(**OPTIONS)
def _chain(bone: Bone, dt_s: float) -> Chain:
    """All Kelvin elements of a cell that has not been crushed."""
    return (
        _element(bone, dt_s, 0), _element(bone, dt_s, 1), _element(bone, dt_s, 2), _element(bone, dt_s, 3),
        _element(bone, dt_s, 4),
    )  # fmt: skip


@njit(**OPTIONS)
def _kept(share: float, rate: float, kappa: float) -> float:
    """1 - (1 - share) (1 - exp(-a kappa)): what crushing leaves along an axis in tension."""
    return float(1.0 + (1.0 - share) * np.expm1(-rate * kappa))


@njit(**OPTIONS)
def _more(block: Block, factor: float) -> Axes:
    """`factor` times the diagonal of a block's normal part."""
    return (factor * block[0], factor * block[1], factor * block[2])


@njit(**OPTIONS)
def _start(
    bone: Bone, chain: Chain, blocks: Blocks, strain: np.ndarray, state: np.ndarray, dt_s: float, cycles: float
) -> tuple[Vector, Step, Yield]:
    """Trial elastic strain, the history at the start of the step, and what yields before anything flows."""
    e = vector_sum(load_vector(strain, 0), -1.0, load_vector(state, PLASTIC))
    soft = _soft(bone, state[KAPPA])
    strength = soft + _packed(bone, state[COMPACTION])[0]
    crushed = bone.springback_share * state[KAPPA] * (1.0 - state[DAMAGE]) / strength
    before = after = 0.0
    for i in range(KELVIN):
        element = chain[i]
        of_element = element.compliance + crushed * SPRINGBACK[i]
        before += of_element * element.before
        after += of_element * element.after
        e = vector_sum(e, -element.stays, load_vector(state, KELVIN_START + 6 * i))
    if dt_s > 0.0:
        e = vector_sum(e, -before, load_vector(state, FLOW))
    fatigue = _fatigue(bone, state[FATIGUE], cycles, state[DRIVE], state[DRIVE])
    stiff = _kept(bone.tension_share, bone.damage_rate, state[KAPPA])
    strong = _kept(bone.tension_strength_share, bone.damage_rate, state[KAPPA])
    gaping, parting = _more(blocks[0], 1.0 / stiff - 1.0), _more(blocks[1], 1.0 / strong**2 - 1.0)
    packed = np.exp(bone.packing_exponent * state[COMPACTION])
    past = (state[KAPPA], state[COMPACTION], state[PRIMARY], fatigue, soft)
    step = Step(dt_s, crushed, after, *past, 0.0, gaping, parting, packed)
    now = _yield(bone, step, 0.0, 0.0)
    load = now.psi * bone.yield_strain / strength
    return e, Step(dt_s, crushed, after, *past, load, gaping, parting, packed), now


@njit(**OPTIONS)
def _store_kelvin(
    bone: Bone, chain: Chain, step: Step, point: Point, plastic: float, state: np.ndarray, new_state: np.ndarray
) -> None:
    """Step of each Kelvin element, and its part of what crushing leaves."""
    if step.dt_s <= 0.0 and plastic <= 0.0:
        for i in range(KELVIN_START, STATE_SIZE):  # a slice would be copied first
            new_state[i] = state[i]
        return
    sprung = bone.springback_share * plastic / point.s if plastic > 0.0 else 0.0
    old_flow = load_vector(state, FLOW)
    for i in range(KELVIN):
        element, place = chain[i], KELVIN_START + 6 * i
        compliance = element.compliance + step.crushed * SPRINGBACK[i]
        kept = vector_sum(scaled(element.stays, load_vector(state, place)), compliance * element.before, old_flow)
        now = compliance * element.after + sprung * SPRINGBACK[i]
        store_vector(vector_sum(kept, now, point.flow), 1.0, new_state, place)


@njit(**OPTIONS)
def _store(
    bone: Bone, chain: Chain, step: Step, point: Point, flow: Flow, cycles: float, state: np.ndarray,
    new_state: np.ndarray,
) -> None:  # fmt: skip
    """Write the state after the step."""
    creep = (flow.primary + flow.secondary) * point.s
    stays = (1.0 - bone.springback_share) * flow.plastic + creep
    amount = stays / point.s if point.s > 0.0 else 0.0
    store_vector(vector_sum(load_vector(state, PLASTIC), amount, point.flow), 1.0, new_state, PLASTIC)
    new_state[KAPPA] = step.kappa + flow.plastic
    new_state[COMPACTION] = step.compaction + max(-flow.plastic * flow.trace, 0.0)
    new_state[PRIMARY] = step.primary + flow.primary * point.s
    new_state[CREEP] = state[CREEP] + creep
    new_state[DRIVE] = min(flow.now.psi * point.s / flow.now.strength, 1.0) * bone.yield_strain
    new_state[FATIGUE] = _fatigue(bone, state[FATIGUE], cycles, state[DRIVE], new_state[DRIVE])
    new_state[DAMAGE] = 1.0 - flow.now.psi
    store_vector(point.flow, 1.0, new_state, FLOW)
    _store_kelvin(bone, chain, step, point, flow.plastic, state, new_state)


@njit(**OPTIONS)
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


@njit(**OPTIONS)
def bone_point(
    bone: Bone,
    blocks: Blocks,
    chain: Chain,
    strain: np.ndarray,
    state: np.ndarray,
    dt_s: float,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """Crushable bone at one point; returns a status code.

    strain, stress (6,); state, new_state (STATE_SIZE,); blocks: compliance and surface over the axial modulus, and the
    latter's `_column_sums`; tangent (6, 6).
    """
    e, step, now = _start(bone, chain, blocks, strain, state, dt_s, cycles)
    if not all_finite(e):
        return int(fail(NOT_FINITE, stress, tangent))
    found, point, primary, secondary, rate = _solve_creep(bone, step, e, blocks)
    if found and _excess(now, point.s, _energy(point, e)) <= 1e-12 * now.threshold:
        _write_elastic(bone, point, now.psi, point.y - step.chain - rate, stress, tangent)
        _store(bone, chain, step, point, Flow(0.0, primary, secondary, rate, 0.0, now), cycles, state, new_state)
        return OK
    found, point, flow = _solve_yield(bone, step, e, blocks, point.y)
    if not found:
        return int(fail(NO_ROOT, stress, tangent))
    _write_plastic(bone, step, e, point, flow, stress, tangent)
    _store(bone, chain, step, point, flow, cycles, state, new_state)
    return OK


@njit(nogil=True, **OPTIONS)
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
    first: int,
    last: int,
) -> None:
    """Crushable bone at all points of cells[first:last]; constants (k, 39). See `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        bone, compliance, surface = _load_bone(constants[k]), load_block(constants[k], 0), load_block(constants[k], 9)
        blocks, chain = (compliance, surface, _column_sums(surface)), _chain(bone, dt_s)
        for p in range(strain.shape[1]):
            out = (stress[c, p], tangent[c, p], new_state[c, p])
            status[c, p] = bone_point(bone, blocks, chain, strain[c, p], state[c, p], dt_s, cycles, *out)
