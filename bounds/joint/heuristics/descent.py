"""Descent on values and places: one input to its best value, or two at once, while that helps.

Pairs hold the exchange of a kept for a removed input, and one step of a code with the best answer
of another. The end point is optimal against all of these moves.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bounds.joint.relaxation.barrier import Rows
from bounds.linalg.places import nearest_place
from bounds.problem.gram import Floats
from bounds.pruning.reduced import Ints

MAX_ROUNDS = 1000
IMPROVEMENT = 1e-12  # relative to the error: keeps rounding from cycling


@njit(cache=True, nogil=True)
def best_answer(
    points: Floats, v: float, slope: float, curve: float, room: bool
) -> tuple[float, float]:
    """The best value of one input, and the change of error; ``slope``: half the gradient.

    ``room``: whether it may be other than zero.
    """
    best, least = 0.0, v * (v * curve - 2.0 * slope)
    if room:
        value = points[nearest_place(points, v - slope / curve)]
        step = value - v
        change = step * (step * curve + 2.0 * slope)
        if change < least:
            best, least = float(value), change
    return best, least


@njit(cache=True, nogil=True)
def move(gram: Floats, v: Floats, slope: Floats, i: int, value: float) -> None:
    """Set input i to ``value``, ``slope = gram (v - w)`` kept up to date."""
    step = value - v[i]
    v[i] = value
    for j in range(v.size):
        slope[j] += gram[i, j] * step


@njit(cache=True, nogil=True)
def candidates(points: Floats, v: float, middle: float, out: Floats) -> int:
    """Values one input may try in a pair: its neighbours and zero, or those near ``middle``."""
    last = points.size - 1
    j = nearest_place(points, v if v != 0.0 else middle)
    count = 0
    for k in (j - 1, j, j + 1):
        if 0 <= k <= last and points[k] != v:
            out[count] = points[k]
            count += 1
    if v != 0.0:
        out[count] = 0.0
        count += 1
    return count


@njit(cache=True, nogil=True)
def pair_move(rows: Rows, v: Floats, slope: Floats, room: Ints, worth: float) -> bool:
    """Carry out the best move of two inputs; False if none is worth it."""
    gram, points, group = rows.s, rows.points, rows.group
    m = v.size
    tried = np.empty(4)
    best, best_i, best_j, first, second = -worth, -1, -1, 0.0, 0.0
    for i in range(m):
        count = candidates(points[i], v[i], v[i] - slope[i] / gram[i, i], tried)
        for k in range(count):
            step = tried[k] - v[i]
            own = step * (step * gram[i, i] + 2.0 * slope[i])
            for j in range(m):
                if j == i:
                    continue
                free = int(room[group[j]])
                if group[i] == group[j]:
                    free -= (1 if tried[k] != 0.0 else 0) - (1 if v[i] != 0.0 else 0)
                elif tried[k] != 0.0 and v[i] == 0.0 and room[group[i]] == 0:
                    continue
                free += 1 if v[j] != 0.0 else 0
                value, change = best_answer(
                    points[j], v[j], slope[j] + gram[i, j] * step, gram[j, j], free > 0
                )
                if free < 0:
                    continue
                if own + change < best:
                    best, best_i, best_j = own + change, i, j
                    first, second = tried[k], value
    if best_i < 0:
        return False
    for i, value in ((best_i, first), (best_j, second)):
        room[group[i]] += (1 if v[i] != 0.0 else 0) - (1 if value != 0.0 else 0)
        move(gram, v, slope, i, value)
    return True


@njit(cache=True, nogil=True)
def descend(rows: Rows, v: Floats) -> float:
    """Descend from feasible ``v`` (m,) in place; returns the error reached."""
    gram, group = rows.s, rows.group
    m = v.size
    slope = gram @ (v - rows.w)
    room = rows.capacity.copy()
    for i in range(m):
        if v[i] != 0.0:
            room[group[i]] -= 1
    error = (v - rows.w) @ slope
    for _ in range(MAX_ROUNDS):
        for _ in range(MAX_ROUNDS):
            moved = False
            for i in range(m):
                free = bool(room[group[i]] > 0 or v[i] != 0.0)
                value, change = best_answer(rows.points[i], v[i], slope[i], gram[i, i], free)
                if value != v[i] and change < -IMPROVEMENT * abs(error):
                    room[group[i]] += (1 if v[i] != 0.0 else 0) - (1 if value != 0.0 else 0)
                    move(gram, v, slope, i, value)
                    moved = True
            if not moved:
                break
        slope = gram @ (v - rows.w)
        error = (v - rows.w) @ slope
        if not pair_move(rows, v, slope, room, IMPROVEMENT * abs(error)):
            break
    return float((v - rows.w) @ (gram @ (v - rows.w)))
