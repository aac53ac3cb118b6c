"""The perspective dual of one channel or node: its problem, its multipliers, its value.

The formulas stand in ``barrier``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bounds.linalg.ldl import invert_definite
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints


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
