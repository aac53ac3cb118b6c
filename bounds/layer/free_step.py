"""The best step, proven: what is lost by choosing it before rounding.

For codes z the error is a parabola in the step, ``err(s) = E - 2 s a + s^2 b``, ``a = z^T G w``,
``b = z^T G z``, E the energy. At the best step and codes of all, ``s* = a/b``, so the error there
is orthogonal to what is kept, ``s*^2 b = E - err* <= E``, and at any other step these codes cost
only a square more:

    min_z err(s0, z) <= err(s0, z*) = err* + (s0/s* - 1)^2 (E - err*).

So one exact search at s0 bounds a whole interval of steps: if the best step is within a share eps
of s0 (``|s0/s* - 1| <= eps``), then ``err* >= (min_z err(s0, z) - eps^2 E) / (1 - eps^2)``.
Intervals whose bound is not close enough are halved. Steps so large that ``s^2 b > E`` for any
codes but zero cannot be best, nor those so small that the grid's box costs more than the best
found. The same holds with sums over channels that share a step, and where codes are also sparse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.linalg.boxqp import box_minimiser
from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.linalg.forms import form, rounding_factor
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.checks import real_number
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import Grid, choose_scale, integer_range
from bounds.problem.joint import Joint
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.range import Bounded, Range
from bounds.problem.sparsity import sparsity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PER = ("tensor", "channel")
#: Share by which the first intervals' steps differ from their middle; most rounds of halving.
WIDTH, ROUNDS = 0.1, 40
#: Largest accuracy in dB that still means a bound, and the smallest that doubles can tell.
COARSEST, FINEST = 10.0, 1e-6
#: Halvings of the smallest step until the box alone costs more than the best found.
SHORTEST = 60


@dataclass(frozen=True, eq=False)
class FreeStepRange(Bounded):
    """The range of the least error over all positive steps, per channel or of all together.

    Attributes:
        lower, upper: (units,) proven and attained; one unit, or one a channel.
        energy: (units,); step: (units,) that attains ``upper``.
        weights: (channels, n) codes times step.
        searches: exact searches made, of single channels.
    """

    lower: Floats
    upper: Floats
    energy: Floats
    step: Floats
    weights: Floats
    searches: int
    notes: tuple[str, ...] = ()


@dataclass
class _Interval:
    """Steps of one unit from ``low`` to ``high``, and the bound on all of them."""

    unit: int
    low: float
    high: float
    bound: float = 0.0

    @property
    def middle(self) -> float:
        """The step searched: as far, in share of the best step, from both ends."""
        return 2 / (1 / self.low + 1 / self.high)

    @property
    def share(self) -> float:
        """How far the best step may be from the middle, as a share of itself, rounded up."""
        return (self.high - self.low) / (self.high + self.low) * (1 + 1e-12)


class _Search:
    """What is asked, and the best found for each unit (rows of the problem that share a step)."""

    def __init__(
        self,
        problem: Problem,
        bits: int,
        per: str,
        budget: tuple[int | None, tuple[int, int] | None],
        options: Options,
    ) -> None:
        self.problem, self.bits, self.options = problem, bits, options
        self.sparsity = None if budget == (None, None) else sparsity(*budget)
        every = np.arange(problem.channels)
        self.units = [every] if per == "tensor" else [every[c : c + 1] for c in every]
        gram = problem.gram
        exact = form(gram, problem.weights)
        slack = rounding_factor(problem.features) * form(np.abs(gram), np.abs(problem.weights))
        self.energy = np.array([float((exact + slack)[u].sum()) for u in self.units]) * (1 + 1e-15)
        self.upper = self.energy.copy()  # all codes zero, at any step
        self.step = np.ones(len(self.units))
        self.weights = np.zeros_like(problem.weights)
        self.searches = 0

    def constraint(self, steps: Floats) -> Grid | Joint:
        """The grid of rows with these steps (rows,), and the budget if there is one."""
        grid = Grid.uniform(self.bits, steps)
        return grid if self.sparsity is None else Joint(grid, self.sparsity)

    def lower(self, wanted: list[_Interval]) -> Floats:
        """Bounds (wanted,) on the error at the middles; better steps found are kept."""
        rows = np.concatenate([self.units[i.unit] for i in wanted])
        sizes = [len(self.units[i.unit]) for i in wanted]
        steps = np.repeat([i.middle for i in wanted], sizes)
        problem = self.problem.rows(rows)
        found: Range = answer(problem, self.constraint(steps), "exact", self.options)
        self.searches += len(rows)
        ends = np.cumsum(sizes)
        for one, end, size in zip(wanted, ends, sizes, strict=True):
            own = slice(end - size, end)
            self.refit(one.unit, np.rint(found.weights[own] / one.middle), one.middle)
        return np.array([s.sum() * (1 - 1e-12) for s in np.split(found.lower, ends[:-1])])

    def refit(self, unit: int, codes: Floats, step: float) -> None:
        """Take codes (rows, n) at ``step`` or at their own best one, if that is better."""
        rows = self.units[unit]
        problem = self.problem.rows(rows)
        pull = codes @ problem.gram
        along, size = float((pull * problem.weights).sum()), float((pull * codes).sum())
        for s in (step, along / size if size > 0 and along > 0 else step):
            solution = codes * s
            steps = np.full(len(rows), s)
            errors = self.constraint(steps).errors(problem, solution)
            total = float(errors.sum()) * (1 + len(rows) * 2.0**-52)
            if total < self.upper[unit]:
                self.upper[unit], self.step[unit] = total, s
                self.weights[rows] = solution

    def ends(self, unit: int, eigen: float) -> tuple[float, float, float]:
        """Steps outside which none is best, and the bound on those below the first."""
        rows = self.units[unit]
        start = float(choose_scale(self.problem.weights[rows], self.bits, "minmax"))  # type: ignore
        self.lower([_Interval(unit, start * 0.8, start * 0.9)])
        largest = float(np.sqrt(self.energy[unit] / eigen)) * (1 + 1e-12)
        step, bound = min(start, largest), 0.0
        for _ in range(SHORTEST):
            step /= 2
            bound = sum(box_bound(self.problem, int(c), step, self.bits) for c in rows)
            if bound >= self.upper[unit]:
                break
        return step, max(largest, 2 * step), bound * (1 - 1e-12)


def box_bound(problem: Problem, c: int, step: float, bits: int) -> float:
    """A proven lower bound on channel c's error where every weight is in the grid's box.

    The error is convex: ``err(v) >= err(u) + 2 (u-w)^T G (v-u)`` for any u, here one near the best.
    Smaller steps have smaller boxes, so it holds for them too.
    """
    lo, hi = integer_range(bits)
    live = np.flatnonzero(problem.live)
    gram = np.ascontiguousarray(problem.gram[np.ix_(live, live)])
    w = problem.weights[c, live]
    unit = float(np.diag(gram).mean())
    near = box_minimiser(np.ascontiguousarray(gram / unit), w / step, float(lo), float(hi)) * step
    wide = np.longdouble
    d = near.astype(wide) - w
    slope = 2 * (gram.astype(wide) @ d)
    low, high = wide(step) * lo, wide(step) * hi
    room = np.minimum(slope * (low - near), slope * (high - near))
    absolute = np.abs(gram).astype(wide) @ np.abs(d)
    reach = np.maximum(np.abs(low), np.abs(high)) + np.abs(near)
    gamma = 4 * rounding_factor(len(live))
    slack = gamma * (np.abs(d) @ absolute + (absolute * reach).sum())
    return max(float(d @ slope / 2 + room.sum() - slack), 0.0)


def free_step_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    bits: int,
    per: str = "channel",
    keep: int | None = None,
    pattern: tuple[int, int] | None = None,
    accuracy: float = 0.01,
    time_limit: float | None = DEFAULT_SECONDS,
    node_limit: int | None = None,
) -> FreeStepRange:
    """The range of the least error over all positive steps and all codes of ``bits`` bits.

    Args:
        gram: (n, n); weights: (channels, n), both checked as usual.
        bits: codes are -2^(b-1) .. 2^(b-1)-1.
        per: ``tensor``, one step for all channels, or ``channel``.
        keep, pattern: at most so many nonzero codes, as for ``joint_range``.
        accuracy: dB between bound and attained at which intervals are no longer halved.
        time_limit, node_limit: of each channel's search at each step.

    Raises:
        ProblemError: numbers that define no problem.
    """
    problem = check_problem(gram, weights)
    integer_range(bits)
    if per not in PER:
        raise ProblemError(f"per must be one of {', '.join(PER)}, got {per!r}")
    wanted = f"decibels from {FINEST} to {COARSEST}"
    accuracy = real_number("accuracy", accuracy, wanted)
    if not FINEST <= accuracy <= COARSEST:
        raise ProblemError(f"accuracy must be {wanted}, got {accuracy!r}")
    options = Options(Limits(time_limit, node_limit))
    search = _Search(problem, bits, per, (keep, pattern), options)
    live = problem.live
    eigen = eigenvalue_lower_bound(problem.gram[np.ix_(live, live)]) if live.any() else 1.0
    notes = problem.notes
    lower = np.zeros(len(search.units))
    if eigen > 0:
        lower = _close(search, eigen, 10 ** (-accuracy / 10))
    else:
        notes = (*notes, "The Gram matrix is singular: no step is too large, and none is proven.")
        for unit in range(len(search.units)):
            start = float(choose_scale(problem.weights[search.units[unit]], bits, "mse"))  # type: ignore
            search.lower([_Interval(unit, start * 0.999, start * 1.001)])
    lower = np.minimum(lower, search.upper)
    return FreeStepRange(
        lower, search.upper, search.energy, search.step, search.weights, search.searches, notes
    )


def _close(search: _Search, eigen: float, enough: float) -> Floats:
    """Lower bounds (units,), each ``enough`` times the attained error or more if rounds suffice."""
    lower = np.full(len(search.units), np.inf)
    opened: list[_Interval] = []
    ratio = (1 + WIDTH) / (1 - WIDTH)
    for unit in range(len(search.units)):
        if search.energy[unit] == 0:
            lower[unit] = 0.0
            continue
        low, high, lower[unit] = search.ends(unit, eigen)
        count = max(int(np.ceil(np.log(high / low) / np.log(ratio))), 1)
        edges = low * (high / low) ** (np.arange(count + 1) / count)
        edges[0], edges[-1] = low, high
        opened += [_Interval(unit, a, b) for a, b in pairwise(edges)]
    for _ in range(ROUNDS):
        if not opened:
            break
        # Within a share eps of the best step codes cost eps^2 (E - err) more, and no less.
        value = search.lower(opened)
        halves: list[_Interval] = []
        for one, least in zip(opened, value, strict=True):
            square = one.share**2
            bound = (least - square * search.energy[one.unit]) / (1 - square)
            one.bound = max(one.bound, bound - 1e-15 * search.energy[one.unit])
        for one in opened:
            if one.bound >= enough * search.upper[one.unit]:
                lower[one.unit] = min(lower[one.unit], one.bound)
                continue
            cut = float(np.sqrt(one.low * one.high))
            halves.append(replace(one, high=cut))
            halves.append(replace(one, low=cut))
        opened = halves
    for one in opened:
        lower[one.unit] = min(lower[one.unit], one.bound)
    return np.minimum(np.maximum(lower, 0.0), search.energy)
