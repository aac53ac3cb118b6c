"""Positive definiteness, verified rather than hoped for.

If the floating-point Cholesky factorisation of ``M - shift I`` runs to completion, with a shift
that covers its own rounding, then ``M`` is positive definite (Rump, *Verification of positive
definiteness*, BIT 46, 2006). Matrices are first balanced by powers of two, which rounds nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@njit(cache=True, nogil=True)
def cholesky_succeeds(matrix: Floats, shift: float) -> bool:
    """Whether Cholesky of ``matrix - shift I`` meets only positive pivots (plain, unblocked)."""
    n = matrix.shape[0]
    factor = np.zeros((n, n))
    for j in range(n):
        pivot = matrix[j, j] - shift
        for k in range(j):
            pivot -= factor[j, k] * factor[j, k]
        if not pivot > 0.0:
            return False
        root = np.sqrt(pivot)
        factor[j, j] = root
        for i in range(j + 1, n):
            value = matrix[i, j]
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            factor[i, j] = value / root
    return True


@njit(cache=True, nogil=True)
def rump_shift(matrix: Floats) -> float:
    """Shift covering the rounding of one Cholesky run on ``matrix`` and of forming its diagonal."""
    n = matrix.shape[0]
    trace = 0.0
    for i in range(n):
        trace += abs(matrix[i, i])
    unit = 2.0**-53
    gamma = (n + 3) * unit / (1.0 - (n + 3) * unit)
    return 2.0 * gamma / (1.0 - gamma) * trace + n * 2.0**-1022


def eigenvalue_lower_bound(matrix: Floats, guess: float | None = None) -> float:
    """A proven lower bound on the smallest eigenvalue of a symmetric matrix, or 0.0 if none found.

    Args:
        matrix: (n, n) symmetric; its stored doubles are taken as exact.
        guess: a value believed to be below the smallest eigenvalue; computed when absent.
    """
    if guess is None:
        guess = float(np.linalg.eigvalsh(matrix)[0]) * 0.99
    rounding = rump_shift(matrix)
    for candidate in (guess, guess / 2 - rounding, guess / 16 - rounding):
        if candidate > 0 and cholesky_succeeds(matrix, candidate + rounding):
            return candidate
    return 0.0
