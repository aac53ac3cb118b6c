"""Budgets of nonzeros as a rule for the dual that channels share: the perspective relaxation.

A weight is allowed to be anything with a share ``s_i`` of being kept, at the cost of the
perspective ``d_i x_i^2 / s_i``, the shares adding up to the budget (Frangioni and Gentile, Math.
Program. 106, 2006). The least sum of terms keeps the inputs of largest
``(d_i w_i - y_i / 2)^2 / d_i``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.layer.rule import HalfStep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNIT = 2.0**-53
HALVINGS = 32


@dataclass(frozen=True)
class Kept:
    """At most ``capacity`` (groups,) nonzeros among the inputs ``start[g]`` to ``start[g + 1]``."""

    start: Ints
    capacity: Ints

    def rows(self, rows: slice | Ints) -> Self:
        """The same for all channels."""
        return self

    def clipped(self, weights: Floats) -> Floats:
        """Every weight is in the hull."""
        return weights.copy()

    def project(
        self, moved: Floats, weights: Floats, diagonal: Floats, ratio: float, state: HalfStep
    ) -> None:
        """The half step of ADMM that knows the budget; see ``Rule``."""
        project_kept(
            moved, weights, diagonal, self.start, self.capacity, 0.5 / ratio,
            state.over, state.point, state.price,
        )  # fmt: skip

    def spread(self, point: Floats, diagonal: Floats) -> Floats:
        """``x^2 (1 / s - 1)`` (channels, n), s the best shares for ``point``."""
        out = np.empty_like(point)
        spread_kept(point, diagonal, self.start, self.capacity, out)
        return out

    def least(self, diagonal: Floats, multiplier: Floats, weights: Floats) -> Floats:
        """``sum (d w^2 - y w)`` less the largest ``(d w - y / 2)^2 / d``, rounded down.

        An input without a diagonal costs nothing where it has no multiplier, and else no bound is
        left.
        """
        d = diagonal
        removed = d * weights * weights - multiplier * weights
        p = d * weights - multiplier / 2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            worth = np.where(d > 0, p * p / d, np.where(multiplier == 0, 0.0, np.inf))
            doubt = np.where(d > 0, np.abs(d * weights) + np.abs(multiplier), 0.0)
            worth += 8 * UNIT * (worth + np.where(d > 0, 2 * np.abs(p) * doubt / d, 0.0))
            worth += np.where(d > 0, 16 * UNIT**2 * doubt * doubt / d, 0.0)
        total = removed.sum(axis=1)
        size = (d * weights * weights + np.abs(multiplier * weights)).sum(axis=1)
        for first, last, count in zip(self.start[:-1], self.start[1:], self.capacity, strict=True):
            if count > 0:
                part = np.partition(worth[:, first:last], last - first - count, axis=1)
                dearest = part[:, last - first - count :].sum(axis=1)
                total, size = total - dearest, size + dearest
        with np.errstate(invalid="ignore"):
            value = total - 2 * (weights.shape[1] + 8) * UNIT * size - 1e-290
        return np.where(np.isfinite(value), value, -np.inf)


@njit(cache=True, nogil=True)
def _threshold(pull: Floats, slope: float, count: int) -> float:
    """``r`` with ``sum clip((pull / r - 1) / slope, 0, 1) = count``, or 0 where all are kept.

    With slope 0 the shares are ``min(pull / r, 1)``.
    """
    n = pull.shape[0]
    if count >= n:
        return 0.0
    high = 0.0
    for i in range(n):
        high = max(high, pull[i])
    if high == 0.0:
        return 0.0
    if slope == 0.0:
        high *= n
    low = 0.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        total = 0.0
        for i in range(n):
            if slope > 0.0:
                total += min(max((pull[i] / middle - 1.0) / slope, 0.0), 1.0)
            else:
                total += min(pull[i] / middle, 1.0)
        if total > count:
            low = middle
        else:
            high = middle
    return high


@njit(cache=True, nogil=True)
def project_kept(
    moved: Floats,
    weights: Floats,
    diagonal: Floats,
    start: Ints,
    capacity: Ints,
    penalty: float,
    over: float,
    point: Floats,
    price: Floats,
) -> None:
    """Minimise ``d x^2 / s - 2 d w x + penalty d (x - aim)^2`` over x and shares, in place."""
    channels, n = weights.shape
    for c in range(channels):
        aims, pulls = np.empty(n), np.empty(n)
        for i in range(n):
            aims[i] = over * moved[c, i] + (1.0 - over) * point[c, i] + price[c, i]
            pulls[i] = abs(weights[c, i] + penalty * aims[i]) * np.sqrt(diagonal[i])
        for g in range(capacity.shape[0]):
            first, last = start[g], start[g + 1]
            level = _threshold(pulls[first:last], penalty, capacity[g])
            for i in range(first, last):
                share = 1.0
                if capacity[g] == 0:
                    share = 0.0
                elif level > 0.0:
                    share = min(max((pulls[i] / level - 1.0) / penalty, 0.0), 1.0)
                whole = weights[c, i] + penalty * aims[i]
                point[c, i] = whole * share / (1.0 + penalty * share)
                price[c, i] = aims[i] - point[c, i]


@njit(cache=True, nogil=True)
def spread_kept(point: Floats, diagonal: Floats, start: Ints, capacity: Ints, out: Floats) -> None:
    """``x^2 (1 / s - 1)``; s least in cost for ``point`` (channels, n) within the budget."""
    channels, n = point.shape
    for c in range(channels):
        pulls = np.empty(n)
        for i in range(n):
            pulls[i] = abs(point[c, i]) * np.sqrt(diagonal[i])
        for g in range(capacity.shape[0]):
            first, last = start[g], start[g + 1]
            level = _threshold(pulls[first:last], 0.0, capacity[g])
            for i in range(first, last):
                out[c, i] = 0.0
                if pulls[i] > 0.0 and level > pulls[i]:
                    out[c, i] = point[c, i] * point[c, i] * (level / pulls[i] - 1.0)
