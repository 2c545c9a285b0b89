"""The virtual laboratory at a point: one law, one card, tests by name.

Strain and stress are those of the law: logarithmic strain and its conjugate stress, positive in the sense in which the
test loads. `point.drive` is the machine behind all of them; coupons on meshes are in ``kyphos.experiments``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kyphos.errors import ConvergenceError, MaterialError
from kyphos.units import MG_PER_G

from .assign import ELEMENT_LENGTH, card_rows
from .field import Block, MaterialField
from .laws import Floats, Law
from .library import Card, load_card
from .point import Drive, drive, drive_uniaxial

__all__ = [
    "CreepTest",
    "Curve",
    "Drive",
    "PointTest",
    "Sample",
    "Staircase",
    "dixon_mood",
    "drawn",
    "drive",
    "drive_uniaxial",
    "life",
    "run_creep",
    "run_test",
    "sample",
    "spent_life",
    "staircase",
]

Kind = Literal["compression", "tension", "confined", "hydrostatic", "shear"]
KINDS: tuple[Kind, ...] = ("compression", "tension", "confined", "hydrostatic", "shear")
OFFSET_STRAIN = 0.002  # of the offset strength, the usual choice for bone and for cements
PER_DECADE = 8  # instants of a creep test

_NORMAL = ("xx", "yy", "zz")
_GROWTH = 1.3  # of one block of cycles over the block before
_LIFE_ACCURACY = 1e-4


@dataclass(frozen=True)
class Sample:
    """What is tested: a law with one row of its parameters (p,)."""

    name: str
    law: Law
    parameters: Floats

    def parameter(self, name: str) -> float:
        """One of the law's parameters."""
        return float(self.parameters[[p.name for p in self.law.parameters].index(name)])


@dataclass(frozen=True)
class PointTest:
    """A test up to a strain.

    Attributes
    ----------
    kind
        ``compression``, ``tension``: along `axis`, free sideways. ``confined``: compression without widening.
        ``hydrostatic``: pressed alike along all axes; strain is the loss of volume, stress the pressure.
        ``shear``: zx by its engineering strain, all other stresses zero.
    end_strain
        Largest strain, positive.
    steps
        Equal increments up to there; the modulus is the slope of the first.
    axis
        ``xx``, ``yy`` or ``zz``, the bone's axis.
    """

    kind: Kind
    end_strain: float = 0.03
    steps: int = 150
    axis: str = "zz"

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.axis not in _NORMAL:
            raise MaterialError(f"kind={self.kind!r}, axis={self.axis!r}: use {', '.join(KINDS)} and xx, yy or zz")
        if not 0.0 < self.end_strain <= 1.0 or self.steps < 1:
            raise MaterialError(
                f"end_strain={self.end_strain:g}, steps={self.steps}: use a strain in (0, 1] and at least one step"
            )


@dataclass(frozen=True)
class CreepTest:
    """Constant stress along `axis`, compression positive, for `hold_s`; then `recovery_s` without stress."""

    stress_mpa: float
    hold_s: float = 3600.0
    recovery_s: float = 0.0
    axis: str = "zz"


@dataclass(frozen=True)
class Curve:
    """What a test measured, from rest on.

    Attributes
    ----------
    strain, stress_mpa
        (n,) in the sense of the load, positive; the first point is rest.
    lateral_strain
        (n, 2) across the load: widening under compression and narrowing under tension are positive; NaN where a test
        has none.
    time_s
        (n,); all zero where time does not pass.
    """

    strain: Floats
    stress_mpa: Floats
    lateral_strain: Floats
    time_s: Floats

    @property
    def modulus_mpa(self) -> float:
        """Slope of the first increment."""
        return float((self.stress_mpa[1] - self.stress_mpa[0]) / (self.strain[1] - self.strain[0]))

    @property
    def poisson_ratios(self) -> tuple[float, float]:
        """Strain across over strain along in the first increment, for the two axes across."""
        first = (self.lateral_strain[1] - self.lateral_strain[0]) / (self.strain[1] - self.strain[0])
        return float(first[0]), float(first[1])

    @property
    def peak_mpa(self) -> float:
        """Largest stress."""
        return float(self.stress_mpa.max())

    @property
    def has_peaked(self) -> bool:
        """Whether the stress has fallen after its maximum."""
        after = self.stress_mpa[self.stress_mpa.argmax() :]
        return bool(after.min() < (1.0 - 1e-6) * after[0])

    def offset_point(self, offset_strain: float = OFFSET_STRAIN) -> tuple[float, float] | None:
        """Strain and stress where the curve meets its first slope shifted by `offset_strain`; None if it does not.

        Between two points the curve is straight.
        """
        gap = self.stress_mpa - self.modulus_mpa * (self.strain - offset_strain)
        below = np.flatnonzero(gap < 0.0)
        if not below.size:
            return None
        i = int(below[0])
        share = gap[i - 1] / (gap[i - 1] - gap[i])
        at = [float(v[i - 1] + share * (v[i] - v[i - 1])) for v in (self.strain, self.stress_mpa)]
        return at[0], at[1]

    def strength_mpa(self, offset_strain: float = OFFSET_STRAIN) -> float | None:
        """The offset strength, or the maximum where that comes first; None if the curve ends before both."""
        offset, top = self.offset_point(offset_strain), float(self.strain[self.stress_mpa.argmax()])
        if self.has_peaked and (offset is None or top < offset[0]):
            return self.peak_mpa
        return None if offset is None else offset[1]

    @property
    def energy_mpa(self) -> float:
        """Work per volume, N mm/mm3."""
        return float(0.5 * (self.stress_mpa[1:] + self.stress_mpa[:-1]) @ np.diff(self.strain))

    def creep_strain(self, after_s: float) -> float:
        """Strain gained `after_s` after the load was on (the first point after rest); log time between points."""
        held = self.stress_mpa > 1e-6 * self.peak_mpa  # after unloading, rounding is left
        time, strain = self.time_s[held], self.strain[held]
        if not 0.0 <= after_s <= time[-1] * (1.0 + 1e-12):
            raise MaterialError(f"after_s={after_s:g} is outside the {time[-1]:g} s that the load was held")
        return float(np.interp(np.log1p(after_s), np.log1p(time), strain) - strain[0])

    @property
    def residual_strain(self) -> float:
        """Strain at the end, of a test that was unloaded."""
        return float(self.strain[-1])


def sample(card: Card | str, density_mg_per_cc: float | None = None, size_mm: float | None = None) -> Sample:
    """A sample of a card.

    Parameters
    ----------
    density_mg_per_cc
        QCT mineral density, for bone whose constants depend on it (for the shell: that of the vertebra it covers).
    size_mm
        Length over which a crush band, or a crack, is smeared; default: that of the card (the band's own width, so that
        the card's softening strain is that of the point).

    Raises
    ------
    MaterialError
        The card is no material by itself, or its density is missing or out of range.
    """
    known = load_card(card) if isinstance(card, str) else card
    density = np.nan if density_mg_per_cc is None else density_mg_per_cc / MG_PER_G
    own = next((known[name] for name in ("crush_band_mm", ELEMENT_LENGTH) if name in known.constants), 1.0)
    return Sample(known.name, known.law, card_rows(known, size_mm or own, density, density_mg_per_cc)[0])


def run_test(sample: Sample, test: PointTest) -> Curve:
    """Drive a sample through a test.

    Raises
    ------
    MaterialError, ConvergenceError
        The law fails, or a stress-free direction cannot be kept free.
    """
    sign = 1.0 if test.kind in ("tension", "shear") else -1.0
    wanted = sign * test.end_strain * np.arange(1, test.steps + 1) / test.steps
    along = _NORMAL.index(test.axis)
    if test.kind in ("compression", "tension"):
        return _curve(drive_uniaxial(sample.law, sample.parameters, wanted, axis=test.axis), along, sign)
    targets, free = np.zeros((test.steps, 6)), tuple[str, ...]()
    if test.kind == "hydrostatic":
        targets[:, :3] = wanted[:, None] / 3.0
    elif test.kind == "shear":
        targets[:, 5], along, free = wanted, 5, (*_NORMAL, "xy", "yz")
    else:
        targets[:, along] = wanted
    driven = drive(sample.law, sample.parameters, targets, stress_controlled=free)
    return _pressed(driven) if test.kind == "hydrostatic" else _curve(driven, along, sign)


def run_creep(sample: Sample, test: CreepTest) -> Curve:
    """Load at once, hold, unload at once, wait. Raises as `run_test`, and MaterialError for times that are none."""
    if not (test.hold_s > 0.0 and test.recovery_s >= 0.0 and test.stress_mpa != 0.0):
        raise MaterialError(
            f"stress_mpa={test.stress_mpa:g}, hold_s={test.hold_s:g}, recovery_s={test.recovery_s:g}: "
            "a creep test needs a stress, a time to hold it and no negative time to recover"
        )
    held, rest = instants(test.hold_s), instants(test.recovery_s)
    times = np.concatenate([[0.0], held, test.hold_s + np.r_[0.0, rest]])
    stress = np.r_[np.full(1 + len(held), -test.stress_mpa), np.zeros(1 + len(rest))]
    if test.recovery_s == 0.0:
        times, stress = times[:-1], stress[:-1]
    driven = drive_uniaxial(
        sample.law, sample.parameters, stress, axis=test.axis, control="stress", dt_s=np.diff(times, prepend=0.0)
    )
    return _curve(driven, _NORMAL.index(test.axis), -np.sign(test.stress_mpa), times)


def instants(duration_s: float) -> Floats:
    """Growing times (n,) up to `duration_s`, a fixed number per decade from a thousandth of a second on."""
    if duration_s <= 0.0:
        return np.zeros(0)
    first = min(1e-3, duration_s)
    number = 1 + round(PER_DECADE * np.log10(duration_s / first))
    return np.geomspace(first, duration_s, number)


def _curve(driven: Drive, along: int, sign: float, time_s: Floats | None = None) -> Curve:
    """The curve of component `along`, with rest before it."""
    across = [i for i in range(3) if i != along] if along < 3 else None
    lateral = np.full((len(driven.strain), 2), np.nan) if across is None else -sign * driven.strain[:, across]
    time = np.zeros(len(driven.strain)) if time_s is None else time_s
    return Curve(
        np.r_[0.0, sign * driven.strain[:, along]],
        np.r_[0.0, sign * driven.stress[:, along]],
        np.vstack([np.zeros(2), lateral]),
        np.r_[0.0, time],
    )


def _pressed(driven: Drive) -> Curve:
    pressure, loss = (-values[:, :3].sum(axis=1) for values in (driven.stress / 3.0, driven.strain))
    nothing = np.full((len(loss) + 1, 2), np.nan)
    return Curve(np.r_[0.0, loss], np.r_[0.0, pressure], nothing, np.zeros(len(loss) + 1))


# --- fatigue -------------------------------------------------------------------------------------------------------


def spent_life(field: MaterialField, history: Floats) -> Floats:
    """Used share of the fatigue life at all points (m, q): 1 where the law says that the material is broken.

    A Miner sum; for bone 1 - (1 - D_f)^(k + 1), which grows evenly under constant stress, over its value at the cap of
    damage. Cells whose law does not tire hold 0.

    Raises
    ------
    MaterialError
        No law of the field tires.
    """
    if not {variable.name for block in field.blocks for variable in block.law.state} & _WEAR.keys():
        laws = ", ".join(block.law.name for block in field.blocks)
        raise MaterialError(f"{laws} does not tire; a law with the state {' or '.join(_WEAR)} does")
    used = np.zeros((field.n_cells, field.n_points))
    for block in field.blocks:
        for name, share in _WEAR.items():
            place = block.law.place(name)
            if place is not None:
                constants = {p.name: v[:, None] for p, v in zip(block.law.parameters, block.parameters.T, strict=True)}
                used[block.cells] = share(history[block.cells, :, place][..., 0], constants)
    return used


def _miner(total: Floats, constants: dict[str, Floats]) -> Floats:
    return total


def _worn_bone(damage: Floats, constants: dict[str, Floats]) -> Floats:
    power = constants["fatigue_damage_exponent"] + 1.0
    return (1.0 - (1.0 - damage) ** power) / (1.0 - (1.0 - constants["damage_cap"]) ** power)


_WEAR: dict[str, Callable[[Floats, dict[str, Floats]], Floats]] = {"miner_sum": _miner, "fatigue_damage": _worn_bone}
"""History variable -> used share of life (k, q) from its values (k, q) and the law's parameters, (k, 1) each."""


def life(sample: Sample, peak_mpa: float, *, run_out: float = 1e9, axis: str = "zz") -> float:
    """Load cycles until a sample breaks under a peak stress, compression positive.

    Only the peak acts, as everywhere in Kyphos: the law's cycles count at the stress of the last state. Blocks of
    cycles grow until the life is spent (`spent_life`) or the sample no longer carries the stress; the last block is
    then halved down to 0.01 % of the life. No time passes.

    Returns
    -------
    Cycles; 0 if the first load already breaks the sample, inf if it outlives `run_out`.

    Raises
    ------
    MaterialError
        The law does not tire.
    """
    field = MaterialField((Block(sample.law, np.zeros(1, dtype=np.int64), sample.parameters),), 1, 1)
    spent_life(field, field.initial_state())
    state = _loaded(sample, peak_mpa, axis, None, 0.0)
    if state is None:
        return 0.0
    done, block = 0.0, 1.0
    while done < run_out:
        after = _loaded(sample, peak_mpa, axis, state, block)
        if after is not None and spent_life(field, after.state[-1:, None])[0, 0] < 1.0 - 1e-9:
            state, done, block = after, done + block, block * _GROWTH
        elif block <= _LIFE_ACCURACY * (done + block):
            return done + 0.5 * block
        else:
            block *= 0.5
    return inf


def _loaded(sample: Sample, peak_mpa: float, axis: str, after: Drive | None, cycles: float) -> Drive | None:
    """The sample under its peak stress after more cycles; None if it does not carry that."""
    try:
        return drive_uniaxial(
            sample.law, sample.parameters, [-peak_mpa], axis=axis, control="stress", cycles=cycles, after=after
        )
    except (ConvergenceError, MaterialError):
        return None


@dataclass(frozen=True)
class Staircase:
    """A staircase test: the stress of each specimen, whether it failed, and what Dixon & Mood make of it."""

    peak_mpa: Floats
    failed: NDArray[np.bool_]
    mean_mpa: float
    sd_mpa: float


def drawn(card: Card, rng: np.random.Generator, names: Iterable[str] | None = None) -> Card:
    """A card with constants drawn from triangles over their ranges, the card's values at the tips.

    `names` are the constants that scatter; default all.
    """
    chosen = card.constants if names is None else {name: card.constants[name] for name in names}
    values = {n: rng.triangular(c.low, c.value, c.high) for n, c in chosen.items() if c.high > c.low}
    return card.with_values(**values)


def staircase(
    card: Card | str,
    *,
    start_mpa: float,
    step_mpa: float,
    specimens: int = 20,
    run_out: float = 1e6,
    seed: int = 1,
    scatter: Iterable[str] | None = None,
    density_mg_per_cc: float | None = None,
) -> Staircase:
    """Fatigue strength at `run_out` cycles by the up-and-down method: a step down after a failure, up after a survivor.

    Each specimen has constants of its own (`drawn`, with `seed` and the names in `scatter`).

    Raises
    ------
    MaterialError
        Fewer than two specimens, steps that are not positive, or specimens that all fail or all survive.
    """
    if specimens < 2 or not (step_mpa > 0.0 and start_mpa > 0.0):
        raise MaterialError(
            f"specimens={specimens}, start_mpa={start_mpa:g}, step_mpa={step_mpa:g}: a staircase needs at least two "
            "specimens and positive stresses"
        )
    known = load_card(card) if isinstance(card, str) else card
    rng, names = np.random.default_rng(seed), None if scatter is None else tuple(scatter)
    level, levels, failed = 0, list[int](), list[bool]()
    for _ in range(specimens):
        one = sample(drawn(known, rng, names), density_mg_per_cc)
        levels.append(level)
        failed.append(life(one, start_mpa + level * step_mpa, run_out=run_out) < run_out)
        level += -1 if failed[-1] else 1
        if start_mpa + level * step_mpa <= 0.0:
            raise MaterialError(
                f"{known.name}: specimens fail down to {step_mpa:g} MPa; try a lower start_mpa or step_mpa"
            )
    peaks = start_mpa + step_mpa * np.array(levels)
    return Staircase(peaks, np.array(failed), *dixon_mood(peaks, failed, step_mpa))


def dixon_mood(peak_mpa: ArrayLike, failed: ArrayLike, step_mpa: float) -> tuple[float, float]:
    """Mean and standard deviation of the strength from a staircase, MPa (Dixon & Mood 1948, JASA 43:109).

    The less frequent event counts, by levels i from its lowest: with N, A, B the sums of n_i, i n_i, i^2 n_i the mean
    is S_0 + d (A/N -+ 1/2) (minus for failures), the deviation 1.62 d (v + 0.029), v = (N B - A^2)/N^2; where v < 0.3,
    that formula does not hold and 0.53 d is given.

    Raises
    ------
    MaterialError
        Only one kind of event.
    """
    peaks, broke = np.asarray(peak_mpa, dtype=np.float64), np.asarray(failed, dtype=bool)
    if broke.all() or not broke.any():
        event = "failed" if broke.all() else "survived"
        raise MaterialError(f"all {broke.size} specimens {event}: no strength; try another start_mpa or more specimens")
    rare = broke if 2 * broke.sum() <= broke.size else ~broke
    lowest = float(peaks[rare].min())
    i = np.round((peaks[rare] - lowest) / step_mpa)
    n, a, b = float(i.size), float(i.sum()), float((i**2).sum())
    mean = lowest + step_mpa * (a / n + (-0.5 if rare is broke else 0.5))
    spread = (n * b - a**2) / n**2
    return mean, step_mpa * (1.62 * (spread + 0.029) if spread >= 0.3 else 0.53)
