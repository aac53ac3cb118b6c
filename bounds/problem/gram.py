"""The data of a chunk: one Gram matrix, many channels, checked once.

The error of compressed weights ``v`` against ``w`` is ``(v-w)^T G (v-w)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.linalg.forms import form, form_upper
from bounds.problem.checks import finite_array

Floats = NDArray[np.float64]

#: Largest Gram entry; sums of two larger ones may overflow.
LARGEST = 2.0**1022
#: Relative asymmetry and negative curvature accepted as rounding of a streamed Gram.
SYMMETRY_TOLERANCE = 1e-10
DEFINITENESS_TOLERANCE = 1e-10
#: Negative curvature up to this, times n, is rounding of the eigenvalues themselves: not remarked.
UNREMARKED = 2.0**-50
#: What weights may be rounded to before anything is asked about them.
ROUNDINGS = ("fp16", "bf16", "none")


@dataclass(frozen=True)
class Problem:
    """A Gram matrix (n, n), weights (channels, n), and the inputs that are not dead.

    ``energy`` (channels,) is ``w^T G w``; ``live`` (n,) marks inputs with a non-zero Gram diagonal.
    ``notes`` are remarks on the data that a reader of every result should see.
    """

    gram: Floats
    weights: Floats
    live: NDArray[np.bool_]
    energy: Floats
    notes: tuple[str, ...] = ()

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
        return replace(self, weights=self.weights[rows], energy=self.energy[rows])

    def errors(self, compressed: ArrayLike) -> Floats:
        """Error of ``compressed`` (channels, n) per channel, rounded outward (never too small)."""
        return form_upper(self.gram, np.asarray(compressed, np.longdouble) - self.weights)


def check_problem(gram: ArrayLike, weights: ArrayLike) -> Problem:
    """Validate and normalise a Gram matrix and weights.

    Negative curvature as small as rounding of ``X^T X`` is accepted, with a note: then the form of
    the stored numbers may be negative, and an error is the form clamped at 0.

    Args:
        gram: (n, n), symmetric positive semidefinite, raw sum over rows of ``X^T X``.
        weights: (channels, n) or one channel (n,). Both may be tensors of torch.

    Raises:
        ProblemError: shapes, dtypes, NaN or infinity, asymmetry, an indefinite Gram, numbers whose
            energy is beyond float64.
    """
    given = gram
    gram = finite_array("gram", gram)
    weights = np.atleast_2d(finite_array("weights", weights))
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
            f"a Gram matrix X^T X is positive semidefinite{_advice(given, gram)}"
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
    notes: tuple[str, ...] = ()
    if smallest < -UNREMARKED * gram.shape[0]:
        notes = (
            f"The Gram matrix has negative curvature (eigenvalue {smallest:.2g} of its correlation "
            "matrix), accepted as rounding: errors are clamped at 0, and a lower bound of 0 says "
            "nothing about how far the form itself falls below.",
        )
    return Problem(gram, np.ascontiguousarray(weights), live, np.maximum(energy, 0.0), notes)


def round_weights(weights: Floats, rounding: str) -> Floats:
    """Weights as the problem sees them: rounded to FP16 (the paper's protocol) or BF16, or as is.

    Both round to nearest, ties to even, straight from float64.

    Args:
        weights: of any shape, finite.
        rounding: one of ``ROUNDINGS``.

    Raises:
        ProblemError: another word, or a weight beyond the largest number of the format.
    """
    if rounding not in ROUNDINGS:
        raise ProblemError(f"unknown rounding {rounding!r}; choose {', '.join(ROUNDINGS)}")
    if rounding == "none":
        return weights
    if rounding == "fp16":
        largest = float(np.finfo(np.float16).max)
        fits = np.abs(weights).max(initial=0.0) <= largest
        rounded = weights.astype(np.float16).astype(np.float64) if fits else weights
    else:
        largest = (2 - 2.0**-7) * 2.0**127
        rounded = bfloat16(weights)
        fits = np.abs(rounded).max(initial=0.0) <= largest
    if not fits:
        raise ProblemError(
            f'weights do not fit {rounding.upper()} ({largest:.6g}); give rounding = "none"'
        )
    return rounded


def bfloat16(weights: Floats) -> Floats:
    """Nearest numbers of eight significant bits; below 2^-126 of steps of 2^-133."""
    _, exponent = np.frexp(weights)
    step = np.maximum(exponent - 8, -133)
    return np.ldexp(np.rint(np.ldexp(weights, -step)), step)


def _advice(given: ArrayLike, gram: Floats) -> str:
    """What to do about an indefinite Gram that was summed in less than float64."""
    narrow = "64" not in str(getattr(given, "dtype", "float64"))
    with np.errstate(over="ignore"):
        narrow = narrow or bool((gram.astype(np.float32) == gram).all())
    if not narrow:
        return ""
    return (
        "; sums in float32 or less lose that, and converting them later does not bring it back: "
        "convert the inputs and accumulate X^T X in float64"
    )
