"""Weights inside the paper's box: least squares on a support under ``low <= v <= high``.

The box only shrinks the feasible set, so lower bounds without it stay valid with it; and where the
least-squares weights lie inside, it changes nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.errors import ProblemError
from bounds.problem import Floats, Problem
from bounds.pruning.core import Box, Core, Mask


def paper_box(problem: Problem, factor: float) -> Box:
    """``[-c max(0, -min w), c max(0, max w)]`` over all weights given (Kuzmin et al. 2023)."""
    if not (np.isfinite(factor) and factor > 0):
        raise ProblemError(f"box must be a positive factor such as 2.0, or None; got {factor}")
    low = -factor * max(0.0, -float(problem.weights.min()))
    high = factor * max(0.0, float(problem.weights.max()))
    return Box(low, high)


def clip_refit(core: Core, masks: Mask, balanced: Floats, box: Box) -> Floats:
    """Boxed least squares on ``masks`` by coordinate descent from clipped ``balanced`` weights.

    Returns core weights (channels, m); rows already inside the box are returned as they are.
    """
    factor = core.row_scale[:, None] / core.scale
    low, high = box.low * factor, box.high * factor
    result = balanced.copy()
    outside = ((balanced < low) | (balanced > high)).any(axis=1)
    for c in np.flatnonzero(outside):
        result[c] = _descend(core.gram, core.weights[c], masks[c], balanced[c], low[c], high[c])
    return result


@njit(cache=True, nogil=True)
def _descend(
    gram: Floats, target: Floats, mask: Mask, start: Floats, low: Floats, high: Floats
) -> Floats:
    m = target.size
    v = np.zeros(m)
    for i in range(m):
        if mask[i]:
            v[i] = min(max(start[i], low[i]), high[i])
    slope = np.zeros(m)
    for i in range(m):
        for j in range(m):
            slope[j] += gram[i, j] * (v[i] - target[i])
    for _ in range(100 * m):
        moved = 0.0
        for i in range(m):
            if not mask[i]:
                continue
            new = min(max(v[i] - slope[i] / gram[i, i], low[i]), high[i])
            step = new - v[i]
            if step != 0.0:
                moved = max(moved, abs(step))
                v[i] = new
                for j in range(m):
                    slope[j] += gram[i, j] * step
        if moved < 1e-13:
            break
    return v
