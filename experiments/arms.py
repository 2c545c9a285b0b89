"""Several treatments of one fractured specimen: a study with ``[arms]``, and the studies that it stands for.

An arm is a study that differs from the others in what is done after the fracture. All stages that the arms have in
common from the first on are solved once (``arms_run``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kyphos.errors import StudyError
from kyphos.experiments import toml_text
from kyphos.experiments.plan import Stage
from kyphos.experiments.population import Individual, dimensions
from kyphos.experiments.spec import Asked, StudySpec, open_study, resolve
from kyphos.experiments.tables import Specimen

ARM_TABLES = ("fracture", "procedure", "cement", "cycling", "event", "test", "stage")
"""Tables that an arm may have. Keys of the first of them change those of the study; a list replaces the study's."""
SHARED = "shared"
RESERVED = (SHARED, "pictures", "specimens")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class ArmsStudy:
    """A comparison: the resolved study of each arm, in order; all on one specimen, mesh and solver."""

    name: str
    description: str
    arms: tuple[StudySpec, ...]

    @property
    def first(self) -> StudySpec:
        """The first arm: for what all arms have in common."""
        return self.arms[0]

    @property
    def shared(self) -> StudySpec:
        """The study of all stages that the arms have in common."""
        count = shared_count([arm.body_stages for arm in self.arms])
        told = _common(self.first) | {"name": SHARED, "stage": self.first.model_dump()["stage"][:count]}
        told["output"] = {**told["output"], "pictures": False}
        return StudySpec.model_validate(told)


def has_arms(study: str | Path, overrides: Iterable[str] = ()) -> bool:
    """Whether a study is a comparison; parameters and errors as for ``read_study``."""
    return "arms" in open_study(study, overrides).tables


def read_arms(study: str | Path, overrides: Iterable[str] = ()) -> ArmsStudy:
    """Read a comparison and resolve each of its arms; parameters as for ``read_study``.

    Raises
    ------
    StudyError
        One message: no or one arm, an arm's name or table, any problem of an arm's study, or arms that part before
        the fracture.
    """
    asked = open_study(study, overrides)
    tables = {key: value for key, value in asked.tables.items() if key != "arms"}
    arms = asked.tables.get("arms")
    if not isinstance(arms, dict) or len(arms) < 2:
        raise StudyError(f"{asked.place(('arms',))}: [arms] needs two or more tables, as [arms.untreated]")
    specs = tuple(_arm(name, arm, tables, asked) for name, arm in arms.items())
    found = ArmsStudy(str(tables["name"]), str(tables.get("description", "")), specs)
    _check_shared(found, asked)
    return found


def to_toml(study: ArmsStudy) -> str:
    """Return the comparison as TOML, every arm resolved; ``read_arms`` of it gives an equal one."""
    arms = {}
    for arm in study.arms:
        told = arm.model_dump()
        stages = [{"kind": stage["kind"], **stage} for stage in told["stage"]]
        arms[arm.name] = {"description": arm.description, **{key: told[key] for key in ARM_TABLES}, "stage": stages}
    head = {"name": study.name, "description": study.description}
    return toml_text.dump({**head, **_common(study.first), "arms": arms})


def shared_count(plans: Sequence[tuple[Stage, ...]]) -> int:
    """How many stages all plans have in common, from the first on."""
    same = [all(stage == group[0] for stage in group) for group in zip(*plans, strict=False)]
    return same.index(False) if False in same else len(same)


def on_specimen(study: ArmsStudy, individual: Individual) -> ArmsStudy:
    """The same comparison on another parametric specimen; nothing but numbers is kept of its runs.

    Raises
    ------
    StudyError
        The study's specimen is a scan, whose density and sizes cannot be varied.
    """
    old = study.first.specimen
    if old.scan is not None:
        raise StudyError(
            f"{study.name}: a population varies density and sizes, which a scan fixes; use a study without scan, "
            "such as four-arms"
        )
    given = old.dimensions.model_dump(exclude_none=True) if old.dimensions else {}
    sizes = dimensions(individual, given)
    told = old.model_dump() | {
        "vbmd_mg_per_cc": individual.vbmd_mg_per_cc,
        "seed": individual.seed,
        "dimensions": {**given, **{key: round(getattr(sizes, key), 3) for key in _SCALED}},
    }
    specimen = Specimen.model_validate({key: value for key, value in told.items() if value is not None})
    arms = tuple(arm.model_copy(update={"specimen": specimen, **_numbers_only(arm)}) for arm in study.arms)
    return replace(study, arms=arms)


_SCALED = (
    "superior_width_mm",
    "superior_depth_mm",
    "inferior_width_mm",
    "inferior_depth_mm",
    "anterior_height_mm",
    "posterior_height_mm",
)


def _numbers_only(arm: StudySpec) -> dict[str, Any]:
    return {"output": arm.output.model_copy(update={"fields": False, "pictures": False})}


def with_threads(study: ArmsStudy, threads: int) -> ArmsStudy:
    """The same comparison on so many threads; a study that fixes its threads stays as it is."""
    if study.first.solver.threads:
        return study
    solver = study.first.solver.model_copy(update={"threads": threads})
    return replace(study, arms=tuple(arm.model_copy(update={"solver": solver}) for arm in study.arms))


def _common(spec: StudySpec) -> dict[str, Any]:
    return spec.model_dump(include={"specimen", "mesh", "solver", "output", "materials"})


def _arm(name: str, arm: object, tables: Mapping[str, object], asked: Asked) -> StudySpec:
    """Resolve the study of one arm: that of all, with the arm's tables laid over it."""
    where = asked.place(("arms", name))
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise StudyError(
            f"{where}: {name!r} cannot name an arm; allowed: lower-case letters, digits and '-', at most 40, "
            f"and none of {', '.join(RESERVED)}"
        )
    if not isinstance(arm, dict):
        raise StudyError(f"{where}: [arms.{name}] must be a table, as [arms.{name}.procedure]")
    for key in arm:
        if key not in (*ARM_TABLES, "description"):
            close = get_close_matches(key, ARM_TABLES, n=1, cutoff=0.5)
            guess = f"did you mean {close[0]!r}? " if close else ""
            raise StudyError(
                f"{asked.place(('arms', name, key))}: [arms.{name}] unknown key {key!r}; {guess}An arm may have "
                f"description, {', '.join(ARM_TABLES)}; all else is the same for all arms"
            )
    merged = {**tables, **{key: _laid_over(tables.get(key), value) for key, value in arm.items()}, "name": name}

    def place(path: toml_text.KeyPath) -> str:
        inside: object = arm
        for key in path[:2]:
            inside = inside.get(key) if isinstance(inside, dict) else inside
        return asked.place(("arms", name, *path) if path and inside is not None else path)

    spec = resolve(merged, place)
    if not spec.body_stages:
        raise StudyError(f"{where}: arms compare treatments of a vertebral body, and this study has none")
    return spec


def _laid_over(below: object, above: object) -> object:
    return {**below, **above} if isinstance(below, dict) and isinstance(above, dict) else above


def _check_shared(study: ArmsStudy, asked: Asked) -> None:
    """All arms must start from one and the same specimen, fractured if it is fractured at all."""
    plans = [arm.body_stages for arm in study.arms]
    count = shared_count(plans)
    fracture = next((n for n, stage in enumerate(plans[0]) if stage.kind == "fracture"), 0)
    if count > fracture:
        return
    other = next(plan for plan in plans if plan[count : count + 1] != plans[0][count : count + 1])
    names = " and ".join(arm.name for arm in (study.arms[0], study.arms[plans.index(other)]))
    stage = plans[0][count].name
    raise StudyError(
        f"{asked.place(('arms',))}: the arms {names} part at stage {stage!r} already, before the specimen is "
        "fractured; what they differ in must come after the fracture (preload_n of [procedure] comes before it)"
    )
