"""Decks are text files; their meshes come from the shapes of the verification tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "verification")]


@pytest.fixture(autouse=True)
def alone(one_thread):
    """Every test here runs on one thread."""


@pytest.fixture
def solve(tmp_path):
    """Solve the text of a deck: returns its summary (see results.json) and the solution."""
    from kyphos.experiments import decks
    from kyphos.experiments.decks.results import summary

    def solved(text: str, dialect: str = "calculix"):
        path = tmp_path / "deck.inp"
        path.write_text(text, encoding="utf-8")
        solution = decks.solve_deck(decks.read_deck(path, dialect))
        return summary(solution), solution

    return solved
