"""The joint dual's value, proven: any multipliers give a bound, evaluated with all rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bounds.joint.levelled import Levelled
from bounds.joint.relaxation.barrier import Multipliers, Rows, maximise
from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.linalg.forms import form, rounding_factor

Floats = NDArray[np.float64]

ACCURACY = 1e-4
STEPS = 100
#: M keeps this share of the Gram's least eigenvalue: a search inverts it.
FLOOR = 1e-3
#: Every D_i at the start, as a share of the Gram's least eigenvalue.
START = 0.5
#: Values an input may have in the barrier, and how many of them next to its weight.
MOST_POINTS, NEAR = 24, 6
#: Errors below this share of the energy are not told from rounding.
SMALLEST = 1e-14
SHRINK = (1.0, 1 - 1e-6, 1 - 1e-3, 0.5)


@dataclass(frozen=True)
class JointDual:
    """A verified lower bound (energy units) and what proves it, in the problem's own units.

    ``linear``, ``diagonal`` (n,): q and D; zero at dead inputs.
    """

    lower: float
    linear: Floats
    diagonal: Floats

    def scaled(self, gram: int, row: int) -> JointDual:
        """The same where the Gram's unit is ``2^-gram`` and the weights' ``2^-row``."""
        with np.errstate(over="ignore"):
            return replace(
                self,
                lower=float(np.ldexp(self.lower, gram + 2 * row)),
                linear=np.ldexp(self.linear, gram + row),
                diagonal=np.ldexp(self.diagonal, gram),
            )


def rows_of(levelled: Levelled, c: int) -> Rows:
    """Channel ``c`` for the kernels."""
    reduced = levelled.reduced
    return Rows(
        reduced.gram, reduced.weights[c], levelled.points(c), reduced.group, reduced.capacity
    )


def solve_dual(
    levelled: Levelled, c: int, upper: float, accuracy: float = ACCURACY, steps: int = STEPS
) -> tuple[Floats, Floats, float]:
    """Good (q, D), each (m,), and their bound, not proven; ``upper``: an attained reduced error."""
    reduced, rows = levelled.reduced, rows_of(levelled, c)
    m = reduced.size
    rows = rows._replace(points=thinned(rows.points, reduced.weights[c]))
    point = Multipliers(
        np.zeros(m), np.full(m, START * reduced.eigen), np.empty(m), np.empty(rows.capacity.size)
    )
    barriers = float(m * (3 + rows.points.shape[1]) + rows.capacity.size)
    energy = float(form(reduced.gram, reduced.weights[c]))
    if not energy > 0:
        return point.q, point.d, 0.0
    mu = max(0.3 * upper, SMALLEST * energy) / barriers  # a gap of a share of the error itself
    bound, _ = maximise(rows, point, mu, FLOOR * reduced.eigen, accuracy, steps)
    return point.q, point.d, bound


def thinned(points: Floats, w: Floats) -> Floats:
    """At most ``MOST_POINTS`` values of every input: some near its weight, others evenly apart.

    A fine grid left out between them is worth little in the multipliers; their bound counts all.
    """
    m, many = points.shape
    if many <= MOST_POINTS:
        return points
    near = np.argmin(np.abs(points - w[:, None]), axis=1)
    first = np.clip(near - NEAR // 2, 0, many - NEAR)
    out = np.empty((m, MOST_POINTS))
    for i in range(m):
        own = np.arange(first[i], first[i] + NEAR)
        rest = np.delete(np.arange(many), own)
        even = rest[np.linspace(0, len(rest) - 1, MOST_POINTS - NEAR).astype(int)]
        out[i] = points[i, np.sort(np.append(own, even))]
    return out


def proven_dual(levelled: Levelled, c: int, q: Floats, d: Floats) -> JointDual:
    """What (q, D) prove of channel ``c``, smaller ones where rounding left M indefinite."""
    reduced = levelled.reduced
    best, share = 0.0, SHRINK[0]
    for share in SHRINK:
        best = proven_value(levelled, c, q * share, d * share)
        if best > 0:
            break
    lower = reduced.lower_of(c, best)
    linear, diagonal = np.zeros(reduced.features), np.zeros(reduced.features)
    linear[reduced.index] = q * share / reduced.scale / reduced.row_scale[c]
    diagonal[reduced.index] = d * share / np.square(reduced.scale)
    return JointDual(lower, linear, diagonal)


def proven_value(levelled: Levelled, c: int, q: Floats, d: Floats) -> float:
    """A proven lower bound on the reduced error of channel ``c``, or 0.0 if none.

    ``q`` and ``d`` (m,) are taken as exact. The minimum of ``u^T M u + 2 q^T u`` is at least its
    value at any point less the squared residual there over a proven least eigenvalue of M.
    """
    reduced = levelled.reduced
    if not ((d > 0).all() and np.isfinite(q).all() and np.isfinite(d).all()):
        return 0.0
    matrix = reduced.gram - np.diag(d)
    sigma = eigenvalue_lower_bound(matrix)
    # Forming the diagonal rounded once; the eigenvalue bound gives that back.
    sigma -= 2.0**-52 * float(np.abs(np.diag(reduced.gram)).max())
    if not sigma > 0:
        return 0.0
    wide = np.longdouble
    exact = reduced.gram.astype(wide) - np.diag(d.astype(wide))
    absolute = np.abs(reduced.gram).astype(wide)
    linear = q.astype(wide)
    u = -np.linalg.solve(matrix, q)
    u = u - np.linalg.solve(matrix, (linear + exact @ u.astype(wide)).astype(np.float64))
    u = u.astype(wide)
    unit = 2 * rounding_factor(reduced.size)
    size = np.abs(linear) + absolute @ np.abs(u)
    residual = np.abs(linear + exact @ u) + unit * size
    value = u @ (exact @ u) + 2 * (linear @ u) - 3 * unit * (np.abs(u) @ size)
    value = value - (residual @ residual) * (1 + unit) / wide(sigma)
    # the options of every input, each rounded down
    w, points = reduced.weights[c].astype(wide), levelled.exact_points(c)
    eps = 8 * np.finfo(wide).eps
    diagonal = d.astype(wide)
    offset = points - w[:, None]
    reach = np.abs(points) + np.abs(w[:, None])
    cost = diagonal[:, None] * offset * offset - 2 * linear[:, None] * offset
    cost = cost - eps * (
        diagonal[:, None] * reach * np.abs(offset) + np.abs(linear[:, None]) * reach
        + diagonal[:, None] * offset * offset
    )  # fmt: skip
    without = diagonal * w * w + 2 * linear * w
    without = without - eps * (diagonal * w * w + np.abs(linear * w))
    gain = without - cost.min(axis=1)
    top = wide(0)
    for group, capacity in enumerate(reduced.capacity):
        part = np.sort(gain[reduced.group == group])[::-1][:capacity]
        top += np.maximum(part, 0).sum()
    terms = np.abs(without).sum() + np.abs(gain).sum()
    value = value + without.sum() - top - unit * terms
    return max(float(np.nextafter(np.float64(value), -np.inf)), 0.0)
