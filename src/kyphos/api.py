"""Kyphos from Python: run a study, hold its result. The command line goes the same way."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Literal

from kyphos import experiments
from kyphos.errors import ConvergenceError, DataError, StudyError
from kyphos.experiments import Reporter, SilentReporter, StudySpec
from kyphos.experiments.arms import ArmsStudy, read_arms
from kyphos.experiments.pool import side_by_side

if TYPE_CHECKING:
    import pyvista as pv
    from matplotlib.figure import Figure

    from kyphos.experiments.comparison import Comparison

Chart = Literal["heights", "load", "stages", "balloon"]


class Result(experiments.Result):
    """A run's outcomes, history and fields; see ``kyphos.experiments.Result``."""

    def fields(self, stage: str) -> pv.UnstructuredGrid:
        """Return the saved fields at the end of a stage, on reference coordinates (mm); DataError if none."""
        from kyphos.views.reading import StageFile, read_stage

        return read_stage(StageFile(stage, self.fields_path(stage)))

    def plot(self, chart: Chart = "heights") -> Figure:
        """Return a matplotlib figure of the run.

        ``heights`` (against cycles), ``load`` (against displacement), ``stages`` (heights through the stages)
        or ``balloon`` (pressure against volume). DataError if the run has nothing to show there.
        """
        from kyphos.views import charts, read_run

        draw = {
            "heights": charts.height_chart,
            "load": charts.load_chart,
            "stages": charts.stage_heights_chart,
            "balloon": charts.balloon_chart,
        }
        if chart not in draw:
            raise DataError(f"no chart {chart!r}; there are: {', '.join(draw)}")
        figure = draw[chart](read_run(self.path))
        if figure is None:
            raise DataError(f"{self.path}: this run has nothing to show in the chart {chart!r}")
        return figure


def run(
    study: str | Path | StudySpec,
    out: str | Path | None = None,
    set: Iterable[str] = (),
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Run a study; write pictures and report if it wants them. See ``kyphos.run``.

    Parameters
    ----------
    resume
        Go on with the run in ``out`` (default: the study's latest one) after its last finished stage.
    reporter
        Told of every stage and step; default: silence.
    """
    from kyphos.experiments.run import run_study

    spec = _read(study, list(set))
    folder = results_folder(spec, out, resume)
    listener = reporter or SilentReporter()
    if spec.output.pictures:
        Thread(target=_load_drawing, name="kyphos-load-drawing").start()
    try:
        run_study(spec, folder, resume=resume, reporter=listener)
    except (ConvergenceError, KeyboardInterrupt) as error:
        error.add_note(f"What was finished is kept in {folder}; --resume --out {folder} goes on from there.")
        raise
    finally:
        listener.close()
    if spec.output.pictures:
        draw(folder)
    return load(folder)


def run_arms(
    study: str | Path | ArmsStudy,
    out: str | Path | None = None,
    set: Iterable[str] = (),
    *,
    resume: bool = False,
    processes: int = 1,
    population: int = 0,
    reporter: Reporter | None = None,
) -> Comparison:
    """Run a study with ``[arms]``, and compare them. See ``kyphos.run_arms``.

    Parameters
    ----------
    resume
        Go on with what is not finished in ``out`` (default: the study's latest one).
    processes
        Arms, or specimens, at a time.
    population
        Specimens that scatter in density and size, for bands; 0: none.
    reporter
        Told of every stage and arm; default: silence.
    """
    from kyphos.experiments import arms_run

    asked = study if isinstance(study, ArmsStudy) else read_arms(study, list(set))
    folder = results_folder(asked.first.model_copy(update={"name": asked.name}), out, resume)
    listener = reporter or SilentReporter()
    options = {"resume": resume, "processes": processes, "population": population}
    try:
        arms_run.run_arms(asked, folder, reporter=listener, **options)  # type: ignore[arg-type]
    except (ConvergenceError, KeyboardInterrupt) as error:
        error.add_note(f"What was finished is kept in {folder}; --resume --out {folder} goes on from there.")
        raise
    finally:
        listener.close()
    comparison = compare([folder], folder, pictures=asked.first.output.pictures)
    if asked.first.output.pictures:
        for _ in side_by_side(draw, [arm.result.path for arm in comparison.arms], processes):
            pass
    return comparison


def compare(folders: Iterable[str | Path], out: str | Path, *, pictures: bool = True) -> Comparison:
    """Put runs side by side: write table, pictures on one scale and report into ``out``. See ``kyphos.compare``.

    Raises
    ------
    DataError
        A folder is no run, or there are fewer than two.
    """
    from kyphos.experiments.comparison import compare as read
    from kyphos.experiments.comparison import write_comparison

    comparison, folder = read([Path(path) for path in folders]), Path(out)
    write_comparison(comparison, folder)
    if pictures:
        from kyphos.views.comparison import draw_comparison

        draw_comparison(comparison, folder)
    return comparison


def load(path: str | Path) -> Result:
    """Read a results folder; see ``kyphos.load``."""
    found = experiments.load_result(path)
    return Result(found.path, found.spec, found.outcomes, found.history, found.manifest)


def _load_drawing() -> None:
    """Import what `draw` will need, which takes seconds, on the core that the solver leaves free now and then."""
    with suppress(Exception):  # ``draw`` meets it again, and tells
        import_module("kyphos.views.report")


def draw(path: Path) -> list[Path]:
    """Write the pictures and the report of a run; return all files, the report last."""
    from kyphos.views import make_pictures
    from kyphos.views.report import write_report

    return [*make_pictures(path), write_report(path)]


def results_folder(spec: StudySpec, out: str | Path | None, resume: bool = False) -> Path:
    """Return where a run goes: ``out``, the study's choice, or the next (to resume: last) numbered folder."""
    chosen = out or spec.output.directory
    if chosen is not None:
        return Path(chosen)
    return experiments.last_folder(spec.name) if resume else experiments.default_folder(spec.name)


def _read(study: str | Path | StudySpec, overrides: list[str]) -> StudySpec:
    if not isinstance(study, StudySpec):
        return experiments.read_study(study, overrides)
    if overrides:
        raise StudyError("overrides apply while a study is read; give its file or name instead of a StudySpec")
    return study
