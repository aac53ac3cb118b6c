"""The data of a chunk: one Gram matrix, many channels, checked once; and its error, evaluated.

The error of compressed weights ``v`` against ``w`` is ``(v-w)^T G (v-w)``. Differences are formed
and summed in extended precision where the platform has it, with a bound on what rounding can do,
so a value called *upper* is never below the true error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError

Floats = NDArray[np.float64]

#: Largest Gram entry; sums of two larger ones may overflow.
LARGEST = 2.0**1022
#: Relative asymmetry and negative curvature accepted as rounding of a streamed Gram.
SYMMETRY_TOLERANCE = 1e-10
DEFINITENESS_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Problem:
    """A Gram matrix (n, n), weights (channels, n), and the inputs that are not dead.

    ``energy`` (channels,) is ``w^T G w``; ``live`` (n,) marks inputs with a non-zero Gram diagonal.
    """

    gram: Floats
    weights: Floats
    live: NDArray[np.bool_]
    energy: Floats

    @property
    def channels(self) -> int:
        """Number of weight rows."""
        return self.weights.shape[0]

    @property
    def features(self) -> int:
        """Number of inputs, dead ones included."""
        return self.weights.shape[1]

    def errors(self, compressed: ArrayLike) -> Floats:
        """Error of ``compressed`` (channels, n) per channel, rounded outward (never too small)."""
        return form_upper(self.gram, np.asarray(compressed, np.longdouble) - self.weights)


def check_problem(gram: ArrayLike, weights: ArrayLike) -> Problem:
    """Validate and normalise a Gram matrix and weights.

    Args:
        gram: (n, n), symmetric positive semidefinite, raw sum over rows of ``X^T X``.
        weights: (channels, n) or one channel (n,).

    Raises:
        ProblemError: shapes, dtypes, NaN or infinity, asymmetry, an indefinite Gram, numbers whose
            energy is beyond float64.
    """
    gram = _finite("gram", gram)
    weights = np.atleast_2d(_finite("weights", weights))
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ProblemError(f"gram must be square (n, n), got shape {gram.shape}")
    if weights.ndim != 2 or weights.shape[1] != gram.shape[0]:
        raise ProblemError(
            f"weights must be (channels, {gram.shape[0]}) to match the gram, got {weights.shape}"
        )
    if weights.size == 0:
        raise ProblemError("weights are empty: give at least one channel and one feature")
    if np.abs(gram).max() > LARGEST:
        raise ProblemError(f"gram has entries over {LARGEST:.2g}; divide the inputs by a constant")
    diagonal = np.diag(gram)
    if (diagonal < 0).any():
        i = int(np.argmin(diagonal))
        raise ProblemError(f"gram is indefinite: diagonal entry {i} is {diagonal[i]:.6g} < 0")
    scale = np.sqrt(diagonal)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(
            (live := diagonal > 0)[:, None] & live[None, :],
            gram / scale[:, None] / scale[None, :],
            0.0,
        )
    if (gram[~live] != 0).any() or (gram[:, ~live] != 0).any():
        raise ProblemError("gram is indefinite: an input with zero diagonal has non-zero entries")
    asymmetry = np.abs(correlation - correlation.T).max(initial=0.0)
    if asymmetry > SYMMETRY_TOLERANCE:
        raise ProblemError(
            f"gram is not symmetric (relative asymmetry {asymmetry:.2g}); use (gram + gram.T) / 2"
        )
    smallest = np.linalg.eigvalsh(correlation[np.ix_(live, live)]).min(initial=0.0)
    if smallest < -DEFINITENESS_TOLERANCE * gram.shape[0]:
        raise ProblemError(
            f"gram is indefinite (smallest eigenvalue {smallest:.3g} of its correlation matrix); "
            "a Gram matrix X^T X is positive semidefinite"
        )
    gram = np.ascontiguousarray((gram + gram.T) / 2)
    with np.errstate(over="ignore", invalid="ignore"):
        energy = form(gram, weights.astype(np.longdouble)).astype(np.float64)
    if not np.isfinite(energy).all():
        c = int(np.argmin(np.isfinite(energy)))
        raise ProblemError(
            f"the energy w^T G w of channel {c} is beyond float64 (1.8e308); "
            "divide weights or inputs by a constant"
        )
    return Problem(gram, np.ascontiguousarray(weights), live, np.maximum(energy, 0.0))


def _finite(name: str, value: ArrayLike) -> Floats:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ProblemError(f"{name} must be real numbers, got dtype {array.dtype}")
    if array.dtype.itemsize > 8 and array.dtype.kind == "f":
        raise ProblemError(f"{name} must be float64 or narrower, got {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ProblemError(f"{name} has a NaN or infinite entry at {where}; remove it first")
    return array


def form(gram: ArrayLike, rows: NDArray) -> NDArray[np.longdouble]:
    """``d^T G d`` for every row ``d`` of ``rows`` (channels, n), in extended precision."""
    rows = np.asarray(rows, np.longdouble)
    return ((rows @ np.asarray(gram, np.longdouble)) * rows).sum(axis=-1)


def form_upper(gram: ArrayLike, rows: NDArray) -> Floats:
    """An upper bound on ``d^T G d`` per row: the value plus all its rounding (Higham, ch. 3)."""
    gram = np.asarray(gram, np.longdouble)
    rows = np.asarray(rows, np.longdouble)
    slack = form(np.abs(gram), np.abs(rows)) * rounding_factor(gram.shape[0])
    # What vanished in a product is less than this for every row that costs anything.
    vanished = np.finfo(np.longdouble).tiny * ((rows != 0) & (np.diag(gram) > 0)).any(axis=-1)
    with np.errstate(over="ignore"):
        value = np.maximum(form(gram, rows), 0) + slack + vanished
        return np.nextafter(value.astype(np.float64), np.inf) * (value > 0)


def form_lower(gram: ArrayLike, rows: NDArray) -> Floats:
    """A lower bound on ``d^T G d`` per row, never negative: the value less all its rounding."""
    gram = np.asarray(gram, np.longdouble)
    rows = np.asarray(rows, np.longdouble)
    slack = form(np.abs(gram), np.abs(rows)) * rounding_factor(gram.shape[0])
    value = np.maximum(form(gram, rows) - slack, 0)
    return np.maximum(np.nextafter(value.astype(np.float64), -np.inf), 0.0)


def rounding_factor(n: int) -> np.longdouble:
    """A factor gamma covering every product and sum of an extended-precision ``d^T G d``."""
    return np.longdouble(2 * n + 8) * np.finfo(np.longdouble).eps
