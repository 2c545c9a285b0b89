"""Pieces of a self-contained page: figures, tables, tiles, the style of all reports."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import pandas as pd


def page(template: str, parts: dict[str, str]) -> str:
    """Fill a page of ``templates`` with its parts; KeyError if one is missing."""
    folder = files("kyphos.views") / "templates"
    style = (folder / "style.css").read_text(encoding="utf-8")
    return Template((folder / template).read_text(encoding="utf-8")).substitute(parts, style=style)


def embed(path: Path, caption: str) -> str:
    """A picture file inside the page, with words below; nothing if there is no such file."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    words = escape(caption)
    image = f'<img alt="{words}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; cells that look like numbers stand to the right."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads) if any(heads) else ""
    body = "".join(f"<tr>{''.join(_td(cell) for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _td(cell: object) -> str:
    text = str(cell)
    numeric = text != "" and pd.notna(pd.to_numeric(text, errors="coerce"))
    opening = '<td class="n">' if numeric else "<td>"
    return f"{opening}{escape(text)}</td>"


def digits(value: float) -> str:
    """Four digits, no exponent where a reader would not want one."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


def tile(value: str, words: str) -> str:
    """One number that answers a question, with the words that say which."""
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(words)}</span></div>'
