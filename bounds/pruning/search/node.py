"""The state of a dive and its moves: decide an input, settle the multipliers, probe a branching.

The node's problem in its open inputs is ``error = e + (v-w)^T S (v-w)``; with ``M = S - D`` the
dual function is ``L0(p) - sum_g [room_g t_g + sum_{i in g} (p_i^2/d_i - t_g)_+]``, valid for any t.
The state carries ``H = M^-1``, ``y = w + H (D w - p)`` and ``L0``, which follow both decisions by
one rank-one update, after which the input's row is dropped (DESIGN.md section 5):

    remove i:  L0 += y_i^2 / H_ii,                                    pivot H_ii
    keep i:    L0 += (y_i - p_i/d_i)^2 / (1/d_i + H_ii) - p_i^2/d_i,  pivot 1/d_i + H_ii

Exact coordinate steps in p then restore most of what a new optimisation would give. Both updates
are Gaussian elimination on a positive definite matrix (backward stable); the caller's limit holds
the margin for their rounding.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

OPEN, KEPT, REMOVED = 0, 1, 2
#: Coordinate sweeps per node, and passes that move each threshold to its best place.
SWEEPS, PASSES = 2, 3
#: A coordinate step must be worth this share of what is missing (over all inputs), a sweep that.
WORTH, ENOUGH = 1e-2, 0.02
#: Branchings probed, and the weight of the better child's bound beside the worse one's. Measured
#: at 64 inputs: probing halves the nodes; other weights (0.03, 0.3) and 16 probes do worse.
PROBES, TILT = 8, 0.1


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
def probe(
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
    group: Ints,
    s: int,
    limit: float,
    score: Floats,
    flags: Ints,
    column: Floats,
    a: Floats,
) -> tuple[int, float, float, int, bool]:
    """Settle both children of the likeliest rows of slot s, in slot s + 1, which is free.

    Returns (row to branch on, bound if kept, bound if removed, rows flagged, closed).
    """
    full = group.size
    m = size[s]
    pick, most, pick_keep, pick_remove, flagged = -1, -np.inf, 0.0, 0.0, 0
    for _ in range(min(PROBES, m)):
        i = 0
        for j in range(1, m):
            if score[j] > score[i]:
                i = j
        score[i] = -np.inf
        bounds = np.empty(2)
        for trial in range(2):
            kind = KEPT if trial == 0 else REMOVED
            for g in range(room.shape[1]):
                room[s + 1, g] = room[s, g]
                t[s + 1, g] = t[s, g]
            for j in range(full):
                state[s + 1, j] = state[s, j]
            decide(h, y, p, d, position, size, base, room, state, group, s, s + 1, i, kind, column)
            base[s + 1], bounds[trial] = settle(
                h, y, p, d, group, position, room, t, m - 1, s + 1, base[s + 1], limit, a
            )
        if bounds[0] >= limit and bounds[1] >= limit:
            return pick, 0.0, 0.0, flagged, True
        if bounds[0] >= limit:
            flags[i] = REMOVED
            flagged += 1
        elif bounds[1] >= limit:
            flags[i] = KEPT
            flagged += 1
        else:
            value = min(bounds[0], bounds[1]) + TILT * max(bounds[0], bounds[1])
            if value > most:
                pick, most, pick_keep, pick_remove = i, value, bounds[0], bounds[1]
    return pick, pick_keep, pick_remove, flagged, False
