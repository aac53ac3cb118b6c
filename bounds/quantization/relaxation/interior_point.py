"""Primal-dual interior-point method for the SDP bound, on lifted constraints of rank one.

With ``X = [[Z, z], [z^T, 1]]`` of order N = n + 1 every cut is one squared affine form: with
``a_j = (b_j, -(p+q)/2) / d_j``, ``d_j = (q-p)/2``, it says ``sign_j (a_j^T X a_j - 1) >= 0``; the
corner ``X_nn = 1`` is the same thing with ``a_0 = e_n`` and a multiplier of either sign. So

    primal   min <C, X>          sign_j a_j^T X a_j - s_j = sign_j,   X >= 0,  s >= 0
    dual     max sum sign_j m_j  S = C - sum_j m_j sign_j a_j a_j^T >= 0,  m >= 0

and the Newton system of the HKM direction is a Hadamard product,
``K_jk = sign_j sign_k (a_j^T X a_k)(a_j^T S^-1 a_k)``, plus ``s_j / m_j`` on the diagonal
(Helmberg, Rendl, Vanderbei, Wolkowicz 1996). Iterates are always dual feasible: whatever the
arithmetic does to the primal, the multipliers are usable.
"""

from __future__ import annotations

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

ITERATION_LIMIT = 60
STEP_TRIES = 16
GUESS_TRIES = 3  # the first of two step lengths is only looked at
RETREATS = 16
SHORTEST_STEP = 1e-4
STALLED = 9  # iterations without progress after which the arithmetic gives no more
INFEASIBLE = 0.02  # primal residuals, weighted, as a share of the gap
CENTRINGS = 8
RUNAWAY = 1e9  # gaps by which the dual value may fall below its best


@njit(cache=True, nogil=True)
def images(matrix, rows, count, out):
    """Rows ``a_j^T matrix`` (count, N) of a symmetric matrix."""
    first, second, alpha, beta, gamma = rows
    n = matrix.shape[0]
    for j in range(count):
        i, k, a, b, c = first[j], second[j], alpha[j], beta[j], gamma[j]
        if b == 0.0:
            for t in range(n):
                out[j, t] = a * matrix[i, t] + c * matrix[n - 1, t]
        else:
            for t in range(n):
                out[j, t] = a * matrix[i, t] + b * matrix[k, t] + c * matrix[n - 1, t]


@njit(cache=True, nogil=True)
def add_rank_ones(weight, rows, count, out):
    """``out += sum_j weight_j a_j a_j^T``."""
    first, second, alpha, beta, gamma = rows
    e = out.shape[0] - 1
    for j in range(count):
        i, k, a, b, c, w = first[j], second[j], alpha[j], beta[j], gamma[j], weight[j]
        out[i, i] += w * a * a
        out[i, e] += w * a * c
        out[e, i] += w * a * c
        out[e, e] += w * c * c
        if b != 0.0:
            out[k, k] += w * b * b
            out[k, e] += w * b * c
            out[e, k] += w * b * c
            out[i, k] += w * a * b
            out[k, i] += w * a * b


@njit(cache=True, nogil=True)
def add_outer_rows(weight, image, rows, count, out):
    """``out += sum_j weight_j a_j image_j^T``: a sum of rank-one matrices times a matrix."""
    first, second, alpha, beta, gamma = rows
    n = out.shape[0]
    for j in range(count):
        i, k, w = first[j], second[j], weight[j]
        a, b, c = w * alpha[j], w * beta[j], w * gamma[j]
        if a != 0.0:
            for t in range(n):
                out[i, t] += a * image[j, t]
        if b != 0.0:
            for t in range(n):
                out[k, t] += b * image[j, t]
        if c != 0.0:
            for t in range(n):
                out[n - 1, t] += c * image[j, t]


@njit(cache=True, nogil=True)
def newton_matrix(image_x, image_s, rows, sign, count, out):
    """Upper triangle of ``K`` (count, count)."""
    first, second, alpha, beta, gamma = rows
    e = image_x.shape[1] - 1
    for j in range(count):
        ex, es = image_x[j, e], image_s[j, e]
        for k in range(j, count):
            i, a, c = first[k], alpha[k], gamma[k]
            x = a * image_x[j, i] + c * ex
            s = a * image_s[j, i] + c * es
            if beta[k] != 0.0:
                x += beta[k] * image_x[j, second[k]]
                s += beta[k] * image_s[j, second[k]]
            out[j, k] = sign[j] * sign[k] * x * s


@njit(cache=True, nogil=True)
def factor_newton(matrix, diagonal, count, factor):
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
def ratio_step(value, move, free, count, share):
    """The longest step <= 1 that keeps ``value + step * move`` positive, times ``share`` if cut."""
    step = 1.0
    for j in range(count):
        if not free[j] and step * move[j] < -share * value[j]:
            step = -share * value[j] / move[j]
    return step


@njit(cache=True, nogil=True)
def interior_point(
    constant, rows, sign, free, multiplier, slack, state, count, tolerance, smallest
):
    """Iterate from ``state[0]`` (X), ``slack`` (s), ``multiplier`` (m), all changed in place.

    Args:
        constant: C (N, N). rows: ``a_j = alpha e_first + beta e_second + gamma e_n`` as a tuple of
            these five arrays; row 0 is the corner. free: which are equalities. count: how many.
        state: (2, N, N): X, positive definite, need not be feasible; S, overwritten.
        tolerance, smallest: gap, relative to the dual value or absolute, at which to stop.

    Returns: gap reached (absolute), mean complementarity product, iterations. The multipliers are
    those of the best dual value met: where the arithmetic fails, iterates run away from it.
    """
    first, second, alpha, beta, gamma = rows
    size = constant.shape[0]
    inverse = np.empty((size, size))
    factor = np.empty((size, size))
    work = np.empty((size, size))
    product = np.empty((size, size))
    second_order = np.empty((size, size))
    moves = np.empty((2, size, size))
    primal, dual = state[0], state[1]
    move_x, move_s = moves[0], moves[1]
    image_x = np.empty((count, size))
    image_s = np.empty((count, size))
    image_move = np.empty((count, size))
    newton = np.empty((count, count))
    newton_factor = np.empty((count, count))
    vector = np.empty(size)
    weight = np.empty(count)
    diagonal = np.zeros(count)
    rhs = np.empty(count)
    spread = np.empty(count)  # a_j^T S^-1 a_j
    correction = np.zeros(count)
    move = np.empty(count)
    slack_move = np.zeros(count)
    steps = np.zeros(2)
    pairs = size
    for j in range(count):
        if not free[j]:
            pairs += 1

    kept = multiplier[:count].copy()
    kept_value = -np.inf
    gap = np.inf
    centre = 0.0
    best = np.inf
    stalled = 0
    centrings = 0
    iteration = 0
    for iteration in range(ITERATION_LIMIT):
        for retreat in range(RETREATS):
            for j in range(count):
                weight[j] = -sign[j] * multiplier[j]
            dual[:] = constant
            add_rank_ones(weight, rows, count, dual)
            if factor_upper(dual, factor) == size:
                break
            if iteration == 0 or retreat == RETREATS - 1:
                multiplier[:count] = kept
                return np.inf, centre, iteration
            # S assembled anew is not quite S moved: step back half the way
            steps[1] *= 0.5
            for j in range(count):
                multiplier[j] -= steps[1] * move[j]
        invert_factor(factor, work, inverse)
        images(primal, rows, count, image_x)
        images(inverse, rows, count, image_s)
        total = inner(primal, dual)
        value = 0.0
        lost = 0.0
        for j in range(count):
            i, k = first[j], second[j]
            square = alpha[j] * image_x[j, i] + beta[j] * image_x[j, k] + gamma[j] * image_x[j, -1]
            spread[j] = (
                alpha[j] * image_s[j, i] + beta[j] * image_s[j, k] + gamma[j] * image_s[j, -1]
            )
            value += sign[j] * multiplier[j]
            miss = sign[j] * (square - 1.0)
            if not free[j]:
                total += slack[j] * multiplier[j]
                miss -= slack[j]
            lost += abs(miss * multiplier[j])
        centre = total / pairs
        gap = total + lost
        stalled = 0 if gap < 0.7 * best or lost > 0.1 * gap else stalled + 1
        best = min(best, gap)
        if value >= kept_value:
            kept_value = value
            kept[:] = multiplier[:count]
        elif value < kept_value - RUNAWAY * best:
            break
        if not gap > max(tolerance * value, smallest) or stalled == STALLED:
            break

        newton_matrix(image_x, image_s, rows, sign, count, newton)
        for j in range(count):
            if not free[j]:
                diagonal[j] = slack[j] / multiplier[j]
        if not factor_newton(newton, diagonal, count, newton_factor):
            break

        aim = 0.0
        share = 0.9
        for stage in range(2):
            for j in range(count):
                move[j] = sign[j] * (1.0 - aim * spread[j]) + sign[j] * correction[j] * stage
                if not free[j]:
                    move[j] += aim / multiplier[j]
                    if stage == 1:
                        move[j] -= rhs[j]
            solve_upper(newton_factor, move)
            for j in range(count):
                weight[j] = -sign[j] * move[j]
            product[:] = 0.0
            add_outer_rows(weight, image_x, rows, count, product)
            if stage == 1:
                for i in range(size):
                    for j in range(size):
                        product[i, j] += second_order[i, j]
            multiply(inverse, product, work)
            for i in range(size):
                for j in range(i, size):
                    half = 0.5 * (work[i, j] + work[j, i])
                    move_x[i, j] = aim * inverse[i, j] - primal[i, j] - half
                    move_x[j, i] = move_x[i, j]
            move_s[:] = 0.0
            add_rank_ones(weight, rows, count, move_s)
            for j in range(count):
                if not free[j]:
                    slack_move[j] = aim / multiplier[j] - slack[j] - diagonal[j] * move[j]
                    if stage == 1:
                        slack_move[j] -= rhs[j]
            tries = STEP_TRIES if stage == 1 else GUESS_TRIES
            for side in range(2):
                steps[side] = longest_step(
                    state[side], moves[side], share, tries, stage == 0, work, factor, vector
                )
            steps[0] = min(steps[0], ratio_step(slack, slack_move, free, count, share))
            steps[1] = min(steps[1], ratio_step(multiplier, move, free, count, share))
            if stage == 1:
                break
            # Mehrotra: how far the pure Newton step gets decides how much to centre
            step_x, step_s = steps[0], steps[1]
            for i in range(size):
                for j in range(size):
                    work[i, j] = primal[i, j] + step_x * move_x[i, j]
                    factor[i, j] = dual[i, j] + step_s * move_s[i, j]
            left = inner(work, factor)
            for j in range(count):
                if not free[j]:
                    left += (slack[j] + step_x * slack_move[j]) * (multiplier[j] + step_s * move[j])
            ratio = max(left / total, 0.0)
            power = 3.0 if min(step_x, step_s) > 0.5 else 2.0
            aim = min(max(ratio**power, 1e-3), 0.9) * centre
            if lost > INFEASIBLE * total and centrings < CENTRINGS:
                # the gap must not run ahead of feasibility: near the boundary there is no way back
                aim = centre
                centrings += 1
            share = 0.9 + 0.08 * min(step_x, step_s)
            # second-order terms of the complementarity conditions
            images(move_x, rows, count, image_move)
            second_order[:] = 0.0
            add_outer_rows(weight, image_move, rows, count, second_order)
            for i in range(size):
                for j in range(size):
                    work[j, i] = second_order[i, j]
            for j in range(count):
                i, k, a, b, c = first[j], second[j], alpha[j], beta[j], gamma[j]
                term = 0.0
                for t in range(size):
                    term += image_s[j, t] * (
                        a * work[i, t] + b * work[k, t] + c * work[size - 1, t]
                    )
                correction[j] = term
                rhs[j] = 0.0 if free[j] else slack_move[j] * move[j] / multiplier[j]

        if max(steps[0], steps[1]) < SHORTEST_STEP:
            break
        for i in range(size):
            for j in range(size):
                primal[i, j] += steps[0] * move_x[i, j]
        for j in range(count):
            slack[j] += steps[0] * slack_move[j]
        for j in range(count):
            multiplier[j] += steps[1] * move[j]
    for j in range(count):
        multiplier[j] = kept[j]
        weight[j] = -sign[j] * multiplier[j]
    dual[:] = constant
    add_rank_ones(weight, rows, count, dual)
    return gap, centre, iteration
