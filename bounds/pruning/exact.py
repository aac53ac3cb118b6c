"""Exact pruning of every channel of a core: incumbent, search, proof.

The search kernel compares with a margin for its own rounding; what remains within the margin is a
short list of supports, whose errors are bounded below in extended precision (``support_lower``).
So a finished search proves ``lower = min(list, incumbent)`` far inside the tolerance, and an
interrupted one the least bound among its open nodes, or the root's dual bound if that is better.
"""

from __future__ import annotations

import time

import numpy as np

from bounds.limits import Limits
from bounds.problem import Floats, Problem
from bounds.pruning.core import Core, Ints, Mask
from bounds.pruning.newton import start_cone
from bounds.pruning.refit import core_upper, refit, support_lower
from bounds.pruning.swap import swap
from bounds.pruning.tree import advance

#: Complete supports within rounding of the incumbent that are re-evaluated; beyond, slack counts.
LEAVES = 4096
#: Open nodes held at first and at most; then the search goes deep instead of wide.
OPEN_NODES, MOST_OPEN = 128, 32768
#: Operations between two looks at the clock.
WORK = 3e7
#: A node whose bound is within this share of the limit (adapted on the way) goes to a dive, which
#: may visit so many nodes with its dual held fixed before it hands its leftovers back.
DIVE_SHARE, DIVE_NODES = 0.5, 300


def exact(core: Core, problem: Problem, limits: Limits) -> tuple[Mask, Floats, Mask, Ints]:
    """Search every channel.

    Returns:
        (masks (channels, m), lower (channels,) in core units, finished (channels,), nodes).
    """
    masks = swap(core, problem.weights)
    lower = np.zeros(core.channels)
    finished = np.zeros(core.channels, bool)
    nodes = np.zeros(core.channels, np.int64)
    if core.size == 0:
        return masks, lower, ~finished, nodes
    for c in range(core.channels):
        lower[c], finished[c], nodes[c] = _search(core, c, masks, limits)
    return masks, lower, finished, nodes


def _search(core: Core, c: int, masks: Mask, limits: Limits) -> tuple[float, bool, int]:
    m, groups = core.size, core.capacity.size
    row = np.array([c])
    floor = 1e-3 * core.eigen
    slack = core.slack * 1e3
    start = core_upper(core, refit(core, masks[row], row), row)[0]
    if not start > 0:
        return 0.0, True, 0
    best = masks[c].copy()
    pool = OPEN_NODES
    state = np.zeros((pool, m), np.int64)
    p, d, tau = np.zeros((pool, m)), np.zeros((pool, m)), np.zeros((pool, m))
    t, mu, bound = np.zeros((pool, groups)), np.zeros(pool), np.zeros(pool)
    d[0] = 0.5 * core.eigen
    w = core.weights[c]
    p[0] = d[0] * w
    first = 0.1 * float(w @ core.gram @ w) / m
    start_cone(p[0], d[0], core.group, core.capacity, m, tau[0], t[0], first)
    mu[0] = -first
    leaves = np.zeros((LEAVES, m), bool)
    top, found = 1, 0
    limit = float(start) * (1 + slack) / (1 - slack)
    theta = DIVE_SHARE
    counts = np.zeros(4, np.int64)
    began = time.perf_counter()
    while top > 0:
        most = 1 << 60 if limits.nodes is None else limits.nodes - int(counts[0])
        if most <= 0:
            break
        if limits.seconds is not None and time.perf_counter() - began > limits.seconds:
            break
        if top > bound.size - 2 and bound.size < MOST_OPEN:
            state, p, d, tau, t, mu, bound = (
                np.concatenate((a, np.zeros_like(a))) for a in (state, p, d, tau, t, mu, bound)
            )
        top, limit, found, theta = advance(
            core.gram, w, core.group, core.capacity, core.eigen, floor, slack, limit, best, leaves,
            found, top, state, p, d, tau, t, mu, bound, theta, DIVE_NODES, WORK, most,
            bound.size < MOST_OPEN, counts,
        )  # fmt: skip
    masks[c] = best
    # Every support dropped by the kernel has an error of at least this (see ``slack`` above).
    lower = limit * (1 - slack)
    if found > LEAVES:
        lower = lower * (1 - 2 * slack)
    elif found:
        list_ = leaves[:found]
        where = np.full(found, c)
        lower = min(lower, support_lower(core, list_, refit(core, list_, where), where).min())
    if top > 0:
        lower = min(lower, bound[:top].min() * (1 - slack))
    return lower, top == 0, int(counts[0])
