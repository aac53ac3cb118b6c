"""What the functions of this package accept, and the sentence for what they do not."""

from __future__ import annotations

import math

import numpy as np

from bounds.errors import ProblemError

MAX_BITS = 16


def check_sparsity(sparsity: float) -> float:
    """A share in [0, 1], as it came."""
    if not 0 <= sparsity <= 1:
        raise ProblemError(f"sparsity must be between 0 and 1, got {sparsity!r}")
    return sparsity


def check_step(step: float) -> float:
    """A positive, finite step."""
    if not (step > 0 and math.isfinite(step)):
        raise ProblemError(f"step must be a positive number, got {step!r}")
    return float(step)


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest code, as ``bounds.quantization.grid.integer_range``.

    Not imported from there: its package loads the compiled solvers.
    """
    whole = isinstance(bits, int | np.integer) and not isinstance(bits, bool)
    if not (whole and 1 <= bits <= MAX_BITS):
        raise ProblemError(f"bits must be a whole number from 1 to {MAX_BITS}, got {bits!r}")
    return -(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1) - 1
