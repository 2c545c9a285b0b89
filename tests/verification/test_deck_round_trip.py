"""Decks out, then in: sets, regions and materials survive, and ``kyphos solve`` finds the same stiffness.

``kyphos solve`` reads C3D8 as CalculiX means it (our standard cells) and C3D8I as our enhanced strain; the comparison
is with these formulations.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from calculix import by_kyphos
from exported import parametric, tetrahedra, voxels
from typer.testing import CliRunner

from kyphos.cli import app
from kyphos.errors import DeckError
from kyphos.experiments.decks import reactions, read_deck, solve_deck
from kyphos.experiments.decks.outgoing import LinearModel, deck_name, face_labels, sections
from kyphos.experiments.decks.write_inp import write_inp
from kyphos.fem import FORMULATIONS, rotation

SAME = 2e-4  # classes of 1 % in modulus, nine digits printed
AS_READ = {"standard": "standard", "mean_dilatation": "enhanced", "enhanced": "enhanced"}


def turned(size_mm: float) -> LinearModel:
    """A body whose cells have material axes of their own, as those of a deformed state."""
    model = parametric(size_mm)
    angle = 0.4 * np.sin(np.arange(3 * len(model.cells)).reshape(-1, 3) // 30)
    return replace(model, axes=np.array([rotation(theta)[0].T for theta in angle]))


MODELS = {"parametric": (parametric, 5.0), "turned": (turned, 5.0), "tet10": (tetrahedra, 0.0), "voxels": (voxels, 6.0)}


@pytest.fixture(scope="module", params=MODELS)
def written(request, tmp_path_factory):
    """A model, and its deck as it is read back."""
    build, size_mm = MODELS[request.param]
    model = build(size_mm)
    path = tmp_path_factory.mktemp("deck") / "deck.inp"
    write_inp(path, model)
    return model, read_deck(path)


def test_mesh_sets_and_regions_survive(written):
    model, deck = written
    n, m = len(model.points_mm), len(model.cells)
    assert deck.points_mm[:n] == pytest.approx(model.points_mm, rel=1e-9, abs=1e-9)
    order = np.argsort(deck.element_ids)
    assert (deck.element_ids[order] == np.arange(1, m + 1)).all()
    assert not any("no element" in note for note in deck.notes)  # reference nodes of platens are in use
    regions = {name: np.flatnonzero(model.region == i) for i, name in enumerate(model.region_names)}
    for name, cells in (regions | dict(model.cell_sets)).items():
        assert sorted(deck.element_ids[deck.element_sets[deck_name(name)]]) == (cells + 1).tolist(), name
    for name, nodes in model.node_sets.items():
        assert sorted(deck.node_ids[deck.node_sets[deck_name(name)]]) == sorted(nodes + 1), name
    for name, faces in model.face_sets.items():
        elements, numbers = deck.surfaces[deck_name(name).upper()]
        cells, labels = face_labels(model.cells, faces)
        found = zip(deck.element_ids[elements].tolist(), numbers.tolist(), strict=True)
        assert sorted(found) == sorted(zip((cells + 1).tolist(), labels.tolist(), strict=True)), name


def test_materials_and_axes_survive(written):
    model, deck = written
    parts = {part.name.upper(): part for part in sections(model)}
    assert len(deck.sections) == len(parts)
    for section in deck.sections:
        part = parts[section.material.upper()]
        assert sorted(deck.element_ids[section.elements]) == (part.cells + 1).tolist()
        if part.isotropic:
            assert section.axes is None
        else:
            assert section.axes == pytest.approx(np.eye(3) if part.axes is None else part.axes, abs=1e-7)


def test_kyphos_solve_finds_the_same_stiffness(written):
    model, deck = written
    read = {FORMULATIONS[name]: FORMULATIONS[meant] for name, meant in AS_READ.items()}
    if model.cells.shape[1] == 8:
        model = replace(model, formulation=np.array([read[f] for f in model.formulation], dtype=np.int8))
    solution = solve_deck(deck)
    found = reactions(solution, solution.steps[-1])
    if model.platens:
        stiffness = model.platens[0].load[2] / found["superior_platen_reference"]["displacement_mm"][2]
    else:
        face = found["superior_pot_face"]
        stiffness = face["force_n"][2] / face["displacement_mm"][2]
    assert stiffness == pytest.approx(by_kyphos(model).stiffness_n_per_mm, rel=SAME)


def test_the_commands_pass_it_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    size = ("--set", "mesh.element_size_mm=6")
    assert CliRunner().invoke(app, ["export", "untreated-L1", "--to", "a.inp", *size]).exit_code == 0
    solved = CliRunner().invoke(app, ["solve", "a.inp", "--out", "out"])
    assert solved.exit_code == 0, solved.stderr
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    assert told["heading"] == "Kyphos study untreated-L1: untouched specimen"
    assert {"L1_trabecular", "L1_shell", "superior_pot"} <= set(told["element_sets"])
    assert told["reactions"]["inferior_platen_reference"]["force_n"][2] == pytest.approx(100.0, rel=1e-6)
    approach_mm = -told["reactions"]["superior_platen_reference"]["displacement_mm"][2]
    assert 100.0 / approach_mm == pytest.approx(by_kyphos(parametric(6.0)).stiffness_n_per_mm, rel=0.01)


@pytest.mark.parametrize(
    ("after", "message"),
    [("*NODE FILE", "a \\*KINEMATIC must follow"), ("*KINEMATIC\n1, 2", "dofs 1, 2 and 3 together")],
)
def test_other_couplings_are_refused(after, message, tmp_path):
    text = deck_text(tmp_path)
    (tmp_path / "bad.inp").write_text(text.replace("*KINEMATIC\n1, 3", after, 1))
    with pytest.raises(DeckError, match=message):
        read_deck(tmp_path / "bad.inp")


def deck_text(folder) -> str:
    write_inp(folder / "good.inp", parametric(6.0))
    return (folder / "good.inp").read_text()
