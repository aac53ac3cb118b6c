"""Lattice reduction: a basis of the integers in which a stiff quadratic form is nearly diagonal.

Codes are ``z = U y`` with ``U`` unimodular: y runs over the same integers, but columns are short
and nearly orthogonal in the norm of the Gram, so that a search over y meets few nodes even where
the condition number is large (Lenstra, Lenstra, Lovasz, Math. Ann. 261, 1982). The reduction runs
in floating point, which can only make the basis worse: every step adds an integer multiple of one
column to another, or swaps two, and the product with the integer inverse is checked exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Lovasz's constant; nearer to one reduces more.
DELTA = 0.99
#: Largest entry of a basis or its inverse; a column of larger ones is left as it is.
LARGEST = 2**24
#: Share of the trace added before reducing, so that a singular form can be factored.
RIDGE = 1e-13
#: Passes with a fresh factor; the second usually finds nothing left to do.
PASSES = 4
#: Nodes of the reduced tree at the radius where trees are compared.
TYPICAL_NODES = 1e3


@dataclass(frozen=True)
class Basis:
    """Integer ``columns`` U (n, n) with integer ``inverse``, both int64; ``U inverse = I``."""

    columns: Integers
    inverse: Integers

    @property
    def trivial(self) -> bool:
        """Whether U only permutes and reflects."""
        return bool((np.abs(self.columns).sum(axis=0) == 1).all())

    def ordered(self, order: Integers) -> Basis:
        """The same basis with its columns in another order."""
        return Basis(
            np.ascontiguousarray(self.columns[:, order]),
            np.ascontiguousarray(self.inverse[order]),
        )


@njit(cache=True, nogil=True)
def swap_columns(r: Floats, columns: Integers, inverse: Integers, k: int) -> None:
    """Swap columns k-1 and k, and make ``r`` upper triangular again by one Givens rotation."""
    n = r.shape[0]
    for i in range(k + 1):
        r[i, k - 1], r[i, k] = r[i, k], r[i, k - 1]
    for i in range(n):
        columns[i, k - 1], columns[i, k] = columns[i, k], columns[i, k - 1]
        inverse[k - 1, i], inverse[k, i] = inverse[k, i], inverse[k - 1, i]
    length = np.hypot(r[k - 1, k - 1], r[k, k - 1])
    cosine, sine = r[k - 1, k - 1] / length, r[k, k - 1] / length
    for j in range(k - 1, n):
        upper, lower = r[k - 1, j], r[k, j]
        r[k - 1, j] = cosine * upper + sine * lower
        r[k, j] = cosine * lower - sine * upper
    r[k, k - 1] = 0.0
    if r[k, k] < 0.0:
        for j in range(k, n):
            r[k, j] = -r[k, j]


@njit(cache=True, nogil=True)
def shorten_column(r: Floats, columns: Integers, inverse: Integers, k: int, largest: int) -> int:
    """Subtract the nearest integer multiples of earlier columns; how many there were, or -1.

    -1: an entry would pass ``largest``; the column is left half done, a basis all the same.
    """
    n = r.shape[0]
    moved = 0
    for j in range(k - 1, -1, -1):
        multiple = np.rint(r[j, k] / r[j, j])
        if multiple == 0.0:
            continue
        if not abs(multiple) <= largest:
            return -1
        times = np.int64(multiple)
        for i in range(n):
            if (
                abs(columns[i, k] - times * columns[i, j]) > largest
                or abs(inverse[j, i] + times * inverse[k, i]) > largest
            ):
                return -1
        for i in range(j + 1):
            r[i, k] -= multiple * r[i, j]
        for i in range(n):
            columns[i, k] -= times * columns[i, j]
            inverse[j, i] += times * inverse[k, i]
        moved += 1
    return moved


@njit(cache=True, nogil=True)
def reduce_columns(
    r: NDArray, columns: Integers, inverse: Integers, delta: float, largest: int
) -> int:
    """LLL on the columns of upper triangular ``r`` (n, n), all three in place; changes made.

    Args: columns, inverse: (n, n) int64, the basis so far and its inverse.
    """
    n = r.shape[0]
    changes = 0
    k = 1
    for _ in range(400 * n * n):
        if k >= n:
            break
        moved = shorten_column(r, columns, inverse, k, largest)
        if moved < 0:
            break
        changes += moved
        if delta * r[k - 1, k - 1] ** 2 > r[k - 1, k] ** 2 + r[k, k] ** 2:
            swap_columns(r, columns, inverse, k)
            changes += 1
            k = max(k - 1, 1)
        else:
            k += 1
    return changes


def reduced_basis(form: Floats, start: Basis | None = None) -> Basis | None:
    """An LLL-reduced basis for the positive semidefinite ``form`` (n, n).

    Args:
        start: a basis to go on from.

    Returns:
        None if the form cannot be factored or the inverse does not hold exactly.
    """
    n = len(form)
    columns = np.eye(n, dtype=np.int64) if start is None else start.columns.copy()
    inverse = np.eye(n, dtype=np.int64) if start is None else start.inverse.copy()
    ridge = RIDGE * float(np.trace(form)) * np.eye(n)
    for _ in range(PASSES):
        real = columns.astype(np.float64)
        try:
            factor = np.linalg.cholesky(real.T @ (form + ridge) @ real).T
        except np.linalg.LinAlgError:
            return None
        if not reduce_columns(np.ascontiguousarray(factor), columns, inverse, DELTA, LARGEST):
            break
    # Entries are at most LARGEST, so no product of two and no sum of n of them leaves int64.
    assert n * LARGEST * LARGEST < 2**62
    if not (columns @ inverse == np.eye(n, dtype=np.int64)).all():
        return None
    return Basis(columns, inverse)


def log_nodes(diagonal: Floats, square: float) -> float:
    """Natural logarithm of the nodes of a tree without box, cost up to ``square``.

    Each level holds about as many as its ellipsoid has volume (the Gaussian heuristic); level l,
    from the last, is that of the last l entries of the factor's ``diagonal``.
    """
    levels = np.arange(1, len(diagonal) + 1)
    halves = levels / 2
    gamma = np.array([math.lgamma(h + 1) for h in halves])
    volumes = halves * math.log(math.pi * square) - gamma - np.cumsum(np.log(diagonal[::-1]))
    return float(np.logaddexp.reduce(volumes))


def gain(plain: Floats, reduced: Floats) -> float:
    """How many times fewer nodes the ``reduced`` factor's tree has, both given by diagonals."""
    low, high = -600.0, 600.0
    for _ in range(60):
        middle = (low + high) / 2
        if log_nodes(reduced, math.exp(middle)) < math.log(TYPICAL_NODES):
            low = middle
        else:
            high = middle
    return math.exp(min(log_nodes(plain, math.exp(low)) - math.log(TYPICAL_NODES), 600.0))
