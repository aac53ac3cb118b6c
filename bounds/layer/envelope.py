"""One weight at a time: the convex envelope of a parabola on the levels, and its least value.

``envelope_d(v)`` is piecewise linear through ``d (l - w)^2`` at the levels ``l``; on the interval
``[l, u]`` it exceeds the parabola itself by ``d (v - l) (u - v)``, the *spread*: what a weight at
``v`` costs more for being a mixture of two levels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.linalg.places import interval_place

Floats = NDArray[np.float64]

UNIT = 2.0**-53
#: Levels further from a weight than so many gaps are all tried: a parabola's foot is lost there.
FAR = 2.0**20


@njit(cache=True, nogil=True)
def interval_of(code: float, table: Floats, uniform: bool) -> int:
    """Place of the lower end of the interval of ``table`` that holds ``code``, or is nearest."""
    if uniform:
        place = np.floor(code - table[0])
        return int(min(max(place, 0.0), float(table.shape[0] - 2)))
    return interval_place(table, code)


@njit(cache=True, nogil=True)
def nearest_point(aim: float, target: float, ratio: float, table: Floats, uniform: bool) -> float:
    """Minimiser of ``ratio envelope_1(t) + (t - aim)^2 / 2`` over the hull of the levels.

    In codes. The slope jumps up at every level, and the last one at which it comes from below zero
    is found in closed form or by halving.
    """
    if uniform:
        foot = np.floor((aim + ratio * (1.0 + 2.0 * target)) / (1.0 + 2.0 * ratio) - table[0])
        low = int(min(max(foot, 0.0), float(table.shape[0] - 2)))
    else:
        low, high = 0, table.shape[0] - 1
        while high - low > 1:
            middle = (low + high) // 2
            slope = table[middle - 1] + table[middle] - 2.0 * target
            if table[middle] - aim + ratio * slope <= 0.0:
                low = middle
            else:
                high = middle
    free = aim - ratio * (table[low] + table[low + 1] - 2.0 * target)
    return min(max(free, table[low]), table[low + 1])


@njit(cache=True, nogil=True)
def project_rows(
    moved: Floats,
    weights: Floats,
    table: Floats,
    step: Floats,
    zero: Floats,
    uniform: bool,
    ratio: float,
    over: float,
    point: Floats,
    price: Floats,
) -> None:
    """The half step of ADMM that knows the levels: ``point`` and ``price`` in place.

    Args: all (channels, n) in the unit of the weights; ``ratio``: multiplier over penalty;
    ``over``: relaxation, 1 to 2.
    """
    channels, n = weights.shape
    for c in range(channels):
        for i in range(n):
            aim = over * moved[c, i] + (1.0 - over) * point[c, i] + price[c, i]
            size, origin = step[c, i], zero[c, i]
            code = nearest_point(
                aim / size + origin, weights[c, i] / size + origin, ratio, table, uniform
            )
            point[c, i] = size * (code - origin)
            price[c, i] = aim - point[c, i]


@njit(cache=True, nogil=True)
def spreads(
    point: Floats, table: Floats, step: Floats, zero: Floats, uniform: bool, out: Floats
) -> None:
    """``(v - l) (u - v)`` of every ``point`` (channels, n), l and u the levels around it."""
    channels, n = point.shape
    for c in range(channels):
        for i in range(n):
            code = point[c, i] / step[c, i] + zero[c, i]
            low = interval_of(code, table, uniform)
            share = (code - table[low]) * (table[low + 1] - code)
            out[c, i] = max(share, 0.0) * step[c, i] * step[c, i]


@njit(cache=True, nogil=True)
def _term(d: float, y: float, w: float, level: float, size: float, origin: float) -> float:
    """``d (v - w)^2 + y (v - w)`` at a level, less all its rounding."""
    v = size * (level - origin)
    e = v - w
    doubt = 4.0 * UNIT * (abs(size) * (abs(level) + abs(origin)) + abs(w))
    value = d * e * e + y * e
    slack = (2.0 * d * abs(e) + abs(y)) * doubt + d * doubt * doubt
    slack += 8.0 * UNIT * (d * e * e + abs(y * e))
    return value - slack * (1.0 + 1e-9) - 1e-300


@njit(cache=True, nogil=True)
def least_sums(
    diagonal: Floats,
    multiplier: Floats,
    weights: Floats,
    table: Floats,
    step: Floats,
    zero: Floats,
    uniform: bool,
    out: Floats,
) -> None:
    """Lower bounds (channels,) on ``sum_i min over the levels d_i (v - w_i)^2 + y_i (v - w_i)``.

    Args: diagonal (n,), not negative; multiplier ``y`` (channels, n).

    Rounding is subtracted. On the levels the parabola falls, then rises, so that its least value is
    at one of the levels around its foot; where the foot is so far off that rounding may misplace
    it, the ends are enough if it is beyond them, and else all levels are tried.
    """
    channels, n = weights.shape
    count = table.shape[0]
    gap = table[count - 1] - table[0]
    for k in range(count - 1):
        gap = min(gap, table[k + 1] - table[k])
    for c in range(channels):
        total, size = 0.0, 0.0
        for i in range(n):
            d, y, w, s, z = diagonal[i], multiplier[c, i], weights[c, i], step[c, i], zero[c, i]
            reach = max(abs(s * (table[0] - z) - w), abs(s * (table[count - 1] - z) - w))
            first, last = 0, count - 1
            if abs(y) > 2.0 * d * reach * (1.0 + 1e-9):
                # monotone over the hull: the end it falls to
                first = last = 0 if y > 0.0 else count - 1
            elif reach < FAR * gap * s:
                foot = (w - 0.5 * y / d) / s + z
                low = interval_of(foot, table, uniform)
                first, last = max(low - 1, 0), min(low + 2, count - 1)
            least = np.inf
            for k in range(first, last + 1):
                least = min(least, _term(d, y, w, table[k], s, z))
            total += least
            size += abs(least)
        out[c] = total - 1.01 * (n + 2) * UNIT * size
