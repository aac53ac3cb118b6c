"""Codes improved at width, on any grid: single moves and the best partner of every one.

Unlike ``descent``, which looks at all pairs for the best one, a code takes the first partner that
pays: O(n^2) a round.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.layer.levels import Levels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_ROUNDS = 50
IMPROVEMENT = 1e-10  # relative to what one move costs by itself: keeps rounding from cycling


@njit(cache=True, nogil=True)
def polish_rows(
    gram: Floats,
    weights: Floats,
    table: Floats,
    step: Floats,
    zero: Floats,
    places: Ints,
) -> None:
    """Improve ``places`` (channels, n) of the levels ``table``, in place."""
    channels, n = weights.shape
    last = table.shape[0] - 1
    for c in range(channels):
        pull = np.zeros(n)
        for i in range(n):
            change = step[c, i] * (table[places[c, i]] - zero[c, i]) - weights[c, i]
            for j in range(n):
                pull[j] += gram[i, j] * change
        for _ in range(MAX_ROUNDS):
            moved = False
            for i in range(n):
                for side in (-1, 1):
                    while True:  # one code alone
                        place = places[c, i] + side
                        if place < 0 or place > last:
                            break
                        change = step[c, i] * (table[place] - table[places[c, i]])
                        own = change * change * gram[i, i]
                        if 2.0 * change * pull[i] + own >= -IMPROVEMENT * own:
                            break
                        places[c, i] = place
                        for j in range(n):
                            pull[j] += gram[i, j] * change
                        moved = True
                    place = places[c, i] + side
                    if place < 0 or place > last:
                        continue
                    change = step[c, i] * (table[place] - table[places[c, i]])
                    alone = change * (2.0 * pull[i] + change * gram[i, i])
                    best, partner, partner_place = 0.0, -1, 0
                    for j in range(n):  # and the partner that helps most
                        slope = pull[j] + change * gram[i, j]
                        other = places[c, j] - 1 if slope > 0.0 else places[c, j] + 1
                        if j == i or other < 0 or other > last:
                            continue
                        size = step[c, j] * (table[other] - table[places[c, j]])
                        gain = alone + size * (2.0 * slope + size * gram[j, j])
                        if gain < best:
                            best, partner, partner_place = gain, j, other
                    if partner < 0:
                        continue
                    size = step[c, partner] * (table[partner_place] - table[places[c, partner]])
                    own = change * change * gram[i, i] + size * size * gram[partner, partner]
                    if best >= -IMPROVEMENT * own:
                        continue
                    places[c, i] = place
                    places[c, partner] = partner_place
                    for j in range(n):
                        pull[j] += gram[i, j] * change + gram[partner, j] * size
                    moved = True
            if not moved:
                break


def polished(gram: Floats, weights: Floats, levels: Levels, places: Ints) -> Ints:
    """Places (channels, n) from which no single move, nor move of two neighbours, helps."""
    found = np.ascontiguousarray(places)
    polish_rows(gram, weights, levels.table, levels.step, levels.zero, found)
    return found
