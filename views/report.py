"""One self-contained page about a run: what was asked, what was found, how well it was solved."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from kyphos.experiments import Outcome, Result
from kyphos.experiments.tables import Coupon
from kyphos.views.page import digits, embed, page, table, tile
from kyphos.views.pictures import CHARTS, make_pictures
from kyphos.views.postures import posture_rows
from kyphos.views.reading import HEIGHT_STATES, PLACES, read_run
from kyphos.views.style import OVERVIEW

SHARES = ("restoration", "deflation_loss", "retention", "loss", "recoil")
CAPTIONS = {
    "heights_stages.png": "Heights between the bony endplates, under the reference preload.",
    "heights_cycles.png": "Heights and their share left, against cycles.",
    "load_displacement.png": "What the machine recorded.",
    "adjacent.png": "What the neighbours feel: stress in their endplates and pressure in the discs, by state.",
    "profiles.png": "Stress along the mid-sagittal line of the discs and of the endplates that face them, by state.",
    "postures.png": "Pressure in the discs by level and load case; how each is held and loaded stands below.",
    "balloon.png": "Pressure of the balloons, and the height that they win, against their volume.",
}
CUT_WORDS = "The main stages, on one scale; the cut is mid-sagittal."
COUPON_WORDS = "The coupon at the end of its tests, whole and cut in half."
SLICE_WORDS = (
    "The mid-sagittal plane of the CT, front to the left: density, elastic energy density under the linear "
    "load, and the bone that has yielded at the end of each load path."
)
COUPON_COLUMNS = {
    "end_strain": "end strain [1]",
    "deflection_mm": "deflection [mm]",
    "stress_mpa": "stress [MPa]",
    "hold_s": "held [s]",
    "recovery_s": "unloaded [s]",
    "peak_mpa": "peak [MPa]",
    "load_ratio": "valley over peak [1]",
    "direction": "peak in",
    "frequency_hz": "frequency [Hz]",
}
COUPON_TILES = ("modulus", "strength", "bending_modulus", "bending_strength", "creep_strain", "life")
VOXEL_COLUMNS = {
    "bone": "bone",
    "caps": "caps",
    "displacement_mm": "approach [mm]",
    "end_strain": "end strain [1]",
    "steps": "steps",
    "offset_strain": "offset strain [1]",
}
STAGE_COLUMNS = {
    "force_n": "force [N]",
    "min_n": "min [N]",
    "max_n": "max [N]",
    "offset_anterior_mm": "anterior offset [mm]",
    "control": "control",
    "duration_s": "duration [s]",
    "count": "cycles",
    "frequency_hz": "frequency [Hz]",
}


def write_report(run_dir: Path | str) -> Path:
    """Write ``report.html`` into a run folder and return its path; draws the pictures if there are none.

    Raises
    ------
    DataError
        If the folder is no run folder or a file in it cannot be read.
    """
    run = read_run(run_dir)
    if not any((run.path / "pictures").glob("*.png")):
        make_pictures(run_dir)
    path = run.path / "report.html"
    path.write_text(page("report.html", _parts(run)), encoding="utf-8")
    return path


def _parts(run: Result) -> dict[str, str]:
    pictures = run.path / "pictures"
    return {
        "title": escape(run.spec.name),
        "description": escape(run.spec.description),
        "status": escape(_status(run)),
        "tiles": _tiles(run),
        "overview": embed(pictures / OVERVIEW, _overview_words(run)),
        "outcomes": _outcomes(run),
        "charts": "\n".join(embed(pictures / name, CAPTIONS[name]) for name in CHARTS),
        "stages": "\n".join(embed(path, _stage_words(path)) for path in sorted(pictures.glob("stage_*.png"))),
        "boundary": escape(" ".join(filter(None, [boundary_conditions(run), next_fracture_words(run)]))),
        "load_cases": _load_cases(run),
        "solution": escape(_solution(run)),
        "convergence": _convergence(run),
        "provenance": _provenance(run),
        "study": escape((run.path / "case.toml").read_text(encoding="utf-8")),
    }


def _overview_words(run: Result) -> str:
    if run.spec.coupon is not None:
        return COUPON_WORDS
    return SLICE_WORDS if run.spec.on_voxels else CUT_WORDS


def _coupon_conditions(coupon: Coupon) -> str:
    held = {
        "bar": "The bar lies on two lines and is pressed down by two others, which move together; it slides on all.",
        "slide": "The end faces of the coupon stay plane and parallel and slide sideways without friction.",
        "stick": "The end faces of the coupon stick to rigid platens that move along the axis and do not tilt.",
    }["bar" if coupon.shape == "bar" else coupon.ends or "slide"]
    strains = "small strains" if coupon.strains == "engineering" else "logarithmic strains, as in a vertebra"
    return (
        f"{held} Stresses are forces over the first section, strains displacements over the first length; the "
        f"equations are those of {strains}. Creep and fatigue act at the peak load of a cycle only."
    )


def boundary_conditions(run: Result) -> str:
    """How the specimen is held and loaded, in words."""
    if run.spec.coupon is not None:
        return _coupon_conditions(run.spec.coupon)
    if run.spec.on_voxels:
        return (
            "The voxels of the CT are the elements, at small strain. The outer face of the lower cap stands still "
            "along the axis, that of the upper one comes down by what is prescribed; both slide sideways without "
            "friction. Each stage starts from rest. Strains are the approach of the two faces over the height of "
            "the vertebral body; the strength is the load where the curve meets its first slope, shifted by the "
            "offset strain."
        )
    levels = run.spec.specimen.levels
    if len(levels) > 1:
        held = f"The segment {'-'.join(levels)} is held in rigid pots at both ends."
    else:
        held = f"The body of {levels[0]} alone is held between two rigid pots; it has no neighbours."
    return (
        f"{held} The lower pot stands still; the upper one is free along the axis and to tilt forwards or "
        "backwards, and for stiffness and strength locked against tilting too. Forces are compressive "
        "magnitudes on a line that lies the anterior offset in front of the centre."
    )


def next_fracture_words(run: Result) -> str:
    """Which neighbour has fractured, when and where, or which is the nearest to it; empty without neighbours."""
    stages = [entry for entry in run.manifest["stages"] if "next_fractures" in entry]
    told = [
        f"Fracture of a neighbour in stage {entry['stage']}, after {one['cycle']} cycles, under {one['load_n']:.0f} N: "
        f"{one['words']}."
        for entry in stages
        for one in entry["next_fractures"]
    ]
    close = stages[-1]["nearest_to_fracture"] if stages else None
    if close is not None and not told:
        told = [f"No neighbour has fractured; nearest to it: {close['words']}."]
    gave = [(entry["stage"], entry["gave_way"]) for entry in run.manifest["stages"] if "gave_way" in entry]
    told += [
        f"Under rising load in state {state}, {one['level']} shrinks most, up to {one['force_n']:.0f} N"
        f" ({'a maximum' if one['maximum'] else 'no maximum'})."
        for state, one in gave
    ]
    return " ".join(told)


def _status(run: Result) -> str:
    words = {"done": "finished", "running": "not finished"}
    message = str(run.manifest.get("message") or "")
    kyphos_version = run.manifest["versions"].get("kyphos", "?")
    text = f"{words.get(run.status, run.status)} · Kyphos {kyphos_version} · {run.manifest['started']}"
    return f"{text} · {message}" if message else text


def _tiles(run: Result) -> str:
    """The few numbers that answer the question; those that the run does not have are left out."""
    wanted = {
        "restoration_anterior": "of the lost anterior height restored",
        "deflation_loss_anterior": "of the lift lost on deflation",
        "retention_anterior": "of the restored height left after cycling",
        "loss_anterior": "of the intact height lost in cycling",
    }
    tiles = [
        tile(f"{100.0 * run.outcomes[name].value:.1f} %", words)
        for name, words in wanted.items()
        if name in run.outcomes
    ]
    for stage in run.spec.voxel_stages:
        kind, unit = ("stiffness", "n_per_mm") if stage.kind == "voxel_stiffness" else ("strength", "n")
        found = run.outcomes.get(f"{kind}_{stage.name}_{unit}")
        if found is not None:
            tiles.append(tile(f"{digits(found.value)} {found.unit}", f"{kind}, {stage.name.replace('_', ' ')}"))
    for test in run.spec.coupon_stages:
        endings = [(name, f"{name}_{test.name}{unit}") for name in COUPON_TILES for unit in ("_mpa", "")]
        for name, key in endings:
            if key in run.outcomes:
                number = run.outcomes[key]
                unit = "" if number.unit == "1" else f" {number.unit}"
                words = f"{name}, {test.name}".replace("_", " ")
                tiles.append(tile(f"{digits(number.value)}{unit}", words))
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _outcomes(run: Result) -> str:
    """All outcomes: heights and shares by place, then the rest."""
    heights = [(state, f"height_{state}_{{}}_mm") for state in HEIGHT_STATES]
    shares = [(share.replace("_", " "), f"{share}_{{}}") for share in SHARES]
    placed = {name.format(place) for _, name in heights + shares for place in PLACES}
    rest = [
        (name, digits(found.value), "—" if found.unit == "1" else found.unit)
        for name, found in run.outcomes.items()
        if name not in placed
    ]
    return (
        _by_place("height [mm]", heights, run.outcomes)
        + _by_place("share [1]", shares, run.outcomes)
        + table(("outcome", "value", "unit"), rest)
    )


def _by_place(title: str, rows: Iterable[tuple[str, str]], outcomes: dict[str, Outcome]) -> str:
    cells = []
    for label, pattern in rows:
        found = [outcomes.get(pattern.format(place)) for place in PLACES]
        if any(found):
            cells.append((label, *(digits(one.value) if one else "" for one in found)))
    return table((title, *PLACES), cells) if cells else ""


def _load_cases(run: Result) -> str:
    columns = VOXEL_COLUMNS if run.spec.on_voxels else STAGE_COLUMNS
    if run.spec.coupon is not None:
        columns = COUPON_COLUMNS
    rows = []
    for stage in run.spec.stage:
        facts = stage.model_dump()
        rows.append((stage.name, stage.kind, *(_cell(facts.get(key)) for key in columns)))
    heads, under = posture_rows(run)
    looked_at = table(heads, under) if under else ""
    return table(("stage", "kind", *columns.values()), rows) + looked_at


def _solution(run: Result) -> str:
    history = run.history
    failed = int((history["status"] != "converged").sum())
    worst = history[["residual_n", "balance", "iterations"]].max()
    if run.spec.on_voxels:
        return (
            f"{len(history)} equilibria. Largest imbalance of the forces on the two caps {worst['balance']:.2g} of "
            "the load; residuals are relative to the reactions."
        )
    return (
        f"{len(history)} equilibria, {failed} of them not converged. Largest residual "
        f"{worst['residual_n']:.2g} N, largest imbalance of the platen forces {worst['balance']:.2g} of the "
        f"load, at most {worst['iterations']:.0f} iterations."
    )


def _convergence(run: Result) -> str:
    if run.spec.on_voxels:
        return _voxel_convergence(run)
    seconds = {entry["stage"]: entry["wall_s"] for entry in run.manifest["stages"]}
    rows = []
    for name, part in run.history.groupby("stage", sort=False):
        worst = part[["residual_n", "balance"]].max()
        rows.append(
            (
                name,
                len(part),
                f"{part['load_n'].max():.0f}",
                int(part["iterations"].max()),
                f"{worst['residual_n']:.1e}",
                f"{worst['balance']:.1e}",
                f"{seconds[name]:.1f}" if name in seconds else "",
            )
        )
    heads = (
        "stage",
        "equilibria",
        "peak load [N]",
        "most iterations",
        "residual [N]",
        "imbalance [1]",
        "time [s]",
    )
    return table(heads, rows)


def _voxel_convergence(run: Result) -> str:
    heads = {
        "stage": "stage",
        "equilibria": "equilibria",
        "newton_iterations": "Newton iterations",
        "linear_iterations": "conjugate gradients",
        "residual": "largest residual [1]",
        "wall_s": "time [s]",
        "stopped": "ended early",
    }
    rows = [[_cell(entry.get(key)) for key in heads] for entry in run.manifest["stages"]]
    return table(tuple(heads.values()), rows)


def _provenance(run: Result) -> str:
    manifest = run.manifest
    facts: dict[str, Any] = {
        "mesh": ", ".join(f"{count} {what}" for what, count in manifest.get("mesh", {}).items()),
        "mesh hash": manifest.get("mesh_hash"),
        "study hash": manifest.get("study_hash"),
        "seeds": ", ".join(f"{name} {seed}" for name, seed in manifest.get("seeds", {}).items()),
        "versions": ", ".join(f"{name} {number}" for name, number in manifest["versions"].items()),
        "commit": manifest.get("commit"),
        "platform": manifest.get("platform"),
        "wall time": f"{manifest['wall_s']:.0f} s",
    }
    return table(("", ""), [(name, str(fact)) for name, fact in facts.items() if fact])


def _stage_words(path: Path) -> str:
    """``stage_03_unload.png`` -> ``Stage 4: unload``."""
    _, index, name = path.stem.split("_", 2)
    return f"Stage {int(index) + 1}: {name.replace('_', ' ')}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return digits(value) if isinstance(value, float) else str(value)
