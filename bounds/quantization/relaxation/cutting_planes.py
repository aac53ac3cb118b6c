"""The SDP bound without an SDP modeller: which cuts, where to start, what multipliers come out.

Maximises ``D(m) = min_z error(z) - sum_j m_j cut_j(z)`` over multipliers ``m >= 0`` of the cuts of
``cuts`` (Park & Boyd 2017, with the box; two-variable cuts where asked), by the method of
``interior_point``. Its primal solution is a mean and a covariance, from which violated cuts
are found and random roundings drawn.

Works in units where codes are integers near zero and the Gram has unit mean diagonal. Inside, the
origin is the minimiser over the box: far from it the error is a small difference of large numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.linalg.cholesky import invert_factor
from bounds.linalg.forms import Floats
from bounds.quantization.relaxation.interior_point import Iterate, interior_point
from bounds.quantization.relaxation.lifted import (
    CutArrays,
    Lifted,
    Rows,
    lagrangian_matrix,
    write_rows,
)
from bounds.quantization.relaxation.starting_point import (
    enter_cuts,
    first_multipliers,
    minimise_lagrangian,
    start_central,
)

RELATIVE_GAP = 1e-5
ROUND_GAP = 1.0  # gap at which violated cuts are looked for: early, while entering is cheap
ROUND_SHRINK = 0.1  # and that gap shrinks from round to round
SMALLEST_GAP = 1e-11  # of the rounded point's error: a bound below that is as good as zero
CUT_VIOLATION = 1e-3
ROUNDING = 2.0**-53


class CutDual(NamedTuple):
    """A dual solution of one channel and the primal solution beside it.

    ``value``: of the dual. ``point`` (n,): z that minimises the Lagrangian. ``mean`` (n,) and
    ``covariance`` (n, n): of the primal solution; on the central path the mean equals ``point``.
    ``gap``: between the two, infinite if none was solved. ``iterations``: of the interior-point
    method. ``cuts``, ``multiplier`` (m,): the cuts and their multipliers, none negative.
    """

    value: float
    point: Floats
    mean: Floats
    covariance: Floats
    gap: float
    iterations: int
    cuts: CutArrays
    multiplier: Floats


@njit(cache=True, nogil=True)
def add_violated(
    start: Floats, lo: Floats, hi: Floats, primal: Floats, cuts: CutArrays, count: int, pairs: int
) -> int:
    """Append integer cuts that the primal solution violates: all on one code, ``pairs`` on two.

    Returns the new number of cuts.
    """
    n = start.shape[0]
    room = cuts.first.shape[0]
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
            single = cuts.first[j] == i and cuts.second[j] < 0
            known = known or (single and cuts.sign[j] > 0.0 and cuts.low[j] == floor)
        if not known:
            write_cut(cuts, count, i, floor, floor + 1.0, 1.0)
            count += 1
    if pairs > 0:
        count = add_pairs(mean, primal, cuts, count, min(count + pairs, room))
    return count


@njit(cache=True, nogil=True)
def write_cut(cuts: CutArrays, j: int, i: int, low: float, high: float, sign: float) -> None:
    """Cut ``j`` on code ``i`` alone."""
    cuts.first[j], cuts.second[j], cuts.pair[j] = i, -1, 0.0
    cuts.low[j], cuts.high[j], cuts.sign[j] = low, high, sign


@njit(cache=True, nogil=True)
def pair_violations(
    mean: Floats, primal: Floats, cuts: CutArrays, count: int
) -> tuple[Floats, Floats]:
    """How far the cut at ``floor(z_i + z_k)`` and at ``floor(z_i - z_k)`` is violated, and where.

    Returns two arrays (n, n, 2), above the diagonal: ``(y - floor)(y - floor - 1)`` in the mean,
    negative if violated and zero if known already; and the floors.
    """
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
        i, k = cuts.first[j], cuts.second[j]
        if k >= 0:
            minus = 1 if cuts.pair[j] < 0.0 else 0
            if cuts.low[j] == floors[i, k, minus]:
                score[i, k, minus] = 0.0
    return score, floors


@njit(cache=True, nogil=True)
def add_pairs(mean: Floats, primal: Floats, cuts: CutArrays, count: int, room: int) -> int:
    """Append the most violated two-variable cuts until there are ``room`` cuts or none is left."""
    n = mean.shape[0]
    score, floors = pair_violations(mean, primal, cuts, count)
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
        write_cut(cuts, count, i, floors[i, k, m], floors[i, k, m] + 1.0, 1.0)
        cuts.second[count] = k
        cuts.pair[count] = -1.0 if m else 1.0
        count += 1
    return count


@njit(cache=True, nogil=True)
def verifiable(problem: Lifted, multiplier: Floats, lifted: Floats, factor: Floats) -> bool:
    """Whether ``M``, factored, is far enough from singular for ``cuts.lagrangian_bound``.

    That shifts a balanced Cholesky by ``0.5 / trace(M^-1)`` plus the rounding of forming ``M``.
    """
    n = lifted.shape[0] - 1
    rows, count = problem.rows, problem.m
    work = np.empty((n, n))
    inverse = np.empty((n, n))
    invert_factor(factor, work, inverse)
    trace = 0.0
    lost = np.zeros(n)
    for i in range(n):
        trace += inverse[i, i] * lifted[i, i]
    for j in range(1, count):
        i, k, a, b = rows.first[j], rows.second[j], rows.alpha[j], rows.beta[j]
        lost[i] += multiplier[j] * a**2 / lifted[i, i]
        if b != 0.0:
            both = abs(multiplier[j] * b * a)
            lost[i] += both / np.sqrt(lifted[i, i] * lifted[k, k])
            lost[k] += both / np.sqrt(lifted[i, i] * lifted[k, k]) + both / lifted[k, k]
    rounding = ROUNDING * ((count + 4) * np.max(np.abs(lost)) + 8.0 * n * (n + 3))
    return 0.5 / trace > 4.0 * rounding


@njit(cache=True, nogil=True)
def shrink_until_verifiable(problem: Lifted, multiplier: Floats, point: Floats) -> float:
    """Shrink the integer multipliers until ``M`` is verifiable.

    Returns the dual value; its minimiser, relative to the origin, goes to ``point`` (n,).
    """
    size = problem.constant.shape[0]
    lifted = np.empty((size, size))
    factor = np.empty((size - 1, size - 1))
    trial = multiplier.copy()
    less = 0.0
    while True:
        for j in range(1, problem.m):
            trial[j] = multiplier[j]
            if problem.sign[j] * multiplier[j] > 0.0:
                trial[j] *= 1.0 - less
        total = lagrangian_matrix(problem, trial, lifted)
        feasible, value, z = minimise_lagrangian(lifted, total, factor)
        if feasible and verifiable(problem, trial, lifted, factor):
            break
        if less == 1.0:
            value, z = 0.0, np.zeros(size - 1)
            break
        less = 1e-7 if less == 0.0 else min(4.0 * less, 1.0)
    multiplier[:] = trial
    point[:] = z
    return value


@njit(cache=True, nogil=True)
def lift(gram: Floats, offset: Floats, room: int) -> Lifted:
    """The error of codes less an origin that is ``offset`` (n,) from the target; no cuts yet."""
    n = gram.shape[0]
    rows = Rows(
        np.full(room + 1, n, np.int64), np.full(room + 1, n, np.int64),
        np.ones(room + 1), np.zeros(room + 1), np.zeros(room + 1),
    )  # fmt: skip
    slope = gram @ offset
    constant = np.empty((n + 1, n + 1))
    constant[:n, :n] = gram
    constant[n, :n] = slope
    constant[:n, n] = slope
    constant[n, n] = offset @ slope
    free = np.zeros(room + 1, np.bool_)
    free[0] = True
    return Lifted(constant, rows, np.ones(room + 1), free, 1)


@njit(cache=True, nogil=True)
def with_cuts(problem: Lifted, start: Floats, cuts: CutArrays, count: int) -> Lifted:
    """The problem with cuts up to ``count``, those it does not have yet lifted to rows."""
    write_rows(start, cuts, problem.m - 1, count, problem.rows)
    return Lifted(problem.constant, problem.rows, problem.sign, problem.free, count + 1)


@njit(cache=True, nogil=True)
def first_cuts(start: Floats, lo: Floats, hi: Floats, cuts: CutArrays, problem: Lifted) -> int:
    """The integer cut at the floor of ``start`` and the box cut of every code; returns how many.

    Between two levels the integer cut is an equality, and the box says the same thing.
    """
    n = start.shape[0]
    count = n
    for i in range(n):
        low = max(min(np.floor(start[i]), hi[i] - 1.0), lo[i])
        write_cut(cuts, i, i, low, low + 1.0, 1.0)
        problem.free[i + 1] = hi[i] - lo[i] <= 1.0
        if not problem.free[i + 1]:
            write_cut(cuts, count, i, lo[i], hi[i], -1.0)
            problem.sign[count + 1] = -1.0
            count += 1
    return count


@njit(cache=True, nogil=True)
def read_multipliers(problem: Lifted, multiplier: Floats, cuts: CutArrays) -> Floats:
    """The multipliers of the cuts themselves, from those of their rows (m,).

    An equality's may be negative: then it is the cut's other side.
    """
    count = problem.m - 1
    out = np.zeros(count)
    for j in range(count):
        half = 0.5 * (cuts.high[j] - cuts.low[j])
        signed = problem.sign[j + 1] * multiplier[j + 1] / (half * half)
        if signed != 0.0:
            cuts.sign[j] = 1.0 if signed > 0.0 else -1.0
        out[j] = abs(signed)
    return out


@njit(cache=True, nogil=True)
def solve_cuts(
    gram: Floats,
    target: Floats,
    start: Floats,
    lo: Floats,
    hi: Floats,
    room: int,
    rounds: int,
    pairs: int,
) -> CutDual:
    """The kernel of ``solve_dual``.

    the integer cut at the floor of the box minimiser and the box cut, of every code
    multipliers well inside the feasible set; X and s on their central path
    ``rounds`` times, each with a smaller gap
        interior-point method to that gap
        cuts that its X violates enter
    interior-point method to the last gap
    integer multipliers shrunk until the Lagrangian is verifiably definite
    """
    n = target.shape[0]
    room = max(room, 2 * n)
    cuts = CutArrays(
        np.zeros(room, np.int64), np.full(room, -1, np.int64), np.zeros(room),
        np.zeros(room), np.ones(room), np.ones(room),
    )  # fmt: skip
    offset = start - target
    problem = lift(gram, offset, room)
    problem = with_cuts(problem, start, cuts, first_cuts(start, lo, hi, cuts, problem))
    at = Iterate(np.zeros((2, n + 1, n + 1)), np.zeros(room + 1), np.zeros(room + 1))
    rounded = np.minimum(np.maximum(np.rint(start), lo), hi) - target
    smallest = SMALLEST_GAP * np.dot(rounded, gram @ rounded) + 1e-16
    started = first_multipliers(gram, problem, cuts, at.multiplier)
    started = start_central(problem, at) and started
    gap = np.inf
    iterations = 0
    round_gap = ROUND_GAP
    for turn in range(rounds + 1 if started else 0):
        last = turn == rounds
        gap, centre, more = interior_point(
            problem, at, RELATIVE_GAP if last else round_gap, smallest
        )
        iterations += more
        round_gap *= ROUND_SHRINK
        if not last:
            count = problem.m - 1
            grown = add_violated(start, lo, hi, at.matrices[0], cuts, count, pairs)
            more_cuts = with_cuts(problem, start, cuts, grown)
            if grown > count and enter_cuts(at, problem.rows, count + 1, grown + 1, centre):
                problem = more_cuts
    point = np.empty(n)
    value = shrink_until_verifiable(problem, at.multiplier, point)
    multiplier = read_multipliers(problem, at.multiplier, cuts)
    mean = np.empty(n)
    covariance = np.empty((n, n))
    primal = at.matrices[0]
    for i in range(n):
        point[i] += start[i]
        mean[i] = primal[i, n] + start[i]
        for k in range(n):
            covariance[i, k] = primal[i, k] - primal[i, n] * primal[k, n]
    used = problem.m - 1
    found = CutArrays(
        cuts.first[:used], cuts.second[:used], cuts.pair[:used],
        cuts.low[:used], cuts.high[:used], cuts.sign[:used],
    )  # fmt: skip
    return CutDual(value, point, mean, covariance, gap, iterations, found, multiplier)


def solve_dual(
    gram: Floats,
    target: Floats,
    start: Floats,
    lo: Floats,
    hi: Floats,
    room: int,
    rounds: int,
    pairs: int = 0,
) -> CutDual:
    """The SDP bound of one channel.

    Args:
        gram: (n, n) of unit mean diagonal; target (n,) uncompressed codes; start (n,) the minimiser
            over the box, whose floors are the first integer cuts; lo, hi (n,) the box, lo < hi.
        room: how many cuts can be held, at least 2n; rounds: how often violated cuts are added;
            pairs: how many two-variable cuts a round may add.

    Source: Park and Boyd, A semidefinite programming method for integer convex quadratic
    minimization, Optimization Letters 12 (2018).
    """
    gram, target, start, lo, hi = (
        np.ascontiguousarray(item, np.float64) for item in (gram, target, start, lo, hi)
    )
    return solve_cuts(gram, target, start, lo, hi, room, rounds, pairs)
