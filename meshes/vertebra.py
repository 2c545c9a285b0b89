"""Vertebral bodies T11 to L5 from a handful of numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np
from scipy.interpolate import CubicSpline

from kyphos.errors import MeshError
from kyphos.meshes.density import density_field
from kyphos.meshes.model import Floats, SegmentMesh
from kyphos.meshes.quality import check_quality
from kyphos.meshes.sweep import sweep_body

Sex = Literal["female", "male"]
LEVELS = ("T11", "T12", "L1", "L2", "L3", "L4", "L5")

# Superior endplate width and depth, posterior height, mm: Panjabi 1991/1992 Spine, cadavers of both sexes
# (evidence rows H05-H11, assumed: recalled, not checked against the paper). The posterior height of L5 is the
# CT value of both sexes, 26.3 mm (H02, seen), for the assumed 22.9 mm does not fit its anterior height.
_PANJABI_MM = {
    "T11": (34.9, 31.9, 21.4),
    "T12": (39.0, 32.8, 22.7),
    "L1": (41.2, 34.1, 23.8),
    "L2": (42.6, 34.6, 24.3),
    "L3": (44.1, 35.2, 23.8),
    "L4": (46.6, 35.5, 24.1),
    "L5": (47.3, 34.7, 26.3),
}
# Sagittal wedge in degrees, positive where the anterior wall is the shorter: 120 women,
# Eur Spine J 2010 19:768, table 1 (H01, seen); used for both sexes.
_WEDGE_DEG = {"T11": 4.6, "T12": 3.5, "L1": 2.6, "L2": 0.7, "L3": -1.1, "L4": -3.1, "L5": -7.8}
# The table's cadavers are taken as men; women are 8 % smaller in every length (assumed).
_SEX_SCALE = {"female": 0.92, "male": 1.0}

# Allowed range of every dimension, mm (waist_ratio: 1).
_RANGES: dict[str, tuple[float, float]] = {
    "superior_width_mm": (20.0, 70.0),
    "superior_depth_mm": (16.0, 55.0),
    "inferior_width_mm": (20.0, 70.0),
    "inferior_depth_mm": (16.0, 55.0),
    "anterior_height_mm": (10.0, 50.0),
    "posterior_height_mm": (10.0, 50.0),
    "waist_ratio": (0.75, 1.0),
    "posterior_concavity_mm": (0.0, 6.0),
    "superior_concavity_mm": (0.0, 4.0),
    "inferior_concavity_mm": (0.0, 4.0),
    "shell_thickness_mm": (0.1, 1.5),
    "endplate_thickness_mm": (0.2, 1.5),
}


@dataclass(frozen=True, slots=True)
class BodyDimensions:
    """Outer dimensions of a vertebral body; lengths in mm.

    Depths and heights are measured in the mid-sagittal plane between outer bony surfaces (heights at the
    edges of the rim planes), widths at the widest place of the endplate. `waist_ratio` is the section's size
    at mid-height over the mean of the two ends (0.90 assumed). The endplates' concavities are the depths of
    their middle below the rim plane (0.7 superior, 1.5 inferior: Wang 2012 Eur Spine J 21:2316, H03, seen),
    the posterior one is that of the wall (2 mm assumed). Shell 0.38 ± 0.06 mm: Eswaran 2007 (E21, seen);
    endplate 0.25-1 mm (E23, seen), 0.5 assumed. Raises MeshError outside the ranges.
    """

    superior_width_mm: float
    superior_depth_mm: float
    inferior_width_mm: float
    inferior_depth_mm: float
    anterior_height_mm: float
    posterior_height_mm: float
    waist_ratio: float = 0.90
    posterior_concavity_mm: float = 2.0
    superior_concavity_mm: float = 0.7
    inferior_concavity_mm: float = 1.5
    shell_thickness_mm: float = 0.38
    endplate_thickness_mm: float = 0.5

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                unit = " mm" if name.endswith("_mm") else ""
                raise MeshError(
                    f"{name}={value:g} is outside [{low:g}, {high:g}]{unit}; start from default_dimensions()"
                )


@dataclass(frozen=True, slots=True)
class ParametricShape:
    """`sweep.BodyShape` of a `BodyDimensions`: kidney-shaped section, waist, wedge and dished endplates."""

    dimensions: BodyDimensions

    @property
    def shell_thickness_mm(self) -> float:
        """Thickness of the cortical shell, mm."""
        return self.dimensions.shell_thickness_mm

    @property
    def endplate_thickness_mm(self) -> float:
        """Thickness of both bony endplates, mm."""
        return self.dimensions.endplate_thickness_mm

    def outline_mm(self, theta: Floats, height_fraction: float) -> Floats:
        """Radius (k,) of the outer wall at polar angles (k,) and one height fraction."""
        d = self.dimensions
        waist = 1.0 - (1.0 - d.waist_ratio) * 4.0 * height_fraction * (1.0 - height_fraction)
        width = waist * _between(d.inferior_width_mm, d.superior_width_mm, height_fraction)
        depth = waist * _between(d.inferior_depth_mm, d.superior_depth_mm, height_fraction)
        return _kidney_radius_mm(theta, width / 2, depth / 2, d.posterior_concavity_mm)

    def superior_mm(self, x: Floats, y: Floats) -> Floats:
        """Height (k,) of the outer superior endplate surface."""
        d = self.dimensions
        dish = _dish(x / (d.superior_width_mm / 2), y / (d.superior_depth_mm / 2))
        return self._half_height_mm(y) - d.superior_concavity_mm * dish

    def inferior_mm(self, x: Floats, y: Floats) -> Floats:
        """Height (k,) of the outer inferior endplate surface."""
        d = self.dimensions
        dish = _dish(x / (d.inferior_width_mm / 2), y / (d.inferior_depth_mm / 2))
        return -self._half_height_mm(y) + d.inferior_concavity_mm * dish

    def _half_height_mm(self, y: Floats) -> Floats:
        """Half the distance between the rim planes: each carries half of the wedge."""
        d = self.dimensions
        depth = 0.5 * (d.superior_depth_mm + d.inferior_depth_mm)
        slope = (d.anterior_height_mm - d.posterior_height_mm) / depth
        return 0.25 * (d.anterior_height_mm + d.posterior_height_mm) + 0.5 * slope * y


def default_dimensions(level: str, sex: Sex = "female") -> BodyDimensions:
    """Mean dimensions of one level. The inferior endplate takes the size of the superior endplate one level
    below, which faces the same disc; L5 takes its own (both interpolations, assumed).

    Raises MeshError for a level outside T11-L5 or an unknown sex.
    """
    if level not in _PANJABI_MM:
        raise MeshError(f"level {level!r} has no default dimensions; known levels: {', '.join(LEVELS)}")
    if sex not in _SEX_SCALE:
        raise MeshError(f"sex {sex!r} is unknown; use 'female' or 'male'")
    below = LEVELS[min(LEVELS.index(level) + 1, len(LEVELS) - 1)]
    scale = _SEX_SCALE[sex]
    width, depth, posterior = (scale * value for value in _PANJABI_MM[level])
    lower_width, lower_depth, _ = (scale * value for value in _PANJABI_MM[below])
    mean_depth = 0.5 * (depth + lower_depth)
    anterior = posterior - mean_depth * float(np.tan(np.radians(_WEDGE_DEG[level])))
    return BodyDimensions(width, depth, lower_width, lower_depth, anterior, posterior)


def random_dimensions(level: str, sex: Sex, rng: np.random.Generator, common: float | None = None) -> BodyDimensions:
    """A random specimen: lengths vary by 7 % together and 3 % apart, the rest uniformly (all assumed).

    `common` is the factor that they share, by default drawn.
    """
    mean = asdict(default_dimensions(level, sex))
    common = 1.0 + 0.07 * rng.standard_normal() if common is None else common
    lengths = {
        name: value * common * (1.0 + 0.03 * rng.standard_normal())
        for name, value in mean.items()
        if name.endswith(("_width_mm", "_depth_mm", "_height_mm"))
    }
    spans = {
        "waist_ratio": (0.82, 0.96),
        "posterior_concavity_mm": (0.5, 4.0),
        "superior_concavity_mm": (0.0, 2.0),
        "inferior_concavity_mm": (0.3, 3.0),
        "shell_thickness_mm": (0.2, 0.6),
        "endplate_thickness_mm": (0.25, 1.0),
    }
    drawn = {name: float(rng.uniform(low, high)) for name, (low, high) in spans.items()}
    clipped = {name: float(np.clip(value, *_RANGES[name])) for name, value in (lengths | drawn).items()}
    return BodyDimensions(**{field.name: clipped[field.name] for field in fields(BodyDimensions)})


def build_body(
    level: str,
    dimensions: BodyDimensions | None = None,
    element_size_mm: float = 2.0,
    vbmd_mg_per_cc: float = 80.0,
    seed: int = 1,
    density_cv: float = 0.2,
) -> SegmentMesh:
    """A parametric vertebral body between two pots, with its density field, through the quality gate.

    Raises MeshError for bad dimensions, element size, density or quality.
    """
    shape = ParametricShape(dimensions or default_dimensions(level))
    mesh = sweep_body(shape, level, element_size_mm)
    check_quality(mesh)
    return density_field(mesh, vbmd_mg_per_cc, seed, density_cv)


def _between(low: float, high: float, fraction: float) -> float:
    return low + (high - low) * fraction


def _dish(x: Floats, y: Floats) -> Floats:
    """Smooth dish: 1 in the middle, 0 on the rim; the dished part spans 85 % of the diameter."""
    squared: Floats = np.clip(1.0 - (x**2 + y**2) / 0.85**2, 0.0, None) ** 2
    return squared


def _kidney_radius_mm(theta: Floats, half_width: float, half_depth: float, concavity: float) -> Floats:
    """Polar radius (k,) of a kidney-shaped section of two superellipse halves.

    The posterior one is pushed in at its middle so that the mid-sagittal depth stays 2 half_depth.
    """
    turn = np.linspace(-np.pi, np.pi, 721)
    cosine, sine = np.cos(turn), np.sin(turn)
    back = sine < 0.0
    power = np.where(back, 2.0 / 2.6, 2.0 / 2.2)
    x = half_width * np.sign(cosine) * np.abs(cosine) ** power
    y = np.sign(sine) * np.abs(sine) ** power * np.where(back, half_depth + concavity, half_depth)
    y = y + np.where(back, concavity * np.exp(-((2.2 * x / half_width) ** 2)) * np.abs(sine), 0.0)
    angle, radius = np.unwrap(np.arctan2(y, x)), np.hypot(x, y)
    angle[-1], radius[-1] = angle[0] + 2.0 * np.pi, radius[0]
    spline = CubicSpline(angle[::6], radius[::6], bc_type="periodic")
    values: Floats = spline(angle[0] + np.mod(theta - angle[0], 2.0 * np.pi))
    return values
