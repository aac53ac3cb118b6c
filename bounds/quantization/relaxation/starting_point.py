"""Where the interior-point method of the SDP bound starts, and how new cuts enter it.

Everything here only costs or saves iterations; any strictly feasible multipliers would do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.cholesky import factor_upper, invert_factor, solve_upper
from bounds.linalg.forms import Floats
from bounds.quantization.relaxation.interior_point import Iterate
from bounds.quantization.relaxation.lifted import (
    CutArrays,
    Lifted,
    Rows,
    lagrangian_matrix,
    primal_slack,
    row_products,
)

NEW_CUT_SHARE = 0.7
START_PASSES = 3


@njit(cache=True, nogil=True)
def first_multipliers(gram: Floats, problem: Lifted, cuts: CutArrays, multiplier: Floats) -> bool:
    """Multipliers of the first cuts (rows 1..), well inside the dual's feasible set.

    The box gets what the central path gives it while codes spread over the whole box, and what
    holds back half the gradient at the origin; the integer cuts half of what a row-sum bound on the
    eigenvalues allows. Returns False if that is not definite.
    """
    n, count, free = gram.shape[0], problem.m - 1, problem.free
    slope = problem.constant[n, :n]
    matrix = np.empty((n, n))
    factor = np.empty((n, n))
    work = np.empty((n, n))
    inverse = np.empty((n, n))
    stiffness = np.diag(gram).copy()
    for _ in range(START_PASSES):
        matrix[:] = gram
        least = max(np.median(stiffness), 1e-8)
        for j in range(count):
            if free[j + 1] or cuts.sign[j] < 0.0:
                i = cuts.first[j]
                half = 0.5 * (cuts.high[j] - cuts.low[j])
                strength = max(stiffness[i], least) / (half * half) + abs(slope[i]) / half
                matrix[i, i] += strength
                multiplier[j + 1] = -cuts.sign[j] * strength * half * half
        if factor_upper(matrix, factor) < n:
            return False
        invert_factor(factor, work, inverse)
        for i in range(n):
            stiffness[i] = 1.0 / inverse[i, i]
    widest = row_sum_bound(inverse)
    for j in range(count):
        if cuts.sign[j] > 0.0 and not free[j + 1]:
            i = cuts.first[j]
            half = 0.5 * (cuts.high[j] - cuts.low[j])
            multiplier[j + 1] = 0.5 * half * half / (widest * inverse[i, i])
    return True


@njit(cache=True, nogil=True)
def row_sum_bound(matrix: Floats) -> float:
    """Largest row sum of ``|matrix|``, its diagonal scaled to one: bounds the eigenvalues."""
    n = matrix.shape[0]
    widest = 0.0
    for i in range(n):
        total = 0.0
        for k in range(n):
            total += abs(matrix[i, k]) / np.sqrt(matrix[i, i] * matrix[k, k])
        widest = max(widest, total)
    return widest


@njit(cache=True, nogil=True)
def minimise_lagrangian(lifted: Floats, total: float, factor: Floats) -> tuple[bool, float, Floats]:
    """Factor ``M`` and minimise: feasible, dual value, minimiser relative to the origin (n,)."""
    n = lifted.shape[0] - 1
    z = -lifted[n, :n].copy()
    if factor_upper(np.ascontiguousarray(lifted[:n, :n]), factor) < n:
        return False, 0.0, z
    solve_upper(factor, z)
    return True, total + lifted[n, n] + np.dot(lifted[n, :n], z), z


@njit(cache=True, nogil=True)
def start_central(problem: Lifted, at: Iterate) -> bool:
    """Set the corner's multiplier, ``X`` and ``s`` on the central path of the given multipliers.

    ``X = tau S^-1`` with a tau that makes half the variances at least 1/2, as integer cuts need.
    """
    size = problem.constant.shape[0]
    n = size - 1
    primal, multiplier = at.matrices[0], at.multiplier
    lifted = np.empty((size, size))
    factor = np.empty((n, n))
    work = np.empty((n, n))
    inverse = np.empty((n, n))
    total = lagrangian_matrix(problem, multiplier, lifted)
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
    for j in range(1, problem.m):
        if not problem.free[j]:
            at.slack[j] = max(primal_slack(primal, problem, j), 0.1 * tau / multiplier[j])
    return True


@njit(cache=True, nogil=True)
def enter_cuts(at: Iterate, rows: Rows, begin: int, end: int, centre: float) -> bool:
    """Give rows ``begin..end`` multipliers that keep ``S`` definite, and centred slacks.

    Returns False where ``S`` is singular to working precision: then there is no room for them.
    """
    dual = at.matrices[1]
    size = dual.shape[0]
    factor = np.empty((size, size))
    work = np.empty((size, size))
    inverse = np.empty((size, size))
    if factor_upper(dual, factor) < size:
        return False
    invert_factor(factor, work, inverse)
    fresh = Rows(
        rows.first[begin:], rows.second[begin:],
        rows.alpha[begin:], rows.beta[begin:], rows.gamma[begin:],
    )  # fmt: skip
    count = end - begin
    image = np.empty((count, size))
    row_products(inverse, fresh, count, image)
    products = np.empty((count, count))
    for j in range(count):
        i, k = fresh.first[j], fresh.second[j]
        for t in range(count):
            products[j, t] = fresh.alpha[j] * image[t, i] + fresh.beta[j] * image[t, k]
            products[j, t] += fresh.gamma[j] * image[t, size - 1]
    for j in range(count):
        if not 0.0 < products[j, j] < np.inf:
            return False
    widest = row_sum_bound(products)
    for j in range(count):
        at.multiplier[begin + j] = NEW_CUT_SHARE / (widest * products[j, j])
        at.slack[begin + j] = centre / at.multiplier[begin + j]
    return True
