"""The direction of the interior-point method: one Newton system, and what its linearisation omits.

The system of the HKM direction is a Hadamard product,
``K_jk = sign_j sign_k (a_j^T X a_k)(a_j^T S^-1 a_k)``, plus ``s_j / m_j`` on the diagonal
(Helmberg, Rendl, Vanderbei, Wolkowicz, An interior-point method for semidefinite programming,
SIAM J. Optim. 6, 1996). Its solution is the move of the multipliers; those of X, S and s follow.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from bounds.linalg.cholesky import factor_upper, multiply, solve_upper
from bounds.linalg.forms import Floats
from bounds.quantization.relaxation.lifted import (
    Lifted,
    Rows,
    add_outer_rows,
    add_rank_ones,
    row_products,
)

#: Factorisations of K tried, each with a larger ridge: rounding at the end of the path, no more.
RIDGES = 8
#: The first ridge, relative to the diagonal, and by how much each next one grows.
FIRST_RIDGE, RIDGE_GROWTH = 1e-14, 9.0


class Iterate(NamedTuple):
    """A primal-dual point, or a move of one.

    ``matrices`` (2, N, N): X, positive definite, need not be feasible; and S. ``slack``: s, and
    ``multiplier``: m, (at least count,); a row that is an equality has no slack.
    """

    matrices: Floats
    slack: Floats
    multiplier: Floats


class Products(NamedTuple):
    """What an iterate is measured by, and its Newton system.

    ``inverse`` (N, N): S^-1. ``row_x``, ``row_s`` (count, N): ``a_j^T X`` and ``a_j^T S^-1``;
    ``spread`` (count,): ``a_j^T S^-1 a_j``. ``diagonal`` (count,): ``s_j / m_j``, zero for
    equalities. ``newton``, ``newton_factor`` (count, count): K and its factor.
    """

    inverse: Floats
    row_x: Floats
    row_s: Floats
    spread: Floats
    diagonal: Floats
    newton: Floats
    newton_factor: Floats


class SecondOrder(NamedTuple):
    """Second-order terms of the complementarity conditions: of X and S, of the rows, of s and m.

    ``matrix`` (N, N); ``rows``, ``slack`` (count,).
    """

    matrix: Floats
    rows: Floats
    slack: Floats


class Scratch(NamedTuple):
    """Memory of one step: ``factor``, ``work``, ``product`` (N, N); ``vector`` (N,); of the rows,
    ``weight`` (count,) and ``row_move`` (count, N)."""

    factor: Floats
    work: Floats
    product: Floats
    vector: Floats
    weight: Floats
    row_move: Floats


@njit(cache=True, nogil=True)
def newton_matrix(
    row_x: Floats, row_s: Floats, rows: Rows, sign: Floats, count: int, out: Floats
) -> None:
    """Upper triangle of ``K`` (count, count), but for the diagonal's ``s_j / m_j``."""
    first, second, alpha, beta, gamma = rows
    e = row_x.shape[1] - 1
    for j in range(count):
        ex, es = row_x[j, e], row_s[j, e]
        for k in range(j, count):
            i, a, c = first[k], alpha[k], gamma[k]
            x = a * row_x[j, i] + c * ex
            s = a * row_s[j, i] + c * es
            if beta[k] != 0.0:
                x += beta[k] * row_x[j, second[k]]
                s += beta[k] * row_s[j, second[k]]
            out[j, k] = sign[j] * sign[k] * x * s


@njit(cache=True, nogil=True)
def factor_newton(matrix: Floats, diagonal: Floats, count: int, factor: Floats) -> bool:
    """Factor ``matrix + diag(diagonal)``, adding as little more as it takes."""
    ridge = 0.0
    for j in range(count):
        matrix[j, j] += diagonal[j]
    for _ in range(RIDGES):
        if factor_upper(matrix, factor) == count:
            return True
        more = FIRST_RIDGE if ridge == 0.0 else RIDGE_GROWTH * ridge
        for j in range(count):
            matrix[j, j] *= 1.0 + more
        ridge += more
    return False


@njit(cache=True, nogil=True)
def newton_system(problem: Lifted, at: Iterate, products: Products) -> bool:
    """K of this iterate, factored; False if it is singular beyond repair."""
    count = problem.m
    newton_matrix(
        products.row_x, products.row_s, problem.rows, problem.sign, count, products.newton
    )
    for j in range(count):
        if not problem.free[j]:
            products.diagonal[j] = at.slack[j] / at.multiplier[j]
    return factor_newton(products.newton, products.diagonal, count, products.newton_factor)


@njit(cache=True, nogil=True)
def newton_direction(
    problem: Lifted,
    at: Iterate,
    products: Products,
    aim: float,
    second: SecondOrder,
    corrected: bool,
    move: Iterate,
    scratch: Scratch,
) -> None:
    """The move towards complementarity ``aim`` of every pair, into ``move``.

    Eliminated down to the multipliers, it is one solve with K; X, S and s follow from theirs.
    ``corrected``: subtract the second-order terms.
    """
    sign, free, count = problem.sign, problem.free, problem.m
    inverse, product, work, weight = (
        products.inverse, scratch.product, scratch.work, scratch.weight,
    )  # fmt: skip
    primal = at.matrices[0]
    move_x, move_s = move.matrices[0], move.matrices[1]
    size = primal.shape[0]
    for j in range(count):
        move.multiplier[j] = sign[j] * (1.0 - aim * products.spread[j])
        if corrected:
            move.multiplier[j] += sign[j] * second.rows[j]
        if not free[j]:
            move.multiplier[j] += aim / at.multiplier[j]
            if corrected:
                move.multiplier[j] -= second.slack[j]
    solve_upper(products.newton_factor, move.multiplier)
    for j in range(count):
        weight[j] = -sign[j] * move.multiplier[j]
    product[:] = 0.0
    add_outer_rows(weight, products.row_x, problem.rows, count, product)
    if corrected:
        for i in range(size):
            for j in range(size):
                product[i, j] += second.matrix[i, j]
    multiply(inverse, product, work)
    for i in range(size):
        for j in range(i, size):
            half = 0.5 * (work[i, j] + work[j, i])
            move_x[i, j] = aim * inverse[i, j] - primal[i, j] - half
            move_x[j, i] = move_x[i, j]
    move_s[:] = 0.0
    add_rank_ones(weight, problem.rows, count, move_s)
    for j in range(count):
        if not free[j]:
            move.slack[j] = (
                aim / at.multiplier[j] - at.slack[j] - products.diagonal[j] * move.multiplier[j]
            )
            if corrected:
                move.slack[j] -= second.slack[j]


@njit(cache=True, nogil=True)
def second_order(
    problem: Lifted,
    at: Iterate,
    products: Products,
    move: Iterate,
    second: SecondOrder,
    scratch: Scratch,
) -> None:
    """What the linearisation along ``move`` left out of the complementarity conditions."""
    count, rows, work = problem.m, problem.rows, scratch.work
    size = work.shape[0]
    row_products(move.matrices[0], rows, count, scratch.row_move)
    second.matrix[:] = 0.0
    add_outer_rows(scratch.weight, scratch.row_move, rows, count, second.matrix)
    for i in range(size):
        for j in range(size):
            work[j, i] = second.matrix[i, j]
    for j in range(count):
        i, k = rows.first[j], rows.second[j]
        a, b, c = rows.alpha[j], rows.beta[j], rows.gamma[j]
        term = 0.0
        for t in range(size):
            term += products.row_s[j, t] * (a * work[i, t] + b * work[k, t] + c * work[size - 1, t])
        second.rows[j] = term
        second.slack[j] = 0.0
        if not problem.free[j]:
            second.slack[j] = move.slack[j] * move.multiplier[j] / at.multiplier[j]
