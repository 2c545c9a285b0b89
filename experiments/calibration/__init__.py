"""One global calibration of the bone's constants on published experiments, with what it leaves open.

``python -m kyphos.experiments.calibration`` runs it; see ``docs/calibration.md``.
"""

from kyphos.experiments.calibration.inference import (
    Direction,
    Fit,
    Linear,
    Problem,
    Profile,
    covariance,
    directions,
    fit,
    linearise,
    profile,
)
from kyphos.experiments.calibration.parameters import Parameter, chosen_parameters, scores, values
from kyphos.experiments.calibration.runs import Experiment, Kept
from kyphos.experiments.calibration.targets import Data, Target, spread

__all__ = [
    "Data",
    "Direction",
    "Experiment",
    "Fit",
    "Kept",
    "Linear",
    "Parameter",
    "Problem",
    "Profile",
    "Target",
    "chosen_parameters",
    "covariance",
    "directions",
    "fit",
    "linearise",
    "profile",
    "scores",
    "spread",
    "values",
]
