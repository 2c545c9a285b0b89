"""Write the made tables of the pages in ``docs``: study keys, constants of the cards, keywords of decks, checks.

A page holds ``<!-- made: NAME -->`` and ``<!-- /made -->``; what stands between them is replaced. Run it
after a change of a key or a card: ``python tools/make_docs.py``; ``tests/unit/test_docs_pages.py`` says when.
After a change of a check add ``--wall``: the verification tests run and their numbers are kept anew. With
``--book DIR`` the validation book in DIR (``kyphos validate --out DIR``) becomes that of the page.
The page on the calibration is made from ``docs/calibration.json``, which the calibration writes; ``--profiles`` draws
its picture anew.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kyphos.experiments import tables, toml_text
from kyphos.experiments.calibration import report
from kyphos.experiments.cyclic import CYCLIC_PROTOCOLS
from kyphos.experiments.decks.keywords import KEYWORDS
from kyphos.experiments.explain import unit_of
from kyphos.experiments.plan import KINDS, StageTable
from kyphos.experiments.spec import StudySpec
from kyphos.materials import Card, cards_by_group, count_flags, list_cards, load_card, usage

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = (
    "study-file.md",
    "physics.md",
    "materials.md",
    "ct-strength.md",
    "decks.md",
    "verification.md",
    "calibration.md",
    "validation.md",
)
BOOK = DOCS / "validation-book.json"
BOOK_PICTURES = DOCS / "pictures" / "validation"
EVIDENCE = ROOT / "experiments" / "validation" / "evidence.csv"
WALL = ROOT / "tests" / "verification" / "wall.json"
CALIBRATION = DOCS / "calibration.json"
PROFILES = DOCS / "calibration-profiles.png"

TABLES: dict[str, type[BaseModel]] = {
    "specimen": tables.Specimen,
    "specimen.dimensions": tables.Dimensions,
    "coupon": tables.Coupon,
    "fracture": tables.Fracture,
    "procedure": tables.Procedure,
    "cement": tables.Cement,
    "cycling": tables.Cycling,
    "event": tables.EventTable,
    "test": tables.Measure,
    "mesh": tables.Mesh,
    "solver": tables.Solver,
    "output": tables.Output,
}
"""Name of a table of the study file -> its model."""

_MADE = re.compile(r"(<!-- made: (?P<name>[\w.-]+) -->\n).*?(<!-- /made -->)", re.DOTALL)
_FORCE = tables.Force.__metadata__[-1]  # type: ignore[attr-defined]  # the validator of forces
_KEY_HEAD = ("key", "unit", "default", "allowed", "meaning")
_WALL_HEAD = ("check", "right answer", "found", "allowed", "why so much", "test")
_CARD_HEAD = ("constant", "value", "unit", "range", "flag", "source")


def render(page: str) -> str:
    """Return the text of a page with all its made parts written anew; KeyError for an unknown name."""
    return _MADE.sub(lambda found: f"{found[1]}{_MAKERS[found['name']]()}{found[3]}", page)


def made_parts() -> tuple[str, ...]:
    """Return the names of all parts that can be made."""
    return tuple(_MAKERS)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), tuple("---" for _ in head), *(tuple(row) for row in rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _keywords() -> str:
    """One row per keyword of a deck, those that are ignored together in the last."""
    shown = {name: keyword for name, keyword in KEYWORDS.items() if keyword.optional is not None}
    ignored = ", ".join(f"`*{name}`" for name in KEYWORDS if name not in shown)
    rows = []
    for name, keyword in shown.items():
        required = [f"**{p}**" for p in sorted(keyword.required)]
        rows.append((f"`*{name}`", ", ".join([*required, *sorted(keyword.optional or ())]) or "–", keyword.meaning))
    return _table(("keyword", "parameters (**needed**)", "meaning"), [*rows, (ignored, "any", "read and ignored")])


def _keys(model: type[BaseModel], leave_out: Iterable[str] = ()) -> str:
    """One row per key of a model that holds a value, not a table."""
    shown = {name: field for name, field in model.model_fields.items() if name not in leave_out}
    rows = [_key_row(name, field) for name, field in shown.items() if not _models_in(field.annotation)]
    return _table(_KEY_HEAD, rows)


def _key_row(name: str, field: FieldInfo) -> tuple[str, ...]:
    meaning = (field.description or "").replace("<", "&lt;").replace(">", "&gt;")
    return f"`{name}`", unit_of(name) or "–", _default(field), _allowed(field), meaning


def _default(field: FieldInfo) -> str:
    """The default as TOML; a dash where a key that is left out stays out, or is filled in from others."""
    if field.default is None or field.default == "":
        return "–"
    literal = toml_text.dump({"x": field.default}).partition("= ")[2].strip()
    return f"`{literal}`"


def _allowed(field: FieldInfo) -> str:
    choices = list(_choices(field.annotation))
    if choices:
        several = get_origin(field.annotation) is tuple
        return ("any of " if several else "") + ", ".join(f"`{choice}`" for choice in choices)
    kinds = _plain_types(field.annotation)
    if bool in kinds:
        return "`true`, `false`"
    if str in kinds:
        return "list of text" if tuple in kinds else "text"
    return _span(field, whole=int in kinds)


def _span(field: FieldInfo, whole: bool) -> str:
    """The range of a number; forces between zero and a few newtons are refused as mistyped kilonewtons."""
    signs = ("gt", "ge", "le")
    limits = {sign: getattr(item, sign) for item in field.metadata for sign in signs if hasattr(item, sign)}
    low, high = (f"{limits.get(sign, limits.get('gt')):{'d' if whole else '.9g'}}" for sign in ("ge", "le"))
    if _FORCE in _carried(field.annotation, field.metadata) and low == "0":
        return f"0, or {tables.SMALLEST_FORCE_N:g} to {high}"
    return f"{'above ' if 'gt' in limits else ''}{low} to {high}{', whole' if whole else ''}"


def _carried(annotation: object, metadata: Iterable[object]) -> list[object]:
    """Everything that an annotation carries, also inside a union with None."""
    inner = [item for part in get_args(annotation) for item in _carried(part, ())]
    return [*metadata, *getattr(annotation, "__metadata__", ()), *inner]


def _choices(annotation: object) -> Iterable[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _choices(part)


def _plain_types(annotation: object) -> set[object]:
    parts = get_args(annotation)
    own = {get_origin(annotation) or annotation}
    return own.union(*(_plain_types(part) for part in parts)) if parts else own


def _models_in(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_models_in(part) for part in get_args(annotation))


def _stage(kind: str) -> str:
    """A stage's own keys; those that all stages share are told once, unless their default differs."""
    model = KINDS[kind]
    same = [
        name
        for name, field in StageTable.model_fields.items()
        if name in model.model_fields and model.model_fields[name].default == field.default
    ]
    meaning = (getdoc(model) or "").replace("``", "`")
    return f"{meaning}\n\n{_keys(model, ['kind', *same])}"


def _constants(name: str, base: str = "") -> str:
    """All constants of a card, or those that differ from the card it starts from."""
    known = load_card(base).constants if base else {}
    card = load_card(name)
    shown = [key for key, constant in card.constants.items() if known.get(key) != constant]
    return _table(_CARD_HEAD, (_constant_row(card, key) for key in shown))


def _constant_row(card: Card, key: str) -> tuple[str, ...]:
    c = card.constants[key]
    return f"`{key}`", f"{c.value:.6g}", c.unit, f"{c.low:.6g} to {c.high:.6g}", c.flag, c.origin


def _cyclic() -> str:
    """One row per cyclic protocol."""
    rows = []
    for name, found in CYCLIC_PROTOCOLS.items():
        blocks = "; ".join(f"{count} x {low:g} to {high:g} N" for count, low, high in found.blocks)
        rows.append((f"`{name}`", blocks, found.source, found.flag, found.note))
    return _table(("protocol", "cycles", "source", "flag", "note"), rows)


def _cards() -> str:
    cards = [load_card(name) for name in list_cards()]
    return _table(("card", "law", "what it is"), ((f"`{c.name}`", c.kind, c.meaning) for c in cards))


def _library() -> str:
    """All cards by group, a table each; what a card takes from the one that it extends is not told twice."""
    text = ""
    for heading, cards in cards_by_group().items():
        text += f"\n## {heading}\n"
        for card in cards:
            laws = ", ".join(f"{what} `{law}`" for what, law in _density_laws(card) if law)
            rest = f" What is not listed is as in `{card.base}`." if card.base else ""
            kind = f"{card.kind}{f' ({laws})' if laws else ''}: {usage(card)}."
            text += f"\n### `{card.name}`\n\n{card.meaning}{rest} {kind}\n\n{_constants(card.name, card.base)}"
    return text


def _density_laws(card: Card) -> tuple[tuple[str, str], ...]:
    return ("modulus", card.modulus_law), ("yield", card.yield_law)


def _library_count() -> str:
    counts = count_flags(load_card(name) for name in list_cards())
    told = " and ".join(f"{number} **{flag}**" for flag, number in counts.items())
    return f"{len(list_cards())} cards with {sum(counts.values())} constants: {told}.\n"


def evidence() -> dict[str, dict[str, str]]:
    """The rows of the evidence by id."""
    with (DOCS / "evidence.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def cited(source: str) -> list[str]:
    """Ids of the evidence that a source names."""
    return re.findall(r"\b[A-HJ]\d\d\b", source)


def _sources() -> str:
    """One row per row of the evidence that a card cites."""
    sources = " ".join(c.source for name in list_cards() for c in load_card(name).constants.values())
    rows = evidence()
    columns = ("id", "flag", "quantity", "source", "doi_or_pmid")
    return _table(
        ("id", "flag", "what", "source", "found by"),
        ([rows[i][c] for c in columns] for i in sorted(set(cited(sources)))),
    )


def _checks() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(Group, name) -> the rows of one check: one for each case of a test, which share one line of the page."""
    checks: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in json.loads(WALL.read_text(encoding="utf-8")):
        checks.setdefault((row["group"], row["name"]), []).append(row)
    return checks


def _wall() -> str:
    """A table for each group; of several cases the worst one is told."""
    checks, text = _checks(), ""
    for group in dict.fromkeys(group for group, _ in checks):
        rows = [_check_row(name, rows) for (of, name), rows in checks.items() if of == group]
        text += f"\n### {group}\n\n{_table(_WALL_HEAD, rows)}"
    return text + "\n"


def _check_row(name: str, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    row = (max if rows[0]["kind"] == "error" else min)(rows, key=lambda row: row["value"])
    test = "`" + row["test"].partition("::")[0] + "`"
    if row["kind"] == "order":
        return name, row["source"], f"{row['value']:.2f}", f"≥ {row['bound']:g}", row["because"], test
    found, bound = _amount(row["value"], row["unit"]), _amount(row["bound"], row["unit"])
    if row["kind"] == "contrast":
        return f"*must fail:* {name}", row["source"], found, f"> {bound}", row["because"], test
    return name, row["source"], found, bound, row["because"], test


def _amount(value: float, unit: str) -> str:
    """An error: in its unit, or in per cent, or as a power of ten where it is tiny."""
    if unit or value < 1e-4:
        return f"{value:.0e} {unit}".replace("e-0", "e-").strip()
    return f"{100.0 * value:.2g} %" if value < 0.995 else f"{100.0 * value:.0f} %"


def _wall_count() -> str:
    checks = _checks()
    failing = sum(rows[0]["kind"] == "contrast" for rows in checks.values())
    groups = len({group for group, _ in checks})
    return f"{len(checks) - failing} checks, and {failing} that must fail, in {groups} groups.\n"


def _calibrated() -> dict[str, Any]:
    return dict(json.loads(CALIBRATION.read_text(encoding="utf-8")))


def _calibration() -> str:
    return report.story(_calibrated()) + "\n"


def _directions() -> str:
    return _bullets(report.direction_lines(_calibrated()))


def _bullets(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _book() -> dict[str, Any]:
    book: dict[str, Any] = json.loads(BOOK.read_text(encoding="utf-8"))
    return book


def _book_about() -> str:
    """Where the numbers of the page come from."""
    about = _book()["about"]
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    resolution = about["resolution"]
    return (
        f"`{about['command']}`, {about['date']}: {about['specimens']} specimens, elements of "
        f"{resolution['element_size_mm']:g} mm, {about['wall_s'] / 60.0:.0f} min on {about['processes']} processes "
        f"({about['computing_s'] / 60.0:.0f} min of processor time). "
        f"Commit {about['commit'] or 'unknown'}, code {about['code']}; {versions}.\n"
    )


_BOOK_HEAD = ("row", "what", "published", "ours", "n", "unit", "z or factor", "verdict", "source", "flag")


def _book_rows(use: str) -> str:
    """All rows of one use, and how many got which verdict."""
    rows = [row for row in _book()["rows"] if row["use"] == use]
    verdicts = [row["verdict"] for row in rows]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    return _table(_BOOK_HEAD, map(_book_row, rows)) + f"\n{len(rows)} rows: {counts}.\n"


def _book_row(row: dict[str, Any]) -> tuple[str, ...]:
    good = row["verdict"].startswith(("within", "reproduced"))
    verdict = row["verdict"] if good else f"**{row['verdict']}**"
    unit = "" if row["unit"] == "1" else row["unit"]
    what = row["quantity"] + (f": {row['claim']}" if row["claim"] else "")
    numbers = (row["published_text"], row["ours_text"], str(row["count"] or "–"), unit, row["distance"])
    return f"`{row['name']}`", what, *numbers, verdict, row["source"], row["flag"]


def _book_protocols() -> str:
    """For each protocol what is done, on whom, the picture, and what is to be known of its rows."""
    book, text = _book(), ""
    for name, found in book["protocols"].items():
        rows = [row for row in book["rows"] if row["protocol"] == name]
        vbmd = [specimen["vbmd_mg_per_cc"] for specimen in found["specimens"]]
        levels = ", ".join(dict.fromkeys(specimen["level"] for specimen in found["specimens"]))
        who = f"{len(vbmd)} specimens ({levels}), {min(vbmd):.0f} to {max(vbmd):.0f} mg/cm³"
        text += f"\n### {name}\n\n{found['meaning']}. {who}, {found['computing_s']:.0f} s of processor time.\n\n"
        text += f"![{name}](pictures/validation/{name}.png)\n\n" + "".join(_book_notes(row) for row in rows)
    return text + "\n"


def _book_notes(row: dict[str, Any]) -> str:
    also = "; ".join(f"`{name}` {value:.3g}" for name, value in row["also"].items())
    parts = [row["note"], f"Also: {also}." if also else "", row["message"]]
    told = " ".join(part.rstrip() for part in parts if part)
    return f"- `{row['name']}`: {told}\n" if told else ""


def _keep_book(folder: Path) -> None:
    """Make the book in a folder that of the page."""
    from kyphos.views.book import draw_book

    shutil.copyfile(folder / "book.json", BOOK)
    shutil.rmtree(BOOK_PICTURES, ignore_errors=True)
    draw_book(BOOK, BOOK_PICTURES)


def _makers() -> dict[str, Callable[[], str]]:
    makers: dict[str, Callable[[], str]] = {"study": lambda: _keys(StudySpec, ["name", "materials"])}
    makers |= {name: lambda model=model: _keys(model) for name, model in TABLES.items()}  # type: ignore[misc]
    makers["stage"] = lambda: _keys(StageTable)
    makers["load_case"] = lambda: _keys(tables.LoadCase)
    makers |= {f"stage.{kind}": lambda kind=kind: _stage(kind) for kind in KINDS}  # type: ignore[misc]
    makers |= {"cards": _cards, "cyclic": _cyclic}
    makers |= {"library": _library, "library.count": _library_count, "library.sources": _sources}
    makers |= {"wall": _wall, "wall.count": _wall_count}
    makers["keywords"] = _keywords
    makers |= {"calibration": _calibration, "calibration.directions": _directions}
    makers["calibration.constants"] = lambda: _table(*report.parameter_table(_calibrated()))
    makers["calibration.rows"] = lambda: _table(*report.row_table(_calibrated()))
    makers["calibration.left_out"] = lambda: _bullets(report.left_out_lines(_calibrated()))
    makers["calibration.open"] = lambda: report.open_questions(_calibrated()) + "\n"
    makers |= {f"book.{use}": lambda use=use: _book_rows(use) for use in ("calibrate", "check", "seed")}  # type: ignore[misc]
    makers |= {"book.about": _book_about, "book.protocols": _book_protocols}
    for card, base in (("trabecular", ""), ("shell", "trabecular"), ("endplate", "trabecular")):
        makers[f"card.{card}"] = lambda card=card, base=base: _constants(card, base)  # type: ignore[misc]
    makers["card.calcium-phosphate-brushite"] = lambda: _constants("calcium-phosphate-brushite", "calcium-phosphate")
    cements = ("pmma", "pmma-low-modulus", "calcium-phosphate", "interdigitated", "cement-bone-interface")
    for card in (*cements, "ct-bone", "pmma-cap"):
        makers[f"card.{card}"] = lambda card=card: _constants(card)  # type: ignore[misc]
    return makers


_MAKERS = _makers()


def main() -> None:
    """Write the pages and the package's copy of the evidence; see above for the options."""
    if "--wall" in sys.argv[1:]:
        about_the_page = [f"--ignore={WALL.parent / name}" for name in ("test_wall.py", "test_mutants.py")]
        command = [sys.executable, "-m", "pytest", "-q", *about_the_page, str(WALL.parent)]
        subprocess.run(command, env={**os.environ, "KYPHOS_WALL": str(WALL)}, check=True)
    if "--profiles" in sys.argv[1:]:
        from kyphos.views.calibration import profile_chart

        profile_chart(_calibrated()).savefig(PROFILES, dpi=110)
    if "--book" in sys.argv[1:]:
        _keep_book(Path(sys.argv[sys.argv.index("--book") + 1]))
    shutil.copyfile(DOCS / "evidence.csv", EVIDENCE)
    for name in PAGES:
        path = DOCS / name
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
