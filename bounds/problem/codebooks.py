"""The levels that codes stand for: integers, and the codebooks of formats in use.

A weight on a grid is ``step (level - zero)``, the level one of an ascending list. Integers of b
bits are such a list, and so are the numbers of a small floating-point format or the quantiles of a
distribution.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.checks import finite_array, whole_number

Floats = NDArray[np.float64]

MAX_BITS = 16
#: Largest level in size, and its inverse the smallest that the largest level may be.
LARGEST_LEVEL = 2.0**32
#: Neighbours closer than this, in units of the largest level, cannot be told apart after rounding.
CLOSEST = 2.0**-30

#: NormalFloat of four bits: quantiles of a normal distribution, as float32 (Dettmers et al. 2023,
#: *QLoRA*, appendix E; the numbers of bitsandbytes).
NF4 = tuple(
    float(np.float32(level))
    for level in (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    )
)
_E2M1 = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: Floating point of four bits, e2m1, whose two zeros are one level (OCP *Microscaling Formats* 1.0,
#: section 5.3.3).
FP4 = (*(-x for x in reversed(_E2M1)), 0.0, *_E2M1)
TERNARY = (-1.0, 0.0, 1.0)

#: Inputs that share a step, and the step's width, where the format fixes them.
MX_BLOCK, MX_STEP_BITS = 32, 8
NV_BLOCK, NV_STEP_BITS, NV_TENSOR_BITS = 16, 8, 32
#: Exponents of an MX step (e8m0: powers of two alone).
MX_EXPONENTS = (-127, 127)


def integer_range(bits: int) -> tuple[int, int]:
    """Smallest and largest code of symmetric-signed ``bits``-bit integers: -2^(b-1), 2^(b-1)-1."""
    whole = isinstance(bits, int | np.integer) and not isinstance(bits, bool)
    if not (whole and 1 <= bits <= MAX_BITS):
        raise ProblemError(f"bits must be a whole number from 1 to {MAX_BITS}, got {bits!r}")
    return -(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1) - 1


@lru_cache(maxsize=2 * MAX_BITS)
def integers(bits: int, signed: bool = True) -> Floats:
    """The levels of integers of ``bits`` bits: from -2^(b-1), or from 0."""
    lo, hi = integer_range(bits)
    levels = np.arange(lo, hi + 1, dtype=np.float64) - (0 if signed else lo)
    levels.flags.writeable = False
    return levels


def check_levels(levels: ArrayLike) -> Floats:
    """Levels (L,), ascending float64.

    Raises:
        ProblemError: fewer than two, more than 2^16, unsorted, duplicate, or too close to tell.
    """
    array = finite_array("levels", levels)
    if array.ndim != 1 or not 2 <= array.size <= 2**MAX_BITS:
        raise ProblemError(
            f"levels must be a list of 2 to {2**MAX_BITS} numbers, got shape {array.shape}"
        )
    gaps = np.diff(array)
    if (gaps < 0).any():
        raise ProblemError(
            f"levels must ascend, but {array[int(np.argmin(gaps)) + 1]:g} comes late"
        )
    if (gaps == 0).any():
        raise ProblemError(f"level {array[int(np.argmin(gaps))]:g} is given twice")
    largest = np.abs(array).max()
    if not 1 / LARGEST_LEVEL <= largest <= LARGEST_LEVEL:
        raise ProblemError(
            f"the largest level is {largest:g}; bring it near one and put the rest into the step"
        )
    if gaps.min() < CLOSEST * largest:
        raise ProblemError(
            f"level {array[int(np.argmin(gaps))]:g} and the next are closer than {CLOSEST:.0e} of "
            "the largest; leave one of them out"
        )
    return array


def is_uniform(levels: Floats) -> bool:
    """Whether levels are consecutive integers."""
    return bool((np.diff(levels) == 1).all() and levels[0] == np.rint(levels[0]))


def nearest_level(targets: Floats, levels: Floats, uniform: bool) -> Floats:
    """The level nearest to each target; ``uniform`` as ``is_uniform`` says."""
    if uniform:
        return np.clip(np.rint(targets), levels[0], levels[-1])
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, targets)]


def least_bits(levels: Floats) -> int:
    """Bits that tell so many levels apart."""
    return math.ceil(math.log2(len(levels)))


def check_code_bits(bits: int | None, levels: Floats) -> int:
    """Width of the codes of ``levels``: as given, or the least.

    Raises:
        ProblemError: too few bits for so many levels, or none that a code can have.
    """
    least = least_bits(levels)
    if bits is None:
        return least
    integer_range(bits)
    if bits < least:
        raise ProblemError(f"{len(levels)} levels need {least} bits, not {bits}")
    return int(bits)


@lru_cache(maxsize=1)
def e4m3() -> Floats:
    """The positive numbers of FP8 e4m3 (126,), 2^-9 to 448, ascending (OCP *FP8* 1.0)."""
    mantissa, exponent = np.meshgrid(np.arange(8.0), np.arange(16))
    numbers = np.where(
        exponent == 0,
        np.ldexp(mantissa, -9),
        np.ldexp(8 + mantissa, np.maximum(exponent, 1) - 10),
    )
    found = np.sort(numbers[numbers > 0])[:-1]  # the last is not a number
    found.flags.writeable = False
    return found


def check_mx_steps(steps: Floats) -> None:
    """Raise ProblemError where a step is no power of two that e8m0 holds."""
    mantissa, exponent = np.frexp(steps)
    least, most = MX_EXPONENTS
    bad = (mantissa != 0.5) | (exponent - 1 < least) | (exponent - 1 > most)
    if bad.any():
        raise ProblemError(
            f"steps of MX formats are powers of two from 2^{least} to 2^{most}, "
            f"got {float(steps[bad][0])!r}"
        )


def check_nv_steps(steps: Floats, tensor: float) -> None:
    """Raise ProblemError where a step is no e4m3 number, or the tensor's no float32."""
    bad = ~np.isin(steps, e4m3())
    if bad.any():
        raise ProblemError(
            "steps of nvfp4 are positive FP8 numbers (e4m3, 2^-9 to 448), in units of the tensor's "
            f"step, got {float(steps[bad][0])!r}"
        )
    if not (tensor > 0 and math.isfinite(tensor) and float(np.float32(tensor)) == tensor):
        raise ProblemError(f"the tensor's step must be a positive float32, got {tensor!r}")


def check_group_size(group_size: int | None) -> int | None:
    """Inputs that share a step, or None for all of them."""
    return None if group_size is None else whole_number("group_size", group_size, 1, " or None")
