"""Exact search over the integers of a reduced basis: no box in the tree, codes checked at leaves.

With ``z = origin + U y`` a point costs ``||R (y - centre)||^2`` and, at a leaf, what its codes add:
``t (price - fold t)`` for codes t steps from the end of the box they are drawn to. Nothing added is
negative inside the box, so a level closes with the first sibling that is too dear; at the last
level all siblings below the radius are looked at, the added terms having no order.

The walk's state is a ``Walk``'s, and it too can be stopped and resumed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.quantization.search.enumeration import FINISHED, Walk

Floats = NDArray[np.float64]

#: Sums of integers below this are exact in doubles, whatever their order.
EXACT = 2.0**52


class LatticeForm(NamedTuple):
    """What one channel's search in a reduced basis minimises.

    ``factor`` (n, n) upper triangular ``R``; ``centre`` (n,) in y; ``basis`` (n, n): U as doubles,
    ``origin`` (n,) integers; ``end``, ``price``, ``fold`` (n,) of each code, price and fold zero
    where no end draws it; ``lo``, ``hi``: the box of every code.
    """

    factor: Floats
    centre: Floats
    basis: Floats
    origin: Floats
    end: Floats
    price: Floats
    fold: Floats
    lo: float
    hi: float


@njit(cache=True, nogil=True)
def leaf_codes(form: LatticeForm, levels: Floats, codes: Floats) -> bool:
    """Fill ``codes`` with ``origin + basis y``; False if one is outside the box.

    Also if a sum is too large to be exact: those of codes in the box are not (``make_lattice``).
    """
    n = form.origin.shape[0]
    for a in range(n):
        value = form.origin[a]
        size = abs(value)
        row = form.basis[a]
        for j in range(n):
            term = row[j] * levels[j, 0]
            value += term
            size += abs(term)
        if not (form.lo <= value <= form.hi and size < EXACT):
            return False
        codes[a] = value
    return True


@njit(cache=True, nogil=True)
def leaf_cost(form: LatticeForm, codes: Floats) -> float:
    """What the ends of the box add to codes, beyond what is folded into the form."""
    cost = 0.0
    for a in range(codes.shape[0]):
        steps = abs(codes[a] - form.end[a])
        cost += max(steps * (form.price[a] - form.fold[a] * steps), 0.0)
    return cost


@njit(cache=True, nogil=True)
def walk_lattice(form: LatticeForm, walk: Walk, budget: int) -> int:
    """Visit at most ``budget`` nodes; returns how many. ``walk.best`` is filled with codes z."""
    factor, centre = form.factor, form.centre
    siblings, levels, sums = walk.siblings, walk.levels, walk.sums
    n = centre.shape[0]
    codes = np.empty(n)
    radius = walk.radius[0]
    level = walk.level[0]
    descending = walk.entering[0]
    if level == n:
        siblings[:, 2] = n - 1
        level = n - 1
        descending = True
        levels[n - 1, 3] = 0.0
    visited = 0
    while 0 <= level < n and visited < budget:
        i = level
        if descending:
            # bring this row's partial sums up to date with the integers changed since
            for j in range(siblings[i, 2], i, -1):
                sums[i, j] = sums[i, j + 1] + factor[i, j] * levels[j, 2]
            levels[i, 1] = centre[i] - sums[i, i + 1] / factor[i, i]
            y = np.rint(levels[i, 1])
            siblings[i, 0] = int(y) - 1
            siblings[i, 1] = int(y) + 1
        elif levels[i, 1] - siblings[i, 0] <= siblings[i, 1] - levels[i, 1]:
            y = float(siblings[i, 0])
            siblings[i, 0] -= 1
        else:
            y = float(siblings[i, 1])
            siblings[i, 1] += 1
        visited += 1
        descending = False
        d = y - centre[i]
        product = sums[i, i + 1] + factor[i, i] * d
        cost = levels[i, 3] + product * product
        if cost >= radius:
            level += 1  # siblings come in order of cost: all others are dearer
            continue
        levels[i, 0] = y
        if i > 0:
            levels[i, 2] = d
            if siblings[i - 1, 2] < siblings[i, 2]:
                siblings[i - 1, 2] = siblings[i, 2]
            siblings[i, 2] = i
            levels[i - 1, 3] = cost
            level = i - 1
            descending = True
        elif leaf_codes(form, levels, codes):
            cost += leaf_cost(form, codes)
            if cost < radius:
                radius = cost
                walk.best[:] = codes
    walk.radius[0] = radius
    walk.level[0] = level if level < n else FINISHED
    walk.entering[0] = descending
    return visited
