"""A channel whose inputs have steps of their own, as its relaxation is solved: in levels.

The cutting planes know codes about one apart and a Gram of mean diagonal near one. With
``v = step (gap y - zero)``, ``gap`` the mean distance of two levels, y is such a code and the Gram
``diag(step gap) G diag(step gap)``. All in doubles: what comes out is multipliers, and what they
prove is worked out on the problem as it was given (``cuts.lagrangian_bound``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.quantization.levels import LevelProblem
from bounds.quantization.relaxation.cuts import Cuts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class InLevels:
    """One channel in units y.

    ``gram`` (n, n), in units of ``unit``; ``target``, ``start`` (n,); ``levels`` (L,); ``size``
    (n,): weights of a unit y, normalised as the problem's.
    """

    gram: Floats
    target: Floats
    start: Floats
    levels: Floats
    gap: float
    unit: float
    size: Floats

    def cuts(
        self,
        codes: LevelProblem,
        first: Integers,
        low: Floats,
        high: Floats,
        sign: Floats,
        multiplier: Floats,
    ) -> Cuts:
        """Cuts on y as cuts on the grid's levels, their multipliers in the unit of the Gram."""
        below, above = (
            codes.levels[np.abs(self.levels - x[:, None]).argmin(axis=1)] for x in (low, high)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            weight = np.maximum(multiplier, 0.0) * (self.unit * codes.unit)
            weight = weight / np.square(self.size[first])
        count = len(first)
        return Cuts(
            np.array(first, np.int64),
            np.full(count, -1),
            np.zeros(count),
            below,
            above,
            np.array(sign, np.float64),
            # any multiplier may be left out: what is left proves less, and is verified
            np.where(np.isfinite(weight), weight, 0.0),
        )


def in_levels(codes: LevelProblem, c: int) -> InLevels:
    """Channel ``c`` in units of levels."""
    gap = float(codes.levels[-1] - codes.levels[0]) / (len(codes.levels) - 1)
    size = codes.step[c] * gap
    gram = codes.gram * np.outer(size, size)
    unit = float(np.exp2(np.round(np.log2(np.diag(gram).mean()))))
    levels = codes.levels / gap
    start = (codes.start[c] / codes.step[c] + codes.zero[c]) / gap
    return InLevels(
        np.ascontiguousarray(gram / unit),
        (codes.targets[c] / codes.step[c] + codes.zero[c]) / gap,
        np.clip(start, levels[0], levels[-1]),
        levels,
        gap,
        unit,
        size,
    )
