"""The quantization grid: integers in a box times a scale, and how the scale is chosen.

The paper (Kuzmin et al. 2023, Section 4 and its released code) fixes one scale per chunk over all
output channels by a 100-point line search of the weight MSE, on weights rounded to FP16.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import MethodError, ProblemError

RULES = ("mse", "minmax", "mse-channel", "minmax-channel")
LINE_SEARCH_POINTS = 100
MAX_BITS = 16


def integer_range(bits: int) -> tuple[int, int]:
    """Smallest and largest code of symmetric-signed ``bits``-bit integers: -2^(b-1), 2^(b-1)-1."""
    whole = isinstance(bits, int | np.integer) and not isinstance(bits, bool)
    if not (whole and 1 <= bits <= MAX_BITS):
        raise ProblemError(f"bits must be a whole number from 1 to {MAX_BITS}, got {bits!r}")
    return -(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1) - 1


def check_step(step: float) -> float:
    """A positive, finite step."""
    if not (step > 0 and math.isfinite(step)):
        raise ProblemError(f"step must be a positive number, got {step!r}")
    return float(step)


def check_scale(scale: ArrayLike, channels: int) -> NDArray[np.float64]:
    """The scale as one positive float64 per channel (channels,)."""
    array = np.asarray(scale)
    if array.dtype.kind not in "fiu" or array.shape not in ((), (channels,)):
        raise ProblemError(
            f"scale must be a positive number or one per channel ({channels},), "
            f"got {array.dtype} of shape {array.shape}"
        )
    array = np.broadcast_to(array.astype(np.float64), (channels,)).copy()
    if not (np.isfinite(array) & (array > 0)).all():
        raise ProblemError(f"scale must be positive and finite, got {array[~(array > 0)][:1]}")
    return array


def choose_scale(weights: ArrayLike, bits: int, rule: str = "mse") -> float | NDArray[np.float64]:
    """The quantization step for ``weights`` (channels, n).

    Args:
        weights: (channels, n), already rounded to FP16 if the paper's protocol is followed.
        bits: width of the signed integer grid.
        rule: ``mse`` (line search over all channels together), ``minmax`` (no clipping), or either
            with ``-channel``: one scale per channel.

    Returns:
        A float, or (channels,) float64 for the per-channel rules.

    Raises:
        MethodError: unknown rule.  ProblemError: bits out of range, weights not finite.
    """
    if rule not in RULES:
        raise MethodError(f"unknown scale rule {rule!r}; choose from {', '.join(RULES)}")
    weights = np.atleast_2d(np.asarray(weights, np.float64))
    if not np.isfinite(weights).all():
        raise ProblemError("weights have a NaN or infinite entry; no scale can be chosen")
    integer_range(bits)
    search = rule.startswith("mse")
    if rule.endswith("-channel"):
        return np.array([_scale(row, bits, search) for row in weights])
    return _scale(weights.ravel(), bits, search)


def _scale(values: NDArray[np.float64], bits: int, search: bool) -> float:
    lo, hi = integer_range(bits)
    widest = max(values.min(initial=0.0) / lo, values.max(initial=0.0) / max(hi, 1))
    if widest < np.finfo(np.float64).tiny * LINE_SEARCH_POINTS:
        return 1.0  # all weights are zero: every scale represents them
    if not search:
        return float(widest)
    # A power of two keeps the squares inside float64's range and changes no digit.
    unit = 2.0 ** np.frexp(widest)[1]
    values, widest = values / unit, widest / unit
    candidates = widest * np.arange(1, LINE_SEARCH_POINTS + 1) / LINE_SEARCH_POINTS
    losses = [
        np.square(s * np.clip(np.rint(values / s), lo, hi) - values).sum() for s in candidates
    ]
    return float(candidates[int(np.argmin(losses))] * unit)
