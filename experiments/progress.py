"""What a run tells while it runs: a small protocol, one reporter for people and one that is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


@dataclass(frozen=True)
class Step:
    """One solved state on the way through a stage.

    ``fraction`` is the share of the stage that is behind us (0 to 1); ``cycle`` is 0 outside cycling.
    """

    fraction: float
    load_n: float = nan
    cycle: int = 0
    iterations: int = 0
    residual_n: float = nan
    note: str = ""


class Reporter(Protocol):
    """Listener to a run, which it may not change. Call ``close`` at the end, whatever the end."""

    def run_started(self, study: str, stages: Sequence[str], resumed_after: str | None = None) -> None:
        """Say which stages there are, and after which one a resumed run goes on."""

    def stage_started(self, index: int, stage: str, kind: str) -> None:
        """Say that a stage (counted from 0) begins."""

    def step(self, step: Step) -> None:
        """Say that a state of the present stage is solved."""

    def stage_finished(self, stage: str, wall_s: float, note: str = "") -> None:
        """Say that a stage is over, what it took (s) and, in a few words, what it found."""

    def message(self, text: str) -> None:
        """Pass on one line that the user should see."""

    def close(self) -> None:
        """Leave the terminal tidy; may be called more than once."""


class SilentReporter:
    """A reporter that says nothing."""

    def run_started(self, study: str, stages: Sequence[str], resumed_after: str | None = None) -> None:
        """Say nothing."""

    def stage_started(self, index: int, stage: str, kind: str) -> None:
        """Say nothing."""

    def step(self, step: Step) -> None:
        """Say nothing."""

    def stage_finished(self, stage: str, wall_s: float, note: str = "") -> None:
        """Say nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


class RichReporter:
    """A bar per stage on stderr: load, cycle, iterations, residual. Off a terminal: one line per stage.

    Parameters
    ----------
    console
        Where to draw; default: stderr.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._console = console or Console(stderr=True, highlight=False)
        self._progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._count = 0

    def run_started(self, study: str, stages: Sequence[str], resumed_after: str | None = None) -> None:
        """Print the study and its stages; start drawing."""
        self._count = len(stages)
        since = f", resumed after {resumed_after}" if resumed_after else ""
        self._print(f"{study}: {self._count} stages{since}")
        self._progress.start()

    def stage_started(self, index: int, stage: str, kind: str) -> None:
        """Open the stage's bar."""
        title = f"{index + 1:2d}/{self._count} {stage:<10}" + ("" if kind == stage else f" ({kind})")
        self._task = self._progress.add_task(title, total=1.0, state="")

    def step(self, step: Step) -> None:
        """Move the bar and show the state just solved."""
        if self._task is not None:
            self._progress.update(self._task, completed=step.fraction, state=_describe(step))

    def stage_finished(self, stage: str, wall_s: float, note: str = "") -> None:
        """Replace the bar by one line that stays."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._print(f"  {stage:<12} {wall_s:6.1f} s  {note}".rstrip())

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        self._print(text)

    def close(self) -> None:
        """Stop drawing."""
        self._progress.stop()

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def _describe(step: Step) -> str:
    parts = [
        f"cycle {step.cycle}" if step.cycle else "",
        "" if step.load_n != step.load_n else f"{step.load_n:.0f} N",
        f"{step.iterations} iterations" if step.iterations else "",
        "" if step.residual_n != step.residual_n else f"residual {step.residual_n:.1e} N",
        step.note,
    ]
    return "  ".join(part for part in parts if part)
