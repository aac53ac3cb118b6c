"""The shared dual's value, proven: every rounding counted, whatever the multipliers.

The quadratic form of ``M^-1`` is bounded by a verified factor (``bounds.linalg.verified``), the
least terms over the levels by interval reasoning on each (``bounds.layer.envelope``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.layer.shared import Layer
from bounds.linalg.verified import inverse_form_upper, verified_factor

Floats = NDArray[np.float64]

#: Shares of the diagonal that are tried until what is left of the Gram is verified.
SHARES = (1.0, 1 - 1e-6, 1 - 1e-4, 0.99, 0.9, 0.5, 0.1)


@dataclass(frozen=True)
class SharedDual:
    """Multipliers of one channel: ``diagonal`` may be one array for all, ``multiplier`` its own.

    Attributes:
        diagonal: (n,) ``d``, unit of the Gram; zero on dead inputs.
        multiplier: (n,) ``y``, unit of the Gram times the weights.
        lower: the bound they prove, unit of the energy.
    """

    diagonal: Floats
    multiplier: Floats
    lower: float

    def scaled(self, gram: int, row: int) -> SharedDual:
        """The same multipliers where the Gram's unit is ``2^-gram`` and the weights' ``2^-row``."""
        with np.errstate(over="ignore"):
            return SharedDual(
                np.ldexp(self.diagonal, gram),
                np.ldexp(self.multiplier, gram + row),
                float(np.ldexp(self.lower, gram + 2 * row)),
            )


def proven_values(layer: Layer, diagonal: Floats, move: Floats) -> tuple[Floats, Floats, Floats]:
    """Diagonal, multipliers (channels, n) and the bounds (channels,) they prove, or zeros.

    ``move`` (channels, n): near the best ``x - w`` of every channel.
    """
    for share in SHARES:
        kept = share * diagonal
        matrix = layer.gram - np.diag(kept)
        factor = verified_factor(matrix)
        if factor is None:
            continue
        multiplier = 2.0 * (move @ matrix)
        form = inverse_form_upper(factor, multiplier)
        value = layer.rule.least(kept, multiplier, layer.weights) - form / 4
        value = np.nextafter(np.nextafter(value, -np.inf), -np.inf)
        return kept, multiplier, np.where(value > 0, value, 0.0)
    return np.zeros_like(diagonal), np.zeros_like(move), np.zeros(len(move))
