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
    from kyphos.experiments.comparison import Comparison

__all__ = ["__version__", "compare", "load", "run", "run_arms"]

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


def run_arms(
    study: str | Path, out: str | Path | None = None, set: Iterable[str] = (), *, population: int = 0
) -> Comparison:
    """Run a study with ``[arms]``, such as ``four-arms``, and compare what they found.

    Parameters
    ----------
    study, out, set
        As for ``run``.
    population
        Specimens that scatter in density and size about the study's, for bands; 0: none.

    Raises
    ------
    InputError
        Bad study, specimen, material or results folder.
    ConvergenceError
        The stages that all arms share found no equilibrium; an arm that found none has a message in the comparison.
    """
    from kyphos import api

    return api.run_arms(study, out, set, population=population)


def compare(folders: Iterable[str | Path], out: str | Path) -> Comparison:
    """Put runs side by side: one table, one colour scale, one report, written into ``out``.

    Raises
    ------
    DataError
        A folder is no run, or there are fewer than two.
    """
    from kyphos import api

    return api.compare(folders, out)


def load(path: str | Path) -> Result:
    """Read the results folder of an earlier run; DataError if it is none."""
    from kyphos import api

    return api.load(path)
