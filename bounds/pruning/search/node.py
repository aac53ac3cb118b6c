"""The state of a dive and its moves: decide an input, ascend in the multipliers, probe a branching.

The node's problem in its open inputs is ``error = e + (v-w)^T S (v-w)``; with ``M = S - D`` the
dual function is ``L0(p) - sum_g [room_g t_g + sum_{i in g} (p_i^2/d_i - t_g)_+]``, valid for any t.
The state carries ``H = M^-1``, ``y = w + H (D w - p)`` and ``L0``, which follow both decisions by
one rank-one update, after which the input's row is dropped (the OBS downdate of Hassibi & Stork,
NIPS 1993, of a Gram from which D has been taken):

    remove i:  L0 += y_i^2 / H_ii,                                    pivot H_ii
    keep i:    L0 += (y_i - p_i/d_i)^2 / (1/d_i + H_ii) - p_i^2/d_i,  pivot 1/d_i + H_ii

Exact coordinate steps in p then restore most of what a new optimisation would give. Both updates
are Gaussian elimination on a positive definite matrix (backward stable); the caller's cutoff holds
the margin for their rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

OPEN, KEPT, REMOVED = 0, 1, 2
#: Where a row of a node is asked for: there is none.
NONE = -1
#: Coordinate sweeps per node, and passes that move each threshold to its best place.
SWEEPS, PASSES = 2, 3
#: A coordinate step must be worth this share of what is missing (over all inputs), a sweep that.
WORTH, ENOUGH = 1e-2, 0.02
#: Branchings probed, and the weight of the better child's bound beside the worse one's. Measured
#: at 64 inputs: probing halves the nodes; other weights (0.03, 0.3) and 16 probes do worse.
PROBES, TILT = 8, 0.1
#: A threshold moves to just below the value that is to count: values equal to it must count too.
BELOW = 1.0 - 1e-14


class Stack(NamedTuple):
    """The nodes from the start of a dive (slot 0) to the current one; every array by slot first.

    ``h`` (depth, M, M), ``y``, ``p``, ``d`` (depth, M); ``position`` (depth, M): which of all
    inputs each row is; ``size`` (depth,): rows in use; ``base`` (depth,): L0; ``t``, ``room``
    (depth, groups): thresholds, and nonzeros still allowed; ``state`` (depth, M): decisions on all
    inputs.
    """

    h: Floats
    y: Floats
    p: Floats
    d: Floats
    position: Ints
    size: Ints
    base: Floats
    t: Floats
    room: Ints
    state: Ints


class Scratch(NamedTuple):
    """Arrays of one node at a time.

    ``flags`` (M,): what is decided of a row but not carried out: OPEN, KEPT or REMOVED; ``score``
    (M,): worth of branching on it; ``ratio``, ``child_ratio`` (M,): ``p_i^2/d_i`` of a node and of
    a child probed; ``column`` (M,); ``opened`` (groups,): open inputs. ``above_count``, ``above``,
    ``below`` (groups,): ratios above the threshold, their least, and the largest of the others.
    """

    flags: Ints
    score: Floats
    ratio: Floats
    child_ratio: Floats
    column: Floats
    opened: Ints
    above_count: Ints
    above: Floats
    below: Floats


@njit(cache=True, nogil=True)
def new_scratch(size: int, groups: int) -> Scratch:
    """Arrays for nodes of at most ``size`` inputs."""
    return Scratch(
        flags=np.empty(size, np.int64),
        score=np.empty(size),
        ratio=np.empty(size),
        child_ratio=np.empty(size),
        column=np.empty(size),
        opened=np.empty(groups, np.int64),
        above_count=np.empty(groups, np.int64),
        above=np.empty(groups),
        below=np.empty(groups),
    )


@njit(cache=True, nogil=True)
def copy_decisions(stack: Stack, source: int, target: int) -> None:
    """What ``decide`` does not write of slot ``target``: thresholds, room and earlier decisions."""
    for g in range(stack.room.shape[1]):
        stack.room[target, g] = stack.room[source, g]
        stack.t[target, g] = stack.t[source, g]
    for j in range(stack.state.shape[1]):
        stack.state[target, j] = stack.state[source, j]


@njit(cache=True, nogil=True)
def decide(
    stack: Stack, group: Ints, source: int, target: int, i: int, kind: int, column: Floats
) -> None:
    """Keep or remove row i of slot ``source``; the result goes to slot ``target``, maybe the same.

    ``H - h h^T / pivot`` without row and column i, the last input taking their place. ``column``
    (M,) is scratch.
    """
    h, y, p, d, position = stack.h, stack.y, stack.p, stack.d, stack.position
    m = stack.size[source]
    last = m - 1
    yi, pi, di, hii = y[source, i], p[source, i], d[source, i], h[source, i, i]
    if kind == REMOVED:
        pivot = hii
        step = yi / pivot
        stack.base[target] = stack.base[source] + yi * step
    else:
        pivot = 1.0 / di + hii
        gap = yi - pi / di
        step = gap / pivot
        stack.base[target] = stack.base[source] + gap * step - pi * pi / di
        stack.room[target, group[position[source, i]]] -= 1
    stack.state[target, position[source, i]] = kind
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
    stack.size[target] = last


@njit(cache=True, nogil=True)
def move_thresholds(
    stack: Stack,
    group: Ints,
    s: int,
    cutoff: float,
    ratio: Floats,
    scratch: Scratch,
    bound: float,
) -> float:
    """Move each t of slot s towards the best place for ``ratio`` (m,) ``= p_i^2/d_i``.

    The penalty is convex and piecewise linear in t_g: where more values than ``room_g`` lie above
    it, t_g moves up to the least of them; where fewer do, down to the largest below. Returns the
    best bound met, and ``bound`` if that is better.
    """
    position, t, room, base = stack.position, stack.t, stack.room, stack.base[s]
    m, groups = stack.size[s], stack.t.shape[1]
    count, above, below = scratch.above_count, scratch.above, scratch.below
    for attempt in range(PASSES + 1):
        for g in range(groups):
            count[g] = 0
            above[g] = np.inf
            below[g] = 0.0
        penalty = 0.0
        for i in range(m):
            g = group[position[s, i]] if groups > 1 else 0
            level = t[s, g]
            if ratio[i] > level:
                penalty += ratio[i] - level
                count[g] += 1
                above[g] = min(above[g], ratio[i])
            else:
                below[g] = max(below[g], ratio[i])
        for g in range(groups):
            penalty += room[s, g] * t[s, g]
        if base - penalty > bound:
            bound = base - penalty
        if attempt == PASSES or bound >= cutoff:
            break
        moved = False
        for g in range(groups):
            if count[g] > room[s, g]:
                t[s, g] = above[g]
                moved = True
            elif count[g] < room[s, g] and t[s, g] > 0.0:
                t[s, g] = below[g] * BELOW
                moved = True
        if not moved:
            break
    return bound


@njit(cache=True, nogil=True)
def coordinate_steps(stack: Stack, group: Ints, s: int, worth: float, ratio: Floats) -> float:
    """One sweep of exact coordinate steps in p, each that is worth more than ``worth``.

    L0 is concave quadratic in p_i; what is subtracted, ``(p_i^2/d_i - t)_+``, has its kink at
    ``p_i^2 = t d_i``. Returns what the steps gained of L0 less that of its linear part.
    """
    h, y, p, d, t, position = stack.h, stack.y, stack.p, stack.d, stack.t, stack.position
    m = stack.size[s]
    base = stack.base[s]
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
            ratio[i] = new * new / d[s, i]
            for j in range(m):
                y[s, j] -= step * h[s, i, j]
    stack.base[s] = base
    return gained


@njit(cache=True, nogil=True)
def coordinate_ascent(
    stack: Stack, group: Ints, s: int, cutoff: float, ratio: Floats, scratch: Scratch
) -> float:
    """Sweeps in p and t of slot s, until they gain little; returns the bound.

    ``ratio`` (M,) is filled with ``p_i^2/d_i``.
    """
    m = stack.size[s]
    for i in range(m):
        ratio[i] = stack.p[s, i] * stack.p[s, i] / stack.d[s, i]
    bound = -np.inf
    for sweep in range(SWEEPS + 1):
        bound = move_thresholds(stack, group, s, cutoff, ratio, scratch, bound)
        if bound >= cutoff or sweep == SWEEPS:
            break
        gained = coordinate_steps(stack, group, s, WORTH * (cutoff - bound) / m, ratio)
        if gained < ENOUGH * (cutoff - bound):
            break
    return bound


@njit(cache=True, nogil=True)
def child_bound(
    stack: Stack, group: Ints, s: int, i: int, kind: int, cutoff: float, scratch: Scratch
) -> float:
    """The bound of slot s with row i decided, worked out in slot s + 1, which is free."""
    copy_decisions(stack, s, s + 1)
    decide(stack, group, s, s + 1, i, kind, scratch.column)
    return coordinate_ascent(stack, group, s + 1, cutoff, scratch.child_ratio, scratch)


@njit(cache=True, nogil=True)
def probe(
    stack: Stack, group: Ints, s: int, cutoff: float, scratch: Scratch
) -> tuple[int, float, float, int, bool]:
    """Bounds of both children of the rows of slot s with the best scores.

    Returns (row to branch on, bound if kept, bound if removed, rows flagged, closed).
    """
    flags, score = scratch.flags, scratch.score
    m = stack.size[s]
    pick, most, pick_keep, pick_remove, flagged = NONE, -np.inf, 0.0, 0.0, 0
    for _ in range(min(PROBES, m)):
        i = 0
        for j in range(1, m):
            if score[j] > score[i]:
                i = j
        score[i] = -np.inf
        keep = child_bound(stack, group, s, i, KEPT, cutoff, scratch)
        remove = child_bound(stack, group, s, i, REMOVED, cutoff, scratch)
        if keep >= cutoff and remove >= cutoff:
            return pick, 0.0, 0.0, flagged, True
        if keep >= cutoff:
            flags[i] = REMOVED
            flagged += 1
        elif remove >= cutoff:
            flags[i] = KEPT
            flagged += 1
        else:
            value = min(keep, remove) + TILT * max(keep, remove)
            if value > most:
                pick, most, pick_keep, pick_remove = i, value, keep, remove
    return pick, pick_keep, pick_remove, flagged, False
