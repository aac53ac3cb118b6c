"""The open nodes of a search: decisions, and the multipliers that their parents had."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

#: Newton steps per node, and at the root. Few: a dive closes a node by a loose dual sooner than
#: more steps would. With 3 at the root instead of the 15 to 24 to convergence, real 36-wide layers
#: take half the time; with 2 elsewhere instead of 10, and longer dives, 64-wide ones do.
STEPS, ROOT_STEPS = 2, 3


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
