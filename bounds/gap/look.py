"""What do these weights look like? The grid and the pattern of zeros that fit them, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.gap.steps import find_grid
from bounds.problem.grid import Grid

Floats = NDArray[np.float64]

#: Patterns in use: at most so many nonzeros in so many consecutive inputs.
PATTERNS = ((1, 4), (2, 8), (2, 4), (4, 8))
#: Share of zeros from which weights are called pruned; grids of few bits have up to a third anyway.
PRUNED = 0.4


@dataclass(frozen=True, eq=False)
class Look:
    """What was found.

    Attributes:
        grid: the one all weights lie on, else None.
        pattern: nonzeros at most and of how many consecutive inputs, else None.
        density: share of nonzeros.
        closest: where there is no grid, the one most weights lie on; and what share of them.
    """

    grid: Grid | None
    pattern: tuple[int, int] | None
    density: float
    closest: tuple[Grid, float] | None = None

    @property
    def sparse(self) -> bool:
        """Whether more weights are zero than a grid explains."""
        return self.pattern is not None or 1 - self.density >= PRUNED

    def __str__(self) -> str:
        """``this looks like int4 in groups of 128 with zero points, 2:4 sparse``."""
        words = [] if self.grid is None else [grid_words(self.grid)]
        if self.pattern is not None:
            words.append("{}:{} sparse".format(*self.pattern))
        elif self.sparse:
            words.append(f"{1 - self.density:.0%} zeros in no pattern")
        if words:
            both = "both: " if len(words) > 1 else ""
            return f"this looks like {both}{', '.join(words)}"
        if self.closest is None:
            return "this looks like neither a grid nor a pruned layer"
        grid, share = self.closest
        return (
            f"this looks like no grid in use; closest is {grid_words(grid)}, on which "
            f"{share:.1%} of the weights lie"
        )


def look(weights: Floats, accuracy: float) -> Look:
    """Find grid and pattern of weights (channels, n) stored with a relative ``accuracy``.

    Raises:
        ProblemError: weights that are no finite numbers.
    """
    density = float(np.count_nonzero(weights)) / max(weights.size, 1)
    pattern = find_pattern(weights)
    if density == 0:
        return Look(None, pattern, density)
    grid = find_grid(weights, accuracy)
    near = grid.near(weights, accuracy)
    if near.all():
        return Look(grid, pattern, density)
    return Look(None, pattern, density, (grid, float(near.mean())))


def find_pattern(weights: Floats) -> tuple[int, int] | None:
    """The strictest of ``PATTERNS`` that all rows (channels, n) keep; None if all are zero."""
    kept = weights != 0
    if not kept.any():
        return None
    for most, size in PATTERNS:
        whole = kept.shape[1] // size * size
        if not whole:
            continue
        counts = kept[:, :whole].reshape(len(kept), -1, size).sum(axis=2)
        if counts.max(initial=0) <= most:
            return most, size
    return None


def grid_words(grid: Grid) -> str:
    """Name, groups and zero points of a grid."""
    if grid.group_size is not None and grid.grouped:
        shared = f" in groups of {grid.group_size}"
    else:
        shared = ", one step" if grid.step.shape[0] == 1 else ", a step a channel"
    return f"{grid.name or 'levels'}{shared}{'' if grid.symmetric else ', with zero points'}"
