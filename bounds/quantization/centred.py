"""A convex quadratic over the box, written around its minimiser: what search and beam walk on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.quantization.codes import CodeProblem
from bounds.quantization.factor import Factor

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Extended = NDArray[np.longdouble]

#: More than what sums of products in doubles can lose to underflow.
VANISHED = 1e-290


@dataclass(frozen=True)
class Centred:
    """A convex quadratic over the box, written around its minimiser ``z*`` (rows: channels).

    ``value`` + ``slope . d`` + ``||R d||^2`` + cuts, ``d = z - z*``: ``slope`` is zero for codes
    off the ends of the box and pushes inward at them, so no term is negative for feasible codes.
    ``doubt``: 2-norm of what was rounded off the slope.
    """

    point: Floats
    value: Extended
    slope: Floats
    doubt: Floats


def centre(
    codes: CodeProblem,
    point: Floats,
    multiplier: Floats | float = 0.0,
    breakpoint: Floats | float = 0.0,
) -> Centred:
    """Value and gradient at ``point`` (channels, n) of the error less ``multiplier (z-k)(z-k-1)``.

    ``breakpoint``: the integers k, (n,) as the multipliers.
    """
    wide = np.longdouble
    offsets = codes.offsets(point)
    pull = offsets @ codes.gram.astype(wide)
    value = (offsets * pull).sum(axis=1)
    slope = 2 * pull
    # What only bounds rounding is summed in doubles, and raised by their own.
    absolute = np.abs(codes.gram) * (1 + (codes.features + 8) * 2.0**-50)
    size = 2 * (np.abs(offsets).astype(np.float64) @ absolute) + VANISHED
    reach = np.abs(offsets) + 1
    # offsets carry the rounding of w / s, far above their own last digits for weights on the grid
    wobble = np.finfo(wide).eps * (np.abs(point - codes.zero[:, None]) + 2 * np.abs(offsets))
    drift = 2 * (wobble.astype(np.float64) @ absolute) + VANISHED
    value = value - ((size + drift) * wobble).sum(axis=1)
    if np.any(multiplier):
        z = point.astype(wide)
        weight, ahead = np.asarray(multiplier, wide), z - np.asarray(breakpoint, wide)
        value = value - (weight * ahead * (ahead - 1)).sum(axis=1)
        slope = slope - weight * (2 * ahead - 1)
        size = size + np.abs(weight) * (2 * np.abs(ahead) + 1)
        reach = reach + np.abs(ahead)
    inward = ((point == codes.lo) & (slope > 0)) | ((point == codes.hi) & (slope < 0))
    kept = np.where(inward, slope, 0).astype(np.float64)
    gamma = 4 * (codes.features + 8) * np.finfo(wide).eps
    doubt = np.sqrt(np.square(np.abs(slope - kept) + gamma * size + drift).sum(axis=1))
    value = value - gamma * (size * reach).sum(axis=1)
    return Centred(point, value, kept, doubt.astype(np.float64))


def arranged(
    codes: CodeProblem, factor: Factor, centred: Centred
) -> tuple[Floats, Floats, Integers, Integers, Floats]:
    """Centres, slopes, lo, hi and origin (channels, n) in the factor's order.

    All but the slopes are recentred: codes are integers counted from ``origin``.
    """
    point = centred.point[:, factor.order]
    origin = np.rint(point)
    lo = (codes.lo - origin).astype(np.int64)
    hi = (codes.hi - origin).astype(np.int64)
    return point - origin, np.ascontiguousarray(centred.slope[:, factor.order]), lo, hi, origin
