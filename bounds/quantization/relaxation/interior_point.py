"""Primal-dual interior-point method for the SDP bound, on lifted constraints of rank one.

With the squared affine forms ``a_j`` of ``lifted``, and the corner ``X_nn = 1`` as one more, the
relaxation and its dual are

    primal   min <C, X>          sign_j a_j^T X a_j - s_j = sign_j,   X >= 0,  s >= 0
    dual     max sum sign_j m_j  S = C - sum_j m_j sign_j a_j a_j^T >= 0,  m >= 0

The algorithm (``interior_point``), whose directions are those of ``direction``:

    repeat
        S of the multipliers, its factor and inverse              assemble, measure
        gap = complementarity + infeasibility                     residuals
        stop if it is small, or if rounding lets it fall no more
        K, factored                                               newton_system
        the direction towards complementarity 0                   newton_direction, step_lengths
        how far it gets says how much to centre (Mehrotra 1992)   predicted
        what the linearisation left out                           second_order
        the direction towards that aim, corrected by it           newton_direction, step_lengths
        X, s move by one step length, m by the other

Iterates are always dual feasible: whatever the arithmetic does to the primal, the multipliers are
usable.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.cholesky import factor_upper, inner, invert_factor, longest_step
from bounds.linalg.forms import Floats
from bounds.quantization.relaxation.direction import (
    Iterate,
    Products,
    Scratch,
    SecondOrder,
    newton_direction,
    newton_system,
    second_order,
)
from bounds.quantization.relaxation.lifted import Booleans, Lifted, add_rank_ones, row_products

#: A limit for arithmetic gone astray: channels of real layers took 9 to 21 iterations, all rounds
#: together (seven layers, 36 inputs, 2 to 8 bits).
ITERATION_LIMIT = 60
#: Factorisations a step length may take; the first of two step lengths is only looked at.
STEP_TRIES, GUESS_TRIES = 16, 3
#: Halvings of a step after which S, assembled anew, is given up as singular: to 1e-5 of it.
RETREATS = 16
#: Steps below this move nothing: the end of what the arithmetic gives.
SHORTEST_STEP = 1e-4
#: Iterations without progress (the gap falls to less than PROGRESS of its best) before that end.
STALLED, PROGRESS = 9, 0.7
#: Infeasibility as a share of the gap above which no iteration counts as stalled, and as a share of
#: complementarity above which a step is spent on centring, at most CENTRINGS times.
FEASIBLE, INFEASIBLE, CENTRINGS = 0.1, 0.02, 8
#: Gaps by which the dual value may fall below its best before iterates count as run away.
RUNAWAY = 1e9
#: Share of the way to the boundary of the first step, and of the second: from the first of these
#: by the second of them, as the first step was long. Textbook values (Mehrotra, SIAM J. Optim. 2,
#: 1992; Toh, Todd, Tutuncu, SDPT3, 1999), as are the powers and limits of the aim.
GUESS_SHARE, STEP_SHARE, STEP_SHARE_GAIN = 0.9, 0.9, 0.08
LONG_GUESS, LONG_POWER, SHORT_POWER, LEAST_AIM, MOST_AIM = 0.5, 3.0, 2.0, 1e-3, 0.9


@njit(cache=True, nogil=True)
def assemble(problem: Lifted, at: Iterate, scratch: Scratch) -> bool:
    """``S = C - sum_j m_j sign_j a_j a_j^T`` and its factor; whether it is definite."""
    dual = at.matrices[1]
    for j in range(problem.m):
        scratch.weight[j] = -problem.sign[j] * at.multiplier[j]
    dual[:] = problem.constant
    add_rank_ones(scratch.weight, problem.rows, problem.m, dual)
    return factor_upper(dual, scratch.factor) == dual.shape[0]


@njit(cache=True, nogil=True)
def assemble_or_retreat(
    problem: Lifted, at: Iterate, move: Iterate, step: float, tries: int, scratch: Scratch
) -> bool:
    """``assemble``; S assembled anew is not quite S moved, so where that fails, step back half way.

    ``step``: how far along ``move`` the multipliers came.
    """
    for retreat in range(tries):
        if assemble(problem, at, scratch):
            return True
        if retreat < tries - 1:
            step *= 0.5
            for j in range(problem.m):
                at.multiplier[j] -= step * move.multiplier[j]
    return False


@njit(cache=True, nogil=True)
def measure(problem: Lifted, at: Iterate, products: Products, scratch: Scratch) -> None:
    """``S^-1`` from the factor of S, and the rows times X and times it."""
    invert_factor(scratch.factor, scratch.work, products.inverse)
    row_products(at.matrices[0], problem.rows, problem.m, products.row_x)
    row_products(products.inverse, problem.rows, problem.m, products.row_s)


@njit(cache=True, nogil=True)
def residuals(problem: Lifted, at: Iterate, products: Products) -> tuple[float, float, float]:
    """Complementarity ``<X, S> + s^T m``, infeasibility weighted by multipliers, dual value."""
    first, second, alpha, beta, gamma = problem.rows
    row_x, row_s, sign = products.row_x, products.row_s, problem.sign
    total = inner(at.matrices[0], at.matrices[1])
    value = 0.0
    lost = 0.0
    for j in range(problem.m):
        i, k = first[j], second[j]
        square = alpha[j] * row_x[j, i] + beta[j] * row_x[j, k] + gamma[j] * row_x[j, -1]
        products.spread[j] = (
            alpha[j] * row_s[j, i] + beta[j] * row_s[j, k] + gamma[j] * row_s[j, -1]
        )
        value += sign[j] * at.multiplier[j]
        miss = sign[j] * (square - 1.0)
        if not problem.free[j]:
            total += at.slack[j] * at.multiplier[j]
            miss -= at.slack[j]
        lost += abs(miss * at.multiplier[j])
    return total, lost, value


@njit(cache=True, nogil=True)
def ratio_step(value: Floats, move: Floats, free: Booleans, count: int, share: float) -> float:
    """The longest step <= 1 that keeps ``value + step * move`` positive, times ``share`` if cut."""
    step = 1.0
    for j in range(count):
        if not free[j] and step * move[j] < -share * value[j]:
            step = -share * value[j] / move[j]
    return step


@njit(cache=True, nogil=True)
def step_lengths(
    problem: Lifted, at: Iterate, move: Iterate, share: float, guess: bool, scratch: Scratch
) -> tuple[float, float]:
    """How far X and s, and how far S and m may move: ``share`` of the way to the boundary, or 1.

    ``guess``: a few trials will do.
    """
    tries = GUESS_TRIES if guess else STEP_TRIES
    free, count = problem.free, problem.m
    step_x = longest_step(
        at.matrices[0], move.matrices[0], share, tries, guess,
        scratch.work, scratch.factor, scratch.vector,
    )  # fmt: skip
    step_s = longest_step(
        at.matrices[1], move.matrices[1], share, tries, guess,
        scratch.work, scratch.factor, scratch.vector,
    )  # fmt: skip
    step_x = min(step_x, ratio_step(at.slack, move.slack, free, count, share))
    step_s = min(step_s, ratio_step(at.multiplier, move.multiplier, free, count, share))
    return step_x, step_s


@njit(cache=True, nogil=True)
def predicted(
    problem: Lifted, at: Iterate, move: Iterate, step_x: float, step_s: float, scratch: Scratch
) -> float:
    """The complementarity that steps along ``move`` would leave."""
    size = scratch.work.shape[0]
    for i in range(size):
        for j in range(size):
            scratch.work[i, j] = at.matrices[0, i, j] + step_x * move.matrices[0, i, j]
            scratch.factor[i, j] = at.matrices[1, i, j] + step_s * move.matrices[1, i, j]
    left = inner(scratch.work, scratch.factor)
    for j in range(problem.m):
        if not problem.free[j]:
            left += (at.slack[j] + step_x * move.slack[j]) * (
                at.multiplier[j] + step_s * move.multiplier[j]
            )
    return left


@njit(cache=True, nogil=True)
def advance(problem: Lifted, at: Iterate, move: Iterate, step_x: float, step_s: float) -> None:
    """X and s by ``step_x``, m by ``step_s``; S is assembled from m."""
    size = at.matrices.shape[1]
    for i in range(size):
        for j in range(size):
            at.matrices[0, i, j] += step_x * move.matrices[0, i, j]
    for j in range(problem.m):
        at.slack[j] += step_x * move.slack[j]
    for j in range(problem.m):
        at.multiplier[j] += step_s * move.multiplier[j]


@njit(cache=True, nogil=True)
def interior_point(
    problem: Lifted, at: Iterate, tolerance: float, smallest: float
) -> tuple[float, float, int]:
    """Iterate from ``at``, changed in place; its S is overwritten. Pseudocode: this file's head.

    Args:
        tolerance, smallest: gap, relative to the dual value or absolute, at which to stop.

    Returns: gap reached (absolute), mean complementarity product, iterations. The multipliers are
    those of the best dual value met: where the arithmetic fails, iterates run away from it.
    """
    count, size = problem.m, problem.constant.shape[0]
    square, row, column = (size, size), (count, size), (count, count)
    products = Products(
        np.empty(square), np.empty(row), np.empty(row), np.empty(count), np.zeros(count),
        np.empty(column), np.empty(column),
    )  # fmt: skip
    second = SecondOrder(np.empty(square), np.empty(count), np.empty(count))
    move = Iterate(np.empty((2, size, size)), np.zeros(count), np.empty(count))
    scratch = Scratch(
        np.empty(square), np.empty(square), np.empty(square), np.empty(size), np.empty(count),
        np.empty(row),
    )  # fmt: skip
    pairs = size
    for j in range(count):
        if not problem.free[j]:
            pairs += 1

    kept = at.multiplier[:count].copy()
    kept_value = -np.inf
    gap = np.inf
    centre = 0.0
    best = np.inf
    stalled = 0
    centrings = 0
    step_x = step_s = 0.0
    iteration = 0
    for iteration in range(ITERATION_LIMIT):
        tries = 1 if iteration == 0 else RETREATS
        if not assemble_or_retreat(problem, at, move, step_s, tries, scratch):
            at.multiplier[:count] = kept
            return np.inf, centre, iteration
        measure(problem, at, products, scratch)
        total, lost, value = residuals(problem, at, products)
        centre = total / pairs
        gap = total + lost
        stalled = 0 if gap < PROGRESS * best or lost > FEASIBLE * gap else stalled + 1
        best = min(best, gap)
        if value >= kept_value:
            kept_value = value
            kept[:] = at.multiplier[:count]
        elif value < kept_value - RUNAWAY * best:
            break
        if not gap > max(tolerance * value, smallest) or stalled == STALLED:
            break
        if not newton_system(problem, at, products):
            break

        newton_direction(problem, at, products, 0.0, second, False, move, scratch)
        step_x, step_s = step_lengths(problem, at, move, GUESS_SHARE, True, scratch)
        left = predicted(problem, at, move, step_x, step_s, scratch)
        power = LONG_POWER if min(step_x, step_s) > LONG_GUESS else SHORT_POWER
        aim = min(max(max(left / total, 0.0) ** power, LEAST_AIM), MOST_AIM) * centre
        if lost > INFEASIBLE * total and centrings < CENTRINGS:
            # the gap must not run ahead of feasibility: near the boundary there is no way back
            aim = centre
            centrings += 1
        share = STEP_SHARE + STEP_SHARE_GAIN * min(step_x, step_s)
        second_order(problem, at, products, move, second, scratch)
        newton_direction(problem, at, products, aim, second, True, move, scratch)
        step_x, step_s = step_lengths(problem, at, move, share, False, scratch)
        if max(step_x, step_s) < SHORTEST_STEP:
            break
        advance(problem, at, move, step_x, step_s)

    at.multiplier[:count] = kept
    assemble(problem, at, scratch)
    return gap, centre, iteration
