"""Where the interior-point method of the SDP bound starts, and how new cuts enter it.

Everything here only costs or saves iterations; any strictly feasible multipliers would do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.cholesky import factor_upper, invert_factor, solve_upper
from bounds.quantization.relaxation.interior_point import add_rank_ones, images

NEW_CUT_SHARE = 0.7
START_PASSES = 3


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
    if factor_upper(np.ascontiguousarray(lifted[:n, :n]), factor) < n:
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
def enter_cuts(dual, rows, multiplier, slack, begin, end, centre):
    """Give rows ``begin..end`` multipliers that keep ``S`` definite, and centred slacks.

    Returns False where ``S`` is singular to working precision: then there is no room for them.
    """
    size = dual.shape[0]
    factor = np.empty((size, size))
    work = np.empty((size, size))
    inverse = np.empty((size, size))
    if factor_upper(dual, factor) < size:
        return False
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
    for j in range(count):
        if not 0.0 < products[j, j] < np.inf:
            return False
    widest = 0.0  # row-sum bound on the eigenvalues of the normalised products
    for j in range(count):
        total = 0.0
        for k in range(count):
            total += abs(products[j, k]) / np.sqrt(products[j, j] * products[k, k])
        widest = max(widest, total)
    for j in range(count):
        multiplier[begin + j] = NEW_CUT_SHARE / (widest * products[j, j])
        slack[begin + j] = centre / multiplier[begin + j]
    return True
