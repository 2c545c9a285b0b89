from __future__ import annotations

import law_bench as bench
import numpy as np
import pytest

from kyphos.errors import ConvergenceError, MaterialError
from kyphos.materials import (
    CRUSHABLE_BONE,
    DUCTILE_CEMENT,
    LINEAR_ELASTIC,
    MaterialField,
    bone_rows,
    drive,
    drive_uniaxial,
    load_card,
)

ELASTIC = bench.EXAMPLES["elastic"][1]


def mixed():
    return MaterialField(
        ((CRUSHABLE_BONE, [4, 0, 2], bench.BONE), (LINEAR_ELASTIC, [1, 3], ELASTIC)), n_cells=5, n_points=8
    )


def test_blocks_answer_as_they_would_alone():
    rng = np.random.default_rng(1)
    strain = rng.uniform(-0.02, 0.02, size=(5, 8, 6))
    field = mixed()
    response = field.update(strain, field.initial_state())
    alone = bench.points(LINEAR_ELASTIC, ELASTIC, 1)
    for cell in (1, 3):
        for point in range(8):
            single = alone.update(strain[cell, point][None, None], alone.initial_state())
            np.testing.assert_array_equal(response.stress[cell, point], single.stress[0, 0])
    assert response.stress.shape == (5, 8, 6)
    assert response.tangent.shape == (5, 8, 6, 6)
    assert response.state.shape == (5, 8, field.state_size)
    assert response.status.dtype == np.int8


def test_the_answer_does_not_depend_on_the_order_of_cells_or_the_threads():
    rng = np.random.default_rng(2)
    strain = rng.uniform(-0.05, 0.05, size=(64, 4, 6))
    density = rng.uniform(0.05, 0.2, size=64)
    rows = bone_rows(load_card("trabecular"), density, np.full(64, 2.0))
    order = rng.permutation(64)
    one = MaterialField(((CRUSHABLE_BONE, np.arange(64), rows),), 64, 4)
    two = MaterialField(((CRUSHABLE_BONE, order, rows[order]),), 64, 4)
    np.testing.assert_array_equal(
        one.update(strain, one.initial_state()).stress, two.update(strain, two.initial_state()).stress
    )


def test_state_is_only_read():
    field = mixed()
    state = field.initial_state()
    strain = np.full((5, 8, 6), -0.01)
    before = strain.copy()
    field.update(strain, state, 10.0, 5.0)
    assert (state == 0.0).all()
    np.testing.assert_array_equal(strain, before)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (((LINEAR_ELASTIC, [0, 1], ELASTIC),), "cell 2 is in 0 blocks"),
        (((LINEAR_ELASTIC, [0, 1, 2], ELASTIC), (CRUSHABLE_BONE, [1], bench.BONE)), "cell 1 is in 2 blocks"),
        (((LINEAR_ELASTIC, [0, 1, 3], ELASTIC),), "does not exist"),
        (((LINEAR_ELASTIC, [0, 1, 2], ELASTIC[:1]),), "expected .cells, 2"),
        (((LINEAR_ELASTIC, [0, 1, 2], np.tile(ELASTIC, (2, 1))),), "one row each"),
        (((LINEAR_ELASTIC, [0, 1, 2], [np.nan, 0.3]),), "youngs_modulus_mpa=nan"),
        (((LINEAR_ELASTIC, [0, 1, 2], [2500.0, 0.5]),), r"poisson_ratio=0.5 .* \[-0.5, 0.49999\]"),
    ],
)
def test_bad_blocks(blocks, message):
    with pytest.raises(MaterialError, match=message):
        MaterialField(blocks, 3, 1)


def test_bad_arguments_of_update():
    field = mixed()
    state, strain = field.initial_state(), np.zeros((5, 8, 6))
    with pytest.raises(MaterialError, match="strain has shape"):
        field.update(strain[:4], state)
    with pytest.raises(MaterialError, match="state has shape"):
        field.update(strain, state[..., 1:])
    for dt_s, cycles in ((-1.0, 0.0), (0.0, -1.0), (np.nan, 0.0), (0.0, np.inf)):
        with pytest.raises(MaterialError, match="not negative"):
            field.update(strain, state, dt_s, cycles)


def test_state_fields_by_name():
    field = mixed()
    strain = np.zeros((5, 8, 6))
    strain[..., 2] = -0.02
    state = field.update(strain, field.initial_state()).state
    damage = field.state_field(state, "damage")
    assert damage.shape == (5, 8)
    assert (damage[[0, 2, 4]] > 0.1).all()
    assert (damage[[1, 3]] == 0.0).all()
    assert field.state_field(state, "plastic_strain").shape == (5, 8, 6)
    for name in ("kappa", "compaction", "fatigue_damage", "creep_strain_eq"):
        assert field.state_field(state, name).shape == (5, 8)
    with pytest.raises(MaterialError, match="no material here has the state 'rust'"):
        field.state_field(state, "rust")


def test_cells_change_their_law_between_stages():
    """Bone, then void, then cement: the rest keeps its state, the cement starts unused."""
    field = mixed()
    strain = np.zeros((5, 8, 6))
    strain[..., 2] = -0.02
    state = field.update(strain, field.initial_state()).state
    void, pmma = load_card("void"), load_card("pmma")
    emptied = field.replace([0, 1], void.law, void.row())
    filled = emptied.replace([0, 1], pmma.law, pmma.row())
    assert filled.laws().tolist() == [DUCTILE_CEMENT.name] * 2 + [
        CRUSHABLE_BONE.name,
        "LinearElastic",
        CRUSHABLE_BONE.name,
    ]
    carried = filled.carry_state(emptied.carry_state(state, fresh=[0, 1]), fresh=[0, 1])
    assert (carried[[0, 1]] == 0.0).all()
    np.testing.assert_array_equal(carried[[2, 4]], state[[2, 4]])
    assert field.laws()[0] == CRUSHABLE_BONE.name  # the old field is as it was
    again = filled.update(strain, carried)
    assert (again.status == 0).all()
    with pytest.raises(MaterialError, match="twice"):
        field.replace([0, 0], void.law, void.row())


def test_carry_state_pads():
    small = bench.points(LINEAR_ELASTIC, ELASTIC, 2)
    large = small.replace([1], CRUSHABLE_BONE, bench.BONE)
    assert large.carry_state(small.initial_state(), fresh=[1]).shape == (2, 1, CRUSHABLE_BONE.state_size)
    assert small.carry_state(large.initial_state()).shape == (2, 1, 0)


def test_lab_reports_a_stress_that_cannot_be_reached():
    with pytest.raises(ConvergenceError, match="does not reach its stress"):
        drive_uniaxial(CRUSHABLE_BONE, bench.BONE, [0.1, 10.0], control="stress")


def test_lab_rejects_bad_requests():
    with pytest.raises(MaterialError, match=r"expected \(steps, 6\)"):
        drive(LINEAR_ELASTIC, ELASTIC, [0.0, 1.0])
    with pytest.raises(MaterialError, match="use xx, yy or zz"):
        drive_uniaxial(LINEAR_ELASTIC, ELASTIC, [0.0], axis="z")
    with pytest.raises(MaterialError, match="has no state"):
        drive_uniaxial(LINEAR_ELASTIC, ELASTIC, [0.0]).variable("damage")


def test_inelastic_strain_is_what_sudden_unloading_leaves():
    """Crushed bone: stress over the damaged stiffness is the strain less what `inelastic_strain` says."""
    row = bench.BONE.copy()
    row[[parameter.name for parameter in CRUSHABLE_BONE.parameters].index("tension_share")] = 1.0  # gaps are elastic
    field = bench.points(CRUSHABLE_BONE, row, 1)
    state, strain = field.initial_state(), np.zeros((1, 1, 6))
    for crush, wait_s in ((-0.004, 0.0), (-0.02, 0.0), (-0.02, 100.0)):
        strain[0, 0, 2] = crush
        done = field.update(strain, state, wait_s)
        state = done.state
    damage = field.state_field(state, "damage")[0, 0]
    virgin = field.update(np.zeros((1, 1, 6)), field.initial_state()).tangent[0, 0]
    elastic = np.linalg.solve((1.0 - damage) * virgin, done.stress[0, 0])
    np.testing.assert_allclose(strain[0, 0] - field.inelastic_strain(state)[0, 0], elastic, atol=1e-12)
    assert abs(field.inelastic_strain(state)[0, 0, 2]) > 0.005
    assert mixed().remembers.tolist() == [True, False, True, False, True]
