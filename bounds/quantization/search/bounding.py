"""From costs of a walk, rounded as they are, to bounds that hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.quantization.centred import Centred
from bounds.quantization.codes import CodeProblem
from bounds.quantization.factor import Factor, order_slack, walk_slack
from bounds.quantization.levels import LevelProblem

Floats = NDArray[np.float64]


def proven(
    codes: CodeProblem,
    factor: Factor,
    centred: Centred,
    cost: Floats,
    upper: Floats,
    multiplier: Floats | None = None,
) -> Floats:
    """Turn walk costs (channels,) into valid lower bounds on the error, in energy units.

    The true optimum has an error of at most ``upper``; strong convexity and the box say how far it
    can be from the centre, and ``walk_slack`` what rounding can be worth that far out. A shift that
    made the Gram definite is part of that, so bounds below zero say how far its curvature reaches.

    ``multiplier`` (n,): of cuts that were moved out of the form.
    """
    room, radius = farthest(codes, factor, centred, upper)
    slack = walk_slack(factor, room, radius, centred.doubt, codes.hi - codes.lo + 1.0)
    if multiplier is not None and multiplier.any():
        curvature = np.square(np.diag(factor.factor)) + multiplier[factor.order]
        reach = (codes.hi - codes.lo + 1.0) * np.sqrt(curvature.max())
        slack = slack + order_slack(reach, float(multiplier.max()) / 4, room)
    total = codes.to_error(np.asarray(centred.value + cost - slack, np.longdouble))
    return np.nextafter(total.astype(np.float64), -np.inf)


def farthest(
    codes: CodeProblem | LevelProblem, factor: Factor, centred: Centred, upper: Floats
) -> tuple[Floats, Floats]:
    """Bounds on how dear, above the centre, and how far from it, squared, codes can be (channels,).

    Codes of an error of at most ``upper`` (channels,), energy units, are meant.
    """
    square = np.square(codes.scale.astype(np.longdouble)) * codes.unit
    room = np.asarray(upper / square * (1 + 1e-12) - centred.value, float)
    room = np.maximum(room, 0.0) + 1e-300
    reach = np.maximum(codes.hi - centred.point, centred.point - codes.lo)
    radius = np.square(reach).sum(axis=1)
    if factor.smallest > 0:
        # smallest r^2 <= room + (doubt + shift r) r over this ball
        inner = factor.smallest - factor.shift
        if inner > 0:
            root = centred.doubt + np.sqrt(centred.doubt**2 + 4 * inner * room)
            radius = np.minimum(radius, np.square(root / (2 * inner)) * (1 + 1e-12))
    return room, radius


def radii(codes: CodeProblem | LevelProblem, centred: Centred, incumbent: Floats) -> Floats:
    """Cost of the incumbents (channels, n) above the centre, rounded up."""
    above = (codes.costs(incumbent) - centred.value).astype(np.float64)
    return np.nextafter(np.maximum(above, 0.0) * (1 + 1e-14), np.inf)
