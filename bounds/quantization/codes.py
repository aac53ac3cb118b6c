"""One quantization problem in codes: integers in a box, normalised without rounding.

With ``v = s z`` the error is ``s^2 h (z-u)^T H (z-u)``, ``u = w / s``, ``H = G / h`` and ``h`` a
power of two that brings the mean diagonal of ``H`` near one. A zero point, an integer, only moves
the target: with ``v = s (z - zero)``, ``u = w / s + zero``. Dead inputs are left out; their codes
are the nearest ones to their weights and cost nothing. Other grids are ``levels.LevelProblem``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError
from bounds.linalg.boxqp import box_minimisers
from bounds.problem.gram import Problem
from bounds.problem.grid import Grid, grid_errors
from bounds.quantization.factor import Factor, factorise

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]

#: Whole zero points up to here leave all digits to the codes.
MOST_ZERO = 2.0**20


@dataclass(frozen=True)
class CodeProblem:
    """All channels of a chunk on one grid, live inputs only.

    Attributes:
        gram: (n, n) ``H``, exactly the problem's Gram over the power of two ``unit``.
        weights: (channels, n); scale: (channels,) the grid step.
        lo, hi: smallest and largest code.
        targets: (channels, n) ``w / s + zero`` rounded.
        zero: (channels,) integers.
    """

    problem: Problem
    gram: Floats
    unit: float
    weights: Floats
    scale: Floats
    lo: int
    hi: int
    targets: Floats
    zero: Floats

    @property
    def channels(self) -> int:
        """Number of weight rows."""
        return self.weights.shape[0]

    @property
    def features(self) -> int:
        """Number of live inputs."""
        return self.weights.shape[1]

    @cached_property
    def start(self) -> Floats:
        """Minimisers over the box (channels, n), found when first asked for: O(n^3) a channel."""
        if self.features == 0:
            return self.targets
        return box_minimisers(self.gram, self.targets, float(self.lo), float(self.hi))

    @cached_property
    def factor(self) -> Factor:
        """Order and factor of the Gram, made when first asked for."""
        return factorise(self.gram)

    def channel(self, c: int) -> CodeProblem:
        """The problem of channel ``c`` alone."""
        pick = slice(c, c + 1)
        single = replace(
            self,
            weights=self.weights[pick],
            scale=self.scale[pick],
            targets=self.targets[pick],
            zero=self.zero[pick],
        )
        if "start" in vars(self):
            vars(single)["start"] = self.start[pick]
        if "factor" in vars(self):
            vars(single)["factor"] = self.factor  # the Gram is the same
        return single

    def errors(self, codes: Floats) -> Floats:
        """True errors (channels,) of codes (channels, n), rounded outward."""
        above = codes - self.zero[:, None]  # exact: integers
        return grid_errors(self.gram * self.unit, self.weights, above, self.scale)

    def costs(self, codes: Floats) -> Extended:
        """Errors in normalised units, extended precision, not rounded outward."""
        difference = self.offsets(codes)
        return ((difference @ self.gram.astype(np.longdouble)) * difference).sum(axis=1)

    def offsets(self, codes: Floats) -> Extended:
        """``z - zero - w / s`` in extended precision, (channels, n)."""
        exact = self.weights.astype(np.longdouble) / self.scale[:, None].astype(np.longdouble)
        above = codes.astype(np.longdouble) - self.zero.astype(np.longdouble)[:, None]
        return np.asarray(above - exact, np.longdouble)

    def steps_of(self, c: int) -> tuple[float, float]:
        """Step and zero point of channel ``c``."""
        return float(self.scale[c]), float(self.zero[c])

    def to_error(self, normalised: Extended) -> Extended:
        """Normalised values (channels,) in the unit of the energy."""
        step = self.scale.astype(np.longdouble)
        return normalised * step * step * self.unit

    def full_codes(self, codes: Floats) -> Floats:
        """Codes (channels, all inputs), the dead inputs rounded to nearest."""
        targets = self.problem.weights / self.scale[:, None] + self.zero[:, None]
        full = np.clip(np.rint(targets), self.lo, self.hi)
        full[:, self.problem.live] = codes
        return full

    def full_weights(self, codes: Floats) -> Floats:
        """Quantized weights (channels, all inputs) with the dead inputs rounded to nearest."""
        return (self.full_codes(codes) - self.zero[:, None]) * self.scale[:, None]


def make_codes(problem: Problem, grid: Grid) -> CodeProblem:
    """Normalise a problem on a grid of integers, one step and one whole zero point a channel."""
    scale, lo, hi = grid.steps(problem.channels), int(grid.lo), int(grid.hi)
    zero = grid.zeros(problem.channels)
    live = problem.live
    gram = np.ascontiguousarray(problem.gram[np.ix_(live, live)])
    unit = float(np.exp2(np.round(np.log2(np.diag(gram).mean())))) if live.any() else 1.0
    weights = np.ascontiguousarray(problem.weights[:, live])
    with np.errstate(over="ignore", under="ignore"):
        normal = gram / unit
        targets = weights / scale[:, None] + zero[:, None]
        exact = (normal * unit == gram).all()
    if not exact:
        raise ProblemError("inputs differ in size by more than float64 can hold; rescale the gram")
    return CodeProblem(problem, normal, unit, weights, scale, lo, hi, targets, zero)


def has_codes(grid: Grid) -> bool:
    """Whether ``make_codes`` is for this grid."""
    whole = (grid.zero == np.rint(grid.zero)).all() and (np.abs(grid.zero) <= MOST_ZERO).all()
    return bool(grid.uniform_levels and not grid.grouped and whole)
