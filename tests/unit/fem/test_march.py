"""The march from load to load: what it does where steps of any length fail."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from shapes import cornered_cube

from kyphos.errors import ConvergenceError
from kyphos.fem import DirectSolver
from kyphos.fem.march import MarchSettings, march
from kyphos.fem.newton import NewtonSettings, held_load

module = importlib.import_module("kyphos.fem.march")  # the package's name stands for the function


@pytest.fixture
def pulled():
    """A cube that is pulled at a corner: structure, state, loads without and with the force."""
    structure, state, end = cornered_cube(1.0)
    return structure, state, replace(end, force=np.zeros(structure.size)), end


class Sticky:
    """Finds equilibria, but none away from a state under one of the ``places`` (N) that has not stood still there."""

    def __init__(self, *places: float, stands: bool = True, helps: bool = True) -> None:
        self.places, self.stands, self.helps = places, stands, helps
        self.stood: list[float] = []  # places where the load stood still, once for each time
        self.found: list[tuple[float, float]] = []  # seconds and cycles of each equilibrium
        self.solve = module.solve_equilibrium

    def __call__(self, structure, state, load, solver, newton, seconds=0.0, cycles=0.0, *given):
        here = round(float(held_load(structure, state, structure.free_load(state)).force[-1]), 6)
        if np.isclose(here, float(load.force[-1]), atol=1e-6):
            self.stood.append(here)
            if not self.stands:
                raise ConvergenceError("it does not stand")
        elif np.isclose(here, self.places, atol=1e-6).any() and not (self.helps and here in self.stood):
            raise ConvergenceError("it is stuck")
        self.found.append((seconds, cycles))
        return self.solve(structure, state, load, solver, newton, seconds, cycles, *given)


def gone(pulled, sticky, monkeypatch, length=0.25, newton=None) -> list[float]:
    """Shares of the path at which there was an equilibrium; it takes 8 s and 2 cycles."""
    structure, state, start, end = pulled
    monkeypatch.setattr(module, "solve_equilibrium", sticky)
    settings = MarchSettings(first=length, largest=length, newton=newton or NewtonSettings())
    steps = march(structure, state, start, end, DirectSolver(), settings, duration_s=8.0, cycles=2.0)
    return [step.share for step in steps]


def test_where_steps_of_any_length_fail_the_load_stands_still(pulled, monkeypatch):
    sticky = Sticky(0.5)
    assert gone(pulled, sticky, monkeypatch) == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert sticky.stood == [0.5]


def test_a_load_that_stands_still_takes_no_time(pulled, monkeypatch):
    sticky = Sticky(0.5)
    gone(pulled, sticky, monkeypatch)
    assert sticky.found.count((0.0, 0.0)) == 1
    np.testing.assert_allclose(np.sum(sticky.found, axis=0), [8.0, 2.0], rtol=1e-12)


@pytest.mark.parametrize("useless", ["stands", "helps"])
def test_a_rest_that_is_of_no_use_ends_with_the_error_of_the_step(pulled, monkeypatch, useless):
    sticky = Sticky(0.5, **{useless: False})
    with pytest.raises(ConvergenceError, match=r"it is stuck The step was already cut to 0\.002 .* at 0\.500 of it"):
        gone(pulled, sticky, monkeypatch)
    assert sticky.stood == [0.5]


class Noting(Sticky):
    """Notes under which settings the load stood still, and under which it went on."""

    def __init__(self, *places: float) -> None:
        super().__init__(*places)
        self.rests: list[NewtonSettings] = []
        self.others: list[NewtonSettings] = []

    def __call__(self, structure, state, load, solver, newton, *given):
        before = len(self.stood)
        try:
            return super().__call__(structure, state, load, solver, newton, *given)
        finally:
            (self.rests if len(self.stood) > before else self.others).append(newton)


@pytest.mark.parametrize("iterations", [20, 500])
def test_a_load_that_stands_still_is_given_time(pulled, monkeypatch, iterations):
    noting = Noting(0.5)
    usual = NewtonSettings(max_iterations=iterations)
    gone(pulled, noting, monkeypatch, newton=usual)
    (rest,) = noting.rests
    assert set(noting.others) == {usual}
    assert rest.patience > usual.patience
    assert rest.max_iterations >= max(iterations, 2 * rest.patience)
    assert replace(rest, patience=usual.patience, max_iterations=iterations) == usual


def test_a_march_stops_at_few_places(pulled, monkeypatch):
    sticky = Sticky(*np.linspace(0.0, 0.875, 8))
    with pytest.raises(ConvergenceError, match=r"at 0\.375 of it"):
        gone(pulled, sticky, monkeypatch, length=0.125)
    assert sticky.stood == pytest.approx([0.0, 0.125, 0.25])
