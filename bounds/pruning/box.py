"""Weights inside the paper's box: least squares on a support under ``low <= v <= high``, bounded.

The box only shrinks the feasible set, so lower bounds without it stay valid with it; and where the
best least-squares weights lie inside, it changes nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.linalg.forms import form, rounding_factor
from bounds.linalg.ldl import factor_definite, solve_factored
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
        result[i] = _descend(
            reduced.gram, reduced.weights[rows[i]], masks[i], balanced[i], low[i], high[i]
        )
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


@njit(cache=True, nogil=True)
def _descend(
    gram: Floats, target: Floats, mask: Mask, start: Floats, low: Floats, high: Floats
) -> Floats:
    """Boxed least squares on one support: sweeps find what binds, Newton steps the rest."""
    m = target.size
    v = np.zeros(m)
    for i in range(m):
        if mask[i]:
            v[i] = min(max(start[i], low[i]), high[i])
    slope = np.zeros(m)
    free = np.empty(m, np.int64)
    block, step = np.empty((m, m)), np.empty(m)
    for _ in range(10 * m):
        _slopes(gram, target, v, slope)
        for _ in range(3):
            for i in range(m):
                if not mask[i]:
                    continue
                new = min(max(v[i] - slope[i] / gram[i, i], low[i]), high[i])
                change = new - v[i]
                if change != 0.0:
                    v[i] = new
                    for j in range(m):
                        slope[j] += gram[i, j] * change
        count = 0
        for i in range(m):
            pushed = (v[i] == low[i] and slope[i] >= 0.0) or (v[i] == high[i] and slope[i] <= 0.0)
            if mask[i] and not pushed:
                free[count] = i
                count += 1
        whole = True
        for _ in range(2):  # the second is for the digits
            _slopes(gram, target, v, slope)
            for a in range(count):
                step[a] = -slope[free[a]]
                for b in range(a, count):
                    block[a, b] = gram[free[a], free[b]]
            if not factor_definite(block, count):
                return v
            solve_factored(block, step, count)
            size = 1.0
            for a in range(count):
                i = free[a]
                if v[i] + step[a] > high[i]:
                    size = min(size, (high[i] - v[i]) / step[a])
                elif v[i] + step[a] < low[i]:
                    size = min(size, (low[i] - v[i]) / step[a])
            for a in range(count):
                i = free[a]
                v[i] = min(max(v[i] + size * step[a], low[i]), high[i])
            whole = whole and size == 1.0
        if whole:
            # Free weights are at their minimum: done if no binding one is pulled back inside.
            _slopes(gram, target, v, slope)
            settled = True
            for i in range(m):
                inside = (v[i] == low[i] and slope[i] < -1e-15) or (
                    v[i] == high[i] and slope[i] > 1e-15
                )
                settled = settled and not (mask[i] and inside)
            if settled:
                break
    return v


@njit(cache=True, nogil=True)
def _slopes(gram: Floats, target: Floats, v: Floats, slope: Floats) -> None:
    m = target.size
    for j in range(m):
        slope[j] = 0.0
    for i in range(m):
        change = v[i] - target[i]
        for j in range(m):
            slope[j] += gram[i, j] * change
