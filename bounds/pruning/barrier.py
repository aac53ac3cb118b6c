"""Barrier Newton for the perspective dual of one channel, over all its multipliers at once.

Maximise over D > 0 (diagonal) with M = S - D positive definite, and over p,

    e - (q-p)^T M^-1 (q-p) - sum_g min_{t_g >= 0} { r_g t_g + sum_{i in g} (p_i^2 / D_i - t_g)_+ },

which is jointly concave (DESIGN.md 3.3; perspective relaxation: Frangioni & Gentile, Math. Program.
106, 2006; Dong, Chen & Linderoth, arXiv:1510.06083). With ``tau_i >= t_g`` and
``p_i^2 <= D_i tau_i`` the maximum becomes a smooth cone program. Its barrier adds log det M and
the logarithms of the scalar constraints; ``tau`` and ``t`` are eliminated by hand, so one Newton
step is one Cholesky of 2m. Nothing here is trusted as a bound: see ``perspective``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.problem import Floats
from bounds.pruning.core import Ints


@njit(cache=True, nogil=True)
def invert_definite(matrix: Floats, out: Floats) -> bool:
    """Inverse of a positive definite matrix into ``out``; False where a pivot is not positive."""
    m = matrix.shape[0]
    out[:, :] = matrix
    for k in range(m):
        pivot = out[k, k]
        if not pivot > 0.0:
            return False
        reciprocal = 1.0 / pivot
        row = out[k]
        for i in range(m):
            if i != k:
                other = out[i]
                factor = other[k] * reciprocal
                other[k] = 0.0
                for j in range(m):
                    other[j] -= factor * row[j]
                other[k] = -factor
        for j in range(m):
            row[j] *= reciprocal
        row[k] = reciprocal
    return True


@njit(cache=True, nogil=True)
def solve_definite(matrix: Floats, right: Floats) -> bool:
    """Solve in place (upper triangle of ``matrix`` is destroyed); False if not definite."""
    m = matrix.shape[0]
    for k in range(m):
        pivot = matrix[k, k]
        if not pivot > 0.0:
            return False
        row = matrix[k]
        reciprocal = 1.0 / pivot
        for i in range(k + 1, m):
            factor = row[i] * reciprocal
            if factor != 0.0:
                other = matrix[i]
                for j in range(i, m):
                    other[j] -= factor * row[j]
                right[i] -= factor * right[k]
    for k in range(m - 1, -1, -1):
        value = right[k]
        row = matrix[k]
        for j in range(k + 1, m):
            value -= row[j] * right[j]
        right[k] = value / row[k]
    return True


@njit(cache=True, nogil=True)
def top_sum(values: Floats, group: Ints, capacity: Ints) -> float:
    """Sum over groups of the ``capacity`` largest values in the group."""
    total = 0.0
    for g in range(capacity.size):
        members = np.sort(values[group == g])
        for i in range(members.size - capacity[g], members.size):
            total += members[i]
    return total


@njit(cache=True, nogil=True)
def dual_value(
    inverse: Floats, q: Floats, e: float, p: Floats, d: Floats, group: Ints, capacity: Ints
) -> float:
    """The dual function at (p, d) given ``inverse`` = (S - D)^-1, in plain floating point."""
    m = q.size
    form = 0.0
    for i in range(m):
        y = 0.0
        for j in range(m):
            y += inverse[i, j] * (q[j] - p[j])
        form += y * (q[i] - p[i])
    return e - form - top_sum(p * p / d, group, capacity)


@njit(cache=True, nogil=True)
def maximise(
    s: Floats,
    q: Floats,
    e: float,
    group: Ints,
    capacity: Ints,
    p: Floats,
    d: Floats,
    start: float,
    stop: float,
    steps: int,
) -> int:
    """Follow the central path from ``start`` to relative accuracy ``stop``; p and d in place.

    Args:
        s: (m, m) positive definite; ``s - diag(d)`` must be positive definite on entry.
        q: (m,) linear term; e: constant; so the error is ``v^T s v - 2 q^T v + e``.
        group: (m,) groups; capacity: (groups,) nonzeros allowed in each.
        p: (m,) and d: (m,) > 0 multipliers, improved in place (best value met is kept).
        start: first barrier weight, relative to ``e``.
        stop: stop when the duality gap is below this share of the value.
        steps: most Newton steps.

    Returns:
        Newton steps taken.
    """
    m = q.size
    groups = capacity.size
    inverse = np.empty((m, m))
    matrix = s.copy()
    for i in range(m):
        matrix[i, i] -= d[i]
    if not invert_definite(matrix, inverse):
        return 0
    best = dual_value(inverse, q, e, p, d, group, capacity)
    best_p, best_d = p.copy(), d.copy()
    ratio = p * p / d
    t = np.empty(groups)
    for g in range(groups):
        members = np.sort(ratio[group == g])
        rank = members.size - capacity[g]
        t[g] = members[rank] if rank < members.size and capacity[g] > 0 else e / m
        t[g] = max(t[g], 1e-12 * e / m)
    mu = start * e / m
    tau = np.empty(m)
    for i in range(m):
        tau[i] = max(t[group[i]], ratio[i]) + np.sqrt(mu * e / m) + mu
    dimension = 2 * m
    k = np.empty((dimension, dimension))
    step = np.empty(dimension)
    y = np.empty(m)
    trial = np.empty((m, m))
    nu = 4.0 * m + groups
    for count in range(steps):
        for i in range(m):
            y[i] = 0.0
            for j in range(m):
                y[i] += inverse[i, j] * (q[j] - p[j])
        t_grad = np.zeros(groups)
        t_curve = np.zeros(groups)
        for g in range(groups):
            t_grad[g] = capacity[g] - mu / t[g]
            t_curve[g] = mu / (t[g] * t[g])
        t_cross = np.zeros(dimension)
        tau_grad = np.empty(m)
        tau_curve = np.empty(m)
        alpha = np.empty(m)
        beta = np.empty(m)
        lift = np.empty(m)
        # The joint Hessian of the quadratic part is 2 [I; -Y] M^-1 [I, -Y].
        for i in range(m):
            for j in range(m):
                h_ij = inverse[i, j]
                k[i, j] = 2.0 * h_ij
                k[i, m + j] = -2.0 * h_ij * y[j]
                k[m + i, m + j] = 2.0 * y[i] * h_ij * y[j] + mu * h_ij * h_ij
        for i in range(m):
            g = group[i]
            h = d[i] * tau[i] - p[i] * p[i]
            gap = tau[i] - t[g]
            h2 = mu / (h * h)
            tau_grad[i] = 1.0 - mu * d[i] / h - mu / gap
            lift[i] = mu / (gap * gap)
            tau_curve[i] = h2 * d[i] * d[i] + lift[i]
            alpha[i] = -2.0 * h2 * p[i] * d[i]
            beta[i] = h2 * p[i] * p[i]
            c = tau_curve[i]
            k[i, i] += 2.0 * mu / h + 4.0 * h2 * p[i] * p[i] - alpha[i] * alpha[i] / c
            k[i, m + i] += -2.0 * h2 * p[i] * tau[i] - alpha[i] * beta[i] / c
            k[m + i, m + i] += h2 * tau[i] * tau[i] - beta[i] * beta[i] / c
            step[i] = 2.0 * y[i] - 2.0 * mu * p[i] / h + alpha[i] * tau_grad[i] / c
            step[m + i] = (
                -y[i] * y[i] - mu * inverse[i, i] + mu * tau[i] / h + beta[i] * tau_grad[i] / c
            )
            t_grad[g] += -1.0 + mu / gap + lift[i] * tau_grad[i] / c
            t_curve[g] += lift[i] - lift[i] * lift[i] / c
            t_cross[i] = alpha[i] * lift[i] / c
            t_cross[m + i] = beta[i] * lift[i] / c
        for i in range(m):
            g = group[i]
            share = t_grad[g] / t_curve[g]
            step[i] += t_cross[i] * share
            step[m + i] += t_cross[m + i] * share
            for j in range(m):
                if group[j] == g:
                    inverse_curve = 1.0 / t_curve[g]
                    k[i, j] -= t_cross[i] * t_cross[j] * inverse_curve
                    k[i, m + j] -= t_cross[i] * t_cross[m + j] * inverse_curve
                    k[m + i, m + j] -= t_cross[m + i] * t_cross[m + j] * inverse_curve
        gradient = step.copy()
        if not solve_definite(k, step):
            break
        decrement = 0.0
        for i in range(dimension):
            decrement += gradient[i] * step[i]
        t_step = np.empty(groups)
        for g in range(groups):
            t_step[g] = -t_grad[g]
        for i in range(m):
            t_step[group[i]] -= t_cross[i] * step[i] + t_cross[m + i] * step[m + i]
        for g in range(groups):
            t_step[g] /= t_curve[g]
        tau_step = np.empty(m)
        for i in range(m):
            tau_step[i] = (
                -tau_grad[i]
                - alpha[i] * step[i]
                - beta[i] * step[m + i]
                + lift[i] * t_step[group[i]]
            ) / tau_curve[i]
        # Longest step that stays inside every cone, then backed off from the boundary.
        size = 1.0
        inside = False
        for _ in range(40):
            inside = True
            for g in range(groups):
                if t[g] + size * t_step[g] <= 0.05 * t[g]:
                    inside = False
            for i in range(m):
                if not inside:
                    break
                new_tau = tau[i] + size * tau_step[i]
                new_d = d[i] + size * step[m + i]
                new_p = p[i] + size * step[i]
                room = tau[i] - t[group[i]]
                if new_tau - t[group[i]] - size * t_step[group[i]] <= 0.05 * room:
                    inside = False
                h = d[i] * tau[i] - p[i] * p[i]
                if new_d <= 0.05 * d[i] or new_d * new_tau - new_p * new_p <= 0.02 * h:
                    inside = False
            if inside:
                trial[:, :] = s
                for i in range(m):
                    trial[i, i] -= d[i] + size * step[m + i]
                inside = invert_definite(trial, inverse)
            if inside:
                break
            size *= 0.7
        if not inside:
            break
        for i in range(m):
            p[i] += size * step[i]
            d[i] += size * step[m + i]
            tau[i] += size * tau_step[i]
        for g in range(groups):
            t[g] += size * t_step[g]
        value = dual_value(inverse, q, e, p, d, group, capacity)
        if value > best:
            best = value
            best_p[:] = p
            best_d[:] = d
        if size > 0.5 and decrement < 4.0 * mu:
            if nu * mu < stop * max(best, 1e-12 * e):
                p[:] = best_p
                d[:] = best_d
                return count + 1
            mu *= 0.15
    p[:] = best_p
    d[:] = best_d
    return steps
