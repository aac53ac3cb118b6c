"""Exact search over the integers of a reduced basis: no box in the tree, codes checked at leaves.

With ``z = origin + U y`` a point costs ``||R (y - centre)||^2`` and, at a leaf, what its codes add:
``t (price - fold t)`` for codes t steps from the end of the box they are drawn to. Nothing added is
negative inside the box, so a level closes with the first sibling that is too dear; at the last
level all siblings below the radius are looked at, the added terms having no order.

The walk's state is a ``Walk``'s, and it too can be stopped and resumed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Sums of integers below this are exact in doubles, whatever their order.
EXACT = 2.0**52


@njit(cache=True, nogil=True)
def leaf_codes(basis, origin, floats, lo, hi, codes):
    """Fill ``codes`` with ``origin + basis y``; False if one is outside the box.

    Also if a sum is too large to be exact: those of codes in the box are not (``make_lattice``).
    """
    n = origin.shape[0]
    for a in range(n):
        value = origin[a]
        size = abs(value)
        row = basis[a]
        for j in range(n):
            term = row[j] * floats[j, 0]
            value += term
            size += abs(term)
        if not (lo <= value <= hi and size < EXACT):
            return False
        codes[a] = value
    return True


@njit(cache=True, nogil=True)
def walk_lattice(
    factor, centre, basis, origin, end, price, fold, lo, hi, budget, integers, floats, sums, best,
    scalars,
):  # fmt: skip
    """Visit at most ``budget`` nodes; returns how many were visited.

    Args:
        factor: (n, n) upper triangular ``R``; centre: (n,) in y; basis: (n, n) ``U`` as floats,
            origin: (n,) integers.
        end, price, fold: (n,) of each code, price and fold zero where no end draws it.
        lo, hi: the box of every code. The other arrays are those of a ``Walk``; ``best`` is
            filled with codes z.
    """
    n = centre.shape[0]
    codes = np.empty(n)
    radius = scalars[0]
    level = int(scalars[1])
    descending = scalars[2] > 0.0
    if level == n:
        integers[:, 2] = n - 1
        level = n - 1
        descending = True
        floats[n - 1, 3] = 0.0
    visited = 0
    while level < n and visited < budget:
        i = level
        if descending:
            # bring this row's partial sums up to date with the integers changed since
            for j in range(integers[i, 2], i, -1):
                sums[i, j] = sums[i, j + 1] + factor[i, j] * floats[j, 2]
            floats[i, 1] = centre[i] - sums[i, i + 1] / factor[i, i]
            y = np.rint(floats[i, 1])
            integers[i, 0] = int(y) - 1
            integers[i, 1] = int(y) + 1
        elif floats[i, 1] - integers[i, 0] <= integers[i, 1] - floats[i, 1]:
            y = float(integers[i, 0])
            integers[i, 0] -= 1
        else:
            y = float(integers[i, 1])
            integers[i, 1] += 1
        visited += 1
        descending = False
        d = y - centre[i]
        product = sums[i, i + 1] + factor[i, i] * d
        cost = floats[i, 3] + product * product
        if cost >= radius:
            level += 1  # siblings come in order of cost: all others are dearer
            continue
        floats[i, 0] = y
        if i > 0:
            floats[i, 2] = d
            if integers[i - 1, 2] < integers[i, 2]:
                integers[i - 1, 2] = integers[i, 2]
            integers[i, 2] = i
            floats[i - 1, 3] = cost
            level = i - 1
            descending = True
        elif leaf_codes(basis, origin, floats, lo, hi, codes):
            for a in range(n):
                steps = abs(codes[a] - end[a])
                cost += max(steps * (price[a] - fold[a] * steps), 0.0)
            if cost < radius:
                radius = cost
                best[:] = codes
    scalars[0] = radius
    scalars[1] = float(level) if level < n else -1.0
    scalars[2] = 1.0 if descending else 0.0
    return visited
