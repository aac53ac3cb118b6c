"""Barrier Newton for the perspective dual of one channel or node, over all its multipliers at once.

The problem is ``e + (v-w)^T S (v-w)`` with at most ``room_g`` nonzeros in group g. Maximise over
D > 0 (diagonal) with M = S - D positive definite, and over p,

    L0 - penalty = e + 2 w^T p - w^T D w - (Dw-p)^T M^-1 (Dw-p)
                   - sum_g min_{t_g >= 0} { room_g t_g + sum_{i in g} (p_i^2 / D_i - t_g)_+ },

jointly concave (the perspective relaxation's dual, written around w, which loses no digits:
Frangioni & Gentile, Math. Program. 106, 2006; Dong, Chen & Linderoth, arXiv:1510.06083). With
``tau_i >= t_g`` and ``p_i^2 <= D_i tau_i`` this is a smooth cone program. Its barrier function,
which is minimised for a falling weight mu, is

    F = -L0 + sum_g room_g t_g + sum_i (tau_i - t_g)
        - mu [ log det M + sum_g log t_g + sum_i log((tau_i - t_g) (D_i tau_i - p_i^2)) ].

The algorithm (``maximise_dual``):

    H = M^-1, y = w + H (Dw - p)                                            invert, evaluate
    repeat
        Newton system in (p, D, tau, t)                                     assemble
        tau is eliminated by hand, then t: what is left has order 2m        eliminate_thresholds
        one Cholesky gives the steps of p and D, then those of t and tau    newton_step
        longest step that keeps a margin to every scalar cone               longest_step
        shorten it until F falls enough (Armijo) and M stays definite       line_search
        take it; H, y, L0 and the bound anew
        near the central path: stop, or mu falls

Any point met is a bound, but not a proven one: that is ``perspective.verified_value``.
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
#: Share of the distance to each scalar boundary that a step leaves.
MARGIN = 0.04
#: Armijo: share of the predicted fall that a step must bring, factor on a step that does not, most
#: trials, and the share of the barrier value that rounding may hide.
ARMIJO, SHORTEN, TRIALS, ROUNDING = 0.1, 0.6, 31, 1e-12
#: Near the central path: this step was taken, and the Newton decrement was below this many mu.
FULL_STEP, CENTRED = 0.5, 3.0


class Subproblem(NamedTuple):
    """``e + (v-w)^T S (v-w)`` in m open inputs, at most ``room_g`` of group g nonzero.

    ``s`` (M, M), upper triangle; ``w`` (M,); ``group`` (M,); leading ``m`` entries in use.
    ``room`` (groups,): ``0 < room_g < size of group g``, or the group has no input here.
    """

    s: Floats
    w: Floats
    e: float
    group: Ints
    room: Ints
    m: int


class Multipliers(NamedTuple):
    """A strictly feasible point of the cones: ``p``, ``d``, ``tau`` (M,), ``t`` (groups,)."""

    p: Floats
    d: Floats
    tau: Floats
    t: Floats


class Inverse(NamedTuple):
    """``h`` (M, M) ``= (S - D)^-1`` and ``y`` (M,) ``= w + H (Dw - p)`` at some multipliers."""

    h: Floats
    y: Floats


class Stop(NamedTuple):
    """When ``maximise_dual`` ends, and what its iterates must keep.

    ``cutoff``: stop as soon as the bound reaches this. ``precision``: stop when the gap left is
    below this share of ``cutoff - bound`` or, with an infinite cutoff, of the bound. ``floor``:
    smallest eigenvalue that M must keep, so that its inverse means something. ``steps``: most
    Newton steps.
    """

    cutoff: float
    precision: float
    floor: float
    steps: int


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
def penalty(problem: Subproblem, point: Multipliers, level: Floats) -> float:
    """Sum over groups of the ``room`` largest ``p_i^2/d_i``; thresholds go to ``level``."""
    p, d, group, room, m = point.p, point.d, problem.group, problem.room, problem.m
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
def evaluate(problem: Subproblem, point: Multipliers, inverse: Inverse) -> float:
    """The dual function before its penalty, L0, given ``inverse.h``; fills ``inverse.y``."""
    w, m, p, d, h, y = problem.w, problem.m, point.p, point.d, inverse.h, inverse.y
    value = problem.e
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
def start_cone(problem: Subproblem, point: Multipliers, mu: float) -> None:
    """Interior ``tau`` and ``t`` for given p and d, about right for the barrier weight ``mu``."""
    p, d, tau, t, group = point.p, point.d, point.tau, point.t, problem.group
    penalty(problem, point, t)
    for g in range(t.size):
        t[g] += mu
    for i in range(problem.m):
        tau[i] = max(t[group[i]], p[i] * p[i] / d[i]) + 3.0 * mu


@njit(cache=True, nogil=True)
def invert(problem: Subproblem, d: Floats, floor: float, trial: Floats, h: Floats) -> bool:
    """``h = (S - D - floor I)^-1``; False where that is not definite. ``trial`` (m, m): scratch."""
    s, m = problem.s, problem.m
    for i in range(m):
        for j in range(i, m):
            trial[i, j] = s[i, j]
        trial[i, i] -= floor + d[i]
    return invert_definite(trial, h, m)


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
def longest_step(problem: Subproblem, point: Multipliers, newton: Newton) -> float:
    """The longest step up to 1 that keeps a margin to every scalar cone but ``D tau > p^2``."""
    d, tau, t, group, m = point.d, point.tau, point.t, problem.group, problem.m
    step, tau_step, t_step = newton.step, newton.tau_step, newton.t_step
    size = 1.0
    for g in range(t.size):
        if -size * t_step[g] > (1.0 - MARGIN) * t[g]:
            size = -(1.0 - MARGIN) * t[g] / t_step[g]
    for i in range(m):
        gap = tau[i] - t[group[i]]
        change = tau_step[i] - t_step[group[i]]
        if -size * change > (1.0 - MARGIN) * gap:
            size = -(1.0 - MARGIN) * gap / change
        if -size * step[m + i] > (1.0 - MARGIN) * d[i]:
            size = -(1.0 - MARGIN) * d[i] / step[m + i]
    return size


@njit(cache=True, nogil=True)
def barrier_value(
    problem: Subproblem,
    point: Multipliers,
    newton: Newton,
    size: float,
    mu: float,
    floor: float,
    trial: Floats,
) -> float:
    """The barrier function F at ``size`` along the step; infinite outside the cones."""
    s, w, group, room, m = problem.s, problem.w, problem.group, problem.room, problem.m
    p, d, tau, t = point.p, point.d, point.tau, point.t
    step, tau_step, t_step = newton.step, newton.tau_step, newton.t_step
    rho = newton.gradient  # free once the decrement is known
    value = -problem.e
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
def line_search(
    problem: Subproblem,
    point: Multipliers,
    newton: Newton,
    mu: float,
    floor: float,
    decrement: float,
    here: float,
    trial: Floats,
) -> tuple[float, float]:
    """A step that lowers the barrier function enough, and the value there; a step of 0.0 if none.

    ``here``: the value at the multipliers themselves, infinite where mu has changed since.
    """
    size = longest_step(problem, point, newton)
    # A first trial of length zero values the barrier where we stand.
    length = 0.0 if here == np.inf else size
    for _ in range(TRIALS):
        value = barrier_value(problem, point, newton, length, mu, floor, trial)
        if length == 0.0:
            here, length = value, size
            continue
        if value <= here - ARMIJO * length * decrement + ROUNDING * abs(here):
            return length, value
        length *= SHORTEN
    return 0.0, here


@njit(cache=True, nogil=True)
def take_step(point: Multipliers, newton: Newton, size: float, m: int) -> None:
    """Move all multipliers by ``size`` steps."""
    for i in range(m):
        point.p[i] += size * newton.step[i]
        point.d[i] += size * newton.step[m + i]
        point.tau[i] += size * newton.tau_step[i]
    for g in range(point.t.size):
        point.t[g] += size * newton.t_step[g]


@njit(cache=True, nogil=True)
def maximise_dual(
    problem: Subproblem,
    point: Multipliers,
    mu: float,
    stop: Stop,
    inverse: Inverse,
    k: Floats,
) -> tuple[float, float, float, int]:
    """Newton steps along the central path from a strictly feasible point (module docstring).

    Args:
        problem: the node; point: improved in place.
        mu: barrier weight to start from.
        stop: cutoff, precision, floor and number of steps.
        inverse: filled; on return of ``S - D`` at the final multipliers, without the floor.
        k: (2M, 2M) scratch.

    Returns:
        (L0, bound, barrier weight, steps); bound is -inf if the start was not feasible.
    """
    m, groups = problem.m, problem.room.size
    newton = new_newton(problem, k)
    level = np.empty(groups)
    trial = np.empty((m, m))
    merit = np.inf
    nu = 4.0 * m + groups  # of the barrier: the gap on the central path is nu mu
    if not invert(problem, point.d, stop.floor, trial, inverse.h):
        return -np.inf, -np.inf, mu, 0
    bound = evaluate(problem, point, inverse) - penalty(problem, point, level)
    taken = 0
    for _ in range(stop.steps):
        if bound >= stop.cutoff:
            break
        assemble(problem, point, mu, inverse, newton)
        eliminate_thresholds(problem, newton)
        definite, decrement = newton_step(problem, newton)
        if not definite:
            break
        size, merit = line_search(problem, point, newton, mu, stop.floor, decrement, merit, trial)
        if size == 0.0:
            break
        take_step(point, newton, size, m)
        if not invert(problem, point.d, stop.floor, trial, inverse.h):
            return -np.inf, -np.inf, mu, taken
        taken += 1
        bound = evaluate(problem, point, inverse) - penalty(problem, point, level)
        if size > FULL_STEP and decrement < CENTRED * mu:
            target = abs(bound) if stop.cutoff == np.inf else stop.cutoff - bound
            if nu * mu < stop.precision * target:
                break
            mu *= FALL
            merit = np.inf
    # The floor was for the search; what is handed back belongs to S - D itself.
    invert(problem, point.d, 0.0, trial, inverse.h)
    base = evaluate(problem, point, inverse)
    return base, base - penalty(problem, point, level), mu, taken
