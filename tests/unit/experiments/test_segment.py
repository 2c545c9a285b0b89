"""Two levels and the disc between them, as coarse as can be: what a segment is made of, and what its stages do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kyphos import fem, materials, meshes
from kyphos.errors import InputError, MeshError, StudyError
from kyphos.experiments import read_study, run
from kyphos.experiments.adjacent import endplate_bulge_mm, felt, rigid_motion
from kyphos.experiments.bench import TOP, carried_n, on_level, spare_neighbours, to_force
from kyphos.experiments.cementing import check_requests
from kyphos.experiments.checkpoint import pack, unpack
from kyphos.experiments.decks.export import exported_bench
from kyphos.experiments.decks.write_feb import write_feb
from kyphos.experiments.outcomes import felt_after
from kyphos.experiments.plan import CementStage, FractureStage, LoadStage, MeasureStage, UnloadStage
from kyphos.experiments.run import BodyWork
from kyphos.experiments.specimen import build_mesh
from kyphos.experiments.store import Outcome

PAIR = ('specimen.levels=["T12","L1"]', "specimen.treated=L1", "mesh.element_size_mm=6", "solver.threads=1")
AREA_MM2 = 1000.0  # of the disc, about


@pytest.fixture(scope="module")
def work() -> BodyWork:
    return BodyWork(read_study("kyphoplasty-pmma-L1", PAIR))


@pytest.fixture(scope="module")
def standing(work, ended):
    """Under 500 N of follower load, untouched so far."""
    return ended(LoadStage(force_n=500.0, path="follower"), work._bench).bench


@pytest.fixture(scope="module")
def crushed(work, ended):
    return ended(FractureStage(anterior_height_loss=0.06), work._bench).bench


@pytest.fixture(scope="module")
def fractured(crushed, ended):
    return ended(UnloadStage(force_n=100.0, offset_anterior_mm=10.0), crushed).bench


def losses(bench) -> dict[str, float]:
    def height(body, points):
        return meshes.gauge_height_mm(body.gauges["anterior"], points)

    return {
        level: 1.0 - height(body, bench.points_mm) / height(body, bench.mesh.points_mm)
        for level, body in bench.mesh.bodies.items()
    }


# --- what it is made of


def test_every_tissue_has_its_law(work):
    laws = work._bench.field.laws()
    mesh = work.mesh
    assert set(laws[mesh.cells_in("T12_L1.nucleus")]) == {materials.load_card("nucleus").law.name}
    assert set(laws[mesh.discs["T12_L1"].annulus_cells]) == {"FibredGround"}
    assert set(laws[mesh.bony_cells("T12")]) == set(laws[mesh.bony_cells("L1")]) == {"CrushableBone"}


def test_fibres_of_the_material_are_those_of_the_mesh(work):
    block = next(block for block in work._bench.field.blocks if block.law.name == "FibredGround")
    names = [parameter.name for parameter in block.law.parameters]
    first = names.index(next(name for name in names if name.endswith("_x")))
    ours = block.parameters[:, first : first + 6].reshape(-1, 2, 3)
    theirs = work.mesh.discs["T12_L1"].fibres[np.argsort(work.mesh.discs["T12_L1"].annulus_cells)]
    along = np.abs(np.einsum("kfi,kfi->kf", ours, theirs))
    assert along.min() > np.cos(np.radians(1.0))


def test_links_rest_where_the_mesh_was_made(work):
    bench = work._bench
    parts = bench.structure.links.parts(bench.mesh.points_mm, np.zeros(0))
    assert parts["springs"].size == pytest.approx(np.zeros(7), abs=1e-6)
    assert parts["stops"].size == pytest.approx(np.zeros(2), abs=1e-6)


def test_without_posterior_elements_the_ligaments_along_the_bodies_stay(work):
    bench = BodyWork(read_study("kyphoplasty-pmma-L1", (*PAIR, "specimen.posterior=false")))._bench
    links, whole = bench.structure.links, work._bench.structure.links
    assert links.stops is None
    assert len(whole.stops.ends) == 2
    assert (len(links.springs.ends), len(whole.springs.ends)) == (2, 7)
    np.testing.assert_array_equal(links.springs.rest_length_mm, whole.springs.rest_length_mm[:2])


def test_a_vertebra_alone_may_say_that_it_has_no_posterior_parts():
    assert read_study("kyphoplasty-pmma-L1", ["specimen.posterior=false"]).specimen.posterior is False


def test_the_treated_body_is_the_one_that_is_named(work):
    assert work._bench.body.level == "L1"
    assert work._bench.neighbours == ("T12",)
    assert work._bench.structure.platens[0].centre_mm[1] == work.mesh.bodies["L1"].centre_mm[1]


def test_densities_grades_and_curve_of_a_study_reach_the_mesh():
    spec = read_study(
        "kyphoplasty-pmma-L1",
        [*PAIR, "specimen.level_vbmd_mg_per_cc={T12=120}", "specimen.disc_grade=moderate", "specimen.lordosis_deg=10"],
    )
    mesh, plain = build_mesh(spec), build_mesh(read_study("kyphoplasty-pmma-L1", PAIR))
    means = {level: mesh.density_g_per_cc[mesh.cells_in(f"{level}.shell")].mean() for level in ("T12", "L1")}
    assert means == pytest.approx({"T12": 0.120, "L1": 0.080})
    disc, healthy = mesh.discs["T12_L1"], plain.discs["T12_L1"]
    assert disc.height_mm == pytest.approx(0.6 * healthy.height_mm, rel=0.05)
    wedge = [np.degrees((d.anterior_height_mm - d.posterior_height_mm) / 29.0) for d in (disc, healthy)]  # 29 mm deep
    assert wedge == pytest.approx([6.0, 2.5], abs=0.8)


def test_a_deck_of_an_untouched_segment_has_discs_at_rest_and_no_links(work):
    model = exported_bench(work._bench, "a pair", 100.0, deformed=False).model
    assert any("ligaments are slack, facets open" in note for note in model.notes)
    assert model.springs == ()
    assert not model.tangent_cells.size
    nucleus = model.constants[work.mesh.cells_in("T12_L1.nucleus")]
    assert np.isfinite(nucleus).all()


def test_a_deck_of_a_loaded_segment_has_what_bears(crushed, tmp_path):
    """Springs do to rigid motions nothing; the stretch of each is that of its ligament; FEBio has no such discs."""
    model = exported_bench(crushed, "crushed", 100.0, deformed=True).model
    assert model.springs
    for spring in model.springs:
        assert spring.weights.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
        turned = np.cross([0.3, -0.2, 0.5], model.points_mm[spring.nodes])
        assert abs((spring.weights * turned).sum()) < 1e-6 * np.abs(turned).max()
    assert len(model.tangent_cells) == sum(model.region_names[i].startswith("T12_L1.") for i in model.region)
    assert np.linalg.eigvalsh(model.tangents).min() > 0.0
    with pytest.raises(InputError, match="cannot be written for FEBio"):
        write_feb(tmp_path / "deck.feb", model)


# --- loads


def test_a_follower_presses_the_discs_and_loads_no_support(standing):
    evaluation = standing.structure.evaluate(standing.state, tension_n=standing.load.tension_n)
    lower = standing.structure.platen_slice("inferior_platen")
    supported = fem.reactions(standing.structure, evaluation, standing.state)[lower][2]
    assert abs(supported) < 0.5
    pressure = felt(standing).outcomes["disc_T12_L1_pressure_mpa"]
    assert 1.2 < pressure * AREA_MM2 / 500.0 < 1.7  # 1.3-1.5 force/area is the usual ratio (docs/disc.md)


def test_paths_press_alike_and_change_over_without_a_loss(standing, work, ended):
    by_line = ended(LoadStage(force_n=500.0), standing)
    assert by_line.bench.path == "line"
    assert not by_line.bench.load.tension_n.any()
    pressures = [felt(bench).outcomes["disc_T12_L1_pressure_mpa"] for bench in (standing, by_line.bench)]
    assert pressures[1] == pytest.approx(pressures[0], rel=0.05)


def test_a_checkpoint_keeps_path_and_tension(standing, work):
    again = unpack(*pack(standing), work._bench)
    assert again.path == "follower"
    np.testing.assert_array_equal(again.load.tension_n, [500.0])
    assert felt(again).outcomes == felt(standing).outcomes


# --- fracture


def test_the_treated_body_is_crushed_and_its_neighbour_spared(crushed):
    lost = losses(crushed)
    assert lost["L1"] == pytest.approx(0.06, abs=3e-4)
    assert lost["T12"] < 0.01
    assert crushed.spared


def test_the_neighbour_is_itself_again_after_unloading(fractured, work):
    assert not fractured.spared
    for now, before in zip(fractured.field.blocks, work._bench.field.blocks, strict=True):
        np.testing.assert_array_equal(now.cells, before.cells)
        np.testing.assert_array_equal(now.parameters, before.parameters)
    assert losses(fractured)["T12"] < 0.003


def test_sparing_changes_no_stress(standing):
    spared = spare_neighbours(standing, True)
    assert felt(spared).outcomes == pytest.approx(felt(standing).outcomes, rel=1e-9)


def test_a_neighbour_that_may_crush_does(work, ended, crushed):
    free = ended(FractureStage(anterior_height_loss=0.02, neighbours="crush"), work._bench).bench
    assert felt(free).outcomes["adjacent_T12_yielded_ml"] > felt(crushed).outcomes["adjacent_T12_yielded_ml"] == 0.0


def test_a_fracture_takes_pressure_from_the_disc(work, ended, fractured):
    """-59 to -85 % in cadavers with fractured endplates (Luo 2009); here a small wedge: sign and order."""
    test = MeasureStage(record=("adjacent",), adjacent_n=500.0)
    before, after = (ended(test, bench).outcomes["disc_T12_L1_pressure_mpa"] for bench in (work._bench, fractured))
    assert -1.0 < after / before - 1.0 < -0.3


# --- what is felt


def test_a_measurement_harms_nothing(fractured, ended):
    looked_at = ended(MeasureStage(force_n=100.0, record=("adjacent",), adjacent_n=500.0), fractured).bench
    left_alone = ended(MeasureStage(force_n=100.0, record=()), fractured).bench
    np.testing.assert_array_equal(looked_at.state.displacement_mm, left_alone.state.displacement_mm)
    np.testing.assert_array_equal(looked_at.state.history, left_alone.state.history)


def test_stress_in_an_endplate_is_of_the_order_of_the_pressure_on_it(standing):
    found = felt(standing).outcomes
    p99, most = (found[f"adjacent_T12_endplate_von_mises_{name}_mpa"] for name in ("p99", "max"))
    assert found["disc_T12_L1_pressure_mpa"] < p99 <= most < 50.0
    assert found["adjacent_T12_inferior_endplate_min_principal_p01_mpa"] < 0.0
    assert 0.0 < found["adjacent_T12_inferior_endplate_bulge_mm"] < 0.5


def test_bulge_is_blind_to_rigid_motion(work):
    bench = work._bench
    turn = fem.rotation(np.array([0.1, -0.2, 0.05]))[0]
    moved = bench.mesh.points_mm @ turn.T + np.array([3.0, -4.0, 5.0])
    state = replace(bench.state, displacement_mm=moved - bench.mesh.points_mm)
    assert endplate_bulge_mm(replace(bench, state=state), "T12", "inferior") == pytest.approx(0.0, abs=1e-9)
    plate = bench.mesh.node_sets["T12.inferior_endplate"]
    rim = np.intersect1d(plate, bench.mesh.face_sets["T12.wall"])
    inner = np.setdiff1d(plate, rim)
    moved[inner] += 0.3 * turn @ bench.mesh.bodies["T12"].axes[2]
    state = replace(bench.state, displacement_mm=moved - bench.mesh.points_mm)
    assert endplate_bulge_mm(replace(bench, state=state), "T12", "inferior") == pytest.approx(0.3, abs=1e-9)


def test_rigid_motion_is_found():
    points = np.random.default_rng(1).normal(size=(20, 3))
    turn = fem.rotation(np.array([0.3, 0.4, -1.0]))[0]
    found, shift = rigid_motion(points, points @ turn.T + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(found, turn, atol=1e-12)
    np.testing.assert_allclose(shift, [1.0, 2.0, 3.0], atol=1e-12)


def test_changes_are_told_against_the_state_before_treatment():
    name, results = "disc_T12_L1_pressure_mpa", {}
    for state, value in (("intact", 0.7), ("fractured", 0.3), ("treated", 0.36), ("cycled", 0.33)):
        results |= felt_after(results, name, value, state)
    changes = {key: outcome.value for key, outcome in results.items() if key.endswith("_change")}
    assert changes == pytest.approx(
        {
            "disc_T12_L1_pressure_fractured_change": 0.3 / 0.7 - 1.0,
            "disc_T12_L1_pressure_treated_change": 0.2,
            "disc_T12_L1_pressure_cycled_change": 0.1,
            "disc_T12_L1_pressure_change": 0.1,
        }
    )
    assert results["disc_T12_L1_pressure_treated_mpa"] == Outcome(0.36, "MPa")
    assert results[name] == Outcome(0.33, "MPa")


def test_the_force_on_the_line_is_what_the_platen_carries(work):
    bench = work._bench
    step = list(to_force(bench, 300.0, work._controls))[-1]
    assert carried_n(bench.after(step), step.equilibrium) == pytest.approx(300.0, rel=1e-3)


def test_another_level_is_acted_upon_and_measured(fractured, crushed, work):
    """What was done to the first one stays; its bone is a neighbour's now."""
    there = on_level(crushed, "T12")
    assert (there.body.level, there.neighbours, crushed.neighbours) == ("T12", ("L1",), ("T12",))
    assert crushed.spared
    assert not there.spared
    assert there.state is crushed.state
    whole = meshes.gauge_height_mm(there.body.gauges["anterior"], there.mesh.points_mm)
    assert 1.0 - there.heights_mm()["anterior"] / whole == pytest.approx(losses(crushed)["T12"])
    assert on_level(fractured, "L1") is fractured
    again = unpack(*pack(there), work._bench)
    assert (again.level, again.spared) == ("T12", False)


def test_cement_and_balloons_are_checked_where_they_go(work):
    """Each body has its own room; a needle is looked for in the body that it is meant for."""
    stages = [CementStage(name=f"cement_{n}", volume_ml=11.0, level=level) for n, level in enumerate(("T12", "L1"))]
    run._check_volumes(work._spec.model_copy(update={"stage": tuple(stages)}), work._bench)
    both = [stages[0], stages[0].model_copy(update={"name": "again"})]
    with pytest.raises(StudyError, match=r"'again'.*with what is in it already is 22 mL.* take"):
        run._check_volumes(work._spec.model_copy(update={"stage": tuple(both)}), work._bench)
    with pytest.raises(MeshError, match="lies outside the spongy bone of T12"):
        check_requests([CementStage(level="T12", volume_ml=2.0, needle_depth=0.97, needle_spread=0.9)], work._bench)


def test_a_stage_of_a_level_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "study.toml").write_text('[[stage]]\nkind = "load"\nforce_n = 100.0\nlevel = "L5"\n')
    with pytest.raises(StudyError, match="stage 'load': level = 'L5' is not in levels; allowed: L1"):
        read_study(tmp_path / "study.toml")


# --- pots that keep an inclination


@pytest.fixture(scope="module")
def stooping(work, ended):
    """Pots inclined by 3 degrees, then 300 N."""
    return ended(LoadStage(force_n=300.0, tilt_deg=3.0, record=("tilt", "wall")), work._bench).bench


def sagittal_moment_nmm(bench) -> float:
    evaluation = bench.structure.evaluate(bench.state)
    top = bench.structure.platen_slice(TOP).start
    return float(fem.reactions(bench.structure, evaluation, bench.state)[top + 3])


def test_pots_keep_their_inclination_while_the_load_acts(stooping):
    assert stooping.inclined
    assert stooping.tilt_deg == pytest.approx(3.0, abs=1e-9)
    assert abs(sagittal_moment_nmm(stooping)) > 1000.0  # it takes a moment to stoop
    rim = np.unique(stooping.mesh.node_sets["T12.superior_endplate"])
    turn, _ = rigid_motion(stooping.mesh.points_mm[rim], stooping.points_mm[rim])
    assert np.degrees(np.arctan2(turn[1, 2], turn[2, 2])) == pytest.approx(3.0, abs=0.3)  # forwards


def test_pots_that_are_let_go_bear_no_moment(stooping, ended):
    free = ended(LoadStage(force_n=300.0), stooping).bench
    assert not free.inclined
    assert abs(sagittal_moment_nmm(free)) < 1.0
    assert free.tilt_deg < 3.0


def test_an_inclined_bench_is_kept(stooping, work):
    again = unpack(*pack(stooping), work._bench)
    assert again.inclined
    assert again.tilt_deg == stooping.tilt_deg


# --- markers on the wall


def test_the_wall_is_measured_from_rim_to_rim(stooping):
    mesh = stooping.mesh
    rims = np.concatenate([mesh.node_sets[f"L1.{end}_endplate"] for end in ("superior", "inferior")])
    on_wall = np.unique(mesh.face_sets["L1.wall"])
    for place, sides in meshes.wall_gauges(mesh, "L1").items():
        for gauge, side in zip(sides, (1.0, -1.0), strict=True):
            ids = np.concatenate([gauge.superior_ids, gauge.inferior_ids])
            assert np.isin(ids, rims).all()
            assert np.isin(ids, on_wall).all()
            assert (side * (mesh.points_mm[ids, 0] - mesh.bodies["L1"].centre_mm[0]) > 0.0).all(), place
            assert gauge.superior_weights.sum() == pytest.approx(1.0)


def test_the_wall_does_not_feel_the_middle_of_an_endplate(stooping):
    """Pressed in by a millimetre the middle counts for the height on the endplate, not for the wall's."""
    body = stooping.mesh.bodies["L1"]
    gauge, way = body.gauges["middle"], np.zeros_like(stooping.mesh.points_mm)
    way[gauge.superior_ids] = -body.axes[2]
    pressed = replace(stooping, state=replace(stooping.state, displacement_mm=way))
    rest = replace(stooping, state=replace(stooping.state, displacement_mm=np.zeros_like(way)))
    assert rest.heights_mm()["middle"] - pressed.heights_mm()["middle"] == pytest.approx(1.0, abs=0.01)
    assert pressed.wall_heights_mm()["middle"] == pytest.approx(rest.wall_heights_mm()["middle"], abs=1e-9)
