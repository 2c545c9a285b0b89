"""Decks of other finite-element codes: what goes out to them, and what comes in."""
