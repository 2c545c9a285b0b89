"""Cements: one that yields (PMMA) and one that cracks and crushes (calcium phosphate), both worn out by a Miner sum.

`kyphos.materials.laws.DUCTILE_CEMENT` and `BRITTLE_CEMENT` give the equations and their sources.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .plastic import j2_point
from .spectral import add_pair, dyad, principal
from .tensors import NOT_FINITE, OK, all_finite, fail, load_vector

# Places in the state vector of a brittle cement, after six plastic strains.
KAPPA, CRACK, TENSION, MINER, DRIVE, AGE, DAMAGE = 6, 7, 8, 9, 10, 11, 12
BRITTLE_STATE = 13

CRACK_CAP = 0.99999  # what is left of a crack's stiffness keeps the equations regular
_PASSES = 12  # sets of cracked and crushed directions that are tried; three or four do
FREE, CRACKED, CRUSHED = 0, 1, 2


@njit(cache=True, error_model="numpy")
def fatigue_drive(stress: np.ndarray, compressive_mpa: float, tensile_mpa: float) -> float:
    """The larger of von Mises stress and tensile principal stress (6,), each over its reference stress."""
    normal = (stress[0] - stress[1]) ** 2 + (stress[1] - stress[2]) ** 2 + (stress[2] - stress[0]) ** 2
    mises = np.sqrt(0.5 * normal + 3.0 * (stress[3] ** 2 + stress[4] ** 2 + stress[5] ** 2))
    t, values, v = stress.copy(), np.empty(3), np.empty((3, 3))
    for k in range(3, 6):
        t[k] *= 2.0  # `principal` takes engineering shear
    principal(t, np.empty((3, 3)), values, v)
    return float(max(mises / compressive_mpa, values.max() / tensile_mpa, 0.0))


@njit(cache=True, error_model="numpy")
def worn(miner: float, exponent: float, cap: float) -> float:
    """Damage after the share `miner` of the life: 1 - (1 - miner)^(1/(exponent + 1)), at most `cap`."""
    return float(min(cap, 1.0 - max(1.0 - miner, 0.0) ** (1.0 / (exponent + 1.0))))


@njit(cache=True, error_model="numpy")
def _scale(factor: float, stress: np.ndarray, tangent: np.ndarray) -> None:
    for i in range(6):
        stress[i] *= factor
        for j in range(6):
            tangent[i, j] *= factor


@njit(cache=True, error_model="numpy")
def ductile_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """J2 plasticity with Miner damage at one point.

    constants: the five of `j2_point`, then reference cycles, compressive and tensile reference stress (MPa),
    exponent, damage exponent and cap; state: the seven of `j2_point`, Miner sum, drive of the last evaluation, damage.
    """
    new_state[7] = state[7] + cycles / constants[5] * state[8] ** constants[8]
    new_state[9] = worn(new_state[7], constants[9], constants[10])
    code = j2_point(strain, state, constants[:5], stress, tangent, new_state)
    if code == OK:
        _scale(1.0 - new_state[9], stress, tangent)
        new_state[8] = fatigue_drive(stress, constants[6], constants[7])
    return int(code)


@njit(cache=True, nogil=True, error_model="numpy")
def ductile_batch(
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
    """Ductile cement at all points of cells[first:last]; constants (k, 11). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = ductile_point(
                strain[c, p], state[c, p], constants[k], cycles, stress[c, p], tangent[c, p], new_state[c, p]
            )


@njit(cache=True, error_model="numpy")
def _sort_out(e: np.ndarray, lame: float, shear: float, strength: float, kind: np.ndarray, t: np.ndarray) -> float:
    """Nearest stress, in the energy norm, without tension and without more than `strength` of compression.

    e (3,): principal strains, elastic and cracked together; kind (3,) and t (3,): what each direction does, and its
    principal stress. Returns the elastic volume strain: it decides which directions are clamped, and they decide it;
    the map falls, so the sets settle after a few passes.
    """
    theta, clamped = e[0] + e[1] + e[2], 0
    for _ in range(_PASSES):
        total, now, changed = 0.0, 0, False
        for i in range(3):
            trial = lame * theta + 2.0 * shear * e[i]
            new = CRACKED if trial > 0.0 else (CRUSHED if trial < -strength else FREE)
            changed = changed or new != kind[i]
            kind[i] = new
            if new == FREE:
                total += e[i]
            else:
                now += 1
                total -= strength / (2.0 * shear) if new == CRUSHED else 0.0
        settled = total / (1.0 + now * lame / (2.0 * shear))
        if not changed and now == clamped and settled == theta:
            break
        theta, clamped = settled, now
    for i in range(3):
        if kind[i] == FREE:
            t[i] = lame * theta + 2.0 * shear * e[i]
        else:
            t[i] = -strength if kind[i] == CRUSHED else 0.0
    return float(theta)


@njit(cache=True, error_model="numpy")
def _crack(drive: float, before: float, known: float, strength: float, softening_mpa: float) -> tuple[float, float]:
    """Damage by cracks, and its derivative by `drive`; `before` and `known` are drive and damage so far.

    (1 - D) drive = strength exp(-(drive - strength)/softening): an exponential fall of the cracked stress.
    """
    if drive <= max(before, strength):
        return known, 0.0
    left = strength / drive * np.exp(-(drive - strength) / softening_mpa)
    if left <= 1.0 - CRACK_CAP:
        return CRACK_CAP, 0.0
    return 1.0 - left, left * (1.0 / drive + 1.0 / softening_mpa)


@njit(cache=True, error_model="numpy")
def _principal_answer(
    e: np.ndarray,
    lame: float,
    shear: float,
    strength: float,
    tension: tuple[float, float, float, float],
    answer: np.ndarray,
    slopes: np.ndarray,
    crush: np.ndarray,
) -> tuple[float, float]:
    """Principal stresses (3,), their derivatives (3, 3) by principal strains, and crush strains (3,).

    tension: strength, softening stress (MPa), drive and damage so far. Returns the new drive and damage.
    """
    kind, t, w, d_theta = np.full(3, -1), np.empty(3), np.zeros(3), np.zeros(3)
    theta = _sort_out(e, lame, shear, strength, kind, t)
    ratio = lame / (2.0 * shear)
    clamped = np.sum(kind != FREE)
    opening = 0.0
    for i in range(3):
        elastic = (t[i] - lame * theta) / (2.0 * shear)
        crush[i] = e[i] - elastic if kind[i] == CRUSHED else 0.0
        if kind[i] == CRACKED:
            w[i] = e[i] - elastic
            opening += w[i]
        if kind[i] == FREE:
            d_theta[i] = 1.0 / (1.0 + clamped * ratio)
    bulk = lame + 2.0 * shear
    drive = np.sqrt(bulk * (lame * opening**2 + 2.0 * shear * np.sum(w * w)))
    damage, rate = _crack(drive, tension[2], tension[3], tension[0], tension[1])
    for j in range(3):
        d_opening, d_drive = 0.0, 0.0
        for i in range(3):
            if kind[i] == CRACKED:
                rise = (1.0 if i == j else 0.0) + ratio * d_theta[j]
                d_opening += rise
                d_drive += (lame * opening + 2.0 * shear * w[i]) * rise
        d_drive = bulk * d_drive / drive if drive > 0.0 else 0.0
        for i in range(3):
            slope = lame * d_theta[j] + (2.0 * shear if i == j else 0.0) if kind[i] == FREE else 0.0
            d_w = (1.0 if i == j else 0.0) + ratio * d_theta[j] if kind[i] == CRACKED else 0.0
            carried = lame * opening + 2.0 * shear * w[i]  # by the crack's faces, as far as they still hold
            slope += (1.0 - damage) * (lame * d_opening + 2.0 * shear * d_w) - rate * d_drive * carried
            slopes[i, j] = slope
    for i in range(3):
        answer[i] = t[i] + (1.0 - damage) * (lame * opening + 2.0 * shear * w[i])
    return max(drive, tension[2]), damage


@njit(cache=True, error_model="numpy")
def _put_together(
    e: np.ndarray, v: np.ndarray, values: np.ndarray, slopes: np.ndarray, stress: np.ndarray, tangent: np.ndarray
) -> None:
    """Stress and tangent of an isotropic function of the strain from its principal values and their derivatives."""
    dyads, pair = np.empty((3, 6)), np.empty(6)
    stress[:] = 0.0
    tangent[:, :] = 0.0
    close = 1e-9 * np.abs(e).max() + 1e-18
    for i in range(3):
        dyad(v, i, i, dyads[i])
        for k in range(6):
            stress[k] += values[i] * dyads[i, k]
    for i in range(3):
        for j in range(3):
            add_pair(slopes[i, j], dyads[i], dyads[j], tangent)
        for j in range(i):
            gap = e[i] - e[j]
            turn = (values[i] - values[j]) / gap if abs(gap) > close else slopes[i, i] - slopes[i, j]
            dyad(v, i, j, pair)
            add_pair(0.5 * turn, pair, pair, tangent)


@njit(cache=True, error_model="numpy")
def brittle_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    dt_s: float,
    cycles: float,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """A cement that cracks, crushes, tires and is resorbed, at one point.

    constants: Lame's two moduli, tensile strength, its softening stress, compressive strength (MPa), plateau ratio,
    crush strain of softening, reference cycles, compressive and tensile reference stress (MPa), exponent, damage
    exponent and cap, resorption (1/s); state: crush strain (6), its sum, drive and damage of cracks, Miner sum, drive
    of fatigue, age (s), share of the stiffness lost to fatigue and resorption.
    """
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    lame, shear, plateau = constants[0], constants[1], constants[5]
    e, v, elastic = np.empty(3), np.empty((3, 3)), np.empty(6)
    for k in range(6):
        elastic[k] = strain[k] - state[k]
    principal(elastic, np.empty((3, 3)), e, v)
    strength = constants[4] * (plateau + (1.0 - plateau) * np.exp(-state[KAPPA] / constants[6]))
    values, slopes, crush = np.empty(3), np.empty((3, 3)), np.empty(3)
    tension = (constants[2], constants[3], state[CRACK], state[TENSION])
    drive, damage = _principal_answer(e, lame, shear, strength, tension, values, slopes, crush)
    _put_together(e, v, values, slopes, stress, tangent)
    side = np.empty(6)
    new_state[:BRITTLE_STATE] = state[:BRITTLE_STATE]
    for i in range(3):
        if crush[i] != 0.0:
            dyad(v, i, i, side)
            for k in range(6):
                new_state[k] += crush[i] * side[k] * (1.0 if k < 3 else 2.0)
            new_state[KAPPA] -= crush[i]
    new_state[CRACK], new_state[TENSION] = drive, damage
    new_state[MINER] += cycles / constants[7] * state[DRIVE] ** constants[10]
    new_state[AGE] += dt_s
    left = (1.0 - worn(new_state[MINER], constants[11], constants[12])) * np.exp(-constants[13] * new_state[AGE])
    _scale(left, stress, tangent)
    new_state[DRIVE] = fatigue_drive(stress, constants[8], constants[9])
    new_state[DAMAGE] = 1.0 - left
    return OK


@njit(cache=True, nogil=True, error_model="numpy")
def brittle_batch(
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
    """Brittle cement at all points of cells[first:last]; constants (k, 14). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = brittle_point(
                strain[c, p], state[c, p], constants[k], dt_s, cycles, stress[c, p], tangent[c, p], new_state[c, p]
            )
