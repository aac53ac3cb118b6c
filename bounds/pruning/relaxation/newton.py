"""The Newton system of the barrier function in (p, D, tau, t), and its solution.

tau is eliminated by hand, then t; what is left has order 2m. The function stands in ``barrier``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.linalg.ldl import factor_definite, solve_factored
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints
from bounds.pruning.relaxation.dual import Inverse, Multipliers, Subproblem


class Newton(NamedTuple):
    """One Newton system, and its solution: the steps of all multipliers.

    ``k`` (2M, 2M): Hessian of F in (p, D), and ``gradient`` (2m,) of -F, with tau and t eliminated;
    ``step`` (2m,): the solution. ``tau_*`` (m,), ``t_*`` (groups,): the same of one tau_i and t_g:
    gradient, curvature, step. ``alpha``, ``beta`` (m,): mixed derivatives of tau_i with p_i and
    D_i; ``lift`` (m,): less that with t_g; ``cross`` (2m,): what eliminating tau_i leaves between
    (p_i, D_i) and t_g. ``members`` (groups,): open inputs of each group.
    """

    k: Floats
    gradient: Floats
    step: Floats
    cross: Floats
    tau_gradient: Floats
    tau_curve: Floats
    tau_step: Floats
    alpha: Floats
    beta: Floats
    lift: Floats
    t_gradient: Floats
    t_curve: Floats
    t_step: Floats
    members: Ints


@njit(cache=True, nogil=True)
def new_newton(problem: Subproblem, k: Floats) -> Newton:
    """Arrays for Newton systems of ``problem``; ``k`` (2M, 2M) is the caller's."""
    m, groups = problem.m, problem.room.size
    members = np.zeros(groups, np.int64)
    for i in range(m):
        members[problem.group[i]] += 1
    return Newton(
        k=k,
        gradient=np.empty(2 * m),
        step=np.empty(2 * m),
        cross=np.empty(2 * m),
        tau_gradient=np.empty(m),
        tau_curve=np.empty(m),
        tau_step=np.empty(m),
        alpha=np.empty(m),
        beta=np.empty(m),
        lift=np.empty(m),
        t_gradient=np.empty(groups),
        t_curve=np.empty(groups),
        t_step=np.empty(groups),
        members=members,
    )


@njit(cache=True, nogil=True)
def assemble(
    problem: Subproblem, point: Multipliers, mu: float, inverse: Inverse, newton: Newton
) -> None:
    """Hessian and gradient of the barrier function, every tau eliminated, t not yet.

    Row i of the arrays of length 2m belongs to ``p_i``, row m + i to ``D_i``.
    """
    p, d, tau, t = point.p, point.d, point.tau, point.t
    group, room, m = problem.group, problem.room, problem.m
    h, y, k, step, cross = inverse.h, inverse.y, newton.k, newton.step, newton.cross
    tau_gradient, tau_curve, lift = newton.tau_gradient, newton.tau_curve, newton.lift
    t_gradient, t_curve, members = newton.t_gradient, newton.t_curve, newton.members
    alpha, beta = newton.alpha, newton.beta
    for g in range(room.size):
        # A group without open inputs has nothing to decide: its t stays where it is.
        t_gradient[g] = room[g] - mu / t[g] if members[g] > 0 else 0.0
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
        tau_gradient[i] = 1.0 - mu * d[i] / cone - mu / gap
        lift[i] = mu / (gap * gap)
        tau_curve[i] = c2 * d[i] * d[i] + lift[i]
        alpha[i] = -2.0 * c2 * p[i] * d[i]
        beta[i] = c2 * p[i] * p[i]
        c = tau_curve[i]
        k[i, i] += 2.0 * mu / cone + 4.0 * c2 * p[i] * p[i] - alpha[i] * alpha[i] / c
        k[i, m + i] += -2.0 * c2 * p[i] * tau[i] - alpha[i] * beta[i] / c
        k[m + i, m + i] += c2 * tau[i] * tau[i] - beta[i] * beta[i] / c
        step[i] = 2.0 * y[i] - 2.0 * mu * p[i] / cone + alpha[i] * tau_gradient[i] / c
        step[m + i] = mu * (tau[i] / cone - h[i, i]) - y[i] * y[i] + beta[i] * tau_gradient[i] / c
        t_gradient[g] += -1.0 + mu / gap + lift[i] * tau_gradient[i] / c
        t_curve[g] += lift[i] - lift[i] * lift[i] / c
        cross[i] = alpha[i] * lift[i] / c
        cross[m + i] = beta[i] * lift[i] / c


@njit(cache=True, nogil=True)
def eliminate_thresholds(problem: Subproblem, newton: Newton) -> None:
    """Take every t out of the system: one rank-one update per group, in the group's rows."""
    group, m, k, step, cross = problem.group, problem.m, newton.k, newton.step, newton.cross
    t_gradient, t_curve = newton.t_gradient, newton.t_curve
    one_group = problem.room.size == 1
    for i in range(m):
        g = group[i]
        share = t_gradient[g] / t_curve[g]
        step[i] += cross[i] * share
        step[m + i] += cross[m + i] * share
        f, f2 = cross[i] / t_curve[g], cross[m + i] / t_curve[g]
        left, right = k[i], k[m + i]
        if one_group:
            for j in range(2 * m):
                left[j] -= f * cross[j]
            for j in range(m, 2 * m):
                right[j] -= f2 * cross[j]
        else:
            for j in range(m):
                if group[j] == g:
                    left[j] -= f * cross[j]
                    left[m + j] -= f * cross[m + j]
                    right[m + j] -= f2 * cross[m + j]


@njit(cache=True, nogil=True)
def newton_step(problem: Subproblem, newton: Newton) -> tuple[bool, float]:
    """Solve for the steps of (p, D), t and tau.

    Returns whether the Hessian was definite, and the Newton decrement (squared).
    """
    group, m, step, gradient, cross = (
        problem.group, problem.m, newton.step, newton.gradient, newton.cross,
    )  # fmt: skip
    t_step, tau_step, lift = newton.t_step, newton.tau_step, newton.lift
    for i in range(2 * m):
        gradient[i] = step[i]
    if not factor_definite(newton.k, 2 * m):
        return False, 0.0
    solve_factored(newton.k, step, 2 * m)
    decrement = 0.0
    for i in range(2 * m):
        decrement += gradient[i] * step[i]
    for g in range(t_step.size):
        t_step[g] = -newton.t_gradient[g]
    for i in range(m):
        t_step[group[i]] -= cross[i] * step[i] + cross[m + i] * step[m + i]
    for g in range(t_step.size):
        t_step[g] /= newton.t_curve[g]
    for i in range(m):
        tau_step[i] = (
            lift[i] * t_step[group[i]]
            - newton.tau_gradient[i]
            - newton.alpha[i] * step[i]
            - newton.beta[i] * step[m + i]
        ) / newton.tau_curve[i]
    return True, decrement


@njit(cache=True, nogil=True)
def take_step(point: Multipliers, newton: Newton, size: float, m: int) -> None:
    """Move all multipliers by ``size`` steps."""
    for i in range(m):
        point.p[i] += size * newton.step[i]
        point.d[i] += size * newton.step[m + i]
        point.tau[i] += size * newton.tau_step[i]
    for g in range(point.t.size):
        point.t[g] += size * newton.t_step[g]
