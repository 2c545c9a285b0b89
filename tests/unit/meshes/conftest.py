"""Meshes that several tests look at; built once."""

from __future__ import annotations

import pytest

from kyphos import meshes


@pytest.fixture(scope="session")
def l1() -> meshes.SegmentMesh:
    """The default parametric L1 at 2 mm."""
    return meshes.build_body("L1")


@pytest.fixture(scope="session")
def l2_ct() -> meshes.SegmentMesh:
    """The sample CT at 2 mm."""
    return meshes.body_from_ct(*meshes.sample_ct(), "L2")
