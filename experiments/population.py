"""Who was tested: populations of specimens with seeded scatter of density and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from kyphos import meshes
from kyphos.errors import StudyError

SEED = 2026
_LENGTHS = ("superior_width_mm", "superior_depth_mm", "inferior_width_mm", "inferior_depth_mm")
_HEIGHTS = ("anterior_height_mm", "posterior_height_mm")
SIZE_CV = 0.06
"""Scatter of a length of a vertebral body between subjects, over its mean: 1.8 of 29.6 mm (evidence H02)."""


@dataclass(frozen=True)
class Individual:
    """One specimen: level, sex, mean trabecular density, sizes over the level's, seed of its density field."""

    name: str
    level: str = "L1"
    vbmd_mg_per_cc: float = 80.2
    width_factor: float = 1.0
    height_factor: float = 1.0
    sex: str = "female"
    seed: int = 1


@dataclass(frozen=True)
class Population:
    """Normal scatter of density and size around a mean specimen.

    Attributes
    ----------
    vbmd_mean_mg_per_cc, vbmd_sd_mg_per_cc
        Of the paper where it tells, else of comparable donors; ``source`` says which.
    vbmd_range_mg_per_cc
        Densities are kept within it.
    levels
        Taken in turn.
    sexes
        Likewise; the mean specimen has the first.
    source
        Of the densities: an evidence id, or why they are assumed.
    even
        Densities evenly spread over the range instead of normally about the mean: for a regression.
    """

    vbmd_mean_mg_per_cc: float
    vbmd_sd_mg_per_cc: float
    source: str
    vbmd_range_mg_per_cc: tuple[float, float] = (45.0, 220.0)
    levels: tuple[str, ...] = ("L1",)
    sexes: tuple[str, ...] = ("female",)
    size_cv: float = SIZE_CV
    even: bool = False

    @property
    def nominal(self) -> Individual:
        """The mean specimen at the first of the levels."""
        return Individual("nominal", self.levels[0], self.vbmd_mean_mg_per_cc, sex=self.sexes[0])

    def draw(self, count: int, seed: int = SEED) -> tuple[Individual, ...]:
        """Specimens, the same for the same seed; StudyError for fewer than one.

        Scatter is stratified: each quantity takes the midpoints of ``count`` equally likely classes, in seeded
        order, scaled to the wanted standard deviation, so that few specimens too have nearly the population's
        mean and spread.
        """
        if count < 1:
            raise StudyError(f"a population of {count} specimens; at least 1 is needed")
        if count == 1:
            return (self.nominal,)
        rng = np.random.default_rng(seed)
        low, high = self.vbmd_range_mg_per_cc
        vbmd = np.linspace(low, high, count)
        if not self.even:
            scattered = self.vbmd_mean_mg_per_cc + self.vbmd_sd_mg_per_cc * _scores(count, rng)
            vbmd = np.clip(scattered, low, high)
        widths, heights = (1.0 + self.size_cv * _scores(count, rng) for _ in range(2))
        return tuple(
            Individual(
                name=f"{i + 1:02d}",
                level=self.levels[i % len(self.levels)],
                vbmd_mg_per_cc=round(float(vbmd[i]), 2),
                width_factor=round(float(widths[i]), 4),
                height_factor=round(float(heights[i]), 4),
                sex=self.sexes[i % len(self.sexes)],
                seed=seed + i,
            )
            for i in range(count)
        )


def _scores(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Standard scores (count,) in random order, with mean 0 and standard deviation 1."""
    scores = norm.ppf((np.arange(count) + 0.5) / count)
    return np.asarray(rng.permutation(scores / scores.std(ddof=1)))


def dimensions(individual: Individual, given: Mapping[str, float] | None = None) -> meshes.BodyDimensions:
    """Sizes of the specimen's body: those ``given``, else of its level and sex; widths, depths and heights scaled."""
    sex: Any = individual.sex
    sizes = replace(meshes.default_dimensions(individual.level, sex), **(given or {}))
    scaled = {name: getattr(sizes, name) * individual.width_factor for name in _LENGTHS}
    scaled |= {name: getattr(sizes, name) * individual.height_factor for name in _HEIGHTS}
    return replace(sizes, **scaled)


def specimen_settings(individual: Individual) -> tuple[str, ...]:
    """Overrides of a study's specimen: level, density, seed and sizes of this one."""
    sizes = asdict(dimensions(individual))
    return (
        f'specimen.levels=["{individual.level}"]',
        f"specimen.sex={individual.sex}",
        f"specimen.seed={individual.seed}",
        f"specimen.vbmd_mg_per_cc={individual.vbmd_mg_per_cc}",
        *(f"specimen.dimensions.{name}={sizes[name]:.3f}" for name in (*_LENGTHS, *_HEIGHTS)),
    )
