"""Best-first branch and bound over supports for one channel, in a resumable numba kernel.

A node is a set of decisions (input kept, removed, open). Its subproblem has the form of the root:
removed inputs leave with their OBS cost, kept inputs are minimised out by a Schur complement. At a
node the dual multipliers (p, D) inherited from its parent, still strictly feasible there, are
improved by a few Newton steps (``newton.climb``); then a depth-first search with those multipliers
(``dive``) tries to close the node, and only if that fails is the node split. The open nodes' least
bound is at any time a lower bound for the whole problem.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.ldl import factor_definite, solve_factored
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints, Mask
from bounds.pruning.relaxation.barrier import climb, start_cone
from bounds.pruning.search.dive import dive, record
from bounds.pruning.search.node import KEPT, OPEN, REMOVED

#: Part of the missing bound that the barrier may still hide when a node is judged.
PRECISION = 0.3
#: Newton steps per node, and at the root.
STEPS, ROOT_STEPS = 10, 40


@njit(cache=True, nogil=True)
def reduce_node(
    gram: Floats, weights: Floats, state: Ints, s: Floats, w: Floats, position: Ints
) -> tuple[int, float]:
    """The subproblem ``e + (v-w)^T S (v-w)`` of a node in its m open inputs.

    Args:
        gram: (M, M), weights: (M,), state: (M,) decisions.
        s: (M, M), w: (M,), position: (M,): filled with S (upper triangle), w and the open inputs.

    Returns:
        (m, e).
    """
    full = weights.size
    order = np.empty(full, np.int64)
    kept = 0
    for i in range(full):
        if state[i] == KEPT:
            order[kept] = i
            kept += 1
    m = 0
    for i in range(full):
        if state[i] == OPEN:
            order[kept + m] = i
            position[m] = i
            m += 1
    size = kept + m
    b = np.empty((size, size))
    g = np.zeros(size)
    e = 0.0
    for i in range(size):
        row = gram[order[i]]
        out = b[i]
        for j in range(i, size):
            out[j] = row[order[j]]
    for r in range(full):
        if state[r] == REMOVED:
            row = gram[r]
            for i in range(size):
                g[i] += row[order[i]] * weights[r]
            for j in range(full):
                if state[j] == REMOVED:
                    e += row[j] * weights[r] * weights[j]
    for k in range(kept):
        row = b[k]
        pivot = row[k]
        share = g[k] / pivot
        e -= share * g[k]
        for i in range(k + 1, size):
            factor = row[i] / pivot
            out = b[i]
            for j in range(i, size):
                out[j] -= factor * row[j]
            g[i] -= share * row[i]
    x = np.empty(m)
    c = np.empty((m, m))
    for i in range(m):
        x[i] = g[kept + i]
        for j in range(i, m):
            s[i, j] = b[kept + i, kept + j]
            c[i, j] = s[i, j]
    factor_definite(c, m)
    solve_factored(c, x, m)
    for i in range(m):
        e -= g[kept + i] * x[i]
        w[i] = weights[position[i]] + x[i]
    return m, e


@njit(cache=True, nogil=True)
def forced(state: Ints, group: Ints, capacity: Ints) -> bool:
    """Settle groups that have room for all or for none; False if a group holds too many."""
    for g in range(capacity.size):
        kept = 0
        opened = 0
        for i in range(state.size):
            if group[i] == g:
                if state[i] == KEPT:
                    kept += 1
                elif state[i] == OPEN:
                    opened += 1
        if kept > capacity[g]:
            return False
        if opened > 0 and (kept == capacity[g] or kept + opened <= capacity[g]):
            fate = REMOVED if kept == capacity[g] else KEPT
            for i in range(state.size):
                if group[i] == g and state[i] == OPEN:
                    state[i] = fate
    return True


@njit(cache=True, nogil=True)
def advance(
    gram: Floats,
    weights: Floats,
    group: Ints,
    capacity: Ints,
    eigen: float,
    floor: float,
    reach: float,
    limit: float,
    leaves: Mask,
    found: int,
    top: int,
    pool_state: Ints,
    pool_p: Floats,
    pool_d: Floats,
    pool_tau: Floats,
    pool_t: Floats,
    pool_mu: Floats,
    pool_bound: Floats,
    theta: float,
    dive_budget: int,
    work: float,
    max_nodes: int,
    may_grow: bool,
    nodes: Ints,
) -> tuple[int, float, int, float]:
    """Process open nodes until none is left, ``work`` operations or ``max_nodes`` are spent.

    Returns (top, limit, found, theta).
    """
    full = weights.size
    groups = capacity.size
    depth = full + 2
    s = np.empty((full, full))
    k = np.empty((2 * full, 2 * full))
    h = np.empty((depth, full, full))
    y = np.empty((depth, full))
    p = np.empty((depth, full))
    d = np.empty((depth, full))
    w = np.empty(full)
    tau = np.empty(full)
    position = np.empty((depth, full), np.int64)
    size = np.empty(depth, np.int64)
    base = np.empty(depth)
    t = np.empty((depth, groups))
    room = np.empty((depth, groups), np.int64)
    state = np.empty((depth, full), np.int64)
    pending = np.empty(depth, np.int64)
    pending_bound = np.empty(depth)
    local = np.empty(full, np.int64)
    full_p = np.empty(full)
    full_d = np.empty(full)
    full_tau = np.empty(full)
    full_t = np.empty(groups)
    spent = 0.0
    start_nodes = nodes[0]
    while top > 0 and spent < work and nodes[0] - start_nodes < max_nodes:
        if may_grow and top > pool_bound.size - 2:
            break
        nodes[0] += 1
        # Best first; when the store is nearly full, the node closest to being closed.
        choice = 0
        if top < pool_bound.size - 2:
            for i in range(1, top):
                if pool_bound[i] < pool_bound[choice]:
                    choice = i
        else:
            for i in range(1, top):
                if pool_bound[i] > pool_bound[choice]:
                    choice = i
        inherited = pool_bound[choice]
        state[0] = pool_state[choice]
        full_p[:] = pool_p[choice]
        full_d[:] = pool_d[choice]
        full_tau[:] = pool_tau[choice]
        full_t[:] = pool_t[choice]
        mu = pool_mu[choice]
        top -= 1
        pool_state[choice] = pool_state[top]
        pool_p[choice] = pool_p[top]
        pool_d[choice] = pool_d[top]
        pool_tau[choice] = pool_tau[top]
        pool_t[choice] = pool_t[top]
        pool_mu[choice] = pool_mu[top]
        pool_bound[choice] = pool_bound[top]
        if inherited >= limit or not forced(state[0], group, capacity):
            continue
        m, e = reduce_node(gram, weights, state[0], s, w, position[0])
        spent += float(full) ** 3 / 3
        if m == 0:
            if e < limit:
                better = e + reach < limit
                limit = min(limit, e + reach)
                found = record(leaves, found, state[0], better)
            continue
        for g in range(groups):
            room[0, g] = capacity[g]
        for i in range(full):
            if state[0, i] == KEPT:
                room[0, group[i]] -= 1
        for i in range(m):
            j = position[0, i]
            p[0, i], d[0, i], tau[i], local[i] = full_p[j], full_d[j], full_tau[j], group[j]
        t[0] = full_t
        steps = ROOT_STEPS if mu < 0.0 else STEPS
        mu = abs(mu)
        bound = -np.inf
        for attempt in range(4):
            base[0], bound, mu, taken = climb(
                s, w, e, local, room[0], m, p[0], d[0], tau, t[0], mu, limit, PRECISION, floor,
                steps, h[0], y[0], k,
            )  # fmt: skip
            spent += (taken + 1) * 3.0 * float(m) ** 3
            if bound > -np.inf:
                break
            # Rounding left M indefinite: retreat to multipliers that are surely feasible.
            for i in range(m):
                d[0, i] = d[0, i] * 0.5 if attempt < 2 else 0.25 * eigen
                p[0, i] = d[0, i] * w[i]
            mu = max(mu, 1e-6 * e)
            start_cone(p[0], d[0], local, room[0], m, tau, t[0], mu)
        if bound == -np.inf:
            # Never seen; a node without multipliers keeps its parent's bound and cannot be split.
            bound = inherited
        bound = max(bound, inherited)
        if bound >= limit:
            continue
        for i in range(m):
            j = position[0, i]
            full_p[j], full_d[j], full_tau[j] = p[0, i], d[0, i], tau[i]
        full_t[:] = t[0]
        size[0] = m
        left = max_nodes - (nodes[0] - start_nodes)
        allowed = max(1, min(left, dive_budget if limit - bound <= theta * limit else 1))
        closed, limit, found, visited = dive(
            h, y, p, d, position, size, base, t, room, state, pending, pending_bound, group, limit,
            reach, leaves, found, allowed,
        )  # fmt: skip
        nodes[0] += visited
        spent += visited * 3.0 * float(m) ** 2
        if allowed > 1:
            if not closed:
                theta *= 0.9
            elif visited < dive_budget // 3:
                theta = min(1.0, theta * 1.1)
        if closed:
            continue
        # What the dive fixed at its start holds; split there, or go on if only one child is left.
        pick = pending[0]
        chosen = -1
        if pick != -1:
            chosen = position[0, pick if pick >= 0 else -2 - pick]
        for child in range(1 if chosen < 0 else 2):
            pool_state[top] = state[0]
            pool_bound[top] = bound
            if chosen >= 0:
                pool_state[top, chosen] = KEPT if child == 0 else REMOVED
            pool_p[top] = full_p
            pool_d[top] = full_d
            pool_tau[top] = full_tau
            pool_t[top] = full_t
            pool_mu[top] = mu
            top += 1
    return top, limit, found, theta
