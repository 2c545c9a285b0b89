"""Bodies of a whole spine from real surfaces: frames found automatically, smooth shapes fitted in them.

The source is a signed distance to the vertebra's surface, from a label map or a closed surface. Where it holds the
posterior elements too, the body is cut free of its pedicles by the outline of its lower half, which they do not touch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from kyphos.errors import DataError
from kyphos.meshes.density import density_field
from kyphos.meshes.image import Scan, ScanShape, fit_shape, read_nifti, signed_depth
from kyphos.meshes.model import Floats, SegmentMesh
from kyphos.meshes.segment import Frame, PlacedShape, check_levels, sweep_segment, upright
from kyphos.meshes.vertebra import LEVELS

Depth = Callable[[Floats], Floats]

VERSE_LABELS = {name: number for number, name in enumerate(LEVELS, start=18)}
"""Numbers of T11 to L5 in the label maps of VerSe: 18 to 24."""

SPECIMENS = ("visible-human", "verse004")
"""Shipped specimens: L1-L5 of the Visible Human male, T11-L5 of VerSe subject 004."""

CORE_MM = 10.0  # endplate planes are fitted within this radius of the axis
LOWER_HALF = np.linspace(0.15, 0.45, 7)  # height fractions below the pedicles
CUT_MARGIN_MM = (1.0, 4.0)  # the wall may lie this far outside the lower half's outline: at the back, at the front
_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Spine:
    """Placed bodies of a real spine, from the top down, and where they come from."""

    bodies: tuple[PlacedShape, ...]
    source: str

    def levels(self) -> tuple[str, ...]:
        """Levels from the top down."""
        return tuple(body.level for body in self.bodies)


def specimen(name: str) -> Spine:
    """A shipped specimen of `SPECIMENS`; DataError for another name."""
    if name not in SPECIMENS:
        raise DataError(f"there is no specimen {name!r}; shipped are {', '.join(SPECIMENS)}")
    folder = Path(str(files("kyphos.meshes"))) / "sample" / name.replace("-", "_")
    return read_spine(folder / "bodies.json")


def specimen_mesh(
    spine: Spine,
    levels: Sequence[str],
    element_size_mm: float = 2.0,
    vbmd_mg_per_cc: float = 80.0,
    seed: int = 1,
    density_cv: float = 0.2,
) -> SegmentMesh:
    """Segment of two or more levels of a real spine, discs filled in between, density as in a parametric one.

    The frame is that of `segment_mesh`. Raises DataError for a level that the spine lacks, MeshError for the mesh.
    """
    wanted = tuple(levels)
    check_levels(wanted)
    known = {body.level: body for body in spine.bodies}
    missing = [level for level in wanted if level not in known]
    if missing or len(wanted) < 2:
        what = f"no {missing[0]}" if missing else "two levels at least in a segment"
        raise DataError(f"this spine has {what}; it has {', '.join(known)}")
    mesh = sweep_segment(upright([known[level] for level in wanted]), element_size_mm)
    return density_field(mesh, vbmd_mg_per_cc, seed, density_cv)


def spine_from_mask(
    path: str | Path,
    levels: Sequence[str],
    labels: Mapping[str, int] | None = None,
    shell_thickness_mm: float = 0.38,
    endplate_thickness_mm: float = 0.5,
) -> Spine:
    """Bodies from a label map of whole vertebrae (NIfTI), one number a level, numbered as in VerSe by default.

    Raises DataError for an unreadable file, a level that is missing or a body that cannot be found.
    """
    marks, affine = read_nifti(Path(path))
    scan = Scan(marks, np.rint(marks).astype(np.int64), affine, False)
    numbers = labels or VERSE_LABELS
    present = set(np.unique(scan.labels).tolist())
    missing = [level for level in levels if numbers.get(level) not in present]
    if missing:
        raise DataError(
            f"{path} has no label {numbers.get(missing[0])} for {missing[0]}; it has {sorted(present - {0})}"
        )
    bodies = [_from_label(scan, numbers[level], level, shell_thickness_mm, endplate_thickness_mm) for level in levels]
    return Spine(tuple(bodies), str(path))


def fit_body(
    depth_mm: Depth,
    start: Frame,
    level: str,
    shell_thickness_mm: float = 0.38,
    endplate_thickness_mm: float = 0.5,
) -> PlacedShape:
    """Frame and shape of one body from a signed distance (k,) in mm, positive inside, at points (k, 3).

    `start` has its origin inside the body and roughly its axes. The frame found has its superior axis along the mean
    of the two endplates' normals and its origin at the middle of the body. Raises DataError where there is no body.
    """
    frame = start
    for _ in range(_ROUNDS):
        frame = _refined(depth_mm, frame, level)
    half_mm = 0.5 * float(np.diff(_ends_mm(depth_mm, frame, np.zeros((1, 2)))[0])[0])

    def local(points_mm: Floats) -> Floats:
        return depth_mm(frame.place(points_mm))

    reach = _lower_reach(local, half_mm)

    def body(points_mm: Floats) -> Floats:
        theta = np.arctan2(points_mm[:, 1], points_mm[:, 0])
        around = np.interp(theta, _ANGLES, reach, period=2.0 * np.pi)
        back, front = CUT_MARGIN_MM
        limit = around + 0.5 * (front + back) + 0.5 * (front - back) * np.sin(theta)
        return np.minimum(local(points_mm), limit - np.hypot(points_mm[:, 0], points_mm[:, 1]))

    try:
        shape = fit_shape(body, np.zeros(3), shell_thickness_mm, endplate_thickness_mm)
    except DataError as error:
        raise DataError(f"{level}: {error}; a body crushed to a biconcave shape cannot be fitted") from error
    return PlacedShape(level, shape, frame)


def write_spine(spine: Spine, path: str | Path) -> Path:
    """Write the fitted terms and frames of a spine as JSON (about 3 kB a body)."""
    bodies = {body.level: _table(body) for body in spine.bodies}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"source": spine.source, "bodies": bodies}, indent=1) + "\n")
    return path


def read_spine(path: str | Path) -> Spine:
    """Read what `write_spine` wrote; DataError for a missing or foreign file."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a file written by write_spine")
    try:
        table = json.loads(path.read_text())
        bodies = tuple(_from_table(level, entry) for level, entry in table["bodies"].items())
        return Spine(bodies, str(table["source"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is no spine written by Kyphos ({error!r}); write it again") from error


_ANGLES: Floats = np.linspace(-np.pi, np.pi, 72, endpoint=False)
_TERMS = ("superior_terms", "inferior_terms", "outline_terms")


def _table(body: PlacedShape) -> dict[str, object]:
    shape = body.shape
    assert isinstance(shape, ScanShape), "a spine is made of fitted shapes"
    terms = {name: np.round(getattr(shape, name), 5).tolist() for name in _TERMS}
    frame = {"origin_mm": np.round(body.frame.origin_mm, 4).tolist(), "axes": body.frame.axes.tolist()}
    thickness = {"shell_thickness_mm": shape.shell_thickness_mm, "endplate_thickness_mm": shape.endplate_thickness_mm}
    return frame | thickness | terms


def _from_table(level: str, entry: Mapping[str, list[float]]) -> PlacedShape:
    terms = [np.array(entry[name], dtype=np.float64) for name in _TERMS]
    thickness = [float(str(entry[name])) for name in ("shell_thickness_mm", "endplate_thickness_mm")]
    frame = Frame(np.array(entry["origin_mm"], dtype=np.float64), np.array(entry["axes"], dtype=np.float64))
    return PlacedShape(level, ScanShape(np.zeros(3), terms[0], terms[1], terms[2], thickness[0], thickness[1]), frame)


def _from_label(scan: Scan, number: int, level: str, shell_mm: float, plate_mm: float) -> PlacedShape:
    """One body of a label map: its thickest place is the start, its arch tells the back."""
    where = np.argwhere(scan.labels == number)
    low, high = np.maximum(where.min(axis=0) - 6, 0), where.max(axis=0) + 7
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = scan.affine.copy()
    affine[:3, 3] = scan.position_mm(low[None].astype(np.float64))[0]
    crop = Scan(scan.density_mg_per_cc[box], scan.labels[box], affine, False)
    mask = crop.labels == number
    depth = signed_depth(mask, crop)
    voxels = crop.position_mm(np.argwhere(mask).astype(np.float64))
    deep = voxels[np.argsort(depth(voxels))[-max(20, len(voxels) // 50) :]].mean(axis=0)
    return fit_body(depth, facing(deep, voxels.mean(axis=0), np.array([0.0, 0.0, 1.0])), level, shell_mm, plate_mm)


def facing(origin_mm: Floats, behind_mm: Floats, up: Floats) -> Frame:
    """Frame (a start for `fit_body`) with the given superior direction (3,) that looks away from a point behind."""
    up = up / np.linalg.norm(up)
    ahead = origin_mm - behind_mm
    ahead = ahead - (ahead @ up) * up
    ahead /= np.linalg.norm(ahead)
    return Frame(origin_mm, np.array([np.cross(ahead, up), ahead, up]))


def _refined(depth_mm: Depth, frame: Frame, level: str) -> Frame:
    """The frame turned to the endplates' mean normal and moved to the middle of the body."""
    line = np.linspace(-CORE_MM, CORE_MM, 9)
    x, y = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    near = np.hypot(x, y) <= CORE_MM
    places = np.column_stack([x[near], y[near]])
    ends = _ends_mm(depth_mm, frame, places)
    met = np.isfinite(ends).all(axis=1)
    if met.mean() < 0.6:
        raise DataError(f"{level}: no body with two endplates around its start; check the labels")
    basis = np.column_stack([np.ones(len(places)), places])
    terms = np.linalg.lstsq(basis[met], ends[met], rcond=None)[0]  # (3, 2): height and slopes of both planes
    tilt = terms[1:].mean(axis=1)
    up = np.array([-tilt[0], -tilt[1], 1.0]) @ frame.axes
    middle = np.array([0.0, 0.0, float(terms[0].mean())])
    below = middle[2] - 0.15 * float(np.ptp(terms[0]))  # clear of the pedicles
    for axis in (0, 1):
        ray = np.array([0.0, 0.0, below])
        exits = [_exit_mm(depth_mm, frame, ray, sign * np.eye(3)[axis]) for sign in (1.0, -1.0)]
        middle[axis] = 0.5 * (exits[0] - exits[1])
    origin = frame.place(middle)
    return facing(origin, origin - frame.axes[1], up)


def _ends_mm(depth_mm: Depth, frame: Frame, places: Floats) -> Floats:
    """Heights (k, 2) of the body's bottom and top over places (k, 2) in the frame; NaN where there are none."""
    rows = []
    for x, y in places:
        start = np.array([x, y, 0.0])
        up, down = (_exit_mm(depth_mm, frame, start, np.array([0.0, 0.0, sign])) for sign in (1.0, -1.0))
        rows.append((-down, up))
    return np.array(rows)


def _exit_mm(depth_mm: Depth, frame: Frame, start: Floats, direction: Floats) -> float:
    """How far from a point inside, along a direction in the frame, the body ends; NaN if not within reach."""
    line = np.arange(0.0, 45.0, 0.5)
    depth = depth_mm(frame.place(start + np.outer(line, direction)))
    if depth[0] <= 0.0 or not (depth <= 0.0).any():
        return float("nan")
    out = int(np.argmax(depth <= 0.0))
    return float(line[out - 1] + 0.5 * depth[out - 1] / (depth[out - 1] - depth[out]))


def _lower_reach(local_mm: Depth, half_mm: float) -> Floats:
    """Radius (72,) of the wall in the lower half: the median over heights that the pedicles do not touch."""
    here = Frame(np.zeros(3), np.eye(3))
    heights = (2.0 * LOWER_HALF - 1.0) * half_mm
    rays = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES), np.zeros_like(_ANGLES)])
    radii = [[_exit_mm(local_mm, here, np.array([0.0, 0.0, z]), ray) for ray in rays] for z in heights]
    reach: Floats = np.nanmedian(np.array(radii), axis=0)
    if not np.isfinite(reach).all():
        raise DataError("the body has no closed wall below its pedicles; check the labels")
    return reach
