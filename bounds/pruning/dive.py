"""Depth-first search below one node of the outer search, with the node's multipliers (D, p).

The node's problem in its open inputs is ``error = e + (v-w)^T S (v-w)``; with ``M = S - D`` the
dual function is ``L0(p) - sum_g [room_g t_g + sum_{i in g} (p_i^2/d_i - t_g)_+]``, valid for any t.
The state carries ``H = M^-1``, ``y = w + H (D w - p)`` and ``L0``, which follow both decisions by
one rank-one update, after which the input's row is dropped (DESIGN.md section 5):

    remove i:  L0 += y_i^2 / H_ii,                                    pivot H_ii
    keep i:    L0 += (y_i - p_i/d_i)^2 / (1/d_i + H_ii) - p_i^2/d_i,  pivot 1/d_i + H_ii

Exact coordinate steps in p then restore most of what a new optimisation would give. Bounds of both
children of every input cost a few operations each, so inputs are fixed both ways and the branching
input is the one whose worse child is best. Both updates are Gaussian elimination on a positive
definite matrix (backward stable); the caller's limit holds the margin for their rounding.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.problem import Floats
from bounds.pruning.core import Ints, Mask

OPEN, KEPT, REMOVED = 0, 1, 2
#: Coordinate sweeps per node, and passes that move each threshold to its best place.
SWEEPS, PASSES = 2, 3
#: A coordinate step must be worth this share of what is missing (over all inputs), a sweep that.
WORTH, ENOUGH = 1e-3, 0.02


@njit(cache=True, nogil=True)
def record(leaves: Mask, found: int, state: Ints, better: bool) -> int:
    """List a complete support; in a full list only a better one, in the last place."""
    last = leaves.shape[0] - 1
    if found <= last or better:
        for j in range(state.size):
            leaves[min(found, last), j] = state[j] == KEPT
    return found + 1


@njit(cache=True, nogil=True)
def decide(
    h: Floats,
    y: Floats,
    p: Floats,
    d: Floats,
    position: Ints,
    size: Ints,
    base: Floats,
    room: Ints,
    state: Ints,
    group: Ints,
    source: int,
    target: int,
    i: int,
    kind: int,
    column: Floats,
) -> None:
    """Keep or remove row i of slot ``source``; the result goes to slot ``target``, maybe the same.

    ``H - h h^T / pivot`` without row and column i, the last input taking their place.
    """
    m = size[source]
    last = m - 1
    yi, pi, di, hii = y[source, i], p[source, i], d[source, i], h[source, i, i]
    if kind == REMOVED:
        pivot = hii
        step = yi / pivot
        base[target] = base[source] + yi * step
    else:
        pivot = 1.0 / di + hii
        gap = yi - pi / di
        step = gap / pivot
        base[target] = base[source] + gap * step - pi * pi / di
        room[target, group[position[source, i]]] -= 1
    state[target, position[source, i]] = kind
    reciprocal = 1.0 / pivot
    for j in range(m):
        column[j] = h[source, i, j]
    tail = column[last]
    for j in range(last):
        # Row i is taken over by the last one.
        origin = last if j == i else j
        cj = column[origin]
        factor = cj * reciprocal
        corner = h[source, origin, last] - factor * tail
        for k in range(last):
            h[target, j, k] = h[source, origin, k] - factor * column[k]
        h[target, j, i] = corner
        y[target, j] = y[source, origin] - step * cj
    p_last, d_last, position_last = p[source, last], d[source, last], position[source, last]
    if source != target:
        for j in range(last):
            p[target, j] = p[source, j]
            d[target, j] = d[source, j]
            position[target, j] = position[source, j]
    if i < last:
        p[target, i], d[target, i], position[target, i] = p_last, d_last, position_last
    size[target] = last


@njit(cache=True, nogil=True)
def settle(
    h: Floats,
    y: Floats,
    p: Floats,
    d: Floats,
    group: Ints,
    position: Ints,
    room: Ints,
    t: Floats,
    m: int,
    s: int,
    base: float,
    limit: float,
    a: Floats,
) -> tuple[float, float]:
    """Coordinate ascent in p and a search for each t in slot s; returns (L0, bound).

    ``a`` (m,) is filled with ``p_i^2/d_i``.
    """
    groups = t.shape[1]
    count = np.empty(groups, np.int64)
    above = np.empty(groups)
    below = np.empty(groups)
    bound = -np.inf
    for i in range(m):
        a[i] = p[s, i] * p[s, i] / d[s, i]
    for sweep in range(SWEEPS + 1):
        for attempt in range(PASSES + 1):
            for g in range(groups):
                count[g] = 0
                above[g] = np.inf
                below[g] = 0.0
            penalty = 0.0
            for i in range(m):
                g = group[position[s, i]] if groups > 1 else 0
                level = t[s, g]
                if a[i] > level:
                    penalty += a[i] - level
                    count[g] += 1
                    above[g] = min(above[g], a[i])
                else:
                    below[g] = max(below[g], a[i])
            moved = False
            for g in range(groups):
                penalty += room[s, g] * t[s, g]
            if base - penalty > bound:
                bound = base - penalty
            if attempt == PASSES or bound >= limit:
                break
            for g in range(groups):
                if count[g] > room[s, g]:
                    t[s, g] = above[g]
                    moved = True
                elif count[g] < room[s, g] and t[s, g] > 0.0:
                    t[s, g] = below[g] * (1.0 - 1e-14)
                    moved = True
            if not moved:
                break
        if bound >= limit or sweep == SWEEPS:
            break
        worth = WORTH * (limit - bound) / m
        gained = 0.0
        for i in range(m):
            hii = h[s, i, i]
            square = t[s, group[position[s, i]]] * d[s, i]
            new = p[s, i] + y[s, i] / hii
            if new * new > square:
                outer = new * d[s, i] * hii / (1.0 + d[s, i] * hii)
                if outer * outer >= square:
                    new = outer
                else:
                    new = np.sqrt(square) if new > 0.0 else -np.sqrt(square)
            step = new - p[s, i]
            if hii * step * step > worth:
                base += (2.0 * y[s, i] - hii * step) * step
                gained += hii * step * step
                p[s, i] = new
                a[i] = new * new / d[s, i]
                for j in range(m):
                    y[s, j] -= step * h[s, i, j]
        if gained < ENOUGH * (limit - bound):
            break
    return base, bound


@njit(cache=True, nogil=True)
def dive(
    h: Floats,
    y: Floats,
    p: Floats,
    d: Floats,
    position: Ints,
    size: Ints,
    base: Floats,
    t: Floats,
    room: Ints,
    state: Ints,
    pending: Ints,
    pending_bound: Floats,
    group: Ints,
    limit: float,
    reach: float,
    leaves: Mask,
    found: int,
    budget: int,
) -> tuple[bool, float, int, int]:
    """Search below slot 0 of the stack until closed or ``budget`` nodes are spent.

    Args:
        h: (depth, m, m), y, p, d: (depth, m), position: (depth, m) core input of each row,
            size: (depth,) rows in use, base: (depth,) L0, t: (depth, groups), room:
            (depth, groups), state: (depth, M) decisions on all core inputs. Slot 0 is the start.
        pending: (depth,), pending_bound: (depth,): the second child of each slot: row i to keep, or
            -2-i to remove, or -1 for none.
        group: (M,) groups of the core inputs.
        limit: computed bounds at or above this cannot beat the incumbent.
        reach: a support found lowers the limit to this much above its cost.
        leaves: (L, M) supports to re-evaluate, ``found`` of them.
        budget: nodes to visit at most.

    Returns:
        (closed, limit, found, nodes). Slot 0 keeps what was fixed at the start node; if its first
        child was closed, it has become the second.
    """
    full = group.size
    groups = room.shape[1]
    opened = np.empty(groups, np.int64)
    flags = np.empty(full, np.int64)
    a = np.empty(full)
    column = np.empty(full)
    s = 0
    nodes = 0
    pending[0] = -1
    fresh = True
    while s >= 0:
        if not fresh:
            # Back at a slot whose first child is done: the second child takes its place.
            i = pending[s]
            if i == -1 or pending_bound[s] >= limit:
                s -= 1
                continue
            kind = KEPT
            if i < -1:
                i = -2 - i
                kind = REMOVED
            pending[s] = -1
            decide(h, y, p, d, position, size, base, room, state, group, s, s, i, kind, column)
        if nodes >= budget:
            return False, limit, found, nodes
        nodes += 1
        closed = False
        pick, most = -1, -np.inf
        pick_keep, pick_remove = 0.0, 0.0
        while size[s] > 0:
            m = size[s]
            flagged = 0
            for g in range(groups):
                opened[g] = 0
            for i in range(m):
                opened[group[position[s, i]]] += 1
            for i in range(m):
                g = group[position[s, i]]
                flags[i] = 0
                if room[s, g] == 0:
                    flags[i] = REMOVED
                    flagged += 1
                elif opened[g] <= room[s, g]:
                    flags[i] = KEPT
                    flagged += 1
            if flagged > 0:
                # Any t gives a bound: the thresholds at hand will do to see the node close.
                bound = base[s]
                for g in range(groups):
                    bound -= room[s, g] * t[s, g]
                for i in range(m):
                    over = p[s, i] * p[s, i] / d[s, i] - t[s, group[position[s, i]]]
                    bound -= max(over, 0.0)
            else:
                base[s], bound = settle(
                    h, y, p, d, group, position, room, t, m, s, base[s], limit, a
                )
                if bound >= limit:
                    closed = True
                    break
                pick, most = -1, -np.inf
                for i in range(m):
                    hii = h[s, i, i]
                    level = t[s, group[position[s, i]]]
                    gap = y[s, i] - p[s, i] / d[s, i]
                    without = bound + y[s, i] * y[s, i] / hii + max(a[i] - level, 0.0)
                    kept = bound + gap * gap / (1.0 / d[s, i] + hii) + max(level - a[i], 0.0)
                    if without >= limit:
                        if kept >= limit:
                            closed = True
                            break
                        flags[i] = KEPT
                        flagged += 1
                    elif kept >= limit:
                        flags[i] = REMOVED
                        flagged += 1
                    else:
                        value = min(without, kept) + 1e-3 * max(without, kept)
                        if value > most:
                            pick, most = i, value
                            pick_keep, pick_remove = kept, without
                if closed or flagged == 0:
                    break
            # What raises the bound most goes first: the node may close before the rest is done.
            while flagged > 0:
                chosen, gain = -1, -1.0
                for i in range(size[s]):
                    if flags[i] != 0:
                        level = t[s, group[position[s, i]]]
                        value = p[s, i] * p[s, i] / d[s, i] - level
                        if flags[i] == REMOVED:
                            rise = y[s, i] * y[s, i] / h[s, i, i] + max(value, 0.0)
                        else:
                            gap = y[s, i] - p[s, i] / d[s, i]
                            rise = gap * gap / (1.0 / d[s, i] + h[s, i, i]) + max(-value, 0.0)
                        if rise > gain:
                            chosen, gain = i, rise
                bound += gain
                kind = flags[chosen]
                if bound >= limit or (kind == KEPT and room[s, group[position[s, chosen]]] == 0):
                    closed = True
                    break
                flags[chosen] = flags[size[s] - 1]
                decide(
                    h, y, p, d, position, size, base, room, state, group, s, s, chosen, kind, column
                )
                flagged -= 1
            if closed:
                break
        if not closed and size[s] == 0:
            if base[s] < limit:
                better = base[s] + reach < limit
                limit = min(limit, base[s] + reach)
                found = record(leaves, found, state[s], better)
            closed = True
        if closed:
            fresh = False
            pending[s] = -1
            continue
        # The child with the better bound is likelier to hold the optimum: first.
        kind = REMOVED if pick_remove <= pick_keep else KEPT
        pending[s] = pick if kind == REMOVED else -2 - pick
        pending_bound[s] = pick_keep if kind == REMOVED else pick_remove
        for g in range(groups):
            room[s + 1, g] = room[s, g]
            t[s + 1, g] = t[s, g]
        for j in range(full):
            state[s + 1, j] = state[s, j]
        pending[s + 1] = -1
        decide(h, y, p, d, position, size, base, room, state, group, s, s + 1, pick, kind, column)
        s += 1
        fresh = True
    return True, limit, found, nodes
