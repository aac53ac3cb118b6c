"""From decisions to a problem in the open inputs: eliminations, and decisions that follow.

Removed inputs leave with their OBS cost (Hassibi & Stork, NIPS 1993), kept inputs are minimised out
by a Schur complement.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.ldl import factor_definite, solve_factored
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints
from bounds.pruning.search.node import KEPT, OPEN, REMOVED


@njit(cache=True, nogil=True)
def reduce_node(
    gram: Floats, weights: Floats, state: Ints, s: Floats, w: Floats, position: Ints
) -> tuple[int, float]:
    """The subproblem ``e + (v-w)^T S (v-w)`` of a node in its m open inputs.

    Args:
        gram: (M, M), weights: (M,), state: (M,) decisions.
        s: (M, M), w: (M,), position: (M,): filled with S (upper triangle), w and the open inputs.

    Returns:
        (m, e).
    """
    full = weights.size
    order = np.empty(full, np.int64)
    kept = 0
    for i in range(full):
        if state[i] == KEPT:
            order[kept] = i
            kept += 1
    m = 0
    for i in range(full):
        if state[i] == OPEN:
            order[kept + m] = i
            position[m] = i
            m += 1
    size = kept + m
    b = np.empty((size, size))
    g = np.zeros(size)
    e = 0.0
    for i in range(size):
        row = gram[order[i]]
        out = b[i]
        for j in range(i, size):
            out[j] = row[order[j]]
    for r in range(full):
        if state[r] == REMOVED:
            row = gram[r]
            for i in range(size):
                g[i] += row[order[i]] * weights[r]
            for j in range(full):
                if state[j] == REMOVED:
                    e += row[j] * weights[r] * weights[j]
    for k in range(kept):
        row = b[k]
        pivot = row[k]
        share = g[k] / pivot
        e -= share * g[k]
        for i in range(k + 1, size):
            factor = row[i] / pivot
            out = b[i]
            for j in range(i, size):
                out[j] -= factor * row[j]
            g[i] -= share * row[i]
    x = np.empty(m)
    c = np.empty((m, m))
    for i in range(m):
        x[i] = g[kept + i]
        for j in range(i, m):
            s[i, j] = b[kept + i, kept + j]
            c[i, j] = s[i, j]
    factor_definite(c, m)
    solve_factored(c, x, m)
    for i in range(m):
        e -= g[kept + i] * x[i]
        w[i] = weights[position[i]] + x[i]
    return m, e


@njit(cache=True, nogil=True)
def settle(gram: Floats, weights: Floats, removal: Floats, start: Floats) -> tuple[Ints, Floats]:
    """The decisions that searches of all channels start from, and the energy they leave open.

    Inputs too dear to remove for a cost below ``start`` (channels,) are kept.

    Args:
        gram: (M, M), weights: (channels, M), start: (channels,) attained errors.
        removal: (M,) upper bounds on ``(G^-1)_ii``.

    Returns:
        (states (channels, M), energies (channels,)).
    """
    channels, full = weights.shape
    state = np.zeros((channels, full), np.int64)
    energy = np.zeros(channels)
    s, w = np.empty((full, full)), np.empty(full)
    position = np.empty(full, np.int64)
    for c in range(channels):
        for i in range(full):
            if weights[c, i] * weights[c, i] > removal[i] * start[c] * (1.0 + 1e-6):
                state[c, i] = KEPT
        m, _ = reduce_node(gram, weights[c], state[c], s, w, position)
        total = 0.0
        for i in range(m):
            total += s[i, i] * w[i] * w[i]
            for j in range(i + 1, m):
                total += 2.0 * s[i, j] * w[i] * w[j]
        energy[c] = max(total, 0.0)
    return state, energy


@njit(cache=True, nogil=True)
def forced(state: Ints, group: Ints, capacity: Ints) -> bool:
    """Settle groups that have room for all or for none; False if a group holds too many."""
    for g in range(capacity.size):
        kept = 0
        opened = 0
        for i in range(state.size):
            if group[i] == g:
                if state[i] == KEPT:
                    kept += 1
                elif state[i] == OPEN:
                    opened += 1
        if kept > capacity[g]:
            return False
        if opened > 0 and (kept == capacity[g] or kept + opened <= capacity[g]):
            fate = REMOVED if kept == capacity[g] else KEPT
            for i in range(state.size):
                if group[i] == g and state[i] == OPEN:
                    state[i] = fate
    return True
