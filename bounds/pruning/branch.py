"""Branch and bound over supports: one channel, depth first, in a resumable numba kernel.

A node is a subproblem of the same form as the root. Removing an input conditions ``A = G^-1`` and
``w`` on it (OBS: cost ``w_i^2 / A_ii``, a rank-one downdate); keeping one deletes its row of A.
For diagonal D with ``G - D`` positive definite, whatever else must leave costs at least the sum of
the smallest ``D_ii w_i^2``, at every node, because both operations keep ``A^-1 - D`` definite.

Rounding: costs are within a relative ``slack`` of exact (``Core.slack``), so a node is dropped only
when its bound beats the incumbent by that much, and every complete support within reach of the
incumbent is handed out to be re-evaluated exactly. The proof does not rest on close comparisons.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.problem import Floats
from bounds.pruning.core import Ints, Mask

OPEN, KEPT, REMOVED = 0, 1, 2


@njit(cache=True, nogil=True)
def remaining_cost(
    costs: Floats, state: Ints, group: Ints, room: Ints, ordered: Floats, bound: Floats
) -> float:
    """Sum over groups of the smallest costs of open inputs beyond the group's ``room``.

    ``bound`` (m,) is filled with each group's threshold: the dearest cost among those counted.
    """
    total = 0.0
    for g in range(room.size):
        count = 0
        for i in range(state.size):
            if state[i] == OPEN and group[i] == g:
                ordered[count] = costs[i]
                count += 1
        leave = count - room[g]
        bound[g] = 0.0
        if leave > 0:
            part = np.sort(ordered[:count])
            for i in range(leave):
                total += part[i]
            bound[g] = part[leave - 1]
    return total


@njit(cache=True, nogil=True)
def explore(
    a: Floats,
    w: Floats,
    state: Ints,
    cost: Floats,
    lower: Floats,
    top: int,
    group: Ints,
    capacity: Ints,
    d: Floats,
    incumbent: float,
    best: Mask,
    slack: float,
    leaves: Mask,
    found: int,
    budget: int,
) -> tuple[int, float, int, int]:
    """Process up to ``budget`` nodes of a depth-first stack.

    Args:
        a: (depth, m, m), w: (depth, m), state: (depth, m), cost: (depth,), lower: (depth,): the
            stack of open nodes, ``top`` of them in use; rewritten in place.
        group: (m,), capacity: (groups,).
        d: (m,) diagonal below the Gram matrix.
        incumbent: computed error of the best support known.
        best: (m,) that support, updated in place.
        slack: relative error of computed costs.
        leaves: (room, m) complete supports within the slack of the incumbent, ``found`` in use;
            ``found`` beyond its length says that some were lost.
        budget: nodes to process.

    Returns:
        (top, incumbent, found, nodes processed).
    """
    m = d.size
    room = np.empty(capacity.size, np.int64)
    opened = np.empty(capacity.size, np.int64)
    threshold = np.empty(capacity.size)
    costs = np.empty(m)
    ordered = np.empty(m)
    used = 0
    while top > 0 and used < budget:
        used += 1
        s = top - 1
        limit = incumbent * (1.0 + slack) / (1.0 - slack)
        if lower[s] >= limit:
            top -= 1
            continue
        closed = False
        pick, most = -1, -1.0
        while True:
            room[:] = capacity
            opened[:] = 0
            for i in range(m):
                if state[s, i] == KEPT:
                    room[group[i]] -= 1
                elif state[s, i] == OPEN:
                    opened[group[i]] += 1
                    costs[i] = d[i] * w[s, i] * w[s, i]
            bound = cost[s] + remaining_cost(costs, state[s], group, room, ordered, threshold)
            lower[s] = max(lower[s], bound)
            if lower[s] >= limit:
                closed = True
                break
            # Decide what is settled: groups with room for all or none, inputs too dear to lose.
            changed = False
            pick, most = -1, -1.0
            for i in range(m):
                if state[s, i] != OPEN:
                    continue
                g = group[i]
                loss = w[s, i] * w[s, i] / a[s, i, i]
                if opened[g] <= room[g] or cost[s] + loss >= limit:
                    state[s, i] = KEPT
                    changed = True
                elif room[g] == 0:
                    _remove(a[s], w[s], cost, s, state[s], i)
                    changed = True
                elif loss > most:
                    pick, most = i, loss
                if changed:
                    break
            if changed:
                g_full = False
                for g in range(capacity.size):
                    count = 0
                    for i in range(m):
                        if state[s, i] == KEPT and group[i] == g:
                            count += 1
                    if count > capacity[g]:
                        g_full = True
                if g_full:
                    closed = True
                    break
                continue
            break
        if closed:
            top -= 1
            continue
        if pick < 0:
            if cost[s] < limit:
                if found < leaves.shape[0]:
                    for i in range(m):
                        leaves[found, i] = state[s, i] == KEPT
                found += 1
                if cost[s] < incumbent:
                    incumbent = cost[s]
                    for i in range(m):
                        best[i] = state[s, i] == KEPT
            top -= 1
            continue
        # The dearest input: its removal usually closes at once, and keeping it needs no arithmetic.
        a[s + 1] = a[s]
        w[s + 1] = w[s]
        state[s + 1] = state[s]
        cost[s + 1] = cost[s]
        lower[s + 1] = lower[s]
        _remove(a[s + 1], w[s + 1], cost, s + 1, state[s + 1], pick)
        state[s, pick] = KEPT
        top += 1
    return top, incumbent, found, used


@njit(cache=True, nogil=True)
def _remove(a: Floats, w: Floats, cost: Floats, s: int, state: Ints, i: int) -> None:
    """Remove input i from node s: condition A and w on it, add its cost."""
    m = w.size
    row = a[i].copy()
    pivot = row[i]
    step = w[i] / pivot
    cost[s] += step * w[i]
    for j in range(m):
        if state[j] != REMOVED:
            w[j] -= step * row[j]
            factor = row[j] / pivot
            for k in range(m):
                a[j, k] -= factor * row[k]
    state[i] = REMOVED
    w[i] = 0.0
