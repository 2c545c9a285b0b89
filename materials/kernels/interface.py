"""A plane of weakness smeared over a cell: debonding by opening and by slip, contact and friction once apart.

`kyphos.materials.laws.BONDED_INTERFACE` gives the equations and their sources.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .plastic import isotropic
from .tensors import NOT_FINITE, OK, all_finite, fail, load_vector

CAP = 1.0 - 1e-8  # of debonding: its softening is slow beside its elasticity, so that less would hold energy back
SLIP, DEBONDING = 0, 3  # places in the state vector
STATE_SIZE = 4


class Plane(NamedTuple):
    """Constants of one cell: moduli, strengths (MPa), softening in opening and in slip, friction."""

    lame: float
    shear: float
    tensile: float
    slide: float
    softening: float
    slide_softening: float
    friction: float


@njit(cache=True, error_model="numpy")
def _maps(normal: np.ndarray, plane: Plane, across: np.ndarray, along: np.ndarray) -> None:
    """The plane seen by Voigt vectors.

    across (6,): the stress of a unit normal strain of the crack; with it the normal traction is across . E;
    along (6, 3): the stress sym(v n + n v) of a shear traction v, which is shear modulus x along' E.
    """
    for k in range(3):
        m = (k + 1) % 3
        across[k] = plane.lame + 2.0 * plane.shear * normal[k] * normal[k]
        across[3 + k] = 2.0 * plane.shear * normal[k] * normal[m]
        for a in range(3):
            along[k, a] = (2.0 * normal[k] if a == k else 0.0) - 2.0 * normal[k] * normal[k] * normal[a]
            pair = (normal[m] if a == k else 0.0) + (normal[k] if a == m else 0.0)
            along[3 + k, a] = pair - 2.0 * normal[k] * normal[m] * normal[a]


@njit(cache=True, error_model="numpy")
def _contact(
    pull: float, push: np.ndarray, plane: Plane, slip: np.ndarray, held: np.ndarray, kept: np.ndarray
) -> float:
    """Shear traction (3,) into `held` of the part that has come apart, and its slip strain (3,) into `kept`.

    pull: normal traction if all were bonded; push (3,): shear traction if all were bonded. Returns the length of
    the trial traction where it slides, else 0 (open, or stuck).
    """
    if pull >= 0.0 or plane.friction == 0.0:
        for a in range(3):
            held[a], kept[a] = 0.0, push[a] / plane.shear
        return 0.0
    length = 0.0
    for a in range(3):
        held[a], kept[a] = push[a] - plane.shear * slip[a], slip[a]
        length += held[a] ** 2
    length, limit = np.sqrt(length), -plane.friction * pull
    if length <= limit:
        return 0.0
    for a in range(3):
        held[a] *= limit / length
        kept[a] = (push[a] - held[a]) / plane.shear
    return float(length)


@njit(cache=True, error_model="numpy")
def _debonding(pull: float, push: np.ndarray, plane: Plane, known: float) -> tuple[float, float, float, float]:
    """Debonding, its derivatives by the drive and by the share of slip, and that share.

    The drive is sqrt((pull/tensile)^2 + (push/slide)^2); softening is that of the mode, linear in slip's share of it.
    """
    open_part, slide_part = max(pull, 0.0) / plane.tensile, np.sqrt(np.sum(push * push)) / plane.slide
    drive = np.sqrt(open_part**2 + slide_part**2)
    if drive <= 1.0:
        return known, 0.0, 0.0, 0.0
    share = (slide_part / drive) ** 2
    beta = (1.0 - share) * plane.softening + share * plane.slide_softening
    left = np.exp(-(drive - 1.0) / beta) / drive
    if 1.0 - left <= known:
        return known, 0.0, 0.0, share
    if left <= 1.0 - CAP:
        return CAP, 0.0, 0.0, share
    by_drive = left * (1.0 / drive + 1.0 / beta)
    by_share = -left * (drive - 1.0) / beta**2 * (plane.slide_softening - plane.softening)
    return 1.0 - left, by_drive, by_share, share


@njit(cache=True, error_model="numpy")
def _soften(
    plane: Plane,
    across: np.ndarray,
    along: np.ndarray,
    letting_go: tuple[float, float, float, float],
    push: np.ndarray,
    lost: np.ndarray,
    tangent: np.ndarray,
) -> None:
    """Take from `tangent` what growing debonding costs; letting_go: positive pull, then as `_debonding` has them."""
    opened, by_drive, by_share, share = letting_go
    drive = np.sqrt((opened / plane.tensile) ** 2 + np.sum(push * push) / plane.slide**2)
    for j in range(6):
        slid = 0.0
        for a in range(3):
            slid += push[a] * plane.shear * along[j, a] / plane.slide**2
        d_drive = (opened / plane.tensile**2 * across[j] + slid) / drive
        d_share = 2.0 * (slid / drive**2 - share * d_drive / drive)
        for k in range(6):
            tangent[k, j] -= lost[k] * (by_drive * d_drive + by_share * d_share)


@njit(cache=True, error_model="numpy")
def _small_strain(
    strain: np.ndarray,
    state: np.ndarray,
    plane: Plane,
    maps: tuple[np.ndarray, np.ndarray],
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> None:
    """The law for the strain (6,) that `_measure` gives; maps: across and along, see `_maps`."""
    across, along = maps
    isotropic(plane.lame + 2.0 / 3.0 * plane.shear, plane.shear, tangent)
    pull, push = 0.0, np.zeros(3)
    for k in range(6):
        pull += across[k] * strain[k]
        stress[k] = 0.0
        for a in range(3):
            push[a] += plane.shear * along[k, a] * strain[k]
        for j in range(6):
            stress[k] += tangent[k, j] * strain[j]
    held, kept = np.empty(3), np.empty(3)
    sliding = _contact(pull, push, plane, state[: SLIP + 3], held, kept)
    damage, by_drive, by_share, share = _debonding(pull, push, plane, state[DEBONDING])
    opened, lost = max(pull, 0.0), np.empty(6)
    for k in range(6):
        lost[k] = opened / (plane.lame + 2.0 * plane.shear) * across[k]
        for a in range(3):
            lost[k] += along[k, a] * (push[a] - held[a])
        stress[k] -= damage * lost[k]
    _subtract(plane, across, along, (pull, sliding), held, damage, tangent)
    if by_drive != 0.0:
        _soften(plane, across, along, (opened, by_drive, by_share, share), push, lost, tangent)
    for a in range(3):
        new_state[SLIP + a] = kept[a]
    new_state[DEBONDING] = damage


@njit(cache=True, error_model="numpy")
def _measure(
    strain: np.ndarray, normal: np.ndarray, along: np.ndarray, v: np.ndarray, out: np.ndarray
) -> tuple[float, float]:
    """Strain (6,) in which slip along the plane is shear alone, and opening is opening over length.

    A slip of the thickness's share g shortens the plane by g^2/4 in logarithmic strain, and stretches the normal:
    tangential and normal parts of ln C/2 are mended by v v, v (3,) their shear on the plane, to second order in g. On
    x = E_nn - v.v the opening is exp(x) - 1, its pressing together x. Returns derivatives of that, first and second.
    """
    pulled = 0.0
    for a in range(3):
        v[a] = 0.0
        for k in range(6):
            v[a] += 0.5 * along[k, a] * strain[k]
    for k in range(3):
        m = (k + 1) % 3
        pulled += normal[k] * normal[k] * strain[k] + normal[k] * normal[m] * strain[3 + k]
    x = pulled - v[0] * v[0] - v[1] * v[1] - v[2] * v[2]
    slope = np.exp(x) if x > 0.0 else 1.0
    change = (slope - 1.0 if x > 0.0 else x) - pulled
    for k in range(3):
        m = (k + 1) % 3
        out[k] = strain[k] + v[k] * v[k] + normal[k] * normal[k] * change
        out[3 + k] = strain[3 + k] + 2.0 * (v[k] * v[m] + normal[k] * normal[m] * change)
    return slope, slope if x > 0.0 else 0.0


@njit(cache=True, error_model="numpy")
def _pull_back(
    normal: np.ndarray,
    along: np.ndarray,
    v: np.ndarray,
    slopes: tuple[float, float],
    stress: np.ndarray,
    tangent: np.ndarray,
) -> None:
    """From stress and tangent in the strain of `_measure` to those in logarithmic strain, in place."""
    slope, bend = slopes
    full, normal_strain, d_x = np.empty((3, 3)), np.empty(6), np.empty(6)
    for k in range(3):
        m = (k + 1) % 3
        full[k, k] = stress[k]
        full[k, m] = full[m, k] = stress[3 + k]
        normal_strain[k], normal_strain[3 + k] = normal[k] * normal[k], 2.0 * normal[k] * normal[m]
    pressure, turned = 0.0, np.zeros(3)
    for a in range(3):
        for b in range(3):
            pressure += normal[a] * full[a, b] * normal[b]
            turned[a] += full[a, b] * v[b]
    jacobian, geometric = np.eye(6), np.zeros((6, 6))
    for j in range(6):
        unit = normal_strain[j] if j < 3 else 0.5 * normal_strain[j]
        d_x[j] = unit - (v[0] * along[j, 0] + v[1] * along[j, 1] + v[2] * along[j, 2])
        for k in range(3):
            m = (k + 1) % 3
            change = slope * d_x[j] - unit
            jacobian[k, j] += v[k] * along[j, k] + normal_strain[k] * change
            jacobian[3 + k, j] += v[k] * along[j, m] + v[m] * along[j, k] + normal_strain[3 + k] * change
    for i in range(6):
        for j in range(6):
            geometric[i, j] = pressure * bend * d_x[i] * d_x[j]
            for a in range(3):
                geometric[i, j] -= 0.5 * slope * pressure * along[i, a] * along[j, a]
                for b in range(3):
                    geometric[i, j] += 0.5 * along[i, a] * full[a, b] * along[j, b]
    _congruent(jacobian, geometric, stress, tangent)


@njit(cache=True, error_model="numpy")
def _congruent(jacobian: np.ndarray, geometric: np.ndarray, stress: np.ndarray, tangent: np.ndarray) -> None:
    """stress := J' stress and tangent := J' tangent J + geometric, in place."""
    half, old = np.zeros((6, 6)), stress.copy()
    for i in range(6):
        stress[i] = 0.0
        for k in range(6):
            stress[i] += jacobian[k, i] * old[k]
            for j in range(6):
                half[i, j] += tangent[i, k] * jacobian[k, j]
    for i in range(6):
        for j in range(6):
            tangent[i, j] = geometric[i, j]
            for k in range(6):
                tangent[i, j] += jacobian[k, i] * half[k, j]


@njit(cache=True, error_model="numpy")
def interface_point(
    strain: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    stress: np.ndarray,
    tangent: np.ndarray,
    new_state: np.ndarray,
) -> int:
    """An elastic solid with one plane of weakness at one point.

    constants: those of `Plane`, then the unit normal (3,); state: slip strain (3,) of the part that has come apart,
    debonding.
    """
    if not all_finite(load_vector(strain, 0)):
        return int(fail(NOT_FINITE, stress, tangent))
    c = constants
    plane, normal = Plane(c[0], c[1], c[2], c[3], c[4], c[5], c[6]), constants[7:10]
    across, along, v, mended = np.empty(6), np.empty((6, 3)), np.empty(3), np.empty(6)
    _maps(normal, plane, across, along)
    slopes = _measure(strain, normal, along, v, mended)
    _small_strain(mended, state, plane, (across, along), stress, tangent, new_state)
    _pull_back(normal, along, v, slopes, stress, tangent)
    return OK


@njit(cache=True, error_model="numpy")
def _subtract(
    plane: Plane,
    across: np.ndarray,
    along: np.ndarray,
    tractions: tuple[float, float],
    held: np.ndarray,
    damage: float,
    tangent: np.ndarray,
) -> None:
    """Take from `tangent` what the part that has come apart no longer bears; tractions: pull, sliding."""
    pull, sliding = tractions
    bulk = plane.lame + 2.0 * plane.shear
    stuck = pull < 0.0 and plane.friction > 0.0 and sliding == 0.0
    slope = np.zeros((3, 6))  # of push - held by strain
    for j in range(6):
        for a in range(3):
            slope[a, j] = 0.0 if stuck else plane.shear * along[j, a]
    if sliding > 0.0:
        limit = -plane.friction * pull
        for j in range(6):
            turned = 0.0
            for a in range(3):
                turned += held[a] / limit * plane.shear * along[j, a]
            for a in range(3):
                way = held[a] / limit
                slope[a, j] -= limit / sliding * (plane.shear * along[j, a] - way * turned)
                slope[a, j] += plane.friction * across[j] * way
    for k in range(6):
        for j in range(6):
            gone = across[k] * across[j] / bulk if pull > 0.0 else 0.0
            for a in range(3):
                gone += along[k, a] * slope[a, j]
            tangent[k, j] -= damage * gone


@njit(cache=True, nogil=True, error_model="numpy")
def interface_batch(
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
    """Interface at all points of cells[first:last]; constants (k, 10). Shapes as `MaterialField.update`."""
    for k in range(first, last):
        c = cells[k]
        for p in range(strain.shape[1]):
            status[c, p] = interface_point(
                strain[c, p], state[c, p], constants[k], stress[c, p], tangent[c, p], new_state[c, p]
            )
