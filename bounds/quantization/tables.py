"""A convex quadratic over levels, written around its minimiser over the box, as tables of levels.

``Centred`` of a ``LevelProblem``: ``value + slope . d + ||R d||^2 + cuts``, ``d = v - v*``, where
the cut of input i is ``lambda_i (v_i - p_i)(v_i - q_i)`` between neighbouring levels. Kernels look
d and what it adds by itself up in tables, one row an input.

Rounding. A table's d is the double nearest to a distance that is itself off by ``wobble`` at most
(``wobble_slack``); what it adds is off by a few units of itself. What the order of siblings may
lose is ``factor.order_slack``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bounds.quantization.centred import VANISHED, Centred
from bounds.quantization.factor import Factor
from bounds.quantization.levels import WOBBLE, LevelProblem

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Parts of a range that are looked up: two a level, and so many at least.
PARTS = 64


class Table(NamedTuple):
    """What one channel's search minimises, inputs in the factor's order.

    ``factor`` (n, n) upper triangular ``R``; ``distance`` (n, L): d of every level, ascending;
    ``extra`` (n, L): what it adds by itself, slope and cut; ``offset``, ``slant`` (n,): the
    conditional minimiser of d is ``offset - slant * partial product``; ``near`` (B,): number of the
    level nearest to the middle of each of B equal parts of the range of d.
    """

    factor: Floats
    distance: Floats
    extra: Floats
    offset: Floats
    slant: Floats
    near: Integers


@dataclass(frozen=True)
class Tables:
    """The tables of some channels: as ``Table``, with a leading axis of channels where they differ.

    ``reach``, ``lift`` (channels,): of ``factor.order_slack``.
    """

    factor: Floats
    distance: Floats
    extra: Floats
    offset: Floats
    slant: Floats
    near: Integers
    reach: Floats
    lift: Floats

    def table(self, c: int) -> Table:
        """That of one channel."""
        return Table(
            self.factor, self.distance[c], self.extra[c], self.offset[c], self.slant, self.near
        )


@njit(cache=True, nogil=True, inline="always")
def nearest_to(table: Table, i: int, d: float) -> int:
    """Number of the level of input ``i`` nearest to the distance ``d``."""
    row = table.distance[i]
    parts, last = table.near.shape[0], row.shape[0] - 1
    place = (d - row[0]) / (row[last] - row[0]) * parts
    k = 0
    if place >= parts:
        k = last
    elif place > 0.0:
        k = table.near[int(place)]
    while k < last and row[k + 1] - d < d - row[k]:
        k += 1
    while k > 0 and d - row[k - 1] < row[k] - d:
        k -= 1
    return k


def centre_levels(
    problem: LevelProblem,
    point: Floats,
    multiplier: Floats | None = None,
    below: Integers | None = None,
) -> Centred:
    """Value and gradient at ``point`` (channels, n) of the error less ``multiplier (v-p)(v-q)``.

    Args:
        multiplier: (n,); below: (channels, n) numbers of the levels p, q being the next.
    """
    wide = np.longdouble
    offsets = problem.offsets(point)
    pull = offsets @ problem.gram.astype(wide)
    value, slope = (offsets * pull).sum(axis=1), 2 * pull
    # What only bounds rounding is summed in doubles, and raised by their own.
    absolute = np.abs(problem.gram) * (1 + (problem.features + 8) * 2.0**-50)
    size = 2 * (np.abs(offsets).astype(np.float64) @ absolute) + VANISHED
    reach, drift = np.abs(offsets), np.zeros_like(size)
    if multiplier is not None and below is not None and multiplier.any():
        low, high = problem.values(below), problem.values(below + 1)
        off_low, off_high = WOBBLE * np.abs(low), WOBBLE * np.abs(high)
        weight, low, high = multiplier.astype(wide), point - low, point - high
        value = value - (weight * low * high).sum(axis=1)
        lost = off_low * np.abs(high) + off_high * np.abs(low) + off_low * off_high
        value = value - (np.abs(weight) * lost).sum(axis=1) * (1 + 1e-12)
        slope = slope - weight * (low + high)
        size = size + np.abs(weight) * (np.abs(low) + np.abs(high))
        reach = reach + np.abs(low) + np.abs(high)
        drift = drift + (np.abs(weight) * (off_low + off_high)).astype(np.float64) * (1 + 1e-12)
    inward = ((point == problem.lo) & (slope > 0)) | ((point == problem.hi) & (slope < 0))
    kept = np.where(inward, slope, 0).astype(np.float64)
    gamma = 4 * (problem.features + 8) * np.finfo(wide).eps
    doubt = np.sqrt(np.square(np.abs(slope - kept) + gamma * size + drift).sum(axis=1))
    value = value - gamma * (size * reach).sum(axis=1)
    return Centred(point, value, kept, doubt.astype(np.float64))


def make_tables(
    problem: LevelProblem,
    factor: Factor,
    centred: Centred,
    multiplier: Floats | None = None,
    below: Integers | None = None,
) -> Tables:
    """The tables of all channels of ``problem``; arguments as for ``centre_levels``."""
    wide, order = np.longdouble, factor.order
    step, zero, slope, point = (
        np.ascontiguousarray(x[:, order])
        for x in (problem.step, problem.zero, centred.slope, centred.point)
    )
    levels = problem.levels
    apart = levels.astype(wide) - zero.astype(wide)[:, :, None]
    distance = (step.astype(wide)[:, :, None] * apart - point[:, :, None]).astype(np.float64)
    extra = slope[:, :, None] * distance
    curve = np.square(np.diag(factor.factor))
    lean, lift = -0.5 * slope, np.zeros(problem.channels)
    if multiplier is not None and below is not None and multiplier.any():
        weight, k = multiplier[order], below[:, order]
        low, high = levels[k], levels[k + 1]
        middle = step.astype(wide) * ((low.astype(wide) + high) / 2 - zero) - point
        lean = lean + weight * middle.astype(np.float64)
        square = weight * np.square(step)
        extra += square[:, :, None] * ((levels - low[:, :, None]) * (levels - high[:, :, None]))
        lift = (square * np.square(high - low)).max(axis=1) / 4
        curve = curve + weight
    offset = lean / curve
    far = np.abs(distance).max(axis=2)
    # a minimiser just outside the levels may make the slope's term negative by its own rounding
    lift = lift + (np.abs(slope) * far).max(axis=1) * 2.0**-46
    reach = (far * np.sqrt(curve)).max(axis=1) * (1 + 1e-9)
    slant = np.diag(factor.factor) / curve
    near = nearest_parts(levels)
    return Tables(factor.factor, distance, extra, offset, slant, near, reach, lift)


def nearest_parts(levels: Floats) -> Integers:
    """``Table.near``: where the search for the nearest level begins."""
    count = len(levels)
    parts = max(2 * (count - 1), PARTS)
    middles = levels[0] + (levels[-1] - levels[0]) * ((np.arange(parts) + 0.5) / parts)
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, middles).astype(np.int64)


def wobble_slack(
    problem: LevelProblem, factor: Factor, centred: Centred, room: Floats, radius: Floats
) -> Floats:
    """What values that are off by their ``wobble`` can be worth (channels,).

    ``room``, ``radius``: how dear and how far the choices meant are, from ``bounding.farthest``.
    """
    off = np.sqrt(np.square(problem.wobble).sum(axis=1))
    norm = np.sqrt(
        room + (factor.shift + factor.residual) * radius + centred.doubt * np.sqrt(radius)
    )
    lost = 2 * np.sqrt(factor.trace) * off * norm + factor.trace * off * off
    lost += (np.abs(centred.slope) * problem.wobble).sum(axis=1)
    return np.asarray(lost * (1 + 1e-6))
