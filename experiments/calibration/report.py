"""What a calibration found, as plain data (`calibration.json`) and as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .calibrate import OPEN, Calibration
from .inference import Direction, Floats, covariance, directions, profile
from .parameters import Parameter
from .targets import Target

Table = dict[str, Any]


def summary(done: Calibration) -> Table:
    """All numbers of a calibration as plain data."""
    model = done.fit.model
    deviations = np.sqrt(np.diag(covariance(model)))
    rows = [_row(target, done) for target in done.data.targets]
    return {
        "converged": done.fit.converged,
        "objective": {"steps": [list(steps) for steps in done.steps], "rounds": done.fit.rounds},
        "rms_miss": {when: float(np.sqrt(np.mean([row[f"miss_{when}"] ** 2 for row in rows]))) for when in TIMES},
        "within_one": {when: sum(abs(row[f"miss_{when}"]) <= 1.0 for row in rows) for when in TIMES},
        "parameters": [_parameter(done, i, parameter, deviations[i]) for i, parameter in enumerate(done.parameters)],
        "rows": rows,
        "correlated": [[*pair, value] for pair, value in done.data.correlated.items()],
        "directions": [_direction(done.parameters, direction) for direction in directions(model)],
        "covariance_of_scores": covariance(model).tolist(),
        "jacobian": model.jacobian.tolist(),
    }


TIMES = ("before", "after")


def written(kept: Table) -> str:
    """A summary as JSON: numbers to seven digits, lists of numbers on one line each."""
    text = json.dumps(json.loads(json.dumps(kept), parse_float=lambda number: float(f"{float(number):.7g}")), indent=1)
    return re.sub(r"\[[\s\d.,e+-]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def _row(target: Target, done: Calibration) -> Table:
    low, high = target.band
    found = {when: {"before": done.before, "after": done.after}[when][target.name] for when in TIMES}
    return {
        "name": target.name,
        "published": target.published,
        "unit": target.unit,
        "band": [low, high],
        "scale": target.scale,
        "weight": target.weight,
        **found,
        **{f"miss_{when}": target.miss(value) for when, value in found.items()},
        "source": target.source,
        "flag": target.flag,
    }


def _parameter(done: Calibration, i: int, parameter: Parameter, deviation: float) -> Table:
    at = float(done.fit.model.at[i])
    drawn = profile(done.problem, done.fit.model, i)
    return {
        "card": parameter.card,
        "name": parameter.name,
        "unit": parameter.unit,
        "scale": parameter.scale,
        "range": [parameter.low, parameter.high],
        "guess": parameter.guess,
        "prior_sd": parameter.deviation(0.0, 1.0),
        "mode": parameter.value(at),
        "value": done.constants[parameter.name],
        "sd": parameter.deviation(at, float(deviation)),
        "shrinkage": float(deviation),
        "at_bound": bool(min(at - done.problem.low[i], done.problem.high[i] - at) < 1e-6),
        "profile": {
            "value": [parameter.value(float(z)) for z in drawn.score],
            "data": _above_least(drawn.data),
            "all": _above_least(drawn.all),
        },
    }


def _above_least(objective: Floats) -> list[float]:
    return [float(rise) for rise in objective - objective.min()]


def _direction(parameters: Sequence[Parameter], direction: Direction) -> Table:
    """Shrinkage, and the share of each score in the direction, largest first."""
    parts = {p.name: float(part) for p, part in zip(parameters, direction.vector, strict=True)}
    return {
        "shrinkage": direction.shrinkage,
        "parts": dict(sorted(parts.items(), key=lambda item: -abs(item[1]))),
    }


def note(kept: Table, name: str) -> str:
    """What a card says of one calibrated constant."""
    found = next(parameter for parameter in kept["parameters"] if parameter["name"] == name)
    return (
        f"calibrated {kept['date']} on {len(kept['rows'])} rows (docs/calibration.md): rms miss "
        f"{kept['rms_miss']['after']:.2f} sd, posterior sd {found['sd']:.2g}"
    )


def row_table(kept: Table) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of the table of rows: published, before, after, with the misses."""
    head = ("row", "published", "unit", "one sd", "before", "miss", "after", "miss", "source", "flag")
    return head, [
        (
            row["name"],
            f"{row['published']:.4g}",
            row["unit"],
            f"{row['band'][0]:.4g} to {row['band'][1]:.4g}",
            *(text for when in TIMES for text in (f"{row[when]:.4g}", f"{row[f'miss_{when}']:+.2f}")),
            row["source"],
            row["flag"],
        )
        for row in kept["rows"]
    ]


def parameter_table(kept: Table) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of the table of constants: prior, mode, posterior deviation, and what the data did."""
    head = ("constant", "unit", "range", "guess ± prior sd", "mode ± sd", "sd left", "verdict", "value")
    return head, [
        (
            f"`{p['name']}`",
            p["unit"],
            f"{p['range'][0]:.4g} to {p['range'][1]:.4g}",
            f"{p['guess']:.4g} ± {p['prior_sd']:.2g}",
            f"{p['mode']:.3g} ± {p['sd']:.2g}",
            f"{p['shrinkage']:.0%}",
            _verdict(p),
            f"{p['value']:.4g}",
        )
        for p in kept["parameters"]
    ]


def _verdict(parameter: Mapping[str, Any]) -> str:
    unknown = "not identified" + (", but its guess fits worse" if parameter["value"] != parameter["guess"] else "")
    words = [
        unknown if parameter["shrinkage"] > OPEN else "narrowed",
        *(["at the end of its range"] if parameter["at_bound"] else []),
    ]
    return ", ".join(words)


def direction_lines(kept: Table) -> list[str]:
    """One line for each direction, best known first: how much of the prior is left, and what it is made of."""
    return [
        f"{'**open** ' if direction['shrinkage'] > OPEN else ''}{direction['shrinkage']:.0%} of the prior's sd left: "
        + " ".join(_parts(direction["parts"].items()))
        for direction in kept["directions"]
    ]


def _parts(parts: Iterable[tuple[str, float]]) -> list[str]:
    """The larger parts of a direction, which is a unit vector."""
    return [f"{part:+.2f} `{name}`" for name, part in parts if abs(part) > 0.2]


def story(kept: Table) -> str:
    """One paragraph: when, what, how well."""
    passes = kept["objective"]["steps"]
    return (
        f"Calibrated {kept['date']} with Kyphos {kept['version']} (code {kept['code']}): {len(kept['parameters'])} "
        f"constants on {len(kept['rows'])} rows, {kept['runs']} runs of the model, {kept['wall_s'] / 60.0:.0f} minutes"
        f"{', quick' if kept['quick'] else ''}. The objective fell from {passes[0][0]:.1f} to {passes[-1][-1]:.1f} in "
        f"{sum(map(len, passes)) - len(passes)} accepted steps of {len(passes)} passes"
        f"{'' if kept['converged'] else ', and had not settled when it stopped'}; rms miss "
        f"{kept['rms_miss']['before']:.2f} sd before, {kept['rms_miss']['after']:.2f} after; within one sd "
        f"{kept['within_one']['before']} rows before, {kept['within_one']['after']} after."
    )


def left_out_lines(kept: Table) -> list[str]:
    """One line for each row that is marked `calibrate` and was not fitted."""
    return [f"`{name}`: {reason}." for name, reason in kept["left_out"].items()]


def open_questions(kept: Table) -> str:
    """Which constants and how many directions the data leave as they were, and which sit at the end of a range."""
    constants = kept["parameters"]
    unknown = [f"`{p['name']}` ({p['shrinkage']:.0%})" for p in constants if p["shrinkage"] > OPEN]
    known = [f"`{p['name']}` ({p['shrinkage']:.0%})" for p in constants if p["shrinkage"] <= OPEN]
    bound = [f"`{p['name']}`" for p in constants if p["at_bound"]]
    count = sum(direction["shrinkage"] > OPEN for direction in kept["directions"])
    return "\n".join(
        [
            f"- **Narrowed** (sd left of the prior's): {', '.join(known) or 'none'}.",
            f"- **Not identified** (more than {OPEN:.0%} left): {', '.join(unknown) or 'none'}.",
            f"- **At the end of its range**, so the prior and not the data stopped it: {', '.join(bound) or 'none'}.",
            f"- Of {len(kept['directions'])} directions among the constants {count} are open.",
        ]
    )
