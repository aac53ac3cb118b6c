"""Weights inside the paper's box: least squares on a support under ``low <= v <= high``, bounded.

The box only shrinks the feasible set, so lower bounds without it stay valid with it; and where the
best least-squares weights lie inside, it changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.boxqp import box_minimiser
from bounds.linalg.forms import form, rounding_factor
from bounds.problem.gram import Floats
from bounds.problem.sparsity import Box
from bounds.pruning.reduced import Ints, Mask, ReducedProblem


def box_of(reduced: ReducedProblem, box: Box, rows: Ints) -> tuple[Floats, Floats]:
    """Lowest and highest reduced weights, each (len(rows), m), of the given channels; exact."""
    factor = reduced.row_scale[rows, None] / reduced.scale
    return box.low * factor, box.high * factor


def inside(reduced: ReducedProblem, fit: Floats, box: Box, c: int) -> bool:
    """Whether reduced weights (m,) of channel ``c`` lie in the box."""
    low, high = box_of(reduced, box, np.array([c]))
    return bool(((fit >= low[0]) & (fit <= high[0])).all())


def box_refit(
    reduced: ReducedProblem, masks: Mask, balanced: Floats, box: Box, rows: Ints | None = None
) -> Floats:
    """Boxed least squares on ``masks`` (channels, m), from the unboxed fits ``balanced``.

    ``rows`` says which channel each mask belongs to; all in order if absent. Rows already inside
    the box are returned as they are.
    """
    rows = np.arange(reduced.channels) if rows is None else rows
    low, high = box_of(reduced, box, rows)
    result = balanced.copy()
    outside = ((balanced < low) | (balanced > high)).any(axis=1)
    for i in np.flatnonzero(outside):
        # On a support the error is that of its own Gram around the unboxed fit, plus a constant.
        on = np.flatnonzero(masks[i])
        block = np.ascontiguousarray(reduced.gram[np.ix_(on, on)])
        result[i, on] = box_minimiser(block, balanced[i, on], low[i, on], high[i, on])
    return result


def box_lower(reduced: ReducedProblem, masks: Mask, fits: Floats, box: Box, rows: Ints) -> Floats:
    """Proven lower bound on the reduced error of boxed weights supported in ``masks``.

    With the gradient g at a fit v, any other u in the box has at least the error
    ``error(v) + sum_i min { g_i d + eigen d^2 : v_i + d in the box }``; at the optimum every
    minimum is zero.
    """
    low, high = box_of(reduced, box, rows)
    gram = reduced.gram.astype(np.longdouble)
    difference = fits.astype(np.longdouble) - reduced.weights[rows]
    unit = rounding_factor(reduced.size)
    magnitude = np.abs(difference) @ np.abs(gram)
    slope, doubt = 2 * (difference @ gram), 2 * unit * magnitude
    value = form(gram, difference) - unit * (np.abs(difference) * magnitude).sum(axis=1)
    # Going up meets the slope at its least, going down at its most.
    up = _fall(np.maximum(doubt - slope, 0), high - fits.astype(np.longdouble), reduced.eigen)
    down = _fall(np.maximum(doubt + slope, 0), fits.astype(np.longdouble) - low, reduced.eigen)
    value = value - (np.maximum(up, down) * masks).sum(axis=1) * (1 + unit)
    return np.maximum(np.nextafter(value.astype(np.float64), -np.inf), 0.0)


def _fall(slope: NDArray, room: NDArray, eigen: float) -> NDArray:
    """The most that ``slope d - eigen d^2`` can be for ``0 <= d <= room``, all not negative."""
    step = np.minimum(slope / (2 * np.longdouble(eigen)), np.maximum(room, 0))
    return step * slope
