"""Errors of the solvers and the study, in the hierarchy that starts in ``layers.errors``."""

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


__all__ = [
    "CertificateError",
    "LayerboundsError",
    "MethodError",
    "ProblemError",
    "SolverError",
    "StudyError",
]
