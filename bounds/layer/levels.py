"""What a grid is to a bound that all channels share: for every weight, the values it may have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.layer.envelope import least_sums, project_rows, spreads
from bounds.layer.rule import HalfStep
from bounds.problem.grid import Grid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Levels:
    """Values ``step (l - zero)``, ``l`` one of ``table``.

    Attributes:
        table: (L,) ascending, common to all weights.
        step, zero: (channels, n); C-contiguous.
        uniform: whether ``table`` are consecutive integers.
    """

    table: Floats
    step: Floats
    zero: Floats
    uniform: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and inputs."""
        return self.step.shape[0], self.step.shape[1]

    def balanced(self, balance: Floats) -> Levels:
        """The same where weights are counted in units of the powers of two ``balance`` (n,)."""
        return Levels(self.table, self.step / balance, self.zero, self.uniform)

    def rows(self, rows: slice | NDArray[np.int64]) -> Levels:
        """Those of some channels."""
        step, zero = (np.ascontiguousarray(part[rows]) for part in (self.step, self.zero))
        return Levels(self.table, step, zero, self.uniform)

    def nearest(self, weights: Floats) -> NDArray[np.int64]:
        """Places in ``table`` (channels, n) of the levels nearest to weights (channels, n)."""
        codes = weights / self.step + self.zero
        return np.searchsorted((self.table[1:] + self.table[:-1]) / 2, codes).astype(np.int64)

    def values(self, places: NDArray[np.int64]) -> Floats:
        """Weights (channels, n) of places in ``table``, rounded to float64."""
        return self.step * (self.table[places] - self.zero)

    def clipped(self, weights: Floats) -> Floats:
        """Weights (channels, n) brought between the first and the last level."""
        low, high = (self.step * (end - self.zero) for end in self.table[[0, -1]])
        return np.clip(weights, low, high)

    def project(
        self, moved: Floats, weights: Floats, diagonal: Floats, ratio: float, state: HalfStep
    ) -> None:
        """The half step of ADMM that knows the levels; see ``Rule``."""
        project_rows(
            moved, weights, self.table, self.step, self.zero, self.uniform, ratio,
            state.over, state.point, state.price,
        )  # fmt: skip

    def spread(self, point: Floats, diagonal: Floats) -> Floats:
        """What mixing two levels costs, per unit of the diagonal (channels, n)."""
        out = np.empty_like(point)
        spreads(point, self.table, self.step, self.zero, self.uniform, out)
        return out

    def least(self, diagonal: Floats, multiplier: Floats, weights: Floats) -> Floats:
        """Sums (channels,) over inputs of the least term on the levels, rounded down."""
        out = np.empty(len(multiplier))
        least_sums(
            diagonal, multiplier, weights, self.table, self.step, self.zero, self.uniform, out
        )
        return out


def make_levels(grid: Grid, channels: int, live: NDArray[np.bool_]) -> Levels:
    """The levels of the live inputs of every channel."""
    shape = channels, len(live)
    step, zero = (np.ascontiguousarray(part(*shape)[:, live]) for part in (grid.steps, grid.zeros))
    return Levels(np.ascontiguousarray(grid.levels), step, zero, grid.uniform_levels)
