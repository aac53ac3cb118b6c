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

from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints
from bounds.pruning.relaxation.barrier import Stop, maximise_dual
from bounds.pruning.relaxation.dual import Inverse, Multipliers, Subproblem, start_cone
from bounds.pruning.search.dive import Incumbent, Second, dive, record
from bounds.pruning.search.node import KEPT, NONE, REMOVED, Stack
from bounds.pruning.search.pool import STEPS, Nodes, copy_node, new_nodes, take_best
from bounds.pruning.search.subproblem import forced, reduce_node

#: Part of the missing bound that the barrier may still hide when a node is judged.
PRECISION = 0.3
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
