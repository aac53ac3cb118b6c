"""Dense kernels on small contiguous matrices: factor, solve, invert, multiply, longest step.

Loops run along rows, four updates at a time: they vectorise without reassociating any sum, so
results do not depend on threads or on a BLAS. ``ldl`` has what pruning needs instead: factors in
place of leading blocks. ``definite`` has a third, plain Cholesky, for proofs alone: whoever checks
a bound need not read this one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.forms import Floats

#: Trials of a step by Newton's rule before bisection, and bisections before the first that is
#: definite is taken: a step within a tenth of the longest costs less than a longer search saves.
NEWTON_TRIES, BISECTIONS = 3, 2
PIVOT = 1e-15  # smallest pivot, relative to the diagonal, that is told from rounding


@njit(cache=True, nogil=True)
def factor_upper(matrix: Floats, factor: Floats) -> int:
    """Cholesky ``factor^T factor = matrix``, upper triangles only.

    Returns n, or the index of the first pivot that is not positive (it stays in ``factor``).
    """
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i, n):
            factor[i, j] = matrix[i, j]
    k = 0
    while k < n:
        end = min(k + 4, n)
        for p in range(k, end):
            for r in range(k, p):
                value = factor[r, p]
                for j in range(p, n):
                    factor[p, j] -= value * factor[r, j]
            pivot = factor[p, p]
            if not pivot > PIVOT * matrix[p, p]:
                return p
            root = 1.0 / np.sqrt(pivot)
            for j in range(p, n):
                factor[p, j] *= root
        if end - k == 4:
            for i in range(end, n):
                a, b, c, d = factor[k, i], factor[k + 1, i], factor[k + 2, i], factor[k + 3, i]
                for j in range(i, n):
                    factor[i, j] -= (
                        a * factor[k, j]
                        + b * factor[k + 1, j]
                        + c * factor[k + 2, j]
                        + d * factor[k + 3, j]
                    )
        k = end
    return n


@njit(cache=True, nogil=True)
def solve_upper(factor: Floats, x: Floats) -> None:
    """Solve ``factor^T factor x = rhs`` in place."""
    n = x.shape[0]
    for k in range(n):
        value = x[k] / factor[k, k]
        x[k] = value
        for j in range(k + 1, n):
            x[j] -= factor[k, j] * value
    for k in range(n - 1, -1, -1):
        value = x[k]
        for j in range(k + 1, n):
            value -= factor[k, j] * x[j]
        x[k] = value / factor[k, k]


@njit(cache=True, nogil=True)
def invert_factor(factor: Floats, work: Floats, inverse: Floats) -> None:
    """``(factor^T factor)^-1 = Y^T Y`` with ``Y = factor^-T`` (in ``work``), row by row."""
    n = factor.shape[0]
    for j in range(n):
        for c in range(n):
            work[j, c] = 0.0
            inverse[j, c] = 0.0
    for j in range(n):
        work[j, j] = 1.0
        k = 0
        while k + 4 <= j:
            a, b, c, d = factor[k, j], factor[k + 1, j], factor[k + 2, j], factor[k + 3, j]
            for t in range(k + 4):
                work[j, t] -= (
                    a * work[k, t] + b * work[k + 1, t] + c * work[k + 2, t] + d * work[k + 3, t]
                )
            k += 4
        while k < j:
            a = factor[k, j]
            for t in range(k + 1):
                work[j, t] -= a * work[k, t]
            k += 1
        root = 1.0 / factor[j, j]
        for t in range(j + 1):
            work[j, t] *= root
    k = 0
    while k < n:
        if k + 4 <= n:
            for i in range(k + 4):
                a, b, c, d = work[k, i], work[k + 1, i], work[k + 2, i], work[k + 3, i]
                for t in range(i + 1):
                    inverse[i, t] += (
                        a * work[k, t]
                        + b * work[k + 1, t]
                        + c * work[k + 2, t]
                        + d * work[k + 3, t]
                    )
            k += 4
        else:
            for i in range(k + 1):
                a = work[k, i]
                for t in range(i + 1):
                    inverse[i, t] += a * work[k, t]
            k += 1
    for i in range(n):
        for t in range(i):
            inverse[t, i] = inverse[i, t]


@njit(cache=True, nogil=True)
def multiply(left: Floats, right: Floats, out: Floats) -> None:
    """``out = left @ right``, square."""
    n = left.shape[0]
    for i in range(n):
        for j in range(n):
            out[i, j] = 0.0
        k = 0
        while k + 4 <= n:
            a, b, c, d = left[i, k], left[i, k + 1], left[i, k + 2], left[i, k + 3]
            for j in range(n):
                out[i, j] += (
                    a * right[k, j]
                    + b * right[k + 1, j]
                    + c * right[k + 2, j]
                    + d * right[k + 3, j]
                )
            k += 4
        while k < n:
            a = left[i, k]
            for j in range(n):
                out[i, j] += a * right[k, j]
            k += 1


@njit(cache=True, nogil=True)
def inner(left: Floats, right: Floats) -> float:
    """``sum(left * right)`` in four interleaved sums."""
    rows, n = left.shape
    a = b = c = d = 0.0
    for i in range(rows):
        j = 0
        while j + 4 <= n:
            a += left[i, j] * right[i, j]
            b += left[i, j + 1] * right[i, j + 1]
            c += left[i, j + 2] * right[i, j + 2]
            d += left[i, j + 3] * right[i, j + 3]
            j += 4
        while j < n:
            a += left[i, j] * right[i, j]
            j += 1
    return (a + b) + (c + d)


@njit(cache=True, nogil=True)
def negative_direction(factor: Floats, pivot: int, direction: Floats) -> None:
    """After a failure at ``pivot``: a vector (zero beyond) along which the matrix is not PD."""
    direction[pivot] = 1.0
    for k in range(pivot - 1, -1, -1):
        value = -factor[k, pivot]
        for j in range(k + 1, pivot):
            value -= factor[k, j] * direction[j]
        direction[k] = value / factor[k, k]


@njit(cache=True, nogil=True)
def longest_step(
    base: Floats,
    move: Floats,
    share: float,
    tries: int,
    guess: bool,
    trial: Floats,
    factor: Floats,
    direction: Floats,
) -> float:
    """A step keeping ``base + step * move`` definite: 1, or ``share`` of the way to the boundary.

    Each failed Cholesky yields a direction of negative curvature and with it an upper bound on the
    step, which converges to the boundary from outside as Newton's method does; where that is slow,
    bisection takes over. Returns 0.0 if ``tries`` factorisations found nothing definite.
    """
    n = base.shape[0]
    lower = 0.0
    upper = np.inf
    step = 1.0
    for attempt in range(tries):
        for i in range(n):
            for j in range(n):
                trial[i, j] = base[i, j] + step * move[i, j]
        pivot = factor_upper(trial, factor)
        if pivot == n:
            lower = step
            if step == 1.0 or attempt >= NEWTON_TRIES + BISECTIONS or 1.1 * step > share * upper:
                break
        else:
            negative_direction(factor, pivot, direction)
            here = 0.0
            for i in range(pivot + 1):
                value = 0.5 * base[i, i] * direction[i]
                for j in range(i + 1, pivot + 1):
                    value += base[i, j] * direction[j]
                here += 2.0 * value * direction[i]
            there = min(factor[pivot, pivot], 0.0)
            bound = step * here / (here - there) if here > 0.0 else step
            upper = min(upper, bound, step)
            if lower > 0.0 and attempt >= NEWTON_TRIES + BISECTIONS:
                break
        step = share * upper
        if attempt >= NEWTON_TRIES:
            step = 0.5 * (lower + step)
    return 0.5 * step if guess and lower == 0.0 else lower
