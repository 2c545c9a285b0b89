"""A vertebral body from a calibrated CT and its label map, meshed by the same sweep as the parametric one.

The smoothed signed distance of the body's mask gives sub-voxel wall points; smooth surfaces are fitted to
them (polynomials for the endplates, Fourier series for the outline) and handed to the mesher as a shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kyphos.errors import DataError
from kyphos.meshes.density import VBMD_RANGE_MG_PER_CC, cortical_cells
from kyphos.meshes.model import Floats, SegmentMesh, cell_volumes_mm3, shape_functions
from kyphos.meshes.quality import check_quality
from kyphos.meshes.sweep import sweep_body
from kyphos.units import MG_PER_G, MM3_PER_ML

BODY_VOLUME_RANGE_ML = (4.0, 90.0)
DENSITY_FLOOR_G_PER_CC = 0.005  # fat-filled cells read negative; bone laws need a positive density
SMOOTHING_MM = 0.8  # Gaussian width on the signed distance
RAY_STEP_MM = 0.5
COLUMN_STEP_MM = 1.25
REACH_MM = 45.0  # no human vertebral body reaches further from its centre line
FIT_FRACTIONS: Floats = np.linspace(0.06, 0.94, 23)  # heights of the wall's probes, clear of the rounded rim
PROBE_ANGLES: Floats = np.linspace(-np.pi, np.pi, 96, endpoint=False)
HARMONICS = 9
HEIGHT_DEGREE = 4  # of the outline's polynomial along the height
ENDPLATE_DEGREE = 4


@dataclass(frozen=True, slots=True)
class Labels:
    """Numbers in the label map; the body is trabecular + cortical, processes only tell front from back."""

    trabecular: int = 1
    cortical: int = 2
    processes: tuple[int, ...] = (3, 4)
    lower_cap: int = 5
    upper_cap: int = 6


@dataclass(frozen=True, slots=True)
class Scan:
    """A calibrated image with its labels in RAS+ axes.

    density_mg_per_cc and labels (i, j, k); affine (4, 4): voxel index -> mm. `turned` says that front and
    back disagreed with the header and the specimen was turned by 180 degrees about the vertical.
    """

    density_mg_per_cc: Floats
    labels: NDArray[np.int64]
    affine: Floats
    turned: bool

    @property
    def voxel_mm(self) -> Floats:
        """Edge lengths (3,) of a voxel."""
        lengths: Floats = np.linalg.norm(self.affine[:3, :3], axis=0)
        return lengths

    def index(self, points_mm: Floats) -> Floats:
        """Fractional voxel indices (k, 3) of points (k, 3) in mm."""
        indices: Floats = (points_mm - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        return indices

    def position_mm(self, indices: Floats) -> Floats:
        """Positions (k, 3) in mm of voxel indices (k, 3)."""
        positions: Floats = indices @ self.affine[:3, :3].T + self.affine[:3, 3]
        return positions


def read_scan(
    image: str | Path,
    labels: str | Path,
    numbers: Labels | None = None,
    *,
    hu_line: tuple[float, float] | None = None,
) -> Scan:
    """Read a density image (mg/cm3) and its label map (NIfTI), checked against each other, in RAS+ axes.

    With `hu_line` the image is in HU: density = slope (mg/cm3 per HU) x HU + offset (mg/cm3).
    Raises DataError for a missing or unreadable file, NaN, different grids, a sheared affine, a label map
    without a vertebral body or upside down.
    """
    numbers = numbers or Labels()
    density, affine = read_nifti(Path(image))
    marks, label_affine = read_nifti(Path(labels))
    if density.shape != marks.shape:
        shapes = f"{density.shape} and {marks.shape} voxels"
        raise DataError(f"{image} and {labels} have {shapes}; resample one onto the other")
    if not np.allclose(affine, label_affine, atol=1e-2):
        raise DataError(f"{image} and {labels} have different affines; resample one onto the other")
    if not np.isfinite(density).all():
        bad = int((~np.isfinite(density)).sum())
        raise DataError(f"{image} holds {bad} voxels that are NaN or infinite; replace them and try again")
    if hu_line is not None:
        density = hu_line[0] * density + hu_line[1]
    scan = Scan(density, np.rint(marks).astype(np.int64), affine, False)
    _check_labels(scan, numbers, labels)
    return _face_forward(scan, numbers, labels)


def body_from_ct(
    image: str | Path,
    labels: str | Path,
    level: str,
    element_size_mm: float = 2.0,
    shell_thickness_mm: float = 0.38,
    endplate_thickness_mm: float = 0.5,
    numbers: Labels | None = None,
    *,
    hu_line: tuple[float, float] | None = None,
) -> SegmentMesh:
    """Mesh of the vertebral body in a CT (mg/cm3), density sampled into every cell; origin inside the body.

    With `hu_line` the CT is in HU, see `read_scan`. The shell is thinner than a scanner resolves, so its thickness
    is given (0.38 mm: Eswaran 2007), and shell and endplates take the mean trabecular density. The vertical is the
    scan's z axis. Raises DataError for the scan, MeshError for the mesh.
    """
    numbers = numbers or Labels()
    scan = _cropped(read_scan(image, labels, numbers, hu_line=hu_line), numbers)
    shape = scan_shape(scan, numbers, shell_thickness_mm, endplate_thickness_mm)
    mesh = sweep_body(shape, level, element_size_mm)
    check_quality(mesh)
    return _sample_density(mesh, scan, shape, numbers)


def scan_frame(
    image: str | Path, labels: str | Path, numbers: Labels | None = None, *, hu_line: tuple[float, float] | None = None
) -> Floats:
    """Affine (4, 4), mm, from the mesh that `body_from_ct` makes of a scan to the coordinates of the scanner."""
    numbers = numbers or Labels()
    scan = _cropped(read_scan(image, labels, numbers, hu_line=hu_line), numbers)
    frame = np.eye(4)
    frame[:3, 3] = scan_shape(scan, numbers).origin_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ frame if scan.turned else frame


def sample_ct() -> tuple[Path, Path]:
    """Image and label map of the sample specimen, an osteoporotic L2 (VerSe 004, CC BY-SA)."""
    folder = Path(str(files("kyphos.meshes"))) / "sample" / "verse004_L2"
    return folder / "sub-verse004_L2_density_mgcc.nii.gz", folder / "sub-verse004_L2_seg.nii.gz"


# --- reading -----------------------------------------------------------------------------------------------


def read_nifti(path: Path) -> tuple[Floats, Floats]:
    """Voxels (i, j, k) and affine (4, 4) of a NIfTI file in the closest RAS+ order; DataError if it is unfit."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a NIfTI file (.nii or .nii.gz)")
    try:
        volume: Any = nib.as_closest_canonical(nib.load(path))  # type: ignore[no-untyped-call]
        data, affine = np.asarray(volume.get_fdata()), np.asarray(volume.affine, dtype=np.float64)
    except Exception as error:  # nibabel, zlib and numpy each raise their own classes
        raise DataError(f"{path} cannot be read as NIfTI ({error}); give a .nii or .nii.gz file") from error
    if data.ndim != 3:
        raise DataError(f"{path} has {data.ndim} dimensions; a single volume has 3")
    if not np.isfinite(affine).all():
        raise DataError(f"{path} has an affine that is not finite; fix the header")
    metric = affine[:3, :3].T @ affine[:3, :3]
    sizes = np.sqrt(np.diag(metric))
    if sizes.min() < 1e-3 or np.abs(metric / np.outer(sizes, sizes) - np.eye(3)).max() > 1e-2:
        raise DataError(f"{path} has a sheared or degenerate affine; resample it onto an orthogonal grid")
    return data, affine


def _check_labels(scan: Scan, numbers: Labels, where: str | Path) -> None:
    found = [int(label) for label in np.unique(scan.labels) if label != 0]
    if len(found) == 1:
        raise DataError(
            f"{where} has the single label {found[0]}; the body must be told from the processes "
            f"(trabecular {numbers.trabecular}, cortical {numbers.cortical}, processes {numbers.processes})"
        )
    if numbers.trabecular not in found or numbers.cortical not in found:
        raise DataError(
            f"{where} has no vertebral body: labels {numbers.trabecular} (trabecular) and {numbers.cortical} "
            f"(cortical) are needed, found {found or 'none'}"
        )
    volume_ml = float(_body_mask(scan, numbers).sum() * scan.voxel_mm.prod() / MM3_PER_ML)
    low, high = BODY_VOLUME_RANGE_ML
    if not low <= volume_ml <= high:
        raise DataError(
            f"{where}: the body is {volume_ml:.1f} mL, outside [{low:g}, {high:g}] mL; "
            "check the labels and the voxel size"
        )
    if max(scan.voxel_mm) > 3.0:
        raise DataError(f"{where}: voxels of {max(scan.voxel_mm):.1f} mm are too coarse; 3 mm is the limit")
    mean = float(scan.density_mg_per_cc[scan.labels == numbers.trabecular].mean())
    low, high = VBMD_RANGE_MG_PER_CC
    if not low <= mean <= high:
        raise DataError(
            f"the mean trabecular density, {mean:.4g}, is outside [{low:g}, {high:g}] mg/cm3; "
            "is the image calibrated? (a CT in HU needs a calibration)"
        )


def _cropped(scan: Scan, numbers: Labels, margin_mm: float = 6.0) -> Scan:
    """The scan around its body only: what follows costs the same for a crop and a whole spine."""
    where = np.argwhere(_body_mask(scan, numbers))
    margin = np.ceil(margin_mm / scan.voxel_mm).astype(int)
    low = np.maximum(where.min(axis=0) - margin, 0)
    box = tuple(slice(a, b) for a, b in zip(low, where.max(axis=0) + margin + 1, strict=True))
    affine = scan.affine.copy()
    affine[:3, 3] = scan.position_mm(low[None].astype(np.float64))[0]
    return Scan(scan.density_mg_per_cc[box], scan.labels[box], affine, scan.turned)


def _body_mask(scan: Scan, numbers: Labels) -> NDArray[np.bool_]:
    """The largest connected piece of the labels trabecular + cortical, holes filled."""
    mask = np.isin(scan.labels, (numbers.trabecular, numbers.cortical))
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(mask)
    return filled


def _face_forward(scan: Scan, numbers: Labels, where: str | Path) -> Scan:
    """Turn by 180 degrees about z where the processes lie in front: the mark of a mixed-up LPS/RAS header."""

    def centre(*wanted: int) -> Floats | None:
        voxels = np.argwhere(np.isin(scan.labels, wanted))
        return scan.position_mm(voxels.mean(axis=0, keepdims=True))[0] if len(voxels) else None

    lower, upper = centre(numbers.lower_cap), centre(numbers.upper_cap)
    if lower is not None and upper is not None and upper[2] < lower[2]:
        raise DataError(f"{where}: the upper cap lies below the lower one; turn the third axis to the head")
    body, processes = centre(numbers.trabecular, numbers.cortical), centre(*numbers.processes)
    if body is None or processes is None or processes[1] <= body[1]:
        return scan
    return replace(scan, affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.affine, turned=True)


# --- shape -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScanShape:
    """`sweep.BodyShape` fitted to a mask, in a frame with `origin_mm` (3,) of the scan at (0, 0, 0)."""

    origin_mm: Floats
    superior_terms: Floats
    inferior_terms: Floats
    outline_terms: Floats
    shell_thickness_mm: float
    endplate_thickness_mm: float

    def outline_mm(self, theta: Floats, height_fraction: float) -> Floats:
        """Radius (k,) of the wall at polar angles (k,) and one height; upright beyond the probed heights."""
        probed = np.clip(height_fraction, FIT_FRACTIONS[0], FIT_FRACTIONS[-1])
        radius: Floats = _outline_basis(theta, np.full_like(theta, probed)) @ self.outline_terms
        return radius

    def superior_mm(self, x: Floats, y: Floats) -> Floats:
        """Height (k,) of the superior endplate surface."""
        height: Floats = _endplate_basis(x, y) @ self.superior_terms
        return height

    def inferior_mm(self, x: Floats, y: Floats) -> Floats:
        """Height (k,) of the inferior endplate surface."""
        height: Floats = _endplate_basis(x, y) @ self.inferior_terms
        return height


def scan_shape(
    scan: Scan,
    numbers: Labels | None = None,
    shell_thickness_mm: float = 0.38,
    endplate_thickness_mm: float = 0.5,
) -> ScanShape:
    """Smooth body shape fitted to the mask of a scan; its vertical is the scan's z axis."""
    mask = np.pad(_body_mask(scan, numbers or Labels()), 2)
    inside = ndimage.distance_transform_edt(mask, sampling=scan.voxel_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=scan.voxel_mm)
    distance = ndimage.gaussian_filter(inside - outside, SMOOTHING_MM / scan.voxel_mm)

    def depth_mm(points_mm: Floats) -> Floats:
        """Signed distance (k,) to the wall, positive inside."""
        coordinates = scan.index(points_mm).T + 2.0
        values: Floats = ndimage.map_coordinates(distance, coordinates, order=1, mode="nearest")
        return values

    origin = _origin_mm(scan, mask[2:-2, 2:-2, 2:-2], depth_mm)

    def local_depth_mm(points_mm: Floats) -> Floats:
        return depth_mm(points_mm + origin)

    superior, inferior = _fit_endplates(local_depth_mm)
    outline = _fit_outline(local_depth_mm, superior, inferior)
    return ScanShape(origin, superior, inferior, outline, shell_thickness_mm, endplate_thickness_mm)


def _origin_mm(scan: Scan, mask: NDArray[np.bool_], depth_mm: Callable[[Floats], Floats]) -> Floats:
    """Centroid of the mask, moved to mid-depth between the front and back walls in the mid-sagittal line."""
    centre: Floats = scan.position_mm(np.argwhere(mask).mean(axis=0, keepdims=True))[0]
    line = np.arange(-REACH_MM, REACH_MM, 0.1)
    values = depth_mm(centre + np.outer(line, (0.0, 1.0, 0.0))) > 0.0
    if not values.any():
        raise DataError("the body's mask is hollow at its centre; check the labels")
    centre[1] += 0.5 * (line[values].min() + line[values].max())
    return centre


def _endplate_basis(x: Floats, y: Floats) -> Floats:
    """Polynomials in x and y of total degree up to ENDPLATE_DEGREE, (k, p); lengths scaled by 20 mm."""
    powers = [(i, j) for i in range(ENDPLATE_DEGREE + 1) for j in range(ENDPLATE_DEGREE + 1 - i)]
    return np.column_stack([(x / 20.0) ** i * (y / 20.0) ** j for i, j in powers])


def _outline_basis(theta: Floats, fraction: Floats) -> Floats:
    """Fourier series in theta times Legendre polynomials in the height fraction, (k, p)."""
    orders = np.arange(1, HARMONICS + 1)
    waves = np.outer(theta, orders)
    around = np.hstack([np.ones((len(theta), 1)), np.cos(waves), np.sin(waves)])
    along = np.polynomial.legendre.legvander(2.0 * fraction - 1.0, HEIGHT_DEGREE)
    basis: Floats = np.einsum("ka,kb->kab", around, along).reshape(len(theta), -1)
    return basis


def _fit_endplates(depth_mm: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Polynomial terms of both endplates from the top and bottom of every full-height column of the body."""
    line = np.arange(-REACH_MM, REACH_MM, COLUMN_STEP_MM)
    x, y = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    z = np.arange(-REACH_MM, REACH_MM, RAY_STEP_MM)
    columns = np.stack(np.broadcast_arrays(x[:, None], y[:, None], z[None]), axis=-1)
    depth = depth_mm(columns.reshape(-1, 3)).reshape(len(x), len(z))
    inside = depth > 0.0
    hit = inside.any(axis=1)
    x, y, depth, inside = x[hit], y[hit], depth[hit], inside[hit]
    top = _crossing_mm(depth[:, ::-1], np.argmax(inside[:, ::-1], axis=1), z[::-1])
    bottom = _crossing_mm(depth, np.argmax(inside, axis=1), z)
    height = top - bottom
    typical = np.median(height[height > 0.5 * height.max()])
    full = height > 0.85 * typical  # leaves out pedicles and the rounded rim
    basis = _endplate_basis(x[full], y[full])
    return _robust_fit(basis, top[full]), _robust_fit(basis, bottom[full])


def _crossing_mm(depth: Floats, first: NDArray[np.intp], grid_mm: Floats) -> Floats:
    """Place (k,) on grid_mm (g,) where depth (k, g) rises through zero just before index first (k,)."""
    rows, before = np.arange(len(depth)), np.maximum(first - 1, 0)
    low, high = depth[rows, before], depth[rows, first]
    share = np.clip(-low / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    crossing: Floats = grid_mm[before] + share * (grid_mm[first] - grid_mm[before])
    return crossing


def _robust_fit(basis: Floats, values: Floats, ridge: float = 1e-4, width_mm: float = 1.0) -> Floats:
    """Least squares (p,) with Cauchy weights against outliers (osteophytes, label spurs)."""
    weights = np.ones(len(values))
    terms: Floats = np.zeros(basis.shape[1])
    damping = ridge * len(values) * np.eye(basis.shape[1])
    damping[0, 0] = 0.0
    for _ in range(5):
        normal = basis.T @ (weights[:, None] * basis) + damping
        terms = np.asarray(np.linalg.solve(normal, basis.T @ (weights * values)), dtype=np.float64)
        weights = 1.0 / (1.0 + ((values - basis @ terms) / width_mm) ** 2)
    return terms


def _fit_outline(depth_mm: Callable[[Floats], Floats], superior: Floats, inferior: Floats) -> Floats:
    """Fourier-Legendre terms of the wall, probed along rays of constant height fraction."""
    theta, fraction = (g.ravel() for g in np.meshgrid(PROBE_ANGLES, FIT_FRACTIONS, indexing="ij"))
    reach = np.arange(4.0, REACH_MM, RAY_STEP_MM)
    x, y = np.cos(theta)[:, None] * reach, np.sin(theta)[:, None] * reach
    basis = _endplate_basis(x.ravel(), y.ravel())
    bottom, top = (basis @ inferior).reshape(x.shape), (basis @ superior).reshape(x.shape)
    z = bottom + fraction[:, None] * (top - bottom)
    depth = depth_mm(np.stack([x, y, z], axis=-1).reshape(-1, 3)).reshape(x.shape)
    radius = _crossing_mm(-depth, np.argmax(depth < 0.0, axis=1), reach)
    if not (depth < 0.0).any(axis=1).all() or radius.min() < 5.0:
        raise DataError("the body's mask has no closed wall around its centre; check the labels")
    return _robust_fit(_outline_basis(theta, fraction), radius, ridge=1e-5, width_mm=2.0)


# --- density -----------------------------------------------------------------------------------------------


def _sample_density(mesh: SegmentMesh, scan: Scan, shape: ScanShape, numbers: Labels) -> SegmentMesh:
    """The mesh with the CT's density: mean of 3 x 3 x 3 trilinear samples in each trabecular cell."""
    field = _trabecular_field(scan, numbers)
    line = np.array([-2.0, 0.0, 2.0]) / 3.0
    natural = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    density = mesh.density_g_per_cc.copy()
    for level in mesh.bodies:
        cells = mesh.cells_in(f"{level}.trabecular")
        samples = np.einsum("qa,mai->mqi", shape_functions(natural), mesh.points_mm[mesh.cells[cells]])
        coordinates = scan.index(samples.reshape(-1, 3) + shape.origin_mm).T
        values = ndimage.map_coordinates(field, coordinates, order=1, mode="nearest")
        means = values.reshape(len(cells), -1).mean(axis=1) / MG_PER_G
        density[cells] = np.maximum(means, DENSITY_FLOOR_G_PER_CC)
        volumes = cell_volumes_mm3(mesh.points_mm, mesh.cells[cells])
        density[cortical_cells(mesh, level)] = volumes @ density[cells] / volumes.sum()
    return replace(mesh, density_g_per_cc=density)


def _trabecular_field(scan: Scan, numbers: Labels) -> Floats:
    """Density (i, j, k): Gaussian mean over clean trabecular voxels, carried outwards.

    Voxels of the trabecular label that touch another label hold blurred cortex and do not count. The width of 1.5 mm
    (a mean over 3.5 mm) is on the small side of what a law measured on cores of 8 mm can tell apart, and keeps the
    finer meshes from finding ever weaker cells. Where no clean voxel is near, the value of the nearest place holds.
    """
    clean = ndimage.binary_erosion(scan.labels == numbers.trabecular)
    width = 1.5 / scan.voxel_mm
    weight = ndimage.gaussian_filter(clean.astype(np.float64), width)
    total = ndimage.gaussian_filter(np.where(clean, scan.density_mg_per_cc, 0.0), width)
    mean = total / np.maximum(weight, 1e-12)
    known = weight > 0.05
    nearest = ndimage.distance_transform_edt(
        ~known, sampling=scan.voxel_mm, return_distances=False, return_indices=True
    )
    return np.asarray(mean[tuple(nearest)], dtype=np.float64)
