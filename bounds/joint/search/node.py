"""The state of the search and its moves: decide inputs, ascend in the multipliers, score children.

A slot holds what is left of the problem in its open inputs,

    min over u of (quadratic of minimum ``base`` at ``u``, inverse ``H``) + the options' costs,

as ``relaxation.barrier`` has it at the root: base = -q^T M^-1 q, u = -M^-1 q, H = M^-1. Deciding
``v_i`` adds ``(v_i - w_i - u_i)^2 / H_ii`` to the base and its option's cost; u and H follow by one
rank-one update and the row is dropped (Gaussian elimination on a positive definite matrix, so
backward stable). The slot's bound is valid for any q and any prices t.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.joint.relaxation.barrier import Rows
from bounds.joint.search.option import NEEDED, OPTIONAL, best_nonzero, best_q, option_cost
from bounds.linalg.places import nearest_place
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

NONE = -1
#: How a child decides its row: zero; not zero; or the value that is its turn.
ZERO, NONZERO, VALUE = 0, 1, 2
#: Sweeps of coordinate steps at a visit, the share of what is missing that a sweep must gain for
#: another one, and the share of it that a step must be worth, over the number of rows.
SWEEPS, ENOUGH, WORTH = 4, 0.03, 0.01


class Stack(NamedTuple):
    """Slots of the search; leading ``size[s]`` rows of slot s in use.

    ``h`` (depth, m, m), ``u``, ``q``, ``a``, ``b`` (depth, m): a and b, the costs of zero and of
    the best nonzero value; ``position``, ``kind`` (depth, m): which input a row is, and what is
    open of it; ``value`` (depth, m): of decided inputs; ``t``, ``room`` (depth, groups); ``base``,
    ``bound`` (depth,).
    """

    h: Floats
    u: Floats
    q: Floats
    a: Floats
    b: Floats
    position: Ints
    kind: Ints
    value: Floats
    t: Floats
    room: Ints
    size: Ints
    base: Floats
    bound: Floats


@njit(cache=True, nogil=True)
def new_stack(m: int, groups: int) -> Stack:
    """Arrays of a search over m inputs, each of which may be branched on twice."""
    depth = 2 * m + 2
    return Stack(
        np.empty((depth, m, m)), np.empty((depth, m)), np.empty((depth, m)),
        np.empty((depth, m)), np.empty((depth, m)), np.zeros((depth, m), np.int64),
        np.zeros((depth, m), np.int64), np.zeros((depth, m)), np.zeros((depth, groups)),
        np.zeros((depth, groups), np.int64), np.zeros(depth, np.int64), np.zeros(depth),
        np.zeros(depth),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def copy_slot(stack: Stack, s: int, to: int) -> None:
    """Slot s as slot ``to``."""
    m = stack.size[s]
    for i in range(m):
        stack.u[to, i] = stack.u[s, i]
        stack.q[to, i] = stack.q[s, i]
        stack.position[to, i] = int(stack.position[s, i])
        stack.kind[to, i] = stack.kind[s, i]
        row, out = stack.h[s, i], stack.h[to, i]
        for j in range(m):
            out[j] = row[j]
    stack.value[to] = stack.value[s]
    stack.t[to] = stack.t[s]
    stack.room[to] = stack.room[s]
    stack.size[to] = m
    stack.base[to] = stack.base[s]
    stack.bound[to] = stack.bound[s]


@njit(cache=True, nogil=True)
def settle(stack: Stack, rows: Rows, d: Floats, s: int, i: int, v: float) -> None:
    """Fix row i of slot s to the value ``v`` and drop it; room for a nonzero is the caller's."""
    h, u = stack.h[s], stack.u[s]
    m = stack.size[s]
    j = int(stack.position[s, i])
    w = rows.w[j]
    miss = v - w - u[i]
    pivot = h[i, i]
    stack.base[s] += miss * miss / pivot + option_cost(v, w, d[j], stack.q[s, i])
    stack.value[s, j] = v
    last = m - 1
    column = h[i, :m].copy()
    for a in range(m):
        share = column[a] / pivot
        u[a] += share * miss
        row = h[a]
        for b in range(m):
            row[b] -= share * column[b]
    if i != last:
        u[i] = u[last]
        stack.q[s, i] = stack.q[s, last]
        stack.position[s, i] = stack.position[s, last]
        stack.kind[s, i] = stack.kind[s, last]
        for b in range(m):
            h[i, b] = h[last, b]
        for a in range(last):
            h[a, i] = h[a, last]
        h[i, i] = h[last, last]
    stack.size[s] = last


@njit(cache=True, nogil=True)
def decide(stack: Stack, rows: Rows, d: Floats, s: int, i: int, what: int, v: float) -> None:
    """Carry out a child's decision on row i of slot s."""
    if what == NONZERO:
        stack.kind[s, i] = NEEDED
        stack.room[s, rows.group[stack.position[s, i]]] -= 1
    else:
        settle(stack, rows, d, s, i, 0.0 if what == ZERO else v)


@njit(cache=True, nogil=True)
def price(stack: Stack, rows: Rows, d: Floats, s: int, scratch: Floats) -> float:
    """Costs a and b of every row and the best prices t; returns the bound of slot s."""
    m, group = stack.size[s], rows.group
    bound = stack.base[s]
    for i in range(m):
        j = int(stack.position[s, i])
        stack.b[s, i] = best_nonzero(rows.points[j], rows.w[j], d[j], stack.q[s, i])
        stack.a[s, i] = option_cost(0.0, rows.w[j], d[j], stack.q[s, i])
    for g in range(rows.capacity.size):
        count = 0
        for i in range(m):
            if stack.kind[s, i] == OPTIONAL and group[stack.position[s, i]] == g:
                scratch[count] = stack.a[s, i] - stack.b[s, i]
                count += 1
        room = stack.room[s, g]
        t = 0.0
        if count > room:
            part = np.sort(scratch[:count])
            after = part[count - room - 1]
            t = max(0.5 * (part[count - room] + after) if room > 0 else after, 0.0)
        stack.t[s, g] = t
        bound -= room * t
    for i in range(m):
        if stack.kind[s, i] == NEEDED:
            bound += stack.b[s, i]
        else:
            t = stack.t[s, group[stack.position[s, i]]]
            bound += min(stack.a[s, i], stack.b[s, i] + t)
    return bound


@njit(cache=True, nogil=True)
def ascend(stack: Stack, rows: Rows, d: Floats, s: int, cutoff: float, scratch: Floats) -> float:
    """Sweeps of exact coordinate steps in q, then the best prices, until they gain little."""
    m = stack.size[s]
    u, q = stack.u[s], stack.q[s]
    bound = price(stack, rows, d, s, scratch)
    for _ in range(SWEEPS):
        if bound >= cutoff:
            break
        worth = WORTH * (cutoff - bound) / m
        for i in range(m):
            j = int(stack.position[s, i])
            h = stack.h[s, i, i]
            t = stack.t[s, rows.group[j]]
            new = best_q(rows.points[j], rows.w[j], d[j], stack.kind[s, i], t, u[i], h, q[i])
            step = new - q[i]
            if h * step * step > worth:
                stack.base[s] += step * (2.0 * u[i] - h * step)
                q[i] = new
                row = stack.h[s, i]
                for k in range(m):
                    u[k] -= step * row[k]
        before = bound
        bound = price(stack, rows, d, s, scratch)
        if bound - before < ENOUGH * (cutoff - before):
            break
    return bound


@njit(cache=True, nogil=True)
def zero_bound(stack: Stack, rows: Rows, s: int, i: int, bound: float) -> float:
    """Bound of slot s, whose own is ``bound``, with row i set to zero."""
    j = int(stack.position[s, i])
    a, t = stack.a[s, i], stack.t[s, rows.group[j]]
    miss = -rows.w[j] - stack.u[s, i]
    return bound + a - min(a, stack.b[s, i] + t) + miss * miss / stack.h[s, i, i]


@njit(cache=True, nogil=True)
def nonzero_bound(stack: Stack, rows: Rows, d: Floats, s: int, i: int, bound: float) -> float:
    """Bound of slot s with row i not zero, its own multiplier improved."""
    j = int(stack.position[s, i])
    a, b, t = stack.a[s, i], stack.b[s, i], stack.t[s, rows.group[j]]
    u, h, q = stack.u[s, i], stack.h[s, i, i], stack.q[s, i]
    new = best_q(rows.points[j], rows.w[j], d[j], NEEDED, t, u, h, q)
    step = new - q
    better = best_nonzero(rows.points[j], rows.w[j], d[j], new) + step * (2.0 * u - h * step)
    return bound + max(better, b) + t - min(a, b + t)


@njit(cache=True, nogil=True)
def value_bound(
    stack: Stack, rows: Rows, d: Floats, s: int, i: int, bound: float, v: float
) -> float:
    """Bound of slot s with row i, which is not zero, set to ``v``."""
    j = int(stack.position[s, i])
    miss = v - rows.w[j] - stack.u[s, i]
    cost = option_cost(v, rows.w[j], d[j], stack.q[s, i])
    return bound - stack.b[s, i] + cost + miss * miss / stack.h[s, i, i]


@njit(cache=True, nogil=True)
def likeliest(stack: Stack, rows: Rows, d: Floats, s: int, i: int) -> int:
    """Index of the value of row i, not zero, whose child has the least bound."""
    j = int(stack.position[s, i])
    h = stack.h[s, i, i]
    offset = (stack.u[s, i] + h * stack.q[s, i]) / (1.0 + h * d[j])
    return nearest_place(rows.points[j], rows.w[j] + offset)
