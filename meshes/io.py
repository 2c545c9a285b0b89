"""Meshes on disk: VTU with a JSON sidecar. The only importer of meshio.

meshio 5.3.5 drops cell labels in .msh and .inp without a word, so only .vtu is offered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import meshio
import numpy as np
from numpy.typing import NDArray

from kyphos.errors import DataError
from kyphos.meshes.model import Body, Floats, Gauge, Ints, SegmentMesh
from kyphos.meshes.quality import scaled_jacobian


def write_vtu(
    path: str | Path,
    mesh: SegmentMesh,
    point_data: Mapping[str, NDArray[Any]] | None = None,
    cell_data: Mapping[str, NDArray[Any]] | None = None,
    sidecar: bool = True,
    field_data: Mapping[str, str] | None = None,
) -> Path:
    """Write a mesh as `path` (.vtu) and, as the `sidecar` `<stem>.mesh.json`, its names, sets and bodies.

    Cell data: region (index into the sidecar's region_names), density (g/cm3, NaN in pots), quality (scaled
    Jacobian), and the given data, (n, ...) at points and (m, ...) at cells. `field_data` are texts about
    the whole, kept as the codes of their ASCII letters, which every reader of VTU takes. Returns the path; raises
    DataError for another suffix.
    """
    path = _vtu(path)
    blocks = {
        "region": mesh.region.astype(np.int32),
        "density": mesh.density_g_per_cc,
        "quality": scaled_jacobian(mesh),
    } | dict(cell_data or {})
    cells = {name: [values] for name, values in blocks.items()}
    grid = meshio.Mesh(mesh.points_mm, [("hexahedron", mesh.cells)], dict(point_data or {}), cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    meshio.write(path, grid)
    if field_data:
        _add_texts(path, field_data)
    if sidecar:
        _write_names(_sidecar(path), mesh)
    return path


def _add_texts(path: Path, texts: Mapping[str, str]) -> None:
    """Put texts into a VTU as field data (meshio writes none)."""
    arrays = []
    for name, text in texts.items():
        codes = text.encode("ascii", errors="replace")
        head = f'<DataArray type="UInt8" Name="{name}" NumberOfTuples="{len(codes)}" format="ascii">'
        arrays.append(f"{head}{' '.join(str(code) for code in codes)}</DataArray>")
    start, grid, rest = path.read_bytes().partition(b"<UnstructuredGrid>")
    field = f"<FieldData>{''.join(arrays)}</FieldData>".encode()
    path.write_bytes(start + grid + field + rest)


def _write_names(path: Path, mesh: SegmentMesh) -> None:
    """Region names, sets and bodies as JSON."""
    names = {
        "region_names": mesh.region_names,
        "node_sets": mesh.node_sets,
        "face_sets": mesh.face_sets,
        "bodies": {level: asdict(body) for level, body in mesh.bodies.items()},
    }
    path.write_text(json.dumps(names, default=_as_list))


def read_vtu(path: str | Path) -> SegmentMesh:
    """Read back what `write_vtu` wrote. Raises DataError where a file is missing or unfit."""
    path = _vtu(path)
    grid = _read(path)
    if not _sidecar(path).is_file():
        raise DataError(f"{_sidecar(path)} is missing; it holds the names and sets of {path.name}")
    try:
        names = json.loads(_sidecar(path).read_text())
        return SegmentMesh(
            points_mm=np.asarray(grid.points, dtype=np.float64),
            cells=np.asarray(grid.cells_dict["hexahedron"], dtype=np.int64),
            region=np.asarray(grid.cell_data_dict["region"]["hexahedron"], dtype=np.int16),
            region_names=tuple(names["region_names"]),
            density_g_per_cc=np.asarray(grid.cell_data_dict["density"]["hexahedron"], dtype=np.float64),
            node_sets={name: np.array(ids, dtype=np.int64) for name, ids in names["node_sets"].items()},
            face_sets={name: np.array(ids, dtype=np.int64) for name, ids in names["face_sets"].items()},
            bodies={level: _body(table) for level, table in names["bodies"].items()},
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not a mesh written by Kyphos ({error!r}); try read_vtu_mesh") from error


def read_vtu_mesh(path: str | Path) -> tuple[Floats, dict[str, Ints], dict[str, dict[str, NDArray[Any]]]]:
    """Points (n, 3), cells by type ("hexahedron" -> (m, 8), ...) and cell data (name -> type -> (m, ...)).

    Reads any .vtu. Raises DataError for a missing, unreadable or differently named file.
    """
    grid = _read(_vtu(path))
    cells = {kind: np.asarray(ids, dtype=np.int64) for kind, ids in grid.cells_dict.items()}
    return np.asarray(grid.points, dtype=np.float64), cells, dict(grid.cell_data_dict)


SURFACES = (".stl", ".ply", ".obj", ".off")
"""Formats of surfaces made of triangles."""


def read_surface(path: str | Path) -> tuple[Floats, Ints]:
    """Points (n, 3) and triangles (t, 3) of a surface, in one of the formats `SURFACES`.

    Raises DataError for a missing, unreadable or differently named file, or one without triangles.
    """
    path = Path(path)
    if path.suffix.lower() not in SURFACES:
        raise DataError(f"{path} has the suffix {path.suffix!r}; a surface is one of {', '.join(SURFACES)}")
    grid = _read(path)
    triangles = grid.cells_dict.get("triangle", np.empty((0, 3)))
    if not len(triangles):
        raise DataError(f"{path} holds no triangles; export the surface as triangles")
    return np.asarray(grid.points, dtype=np.float64), np.asarray(triangles, dtype=np.int64)


def write_grid(
    path: str | Path,
    points_mm: Floats,
    cells: Sequence[tuple[str, Ints]],
    point_data: Mapping[str, NDArray[Any]],
    cell_data: Mapping[str, NDArray[Any]],
) -> Path:
    """Write cells as .vtu: blocks (meshio's name of the type, (m, a)); ``cell_data`` (sum of m, ...) in their order.

    Returns the path; raises DataError for another suffix.
    """
    path = _vtu(path)
    ends = np.cumsum([len(ids) for _, ids in cells])[:-1]
    data = {name: np.split(values, ends) for name, values in cell_data.items()}
    meshio.write(path, meshio.Mesh(points_mm, list(cells), dict(point_data), data))
    return path


def _vtu(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() != ".vtu":
        raise DataError(f"{path} has the suffix {path.suffix!r}; only .vtu keeps labels, use {path.stem}.vtu")
    return path


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".mesh.json")


def _read(path: Path) -> meshio.Mesh:
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a {path.suffix} file")
    try:
        return meshio.read(path)
    except (Exception, SystemExit) as error:  # meshio raises many classes, and exits on some files
        raise DataError(f"{path} cannot be read as {path.suffix[1:].upper()} ({error}); write it again") from error


def _as_list(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")


def _body(table: dict[str, Any]) -> Body:
    gauges = {
        name: Gauge(**{key: np.array(values) for key, values in gauge.items()})
        for name, gauge in table["gauges"].items()
    }
    arrays = {key: np.array(table[key]) for key in ("centre_mm", "axes")}
    return Body(**(table | arrays | {"gauges": gauges}))
