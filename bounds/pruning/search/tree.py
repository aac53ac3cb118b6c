"""Best-first branch and bound over supports for one channel, in a resumable numba kernel.

A node is a set of decisions (input kept, removed, open). Its subproblem has the form of the root:
removed inputs leave with their OBS cost, kept inputs are minimised out by a Schur complement.

    while nodes are open and the allowance lasts (``process_nodes``):
        take the open node of least bound (``take_best``)
        settle groups that have room for all or for none (``forced``); reduce (``reduce_node``)
        improve the parent's multipliers (p, D) by a few Newton steps (``improve``)
        search below with those multipliers (``dive.dive``)
        not closed: split where the dive stood (``split``)

The parent's multipliers are strictly feasible in the child. The open nodes' least bound is at any
time a lower bound for the whole problem.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.linalg.ldl import factor_definite, solve_factored
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints
from bounds.pruning.relaxation.barrier import (
    Inverse,
    Multipliers,
    Stop,
    Subproblem,
    maximise_dual,
    start_cone,
)
from bounds.pruning.search.dive import Incumbent, Second, dive, record
from bounds.pruning.search.node import KEPT, NONE, OPEN, REMOVED, Stack

#: Part of the missing bound that the barrier may still hide when a node is judged.
PRECISION = 0.3
#: Newton steps per node, and at the root. Few: a dive closes a node by a loose dual sooner than
#: more steps would. With 3 at the root instead of the 15 to 24 to convergence, real 36-wide layers
#: take half the time; with 2 elsewhere instead of 10, and longer dives, 64-wide ones do.
STEPS, ROOT_STEPS = 2, 3
#: Nodes that a dive may visit with its dual held fixed before it hands its leftovers back.
DIVE_NODES = 2000
#: Tries to find feasible multipliers where rounding made the inherited ones infeasible: D is halved
#: in the first of them, and falls to this share of the least eigenvalue in the others.
TRIES, HALVINGS, RETREAT = 4, 2, 0.25
#: The share theta within which a node goes to a dive falls after a dive that failed, and rises
#: after one that took less than a third of its budget.
THETA_FALL, THETA_RISE = 0.9, 1.1


class Channel(NamedTuple):
    """A reduced problem's channel: ``gram`` (M, M), ``weights``, ``group`` (M,), ``capacity``.

    ``eigen``: lower bound on the Gram's least eigenvalue; ``floor``: least one that a node's
    ``S - D`` may have.
    """

    gram: Floats
    weights: Floats
    group: Ints
    capacity: Ints
    eigen: float
    floor: float


class Nodes(NamedTuple):
    """Open nodes: decisions ``state``, multipliers ``p``, ``d``, ``tau`` (pool, M), ``t``.

    ``t`` (pool, groups); ``mu`` (pool,): barrier weight to go on from; ``bound`` (pool,): proven of
    the parent; ``steps`` (pool,): Newton steps that the node may take.
    """

    state: Ints
    p: Floats
    d: Floats
    tau: Floats
    t: Floats
    mu: Floats
    bound: Floats
    steps: Ints


class Workspace(NamedTuple):
    """Arrays of one node at a time, for any number of searches.

    ``s`` (M, M), ``w``, ``tau`` (M,), ``local`` (M,): its subproblem; ``k`` (2M, 2M): Newton
    systems; ``stack``, ``second``: dives; ``node``: what it was in the pool.
    """

    s: Floats
    w: Floats
    tau: Floats
    local: Ints
    k: Floats
    stack: Stack
    second: Second
    node: Nodes


class Allowance(NamedTuple):
    """What one call may spend: ``work`` operations, ``nodes``.

    ``may_grow``: return instead of going deep when the open nodes fill their arrays.
    """

    work: float
    nodes: int
    may_grow: bool


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
def settle(gram: Floats, weights: Floats, removal: Floats, start: Floats) -> tuple[Ints, Floats]:
    """The decisions that searches of all channels start from, and the energy they leave open.

    Inputs too dear to remove for a cost below ``start`` (channels,) are kept.

    Args:
        gram: (M, M), weights: (channels, M), start: (channels,) attained errors.
        removal: (M,) upper bounds on ``(G^-1)_ii``.

    Returns:
        (states (channels, M), energies (channels,)).
    """
    channels, full = weights.shape
    state = np.zeros((channels, full), np.int64)
    energy = np.zeros(channels)
    s, w = np.empty((full, full)), np.empty(full)
    position = np.empty(full, np.int64)
    for c in range(channels):
        for i in range(full):
            if weights[c, i] * weights[c, i] > removal[i] * start[c] * (1.0 + 1e-6):
                state[c, i] = KEPT
        m, _ = reduce_node(gram, weights[c], state[c], s, w, position)
        total = 0.0
        for i in range(m):
            total += s[i, i] * w[i] * w[i]
            for j in range(i + 1, m):
                total += 2.0 * s[i, j] * w[i] * w[j]
        energy[c] = max(total, 0.0)
    return state, energy


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
def new_nodes(pool: int, size: int, groups: int) -> Nodes:
    """Arrays for ``pool`` nodes of ``size`` inputs."""
    return Nodes(
        state=np.zeros((pool, size), np.int64),
        p=np.zeros((pool, size)),
        d=np.zeros((pool, size)),
        tau=np.zeros((pool, size)),
        t=np.zeros((pool, groups)),
        mu=np.zeros(pool),
        bound=np.zeros(pool),
        steps=np.full(pool, STEPS),
    )


@njit(cache=True, nogil=True)
def copy_node(source: Nodes, i: int, target: Nodes, j: int) -> None:
    """Node i of ``source`` as node j of ``target``."""
    target.state[j] = source.state[i]
    target.p[j] = source.p[i]
    target.d[j] = source.d[i]
    target.tau[j] = source.tau[i]
    target.t[j] = source.t[i]
    target.mu[j] = source.mu[i]
    target.bound[j] = source.bound[i]
    target.steps[j] = source.steps[i]


@njit(cache=True, nogil=True)
def doubled(nodes: Nodes) -> Nodes:
    """The same nodes in arrays of twice the size."""
    pool = nodes.bound.size
    larger = new_nodes(2 * pool, nodes.state.shape[1], nodes.t.shape[1])
    for i in range(pool):
        copy_node(nodes, i, larger, i)
    return larger


@njit(cache=True, nogil=True)
def take_best(opened: Nodes, top: int, node: Nodes) -> None:
    """Move one of ``top`` open nodes to ``node``; the last one takes its place.

    Best first; when the store is nearly full, the node closest to being closed.
    """
    bound = opened.bound
    choice = 0
    if top < bound.size - 2:
        for i in range(1, top):
            if bound[i] < bound[choice]:
                choice = i
    else:
        for i in range(1, top):
            if bound[i] > bound[choice]:
                choice = i
    copy_node(opened, choice, node, 0)
    copy_node(opened, top - 1, opened, choice)


@njit(cache=True, nogil=True)
def new_stack(size: int, groups: int) -> Stack:
    """Arrays of a dive over at most ``size`` inputs: one slot per decision, and one to probe in."""
    depth = size + 2
    return Stack(
        h=np.empty((depth, size, size)),
        y=np.empty((depth, size)),
        p=np.empty((depth, size)),
        d=np.empty((depth, size)),
        position=np.empty((depth, size), np.int64),
        size=np.empty(depth, np.int64),
        base=np.empty(depth),
        t=np.empty((depth, groups)),
        room=np.empty((depth, groups), np.int64),
        state=np.empty((depth, size), np.int64),
    )


@njit(cache=True, nogil=True)
def new_workspace(size: int, groups: int) -> Workspace:
    """Arrays for nodes of at most ``size`` inputs."""
    return Workspace(
        s=np.empty((size, size)),
        w=np.empty(size),
        tau=np.empty(size),
        local=np.empty(size, np.int64),
        k=np.empty((2 * size, 2 * size)),
        stack=new_stack(size, groups),
        second=Second(
            row=np.empty(size + 2, np.int64),
            kind=np.empty(size + 2, np.int64),
            bound=np.empty(size + 2),
        ),
        node=new_nodes(1, size, groups),
    )


@njit(cache=True, nogil=True)
def improve(
    problem: Subproblem,
    point: Multipliers,
    mu: float,
    stop: Stop,
    inverse: Inverse,
    k: Floats,
    eigen: float,
) -> tuple[float, float, float, int]:
    """``maximise_dual``, from surely feasible multipliers where rounding left M indefinite.

    Returns (L0, bound, barrier weight, inversions).
    """
    m, p, d = problem.m, point.p, point.d
    base, bound, inversions = 0.0, -np.inf, 0
    for attempt in range(TRIES):
        base, bound, mu, taken = maximise_dual(problem, point, mu, stop, inverse, k)
        inversions += taken + 1
        if bound > -np.inf:
            break
        for i in range(m):
            d[i] = d[i] * 0.5 if attempt < HALVINGS else RETREAT * eigen
            p[i] = d[i] * problem.w[i]
        mu = max(mu, 1e-6 * problem.e)
        start_cone(problem, point, mu)
    return base, bound, mu, inversions


@njit(cache=True, nogil=True)
def split(opened: Nodes, top: int, node: Nodes, stack: Stack, second: Second) -> int:
    """Open what a dive left of ``node``; returns the new number of open nodes.

    What the dive fixed at its start holds; split there, or go on if only one child is left.
    """
    chosen = NONE
    if second.row[0] != NONE:
        chosen = stack.position[0, second.row[0]]
    for child in range(1 if chosen == NONE else 2):
        copy_node(node, 0, opened, top)
        opened.state[top] = stack.state[0]
        if chosen != NONE:
            opened.state[top, chosen] = KEPT if child == 0 else REMOVED
        top += 1
    return top


@njit(cache=True, nogil=True)
def process_nodes(
    channel: Channel,
    opened: Nodes,
    top: int,
    incumbent: Incumbent,
    theta: float,
    allowance: Allowance,
    workspace: Workspace,
) -> tuple[int, float, int]:
    """Process open nodes until none is left or the allowance is spent (module docstring).

    Args:
        channel: the problem; opened: ``top`` open nodes, changed in place.
        incumbent: cutoff and supports found, changed in place.
        theta: a node whose bound is within this share of the cutoff goes to a long dive.
        allowance: when to return with nodes left open; workspace: overwritten.

    Returns:
        (top, theta, nodes visited).
    """
    group, capacity = channel.group, channel.capacity
    full, groups = channel.weights.size, channel.capacity.size
    s, w, tau, local, k, stack, second, node = workspace
    point = Multipliers(p=stack.p[0], d=stack.d[0], tau=tau, t=stack.t[0])
    inverse = Inverse(h=stack.h[0], y=stack.y[0])
    state, position, room = stack.state[0], stack.position[0], stack.room[0]
    spent = 0.0
    nodes = 0
    while top > 0 and spent < allowance.work and nodes < allowance.nodes:
        if allowance.may_grow and top > opened.bound.size - 2:
            break
        nodes += 1
        take_best(opened, top, node)
        top -= 1
        inherited = node.bound[0]
        state[:] = node.state[0]
        if inherited >= incumbent.cutoff[0] or not forced(state, group, capacity):
            continue
        m, e = reduce_node(channel.gram, channel.weights, state, s, w, position)
        spent += float(full) ** 3 / 3
        if m == 0:
            record(incumbent, state, e)
            continue
        for g in range(groups):
            room[g] = capacity[g]
        for i in range(full):
            if state[i] == KEPT:
                room[group[i]] -= 1
        for i in range(m):
            j = position[i]
            point.p[i], point.d[i], tau[i] = node.p[0, j], node.d[0, j], node.tau[0, j]
            local[i] = group[j]
        point.t[:] = node.t[0]
        problem = Subproblem(s=s, w=w, e=e, group=local, room=room, m=m)
        stop = Stop(
            cutoff=incumbent.cutoff[0],
            precision=PRECISION,
            floor=channel.floor,
            steps=node.steps[0],
        )
        stack.base[0], bound, node.mu[0], inversions = improve(
            problem, point, node.mu[0], stop, inverse, k, channel.eigen
        )
        spent += inversions * 3.0 * float(m) ** 3
        # A node without multipliers (never seen) keeps its parent's bound and cannot be split.
        bound = max(bound, inherited)
        cutoff = incumbent.cutoff[0]
        if bound >= cutoff:
            continue
        for i in range(m):
            j = position[i]
            node.p[0, j], node.d[0, j], node.tau[0, j] = point.p[i], point.d[i], tau[i]
        node.t[0] = point.t
        node.bound[0] = bound
        node.steps[0] = STEPS
        stack.size[0] = m
        left = allowance.nodes - nodes
        allowed = max(1, min(left, DIVE_NODES if cutoff - bound <= theta * cutoff else 1))
        closed, visited = dive(stack, second, group, incumbent, allowed)
        nodes += visited
        spent += visited * 3.0 * float(m) ** 2
        if allowed > 1:
            if not closed:
                theta *= THETA_FALL
            elif visited < DIVE_NODES // 3:
                theta = min(1.0, theta * THETA_RISE)
        if not closed:
            top = split(opened, top, node, stack, second)
    return top, theta, nodes
