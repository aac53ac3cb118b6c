"""Barrier Newton for the joint dual of one channel, over all its multipliers at once.

The problem: ``(v-w)^T S (v-w)``, every ``v_i`` zero or one of the values ``points_i``, at most
``capacity_g`` of group g not zero. For any diagonal D > 0 with M = S - D positive definite, any q,

    lower = - q^T M^-1 q + sum_i a_i - sum_g (sum of the capacity_g largest gains (a_i - b_i)_+),
    a_i = D_i w_i^2 + 2 q_i w_i                                      (v_i = 0)
    b_i = min over points v of D_i (v-w_i)^2 - 2 q_i (v-w_i)         (v_i not 0)

for ``(v-w)^T S (v-w) = (v-w)^T M (v-w) + 2 q^T (v-w) + sum_i [D_i (v_i-w_i)^2 - 2 q_i (v_i-w_i)]``,
of which the first two terms are at least ``-q^T M^-1 q``. It is jointly concave in (q, D): each
option's cost is linear. With a price t_g for a nonzero and slacks s_i this is a smooth program,

    minimise  q^T M^-1 q - sum a_i + sum capacity_g t_g + sum s_i
    with      s_i, t_g, D_i > 0,  gap_iv = s_i + t_g - 2 v (q_i + D_i w_i) + D_i v^2 > 0,

solved along the central path as in ``bounds.pruning.relaxation.barrier``: the steps of s and t are
eliminated by hand, one Cholesky of order 2m gives those of q and D. Any point met is a bound, but
not a proven one: that is ``verified.proven_value``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.linalg.ldl import factor_definite, invert_definite, solve_factored
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

#: The barrier weight falls by this factor once a step is well inside the Newton region.
FALL = 0.12
#: Share of the distance to each linear boundary that a step leaves, and of each pivot of M: from
#: points at the edge of that cone Newton's method stalls.
MARGIN, PIVOT = 0.04, 0.1
#: Armijo: share of the predicted fall that a step must bring, factor on a step that does not, most
#: trials, and the share of the barrier value that rounding may hide.
ARMIJO, SHORTEN, TRIALS, ROUNDING = 0.1, 0.6, 31, 1e-12
#: Weight of M's barrier beside that of each of the many linear ones. With equal weights Newton's
#: method is driven to the edge of M's cone, and comes back from there in tens of steps.
HEAVY = 8.0
#: Rounds and bisections that find the slacks and prices of the start.
STARTS, BISECTIONS = 3, 20
#: Near the central path the squared Newton decrement is below this many mu.
CENTRED = 0.5


class Rows(NamedTuple):
    """One channel: ``s`` (m, m), ``w`` (m,), ``points`` (m, P), ``group`` (m,), ``capacity``."""

    s: Floats
    w: Floats
    points: Floats
    group: Ints
    capacity: Ints


class Multipliers(NamedTuple):
    """A strictly feasible point: ``q``, ``d``, ``slack`` (m,), ``t`` (groups,)."""

    q: Floats
    d: Floats
    slack: Floats
    t: Floats


class Newton(NamedTuple):
    """One Newton system and its solution; rows i belong to ``q_i``, rows m + i to ``D_i``.

    ``k`` (2m, 2m); ``step`` (2m,): minus the gradient, then the solution; ``cross`` (2m,): mixed
    derivatives with t of the row's group. Of slack and t: ``*_gradient`` (minus it), ``*_curve``,
    ``*_step``; ``with_q``, ``with_d``, ``with_t`` (m,): mixed derivatives of a slack. ``pivots``
    (m,): of M at the step's start.
    """

    k: Floats
    step: Floats
    cross: Floats
    slack_gradient: Floats
    slack_curve: Floats
    slack_step: Floats
    with_q: Floats
    with_d: Floats
    with_t: Floats
    t_gradient: Floats
    t_curve: Floats
    t_step: Floats
    pivots: Floats


@njit(cache=True, nogil=True)
def new_newton(m: int, groups: int) -> Newton:
    """Arrays for systems of m inputs."""
    return Newton(
        np.empty((2 * m, 2 * m)), np.empty(2 * m), np.empty(2 * m), np.empty(m), np.empty(m),
        np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.empty(groups), np.empty(groups),
        np.empty(groups), np.empty(m),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def gains(rows: Rows, q: Floats, d: Floats, out: Floats) -> float:
    """``a_i - b_i`` into ``out`` (m,); returns the sum of all ``a_i``."""
    w, points = rows.w, rows.points
    total = 0.0
    for i in range(w.size):
        pull = 2.0 * (q[i] + d[i] * w[i])
        best = -np.inf
        for v in points[i]:
            best = max(best, v * (pull - d[i] * v))
        out[i] = best
        total += w[i] * (d[i] * w[i] + 2.0 * q[i])
    return total


@njit(cache=True, nogil=True)
def taken(rows: Rows, gain: Floats, level: Floats) -> float:
    """Sum over groups of the largest gains there is room for; prices go to ``level``."""
    total = 0.0
    for g in range(rows.capacity.size):
        part = np.sort(gain[rows.group == g])[::-1]
        room = rows.capacity[g]
        for j in range(min(room, part.size)):
            total += max(part[j], 0.0)
        level[g] = 0.0
        if 0 < room < part.size:
            level[g] = max(0.5 * (part[room - 1] + part[room]), 0.0)
        elif room == 0 and part.size > 0:
            level[g] = max(part[0], 0.0)
    return total


@njit(cache=True, nogil=True)
def balanced(need: float, own: float, gap: Floats, count: int, mu: float) -> float:
    """How much ``own`` and all ``gap[:count]`` must rise for ``need = mu (1/own + sum 1/gap)``."""
    least = own
    for k in range(count):
        least = min(least, gap[k])
    low, high = mu / need - least, mu * (count + 1) / need - least
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        total = 1.0 / (own + middle)
        for k in range(count):
            total += 1.0 / (gap[k] + middle)
        if mu * total > need:
            low = middle
        else:
            high = middle
    return high


@njit(cache=True, nogil=True)
def start(rows: Rows, point: Multipliers, mu: float) -> None:
    """Slacks and prices about right for the barrier weight ``mu``, given q and d.

    Minimised in turn, from the optimal ones: a start far from the path costs tens of Newton steps.
    """
    w, points, group = rows.w, rows.points, rows.group
    m, many = w.size, points.shape[1]
    gain = np.empty((m, many))
    top = np.empty(m)
    for i in range(m):
        pull = 2.0 * (point.q[i] + point.d[i] * w[i])
        for k in range(many):
            gain[i, k] = points[i, k] * (pull - point.d[i] * points[i, k])
        top[i] = np.max(gain[i])
    taken(rows, top, point.t)
    gap = np.empty(m * many)
    for g in range(point.t.size):
        point.t[g] += mu
    for i in range(m):
        point.slack[i] = max(top[i] - point.t[group[i]], 0.0) + mu
    for _ in range(STARTS):
        for i in range(m):
            for k in range(many):
                gap[k] = point.slack[i] + point.t[group[i]] - gain[i, k]
            point.slack[i] += balanced(1.0, point.slack[i], gap, many, mu)
        for g in range(point.t.size):
            count = 0
            for i in range(m):
                if group[i] == g:
                    for k in range(many):
                        gap[count] = point.slack[i] + point.t[g] - gain[i, k]
                        count += 1
            point.t[g] += balanced(max(float(rows.capacity[g]), 0.5), point.t[g], gap, count, mu)


@njit(cache=True, nogil=True)
def assemble(
    rows: Rows, point: Multipliers, mu: float, aim: float, h: Floats, x: Floats, newton: Newton
) -> None:
    """Hessian of the barrier function of weight ``mu``, gradient of that of weight ``aim``.

    Slacks are eliminated, then prices. With ``aim`` below ``mu`` the step is the predictor along
    the central path: every gap that falls with the weight falls in proportion.
    """
    w, points, group = rows.w, rows.points, rows.group
    q, d, slack, t = point.q, point.d, point.slack, point.t
    k, step, cross = newton.k, newton.step, newton.cross
    m = w.size
    for g in range(t.size):
        newton.t_gradient[g] = aim / t[g] - rows.capacity[g]
        newton.t_curve[g] = mu / (t[g] * t[g])
    for i in range(m):
        for j in range(m):
            k[i, j] = 2.0 * h[i, j]
            k[i, m + j] = 2.0 * h[i, j] * x[j]
            k[m + i, m + j] = h[i, j] * (2.0 * x[i] * x[j] + HEAVY * mu * h[i, j])
    for i in range(m):
        one = q1 = d1 = 0.0
        w0 = wq = wd = wqq = wqd = wdd = 0.0
        pull = 2.0 * (q[i] + d[i] * w[i])
        room = slack[i] + t[group[i]]
        for v in points[i]:
            a = 1.0 / (room - v * (pull - d[i] * v))
            cq, cd = -2.0 * v, v * (v - 2.0 * w[i])
            one += a
            q1 += a * cq
            d1 += a * cd
            a *= a
            w0 += a
            wq += a * cq
            wd += a * cd
            wqq += a * cq * cq
            wqd += a * cq * cd
            wdd += a * cd * cd
        k[i, i] += mu * wqq
        k[i, m + i] += mu * wqd
        k[m + i, m + i] += mu * (wdd + 1.0 / (d[i] * d[i]))
        step[i] = 2.0 * (w[i] - x[i]) + aim * q1
        step[m + i] = w[i] * w[i] - x[i] * x[i] - aim * (HEAVY * h[i, i] - 1.0 / d[i] - d1)
        curve = mu * (w0 + 1.0 / (slack[i] * slack[i]))
        gradient = aim * (one + 1.0 / slack[i]) - 1.0
        bq, bd, bt = mu * wq, mu * wd, mu * w0
        newton.slack_gradient[i], newton.slack_curve[i] = gradient, curve
        newton.with_q[i], newton.with_d[i], newton.with_t[i] = bq, bd, bt
        k[i, i] -= bq * bq / curve
        k[i, m + i] -= bq * bd / curve
        k[m + i, m + i] -= bd * bd / curve
        step[i] -= bq * gradient / curve
        step[m + i] -= bd * gradient / curve
        cross[i] = bq - bq * bt / curve
        cross[m + i] = bd - bd * bt / curve
        g = group[i]
        newton.t_gradient[g] += aim * one - bt * gradient / curve
        newton.t_curve[g] += bt - bt * bt / curve
    for i in range(m):
        g = group[i]
        share = newton.t_gradient[g] / newton.t_curve[g]
        step[i] -= cross[i] * share
        step[m + i] -= cross[m + i] * share
        f, f2 = cross[i] / newton.t_curve[g], cross[m + i] / newton.t_curve[g]
        for j in range(m):
            if group[j] == g:
                k[i, j] -= f * cross[j]
                k[i, m + j] -= f * cross[m + j]
                k[m + i, m + j] -= f2 * cross[m + j]


@njit(cache=True, nogil=True)
def newton_step(rows: Rows, newton: Newton) -> tuple[bool, float]:
    """Solve for all steps; returns whether the Hessian was definite, and the squared decrement."""
    m, group, step, cross = rows.w.size, rows.group, newton.step, newton.cross
    gradient = step.copy()
    if not factor_definite(newton.k, 2 * m):
        return False, 0.0
    solve_factored(newton.k, step, 2 * m)
    decrement = 0.0
    for i in range(2 * m):
        decrement += gradient[i] * step[i]
    for i in range(m):
        decrement += newton.slack_gradient[i] * newton.slack_gradient[i] / newton.slack_curve[i]
    for g in range(newton.t_step.size):
        decrement += newton.t_gradient[g] * newton.t_gradient[g] / newton.t_curve[g]
        newton.t_step[g] = newton.t_gradient[g]
    for i in range(m):
        newton.t_step[group[i]] -= cross[i] * step[i] + cross[m + i] * step[m + i]
    for g in range(newton.t_step.size):
        newton.t_step[g] /= newton.t_curve[g]
    for i in range(m):
        newton.slack_step[i] = (
            newton.slack_gradient[i]
            - newton.with_q[i] * step[i]
            - newton.with_d[i] * step[m + i]
            - newton.with_t[i] * newton.t_step[group[i]]
        ) / newton.slack_curve[i]
    return True, decrement


@njit(cache=True, nogil=True)
def longest_step(rows: Rows, point: Multipliers, newton: Newton) -> float:
    """The longest step up to 1 that keeps a margin to every linear boundary."""
    w, points, group, m = rows.w, rows.points, rows.group, rows.w.size
    size = 1.0
    keep = 1.0 - MARGIN
    for g in range(point.t.size):
        if -size * newton.t_step[g] > keep * point.t[g]:
            size = -keep * point.t[g] / newton.t_step[g]
    for i in range(m):
        dq, dd, ds = newton.step[i], newton.step[m + i], newton.slack_step[i]
        if -size * ds > keep * point.slack[i]:
            size = -keep * point.slack[i] / ds
        if -size * dd > keep * point.d[i]:
            size = -keep * point.d[i] / dd
        pull = 2.0 * (point.q[i] + point.d[i] * w[i])
        room = point.slack[i] + point.t[group[i]]
        more, change = 2.0 * (dq + dd * w[i]), ds + newton.t_step[group[i]]
        for v in points[i]:
            gap = room - v * (pull - point.d[i] * v)
            move = change - v * (more - dd * v)
            if -size * move > keep * gap:
                size = -keep * gap / move
    return size


@njit(cache=True, nogil=True)
def barrier_value(
    rows: Rows, point: Multipliers, newton: Newton, size: float, mu: float, floor: float,
    trial: Floats,
) -> float:  # fmt: skip
    """The barrier function at ``size`` along the step; infinite outside the cone of M or near it.

    With a ``size`` of zero, ``newton.pivots`` are filled.
    """
    w, points, group, m = rows.w, rows.points, rows.group, rows.w.size
    value = logs = 0.0
    rho = np.empty(m)
    for g in range(point.t.size):
        level = point.t[g] + size * newton.t_step[g]
        value += rows.capacity[g] * level
        logs += np.log(level)
    for i in range(m):
        q = point.q[i] + size * newton.step[i]
        d = point.d[i] + size * newton.step[m + i]
        slack = point.slack[i] + size * newton.slack_step[i]
        room = slack + point.t[group[i]] + size * newton.t_step[group[i]]
        pull = 2.0 * (q + d * w[i])
        product = slack * d
        for v in points[i]:
            product *= room - v * (pull - d * v)
            if product < 1e-200 or product > 1e200:
                if not product > 0.0:
                    return np.inf
                logs += np.log(product)
                product = 1.0
        if not product > 0.0:
            return np.inf
        logs += np.log(product)
        value += slack - w[i] * (d * w[i] + 2.0 * q)
        rho[i] = q
        for j in range(i, m):
            trial[i, j] = rows.s[i, j]
        trial[i, i] -= floor + d
    if not factor_definite(trial, m):
        return np.inf
    for i in range(m):
        row = trial[i]
        pivot = row[i]
        if size == 0.0:
            newton.pivots[i] = pivot
        elif pivot < PIVOT * newton.pivots[i]:
            return np.inf
        logs += HEAVY * np.log(pivot)
        value += rho[i] * rho[i] / pivot
        share = rho[i] / pivot
        for j in range(i + 1, m):
            rho[j] -= share * row[j]
    return value - mu * logs


@njit(cache=True, nogil=True)
def invert(rows: Rows, point: Multipliers, floor: float, h: Floats, x: Floats) -> bool:
    """``h = (S - D - floor I)^-1`` and ``x = h q``; False where that is not definite."""
    m = rows.w.size
    trial = rows.s.copy()
    for i in range(m):
        trial[i, i] -= floor + point.d[i]
    if not invert_definite(trial, h, m):
        return False
    for i in range(m):
        x[i] = 0.0
        for j in range(m):
            x[i] += h[i, j] * point.q[j]
    return True


@njit(cache=True, nogil=True)
def dual_value(rows: Rows, point: Multipliers, x: Floats) -> float:
    """The bound at q and D, given ``x = M^-1 q``."""
    gain = np.empty(rows.w.size)
    value = gains(rows, point.q, point.d, gain)
    for i in range(x.size):
        value -= point.q[i] * x[i]
    return value - taken(rows, gain, np.empty(rows.capacity.size))


@njit(cache=True, nogil=True)
def maximise(
    rows: Rows, point: Multipliers, mu: float, floor: float, accuracy: float, steps: int
) -> tuple[float, int]:
    """Follow the central path from ``q``, ``d`` of ``point`` (module docstring); improved in place.

    Args:
        mu: barrier weight to start from.
        floor: smallest eigenvalue that M must keep.
        accuracy: relative gap at which to stop; steps: most Newton steps.

    Returns:
        (the best bound met, whose q and d are in ``point``; Newton steps).
    """
    m, groups = rows.w.size, rows.capacity.size
    newton = new_newton(m, groups)
    h, x, trial = np.empty((m, m)), np.empty(m), np.empty((m, m))
    start(rows, point, mu)
    if not invert(rows, point, floor, h, x):
        return -np.inf, 0
    best = dual_value(rows, point, x)
    best_q, best_d = point.q.copy(), point.d.copy()
    nu = float((2 + HEAVY) * m + groups + m * rows.points.shape[1])
    count, centred = 0, False
    while count < steps:
        aim = mu * FALL if centred else mu
        assemble(rows, point, mu, aim, h, x, newton)
        definite, decrement = newton_step(rows, newton)
        if not definite:
            break
        mu = aim
        size = longest_step(rows, point, newton)
        merit = barrier_value(rows, point, newton, 0.0, mu, floor, trial)
        new = np.inf
        for _ in range(TRIALS):
            new = barrier_value(rows, point, newton, size, mu, floor, trial)
            fall = 0.0 if centred else ARMIJO * size * decrement
            if new <= merit - fall + ROUNDING * abs(merit):
                break
            size *= SHORTEN
        if not new < np.inf:
            break
        for i in range(m):
            point.q[i] += size * newton.step[i]
            point.d[i] += size * newton.step[m + i]
            point.slack[i] += size * newton.slack_step[i]
        for g in range(groups):
            point.t[g] += size * newton.t_step[g]
        if not invert(rows, point, floor, h, x):
            break
        count += 1
        bound = dual_value(rows, point, x)
        if bound > best:
            best = bound
            best_q[:] = point.q
            best_d[:] = point.d
        centred = not centred and decrement < CENTRED * mu
        if centred and nu * mu < accuracy * abs(best):
            break
    point.q[:] = best_q
    point.d[:] = best_d
    return best, count
