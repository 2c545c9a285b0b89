"""The command line. Numbers go to stdout, log and progress to stderr.

Exit codes: 0 done; 2 bad input; 3 not converged (what converged is saved); 130 interrupted (resumable).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from kyphos.errors import ConvergenceError, DataError, KyphosError, StudyError

if TYPE_CHECKING:
    from kyphos.experiments import Outcome, StudySpec
    from kyphos.experiments.comparison import Comparison

INTERRUPTED = 130

P = ParamSpec("P")

app = typer.Typer(
    name="kyphos",
    help="A finite-element bench for vertebral cement augmentation. Not for clinical decisions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyArgument = Annotated[str, typer.Argument(help="A study file, or the name of a built-in study.")]
RunArgument = Annotated[Path, typer.Argument(help="Results folder of a run.", metavar="DIR")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in --set cycling.0.count=0."),
]


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Register a command whose errors end in one message and the right exit code, without traceback."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except KyphosError as error:
            _say(f"{type(error).__name__}: {error}", error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as error:
            _say("Interrupted.", error)
            raise typer.Exit(INTERRUPTED) from None

    app.command()(guarded)
    return function


@command
def run(
    study: Annotated[
        str | None, typer.Argument(help="A study file or a built-in study; default kyphoplasty-pmma.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Results folder; default runs/<study>-<n>.")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished stage.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved study and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    population: Annotated[
        int, typer.Option(min=0, max=1000, help="With [arms]: specimens that scatter in density and size, for bands.")
    ] = 0,
    processes: Annotated[int, typer.Option(min=1, max=64, help="With [arms]: arms, or specimens, at a time.")] = 2,
) -> None:
    """Run a study: fracture, treat, cycle; write outcomes, history, fields, pictures. With [arms]: compare them."""
    from kyphos.experiments import RichReporter, SilentReporter, read_study, to_toml
    from kyphos.experiments.arms import has_arms

    chosen = _chosen_study(study, out, resume)
    if has_arms(chosen, settings or []):
        _run_arms(chosen, out, settings or [], resume, dry_run, quiet, population, processes)
        return
    if population:
        raise StudyError(f"--population: {chosen} has no [arms]; try kyphos run four-arms --population {population}")
    spec = read_study(chosen, settings or [])
    _check_cards(spec)
    if dry_run:
        typer.echo(to_toml(spec), nl=False)
        return
    from kyphos import api

    folder = api.results_folder(spec, out, resume)
    reporter = SilentReporter() if quiet else RichReporter()
    result = api.run(spec, folder, resume=resume, reporter=reporter)
    _print_outcomes(result.outcomes)
    if not quiet:
        typer.echo(f"Results: {folder}", err=True)


@command
def check(study: StudyArgument, settings: Settings = None) -> None:
    """Validate a study without running it."""
    from kyphos.experiments import read_study
    from kyphos.experiments.arms import has_arms, read_arms

    compared = has_arms(study, settings or [])
    specs = read_arms(study, settings or []).arms if compared else (read_study(study, settings or []),)
    for spec in specs:
        _check_cards(spec)
        typer.echo(f"{spec.name}: good; {len(spec.stage)} stages: {', '.join(stage.name for stage in spec.stage)}")


@command
def protocols(
    name: Annotated[str | None, typer.Argument(help="The one to print; default: list all.")] = None,
) -> None:
    """List the built-in studies, or print one."""
    from kyphos.experiments import list_protocols, protocol_text

    if name is not None:
        typer.echo(protocol_text(name), nl=False)
        return
    for protocol, description in list_protocols().items():
        typer.echo(f"{protocol:<28} {description}")


@command
def materials(
    name: Annotated[str | None, typer.Argument(help="The one to print; default: list all.")] = None,
) -> None:
    """List the material cards, or print one with its sources."""
    from kyphos.materials import describe_card, describe_library

    typer.echo(describe_library() if name is None else describe_card(name))


@command
def mesh(
    study: StudyArgument,
    out: Annotated[Path, typer.Option(help="The VTU file to write.")],
    settings: Settings = None,
) -> None:
    """Write the mesh of a study's specimen, with regions, density and quality."""
    if out.suffix != ".vtu":
        raise StudyError(f"--out {out}: only .vtu is written; try --out {out.with_suffix('.vtu')}")
    from kyphos.experiments import read_study
    from kyphos.experiments.specimen import build_mesh
    from kyphos.meshes import scaled_jacobian, write_vtu

    body = build_mesh(read_study(study, settings or []))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_vtu(out, body)
    except OSError as error:
        raise DataError(f"--out {out}: cannot be written: {error.strerror}") from None
    typer.echo(f"points {len(body.points_mm)}")
    typer.echo(f"cells {len(body.cells)}")
    typer.echo(f"volume_mm3 {sum(level.volume_mm3 for level in body.bodies.values()):.1f}")
    typer.echo(f"scaled_jacobian_min {scaled_jacobian(body).min():.4f}")


@command
def export(
    study: StudyArgument,
    to: Annotated[Path, typer.Option(help="The deck: .inp (CalculiX, Abaqus), .feb (FEBio 4) or .vtu.")],
    state: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="The specimen as this stage left it, stress-free; default: untouched."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Run to take the state from; default: the study's latest, or a new one up to there."
        ),
    ] = None,
    settings: Settings = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Write a deck for CalculiX, Abaqus or FEBio."""
    if run is not None and state is None:
        raise StudyError("--run says where a state is taken from; name the state too, as in --state treated")
    from kyphos.experiments import RichReporter, SilentReporter, read_study
    from kyphos.experiments.decks.export import export_study

    spec = read_study(study, settings or [])
    _check_cards(spec)
    reporter = SilentReporter() if quiet else RichReporter()
    try:
        model = export_study(spec, to, state, run, reporter)
    finally:
        reporter.close()
    typer.echo(f"points {len(model.points_mm)}")
    typer.echo(f"cells {len(model.cells)}")
    typer.echo(model.title)


@command
def solve(
    deck: Annotated[Path, typer.Argument(help="A deck for Abaqus or CalculiX (.inp).", metavar="DECK")],
    out: Annotated[Path, typer.Option(help="Results folder.")],
    dialect: Annotated[str, typer.Option(help="Whose deck: calculix or abaqus; see docs/decks.md.")] = "calculix",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Solve a finite-element deck of somebody else's; write results.vtu and results.json."""
    from kyphos.experiments import decks

    def tell(increment: decks.Increment) -> None:
        if not quiet:
            record = increment.record
            told = f"step {record['step']}  time {record['time_s']:g}  iterations {record['iterations']}"
            typer.echo(f"{told}  residual {record['residual_n']:.2g}", err=True)

    solution = decks.solve_deck(decks.read_deck(deck, dialect), tell)
    decks.write_results(out, solution)
    for note in solution.notes:
        typer.echo(f"Note: {note}", err=True)
    if solution.failure is not None:
        kept = f"What converged is kept in {out}." if solution.steps else f"Nothing converged; {out} holds the mesh."
        raise ConvergenceError(f"{solution.failure} {kept}")
    for name, values in decks.reactions(solution, solution.steps[-1]).items():
        typer.echo(f"{name:<24} " + " ".join(f"{force:>14.6g}" for force in values["force_n"]))
    if not quiet:
        typer.echo(f"Results: {out}", err=True)


@command
def view(folder: RunArgument) -> None:
    """Draw the pictures of a run; print their files."""
    from kyphos.views import make_pictures

    for path in make_pictures(folder):
        typer.echo(path)


@command
def report(folder: RunArgument) -> None:
    """Write the report of a run, or of a study with [arms]; print its file."""
    from kyphos.experiments.arms_run import is_comparison
    from kyphos.views.report import write_report

    if is_comparison(folder):
        from kyphos import api

        api.compare([folder], folder)
        typer.echo(folder / "report.html")
        return
    typer.echo(write_report(folder))


@command
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Runs, or folders of studies with [arms].", metavar="DIR...")],
    out: Annotated[Path | None, typer.Option(help="Where it is written; default runs/compare-<n>.")] = None,
    pictures: Annotated[bool, typer.Option(help="Draw charts, pictures on one scale and report.")] = True,
) -> None:
    """Put runs side by side: one table, one colour scale, one report."""
    from kyphos import api
    from kyphos.experiments import default_folder

    folder = out or default_folder("compare")
    _print_table(api.compare(folders, folder, pictures=pictures))
    typer.echo(f"Comparison: {folder}", err=True)


@command
def validate(
    name: Annotated[
        str | None, typer.Argument(help="A row of the book, or a protocol for all its rows; default: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Coarse meshes, few specimens.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write validation.json, book.json, pictures; keep specimens, so that it can go on."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Specimens at a time, a thread each.")] = 2,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """The validation book: published value, our value, verdict. A stopped book goes on where it was (--out)."""
    from tempfile import TemporaryDirectory

    from kyphos.experiments import validation

    rows = validation.find_rows(name)
    resolution = validation.RESOLUTIONS["quick" if quick else "full"]
    with TemporaryDirectory(prefix="kyphos-") as scratch:
        folder = out if out is not None else Path(scratch)
        book = validation.run_book(
            rows,
            resolution,
            folder / "specimens",
            workers=processes,
            tell=None if quiet else functools.partial(typer.echo, err=True),
            command=" ".join(["kyphos validate", *([name] if name else []), *(["--quick"] if quick else [])]),
        )
    typer.echo(validation.table(book.findings))
    if out is not None:
        from kyphos.views.book import draw_book

        _, path = validation.write_book(out, book)
        pictures = draw_book(path)
        if not quiet:
            typer.echo(f"{out}: validation.json, book.json and {len(pictures)} pictures", err=True)


@command
def doctor() -> None:
    """Say what is installed, whether pictures can be drawn, and how fast this machine is."""
    from kyphos import checkup

    for name, finding in checkup.examine():
        typer.echo(f"{name:<26} {finding}")


def main() -> None:
    """Entry point of the ``kyphos`` command."""
    app(prog_name="kyphos")


def _chosen_study(study: str | None, out: Path | None, resume: bool) -> str | Path:
    """Return the study to run; to resume without one, that of the results folder."""
    from kyphos.experiments.spec import DEFAULT_STUDY

    if study is None and resume and out is not None and (out / "case.toml").is_file():
        return out / "case.toml"
    return study or DEFAULT_STUDY


def _check_cards(spec: StudySpec) -> None:
    """Load the cards that a study names, so that a wrong one is met before the run, not in the middle of it."""
    from kyphos.experiments.plan import CementStage
    from kyphos.experiments.specimen import bone_cards
    from kyphos.materials import cement_parameters, hu_line, load_card

    if spec.specimen.hu_calibration is not None:
        hu_line(spec.specimen.hu_calibration)
    for name in bone_cards(spec.specimen).values():
        _ = load_card(name).law
    if spec.coupon is not None:
        from kyphos.experiments.coupon import check_card

        check_card(spec.coupon)
    if spec.on_voxels:
        from kyphos.experiments.strength import check_cards

        for voxel_stage in spec.voxel_stages:
            check_cards(voxel_stage)
    for stage in spec.body_stages:
        if isinstance(stage, CementStage):
            cement_parameters(stage.card, [1.0, 1.0], [False, True], spec.mesh.element_size_mm)


def _run_arms(
    study: str | Path,
    out: Path | None,
    settings: list[str],
    resume: bool,
    dry_run: bool,
    quiet: bool,
    population: int,
    processes: int,
) -> None:
    """Run a comparison and print its table; an arm that found no equilibrium ends in exit code 3, after all others."""
    from kyphos import api
    from kyphos.experiments import RichReporter, SilentReporter
    from kyphos.experiments.arms import read_arms, to_toml

    asked = read_arms(study, settings)
    for arm in asked.arms:
        _check_cards(arm)
    if dry_run:
        typer.echo(to_toml(asked), nl=False)
        return
    reporter = SilentReporter() if quiet else RichReporter()
    options = {"resume": resume, "processes": processes, "population": population}
    found = api.run_arms(asked, out, reporter=reporter, **options)  # type: ignore[arg-type]
    _print_table(found)
    failed = [f"{arm.name}: {arm.message}" for arm in found.arms if arm.message]
    if failed:
        raise ConvergenceError("\n  ".join([f"{len(failed)} of {len(found.arms)} arms did not finish:", *failed]))


def _print_table(comparison: Comparison) -> None:
    from kyphos.experiments.comparison import felt_words, table_rows

    head, rows = table_rows(comparison)
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        typer.echo("  ".join([*cells, *(cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True))]))
    for sentence in felt_words(comparison):
        typer.echo(sentence)


def _print_outcomes(outcomes: dict[str, Outcome]) -> None:
    for name, outcome in outcomes.items():
        unit = "" if outcome.unit == "1" else f" {outcome.unit}"
        typer.echo(f"{name:<42} {outcome.value:.6g}{unit}")


def _say(text: str, error: BaseException) -> None:
    sys.stdout.flush()
    typer.echo("\n".join([text, *getattr(error, "__notes__", ())]), err=True)
