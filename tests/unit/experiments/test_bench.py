"""The specimen on the machine: loads, load lines, materials and shapes, each action by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kyphos import fem, materials
from kyphos.errors import ConvergenceError
from kyphos.experiments.bench import (
    BOTTOM,
    TOP,
    carried_n,
    current_force_n,
    drive_load,
    force_load,
    last,
    on_load_line,
    rebased,
    to_force,
    with_cavities,
    with_material,
)
from kyphos.experiments.run import specimen_bench


@pytest.fixture(scope="module")
def loaded(untouched, controls):
    """The intact specimen under 200 N."""
    return last(untouched, to_force(untouched, 200.0, controls))


def test_an_untouched_specimen_stands_unloaded(untouched):
    assert untouched.approach_mm == 0.0
    assert current_force_n(untouched) == pytest.approx(0.0, abs=1e-9)
    assert untouched.body.level == "L1"
    np.testing.assert_array_equal(untouched.points_mm, untouched.mesh.points_mm)
    assert not untouched.cavity.any()
    assert not untouched.cement_share.any()
    heights = untouched.heights_mm()
    assert set(heights) == {"anterior", "middle", "posterior"}
    assert all(0.5 < mm / untouched.body.height_mm < 1.5 for mm in heights.values())


def test_a_study_s_own_cards_reach_the_cells(untouched):
    """The shell of `shell-scaled` at vBMD 80 is 12000 (80/120)^0.39 MPa; trabecular bone keeps its card."""
    chosen = specimen_bench(untouched.mesh, {"shell": "shell-scaled"})
    stiff = [parameters_of(bench, "L1.shell")[:, 0] for bench in (untouched, chosen)]
    share = untouched.body.shell_share
    filler = (1.0 - share) * 2980.0 * 0.08**1.05
    np.testing.assert_allclose(stiff[0], share * 4700.0 + filler)
    np.testing.assert_allclose(stiff[1], share * 12000.0 * (80.0 / 120.0) ** 0.39 + filler, rtol=1e-6)
    for bench in (untouched, chosen):
        assert parameters_of(bench, "L1.trabecular")[:, 0].mean() == pytest.approx(210.0, rel=0.02)


def parameters_of(bench, region):
    """Parameters (k, p) of the cells of one region."""
    cells = np.flatnonzero(bench.mesh.region == bench.mesh.region_names.index(region))
    block = next(block for block in bench.field.blocks if np.isin(cells, block.cells).all())
    return block.parameters[np.isin(block.cells, cells)]


def test_a_force_is_reached_and_shortens_the_bone(untouched, loaded):
    assert current_force_n(loaded) == pytest.approx(200.0, rel=1e-5)
    assert 0.0 < loaded.approach_mm < 0.2
    before, after = untouched.heights_mm(), loaded.heights_mm()
    assert all(after[place] < before[place] for place in ("anterior", "middle"))
    assert untouched.approach_mm == 0.0  # a bench is a value


def test_the_lower_platen_stands_and_the_upper_one_only_tilts(loaded):
    motion = {p.name: loaded.state.motion[i] for i, p in enumerate(loaded.structure.platens)}
    np.testing.assert_array_equal(motion[BOTTOM], np.zeros(6))
    assert motion[TOP][[0, 1, 4, 5]] == pytest.approx([0.0] * 4, abs=1e-12)
    assert motion[TOP][3] != 0.0


def test_a_locked_platen_does_not_tilt(untouched, controls):
    locked = last(untouched, to_force(untouched, 200.0, controls, locked=True))
    assert locked.state.motion[0][3:] == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)


def test_a_drive_goes_where_it_is_told_and_feels_the_same_force(loaded, controls):
    start, end = drive_load(loaded, loaded.approach_mm), drive_load(loaded, loaded.approach_mm + 0.02)
    *_, step = fem.march(loaded.structure, loaded.state, start, end, controls.solver, controls.march)
    driven = loaded.after(step)
    assert driven.approach_mm == pytest.approx(loaded.approach_mm + 0.02, abs=1e-12)
    assert carried_n(driven, step.equilibrium) == pytest.approx(current_force_n(driven), rel=1e-9)
    assert current_force_n(driven) > 250.0


def test_a_new_load_line_moves_nothing(loaded):
    moved = on_load_line(loaded, 9.0)
    np.testing.assert_array_equal(moved.points_mm, loaded.points_mm)
    assert moved.structure.platens[0].centre_mm[1] == pytest.approx(loaded.structure.platens[0].centre_mm[1] + 9.0)
    platen, motion = moved.structure.platens[0], moved.state.motion[0]
    np.testing.assert_allclose(
        fem.rigid.platen_displacement(platen, moved.mesh.points_mm, motion),
        loaded.state.displacement_mm[platen.nodes],
        atol=1e-12,
    )
    back = on_load_line(moved, 0.0)
    np.testing.assert_allclose(back.state.motion, loaded.state.motion, atol=1e-14)


def test_an_anterior_load_line_wedges_the_body(untouched, controls):
    centred, front = (
        last(bench, to_force(bench, 300.0, controls)).heights_mm()
        for bench in (untouched, on_load_line(untouched, 10.0))
    )
    assert front["anterior"] < centred["anterior"]
    assert front["posterior"] > centred["posterior"]


def test_other_material_starts_anew_and_the_rest_remembers(bench_after):
    bench = bench_after("fractured")
    pmma = materials.load_card("pmma")
    crushed = bench.field.state_field(bench.state.history, "kappa").max(axis=1)
    cells = np.argsort(crushed)[-5:]
    changed = with_material(bench, cells, pmma.law, pmma.row())
    assert (changed.field.laws()[cells] == pmma.law.name).all()
    assert not changed.state.history[cells].any()
    assert changed.structure.material is changed.field
    others = np.setdiff1d(np.arange(len(crushed)), cells)
    now = changed.field.state_field(changed.state.history, "kappa").max(axis=1)
    np.testing.assert_array_equal(now[others], crushed[others])
    assert crushed[cells].min() > 0.0 == now[cells].max()


def test_rebased_cells_are_free_of_stress(bench_after):
    bench = bench_after("fractured")
    pmma = materials.load_card("pmma")
    cells = np.flatnonzero(bench.mesh.region == bench.mesh.region_names.index("L1.trabecular"))[:7]
    stiff = with_material(bench, cells, pmma.law, pmma.row())
    strained = stiff.structure.evaluate(stiff.state)
    free = rebased(stiff, cells)
    relaxed = free.structure.evaluate(free.state)
    assert np.abs(strained.response.stress[cells]).max() > 1.0
    assert np.abs(relaxed.response.stress[cells]).max() < 1e-9
    assert len(free.rebases) == 1
    np.testing.assert_array_equal(free.rebases[0].cells, cells)


def test_cavities_come_and_go(untouched):
    cells = np.flatnonzero(untouched.mesh.region == untouched.mesh.region_names.index("L1.trabecular"))[:4]
    filled = with_cavities(untouched, (fem.Cavity("balloon_1", cells),), np.array([0.5]))
    assert filled.structure.size == untouched.structure.size + 1
    assert force_load(filled, 100.0).volume_mm3 == pytest.approx(filled.structure.cavity_volumes(filled.state))
    drained = with_cavities(filled, (), np.zeros(0))
    assert drained.structure.size == untouched.structure.size
    assert drained.state.pressure_mpa.size == 0


def test_a_force_above_the_strength_is_said_to_be_one(untouched, controls):
    hasty = replace(controls, march=replace(controls.march, smallest=0.1))
    with pytest.raises(ConvergenceError, match="strength") as caught:
        last(untouched, to_force(untouched, 4000.0, hasty))
    assert "4000 N" in str(caught.value)


@pytest.mark.parametrize("gain", [1e2, 1e4, 1e8, 1e12])
def test_a_wild_trial_is_turned_down_and_never_crashes(gain, untouched):
    """Newton's steps overshoot beyond the strength: a state of any stretch has forces, or none."""
    points = untouched.mesh.points_mm
    wild = replace(untouched.state, displacement_mm=points * (gain, 1.0, 1.0 / gain) - points)
    evaluation = untouched.structure.evaluate(wild)
    assert evaluation is None or np.isfinite(evaluation.force_n).all()
