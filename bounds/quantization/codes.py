"""One quantization problem in codes: integers in a box, normalised without rounding.

With ``v = s z`` the error is ``s^2 h (z-u)^T H (z-u)``, ``u = w / s``, ``H = G / h`` and ``h`` a
power of two that brings the mean diagonal of ``H`` near one. Dead inputs are left out; their codes
are the nearest ones to their weights and cost nothing.
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


@dataclass(frozen=True)
class CodeProblem:
    """All channels of a chunk on one grid, live inputs only.

    Attributes:
        gram: (n, n) ``H``, exactly the problem's Gram over the power of two ``unit``.
        weights: (channels, n); scale: (channels,) the grid step.
        lo, hi: smallest and largest code.
        targets: (channels, n) ``w / s`` rounded.
    """

    problem: Problem
    gram: Floats
    unit: float
    weights: Floats
    scale: Floats
    lo: int
    hi: int
    targets: Floats

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
        )
        if "start" in vars(self):
            vars(single)["start"] = self.start[pick]
        if "factor" in vars(self):
            vars(single)["factor"] = self.factor  # the Gram is the same
        return single

    def errors(self, codes: Floats) -> Floats:
        """True errors (channels,) of codes (channels, n), rounded outward."""
        return grid_errors(self.gram * self.unit, self.weights, codes, self.scale)

    def costs(self, codes: Floats) -> Extended:
        """Errors in normalised units, extended precision, not rounded outward."""
        difference = self.offsets(codes)
        return ((difference @ self.gram.astype(np.longdouble)) * difference).sum(axis=1)

    def offsets(self, codes: Floats) -> Extended:
        """``z - w / s`` in extended precision, (channels, n)."""
        exact = self.weights.astype(np.longdouble) / self.scale[:, None].astype(np.longdouble)
        return codes.astype(np.longdouble) - exact

    def to_error(self, normalised: Extended) -> Extended:
        """Normalised values (channels,) in the unit of the energy."""
        step = self.scale.astype(np.longdouble)
        return normalised * step * step * self.unit

    def full_codes(self, codes: Floats) -> Floats:
        """Codes (channels, all inputs), the dead inputs rounded to nearest."""
        full = np.clip(np.rint(self.problem.weights / self.scale[:, None]), self.lo, self.hi)
        full[:, self.problem.live] = codes
        return full

    def full_weights(self, codes: Floats) -> Floats:
        """Quantized weights (channels, all inputs) with the dead inputs rounded to nearest."""
        return self.full_codes(codes) * self.scale[:, None]


def make_codes(problem: Problem, grid: Grid) -> CodeProblem:
    """Normalise a problem on ``grid``."""
    scale, lo, hi = grid.steps(problem.channels), int(grid.lo), int(grid.hi)
    live = problem.live
    gram = np.ascontiguousarray(problem.gram[np.ix_(live, live)])
    unit = float(np.exp2(np.round(np.log2(np.diag(gram).mean())))) if live.any() else 1.0
    weights = np.ascontiguousarray(problem.weights[:, live])
    with np.errstate(over="ignore", under="ignore"):
        normal = gram / unit
        targets = weights / scale[:, None]
        exact = (normal * unit == gram).all()
    if not exact:
        raise ProblemError("inputs differ in size by more than float64 can hold; rescale the gram")
    return CodeProblem(problem, normal, unit, weights, scale, lo, hi, targets)
