"""Primal-dual interior-point method for the SDP bound, on lifted constraints of rank one.

With the squared affine forms ``a_j`` of ``lifted``, and the corner ``X_nn = 1`` as one more, the
relaxation and its dual are

    primal   min <C, X>          sign_j a_j^T X a_j - s_j = sign_j,   X >= 0,  s >= 0
    dual     max sum sign_j m_j  S = C - sum_j m_j sign_j a_j a_j^T >= 0,  m >= 0

and the Newton system of the HKM direction is a Hadamard product,
``K_jk = sign_j sign_k (a_j^T X a_k)(a_j^T S^-1 a_k)``, plus ``s_j / m_j`` on the diagonal
(Helmberg, Rendl, Vanderbei, Wolkowicz 1996). The algorithm (``interior_point``):

    repeat
        S of the multipliers, its factor and inverse              assemble, measure
        gap = complementarity + infeasibility                     residuals
        stop if it is small, or if rounding lets it fall no more
        K, factored                                               newton_matrix, factor_newton
        the direction towards complementarity 0                   newton_direction, step_lengths
        how far it gets says how much to centre (Mehrotra 1992)   predicted
        what the linearisation left out                           second_order
        the direction towards that aim, corrected by it           newton_direction, step_lengths
        X, s move by one step length, m by the other

Iterates are always dual feasible: whatever the arithmetic does to the primal, the multipliers are
usable.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.linalg.cholesky import (
    factor_upper,
    inner,
    invert_factor,
    longest_step,
    multiply,
    solve_upper,
)
from bounds.linalg.forms import Floats
from bounds.quantization.relaxation.lifted import (
    Booleans,
    Lifted,
    Rows,
    add_outer_rows,
    add_rank_ones,
    row_products,
)

ITERATION_LIMIT = 60
STEP_TRIES = 16
GUESS_TRIES = 3  # the first of two step lengths is only looked at
RETREATS = 16
SHORTEST_STEP = 1e-4
STALLED = 9  # iterations without progress after which the arithmetic gives no more
INFEASIBLE = 0.02  # primal residuals, weighted, as a share of the gap
CENTRINGS = 8
RUNAWAY = 1e9  # gaps by which the dual value may fall below its best


class Iterate(NamedTuple):
    """A primal-dual point, or a move of one.

    ``matrices`` (2, N, N): X, positive definite, need not be feasible; and S. ``slack``: s, and
    ``multiplier``: m, (at least count,); a row that is an equality has no slack.
    """

    matrices: Floats
    slack: Floats
    multiplier: Floats


class Products(NamedTuple):
    """What an iterate is measured by, and its Newton system.

    ``inverse`` (N, N): S^-1. ``row_x``, ``row_s`` (count, N): ``a_j^T X`` and ``a_j^T S^-1``;
    ``spread`` (count,): ``a_j^T S^-1 a_j``. ``diagonal`` (count,): ``s_j / m_j``, zero for
    equalities. ``newton``, ``newton_factor`` (count, count): K and its factor.
    """

    inverse: Floats
    row_x: Floats
    row_s: Floats
    spread: Floats
    diagonal: Floats
    newton: Floats
    newton_factor: Floats


class SecondOrder(NamedTuple):
    """Second-order terms of the complementarity conditions: of X and S, of the rows, of s and m.

    ``matrix`` (N, N); ``rows``, ``slack`` (count,).
    """

    matrix: Floats
    rows: Floats
    slack: Floats


class Scratch(NamedTuple):
    """Memory of one step: ``factor``, ``work``, ``product`` (N, N); ``vector`` (N,); of the rows,
    ``weight`` (count,) and ``row_move`` (count, N)."""

    factor: Floats
    work: Floats
    product: Floats
    vector: Floats
    weight: Floats
    row_move: Floats


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
def newton_matrix(
    row_x: Floats, row_s: Floats, rows: Rows, sign: Floats, count: int, out: Floats
) -> None:
    """Upper triangle of ``K`` (count, count), but for the diagonal's ``s_j / m_j``."""
    first, second, alpha, beta, gamma = rows
    e = row_x.shape[1] - 1
    for j in range(count):
        ex, es = row_x[j, e], row_s[j, e]
        for k in range(j, count):
            i, a, c = first[k], alpha[k], gamma[k]
            x = a * row_x[j, i] + c * ex
            s = a * row_s[j, i] + c * es
            if beta[k] != 0.0:
                x += beta[k] * row_x[j, second[k]]
                s += beta[k] * row_s[j, second[k]]
            out[j, k] = sign[j] * sign[k] * x * s


@njit(cache=True, nogil=True)
def factor_newton(matrix: Floats, diagonal: Floats, count: int, factor: Floats) -> bool:
    """Factor ``matrix + diag(diagonal)``, adding as little more as it takes."""
    ridge = 0.0
    for j in range(count):
        matrix[j, j] += diagonal[j]
    for _ in range(8):
        if factor_upper(matrix, factor) == count:
            return True
        more = 1e-14 if ridge == 0.0 else 9.0 * ridge
        for j in range(count):
            matrix[j, j] *= 1.0 + more
        ridge += more
    return False


@njit(cache=True, nogil=True)
def newton_system(problem: Lifted, at: Iterate, products: Products) -> bool:
    """K of this iterate, factored; False if it is singular beyond repair."""
    count = problem.m
    newton_matrix(
        products.row_x, products.row_s, problem.rows, problem.sign, count, products.newton
    )
    for j in range(count):
        if not problem.free[j]:
            products.diagonal[j] = at.slack[j] / at.multiplier[j]
    return factor_newton(products.newton, products.diagonal, count, products.newton_factor)


@njit(cache=True, nogil=True)
def newton_direction(
    problem: Lifted,
    at: Iterate,
    products: Products,
    aim: float,
    second: SecondOrder,
    corrected: bool,
    move: Iterate,
    scratch: Scratch,
) -> None:
    """The move towards complementarity ``aim`` of every pair, into ``move``.

    Eliminated down to the multipliers, it is one solve with K; X, S and s follow from theirs.
    ``corrected``: subtract the second-order terms.
    """
    sign, free, count = problem.sign, problem.free, problem.m
    inverse, product, work, weight = (
        products.inverse, scratch.product, scratch.work, scratch.weight,
    )  # fmt: skip
    primal = at.matrices[0]
    move_x, move_s = move.matrices[0], move.matrices[1]
    size = primal.shape[0]
    for j in range(count):
        move.multiplier[j] = sign[j] * (1.0 - aim * products.spread[j])
        if corrected:
            move.multiplier[j] += sign[j] * second.rows[j]
        if not free[j]:
            move.multiplier[j] += aim / at.multiplier[j]
            if corrected:
                move.multiplier[j] -= second.slack[j]
    solve_upper(products.newton_factor, move.multiplier)
    for j in range(count):
        weight[j] = -sign[j] * move.multiplier[j]
    product[:] = 0.0
    add_outer_rows(weight, products.row_x, problem.rows, count, product)
    if corrected:
        for i in range(size):
            for j in range(size):
                product[i, j] += second.matrix[i, j]
    multiply(inverse, product, work)
    for i in range(size):
        for j in range(i, size):
            half = 0.5 * (work[i, j] + work[j, i])
            move_x[i, j] = aim * inverse[i, j] - primal[i, j] - half
            move_x[j, i] = move_x[i, j]
    move_s[:] = 0.0
    add_rank_ones(weight, problem.rows, count, move_s)
    for j in range(count):
        if not free[j]:
            move.slack[j] = (
                aim / at.multiplier[j] - at.slack[j] - products.diagonal[j] * move.multiplier[j]
            )
            if corrected:
                move.slack[j] -= second.slack[j]


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
def second_order(
    problem: Lifted,
    at: Iterate,
    products: Products,
    move: Iterate,
    second: SecondOrder,
    scratch: Scratch,
) -> None:
    """What the linearisation along ``move`` left out of the complementarity conditions."""
    count, rows, work = problem.m, problem.rows, scratch.work
    size = work.shape[0]
    row_products(move.matrices[0], rows, count, scratch.row_move)
    second.matrix[:] = 0.0
    add_outer_rows(scratch.weight, scratch.row_move, rows, count, second.matrix)
    for i in range(size):
        for j in range(size):
            work[j, i] = second.matrix[i, j]
    for j in range(count):
        i, k = rows.first[j], rows.second[j]
        a, b, c = rows.alpha[j], rows.beta[j], rows.gamma[j]
        term = 0.0
        for t in range(size):
            term += products.row_s[j, t] * (a * work[i, t] + b * work[k, t] + c * work[size - 1, t])
        second.rows[j] = term
        second.slack[j] = 0.0
        if not problem.free[j]:
            second.slack[j] = move.slack[j] * move.multiplier[j] / at.multiplier[j]


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
        stalled = 0 if gap < 0.7 * best or lost > 0.1 * gap else stalled + 1
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
        step_x, step_s = step_lengths(problem, at, move, 0.9, True, scratch)
        left = predicted(problem, at, move, step_x, step_s, scratch)
        power = 3.0 if min(step_x, step_s) > 0.5 else 2.0
        aim = min(max(max(left / total, 0.0) ** power, 1e-3), 0.9) * centre
        if lost > INFEASIBLE * total and centrings < CENTRINGS:
            # the gap must not run ahead of feasibility: near the boundary there is no way back
            aim = centre
            centrings += 1
        share = 0.9 + 0.08 * min(step_x, step_s)
        second_order(problem, at, products, move, second, scratch)
        newton_direction(problem, at, products, aim, second, True, move, scratch)
        step_x, step_s = step_lengths(problem, at, move, share, False, scratch)
        if max(step_x, step_s) < SHORTEST_STEP:
            break
        advance(problem, at, move, step_x, step_s)

    at.multiplier[:count] = kept
    assemble(problem, at, scratch)
    return gap, centre, iteration
