"""A bench survives its checkpoint to the last bit, whatever has been done to it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from kyphos.experiments.checkpoint import pack, unpack
from kyphos.experiments.plan import CementStage

STAGES = ("intact", "fracture", "hold", "reduced", "deflated", "cement", "cycled")


def through_a_file(bench, fresh):
    """Pack, write as a checkpoint is written, read, unpack."""
    arrays, meta = pack(bench)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as archive:
        read = {name: archive[name] for name in archive.files}
    return unpack(read, json.loads(json.dumps(meta)), fresh)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_lost(stage, bench_after, untouched):
    bench = bench_after(stage)
    again = through_a_file(bench, untouched)
    for part in ("state", "load"):
        for name, array in vars(getattr(bench, part)).items():
            np.testing.assert_array_equal(getattr(getattr(again, part), name), array, err_msg=f"{part}.{name}")
    for name in ("gradient", "weight"):
        np.testing.assert_array_equal(getattr(again.structure.mesh, name), getattr(bench.structure.mesh, name))
    np.testing.assert_array_equal(again.cavity, bench.cavity)
    np.testing.assert_array_equal(again.cement_share, bench.cement_share)
    assert [block.law.name for block in again.field.blocks] == [block.law.name for block in bench.field.blocks]
    for ours, theirs in zip(again.field.blocks, bench.field.blocks, strict=True):
        np.testing.assert_array_equal(ours.cells, theirs.cells)
        np.testing.assert_array_equal(ours.parameters, theirs.parameters)


@pytest.mark.parametrize("stage", ["reduced", "cement"])
def test_the_same_state_gives_the_same_forces(stage, bench_after, untouched):
    bench = bench_after(stage)
    before, after = (b.structure.evaluate(b.state) for b in (bench, through_a_file(bench, untouched)))
    np.testing.assert_array_equal(after.force_n, before.force_n)
    np.testing.assert_array_equal(after.stiffness.data, before.stiffness.data)
    np.testing.assert_array_equal(after.volume_mm3, before.volume_mm3)


def test_a_live_bench_equals_its_checkpoint(walk, bench_after, untouched):
    """Not only read back twice: what a stage ends with, rebased cells and all, is what comes out of the file."""
    _, ended = walk(CementStage(volume_ml=5.0), bench_after("deflated"))
    again = through_a_file(ended.bench, untouched)
    assert len(again.rebases) == len(ended.bench.rebases) == 3  # balloons, emptied cavities, cement
    for ours, theirs in zip(again.rebases, ended.bench.rebases, strict=True):
        np.testing.assert_array_equal(ours.points_mm, theirs.points_mm)
    here, there = (b.structure.evaluate(b.state) for b in (again, ended.bench))
    np.testing.assert_array_equal(here.force_n, there.force_n)
    np.testing.assert_array_equal(here.response.stress, there.response.stress)


def test_balloons_and_rebased_cells_are_among_them(bench_after):
    assert [cavity.name for cavity in bench_after("reduced").structure.cavities] == ["balloon_1", "balloon_2"]
    assert bench_after("reduced").state.pressure_mpa.min() > 0.0
    assert [len(bench_after(stage).rebases) for stage in ("reduced", "deflated", "cement")] == [1, 2, 3]
    assert bench_after("cement").cement_share.any()
