"""Small dense factorizations, written so that the inner loops are contiguous and vectorise.

The same loops for every size and thread count: results are bitwise reproducible.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.forms import Floats


@njit(cache=True, nogil=True)
def invert_definite(matrix: Floats, out: Floats, m: int) -> bool:
    """Inverse of the leading (m, m) block into ``out``; False if a pivot is not positive.

    Symmetric Gauss-Jordan on the upper triangle, two pivots a pass, mirrored at the end. With the
    pivot rows cleared and minus the identity in their place, one formula updates every row.
    """
    r = np.zeros(m)
    q = np.zeros(m)
    for i in range(m):
        for j in range(i, m):
            out[i, j] = matrix[i, j]
    k = 0
    while k < m:
        a = out[k, k]
        if not a > 0.0:
            return False
        pair = k + 1 < m
        for i in range(k):
            r[i] = out[i, k]
            out[i, k] = 0.0
        for j in range(k, m):
            r[j] = out[k, j]
            out[k, j] = 0.0
        if pair:
            b = r[k + 1]
            c = out[k + 1, k + 1]
            schur = c - b * b / a
            if not schur > 0.0:
                return False
            for i in range(k):
                q[i] = out[i, k + 1]
                out[i, k + 1] = 0.0
            for j in range(k + 1, m):
                q[j] = out[k + 1, j]
                out[k + 1, j] = 0.0
            r[k], r[k + 1], q[k], q[k + 1] = -1.0, 0.0, 0.0, -1.0
            tilt = b / a
            for i in range(m):
                g = (q[i] - tilt * r[i]) / schur
                f = r[i] / a - tilt * g
                row = out[i]
                for j in range(i, m):
                    row[j] -= f * r[j] + g * q[j]
        else:
            r[k] = -1.0
            for i in range(m):
                f = r[i] / a
                row = out[i]
                for j in range(i, m):
                    row[j] -= f * r[j]
        k += 2
    for i in range(m):
        for j in range(i, m):
            out[i, j] = -out[i, j]
            out[j, i] = out[i, j]
    return True


@njit(cache=True, nogil=True)
def factor_definite(a: Floats, m: int) -> bool:
    """``U^T D U`` in the upper triangle of ``a``, scaled rows: row k holds the reduced row.

    Two rows of the trailing matrix are eliminated per pass, which halves the memory traffic.
    """
    k = 0
    while k + 1 < m:
        pivot = a[k, k]
        if not pivot > 0.0:
            return False
        row = a[k]
        nxt = a[k + 1]
        first = row[k + 1] / pivot
        for j in range(k + 1, m):
            nxt[j] -= first * row[j]
        pivot2 = nxt[k + 1]
        if not pivot2 > 0.0:
            return False
        for i in range(k + 2, m):
            f = row[i] / pivot
            g = nxt[i] / pivot2
            out = a[i]
            for j in range(i, m):
                out[j] -= f * row[j] + g * nxt[j]
        k += 2
    return k == m or a[k, k] > 0.0


@njit(cache=True, nogil=True)
def solve_factored(a: Floats, x: Floats, m: int) -> None:
    """Solve in place with the result of ``factor_definite``."""
    for k in range(m):
        row = a[k]
        share = x[k] / row[k]
        for j in range(k + 1, m):
            x[j] -= share * row[j]
    for k in range(m - 1, -1, -1):
        row = a[k]
        value = x[k]
        for j in range(k + 1, m):
            value -= row[j] * x[j]
        x[k] = value / row[k]
