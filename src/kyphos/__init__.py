"""Kyphos: a finite-element bench for vertebral cement augmentation.

>>> import kyphos
>>> result = kyphos.run("kyphoplasty-pmma-L1", set=["cycling.0.count=100"])  # doctest: +SKIP
>>> float(result.outcomes["retention_anterior"])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kyphos.api import Result
    from kyphos.experiments import StudySpec

__all__ = ["__version__", "load", "run"]

__version__ = version("kyphos")


def run(study: str | Path | StudySpec, out: str | Path | None = None, set: Iterable[str] = ()) -> Result:
    """Run a study and return what it found.

    Parameters
    ----------
    study
        A study file, the name of a built-in study (``kyphos protocols`` lists them), or a study already read.
    out
        Results folder; default ``output.directory`` of the study, else ``runs/<study>-<n>``.
    set
        Overrides such as ``"cycling.0.count=0"``; only for a study that is yet to be read.

    Raises
    ------
    InputError
        Bad study, specimen, material or results folder.
    ConvergenceError
        No equilibrium; everything up to the last converged state is in the results folder.
    """
    from kyphos import api

    return api.run(study, out, set)


def load(path: str | Path) -> Result:
    """Read the results folder of an earlier run; DataError if it is none."""
    from kyphos import api

    return api.load(path)
