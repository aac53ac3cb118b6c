"""The practical methods on levels that differ from input to input (``levels.LevelProblem``).

The same methods as in ``rounding``, ``descent`` and ``beam``, in weights instead of codes: GPTQ is
that of the released code with the group's steps chosen before, its damping a share of the Gram's
mean diagonal. Solutions are numbers of levels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.quantization.heuristics.beam import CHILDREN
from bounds.quantization.heuristics.descent import IMPROVEMENT, MAX_ROUNDS
from bounds.quantization.heuristics.rounding import BLOCK, GPTQ_DAMPING
from bounds.quantization.levels import LevelProblem, nearest_number
from bounds.quantization.tables import Table, centre_levels, make_tables, nearest_to

Floats = NDArray[np.float64]


def nearest(problem: LevelProblem) -> Floats:
    """Round to nearest."""
    return problem.nearest(problem.targets)


def gptq(problem: LevelProblem, damping: float = GPTQ_DAMPING) -> Floats:
    """GPTQ with activation order and its usual damping (Frantar et al., 2023)."""
    gram = problem.gram
    order = np.argsort(np.diag(gram), kind="stable")  # the last column is rounded first
    damped = gram[np.ix_(order, order)] + damping * np.diag(gram).mean() * np.eye(len(gram))
    factor = np.ascontiguousarray(np.linalg.cholesky(damped).T)
    return nearest_plane(problem, factor, order, problem.targets)


def nearest_plane(
    problem: LevelProblem, factor: Floats, order: NDArray[np.int64], targets: Floats
) -> Floats:
    """Numbers (channels, n) rounded one by one, from the last column of ``factor`` to the first.

    Each is the level nearest to its conditional minimiser given those fixed before; in blocks of
    columns, so that wide layers are mostly matrix products.
    """
    targets, step, zero = (
        np.ascontiguousarray(x[:, order]) for x in (targets, problem.step, problem.zero)
    )
    numbers, moved = np.zeros_like(targets), np.zeros_like(targets)
    for stop in range(len(factor), 0, -BLOCK):
        here = slice(max(stop - BLOCK, 0), stop)
        pull = moved[:, stop:] @ factor[here, stop:].T
        part, target, own, off = (
            np.ascontiguousarray(x)
            for x in (factor[here, here], targets[:, here], step[:, here], zero[:, here])
        )
        numbers[:, here], moved[:, here] = round_block(
            part, target, own, off, pull, problem.levels, problem.uniform
        )
    found = np.empty_like(numbers)
    found[:, order] = numbers
    return found


@njit(cache=True, nogil=True)
def round_block(factor, targets, step, zero, pull, levels, uniform):
    """Numbers and distances from the targets, of one block; ``pull``: what is fixed already."""
    channels, n = targets.shape
    numbers = np.empty((channels, n))
    moved = np.empty((channels, n))
    for c in range(channels):
        for i in range(n - 1, -1, -1):
            total = pull[c, i]
            for j in range(i + 1, n):
                total += factor[i, j] * moved[c, j]
            middle = targets[c, i] - total / factor[i, i]
            k = nearest_number(levels, uniform, middle / step[c, i] + zero[c, i])
            numbers[c, i] = k
            moved[c, i] = step[c, i] * (levels[k] - zero[c, i]) - targets[c, i]
    return numbers, moved


def descent(problem: LevelProblem) -> Floats:
    """Descent with pair moves from nearest, GPTQ, nearest plane and the rounded box minimiser."""
    factor = problem.factor
    plane = nearest_plane(problem, factor.factor, factor.order, problem.start)
    starts = [nearest(problem), gptq(problem), plane, problem.nearest(problem.start)]
    return descend(problem, np.stack(starts))


def descend(problem: LevelProblem, starts: Floats) -> Floats:
    """Best descent of each channel (channels, n) over ``starts`` (kinds, channels, n)."""
    return descend_levels(
        problem.gram, problem.targets, problem.step, problem.zero, problem.levels,
        problem.uniform, np.ascontiguousarray(starts),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def descend_levels(gram, targets, step, zero, levels, uniform, starts):
    """Move single weights to their best level, or two by one level each, while the error falls.

    Args: gram (n, n); targets, step, zero (channels, n); starts (kinds, channels, n) numbers.
    Returns: numbers (channels, n).
    """
    kinds, channels, n = starts.shape
    out = np.empty((channels, n))
    numbers = np.empty(n, np.int64)
    offset = np.empty(n)
    for c in range(channels):
        best = np.inf
        for kind in range(kinds):
            for i in range(n):
                numbers[i] = int(starts[kind, c, i])
                offset[i] = step[c, i] * (levels[numbers[i]] - zero[c, i]) - targets[c, i]
            gradient = gram @ offset
            for _ in range(MAX_ROUNDS):
                single_level_moves(
                    gram, targets[c], step[c], zero[c], levels, uniform, numbers, offset, gradient
                )
                if not pair_level_move(gram, step[c], levels, numbers, offset, gradient):
                    break
            error = offset @ (gram @ offset)
            if error < best:
                best = error
                for i in range(n):
                    out[c, i] = numbers[i]
    return out


@njit(cache=True, nogil=True)
def move_level(gram, step, levels, numbers, offset, gradient, i, k):
    """Move weight ``i`` to level ``k`` and keep ``gradient = gram offset``."""
    change = step[i] * (levels[k] - levels[numbers[i]])
    numbers[i] = k
    offset[i] += change
    for j in range(gradient.shape[0]):
        gradient[j] += gram[i, j] * change


@njit(cache=True, nogil=True)
def single_level_moves(gram, target, step, zero, levels, uniform, numbers, offset, gradient):
    """Move single weights until none improves."""
    n = offset.shape[0]
    for _ in range(MAX_ROUNDS):
        moved = False
        for i in range(n):
            middle = target[i] + offset[i] - gradient[i] / gram[i, i]
            k = nearest_number(levels, uniform, middle / step[i] + zero[i])
            if k == numbers[i]:
                continue
            change = step[i] * (levels[k] - levels[numbers[i]])
            gain = -change * (2.0 * gradient[i] + change * gram[i, i])
            if gain > IMPROVEMENT * gram[i, i] * change * change:
                move_level(gram, step, levels, numbers, offset, gradient, i, k)
                moved = True
        if not moved:
            return


@njit(cache=True, nogil=True)
def pair_level_move(gram, step, levels, numbers, offset, gradient):
    """Apply the best move of two weights by one level each; False if none improves."""
    n = offset.shape[0]
    last = levels.shape[0] - 1
    best_gain, best_i, best_j, best_a, best_b = 0.0, -1, -1, 0, 0
    size = 0.0
    ways = np.zeros((n, 2))  # how far the level below and the one above are; zero: there is none
    for i in range(n):
        k = numbers[i]
        if k > 0:
            ways[i, 0] = step[i] * (levels[k - 1] - levels[k])
        if k < last:
            ways[i, 1] = step[i] * (levels[k + 1] - levels[k])
    for i in range(n):
        for side in range(2):
            a = ways[i, side]
            if a == 0.0:
                continue
            change_i = a * (2.0 * gradient[i] + a * gram[i, i])
            for j in range(i + 1, n):
                slope = 2.0 * (gradient[j] + a * gram[i, j])
                other = 0 if slope > 0.0 else 1
                b = ways[j, other]
                gain = -(change_i + b * (slope + b * gram[j, j]))
                if gain > best_gain and b != 0.0:
                    best_gain, best_i, best_j, best_a, best_b = gain, i, j, side, other
                    size = a * a * gram[i, i] + b * b * gram[j, j]
    if best_i < 0 or best_gain <= IMPROVEMENT * size:
        return False
    for i, side in ((best_i, best_a), (best_j, best_b)):
        move_level(
            gram, step, levels, numbers, offset, gradient, i, numbers[i] + (1 if side else -1)
        )
    return True


def beam(problem: LevelProblem, width: int) -> Floats:
    """K-best beam search, then descent."""
    factor = problem.factor
    tables = make_tables(problem, factor, centre_levels(problem, problem.start))
    found = np.empty_like(problem.targets)
    numbers = np.empty(problem.features)
    for c in range(problem.channels):
        beam_levels(tables.table(c), width, numbers)
        found[c, factor.order] = numbers
    return descend(problem, found[None])


@njit(cache=True, nogil=True)
def beam_levels(table: Table, width: int, out: Floats) -> None:
    """Best numbers ``out`` (n,) of a beam: the M-algorithm of ``beam``, on tables."""
    factor, distance, extra = table.factor, table.distance, table.extra
    n, count = distance.shape
    room = width * CHILDREN
    steps, next_steps = np.empty((width, n)), np.empty((width, n))
    numbers, next_numbers = np.empty((width, n), np.int64), np.empty((width, n), np.int64)
    costs = np.zeros(width)
    child_cost = np.empty(room)
    child_number = np.empty(room, np.int64)
    child_parent = np.empty(room, np.int64)
    alive = 1
    for i in range(n - 1, -1, -1):
        children = 0
        for s in range(alive):
            pull = 0.0
            for j in range(i + 1, n):
                pull += factor[i, j] * steps[s, j]
            middle = table.offset[i] - table.slant[i] * pull
            k = nearest_to(table, i, middle)
            low, high = k - 1, k + 1
            for _ in range(CHILDREN):
                product = pull + factor[i, i] * distance[i, k]
                child_cost[children] = costs[s] + product * product + extra[i, k]
                child_number[children] = k
                child_parent[children] = s
                children += 1
                if low >= 0 and (
                    high >= count or middle - distance[i, low] <= distance[i, high] - middle
                ):
                    k = low
                    low -= 1
                elif high < count:
                    k = high
                    high += 1
                else:
                    break
        order = np.argsort(child_cost[:children])
        alive = min(width, children)
        for s in range(alive):
            child = order[s]
            next_steps[s] = steps[child_parent[child]]
            next_numbers[s] = numbers[child_parent[child]]
            next_numbers[s, i] = child_number[child]
            next_steps[s, i] = distance[i, child_number[child]]
            costs[s] = child_cost[child]
        steps, next_steps = next_steps, steps
        numbers, next_numbers = next_numbers, numbers
    for i in range(n):
        out[i] = numbers[0, i]
