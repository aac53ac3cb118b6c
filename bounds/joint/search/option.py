"""One input's part of the dual function: its options, and exact steps in its multiplier.

With offset ``v - w`` every option costs ``d (v-w)^2 - 2 q (v-w)``, a nonzero one ``t`` more. As q
rises the best option moves up through the values: past the middles of neighbours, and past zero
where the tangent from zero to the parabola of the others has its slope. The dual function in one
``q_i`` is that concave piecewise linear cost plus ``2 u x - h x^2`` for a change x, h = (M^-1)_ii
and u the minimiser's offset; its maximum is where the minimiser meets the options.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.places import interval_place, nearest_place
from bounds.problem.gram import Floats

#: What is open of an input: zero or not (``OPTIONAL``), not zero (``NEEDED``).
OPTIONAL, NEEDED = 0, 1


@njit(cache=True, nogil=True, inline="always")
def option_cost(v: float, w: float, d: float, q: float) -> float:
    """Cost of the value ``v``, without a price."""
    offset = v - w
    return offset * (d * offset - 2.0 * q)


@njit(cache=True, nogil=True)
def best_nonzero(points: Floats, w: float, d: float, q: float) -> float:
    """Least cost of a value that is not zero."""
    return option_cost(points[nearest_place(points, w + q / d)], w, d, q)


@njit(cache=True, nogil=True)
def first_positive(points: Floats) -> int:
    """Index of the first value above zero; P if there is none."""
    low, high = 0, points.size
    while low < high:
        middle = (low + high) // 2
        if points[middle] > 0.0:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True)
def tangent(points: Floats, low: int, high: int, reach: float) -> int:
    """The value of ``points[low:high]``, all of one sign, that is first to beat zero.

    ``reach``: sqrt(t/d) with that sign; the tangent touches the parabola there.
    """
    a = low
    b = high - 1
    while b - a > 1:
        middle = (a + b) // 2
        if points[middle] <= reach:
            a = middle
        else:
            b = middle
    # d (v/2 - w) + t/(2v) has its extreme at the reach and is monotone on both sides
    left = abs(points[a]) + reach * reach / abs(points[a])
    right = abs(points[b]) + reach * reach / abs(points[b])
    return a if left <= right else b


@njit(cache=True, nogil=True)
def follow(points: Floats, w: float, d: float, u: float, h: float, q: float) -> float:
    """The best q where all options are the values ``points``."""
    middle = (u + h * q) / (1.0 + h * d) + w
    last = points.size - 1
    if middle <= points[0] or last == 0:
        return q + (u - (points[0] - w)) / h
    if middle >= points[last]:
        return q + (u - (points[last] - w)) / h
    low = interval_place(points, middle)
    below, above = points[low] - w, points[low + 1] - w
    edge = 0.5 * d * (below + above)
    there = u - h * (edge - q)
    if there > above:
        return q + (u - above) / h
    if there < below:
        return q + (u - below) / h
    return edge


@njit(cache=True, nogil=True)
def best_q(
    points: Floats, w: float, d: float, kind: int, t: float, u: float, h: float, q: float
) -> float:
    """The multiplier of one input that maximises the dual function, all else fixed."""
    if kind == NEEDED:
        return follow(points, w, d, u, h, q)
    first = first_positive(points)
    reach = np.sqrt(max(t, 0.0) / d)
    if first < points.size:
        j = tangent(points, first, points.size, reach)
        v = points[j]
        edge = d * (0.5 * v - w) + 0.5 * t / v
        there = u - h * (edge - q)
        if there > -w:
            if there <= v - w:
                return edge
            return follow(points[j:], w, d, u, h, q)
    if first > 0:
        j = tangent(points, 0, first, -reach)
        v = points[j]
        edge = d * (0.5 * v - w) + 0.5 * t / v
        there = u - h * (edge - q)
        if there < -w:
            if there >= v - w:
                return edge
            return follow(points[: j + 1], w, d, u, h, q)
    return q + (u + w) / h
