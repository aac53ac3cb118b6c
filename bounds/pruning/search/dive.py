"""Depth-first search below one node of the outer search, with the node's multipliers (D, p).

Decisions and multipliers follow ``moves``. Bounds of both children of every input cost a few
operations each, so inputs are fixed both ways. The branching input is the one whose worse child is
best: by those bounds, and near the top of the tree, where a good choice is worth most, by settling
the children of the likeliest ones. A dive that seems too large, judged by the share of the tree
that it has closed, gives up early: new multipliers are the better use of the time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints, Mask
from bounds.pruning.search.node import KEPT, REMOVED, decide, probe, settle

#: After so many nodes a dive that will take so many times its budget gives up.
TRIAL, OVER = 60, 2.0
#: Branchings are probed in nodes that hold this share of the tree, a child half of its parent's.
PROBED = 0.5


@njit(cache=True, nogil=True)
def record(leaves: Mask, found: int, state: Ints, better: bool) -> int:
    """List a complete support; in a full list only a better one, in the last place."""
    last = leaves.shape[0] - 1
    if found <= last or better:
        for j in range(state.size):
            leaves[min(found, last), j] = state[j] == KEPT
    return found + 1


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
    b = np.empty(full)
    score = np.empty(full)
    column = np.empty(full)
    s = 0
    nodes = 0
    pending[0] = -1
    fresh = True
    weight = np.empty(h.shape[0])
    weight[0] = 1.0
    done = 0.0
    while s >= 0:
        if not fresh:
            # Back at a slot whose first child is done: the second child takes its place.
            i = pending[s]
            if i == -1 or pending_bound[s] >= limit:
                if i != -1:
                    done += weight[s]
                s -= 1
                continue
            kind = KEPT
            if i < -1:
                i = -2 - i
                kind = REMOVED
            pending[s] = -1
            decide(h, y, p, d, position, size, base, room, state, group, s, s, i, kind, column)
        if nodes >= budget or (nodes >= TRIAL and nodes > OVER * budget * done):
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
                        score[i] = value
                        if value > most:
                            pick, most = i, value
                            pick_keep, pick_remove = kept, without
                if not closed and flagged == 0 and weight[s] >= PROBED:
                    pick, pick_keep, pick_remove, flagged, closed = probe(
                        h, y, p, d, position, size, base, t, room, state, group, s, limit, score,
                        flags, column, b,
                    )  # fmt: skip
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
            done += weight[s]
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
        weight[s] *= 0.5
        weight[s + 1] = weight[s]
        decide(h, y, p, d, position, size, base, room, state, group, s, s + 1, pick, kind, column)
        s += 1
        fresh = True
    return True, limit, found, nodes
