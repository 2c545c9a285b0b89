"""Finite-element decks: those of others are read and solved."""

from .deck import Deck
from .read import read_deck
from .results import reactions, write_results
from .solve import Increment, Solution, solve_deck

__all__ = ["Deck", "Increment", "Solution", "reactions", "read_deck", "solve_deck", "write_results"]
