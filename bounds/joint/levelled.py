"""A joint problem in the units of pruning's kernels: reduced inputs, and their possible values.

The Gram is reduced as for pruning (live inputs, balanced, shifted if singular); what the shift can
add is bounded, for the grid confines the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.forms import form, rounding_factor
from bounds.problem.gram import Problem
from bounds.problem.joint import Joint
from bounds.problem.sparsity import Box
from bounds.pruning.reduced import ReducedProblem, reduce_problem

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]


@dataclass(frozen=True)
class Levelled:
    """A reduced problem whose weights must be zero or a value of the grid.

    Attributes:
        reduced: live inputs and channels, m of them.
        levels: (L,) of the grid; steps, zeros: (channels, m), steps in reduced units.
    """

    reduced: ReducedProblem
    levels: Floats
    steps: Floats
    zeros: Floats

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.reduced.channels

    def points(self, c: int) -> Floats:
        """The values (m, L-1) of channel ``c`` but zero, ascending, rounded to float64."""
        return np.ascontiguousarray(self.exact_points(c).astype(np.float64))

    def exact_points(self, c: int) -> Extended:
        """The same in extended precision: a product of a step and an integer level is exact."""
        apart = self.levels.astype(np.longdouble) - self.zeros[c, :, None].astype(np.longdouble)
        values = apart * self.steps[c, :, None].astype(np.longdouble)
        return values[apart != 0].reshape(len(self.steps[c]), -1)

    def errors_lower(self, c: int, solutions: Floats) -> Floats:
        """Proven lower bounds on the reduced errors of rows (solutions, m), as ``points`` has them.

        The bounds hold for the values of the grid that these doubles stand for.
        """
        exact = solutions.astype(np.longdouble)
        near, wide = self.points(c), self.exact_points(c)
        for i in range(near.shape[0]):
            place = np.searchsorted(near[i], solutions[:, i])
            place = np.minimum(place, near.shape[1] - 1)
            exact[:, i] = np.where(solutions[:, i] == 0, 0, wide[i, place])
        gram = self.reduced.gram.astype(np.longdouble)
        difference = exact - self.reduced.weights[c]
        # relative rounding of the differences, and of the values where they are no integers' steps
        doubt = np.finfo(np.longdouble).eps * (np.abs(exact) + np.abs(difference))
        size = np.abs(difference) + doubt
        slack = rounding_factor(len(gram)) * form(np.abs(gram), size)
        slack = slack + 2 * ((size @ np.abs(gram)) * doubt).sum(axis=1)
        value = form(gram, difference) - slack
        return np.maximum(np.nextafter(value.astype(np.float64), -np.inf), 0.0)


def make_levelled(problem: Problem, joint: Joint) -> Levelled:
    """Reduce ``problem`` under ``joint``, which was checked."""
    levels = joint.grid.levels
    steps = joint.grid.steps(problem.channels, problem.features)
    zeros = joint.grid.zeros(problem.channels, problem.features)
    low = float(np.min(steps * (levels[0] - zeros), initial=0.0))
    high = float(np.max(steps * (levels[-1] - zeros), initial=0.0))
    box = Box(np.nextafter(low, -np.inf), np.nextafter(high, np.inf))
    reduced = reduce_problem(problem, *joint.sparsity.budget(problem.features), box)
    live = reduced.index
    scaled = steps[:, live] / reduced.scale * reduced.row_scale[:, None]
    return Levelled(reduced, levels, scaled, np.ascontiguousarray(zeros[:, live]))
