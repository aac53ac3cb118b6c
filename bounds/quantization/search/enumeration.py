"""Exact search: Schnorr-Euchner enumeration of the codes, clipped to the box, recentred.

With ``z*`` the minimiser of a convex function over the box and ``g`` its gradient there, every
feasible ``z`` costs ``g^T d + ||R d||^2 + sum_i lambda_i (z_i-k_i)(z_i-k_i-1)`` above the value at
``z*``, ``d = z - z*``; no term is negative. The search fixes codes from the last column of ``R``
to the first; given the codes fixed, each level has a convex quadratic cost in one integer, so
siblings are visited in order of cost and the first that is too costly closes the level:

    repeat
        entering level i: partial sums of row i up to date; the code nearest the level's minimiser
        else: the nearer of the next code below and the next one above; none left: back up a level
        cost of the codes fixed
        too costly: back up a level;  i = 0: new best codes, smaller radius;  else enter i - 1

The walk keeps its state in arrays and can be stopped after any number of nodes and resumed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: ``Walk.level`` of a walk that has closed its whole tree.
FINISHED = -1


class Quadratic(NamedTuple):
    """What one channel's search minimises, columns in the factor's order, codes recentred.

    ``factor`` (n, n) upper triangular ``R``; ``centre``, ``slope`` (n,): ``z*`` and ``g``;
    ``multiplier``, ``breakpoint`` (n,): ``lambda`` and the integers ``k`` (no shift: all zero);
    ``lo``, ``hi`` (n,) int64: the box.
    """

    factor: Floats
    centre: Floats
    slope: Floats
    multiplier: Floats
    breakpoint: Floats
    lo: Integers
    hi: Integers


class Walk(NamedTuple):
    """State of one search, resumable. All arrays are owned by it and changed in place.

    ``siblings`` (n, 3): next lower sibling, next higher sibling, row from which sums are stale.
    ``levels`` (n, 4): code, conditional minimiser, ``d``, cost of the levels above.
    ``sums`` (n, n+1): partial products of the factor with ``d``. ``best`` (n,): best codes, NaN
    before any. ``radius`` (1,): best cost, or what codes must cost less than. ``level`` (1,): n
    before the start, ``FINISHED`` at the end. ``entering`` (1,): whether the level is to be entered
    anew.
    """

    siblings: Integers
    levels: Floats
    sums: Floats
    best: Floats
    radius: Floats
    level: Integers
    entering: NDArray[np.bool_]

    @property
    def finished(self) -> bool:
        """Whether the whole tree has been closed."""
        return bool(self.level[0] == FINISHED)

    @property
    def cost(self) -> float:
        """Cost of the best codes found, or the radius the walk started with."""
        return float(self.radius[0])


def new_walk(n: int, radius: float) -> Walk:
    """A walk that looks for codes of cost below ``radius``."""
    return Walk(
        siblings=np.zeros((n, 3), np.int64),
        levels=np.zeros((n, 4)),
        sums=np.zeros((n, n + 1)),
        best=np.full(n, np.nan),
        radius=np.array([radius]),
        level=np.array([n]),
        entering=np.zeros(1, bool),
    )


@njit(cache=True, nogil=True, inline="always")
def node_cost(quadratic: Quadratic, walk: Walk, i: int, z: float) -> float:
    """Cost of fixing code ``i`` to ``z`` on top of the levels above."""
    d = z - quadratic.centre[i]
    product = walk.sums[i, i + 1] + quadratic.factor[i, i] * d
    ahead = z - quadratic.breakpoint[i]
    return (
        walk.levels[i, 3]
        + product * product
        + quadratic.slope[i] * d
        + quadratic.multiplier[i] * ahead * (ahead - 1.0)
    )


@njit(cache=True, nogil=True)
def walk_on(quadratic: Quadratic, walk: Walk, budget: int) -> int:
    """Visit at most ``budget`` nodes of a walk; returns how many were visited."""
    factor, centre, slope = quadratic.factor, quadratic.centre, quadratic.slope
    multiplier, breakpoint = quadratic.multiplier, quadratic.breakpoint
    lo, hi, best = quadratic.lo, quadratic.hi, walk.best
    siblings, levels, sums = walk.siblings, walk.levels, walk.sums
    n = centre.shape[0]
    radius = walk.radius[0]
    level = walk.level[0]
    descending = walk.entering[0]
    offset = np.empty(n)  # conditional minimiser = offset - slant * partial product
    slant = np.empty(n)
    for i in range(n):
        r = factor[i, i]
        curvature = r * r + multiplier[i]
        offset[i] = (
            r * r * centre[i] - 0.5 * slope[i] + multiplier[i] * (breakpoint[i] + 0.5)
        ) / curvature
        slant[i] = r / curvature
    if level == n:
        siblings[:, 2] = n - 1
        level = n - 1
        descending = True
        levels[n - 1, 3] = 0.0
    visited = 0
    while level < n and visited < budget:
        i = level
        if descending:
            # bring this row's partial sums up to date with the codes changed since
            for j in range(siblings[i, 2], i, -1):
                sums[i, j] = sums[i, j + 1] + factor[i, j] * levels[j, 2]
            minimiser = offset[i] - slant[i] * sums[i, i + 1]
            levels[i, 1] = minimiser
            z = float(min(max(np.rint(minimiser), lo[i]), hi[i]))
            siblings[i, 0] = int(z) - 1
            siblings[i, 1] = int(z) + 1
        else:
            low = siblings[i, 0]
            high = siblings[i, 1]
            minimiser = levels[i, 1]
            if low >= lo[i] and (high > hi[i] or minimiser - low <= high - minimiser):
                z = float(low)
                siblings[i, 0] = low - 1
            elif high <= hi[i]:
                z = float(high)
                siblings[i, 1] = high + 1
            else:
                level += 1  # no sibling left
                continue
        visited += 1
        descending = False
        cost = node_cost(quadratic, walk, i, z)
        if cost >= radius:
            level += 1  # siblings come in order of cost: all others cost more
        elif i == 0:
            levels[0, 0] = z
            best[:] = levels[:, 0]
            radius = cost
            level += 1
        else:
            levels[i, 0] = z
            levels[i, 2] = z - centre[i]
            if siblings[i - 1, 2] < siblings[i, 2]:
                siblings[i - 1, 2] = siblings[i, 2]
            siblings[i, 2] = i
            levels[i - 1, 3] = cost
            level = i - 1
            descending = True
    walk.radius[0] = radius
    walk.level[0] = level if level < n else FINISHED
    walk.entering[0] = descending
    return visited


@njit(cache=True, nogil=True)
def open_bound(quadratic: Quadratic, walk: Walk) -> float:
    """Smallest cost any code not yet seen can have: over open nodes, or the best cost found."""
    n = quadratic.centre.shape[0]
    lo, hi, siblings, levels = quadratic.lo, quadratic.hi, walk.siblings, walk.levels
    bound = walk.radius[0]
    level = walk.level[0]
    if level == FINISHED:
        return bound
    if level == n:
        return min(bound, 0.0)
    if walk.entering[0]:  # about to enter this level: none of its siblings was seen
        bound = min(bound, levels[level, 3])
        level += 1
    for i in range(level, n):
        for side in range(2):
            z = float(siblings[i, side])
            if lo[i] <= z <= hi[i]:
                cost = node_cost(quadratic, walk, i, z)
                bound = min(bound, cost)
    return bound


@njit(cache=True, nogil=True)
def walk_channels(
    factor: Floats,
    centres: Floats,
    slopes: Floats,
    multiplier: Floats,
    breakpoints: Floats,
    radii: Floats,
    lo: Integers,
    hi: Integers,
    budget: int,
) -> tuple[Floats, Floats, Integers, NDArray[np.bool_], Floats]:
    """Walks of every channel with one factor and at most ``budget`` nodes each.

    Args: centres, slopes, breakpoints (channels, n) in the factor's order, multiplier (n,); lo, hi
    (channels, n) int64; radii (channels,).
    Returns: best costs (channels,), best codes (channels, n; NaN where none beat the radius),
    nodes (channels,), finished (channels,), smallest cost still open (channels,).
    """
    channels, n = centres.shape
    costs = radii.copy()
    codes = np.full((channels, n), np.nan)
    nodes = np.zeros(channels, np.int64)
    finished = np.zeros(channels, np.bool_)
    opened = np.zeros(channels)
    siblings, levels = np.zeros((n, 3), np.int64), np.zeros((n, 4))
    sums, entering = np.zeros((n, n + 1)), np.zeros(1, np.bool_)
    level = np.empty(1, np.int64)
    for c in range(channels):
        quadratic = Quadratic(
            factor, centres[c], slopes[c], multiplier, breakpoints[c], lo[c], hi[c]
        )
        radius = costs[c : c + 1]
        walk = Walk(siblings, levels, sums, codes[c], radius, level, entering)
        level[0] = n
        entering[0] = False
        nodes[c] = walk_on(quadratic, walk, budget)
        finished[c] = level[0] == FINISHED
        opened[c] = open_bound(quadratic, walk)
    return costs, codes, nodes, finished, opened
