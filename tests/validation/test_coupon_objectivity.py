"""Halving the elements of a crushed core: peak load and work of crushing must not follow the mesh."""

from __future__ import annotations

import pytest

from kyphos.experiments import read_study
from kyphos.experiments.run import run_study

WITHIN = 0.05
SOFT = ["coupon.ends=slide", "coupon.soft_share=0.2"]
COMMON = ["stage.0.end_strain=0.15", "stage.0.steps=150", "output.fields=false", "output.pictures=false"]


@pytest.mark.validation
@pytest.mark.parametrize("ends", [["coupon.ends=stick"], SOFT], ids=["held ends", "soft band"])
def test_a_crushed_core_does_not_depend_on_its_elements(ends, tmp_path):
    """An 8 x 10 mm core of trabecular bone, crushed by 15 % in elements of 2 and of 1 mm."""
    found = {}
    for size in (2.0, 1.0):
        settings = [*ends, *COMMON, f"mesh.element_size_mm={size}"]
        result = run_study(read_study("core-compression", settings), tmp_path / f"{size:g}")
        found[size] = (result.history["load_n"].max(), result.outcomes["work_compression_mj"].value)
    assert found[1.0] == pytest.approx(found[2.0], rel=WITHIN)
