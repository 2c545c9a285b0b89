"""Plastic laws at a point, and load paths on small voxel grids."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kyphos.errors import InputError
from kyphos.fem import voxel
from kyphos.fem.kernels.voxel_plastic import j2_cell, tresca_point
from kyphos.fem.voxel import J2, BatchLaw, Hold, PlasticSettings, Tresca, face_nodes, offset_strength, solve_plastic
from kyphos.fem.voxel.cube import elasticity

YOUNG, POISSON, YIELD = 1000.0, 0.3, 8.0
BULK, SHEAR = YOUNG / (3 * (1 - 2 * POISSON)), YOUNG / (2 * (1 + POISSON))


def point(strain, law="tresca", state=None, hardening=0.0):
    """Stress (6,), tangent (6, 6), new state (7,) and whether the point flows."""
    stress, new, tangent = np.zeros(6), np.zeros(7), np.zeros((6, 6))
    state = np.zeros(7) if state is None else state
    if law == "tresca":
        flows = tresca_point(strain, state, BULK, SHEAR, YIELD, stress, new, tangent)
    else:
        return same_at_all_points(strain, state, hardening)
    return stress, tangent, new, flows


def same_at_all_points(strain, state, hardening):
    stress, new, packed = np.zeros((8, 6)), np.zeros((8, 7)), np.zeros((21, 8), np.float32)
    eps, work = np.repeat(strain[:, None], 8, axis=1), np.zeros((9, 8))
    flows = j2_cell(eps, np.tile(state, (8, 1)), BULK, SHEAR, YIELD, hardening, stress, new, packed, work)
    tangent = np.zeros((6, 6))
    tangent[np.triu_indices(6)] = packed[:, 5]
    tangent = YOUNG * elasticity(POISSON) if flows == 0 else np.triu(tangent) + np.triu(tangent, 1).T
    return stress[5], tangent, new[5], flows == 8


def principal(stress):
    x, y, z, xy, yz, xz = stress
    return np.linalg.eigvalsh([[x, xy, xz], [xy, y, yz], [xz, yz, z]])


@pytest.mark.parametrize("law", ["tresca", "j2"])
@pytest.mark.parametrize("seed", range(8))
def test_tangent_is_the_derivative_of_stress(law, seed):
    generator = np.random.default_rng(seed)
    strain = generator.uniform(-0.03, 0.03, 6)
    state = point(generator.uniform(-0.03, 0.03, 6), law)[2]
    tangent, step = point(strain, law, state, 50.0)[1], 1e-7
    for v in range(6):
        up, down = strain.copy(), strain.copy()
        up[v] += step
        down[v] -= step
        slope = (point(up, law, state, 50.0)[0] - point(down, law, state, 50.0)[0]) / (2 * step)
        np.testing.assert_allclose(tangent[:, v], slope, rtol=0, atol=2e-5 * YOUNG)
    np.testing.assert_allclose(tangent, tangent.T, atol=1e-9 * YOUNG)


@pytest.mark.parametrize("strain", np.random.default_rng(1).normal(0, 0.02, (8, 6)))
def test_tresca_stress_lies_on_the_hexagon_and_keeps_the_pressure(strain):
    stress, _, new, flows = point(strain)
    assert flows
    values = principal(stress)
    assert values[2] - values[0] == pytest.approx(YIELD, rel=1e-12)
    assert stress[:3].sum() == pytest.approx(3 * BULK * strain[:3].sum(), rel=1e-9, abs=1e-9)
    assert abs(new[:3].sum()) < 1e-15  # plastic flow keeps the volume
    halves = np.array([1, 1, 1, 0.5, 0.5, 0.5])
    elastic = (strain * halves - new[:6]) / halves
    np.testing.assert_allclose(stress, YOUNG * elasticity(POISSON) @ elastic, atol=1e-9)


@pytest.mark.parametrize(
    ("strain", "spread"),
    [
        ([0.05, -0.025, -0.025, 0, 0, 0], YIELD),  # uniaxial tension: a corner
        ([-0.05, 0.025, 0.025, 0, 0, 0], YIELD),  # compression: the other corner
        ([0, 0, 0, 0.05, 0, 0], YIELD),  # pure shear: one plane
    ],
)
def test_tresca_in_textbook_states(strain, spread):
    stress = point(np.array(strain, dtype=float))[0]
    values = principal(stress)
    assert values[2] - values[0] == pytest.approx(spread, rel=1e-12)
    if strain[3]:
        assert stress[3] == pytest.approx(YIELD / 2, rel=1e-12)  # half, where von Mises says 0.577
    else:
        assert stress[1] == pytest.approx(stress[2], abs=1e-9)


def uniaxial(law, factors, strain=0.01, n=4, **options):
    moduli = np.full((n, n, n), YOUNG)
    conditions = [
        Hold("bottom", face_nodes(moduli, "z-"), (None, None, 0.0)),
        Hold("top", face_nodes(moduli, "z+"), (None, None, -strain * n)),
    ]
    return solve_plastic(moduli, 1.0, POISSON, law, conditions, factors, **options)


@pytest.mark.parametrize("law", [Tresca(YIELD), J2(YIELD)])
def test_uniaxial_compression_is_elastic_then_flat(law):
    result = uniaxial(law, [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(-result.force_n("top")[:, 2] / 16.0, [5.0, 8.0, 8.0, 8.0], rtol=1e-5)
    np.testing.assert_allclose(result.plastic_strain, 0.02 - YIELD / YOUNG, rtol=1e-4)
    assert np.all(result.yielded == 1.0)


def test_uniaxial_hardening_and_unloading():
    hardening = 0.05 * YOUNG
    result = uniaxial(J2(YIELD, hardening), [0.5, 1.0, 2.0, 1.5])
    slope = YOUNG * hardening / (YOUNG + hardening)
    peak = YIELD + slope * (0.02 - YIELD / YOUNG)
    expected = [5.0, YIELD + slope * (0.01 - YIELD / YOUNG), peak, peak - 0.005 * YOUNG]
    np.testing.assert_allclose(-result.force_n("top")[:, 2] / 16.0, expected, rtol=1e-5)


@pytest.mark.parametrize(("law", "factor"), [(Tresca(YIELD), 1.0), (J2(YIELD), 2 / np.sqrt(3))])
def test_plane_strain_compression_tells_the_laws_apart(law, factor):
    """Biaxial: no strain along y; Tresca yields at the uniaxial stress, von Mises 15 % above."""
    moduli = np.full((3, 3, 3), YOUNG)
    conditions = [
        Hold("bottom", face_nodes(moduli, "z-"), (None, None, 0.0)),
        Hold("top", face_nodes(moduli, "z+"), (None, None, -0.15)),
        Hold("front", face_nodes(moduli, "y-"), (None, 0.0, None)),
        Hold("back", face_nodes(moduli, "y+"), (None, 0.0, None)),
    ]
    result = solve_plastic(moduli, 1.0, POISSON, law, conditions, np.linspace(0.1, 1.0, 10))
    assert -result.force_n("top")[-1, 2] / 9.0 == pytest.approx(factor * YIELD, rel=1e-3)


def test_simple_shear_under_tresca_carries_half_the_yield_stress():
    moduli = np.full((3, 3, 3), YOUNG)
    faces = np.unique(np.concatenate([face_nodes(moduli, side) for side in voxel.grid.SIDES]))
    height = voxel.Grid(moduli, 1.0, POISSON).positions_mm(faces)[:, 2]
    conditions = [Hold(f"z{z:g}", faces[height == z], (0.02 * z, 0.0, 0.0)) for z in range(4)]
    result = solve_plastic(moduli, 1.0, POISSON, Tresca(YIELD), conditions, [0.5, 1.0])
    assert np.all(result.yielded == 1.0)
    np.testing.assert_allclose(result.plastic_strain, (0.02 - YIELD / 2 / SHEAR) / np.sqrt(3), rtol=1e-4)


class Softening:
    """A law from outside: isotropic elastic, losing stiffness with the largest strain so far (one history)."""

    def update(self, strain, state, dt_s, cycles):
        assert dt_s == 0.0
        assert cycles == 0.0
        size = np.linalg.norm(strain, axis=-1)
        kappa = np.maximum(state[..., 0], size)
        keep = 1.0 / (1.0 + kappa / 0.02)
        elastic = YOUNG * elasticity(POISSON)
        stress = strain @ elastic
        tangent = keep[..., None, None] * elastic
        growing = (size > state[..., 0])[..., None, None]
        rate = -(keep**2 / 0.02 / np.maximum(size, 1e-30))[..., None, None]
        tangent = tangent + growing * rate * stress[..., :, None] * strain[..., None, :]
        return SimpleNamespace(
            stress=keep[..., None] * stress,
            tangent=tangent,
            state=kappa[..., None],
            status=np.zeros(size.shape, dtype=np.int8),
        )


def test_a_law_from_outside_is_followed():
    result = uniaxial(BatchLaw(Softening(), np.zeros((64, 8, 1))), [0.25, 0.5, 1.0, 0.5])
    e = np.array([0.0025, 0.005, 0.01, 0.005])
    size = e * np.sqrt(1 + 2 * POISSON**2)
    keep = 1.0 / (1.0 + np.maximum.accumulate(size) / 0.02)
    np.testing.assert_allclose(-result.force_n("top")[:, 2] / 16.0, keep * YOUNG * e, rtol=1e-4)
    np.testing.assert_allclose(result.state[:, :, 0], size.max(), rtol=1e-4)


def test_rows_of_a_law_from_outside_follow_the_grid():
    class Stiffness:
        """Linear, each voxel with a modulus of its own."""

        def __init__(self, young):
            self.young = young

        def update(self, strain, state, dt_s, cycles):
            tangent = np.broadcast_to(self.young[:, None, None, None] * elasticity(POISSON), (*strain.shape, 6))
            stress = np.einsum("mqij,mqj->mqi", tangent, strain)
            return SimpleNamespace(stress=stress, tangent=tangent, state=state, status=np.zeros(strain.shape[:2]))

    moduli = np.random.default_rng(0).uniform(100.0, 1000.0, (3, 4, 5))
    moduli[1, 1, 2] = 0.0
    conditions = [
        Hold("bottom", face_nodes(moduli, "z-")),
        Hold("top", face_nodes(moduli, "z+"), (0.0, 0.0, -0.05)),
    ]
    law = BatchLaw(Stiffness(moduli[moduli > 0]), np.zeros((59, 8, 1)))
    path = solve_plastic(moduli, 1.0, POISSON, law, conditions, [1.0])
    linear = voxel.solve(moduli, 1.0, POISSON, conditions)
    np.testing.assert_allclose(path.force_n("top")[0], linear.reaction("top").force_n, atol=1e-4)


def test_a_path_that_cannot_go_on_keeps_what_it_has():
    class Brittle(Softening):
        def update(self, strain, state, dt_s, cycles):
            response = super().update(strain, state, dt_s, cycles)
            response.status = (np.linalg.norm(strain, axis=-1) > 0.008).astype(np.int8)
            return response

    with pytest.raises(voxel.StrengthError, match=r"law declines.*between 0.625 and 0.75 times") as caught:
        uniaxial(BatchLaw(Brittle(), np.zeros((64, 8, 1))), [0.25, 0.5, 1.0], settings=PlasticSettings(max_cuts=2))
    assert caught.value.partial.factors.tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("law", "factors", "message"),
    [
        (Tresca(-1.0), [1.0], "yield_stress_mpa"),
        (Tresca(np.ones((2, 2))), [1.0], "shape"),
        (J2(1.0, float("nan")), [1.0], "hardening_mpa"),
        (BatchLaw(Softening(), np.zeros((3, 8, 1))), [1.0], "BatchLaw.state"),
        (Tresca(1.0), [], "factors"),
    ],
)
def test_input_that_makes_no_sense_is_refused(law, factors, message):
    with pytest.raises(InputError, match=message):
        uniaxial(law, factors)


def test_offset_strength_of_a_bilinear_curve():
    strain = np.linspace(0.001, 0.02, 20)
    stress = np.minimum(1000.0 * strain, 8.0 + 100.0 * (strain - 0.008))
    crossing = (8.0 - 0.8 + 2.0) / 900.0  # 1000 (e - 0.002) = 8 + 100 (e - 0.008)
    assert offset_strength(strain, stress) == pytest.approx(1000.0 * (crossing - 0.002), rel=1e-9)
    assert offset_strength(-strain, -stress) == pytest.approx(1000.0 * (crossing - 0.002), rel=1e-9)
    with pytest.raises(InputError, match="load further"):
        offset_strength(strain[:6], stress[:6])
    with pytest.raises(InputError, match="growing"):
        offset_strength(strain[::-1], stress)
