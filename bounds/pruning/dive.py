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


@njit(cache=True, nogil=True)
def drop(
    source: Floats, target: Floats, y: Floats, y_out: Floats, m: int, i: int, pivot: float, s: float
) -> None:
    """``H - h h^T / pivot`` and ``y - s h`` without input i, the last input taking its place.

    ``source`` and ``target`` (and ``y`` and ``y_out``) may be the same arrays.
    """
    last = m - 1
    h = np.empty(m)
    for j in range(m):
        h[j] = source[i, j]
    h_last = h[last]
    for j in range(last):
        row = source[last] if j == i else source[j]
        hj = h_last if j == i else h[j]
        factor = hj / pivot
        out = target[j]
        corner = row[last] - factor * h_last
        for k in range(last):
            out[k] = row[k] - factor * h[k]
        out[i] = corner
        y_out[j] = (y[last] if j == i else y[j]) - s * hj
    # Row i came from the last row, so its own diagonal is the last row's corner.


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
    base: float,
    limit: float,
    sweeps: int,
) -> tuple[float, float]:
    """Coordinate ascent in p and a search for each t; returns (L0, bound), p, y, t in place."""
    groups = t.size
    count = np.empty(groups, np.int64)
    above = np.empty(groups)
    below = np.empty(groups)
    bound = -np.inf
    for sweep in range(sweeps + 1):
        for attempt in range(PASSES + 1):
            for g in range(groups):
                count[g] = 0
                above[g] = np.inf
                below[g] = 0.0
            penalty = 0.0
            for i in range(m):
                a = p[i] * p[i] / d[i]
                g = group[position[i]]
                if a > t[g]:
                    penalty += a - t[g]
                    count[g] += 1
                    if a < above[g]:
                        above[g] = a
                elif a > below[g]:
                    below[g] = a
            for g in range(groups):
                penalty += room[g] * t[g]
            if base - penalty > bound:
                bound = base - penalty
            moved = False
            if attempt < PASSES:
                for g in range(groups):
                    if count[g] > room[g]:
                        t[g] = above[g]
                        moved = True
                    elif count[g] < room[g] and below[g] > 0.0:
                        t[g] = below[g] * (1.0 - 1e-14)
                        moved = True
            if not moved:
                break
        if bound >= limit or sweep == sweeps:
            break
        worth = 1e-3 * (limit - bound) / m
        gained = 0.0
        for i in range(m):
            hii = h[i, i]
            edge = np.sqrt(t[group[position[i]]] * d[i])
            new = p[i] + y[i] / hii
            if abs(new) > edge:
                outer = new * d[i] * hii / (1.0 + d[i] * hii)
                if abs(outer) >= edge:
                    new = outer
                else:
                    new = edge if new > 0.0 else -edge
            step = new - p[i]
            if hii * step * step > worth:
                base += (2.0 * y[i] - hii * step) * step
                gained += hii * step * step
                p[i] = new
                row = h[i]
                for j in range(m):
                    y[j] -= step * row[j]
        if gained < 0.02 * (limit - bound):
            sweeps = min(sweeps, sweep + 1)
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
    slack: float,
    best: Mask,
    leaves: Mask,
    found: int,
    budget: int,
) -> tuple[bool, float, int, int]:
    """Search below slot 0 of the stack until closed or ``budget`` nodes are spent.

    Args:
        h: (depth, m, m), y, p, d: (depth, m), position: (depth, m) core input of each row,
            size: (depth,) rows in use, base: (depth,) L0, t: (depth, groups), room:
            (depth, groups), state: (depth, M) decisions on all core inputs. Slot 0 is the start.
        pending: (depth,), pending_bound: (depth,): the second child of each slot; scratch.
        group: (M,) groups of the core inputs.
        limit: computed bounds at or above this cannot beat the incumbent.
        slack: relative rounding error of computed costs.
        best: (M,) best support, updated; leaves: (L, M) supports to re-evaluate, ``found`` of them.
        budget: nodes to visit at most.

    Returns:
        (closed, limit, found, nodes). Slot 0 keeps what was fixed at the start node.
    """
    full = group.size
    groups = room.shape[1]
    gather = np.empty(groups, np.int64)
    flags = np.empty(full, np.int64)
    s = 0
    nodes = 0
    pending[0] = -1
    fresh = True
    while s >= 0:
        if not fresh:
            # Back at a slot whose first child is done: take the second child in its place.
            i = pending[s]
            if i == -1 or pending_bound[s] >= limit:
                s -= 1
                continue
            kind = KEPT
            if i < -1:
                i = -2 - i
                kind = REMOVED
            pending[s] = -1
            _decide(h[s], h[s], y[s], y[s], p[s], p[s], d[s], d[s], position[s], position[s],
                    size, base, s, s, i, kind, room[s], state[s], group)  # fmt: skip
        if nodes >= budget:
            return False, limit, found, nodes
        nodes += 1
        closed = False
        pick, most = -1, -np.inf
        pick_keep, pick_remove = 0.0, 0.0
        bound = base[s]
        while True:
            m = size[s]
            if m == 0:
                break
            flagged = 0
            for g in range(groups):
                gather[g] = 0
            for i in range(m):
                gather[group[position[s, i]]] += 1
            for i in range(m):
                g = group[position[s, i]]
                flags[i] = 0
                if room[s, g] == 0:
                    flags[i] = REMOVED
                    flagged += 1
                elif gather[g] <= room[s, g]:
                    flags[i] = KEPT
                    flagged += 1
            if flagged == 0:
                base[s], bound = settle(
                    h[s], y[s], p[s], d[s], group, position[s], room[s], t[s], m, base[s], limit,
                    SWEEPS,
                )  # fmt: skip
                if bound >= limit:
                    closed = True
                    break
                pick, most = -1, -np.inf
                for i in range(m):
                    hii = h[s, i, i]
                    level = t[s, group[position[s, i]]]
                    a = p[s, i] * p[s, i] / d[s, i]
                    gap = y[s, i] - p[s, i] / d[s, i]
                    without = bound + y[s, i] * y[s, i] / hii + max(a - level, 0.0)
                    kept = bound + gap * gap / (1.0 / d[s, i] + hii) + max(level - a, 0.0)
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
            # From the last position down, so that dropped rows do not move flagged ones.
            for i in range(m - 1, -1, -1):
                if flags[i] != 0:
                    g = group[position[s, i]]
                    if flags[i] == KEPT and room[s, g] == 0:
                        closed = True
                        break
                    _decide(h[s], h[s], y[s], y[s], p[s], p[s], d[s], d[s], position[s],
                            position[s], size, base, s, s, i, flags[i], room[s], state[s],
                            group)  # fmt: skip
                    # With no room left the rest can only be removed, and L0 alone is a bound.
                    if room[s, g] == 0 and groups == 1 and base[s] >= limit:
                        closed = True
                        break
            if closed:
                break
        if not closed and size[s] == 0:
            if base[s] < limit:
                if found < leaves.shape[0]:
                    for j in range(full):
                        leaves[found, j] = state[s, j] == KEPT
                found += 1
                reach = base[s] * (1.0 + slack) / (1.0 - slack)
                if reach < limit:
                    limit = reach
                    for j in range(full):
                        best[j] = state[s, j] == KEPT
            closed = True
        if closed:
            fresh = False
            pending[s] = -1
            continue
        # The child with the better bound is likelier to hold the optimum: first.
        kind = REMOVED if pick_remove <= pick_keep else KEPT
        pending[s] = pick if kind == REMOVED else -2 - pick
        pending_bound[s] = pick_keep if kind == REMOVED else pick_remove
        room[s + 1] = room[s]
        state[s + 1] = state[s]
        t[s + 1] = t[s]
        pending[s + 1] = -1
        _decide(h[s], h[s + 1], y[s], y[s + 1], p[s], p[s + 1], d[s], d[s + 1], position[s],
                position[s + 1], size, base, s, s + 1, pick, kind, room[s + 1], state[s + 1],
                group)  # fmt: skip
        s += 1
        fresh = True
    return True, limit, found, nodes


@njit(cache=True, nogil=True)
def _decide(
    h: Floats,
    h_out: Floats,
    y: Floats,
    y_out: Floats,
    p: Floats,
    p_out: Floats,
    d: Floats,
    d_out: Floats,
    position: Ints,
    position_out: Ints,
    size: Ints,
    base: Floats,
    source: int,
    target: int,
    i: int,
    kind: int,
    room: Ints,
    state: Ints,
    group: Ints,
) -> None:
    """Keep or remove row i of slot ``source``; the result goes to slot ``target``."""
    m = size[source]
    input_ = position[i]
    value = base[source]
    if kind == REMOVED:
        pivot = h[i, i]
        step = y[i] / pivot
        value += y[i] * step
    else:
        pivot = 1.0 / d[i] + h[i, i]
        gap = y[i] - p[i] / d[i]
        step = gap / pivot
        value += gap * step - p[i] * p[i] / d[i]
        room[group[input_]] -= 1
    state[input_] = kind
    drop(h, h_out, y, y_out, m, i, pivot, step)
    last = m - 1
    p_last, d_last, position_last = p[last], d[last], position[last]
    for j in range(last):
        p_out[j] = p[j]
        d_out[j] = d[j]
        position_out[j] = position[j]
    if i < last:
        p_out[i], d_out[i], position_out[i] = p_last, d_last, position_last
    size[target] = last
    base[target] = value
