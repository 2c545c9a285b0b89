"""A model for FEBio 4 (file version 4.0): one static step.

The structure is that of the FEBio 4 User Manual, chapter 3 "Free Format Input", and of its reader (FEBioXML, files of
version 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kyphos.errors import InputError
from kyphos.fem import voxel

from .outgoing import Array, Ids, LinearModel, Section, deck_name, face_labels, sections

ELEMENTS = {8: "hex8", 10: "tet10"}
FACE_TAGS = {4: "quad4", 6: "tri6"}
TRANSLATIONS, ROTATIONS = ("x", "y", "z"), ("Ru", "Rv", "Rw")
FORCES = ("Rx", "Ry", "Rz")
FIXED = ("Rx_dof", "Ry_dof", "Rz_dof", "Ru_dof", "Rv_dof", "Rw_dof")
WITH_DENSITY = "with_density"


def write_feb(path: Path, model: LinearModel) -> None:
    """Write a model for FEBio 4.

    Every class of material is a part with a material of its own; regions are element sets, platens rigid bodies without
    elements. The QCT density is an element data map. FEBio has no hexahedron with enhanced strain.

    Raises
    ------
    InputError
        A face set that does not lie on the outside of its cells, or cells with a stiffness of their own or springs, as
        a loaded segment has: no linear law of FEBio is as anisotropic as a disc with taut fibres.
    """
    if model.springs or model.tangent_cells.size:
        raise InputError(
            f"{path}: a loaded segment (discs with taut fibres, ligaments that pull) cannot be written for FEBio; "
            "write .inp, or export the untouched specimen, without --state"
        )
    parts = sections(model)
    blocks = (
        _opening(model),
        _materials(model, parts),
        _mesh(model, parts),
        _domains(parts),
        _mesh_data(model),
        _ramp(),
        _rigid(model),
        _boundary(model),
        _closing(model, len(parts)),
    )
    with path.open("w", encoding="ascii", errors="replace", newline="\n") as file:
        for block in blocks:
            file.writelines(f"{line}\n" for line in block)


def _opening(model: LinearModel) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="ISO-8859-1"?>'
    yield '<febio_spec version="4.0">'
    for note in (model.title, "Units: mm, N, MPa. Axes: x right, y anterior, z superior.", *model.notes):
        yield f"<!-- {note.replace('--', '- -')} -->"
    yield '<Module type="solid"/>'
    yield "<Globals><Constants><T>0</T><P>0</P><R>0</R><Fc>0</Fc></Constants></Globals>"
    yield "<Control><analysis>STATIC</analysis><time_steps>1</time_steps><step_size>1</step_size></Control>"


def _materials(model: LinearModel, parts: list[Section]) -> Iterator[str]:
    yield "<Material>"
    for number, part in enumerate(parts, start=1):
        e1, e2, e3, nu12, nu13, nu23, g12, g13, g23 = part.constants.tolist()
        kind = "isotropic elastic" if part.isotropic else "orthotropic elastic"
        yield f'<material id="{number}" name="{part.name}" type="{kind}"><density>1</density>'
        if part.isotropic:
            yield f"<E>{e1:.9g}</E><v>{nu12:.9g}</v>"
        else:
            yield f"<E1>{e1:.9g}</E1><E2>{e2:.9g}</E2><E3>{e3:.9g}</E3>"
            yield f"<v12>{nu12:.9g}</v12><v23>{nu23:.9g}</v23><v31>{nu13 * e3 / e1:.9g}</v31>"
            yield f"<G12>{g12:.9g}</G12><G23>{g23:.9g}</G23><G31>{g13:.9g}</G31>"
        if part.axes is not None:
            yield f'<mat_axis type="vector"><a>{_vector(part.axes[0])}</a><d>{_vector(part.axes[1])}</d></mat_axis>'
        yield "</material>"
    for number, platen in enumerate(model.platens, start=len(parts) + 1):
        yield f'<material id="{number}" name="{_body(platen)}" type="rigid body"><density>1</density>'
        yield f"<center_of_mass>{_vector(np.array(platen.centre_mm))}</center_of_mass></material>"
    yield "</Material>"


def _body(platen: voxel.Platen) -> str:
    return f"{deck_name(platen.name)}_rigid"


def _vector(values: Array) -> str:
    return ",".join(f"{value:.10g}" for value in values.tolist())


def _mesh(model: LinearModel, parts: list[Section]) -> Iterator[str]:
    yield '<Mesh><Nodes name="all_nodes">'
    for number, point in enumerate(model.points_mm, start=1):
        yield f'<node id="{number}">{_vector(point)}</node>'
    yield "</Nodes>"
    for part in parts:
        yield f'<Elements type="{ELEMENTS[model.cells.shape[1]]}" name="{part.name}">'
        for number, nodes in zip((part.cells + 1).tolist(), (model.cells[part.cells] + 1).tolist(), strict=True):
            yield f'<elem id="{number}">{",".join(map(str, nodes))}</elem>'
        yield "</Elements>"
    for name, faces in model.face_sets.items():
        face_labels(model.cells, faces)  # refuses what is no outward face
        tag = FACE_TAGS[faces.shape[1]]
        yield f'<Surface name="{deck_name(name)}">'
        for number, nodes in enumerate((faces + 1).tolist(), start=1):
            yield f'<{tag} id="{number}">{",".join(map(str, nodes))}</{tag}>'
        yield "</Surface>"
    yield from (_id_set("ElementSet", name, cells) for name, cells in _element_sets(model).items())
    named = dict(model.node_sets) | {c.name: c.nodes for c in model.conditions}
    yield from (_id_set("NodeSet", name, nodes) for name, nodes in named.items())
    yield "</Mesh>"


def _element_sets(model: LinearModel) -> dict[str, Ids]:
    """Regions and other sets that hold any element, and those that have a density."""
    sets = {name: np.flatnonzero(model.region == index) for index, name in enumerate(model.region_names)}
    sets |= {**model.cell_sets, WITH_DENSITY: np.flatnonzero(np.isfinite(model.density_g_per_cc))}
    return {name: cells for name, cells in sets.items() if cells.size}


def _id_set(tag: str, name: str, ids: Ids) -> str:
    return f'<{tag} name="{deck_name(name)}">{",".join(map(str, (ids + 1).tolist()))}</{tag}>'


def _domains(parts: list[Section]) -> Iterator[str]:
    yield "<MeshDomains>"
    yield from (f'<SolidDomain name="{part.name}" mat="{part.name}"/>' for part in parts)
    yield "</MeshDomains>"


def _mesh_data(model: LinearModel) -> Iterator[str]:
    density = model.density_g_per_cc[np.isfinite(model.density_g_per_cc)]
    if not density.size:
        return
    yield f'<MeshData><ElementData name="qct_density_g_per_cc" elem_set="{WITH_DENSITY}" data_type="scalar">'
    yield from (f'<elem lid="{place}">{value:.4g}</elem>' for place, value in enumerate(density.tolist(), start=1))
    yield "</ElementData></MeshData>"


def _boundary(model: LinearModel) -> Iterator[str]:
    yield "<Boundary>"
    for platen in model.platens:
        name = deck_name(platen.name)
        yield f'<bc name="{name}" type="rigid" node_set="{name}"><rb>{_body(platen)}</rb></bc>'
    for hold in model.holds:
        name = deck_name(hold.name)
        for axis, value in zip(TRANSLATIONS, hold.displacement_mm, strict=True):
            if value is not None:
                yield f'<bc name="{name}_{axis}" type="prescribed displacement" node_set="{name}"><dof>{axis}</dof>'
                yield f'<value lc="1">{value:.10g}</value><relative>0</relative></bc>'
    yield "</Boundary>"


def _rigid(model: LinearModel) -> Iterator[str]:
    if not model.platens:
        return
    yield "<Rigid>"
    for platen in model.platens:
        still = "".join(f"<{dof}>{int(m == 0.0)}</{dof}>" for dof, m in zip(FIXED, platen.motion, strict=True))
        yield f'<rigid_bc name="{_body(platen)}_fixed" type="rigid_fixed"><rb>{_body(platen)}</rb>{still}</rigid_bc>'
        for place, (motion, load) in enumerate(zip(platen.motion, platen.load, strict=True)):
            if motion:
                yield _driven(platen, place, motion)
            elif motion is None and load != 0.0:
                yield _loaded(platen, place, load)
    yield "</Rigid>"


def _driven(platen: voxel.Platen, place: int, motion: float) -> str:
    kind = "rigid_displacement" if place < 3 else "rigid_rotation"
    dof = (*TRANSLATIONS, *ROTATIONS)[place]
    return (
        f'<rigid_bc name="{_body(platen)}_{dof}" type="{kind}"><rb>{_body(platen)}</rb><dof>{dof}</dof>'
        f'<relative>0</relative><value lc="1">{motion:.10g}</value></rigid_bc>'
    )


def _loaded(platen: voxel.Platen, place: int, load: float) -> str:
    kind = "rigid_force" if place < 3 else "rigid_moment"
    dof = (*FORCES, *ROTATIONS)[place]
    return (
        f'<rigid_load name="{_body(platen)}_{dof}" type="{kind}"><rb>{_body(platen)}</rb><dof>{dof}</dof>'
        f'<relative>0</relative><value lc="1">{load:.10g}</value></rigid_load>'
    )


def _ramp() -> Iterator[str]:
    yield '<LoadData><load_controller id="1" type="loadcurve"><interpolate>LINEAR</interpolate>'
    yield "<extend>CONSTANT</extend><points><pt>0,0</pt><pt>1,1</pt></points></load_controller></LoadData>"


def _closing(model: LinearModel, n_parts: int) -> Iterator[str]:
    yield "<Output>"
    if model.platens:
        bodies = ",".join(str(n_parts + 1 + index) for index in range(len(model.platens)))
        yield f'<logfile><rigid_body_data data="z;Fx;Fy;Fz;Mx;My;Mz" delim=",">{bodies}</rigid_body_data></logfile>'
    yield '<plotfile type="febio"><var type="displacement"/><var type="stress"/></plotfile>'
    yield "</Output>"
    yield "</febio_spec>"
