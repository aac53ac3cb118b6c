"""Exact pruning of every channel of a core: incumbent, search, proof.

Rounding: the search works with inverses of ``M = S - D`` whose smallest eigenvalue stays above a
floor, and its values cancel terms as large as the energy (``w^T D w <= w^T G w``). Inputs that any
better solution must keep (removing i costs at least ``w_i^2 / (G^-1)_ii``) are eliminated first, so
that only the energy ``E`` that the others add counts, which no later decision can raise.
Eliminations on a positive definite matrix are backward stable, so every computed cost or bound is
within

    margin = SAFETY * 4 (m+2) u trace(G) / floor * (E + incumbent)

of its exact value (Higham, *Accuracy and Stability*, ch. 10). A node is dropped only if its bound
exceeds the incumbent by more than that, and every complete support within reach of the incumbent,
the incumbent's own included, is handed out and bounded below in extended precision
(``support_lower``). So a finished search proves ``lower = min(list, limit - margin)`` far inside
the tolerance, and an interrupted one the least bound among its open nodes, less the margin.
"""

from __future__ import annotations

import time

import numpy as np

from bounds.limits import Limits
from bounds.problem import Floats, Problem
from bounds.pruning.core import Core, Ints, Mask
from bounds.pruning.dive import KEPT, OPEN
from bounds.pruning.newton import start_cone
from bounds.pruning.perspective import proven_multipliers
from bounds.pruning.refit import core_upper, refit, support_lower
from bounds.pruning.swap import swap
from bounds.pruning.tree import advance, reduce_node

#: Complete supports within the margin of the incumbent that are re-evaluated.
LEAVES = 4096
#: Factor on the rounding estimate; measured, supports are first lost below 1e-3.
SAFETY = 2.0
#: Floors tried, as shares of G's least eigenvalue: a low one bounds best, a high one rounds least.
FLOORS = (1e-3, 1e-2, 1e-1, 0.4)
#: With a margin above this share of the incumbent only small trees can be closed: so many nodes.
HOPELESS, HOPELESS_NODES = 0.2, 20000
#: Open nodes held at first and at most; then the search goes deep instead of wide.
OPEN_NODES, MOST_OPEN = 128, 32768
#: Operations between two looks at the clock.
WORK = 3e7
#: A node whose bound is within this share of the limit (adapted on the way) goes to a dive, which
#: may visit so many nodes with its dual held fixed before it hands its leftovers back.
DIVE_SHARE, DIVE_NODES = 0.5, 500


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
    # (G^-1)_ii, raised by what inverting can have lost.
    removal: Floats = (
        np.diag(np.linalg.inv(core.gram)).astype(np.float64) + SAFETY * core.slack / core.eigen
    )
    for c in range(core.channels):
        lower[c], finished[c], nodes[c] = _search(core, c, removal, masks, limits)
    return masks, lower, finished, nodes


def _search(
    core: Core, c: int, removal: Floats, masks: Mask, limits: Limits
) -> tuple[float, bool, int]:
    m, groups = core.size, core.capacity.size
    row = np.array([c])
    start = float(core_upper(core, refit(core, masks[row], row), row)[0])
    if not start > 0:
        return 0.0, True, 0
    state, energy = _settled(core, c, removal, start)
    share, margin = FLOORS[-1], np.inf
    for share in FLOORS:
        margin = SAFETY * core.slack / share * (energy + start)
        if margin < 1e-4 * start:
            break
    allowed = 1 << 60 if limits.nodes is None else limits.nodes
    if margin > HOPELESS * start:
        allowed = min(allowed, HOPELESS_NODES)
    floor = share * core.eigen
    best = masks[c].copy()
    pool = OPEN_NODES
    state = np.vstack((state[None], np.zeros((pool - 1, m), np.int64)))
    p, d, tau = np.zeros((pool, m)), np.zeros((pool, m)), np.zeros((pool, m))
    t, mu, bound = np.zeros((pool, groups)), np.zeros(pool), np.zeros(pool)
    d[0] = 0.5 * core.eigen
    w = core.weights[c]
    p[0] = d[0] * w
    first = 0.1 * (energy + start) / m
    start_cone(p[0], d[0], core.group, core.capacity, m, tau[0], t[0], first)
    mu[0] = -first
    leaves = np.zeros((LEAVES, m), bool)
    top, found = 1, 0
    limit = start + 2 * margin
    theta = DIVE_SHARE
    counts = np.zeros(4, np.int64)
    began = time.perf_counter()
    while top > 0:
        most = allowed - int(counts[0])
        if most <= 0:
            break
        if limits.seconds is not None and time.perf_counter() - began > limits.seconds:
            break
        if top > bound.size - 2 and bound.size < MOST_OPEN:
            state, p, d, tau, t, mu, bound = (
                np.concatenate((a, np.zeros_like(a))) for a in (state, p, d, tau, t, mu, bound)
            )
        top, limit, found, theta = advance(
            core.gram, w, core.group, core.capacity, core.eigen, floor, margin, limit, best, leaves,
            found, top, state, p, d, tau, t, mu, bound, theta, DIVE_NODES, WORK, most,
            bound.size < MOST_OPEN, counts,
        )  # fmt: skip
    # Supports dropped in the search, and those listed: see above. Lost ones are three margins off.
    lower = limit - (3 if found > LEAVES else 1) * margin
    list_ = np.vstack((leaves[: min(found, LEAVES)], masks[row], best[None]))
    where = np.full(len(list_), c)
    fits = refit(core, list_, where)
    lower = min(lower, support_lower(core, list_, fits, where).min())
    # Within the margin the kernel's order means nothing: the attained errors decide.
    masks[c] = list_[int(np.argmin(core_upper(core, fits, where)))]
    if top > 0:
        lower = max(min(lower, bound[:top].min() - margin), proven_multipliers(core, row)[2][0])
    return float(lower), top == 0, int(counts[0])


def _settled(core: Core, c: int, removal: Floats, start: float) -> tuple[Ints, float]:
    """The root's decisions (m,), inputs too dear to remove kept, and the energy E of the rest."""
    w = core.weights[c]
    state = np.where(w * w > removal * start * (1 + 1e-6), KEPT, OPEN).astype(np.int64)
    s, rest, position = np.zeros_like(core.gram), np.zeros(core.size), np.zeros(core.size, np.int64)
    count, _ = reduce_node(core.gram, w, state, s, rest, position)
    schur = np.triu(s[:count, :count]) + np.triu(s[:count, :count], 1).T
    return state, max(float(rest[:count] @ schur @ rest[:count]), 0.0)
