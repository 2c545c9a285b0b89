"""The explicit, ordered list of stages behind a study: what is done to the specimen, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, groupby
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from kyphos.experiments.tables import (
    ADJACENT_N,
    PATH,
    SMALLEST_FORCE_N,
    STOP,
    Cement,
    Count,
    CouponTest,
    Cycling,
    Device,
    Event,
    Filling,
    Force,
    Fracture,
    Interface,
    LoadCases,
    LoadPath,
    Measure,
    Method,
    Needles,
    Neighbours,
    Number,
    Procedure,
    Shape,
    Table,
    TreatEvent,
    Viscosity,
    check_pressure,
    pressure_of_device,
)

Outcome = Literal["heights", "wall", "tilt", "stiffness", "steepest", "strength", "pressure", "adjacent"]
Outcomes = Annotated[tuple[Outcome, ...], Strict(False)]
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"


class NamedStage(Table):
    """What all stages share: a name.

    It is the word that the outcomes carry: stage ``treated`` records ``height_treated_anterior_mm``.
    """

    name: str = Field(default="", pattern=NAME_PATTERN, max_length=40, description="unique; default: the kind")

    @model_validator(mode="before")
    @classmethod
    def _name_after_kind(cls, raw: object) -> object:
        if isinstance(raw, dict) and "name" not in raw:
            return {**raw, "name": cls.model_fields["kind"].default}
        return raw


class StageTable(NamedStage):
    """What all stages of a meshed body share: whom they act on, a line of load, the outcomes recorded at the end."""

    level: str | None = Field(
        default=None, description="of a segment: whom it is done to and measured on; default: the treated level"
    )
    offset_anterior_mm: Number = Field(default=0.0, ge=-30, le=30, description="load line in front of the centre")
    tilt_deg: Number | None = Field(
        default=None, ge=-20, le=20, description="forward inclination of the upper pot, kept; default: free to tilt"
    )
    record: Outcomes = Field(default=(), description="outcomes recorded at the end")


class SteadyStage(StageTable):
    """A stage that ends at one force, reached or kept for some time."""

    force_n: Force = Field(default=0.0, ge=0, le=20_000, description="axial compression at the end of the stage")
    duration_s: Number = Field(default=0.0, ge=0, le=1e7, description="time under load; 0 = too short to creep")


class OnPath(StageTable):
    """A stage whose force may follow the curve of a segment."""

    path: LoadPath | None = Field(default=None, description=PATH)

    @model_validator(mode="after")
    def _follower_is_a_force(self) -> Self:
        if self.path == "follower" and getattr(self, "control", "force") != "force":
            raise ValueError('path = "follower" needs control = "force": a cable has a tension, and no way to go')
        return self


class LoadStage(OnPath):
    """Load to a force, or to a platen displacement, and stay there."""

    kind: Literal["load"] = "load"
    control: Literal["force", "displacement"] = Field(default="force", description="what is prescribed")
    force_n: Force | None = Field(default=None, ge=0, le=20_000, description="axial compression, under force control")
    displacement_mm: Number | None = Field(default=None, ge=-20, le=20, description="platen approach, compression +")
    duration_s: Number = Field(default=0.0, ge=0, le=1e7, description="time under load; 0 = too short to creep")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.control == "force") != (self.force_n is not None):
            raise ValueError('force_n is needed with control = "force", and only then')
        if (self.control == "displacement") != (self.displacement_mm is not None):
            raise ValueError('displacement_mm is needed with control = "displacement", and only then')
        return self


class HoldStage(OnPath):
    """Wait at constant force (creep), or at constant platen position (relaxation)."""

    kind: Literal["hold"] = "hold"
    control: Literal["force", "displacement"] = Field(default="force", description="what is held constant")
    force_n: Force | None = Field(default=None, ge=0, le=20_000, description="axial compression, under force control")
    duration_s: Number = Field(default=900.0, gt=0, le=1e7, description="time held")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.control == "force") != (self.force_n is not None):
            raise ValueError('force_n is needed with control = "force", and only then')
        return self


class UnloadStage(SteadyStage):
    """Unload to ``force_n`` (the preload, or zero)."""

    kind: Literal["unload"] = "unload"
    control: Literal["force"] = Field(default="force", description="what is prescribed")


class FractureStage(StageTable):
    """Crush under displacement control until the anterior height has shrunk by the named share."""

    kind: Literal["fracture"] = "fracture"
    control: Literal["displacement"] = Field(default="displacement", description="what is prescribed")
    anterior_height_loss: Number = Field(default=0.25, ge=0.02, le=0.6, description="share of intact anterior height")
    offset_anterior_mm: Number = Field(default=10.0, ge=-30, le=30, description="load line in front of the centre")
    duration_s: Number = Field(default=0.0, ge=0, le=1e7, description="time under load; 0 = too short to creep")
    neighbours: Neighbours | None = Field(
        default=None,
        description="of a segment: whether their bone is spared until unloaded (default), or may crush too",
    )


class PostureStage(SteadyStage):
    """Lie down: another load than that of standing, none, or traction; a mobile fracture opens by itself."""

    kind: Literal["posture"] = "posture"
    control: Literal["force"] = Field(default="force", description="what is prescribed")
    force_n: Force = Field(default=0.0, ge=-500, le=3000, description="axial compression meanwhile; traction is < 0")
    record: Outcomes = Field(default=("heights",), description="outcomes recorded at the end")


class ReduceStage(SteadyStage, Needles):
    """Inflate balloons at constant force until the volume or the pressure limit is reached."""

    kind: Literal["reduce"] = "reduce"
    control: Literal["force"] = Field(default="force", description="what is prescribed")
    force_n: Force = Field(default=100.0, ge=-500, le=20_000, description="axial compression meanwhile")
    device: Device = Field(default="balloon", description="what is inflated")
    balloon_volume_ml: Number = Field(default=4.0, ge=0.1, le=10, description="target volume of each balloon")
    balloon_pressure_limit_mpa: Number = Field(
        default=2.0, ge=0.05, le=5, description="inflation stops here; default by device"
    )
    stop_when_restored: bool = Field(default=True, description="or where the anterior height is the intact one again")
    record: Outcomes = Field(default=("heights", "pressure"), description="outcomes recorded at the end")

    _pressure = model_validator(mode="before")(pressure_of_device)

    @model_validator(mode="after")
    def _within_ratings(self) -> Self:
        check_pressure(self.device, self.balloon_pressure_limit_mpa)
        return self


class DeflateStage(SteadyStage):
    """Remove the balloons at constant force: an empty cavity is left, or one in a cage of metal."""

    kind: Literal["deflate"] = "deflate"
    control: Literal["force"] = Field(default="force", description="what is prescribed")
    force_n: Force = Field(default=100.0, ge=-500, le=20_000, description="axial compression meanwhile")
    device: Device = Field(default="balloon", description="what was inflated; an expander stays")
    record: Outcomes = Field(default=("heights",), description="outcomes recorded at the end")


class CementStage(SteadyStage, Needles, Filling):
    """Let cement enter stress-free in the current configuration, at constant force."""

    kind: Literal["cement"] = "cement"
    control: Literal["force"] = Field(default="force", description="what is prescribed")
    force_n: Force = Field(default=100.0, ge=-500, le=20_000, description="axial compression meanwhile")
    card: str = Field(default="pmma", min_length=1, description="material card of the cement")
    volume_ml: Number = Field(default=6.0, ge=0.1, le=30, description="injected volume")
    shape: Shape = Field(default="bolus", description="where it goes, see [cement]")
    interface: Interface = Field(default="bonded", description="to bone: tied for good, or it may let go")

    @model_validator(mode="after")
    def _fill_viscosity(self) -> Self:
        if self.viscosity is None:
            object.__setattr__(self, "viscosity", default_viscosity(self.shape))
        return self


class CycleStage(OnPath):
    """Load cycles between two forces, ending at the valley."""

    kind: Literal["cycle"] = "cycle"
    control: Literal["force"] = Field(default="force", description="what is prescribed")
    count: Count = Field(default=500, ge=1, le=100_000_000, description="load cycles")
    min_n: Force = Field(default=100.0, ge=0, le=20_000, description="valley of the cycle, compression")
    max_n: Force = Field(default=600.0, ge=SMALLEST_FORCE_N, le=20_000, description="peak of the cycle, compression")
    frequency_hz: Number = Field(default=1.0, ge=0.001, le=50, description="cycles per second")
    method: Method = Field(default="jump", description="cycle jump, or every cycle solved")
    dwell_fraction: Number = Field(default=0.5, gt=0, le=1, description="share of a period at peak load, for creep")
    jump_tolerance: Number = Field(
        default=0.006, ge=1e-6, le=0.2, description="error of a jump's growth of displacement, over all growth so far"
    )
    stop_at_fracture: Annotated[bool, Strict()] = Field(default=False, description=STOP)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_n >= self.max_n:
            raise ValueError(f"min_n = {self.min_n:g} N must lie below max_n = {self.max_n:g} N")
        return self

    @property
    def force_n(self) -> float:
        """Axial compression at the end of the stage: the valley, N."""
        return self.min_n

    @property
    def duration_s(self) -> float:
        """Time that the cycles take, s."""
        return self.count / self.frequency_hz


class MeasureStage(SteadyStage, OnPath, LoadCases):
    """Measure heights at ``force_n`` and stiffness; the rest is measured on copies, so nothing is harmed.

    ``steepest`` is the largest slope on the way to the strength: where broken bone must first close, the straight part
    of the curve lies at no load that could be named.
    """

    kind: Literal["test"] = "test"
    control: Literal["force"] = Field(default="force", description="what is prescribed")
    force_n: Force = Field(default=100.0, ge=0, le=20_000, description="reference preload of the heights")
    stiffness_low_n: Force = Field(default=100.0, ge=0, le=20_000, description="lower load of the secant stiffness")
    stiffness_high_n: Force = Field(default=600.0, ge=SMALLEST_FORCE_N, le=20_000, description="its upper load")
    strength_strain: Number = Field(default=0.04, ge=0.005, le=0.3, description="strength: maximum up to this strain")
    adjacent_n: Force | None = Field(
        default=None,
        ge=SMALLEST_FORCE_N,
        le=20_000,
        description='load of record = ["adjacent"]: stress in the neighbours\' endplates, pressure in the discs',
    )
    record: Outcomes = Field(default=("heights", "stiffness"), description="outcomes recorded at the end")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stiffness_low_n >= self.stiffness_high_n:
            raise ValueError(
                f"stiffness_low_n = {self.stiffness_low_n:g} N must lie below "
                f"stiffness_high_n = {self.stiffness_high_n:g} N"
            )
        if ("adjacent" in self.record) != (self.adjacent_n is not None):
            raise ValueError('adjacent_n is needed where record has "adjacent", and only then')
        return self


class VoxelTable(NamedStage):
    """What tests on the voxels of a CT share: what bone and caps are made of."""

    bone: str = Field(default="ct-bone", min_length=1, description="material card of all bone, cortex too")
    caps: str = Field(default="pmma-cap", min_length=1, description="material card of the caps")


class StiffnessStage(VoxelTable):
    """Press the caps of a CT together, elastically: stiffness and energy density. The elements are the voxels."""

    kind: Literal["voxel_stiffness"] = "voxel_stiffness"
    displacement_mm: Number = Field(default=0.2, ge=0.001, le=5, description="approach of the caps' outer faces")


class StrengthStage(VoxelTable):
    """Crush a CT between its caps, from rest: load-displacement curve and strength. The elements are the voxels."""

    kind: Literal["voxel_strength"] = "voxel_strength"
    end_strain: Number = Field(
        default=0.009, ge=0.003, le=0.1, description="approach at the end, share of the body's height"
    )
    steps: Count = Field(default=6, ge=3, le=200, description="equal increments up to there")
    offset_strain: Number = Field(
        default=0.002, ge=0.0001, le=0.02, description="plastic strain that defines the strength"
    )


class _PressStage(NamedStage):
    """What tests up to a strain share."""

    end_strain: Number = Field(default=0.03, ge=1e-4, le=0.5, description="platen displacement over length, at the end")
    steps: Count = Field(
        default=60, ge=2, le=1000, description="increments up to there; the first ones are shorter, for the modulus"
    )
    offset_strain: Number = Field(default=0.002, ge=1e-4, le=0.02, description="defines the offset strength")
    speed_mm_per_min: Number = Field(default=0.0, ge=0, le=1000, description="of the platen; 0 = too fast to creep")


class CompressionStage(_PressStage):
    """Press a coupon at constant platen speed: modulus, strength, Poisson's ratio, work."""

    kind: Literal["coupon_compression"] = "coupon_compression"


class TensionStage(_PressStage):
    """Pull a coupon at constant speed of the grip."""

    kind: Literal["coupon_tension"] = "coupon_tension"


class BendStage(NamedStage):
    """Bend a bar on four rollers (ISO 5833): bending modulus and strength."""

    kind: Literal["coupon_bend"] = "coupon_bend"
    support_span_mm: Number = Field(default=60.0, ge=5, le=250, description="between the outer rollers")
    load_span_mm: Number = Field(default=20.0, ge=1, le=200, description="between the inner rollers")
    deflection_mm: Number = Field(default=3.0, ge=0.001, le=30, description="of the inner rollers, at the end")
    steps: Count = Field(
        default=40, ge=2, le=1000, description="increments up to there; the first ones are shorter, for the modulus"
    )
    speed_mm_per_min: Number = Field(
        default=0.0, ge=0, le=1000, description="of the inner rollers; 0 = too fast to creep"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.load_span_mm >= self.support_span_mm:
            raise ValueError(
                f"load_span_mm = {self.load_span_mm:g} must lie below support_span_mm = {self.support_span_mm:g}"
            )
        return self


class CreepStage(NamedStage):
    """Load a coupon at once, hold the force, unload at once, wait."""

    kind: Literal["coupon_creep"] = "coupon_creep"
    stress_mpa: Number = Field(default=0.5, gt=0, le=1000, description="compression, over the first section")
    hold_s: Number = Field(default=3600.0, gt=0, le=1e7, description="time under load")
    recovery_s: Number = Field(default=0.0, ge=0, le=1e8, description="time unloaded; 0 = the test ends under load")


class FatigueStage(NamedStage):
    """Load cycles until a coupon breaks, or until the run-out."""

    kind: Literal["coupon_fatigue"] = "coupon_fatigue"
    peak_mpa: Number = Field(
        default=15.0, gt=0, le=1000, description="largest stress of the cycle, over the first section"
    )
    load_ratio: Number = Field(default=-1.0, ge=-1, le=0.95, description="valley over peak; -1 = fully reversed")
    direction: Literal["tension", "compression"] = Field(default="tension", description="of the peak")
    run_out: Count = Field(
        default=5_000_000, ge=1, le=1_000_000_000, description="load cycles after which it has survived"
    )
    frequency_hz: Number = Field(default=2.0, ge=0.001, le=200, description="cycles per second")
    dwell_fraction: Number = Field(default=0.5, gt=0, le=1, description="share of a period at peak load, for creep")
    jump_tolerance: Number = Field(
        default=0.01, ge=1e-6, le=0.2, description="error of a jump's growth of displacement, over all growth so far"
    )


CouponStage = CompressionStage | TensionStage | BendStage | CreepStage | FatigueStage
VoxelStage = StiffnessStage | StrengthStage
Stage = (
    LoadStage
    | HoldStage
    | UnloadStage
    | FractureStage
    | PostureStage
    | ReduceStage
    | DeflateStage
    | CementStage
    | CycleStage
    | MeasureStage
)
AnyStage = Stage | VoxelStage | CouponStage
KINDS: dict[str, type[NamedStage]] = {
    "load": LoadStage,
    "hold": HoldStage,
    "unload": UnloadStage,
    "fracture": FractureStage,
    "posture": PostureStage,
    "reduce": ReduceStage,
    "deflate": DeflateStage,
    "cement": CementStage,
    "cycle": CycleStage,
    "test": MeasureStage,
    "voxel_stiffness": StiffnessStage,
    "voxel_strength": StrengthStage,
    "coupon_compression": CompressionStage,
    "coupon_tension": TensionStage,
    "coupon_bend": BendStage,
    "coupon_creep": CreepStage,
    "coupon_fatigue": FatigueStage,
}
VOXEL_KINDS = ("voxel_stiffness", "voxel_strength")
"""Stages whose elements are the voxels of a CT."""
COUPON_STAGES: dict[CouponTest, type[CouponStage]] = {
    "compression": CompressionStage,
    "tension": TensionStage,
    "bend": BendStage,
    "creep": CreepStage,
    "fatigue": FatigueStage,
}
"""What ``[coupon] test`` stands for. All stages but these and those on voxels act on a meshed body."""
COUPON_KINDS = tuple(f"coupon_{test}" for test in COUPON_STAGES)


Phase = Event | Fracture | Cycling


def expand(
    fracture: Fracture,
    procedure: Procedure,
    cement: Cement | None,
    cycling: tuple[Cycling, ...],
    test: Measure,
    segment: bool = False,
) -> tuple[Stage, ...]:
    """Return the stages that the shorthand tables stand for, in order.

    Blocks of no cycles and holds of no duration are left out; so is the last test when nothing was cycled.
    ``cement`` is ignored, and may be None, when the procedure's kind is ``none``. See `timeline` for ``segment``.
    """
    phases: list[Phase] = [fracture]
    if procedure.kind != "none":
        phases.append(TreatEvent(procedure=procedure, cement=cement or Cement()))
    return timeline([*phases, *cycling], procedure.preload_n, test, segment)


def timeline(
    phases: Sequence[Phase], preload_n: float, test: Measure, segment: bool = False, treated: str = ""
) -> tuple[Stage, ...]:
    """Return the stages of any order of fractures, treatments and blocks of cycles.

    The untouched specimen is tested first, then it is after each fracture and treatment and after the last of blocks
    in a row, all under ``preload_n``. Stages of the second fracture, treatment or row of blocks have the names of the
    first with ``_2`` behind them, and so on; blocks are numbered through. Tests of a ``segment`` look at its
    neighbours, and leave out strength unless it is asked for: on a segment that takes long. What happens to another
    level than the ``treated`` one has that level behind its names, as in ``fracture_l2``; it counts anew there.
    """
    stages: list[Stage] = [_test("intact", preload_n, test, segment, strength=True)]
    others = dict.fromkeys(level for phase in phases if (level := _other_level(phase, treated)))
    stages += [_at(MeasureStage(name="intact", force_n=preload_n, record=("heights",)), level) for level in others]
    times: Counter[tuple[str, str | None]] = Counter()
    for done, state, level in _parts(phases, preload_n, treated):
        times[state, level] += 1
        number = times[state, level]
        after = _test(state, preload_n, test, segment, strength=state == "treated")
        if state == "cycled":
            stages += [stage.model_copy(update={"level": level}) for stage in done]
        else:
            stages += [_at(stage, level, number) for stage in done]
        stages.append(_at(after, level, number))
    return tuple(stages)


def _parts(phases: Iterable[Phase], preload_n: float, treated: str) -> Iterator[tuple[list[Stage], str, str | None]]:
    """Stages of each phase (of blocks in a row together), the name of the state that they lead to, another level."""
    numbers = count(1)
    for (cycling, level), group in groupby(phases, lambda one: (isinstance(one, Cycling), _other_level(one, treated))):
        if cycling:
            numbered = [(next(numbers), block) for block in group if isinstance(block, Cycling)]
            blocks: list[Stage] = [_cycle(number, block) for number, block in numbered if block.count]
            yield from [(blocks, "cycled", level)] if blocks else []
            continue
        for phase in group:
            if isinstance(phase, TreatEvent):
                yield list(_treatment_stages(phase.procedure, phase.cement)), "treated", level
            elif isinstance(phase, Fracture):
                yield list(_fracture_stages(phase, preload_n)), "fractured", level


def _other_level(phase: Phase, treated: str) -> str | None:
    """The level that an event happens to, if that is not the treated one."""
    level = getattr(phase, "level", "")
    return level if level not in ("", treated) else None


def _at(stage: Stage, level: str | None, number: int = 1) -> Stage:
    """The stage at a level, under a name that tells other levels and the second, third, ... time from the first."""
    name = stage.name + level_suffix(level) + (f"_{number}" if number > 1 else "")
    return stage.model_copy(update={"name": name, "level": level})


def level_suffix(level: str | None) -> str:
    """What is behind the names of stages and outcomes of another level than the treated one."""
    return f"_{level.lower()}" if level else ""


def default_shape(kind: str, file: str | None = None) -> Shape:
    """Return where cement goes when a study does not say: as drawn, or into the cavity, if there is one."""
    if file is not None:
        return "file"
    return "bolus" if kind == "kyphoplasty" else "interdigitated"


def default_viscosity(shape: Shape) -> Viscosity:
    """Return how thick cement is when a study does not say: thin, where it is to spread between the trabeculae."""
    return "low" if shape == "interdigitated" else "high"


def _test(name: str, preload_n: float, test: Measure, segment: bool, strength: bool = False) -> MeasureStage:
    record: tuple[Outcome, ...] = ("heights", "stiffness")
    told = test.model_dump(exclude={"strength"})
    if strength and (test.strength if test.strength is not None else not segment):
        record += ("strength",)
    if segment or test.adjacent_n is not None:
        record += ("adjacent",)
        told["adjacent_n"] = test.adjacent_n or ADJACENT_N
    return MeasureStage(name=name, force_n=preload_n, record=record, **told)


def _fracture_stages(fracture: Fracture, preload_n: float) -> Iterator[Stage]:
    offset_mm = fracture.offset_anterior_mm
    yield FractureStage(
        name="fracture",
        offset_anterior_mm=offset_mm,
        anterior_height_loss=fracture.anterior_height_loss,
        neighbours=fracture.neighbours,
    )
    if fracture.hold_s > 0.0:
        yield HoldStage(name="hold", control="displacement", offset_anterior_mm=offset_mm, duration_s=fracture.hold_s)
    yield UnloadStage(name="unload", force_n=preload_n, offset_anterior_mm=offset_mm, duration_s=fracture.recovery_s)


def _treatment_stages(procedure: Procedure, cement: Cement) -> Iterator[Stage]:
    force_n = procedure.preload_n
    if procedure.posture_n is not None:
        force_n = procedure.posture_n
        yield PostureStage(name="prone", force_n=force_n)
    if procedure.kind == "kyphoplasty":
        yield ReduceStage(
            name="reduced",
            force_n=force_n,
            **procedure.needles(),
            device=procedure.device,
            balloon_volume_ml=procedure.balloon_volume_ml,
            balloon_pressure_limit_mpa=procedure.balloon_pressure_limit_mpa,
            stop_when_restored=procedure.stop_when_restored,
        )
        if procedure.deflate:
            yield DeflateStage(name="deflated", force_n=force_n, device=procedure.device)
    yield CementStage(
        name="cement",
        force_n=force_n,
        card=cement.card,
        volume_ml=cement.volume_ml,
        shape=cement.shape or default_shape(procedure.kind, cement.file),
        viscosity=cement.viscosity,
        leak=cement.leak,
        file=cement.file,
        **procedure.needles(),
        interface=cement.interface,
    )


def _cycle(number: int, block: Cycling) -> CycleStage:
    return CycleStage(name=f"cycle_{number}", **block.model_dump(include=set(Cycling.model_fields) - {"protocol"}))


def check_balloons(stages: Iterable[Stage]) -> None:
    """Refuse (ValueError) to deflate balloons that are not in, and more balloons where some are still in.

    Cement takes the place of balloons that were not deflated.
    """
    inside = ""
    for stage in stages:
        where = f"stage {stage.name!r}"
        if stage.kind == "deflate" and not inside:
            raise ValueError(f"{where}: there are no balloons to deflate; put a stage of kind 'reduce' before it")
        if stage.kind == "reduce" and inside:
            raise ValueError(
                f"{where}: the balloons of stage {inside!r} are still in; put a stage of kind 'deflate' between the two"
            )
        if stage.kind in ("reduce", "deflate", "cement"):
            inside = stage.name if stage.kind == "reduce" else ""


def check_segment_keys(stages: Iterable[Stage], levels: Sequence[str]) -> None:
    """Refuse (ValueError) what a vertebra alone has not, what of a segment is not measured, and other levels."""
    segment = len(levels) > 1
    for stage in stages:
        where = f"stage {stage.name!r}"
        if stage.level is not None and stage.level not in levels:
            raise ValueError(f"{where}: level = {stage.level!r} is not in levels; allowed: {', '.join(levels)}")
        if segment and "steepest" in stage.record:
            raise ValueError(f'{where}: record = ["steepest"] is for a single level; discs bend the curve of a segment')
        if stage.tilt_deg is not None and getattr(stage, "load_case", None):
            raise ValueError(f"{where}: load cases hold the upper pot in ways of their own; remove tilt_deg")
        if segment:
            continue
        if getattr(stage, "path", None) == "follower":
            raise ValueError(f'{where}: path = "follower" needs a segment; give levels, or remove path')
        if "adjacent" in stage.record or getattr(stage, "adjacent_n", None) is not None:
            raise ValueError(f"{where}: a vertebra alone has no neighbours; remove adjacent_n, or give more levels")
        if getattr(stage, "load_case", None):
            raise ValueError(f"{where}: load cases need a segment; remove load_cases, or give more levels")
        if getattr(stage, "neighbours", None) is not None:
            raise ValueError(f"{where}: a vertebra alone has no neighbours; remove the key neighbours")
        if getattr(stage, "stop_at_fracture", False):
            raise ValueError(
                f"{where}: a vertebra alone has no neighbours; remove stop_at_fracture, or give more levels"
            )
