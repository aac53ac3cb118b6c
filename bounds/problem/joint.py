"""Both at once: few nonzeros, and every weight on a grid that has zero among its values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError
from bounds.problem.gram import Problem
from bounds.problem.grid import Grid
from bounds.problem.methods import JOINT
from bounds.problem.scaling import Scaling
from bounds.problem.sparsity import Pattern, Sparse
from bounds.problem.storage import joint_bits

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Joint:
    """Weights on ``grid`` of which no more are nonzero than ``sparsity`` allows.

    A pruned weight is zero, so zero must be a value of the grid: a level equal to the zero point.
    """

    grid: Grid
    sparsity: Sparse | Pattern
    kind: ClassVar[str] = JOINT

    @property
    def asks(self) -> frozenset[str]:
        """What a method must be able to take."""
        return self.sparsity.asks

    def check(self, problem: Problem) -> None:
        """Raise ProblemError where grid or budget do not belong to ``problem``."""
        self.grid.check(problem)
        self.sparsity.check(problem)
        if self.sparsity.box is not None:
            raise ProblemError("the grid is a box already; give no other one")
        zeros = grid_zeros(self.grid, problem.channels, problem.features)
        off = ~np.isin(zeros, grid_levels(self.grid))
        if off.any():
            c, i = (int(x) for x in np.argwhere(off)[0])
            raise ProblemError(
                f"zero is no value of the grid in channel {c}, input {i}; a pruned weight must be "
                "one of its levels: take a zero point that is a code"
            )

    def scaling(self, problem: Problem) -> Scaling | None:
        """Units in which Gram and steps are near one, if they are far from it."""
        return self.grid.scaling(problem)

    def scaled(self, scaling: Scaling) -> Joint:
        """The same constraint in other units."""
        return replace(self, grid=self.grid.scaled(scaling), sparsity=self.sparsity.scaled(scaling))

    def rows(self, rows: slice) -> Joint:
        """The constraint of some of the channels."""
        return replace(self, grid=self.grid.rows(rows))

    def errors(self, problem: Problem, solution: Floats) -> Floats:
        """Errors (channels,) of weights (channels, n) on the grid, rounded up."""
        return self.grid.errors(problem, solution)

    def fits(self, solution: Floats, accuracy: float = 0.0) -> NDArray[np.bool_]:
        """Which channels (channels,) are sparse enough and on the grid."""
        return self.sparsity.fits(solution, accuracy) & self.grid.fits(solution, accuracy)

    def bits_a_weight(self, features: int, account: str = "values") -> float:
        """Codes of the kept weights alone, or with the mask and the 16-bit step of a channel."""
        kept = int(self.sparsity.budget(features)[1].sum())
        return joint_bits(self.grid.bits, 1 - kept / features, features, account)

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.sparsity}, {self.grid}"


def grid_levels(grid: Grid) -> Floats:
    """The levels (L,) of a grid, ascending, in units of its step."""
    return np.arange(grid.lo, grid.hi + 1, dtype=np.float64)


def grid_zeros(grid: Grid, channels: int, features: int) -> Floats:
    """The zero points (channels, n), in units of the step."""
    return np.zeros((channels, features))


def grid_steps(grid: Grid, channels: int, features: int) -> Floats:
    """The steps (channels, n)."""
    return np.repeat(grid.steps(channels)[:, None], features, axis=1)
