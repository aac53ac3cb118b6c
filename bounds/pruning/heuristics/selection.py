"""Supports in one pass: largest magnitudes, OBS backward elimination, forward selection.

OBS (Hassibi & Stork, NIPS 1993): removing input i from a least-squares fit costs
``v_i^2 / A_ii`` with ``A`` the inverse of the Gram of the inputs still kept; ``A`` and ``v``
follow by a rank-one downdate. Forward selection is its mirror image on the Gram matrix itself.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints, Mask, ReducedProblem


def magnitude(reduced: ReducedProblem, weights: Floats) -> Mask:
    """Keep the largest ``|w|`` of the original ``weights`` (channels, n) in each group."""
    masks = np.zeros((reduced.channels, reduced.size), bool)
    absolute = np.abs(weights[:, reduced.index])
    for group, capacity in enumerate(reduced.capacity):
        members = np.flatnonzero(reduced.group == group)
        order = np.argsort(-absolute[:, members], axis=1, kind="stable")[:, :capacity]
        np.put_along_axis(masks, members[order], True, axis=1)
    return masks


def backward(reduced: ReducedProblem) -> Mask:
    """OBS backward elimination: drop the cheapest input, again and again. (channels, m)."""
    inverse: Floats = np.linalg.inv(reduced.gram).astype(np.float64)
    return _backward(inverse, reduced.weights, reduced.group, reduced.capacity)


def forward(reduced: ReducedProblem) -> Mask:
    """Forward selection: add the input that lowers the error most, again and again."""
    return _forward(reduced.gram, reduced.weights, reduced.group, reduced.capacity)


@njit(cache=True, nogil=True)
def _backward(inverse: Floats, weights: Floats, group: Ints, capacity: Ints) -> Mask:
    channels, m = weights.shape
    masks = np.ones((channels, m), np.bool_)
    for c in range(channels):
        kept = masks[c]
        a = inverse.copy()
        v = weights[c].copy()
        surplus = -capacity.copy()
        for i in range(m):
            surplus[group[i]] += 1
        for _ in range(m - capacity.sum()):
            best, least = -1, np.inf
            for i in range(m):
                if kept[i] and surplus[group[i]] > 0:
                    cost = v[i] * v[i] / a[i, i]
                    if best < 0 or cost < least:
                        best, least = i, cost
            kept[best] = False
            surplus[group[best]] -= 1
            _eliminate(a, v, best)
    return masks


@njit(cache=True, nogil=True)
def _forward(gram: Floats, weights: Floats, group: Ints, capacity: Ints) -> Mask:
    channels, m = weights.shape
    masks = np.zeros((channels, m), np.bool_)
    for c in range(channels):
        kept = masks[c]
        s = gram.copy()
        q = np.zeros(m)
        for i in range(m):
            for j in range(m):
                q[j] += gram[i, j] * weights[c, i]
        room = capacity.copy()
        for _ in range(capacity.sum()):
            best, most = -1, -np.inf
            for i in range(m):
                if not kept[i] and room[group[i]] > 0:
                    # A pivot that has lost all its digits gains nothing that can be trusted.
                    gain = q[i] * q[i] / s[i, i] if s[i, i] > 1e-13 else 0.0
                    if gain > most:
                        best, most = i, gain
            kept[best] = True
            room[group[best]] -= 1
            if s[best, best] > 1e-13:
                _eliminate(s, q, best)
    return masks


@njit(cache=True, nogil=True)
def _eliminate(a: Floats, v: Floats, pivot: int) -> None:
    """One Gaussian elimination step on symmetric ``a`` (m, m) and right-hand side ``v`` (m,)."""
    row = a[pivot].copy()
    step = v[pivot] / row[pivot]
    for i in range(v.size):
        v[i] -= step * row[i]
        factor = row[i] / row[pivot]
        for j in range(v.size):
            a[i, j] -= factor * row[j]
