"""The SDP bound without an SDP modeller: which cuts, where to start, what multipliers come out.

Maximises ``D(m) = min_z error(z) - sum_j m_j cut_j(z)`` over multipliers ``m >= 0`` of the cuts of
``cuts.py`` (Park & Boyd 2017, with the box; two-variable cuts where asked), by the interior-point
method of ``interior.py``. Its primal solution is a mean and a covariance, from which violated cuts
are found and random roundings drawn.

Works in units where codes are integers near zero and the Gram has unit mean diagonal. Inside, the
origin is the minimiser over the box: far from it the error is a small difference of large numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.quantization.dense import factor_upper, invert_factor, solve_upper
from bounds.quantization.interior import add_rank_ones, images, interior_point

RELATIVE_GAP = 1e-5
ROUND_GAP = 1.0  # gap at which violated cuts are looked for: early, while entering is cheap
ROUND_SHRINK = 0.1  # and that gap shrinks from round to round
SMALLEST_GAP = 1e-11  # of the rounded point's error: a bound below that is as good as zero
CUT_VIOLATION = 1e-3
NEW_CUT_SHARE = 0.7
START_PASSES = 3
ROUNDING = 2.0**-53


@njit(cache=True, nogil=True)
def write_rows(start, cuts, begin, count, rows):
    """Lift cuts ``begin..count`` to rows ``begin+1..count+1`` of the interior-point method."""
    first, second, pair, low, high = cuts[:5]
    index, other, alpha, beta, gamma = rows
    for j in range(begin, count):
        half = 0.5 * (high[j] - low[j])
        middle = 0.5 * (high[j] + low[j]) - start[first[j]]
        index[j + 1] = first[j]
        other[j + 1] = first[j]
        alpha[j + 1] = 1.0 / half
        beta[j + 1] = 0.0
        if second[j] >= 0:
            middle -= pair[j] * start[second[j]]
            other[j + 1] = second[j]
            beta[j + 1] = pair[j] / half
        gamma[j + 1] = -middle / half


@njit(cache=True, nogil=True)
def first_multipliers(gram, slope, cuts, free, multiplier, count):
    """Multipliers of the first cuts (rows 1..), well inside the dual's feasible set.

    The box gets what the central path gives it while codes spread over the whole box, and what
    holds back half the gradient at the origin, ``slope``; the integer cuts half of what a row-sum
    bound on the eigenvalues allows. Returns False if that is not definite.
    """
    n = gram.shape[0]
    first, low, high, sign = cuts[0], cuts[3], cuts[4], cuts[5]
    matrix = np.empty((n, n))
    factor = np.empty((n, n))
    work = np.empty((n, n))
    inverse = np.empty((n, n))
    stiffness = np.diag(gram).copy()
    for _ in range(START_PASSES):
        matrix[:] = gram
        least = max(np.median(stiffness), 1e-8)
        for j in range(count):
            if free[j + 1] or sign[j] < 0.0:
                i = first[j]
                half = 0.5 * (high[j] - low[j])
                strength = max(stiffness[i], least) / (half * half) + abs(slope[i]) / half
                matrix[i, i] += strength
                multiplier[j + 1] = -sign[j] * strength * half * half
        if factor_upper(matrix, factor) < n:
            return False
        invert_factor(factor, work, inverse)
        for i in range(n):
            stiffness[i] = 1.0 / inverse[i, i]
    widest = 0.0
    for i in range(n):
        total = 0.0
        for k in range(n):
            total += abs(inverse[i, k]) / np.sqrt(inverse[i, i] * inverse[k, k])
        widest = max(widest, total)
    for j in range(count):
        if sign[j] > 0.0 and not free[j + 1]:
            half = 0.5 * (high[j] - low[j])
            multiplier[j + 1] = 0.5 * half * half / (widest * inverse[first[j], first[j]])
    return True


@njit(cache=True, nogil=True)
def lagrangian_matrix(constant, rows, sign, multiplier, count, out):
    """``C - sum_j>0 m_j sign_j a_j a_j^T``; returns the constant ``sum_j>0 sign_j m_j``."""
    weight = np.zeros(count)
    total = 0.0
    for j in range(1, count):
        weight[j] = -sign[j] * multiplier[j]
        total -= weight[j]
    out[:] = constant
    add_rank_ones(weight, rows, count, out)
    return total


@njit(cache=True, nogil=True)
def minimise_lagrangian(lifted, total, factor):
    """Factor ``M`` and minimise: feasible, dual value, minimiser relative to the origin (n,)."""
    n = lifted.shape[0] - 1
    z = -lifted[n, :n].copy()
    if factor_upper(lifted[:n, :n], factor) < n:
        return False, 0.0, z
    solve_upper(factor, z)
    return True, total + lifted[n, n] + lifted[n, :n] @ z, z


@njit(cache=True, nogil=True)
def start_central(constant, rows, sign, free, multiplier, count, slack, primal):
    """Set the corner's multiplier, ``X`` and ``s`` on the central path of the given multipliers.

    ``X = tau S^-1`` with a tau that makes half the variances at least 1/2, as integer cuts need.
    """
    size = constant.shape[0]
    n = size - 1
    lifted = np.empty((size, size))
    factor = np.empty((n, n))
    work = np.empty((n, n))
    inverse = np.empty((n, n))
    total = lagrangian_matrix(constant, rows, sign, multiplier, count, lifted)
    feasible, value, z = minimise_lagrangian(lifted, total, factor)
    if not feasible:
        return False
    invert_factor(factor, work, inverse)
    tau = 0.5 / np.median(np.diag(inverse))
    multiplier[0] = value - total - tau
    for i in range(n):
        for k in range(n):
            primal[i, k] = tau * inverse[i, k] + z[i] * z[k]
        primal[i, n] = z[i]
        primal[n, i] = z[i]
    primal[n, n] = 1.0
    for j in range(1, count):
        if not free[j]:
            slack[j] = max(primal_slack(primal, rows, sign, j), 0.1 * tau / multiplier[j])
    return True


@njit(cache=True, nogil=True)
def primal_slack(primal, rows, sign, j):
    """``sign_j (a_j^T X a_j - 1)``."""
    i, k, e = rows[0][j], rows[1][j], primal.shape[0] - 1
    a, b, c = rows[2][j], rows[3][j], rows[4][j]
    value = a * a * primal[i, i] + c * c * primal[e, e] + 2.0 * a * c * primal[i, e]
    value += b * b * primal[k, k] + 2.0 * b * (a * primal[i, k] + c * primal[k, e])
    return sign[j] * (value - 1.0)


@njit(cache=True, nogil=True)
def add_violated(start, lo, hi, primal, cuts, count, pairs):
    """Append integer cuts that the primal solution violates: all on one code, ``pairs`` on two.

    Returns the new number of cuts.
    """
    first, second, pair, low, high, sign = cuts[:6]
    n = start.shape[0]
    room = first.shape[0]
    old = count
    mean = start + primal[n, :n]
    for i in range(n):
        if hi[i] - lo[i] <= 1.0 or count == room:
            continue
        floor = min(max(np.floor(mean[i]), lo[i]), hi[i] - 1.0)
        variance = primal[i, i] - primal[i, n] * primal[i, n]
        if (mean[i] - floor) * (mean[i] - floor - 1.0) + variance >= -CUT_VIOLATION:
            continue
        known = False
        for j in range(old):
            if first[j] == i and second[j] < 0 and sign[j] > 0.0 and low[j] == floor:
                known = True
        if not known:
            first[count], low[count], high[count] = i, floor, floor + 1.0
            second[count], pair[count], sign[count] = -1, 0.0, 1.0
            count += 1
    pairs = min(pairs, room - count)
    if pairs <= 0:
        return count
    score = np.zeros(n * (n - 1))
    t = 0
    for i in range(n):
        for k in range(i + 1, n):
            for factor in (1.0, -1.0):
                y = mean[i] + factor * mean[k]
                variance = primal[i, i] - primal[i, n] * primal[i, n]
                variance += primal[k, k] - primal[k, n] * primal[k, n]
                variance += 2.0 * factor * (primal[i, k] - primal[i, n] * primal[k, n])
                floor = np.floor(y)
                score[t] = (y - floor) * (y - floor - 1.0) + variance
                t += 1
    order = np.argsort(score)[:pairs]
    chosen = np.zeros(n * (n - 1), np.bool_)
    for t in order:
        chosen[t] = score[t] < -CUT_VIOLATION
    t = 0
    for i in range(n):
        for k in range(i + 1, n):
            for factor in (1.0, -1.0):
                if chosen[t]:
                    floor = np.floor(mean[i] + factor * mean[k])
                    known = False
                    for j in range(old):
                        if first[j] == i and second[j] == k and pair[j] == factor:
                            known = known or low[j] == floor
                    if not known:
                        first[count], low[count], high[count] = i, floor, floor + 1.0
                        second[count], pair[count], sign[count] = k, factor, 1.0
                        count += 1
                t += 1
    return count


@njit(cache=True, nogil=True)
def enter_cuts(dual, rows, multiplier, slack, begin, end, centre):
    """Give rows ``begin..end`` multipliers that keep ``S`` definite, and centred slacks."""
    size = dual.shape[0]
    factor = np.empty((size, size))
    work = np.empty((size, size))
    inverse = np.empty((size, size))
    factor_upper(dual, factor)
    invert_factor(factor, work, inverse)
    fresh = (rows[0][begin:], rows[1][begin:], rows[2][begin:], rows[3][begin:], rows[4][begin:])
    count = end - begin
    image = np.empty((count, size))
    images(inverse, fresh, count, image)
    products = np.empty((count, count))
    for j in range(count):
        i, k = fresh[0][j], fresh[1][j]
        for t in range(count):
            products[j, t] = fresh[2][j] * image[t, i] + fresh[3][j] * image[t, k]
            products[j, t] += fresh[4][j] * image[t, size - 1]
    widest = 0.0  # row-sum bound on the eigenvalues of the normalised products
    for j in range(count):
        total = 0.0
        for k in range(count):
            total += abs(products[j, k]) / np.sqrt(products[j, j] * products[k, k])
        widest = max(widest, total)
    for j in range(count):
        multiplier[begin + j] = NEW_CUT_SHARE / (widest * products[j, j])
        slack[begin + j] = centre / multiplier[begin + j]


@njit(cache=True, nogil=True)
def verifiable(lifted, factor, rows, multiplier, count):
    """Whether ``M``, factored, is far enough from singular for ``cuts.lagrangian_bound``.

    That shifts a balanced Cholesky by ``0.5 / trace(M^-1)`` plus the rounding of forming ``M``.
    """
    n = lifted.shape[0] - 1
    work = np.empty((n, n))
    inverse = np.empty((n, n))
    invert_factor(factor, work, inverse)
    trace = 0.0
    lost = np.zeros(n)
    for i in range(n):
        trace += inverse[i, i] * lifted[i, i]
    for j in range(1, count):
        i, k = rows[0][j], rows[1][j]
        lost[i] += multiplier[j] * rows[2][j] ** 2 / lifted[i, i]
        if rows[3][j] != 0.0:
            both = abs(multiplier[j] * rows[3][j] * rows[2][j])
            lost[i] += both / np.sqrt(lifted[i, i] * lifted[k, k])
            lost[k] += both / np.sqrt(lifted[i, i] * lifted[k, k]) + both / lifted[k, k]
    rounding = ROUNDING * ((count + 4) * np.max(np.abs(lost)) + 8.0 * n * (n + 3))
    return 0.5 / trace > 4.0 * rounding


@njit(cache=True, nogil=True)
def settle(constant, rows, sign, multiplier, count):
    """Shrink the integer multipliers until ``M`` is verifiable: dual value, minimiser (n,)."""
    size = constant.shape[0]
    lifted = np.empty((size, size))
    factor = np.empty((size - 1, size - 1))
    trial = multiplier.copy()
    less = 0.0
    while True:
        for j in range(1, count):
            trial[j] = multiplier[j]
            if sign[j] * multiplier[j] > 0.0:
                trial[j] *= 1.0 - less
        total = lagrangian_matrix(constant, rows, sign, trial, count, lifted)
        feasible, value, z = minimise_lagrangian(lifted, total, factor)
        if feasible and verifiable(lifted, factor, rows, trial, count):
            break
        if less == 1.0:
            value, z = 0.0, np.zeros(size - 1)
            break
        less = 1e-7 if less == 0.0 else min(4.0 * less, 1.0)
    multiplier[:] = trial
    return value, z


@njit(cache=True, nogil=True)
def solve_dual(gram, target, start, lo, hi, room, rounds, pairs=0):
    """The SDP bound of one channel.

    Args:
        gram: (n, n) of unit mean diagonal; target (n,) uncompressed codes; start (n,) the minimiser
            over the box, whose floors are the first integer cuts; lo, hi (n,) the box, lo < hi.
        room: how many cuts can be held, at least 2n; rounds: how often violated cuts are added;
            pairs: how many two-variable cuts a round may add.

    Returns: dual value, z (n,) minimising the Lagrangian, covariance (n, n) of the primal solution,
        its factor (1.0), iterations, number of cuts, and the cut arrays first, second, pair sign,
        low, high, sign, multiplier (room,).

    Source: Park and Boyd, A semidefinite programming method for integer convex quadratic
    minimization, Optimization Letters 12 (2018).
    """
    n = target.shape[0]
    room = max(room, 2 * n)
    cuts = (
        np.zeros(room, np.int64),
        np.full(room, -1, np.int64),
        np.zeros(room),
        np.zeros(room),
        np.ones(room),
        np.ones(room),
        np.zeros(room),
    )
    first, second, pair, low, high, cut_sign, cut_multiplier = cuts
    rows = (
        np.full(room + 1, n, np.int64),
        np.full(room + 1, n, np.int64),
        np.ones(room + 1),
        np.zeros(room + 1),
        np.zeros(room + 1),
    )
    sign = np.ones(room + 1)
    free = np.zeros(room + 1, np.bool_)
    multiplier = np.zeros(room + 1)
    slack = np.zeros(room + 1)
    free[0] = True
    count = n
    for i in range(n):
        first[i] = i
        low[i] = max(min(np.floor(start[i]), hi[i] - 1.0), lo[i])
        high[i] = low[i] + 1.0
        # two levels: the integer cut is an equality, and the box says the same thing
        free[i + 1] = hi[i] - lo[i] <= 1.0
        if not free[i + 1]:
            first[count] = i
            low[count] = lo[i]
            high[count] = hi[i]
            cut_sign[count] = -1.0
            count += 1
    write_rows(start, cuts, 0, count, rows)
    sign[1:] = cut_sign

    size = n + 1
    offset = start - target
    slope = gram @ offset
    constant = np.empty((size, size))
    constant[:n, :n] = gram
    constant[n, :n] = slope
    constant[:n, n] = slope
    constant[n, n] = offset @ slope
    rounded = np.minimum(np.maximum(np.rint(start), lo), hi) - target
    smallest = SMALLEST_GAP * (rounded @ (gram @ rounded)) + 1e-16
    primal = np.zeros((size, size))
    dual = np.empty((size, size))
    steps = 0
    if first_multipliers(gram, slope, cuts, free, multiplier, count) and start_central(
        constant, rows, sign, free, multiplier, count + 1, slack, primal
    ):
        for turn in range(rounds + 1):
            tolerance = ROUND_GAP * ROUND_SHRINK**turn if turn < rounds else RELATIVE_GAP
            _, centre, more = interior_point(
                constant, rows, sign, free, multiplier, slack, primal, dual, count + 1,
                tolerance, smallest,
            )  # fmt: skip
            steps += more
            if turn == rounds:
                break
            grown = add_violated(start, lo, hi, primal, cuts, count, pairs)
            if grown > count:
                write_rows(start, cuts, count, grown, rows)
                sign[count + 1 : grown + 1] = 1.0
                enter_cuts(dual, rows, multiplier, slack, count + 1, grown + 1, centre)
                count = grown
    value, z = settle(constant, rows, sign, multiplier, count + 1)
    for j in range(count):
        half = 0.5 * (high[j] - low[j])
        signed = sign[j + 1] * multiplier[j + 1] / (half * half)
        cut_sign[j] = 1.0 if signed > 0.0 or (sign[j + 1] > 0.0 and signed == 0.0) else -1.0
        cut_multiplier[j] = abs(signed)
    mean = primal[n, :n].copy()
    covariance = primal[:n, :n] - np.outer(mean, mean)
    return (
        value, z + start, covariance, 1.0, steps, count,
        first, second, pair, low, high, cut_sign, cut_multiplier,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def solve_duals(gram, targets, starts, lo, hi, room, rounds, pairs=0):
    """``solve_dual`` for every row of ``targets``, ``starts``, ``lo`` and ``hi`` (channels, n).

    Returns: the same items, each with a leading axis of channels.
    """
    channels, n = targets.shape
    room = max(room, 2 * n)
    value = np.empty(channels)
    z = np.empty((channels, n))
    covariance = np.empty((channels, n, n))
    factor = np.empty(channels)
    steps = np.empty(channels, np.int64)
    count = np.empty(channels, np.int64)
    first = np.empty((channels, room), np.int64)
    second = np.empty((channels, room), np.int64)
    pair = np.empty((channels, room))
    low = np.empty((channels, room))
    high = np.empty((channels, room))
    sign = np.empty((channels, room))
    multiplier = np.empty((channels, room))
    for c in range(channels):
        (
            value[c], z[c], covariance[c], factor[c], steps[c], count[c], first[c], second[c],
            pair[c], low[c], high[c], sign[c], multiplier[c],
        ) = solve_dual(gram, targets[c], starts[c], lo[c], hi[c], room, rounds, pairs)  # fmt: skip
    return (
        value, z, covariance, factor, steps, count,
        first, second, pair, low, high, sign, multiplier,
    )  # fmt: skip
