"""Exact pruning of every channel of a reduced: incumbent, search, proof.

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
(``support_lower``). So a finished search proves ``lower = min(list, cutoff - margin)`` far inside
the tolerance, and an interrupted one the least bound among its open nodes, less the margin, or what
the relaxation at the root proves if that is more.

Box: where the best least-squares weights lie inside, they are the boxed optimum too. Elsewhere
every support whose cost without the box is below the best boxed error is listed, fitted inside the
box and bounded there (``box.box_lower``); no other support can be better.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bounds.problem.gram import Floats, Problem
from bounds.problem.limits import Limits
from bounds.problem.sparsity import Box
from bounds.pruning.box import box_lower, box_refit, inside
from bounds.pruning.heuristics.swap import swap
from bounds.pruning.reduced import Ints, Mask, ReducedProblem
from bounds.pruning.refit import reduced_upper, refit, support_lower
from bounds.pruning.relaxation.dual import Multipliers, Subproblem, start_cone
from bounds.pruning.relaxation.perspective import Dual, original_dual, proven_multipliers
from bounds.pruning.relaxation.start import start_diagonal
from bounds.pruning.search.dive import Incumbent
from bounds.pruning.search.pool import ROOT_STEPS, Nodes, doubled, new_nodes
from bounds.pruning.search.subproblem import settle
from bounds.pruning.search.tree import (
    Allowance,
    Channel,
    Workspace,
    new_workspace,
    process_nodes,
)

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
#: Share of its time after which a search that has proven no more than the relaxation stops.
PATIENCE = 0.5
#: A node whose bound is within this share of the cutoff (adapted on the way) goes to a long dive.
DIVE_SHARE = 1.0
#: The duality gap that the root's barrier weight starts from, as a share of the incumbent: the
#: first where D takes less than ``STRAINED`` of what removals would like (``start``), else the
#: second; and what is added as a share of ``w^T D w``. Nearer to the edge of the cone, or with more
#: steps, a dual bounds the root better and its dive worse. Real 3x3 chunks have shares of 0.19 to
#: 0.27, and take a sixth less time with 5 than with 2; pointwise ones mostly have 0.34 to 0.78, and
#: take a third more.
STRAINED, START_GAPS, START_ROUNDING = 0.3, (5.0, 2.0), 1e-6


@dataclass
class Chunk:
    """What the searches of all channels share.

    Attributes:
        reduced: the problem.
        removal: (m,) upper bounds on ``(G^-1)_ii``.
        d: (m,) multipliers D that every search starts from; gap: the duality gap that goes with
            it, as a share of an attained error.
        slack: a computed cost's rounding, as a share of the energy, where M keeps the least
            eigenvalue that G has.
        opened, leaves, workspace: arrays that one search after the other uses.
    """

    reduced: ReducedProblem
    removal: Floats
    d: Floats
    gap: float
    slack: float
    opened: Nodes
    leaves: Mask
    workspace: Workspace

    @classmethod
    def of(cls, reduced: ReducedProblem) -> Chunk:
        """Prepare the searches of ``reduced``."""
        m, groups = reduced.size, reduced.capacity.size
        diagonal = np.diag(np.linalg.inv(reduced.gram)).astype(np.float64)
        d = start_diagonal(reduced.gram, diagonal, reduced.eigen)
        strained = float((d * diagonal).max()) < STRAINED
        return cls(
            reduced,
            # Raised by what inverting can have lost.
            removal=diagonal + SAFETY * reduced.slack / reduced.eigen,
            d=d,
            gap=START_GAPS[0 if strained else 1],
            slack=SAFETY * reduced.slack,
            opened=new_nodes(OPEN_NODES, m, groups),
            leaves=np.zeros((LEAVES, m), bool),
            workspace=new_workspace(m, groups),
        )


@dataclass
class Search:
    """What a search of one channel found, in reduced units.

    Attributes:
        leaves: (found, m) complete supports met below the cutoff, ``LEAVES`` of them at most.
        complete: whether none was left out.
        cutoff: supports whose computed cost is at or above it were dropped; margin: how wrong a
            computed cost can be.
        opened: least bound among nodes left open; infinite if the search finished.
        nodes: nodes visited.
        relaxed: multipliers (1, m) and bound (1,) of the relaxation, where they were asked for.
    """

    leaves: Mask
    complete: bool
    cutoff: float
    margin: float
    opened: float
    nodes: int
    relaxed: tuple[Floats, Floats, Floats] | None = None

    def proves(self, listed: Floats) -> float:
        """The lower bound, given one (listed,) for each support of the list."""
        # Where the list ran over, what was left out is no better than what ended the search.
        lower = self.cutoff - (1 if self.complete else 3) * self.margin
        return min(lower, float(listed.min(initial=np.inf)), self.opened - self.margin)


def exact(
    reduced: ReducedProblem, problem: Problem, limits: Limits, box: Box | None = None
) -> tuple[Mask, Floats, Mask, Ints, list[Dual | None], tuple[str, ...]]:
    """Search every channel.

    Returns:
        (masks (channels, m), lower (channels,) in reduced units, finished (channels,), nodes, the
        duals of unfinished channels, remarks).
    """
    masks = swap(reduced, problem.weights)
    lower = np.zeros(reduced.channels)
    finished = np.zeros(reduced.channels, bool)
    nodes = np.zeros(reduced.channels, np.int64)
    duals: list[Dual | None] = []
    vain = 0
    chunk = Chunk.of(reduced)
    first = refit(reduced, masks)
    start = reduced_upper(reduced, first)
    states, energy = settle(reduced.gram, reduced.weights, chunk.removal, start)
    searches: list[Search] = []
    spent: list[float] = []
    for c in range(reduced.channels):
        began = time.perf_counter()
        if start[c] > 0:
            searches.append(explore(chunk, c, states[c], energy[c], float(start[c]), limits))
        else:
            searches.append(Search(masks[:0], True, 0.0, 0.0, np.inf, 0))
        spent.append(time.perf_counter() - began)
    for channels in _blocks(searches):
        # The incumbent, known already, and what else was found.
        news = [_without(searches[c].leaves, masks[c]) for c in channels]
        where = np.repeat(channels, [len(part) for part in news])
        supports, fits = np.vstack(news), np.zeros((0, reduced.size))
        errors = np.zeros(0)
        if len(supports) > 0:
            fits = refit(reduced, supports, where)
            errors = reduced_upper(reduced, fits, where)
        supports, fits = np.vstack((masks[channels], supports)), np.vstack((first[channels], fits))
        where = np.concatenate((channels, where))
        bounds = support_lower(reduced, supports, fits, where)
        # Within the margin the kernel's order means nothing: the attained errors decide.
        errors = np.concatenate((start[channels], errors))
        for c in channels:
            own = where == c
            search, best = searches[c], int(np.argmin(errors[own]))
            masks[c] = supports[own][best]
            lower[c], nodes[c] = search.proves(bounds[own]), search.nodes
            finished[c], dual = not np.isfinite(search.opened), None
            if not finished[c]:
                p, d, proven = search.relaxed or proven_multipliers(reduced, np.array([c]))
                vain += bool(proven[0] >= lower[c])
                lower[c] = max(lower[c], proven[0])
                dual = original_dual(reduced, int(c), p[0], d[0], proven[0])
            elif box is not None and not inside(reduced, fits[own][best], box, int(c)):
                boxed = box_refit(reduced, supports[own], fits[own], box, where[own])
                upper = reduced_upper(reduced, boxed, where[own])
                masks[c] = supports[own][int(np.argmin(upper))]
                left = limits.less(spent[c], search.nodes)
                proof, finished[c], more = _solve_boxed(chunk, int(c), masks, left, box)
                lower[c], nodes[c] = max(lower[c], proof), nodes[c] + more
            duals.append(dual)
    notes: tuple[str, ...] = ()
    if vain > 0:
        notes = (
            f"In {vain} of {reduced.channels} channels the search was left open and proved no more "
            "than the relaxation, whose bound stands.",
        )
    return masks, lower, finished, nodes, duals, notes


def _without(leaves: Mask, known: Mask) -> Mask:
    """The supports (found, m) that are not ``known`` (m,)."""
    return leaves[(leaves != known).any(axis=1)]


def _blocks(searches: list[Search]) -> Iterator[Ints]:
    """Consecutive channels whose supports are not too many together."""
    first, size = 0, 0
    for c, search in enumerate(searches):
        if size > 0 and size + len(search.leaves) + 1 > LEAVES:
            yield np.arange(first, c)
            first, size = c, 0
        size += len(search.leaves) + 1
    if searches:
        yield np.arange(first, len(searches))


def _solve_boxed(
    chunk: Chunk, c: int, masks: Mask, limits: Limits | None, box: Box
) -> tuple[float, bool, int]:
    """List every support whose unboxed cost is below the best boxed error, and fit each boxed."""
    reduced, row = chunk.reduced, np.array([c])
    nodes = 0
    while limits is not None:
        fit = box_refit(reduced, masks[row], refit(reduced, masks[row], row), box, row)
        start = float(reduced_upper(reduced, fit, row)[0])
        began = time.perf_counter()
        state, energy = settle(reduced.gram, reduced.weights[row], chunk.removal, np.array([start]))
        search = explore(chunk, c, state[0], energy[0], start, limits, tighten=False)
        nodes += search.nodes
        listed = np.vstack((search.leaves, masks[row]))
        where = np.full(len(listed), c)
        fits = box_refit(reduced, listed, refit(reduced, listed, where), box, where)
        upper = reduced_upper(reduced, fits, where)
        masks[c] = listed[int(np.argmin(upper))]
        if search.complete:
            lower = search.proves(box_lower(reduced, listed, fits, box, where))
            return lower, not np.isfinite(search.opened), nodes
        if not upper.min() < start:
            break
        # Too many to list; with the better weights just found there may be few enough.
        limits = limits.less(time.perf_counter() - began, search.nodes)
    return 0.0, False, nodes


def explore(
    chunk: Chunk,
    c: int,
    state: Ints,
    energy: float,
    start: float,
    limits: Limits,
    tighten: bool = True,
) -> Search:
    """Search the supports of channel ``c`` whose cost may be below ``start``.

    Args:
        chunk: what all channels share.
        c: the channel.
        state: (m,) decisions of the root; energy: of what they leave open (``settle``).
        start: an attained error, reduced units.
        limits: of this search.
        tighten: whether a support found lowers the cutoff; else all below ``start`` are listed.

    A search under a clock that has proven no more than the relaxation does after ``PATIENCE`` of
    its time stops: what is left would not change that.
    """
    reduced = chunk.reduced
    m, groups = reduced.size, reduced.capacity.size
    share, margin = FLOORS[-1], np.inf
    for share in FLOORS:
        margin = chunk.slack / share * (energy + start)
        if margin < 1e-4 * start:
            break
    allowed = 1 << 60 if limits.nodes is None else limits.nodes
    if margin > HOPELESS * start:
        allowed = min(allowed, HOPELESS_NODES)
    floor = share * reduced.eigen
    opened = chunk.opened
    opened.state[0] = state
    w = reduced.weights[c]
    opened.d[0] = chunk.d
    opened.p[0] = chunk.d * w
    # An error far below w^T D w must not leave a weight below that one's rounding.
    gap = chunk.gap * start + START_ROUNDING * float(chunk.d @ (w * w))
    opened.mu[0] = gap / (4 * m + groups)
    opened.bound[0] = 0.0
    opened.steps[0] = ROOT_STEPS
    root = Subproblem(reduced.gram, w, 0.0, reduced.group, reduced.capacity, m)
    point = Multipliers(opened.p[0], opened.d[0], opened.tau[0], opened.t[0])
    start_cone(root, point, float(opened.mu[0]))
    channel = Channel(reduced.gram, w, reduced.group, reduced.capacity, reduced.eigen, floor)
    incumbent = Incumbent(
        cutoff=np.array([start + 2 * margin]),
        margin=2 * margin if tighten else np.inf,
        leaves=chunk.leaves,
        found=np.zeros(1, np.int64),
    )
    top, theta, nodes = 1, DIVE_SHARE, 0
    relaxed = None
    began = time.perf_counter()
    while top > 0:
        most = allowed - nodes
        if most <= 0:
            break
        if limits.seconds is not None:
            gone = time.perf_counter() - began
            if gone > limits.seconds:
                break
            if relaxed is None and gone > PATIENCE * limits.seconds:
                relaxed = proven_multipliers(reduced, np.array([c]))
                if float(opened.bound[:top].min()) - margin <= relaxed[2][0]:
                    break
        if top > opened.bound.size - 2 and opened.bound.size < MOST_OPEN:
            opened = doubled(opened)
        allowance = Allowance(WORK, most, opened.bound.size < MOST_OPEN)
        top, theta, more = process_nodes(
            channel, opened, top, incumbent, theta, allowance, chunk.workspace
        )
        nodes += more
    least = float(opened.bound[:top].min()) if top > 0 else np.inf
    found, cutoff = int(incumbent.found[0]), float(incumbent.cutoff[0])
    kept = chunk.leaves[: min(found, LEAVES)].copy()
    return Search(kept, found <= LEAVES, cutoff, margin, least, nodes, relaxed)
