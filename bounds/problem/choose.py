"""How steps are chosen: the paper's rules for one step a chunk or a channel.

The paper (Kuzmin et al. 2023, Section 4 and its released code) fixes one scale per chunk over all
output channels by a 100-point line search of the weight MSE, on weights rounded to FP16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import MethodError
from bounds.problem.checks import finite_array
from bounds.problem.codebooks import integer_range

RULES = ("mse", "minmax", "mse-channel", "minmax-channel")
LINE_SEARCH_POINTS = 100


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
        MethodError: unknown rule.  ProblemError: bits out of range, weights that are no finite
            numbers.
    """
    if rule not in RULES:
        raise MethodError(f"unknown scale rule {rule!r}; choose from {', '.join(RULES)}")
    weights = np.atleast_2d(finite_array("weights", weights))
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
