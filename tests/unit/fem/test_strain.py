"""Eigenvalues and divided differences, also where eigenvalues coincide; statuses of broken cells."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import Hooke, block

from kyphos.fem import Structure, discretise
from kyphos.fem.kernels.strain import (
    COLUMN_OF,
    ROW_OF,
    divided_difference,
    eigen_points,
    eigen_symmetric,
    second_divided_difference,
)

GAPS = [0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 9e-4, 1.1e-3, 1e-2, 0.3, 2.0]


@given(st.lists(st.floats(-10.0, 10.0), min_size=6, max_size=6))
def test_eigenvalues_and_vectors(entries):
    a = np.zeros((3, 3))
    a[np.triu_indices(3)] = entries
    a = a + a.T
    values, vectors = np.empty(3), np.empty((3, 3))
    eigen_symmetric(a.copy(), values, vectors)
    np.testing.assert_allclose((vectors * values) @ vectors.T, a, atol=1e-13 * max(1.0, np.abs(a).max()))
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-13)


def exact_first(a, b):
    """Divided difference of ln(x) / 2 in 80 digits; equal arguments are moved apart by 1e-30."""
    return (a.ln() - b.ln()) / (2 * (a - b))


def apart(values):
    """Decimals, each moved by another multiple of 1e-25, so that none are equal."""
    return [Decimal(float(v)) + Decimal(k) * Decimal("1e-25") for k, v in enumerate(values)]


@pytest.mark.parametrize("gap", GAPS)
def test_first_divided_difference(gap):
    with localcontext() as context:
        context.prec = 80
        expected = float(exact_first(*apart([1.3 + gap, 1.3])))
    assert divided_difference(1.3 + gap, 1.3) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("ratio", [0.0, 1e-3, 0.5, 1.0])
def test_second_divided_difference(gap, ratio):
    values = [0.8, 0.8 + ratio * gap, 0.8 + gap]
    with localcontext() as context:
        context.prec = 120
        a, b, c = apart(values)
        expected = float((exact_first(c, b) - exact_first(b, a)) / (c - a))
    # about the switch from Taylor to differences: 1e-16 / 1e-3 above it, the next Taylor term below it
    assert second_divided_difference(*values) == pytest.approx(expected, rel=1e-11)
    assert second_divided_difference(*values[::-1]) == pytest.approx(expected, rel=1e-11)


def test_an_inverted_cell_cannot_be_evaluated():
    points, cells = block(counts=(1, 1, 1))
    structure = Structure(discretise(points, cells), Hooke(1.0, 0.3))
    state = structure.initial_state(np.zeros((1, 8, 0)))
    mirrored = replace(state, displacement_mm=points * [0.0, 0.0, -2.0])
    assert structure.evaluate(mirrored) is None
    flat = replace(state, displacement_mm=points * [0.0, 0.0, -1.0])
    assert structure.evaluate(flat) is None
    lost = replace(state, displacement_mm=np.full_like(points, np.nan))
    assert structure.evaluate(lost) is None


def test_a_law_that_returns_nan_cannot_be_evaluated():
    points, cells = block(counts=(1, 1, 1))
    structure = Structure(discretise(points, cells, "enhanced"), Hooke(np.nan, 0.3))
    assert structure.evaluate(structure.initial_state(np.zeros((1, 8, 0)))) is None


@given(st.lists(st.floats(-3.0, 3.0), min_size=36, max_size=36), st.sampled_from([0.0, 1e-17, 1e-9, 1e-3, 1.0]))
def test_eigenvalues_and_vectors_of_all_points_of_a_cell(entries, amount):
    """Points of very different kinds turn together: near the identity, and far from it."""
    f = np.array(entries).reshape(4, 3, 3) * np.array([0.0, amount, 1.0, amount])[:, None, None] + np.eye(3)
    a = np.swapaxes(f, 1, 2) @ f
    c, v = np.ascontiguousarray(a[:, ROW_OF, COLUMN_OF].T).ravel(), np.empty(36)
    eigen_points((4,) * 4, c, v)
    values, vectors = c.reshape(6, 4)[:3].T, v.reshape(3, 3, 4).transpose(2, 1, 0)
    rebuilt = np.einsum("qik,qk,qjk->qij", vectors, values, vectors)
    scale = np.abs(a).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(rebuilt / scale, a / scale, atol=1e-13)
    np.testing.assert_allclose(vectors @ np.swapaxes(vectors, 1, 2), np.eye(3)[None].repeat(4, 0), atol=1e-13)
