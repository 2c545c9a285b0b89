"""What a run found, by its pinned names. Definitions: section 2 of ``docs/physics.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from kyphos import materials, meshes

from .bench import Bench
from .plan import Stage, level_suffix
from .store import Outcome
from .walk import Ended
from .wear import bone_damage, cement_load

PLACES = ("anterior", "middle", "posterior")
UNITS = {
    "_mm": "mm",
    "_n": "N",
    "_n_per_mm": "N/mm",
    "_mpa": "MPa",
    "_ml": "mL",
    "_j": "J",
    "_s": "s",
    "_mm2": "mm2",
    "_mm_per_ml": "mm/mL",
    "_deg": "deg",
}
TESTED = ("stiffness_n_per_mm", "steepest_n_per_mm", "strength_n", "segment_strength_n")
FELT = ("adjacent_", "disc_", "load_", "kyphosis")
"""How the names of what a treatment does to the rest of a segment begin."""
SUMMED = ("cycles", "equilibria")
SMALLEST_BASE_MM = 0.01  # a share of less than this says nothing
NUMBERED = ("fracture", "unload", "posture", "reduce", "deflate", "cement")
"""Kinds of stage whose outcomes do not carry the stage's name, but its number if it is not the first."""

LEVEL = r"(?:_[tl]\d+)?"
"""Matches what ``plan.level_suffix`` puts behind names."""

Outcomes = dict[str, Outcome]


def after_stage(before: Outcomes, stage: Stage, ended: Ended, started: Bench) -> Outcomes:
    """All outcomes once ``stage`` is over.

    Heights and test results carry the stage's name; ``started`` is the bench before the stage.
    """
    results, again = dict(before), _number(stage)
    heights = ended.bench.heights_mm()
    if "heights" in stage.record:
        for place in PLACES:
            results[f"height_{stage.name}_{place}_mm"] = Outcome(heights[place], "mm")
    if "wall" in stage.record:
        walls = ended.bench.wall_heights_mm()
        results |= {f"wall_{stage.name}_{place}_mm": Outcome(walls[place], "mm") for place in PLACES}
    if "tilt" in stage.record:
        results[f"tilt_{stage.name}_deg"] = Outcome(ended.bench.tilt_deg, "deg")
    for name, value in ended.outcomes.items():
        if name in TESTED:
            results[_in_state(name, stage.name)] = _outcome(name, value)
        elif name.startswith(FELT):
            results |= felt_after(results, name, value, stage.name)
        elif name in SUMMED and name in results:
            results[name] = Outcome(results[name].value + value, "1")
        else:
            results[_numbered(name, again)] = _outcome(name, value)
    if stage.kind == "unload":
        results |= {_numbered(name, again): share for name, share in _recoil(ended.bench, started).items()}
    if stage.kind == "test":
        results[f"bone_damage_{stage.name}_ml"] = Outcome(bone_damage(ended.bench), "mL")
    if ended.peak is not None:
        level = level_suffix(stage.level)
        results |= {_numbered(name, level): _outcome(name, value) for name, value in cement_load(ended.peak).items()}
    return results | _debonded(ended.bench) | _shares(results)


def felt_after(before: Outcomes, name: str, value: float, state: str) -> Outcomes:
    """One quantity of a neighbour in a state: its value, its change, and both again without the state, as the latest.

    The change is relative (volumes and angles have none): to the last fractured state, if that came before, else to the
    first state of all.
    """
    found = {_in_state(name, state): _outcome(name, value), name: _outcome(name, value)}
    states = [match[1] for known in before if (match := re.fullmatch(_pattern(name), known))]
    fractured = [known for known in states if re.fullmatch(rf"fractured{LEVEL}(_\d+)?", known)]
    base = fractured[-1:] or states[:1]
    if base and not name.endswith(("_ml", "_deg")) and abs(reference := before[_in_state(name, base[0])].value) > 0.0:
        bare, change = _bare(name), Outcome(value / reference - 1.0, "1")
        found |= {f"{bare}_{state}_change": change, f"{bare}_change": change}
    return found


def _bare(name: str) -> str:
    return name.removesuffix(_ending(name))


def _in_state(name: str, state: str) -> str:
    """``disc_T12_L1_pressure_mpa`` and ``treated`` -> ``disc_T12_L1_pressure_treated_mpa``."""
    return f"{_bare(name)}_{state}{_ending(name)}"


def _pattern(name: str) -> str:
    return rf"{re.escape(_bare(name))}_([a-z][a-z0-9_]*){re.escape(_ending(name))}"


def _ending(name: str) -> str:
    return max((end for end in UNITS if name.endswith(end)), key=len, default="")


def _number(stage: Stage) -> str:
    """``_2`` for the stage ``reduced_2``, ``_l2_2`` for ``reduced_l2_2``; nothing where the name is told anyway."""
    if stage.kind not in NUMBERED:
        return ""
    found = re.search(r"_\d+$", stage.name)
    return level_suffix(stage.level) + (found[0] if found else "")


def _numbered(name: str, number: str) -> str:
    """``balloon_peak_pressure_mpa`` and ``_2`` -> ``balloon_peak_pressure_2_mpa``."""
    endings = [end for end in (*UNITS, *(f"_{place}" for place in PLACES)) if name.endswith(end)]
    ending = max(endings, key=len, default="")
    return f"{name.removesuffix(ending)}{number}{ending}"


def _outcome(name: str, value: float) -> Outcome:
    unit = next((unit for ending, unit in reversed(UNITS.items()) if name.endswith(ending)), "1")
    return Outcome(value, unit)


def _recoil(bench: Bench, started: Bench) -> Outcomes:
    """Share of the imposed deformation that comes back on unloading."""
    results: Outcomes = {}
    now, crushed = bench.heights_mm(), started.heights_mm()
    for place in PLACES:
        intact = meshes.gauge_height_mm(bench.body.gauges[place], bench.mesh.points_mm)
        if crushed[place] < intact:
            share = (now[place] - crushed[place]) / (intact - crushed[place])
            results[f"recoil_{place}"] = Outcome(share, "1")
    return results


def _debonded(bench: Bench) -> Outcomes:
    """Share of the area between cement and bone that has come apart; nothing where it cannot."""
    for law, cells, parameters in bench.field.blocks:
        if law is materials.BONDED_INTERFACE:
            volume = bench.structure.mesh.weight[cells]
            length = parameters[:, [p.name for p in law.parameters].index(materials.ELEMENT_LENGTH), None]
            apart = bench.field.state_field(bench.state.history, "debonding")[cells]
            share = np.average(apart, weights=volume / length)
            return {"interface_debonded_share": Outcome(float(share), "1")}
    return {}


def _shares(results: Outcomes) -> Outcomes:
    """Mobility, restoration, deflation loss, retention and loss of every treatment, wherever the heights are known."""
    shares: Outcomes = {}
    known = [match[1] for name in results if (match := re.fullmatch(rf"height_intact({LEVEL})_[a-z]+_mm", name))]
    for place in PLACES:
        for level in dict.fromkeys(("", *known)):
            for number, h in treatments(results, place, level).items():
                shares |= {f"{share}{level}{number}_{place}": value for share, value in _shares_of(h).items()}
    return shares


def treatments(results: Mapping[str, Outcome], place: str, level: str = "") -> dict[str, dict[str, float]]:
    """Heights (mm) around each treatment at one place: "" (the first), "_2", ... -> state -> height.

    ``level`` is what is behind the names of another level than the treated one, as in ``_l2``.

    States are ``intact``, ``fractured`` (the last height before the treatment, cycled or not), ``prone``,
    ``reduced``, ``deflated``, ``treated`` and ``cycled`` (the last height after it and before the next event of another
    kind). Outcomes must be in the order in which they were found.
    """
    states = "intact|fractured|prone|reduced|deflated|treated|cycled"
    pattern = re.compile(rf"height_({states}){level}((?:_\d+)?)_{place}_mm")
    found: dict[str, dict[str, float]] = {}
    intact: dict[str, float] = {}
    before: dict[str, float] = {}
    latest: dict[str, float] = {}  # heights of the treatment that is being cycled
    for name, outcome in results.items():
        match = pattern.fullmatch(name)
        if match is None:
            continue
        state, number = match.groups()
        if state == "intact":
            intact = {"intact": outcome.value}
        elif state in ("prone", "reduced", "deflated", "treated"):
            latest = found.setdefault(number, {**intact, **before})
            latest[state] = outcome.value
        elif state == "cycled":
            latest["cycled"] = outcome.value
        else:
            latest = {}
        if state in ("fractured", "treated", "cycled"):
            before = {"fractured": outcome.value}
    return found


def _shares_of(h: dict[str, float]) -> Outcomes:
    """The shares of one place from its heights ``h`` (mm) by state; a share with no base is left out."""
    ratios = {
        "mobility": (("prone", "fractured"), ("intact", "fractured")),
        "restoration": (("treated", "fractured"), ("intact", "fractured")),
        "deflation_loss": (("reduced", "deflated"), ("reduced", "fractured")),
        "retention": (("cycled", "fractured"), ("treated", "fractured")),
    }
    shares: Outcomes = {}
    for name, (part, whole) in ratios.items():
        if {*part, *whole} <= h.keys() and h[whole[0]] - h[whole[1]] > SMALLEST_BASE_MM:
            shares[name] = Outcome((h[part[0]] - h[part[1]]) / (h[whole[0]] - h[whole[1]]), "1")
    if {"treated", "cycled", "intact"} <= h.keys():
        shares["loss"] = Outcome((h["treated"] - h["cycled"]) / h["intact"], "1")
    return shares


def note(stage: Stage, results: Outcomes) -> str:
    """A few words on what a stage found."""
    parts = []
    height = results.get(f"height_{stage.name}_anterior_mm")
    if height is not None:
        parts.append(f"anterior height {height.value:.2f} mm")
    for name in TESTED:
        outcome = results.get(_in_state(name, stage.name))
        if outcome is not None:
            parts.append(f"{_bare(name).replace('_', ' ')} {outcome.value:.0f} {outcome.unit}")
    if stage.kind == "reduce" and "balloon_peak_pressure_mpa" in results:
        volume, pressure = results["balloon_volume_ml"].value, results["balloon_peak_pressure_mpa"].value
        parts.append(f"balloons {volume:.1f} mL, {pressure:.2f} MPa")
    if stage.kind == "unload" and "recoil_anterior" in results:
        parts.append(f"recoil {results['recoil_anterior'].value:.0%}")
    return ", ".join(parts)
