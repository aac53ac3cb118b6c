"""Is it on the grid? The quantization step of compressed weights, found from their values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.problem.grid import integer_range, near_codes

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
        step = _sharpened(row, largest / code, lo, accuracy)
        codes, fits = to_codes(row[None], np.array([step]), bits, accuracy)
        count = int(fits.sum())
        if count > most:
            # All weights know the step better than the largest one alone.
            best, most = _fitted(row[fits[0]], codes[0][fits[0]], step), count
        if most == row.size:
            break
    return best


def _sharpened(row: Floats, step: float, lo: int, accuracy: float) -> float:
    """A step known as well as its largest code is rounded, from all weights, small codes first.

    A step off by the file's rounding misplaces codes beyond the inverse of that: where there are
    such, the step is fitted on the codes it does place, which then place more.
    """
    reach = 1.0
    while accuracy * -lo > 0.125 and reach < -lo:
        reach = min(4 * reach, float(-lo))
        codes = np.rint(row / step)
        known = (codes != 0) & (np.abs(codes) <= reach)
        step = _fitted(row[known], codes[known], step)
    return step


def _fitted(values: Floats, codes: Floats, step: float) -> float:
    square = float(codes @ codes)
    return float(values @ codes) / square if square > 0 else step


def to_codes(compressed: Floats, steps: Floats, bits: int, accuracy: float) -> tuple[Floats, Bools]:
    """Nearest codes (channels, n), and which weights are step times code but for rounding."""
    lo, hi = integer_range(bits)
    codes = np.clip(np.rint(compressed / steps[:, None]), lo, hi)
    return codes, near_codes(compressed, steps, codes, accuracy)
