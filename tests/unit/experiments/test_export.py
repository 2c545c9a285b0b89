"""Decks out: what is in them, and what is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import meshio
import numpy as np
import pytest
from typer.testing import CliRunner

from kyphos import materials, meshes
from kyphos.cli import app
from kyphos.errors import DataError, InputError, MaterialError, StudyError
from kyphos.experiments import read_study
from kyphos.experiments.decks import export
from kyphos.experiments.decks.export import export_study, specimen_of
from kyphos.experiments.decks.outgoing import (
    AXES_WIDTH_RAD,
    CLASS_WIDTH,
    deck_name,
    elastic_constants,
    engineering_constants,
    face_labels,
    sections,
)
from kyphos.experiments.specimen import build_mesh
from kyphos.fem import FACES

sys.path.insert(0, str(Path(__file__).parent))
from feb_structure import faults

COARSE = ["mesh.element_size_mm=6"]
CUBE = np.arange(8)[None]
TET = np.arange(10)[None]


@pytest.fixture(scope="module")
def untouched_model():
    return specimen_of(read_study("untreated-L1", COARSE)).model


@pytest.fixture(scope="module")
def treated(run_folder, result):
    return specimen_of(result.spec, "treated", run_folder)


# --- materials -----------------------------------------------------------------------------------------------------


def one_law(law, *rows) -> materials.MaterialField:
    return materials.MaterialField((materials.Block(law, np.arange(len(rows)), np.stack(rows)),), len(rows), 8)


def test_constants_of_an_isotropic_law():
    found = elastic_constants(one_law(materials.LINEAR_ELASTIC, np.array([3000.0, 0.2])))
    assert found[0] == pytest.approx([3000.0] * 3 + [0.2] * 3 + [1250.0] * 3)


def test_constants_along_x_y_z_of_a_law_whose_first_axis_is_z():
    values = dict(zip("123", (300.0, 100.0, 150.0), strict=True))
    law = materials.TRANSVERSELY_ISOTROPIC
    row = law.row(
        **{f"youngs_modulus_{i}_mpa": value for i, value in values.items()},
        poisson_ratio_12=0.3,
        poisson_ratio_13=0.2,
        poisson_ratio_23=0.25,
        shear_modulus_12_mpa=60.0,
        shear_modulus_13_mpa=70.0,
        shear_modulus_23_mpa=40.0,
    )
    e, nu, g = np.split(elastic_constants(one_law(law, row))[0], 3)
    assert e == pytest.approx([100.0, 150.0, 300.0])
    assert nu == pytest.approx([0.25, 0.3 * 100 / 300, 0.2 * 150 / 300])  # nu_xz = nu_zx E_x / E_z
    assert g == pytest.approx([40.0, 60.0, 70.0])


def test_damage_takes_its_share_of_every_modulus(untouched):
    history = untouched.field.initial_state()
    bone = next(block for block in untouched.field.blocks if block.law is materials.CRUSHABLE_BONE)
    history[bone.cells, :, bone.law.place("damage")] = 0.3
    whole, damaged = elastic_constants(untouched.field), elastic_constants(untouched.field, history)
    ratio = np.ones_like(whole)
    ratio[bone.cells[:, None], [0, 1, 2, 6, 7, 8]] = 0.7
    assert damaged / whole == pytest.approx(ratio)


def test_a_material_with_coupling_is_refused():
    stiffness = np.eye(6)[None].copy()
    stiffness[0, 0, 4] = stiffness[0, 4, 0] = 0.1
    with pytest.raises(MaterialError, match="couples normal strain and shear"):
        engineering_constants(stiffness)


@pytest.mark.parametrize("state", ["untouched", "treated"])
def test_every_cell_has_one_section_near_its_own_material(state, untouched_model, treated):
    model = untouched_model if state == "untouched" else treated.model
    parts = sections(model)
    assert sorted(np.concatenate([part.cells for part in parts]).tolist()) == list(range(len(model.cells)))
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        moduli = model.constants[part.cells][:, [0, 1, 2, 6, 7, 8]]
        assert np.abs(np.log(moduli / part.constants[[0, 1, 2, 6, 7, 8]])).max() < 2.0 * CLASS_WIDTH
        assert np.abs(model.constants[part.cells, 0] / part.constants[0] - 1.0).max() < CLASS_WIDTH
        assert np.unique(model.region[part.cells]).size == 1
        if part.axes is not None:
            cosine = np.einsum("mij,ij->mi", model.axes[part.cells], part.axes)
            assert np.arccos(min(cosine.min(), 1.0)) < 2.0 * AXES_WIDTH_RAD


# --- faces and names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cells", "corners"), [(CUBE, 4), (TET, 3)])
def test_faces_are_numbered_as_abaqus_does_and_must_look_outward(cells, corners):
    faces = FACES[cells.shape[1]][:, :corners]
    turned = np.roll(faces, 1, axis=1)
    cell, number = face_labels(cells, turned)
    assert cell.tolist() == [0] * len(faces)
    assert number.tolist() == list(range(1, len(faces) + 1))
    with pytest.raises(InputError, match="not an outward face"):
        face_labels(cells, faces[:1, ::-1])


@pytest.mark.parametrize(("name", "plain"), [("L1.shell", "L1_shell"), ("3rd part", "s_3rd_part"), ("é", "s__")])
def test_names_that_every_code_takes(name, plain):
    assert deck_name(name) == plain


# --- .inp ----------------------------------------------------------------------------------------------------------


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Keyword lines and what follows them, without comments."""
    lines = [line for line in text.splitlines() if not line.startswith("**")]
    starts = [i for i, line in enumerate(lines) if line.startswith("*")]
    return [(lines[i], lines[i + 1 : j]) for i, j in zip(starts, [*starts[1:], len(lines)], strict=True)]


def ids(rows: list[str]) -> list[int]:
    return [int(word) for row in rows for word in row.split(",")]


def test_an_inp_holds_mesh_sets_surfaces_and_densities(tmp_path, untouched_model):
    model = export_study(read_study("untreated-L1", COARSE), tmp_path / "deck.inp")
    text = (tmp_path / "deck.inp").read_text()
    found = dict(blocks(text))
    points = np.array([row.split(",") for row in found["*NODE, NSET=all_nodes"]], dtype=float)
    assert points[:, 0].tolist() == list(range(1, len(model.points_mm) + 1))
    assert points[:, 1:] == pytest.approx(model.points_mm, abs=1e-8)
    cells = np.array([row.split(",") for row in found["*ELEMENT, TYPE=C3D8I, ELSET=all_elements"]], dtype=int)
    assert (cells[:, 1:] - 1 == model.cells[cells[:, 0] - 1]).all()
    for index, name in enumerate(model.region_names):
        rows = found[f"*ELSET, ELSET={deck_name(name)}"]
        assert ids(rows) == (np.flatnonzero(model.region == index) + 1).tolist()
        assert max(map(len, rows)) <= 132
    for name, nodes in model.node_sets.items():
        assert ids(found[f"*NSET, NSET={deck_name(name)}"]) == (nodes + 1).tolist()
    for name, faces in model.face_sets.items():
        assert len(found[f"*SURFACE, NAME={deck_name(name)}, TYPE=ELEMENT"]) == len(faces)
    told = re.findall(r"^\*\* density (.*)$", text, re.MULTILINE)
    density = np.array(" ".join(told).split(), dtype=float)
    assert density == pytest.approx(model.density_g_per_cc, rel=1e-3, nan_ok=True)
    assert found["*CLOAD"] == [f"{len(points) + 1}, 3, -100"]


def test_a_state_is_a_labelled_new_reference(tmp_path, result, run_folder, bench_after, treated):
    bench, model = bench_after("treated"), treated.model
    export_study(result.spec, tmp_path / "treated.inp", "treated", run_folder)
    text = (tmp_path / "treated.inp").read_text()
    head = text[: text.index("*NODE")]
    assert "state 'treated' as a new stress-free reference" in head
    assert "NEW STRESS-FREE REFERENCE: the present, deformed shape with the present, damaged stiffness" in head
    assert model.points_mm == pytest.approx(bench.points_mm)
    assert np.abs(bench.state.displacement_mm).max() > 1.0
    found = dict(blocks(text))
    assert ids(found["*ELSET, ELSET=cement"]) == (np.flatnonzero(bench.cement_share > 0) + 1).tolist()
    assert "*ELSET, ELSET=cavity" in found
    assert any("*ORIENTATION" in keyword for keyword in found)
    bone = bench.field.state_field(bench.state.history, "damage").mean(axis=1)
    worst = int(bone.argmax())
    virgin = elastic_constants(bench.field)
    assert bone[worst] > 0.1
    assert model.constants[worst, 2] == pytest.approx((1.0 - bone[worst]) * virgin[worst, 2])


def test_axes_turn_with_the_cells(treated, bench_after):
    """The first axis of a cell leans as the cell's own edges do, on the whole."""
    axes, bench = treated.model.axes, bench_after("treated")
    assert np.einsum("mij,mkj->mik", axes, axes) == pytest.approx(np.tile(np.eye(3), (len(axes), 1, 1)), abs=1e-12)
    fresh = np.setdiff1d(np.arange(len(axes)), np.concatenate([rebase.cells for rebase in bench.rebases]))
    x = bench.mesh.points_mm[bench.mesh.cells[fresh]], bench.points_mm[bench.mesh.cells[fresh]]
    before, after = (p - p.mean(axis=1, keepdims=True) for p in x)
    stretch = np.einsum("mai,mji,mjk->mak", before, np.eye(3)[None], axes[fresh])  # turned rigidly: what R alone does
    error_turned, error_still = (np.linalg.norm(after - y, axis=(1, 2)) for y in (stretch, before))
    turned = np.linalg.norm(axes[fresh] - np.eye(3), axis=(1, 2)) > 0.05
    assert turned.sum() > 10
    assert (error_turned < error_still)[turned].mean() > 0.9


# --- .feb ----------------------------------------------------------------------------------------------------------


def feb(path: Path, *arguments) -> ElementTree.Element:
    export_study(*arguments[:1], path, *arguments[1:])
    return ElementTree.parse(path).getroot()


@pytest.fixture(scope="module")
def feb_roots(tmp_path_factory, result, run_folder):
    folder = tmp_path_factory.mktemp("feb")
    return {
        "untouched": feb(folder / "a.feb", read_study("untreated-L1", COARSE)),
        "treated": feb(folder / "b.feb", result.spec, "treated", run_folder),
        "voxels": feb(folder / "c.feb", read_study("ct-strength", COARSE)),
    }


@pytest.mark.parametrize("name", ["untouched", "treated", "voxels"])
def test_a_feb_has_the_structure_that_febio_reads(name, feb_roots):
    root = feb_roots[name]
    assert root.get("version") == "4.0"
    assert faults(root) == []


def test_a_broken_feb_is_noticed(feb_roots):
    root = ElementTree.fromstring(ElementTree.tostring(feb_roots["untouched"]))
    root.find("Mesh").append(ElementTree.Element("Elemnts"))
    root.find("MeshDomains")[0].set("mat", "nothing")
    root.remove(root.find("Rigid"))
    root.append(ElementTree.Element("Rigid", colour="red"))
    assert {"order", "Elemnts in Mesh", "no nothing", "attribute colour of Rigid"} <= set(faults(root))


@pytest.mark.parametrize("name", ["untouched", "treated", "voxels"])
def test_a_feb_is_valid_for_pyfebio(name, feb_roots):
    """The models of the FEBio community's own package take every section."""
    pyfebio = pytest.importorskip("pyfebio")
    root = ElementTree.fromstring(ElementTree.tostring(feb_roots[name]))
    kinds = {
        "rigid_fixed": pyfebio.rigid.RigidFixed,
        "rigid_force": pyfebio.rigid.RigidForceLoad,
        "prescribed displacement": pyfebio.boundary.BCPrescribedDisplacement,
    }
    for section in filter(None, (root.find("Rigid"), root.find("Boundary"))):
        for element in [e for e in section if e.get("type") in kinds]:  # it cannot read its own flags 0 and 1 from text
            values = {child.tag: int(child.text) if child.text in "01" else child.text for child in element}
            if "value" in values:
                values["value"] = {
                    "lc": int(element.find("value").get("lc")),
                    "text": float(element.find("value").text),
                }
            if "node_set" in element.attrib:
                values["node_set"] = element.get("node_set")
            kinds[element.get("type")].model_validate(values)
            section.remove(element)
    model = pyfebio.model.Model.from_xml(ElementTree.tostring(thinned(root)))
    assert len(model.mesh_.elements) == len(model.meshdomains_.solid_domains) == 2
    assert len(model.mesh_.surfaces) == len(root.findall("Mesh/Surface"))


def thinned(root: ElementTree.Element) -> ElementTree.Element:
    """Two of everything that there are hundreds of, and a material of each kind: as good as all, and quicker."""
    kinds = {(m.get("type"), m.find("mat_axis") is None): m for m in root.iter("material")}
    for material in list(root.find("Material")):
        if material not in kinds.values():
            root.find("Material").remove(material)
    for part in root.findall("Mesh/Elements")[2:]:
        root.find("Mesh").remove(part)
    paths = ("MeshDomains", "Mesh/Nodes", "Mesh/Elements", "Mesh/Surface", "MeshData/ElementData")
    for many in (found for path in paths for found in root.findall(path)):
        for element in many[2:]:
            many.remove(element)
    return root


def test_a_feb_tells_density_load_and_state(feb_roots, untouched_model):
    root = feb_roots["untouched"]
    density = untouched_model.density_g_per_cc
    found = np.array([float(e.text) for e in root.find("MeshData/ElementData")])
    assert found == pytest.approx(density[np.isfinite(density)], rel=1e-3)
    assert [load.find("value").text for load in root.findall("Rigid/rigid_load")] == ["-100"]
    still = [float(bc.find("Rz_dof").text) for bc in root.findall("Rigid/rigid_bc")]
    assert still == [0.0, 1.0]  # the upper platen may come down


def test_a_state_is_labelled_in_the_feb(tmp_path, result, run_folder):
    export_study(result.spec, tmp_path / "a.feb", "fractured", run_folder)
    head = (tmp_path / "a.feb").read_text()[:2000]
    assert "<!-- NEW STRESS-FREE REFERENCE" in head


# --- .vtu ----------------------------------------------------------------------------------------------------------


def test_a_vtu_keeps_everything_and_says_what_it_is(tmp_path, result, run_folder, bench_after):
    export_study(result.spec, tmp_path / "treated.vtu", "treated", run_folder)
    mesh, bench = meshes.read_vtu(tmp_path / "treated.vtu"), bench_after("treated")
    assert mesh.points_mm == pytest.approx(bench.points_mm)
    assert mesh.region_names == bench.mesh.region_names
    assert mesh.node_sets.keys() == bench.mesh.node_sets.keys()
    assert mesh.face_sets.keys() == bench.mesh.face_sets.keys()
    assert mesh.density_g_per_cc == pytest.approx(bench.mesh.density_g_per_cc, nan_ok=True)
    now, before = mesh.bodies["L1"], bench.body
    assert now.height_mm == pytest.approx(np.mean(list(bench.heights_mm().values())))
    assert now.height_mm < 0.95 * before.height_mm
    grid = meshio.read(tmp_path / "treated.vtu")
    assert {"region", "density", "quality", "damage", "cement_fraction"} <= set(grid.cell_data)
    assert "new stress-free reference" in bytes(grid.field_data["kyphos_title"]).decode()
    assert "NEW STRESS-FREE REFERENCE" in bytes(grid.field_data["kyphos_notes"]).decode()


# --- where a state comes from, and what is refused -----------------------------------------------------------------


def test_a_state_is_found_in_the_latest_run_of_this_study(tmp_path, monkeypatch, result, run_folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "run_study", None)  # nothing is run
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / f"{result.spec.name}-1").symlink_to(run_folder)
    broken = tmp_path / "runs" / f"{result.spec.name}-2"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")  # a later folder that is no such run
    model = export_study(result.spec, tmp_path / "a.inp", "fractured")
    assert "fractured" in model.title


def test_without_a_run_the_study_is_run_up_to_the_state(tmp_path, monkeypatch, result, run_folder):
    monkeypatch.chdir(tmp_path)
    asked = []

    def run_study(spec, out, reporter):
        asked.append([stage.name for stage in spec.stage])
        out.symlink_to(run_folder)

    monkeypatch.setattr(export, "run_study", run_study)
    monkeypatch.setattr(
        export, "stage_checkpoint", lambda path, spec, stage: checkpoint(run_folder, result.spec, stage)
    )
    checkpoint = sys.modules["kyphos.experiments.store"].stage_checkpoint
    export_study(result.spec, tmp_path / "a.inp", "fractured")
    names = [stage.name for stage in result.spec.stage]
    assert asked == [names[: names.index("fractured") + 1]]


def test_unknown_states_and_suffixes_are_refused(tmp_path, result, run_folder):
    with pytest.raises(StudyError, match=r"state 'cured' is no stage of kyphoplasty-pmma-L1; allowed: intact, "):
        export_study(result.spec, tmp_path / "a.inp", "cured", run_folder)
    with pytest.raises(StudyError, match=r"suffix '.stl' is no deck; allowed: .inp"):
        export_study(result.spec, tmp_path / "a.stl")
    with pytest.raises(StudyError, match="every stage of a study on voxels starts from the untouched specimen"):
        export_study(read_study("ct-strength", COARSE), tmp_path / "a.inp", "linear")
    assert not list(tmp_path.iterdir())


def test_a_state_that_was_not_reached_is_refused(tmp_path, result, run_folder):
    begun = tmp_path / "begun"
    (begun / "checkpoints").mkdir(parents=True)
    for name in ("manifest.json", "case.toml", "checkpoints/00-intact.npz"):
        (begun / name).write_bytes((run_folder / name).read_bytes())
    with pytest.raises(DataError, match=r"not finished stage 'treated'; finished: intact\. Go on with"):
        export_study(result.spec, tmp_path / "a.inp", "treated", begun)
    with pytest.raises(DataError, match="holds a run of another study"):
        export_study(read_study("kyphoplasty-pmma-L1"), tmp_path / "a.inp", "treated", run_folder)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        export_study(result.spec, tmp_path / "a.inp", "treated", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "a.txt"], "the suffix '.txt' is no deck"),
        (["--to", "a.inp", "--state", "cured"], "state 'cured' is no stage of untreated-L1; allowed: intact"),
        (["--to", "a.inp", "--state", "intact", "--run", "nowhere"], "nowhere: no manifest.json"),
        (["--to", "a.inp", "--run", "nowhere"], "name the state too"),
        (["--to", "file/a.inp"], "file/a.inp: cannot be written"),
    ],
)
def test_the_command_refuses_in_one_message(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["export", "untreated-L1", *arguments, "--set", COARSE[0]])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_writes_and_says_what(tmp_path):
    done = CliRunner().invoke(
        app, ["export", "untreated-L1", "--to", str(tmp_path / "x" / "a.inp"), "--set", COARSE[0]]
    )
    assert done.exit_code == 0
    assert "cells 336" in done.stdout
    assert (tmp_path / "x" / "a.inp").is_file()


def test_an_untouched_body_measures_what_it_did():
    study = read_study("untreated-L1", COARSE)
    now, before = (found.bodies["L1"] for found in (specimen_of(study).mesh, build_mesh(study)))
    for name in ("width_mm", "depth_mm", "height_mm", "volume_mm3", "centre_mm"):
        assert getattr(now, name) == pytest.approx(getattr(before, name)), name
