"""Powers of two that bring a matrix's diagonal near one, without changing a digit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def power_of_two_balance(diagonal: Floats) -> Floats:
    """Powers of two ``d`` with ``d_i^2 diagonal_i`` in [1/2, 2); one where the diagonal is zero."""
    with np.errstate(divide="ignore"):
        exponent = np.where(diagonal > 0, np.round(-np.log2(diagonal) / 2), 0.0)
    return np.exp2(exponent)
