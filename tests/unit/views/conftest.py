"""A run folder made by hand: a small potted barrel that is wedged, lifted, filled and cycled by formulas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pyvista as pv

REGIONS = ("L1.trabecular", "inferior_pot", "superior_pot")
HEIGHT_MM, POT_MM, HALF_WIDTH_MM, HALF_DEPTH_MM = 28.0, 5.0, 22.0, 16.0
# Anterior and posterior height, share of intact, and what the cavity holds, at the end of each stage.
STAGES = {
    "intact": (1.0, 1.0, None),
    "fractured": (0.78, 0.96, None),
    "reduced": (0.95, 0.99, "balloon"),
    "deflated": (0.88, 0.98, "balloon"),
    "treated": (0.875, 0.98, "cement"),
    "cycled": (0.84, 0.97, "cement"),
}
STATES = tuple(STAGES)


def barrel(cells: int = 8) -> pv.UnstructuredGrid:
    """A waisted elliptic barrel of hexahedra between two pots; cell data region and density."""
    ticks = np.linspace(-1.0, 1.0, cells + 1)
    low, high = -0.5 * HEIGHT_MM, 0.5 * HEIGHT_MM
    heights = np.r_[low - POT_MM, np.linspace(low, high, cells + 1), high + POT_MM]
    x, y, z = np.meshgrid(ticks, ticks, heights, indexing="ij")
    disc_x, disc_y = x * np.sqrt(1 - 0.5 * y**2), y * np.sqrt(1 - 0.5 * x**2)
    waist = 1.0 - 0.14 * np.cos(0.5 * np.pi * np.clip(z / high, -1, 1))
    block = pv.StructuredGrid(HALF_WIDTH_MM * disc_x * waist, HALF_DEPTH_MM * disc_y * waist, z)
    grid = pv.UnstructuredGrid(block)
    centre = grid.cell_centers().points
    region = np.where(centre[:, 2] < low, 1, np.where(centre[:, 2] > high, 2, 0))
    grid.cell_data["region"] = region.astype(np.int16)
    density = 0.08 + 0.03 * np.cos(centre[:, 1] / 5.0) * np.sin(centre[:, 2] / 6.0)
    grid.cell_data["density_g_per_cc"] = np.where(region == 0, density, np.nan)
    return grid


def stage_fields(grid: pv.UnstructuredGrid, anterior: float, posterior: float, filling: str | None):
    """The grid with the fields of a stage whose heights are ``anterior`` and ``posterior`` times intact."""
    stage, points, centre = grid.copy(), grid.points, grid.cell_centers().points
    share = 0.5 * (posterior + anterior) + 0.5 * (anterior - posterior) * points[:, 1] / HALF_DEPTH_MM
    lift = np.clip(points[:, 2] + 0.5 * HEIGHT_MM, 0.0, HEIGHT_MM)
    stage.point_data["displacement_mm"] = np.column_stack([0 * lift, 0 * lift, (share - 1.0) * lift])
    away = (
        ((np.abs(centre[:, 0]) - 7.0) / 8.0) ** 2
        + ((centre[:, 1] - 2.0) / 9.0) ** 2
        + (centre[:, 2] / 7.0) ** 2
    )
    inside = (away < 1.0) & (stage.cell_data["region"] == 0)
    stage.cell_data["is_cavity"] = (inside & (filling == "balloon")).astype(np.int8)
    stage.cell_data["cement_fraction"] = (inside & (filling == "cement")).astype(float)
    crushed = (
        (1.0 - anterior + 0.1) * np.exp(-((centre[:, 2] / 5.0) ** 2)) * (1.0 + centre[:, 1] / HALF_DEPTH_MM)
    )
    stage.cell_data["damage"] = np.clip(2.0 * crushed, 0.0, 0.95) * (stage.cell_data["region"] == 0)
    return stage


def height_mm(state: str, place: str) -> float:
    anterior, posterior, _ = STAGES[state]
    return (
        HEIGHT_MM
        * {"anterior": anterior, "posterior": posterior, "middle": 0.5 * (anterior + posterior)}[place]
    )


def history() -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for state in STATES[:-1]:
        for step in range(5):
            row = {"stage": state, "cycle": 0, "load_n": 100.0 + 400.0 * step, "displacement_mm": -0.2 * step}
            if state == "reduced":
                row |= {"pressure_mpa": 0.3 * step, "volume_ml": 2.0 * step}
            rows.append(
                row | {f"height_{p}_mm": height_mm(state, p) for p in ("anterior", "middle", "posterior")}
            )
    for cycle in (1, 2, 5, 10, 50, 100, 500):
        for load in (100.0, 600.0):
            row = {"stage": "cycled", "cycle": cycle, "load_n": load, "displacement_mm": -1.0 - load / 1e4}
            for place in ("anterior", "middle", "posterior"):
                start, end = height_mm("treated", place), height_mm("cycled", place)
                row[f"height_{place}_mm"] = (
                    start + (end - start) * np.log1p(cycle) / np.log1p(500) - load * 1e-4
                )
            rows.append(row)
    frame = pd.DataFrame(rows)
    return frame.assign(iterations=4, residual_n=0.01, balance=1e-10, status="ok", wall_s=0.2)


def write_run(folder: Path, states: tuple[str, ...] = STATES) -> Path:
    """Write a run folder that went through ``states``."""
    folder.mkdir(parents=True, exist_ok=True)
    grid, fields = barrel(), []
    for index, state in enumerate(states):
        name = f"fields_{index:04d}.vtu"
        stage_fields(grid, *STAGES[state]).save(folder / name)
        fields.append({"stage": state, "file": name})
    outcomes = {
        f"height_{state}_{place}_mm": {"value": height_mm(state, place), "unit": "mm"}
        for state in states
        for place in ("anterior", "middle", "posterior")
    }
    outcomes |= {
        "cycles": {"value": 500.0, "unit": "1"},
        "stiffness_intact_n_per_mm": {"value": 1.2e4, "unit": "N/mm"},
    }
    manifest = {
        "study": "barrel <test>",
        "status": "done",
        "versions": {"kyphos": "0.1.0", "numpy": "2.4"},
        "timings_s": {"intact": 1.5},
        "region_names": REGIONS,
        "fields": fields,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "outcomes.json").write_text(json.dumps(outcomes))
    (folder / "case.toml").write_text(
        '[specimen]\nlevels = ["L1"]\n[procedure]\nballoon_pressure_limit_mpa = 2.0\n'
        '[[stage]]\nkind = "test"\nname = "intact"\n[[stage]]\nkind = "fracture"\noffset_anterior_mm = 10.0\n'
    )
    history().to_csv(folder / "history.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "barrel")
