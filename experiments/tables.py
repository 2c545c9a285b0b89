"""The tables of a study file: every key with its unit, its physical range and its meaning."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AllowInfNan, BaseModel, ConfigDict, Field, Strict, model_validator

from kyphos.experiments.cyclic import CYCLIC_PROTOCOLS, FIXED, ProtocolName
from kyphos.experiments.load_cases import named_case

LEVELS = tuple(f"T{n}" for n in range(1, 13)) + tuple(f"L{n}" for n in range(1, 6))
SEGMENT_LEVELS = LEVELS[LEVELS.index("T11") :]
_OF_SEGMENTS = ("level_vbmd_mg_per_cc", "disc_grade", "lordosis_deg", "discs", "spine", "posterior")
_OF_NEIGHBOURS = ("density_cv", "sex")  # of a segment whose treated level is from a CT
SAMPLES = ("verse004_L2",)
DEFAULT_VBMD_MG_PER_CC = 80.0
SMALLEST_FORCE_N = 5.0

Kind = Literal["kyphoplasty", "vertebroplasty", "none"]
Approach = Literal["bipedicular", "unipedicular"]
Device = Literal["balloon", "directional-balloon", "high-pressure-balloon", "expander"]
Shape = Literal["bolus", "interdigitated", "bridging", "unilateral", "separate", "file"]
Viscosity = Literal["low", "high"]
Interface = Literal["bonded", "debonding"]
Method = Literal["jump", "direct"]
Bone = Literal["normal", "osteopenic", "osteoporotic", "severe"]
CouponTest = Literal["compression", "tension", "bend", "creep", "fatigue"]
CouponShape = Literal["cylinder", "cube", "bar", "waisted"]
Ends = Literal["slide", "stick"]
Strains = Literal["engineering", "logarithmic"]
Neighbours = Literal["spared", "crush"]
LoadPath = Literal["line", "follower"]
Grade = Literal["healthy", "mild", "moderate", "severe"]
Spine = Literal["visible-human", "verse004"]


PRESSURE_MPA: dict[Device, tuple[float, float]] = {
    "balloon": (2.0, 2.8),
    "directional-balloon": (2.0, 2.8),
    "high-pressure-balloon": (4.8, 4.9),
    "expander": (3.0, 3.1),
}
"""Device -> pressure at which inflation usually stops, and the one it is rated for.

Balloons: stops at 200-300 psi, made for 400, or 700 (B23 of the evidence, recalled). The balloon that opens an
expander: 30 bar (assumed).
"""


ADJACENT_N = 500.0
PATH = "of a segment: load on the line of the hinge (default), or follower, a cable through all bodies"
STOP = "of a segment: end the block once a neighbour has fractured (docs/segment.md)"


def _zero_or_a_real_force(value: float) -> float:
    """Refuse forces of less than a few newtons: they are kilonewtons, typed as newtons."""
    if 0.0 < abs(value) < SMALLEST_FORCE_N:
        raise ValueError(f"must be 0 or at least {SMALLEST_FORCE_N:g} N")
    return value


def pressure_of_device(raw: object) -> object:
    """Where a table names no pressure limit, give it that of its device."""
    if not isinstance(raw, dict) or "balloon_pressure_limit_mpa" in raw:
        return raw
    known = [stop for device, (stop, _) in PRESSURE_MPA.items() if device == raw.get("device", "balloon")]
    return {**raw, "balloon_pressure_limit_mpa": known[0]} if known else raw


def check_pressure(device: Device, limit_mpa: float) -> None:
    """Refuse (ValueError) more pressure than a device is rated for."""
    rated = PRESSURE_MPA[device][1]
    if limit_mpa > rated:
        stronger = [name for name, (_, most) in PRESSURE_MPA.items() if most >= limit_mpa]
        hint = f", or device = {stronger[0]!r}" if stronger else ""
        raise ValueError(
            f"balloon_pressure_limit_mpa = {limit_mpa:g} is more than a {device} is rated for; "
            f"allowed: up to {rated:g} MPa{hint}"
        )


Number = Annotated[float, Strict(), AllowInfNan(False)]
Force = Annotated[Number, AfterValidator(_zero_or_a_real_force)]
Count = Annotated[int, Strict()]
Names = Annotated[tuple[str, ...], Strict(False)]
CaseName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


class Table(BaseModel):
    """One table of a study file: frozen, strict about types, deaf to no key."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Dimensions(Table):
    """Sizes of a parametric vertebral body; a size that is left out takes the level's default."""

    superior_width_mm: Number | None = Field(default=None, ge=20, le=70, description="superior endplate, left to right")
    superior_depth_mm: Number | None = Field(default=None, ge=16, le=55, description="superior endplate, front to back")
    inferior_width_mm: Number | None = Field(default=None, ge=20, le=70, description="inferior endplate, left to right")
    inferior_depth_mm: Number | None = Field(default=None, ge=16, le=55, description="inferior endplate, front to back")
    anterior_height_mm: Number | None = Field(default=None, ge=10, le=45, description="height at the anterior edge")
    posterior_height_mm: Number | None = Field(default=None, ge=10, le=45, description="height at the posterior edge")
    waist_ratio: Number | None = Field(default=None, ge=0.75, le=1, description="section at mid height over endplates")
    posterior_concavity_mm: Number | None = Field(default=None, ge=0, le=6, description="hollow of the posterior wall")
    superior_concavity_mm: Number | None = Field(
        default=None, ge=0, le=4, description="hollow of the superior endplate"
    )
    inferior_concavity_mm: Number | None = Field(
        default=None, ge=0, le=4, description="hollow of the inferior endplate"
    )
    shell_thickness_mm: Number | None = Field(default=None, ge=0.1, le=1.5, description="cortical wall")
    endplate_thickness_mm: Number | None = Field(default=None, ge=0.2, le=1.5, description="bony endplates")


class DiscSizes(Table):
    """One intervertebral disc; what is left out takes the default of its place, or that of the whole segment."""

    grade: Grade | None = Field(default=None, description="degeneration, in place of disc_grade")
    height_mm: Number | None = Field(default=None, ge=2, le=20, description="mean of front and back, when healthy")
    wedge_deg: Number | None = Field(default=None, ge=-20, le=30, description="open to the front +, when healthy")


class Specimen(Table):
    """What is tested: vertebral bodies made from a few numbers, or read from a CT."""

    levels: Names = Field(default=("L1",), min_length=1, description="from the top down; one level is potted alone")
    treated: str = Field(default="", description="the level that is fractured and treated; one level: that one")
    vbmd_mg_per_cc: Number | None = Field(
        default=None,
        ge=20,
        le=400,
        description="mean trabecular mineral density (QCT); default 80 without a scan, bone or t_score",
    )
    bone: Bone | None = Field(default=None, description="density by name, in place of vbmd_mg_per_cc")
    t_score: Number | None = Field(
        default=None, ge=-4.5, le=4, description="density by T-score (DXA), in place of vbmd_mg_per_cc"
    )
    density_cv: Number | None = Field(
        default=None,
        ge=0,
        le=0.8,
        description="coefficient of variation of local density; default 0.2 without a scan",
    )
    trabecular_card: str | None = Field(
        default=None, min_length=1, description="another card of its bone than trabecular, as trabecular-morgan"
    )
    shell_card: str | None = Field(default=None, min_length=1, description="another card than shell")
    endplate_card: str | None = Field(default=None, min_length=1, description="another card than endplate")
    seed: Count = Field(default=1, ge=0, le=2**31 - 1, description="of every random field")
    sex: Literal["female", "male"] | None = Field(default=None, description="of the default sizes; default female")
    scan: str | None = Field(
        default=None, description='"sample:NAME", or a CT (NIfTI, mg/cm3; with hu_calibration: HU)'
    )
    hu_calibration: str | None = Field(
        default=None, min_length=1, description="the scan is in HU: the card that turns HU into density"
    )
    labels: str | None = Field(default=None, description="label map of the scan (NIfTI)")
    spine: Spine | None = Field(
        default=None, description="bodies of a segment are those of a real spine, where they stood; density as usual"
    )
    posterior: Annotated[bool, Strict()] | None = Field(
        default=None,
        description="facets and ligaments of a segment's arches; false: excised, ALL and PLL stay; default true",
    )
    dimensions: Dimensions | None = Field(
        default=None, description="sizes of the treated level that differ from its defaults"
    )
    level_vbmd_mg_per_cc: dict[str, Number] | None = Field(
        default=None, description="density of levels of a segment that have another than vbmd_mg_per_cc"
    )
    disc_grade: Grade | None = Field(
        default=None, description="degeneration of all discs of a segment: height, wedge, tissues; default healthy"
    )
    lordosis_deg: Number | None = Field(
        default=None,
        ge=-60,
        le=90,
        description="sum of the wedges of a segment's discs, when healthy; default by level",
    )
    discs: dict[str, DiscSizes] | None = Field(
        default=None, description="discs that differ: [specimen.discs.T12_L1] grade, height_mm, wedge_deg"
    )

    @property
    def is_segment(self) -> bool:
        """Whether there is more than one level."""
        return len(self.levels) > 1

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the discs, from the top down."""
        return tuple(f"{upper}_{lower}" for upper, lower in pairwise(self.levels))

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: object) -> object:
        """Resolve what depends on the other keys, so that a resolved study says everything."""
        if not isinstance(raw, dict):
            return raw
        filled = dict(raw)
        levels = filled.get("levels", ("L1",))
        if "treated" not in filled and isinstance(levels, list | tuple) and len(levels) == 1:
            filled["treated"] = str(levels[0])
        if isinstance(levels, list | tuple) and len(levels) > 1:
            filled = {"posterior": True, "disc_grade": "healthy", **filled}
        scanned = filled.get("scan") is not None
        if not scanned or (isinstance(levels, list | tuple) and len(levels) > 1):
            filled = {"density_cv": 0.2, "sex": "female", **filled}
        if not scanned and all(filled.get(key) is None for key in _DENSITIES):
            filled["vbmd_mg_per_cc"] = DEFAULT_VBMD_MG_PER_CC
        return filled

    @model_validator(mode="after")
    def _agree(self) -> Self:
        _check_levels(self.levels, self.treated)
        _check_segment(self)
        if self.scan is None:
            for key in ("labels", "hu_calibration"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is given without scan; name the image too")
            self._resolve_density()
            return self
        _check_scan(self.scan, self.labels, self.hu_calibration)
        for key in (*_DENSITIES, "density_cv", "sex", "dimensions"):
            if getattr(self, key) is not None and not (self.is_segment and key in _OF_NEIGHBOURS):
                raise ValueError(
                    f"{key} does not apply when scan is given: sizes and density are read from the scan; "
                    "remove one of the two, or start from a parametric study such as kyphoplasty-pmma-L1"
                )
        return self

    def _resolve_density(self) -> None:
        """Put a number in place of a name or a T-score: it is what the resolved study says."""
        given = [key for key in _DENSITIES if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} all say how dense the bone is; keep one of {', '.join(_DENSITIES)} "
                "and remove the rest"
            )
        if self.vbmd_mg_per_cc is not None:
            return
        from kyphos.materials import vbmd_of_bone, vbmd_of_t_score  # here, because it loads the compiled laws

        if self.bone is not None:
            vbmd = vbmd_of_bone(self.bone)
        else:
            assert self.t_score is not None, "one of the three is given, or the default was filled in"
            vbmd = vbmd_of_t_score(self.t_score)
        for key, value in (("vbmd_mg_per_cc", round(vbmd, 6)), ("bone", None), ("t_score", None)):
            object.__setattr__(self, key, value)


_DENSITIES = ("vbmd_mg_per_cc", "bone", "t_score")


CARD_REGIONS = {
    "trabecular_card": ("trabecular",),
    "shell_card": ("shell",),
    "endplate_card": ("superior_endplate", "inferior_endplate"),
}
"""Key of the specimen -> the parts of a vertebral body that the card is for."""


def _check_levels(levels: tuple[str, ...], treated: str) -> None:
    unknown = [level for level in levels if level not in LEVELS]
    if unknown:
        raise ValueError(f"levels: {unknown[0]!r} is not a vertebra; allowed: T1 to T12, L1 to L5")
    start = LEVELS.index(levels[0])
    if LEVELS[start : start + len(levels)] != levels:
        raise ValueError(f"levels {list(levels)} are not neighbours from the top down")
    if not treated:
        raise ValueError(f"the key 'treated' is missing; allowed: {', '.join(levels)}")
    if treated not in levels:
        raise ValueError(f"treated = {treated!r} is not among levels; allowed: {', '.join(levels)}")


def _check_segment(specimen: Specimen) -> None:
    """Keys of a segment, and what it cannot be."""
    if not specimen.is_segment:
        # that a vertebra alone has no posterior parts may be said
        given = [key for key in _OF_SEGMENTS if getattr(specimen, key) not in (None, False)]
        if given:
            raise ValueError(f"{given[0]} is for a segment of several levels; remove it, or add levels")
        return
    if not set(specimen.levels) <= set(SEGMENT_LEVELS):
        raise ValueError(
            f"levels {list(specimen.levels)}: a segment of several levels lies within {SEGMENT_LEVELS[0]} to "
            f"{SEGMENT_LEVELS[-1]}"
        )
    if specimen.spine is not None:
        _check_spine(specimen)
    if specimen.scan is not None and specimen.treated in (specimen.level_vbmd_mg_per_cc or {}):
        raise ValueError(
            f"level_vbmd_mg_per_cc: the density of {specimen.treated}, the treated level, is read from the scan; "
            "give that of its neighbours only"
        )
    for key, allowed in (("level_vbmd_mg_per_cc", specimen.levels), ("discs", specimen.joints)):
        unknown = sorted(set(getattr(specimen, key) or {}) - set(allowed))
        if unknown:
            raise ValueError(f"{key}: the segment has no {unknown[0]!r}; allowed: {', '.join(allowed)}")
    for level, vbmd in (specimen.level_vbmd_mg_per_cc or {}).items():
        if not 20 <= vbmd <= 400:
            raise ValueError(f"level_vbmd_mg_per_cc: {level} = {vbmd:g} must lie between 20 and 400")


def _check_spine(specimen: Specimen) -> None:
    """A real spine brings its bodies and its discs' shapes."""
    for key in ("scan", "dimensions", "lordosis_deg"):
        if getattr(specimen, key) is not None:
            raise ValueError(f"{key} does not apply when spine is given, whose bodies have their own shape and place")
    for name, disc in (specimen.discs or {}).items():
        if disc.height_mm is not None or disc.wedge_deg is not None:
            raise ValueError(f"discs.{name}: a spine has discs of its own height and wedge; only grade applies")


def _check_scan(scan: str, labels: str | None, hu_calibration: str | None) -> None:
    if not scan.startswith("sample:"):
        if labels is None:
            raise ValueError("scan is given without labels; name its label map too")
        return
    if scan.removeprefix("sample:") not in SAMPLES:
        raise ValueError(f"scan = {scan!r}: no such sample; known: {', '.join(SAMPLES)}")
    if labels is not None:
        raise ValueError("labels does not apply to a sample scan, which brings its own; remove it")
    if hu_calibration is not None:
        raise ValueError("hu_calibration does not apply to a sample scan, which is in mg/cm3; remove it")


COUPON_SIZES: dict[str, dict[str, float]] = {
    "cylinder": {"diameter_mm": 6.0, "length_mm": 12.0},
    "cube": {"length_mm": 8.0},
    "bar": {"length_mm": 75.0, "width_mm": 10.0, "thickness_mm": 3.3},
    "waisted": {
        "diameter_mm": 5.0,
        "gauge_length_mm": 10.0,
        "length_mm": 40.0,
        "grip_diameter_mm": 8.0,
        "fillet_radius_mm": 25.0,
    },
}
"""Shapes of coupons: the sizes that each one has, with defaults (cylinder and bar: ISO 5833; waisted: ASTM F2118)."""


class Coupon(Table):
    """Table ``[coupon]``, in place of ``[specimen]``: a sample of one material in a testing machine."""

    card: str = Field(default="pmma", min_length=1, description="material card")
    test: CouponTest | None = Field(
        default=None, description="the test, unless [[stage]] lists them; default compression"
    )
    shape: CouponShape = Field(default="cylinder", description="the load runs along z; across the bar, for bending")
    diameter_mm: Number | None = Field(default=None, ge=1, le=50, description="of the cylinder, or of the waist")
    length_mm: Number | None = Field(default=None, ge=1, le=300, description="whole length; of the cube, its edge")
    width_mm: Number | None = Field(default=None, ge=1, le=50, description="of the bar")
    thickness_mm: Number | None = Field(default=None, ge=0.5, le=50, description="of the bar, along the load")
    gauge_length_mm: Number | None = Field(default=None, ge=1, le=100, description="of the straight part of the waist")
    grip_diameter_mm: Number | None = Field(default=None, ge=1, le=50, description="of the ends of the waisted coupon")
    fillet_radius_mm: Number | None = Field(default=None, ge=1, le=200, description="from the waist to the ends")
    ends: Ends | None = Field(
        default=None, description="whether the end faces slide or stick to the platens; default slide (waisted: stick)"
    )
    density_mg_per_cc: Number | None = Field(
        default=None, ge=1, le=2000, description="QCT mineral density, for bone (shell: of the bone that it covers)"
    )
    soft_share: Number = Field(
        default=0.0,
        ge=0,
        le=0.6,
        description="share of the density that is missing at half length, fading as a Gauss curve",
    )
    soft_width_mm: Number = Field(
        default=4.0, ge=0.5, le=50, description="width of the soft band, four standard deviations"
    )
    strains: Strains = Field(
        default="engineering", description="small strains, as the standards' formulas assume, or those of a vertebra"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: object) -> object:
        """Give a shape the sizes that it has."""
        if not isinstance(raw, dict):
            return raw
        shape = raw.get("shape", "cylinder")
        sizes = COUPON_SIZES.get(shape, {}) if isinstance(shape, str) else {}
        filled = {key: value for key, value in raw.items() if value is not None}
        return {"ends": "stick" if shape == "waisted" else "slide", **sizes, **filled}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        every = {key for sizes in COUPON_SIZES.values() for key in sizes}
        own = COUPON_SIZES[self.shape]
        wrong = sorted(key for key in every - set(own) if getattr(self, key) is not None)
        if wrong:
            raise ValueError(f"a {self.shape} has no {wrong[0]}; its sizes are {', '.join(own)}")
        return self


class Fracture(Table):
    """Eccentric crush under displacement control, then an optional hold."""

    anterior_height_loss: Number = Field(default=0.25, ge=0.02, le=0.6, description="share of intact anterior height")
    hold_s: Number = Field(default=900.0, ge=0, le=1e6, description="time at the full crush; 0 = no hold")
    recovery_s: Number = Field(default=1800.0, ge=0, le=1e6, description="time at the preload afterwards")
    offset_anterior_mm: Number = Field(default=10.0, ge=-30, le=30, description="load line in front of the centre")
    neighbours: Neighbours | None = Field(
        default=None,
        description="of a segment: whether their bone is spared until unloaded (default), or may crush too",
    )


NEEDLE_SPREADS: dict[str, float] = {"bipedicular": 0.36, "unipedicular": 0.06}
"""Default of ``needle_spread``: two needles astride the midline, or one close to it (assumed)."""


class Needles(Table):
    """Where the needles end: shares of the body's sizes, see ``kyphos.meshes.needle_tips``."""

    approach: Approach = Field(default="bipedicular", description="two needles or one, each with its balloon")
    needle_depth: Number = Field(default=0.58, ge=0, le=1, description="tip, share of depth from the posterior wall")
    needle_spread: Number | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="tip off the midline, share of half the width; default 0.36 (two), 0.06 (one, to the right)",
    )
    needle_height: Number = Field(default=0.5, ge=0, le=1, description="tip, share of height from below")

    @model_validator(mode="after")
    def _fill_spread(self) -> Self:
        if self.needle_spread is None:
            object.__setattr__(self, "needle_spread", NEEDLE_SPREADS[self.approach])
        return self

    @property
    def needle(self) -> dict[str, float]:
        """The three shares by the names that ``kyphos.meshes.needle_tips`` has for them."""
        assert self.needle_spread is not None, "filled in above"
        return {"depth": self.needle_depth, "spread": self.needle_spread, "height": self.needle_height}

    def needles(self) -> dict[str, Any]:
        """The keys of this table alone, for a stage that takes them over."""
        return {key: getattr(self, key) for key in Needles.model_fields}


class Procedure(Needles):
    """What is done to the fractured vertebra, and under which preload."""

    kind: Kind = Field(default="kyphoplasty", description="the procedure; none = the fracture stays untreated")
    preload_n: Force = Field(default=100.0, ge=0, le=3000, description="compression during treatment and measurement")
    device: Device = Field(default="balloon", description="what lifts; an expander leaves a cage of metal behind")
    balloon_volume_ml: Number = Field(default=4.0, ge=0.1, le=10, description="target volume of each balloon")
    balloon_pressure_limit_mpa: Number = Field(
        default=2.0, ge=0.05, le=5, description="inflation stops here; default by device"
    )
    stop_when_restored: bool = Field(default=True, description="or where the anterior height is the intact one again")
    deflate: Annotated[bool, Strict()] = Field(default=True, description="remove the balloons before cementing")
    posture_n: Force | None = Field(
        default=None, ge=-500, le=3000, description="load while lying prone, until the cement has set; traction is < 0"
    )

    _pressure = model_validator(mode="before")(pressure_of_device)

    @model_validator(mode="after")
    def _within_ratings(self) -> Self:
        check_pressure(self.device, self.balloon_pressure_limit_mpa)
        return self


class Filling(Table):
    """How the cement finds its place."""

    viscosity: Viscosity | None = Field(
        default=None,
        description="low follows weak and broken bone, high stays compact; default low (interdigitated), high (others)",
    )
    leak: Annotated[bool, Strict()] = Field(default=False, description="whether cement may cross the wall")
    file: str | None = Field(default=None, description="drawn deposit: label map (NIfTI), or closed surface (STL, ...)")

    @model_validator(mode="after")
    def _agree_on_file(self) -> Self:
        shape = getattr(self, "shape", None)
        if self.file is not None and shape not in (None, "file"):
            raise ValueError(f'file is given, and shape = {shape!r}; remove one of the two, or set shape = "file"')
        if self.file is None and shape == "file":
            raise ValueError('shape = "file" needs the key file: a label map (.nii.gz) or a closed surface (.stl)')
        if self.file is not None and self.leak:
            raise ValueError("leak does not apply to a drawn deposit; remove leak or file")
        return self


class Cement(Filling):
    """What is injected, how much and where it goes."""

    card: str = Field(default="pmma", min_length=1, description="material card of the cement")
    volume_ml: Number = Field(default=6.0, ge=0.1, le=30, description="injected volume")
    shape: Shape | None = Field(
        default=None,
        description="where it goes; default bolus (kyphoplasty), interdigitated (vertebroplasty), file if one is given",
    )
    interface: Interface = Field(default="bonded", description="to bone: tied for good, or it may let go")


class Cycling(Table):
    """One block of load cycles, or a published protocol of one or more."""

    protocol: ProtocolName | None = Field(
        default=None, description="a published protocol, in place of count, min_n and max_n"
    )
    count: Count = Field(default=500, ge=0, le=100_000_000, description="load cycles; 0 = the block is skipped")
    min_n: Force = Field(default=100.0, ge=0, le=20_000, description="valley of the cycle, compression")
    max_n: Force = Field(default=600.0, ge=SMALLEST_FORCE_N, le=20_000, description="peak of the cycle, compression")
    frequency_hz: Number = Field(default=1.0, ge=0.001, le=50, description="cycles per second")
    offset_anterior_mm: Number = Field(default=0.0, ge=-30, le=30, description="load line in front of the centre")
    method: Method = Field(default="jump", description="cycle jump, or every cycle solved")
    dwell_fraction: Number = Field(default=0.5, gt=0, le=1, description="share of a period at peak load, for creep")
    jump_tolerance: Number = Field(
        default=0.006, ge=1e-6, le=0.2, description="error of a jump's growth of displacement, over all growth so far"
    )
    path: LoadPath | None = Field(default=None, description=PATH)
    stop_at_fracture: Annotated[bool, Strict()] = Field(default=False, description=STOP)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_n >= self.max_n:
            raise ValueError(f"min_n = {self.min_n:g} N must lie below max_n = {self.max_n:g} N")
        fixed = [key for key in FIXED if key in self.model_fields_set]
        if self.protocol is not None and fixed:
            raise ValueError(f"protocol = {self.protocol!r} fixes {fixed[0]} already; remove one of the two")
        return self

    @property
    def blocks(self) -> tuple[Self, ...]:
        """The blocks that a protocol stands for, with the other keys as given here; without one, this block."""
        if self.protocol is None:
            return (self,)
        return tuple(
            self.model_copy(update={"protocol": None, **dict(zip(FIXED, block, strict=True))})
            for block in CYCLIC_PROTOCOLS[self.protocol].blocks
        )


class EventTable(Table):
    """What all events share; besides it they have the keys of the table that is short for them, and ``kind``."""

    level: str = Field(default="", description="of a segment: whom it happens to; default: the treated level")


class FractureEvent(Fracture, EventTable):
    """``[[event]]`` of kind ``fracture``: crush, hold, recover, measure."""

    kind: Literal["fracture"] = Field(default="fracture", description="what happens")


class TreatEvent(EventTable):
    """``[[event]]`` of kind ``treat``: a vertebroplasty or kyphoplasty, then measure."""

    kind: Literal["treat"] = Field(default="treat", description="what happens")
    procedure: Procedure = Field(default_factory=Procedure, description="keys of [procedure]")
    cement: Cement = Field(default_factory=Cement, description="keys of [cement]")

    @model_validator(mode="after")
    def _is_treatment(self) -> Self:
        if self.procedure.kind == "none":
            raise ValueError("procedure.kind = 'none' treats nothing; remove the event, or choose another kind")
        return self


class CycleEvent(Cycling, EventTable):
    """``[[event]]`` of kind ``cycle``: one block of load cycles, or a protocol; measured after the last in a row."""

    kind: Literal["cycle"] = Field(default="cycle", description="what happens")


Event = FractureEvent | TreatEvent | CycleEvent
EVENTS: dict[str, type[Event]] = {"fracture": FractureEvent, "treat": TreatEvent, "cycle": CycleEvent}


class LoadCase(Table):
    """``[test.load_case.NAME]``: one way to load a segment while its discs and neighbours are looked at.

    On the guided hinge (``axial_n`` or ``approach_mm``), with a free upper pot (``follower_n`` and moments), or
    balanced by muscles (``weight_n`` and what belongs to it, ``follower_n``).
    """

    axial_n: Force | None = Field(default=None, ge=0, le=20_000, description="force on the line of the hinge")
    approach_mm: Number | None = Field(default=None, ge=-5, le=20, description="or the way of the load point down")
    offset_anterior_mm: Number = Field(default=0.0, ge=-30, le=30, description="their line, before the centre")
    follower_n: Force = Field(default=0.0, ge=0, le=20_000, description="compression that follows the curve")
    flexion_nm: Number = Field(default=0.0, ge=-50, le=50, description="pure moment forwards; extension is < 0")
    bending_nm: Number = Field(default=0.0, ge=-50, le=50, description="pure moment to the right; to the left is < 0")
    rotation_nm: Number = Field(default=0.0, ge=-50, le=50, description="pure moment turning left; right is < 0")
    weight_n: Force | None = Field(default=None, ge=0, le=2000, description="upper body, held by the erector spinae")
    weight_arm_mm: Number = Field(default=30.0, ge=-50, le=150, description="its line before the treated body's centre")
    weight_height_mm: Number = Field(default=200.0, ge=0, le=500, description="its centre above that of the body")
    muscle_arm_mm: Number = Field(default=50.0, ge=20, le=120, description="erector spinae behind the body's centre")

    @property
    def moment_nm(self) -> tuple[float, float, float]:
        """About x, y and z."""
        return (-self.flexion_nm, self.bending_nm, self.rotation_nm)

    @property
    def on_hinge(self) -> bool:
        """Whether the upper pot is guided on a line."""
        return self.axial_n is not None or self.approach_mm is not None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.axial_n is not None and self.approach_mm is not None:
            raise ValueError("axial_n and approach_mm exclude one another: a force, or a way to go")
        moments = any(self.moment_nm)
        if self.on_hinge and (moments or self.follower_n or self.weight_n is not None):
            raise ValueError(
                "axial_n and approach_mm act on the guided hinge, all other loads on a free upper pot; "
                "make two load cases of it"
            )
        if self.weight_n is not None and moments:
            raise ValueError("weight_n is balanced by a muscle, which would take up the moment too; remove one of them")
        if not (self.on_hinge or moments or self.follower_n or self.weight_n):
            raise ValueError("there is no load; give axial_n, approach_mm, follower_n, weight_n or a moment")
        if self.offset_anterior_mm and not self.on_hinge:
            raise ValueError("offset_anterior_mm belongs to axial_n or approach_mm; weight_arm_mm to weight_n")
        return self

    @property
    def words(self) -> str:
        """Loads and supports, as they stand beside the results."""
        if self.on_hinge:
            load = f"{self.axial_n:g} N" if self.axial_n is not None else f"{self.approach_mm:g} mm of approach"
            line = f", {self.offset_anterior_mm:g} mm in front of the centre" if self.offset_anterior_mm else ""
            return f"{load} on a line through the hinge{line}; {HINGED}"
        parts = [f"{self.follower_n:g} N as a follower load"] if self.follower_n else []
        if self.weight_n is not None:
            tips = f", {self.weight_height_mm:g} mm above it" if self.weight_height_mm else ", whatever the wedge"
            parts += [f"{self.weight_n:g} N of weight {self.weight_arm_mm:g} mm in front of the treated body{tips}"]
            parts += [f"erector spinae {self.muscle_arm_mm:g} mm behind it that keeps the inclination"]
            return f"{', '.join(parts)}; lower pot fixed, upper pot free in the sagittal plane"
        named = {"flexion": self.flexion_nm, "bending": self.bending_nm, "rotation": self.rotation_nm}
        parts += [f"{moment:g} N m of {name}" for name, moment in named.items() if moment]
        return f"{', '.join(parts)}; lower pot fixed, upper pot free"


HINGED = "lower pot fixed, upper pot guided and free to tilt forwards and backwards"


class LoadCases(Table):
    """What tables share that look at a segment under several loads; ``load_case`` is all of them, resolved."""

    load_cases: Names | None = Field(
        default=None, description="of a segment: postures and other loads by name, looked at"
    )
    load_case: dict[CaseName, LoadCase] | None = Field(
        default=None, description="load cases of one's own, and resolved"
    )

    @model_validator(mode="after")
    def _resolved(self) -> Self:
        own = self.load_case or {}
        named = {name: LoadCase(**named_case(name).values) for name in self.load_cases or () if name not in own}
        if named:
            object.__setattr__(self, "load_case", {**named, **own})
        return self


class Measure(LoadCases):
    """Table ``[test]``: how stiffness and strength are measured."""

    stiffness_low_n: Force = Field(default=100.0, ge=0, le=20_000, description="lower load of the secant stiffness")
    stiffness_high_n: Force = Field(default=600.0, ge=SMALLEST_FORCE_N, le=20_000, description="its upper load")
    strength_strain: Number = Field(default=0.04, ge=0.005, le=0.3, description="strength: maximum up to this strain")
    adjacent_n: Force | None = Field(
        default=None,
        ge=SMALLEST_FORCE_N,
        le=20_000,
        description="of a segment: load under which neighbours and discs are looked at; default 500",
    )
    strength: Annotated[bool, Strict()] | None = Field(
        default=None, description="whether strength is measured, intact and treated; default only of a single level"
    )
    path: LoadPath | None = Field(default=None, description=PATH)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stiffness_low_n >= self.stiffness_high_n:
            raise ValueError(
                f"stiffness_low_n = {self.stiffness_low_n:g} N must lie below "
                f"stiffness_high_n = {self.stiffness_high_n:g} N"
            )
        return self


class Mesh(Table):
    """The mesh's one knob."""

    element_size_mm: Number = Field(default=2.0, ge=0.5, le=6, description="edge of a trabecular element")


class Solver(Table):
    """Tolerances and limits of the equilibrium search."""

    threads: Count = Field(default=0, ge=0, le=1024, description="compute threads; 0 = all that the machine has")
    residual_tolerance: Number = Field(
        default=1e-4, ge=1e-12, le=1e-2, description="out-of-balance force over the applied load"
    )
    residual_floor_n: Number = Field(default=1e-3, ge=1e-9, le=10, description="tolerance near zero load")
    max_iterations: Count = Field(default=25, ge=3, le=500, description="Newton iterations of one step")
    initial_step: Number = Field(default=0.1, gt=0, le=1, description="first load step, share of a stage")
    min_step: Number = Field(default=1e-4, ge=1e-9, le=0.5, description="smallest load step, share of a stage")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_step > self.initial_step:
            raise ValueError(f"min_step = {self.min_step:g} exceeds initial_step = {self.initial_step:g}")
        return self


class Output(Table):
    """What is written, and where."""

    directory: str | None = Field(default=None, description="results folder; default runs/<study>-<n>")
    fields: Annotated[bool, Strict()] = Field(default=True, description="write fields_####.vtu after each stage")
    pictures: Annotated[bool, Strict()] = Field(default=True, description="write pictures and the report")
