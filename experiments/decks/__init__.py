"""Finite-element decks: those of others are read and solved, and studies are written for other codes.

The exporter is ``kyphos.experiments.decks.export.export_study``; it is not imported here, for it brings the runner.
"""

from .deck import Deck
from .read import read_deck
from .results import reactions, write_results
from .solve import Increment, Solution, solve_deck

__all__ = ["Deck", "Increment", "Solution", "reactions", "read_deck", "solve_deck", "write_results"]
