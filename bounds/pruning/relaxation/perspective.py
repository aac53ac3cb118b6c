"""The perspective bound: multipliers found by ``barrier``, the value proven here.

For any diagonal D > 0 with M = G - D positive definite and any p, no k-sparse v has an error below

    w^T G w - (G w - p)^T M^-1 (G w - p) - sum of the k largest p_i^2 / D_ii

(the dual of the perspective relaxation: Frangioni & Gentile, Math. Program. 106, 2006)

Definiteness is verified by a shifted Cholesky (Rump 2006); the quadratic form is evaluated at an
explicit point in extended precision, its residual r costs at most ``|r|^2 / lambda_min(M)``, and
all rounding is subtracted. So the value holds in exact arithmetic for the doubles stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.linalg.forms import form, rounding_factor
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints, ReducedProblem
from bounds.pruning.relaxation.barrier import Stop, maximise_dual
from bounds.pruning.relaxation.dual import Inverse, Multipliers, Subproblem, start_cone

#: Relative duality gap at which the barrier stops: 4e-5 dB.
ACCURACY = 1e-5
STEPS = 120
#: M keeps this share of G's smallest eigenvalue; what that costs is below the accuracy.
FLOOR = 1e-6
#: Every D_i at the start, as a share of G's least eigenvalue. From lower starts Newton's method
#: stalls more often at the edge of the cone: 0.5 was up to 0.05 dB short on 33 real problems, this
#: 0.008.
START = 0.9
#: Factors on multipliers, tried until one gives a bound.
SHRINK = (1.0, 1 - 1e-6, 1 - 1e-3, 0.5)


@dataclass(frozen=True)
class Dual:
    """Multipliers of one channel's perspective bound, in the units of the original problem.

    Attributes:
        p: (n,) vector multipliers, unit of ``G w``; zero on dead inputs.
        d: (n,) diagonal of D, unit of ``G``; zero on dead inputs.
        lower: the proven bound, unit of the energy.
    """

    p: Floats
    d: Floats
    lower: float

    def scaled(self, gram: int, row: int) -> Dual:
        """The same multipliers where the Gram's unit is ``2^-gram`` and the weights' ``2^-row``."""
        with np.errstate(over="ignore"):
            lower = float(np.ldexp(self.lower, gram + 2 * row))
            return Dual(np.ldexp(self.p, gram + row), np.ldexp(self.d, gram), lower)


def perspective(reduced: ReducedProblem) -> list[Dual]:
    """Maximise the dual for every channel of ``reduced`` and prove its value."""
    return original_units(reduced, *proven_multipliers(reduced))


def original_units(reduced: ReducedProblem, p: Floats, d: Floats, lower: Floats) -> list[Dual]:
    """Multipliers (channels, m) and bounds (channels,) of the reduced, one ``Dual`` a channel."""
    return [original_dual(reduced, c, p[c], d[c], lower[c]) for c in range(reduced.channels)]


def original_dual(reduced: ReducedProblem, c: int, p: Floats, d: Floats, lower: float) -> Dual:
    """Multipliers (m,) and bound of channel ``c`` of the reduced, in the units given."""
    full_p, full_d = np.zeros(reduced.features), np.zeros(reduced.features)
    full_p[reduced.index] = p / reduced.scale / reduced.row_scale[c]
    full_d[reduced.index] = d / reduced.scale**2
    return Dual(full_p, full_d, reduced.lower_of(c, lower))


def proven_multipliers(
    reduced: ReducedProblem, rows: Ints | None = None
) -> tuple[Floats, Floats, Floats]:
    """(p, d, lower) of all channels or of ``rows``: multipliers and the bound they prove.

    Reduced units. Near the edge of the cone rounding can hide what multipliers prove; smaller ones
    are then tried.
    """
    p, d = multipliers(reduced, rows=rows)
    channels = np.arange(reduced.channels) if rows is None else rows
    lower = np.zeros(len(channels))
    for i, c in enumerate(channels):
        for shrink in SHRINK:
            lower[i] = verified_value(reduced, int(c), p[i] * shrink, d[i] * shrink)
            if lower[i] > 0:
                p[i], d[i] = p[i] * shrink, d[i] * shrink
                break
    return p, d, lower


def multipliers(
    reduced: ReducedProblem,
    accuracy: float = ACCURACY,
    steps: int = STEPS,
    rows: Ints | None = None,
) -> tuple[Floats, Floats]:
    """Good (p, d), each (channels, m), of all channels or ``rows``; reduced units, not proven."""
    weights = reduced.weights if rows is None else reduced.weights[rows]
    m, groups = reduced.size, reduced.capacity.size
    d = np.full(weights.shape, START * reduced.eigen)
    p = d * weights
    energy = form(reduced.gram, weights).astype(np.float64)
    inverse, k = Inverse(np.empty((m, m)), np.empty(m)), np.empty((2 * m, 2 * m))
    stop = Stop(np.inf, accuracy, FLOOR * reduced.eigen, steps)
    for c in np.flatnonzero(energy > 0):
        problem = Subproblem(reduced.gram, weights[c], 0.0, reduced.group, reduced.capacity, m)
        point = Multipliers(p[c], d[c], np.empty(m), np.empty(groups))
        mu = 0.1 * float(energy[c]) / m
        start_cone(problem, point, mu)
        maximise_dual(problem, point, mu, stop, inverse, k)
    return p, d


def verified_value(reduced: ReducedProblem, channel: int, p: Floats, d: Floats) -> float:
    """A proven lower bound on the reduced error of ``channel`` from (p, d), or 0.0 if none.

    ``p`` and ``d`` (m,) are taken as exact; any point of the dual cone gives a bound.
    """
    m = reduced.size
    if not ((d > 0).all() and np.isfinite(p).all()):
        return 0.0
    matrix = reduced.gram - np.diag(d)
    sigma = eigenvalue_lower_bound(matrix)
    # Forming the diagonal rounded once; the eigenvalue bound gives that back.
    sigma -= 2.0**-52 * float(np.abs(np.diag(reduced.gram)).max())
    if not sigma > 0:
        return 0.0
    gram = reduced.gram.astype(np.longdouble)
    exact = gram - np.diag(d.astype(np.longdouble))
    w = reduced.weights[channel].astype(np.longdouble)
    linear = gram @ w
    y = np.linalg.solve(matrix, (linear - p).astype(np.float64))
    residual = linear - p - exact @ y
    y = y + np.linalg.solve(matrix, residual.astype(np.float64))
    y = y.astype(np.longdouble)
    residual = linear - p - exact @ y
    unit = 2 * rounding_factor(m)
    absolute = np.abs(gram)
    size = np.abs(p) + absolute @ (np.abs(w) + np.abs(y))
    residual = np.abs(residual) + unit * size
    value = form(gram, w[None])[0] - 2 * (y * (linear - p)).sum() + y @ (exact @ y)
    magnitude = np.abs(w) @ absolute @ np.abs(w) + 3 * np.abs(y) @ size
    top = largest_ratios(reduced, p, d)
    value = value - top - unit * (magnitude + top)
    value = value - (residual * residual).sum() * (1 + unit) / np.longdouble(sigma)
    return max(float(np.nextafter(np.float64(value), -np.inf)), 0.0)


def largest_ratios(reduced: ReducedProblem, p: Floats, d: Floats) -> np.longdouble:
    """The most that ``sum p_i^2 / D_ii`` can be over supports within the budget; extended."""
    ratio = p.astype(np.longdouble) ** 2 / d
    top = np.longdouble(0)
    for group, capacity in enumerate(reduced.capacity):
        top += np.sort(ratio[reduced.group == group])[::-1][:capacity].sum()
    return top
