"""Grid points against weights, ``step (level - zero) - w``, in extended precision.

Step, level and zero point are any float64, so their product may be no float64, and next to the
grid the difference is all of the error. Half of the digits at a time products are exact; where
they cancel, so must be their sum.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.forms import form_upper

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]

#: Significant bits of a code less its zero point up to which half of a step times it is exact.
SHORT = 27
_PASSES = 4
#: Share of a sum that the rest may be, so that the rest's own rounding does not count.
_REST = 2.0**-20


def grid_errors(
    gram: Floats, weights: Floats, codes: Floats, steps: Floats, zeros: Floats | None = None
) -> Floats:
    """Errors (channels,) of the points ``steps (codes - zeros)``, rounded outward.

    Args:
        gram: (n, n); weights, codes: (channels, n), the codes being levels of any grid.
        steps: (channels,) or (channels, n); zeros: (channels, n), None for none.
    """
    return form_upper(gram, point_offsets(weights, codes, steps, zeros))


def near_codes(
    solution: Floats, steps: Floats, codes: Floats, accuracy: float
) -> NDArray[np.bool_]:
    """Which weights (channels, n) are step (channels,) times code but for rounding of a file."""
    steps = steps[:, None]
    return near_points(solution, steps * codes, steps, np.abs(solution), accuracy)


def near_points(
    solution: Floats, points: Floats, steps: Floats, size: Floats, accuracy: float
) -> NDArray[np.bool_]:
    """Which weights (channels, n) are the grid's points but for rounding of a file.

    Step and weight are both rounded, each by at most half of ``accuracy`` of ``size``. A quarter of
    a step and more is taken for rounding only where that explains it.
    """
    slack = np.maximum(np.minimum(4 * accuracy * size, 0.25 * steps), accuracy * size)
    return np.abs(solution - points) <= slack


def point_offsets(
    weights: Floats, codes: Floats, steps: Floats, zeros: Floats | None = None
) -> Extended:
    """``steps (codes - zeros) - weights`` (channels, n), each but for a few roundings of itself."""
    steps = steps[:, None] if steps.ndim == 1 else steps
    if zeros is None:
        apart, rest = codes.astype(np.longdouble), None
    else:
        apart, rest = _two_sum(codes.astype(np.longdouble), -zeros.astype(np.longdouble))
    # Half of the step's digits at a time: both products and their difference to w are exact where
    # they cancel, however many bits the codes have.
    high, low = _halves(steps)
    if (rest is None or not rest.any()) and _short(apart):
        return apart * high - weights + apart * low
    return _summed([*_products(apart, high, low), *_products(rest, high, low), -weights])


def _halves(numbers: NDArray) -> tuple[NDArray, NDArray]:
    """Two addends of 26 and of the other bits (27 of a float64), exactly."""
    mantissa, exponent = np.frexp(numbers)
    high = np.ldexp(np.rint(np.ldexp(mantissa, 26)), exponent - 26)
    return high, numbers - high


def _short(numbers: NDArray) -> bool:
    scaled = np.ldexp(np.frexp(numbers)[0], SHORT)
    return bool((scaled == np.rint(scaled)).all())


def _products(numbers: Extended | None, high: Floats, low: Floats) -> list[NDArray]:
    """``numbers`` times the step, as exact addends of half the digits times half the digits."""
    if numbers is None:
        return []
    first, rest = _halves(numbers)
    second, third = _halves(rest)
    return [part * half for part in (first, second, third) for half in (high, low)]


def _two_sum(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """The rounded sum, and exactly what rounding took (Knuth; Ogita, Rump, Oishi 2005)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _summed(addends: list[NDArray]) -> Extended:
    """Their sum, but for a few roundings of the sum itself, however they cancel.

    Error-free passes leave the sum in the last addend and small rests, exactly (Ogita, Rump, Oishi
    2005, *Accurate sum and dot product*); where the rests are not small, rationals do.
    """
    parts = [np.asarray(one, np.longdouble) for one in np.broadcast_arrays(*addends)]
    for _ in range(_PASSES):
        for k in range(1, len(parts)):
            parts[k], parts[k - 1] = _two_sum(parts[k], parts[k - 1])
    rest = sum(parts[1:-1], parts[0])
    size = sum((np.abs(part) for part in parts[1:-1]), np.abs(parts[0]))
    found = np.array(parts[-1] + rest)
    for place in zip(*np.nonzero(size > _REST * np.abs(parts[-1])), strict=True):
        found[place] = _rational_sum([part[place] for part in parts])
    return found


def _rational_sum(addends: list) -> np.longdouble:
    exact = sum((_fraction(one) for one in addends), Fraction(0))
    high = float(exact)
    return np.longdouble(high) + np.longdouble(float(exact - Fraction(high)))


def _fraction(number: np.longdouble) -> Fraction:
    high = float(number)
    return Fraction(high) + Fraction(float(number - np.longdouble(high)))
