"""Rounding to the values of a grid where some inputs must stay zero."""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.places import nearest_place
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints


@njit(cache=True, nogil=True)
def nearest_value(points: Floats, x: float) -> float:
    """The value nearest to ``x`` of ``points`` (P,) and zero."""
    best = points[nearest_place(points, x)]
    return best if abs(best - x) < abs(x) else 0.0


@njit(cache=True, nogil=True)
def round_all(points: Floats, targets: Floats, mask: Floats) -> Floats:
    """Every masked target (m,) rounded by itself; zero elsewhere."""
    out = np.zeros(targets.size)
    for i in range(targets.size):
        if mask[i]:
            out[i] = nearest_value(points[i], targets[i])
    return out


@njit(cache=True, nogil=True)
def round_in_turn(gram: Floats, w: Floats, points: Floats, mask: Floats, damping: float) -> Floats:
    """Values (m,) on ``mask``, rounded one by one, those still free re-optimised each time.

    From the largest Gram diagonal to the smallest, as GPTQ with activation order (Frantar et al.
    2023); inputs off the mask are removed first, their error compensated too (Guo et al., *Optimal
    Brain Restoration*, 2025). ``damping``: share of the mean diagonal added to the Gram.
    """
    m = w.size
    order = np.argsort(np.diag(gram))[::-1]
    inside = np.array([i for i in order if mask[i]])
    n = inside.size
    out = np.zeros(m)
    if n == 0:
        return out
    ridge = damping * np.trace(gram) / m
    # (G_SS)^-1 by Cholesky, then one elimination a rounding
    block = np.empty((n, n))
    pull = np.zeros(n)
    for a in range(n):
        for b in range(n):
            block[a, b] = gram[inside[a], inside[b]]
        block[a, a] += ridge
        for j in range(m):
            if not mask[j]:
                pull[a] += gram[inside[a], j] * w[j]
    inverse = np.linalg.inv(block)
    target = inverse @ pull
    for a in range(n):
        target[a] += w[inside[a]]
    for a in range(n):
        value = nearest_value(points[inside[a]], target[a])
        out[inside[a]] = value
        miss = (value - target[a]) / inverse[a, a]
        for b in range(a + 1, n):
            target[b] += inverse[b, a] * miss
        for b in range(a + 1, n):
            share = inverse[b, a] / inverse[a, a]
            for c in range(a + 1, n):
                inverse[b, c] -= share * inverse[a, c]
    return out


@njit(cache=True, nogil=True)
def drop_cheapest(gram: Floats, w: Floats, v: Floats, group: Ints, capacity: Ints) -> None:
    """Set to zero, one by one, the values that cost least, until every group fits."""
    m = w.size
    slope = gram @ (v - w)
    while True:
        count = np.zeros(capacity.size, np.int64)
        for i in range(m):
            if v[i] != 0.0:
                count[group[i]] += 1
        best, cost = -1, np.inf
        for i in range(m):
            if v[i] != 0.0 and count[group[i]] > capacity[group[i]]:
                change = v[i] * (v[i] * gram[i, i] - 2.0 * slope[i])
                if change < cost:
                    best, cost = i, change
        if best < 0:
            return
        for j in range(m):
            slope[j] -= gram[best, j] * v[best]
        v[best] = 0.0
