"""The triangular factor a lattice search walks down, with a proven bound on its own rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.linalg.definite import eigenvalue_lower_bound

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]

#: Relative shift of the diagonal tried in turn when a Gram is singular to working precision; the
#: last makes every Gram definite that ``check_problem`` admits (``DEFINITENESS_TOLERANCE``).
SHIFTS = (0.0, 2.0**-52, 2.0**-48, 2.0**-44, 2.0**-40, 2.0**-36, 2.0**-32)
EXTENDED_UNIT = np.finfo(np.longdouble).eps


@dataclass(frozen=True)
class Factor:
    """``factor^T factor = matrix[order][:, order] + shift I`` up to ``residual`` in 2-norm.

    The double ``factor`` is an extended-precision one rounded entry by entry, so
    ``||factor d||`` is within ``2^-53 sqrt(trace) ||d||`` of the true norm: an error that grows
    with the square root of the condition number only.
    """

    order: NDArray[np.int64]
    factor: Floats
    shift: float
    trace: float
    residual: float
    smallest: float  # proven lower bound on the smallest eigenvalue of matrix + shift I, or 0


@njit(cache=True, nogil=True)
def search_order(inverse):
    """V-BLAST order: the search fixes first (last column) the input with the largest pivot."""
    n = inverse.shape[0]
    order = np.empty(n, np.int64)
    alive = np.ones(n, np.bool_)
    for position in range(n - 1, -1, -1):
        best = -1
        for i in range(n):
            if alive[i] and (best < 0 or inverse[i, i] < inverse[best, best]):
                best = i
        order[position] = best
        alive[best] = False
        pivot = inverse[best, best]
        column = inverse[:, best].copy()
        for i in range(n):
            if alive[i]:
                for j in range(n):
                    inverse[i, j] -= column[i] * column[j] / pivot
    return order


def extended_cholesky(matrix: Extended) -> Extended | None:
    """Upper triangular Cholesky factor in extended precision; None if a pivot is not positive."""
    rest = np.array(matrix, np.longdouble)
    n = len(rest)
    factor = np.zeros_like(rest)
    for k in range(n):
        pivot = rest[k, k]
        if not pivot > 0:
            return None
        row = rest[k, k:] / np.sqrt(pivot)
        factor[k, k:] = row
        rest[k + 1 :, k + 1 :] -= row[1:, None] * row[None, 1:]
    return factor


def factorise(matrix: Floats | Extended, sizes: Floats | None = None) -> Factor:
    """Order and factor a positive semidefinite matrix (n, n) with non-zero diagonal.

    ``sizes`` (n,), where inputs are of different units: the order is that of
    ``diag(sizes) matrix diag(sizes)``.

    A singular matrix is shifted by the smallest of ``SHIFTS`` (relative to its largest diagonal
    entry) that lets it be factored; the caller subtracts what the shift can add to an error.
    """
    n = len(matrix)
    double = np.asarray(matrix, np.float64)
    top = float(np.diag(double).max())
    trace = float(np.trace(double)) * (1 + n * 2.0**-52)
    for relative in SHIFTS:
        shift = relative * top * n
        shifted = double + shift * np.eye(n)
        # less what the rounding of `matrix` to doubles can be worth
        smallest = eigenvalue_lower_bound(shifted) - 2.0**-52 * (top + shift)
        if smallest <= 0 and relative < SHIFTS[-1]:
            continue  # not even verified positive definite: factor a larger shift instead
        inverse = np.linalg.inv(shifted)
        order = search_order(inverse if sizes is None else inverse / np.outer(sizes, sizes))
        exact = np.asarray(matrix, np.longdouble)[np.ix_(order, order)]
        factor = extended_cholesky(exact + np.longdouble(shift) * np.eye(n, dtype=np.longdouble))
        if factor is not None:
            residual = 2 * (n + 4) * float(EXTENDED_UNIT) * (trace + n * shift)
            rounded = np.ascontiguousarray(factor.astype(np.float64))
            return Factor(order, rounded, shift, trace + n * shift, residual, max(smallest, 0.0))
    raise ArithmeticError("the Gram passed its definiteness check and yet has no factor")


def walk_slack(
    factor: Factor, cost: Floats, radius_squared: Floats, entry: Floats, width: Floats | float
) -> Floats:
    """How far a search's own cost can be from the true one, per channel.

    Args:
        cost: (channels,) upper bound on the true cost ``g^T d + d^T H d`` of the points meant.
        radius_squared: (channels,) upper bound on ``||d||^2`` of these points.
        entry: (channels,) rounding of one extra additive term per unit of ``||d||``.
        width: of the box. Siblings are ordered by distance from a minimiser known to within about
            ``2^-51 width``, so one may be passed over on the other side that is cheaper by a hair;
            both are at least half a step away then, so the hair is a share of the cost itself. Not
            so with multipliers, or other levels: ``order_slack`` is for them (and a width of 0).
    """
    n = len(factor.order)
    unit = (n + 4) * 2.0**-53
    length = np.sqrt(radius_squared)
    norm = np.sqrt(factor.trace) * length  # bounds ||  |R| |d|  ||
    # ||R d|| is computed with an error of 2 unit norm at most, so its square with:
    product = (
        4 * unit * norm * np.sqrt(cost + factor.shift * radius_squared) + 4 * (unit * norm) ** 2
    )
    return (
        product
        + (factor.residual + factor.shift) * radius_squared
        + 4 * unit * cost
        + entry * length
        + 2.0**-48 * width * cost
    ) * (1 + 1e-6)


def order_slack(reach: Floats | float, lift: Floats | float, cost: Floats) -> Floats:
    """What siblings visited in the wrong order can be worth (channels,).

    Given the partial product s, a level costs ``c (d - m)^2`` and a constant, ``c = r^2 + lambda``;
    the first sibling that is too dear closes it. With D the largest ``|d|`` of its input,
    ``|s| <= sqrt(cost) + r D`` for the points meant, so m, computed from s, is off by at most
    ``e = 2^-49 (D + sqrt(cost) r / c)``; one passed over, at a distance x from m, is cheaper by at
    most ``4 c e (x + e)``, and ``c x^2`` is at most cost plus what the cut between two levels,
    ``lambda gap^2 / 4``, is below zero there.

    Args:
        reach: the largest ``D sqrt(c)`` of any input; lift: the largest ``lambda gap^2 / 4``.
        cost: (channels,) as for ``walk_slack``.
    """
    room = cost + lift
    return np.asarray(2.0**-47 * (reach * np.sqrt(room) + room + 2.0**-40 * reach**2) * (1 + 1e-6))
