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
the tolerance, and an interrupted one the least bound among its open nodes, less the margin, or what
the relaxation at the root proves if that is more.

Box: where the best least-squares weights lie inside, they are the boxed optimum too. Elsewhere
every support whose cost without the box is below the best boxed error is listed, fitted inside the
box and bounded there (``box.box_lower``); no other support can be better.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bounds.problem.gram import Floats, Problem
from bounds.problem.limits import Limits
from bounds.problem.sparsity import Box
from bounds.pruning.box import box_lower, box_refit, inside
from bounds.pruning.heuristics.swap import swap
from bounds.pruning.reduced import Core, Ints, Mask
from bounds.pruning.refit import core_upper, refit, support_lower
from bounds.pruning.relaxation.barrier import start_cone
from bounds.pruning.relaxation.perspective import Dual, original_dual, proven_multipliers
from bounds.pruning.search.node import KEPT, OPEN
from bounds.pruning.search.tree import advance, reduce_node

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
DIVE_SHARE, DIVE_NODES = 0.5, 1000


@dataclass
class Search:
    """What a search of one channel found, in core units.

    Attributes:
        leaves: (found, m) complete supports met below the limit, ``LEAVES`` of them at most.
        complete: whether none was left out.
        limit: supports whose computed cost is at or above it were dropped; margin: how wrong a
            computed cost can be.
        opened: least bound among nodes left open; infinite if the search finished.
        nodes: nodes visited.
    """

    leaves: Mask
    complete: bool
    limit: float
    margin: float
    opened: float
    nodes: int

    def proves(self, listed: Floats) -> float:
        """The lower bound, given one (listed,) for each support of the list."""
        # Where the list ran over, what was left out is no better than what ended the search.
        lower = self.limit - (1 if self.complete else 3) * self.margin
        return min(lower, float(listed.min(initial=np.inf)), self.opened - self.margin)


def exact(
    core: Core, problem: Problem, limits: Limits, box: Box | None = None
) -> tuple[Mask, Floats, Mask, Ints, list[Dual | None]]:
    """Search every channel.

    Returns:
        (masks (channels, m), lower (channels,) in core units, finished (channels,), nodes, the
        duals of unfinished channels).
    """
    masks = swap(core, problem.weights)
    lower = np.zeros(core.channels)
    finished = np.zeros(core.channels, bool)
    nodes = np.zeros(core.channels, np.int64)
    duals: list[Dual | None] = []
    # (G^-1)_ii, raised by what inverting can have lost.
    removal: Floats = (
        np.diag(np.linalg.inv(core.gram)).astype(np.float64) + SAFETY * core.slack / core.eigen
    )
    for c in range(core.channels):
        lower[c], finished[c], nodes[c], dual = _solve(core, c, removal, masks, limits, box)
        duals.append(dual)
    return masks, lower, finished, nodes, duals


def _solve(
    core: Core, c: int, removal: Floats, masks: Mask, limits: Limits, box: Box | None
) -> tuple[float, bool, int, Dual | None]:
    """(lower, finished, nodes, dual) of one channel; its mask is improved in place."""
    row = np.array([c])
    start = float(core_upper(core, refit(core, masks[row], row), row)[0])
    began = time.perf_counter()
    if start > 0:
        search = explore(core, c, removal, start, limits)
    else:
        search = Search(masks[:0], True, 0.0, 0.0, np.inf, 0)
    listed = np.vstack((search.leaves, masks[row]))
    where = np.full(len(listed), c)
    fits = refit(core, listed, where)
    lower = search.proves(support_lower(core, listed, fits, where))
    # Within the margin the kernel's order means nothing: the attained errors decide.
    choice = int(np.argmin(core_upper(core, fits, where)))
    masks[c] = listed[choice]
    nodes = search.nodes
    finished, dual = not np.isfinite(search.opened), None
    if not finished:
        p, d, proven = proven_multipliers(core, row)
        lower = max(lower, proven[0])
        dual = original_dual(core, c, p[0], d[0], proven[0])
    elif box is not None and not inside(core, fits[choice], box, c):
        boxed = box_refit(core, listed, fits, box, where)
        masks[c] = listed[int(np.argmin(core_upper(core, boxed, where)))]
        left = limits.less(time.perf_counter() - began, nodes)
        proof, finished, more = _solve_boxed(core, c, removal, masks, left, box)
        lower, nodes = max(lower, proof), nodes + more
    return float(lower), finished, nodes, dual


def _solve_boxed(
    core: Core, c: int, removal: Floats, masks: Mask, limits: Limits | None, box: Box
) -> tuple[float, bool, int]:
    """List every support whose unboxed cost is below the best boxed error, and fit each boxed."""
    row = np.array([c])
    nodes = 0
    while limits is not None:
        fit = box_refit(core, masks[row], refit(core, masks[row], row), box, row)
        start = float(core_upper(core, fit, row)[0])
        began = time.perf_counter()
        search = explore(core, c, removal, start, limits, tighten=False)
        nodes += search.nodes
        listed = np.vstack((search.leaves, masks[row]))
        where = np.full(len(listed), c)
        fits = box_refit(core, listed, refit(core, listed, where), box, where)
        upper = core_upper(core, fits, where)
        masks[c] = listed[int(np.argmin(upper))]
        if search.complete:
            lower = search.proves(box_lower(core, listed, fits, box, where))
            return lower, not np.isfinite(search.opened), nodes
        if not upper.min() < start:
            break
        # Too many to list; with the better weights just found there may be few enough.
        limits = limits.less(time.perf_counter() - began, search.nodes)
    return 0.0, False, nodes


def explore(
    core: Core, c: int, removal: Floats, start: float, limits: Limits, tighten: bool = True
) -> Search:
    """Search the supports of channel ``c`` whose cost may be below ``start``.

    Args:
        removal: (m,) upper bounds on ``(G^-1)_ii``.
        start: an attained error, core units.
        limits: of this search.
        tighten: whether a support found lowers the limit; else all below ``start`` are listed.
    """
    m, groups = core.size, core.capacity.size
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
    reach = 2 * margin if tighten else np.inf
    theta = DIVE_SHARE
    nodes = np.zeros(1, np.int64)
    began = time.perf_counter()
    while top > 0:
        most = allowed - int(nodes[0])
        if most <= 0:
            break
        if limits.seconds is not None and time.perf_counter() - began > limits.seconds:
            break
        if top > bound.size - 2 and bound.size < MOST_OPEN:
            state, p, d, tau, t, mu, bound = (
                np.concatenate((a, np.zeros_like(a))) for a in (state, p, d, tau, t, mu, bound)
            )
        top, limit, found, theta = advance(
            core.gram, w, core.group, core.capacity, core.eigen, floor, reach, limit, leaves, found,
            top, state, p, d, tau, t, mu, bound, theta, DIVE_NODES, WORK, most,
            bound.size < MOST_OPEN, nodes,
        )  # fmt: skip
    opened = float(bound[:top].min()) if top > 0 else np.inf
    kept = leaves[: min(found, LEAVES)]
    return Search(kept, found <= LEAVES, float(limit), margin, opened, int(nodes[0]))


def _settled(core: Core, c: int, removal: Floats, start: float) -> tuple[Ints, float]:
    """The root's decisions (m,), inputs too dear to remove kept, and the energy E of the rest."""
    w = core.weights[c]
    state = np.where(w * w > removal * start * (1 + 1e-6), KEPT, OPEN).astype(np.int64)
    s, rest, position = np.zeros_like(core.gram), np.zeros(core.size), np.zeros(core.size, np.int64)
    count, _ = reduce_node(core.gram, w, state, s, rest, position)
    schur = np.triu(s[:count, :count]) + np.triu(s[:count, :count], 1).T
    return state, max(float(rest[:count] @ schur @ rest[:count]), 0.0)
