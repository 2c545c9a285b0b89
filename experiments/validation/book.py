"""The book as a whole: run the protocols that some rows need, judge, write down."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from kyphos.errors import DataError
from kyphos.experiments.store import git_commit, installed_versions

from .judge import Finding, judge
from .protocols import PROTOCOLS, Observables
from .rows import Row
from .running import ArmResult, Job, Resolution, Tell, code_hash, gather, run_jobs

NEGLIGIBLE = 1e-9
"""Spread over mean below which specimens agree but for rounding."""
PINNED = ("name", "use", "published", "unit", "ours", "verdict", "source", "flag")


@dataclass(frozen=True)
class Book:
    """Findings in the order of the rows, what the protocols found, and where it all comes from.

    ``about``: command, date, versions, commit, resolution, processes, wall clock and computing time (s).
    """

    findings: tuple[Finding, ...]
    observables: Mapping[str, Observables]
    about: dict[str, Any] = field(default_factory=dict)


def run_book(
    rows: Sequence[Row],
    resolution: Resolution,
    folder: Path,
    *,
    workers: int = 2,
    tell: Tell | None = None,
    command: str = "kyphos validate",
) -> Book:
    """Run the protocols of some rows and judge them.

    Parameters
    ----------
    folder
        Where finished specimens are kept, one folder per protocol; what is there from the same study, constants and
        code is not run again.
    workers
        Processes, of one thread each.
    tell
        Told a line for each finished specimen.
    """
    start = time.perf_counter()
    names = dict.fromkeys(row.protocol for row in rows if row.protocol)
    jobs = [
        Job(PROTOCOLS[name], individual, resolution, {}, folder / name)
        for name in names
        for individual in PROTOCOLS[name].population.draw(resolution.count(PROTOCOLS[name]))
    ]
    results: dict[tuple[str, str], list[ArmResult]] = {}
    for count, (job, arms) in enumerate(run_jobs(jobs, workers, tell), 1):
        results[job.protocol.name, job.individual.name] = arms
        if tell is not None and count % 10 == 0:
            tell(f"{count} of {len(jobs)} specimens, {time.perf_counter() - start:.0f} s")
    observables = {name: _gathered(name, jobs, results) for name in names}
    findings = tuple(judge(row, observables.get(row.protocol)) for row in rows)
    about = {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": installed_versions(),
        "commit": git_commit(),
        "code": code_hash(),
        "resolution": asdict(resolution),
        "processes": workers,
        "specimens": len(jobs),
        "wall_s": round(time.perf_counter() - start, 1),
        "computing_s": round(sum(found.computing_s for found in observables.values()), 1),
    }
    return Book(findings, observables, about)


def _gathered(name: str, jobs: Sequence[Job], results: Mapping[tuple[str, str], list[ArmResult]]) -> Observables:
    who = [job.individual for job in jobs if job.protocol.name == name]
    return gather(PROTOCOLS[name], who, [results[name, one.name] for one in who])


def summary(findings: Sequence[Finding]) -> str:
    """How many rows of each use got which verdict, a line each."""
    lines = []
    for use in dict.fromkeys(finding.row.use for finding in findings):
        verdicts = [finding.verdict for finding in findings if finding.row.use == use]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
        lines.append(f"{use}: {len(verdicts)} rows: {counts}")
    return "\n".join(lines)


def table(findings: Sequence[Finding]) -> str:
    """The book as aligned text: one line per row, then what failed."""
    head = ("row", "use", "published", "ours", "n", "unit", "z or factor", "verdict")
    lines = [head, *(_cells(finding) for finding in findings)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    told = [f"{finding.row.name}: {finding.message}" for finding in findings if finding.message]
    return "\n".join([*text, "", *told, summary(findings)])


def _cells(finding: Finding) -> tuple[str, ...]:
    row = finding.row
    return (
        row.name,
        row.use,
        published_text(row),
        ours_text(finding),
        str(finding.count or ""),
        "" if row.unit == "1" else row.unit,
        distance_text(finding),
        finding.verdict,
    )


def published_text(row: Row) -> str:
    """The published value as a reader would write it."""
    if row.judge == "order":
        return row.claim
    if row.published is None or row.judge == "band":
        return "" if row.low is None or row.high is None else f"{row.low:.4g} to {row.high:.4g}"
    return f"{row.published:.4g}" + (f" ± {row.sd:.3g}" if row.sd else "")


def ours_text(finding: Finding) -> str:
    """Our value as a reader would write it; of a ranking, the share of specimens that follow it."""
    if finding.ours is None:
        return "-"
    if finding.row.judge == "order":
        return f"{finding.ours:.0%} of specimens"
    spread = finding.ours_sd if finding.row.statistic != "sd" else None
    if spread is None:
        return f"{finding.ours:.4g}"
    return f"{finding.ours:.4g} ± {spread if spread > NEGLIGIBLE * abs(finding.ours) else 0.0:.3g}"


def distance_text(finding: Finding) -> str:
    """z-score or factor."""
    if finding.z is not None:
        return f"z {finding.z:+.2f}"
    return "" if finding.factor is None else f"x {finding.factor:.2f}"


# --- files ---------------------------------------------------------------------------------------------------------


def write_book(folder: Path, book: Book) -> tuple[Path, Path]:
    """Write ``validation.json`` (a list of rows, pinned keys) and ``book.json`` (everything); returns both paths."""
    short, long = folder / "validation.json", folder / "book.json"
    rows = [_json_row(finding) for finding in book.findings]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        short.write_text(_dumps([{key: row[key] for key in PINNED} for row in rows]), encoding="utf-8")
        found = {name: _json_observables(observables) for name, observables in book.observables.items()}
        long.write_text(_dumps({"about": book.about, "rows": rows, "protocols": found}), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: the book cannot be written there: {error.strerror}; choose another --out") from None
    return short, long


def _dumps(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_row(finding: Finding) -> dict[str, Any]:
    row = asdict(finding.row)
    extra = {key: value for key, value in asdict(finding).items() if key != "row"}
    shown = {"published_text": published_text(finding.row), "ours_text": ours_text(finding)}
    published = finding.row.claim if finding.row.judge == "order" else _published(finding.row)
    return {**row, **extra, **shown, "distance": distance_text(finding), "published": published}


def _published(row: Row) -> float | str | None:
    return published_text(row) if row.published is None else row.published


def _json_observables(found: Observables) -> dict[str, Any]:
    values = {name: [_finite(value) for value in np.atleast_1d(array)] for name, array in found.values.items()}
    specimens = [asdict(individual) for individual in found.individuals]
    return {
        "meaning": PROTOCOLS[found.protocol].meaning if found.protocol in PROTOCOLS else "",
        "specimens": specimens,
        "values": values,
        "failures": found.failures,
        "curves": found.curves,
        "computing_s": round(found.computing_s, 1),
    }


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
