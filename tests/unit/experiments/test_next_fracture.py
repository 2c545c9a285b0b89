"""The next fracture in a segment, its strength, and the profiles of stress: on two levels as coarse as can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kyphos.errors import ConvergenceError, StudyError
from kyphos.experiments import next_fracture, read_study
from kyphos.experiments.next_fracture import (
    FRACTURED,
    Criterion,
    crushed,
    damaged_place,
    fracture_facts,
    fracture_outcomes,
    fractures,
    fractures_of,
    height_losses,
    nearest,
    treated_strength,
    watched,
)
from kyphos.experiments.plan import CycleStage
from kyphos.experiments.profiles import STATIONS, profiles, sites
from kyphos.experiments.run import BodyWork
from kyphos.experiments.stages import run_stage
from kyphos.experiments.store import Outcome
from kyphos.experiments.walk import Ended, Solved

PAIR = ('specimen.levels=["T12","L1"]', "specimen.treated=L1", "mesh.element_size_mm=6", "solver.threads=1")


@pytest.fixture(scope="module")
def work() -> BodyWork:
    return BodyWork(read_study("kyphoplasty-pmma-L1", PAIR))


@pytest.fixture(scope="module")
def bench(work):
    return work._bench


def squeezed(bench, level: str, share: float):
    """The bench with one body shrunk along its own axis."""
    body = bench.mesh.bodies[level]
    nodes = np.unique(bench.mesh.cells[bench.mesh.bony_cells(level)])
    moved = bench.state.displacement_mm.copy()
    along = (bench.mesh.points_mm[nodes] - body.centre_mm) @ body.axes[2]
    moved[nodes] -= share * along[:, None] * body.axes[2]
    return replace(bench, state=replace(bench.state, displacement_mm=moved))


def damaged(bench, cells, value: float):
    """The bench with damage in some cells."""
    history = bench.state.history.copy()
    field = bench.field.state_field(history, "damage")  # a copy: found again in the packed state by what it changes
    for law, block, _ in bench.field.blocks:
        names = [variable.name for variable in law.state]
        if "damage" in names:
            start = sum(variable.size for variable in law.state[: names.index("damage")])
            history[np.intersect1d(block, cells), :, start] = value
    assert field.max() == 0.0
    return replace(bench, state=replace(bench.state, history=history))


# --- who has fractured, and where


def test_a_neighbour_that_lost_a_fifth_of_a_height_has_fractured(bench):
    almost, over = squeezed(bench, "T12", 0.19), squeezed(bench, "T12", 0.21)
    assert height_losses(over, "T12")["middle"] == pytest.approx(0.21, abs=0.005)
    assert fractures(almost) == ()
    assert fractures(over) == ("T12",)
    assert fractures(squeezed(bench, "L1", 0.3)) == (), "the treated body is no neighbour"
    close = nearest(almost)
    assert (close.level, close.place) == ("T12", "")
    assert close.height_loss == pytest.approx(0.19, abs=0.005)
    assert "T12 has lost 19" in close.told()
    assert nearest(almost, ("T12",)) is None


def test_losses_can_be_told_against_another_state(bench):
    before, after = squeezed(bench, "T12", 0.1), squeezed(bench, "T12", 0.19)
    assert height_losses(after, "T12", before)["anterior"] == pytest.approx(0.1, abs=0.005)


def test_the_place_is_where_most_of_the_damage_is(bench):
    mesh, body = bench.mesh, bench.mesh.bodies["T12"]
    bone = mesh.cells_in("T12.trabecular")
    local = (mesh.points_mm[mesh.cells[bone]].mean(axis=1) - body.centre_mm) @ body.axes.T
    front = bone[(local[:, 1] > 0.3 * body.depth_mm / 2) & (local[:, 2] > 0.2 * body.height_mm)]
    assert damaged_place(bench, "T12") == ""
    hurt = damaged(bench, front, 0.5)
    assert damaged_place(hurt, "T12") == "anterior superior part (trabecular)"
    assert damaged_place(hurt, "T12", since=hurt) == ""
    plate = damaged(bench, mesh.cells_in("T12.inferior_endplate"), 0.5)
    assert damaged_place(plate, "T12").endswith("inferior part (inferior endplate)")


def test_a_stage_is_watched_for_the_first_state_that_meets_the_criterion(bench):
    def running():
        for cycle, share in ((1, 0.05), (10, 0.22), (100, 0.3)):
            yield Solved(squeezed(bench, "T12", share), None, 600.0, cycle=cycle)
        return Ended(squeezed(bench, "T12", 0.3))

    def walked(fractured):
        watching = watched(running(), fractured, 500)
        while True:
            try:
                next(watching)
            except StopIteration as stop:
                return stop.value

    ended, found = walked(())
    assert [(one.at.level, one.cycle, one.load_n) for one in found] == [("T12", 510, 600.0)]
    outcomes = fracture_outcomes(found, {})
    assert outcomes == {"adjacent_T12_fracture_cycle": Outcome(510.0, "1"), "next_fracture_cycle": Outcome(510.0, "1")}
    assert fractures_of(outcomes | {"cycles": Outcome(600.0, "1")}) == (("T12",), 600)
    facts = fracture_facts(ended.bench, found, ())
    assert facts["next_fractures"][0]["level"] == "T12"
    assert facts["nearest_to_fracture"] is None
    assert walked(("T12",))[1] == (), "a level fractures once"


def test_a_stage_that_fails_says_who_was_nearest(bench):
    def running():
        yield Solved(squeezed(bench, "T12", 0.12), None, 600.0, cycle=7)
        raise ConvergenceError("no equilibrium")

    watching = watched(running(), (), 0)
    next(watching)
    with pytest.raises(ConvergenceError, match=r"no equilibrium Nearest to a fracture: T12 has lost 12\.\d% of its"):
        next(watching)


def test_cycles_stop_at_a_fracture(work, monkeypatch):
    monkeypatch.setattr(next_fracture, "FRACTURED", Criterion(1e-9, 0.0, 1.0, "a test", "assumed"))
    stage = CycleStage(count=50, min_n=100.0, max_n=300.0, stop_at_fracture=True)
    running, rows = run_stage(stage, work._bench, work._controls), []
    while True:
        try:
            rows.append(next(running))
        except StopIteration as stop:
            ended = stop.value
            break
    assert ended.outcomes["cycles"] == 1.0
    assert rows[-1].load_n == pytest.approx(100.0, rel=1e-3), "it ends at the valley"


def test_the_criterion_says_where_it_comes_from():
    assert FRACTURED.low < FRACTURED.height_loss < FRACTURED.high
    assert FRACTURED.source


# --- rising load


@pytest.fixture(scope="module")
def weak_above():
    """T12 far weaker than L1."""
    return BodyWork(read_study("kyphoplasty-pmma-L1", [*PAIR, "specimen.level_vbmd_mg_per_cc={T12=50}"]))


def test_the_weaker_body_gives_way_first_and_spared_it_lets_the_treated_one_show_its_strength(weak_above):
    bench, controls = weak_above._bench, weak_above._controls
    whole = crushed(bench, 0.04, controls)
    treated = treated_strength(bench, 0.04, controls)
    assert (whole.level, treated.level) == ("T12", "L1")
    assert treated.force_n > 1.2 * whole.force_n > 300.0
    assert whole.shrunk["T12"] > 3.0 * whole.shrunk["L1"]
    assert whole.place


def test_strength_of_a_segment_is_measured_only_where_asked_for():
    def records(*more):
        study = read_study("segment-kyphoplasty", more)
        return [stage.record for stage in study.body_stages if stage.kind == "test"]

    assert not any("strength" in record for record in records())
    assert ["strength" in record for record in records("test.strength=true")] == [True, False, True, False]
    assert not any("strength" in stage.record for stage in read_study("untreated-L1", ["test.strength=false"]).stage)


def test_a_vertebra_alone_cannot_wait_for_its_neighbours():
    with pytest.raises(StudyError, match="stop_at_fracture"):
        read_study("kyphoplasty-pmma-L1", ["cycling.0.stop_at_fracture=true"])


# --- profiles


def test_profiles_run_from_the_back_to_the_front_and_read_what_is_there(bench):
    mesh, weight = bench.mesh, bench.structure.mesh.weight
    disc = mesh.discs["T12_L1"]
    along = (mesh.points_mm[mesh.cells].mean(axis=1) - disc.centre_mm) @ disc.axes[1]
    normal = np.outer(disc.axes[2], disc.axes[2])
    unit = normal[[0, 1, 2, 0, 1, 0], [0, 1, 2, 1, 2, 2]]
    stress = ((-1.0 - 0.02 * along)[:, None, None] * unit) * np.ones((1, weight.shape[1], 1))
    found = profiles(mesh, weight, stress)
    assert (
        [one.site for one in found] == ["T12.inferior_endplate", "T12_L1", "L1.superior_endplate"] == list(sites(mesh))
    )
    for one in found:
        assert one.position.shape == (STATIONS,)
        inside = slice(4, -4)
        slope = np.polyfit(one.position_mm[inside], one.axial_mpa[inside], 1)[0]
        assert slope == pytest.approx(-0.02, rel=0.15)
        assert one.axial_mpa[STATIONS // 2] == pytest.approx(-1.0, abs=0.06)
        np.testing.assert_allclose(one.von_mises_mpa, -one.axial_mpa, rtol=1e-9)
        assert 20.0 < one.position_mm[-1] < 40.0
