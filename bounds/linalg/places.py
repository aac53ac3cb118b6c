"""Where a number stands among ascending ones."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def interval_place(points: NDArray[np.float64], x: float) -> int:
    """Lower end of the interval of ``points`` (P,), ascending, that holds ``x`` or is nearest."""
    low, high = 0, points.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if points[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def nearest_place(points: NDArray[np.float64], x: float) -> int:
    """Index of the point of ``points`` (P,), ascending, nearest to ``x``; the lower of two."""
    low = interval_place(points, x)
    high = min(low + 1, points.size - 1)
    return low if x - points[low] <= points[high] - x else high
