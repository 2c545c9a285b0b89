"""A segment killed while it is cycled goes on to the last bit; a vertebra alone does not know that segments exist."""

from __future__ import annotations

import json

import numpy as np
import pytest
from interrupted import finish, killed_in, outcomes, same_run

import kyphos
from kyphos import fem, meshes
from kyphos.experiments import read_study, run, segment
from kyphos.experiments.specimen import build_mesh
from kyphos.experiments.store import branch_run, stage_checkpoint

HEAD = """
[mesh]
element_size_mm = 6.0
[solver]
threads = 1
initial_step = 1.0
[output]
pictures = false
"""
PAIR = '[specimen]\nlevels = ["T12", "L1"]\ntreated = "L1"\n'
CYCLES = """
[[stage]]
kind = "load"
force_n = 300.0
path = "follower"
[[stage]]
kind = "cycle"
count = 400
path = "follower"
[[stage]]
kind = "test"
name = "cycled"
path = "follower"
adjacent_n = 500.0
record = ["heights", "adjacent"]
"""
ALONE = """
[[stage]]
kind = "fracture"
anterior_height_loss = 0.05
[[stage]]
kind = "unload"
force_n = 100.0
[[stage]]
kind = "cement"
volume_ml = 2.0
[[stage]]
kind = "cycle"
count = 50
[[stage]]
kind = "test"
name = "cycled"
"""


def test_a_segment_killed_while_it_is_cycled_goes_on_exactly(tmp_path):
    """The path of the load, the cable's tension and the discs are carried over with all else."""
    study, undisturbed, folder = tmp_path / "segment.toml", tmp_path / "undisturbed", tmp_path / "run"
    study.write_text(PAIR + HEAD + CYCLES)
    kyphos.run(study, undisturbed)
    killed_in("cycle", folder, study, "--out", folder)
    finish(study, "--out", folder, "--resume")
    same_run(folder, undisturbed)
    assert "disc_T12_L1_pressure_cycled_mpa" in outcomes(folder)


@pytest.fixture
def without_segments(monkeypatch):
    """A bench that has never heard of discs, links, cables or nearly incompressible cells."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a vertebra alone has called for a segment")

    for place, name in ((meshes, "segment_mesh"), (meshes, "specimen_mesh"), (segment, "_annulus")):
        monkeypatch.setattr(place, name, refused)
    monkeypatch.setattr(run, "disc_blocks", lambda *_: [])
    monkeypatch.setattr(run, "segment_links", lambda *_: None)
    monkeypatch.setattr(run, "boundary_condition", refused)
    monkeypatch.setattr(fem.Structure, "tough_cells", lambda *_: np.zeros(0, dtype=np.int64))
    monkeypatch.setattr(fem.Structure, "_believed", lambda _self, _state, stress: stress)


def test_a_vertebra_alone_is_the_same_to_the_last_bit_without_segments(tmp_path, request):
    """Fracture, cement and cycles of one level, before and after all that is a segment's is taken away."""
    study = tmp_path / "alone.toml"
    study.write_text(HEAD + ALONE)
    kyphos.run(study, tmp_path / "with")
    request.getfixturevalue("without_segments")
    kyphos.run(study, tmp_path / "without")
    same_run(tmp_path / "with", tmp_path / "without")
    with pytest.raises(AssertionError, match="has called for a segment"):
        build_mesh(read_study("segment-kyphoplasty", ["mesh.element_size_mm=6"]))


SOFTER = ["materials.nucleus.c10_mpa=0.06", "materials.nucleus.c01_mpa=0.015"]  # half of the card's shear modulus
WHOLE = """
[fracture]
anterior_height_loss = 0.15
hold_s = 0.0
recovery_s = 0.0
[procedure]
kind = "kyphoplasty"
balloon_volume_ml = 2.5
[cement]
volume_ml = 4.0
[[cycling]]
count = 500
path = "follower"
[mesh]
element_size_mm = 5.0
[output]
pictures = false
"""


def test_heights_are_those_of_bone_whatever_the_disc(tmp_path):
    """Under 500 N a softer nucleus lets the segment sink further, not the vertebra."""
    study = tmp_path / "loaded.toml"
    study.write_text(PAIR + HEAD + CYCLES.replace("300.0", "500.0").partition('[[stage]]\nkind = "cycle"')[0])
    runs = [kyphos.run(study, tmp_path / name, set=more) for name, more in (("usual", []), ("soft", SOFTER))]
    last = [result.history.iloc[-1] for result in runs]
    heights = [row["height_anterior_mm"] for row in last]
    assert heights[1] == pytest.approx(heights[0], rel=2e-4)
    sunk = [row["displacement_mm"] for row in last]
    assert sunk[1] > 1.002 * sunk[0]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The whole chain with the nucleus of the card."""
    folder = tmp_path_factory.mktemp("whole")
    study = folder / "whole.toml"
    study.write_text(PAIR + WHOLE)
    kyphos.run(study, folder / "usual")
    return folder / "usual"


def cycled_over(usual, name: str, factors: tuple[float, float, float]):
    """The treated body of the usual run, cycled by the same forces over another nucleus: factors on C10, C01 and K."""
    spec, folder = read_study(str(usual.with_name("whole.toml"))), usual.with_name(name)
    branch_run(usual, [stage.name for stage in spec.stage].index("treated"), folder, spec)
    laws = stage_checkpoint(folder, spec, "treated").meta["bench"]["laws"]
    nucleus = f"block_{laws.index('MooneyRivlin')}_parameters"
    file = next((folder / "checkpoints").glob("*-treated.npz"))
    content = dict(np.load(file))
    content[nucleus] = content[nucleus] * factors
    file.unlink()  # it is the other run's as well
    np.savez(file, **content)
    run.run_study(spec, folder, resume=True)
    return folder


@pytest.fixture(scope="module")
def soft_in_volume(usual):
    """The bulk modulus of the card's range that is lowest, 100 MPa: the disc sinks, and bears as before."""
    return cycled_over(usual, "soft_in_volume", (1.0, 1.0, 0.06))


@pytest.fixture(scope="module")
def soft_in_shear(usual):
    """Half the shear modulus: rim and front of the endplates bear more."""
    return cycled_over(usual, "soft_in_shear", (0.5, 0.5, 1.0))


PLACES = ("anterior", "middle", "posterior")
SMALL = pytest.mark.xfail(reason="0.16 mm are won there, of which retention is a share: docs/segment.md")
COMPARED = [
    *(("soft_in_volume", place) for place in PLACES),
    *(("soft_in_shear", place) for place in PLACES[:2]),
    pytest.param("soft_in_shear", "posterior", marks=SMALL),
]


@pytest.mark.validation
@pytest.mark.parametrize(("run_of", "place"), COMPARED)
def test_a_softer_nucleus_does_not_count_as_retained_height(usual, request, run_of, place):
    """Cycled by the same forces over it, the treated body keeps what it kept over the usual one, within 2 %."""
    found, soft = outcomes(usual), outcomes(request.getfixturevalue(run_of))
    assert found != soft
    assert soft[f"retention_{place}"] == pytest.approx(found[f"retention_{place}"], rel=0.02)


@pytest.mark.validation
@pytest.mark.parametrize("run_of", ["usual", "soft_in_volume", "soft_in_shear"])
def test_no_solve_of_a_segment_is_a_hard_one(request, run_of):
    stages = json.loads((request.getfixturevalue(run_of) / "manifest.json").read_text())["stages"]
    assert 10 < max(stage["most_krylov_iterations"] for stage in stages) < 60


@pytest.mark.validation
def test_the_disc_feels_its_softer_nucleus(usual, soft_in_shear, soft_in_volume):
    """One that shears easily leaves more to the fluid, one that gives way in volume less."""
    pressure = "disc_T12_L1_pressure_cycled_mpa"
    before, shear, volume = (outcomes(folder)[pressure] for folder in (usual, soft_in_shear, soft_in_volume))
    assert shear > 1.01 * before
    assert 0.96 * before < volume < 0.99 * before
