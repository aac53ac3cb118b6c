"""K-best beam search on the order of the exact search (the M-algorithm of lattice decoding).

Breadth first instead of depth first: at every level the ``width`` cheapest partial code vectors
survive. Same recentred costs as ``enumeration``, no proof.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CHILDREN = 4  # siblings tried of each survivor; more never entered a beam that mattered


@njit(cache=True, nogil=True)
def beam_codes(
    factor: Floats, centres: Floats, slopes: Floats, lo: Integers, hi: Integers, width: int
) -> Floats:
    """Best codes (channels, n) of a beam, in the factor's order and recentred.

    Args: factor (n, n) upper triangular; centres, slopes (channels, n); lo, hi (channels, n) int64.
    """
    channels, n = centres.shape
    out = np.empty((channels, n))
    room = width * CHILDREN
    steps = np.empty((width, n))
    next_steps = np.empty((width, n))
    costs = np.empty(width)
    child_cost = np.empty(room)
    child_step = np.empty(room)
    child_parent = np.empty(room, np.int64)
    for c in range(channels):
        alive = 1
        costs[0] = 0.0
        for i in range(n - 1, -1, -1):
            r = factor[i, i]
            count = 0
            for s in range(alive):
                pull = 0.0
                for j in range(i + 1, n):
                    pull += factor[i, j] * steps[s, j]
                middle = centres[c, i] - (pull + 0.5 * slopes[c, i] / r) / r
                z = min(max(np.rint(middle), lo[c, i]), hi[c, i])
                low = z - 1.0
                high = z + 1.0
                for _ in range(CHILDREN):
                    step = z - centres[c, i]
                    product = pull + r * step
                    child_cost[count] = costs[s] + product * product + slopes[c, i] * step
                    child_step[count] = step
                    child_parent[count] = s
                    count += 1
                    if low >= lo[c, i] and (high > hi[c, i] or middle - low <= high - middle):
                        z = low
                        low -= 1.0
                    elif high <= hi[c, i]:
                        z = high
                        high += 1.0
                    else:
                        break
            order = np.argsort(child_cost[:count])
            alive = min(width, count)
            for s in range(alive):
                child = order[s]
                next_steps[s] = steps[child_parent[child]]
                next_steps[s, i] = child_step[child]
                costs[s] = child_cost[child]
            steps, next_steps = next_steps, steps
        out[c] = np.rint(steps[0] + centres[c])
    return out
