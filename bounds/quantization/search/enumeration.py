"""Exact search: Schnorr-Euchner enumeration of the codes, clipped to the box, recentred.

With ``z*`` the minimiser of a convex function over the box and ``g`` its gradient there, every
feasible ``z`` costs ``g^T d + ||R d||^2 + sum_i lambda_i (z_i-k_i)(z_i-k_i-1)`` above the value at
``z*``, ``d = z - z*``; no term is negative. The search fixes codes from the last column of ``R``
to the first; given the codes fixed, each level has a convex quadratic cost in one integer, so
siblings are visited in order of cost and the first that is too dear closes the level.

The walk keeps its state in arrays and can be stopped after any number of nodes and resumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Walk:
    """State of one search, resumable. All arrays are owned by it and changed in place.

    ``integers`` (n, 3): next lower sibling, next higher sibling, row from which sums are stale.
    ``floats`` (n, 4): code, conditional minimiser, ``d``, cost of the levels above.
    ``sums`` (n, n+1): partial products of the factor with ``d``. ``best`` (n,): best codes.
    ``scalars`` (3,): best cost, level (n before the start, -1 when finished), 1 if descending.
    """

    integers: NDArray[np.int64]
    floats: Floats
    sums: Floats
    best: Floats
    scalars: Floats

    @property
    def finished(self) -> bool:
        """Whether the whole tree has been closed."""
        return bool(self.scalars[1] < 0)

    @property
    def cost(self) -> float:
        """Cost of the best codes found, or the radius the walk started with."""
        return float(self.scalars[0])

    def arrays(self) -> tuple[NDArray[np.int64], Floats, Floats, Floats, Floats]:
        """The arrays in the order the kernels take them."""
        return self.integers, self.floats, self.sums, self.best, self.scalars


def new_walk(n: int, radius: float) -> Walk:
    """A walk that looks for codes of cost below ``radius``."""
    return Walk(
        np.zeros((n, 3), np.int64),
        np.zeros((n, 4)),
        np.zeros((n, n + 1)),
        np.full(n, np.nan),
        np.array([radius, float(n), 0.0]),
    )


@njit(cache=True, nogil=True, inline="always")
def node_cost(factor, centre, slope, cut, cut_at, floats, sums, i, z):
    """Cost of fixing code ``i`` to ``z`` on top of the levels above."""
    d = z - centre[i]
    product = sums[i, i + 1] + factor[i, i] * d
    return (
        floats[i, 3]
        + product * product
        + slope[i] * d
        + cut[i] * (z - cut_at[i]) * (z - cut_at[i] - 1.0)
    )


@njit(cache=True, nogil=True)
def walk_on(
    factor, centre, slope, cut, cut_at, lo, hi, budget, integers, floats, sums, best, scalars
):
    """Visit at most ``budget`` nodes; returns how many were visited.

    Args:
        factor: (n, n) upper triangular ``R``; centre, slope: (n,) ``z*`` and ``g`` in its order.
        cut, cut_at: (n,) multipliers ``lambda`` and integers ``k`` of the shift (zero: no shift).
        lo, hi: (n,) int64, the box. The other arrays are those of a ``Walk``.
    """
    n = centre.shape[0]
    radius = scalars[0]
    level = int(scalars[1])
    descending = scalars[2] > 0.0
    offset = np.empty(n)  # conditional minimiser = offset - slant * partial product
    slant = np.empty(n)
    for i in range(n):
        r = factor[i, i]
        curvature = r * r + cut[i]
        offset[i] = (r * r * centre[i] - 0.5 * slope[i] + cut[i] * (cut_at[i] + 0.5)) / curvature
        slant[i] = r / curvature
    if level == n:
        integers[:, 2] = n - 1
        level = n - 1
        descending = True
        floats[n - 1, 3] = 0.0
    visited = 0
    while level < n and visited < budget:
        i = level
        if descending:
            # bring this row's partial sums up to date with the codes changed since
            for j in range(integers[i, 2], i, -1):
                sums[i, j] = sums[i, j + 1] + factor[i, j] * floats[j, 2]
            minimiser = offset[i] - slant[i] * sums[i, i + 1]
            floats[i, 1] = minimiser
            z = min(max(np.rint(minimiser), lo[i]), hi[i])
            integers[i, 0] = int(z) - 1
            integers[i, 1] = int(z) + 1
        else:
            low = integers[i, 0]
            high = integers[i, 1]
            minimiser = floats[i, 1]
            if low >= lo[i] and (high > hi[i] or minimiser - low <= high - minimiser):
                z = float(low)
                integers[i, 0] = low - 1
            elif high <= hi[i]:
                z = float(high)
                integers[i, 1] = high + 1
            else:
                level += 1  # no sibling left
                continue
        visited += 1
        descending = False
        cost = node_cost(factor, centre, slope, cut, cut_at, floats, sums, i, z)
        if cost >= radius:
            level += 1  # siblings come in order of cost: all others are dearer
        elif i == 0:
            floats[0, 0] = z
            best[:] = floats[:, 0]
            radius = cost
            level += 1
        else:
            floats[i, 0] = z
            floats[i, 2] = z - centre[i]
            if integers[i - 1, 2] < integers[i, 2]:
                integers[i - 1, 2] = integers[i, 2]
            integers[i, 2] = i
            floats[i - 1, 3] = cost
            level = i - 1
            descending = True
    scalars[0] = radius
    scalars[1] = float(level) if level < n else -1.0
    scalars[2] = 1.0 if descending else 0.0
    return visited


@njit(cache=True, nogil=True)
def open_bound(factor, centre, slope, cut, cut_at, lo, hi, integers, floats, sums, scalars):
    """Smallest cost any code not yet seen can have: over open nodes, or the best cost found."""
    n = centre.shape[0]
    bound = scalars[0]
    if scalars[1] < 0:
        return bound
    level = int(scalars[1])
    if level == n:
        return min(bound, 0.0)
    if scalars[2] > 0.0:  # about to enter this level: none of its siblings was seen
        bound = min(bound, floats[level, 3])
        level += 1
    for i in range(level, n):
        for side in range(2):
            z = float(integers[i, side])
            if lo[i] <= z <= hi[i]:
                cost = node_cost(factor, centre, slope, cut, cut_at, floats, sums, i, z)
                bound = min(bound, cost)
    return bound


@njit(cache=True, nogil=True)
def walk_channels(factor, centres, slopes, radii, lo, hi, budget):
    """Unshifted walks of every channel with at most ``budget`` nodes each.

    Args: centres, slopes (channels, n) in the factor's order; lo, hi (channels, n) int64; radii
    (channels,).
    Returns: best costs (channels,), best codes (channels, n; NaN where none beat the radius),
    nodes (channels,), finished (channels,), smallest cost still open (channels,).
    """
    channels, n = centres.shape
    costs = radii.copy()
    codes = np.full((channels, n), np.nan)
    nodes = np.zeros(channels, np.int64)
    finished = np.zeros(channels, np.bool_)
    opened = np.zeros(channels)
    none = np.zeros(n)
    integers = np.zeros((n, 3), np.int64)
    floats = np.zeros((n, 4))
    sums = np.zeros((n, n + 1))
    scalars = np.empty(3)
    for c in range(channels):
        scalars[0] = radii[c]
        scalars[1] = float(n)
        scalars[2] = 0.0
        nodes[c] = walk_on(
            factor, centres[c], slopes[c], none, none, lo[c], hi[c], budget,
            integers, floats, sums, codes[c], scalars,
        )  # fmt: skip
        costs[c] = scalars[0]
        finished[c] = scalars[1] < 0
        opened[c] = open_bound(
            factor, centres[c], slopes[c], none, none, lo[c], hi[c], integers, floats, sums, scalars
        )
    return costs, codes, nodes, finished, opened
