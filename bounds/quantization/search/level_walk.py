"""Exact search over levels that differ from input to input: ``enumeration`` on tables.

With ``v*`` the minimiser of a convex function over the box and ``g`` its gradient there, every
choice of levels costs ``g^T d + ||R d||^2 + sum_i lambda_i (v_i-p_i)(v_i-q_i)`` above the value at
``v*``, ``d = v - v*``, where p_i and q_i are neighbouring levels of input i; no term is negative.
Given the inputs fixed, the next one's cost is a convex quadratic in d_i, sampled at its levels
(``tables``): siblings are visited in order of their distance from its minimiser, and the first that
is too costly closes the level. The state is a ``Walk``, whose codes are numbers of levels; it can
be stopped and resumed.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.quantization.search.enumeration import FINISHED, Walk
from bounds.quantization.search.estimate import EXPONENT
from bounds.quantization.tables import Table, nearest_to

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@njit(cache=True, nogil=True)
def walk_levels(table: Table, walk: Walk, budget: int) -> int:
    """Visit at most ``budget`` nodes of a walk; returns how many were visited."""
    factor, distance, extra = table.factor, table.distance, table.extra
    siblings, levels, sums, best = walk.siblings, walk.levels, walk.sums, walk.best
    n, count = distance.shape
    radius = walk.radius[0]
    level = walk.level[0]
    descending = walk.entering[0]
    if level == n:
        siblings[:, 2] = n - 1
        level = n - 1
        descending = True
        levels[n - 1, 3] = 0.0
    visited = 0
    while level < n and visited < budget:
        i = level
        if descending:
            # bring this row's partial sums up to date with the levels changed since
            for j in range(siblings[i, 2], i, -1):
                sums[i, j] = sums[i, j + 1] + factor[i, j] * levels[j, 2]
            middle = table.offset[i] - table.slant[i] * sums[i, i + 1]
            levels[i, 1] = middle
            k = nearest_to(table, i, float(middle))
            siblings[i, 0] = k - 1
            siblings[i, 1] = k + 1
        else:
            low = siblings[i, 0]
            high = siblings[i, 1]
            middle = levels[i, 1]
            if low >= 0 and (
                high >= count or middle - distance[i, low] <= distance[i, high] - middle
            ):
                k = low
                siblings[i, 0] = low - 1
            elif high < count:
                k = high
                siblings[i, 1] = high + 1
            else:
                level += 1  # no sibling left
                continue
        visited += 1
        descending = False
        d = distance[i, k]
        product = sums[i, i + 1] + factor[i, i] * d
        cost = levels[i, 3] + product * product + extra[i, k]
        if cost >= radius:
            level += 1  # siblings come in order of cost: all others cost more
        elif i == 0:
            levels[0, 0] = k
            best[:] = levels[:, 0]
            radius = cost
            level += 1
        else:
            levels[i, 0] = k
            levels[i, 2] = d
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
def open_levels_bound(table: Table, walk: Walk) -> float:
    """Smallest cost any choice not yet seen can have: over open nodes, or the best cost found."""
    n, count = table.distance.shape
    siblings, levels, sums = walk.siblings, walk.levels, walk.sums
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
            k = siblings[i, side]
            if 0 <= k < count:
                product = sums[i, i + 1] + table.factor[i, i] * table.distance[i, k]
                bound = min(bound, levels[i, 3] + product * product + table.extra[i, k])
    return bound


@njit(cache=True, nogil=True)
def walk_tables(
    factor: Floats,
    distance: Floats,
    extra: Floats,
    offset: Floats,
    slant: Floats,
    near: Integers,
    radii: Floats,
    budget: int,
) -> tuple[Floats, Floats, Integers, NDArray[np.bool_], Floats]:
    """Walks of every channel with one factor and at most ``budget`` nodes each.

    Args: distance, extra (channels, n, L), offset (channels, n), slant (n,) in the factor's order;
    radii (channels,).
    Returns: best costs (channels,), best numbers (channels, n; NaN where none beat the radius),
    nodes (channels,), finished (channels,), smallest cost still open (channels,).
    """
    channels, n = offset.shape
    costs = radii.copy()
    numbers = np.full((channels, n), np.nan)
    nodes = np.zeros(channels, np.int64)
    finished = np.zeros(channels, np.bool_)
    opened = np.zeros(channels)
    siblings, levels = np.zeros((n, 3), np.int64), np.zeros((n, 4))
    sums, entering = np.zeros((n, n + 1)), np.zeros(1, np.bool_)
    level = np.empty(1, np.int64)
    for c in range(channels):
        table = Table(factor, distance[c], extra[c], offset[c], slant, near)
        radius = costs[c : c + 1]
        walk = Walk(siblings, levels, sums, numbers[c], radius, level, entering)
        level[0] = n
        entering[0] = False
        nodes[c] = walk_levels(table, walk, budget)
        finished[c] = level[0] == FINISHED
        opened[c] = open_levels_bound(table, walk)
    return costs, numbers, nodes, finished, opened


@njit(cache=True, nogil=True)
def estimate_levels(table: Table, radius: float, probes: int, seed: int) -> float:
    """Estimated number of nodes of cost below ``radius``, by random dives as in ``estimate``."""
    np.random.seed(seed)  # noqa: NPY002 (all that numba offers inside a kernel; seeded)
    factor, distance, extra = table.factor, table.distance, table.extra
    n, count = distance.shape
    total = 0.0
    d = np.zeros(n)
    for _ in range(probes):
        cost = 0.0
        weight = 1.0
        for i in range(n - 1, -1, -1):
            pull = 0.0
            for j in range(i + 1, n):
                pull += factor[i, j] * d[j]
            chosen = 0.0
            chosen_cost = 0.0
            children = 0
            share = 0.0
            chosen_share = 1.0
            first = nearest_to(table, i, table.offset[i] - table.slant[i] * pull)
            for direction in (1, -1):
                k = first if direction > 0 else first - 1
                while 0 <= k < count:
                    product = pull + factor[i, i] * distance[i, k]
                    child = cost + product * product + extra[i, k]
                    if child >= radius:
                        break
                    children += 1
                    volume = (1.0 - child / radius) ** (0.5 * i * EXPONENT)
                    share += volume
                    if np.random.random() * share < volume:  # noqa: NPY002 (reservoir)
                        chosen = distance[i, k]
                        chosen_cost = child
                        chosen_share = volume
                    k += direction
            if children == 0:
                break
            total += weight * children
            weight *= share / chosen_share
            d[i] = chosen
            cost = chosen_cost
    return total / probes
