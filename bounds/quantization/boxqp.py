"""The error minimised over the *box* instead of its integers: min (z-u)^T H (z-u), lo <= z <= hi.

Search and cuts are centred on this point. When weights are clipped by the range, the unconstrained
minimiser lies far outside the box and is the wrong centre (DESIGN section 5).
"""

from __future__ import annotations

import numpy as np
from numba import njit

MAX_ITERATIONS = 60


@njit(cache=True, nogil=True)
def solve_free(gram, free, count, rhs, out):
    """Solve ``gram[free, free] x = rhs[free]`` by Cholesky into ``out[:count]``; False if singular."""
    factor = np.empty((count, count))
    for a in range(count):
        ia = free[a]
        for b in range(a + 1):
            value = gram[ia, free[b]]
            for k in range(b):
                value -= factor[a, k] * factor[b, k]
            if a == b:
                if value <= 1e-14 * gram[ia, ia]:
                    return False
                factor[a, a] = np.sqrt(value)
            else:
                factor[a, b] = value / factor[b, b]
    for a in range(count):
        value = rhs[free[a]]
        for k in range(a):
            value -= factor[a, k] * out[k]
        out[a] = value / factor[a, a]
    for a in range(count - 1, -1, -1):
        value = out[a]
        for k in range(a + 1, count):
            value -= factor[k, a] * out[k]
        out[a] = value / factor[a, a]
    return True


@njit(cache=True, nogil=True)
def sweep(gram, z, gradient, lo, hi):
    """One pass of coordinate descent; ``gradient`` is half the gradient and is kept up to date."""
    n = z.shape[0]
    for i in range(n):
        target = min(max(z[i] - gradient[i] / gram[i, i], lo), hi)
        step = target - z[i]
        if step != 0.0:
            z[i] = target
            for j in range(n):
                gradient[j] += gram[i, j] * step


@njit(cache=True, nogil=True)
def box_minimiser(gram, target, lo, hi):
    """Minimise ``(z-target)^T gram (z-target)`` over the box ``[lo, hi]^n`` (n,).

    Coordinate sweeps guess the active set, a Newton step on the free inputs makes it precise.
    The result is always in the box; how precise it is never matters for validity, only for speed.
    """
    n = target.shape[0]
    z = np.minimum(np.maximum(target, lo), hi)
    inside = True
    for i in range(n):
        if z[i] != target[i]:
            inside = False
    if inside:
        return z
    gradient = gram @ (z - target)
    free = np.empty(n, np.int64)
    move = np.empty(n)
    for _ in range(MAX_ITERATIONS):
        sweep(gram, z, gradient, lo, hi)
        count = 0
        for i in range(n):
            if lo < z[i] < hi:
                free[count] = i
                count += 1
        if count == 0 or not solve_free(gram, free, count, -gradient, move):
            continue
        longest = 1.0
        for a in range(count):
            i = free[a]
            if move[a] > 0.0 and z[i] + move[a] > hi:
                longest = min(longest, (hi - z[i]) / move[a])
            elif move[a] < 0.0 and z[i] + move[a] < lo:
                longest = min(longest, (lo - z[i]) / move[a])
        for a in range(count):
            i = free[a]
            z[i] = min(max(z[i] + longest * move[a], lo), hi)
        gradient = gram @ (z - target)
        if longest < 1.0:
            continue
        optimal = True
        for i in range(n):
            if (z[i] == lo and gradient[i] < 0.0) or (z[i] == hi and gradient[i] > 0.0):
                optimal = False
        if optimal:
            break
    return z


@njit(cache=True, nogil=True)
def box_minimisers(gram, targets, lo, hi):
    """``box_minimiser`` for every row of ``targets`` (channels, n)."""
    out = np.empty_like(targets)
    for c in range(targets.shape[0]):
        out[c] = box_minimiser(gram, targets[c], lo, hi)
    return out
