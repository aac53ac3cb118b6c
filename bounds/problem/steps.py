"""Steps and zero points as users give them: taken as tables of channels and groups, or refused."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.checks import real_array, real_number
from bounds.problem.codebooks import check_group_size

Floats = NDArray[np.float64]

#: Largest zero point that is no code: beyond it too few digits are left for the codes.
FARTHEST_ZERO = 2.0**32
SMALLEST_STEP = float(np.finfo(np.float64).tiny)


def check_step(step: float) -> float:
    """A positive, finite step."""
    number = real_number("step", step, "a positive number")
    if not 0 < number < math.inf:
        raise ProblemError(f"step must be a positive number, got {step!r}")
    return number


def check_scale(scale: ArrayLike, channels: int) -> NDArray[np.float64]:
    """The scale as one positive float64 per channel (channels,)."""
    array = _numbers(scale)
    if array.shape not in ((), (channels,)):
        raise ProblemError(
            f"scale must be a positive number or one per channel ({channels},), "
            f"got {array.dtype} of shape {array.shape}"
        )
    array = np.broadcast_to(array.astype(np.float64), (channels,)).copy()
    if not (np.isfinite(array) & (array > 0)).all():
        raise ProblemError(f"scale must be positive and finite, got {array[~(array > 0)][:1]}")
    return array


def _numbers(scale: ArrayLike) -> NDArray:
    if scale is None or isinstance(scale, str):
        raise ProblemError(f"scale must be a positive number or one per channel, got {scale!r}")
    return real_array("scale", scale)


def step_table(step: ArrayLike, zero: ArrayLike, group_size: int | None) -> tuple[Floats, Floats]:
    """Steps and zero points of one shape (channels or 1, groups or 1).

    Raises:
        ProblemError: no positive finite steps, shapes that do not match, groups without a size.
    """
    size = check_group_size(group_size)
    steps, zeros = (_table(n, v) for n, v in (("scale", step), ("zero points", zero)))
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise ProblemError(f"scale must be positive and finite, got {steps[~(steps > 0)][:1]}")
    if not np.isfinite(zeros).all():
        raise ProblemError("zero points must be finite")
    try:
        shape = np.broadcast_shapes(steps.shape, zeros.shape)
    except ValueError:
        raise ProblemError(
            f"zero points of shape {zeros.shape} do not match steps of shape {steps.shape}"
        ) from None
    if shape[1] > 1 and size is None:
        raise ProblemError(f"steps for {shape[1]} groups need a group_size")
    return np.broadcast_to(steps, shape).copy(), np.broadcast_to(zeros, shape).copy()


def _table(name: str, numbers: ArrayLike) -> Floats:
    """A number, (channels,) or (channels or 1, groups) as a table of two dimensions."""
    if numbers is None or isinstance(numbers, str):
        raise ProblemError(f"{name} must be a positive number or one per channel, got {numbers!r}")
    array = real_array(name, numbers).astype(np.float64)
    if array.ndim > 2 or array.size == 0:
        raise ProblemError(
            f"{name} must be one number, (channels,) or (channels, groups), got shape {array.shape}"
        )
    return array.reshape(-1, 1) if array.ndim < 2 else array


def check_normal(steps: Floats) -> None:
    """Raise ProblemError for subnormal steps."""
    if steps.min() < SMALLEST_STEP:
        raise ProblemError(
            f"step {steps.min():g} is subnormal and has lost digits; rescale the weights"
        )


def check_zeros(zeros: Floats, levels: Floats, real: bool) -> None:
    """Raise ProblemError for zero points that are no codes, or, if ``real``, too far out."""
    if real:
        if np.abs(zeros).max() > FARTHEST_ZERO:
            raise ProblemError(f"zero points must be within {FARTHEST_ZERO:g} steps of 0")
        return
    bad = zeros[(zeros < levels[0]) | (zeros > levels[-1])]
    if bad.size:
        raise ProblemError(
            f"zero point {bad[0]:g} is outside the codes {levels[0]:g} to {levels[-1]:g}; give "
            "real_zero=True if it is meant to be"
        )
    bad = zeros[zeros != np.rint(zeros)]
    if bad.size:
        raise ProblemError(
            f"zero point {float(bad[0])!r} is no code; give real_zero=True if it is a real number"
        )
