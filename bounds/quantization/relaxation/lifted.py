"""Cuts as squared affine forms on lifted matrices, and sums over them.

With ``X = [[Z, z], [z^T, 1]]`` of order N = n + 1 a cut ``sign (y - p)(y - q) >= 0`` is one squared
affine form: with ``a = (b, -(p+q)/2) / d``, ``y = b^T z`` and ``d = (q-p)/2`` it says
``sign (a^T X a - 1) >= 0``. A form has at most three nonzeros, two codes and the last entry, so
everything here costs one or two passes over a row of a matrix, not a product of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.linalg.forms import Floats

Ints = NDArray[np.int64]
Booleans = NDArray[np.bool_]


class CutArrays(NamedTuple):
    """Cuts ``sign (y - low)(y - high) >= 0``, all arrays (room,).

    ``y = z_first``, or ``z_first + pair z_second`` where ``second >= 0``.
    """

    first: Ints
    second: Ints
    pair: Floats
    low: Floats
    high: Floats
    sign: Floats


class Rows(NamedTuple):
    """Forms ``a_j = alpha_j e_first + beta_j e_second + gamma_j e_n``, all arrays (room + 1,).

    Row 0 is the corner ``X_nn = 1``: ``a_0 = e_n``. Row j + 1 is cut j.
    """

    first: Ints
    second: Ints
    alpha: Floats
    beta: Floats
    gamma: Floats


class Lifted(NamedTuple):
    """Minimise ``<C, X>`` where ``sign_j (a_j^T X a_j - 1) >= 0`` for the leading ``m`` rows.

    ``constant``: C (N, N). ``sign`` (room + 1,): +1 or -1. ``free`` (room + 1,): which rows are
    equalities, so that their multiplier may have either sign.
    """

    constant: Floats
    rows: Rows
    sign: Floats
    free: Booleans
    m: int


@njit(cache=True, nogil=True)
def write_rows(start: Floats, cuts: CutArrays, begin: int, count: int, rows: Rows) -> None:
    """Lift cuts ``begin..count``, on codes less ``start`` (n,), to rows ``begin+1..count+1``."""
    for j in range(begin, count):
        i = cuts.first[j]
        half = 0.5 * (cuts.high[j] - cuts.low[j])
        middle = 0.5 * (cuts.high[j] + cuts.low[j]) - start[i]
        rows.first[j + 1] = i
        rows.second[j + 1] = i
        rows.alpha[j + 1] = 1.0 / half
        rows.beta[j + 1] = 0.0
        if cuts.second[j] >= 0:
            middle -= cuts.pair[j] * start[cuts.second[j]]
            rows.second[j + 1] = cuts.second[j]
            rows.beta[j + 1] = cuts.pair[j] / half
        rows.gamma[j + 1] = -middle / half


@njit(cache=True, nogil=True)
def row_products(matrix: Floats, rows: Rows, count: int, out: Floats) -> None:
    """Rows ``a_j^T matrix`` (count, N) of a symmetric matrix (N, N)."""
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
def add_rank_ones(weight: Floats, rows: Rows, count: int, out: Floats) -> None:
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
def add_outer_rows(weight: Floats, image: Floats, rows: Rows, count: int, out: Floats) -> None:
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
def primal_slack(primal: Floats, problem: Lifted, j: int) -> float:
    """``sign_j (a_j^T X a_j - 1)``."""
    rows = problem.rows
    i, k, e = rows.first[j], rows.second[j], primal.shape[0] - 1
    a, b, c = rows.alpha[j], rows.beta[j], rows.gamma[j]
    value = a * a * primal[i, i] + c * c * primal[e, e] + 2.0 * a * c * primal[i, e]
    value += b * b * primal[k, k] + 2.0 * b * (a * primal[i, k] + c * primal[k, e])
    return problem.sign[j] * (value - 1.0)


@njit(cache=True, nogil=True)
def lagrangian_matrix(problem: Lifted, multiplier: Floats, out: Floats) -> float:
    """``C - sum_j>0 m_j sign_j a_j a_j^T``; returns the constant ``sum_j>0 sign_j m_j``."""
    weight = np.zeros(problem.m)
    total = 0.0
    for j in range(1, problem.m):
        weight[j] = -problem.sign[j] * multiplier[j]
        total -= weight[j]
    out[:] = problem.constant
    add_rank_ones(weight, problem.rows, problem.m, out)
    return total
