"""Is it on the grid? The quantization step of compressed weights, found from their values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.problem.grid import integer_range

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def infer_steps(compressed: Floats, bits: int, accuracy: float) -> Floats:
    """The largest step per channel (channels,) on whose grid all its weights lie.

    Where there is none, the step whose grid most of the channel's weights lie on.

    Args:
        compressed: (channels, n), dequantized.
        bits: codes are -2^(b-1) .. 2^(b-1)-1.
        accuracy: relative rounding of the stored weights.
    """
    return np.array([_step(row, bits, accuracy) for row in compressed])


def _step(row: Floats, bits: int, accuracy: float) -> float:
    lo, _ = integer_range(bits)
    largest = np.abs(row).max(initial=0.0)
    if largest == 0:
        return 1.0  # any step represents zeros
    best, most = largest, -1
    # The largest weight is one of the codes 1 .. 2^(b-1) times the step.
    for code in range(1, -lo + 1):
        step = largest / code
        codes, fits = to_codes(row[None], np.array([step]), bits, accuracy)
        count = int(fits.sum())
        if count > most:
            # All weights know the step better than the largest one alone.
            best, most = _fitted(row[fits[0]], codes[0][fits[0]], step), count
        if most == row.size:
            break
    return best


def _fitted(values: Floats, codes: Floats, step: float) -> float:
    square = float(codes @ codes)
    return float(values @ codes) / square if square > 0 else step


def to_codes(compressed: Floats, steps: Floats, bits: int, accuracy: float) -> tuple[Floats, Bools]:
    """Nearest codes (channels, n), and which weights are step times code but for rounding."""
    lo, hi = integer_range(bits)
    steps = steps[:, None]
    codes = np.clip(np.rint(compressed / steps), lo, hi)
    # Step and weight are both rounded; half a step is never taken for rounding.
    slack = np.minimum(4 * accuracy * np.abs(compressed), 0.25 * steps)
    return codes, np.abs(compressed - steps * codes) <= slack
