"""A run folder made by hand: a small potted barrel that is wedged, lifted, filled and cycled by formulas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from kyphos.experiments import HistoryRow, Outcome, open_run, read_study

PLACES = ("anterior", "middle", "posterior")

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
SAVED = ("intact", "fractured", "reduced", "treated")  # with fields; fewer pictures to draw


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
    grid.cell_data["density"] = np.where(region == 0, density, np.nan)
    return grid


def stage_fields(grid: pv.UnstructuredGrid, anterior: float, posterior: float, filling: str | None):
    """The grid with the fields of a stage whose heights are ``anterior`` and ``posterior`` times intact."""
    stage, points, centre = grid.copy(), grid.points, grid.cell_centers().points
    share = 0.5 * (posterior + anterior) + 0.5 * (anterior - posterior) * points[:, 1] / HALF_DEPTH_MM
    lift = np.clip(points[:, 2] + 0.5 * HEIGHT_MM, 0.0, HEIGHT_MM)
    stage.point_data["displacement_mm"] = np.column_stack([0 * lift, 0 * lift, (share - 1.0) * lift])
    away = ((np.abs(centre[:, 0]) - 7.0) / 8.0) ** 2 + ((centre[:, 1] - 2.0) / 9.0) ** 2 + (centre[:, 2] / 7.0) ** 2
    inside = (away < 1.0) & (stage.cell_data["region"] == 0)
    stage.cell_data["is_cavity"] = (inside & (filling == "balloon")).astype(np.int8)
    stage.cell_data["cement_fraction"] = (inside & (filling == "cement")).astype(float)
    crushed = (1.0 - anterior + 0.1) * np.exp(-((centre[:, 2] / 5.0) ** 2)) * (1.0 + centre[:, 1] / HALF_DEPTH_MM)
    stage.cell_data["damage"] = np.clip(2.0 * crushed, 0.0, 0.95) * (stage.cell_data["region"] == 0)
    return stage


def height_mm(state: str, place: str) -> float:
    anterior, posterior, _ = STAGES[state]
    return HEIGHT_MM * {"anterior": anterior, "posterior": posterior, "middle": 0.5 * (anterior + posterior)}[place]


def history_rows() -> Iterator[HistoryRow]:
    """Rows as a run would write them: loading steps of every state, then seven solved cycles."""
    for state in STATES[:-1]:
        for step in range(5):
            balloon = {"pressure_mpa": 0.3 * step, "volume_ml": 2.0 * step} if state == "reduced" else {}
            heights = {f"height_{place}_mm": height_mm(state, place) for place in PLACES}
            row = HistoryRow(state, 0, 100.0 + 300.0 * step, 0.2 * step, **heights, **balloon)
            yield replace(row, iterations=4, residual_n=0.01, balance=1e-10, wall_s=0.2)
    for cycle in (1, 2, 5, 10, 50, 100, 500):
        progress = np.log1p(cycle) / np.log1p(500)
        for load in (600.0, 100.0):
            heights = {
                f"height_{p}_mm": (1 - progress) * height_mm("treated", p)
                + progress * height_mm("cycled", p)
                - 1e-4 * (load - 100.0)
                for p in PLACES
            }
            yield HistoryRow("cycle_1", cycle, load, 2.0 + load / 1e4, **heights, iterations=5)


def outcomes() -> dict[str, Outcome]:
    """Heights of every state, two shares and a stiffness."""
    heights = {f"height_{s}_{p}_mm": Outcome(height_mm(s, p), "mm") for s in STATES for p in PLACES}
    return heights | {
        "restoration_anterior": Outcome(0.4318, "1"),
        "retention_anterior": Outcome(0.6316, "1"),
        "stiffness_intact_n_per_mm": Outcome(12_345.6, "N/mm"),
    }


def write_run(folder: Path) -> Path:
    """Write the results folder of a kyphoplasty on a barrel."""
    store = open_run(folder, read_study("kyphoplasty-pmma-L1"))
    store.update_manifest(region_names=list(REGIONS), mesh={"points": 810, "cells": 640})
    grid = barrel()
    with store.session():
        for row in history_rows():
            store.append_history(row)
        for index, state in enumerate(SAVED):
            store.write_fields(index, state, stage_fields(grid, *STAGES[state]).save)
            store.record_stage(index, state, 1.5)
        store.write_outcomes(outcomes())
    return folder


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "barrel")
