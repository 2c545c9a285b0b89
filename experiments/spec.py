"""The study: what is asked of the bench, read from TOML and resolved to the last number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, Strict, ValidationError, model_validator

from kyphos.errors import MaterialError, StudyError
from kyphos.experiments import toml_text
from kyphos.experiments.events import check_events, preload_of
from kyphos.experiments.explain import explain
from kyphos.experiments.plan import (
    COUPON_KINDS,
    COUPON_STAGES,
    VOXEL_KINDS,
    AnyStage,
    BendStage,
    CementStage,
    CouponStage,
    Stage,
    VoxelStage,
    check_balloons,
    check_segment_keys,
    default_shape,
    default_viscosity,
    expand,
    timeline,
)
from kyphos.experiments.tables import (
    CARD_REGIONS,
    Cement,
    Coupon,
    Cycling,
    Event,
    Fracture,
    Measure,
    Mesh,
    Number,
    Output,
    Procedure,
    Solver,
    Specimen,
    Table,
    TreatEvent,
)

DEFAULT_STUDY = "kyphoplasty-pmma"
SHORTHAND = ("fracture", "procedure", "cement", "cycling", "test")

_PROTOCOLS = files("kyphos.experiments") / "protocols"

TaggedEvent = Annotated[Event, Field(discriminator="kind")]
TaggedStage = Annotated[AnyStage, Field(discriminator="kind")]


class StudySpec(Table):
    """A whole study, resolved: ``stage`` is always the full, ordered list of what is done.

    The tables ``fracture``, ``procedure``, ``cement``, ``cycling`` and ``test`` are shorthand for that list, and so is
    a list of ``event`` in place of the first four.
    A study that lists its stages itself has none of them (they are None here); one that gives both, as
    ``case.toml`` does, must say the same thing twice. Stages of the kinds ``voxel_...`` stand by themselves. With a
    ``coupon`` in place of the specimen all stages are of the kinds ``coupon_...``; ``coupon.test`` is short for one.
    """

    name: str = Field(default="study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="default: the file's name")
    description: str = Field(default="", description="one line on what the study is for")
    specimen: Specimen = Field(default_factory=Specimen)
    coupon: Coupon | None = None
    fracture: Fracture | None = None
    procedure: Procedure | None = None
    cement: Cement | None = None
    cycling: Annotated[tuple[Cycling, ...], Strict(False)] | None = None
    event: Annotated[tuple[TaggedEvent, ...], Strict(False)] | None = None
    test: Measure | None = None
    mesh: Mesh = Field(default_factory=Mesh)
    solver: Solver = Field(default_factory=Solver)
    output: Output = Field(default_factory=Output)
    materials: dict[str, dict[str, Number]] | None = Field(
        default=None, description="constants that differ from a card's: [materials.CARD] NAME = VALUE"
    )
    stage: Annotated[tuple[TaggedStage, ...], Strict(False)] = ()

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        written = self.stage
        if self.coupon is not None:
            self._resolve_coupon(self.coupon)
            return self
        if self.on_voxels:
            _check_voxel_study(self)
            _check_names(written)
            return self
        if self.event is not None:
            self._resolve_events(self.event)
        elif not written or any(getattr(self, table) is not None for table in SHORTHAND):
            self._fill_shorthand()
        if not written:
            object.__setattr__(self, "stage", self._expanded())
        elif self.coupon_stages:
            raise ValueError(
                f"stage {self.coupon_stages[0].name!r} of kind {self.coupon_stages[0].kind!r} needs a [coupon] table"
            )
        elif self.procedure is not None or self.event is not None:
            _check_same(self.body_stages, self._expanded())
        _check_names(self.stage)
        check_segment_keys(self.body_stages, self.specimen.levels)
        check_balloons(self.body_stages)
        return self

    def _resolve_coupon(self, coupon: Coupon) -> None:
        """One stage for the test that is named, if none is listed."""
        if not self.stage:
            test = coupon.test or "compression"
            object.__setattr__(self, "coupon", coupon.model_copy(update={"test": test}))
            object.__setattr__(self, "stage", (COUPON_STAGES[test](name=test),))
        _check_coupon_study(self, coupon)
        _check_names(self.stage)

    @property
    def constants(self) -> dict[str, dict[str, float]]:
        """Card -> constant -> value, where it differs from the card's; for ``kyphos.materials.constants_set``."""
        return self.materials or {}

    @property
    def on_voxels(self) -> bool:
        """Whether the elements are the voxels of a CT, not those of a meshed body."""
        return any(stage.kind in VOXEL_KINDS for stage in self.stage)

    @property
    def voxel_stages(self) -> tuple[VoxelStage, ...]:
        """The stages that act on the voxels of a CT: all of them, or none."""
        return tuple(stage for stage in self.stage if isinstance(stage, VoxelStage))

    @property
    def coupon_stages(self) -> tuple[CouponStage, ...]:
        """The stages that act on a coupon: all of them, or none."""
        return tuple(stage for stage in self.stage if isinstance(stage, CouponStage))

    @property
    def body_stages(self) -> tuple[Stage, ...]:
        """The stages that act on a meshed body: all of them, or none."""
        return tuple(stage for stage in self.stage if isinstance(stage, Stage))

    def _fill_shorthand(self) -> None:
        """Give every shorthand table that is left out its defaults; no procedure, no cement."""
        procedure = self.procedure or Procedure()
        cement = self.cement or Cement()
        shaped = _shaped(cement, procedure)
        filled = {
            "fracture": self.fracture or Fracture(),
            "procedure": procedure,
            "cement": None if procedure.kind == "none" else shaped,
            "cycling": _blocks((Cycling(),) if self.cycling is None else self.cycling),
            "test": self.test or Measure(),
        }
        for table, value in filled.items():
            object.__setattr__(self, table, value)

    def _resolve_events(self, events: tuple[Event, ...]) -> None:
        """Give events their level, and protocols their blocks; only ``test`` of the other tables may stand beside."""
        others = [table for table in SHORTHAND[:-1] if getattr(self, table) is not None]
        if others:
            raise ValueError(f"[[event]] lists what [{others[0]}] is shorthand for; remove one of the two")
        placed = [_settled(event, self.specimen.treated) for event in events]
        check_events(placed, self.specimen.levels, self.specimen.treated)
        for table, value in (("event", _blocks(placed)), ("test", self.test or Measure())):
            object.__setattr__(self, table, value)

    def _expanded(self) -> tuple[Stage, ...]:
        if self.event is not None:
            one, test = self.specimen, self.test or Measure()
            return timeline(self.event, preload_of(self.event), test, one.is_segment, one.treated)
        tables = (self.fracture, self.procedure, self.cement, self.cycling, self.test)
        return expand(*tables, segment=self.specimen.is_segment)  # type: ignore[arg-type]  # filled just before


@dataclass(frozen=True)
class Asked:
    """A study as it is written: its tables, and from the path of a key to where that was."""

    tables: dict[str, object]
    place: toml_text.Place


def read_study(study: str | Path, overrides: Iterable[str] = ()) -> StudySpec:
    """Read a study file, or a built-in study by name, and resolve it.

    Parameters
    ----------
    study
        Path of a TOML file, or the name of a built-in (see ``list_protocols``).
    overrides
        ``a.b.0.c=VALUE`` settings, applied in order; list items by index, VALUE in TOML, a bare word is text.

    Returns
    -------
    The study with every default filled in, its stages listed, and its scan as an absolute path.

    Raises
    ------
    StudyError
        One message that lists every problem: what, where (``file:line``), allowed range, what to try.
    """
    asked = open_study(study, overrides)
    if "arms" in asked.tables:
        raise StudyError(
            f"{asked.place(('arms',))}: [arms] makes this a comparison of several studies, and one is needed here; "
            "run it with kyphos run, then take the case.toml of one of its arms"
        )
    return resolve(asked.tables, asked.place)


def open_study(study: str | Path, overrides: Iterable[str] = ()) -> Asked:
    """Read a study as it is written, with overrides; parameters and errors as for ``read_study``."""
    text, where, folder = _open(study)
    tables = toml_text.parse(text, where)
    lines = toml_text.key_lines(text)
    settings = {toml_text.override(tables, setting): setting for setting in overrides}
    tables.setdefault("name", _name_after(where))
    _absolute_paths(tables, folder, {path for path in settings if path[0] == "specimen"})
    _absolute_cement_files(tables, folder, set(settings))

    def place(path: toml_text.KeyPath) -> str:
        return _place(path, settings, lines, where)

    return Asked(tables, place)


def resolve(tables: Mapping[str, object], place: toml_text.Place) -> StudySpec:
    """Validate and complete one study; StudyError lists every problem, ``place`` says where a key was written."""
    try:
        spec = StudySpec.model_validate(tables)
    except ValidationError as error:
        raise StudyError(_together(explain(error, StudySpec, place))) from None
    _check_supported(spec, place)
    return spec


def to_toml(spec: StudySpec) -> str:
    """Return the fully resolved study as TOML; ``read_study`` of it gives an equal study."""
    tables = spec.model_dump(exclude={"specimen"} if spec.coupon else None)
    return toml_text.dump({**tables, "stage": [{"kind": stage["kind"], **stage} for stage in tables["stage"]]})


def study_hash(spec: StudySpec) -> str:
    """Return a SHA-256 over everything that can change a result (not names, output or thread count)."""
    tables = spec.model_dump(exclude={"name": True, "description": True, "output": True, "solver": {"threads"}})
    return hashlib.sha256(toml_text.dump(tables).encode()).hexdigest()


def list_protocols() -> dict[str, str]:
    """Return the built-in studies: name -> one-line description."""
    texts = {name: protocol_text(name) for name in _protocol_names()}
    return {name: str(toml_text.parse(text, name).get("description", "")) for name, text in texts.items()}


def protocol_text(name: str) -> str:
    """Return the TOML of a built-in study, comments and sources included; StudyError if there is none."""
    if name not in _protocol_names():
        raise StudyError(_no_study(name, _protocol_names()))
    return (_PROTOCOLS / f"{name}.toml").read_text(encoding="utf-8")


def _open(study: str | Path) -> tuple[str, str, Path]:
    """Return the text of a study, what to call it in messages, and the folder that its paths start from."""
    path = Path(study)
    if not path.is_file():
        name = str(study)
        if path.suffix == ".toml" or len(path.parts) > 1 or path.is_dir():
            reason = "is a folder; name the study file in it" if path.is_dir() else "no such study file"
            raise StudyError(f"{name}: {reason}, or one of the built-in studies: {', '.join(_protocol_names())}")
        return protocol_text(name), f"{name}.toml", Path.cwd()
    try:
        return path.read_text(encoding="utf-8"), str(path), path.resolve().parent
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _protocol_names() -> list[str]:
    found = (file.name for file in _PROTOCOLS.iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def _no_study(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{name!r} is neither a file nor a built-in study; {guess}Built-in: {', '.join(known)}"


def _name_after(where: str) -> str:
    """Return the file's name as a study name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(where).stem).strip("-.") or "study"


def _absolute_paths(tables: dict[str, object], folder: Path, typed: set[toml_text.KeyPath]) -> None:
    """Make the scan's paths absolute: those in a file start from the file, typed ones from where we are."""
    specimen = tables.get("specimen")
    if not isinstance(specimen, dict):
        return
    for key in ("scan", "labels", "hu_calibration", *CARD_REGIONS):
        value = specimen.get(key)
        if isinstance(value, str) and not value.startswith("sample:") and _is_path(key, value):
            start = Path.cwd() if ("specimen", key) in typed else folder
            specimen[key] = str((start / value).resolve())


def _absolute_cement_files(tables: dict[str, object], folder: Path, typed: set[toml_text.KeyPath]) -> None:
    """The same for drawn deposits: of cement, wherever a study or an arm of it has some, and of stages."""
    for path, table in _tables_in(tables):
        file = table.get("file") if path[-1:] == ("cement",) or path[-2:-1] == ("stage",) else None
        if isinstance(file, str):
            start = Path.cwd() if (*path, "file") in typed else folder
            table["file"] = str((start / file).resolve())


def _tables_in(value: object, path: toml_text.KeyPath = ()) -> Iterator[tuple[toml_text.KeyPath, dict[str, object]]]:
    """All tables inside nested plain data, with their paths."""
    if isinstance(value, dict):
        yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _tables_in(one, (*path, key))


def _is_path(key: str, value: str) -> bool:
    """Scan and labels are files; what names a card is one if it ends in .toml."""
    return key in ("scan", "labels") or value.endswith(".toml")


def _place(
    path: toml_text.KeyPath,
    settings: Mapping[toml_text.KeyPath, str],
    lines: Mapping[toml_text.KeyPath, int],
    where: str,
) -> str:
    """Return where a key was written: its override, or its line or that of the nearest table around it."""
    for depth in range(len(path), 0, -1):
        if path[:depth] in settings:
            return f"--set {settings[path[:depth]]}"
        if path[:depth] in lines:
            inside = [setting for at, setting in settings.items() if at[: len(path)] == path]
            return f"{where}:{lines[path[:depth]]}" + "".join(f" with --set {setting}" for setting in inside)
    return where


def _together(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} problems:", *problems])


def _shaped(cement: Cement, procedure: Procedure) -> Cement:
    """Cement with the shape and viscosity that it takes where a study does not say."""
    shape = cement.shape or default_shape(procedure.kind, cement.file)
    return cement.model_copy(update={"shape": shape, "viscosity": cement.viscosity or default_viscosity(shape)})


def _settled(event: Event, treated: str) -> Event:
    """An event with its level, and its cement's shape and viscosity."""
    told: dict[str, object] = {"level": event.level or treated}
    if isinstance(event, TreatEvent):
        told["cement"] = _shaped(event.cement, event.procedure)
    return event.model_copy(update=told)


def _blocks(phases: Iterable[Any]) -> tuple[Any, ...]:
    """Phases with every cyclic protocol written out."""
    return tuple(part for phase in phases for part in (phase.blocks if isinstance(phase, Cycling) else (phase,)))


def _check_voxel_study(spec: StudySpec) -> None:
    """A study on voxels has stages of no other kind, none of the tables that stand for them, and a scan."""
    kinds = ", ".join(VOXEL_KINDS)
    others = [stage for stage in spec.stage if stage.kind not in VOXEL_KINDS]
    if others:
        raise ValueError(
            f"stage {others[0].name!r} of kind {others[0].kind!r} acts on a meshed body, which stages of the kinds "
            f"{kinds} do without; make two studies of it"
        )
    tables = [table for table in SHORTHAND if getattr(spec, table) is not None]
    if tables:
        raise ValueError(
            f"[{tables[0]}] is for a meshed body; a study with stages of the kinds {kinds} has none of the tables "
            f"{', '.join(SHORTHAND)}; remove it"
        )
    cards = [key for key in CARD_REGIONS if getattr(spec.specimen, key) is not None]
    if cards:
        raise ValueError(
            f"specimen.{cards[0]} is for a meshed body; a stage of the kinds {kinds} has its own key, bone"
        )
    if spec.specimen.scan is None:
        raise ValueError(
            f"stages of the kinds {kinds} need a CT: name scan (and labels) in [specimen], "
            'as in scan = "sample:verse004_L2"'
        )
    if spec.specimen.is_segment:
        raise ValueError(
            f"stages of the kinds {kinds} test one vertebra; give that level alone, "
            f'as in levels = ["{spec.specimen.treated}"]'
        )


def _check_coupon_study(spec: StudySpec, coupon: Coupon) -> None:
    """A study of a coupon has stages of no other kind, and none of the tables of a specimen."""
    tables = [table for table in ("specimen", *SHORTHAND) if table in spec.model_fields_set]
    if tables and getattr(spec, tables[0]) is not None:
        raise ValueError(f"[{tables[0]}] is for a vertebra; a study with a [coupon] has none; remove one of the two")
    others = [stage for stage in spec.stage if stage.kind not in COUPON_KINDS]
    if others:
        raise ValueError(
            f"stage {others[0].name!r} of kind {others[0].kind!r} is not for a [coupon]; "
            f"allowed: {', '.join(COUPON_KINDS)}"
        )
    if coupon.test is not None and spec.stage[0].kind != f"coupon_{coupon.test}":
        raise ValueError(
            f"[coupon] test = {coupon.test!r} and the first [[stage]] of kind {spec.stage[0].kind!r} disagree; "
            "remove test, or the [[stage]] list"
        )
    for stage in spec.coupon_stages:
        if isinstance(stage, BendStage) != (coupon.shape == "bar"):
            raise ValueError(
                f"stage {stage.name!r}: a bar is bent (coupon_bend), all other shapes are pressed, pulled or cycled; "
                f"this is a {coupon.shape} under {stage.kind}"
            )
        if isinstance(stage, BendStage) and coupon.length_mm is not None and stage.support_span_mm >= coupon.length_mm:
            raise ValueError(
                f"stage {stage.name!r}: support_span_mm = {stage.support_span_mm:g} must lie below the bar's "
                f"length_mm = {coupon.length_mm:g}"
            )


def _check_names(stages: tuple[AnyStage, ...]) -> None:
    names = [stage.name for stage in stages]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two stages are named {twice!r}; give each [[stage]] a name of its own")


def _check_same(written: tuple[Stage, ...], expanded: tuple[Stage, ...]) -> None:
    """A study that gives both the shorthand tables and the stages must not contradict itself."""
    if written == expanded:
        return
    pairs = zip(written, expanded, strict=False)
    index = next((n for n, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(written), len(expanded)))
    raise ValueError(
        f"the [[stage]] list and the tables {', '.join(SHORTHAND)} disagree from stage {index} on "
        "(counted from 0); remove the [[stage]] list to let the tables speak, or remove those tables"
    )


def _check_supported(spec: StudySpec, place: toml_text.Place) -> None:
    """Refuse what the study file can already say but the bench cannot do yet; and scans that do not exist."""
    specimen = spec.specimen
    _check_constants(spec, place)
    for key in ("scan", "labels"):
        value = getattr(specimen, key)
        if value is not None and not value.startswith("sample:") and not Path(value).is_file():
            raise StudyError(f"{place(('specimen', key))}: {key}: no such file: {value}")
    for index, stage in enumerate(spec.stage):
        if isinstance(stage, CementStage) and stage.file is not None and not Path(stage.file).is_file():
            where = place(("cement", "file")) if spec.cement else place(("stage", index, "file"))
            raise StudyError(f"{where}: file: no such file: {stage.file}")
        if isinstance(stage, CementStage) and stage.file is not None and specimen.is_segment and specimen.scan:
            where = place(("cement", "file")) if spec.cement else place(("stage", index, "file"))
            raise StudyError(
                f"{where}: file: a deposit that was drawn in a scan needs the scan's own place; a segment turns its "
                "bodies. Use the treated level alone, or another shape of cement"
            )


def _check_constants(spec: StudySpec, place: toml_text.Place) -> None:
    """Refuse constants that no card has, or that lie outside a card's range."""
    if not spec.constants:
        return
    from kyphos import materials  # slow to import, and most studies change no constant

    for card, values in spec.constants.items():
        for name, value in values.items():
            try:
                with materials.constants_set({card: {name: value}}):
                    pass
            except MaterialError as error:
                raise StudyError(f"{place(('materials', card, name))}: {error}") from None
