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

from bounds.linalg.ldl import factor_definite
from bounds.problem.gram import Floats
from bounds.pruning.relaxation.dual import (
    Inverse,
    Multipliers,
    Subproblem,
    evaluate,
    invert,
    penalty,
)
from bounds.pruning.relaxation.newton import (
    Newton,
    assemble,
    eliminate_thresholds,
    new_newton,
    newton_step,
    take_step,
)

#: The barrier weight falls by this factor once a step is well inside the Newton region.
FALL = 0.12
#: Share of the distance to each scalar boundary that a step leaves.
MARGIN = 0.04
#: Armijo: share of the predicted fall that a step must bring, factor on a step that does not, most
#: trials, and the share of the barrier value that rounding may hide.
ARMIJO, SHORTEN, TRIALS, ROUNDING = 0.1, 0.6, 31, 1e-12
#: Near the central path: this step was taken, and the Newton decrement was below this many mu.
FULL_STEP, CENTRED = 0.5, 3.0


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
