"""What a FEBio 4 file may hold, as far as our writer goes: tags, their attributes and their children.

From the readers of FEBio (github.com/febiosoftware/FEBio, files of version 4): FEBioXML/FEBioMeshSection4.cpp,
FEBioMeshDomainsSection4.cpp, FEBioMeshDataSection4.cpp, FEBioRigidSection4.cpp, FEBioBoundarySection3.cpp,
FEBioLoadDataSection3.cpp, FEBioOutputSection.cpp, and the parameters of FEBioMech/FEIsotropicElastic.cpp,
FEOrthoElastic.cpp, FERigidMaterial.cpp.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

ORDER = (
    "Module",
    "Globals",
    "Control",
    "Material",
    "Mesh",
    "MeshDomains",
    "MeshData",
    "LoadData",
    "Rigid",
    "Boundary",
    "Output",
)
NAMED = {"Nodes", "Elements", "Surface", "ElementSet", "NodeSet"}
ATTRIBUTES = {
    "febio_spec": {"version"},
    "Module": {"type"},
    "material": {"id", "name", "type"},
    "mat_axis": {"type"},
    "Nodes": {"name"},
    "node": {"id"},
    "Elements": {"type", "name"},
    "elem": {"id", "lid"},
    "Surface": {"name"},
    "quad4": {"id"},
    "tri6": {"id"},
    "ElementSet": {"name"},
    "NodeSet": {"name"},
    "SolidDomain": {"name", "mat"},
    "ElementData": {"name", "elem_set", "data_type"},
    "bc": {"name", "type", "node_set"},
    "rigid_bc": {"name", "type"},
    "rigid_load": {"name", "type"},
    "value": {"lc"},
    "load_controller": {"id", "type"},
    "plotfile": {"type"},
    "var": {"type"},
    "rigid_body_data": {"data", "delim"},
}
CHILDREN = {
    "febio_spec": set(ORDER),
    "Control": {"analysis", "time_steps", "step_size"},
    "Globals": {"Constants"},
    "Constants": {"T", "P", "R", "Fc"},
    "Material": {"material"},
    "mat_axis": {"a", "d"},
    "Mesh": NAMED,
    "Nodes": {"node"},
    "Elements": {"elem"},
    "Surface": {"quad4", "tri6"},
    "MeshDomains": {"SolidDomain"},
    "MeshData": {"ElementData"},
    "ElementData": {"elem"},
    "Boundary": {"bc"},
    "Rigid": {"rigid_bc", "rigid_load"},
    "rigid_load": {"rb", "dof", "value", "relative"},
    "LoadData": {"load_controller"},
    "load_controller": {"interpolate", "extend", "points"},
    "points": {"pt"},
    "Output": {"plotfile", "logfile"},
    "plotfile": {"var"},
    "logfile": {"rigid_body_data"},
}
BY_TYPE = {
    ("material", "isotropic elastic"): {"density", "E", "v"},
    ("material", "orthotropic elastic"): {"density", "mat_axis"}
    | {f"{kind}{pair}" for kind in "Gv" for pair in ("12", "23", "31")}
    | {"E1", "E2", "E3"},
    ("material", "rigid body"): {"density", "center_of_mass"},
    ("bc", "rigid"): {"rb"},
    ("bc", "prescribed displacement"): {"dof", "value", "relative"},
    ("rigid_bc", "rigid_fixed"): {"rb", "Rx_dof", "Ry_dof", "Rz_dof", "Ru_dof", "Rv_dof", "Rw_dof"},
    ("rigid_bc", "rigid_displacement"): {"rb", "dof", "value", "relative"},
    ("rigid_bc", "rigid_rotation"): {"rb", "dof", "value", "relative"},
}


def faults(root: Element) -> list[str]:
    """Everything in a file that its readers would refuse: tags, attributes, order, dangling names."""
    found = [] if [child.tag for child in root] == [tag for tag in ORDER if root.find(tag) is not None] else ["order"]
    for element in root.iter():
        extra = set(element.attrib) - ATTRIBUTES.get(element.tag, set())
        found += [f"attribute {name} of {element.tag}" for name in extra]
        allowed = BY_TYPE.get((element.tag, element.get("type", "")), CHILDREN.get(element.tag, set()))
        found += [f"{child.tag} in {element.tag}" for child in element if child.tag not in allowed]
    return found + _dangling(root)


def _dangling(root: Element) -> list[str]:
    materials = [m.get("name") for m in root.iter("material")]
    parts = [e.get("name") for e in root.iter("Elements")]
    sets = {kind: [s.get("name") for s in root.iter(kind)] for kind in NAMED}
    nodes = {n.get("id") for n in root.iter("node")}
    used = {node for e in root.iter("Elements") for elem in e for node in (elem.text or "").split(",")}
    wanted = [
        *((d.get("mat"), materials) for d in root.iter("SolidDomain")),
        *((d.get("name"), parts) for d in root.iter("SolidDomain")),
        *((part, [d.get("name") for d in root.iter("SolidDomain")]) for part in parts),
        *((b.get("node_set"), sets["NodeSet"]) for b in root.iter("bc")),
        *((b.text, materials) for b in root.iter("rb")),
        *((d.get("elem_set"), sets["ElementSet"] + parts) for d in root.iter("ElementData")),
        *((value.get("lc"), [c.get("id") for c in root.iter("load_controller")]) for value in root.iter("value")),
    ]
    twice = [name for names in (materials, *sets.values()) for name in names if names.count(name) > 1]
    return (
        [f"no {name}" for name, known in wanted if name not in known]
        + [f"{name} twice" for name in twice]
        + [f"node {node}" for node in used - nodes]
    )
