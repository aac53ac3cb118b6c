"""The perspective bound: multipliers found by ``barrier``, the value proven here.

For any diagonal D > 0 with M = G - D positive definite and any p, no k-sparse v has an error below

    w^T G w - (G w - p)^T M^-1 (G w - p) - sum of the k largest p_i^2 / D_ii        (DESIGN.md 3.3)

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
from bounds.pruning.reduced import Core, Ints
from bounds.pruning.relaxation.barrier import climb, start_cone

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


def perspective(core: Core) -> list[Dual]:
    """Maximise the dual for every channel of ``core`` and prove its value."""
    return original_units(core, *proven_multipliers(core))


def original_units(core: Core, p: Floats, d: Floats, lower: Floats) -> list[Dual]:
    """Multipliers (channels, m) and bounds (channels,) of the core, one ``Dual`` a channel."""
    return [original_dual(core, c, p[c], d[c], lower[c]) for c in range(core.channels)]


def original_dual(core: Core, c: int, p: Floats, d: Floats, lower: float) -> Dual:
    """Multipliers (m,) and bound of channel ``c`` of the core, in the units given."""
    full_p, full_d = np.zeros(core.features), np.zeros(core.features)
    full_p[core.index] = p / core.scale / core.row_scale[c]
    full_d[core.index] = d / core.scale**2
    return Dual(full_p, full_d, core.lower_of(c, lower))


def proven_multipliers(core: Core, rows: Ints | None = None) -> tuple[Floats, Floats, Floats]:
    """(p, d, lower) of all channels or of ``rows``: multipliers and the bound they prove.

    Core units. Near the edge of the cone rounding can hide what multipliers prove; smaller ones
    are then tried.
    """
    p, d = multipliers(core, rows=rows)
    channels = np.arange(core.channels) if rows is None else rows
    lower = np.zeros(len(channels))
    for i, c in enumerate(channels):
        for shrink in SHRINK:
            lower[i] = verified_value(core, int(c), p[i] * shrink, d[i] * shrink)
            if lower[i] > 0:
                p[i], d[i] = p[i] * shrink, d[i] * shrink
                break
    return p, d, lower


def multipliers(
    core: Core, accuracy: float = ACCURACY, steps: int = STEPS, rows: Ints | None = None
) -> tuple[Floats, Floats]:
    """Good (p, d), each (channels, m), of all channels or of ``rows``; core units, not proven."""
    weights = core.weights if rows is None else core.weights[rows]
    m, groups = core.size, core.capacity.size
    d = np.full(weights.shape, START * core.eigen)
    p = d * weights
    energy = form(core.gram, weights).astype(np.float64)
    h, y, k = np.empty((m, m)), np.empty(m), np.empty((2 * m, 2 * m))
    for c in np.flatnonzero(energy > 0):
        tau, t, mu = np.empty(m), np.empty(groups), 0.1 * float(energy[c]) / m
        start_cone(p[c], d[c], core.group, core.capacity, m, tau, t, mu)
        climb(
            core.gram, weights[c], 0.0, core.group, core.capacity, m, p[c], d[c], tau, t,
            mu, np.inf, accuracy, FLOOR * core.eigen, steps, h, y, k,
        )  # fmt: skip
    return p, d


def verified_value(core: Core, channel: int, p: Floats, d: Floats) -> float:
    """A proven lower bound on the core error of ``channel`` from (p, d), or 0.0 if none.

    ``p`` and ``d`` (m,) are taken as exact; any point of the dual cone gives a bound.
    """
    m = core.size
    if not ((d > 0).all() and np.isfinite(p).all()):
        return 0.0
    matrix = core.gram - np.diag(d)
    sigma = eigenvalue_lower_bound(matrix)
    # Forming the diagonal rounded once; the eigenvalue bound gives that back.
    sigma -= 2.0**-52 * float(np.abs(np.diag(core.gram)).max())
    if not sigma > 0:
        return 0.0
    gram = core.gram.astype(np.longdouble)
    exact = gram - np.diag(d.astype(np.longdouble))
    w = core.weights[channel].astype(np.longdouble)
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
    ratio = p.astype(np.longdouble) ** 2 / d
    top = np.longdouble(0)
    for group, capacity in enumerate(core.capacity):
        top += np.sort(ratio[core.group == group])[::-1][:capacity].sum()
    value = value - top - unit * (magnitude + top)
    value = value - (residual * residual).sum() * (1 + unit) / np.longdouble(sigma)
    return max(float(np.nextafter(np.float64(value), -np.inf)), 0.0)
