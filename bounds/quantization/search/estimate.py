"""The size of a search tree, estimated by random dives (Knuth, Math. Comp. 29, 1975)."""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.quantization.search.enumeration import Quadratic

#: Power of the volume by which children are drawn. The estimate is unbiased whatever this is; it
#: decides the spread: at one, dives crowd into the largest subtrees, at zero most die early.
EXPONENT = 0.3


@njit(cache=True, nogil=True)
def estimate_nodes(quadratic: Quadratic, radius: float, probes: int, seed: int) -> float:
    """Mean estimated number of nodes of cost below ``radius`` over ``probes`` dives.

    Each dive follows a random feasible child and divides by its probability. Children are drawn in
    proportion to the volume left under the radius, ``(radius - cost)^(levels left / 2)``: with
    uniform draws the rare paths that carry the tree are hardly ever met.
    """
    np.random.seed(seed)  # noqa: NPY002 (all that numba offers inside a kernel; seeded)
    factor, centre, slope = quadratic.factor, quadratic.centre, quadratic.slope
    multiplier, breakpoint = quadratic.multiplier, quadratic.breakpoint
    lo, hi = quadratic.lo, quadratic.hi
    n = centre.shape[0]
    total = 0.0
    d = np.zeros(n)
    for _ in range(probes):
        cost = 0.0
        weight = 1.0
        for i in range(n - 1, -1, -1):
            pull = 0.0
            for j in range(i + 1, n):
                pull += factor[i, j] * d[j]
            chosen = 0.0
            chosen_cost = 0.0
            count = 0
            share = 0.0
            chosen_share = 1.0
            r = factor[i, i]
            curvature = r * r + multiplier[i]
            middle = (
                r * r * centre[i]
                - 0.5 * slope[i]
                + multiplier[i] * (breakpoint[i] + 0.5)
                - r * pull
            ) / curvature
            first = min(max(np.rint(middle), lo[i]), hi[i])
            for direction in (1, -1):
                z = first if direction > 0 else first - 1.0
                while lo[i] <= z <= hi[i]:
                    step = z - centre[i]
                    product = pull + r * step
                    child = (
                        cost
                        + product * product
                        + slope[i] * step
                        + multiplier[i] * (z - breakpoint[i]) * (z - breakpoint[i] - 1.0)
                    )
                    if child >= radius:
                        break
                    count += 1
                    volume = (1.0 - child / radius) ** (0.5 * i * EXPONENT)
                    share += volume
                    if np.random.random() * share < volume:  # noqa: NPY002 (reservoir)
                        chosen = step
                        chosen_cost = child
                        chosen_share = volume
                    z += direction
            if count == 0:
                break
            total += weight * count
            weight *= share / chosen_share
            d[i] = chosen
            cost = chosen_cost
    return total / probes
