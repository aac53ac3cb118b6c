"""Quadratic inequalities every code vector in the box obeys, and the Lagrangian bound they give.

A cut is ``sign (y - p)(y - q) >= 0`` with ``y = z_i`` or ``y = z_i + pair_sign z_j`` and integers
``p <= q``. With ``q = p + 1`` and sign +1 it says that ``y`` is an integer (Park & Boyd 2017); with
``p, q`` the ends of the box and sign -1 it says that ``y`` lies in the box. Where codes are levels
other than the integers, ``y = z_i``, and ``p, q`` are neighbouring levels, or the first and last.
For any multipliers ``>= 0`` the minimum over all real ``z`` of error minus weighted cuts bounds the
error from below (weak duality), provided ``M = G - sum_j multiplier_j sign_j b_j b_j^T`` is
positive definite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.balance import power_of_two_balance
from bounds.linalg.definite import cholesky_succeeds, rump_shift
from bounds.linalg.forms import rounding_factor

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Cuts:
    """Cuts of one channel with their multipliers, all arrays of length m.

    ``first``, ``second``: inputs i and j (``second`` = -1: a cut on one code); ``pair_sign``: +1 or
    -1; ``low``, ``high``: integers or levels p and q; ``sign``; ``multiplier``: in the unit of the
    Gram, of the cut on weights.
    """

    first: Integers
    second: Integers
    pair_sign: Floats
    low: NDArray
    high: NDArray
    sign: Floats
    multiplier: Floats

    def directions(self, n: int) -> Floats:
        """The vectors ``b_j`` as rows (m, n)."""
        rows = np.zeros((len(self.first), n))
        index = np.arange(len(self.first))
        rows[index, self.first] = 1.0
        paired = self.second >= 0
        rows[index[paired], self.second[paired]] = self.pair_sign[paired]
        return rows


def single_cuts(low: NDArray, high: NDArray, sign: float, multiplier: Floats) -> Cuts:
    """One cut of the same kind on every code; ``low``, ``high``, ``multiplier`` are (n,)."""
    n = len(low)
    return Cuts(
        np.arange(n),
        np.full(n, -1),
        np.zeros(n),
        np.asarray(low),
        np.asarray(high),
        np.full(n, sign),
        np.asarray(multiplier, np.float64),
    )


def join(*parts: Cuts) -> Cuts:
    """All cuts of several collections."""
    names = Cuts.__dataclass_fields__
    return Cuts(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def scaled(cuts: Cuts, factor: float) -> Cuts:
    """The same cuts with every multiplier times ``factor``."""
    return replace(cuts, multiplier=cuts.multiplier * factor)


@np.errstate(over="ignore", invalid="ignore")  # what overflows ends as 0.0
def lagrangian_bound(
    gram: Floats,
    weights: Floats,
    step: Floats | float,
    cuts: Cuts,
    point: Floats,
    zero: Floats | float = 0.0,
) -> float:
    """A verified lower bound on the error of one channel, or 0.0 where ``M`` fails verification.

    Args:
        gram: (n, n); weights: (n,); step, zero: of every input, (n,) or one for all; their stored
            doubles define the problem, its points being ``step (code - zero)``.
        cuts: cuts valid for every code in the box, with multipliers (negative ones count as zero);
            those on two codes between inputs of one step.
        point: (n,) codes near the minimiser of the Lagrangian; the nearer, the tighter the bound.

    With ``r`` half the gradient at ``point`` and ``sigma <= lambda_min(M)``, the minimum is at
    least ``L(point) - ||r||^2 / sigma``. ``M`` is verified by a shifted Cholesky after balancing by
    powers of two; values are extended precision, less a bound on all their rounding.
    """
    n = len(weights)
    multiplier = np.maximum(cuts.multiplier, 0.0)
    signed = cuts.sign * multiplier
    rows = cuts.directions(n)
    update = (rows * signed[:, None]).T @ rows
    matrix = gram - update
    if not (np.diag(matrix) > 0).all():
        return 0.0
    # entrywise rounding of `matrix`, as a bound on the 2-norm of what was lost after balancing
    balance = power_of_two_balance(np.diag(matrix))
    lost = (len(signed) + 4) * 2.0**-53 * ((np.abs(rows) * multiplier[:, None]).T @ np.abs(rows))
    lost += 2.0**-53 * np.abs(matrix)
    lost_norm = float((lost * balance[:, None] * balance[None, :]).sum(axis=1).max()) * 1.001
    balanced = np.ascontiguousarray(matrix * balance[:, None] * balance[None, :])
    try:
        smallest = 0.5 / float(np.trace(np.linalg.inv(balanced)))
    except np.linalg.LinAlgError:
        return 0.0
    if not smallest > 0:
        return 0.0
    if not cholesky_succeeds(balanced, smallest + rump_shift(balanced) + lost_norm):
        return 0.0

    wide = np.longdouble
    steps, zeros = (np.broadcast_to(np.asarray(x, wide), n) for x in (step, zero))
    paired = cuts.second >= 0
    assert (steps[cuts.first] == steps[cuts.second])[paired].all()
    values = (np.asarray(point, wide) - zeros) * steps
    difference = values - weights
    pull = np.asarray(gram, wide) @ difference
    along = rows.astype(wide) @ values
    shift = zeros[cuts.first] + np.where(paired, cuts.pair_sign * zeros[cuts.second], 0)
    low, high = (steps[cuts.first] * (end - shift) for end in (cuts.low, cuts.high))
    terms = signed * (along - low) * (along - high)
    value = difference @ pull - terms.sum()
    half_gradient = pull - rows.T.astype(wide) @ (signed * (along - (low + high) / 2))
    # rounding: every product and sum of the above in absolute values, times gamma
    gamma = 2 * rounding_factor(n + len(signed))
    absolute = np.abs(np.asarray(gram, wide)) @ np.abs(difference)
    size = np.abs(rows).astype(wide) @ np.abs(values) + np.abs(low) + np.abs(high)
    slack = gamma * (np.abs(difference) @ absolute + (multiplier * size * size).sum())
    doubt = gamma * (absolute + np.abs(rows).T.astype(wide) @ (multiplier * size))
    residual = ((np.abs(half_gradient) + doubt) * balance) ** 2
    bound = value - slack - residual.sum() * (1 + gamma) / wide(smallest)
    below = float(np.nextafter(np.float64(bound), -np.inf))
    return below if 0 < below < np.inf else 0.0
