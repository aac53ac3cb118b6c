"""Exact pruning of every channel of a core: incumbent, search, proof.

The search kernel compares with a margin for its own rounding; what remains within the margin is a
short list of supports, whose errors are bounded below in extended precision (``support_lower``).
So a finished search proves ``lower = min(list, incumbent)`` far inside the tolerance, and an
interrupted one the least bound among its open nodes, or the root's dual bound if that is better.
"""

from __future__ import annotations

import time

import numpy as np

from bounds.definite import eigenvalue_lower_bound
from bounds.limits import CLOCK_EVERY, Limits
from bounds.problem import Floats, Problem
from bounds.pruning.branch import explore
from bounds.pruning.core import Core, Ints, Mask
from bounds.pruning.perspective import multipliers, verified_value
from bounds.pruning.refit import core_upper, refit, support_lower
from bounds.pruning.swap import swap

#: Complete supports within rounding of the incumbent that are re-evaluated; beyond, slack counts.
LEAVES = 4096


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
    inverse: Floats = np.linalg.inv(core.gram).astype(np.float64)
    p, d = multipliers(core, accuracy=1e-3)
    d *= 1 - 1e-6
    for c in range(core.channels):
        lower[c], finished[c], nodes[c] = _search(core, c, inverse, p[c], d[c], masks, limits)
    return masks, lower, finished, nodes


def _search(
    core: Core, c: int, inverse: Floats, p: Floats, d: Floats, masks: Mask, limits: Limits
) -> tuple[float, bool, int]:
    m = core.size
    row = np.array([c])
    slack = core.slack
    if not eigenvalue_lower_bound(core.gram - np.diag(d)) > 0:
        d = np.full(m, 0.5 * core.eigen)
    if slack >= 0.5:
        return verified_value(core, c, p, d), False, 0
    start = core_upper(core, refit(core, masks[row], row), row)[0]
    incumbent = float(start)
    best = masks[c].copy()
    a = np.empty((m + 2, m, m))
    w = np.empty((m + 2, m))
    state = np.zeros((m + 2, m), np.int64)
    cost = np.zeros(m + 2)
    bound = np.zeros(m + 2)
    a[0], w[0] = inverse, core.weights[c]
    leaves = np.zeros((LEAVES, m), bool)
    top, found, used = 1, 0, 0
    began = time.perf_counter()
    while top > 0:
        budget = CLOCK_EVERY if limits.nodes is None else min(CLOCK_EVERY, limits.nodes - used)
        if budget <= 0:
            break
        if limits.seconds is not None and time.perf_counter() - began > limits.seconds:
            break
        top, incumbent, found, done = explore(
            a, w, state, cost, bound, top, core.group, core.capacity, d,
            incumbent, best, slack, leaves, found, budget,
        )  # fmt: skip
        used += done
    masks[c] = best
    # Every support dropped by the kernel has an error of at least this (see ``slack`` above).
    lower = incumbent * (1 + slack)
    if found > LEAVES:
        lower = min(lower, incumbent * (1 - slack) * (1 - slack))
    elif found:
        list_ = leaves[:found]
        where = np.full(found, c)
        lower = min(lower, support_lower(core, list_, refit(core, list_, where), where).min())
    if top > 0:
        lower = min(lower, max(bound[:top].min() * (1 - slack), verified_value(core, c, p, d)))
    return lower, top == 0, used
