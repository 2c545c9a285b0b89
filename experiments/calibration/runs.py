"""Runs of the model, each kept in a folder by all that it depends on, so that a stopped calibration goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kyphos.errors import ConvergenceError

Values = Mapping[str, float]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One protocol of the model: which constants it reads, and what it finds for them.

    `run` takes all constants by name and returns observables by the name of their row; it raises
    ConvergenceError where the model has no answer. `population` is the same on all specimens that the book takes,
    where `run` takes but the mean one.
    """

    name: str
    reads: tuple[str, ...]
    run: Callable[[Values], dict[str, float]]
    population: Experiment | None = None


def to_nobody(line: str) -> None:
    """Tell nobody."""


@dataclass
class Kept:
    """Results of experiments in a folder, one small file for each set of constants; `salt` names the code that ran."""

    folder: Path
    salt: str
    told: Callable[[str], None] = to_nobody
    asked: dict[Path, float] = field(default_factory=dict, init=False)
    """Files of all answers given so far, and the computing time of each, s."""

    def __call__(self, experiment: Experiment, constants: Values) -> dict[str, float]:
        """What an experiment finds; only the constants that it reads make a difference.

        Raises
        ------
        ConvergenceError
            The model has no answer, now or when this was first asked.
        """
        read = {name: constants[name] for name in experiment.reads}
        path = self.folder / f"{experiment.name}-{_digest(self.salt, read)}.json"
        if not path.exists():
            _keep(path, read, _ask(experiment, read))
            self.told(f"    {experiment.name}: {_read(path)['wall_s']:.1f} s")
        answer = _read(path)
        self.asked[path] = answer["wall_s"]
        if "failed" in answer:
            raise ConvergenceError(f"{experiment.name}: {answer['failed']}")
        return {name: float(value) for name, value in answer["found"].items()}


def _ask(experiment: Experiment, constants: Values) -> Answer:
    start = time.perf_counter()
    try:
        answer: Answer = {"found": experiment.run(constants)}
    except ConvergenceError as error:
        answer = {"failed": str(error)}
    return {**answer, "wall_s": time.perf_counter() - start}


def _read(path: Path) -> Answer:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _keep(path: Path, constants: Values, answer: Answer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"constants": dict(constants), **answer}, indent=1), encoding="utf-8")
    part.replace(path)


def _digest(salt: str, constants: Values) -> str:
    text = json.dumps([salt, sorted(constants.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:20]
