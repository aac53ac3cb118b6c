"""One-swap local search: exchange a kept input for a removed one while that lowers the error.

The whole Gram matrix is kept swept on the kept inputs (the sweep operator of regression: Goodnight,
*The American Statistician* 33, 1979), so every exchange is valued in a few operations and carried
out by two sweeps. Starts from the best of magnitude, OBS and forward selection.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.problem.gram import Floats
from bounds.pruning.heuristics.selection import backward, forward, magnitude
from bounds.pruning.reduced import Ints, Mask, ReducedProblem
from bounds.pruning.refit import refit

#: An exchange must lower the error by this share, or rounding could cycle.
GAIN = 1e-9


def swap(reduced: ReducedProblem, weights: Floats) -> Mask:
    """The best support (channels, m) found by exchanges from every one-pass selection."""
    starts = (backward(reduced), forward(reduced), magnitude(reduced, weights))
    ends = [exchange(reduced.gram, reduced.weights, reduced.group, start) for start in starts]
    best = ends[0]
    # Most channels reach one support from every start: only the others need comparing.
    apart = np.flatnonzero((best != ends[1]).any(axis=1) | (best != ends[2]).any(axis=1))
    if apart.size > 0:
        errors = [_error(reduced, masks[apart], apart) for masks in ends]
        choice = np.argmin(errors, axis=0)
        best[apart] = np.stack([masks[apart] for masks in ends])[choice, np.arange(apart.size)]
    return best


def _error(reduced: ReducedProblem, masks: Mask, rows: Ints) -> Floats:
    """Errors on the masks of channels ``rows``, only to choose by: rounding is not bounded."""
    change = refit(reduced, masks, rows) - reduced.weights[rows]
    return ((change @ reduced.gram) * change).sum(axis=1)


@njit(cache=True, nogil=True)
def sweep(t: Floats, i: int, sign: float) -> None:
    """Sweep the symmetric tableau ``t`` (m+1, m+1) on row i in place; signs as in Goodnight.

    ``sign`` is 1, or -1 to undo it.
    """
    size = t.shape[0]
    pivot = t[i, i]
    row = t[i].copy()
    for a in range(size):
        if a != i:
            factor = row[a] / pivot
            for b in range(size):
                t[a, b] -= factor * row[b]
    for a in range(size):
        t[i, a] = sign * row[a] / pivot
        t[a, i] = t[i, a]
    t[i, i] = -1.0 / pivot


@njit(cache=True, nogil=True)
def tableau(gram: Floats, weights: Floats, kept: Mask) -> Floats:
    """Gram, ``G w`` and energy in one (m+1, m+1) tableau, swept on the ``kept`` inputs."""
    m = gram.shape[0]
    t = np.zeros((m + 1, m + 1))
    t[:m, :m] = gram
    for i in range(m):
        for j in range(m):
            t[m, j] += gram[i, j] * weights[i]
    for j in range(m):
        t[j, m] = t[m, j]
        t[m, m] += t[m, j] * weights[j]
    for i in range(m):
        if kept[i]:
            sweep(t, i, 1.0)
    return t


@njit(cache=True, nogil=True)
def exchange(gram: Floats, weights: Floats, group: Ints, start: Mask) -> Mask:
    """Best-improvement exchanges within groups, per channel, from ``start`` (channels, m)."""
    channels, m = weights.shape
    masks = start.copy()
    for c in range(channels):
        kept = masks[c]
        t = tableau(gram, weights[c], kept)
        for _ in range(4 * m):
            leave, enter = -1, -1
            most = GAIN * max(t[m, m], 0.0)
            for i in range(m):
                if not kept[i]:
                    continue
                # Swept entries: t[i,i] = -(G_SS^-1)_ii, t[i,m] = v_i, t[i,j] = (G_SS^-1 G_Sj)_i.
                b = -t[i, i]
                loss = t[i, m] * t[i, m] / b
                for j in range(m):
                    if kept[j] or group[j] != group[i]:
                        continue
                    slope = t[j, m] + t[i, j] * t[i, m] / b
                    curve = t[j, j] + t[i, j] * t[i, j] / b
                    if curve > 1e-12:
                        gain = slope * slope / curve - loss
                        if gain > most:
                            leave, enter, most = i, j, gain
            if leave < 0:
                break
            sweep(t, leave, -1.0)
            sweep(t, enter, 1.0)
            kept[leave], kept[enter] = False, True
    return masks
