"""Cyclic time at length: the jump against every cycle solved, and its price in equilibria.

The specimen is the coarse parametric L1 of the built-in kyphoplasty; the two methods differ only in time steps.
"""

from __future__ import annotations

import pytest

from kyphos.experiments import read_study
from kyphos.experiments.run import run_study

pytestmark = pytest.mark.validation

COARSE = (
    "mesh.element_size_mm=5",
    "solver.threads=1",
    "solver.initial_step=1",
    "output.pictures=false",
    "output.fields=false",
    "test.strength_strain=0.005",
    "procedure.balloon_volume_ml=2",
    "cement.volume_ml=4",
)


def cycled(folder, *settings):
    """Result of the built-in kyphoplasty, coarse, with other cycles."""
    spec = read_study("kyphoplasty-pmma-L1", (*COARSE, *settings))
    return run_study(spec, folder)


@pytest.fixture(scope="module")
def jumped(tmp_path_factory):
    return cycled(tmp_path_factory.mktemp("cycling") / "jump")


@pytest.fixture(scope="module")
def direct(tmp_path_factory):
    return cycled(tmp_path_factory.mktemp("cycling") / "direct", "cycling.0.method=direct")


@pytest.mark.parametrize("place", ["anterior", "middle", "posterior"])
def test_direct_and_jump_agree_at_500_cycles(place, jumped, direct):
    assert float(direct.outcomes["equilibria"]) >= 1500
    loss, other = (float(result.outcomes[f"loss_{place}"]) for result in (direct, jumped))
    print(f"{place}: loss {loss:.4e} with every cycle solved, {other:.4e} with jumps: {other / loss - 1:+.2%}")
    assert abs(other - loss) < 0.01 * abs(loss)


@pytest.mark.parametrize(("count", "allowed"), [(500, 60), (20_000, 60), (100_000, 80)])
def test_the_price_of_many_cycles(count, allowed, jumped, tmp_path):
    result = jumped if count == 500 else cycled(tmp_path / "run", f"cycling.0.count={count}")
    print(f"{count} cycles: {float(result.outcomes['equilibria']):.0f} equilibria")
    assert float(result.outcomes["cycles"]) == count
    assert float(result.outcomes["equilibria"]) <= allowed


def test_valley_heights_only_fall(jumped):
    rows = jumped.history[(jumped.history["stage"] == "cycle_1") & (jumped.history["load_n"] == 100.0)]
    heights = rows[rows["cycle"] > 0]["height_anterior_mm"]
    assert len(heights) >= 5
    assert heights.is_monotonic_decreasing
    assert float(jumped.outcomes["retention_anterior"]) < 1.0
