"""The march from load to load: what it does where steps of any length fail."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from shapes import Hooke, block

from kyphos.errors import ConvergenceError
from kyphos.fem import DirectSolver, Structure, discretise, prescribe
from kyphos.fem.march import MarchSettings, march
from kyphos.fem.newton import held_load

module = importlib.import_module("kyphos.fem.march")  # the package's name stands for the function


@pytest.fixture
def pulled():
    """A cube on rollers under a force on one corner: structure, state, loads without and with the force."""
    points, cells = block((2.0, 2.0, 2.0), (2, 2, 2))
    structure = Structure(discretise(points, cells), Hooke(100.0, 0.3))
    state = structure.initial_state(np.zeros((len(cells), 8, 0)))
    low = [np.flatnonzero(points[:, i] < 1e-9) for i in range(3)]
    held = prescribe(len(points), (low[0], "x", 0.0), (low[1], "y", 0.0), (low[2], "z", 0.0)).ravel()
    start = replace(structure.free_load(state), fixed=~np.isnan(held), value=np.nan_to_num(held))
    force = np.zeros(structure.size)
    force[-1] = 1.0
    return structure, state, start, replace(start, force=force)


class Sticky:
    """Finds equilibria, but none away from a state under one of the ``places`` (N) that has not stood still there."""

    def __init__(self, *places: float, stands: bool = True) -> None:
        self.places, self.stands, self.rests = places, stands, []
        self.solve = module.solve_equilibrium

    def __call__(self, structure, state, load, *given):
        here, there = self.force_n(structure, state), float(load.force[-1])
        stuck = np.isclose(here, self.places, atol=1e-6).any()
        if np.isclose(here, there, atol=1e-6):
            self.rests.append(round(here, 6))
            if not self.stands:
                raise ConvergenceError("it does not stand")
        elif stuck and round(here, 6) not in self.rests:
            raise ConvergenceError("it is stuck")
        return self.solve(structure, state, load, *given)

    def force_n(self, structure, state) -> float:
        """The force that the corner bears."""
        return float(held_load(structure, state, structure.free_load(state)).force[-1])


def gone(pulled, sticky, monkeypatch, length=0.25) -> list[float]:
    """Shares of the path at which there was an equilibrium."""
    structure, state, start, end = pulled
    monkeypatch.setattr(module, "solve_equilibrium", sticky)
    steps = march(structure, state, start, end, DirectSolver(), MarchSettings(first=length, largest=length))
    return [step.share for step in steps]


def test_where_steps_of_any_length_fail_the_load_stands_still_once(pulled, monkeypatch):
    sticky = Sticky(0.5)
    assert gone(pulled, sticky, monkeypatch) == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert sticky.rests == [0.5]


def test_a_rest_that_is_of_no_use_ends_with_the_error_of_the_step(pulled, monkeypatch):
    sticky = Sticky(0.5, stands=False)
    with pytest.raises(ConvergenceError, match=r"it is stuck The step was already cut to 0\.002 .* at 0\.500 of it"):
        gone(pulled, sticky, monkeypatch)
    assert sticky.rests == [0.5]


def test_rests_are_few(pulled, monkeypatch):
    sticky = Sticky(*np.linspace(0.0, 0.875, 8))
    with pytest.raises(ConvergenceError, match=r"at 0\.625 of it"):
        gone(pulled, sticky, monkeypatch, length=0.125)
    assert sticky.rests == pytest.approx([0.0, 0.125, 0.25, 0.375, 0.5])
