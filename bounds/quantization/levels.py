"""One quantization problem whose inputs have levels of their own: groups, codebooks, zero points.

A weight may be ``s (l - zero)``, l one of the grid's levels, with a step and a zero for every input
of every channel. Integers of one step a channel are better kept as ``codes.CodeProblem``; here the
variables are the weights themselves, so the Gram stays everybody's own: one factor, one order and
one set of multipliers serve all channels, whatever their steps. A solution is given by the numbers
of its levels, counted from 0.

Units are powers of two, which round nothing: ``H = G / unit`` has a mean diagonal near one, and
channel c is divided by ``scale[c]``, near its typical distance of two levels. A level's value is no
double in general; it is formed in extended precision, ``wobble`` bounds what that rounds off, and
``lo`` and ``hi`` lie outside all values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.errors import ProblemError
from bounds.linalg.boxqp import box_minimisers
from bounds.linalg.forms import form, rounding_factor
from bounds.linalg.places import nearest_place
from bounds.problem.gram import Problem
from bounds.problem.grid import Grid
from bounds.quantization.factor import Factor, factorise

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Extended = NDArray[np.longdouble]

#: Share of a value that two extended operations may round off (each half an epsilon, and a hair).
WOBBLE = 1.01 * float(np.finfo(np.longdouble).eps)


@dataclass(frozen=True)
class LevelProblem:
    """All channels of a chunk on one grid, live inputs only.

    Attributes:
        gram: (n, n) ``H``, exactly the problem's Gram over the power of two ``unit``.
        weights: (channels, n); scale: (channels,) powers of two; targets: weights over scale,
            exactly.
        step: (channels, n) steps over scale, exactly; zero: (channels, n).
        levels: (L,) ascending; uniform: whether they are consecutive integers.
    """

    problem: Problem
    grid: Grid
    gram: Floats
    unit: float
    weights: Floats
    scale: Floats
    targets: Floats
    step: Floats
    zero: Floats
    levels: Floats
    uniform: bool

    @property
    def channels(self) -> int:
        """Number of weight rows."""
        return self.weights.shape[0]

    @property
    def features(self) -> int:
        """Number of live inputs."""
        return self.weights.shape[1]

    @cached_property
    def lo(self) -> Floats:
        """Doubles (channels, n) not above any value."""
        return self._ends(0, -np.inf)

    @cached_property
    def hi(self) -> Floats:
        """Doubles (channels, n) not below any value."""
        return self._ends(len(self.levels) - 1, np.inf)

    def _ends(self, number: int, outward: float) -> Floats:
        value = self.values(np.full(self.targets.shape, number)).astype(np.float64)
        return np.where(value == 0, 0.0, np.nextafter(value, outward))  # a zero is never rounded

    @cached_property
    def wobble(self) -> Floats:
        """What rounding may move any value by (channels, n)."""
        return WOBBLE * np.maximum(np.abs(self.lo), np.abs(self.hi))

    @cached_property
    def start(self) -> Floats:
        """Minimisers over the box (channels, n), found when first asked for: O(n^3) a channel."""
        if self.features == 0:
            return self.targets
        return box_minimisers(self.gram, self.targets, self.lo, self.hi)

    @cached_property
    def factor(self) -> Factor:
        """Order and factor of the Gram: inputs of wide steps count as more."""
        return factorise(self.gram, self.sizes)

    @property
    def sizes(self) -> Floats:
        """Typical steps (n,), the channels' mean: they decide in which order inputs are fixed."""
        return np.exp(np.log(self.step).mean(axis=0))

    def rows(self, pick: slice) -> LevelProblem:
        """The problem of some of the channels."""
        names = ("weights", "scale", "targets", "step", "zero")
        some = replace(
            self,
            problem=self.problem.rows(pick),
            grid=self.grid.rows(pick),
            **{name: getattr(self, name)[pick] for name in names},
        )
        for name in ("start", "lo", "hi", "wobble"):
            if name in vars(self):
                vars(some)[name] = getattr(self, name)[pick]
        if "factor" in vars(self):
            vars(some)["factor"] = self.factor  # the Gram is the same
        return some

    def channel(self, c: int) -> LevelProblem:
        """The problem of channel ``c`` alone."""
        return self.rows(slice(c, c + 1))

    def steps_of(self, c: int) -> tuple[Floats, Floats]:
        """Steps, in the unit given, and zero points (n,) of channel ``c``."""
        return self.step[c] * self.scale[c], self.zero[c]

    def values(self, numbers: NDArray) -> Extended:
        """Values of levels given by ``numbers`` (channels, n)."""
        wide = np.longdouble
        level = self.levels[np.asarray(numbers, np.int64)].astype(wide)
        return self.step.astype(wide) * (level - self.zero.astype(wide))

    def nearest(self, values: Floats) -> Floats:
        """Numbers (channels, n) of the levels nearest to real ``values``."""
        return nearest_levels(self.levels, values / self.step + self.zero, self.uniform)

    def below(self, values: Floats) -> Integers:
        """Numbers (channels, n) of the levels below real ``values``, never the last one."""
        at = np.searchsorted(self.levels, values / self.step + self.zero, "right") - 1
        return np.clip(at, 0, len(self.levels) - 2)

    def offsets(self, point: Floats) -> Extended:
        """``point - w / scale`` of real points (channels, n)."""
        return point.astype(np.longdouble) - self.targets

    def errors(self, numbers: NDArray) -> Floats:
        """True errors (channels,) of levels (channels, n), rounded outward."""
        values, gram = self.values(numbers), self.gram.astype(np.longdouble)
        difference, doubt = values - self.targets, WOBBLE * np.abs(values)
        absolute = np.abs(difference) + doubt
        slack = ((np.abs(gram) @ absolute.T).T * (2 * doubt)).sum(axis=1)
        slack += ((absolute @ np.abs(gram)) * absolute).sum(axis=1) * rounding_factor(len(gram))
        total = np.maximum(form(gram, difference), 0) + slack * (1 + 1e-9)
        return np.nextafter(self.to_error(total).astype(np.float64), np.inf)

    def costs(self, numbers: NDArray) -> Extended:
        """Errors of levels in normalised units, extended precision, not rounded outward."""
        return form(self.gram, self.values(numbers) - self.targets)

    def to_error(self, normalised: Extended) -> Extended:
        """Normalised values (channels,) in the unit of the energy."""
        scale = self.scale.astype(np.longdouble)
        return normalised * scale * scale * self.unit

    def full_weights(self, numbers: NDArray) -> Floats:
        """Quantized weights (channels, all inputs) with the dead inputs rounded to nearest."""
        codes = self.grid.codes(self.problem.weights)
        codes[:, self.problem.live] = self.levels[np.asarray(numbers, np.int64)]
        return self.grid.values(codes)


@njit(cache=True, nogil=True)
def nearest_number(levels, uniform, t):
    """Number of the level nearest to ``t``."""
    if uniform:
        return int(min(max(np.rint(t - levels[0]), 0.0), float(levels.shape[0] - 1)))
    return nearest_place(levels, t)


def nearest_levels(levels: Floats, t: Floats, uniform: bool) -> Floats:
    """Numbers of the levels nearest to ``t``, in units of levels, of any shape."""
    if uniform:
        return np.clip(np.rint(t) - levels[0], 0, len(levels) - 1)
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, t).astype(np.float64)


def make_levels(problem: Problem, grid: Grid) -> LevelProblem:
    """Normalise a problem on ``grid``."""
    live = problem.live
    levels = np.ascontiguousarray(grid.levels, np.float64)
    steps = grid.steps(problem.channels, problem.features)[:, live]
    zeros = grid.zeros(problem.channels, problem.features)[:, live]
    gram = np.ascontiguousarray(problem.gram[np.ix_(live, live)])
    weights = np.ascontiguousarray(problem.weights[:, live])
    unit = float(np.exp2(np.round(np.log2(np.diag(gram).mean())))) if live.any() else 1.0
    gap = (levels[-1] - levels[0]) / max(len(levels) - 1, 1)
    scale = np.ones(problem.channels)
    if live.any():
        scale = np.exp2(np.round(np.log2(steps * gap).mean(axis=1)))
    with np.errstate(over="ignore", under="ignore"):
        normal, targets = gram / unit, weights / scale[:, None]
        step = np.ascontiguousarray(steps / scale[:, None])
        exact = (normal * unit == gram).all() and (targets * scale[:, None] == weights).all()
        exact = exact and (step * scale[:, None] == steps).all()
    if not exact:
        raise ProblemError(
            "inputs, weights or steps differ in size by more than float64 can hold; rescale them"
        )
    return LevelProblem(
        problem, grid, normal, unit, weights, scale, targets, step,
        np.ascontiguousarray(zeros), levels, bool(grid.uniform_levels),
    )  # fmt: skip
