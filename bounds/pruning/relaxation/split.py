"""The perspective bound where one direction of the inputs is nearly flat: the line is split.

A diagonal ``D <= G`` is small everywhere if a single dense direction x has ``x^T G x`` near zero:
outputs of a LayerNorm are such inputs, and the perspective bound is then 20 dB and more too low.
Let ``sigma = b^T (v-w)`` be how far v moves along that direction. Where ``low <= sigma <= high``,

    error(v) >= error(v) + mu (sigma - low) (sigma - high)    for any mu >= 0,

which is a problem of the same form with ``G + mu b b^T`` in place of G: the direction is flat no
more, at a price of at most ``mu (high-low)^2 / 4``. Weights whose error is at most the attained
``U`` have ``sigma^2 <= U b^T G^-1 b``, so

    least error >= min(U, least bound over intervals that cover [-reach, reach]).

Intervals far from 0 cost much by themselves; those near it are halved, the worst first. The
one-dimensional spatial branching of global optimisation (Horst & Tuy 1996), with the multiplier of
the interval's reverse-convex side kept in the dual.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.linalg.forms import rounding_factor
from bounds.problem.gram import Floats
from bounds.pruning.reduced import ReducedProblem
from bounds.pruning.relaxation.barrier import Stop, maximise_dual
from bounds.pruning.relaxation.dual import Inverse, Multipliers, Subproblem, start_cone
from bounds.pruning.relaxation.perspective import FLOOR, largest_ratios
from bounds.pruning.relaxation.start import start_diagonal

#: The flattest direction is split if its curvature is below this share of the next one's.
APART = 0.5
#: Bounds above this share of the attained error are left as they are.
ENOUGH = 0.9
#: What an interval around 0 may lose by its width, as a share of the attained error.
LOSS = 0.1
#: An interval whose mu is this many times the next curvature is not split further.
STEEP = 30.0
#: Intervals bounded per channel at most, and Newton steps for each.
MOST, STEPS = 32, 30
#: Share of ``w^T D w`` that the barrier's first weight has at least.
ROUND = 1e-6
#: Factor between the ends of the first intervals.
SPREAD = 4.0


class Direction(NamedTuple):
    """``b`` (m,); ``flat``, ``steep``: curvature along it, and along the next flattest one."""

    b: Floats
    flat: float
    steep: float


@dataclass(frozen=True)
class Interval:
    """Values of sigma, and the bound proven there with ``mu``."""

    low: float
    high: float
    mu: float
    value: float


def flattest_direction(gram: Floats) -> Direction:
    """The direction that limits a diagonal D most.

    With ``R^2 = diag(1 / (G^-1)_ii)``, the diagonal that removals would like, it belongs to the
    least eigenvalue of ``R^-1 G R^-1``.
    """
    root = 1.0 / np.sqrt(np.diag(np.linalg.inv(gram)))
    curvature, vectors = np.linalg.eigh(gram / root / root[:, None])
    return Direction(root * vectors[:, 0], float(curvature[0]), float(curvature[1]))


def split_bounds(reduced: ReducedProblem, lower: Floats, upper: Floats) -> Floats:
    """Lower bounds (channels,) in reduced units, none below ``lower``.

    Args:
        reduced: the problem.
        lower: (channels,) perspective bounds.
        upper: (channels,) attained errors, rounded up.
    """
    result = lower.copy()
    if reduced.size < 2:
        return result
    direction = flattest_direction(reduced.gram)
    if direction.flat > APART * direction.steep:
        return result
    for c in range(reduced.channels):
        if upper[c] > 0 and lower[c] < ENOUGH * upper[c]:
            bound = split_channel(reduced, c, direction, float(upper[c]))
            result[c] = max(lower[c], bound)
    return result


def split_channel(reduced: ReducedProblem, c: int, direction: Direction, upper: float) -> float:
    """A proven lower bound on the reduced error of channel ``c``; ``upper`` is an attained one."""
    b = direction.b
    # b^T G^-1 b <= |b|^2 / lambda_min, and a little more for the rounding of this line.
    reach = float(np.sqrt(upper * (b @ b) / reduced.eigen)) * (1 + 1e-9)
    ends = [reach]
    while ends[-1] / SPREAD > np.sqrt(LOSS * upper / direction.steep):
        ends.append(ends[-1] / SPREAD)
    edges = [-end for end in ends] + ends[::-1]
    opened = [
        _bounded(reduced, c, direction, low, high, upper) for low, high in itertools.pairwise(edges)
    ]
    count = len(opened)
    while count < MOST:
        worst = min(opened, key=lambda interval: interval.value)
        if worst.value >= upper or worst.mu >= STEEP * direction.steep:
            break
        middle = 0.5 * (worst.low + worst.high)
        opened.remove(worst)
        for low, high in ((worst.low, middle), (middle, worst.high)):
            half = _bounded(reduced, c, direction, low, high, upper)
            # What holds on the whole interval holds on its halves.
            opened.append(replace(half, value=max(half.value, worst.value)))
        count += 2
    return min(upper, *(interval.value for interval in opened))


def _bounded(
    reduced: ReducedProblem,
    c: int,
    direction: Direction,
    low: float,
    high: float,
    upper: float,
) -> Interval:
    """Multipliers of one interval, and the bound they prove."""
    b, w, m = direction.b, reduced.weights[c], reduced.size
    mu = LOSS * upper / (0.5 * (high - low)) ** 2
    if low > 0 or high < 0:
        mu = max(mu, direction.steep)
    gram = reduced.gram + mu * np.outer(b, b)
    inverse: Floats = np.linalg.inv(gram).astype(np.float64)
    d = start_diagonal(gram, np.diag(inverse), reduced.eigen)
    shift = inverse @ b * (mu * 0.5 * (low + high))
    constant = mu * low * high - mu * 0.5 * (low + high) * float(b @ shift)
    problem = Subproblem(gram, w + shift, constant, reduced.group, reduced.capacity, m)
    groups = reduced.capacity.size
    point = Multipliers(d * problem.w, d, np.empty(m), np.empty(groups))
    # In far intervals p^2/D is large: a weight too small for its digits would be no distance.
    weight = (upper + ROUND * float(d @ problem.w**2)) / (4 * m + groups)
    start_cone(problem, point, weight)
    state = Inverse(np.empty((m, m)), np.empty(m))
    stop = Stop(cutoff=upper, precision=0.1, floor=FLOOR * reduced.eigen, steps=STEPS)
    maximise_dual(problem, point, weight, stop, state, np.empty((2 * m, 2 * m)))
    value = interval_value(reduced, c, b, mu, low, high, point)
    return Interval(low, high, mu, value)


def interval_value(
    reduced: ReducedProblem,
    c: int,
    b: Floats,
    mu: float,
    low: float,
    high: float,
    point: Multipliers,
) -> float:
    """A proven lower bound on the reduced error of weights with ``low <= b^T (v-w) <= high``.

    For ``M = G + mu b b^T - D`` positive definite and ``q = mu (low+high)/2 b + D w - p``,

        2 w^T p - w^T D w + mu low high - q^T M^-1 q - sum of the k largest p_i^2 / D_ii,

    everything stored taken as exact; -inf where M is not proven definite.
    """
    p, d = point.p, point.d
    m = reduced.size
    if not ((d > 0).all() and np.isfinite(p).all() and np.isfinite(d).all()):
        return -np.inf
    matrix = reduced.gram + mu * np.outer(b, b) - np.diag(d)
    absolute = np.abs(reduced.gram) + mu * np.outer(np.abs(b), np.abs(b)) + np.diag(d)
    # Forming the matrix rounded every entry at most four times.
    sigma = eigenvalue_lower_bound(matrix) - 2.0**-50 * float(np.linalg.norm(absolute))
    if not sigma > 0:
        return -np.inf
    w, extended = reduced.weights[c].astype(np.longdouble), b.astype(np.longdouble)
    weight, ends = np.longdouble(mu), (np.longdouble(low), np.longdouble(high))
    centre = weight * (ends[0] + ends[1]) / 2
    size = weight * (abs(ends[0]) + abs(ends[1])) / 2
    exact = reduced.gram.astype(np.longdouble) + weight * np.outer(extended, extended)
    exact = exact - np.diag(d.astype(np.longdouble))
    q = centre * extended + d * w - p
    u = np.linalg.solve(matrix, q.astype(np.float64)).astype(np.longdouble)
    u = u + np.linalg.solve(matrix, (q - exact @ u).astype(np.float64))
    residual = q - exact @ u
    # Every term below carries at most m + 12 roundings of what it and its parts sum in magnitude.
    unit = 4 * rounding_factor(m)
    terms = size * np.abs(extended) + d * np.abs(w) + np.abs(p)
    residual = np.abs(residual) + unit * (terms + absolute @ np.abs(u))
    top = largest_ratios(reduced, p, d)
    value = 2 * (w * p).sum() - (w * d * w).sum() + weight * ends[0] * ends[1]
    value = value + u @ (exact @ u) - 2 * (u * q).sum() - top
    magnitude = 2 * (np.abs(w) * np.abs(p)).sum() + (w * d * w).sum() + top
    magnitude = magnitude + weight * abs(ends[0] * ends[1])
    magnitude = magnitude + np.abs(u) @ (absolute @ np.abs(u)) + 2 * (np.abs(u) * terms).sum()
    value = value - unit * magnitude
    value = value - (residual * residual).sum() * (1 + unit) / np.longdouble(sigma)
    return float(np.nextafter(np.float64(value), -np.inf))
