"""The SDP bound without an SDP modeller: which cuts, where to start, what multipliers come out.

Maximises ``D(m) = min_z error(z) - sum_j m_j cut_j(z)`` over multipliers ``m >= 0`` of the cuts of
``cuts`` (Park & Boyd 2017, with the box; two-variable cuts where asked), by the method of
``interior_point``. Its primal solution is a mean and a covariance, from which violated cuts
are found and random roundings drawn.

Works in units where codes are integers near zero and the Gram has unit mean diagonal. Inside, the
origin is the minimiser over the box: far from it the error is a small difference of large numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.cholesky import invert_factor
from bounds.quantization.relaxation.interior_point import interior_point
from bounds.quantization.relaxation.starting_point import (
    enter_cuts,
    first_multipliers,
    lagrangian_matrix,
    minimise_lagrangian,
    start_central,
    write_rows,
)

RELATIVE_GAP = 1e-5
ROUND_GAP = 1.0  # gap at which violated cuts are looked for: early, while entering is cheap
ROUND_SHRINK = 0.1  # and that gap shrinks from round to round
SMALLEST_GAP = 1e-11  # of the rounded point's error: a bound below that is as good as zero
CUT_VIOLATION = 1e-3
ROUNDING = 2.0**-53


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
    if pairs > 0:
        count = add_pairs(mean, primal, cuts, count, min(count + pairs, room))
    return count


@njit(cache=True, nogil=True)
def add_pairs(mean, primal, cuts, count, room):
    """Append the most violated two-variable cuts until there are ``room`` cuts or none is left."""
    first, second, pair, low, high, sign = cuts[:6]
    n = mean.shape[0]
    score = np.zeros((n, n, 2))
    floors = np.empty((n, n, 2))
    for i in range(n):
        for k in range(i + 1, n):
            covariance = primal[i, k] - primal[i, n] * primal[k, n]
            variance = primal[i, i] - primal[i, n] * primal[i, n]
            variance += primal[k, k] - primal[k, n] * primal[k, n]
            for minus in range(2):
                y = mean[i] - mean[k] if minus else mean[i] + mean[k]
                floor = np.floor(y)
                floors[i, k, minus] = floor
                score[i, k, minus] = (y - floor) * (y - floor - 1.0) + variance
                score[i, k, minus] += covariance * (-2.0 if minus else 2.0)
    for j in range(count):
        if second[j] >= 0:
            minus = 1 if pair[j] < 0.0 else 0
            if low[j] == floors[first[j], second[j], minus]:
                score[first[j], second[j], minus] = 0.0  # known already
    while count < room:
        best = -CUT_VIOLATION
        i = k = m = 0
        for a in range(n):
            for b in range(a + 1, n):
                for minus in range(2):
                    if score[a, b, minus] < best:
                        best = score[a, b, minus]
                        i, k, m = a, b, minus
        if best == -CUT_VIOLATION:
            break
        score[i, k, m] = 0.0
        first[count] = i
        second[count] = k
        pair[count] = -1.0 if m else 1.0
        low[count] = floors[i, k, m]
        high[count] = floors[i, k, m] + 1.0
        sign[count] = 1.0
        count += 1
    return count


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
def settle(constant, rows, sign, multiplier, count, point):
    """Shrink the integer multipliers until ``M`` is verifiable.

    Returns the dual value; its minimiser, relative to the origin, goes to ``point`` (n,).
    """
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
    point[:] = z
    return value


@njit(cache=True, nogil=True)
def first_cuts(start, lo, hi, cuts, sign, free):
    """The integer cut at the floor of ``start`` and the box cut of every code; returns how many.

    Between two levels the integer cut is an equality, and the box says the same thing.
    """
    first, second, pair, low, high, cut_sign = cuts[:6]
    n = start.shape[0]
    count = n
    for i in range(n):
        first[i] = i
        low[i] = max(min(np.floor(start[i]), hi[i] - 1.0), lo[i])
        high[i] = low[i] + 1.0
        cut_sign[i] = 1.0
        free[i + 1] = hi[i] - lo[i] <= 1.0
        if not free[i + 1]:
            first[count] = i
            low[count] = lo[i]
            high[count] = hi[i]
            cut_sign[count] = -1.0
            count += 1
    second[:] = -1
    pair[:] = 0.0
    sign[1:] = cut_sign
    return count


@njit(cache=True, nogil=True)
def solve_duals(gram, targets, starts, lo, hi, room, rounds, pairs=0):
    """The SDP bounds of many channels: ``solve_dual`` for every row of the arguments (channels, n).

    Returns: the same items as ``solve_dual``, each with a leading axis of channels, and last the
        mean (channels, n) of the primal solutions (on the central path it equals z).
    """
    channels, n = targets.shape
    room = max(room, 2 * n)
    size = n + 1
    value = np.empty(channels)
    point = np.empty((channels, n))
    mean = np.empty((channels, n))
    covariance = np.empty((channels, n, n))
    gaps = np.full(channels, np.inf)
    steps = np.zeros(channels, np.int64)
    counts = np.empty(channels, np.int64)
    all_first = np.zeros((channels, room), np.int64)
    all_second = np.full((channels, room), -1, np.int64)
    all_pair = np.zeros((channels, room))
    all_low = np.zeros((channels, room))
    all_high = np.ones((channels, room))
    all_sign = np.ones((channels, room))
    all_multiplier = np.zeros((channels, room))

    rows = (
        np.full(room + 1, n, np.int64),
        np.full(room + 1, n, np.int64),
        np.ones(room + 1),
        np.zeros(room + 1),
        np.zeros(room + 1),
    )
    sign = np.ones(room + 1)
    free = np.zeros(room + 1, np.bool_)
    free[0] = True
    multiplier = np.zeros(room + 1)
    slack = np.zeros(room + 1)
    constant = np.empty((size, size))
    state = np.empty((2, size, size))
    for c in range(channels):
        start = starts[c]
        cuts = (
            all_first[c], all_second[c], all_pair[c], all_low[c], all_high[c], all_sign[c],
        )  # fmt: skip
        free[1:] = False
        multiplier[:] = 0.0
        count = first_cuts(start, lo[c], hi[c], cuts, sign, free)
        write_rows(start, cuts, 0, count, rows)
        offset = start - targets[c]
        slope = gram @ offset
        constant[:n, :n] = gram
        constant[n, :n] = slope
        constant[:n, n] = slope
        constant[n, n] = offset @ slope
        rounded = np.minimum(np.maximum(np.rint(start), lo[c]), hi[c]) - targets[c]
        smallest = SMALLEST_GAP * (rounded @ (gram @ rounded)) + 1e-16
        state[:] = 0.0
        # the last turn is the accurate one; the turns before it stop early to look for cuts
        turn = rounds if first_multipliers(gram, slope, cuts, free, multiplier, count) else -1
        if not start_central(constant, rows, sign, free, multiplier, count + 1, slack, state[0]):
            turn = -1
        gap = ROUND_GAP
        while turn >= 0:
            gaps[c], centre, more = interior_point(
                constant, rows, sign, free, multiplier, slack, state, count + 1,
                gap if turn > 0 else RELATIVE_GAP, smallest,
            )  # fmt: skip
            steps[c] += more
            gap *= ROUND_SHRINK
            turn -= 1
            if turn >= 0:
                grown = add_violated(start, lo[c], hi[c], state[0], cuts, count, pairs)
                if grown > count:
                    write_rows(start, cuts, count, grown, rows)
                    sign[count + 1 : grown + 1] = 1.0
                    if enter_cuts(state[1], rows, multiplier, slack, count + 1, grown + 1, centre):
                        count = grown
        value[c] = settle(constant, rows, sign, multiplier, count + 1, point[c])
        for j in range(count):
            half = 0.5 * (cuts[4][j] - cuts[3][j])
            signed = sign[j + 1] * multiplier[j + 1] / (half * half)
            if signed != 0.0:  # an equality's multiplier may be negative: the cut's other side
                all_sign[c, j] = 1.0 if signed > 0.0 else -1.0
            all_multiplier[c, j] = abs(signed)
        counts[c] = count
        for i in range(n):
            point[c, i] += start[i]
            mean[c, i] = state[0, i, n] + start[i]
            for k in range(n):
                covariance[c, i, k] = state[0, i, k] - state[0, i, n] * state[0, k, n]
    return (
        value, point, covariance, gaps, steps, counts,
        all_first, all_second, all_pair, all_low, all_high, all_sign, all_multiplier,
        mean,
    )  # fmt: skip


def solve_dual(gram, target, start, lo, hi, room, rounds, pairs=0):
    """The SDP bound of one channel.

    Args:
        gram: (n, n) of unit mean diagonal; target (n,) uncompressed codes; start (n,) the minimiser
            over the box, whose floors are the first integer cuts; lo, hi (n,) the box, lo < hi.
        room: how many cuts can be held, at least 2n; rounds: how often violated cuts are added;
            pairs: how many two-variable cuts a round may add.

    Returns: dual value, z (n,) minimising the Lagrangian, covariance (n, n) of the primal solution,
        gap between the two (infinite: none solved), iterations, number of cuts, and the cut arrays
        first, second, pair sign, low, high, sign, multiplier (room,).

    Source: Park and Boyd, A semidefinite programming method for integer convex quadratic
    minimization, Optimization Letters 12 (2018).
    """
    one = (1, len(target))
    answer = solve_duals(
        gram, np.reshape(target, one), np.reshape(start, one), np.reshape(lo, one),
        np.reshape(hi, one), room, rounds, pairs,
    )  # fmt: skip
    return tuple(item[0] for item in answer[:-1])
