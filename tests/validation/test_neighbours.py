"""What cement and kyphosis do to the discs beside them: sign and order, on coarse meshes.

Rohlmann 2006 and Baroud 2003 (evidence D01-D07, D11); sizes of the changes are in the validation book.
"""

from __future__ import annotations

from math import radians, sin

import pytest

from kyphos.experiments import read_study
from kyphos.experiments.run import run_study
from kyphos.experiments.validation import reading

pytestmark = pytest.mark.validation

COARSE = ("mesh.element_size_mm=5", "output.fields=false", "output.pictures=false")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    def run(study, *settings):
        return run_study(read_study(study, (*COARSE, *settings)), tmp_path_factory.mktemp("run") / "out")

    return run


@pytest.fixture(scope="module")
def uncorrected(ran):
    return reading.kyphosis_effect(ran("segment-kyphosis"))


@pytest.fixture(scope="module")
def cement_alone(ran):
    return reading.cement_alone(ran("segment-cement-alone"), "balanced")["pressure_change_percent"]


def test_cement_alone_raises_pressure_a_little_and_an_isolated_unit_more(ran, cement_alone):
    isolated = reading.cement_alone(ran("unit-cement"), "compressed")["pressure_change_percent"]
    assert 0.0 < cement_alone < 5.0
    assert isolated > 1.5 * cement_alone


def test_uncorrected_kyphosis_costs_far_more_than_cement(uncorrected, cement_alone):
    assert uncorrected["pressure_change_percent"] > 5.0 * cement_alone
    assert uncorrected["muscle_change_percent"] > uncorrected["pressure_change_percent"]


def test_the_muscle_grows_as_a_beam_says(uncorrected):
    """By hand: 260 N, 200 mm above the wedge and 30 mm in front of it."""
    by_hand = 100.0 * 200.0 * sin(radians(uncorrected["kyphosis_deg"])) / 30.0
    assert uncorrected["muscle_change_percent"] == pytest.approx(by_hand, rel=0.15)


def test_balloons_that_correct_the_wedge_spare_the_discs(ran, uncorrected):
    corrected = reading.kyphosis_effect(ran("segment-kyphosis", "procedure.kind=kyphoplasty", "cement.shape=bolus"))
    assert 0.0 < corrected["kyphosis_deg"] < uncorrected["kyphosis_deg"]
    assert 0.0 < corrected["pressure_change_percent"] < uncorrected["pressure_change_percent"]
