"""Is it on a grid, and on which? Steps and zero points of compressed weights, from their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.checks import finite_array
from bounds.problem.choose import STEP_BITS, in_blocks
from bounds.problem.codebooks import integer_range, integers, is_uniform, nearest_level
from bounds.problem.grid import Grid, near_codes
from bounds.problem.points import near_points
from bounds.problem.rule import GridRule

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Rounding of a code, in codes, from which on a step is sharpened before it is tried.
_BLUNT = 0.125
#: Channels on which a grid is tried before it is tried on all.
_SAMPLE = 16
GROUP_SIZES = (128, 64, 32, 16, 8)


def _candidates() -> list[GridRule]:
    """Grids in use, those of fewest true bits first."""
    found: list[GridRule] = []
    for size in (None, *GROUP_SIZES):
        plain = "channel" if size is None else "group"
        for bits in (2, 3, 4, 5, 6, 8):
            found.append(GridRule("int", bits, group_size=size))
            found.append(GridRule("int", bits, symmetric=False, group_size=size))
        found += [GridRule(name, strategy=plain, group_size=size) for name in ("nf4", "fp4")]

    def true_bits(rule: GridRule) -> float:
        zero = 0 if rule.symmetric else rule.bits
        return rule.bits + (
            (STEP_BITS["float16"] + zero) / rule.group_size if rule.group_size else 0
        )

    return sorted(found, key=true_bits)


def find_grid(
    weights: ArrayLike, accuracy: float = 2.0**-52, rules: Sequence[GridRule] | None = None
) -> Grid:
    """The simplest grid that all weights lie on; else the one with the fewest beside it.

    Of every group, or channel, the largest step is found on whose grid its weights lie. A group
    whose weights are all 0 has step 1. ``Grid.near`` tells which weights are on the grid returned.

    Args:
        weights: (channels, n), dequantized.
        accuracy: relative rounding of the stored weights, such as 2^-7 of bfloat16.
        rules: which grids are thought of, the likeliest first; their steps are those found, not
            those that the rule would choose. Those in use unless given, as far as the rounding
            leaves their codes apart.

    Raises:
        ProblemError: weights that are no finite numbers, or no rules.
    """
    weights = np.atleast_2d(finite_array("weights", weights))
    if rules is None:
        rules = [rule for rule in _candidates() if accuracy * 2**rule.bits <= 2 * _BLUNT]
    if not rules:
        raise ProblemError("rules are empty: name a grid that the weights may be on")
    if len(rules) == 1:
        return grid_in(weights, rules[0], accuracy)
    some = weights[np.unique(np.linspace(0, len(weights) - 1, _SAMPLE).round().astype(int))]
    best, most = rules[0], -1
    for rule in rules:
        count = int(grid_in(some, rule, accuracy).near(some, accuracy).sum())
        if count == some.size:
            grid = grid_in(weights, rule, accuracy)
            if grid.near(weights, accuracy).all():
                return grid
        if count > most:
            best, most = rule, count
    return grid_in(weights, best, accuracy)


def grid_in(weights: Floats, rule: GridRule, accuracy: float) -> Grid:
    """The grid of a rule's kind whose steps and zero points are found in ``weights`` (channels, n).

    Where the weights leave a choice of zero points, the middle one. A step between FP8 numbers or
    powers of two is no error here: an MX grid with other steps is one of FP4.
    """
    assert rule.strategy is not None
    blocks = in_blocks(weights, rule.strategy, rule.group_size)
    shape, flat = blocks.shape[:2], blocks.reshape(-1, blocks.shape[2])
    if rule.symmetric:
        levels = rule.levels
        step = _fit(flat, levels, accuracy).reshape(shape)
        return _named(rule, levels, step)
    levels = integers(rule.bits)
    widest = levels[-1] - levels[0]
    step = _fit(flat, np.arange(-widest, widest + 1), accuracy, widest)
    codes = np.rint(flat / step[:, None])
    below, above = np.minimum(codes.min(axis=1), 0), np.maximum(codes.max(axis=1), 0)
    zero = np.floor((levels[0] - below + levels[-1] - above) / 2)
    zero = np.clip(zero, levels[0], levels[-1])
    size = rule.group_size
    return Grid.uniform(rule.bits, step.reshape(shape), zero.reshape(shape), size)


def _named(rule: GridRule, levels: Floats, step: Floats) -> Grid:
    if rule.format == "int":
        return Grid.uniform(rule.bits, step, group_size=rule.group_size)
    if rule.format == "mxfp4":
        powers = 2.0 ** np.rint(np.log2(step))
        if np.allclose(step, powers, rtol=2.0**-6, atol=0):
            return Grid.mxfp4(powers)
    name = "fp4" if rule.format in ("mxfp4", "nvfp4") else rule.format
    return Grid.codebook(levels, step, rule.group_size, name=name)


def infer_steps(compressed: Floats, bits: int, accuracy: float) -> Floats:
    """The largest step per channel (channels,) on whose grid all its weights lie.

    Where there is none, the step whose grid most of the channel's weights lie on.

    Args:
        compressed: (channels, n), dequantized.
        bits: codes are -2^(b-1) .. 2^(b-1)-1.
        accuracy: relative rounding of the stored weights.
    """
    return _fit(compressed, integers(bits), accuracy)


def to_codes(compressed: Floats, steps: Floats, bits: int, accuracy: float) -> tuple[Floats, Bools]:
    """Nearest codes (channels, n), and which weights are step times code but for rounding."""
    lo, hi = integer_range(bits)
    codes = np.clip(np.rint(compressed / steps[:, None]), lo, hi)
    return codes, near_codes(compressed, steps, codes, accuracy)


class _Try(NamedTuple):
    """One step for every block (blocks,), refitted on the weights it explains, and how many."""

    step: Floats
    number: NDArray[np.int64]


def _fit(blocks: Floats, levels: Floats, accuracy: float, widest: float | None = None) -> Floats:
    """The largest step (blocks,) on which all of a block's weights are levels, or most of them.

    ``widest``: codes may span no more than that, 0 among them.
    """
    largest = np.abs(blocks).argmax(axis=1)
    top = np.take_along_axis(blocks, largest[:, None], axis=1)[:, 0]
    step = np.where(top == 0, 1.0, np.abs(top))  # any step represents zeros
    most = np.where(top == 0, blocks.shape[1], -1)
    # The largest weight is one of the levels of its sign times the step.
    for size in np.unique(np.abs(levels[levels != 0])):
        open_ = np.flatnonzero((most < blocks.shape[1]) & np.isin(np.sign(top) * size, levels))
        if open_.size == 0:
            continue
        tried = _try(blocks[open_], np.abs(top[open_]) / size, levels, accuracy, widest)
        better = tried.number > most[open_]
        step[open_[better]] = tried.step[better]
        most[open_[better]] = tried.number[better]
    return step


def _try(
    blocks: Floats, step: Floats, levels: Floats, accuracy: float, widest: float | None
) -> _Try:
    uniform = is_uniform(levels)
    if uniform:
        step = _sharpened(blocks, step, max(-levels[0], levels[-1]), accuracy)
    size = step[:, None]
    codes = nearest_level(blocks / size, levels, uniform)
    fits = near_points(blocks, size * codes, size, np.abs(blocks), accuracy)
    count = fits.sum(axis=1)
    if widest is not None:
        span = np.maximum(codes.max(axis=1), 0) - np.minimum(codes.min(axis=1), 0)
        count = np.where(span <= widest, count, 0)
    # All weights know the step better than the largest one alone.
    return _Try(_fitted(blocks * fits, codes * fits, step), count)


def _sharpened(blocks: Floats, step: Floats, largest: float, accuracy: float) -> Floats:
    """A step known as well as its largest code is rounded, from all weights, small codes first.

    A step off by the file's rounding misplaces codes beyond the inverse of that: where there are
    such, the step is fitted on the codes it does place, which then place more.
    """
    reach = 1.0
    while accuracy * largest > _BLUNT and reach < largest:
        reach = min(4 * reach, largest)
        codes = np.rint(blocks / step[:, None])
        known = (codes != 0) & (np.abs(codes) <= reach)
        step = _fitted(blocks * known, codes * known, step)
    return step


def _fitted(values: Floats, codes: Floats, step: Floats) -> Floats:
    """Least squares of ``values = step codes`` (blocks, size), where a code says anything."""
    square = np.square(codes).sum(axis=1)
    fitted = (values * codes).sum(axis=1) / np.where(square > 0, square, 1.0)
    return np.where(square > 0, fitted, step)
