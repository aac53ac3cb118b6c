"""Depth-first search below one node of the outer search, with the node's multipliers (D, p).

    enter slot 0
    repeat until the stack is empty or the dive gives up:
        judge the slot (``judge``):
            decide rows that their group's room decides
            ascend in p and t; closed if the bound reaches the cutoff
            bounds of both children of every row: a child that is closed decides the row
            until nothing more is decided
        closed, or a leaf (recorded): back to the last slot with a second child, and enter that
        else: branch, enter the child with the better bound first

Decisions and multipliers follow ``node``. Bounds of both children of every input cost a few
operations each, so inputs are fixed both ways. The branching input is the one whose worse child is
best: by those bounds, and near the top of the tree, where a good choice is worth most, by ascending
in the children of the likeliest ones. A dive that seems too large, judged by the share of the tree
that it has closed, gives up early: new multipliers are the better use of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints, Mask
from bounds.pruning.search.node import (
    KEPT,
    NONE,
    REMOVED,
    Scratch,
    Stack,
    coordinate_ascent,
    copy_decisions,
    decide,
    new_scratch,
    probe,
)

#: After so many nodes a dive that will take so many times its budget gives up.
TRIAL, OVER = 60, 2.0
#: Branchings are probed in nodes that hold this share of the tree, a child half of its parent's.
PROBED = 0.5
#: Weight of the better child's bound beside the worse one's where nothing is probed: breaks ties.
TIE = 1e-3


class Incumbent(NamedTuple):
    """The cutoff, and the supports found below it.

    ``cutoff`` (1,): computed bounds at or above it cannot beat the incumbent. ``margin``: a support
    found lowers the cutoff to this much above its cost (infinite: never). ``leaves`` (L, m):
    supports to re-evaluate; ``found`` (1,): how many there were, of which L are listed at most.
    """

    cutoff: Floats
    margin: float
    leaves: Mask
    found: Ints


class Second(NamedTuple):
    """The child of each slot still to be visited (depth,): its row or ``NONE``, kind and bound."""

    row: Ints
    kind: Ints
    bound: Floats


@njit(cache=True, nogil=True)
def record(incumbent: Incumbent, state: Ints, cost: float) -> None:
    """List a complete support that is below the cutoff, and lower the cutoff to match.

    In a full list only one that lowers the cutoff is listed, in the last place.
    """
    cutoff, leaves, found = incumbent.cutoff, incumbent.leaves, incumbent.found
    if cost < cutoff[0]:
        better = cost + incumbent.margin < cutoff[0]
        cutoff[0] = min(cutoff[0], cost + incumbent.margin)
        last = leaves.shape[0] - 1
        if found[0] <= last or better:
            for j in range(state.size):
                leaves[min(found[0], last), j] = state[j] == KEPT
        found[0] += 1


@njit(cache=True, nogil=True)
def flag_forced(stack: Stack, group: Ints, s: int, scratch: Scratch) -> int:
    """Flag the rows of groups that have room for none or for all; returns how many."""
    position, room, flags, opened = stack.position, stack.room, scratch.flags, scratch.opened
    m = stack.size[s]
    flagged = 0
    for g in range(room.shape[1]):
        opened[g] = 0
    for i in range(m):
        opened[group[position[s, i]]] += 1
    for i in range(m):
        g = group[position[s, i]]
        flags[i] = 0
        if room[s, g] == 0:
            flags[i] = REMOVED
            flagged += 1
        elif opened[g] <= room[s, g]:
            flags[i] = KEPT
            flagged += 1
    return flagged


@njit(cache=True, nogil=True)
def bound_at(stack: Stack, group: Ints, s: int) -> float:
    """The bound of slot s at the thresholds at hand: any t gives one."""
    p, d, t, room, position = stack.p, stack.d, stack.t, stack.room, stack.position
    bound = stack.base[s]
    for g in range(room.shape[1]):
        bound -= room[s, g] * t[s, g]
    for i in range(stack.size[s]):
        over = p[s, i] * p[s, i] / d[s, i] - t[s, group[position[s, i]]]
        bound -= max(over, 0.0)
    return bound


@njit(cache=True, nogil=True)
def score_children(
    stack: Stack, group: Ints, s: int, bound: float, cutoff: float, scratch: Scratch
) -> tuple[int, float, float, int, bool]:
    """Bounds of both children of every row: flag the rows decided by them, score the others.

    Returns (row to branch on, bound if kept, bound if removed, rows flagged, closed).
    """
    h, y, p, d, t, position = stack.h, stack.y, stack.p, stack.d, stack.t, stack.position
    flags, score, ratio = scratch.flags, scratch.score, scratch.ratio
    pick, most, pick_keep, pick_remove, flagged = NONE, -np.inf, 0.0, 0.0, 0
    for i in range(stack.size[s]):
        hii = h[s, i, i]
        level = t[s, group[position[s, i]]]
        gap = y[s, i] - p[s, i] / d[s, i]
        without = bound + y[s, i] * y[s, i] / hii + max(ratio[i] - level, 0.0)
        kept = bound + gap * gap / (1.0 / d[s, i] + hii) + max(level - ratio[i], 0.0)
        if without >= cutoff:
            if kept >= cutoff:
                return pick, pick_keep, pick_remove, flagged, True
            flags[i] = KEPT
            flagged += 1
        elif kept >= cutoff:
            flags[i] = REMOVED
            flagged += 1
        else:
            value = min(without, kept) + TIE * max(without, kept)
            score[i] = value
            if value > most:
                pick, most = i, value
                pick_keep, pick_remove = kept, without
    return pick, pick_keep, pick_remove, flagged, False


@njit(cache=True, nogil=True)
def carry_out(
    stack: Stack, group: Ints, s: int, bound: float, cutoff: float, scratch: Scratch
) -> bool:
    """Decide the rows flagged in slot s, whose bound is ``bound``; True if that closes the node.

    What raises the bound most goes first: the node may close before the rest is done.
    """
    h, y, p, d, t, position = stack.h, stack.y, stack.p, stack.d, stack.t, stack.position
    flags = scratch.flags
    while True:
        chosen, gain = NONE, -1.0
        for i in range(stack.size[s]):
            if flags[i] != 0:
                level = t[s, group[position[s, i]]]
                value = p[s, i] * p[s, i] / d[s, i] - level
                if flags[i] == REMOVED:
                    rise = y[s, i] * y[s, i] / h[s, i, i] + max(value, 0.0)
                else:
                    gap = y[s, i] - p[s, i] / d[s, i]
                    rise = gap * gap / (1.0 / d[s, i] + h[s, i, i]) + max(-value, 0.0)
                if rise > gain:
                    chosen, gain = i, rise
        if chosen == NONE:
            return False
        bound += gain
        kind = flags[chosen]
        if bound >= cutoff:
            return True
        if kind == KEPT and stack.room[s, group[position[s, chosen]]] == 0:
            return True
        flags[chosen] = flags[stack.size[s] - 1]
        decide(stack, group, s, s, chosen, kind, scratch.column)


@njit(cache=True, nogil=True)
def judge(
    stack: Stack, group: Ints, s: int, cutoff: float, near_top: bool, scratch: Scratch
) -> tuple[bool, int, float, float]:
    """Decide all that bounds and room decide of slot s, until it closes or has to be branched on.

    Returns (closed, row to branch on, bound if kept, bound if removed). With no row left and not
    closed it is a leaf.
    """
    pick, keep, remove = NONE, 0.0, 0.0
    while stack.size[s] > 0:
        flagged = flag_forced(stack, group, s, scratch)
        if flagged > 0:
            # The thresholds at hand will do to see the node close.
            bound = bound_at(stack, group, s)
        else:
            bound = coordinate_ascent(stack, group, s, cutoff, scratch.ratio, scratch)
            if bound >= cutoff:
                return True, pick, keep, remove
            pick, keep, remove, flagged, closed = score_children(
                stack, group, s, bound, cutoff, scratch
            )
            if not closed and flagged == 0 and near_top:
                pick, keep, remove, flagged, closed = probe(stack, group, s, cutoff, scratch)
            if closed or flagged == 0:
                return closed, pick, keep, remove
        if carry_out(stack, group, s, bound, cutoff, scratch):
            return True, pick, keep, remove
    return False, pick, keep, remove


@njit(cache=True, nogil=True)
def dive(
    stack: Stack, second: Second, group: Ints, incumbent: Incumbent, budget: int
) -> tuple[bool, int]:
    """Search below slot 0 of the stack until closed or ``budget`` nodes are spent.

    Args:
        stack: slot 0 is the start; second: (depth,), filled.
        group: (M,) groups of all inputs.
        incumbent: supports found below its cutoff are listed, and lower it.
        budget: nodes to visit at most.

    Returns:
        (closed, nodes). Slot 0 keeps what was fixed at the start node; if its first child was
        closed, it has become the second.
    """
    depth = stack.size.size
    scratch = new_scratch(group.size, stack.room.shape[1])
    weight = np.empty(depth)  # share of the tree that each slot holds
    weight[0] = 1.0
    done = 0.0
    nodes = 0
    s = 0
    second.row[0] = NONE
    fresh = True
    while s >= 0:
        cutoff = incumbent.cutoff[0]
        if not fresh:
            # Back at a slot whose first child is done: the second child takes its place.
            i = second.row[s]
            if i == NONE or second.bound[s] >= cutoff:
                if i != NONE:
                    done += weight[s]
                s -= 1
                continue
            second.row[s] = NONE
            decide(stack, group, s, s, i, second.kind[s], scratch.column)
        if nodes >= budget or (nodes >= TRIAL and nodes > OVER * budget * done):
            return False, nodes
        nodes += 1
        closed, pick, keep, remove = judge(stack, group, s, cutoff, weight[s] >= PROBED, scratch)
        if not closed and stack.size[s] == 0:
            record(incumbent, stack.state[s], stack.base[s])
            closed = True
        if closed:
            done += weight[s]
            fresh = False
            second.row[s] = NONE
            continue
        # The child with the better bound is likelier to hold the optimum: first.
        first = REMOVED if remove <= keep else KEPT
        second.row[s] = pick
        second.kind[s] = KEPT if first == REMOVED else REMOVED
        second.bound[s] = keep if first == REMOVED else remove
        weight[s] *= 0.5
        weight[s + 1] = weight[s]
        copy_decisions(stack, s, s + 1)
        decide(stack, group, s, s + 1, pick, first, scratch.column)
        second.row[s + 1] = NONE
        s += 1
        fresh = True
    return True, nodes
