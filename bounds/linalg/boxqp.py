"""The error minimised over the *box* instead of its integers: min (z-u)^T H (z-u), lo <= z <= hi.

Search and cuts are centred on this point. When weights are clipped by the range, the unconstrained
minimiser lies far outside the box and is the wrong centre.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SWEEPS = 3
ROUNDS_PER_CODE = 4
RIDGE = 1e-13
REFINEMENTS = 4
RELEASE = 1e-13  # pull into the box, relative to the diagonal, at which an end is let go


@njit(cache=True, nogil=True)
def solve_free(gram, free, count, rhs, out):
    """Solve ``gram[free, free] x = rhs[free]`` into ``out[:count]``.

    A pivot lost to rounding is replaced by ``RIDGE``: on a singular Gram this is one step of the
    proximal point method, and repeating it converges because ``rhs`` lies in the Gram's range.
    """
    factor = np.empty((count, count))
    for a in range(count):
        ia = free[a]
        for b in range(a + 1):
            value = gram[ia, free[b]]
            for k in range(b):
                value -= factor[a, k] * factor[b, k]
            if a == b:
                factor[a, a] = np.sqrt(max(value, RIDGE * gram[ia, ia]))
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


@njit(cache=True, nogil=True)
def sweep(gram, z, gradient, lo, hi):
    """One pass of coordinate descent; ``gradient`` is half the gradient and is kept up to date."""
    n = z.shape[0]
    for i in range(n):
        target = min(max(z[i] - gradient[i] / gram[i, i], lo[i]), hi[i])
        step = target - z[i]
        if step != 0.0:
            z[i] = target
            for j in range(n):
                gradient[j] += gram[i, j] * step


@njit(cache=True, nogil=True)
def minimise_in_box(gram, target, lo, hi):
    """Minimise ``(z-target)^T gram (z-target)`` over ``lo <= z <= hi``, all (n,).

    Coordinate sweeps guess which codes lie on an end of the box; an active-set method (as BVLS:
    Stark & Parker, Comput. Stat. 10, 1995) makes it precise. The result is always in the box; how
    precise it is never matters for validity, only for speed and for how much slack is subtracted.
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
    for _ in range(SWEEPS):
        sweep(gram, z, gradient, lo, hi)
    is_free = (z > lo) & (z < hi)
    free = np.empty(n, np.int64)
    move = np.empty(n)
    refinements = 0
    for _ in range(ROUNDS_PER_CODE * n + REFINEMENTS):
        count = 0
        for i in range(n):
            if is_free[i]:
                free[count] = i
                count += 1
        gradient = gram @ (z - target)
        if count > 0:
            solve_free(gram, free, count, -gradient, move)
            longest = 1.0
            blocking = -1
            for a in range(count):
                i = free[a]
                if z[i] + move[a] > hi[i] and (hi[i] - z[i]) < longest * move[a]:
                    longest = (hi[i] - z[i]) / move[a]
                    blocking = i
                elif z[i] + move[a] < lo[i] and (lo[i] - z[i]) > longest * move[a]:
                    longest = (lo[i] - z[i]) / move[a]
                    blocking = i
            for a in range(count):
                i = free[a]
                z[i] = min(max(z[i] + longest * move[a], lo[i]), hi[i])
            if blocking >= 0:
                low, high = lo[blocking], hi[blocking]
                z[blocking] = high if z[blocking] - low > high - z[blocking] else low
                is_free[blocking] = False
                continue
            gradient = gram @ (z - target)
            loose = 0.0
            for a in range(count):
                loose = max(loose, abs(gradient[free[a]]) / gram[free[a], free[a]])
            if loose > RELEASE and refinements < REFINEMENTS:
                refinements += 1
                continue
        refinements = 0
        release = -1
        steepest = RELEASE
        for i in range(n):
            if not is_free[i]:
                outward = -gradient[i] if z[i] == lo[i] else gradient[i]
                if outward > steepest * gram[i, i]:
                    steepest = outward / gram[i, i]
                    release = i
        if release < 0:
            break
        is_free[release] = True
    return z


@njit(cache=True, nogil=True)
def minimise_in_boxes(gram, targets, lo, hi):
    """``minimise_in_box`` for every row of ``targets``, ``lo`` and ``hi`` (channels, n)."""
    out = np.empty_like(targets)
    for c in range(targets.shape[0]):
        out[c] = minimise_in_box(gram, targets[c], lo[c], hi[c])
    return out


def box_minimisers(gram: Floats, targets: NDArray, lo: ArrayLike, hi: ArrayLike) -> Floats:
    """The minimisers (channels, n) for ``targets`` (channels, n).

    Args:
        gram: (n, n); lo, hi: ends of the box, numbers or anything that broadcasts to the targets.
    """
    low, high = (
        np.ascontiguousarray(np.broadcast_to(np.asarray(end, np.float64), targets.shape))
        for end in (lo, hi)
    )
    return minimise_in_boxes(gram, np.ascontiguousarray(targets), low, high)


def box_minimiser(gram: Floats, target: NDArray, lo: ArrayLike, hi: ArrayLike) -> Floats:
    """The minimiser (n,) for one ``target`` (n,)."""
    return box_minimisers(gram, target[None, :], lo, hi)[0]
