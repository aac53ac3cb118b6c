"""How steps and zero points are chosen from weights: clipping nothing, or by a search of the MSE.

The paper (Kuzmin et al. 2023, Section 4 and its released code) fixes one scale per chunk over all
output channels by a 100-point line search of the weight MSE, on weights rounded to FP16. The same
search serves every block of weights that share a step, on any levels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import MethodError, ProblemError
from bounds.problem.checks import finite_array
from bounds.problem.codebooks import (
    MX_EXPONENTS,
    e4m3,
    integer_range,
    is_uniform,
    nearest_level,
)
from bounds.problem.gram import bfloat16

Floats = NDArray[np.float64]

RULES = ("mse", "minmax", "mse-channel", "minmax-channel")
LINE_SEARCH_POINTS = 100
#: Widths in which steps are stored.
STEP_BITS = {"float16": 16, "bfloat16": 16, "float32": 32}
#: Neighbours among FP8 steps that a search looks at, below and above the one that clips nothing.
_FP8_BELOW, _FP8_ABOVE = 10, 1


def choose_scale(weights: ArrayLike, bits: int, rule: str = "mse") -> float | NDArray[np.float64]:
    """The quantization step for ``weights`` (channels, n).

    Args:
        weights: (channels, n), already rounded to FP16 if the paper's protocol is followed.
        bits: width of the signed integer grid.
        rule: ``mse`` (line search over all channels together), ``minmax`` (no clipping), or either
            with ``-channel``: one scale per channel.

    Returns:
        A float, or (channels,) float64 for the per-channel rules.

    Raises:
        MethodError: unknown rule.  ProblemError: bits out of range, weights that are no finite
            numbers.
    """
    if rule not in RULES:
        raise MethodError(f"unknown scale rule {rule!r}; choose from {', '.join(RULES)}")
    weights = np.atleast_2d(finite_array("weights", weights))
    integer_range(bits)
    search = rule.startswith("mse")
    if rule.endswith("-channel"):
        return np.array([_scale(row, bits, search) for row in weights])
    return _scale(weights.ravel(), bits, search)


def _scale(values: NDArray[np.float64], bits: int, search: bool) -> float:
    lo, hi = integer_range(bits)
    widest = max(values.min(initial=0.0) / lo, values.max(initial=0.0) / max(hi, 1))
    if widest < np.finfo(np.float64).tiny * LINE_SEARCH_POINTS:
        return 1.0  # all weights are zero: every scale represents them
    if not search:
        return float(widest)
    # A power of two keeps the squares inside float64's range and changes no digit.
    unit = 2.0 ** np.frexp(widest)[1]
    values, widest = values / unit, widest / unit
    candidates = widest * np.arange(1, LINE_SEARCH_POINTS + 1) / LINE_SEARCH_POINTS
    losses = [
        np.square(s * np.clip(np.rint(values / s), lo, hi) - values).sum() for s in candidates
    ]
    return float(candidates[int(np.argmin(losses))] * unit)


class Steps(NamedTuple):
    """Steps and zero points (rows, groups)."""

    step: Floats
    zero: Floats


def in_blocks(weights: Floats, strategy: str, group_size: int | None) -> Floats:
    """Weights (channels, n) as (rows, groups, size): what shares a step lies in the last axis.

    ``tensor``: all weights; ``channel``: a row; ``group``: so many inputs of a row. A last group
    that is shorter is filled up with zeros.
    """
    if strategy == "tensor":
        return weights.reshape(1, 1, -1)
    if strategy == "channel":
        return weights[:, None, :]
    assert group_size is not None
    channels, features = weights.shape
    groups = -(-features // group_size)
    padded = np.pad(weights, ((0, 0), (0, groups * group_size - features)))
    return padded.reshape(channels, groups, group_size)


def widest_steps(blocks: Floats, levels: Floats) -> Floats:
    """The smallest steps (rows, groups) that clip no weight; 1 where all weights are zero."""
    step = np.zeros(blocks.shape[:2])
    # Of one bit, hi is 0: then a positive weight counts as if it could be one.
    for end, extreme in (
        (levels[0] or -1.0, blocks.min(axis=2)),
        (levels[-1] or 1.0, blocks.max(axis=2)),
    ):
        step = np.maximum(step, extreme / end)
    return np.where(step > np.finfo(np.float64).tiny * LINE_SEARCH_POINTS, step, 1.0)


def symmetric_steps(blocks: Floats, levels: Floats, search: bool, dtype: str) -> Steps:
    """Steps without zero point: the widest, or the best of 100 shares of them.

    Args:
        blocks: (rows, groups, size), see ``in_blocks``.
        levels: (L,) ascending.
        search: minimise the squared error of the weights.
        dtype: what steps are rounded to, one of ``STEP_BITS``.

    Raises:
        ProblemError: steps that do not fit ``dtype``.
    """
    widest = widest_steps(blocks, levels)
    if not search:
        step = narrow(widest, dtype)
        return Steps(step, np.zeros_like(step))
    shares = np.arange(1, LINE_SEARCH_POINTS + 1) / LINE_SEARCH_POINTS
    tried = (Steps(narrow(widest * share, dtype), np.zeros_like(widest)) for share in shares)
    return best_steps(blocks, levels, tried)


def pointed_steps(blocks: Floats, levels: Floats, search: bool, dtype: str) -> Steps:
    """Steps and integer zero points among consecutive ``levels``, from smallest to largest weight.

    The range holds 0, which is a code then. The search shrinks the range at both ends alike.

    Raises:
        ProblemError: steps that do not fit ``dtype``.
    """
    least = np.minimum(blocks.min(axis=2), 0.0)
    most = np.maximum(blocks.max(axis=2), 0.0)
    width = (most - least) / (levels[-1] - levels[0])
    plain = width <= np.finfo(np.float64).tiny * LINE_SEARCH_POINTS

    def shrunk(share: float) -> Steps:
        step = narrow(np.where(plain, 1.0, share * width), dtype)
        zero = levels[0] - np.rint(share * least / step)
        return Steps(step, np.where(plain, 0.0, np.clip(zero, levels[0], levels[-1])))

    if not search:
        return shrunk(1.0)
    shares = np.arange(1, LINE_SEARCH_POINTS + 1) / LINE_SEARCH_POINTS
    return best_steps(blocks, levels, map(shrunk, shares))


def best_steps(blocks: Floats, levels: Floats, tried: Iterable[Steps]) -> Steps:
    """For every block the steps tried whose nearest levels miss its weights least, in squares."""
    # A power of two keeps the squares inside float64's range and changes no digit.
    unit = 2.0 ** np.frexp(np.abs(blocks).max(axis=2))[1]
    scaled, uniform = blocks / unit[:, :, None], is_uniform(levels)
    least = np.full(blocks.shape[:2], np.inf)
    step, zero = np.ones_like(least), np.zeros_like(least)
    for one in tried:
        size, shift = (one.step / unit)[:, :, None], one.zero[:, :, None]
        codes = nearest_level(scaled / size + shift, levels, uniform)
        loss = np.square(size * (codes - shift) - scaled).sum(axis=2)
        better = loss < least
        least, step = np.where(better, loss, least), np.where(better, one.step, step)
        zero = np.where(better, one.zero, zero)
    return Steps(step, zero)


def mx_steps(blocks: Floats, levels: Floats, search: bool) -> Floats:
    """Powers of two (rows, groups).

    The rule of OCP's *Microscaling Formats* 1.0, section 6.3: the exponent of the largest weight
    less that of the largest level, which may clip it. Searched: the best of four around it.
    """
    largest = np.abs(blocks).max(axis=2)
    exponent = np.frexp(largest)[1] - np.frexp(levels[-1])[1]
    exponent = np.clip(np.where(largest > 0, exponent, 0), *MX_EXPONENTS)
    if not search:
        return 2.0**exponent
    tried = (np.clip(exponent + more, *MX_EXPONENTS) for more in (0, 1, -1, -2))
    steps = (Steps(2.0**e, np.zeros_like(largest)) for e in tried)
    return best_steps(blocks, levels, steps).step


def nv_steps(blocks: Floats, levels: Floats, search: bool) -> tuple[Floats, float]:
    """FP8 steps (rows, groups) in units of the tensor's step, and that one (float32).

    The largest weight of all is the largest level times the largest FP8 number times the tensor's
    step; a block's step is the nearest to what its own largest weight needs. Searched: the best of
    its neighbours.

    Raises:
        ProblemError: weights beyond what float32 steps reach.
    """
    largest, numbers = np.abs(blocks).max(axis=2), e4m3()
    top = float(largest.max(initial=0.0))
    tensor = float(narrow(np.array(top / (levels[-1] * numbers[-1])), "float32")) if top else 1.0
    wanted = largest / levels[-1] / tensor
    place = np.searchsorted((numbers[1:] + numbers[:-1]) / 2, wanted)
    if not search:
        return numbers[place], tensor
    tried = (
        numbers[np.clip(place + more, 0, len(numbers) - 1)]
        for more in range(_FP8_ABOVE, -_FP8_BELOW - 1, -1)
    )
    steps = (Steps(one * tensor, np.zeros_like(one)) for one in tried)
    best = best_steps(blocks, levels, steps).step
    return best / tensor, tensor


def narrow(steps: Floats, dtype: str) -> Floats:
    """Steps rounded to the format they are stored in; none becomes zero.

    Raises:
        ProblemError: one is beyond the format.
    """
    if dtype == "bfloat16":
        rounded, least = bfloat16(steps), 2.0**-133
        fits = rounded.max(initial=0.0) < 2.0**128
    else:
        kind = np.dtype(dtype)
        least = float(np.finfo(kind).smallest_subnormal)
        with np.errstate(over="ignore"):
            rounded = steps.astype(kind).astype(np.float64)
        fits = np.isfinite(rounded).all()
    if not fits:
        raise ProblemError(
            f"a step of {steps.max():g} does not fit {dtype}; choose a wider scale_dtype"
        )
    return np.maximum(rounded, least)
