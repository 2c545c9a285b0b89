"""Every error that a user can meet, with the exit code of the command line."""

from __future__ import annotations


class KyphosError(Exception):
    """Base of all errors that Kyphos raises on purpose; the message is for the user."""

    exit_code: int = 1


class InputError(KyphosError):
    """Bad input: what, where, the allowed range, what to try. Exit code 2."""

    exit_code = 2


class StudyError(InputError):
    """A study file or an override that cannot be understood."""


class MeshError(InputError):
    """Geometry that cannot be meshed within the stated quality."""


class MaterialError(InputError):
    """A constant outside its physical range, or a card that is incomplete."""


class DataError(InputError):
    """An image, a label map or a result folder that cannot be used."""


class DeckError(InputError):
    """A finite-element deck that cannot be understood or solved; the message begins with file and line."""


class ConvergenceError(KyphosError):
    """No equilibrium was found; everything up to the last converged state is kept. Exit code 3.

    Parameters
    ----------
    message
        What failed, where and what to try.
    residuals_n
        Largest out-of-balance force after each iteration, N.
    node
        Mesh point that it was found at, if at one.
    """

    exit_code = 3

    def __init__(self, message: str, residuals_n: tuple[float, ...] = (), node: int | None = None) -> None:
        super().__init__(message)
        self.residuals_n = residuals_n
        self.node = node

    def told(self, message: str) -> ConvergenceError:
        """The same failure in the words of who asked for the solution."""
        return ConvergenceError(message, self.residuals_n, self.node)
