"""Least squares on given supports, with the proof of how far from optimal the fit can be.

On a support S the error is minimised by ``G_SS v = (G w)_S``. A computed ``v`` attains its error
whatever its rounding; and since the error is quadratic with curvature at least ``eigen``, its
gradient proves a lower bound: ``error(v) - |(G (v-w))_S|^2 / eigen`` (strong convexity).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.forms import form, form_upper, rounding_factor
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Mask, ReducedProblem


def refit(reduced: ReducedProblem, masks: Mask, rows: np.ndarray | None = None) -> Floats:
    """Least-squares reduced weights (channels, m) on ``masks`` (channels, m) of kept inputs.

    ``rows`` (channels,) says which channel each mask belongs to; all in order if absent.
    """
    weights = reduced.weights if rows is None else reduced.weights[rows]
    result = np.zeros(masks.shape)
    counts = masks.sum(axis=1)
    for count in np.unique(counts[counts > 0]):
        chosen = np.flatnonzero(counts == count)
        support = np.nonzero(masks[chosen])[1].reshape(-1, count)
        block = reduced.gram[support[:, :, None], support[:, None, :]]
        # Solving for the change from w, not for v, keeps the digits when little is removed.
        target = weights[chosen]
        dropped = np.where(masks[chosen], 0.0, target)
        pull = np.take_along_axis(_pull(reduced, dropped).astype(np.float64), support, 1)
        kept = np.take_along_axis(target, support, 1)
        kept = kept + np.linalg.solve(block, pull[:, :, None])[:, :, 0]
        np.put_along_axis(view := np.zeros(target.shape), support, kept, 1)
        slope = np.take_along_axis(_slope(reduced, view, target), support, 1)
        kept = kept - np.linalg.solve(block, slope[:, :, None])[:, :, 0]
        np.put_along_axis(view, support, kept, 1)
        result[chosen] = view
    return result


def _slope(reduced: ReducedProblem, balanced: Floats, weights: Floats) -> Floats:
    return _pull(reduced, balanced.astype(np.longdouble) - weights).astype(np.float64)


def _pull(reduced: ReducedProblem, rows: NDArray) -> NDArray[np.longdouble]:
    """``G d`` of every row; by no BLAS, whose rounding of a row depends on how many there are."""
    return rows.astype(np.longdouble) @ reduced.gram.astype(np.longdouble)


def support_lower(
    reduced: ReducedProblem, masks: Mask, balanced: Floats, rows: np.ndarray | None = None
) -> Floats:
    """Proven lower bound (channels,) on the reduced error of any weights supported in ``masks``.

    ``balanced`` (channels, m) is a fit supported in ``masks``; the closer to optimal, the tighter.
    """
    weights = reduced.weights if rows is None else reduced.weights[rows]
    gram = reduced.gram.astype(np.longdouble)
    difference = balanced.astype(np.longdouble) - weights
    unit = rounding_factor(reduced.size)
    magnitude = np.abs(difference) @ np.abs(gram)
    slope = (np.abs(difference @ gram) + unit * magnitude) * masks
    value = form(gram, difference) - unit * (np.abs(difference) * magnitude).sum(axis=1)
    value = value - (slope * slope).sum(axis=1) * (1 + unit) / np.longdouble(reduced.eigen)
    return np.maximum(np.nextafter(value.astype(np.float64), -np.inf), 0.0)


def reduced_upper(
    reduced: ReducedProblem, balanced: Floats, rows: np.ndarray | None = None
) -> Floats:
    """Reduced error (channels,) of reduced weights, rounded outward."""
    weights = reduced.weights if rows is None else reduced.weights[rows]
    return form_upper(reduced.gram, balanced.astype(np.longdouble) - weights)
