"""Depth-first branch and bound for one channel, resumable, with the root's D and moving q.

    take the slot's next child; enter it:
        ascend in q and the prices; closed if the bound reaches the cutoff
        bounds of both children of every row: a child that is closed decides the row; again
        try to close the rest by enumeration with everything held fixed (``light``)
        else branch: zero or not, or, of a row that is not zero, its values in order of their bounds

The row branched on is the one whose best child is worst. The least bound of the children still open
is a bound for the whole problem at any time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.joint.relaxation.barrier import Rows
from bounds.joint.search.light import Incumbent, enumerate_below, record
from bounds.joint.search.node import (
    NONE,
    NONZERO,
    VALUE,
    ZERO,
    Stack,
    ascend,
    copy_slot,
    decide,
    likeliest,
    new_stack,
    nonzero_bound,
    value_bound,
    zero_bound,
)
from bounds.joint.search.option import OPTIONAL
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

#: Nodes of an enumeration tried at every node; a node costs about a hundred of them.
LIGHT_NODES = 3000
#: Weight of the better child's bound beside the worse one's in the choice of a row.
TILT = 0.1
#: Operations that stand for one node of the enumeration.
LIGHT_WORK = 60.0


class Search(NamedTuple):
    """A search that can be stopped and resumed.

    ``row``, ``what``, ``low``, ``high`` (depth,): the open children of each slot: their row or
    ``NONE``, the kind of the next, and for values the next ones below and above; ``bound``
    (depth,): of the next child. ``at`` (2,): slot at hand, whether it is to be entered anew.
    """

    stack: Stack
    row: Ints
    what: Ints
    low: Ints
    high: Ints
    bound: Floats
    at: Ints


@njit(cache=True, nogil=True)
def new_search(rows: Rows, q: Floats, d: Floats, h: Floats) -> Search:
    """A search from the root's multipliers; ``h`` (m, m) is ``(S - D)^-1``."""
    m, groups = rows.w.size, rows.capacity.size
    stack = new_stack(m, groups)
    stack.h[0] = h
    stack.q[0] = q
    stack.size[0] = m
    stack.room[0] = rows.capacity
    for i in range(m):
        stack.position[0, i] = i
        stack.u[0, i] = 0.0
        for j in range(m):
            stack.u[0, i] -= h[i, j] * q[j]
        stack.base[0] += q[i] * stack.u[0, i]
    stack.bound[0] = -np.inf
    depth = 2 * m + 2
    return Search(
        stack, np.full(depth, NONE), np.zeros(depth, np.int64), np.zeros(depth, np.int64),
        np.zeros(depth, np.int64), np.zeros(depth), np.array([0, 1]),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def no_room(stack: Stack, rows: Rows, d: Floats, s: int) -> bool:
    """Set to zero the rows of groups without room; whether there was any."""
    some = False
    i = 0
    while i < stack.size[s]:
        g = rows.group[stack.position[s, i]]
        if stack.kind[s, i] == OPTIONAL and stack.room[s, g] == 0:
            decide(stack, rows, d, s, i, ZERO, 0.0)
            some = True
        else:
            i += 1
    return some


@njit(cache=True, nogil=True)
def judge(
    search: Search, rows: Rows, d: Floats, s: int, cutoff: float, scratch: Floats
) -> tuple[bool, float]:
    """Decide all that bounds decide of slot s, and choose its children.

    Returns (closed, work). Not closed and without rows it is a leaf.
    """
    stack = search.stack
    work = 0.0
    place = np.zeros(rows.w.size, np.int64)
    while True:
        no_room(stack, rows, d, s)
        m = stack.size[s]
        if m == 0:
            return stack.base[s] >= cutoff, work
        bound = ascend(stack, rows, d, s, cutoff, scratch)
        work += 6.0 * m * m
        stack.bound[s] = max(bound, stack.bound[s])
        if bound >= cutoff:
            return True, work
        decided = False
        chosen, most = NONE, -np.inf
        for i in range(m):
            if stack.kind[s, i] == OPTIONAL:
                first = zero_bound(stack, rows, s, i, bound)
                second = nonzero_bound(stack, rows, d, s, i, bound)
            else:
                points = rows.points[stack.position[s, i]]
                k = likeliest(stack, rows, d, s, i)
                place[i] = k
                first = value_bound(stack, rows, d, s, i, bound, points[k])
                second = np.inf
                for other in (k - 1, k + 1):
                    if 0 <= other < points.size:
                        b = value_bound(stack, rows, d, s, i, bound, points[other])
                        second = min(second, b)
            scratch[i] = NONE
            if first >= cutoff and second >= cutoff:
                return True, work
            if second >= cutoff:
                scratch[i] = ZERO if stack.kind[s, i] == OPTIONAL else VALUE
                decided = True
            elif first >= cutoff and stack.kind[s, i] == OPTIONAL:
                scratch[i] = NONZERO
                decided = True
            else:
                score = min(first, second) + TILT * min(max(first, second), cutoff)
                if score > most:
                    chosen, most = i, score
        if not decided:
            search.row[s] = chosen
            return False, work
        for i in range(m - 1, -1, -1):  # dropping a row moves only later ones
            if scratch[i] == NONZERO:
                if stack.room[s, rows.group[stack.position[s, i]]] == 0:
                    return True, work
                decide(stack, rows, d, s, i, NONZERO, 0.0)
            elif scratch[i] == ZERO:
                decide(stack, rows, d, s, i, ZERO, 0.0)
                work += m * m
            elif scratch[i] == VALUE:
                # the value judged above: where others of this pass have moved the row, still it
                j = int(stack.position[s, i])
                decide(stack, rows, d, s, i, VALUE, rows.points[j, place[i]])
                work += m * m


@njit(cache=True, nogil=True)
def next_value(search: Search, rows: Rows, d: Floats, s: int) -> float:
    """The value of slot s's row whose turn it is; its bound goes to ``search.bound``."""
    stack, i = search.stack, int(search.row[s])
    points = rows.points[stack.position[s, i]]
    v, least = 0.0, np.inf
    below = False
    low, high = int(search.low[s]), int(search.high[s])
    if low >= 0:
        v = points[low]
        least = value_bound(stack, rows, d, s, i, stack.bound[s], v)
        below = True
    if high < points.size:
        other = value_bound(stack, rows, d, s, i, stack.bound[s], points[high])
        if other < least:
            v, least, below = points[high], other, False
    if below:
        search.low[s] -= 1
    else:
        search.high[s] += 1
    search.bound[s] = least
    return v


@njit(cache=True, nogil=True)
def search_on(
    search: Search, rows: Rows, d: Floats, incumbent: Incumbent, work: float, nodes: int
) -> int:
    """Go on until the tree is closed (``at[0] < 0``) or ``work`` or ``nodes`` are spent.

    Returns the nodes visited.
    """
    stack = search.stack
    scratch = np.empty(rows.w.size)
    s = int(search.at[0])
    fresh = search.at[1] == 1
    spent, visited = 0.0, 0
    while s >= 0 and spent < work and visited < nodes:
        cutoff = incumbent.cutoff[0]
        if not fresh:
            i = int(search.row[s])
            if i == NONE:
                s -= 1
                continue
            if search.what[s] == VALUE:
                points = rows.points[stack.position[s, i]]
                if search.low[s] < 0 and search.high[s] >= points.size:
                    search.row[s] = NONE
                    continue
                v = next_value(search, rows, d, s)
                if search.bound[s] >= cutoff:
                    search.row[s] = NONE
                    continue
                copy_slot(stack, s, s + 1)
                decide(stack, rows, d, s + 1, i, VALUE, v)
                stack.bound[s + 1] = search.bound[s]
                s += 1
            else:
                search.row[s] = NONE
                if search.bound[s] >= cutoff:
                    continue
                # the second of two children takes its parent's place
                decide(stack, rows, d, s, i, search.what[s], 0.0)
                stack.bound[s] = search.bound[s]
        fresh = False
        visited += 1
        search.row[s] = NONE
        closed, more = judge(search, rows, d, s, cutoff, scratch)
        spent += more
        if closed:
            search.row[s] = NONE
            continue
        if stack.size[s] == 0:
            record(incumbent, stack.value[s], stack.base[s])
            continue
        chosen = int(search.row[s])
        done, light = enumerate_below(
            stack, rows, d, s, incumbent, min(LIGHT_NODES, max(nodes - visited, 1))
        )
        visited += light
        m = float(stack.size[s])
        spent += LIGHT_WORK * light + m * m * m
        if done:
            search.row[s] = NONE
            continue
        search.row[s] = chosen
        bound = float(stack.bound[s])
        if stack.kind[s, chosen] == OPTIONAL:
            first = zero_bound(stack, rows, s, chosen, bound)
            second = nonzero_bound(stack, rows, d, s, chosen, bound)
            what = ZERO if first <= second else NONZERO
            search.what[s] = NONZERO if what == ZERO else ZERO
            search.bound[s] = max(first, second)
            copy_slot(stack, s, s + 1)
            decide(stack, rows, d, s + 1, chosen, what, 0.0)
            stack.bound[s + 1] = min(first, second)
            s += 1
            fresh = True
        else:
            k = likeliest(stack, rows, d, s, chosen)
            search.what[s] = VALUE
            search.low[s], search.high[s] = k, k + 1
            search.bound[s] = bound
    search.at[0] = s
    search.at[1] = 1 if fresh else 0
    return visited


@njit(cache=True, nogil=True)
def open_bound(search: Search) -> float:
    """The least bound among children not yet closed; infinite if there are none."""
    least = np.inf
    s = int(search.at[0])
    if s >= 0 and search.at[1] == 1:
        least = search.stack.bound[s]
    for k in range(s + 1):
        if search.row[k] != NONE:
            least = min(least, search.bound[k])
    return least
