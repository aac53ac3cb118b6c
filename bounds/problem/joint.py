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
from bounds.problem.storage import mask_bits

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
        return self.grid.asks | self.sparsity.asks

    def check(self, problem: Problem) -> None:
        """Raise ProblemError where grid or budget do not belong to ``problem``."""
        self.grid.check(problem)
        self.sparsity.check(problem)
        if self.sparsity.box is not None:
            raise ProblemError("the grid is a box already; give no other one")
        zeros = self.grid.zeros(problem.channels, problem.features)
        off = ~np.isin(zeros, self.grid.levels)
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

    def bits_a_weight(self, features: int, account: str = "values", channels: int = 1) -> float:
        """Codes of the kept weights alone, or with the mask, the steps and the zero points.

        ``account``: ``values``, or how the mask is coded, as for ``storage.mask_bits``.
        """
        share = int(self.sparsity.budget(features)[1].sum()) / features
        codes = share * self.grid.bits
        if account == "values":
            return codes
        beside = self.grid.bits_a_weight(features, "all", channels) - self.grid.bits
        return codes + mask_bits(1 - share, account) + beside

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.sparsity}, {self.grid}"
