"""The SDP bound without an SDP solver: barrier Newton on the multipliers of the cuts.

Maximises ``D(m) = min_z error(z) - sum_j m_j cut_j(z)`` over ``m >= 0`` with ``M(m)`` positive
definite, by Newton steps on ``D + tau (log det M + sum log m)`` while tau goes to zero. On the
central path ``tau M^-1`` is the covariance of the primal solution, from which violated cuts are
found (integer cuts elsewhere, the box, pairs) and random roundings drawn (Park & Boyd 2017).

Works in units where codes are integers near zero and the Gram has unit mean diagonal.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BARRIER_SHRINK = 0.12
NEWTON_LIMIT = 80
BACKTRACKS = 40
CENTRED = 0.3  # squared Newton decrement, per barrier term, at which tau shrinks
RELATIVE_GAP = 1e-5
CUT_VIOLATION = 1e-3


@njit(cache=True, nogil=True)
def factor_upper(matrix, factor):
    """Right-looking Cholesky ``factor^T factor = matrix`` (rows contiguous); False if not PD."""
    n = matrix.shape[0]
    factor[:] = matrix
    for k in range(n):
        pivot = factor[k, k]
        if not pivot > 1e-14 * matrix[k, k]:
            return False
        root = np.sqrt(pivot)
        for j in range(k, n):
            factor[k, j] /= root
        for i in range(k + 1, n):
            value = factor[k, i]
            for j in range(i, n):
                factor[i, j] -= value * factor[k, j]
    return True


@njit(cache=True, nogil=True)
def solve_upper(factor, rhs):
    """Solve ``factor^T factor x = rhs``."""
    n = rhs.shape[0]
    x = rhs.copy()
    for k in range(n):
        x[k] /= factor[k, k]
        value = x[k]
        for j in range(k + 1, n):
            x[j] -= factor[k, j] * value
    for k in range(n - 1, -1, -1):
        value = x[k]
        for j in range(k + 1, n):
            value -= factor[k, j] * x[j]
        x[k] = value / factor[k, k]
    return x


@njit(cache=True, nogil=True)
def invert_factor(factor, inverse):
    """``(factor^T factor)^-1`` into ``inverse``, by forward and backward sweeps over whole rows."""
    n = factor.shape[0]
    inverse[:] = 0.0
    for k in range(n):
        inverse[k, k] = 1.0
    for k in range(n):  # factor^T Y = I
        for c in range(k + 1):
            inverse[k, c] /= factor[k, k]
        for j in range(k + 1, n):
            value = factor[k, j]
            for c in range(k + 1):
                inverse[j, c] -= value * inverse[k, c]
    for k in range(n - 1, -1, -1):  # factor X = Y
        for j in range(k + 1, n):
            value = factor[k, j]
            for c in range(n):
                inverse[k, c] -= value * inverse[j, c]
        for c in range(n):
            inverse[k, c] /= factor[k, k]


@njit(cache=True, nogil=True)
def assemble(gram, first, second, pair, sign, multiplier, count, matrix):
    """``matrix = M = gram - sum_j multiplier_j sign_j b_j b_j^T``."""
    matrix[:] = gram
    for j in range(count):
        i = first[j]
        k = second[j]
        signed = sign[j] * multiplier[j]
        matrix[i, i] -= signed
        if k >= 0:
            matrix[k, k] -= signed
            matrix[i, k] -= signed * pair[j]
            matrix[k, i] -= signed * pair[j]


@njit(cache=True, nogil=True)
def along(vector, first, second, pair, j):
    """``b_j^T vector``."""
    value = vector[first[j]]
    if second[j] >= 0:
        value += pair[j] * vector[second[j]]
    return value


@njit(cache=True, nogil=True)
def minimise_lagrangian(
    gram, pull, constant, first, second, pair, low, high, sign, multiplier, count, matrix, factor
):
    """Factor ``M`` and minimise the Lagrangian: feasible, dual value, minimiser (n,)."""
    centre = pull.copy()
    offset = constant
    for j in range(count):
        signed = sign[j] * multiplier[j]
        middle = 0.5 * (low[j] + high[j]) * signed
        centre[first[j]] -= middle
        if second[j] >= 0:
            centre[second[j]] -= middle * pair[j]
        offset -= signed * low[j] * high[j]
    assemble(gram, first, second, pair, sign, multiplier, count, matrix)
    if not factor_upper(matrix, factor):
        return False, 0.0, centre
    z = solve_upper(factor, centre)
    return True, offset - centre @ z, z


@njit(cache=True, nogil=True)
def barrier(factor, multiplier, count):
    """``log det M + sum log multiplier``."""
    value = 0.0
    for i in range(factor.shape[0]):
        value += 2.0 * np.log(factor[i, i])
    for j in range(count):
        value += np.log(multiplier[j])
    return value


@njit(cache=True, nogil=True)
def maximise(gram, pull, constant, first, second, pair, low, high, sign, multiplier, count, tau):
    """Follow the central path from strictly feasible ``multiplier[:count]`` (changed in place).

    Args: gram (n, n); pull = gram @ target (n,); constant = target^T gram target; cut arrays.
    Returns: dual value, minimiser z (n,), inverse of M (n, n), final tau, Newton steps.
    """
    n = pull.shape[0]
    matrix = np.empty((n, n))
    factor = np.empty((n, n))
    inverse = np.empty((n, n))
    newton = np.empty((count, count))
    newton_factor = np.empty((count, count))
    columns = np.empty((count, n))
    lean = np.empty(count)
    rhs = np.empty(count)
    trial = multiplier.copy()
    feasible, value, z = minimise_lagrangian(
        gram,
        pull,
        constant,
        first,
        second,
        pair,
        low,
        high,
        sign,
        multiplier,
        count,
        matrix,
        factor,
    )
    steps = 0
    while feasible:
        invert_factor(factor, inverse)
        if steps == NEWTON_LIMIT:
            break
        for j in range(count):
            i = first[j]
            k = second[j]
            for c in range(n):
                columns[j, c] = inverse[i, c]
            if k >= 0:
                for c in range(n):
                    columns[j, c] += pair[j] * inverse[k, c]
            y = along(z, first, second, pair, j)
            lean[j] = sign[j] * (y - 0.5 * (low[j] + high[j]))
            spread = along(columns[j], first, second, pair, j)
            rhs[j] = tau / multiplier[j] - sign[j] * ((y - low[j]) * (y - high[j]) + tau * spread)
        for j in range(count):
            for k in range(j, count):
                w = along(columns[j], first, second, pair, k)
                newton[j, k] = 2.0 * lean[j] * lean[k] * w + tau * sign[j] * sign[k] * w * w
                newton[k, j] = newton[j, k]
            newton[j, j] += tau / (multiplier[j] * multiplier[j])
        if not factor_upper(newton, newton_factor):
            break
        steps += 1
        move = solve_upper(newton_factor, rhs)
        decrement = (move @ rhs) / tau
        length = 1.0
        for j in range(count):
            if move[j] < 0.0:
                length = min(length, -0.95 * multiplier[j] / move[j])
        # halve the step while that raises the merit: full steps land too near the boundary
        start = value + tau * barrier(factor, multiplier, count)
        best_merit = -np.inf
        best_length = 0.0
        for _ in range(BACKTRACKS):
            for j in range(count):
                trial[j] = multiplier[j] + length * move[j]
            feasible, trial_value, trial_z = minimise_lagrangian(
                gram, pull, constant, first, second, pair, low, high, sign, trial, count,
                matrix, factor,
            )  # fmt: skip
            if feasible:
                merit = trial_value + tau * barrier(factor, trial, count)
                if merit <= best_merit:
                    break
                best_merit = merit
                best_length = length
            length *= 0.5
        if best_merit < start - 1e-9 * abs(start):
            best_length = 0.0
        for j in range(count):
            multiplier[j] += best_length * move[j]
        feasible, trial_value, trial_z = minimise_lagrangian(
            gram, pull, constant, first, second, pair, low, high, sign, multiplier, count,
            matrix, factor,
        )  # fmt: skip
        if best_length == 0.0:
            # the path cannot be followed further in this arithmetic: keep the last point
            invert_factor(factor, inverse)
            break
        value = trial_value
        z = trial_z
        if decrement < CENTRED * (n + count):
            if tau * (n + count) <= RELATIVE_GAP * value:
                invert_factor(factor, inverse)
                break
            tau *= BARRIER_SHRINK
    return value, z, inverse, tau, steps


@njit(cache=True, nogil=True)
def add_violated(z, inverse, tau, lo, hi, first, second, pair, low, high, sign, count):
    """Append integer and box cuts on single codes that the primal solution violates.

    The primal has mean ``z`` and covariance ``tau inverse``. Returns the new number of cuts.
    """
    n = z.shape[0]
    old = count
    for i in range(n):
        variance = tau * inverse[i, i]
        floor = min(max(np.floor(z[i]), lo[i]), hi[i] - 1)
        candidates = ((floor, floor + 1.0, 1.0), (float(lo[i]), float(hi[i]), -1.0))
        for p, q, s in candidates:
            if s * ((z[i] - p) * (z[i] - q) + variance) >= -CUT_VIOLATION:
                continue
            known = False
            for j in range(old):
                if first[j] == i and second[j] < 0 and low[j] == p and sign[j] == s:
                    known = True
            if not known and count < first.shape[0]:
                first[count] = i
                second[count] = -1
                pair[count] = 0.0
                low[count] = p
                high[count] = q
                sign[count] = s
                count += 1
    return count


@njit(cache=True, nogil=True)
def solve_dual(gram, target, start, lo, hi, room, rounds):
    """The SDP bound of one channel.

    Args:
        gram: (n, n) of unit mean diagonal; target (n,) uncompressed codes; start (n,) the minimiser
            over the box, whose floors are the first integer cuts; lo, hi (n,) the box.
        room: how many cuts can be held; rounds: how often violated cuts are added.

    Returns: dual value, z (n,), inverse of M, tau, Newton steps, number of cuts, and the cut arrays
    first, second, pair sign, low, high, sign, multiplier (room,).
    """
    n = target.shape[0]
    first = np.zeros(room, np.int64)
    second = np.full(room, -1, np.int64)
    pair = np.zeros(room)
    low = np.zeros(room)
    high = np.zeros(room)
    sign = np.ones(room)
    multiplier = np.zeros(room)
    factor = np.empty((n, n))
    inverse = np.empty((n, n))
    regular = factor_upper(gram, factor)
    for i in range(n):
        first[i] = i
        low[i] = min(max(np.floor(start[i]), lo[i]), hi[i] - 1)
        high[i] = low[i] + 1.0
    count = n
    for i in range(n):
        near_end = start[i] < lo[i] + 0.5 or start[i] > hi[i] - 0.5
        if near_end or not regular:
            first[count] = i
            low[count] = lo[i]
            high[count] = hi[i]
            sign[count] = -1.0
            count += 1
    if regular:
        invert_factor(factor, inverse)
    for j in range(count):
        i = first[j]
        if regular:
            multiplier[j] = 0.5 / (n * inverse[i, i])
        else:
            multiplier[j] = 1e-3 * gram[i, i] if sign[j] > 0 else 2e-3 * gram[i, i]
    pull = gram @ target
    constant = target @ pull
    tau = 0.25 * np.median(multiplier[:count])
    value, z, inverse, tau, steps = maximise(
        gram, pull, constant, first, second, pair, low, high, sign, multiplier, count, tau
    )
    for _ in range(rounds):
        grown = add_violated(z, inverse, tau, lo, hi, first, second, pair, low, high, sign, count)
        if grown == count:
            break
        count, tau = reopen(gram, inverse, first, second, pair, sign, multiplier, count, grown)
        value, z, inverse, tau, more = maximise(
            gram, pull, constant, first, second, pair, low, high, sign, multiplier, count, tau
        )
        steps += more
    return value, z, inverse, tau, steps, count, first, second, pair, low, high, sign, multiplier


@njit(cache=True, nogil=True)
def reopen(gram, inverse, first, second, pair, sign, multiplier, count, grown):
    """Step back into the interior and give new cuts a small multiplier; returns count and tau."""
    typical = np.median(multiplier[:count])
    for j in range(count):
        multiplier[j] = 0.9 * multiplier[j] + 1e-3 * typical
    for j in range(count, grown):
        multiplier[j] = 1e-2 * typical
    n = gram.shape[0]
    matrix = np.empty((n, n))
    factor = np.empty((n, n))
    for _ in range(60):
        assemble(gram, first, second, pair, sign, multiplier, grown, matrix)
        if factor_upper(matrix, factor):
            break
        for j in range(grown):
            if sign[j] > 0.0:
                multiplier[j] *= 0.7
    return grown, 1e-2 * typical
