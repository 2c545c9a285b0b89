"""``kyphos export``: a study's specimen, untouched or at the end of a stage, as a deck of another code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kyphos import fem, materials, meshes
from kyphos.errors import DataError, MeshError, StudyError
from kyphos.fem import voxel

from .. import strength
from ..bench import BOTTOM, TOP, Bench
from ..checkpoint import unpack
from ..fields import stage_fields
from ..plan import StiffnessStage, VoxelStage
from ..progress import Reporter, SilentReporter
from ..run import run_study, study_bench
from ..spec import SHORTHAND, StudySpec
from ..specimen import build_mesh, read_voxels
from ..store import Checkpoint, runs_of, stage_checkpoint
from .outgoing import LinearModel, Spring, elastic_constants, isotropic_constants, turned_stiffness
from .write_feb import write_feb
from .write_inp import write_inp

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

DECKS: dict[str, Callable[[Path, LinearModel], None]] = {".inp": write_inp, ".feb": write_feb}
SUFFIXES = (*DECKS, ".vtu")
USUAL_PRELOAD_N = 100.0  # of a study that has no preload
NOT_CLINICAL = "Not for clinical decisions."


SLACK_N_PER_MM = 1e-6  # least stiffness of a link that is exported; others are slack or open
AT_REST = "Segment at rest: no fibre of the discs pulls, ligaments are slack, facets open. A loaded state has them."
LOADED = "Segment: discs have the tangent of their present strain, so taut fibres pull; links that bear are springs."


@dataclass(frozen=True, eq=False)
class Exported:
    """What is exported: the model for other solvers, the mesh in its present shape, and fields at its cells."""

    model: LinearModel
    mesh: meshes.SegmentMesh
    cell_data: dict[str, NDArray[Any]]


def export_study(
    spec: StudySpec, path: Path, state: str | None = None, run: Path | None = None, reporter: Reporter | None = None
) -> LinearModel:
    """Write a study's specimen as a deck, and return what was written.

    Parameters
    ----------
    spec
        A resolved study.
    path
        The file; its suffix says what is written: .inp (CalculiX, Abaqus), .feb (FEBio 4), .vtu.
    state
        Name of a stage: the specimen as that stage left it, in its present shape and with its damaged stiffness, but
        free of stress. None: untouched, as meshed.
    run
        Results folder to take the state from. None: the study's own output folder, or the latest of ``runs/`` that
        is a run of this very study and has reached the stage; if there is none, the study is run up to that
        stage, and nothing of that run is kept.
    reporter
        Told of the stages of such a run.

    Raises
    ------
    StudyError
        Another suffix, an unknown state, or a state of a study on voxels.
    DataError
        A folder that is no run of this study or has not reached the stage, or a file that cannot be written.
    MeshError
        A state whose cells are too distorted to be a mesh of their own.
    """
    _check_suffix(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with materials.constants_set(spec.constants):
        found = specimen_of(spec, state, run, reporter)
    with _writing(path):
        if path.suffix in DECKS:
            DECKS[path.suffix](path, found.model)
        else:
            labels = {"kyphos_title": found.model.title, "kyphos_notes": " ".join(found.model.notes)}
            meshes.write_vtu(path, found.mesh, cell_data=found.cell_data, field_data=labels)
    return found.model


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise StudyError(
            f"{path}: the suffix {path.suffix!r} is no deck; allowed: .inp (CalculiX, Abaqus), .feb (FEBio 4), "
            f".vtu (ParaView). Try {path.with_suffix('.inp')}"
        )


def specimen_of(
    spec: StudySpec, state: str | None = None, run: Path | None = None, reporter: Reporter | None = None
) -> Exported:
    """What `export_study` writes; same arguments, same errors but those of the file."""
    if spec.coupon is not None:
        raise StudyError(f"{spec.name}: the deck of a coupon is not supported; kyphos mesh writes its mesh as .vtu")
    if spec.on_voxels:
        if state is not None:
            raise StudyError(
                f"state {state!r}: every stage of a study on voxels starts from the untouched specimen; leave it out"
            )
        return exported_voxels(spec)
    names = [stage.name for stage in spec.stage]
    if state is not None and state not in names:
        raise StudyError(f"state {state!r} is no stage of {spec.name}; allowed: {', '.join(names)}")
    bench = study_bench(spec, build_mesh(spec))
    if state is None:
        title = f"Kyphos study {spec.name}: untouched specimen"
    else:
        kept = _kept(spec, state, run, reporter or SilentReporter())
        bench = unpack(kept.arrays, kept.meta["bench"], bench)
        title = f"Kyphos study {spec.name}: state '{state}' as a new stress-free reference"
    return exported_bench(bench, title, spec.procedure.preload_n if spec.procedure else 0.0, deformed=state is not None)


def _kept(spec: StudySpec, state: str, run: Path | None, reporter: Reporter) -> Checkpoint:
    """The checkpoint of a stage: from a folder, or from a run of its own up to there."""
    if run is not None:
        return stage_checkpoint(run, spec, state)
    for folder in runs_of(spec):
        try:
            return stage_checkpoint(folder, spec, state)
        except DataError:
            continue  # a run that has not come so far
    reporter.message(
        f"No run of {spec.name} has reached {state!r}: running it up to there, keeping nothing. "
        "To keep it, use kyphos run first, and give its folder as --run."
    )
    last = [stage.name for stage in spec.stage].index(state)
    output = spec.output.model_copy(update={"fields": False, "pictures": False})
    told_by_stages = dict.fromkeys(SHORTHAND)
    shortened = spec.model_copy(update={**told_by_stages, "stage": spec.stage[: last + 1], "output": output})
    with TemporaryDirectory(prefix="kyphos-") as place:
        run_study(shortened, Path(place) / "run", reporter=reporter)
        return stage_checkpoint(Path(place) / "run", shortened, state)


def exported_bench(bench: Bench, title: str, preload_n: float, *, deformed: bool) -> Exported:
    """A bench as a stress-free specimen between parallel platens under the preload (100 N if that is zero).

    Raises
    ------
    MeshError
        A cell too distorted for the bench's present shape to be a mesh.
    """
    mesh = _in_present_shape(bench)
    try:
        fem.discretise(mesh.points_mm, mesh.cells)
    except MeshError as error:
        raise MeshError(f"{title}: its shape cannot be a stress-free reference: {error}") from None
    force_n = preload_n or USUAL_PRELOAD_N
    constants = elastic_constants(bench.field, bench.state.history)
    axes = _turned_axes(bench) if deformed else None
    soft, tangents = _disc_tangents(bench, axes)
    axial = constants[:, 2].copy()
    axial[soft] = 1.0 / np.linalg.inv(tangents)[:, 2, 2]
    model = LinearModel(
        title=title,
        notes=(*_notes(force_n, deformed), *([LOADED if deformed else AT_REST] if bench.mesh.links else [])),
        points_mm=mesh.points_mm,
        cells=mesh.cells,
        formulation=bench.structure.mesh.formulation,
        region=mesh.region,
        region_names=mesh.region_names,
        density_g_per_cc=mesh.density_g_per_cc,
        constants=constants,
        axes=axes,
        conditions=_between_platens(bench, force_n),
        tangent_cells=soft,
        tangents=tangents,
        springs=_taut_links(bench) if deformed else (),
        cell_sets=_treated_cells(bench),
        node_sets=mesh.node_sets,
        face_sets=mesh.face_sets,
    )
    return Exported(model, mesh, {"axial_modulus_mpa": axial} | (_fields(bench) if deformed else {}))


def _disc_tangents(bench: Bench, axes: Array | None) -> tuple[Ids, Array]:
    """Cells (k,) of discs that are strained, and their stiffness (k, 6, 6); none at rest, where constants say it all.

    It is the tangent of the law at the present log strain, the mean over a cell's points, turned with the cell.
    """
    mesh = bench.mesh
    soft = mesh.cells_in(*(name for name in mesh.region_names if name.partition(".")[0] in mesh.discs))
    if axes is None or not soft.size:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 6, 6))
    evaluation = bench.structure.evaluate(bench.state, tension_n=bench.load.tension_n)
    assert evaluation is not None, "a state that was kept is one that was evaluated"
    return soft, turned_stiffness(evaluation.response.tangent[soft].mean(axis=1), axes[soft])


def _taut_links(bench: Bench) -> tuple[Spring, ...]:
    """Ligaments that pull and facets that touch, as springs along the way on which they do; cables have none."""
    links = bench.structure.links
    if links is None:
        return ()
    springs = []
    for part, pulled in links.parts(bench.points_mm, bench.load.tension_n).items():
        for index in np.flatnonzero(pulled.slope > SLACK_N_PER_MM).tolist():
            places = (3 * pulled.ends[index][:, None] + np.arange(3)).ravel()
            weights = (links.spread[:, places] @ pulled.along[index]).reshape(-1, 3)
            nodes = np.flatnonzero(weights.any(axis=1))
            springs.append(Spring(f"{part}_{index + 1}", nodes, weights[nodes], float(pulled.slope[index])))
    return tuple(springs)


def _in_present_shape(bench: Bench) -> meshes.SegmentMesh:
    """The mesh where it is now, its bodies measured anew."""
    mesh = replace(bench.mesh, points_mm=bench.points_mm)
    volume = meshes.cell_volumes_mm3(mesh.points_mm, mesh.cells)
    centroid = meshes.cell_centroids_mm(mesh.points_mm, mesh.cells)
    bodies = {}
    for level, body in mesh.bodies.items():
        bony = mesh.bony_cells(level)
        own = mesh.points_mm[np.unique(mesh.cells[bony])] @ body.axes.T
        width_mm, depth_mm = np.ptp(own, axis=0)[:2].tolist()
        heights = [meshes.gauge_height_mm(gauge, mesh.points_mm) for gauge in body.gauges.values()]
        bodies[level] = replace(
            body,
            centre_mm=np.average(centroid[bony], axis=0, weights=volume[bony]),
            width_mm=width_mm,
            depth_mm=depth_mm,
            height_mm=float(np.mean(heights)),
            volume_mm3=float(volume[bony].sum()),
        )
    return replace(mesh, bodies=bodies)


def _notes(force_n: float, deformed: bool) -> tuple[str, ...]:
    load = f"Load: {force_n:g} N of axial compression between rigid parallel platens; linear elastic, small strain."
    if not deformed:
        return (load, NOT_CLINICAL)
    return (
        "NEW STRESS-FREE REFERENCE: the present, deformed shape with the present, damaged stiffness of every element.",
        "The stresses of that state are not in this file, nor plasticity, creep and fatigue.",
        load,
        NOT_CLINICAL,
    )


def _between_platens(bench: Bench, force_n: float) -> tuple[voxel.Condition, ...]:
    """Upper platen pressed down without tilting, lower one still; reference points where they are now."""
    places = [p.centre_mm + m[:3] for p, m in zip(bench.structure.platens, bench.state.motion, strict=True)]
    centre = {
        p.name: (float(x), float(y), float(z)) for p, (x, y, z) in zip(bench.structure.platens, places, strict=True)
    }
    nodes = bench.mesh.node_sets
    pressed = (0.0, 0.0, None, 0.0, 0.0, 0.0)
    load = (0.0, 0.0, -force_n, 0.0, 0.0, 0.0)
    return (
        voxel.Platen(TOP, nodes[TOP], centre[TOP], pressed, load),
        voxel.Platen(BOTTOM, nodes[BOTTOM], centre[BOTTOM]),
    )


def _turned_axes(bench: Bench) -> Array:
    """(m, 3, 3) material axes, rows, turned with the mean rotation of every cell since it was free of stress."""
    mesh = bench.structure.mesh
    weight = mesh.weight / mesh.weight.sum(axis=1, keepdims=True)
    f = np.einsum("mq,mqaj,mai->mij", weight, mesh.gradient, bench.points_mm[mesh.cells])
    left, _, right = np.linalg.svd(f)
    return np.asarray(np.swapaxes(left @ right, 1, 2))


def _treated_cells(bench: Bench) -> dict[str, NDArray[np.int64]]:
    sets = {"cement": np.flatnonzero(bench.cement_share > 0.0), "cavity": np.flatnonzero(bench.cavity)}
    return {name: cells for name, cells in sets.items() if cells.size}


def _fields(bench: Bench) -> dict[str, NDArray[Any]]:
    """What a state has besides its stiffness; stress and strain of it are left behind."""
    cells = stage_fields(bench)[1]
    return {name: cells[name] for name in ("damage", "cement_fraction", "is_cavity", "crush")}


def exported_voxels(spec: StudySpec) -> Exported:
    """The voxels of a study, pressed together at their caps, which slide.

    The first test of stiffness says what bone and caps are made of and how far they come together; without one, the
    first test of strength, up to its first, elastic point.
    """
    stages = spec.voxel_stages
    stage = next((s for s in stages if isinstance(s, StiffnessStage)), stages[0])
    strength.check_cards(stage)
    specimen = strength.mount(read_voxels(spec))
    mesh = meshes.voxel_mesh(specimen.image, specimen.filled, spec.specimen.treated)
    if isinstance(stage, StiffnessStage):
        approach_mm = stage.displacement_mm
    else:
        approach_mm = strength.ELASTIC_STRAIN * specimen.image.body_height_mm
    mesh, conditions = _held_caps(specimen, mesh, approach_mm)
    constants = _voxel_constants(specimen, stage)
    load = f"Load: the caps' outer faces come together by {approach_mm:g} mm and slide; linear elastic, small strain."
    model = LinearModel(
        title=f"Kyphos study {spec.name}: voxels of {specimen.image.voxel_mm:g} mm",
        notes=(load, NOT_CLINICAL),
        points_mm=mesh.points_mm,
        cells=mesh.cells,
        formulation=np.full(len(mesh.cells), fem.FORMULATIONS["standard"], dtype=np.int8),
        region=mesh.region,
        region_names=mesh.region_names,
        density_g_per_cc=mesh.density_g_per_cc,
        constants=constants,
        axes=None,
        conditions=conditions,
        node_sets=mesh.node_sets,
    )
    return Exported(model, mesh, {"axial_modulus_mpa": constants[:, 2]})


def _voxel_constants(specimen: strength.Specimen, stage: VoxelStage) -> Array:
    """(m, 9) of the elements, in C order."""
    if materials.load_card(stage.bone).kind == materials.CRUSHABLE_BONE.name:
        return elastic_constants(strength.material_field(specimen, stage))
    ratio = materials.load_card(stage.caps)["poisson_ratio"]
    return isotropic_constants(strength.moduli_mpa(specimen, stage)[specimen.filled], ratio)


def _held_caps(
    specimen: strength.Specimen, mesh: meshes.SegmentMesh, approach_mm: float
) -> tuple[meshes.SegmentMesh, tuple[voxel.Condition, ...]]:
    """The caps' faces, as sets of the mesh; two nodes of the lower one keep it from sliding away, without force."""
    number = np.cumsum(voxel.active_nodes(specimen.filled).ravel()) - 1
    holds = [replace(hold, nodes=number[hold.nodes]) for hold in specimen.holds(approach_mm)]
    lower = holds[0].nodes
    x = mesh.points_mm[lower, 0]
    pin, guide = lower[[x.argmin()]], lower[[x.argmax()]]
    sets = {f"{hold.name}_face": hold.nodes for hold in holds}
    named = tuple(replace(hold, name=f"{hold.name}_face") for hold in holds)
    kept = (voxel.Hold("pin", pin, (0.0, 0.0, None)), voxel.Hold("guide", guide, (None, 0.0, None)))
    return replace(mesh, node_sets={**mesh.node_sets, **sets}), (*named, *kept)
