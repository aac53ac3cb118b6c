"""Barrier Newton for the perspective dual of one channel or node, over all its multipliers at once.

The problem is ``e + (v-w)^T S (v-w)`` with at most ``room_g`` nonzeros in group g. Maximise over
D > 0 (diagonal) with M = S - D positive definite, and over p,

    e + 2 w^T p - w^T D w - (Dw-p)^T M^-1 (Dw-p)
      - sum_g min_{t_g >= 0} { room_g t_g + sum_{i in g} (p_i^2 / D_i - t_g)_+ },

jointly concave (DESIGN.md 3.3 written around w, which loses no digits; perspective relaxation:
Frangioni & Gentile, Math. Program. 106, 2006; Dong, Chen & Linderoth, arXiv:1510.06083). With
``tau_i >= t_g`` and ``p_i^2 <= D_i tau_i`` this is a smooth cone program. Its barrier adds log det
M and the logarithms of the scalar constraints; ``tau`` and ``t`` are eliminated by hand, so one
Newton step is one Cholesky of 2m. Any point met is a bound, but not a proven one: that is
``perspective.verified_value``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.linalg.ldl import factor_definite, invert_definite, solve_factored
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

#: The barrier weight falls by this factor once a step is well inside the Newton region.
FALL = 0.12
#: Share of the distance to each scalar boundary that a step leaves.
MARGIN = 0.04


@njit(cache=True, nogil=True)
def penalty(p: Floats, d: Floats, group: Ints, room: Ints, m: int, level: Floats) -> float:
    """Sum over groups of the ``room`` largest ``p_i^2/d_i``; thresholds go to ``level``."""
    total = 0.0
    values = np.empty(m)
    for g in range(room.size):
        count = 0
        for i in range(m):
            if group[i] == g:
                values[count] = p[i] * p[i] / d[i]
                count += 1
        part = np.sort(values[:count])
        for i in range(max(count - room[g], 0), count):
            total += part[i]
        if 0 < room[g] < count:
            # Between the last counted and the first uncounted value: fair to both children.
            level[g] = 0.5 * (part[count - room[g]] + part[count - room[g] - 1])
        else:
            level[g] = 0.0
    return total


@njit(cache=True, nogil=True)
def evaluate(h: Floats, w: Floats, e: float, p: Floats, d: Floats, m: int, y: Floats) -> float:
    """The dual function before its penalty, L0, given ``h = (S - D)^-1``; ``y`` in place."""
    value = e
    for i in range(m):
        y[i] = 0.0
    for j in range(m):
        rho = d[j] * w[j] - p[j]
        row = h[j]
        for i in range(m):
            y[i] += rho * row[i]
    for i in range(m):
        rho = d[i] * w[i] - p[i]
        value += (2.0 * p[i] - d[i] * w[i]) * w[i] - rho * y[i]
        y[i] += w[i]
    return value


@njit(cache=True, nogil=True)
def start_cone(
    p: Floats, d: Floats, group: Ints, room: Ints, m: int, tau: Floats, t: Floats, mu: float
) -> None:
    """Interior ``tau`` and ``t`` for given p and d, about right for the barrier weight ``mu``."""
    penalty(p, d, group, room, m, t)
    for g in range(t.size):
        t[g] += mu
    for i in range(m):
        tau[i] = max(t[group[i]], p[i] * p[i] / d[i]) + 3.0 * mu


@njit(cache=True, nogil=True)
def _invert(s: Floats, d: Floats, floor: float, m: int, trial: Floats, h: Floats) -> bool:
    for i in range(m):
        for j in range(i, m):
            trial[i, j] = s[i, j]
        trial[i, i] -= floor + d[i]
    return invert_definite(trial, h, m)


@njit(cache=True, nogil=True)
def _merit(
    s: Floats,
    w: Floats,
    e: float,
    group: Ints,
    room: Ints,
    m: int,
    p: Floats,
    d: Floats,
    tau: Floats,
    t: Floats,
    mu: float,
    step: Floats,
    tau_step: Floats,
    t_step: Floats,
    size: float,
    floor: float,
    trial: Floats,
    rho: Floats,
) -> float:
    """The barrier function at ``size`` along the step; infinite outside the cones."""
    value = -e
    logs = 0.0
    for g in range(t.size):
        level = t[g] + size * t_step[g]
        value += room[g] * level
        logs += np.log(level)
    for i in range(m):
        new_p = p[i] + size * step[i]
        new_d = d[i] + size * step[m + i]
        new_tau = tau[i] + size * tau_step[i]
        gap = new_tau - t[group[i]] - size * t_step[group[i]]
        cone = new_d * new_tau - new_p * new_p
        if not (gap > 0.0 and new_d > 0.0 and cone > 0.0):
            return np.inf
        value += gap - (2.0 * new_p - new_d * w[i]) * w[i]
        logs += np.log(gap * cone)
        rho[i] = new_d * w[i] - new_p
        for j in range(i, m):
            trial[i, j] = s[i, j]
        trial[i, i] -= floor + new_d
    if not factor_definite(trial, m):
        return np.inf
    for i in range(m):
        row = trial[i]
        pivot = row[i]
        logs += np.log(pivot)
        value += rho[i] * rho[i] / pivot
        share = rho[i] / pivot
        for j in range(i + 1, m):
            rho[j] -= share * row[j]
    return value - mu * logs


@njit(cache=True, nogil=True)
def climb(
    s: Floats,
    w: Floats,
    e: float,
    group: Ints,
    room: Ints,
    m: int,
    p: Floats,
    d: Floats,
    tau: Floats,
    t: Floats,
    mu: float,
    limit: float,
    precision: float,
    floor: float,
    steps: int,
    h: Floats,
    y: Floats,
    k: Floats,
) -> tuple[float, float, float, int]:
    """Newton steps along the central path from a strictly feasible point.

    Args:
        s: (M, M), w: (M,), leading m entries in use; e: constant.
        group: (m,) group of each row; room: (groups,) with ``0 < room_g < size of group g``.
        p, d, tau: (M,), t: (groups,) strictly feasible; improved in place.
        mu: barrier weight to start from.
        limit: stop as soon as the bound reaches this.
        precision: stop when the gap left is below this share of ``limit - bound`` or, without a
            limit, of the bound.
        floor: smallest eigenvalue that M must keep, so that its inverse means something.
        steps: most Newton steps.
        h: (M, M) and y: (M,): on return ``(S - D)^-1`` and ``w + H (Dw - p)``.
        k: (2M, 2M) scratch.

    Returns:
        (L0, bound, barrier weight, steps); bound is -inf if the start was not feasible.
    """
    groups = room.size
    dimension = 2 * m
    level = np.empty(groups)
    trial = np.empty((m, m))
    rho = np.empty(m)
    merit = np.inf
    new_merit = np.inf
    step = np.empty(dimension)
    gradient = np.empty(dimension)
    cross = np.empty(dimension)
    tau_grad = np.empty(m)
    tau_curve = np.empty(m)
    tau_step = np.empty(m)
    alpha = np.empty(m)
    beta = np.empty(m)
    lift = np.empty(m)
    t_grad = np.empty(groups)
    t_curve = np.empty(groups)
    t_step = np.empty(groups)
    members = np.zeros(groups, np.int64)
    for i in range(m):
        members[group[i]] += 1
    nu = 4.0 * m + groups
    if not _invert(s, d, floor, m, trial, h):
        return -np.inf, -np.inf, mu, 0
    base = evaluate(h, w, e, p, d, m, y)
    bound = base - penalty(p, d, group, room, m, level)
    taken = 0
    for _ in range(steps):
        if bound >= limit:
            break
        for g in range(groups):
            # A group without open inputs has nothing to decide: its t stays where it is.
            t_grad[g] = room[g] - mu / t[g] if members[g] > 0 else 0.0
            t_curve[g] = mu / (t[g] * t[g])
        # The joint Hessian of the quadratic part is 2 [I; -Y] H [I, -Y].
        for i in range(m):
            row, left, right = h[i], k[i], k[m + i]
            y2 = 2.0 * y[i]
            for j in range(m):
                left[j] = 2.0 * row[j]
                left[m + j] = -2.0 * row[j] * y[j]
                right[m + j] = row[j] * (y2 * y[j] + mu * row[j])
        for i in range(m):
            g = group[i]
            cone = d[i] * tau[i] - p[i] * p[i]
            gap = tau[i] - t[g]
            c2 = mu / (cone * cone)
            tau_grad[i] = 1.0 - mu * d[i] / cone - mu / gap
            lift[i] = mu / (gap * gap)
            tau_curve[i] = c2 * d[i] * d[i] + lift[i]
            alpha[i] = -2.0 * c2 * p[i] * d[i]
            beta[i] = c2 * p[i] * p[i]
            c = tau_curve[i]
            k[i, i] += 2.0 * mu / cone + 4.0 * c2 * p[i] * p[i] - alpha[i] * alpha[i] / c
            k[i, m + i] += -2.0 * c2 * p[i] * tau[i] - alpha[i] * beta[i] / c
            k[m + i, m + i] += c2 * tau[i] * tau[i] - beta[i] * beta[i] / c
            step[i] = 2.0 * y[i] - 2.0 * mu * p[i] / cone + alpha[i] * tau_grad[i] / c
            step[m + i] = mu * (tau[i] / cone - h[i, i]) - y[i] * y[i] + beta[i] * tau_grad[i] / c
            t_grad[g] += -1.0 + mu / gap + lift[i] * tau_grad[i] / c
            t_curve[g] += lift[i] - lift[i] * lift[i] / c
            cross[i] = alpha[i] * lift[i] / c
            cross[m + i] = beta[i] * lift[i] / c
        for i in range(m):
            g = group[i]
            share = t_grad[g] / t_curve[g]
            step[i] += cross[i] * share
            step[m + i] += cross[m + i] * share
            f, f2 = cross[i] / t_curve[g], cross[m + i] / t_curve[g]
            left, right = k[i], k[m + i]
            if groups == 1:
                for j in range(dimension):
                    left[j] -= f * cross[j]
                for j in range(m, dimension):
                    right[j] -= f2 * cross[j]
            else:
                for j in range(m):
                    if group[j] == g:
                        left[j] -= f * cross[j]
                        left[m + j] -= f * cross[m + j]
                        right[m + j] -= f2 * cross[m + j]
        for i in range(dimension):
            gradient[i] = step[i]
        if not factor_definite(k, dimension):
            break
        solve_factored(k, step, dimension)
        decrement = 0.0
        for i in range(dimension):
            decrement += gradient[i] * step[i]
        for g in range(groups):
            t_step[g] = -t_grad[g]
        for i in range(m):
            t_step[group[i]] -= cross[i] * step[i] + cross[m + i] * step[m + i]
        for g in range(groups):
            t_step[g] /= t_curve[g]
        for i in range(m):
            tau_step[i] = (
                lift[i] * t_step[group[i]]
                - tau_grad[i]
                - alpha[i] * step[i]
                - beta[i] * step[m + i]
            ) / tau_curve[i]
        # The longest step that keeps a margin to every scalar cone, then Armijo on the barrier.
        size = 1.0
        for g in range(groups):
            if -size * t_step[g] > (1.0 - MARGIN) * t[g]:
                size = -(1.0 - MARGIN) * t[g] / t_step[g]
        for i in range(m):
            gap = tau[i] - t[group[i]]
            change = tau_step[i] - t_step[group[i]]
            if -size * change > (1.0 - MARGIN) * gap:
                size = -(1.0 - MARGIN) * gap / change
            if -size * step[m + i] > (1.0 - MARGIN) * d[i]:
                size = -(1.0 - MARGIN) * d[i] / step[m + i]
        # Where mu has changed, a first trial of length zero values the barrier where we stand.
        length = 0.0 if merit == np.inf else size
        inside = False
        for _ in range(31):
            new_merit = _merit(
                s, w, e, group, room, m, p, d, tau, t, mu, step, tau_step, t_step, length, floor,
                trial, rho,
            )  # fmt: skip
            if length == 0.0:
                merit, length = new_merit, size
                continue
            inside = new_merit <= merit - 0.1 * length * decrement + 1e-12 * abs(merit)
            if inside:
                break
            length *= 0.6
        size = length
        if inside:
            merit = new_merit
        else:
            break
        for i in range(m):
            p[i] += size * step[i]
            d[i] += size * step[m + i]
            tau[i] += size * tau_step[i]
        for g in range(groups):
            t[g] += size * t_step[g]
        if not _invert(s, d, floor, m, trial, h):
            return -np.inf, -np.inf, mu, taken
        taken += 1
        base = evaluate(h, w, e, p, d, m, y)
        bound = base - penalty(p, d, group, room, m, level)
        if size > 0.5 and decrement < 3.0 * mu:
            target = abs(bound) if limit == np.inf else limit - bound
            if nu * mu < precision * target:
                break
            mu *= FALL
            merit = np.inf
    # The floor was for the search; what is handed back belongs to S - D itself.
    _invert(s, d, 0.0, m, trial, h)
    base = evaluate(h, w, e, p, d, m, y)
    return base, base - penalty(p, d, group, room, m, level), mu, taken
