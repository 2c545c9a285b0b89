"""Halving the elements of a crushed vertebra: peak load and energy of crushing must not follow the mesh."""

from __future__ import annotations

import pytest

from kyphos.experiments import read_study
from kyphos.experiments.run import run_study
from kyphos.experiments.spec import SHORTHAND

WITHIN = 0.05
BARE = ["output.fields=false", "output.pictures=false"]


@pytest.mark.validation
def test_a_crushed_vertebra_does_not_depend_on_its_elements(tmp_path):
    """The parametric L1, pressed to its strength and wedged by a quarter, in elements of 2 and of 1 mm."""
    found = {}
    for size in (2.0, 1.0):
        spec = read_study("untreated-L1", [*BARE, f"mesh.element_size_mm={size}"])
        short = spec.model_copy(update={**dict.fromkeys(SHORTHAND), "stage": spec.stage[:2]})
        assert [stage.name for stage in short.stage] == ["intact", "fracture"]
        outcomes = run_study(short, tmp_path / f"{size:g}").outcomes
        found[size] = (outcomes["strength_intact_n"].value, outcomes["fracture_energy_j"].value)
    assert found[1.0] == pytest.approx(found[2.0], rel=WITHIN)
