"""The data of a chunk: one Gram matrix, many channels, checked once.

The error of compressed weights ``v`` against ``w`` is ``(v-w)^T G (v-w)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.linalg.forms import form, form_upper

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

    def rows(self, rows: slice | NDArray[np.int64]) -> Problem:
        """The problem of some of the channels."""
        return Problem(self.gram, self.weights[rows], self.live, self.energy[rows])

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


def round_weights(weights: Floats, rounding: str) -> Floats:
    """Weights as the problem sees them: rounded to FP16 (the paper's protocol), or as they are.

    Raises:
        ProblemError: a weight is beyond FP16's largest number.
    """
    if rounding == "none":
        return weights
    if np.abs(weights).max(initial=0.0) > np.finfo(np.float16).max:
        raise ProblemError('weights do not fit FP16 (65504); give rounding = "none"')
    return weights.astype(np.float16).astype(np.float64)


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
