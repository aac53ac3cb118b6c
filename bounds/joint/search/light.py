"""Enumeration below a slot with its multipliers held fixed: tens of nanoseconds a node.

Rows are fixed one after the other, the stiffest first, on the pivots of H. A partial solution costs
what its rows cost, plus the least that the options of the others can cost with the room left, which
is read from tables. Children of a row come in order of cost: zero, and the values outward from the
level's minimiser, so the first that is too dear closes the row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.joint.relaxation.barrier import Rows
from bounds.joint.search.node import Stack
from bounds.joint.search.option import OPTIONAL, option_cost
from bounds.linalg.places import nearest_place
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints


class Incumbent(NamedTuple):
    """The cutoff, and the solutions found below it.

    ``cutoff`` (1,): computed costs at or above it cannot beat the incumbent. ``margin``: a solution
    found lowers the cutoff to this much above its cost. ``leaves`` (L, m): solutions to evaluate
    again; ``found`` (1,): how many there were, of which L are listed at most.
    """

    cutoff: Floats
    margin: float
    leaves: Floats
    found: Ints


@njit(cache=True, nogil=True)
def record(incumbent: Incumbent, value: Floats, cost: float) -> None:
    """List a solution below the cutoff, and lower the cutoff to match.

    In a full list only one that lowers the cutoff is listed, in the last place.
    """
    cutoff, leaves, found = incumbent.cutoff, incumbent.leaves, incumbent.found
    if cost < cutoff[0]:
        better = cost + incumbent.margin < cutoff[0]
        cutoff[0] = min(cutoff[0], cost + incumbent.margin)
        last = leaves.shape[0] - 1
        if found[0] <= last or better:
            leaves[min(found[0], last)] = value
        found[0] += 1


class Tables(NamedTuple):
    """What ``enumerate_below`` reads: rows in the order of the walk, the first fixed last.

    ``row`` (m,): of the slot; ``pivot`` (m,): 1/H_ii when it is fixed; ``pull`` (m, m): how the
    misses of later rows move its minimiser; ``own``, ``others`` (m, R+1): least cost of its group's
    rows up to and with it, or before it, by room.
    """

    row: Ints
    pivot: Floats
    pull: Floats
    own: Floats
    others: Floats


@njit(cache=True, nogil=True)
def make_tables(stack: Stack, rows: Rows, s: int) -> tuple[Tables, Floats]:
    """Order, pivots and tables of slot s; and each group's least cost (groups, R+1) over all."""
    m, groups = stack.size[s], rows.capacity.size
    h = stack.h[s, :m, :m].copy()
    row, pivot, pull = np.empty(m, np.int64), np.empty(m), np.zeros((m, m))
    alive = np.ones(m, np.bool_)
    shares = np.empty((m, m))
    for place in range(m - 1, -1, -1):
        best = -1
        for i in range(m):
            if alive[i] and (best < 0 or h[i, i] < h[best, best]):
                best = i
        row[place] = best
        pivot[place] = 1.0 / h[best, best]
        alive[best] = False
        for i in range(m):
            shares[place, i] = h[i, best] * pivot[place]
        for i in range(m):
            if alive[i]:
                for j in range(m):
                    h[i, j] -= shares[place, i] * h[best, j]
    for place in range(m):
        for later in range(place + 1, m):
            pull[place, later] = shares[later, row[place]]
    most = 0
    for g in range(groups):
        most = max(most, stack.room[s, g])
    own, others = np.zeros((m, most + 1)), np.zeros((m, most + 1))
    total, count = np.zeros((groups, most + 1)), np.zeros(groups, np.int64)
    gains = np.empty((groups, m))
    for place in range(m):
        i = row[place]
        g = rows.group[stack.position[s, i]]
        others[place] = total[g]
        if stack.kind[s, i] == OPTIONAL:
            gain = max(stack.a[s, i] - stack.b[s, i], 0.0)
            k = count[g]
            while k > 0 and gains[g, k - 1] < gain:
                gains[g, k] = gains[g, k - 1]
                k -= 1
            gains[g, k] = gain
            count[g] += 1
            base = total[g, 0] + stack.a[s, i]
            total[g, 0] = base
            for r in range(most):
                base -= gains[g, r] if r < count[g] else 0.0
                total[g, r + 1] = base
        else:
            for r in range(most + 1):
                total[g, r] += stack.b[s, i]
        own[place] = total[g]
    return Tables(row, pivot, pull, own, others), total


@njit(cache=True, nogil=True)
def enumerate_below(
    stack: Stack, rows: Rows, d: Floats, s: int, incumbent: Incumbent, budget: int
) -> tuple[bool, int]:
    """Close slot s, whose prices are up to date, within ``budget`` nodes.

    Returns (closed, nodes). What was found counts in any case.
    """
    m, groups = stack.size[s], rows.capacity.size
    tables, total = make_tables(stack, rows, s)
    row, pivot, pull, own, others = tables
    radius = incumbent.cutoff[0]
    room = stack.room[s].copy()
    rest = np.empty(m + 1)
    rest[m] = 0.0
    for g in range(groups):
        rest[m] += total[g, room[g]]
    part = np.empty(m + 1)
    part[m] = stack.base[s]
    value = stack.value[s].copy()
    miss, sums = np.zeros(m), np.zeros((m, m + 1))
    stale = np.full(m, m - 1)
    low, high = np.zeros(m, np.int64), np.zeros(m, np.int64)
    zero, used = np.zeros(m, np.bool_), np.zeros(m, np.int64)
    minimiser = np.zeros(m)
    level = m - 1
    entering = True
    visited = 0
    while level < m:
        if visited >= budget:
            return False, visited
        i = level
        r = int(row[i])
        j = int(stack.position[s, r])
        g = rows.group[j]
        points, w, q = rows.points[j], rows.w[j], stack.q[s, r]
        optional = stack.kind[s, r] == OPTIONAL
        if entering:
            for k in range(stale[i], i, -1):
                sums[i, k] = sums[i, k + 1] + pull[i, k] * miss[k]
            minimiser[i] = stack.u[s, r] + sums[i, i + 1]
            zero[i] = optional
            if optional and room[g] == 0:
                low[i], high[i] = -1, points.size
            else:
                middle = w + (pivot[i] * minimiser[i] + q) / (pivot[i] + d[j])
                k = nearest_place(points, middle)
                if points[k] > middle:
                    low[i], high[i] = k - 1, k
                else:
                    low[i], high[i] = k, k + 1
            entering = False
        else:
            room[g] += used[i]
        before = rest[i + 1] - own[i, room[g]]
        best, choice, v = np.inf, -1, 0.0
        if zero[i]:
            offset = -w - minimiser[i]
            best = pivot[i] * offset * offset + option_cost(0.0, w, d[j], q)
            best += others[i, room[g]]
            choice = 0
        if not optional or room[g] > 0:
            after = others[i, room[g] - 1] if optional else others[i, room[g]]
            if low[i] >= 0:
                x = points[low[i]]
                offset = x - w - minimiser[i]
                cost = pivot[i] * offset * offset + option_cost(x, w, d[j], q) + after
                if cost < best:
                    best, choice, v = cost, 1, x
            if high[i] < points.size:
                x = points[high[i]]
                offset = x - w - minimiser[i]
                cost = pivot[i] * offset * offset + option_cost(x, w, d[j], q) + after
                if cost < best:
                    best, choice, v = cost, 2, x
        visited += 1
        if choice < 0 or part[i + 1] + before + best >= radius:
            level += 1
            continue
        if choice == 0:
            zero[i] = False
        elif choice == 1:
            low[i] -= 1
        else:
            high[i] += 1
        value[j] = v
        used[i] = 1 if optional and v != 0.0 else 0
        room[g] -= used[i]
        left = others[i, room[g]]
        part[i] = part[i + 1] + best - left
        rest[i] = before + left
        if i == 0:
            record(incumbent, value, part[0])
            radius = incumbent.cutoff[0]
        else:
            miss[i] = v - w - minimiser[i]
            if stale[i - 1] < stale[i]:
                stale[i - 1] = stale[i]
            stale[i] = i
            level = i - 1
            entering = True
    return True, visited
