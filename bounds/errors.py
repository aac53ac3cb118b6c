"""Errors of the solvers and the study, in the hierarchy that starts in ``layers.errors``."""

from typing import Any

from layers.errors import LayerboundsError


class ProblemError(LayerboundsError, ValueError):
    """The numbers given do not define a problem: shapes, finiteness, definiteness, ranges."""


class MethodError(LayerboundsError, ValueError):
    """An unknown method, or one whose optional dependency is not installed."""


class SolverError(LayerboundsError, RuntimeError):
    """An external solver stopped without anything a bound can be made from."""


class CertificateError(LayerboundsError):
    """A certificate cannot be made from what was given, or cannot be written."""


class StudyError(LayerboundsError):
    """A study file, a result table or an output folder cannot be used."""


class Interrupted(KeyboardInterrupt):  # no LayerboundsError: nothing is wrong
    """Ctrl-C while channels were solved one after the other; ``found`` is about the finished ones.

    Attributes:
        found: what the call would have returned, of those channels alone.
    """

    def __init__(self, found: Any) -> None:
        """Keep what was found."""
        super().__init__()
        self.found = found


__all__ = [
    "CertificateError",
    "Interrupted",
    "LayerboundsError",
    "MethodError",
    "ProblemError",
    "SolverError",
    "StudyError",
]
