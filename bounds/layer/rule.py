"""What a dual that channels share must know of a constraint: the interface of levels and budgets.

Each term of the bound is a parabola ``d_i (v_i - w_i)^2 + y_i (v_i - w_i)`` minimised over what is
allowed, and the relaxation's cost is ``(x-w)^T (G - D) (x-w)`` and the convex envelope of the
parabolas over it, ``d_i ((x_i - w_i)^2 + spread_i)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass
class HalfStep:
    """``point`` and scaled ``price`` (channels, n), changed in place; ``over``: relaxation."""

    point: Floats
    price: Floats
    over: float


class Rule(Protocol):
    """What compressed weights of every channel may be."""

    def rows(self, rows: slice | NDArray[np.int64]) -> Self:
        """The rule of some channels."""
        ...

    def clipped(self, weights: Floats) -> Floats:
        """Weights (channels, n) brought into the hull of what is allowed, where that is cheap."""
        ...

    def project(
        self, moved: Floats, weights: Floats, diagonal: Floats, ratio: float, state: HalfStep
    ) -> None:
        """The half step of ADMM on the envelope; ``ratio``: diagonal over penalty."""
        ...

    def spread(self, point: Floats, diagonal: Floats) -> Floats:
        """By what the envelope exceeds the parabola, per unit of the diagonal (channels, n)."""
        ...

    def least(self, diagonal: Floats, multiplier: Floats, weights: Floats) -> Floats:
        """Least sums of terms (channels,), rounded down."""
        ...
