"""The searches of ``shared`` and ``shifted`` on levels that differ from input to input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.boxqp import box_minimisers
from bounds.quantization.centred import Centred
from bounds.quantization.factor import Factor, factorise, order_slack, walk_slack
from bounds.quantization.levels import LevelProblem
from bounds.quantization.relaxation.bound import Dual, level_shift, solve_channel
from bounds.quantization.search.bounding import farthest, radii
from bounds.quantization.search.enumeration import Walk, new_walk
from bounds.quantization.search.level_walk import (
    estimate_levels,
    open_levels_bound,
    walk_levels,
    walk_tables,
)
from bounds.quantization.search.shared import (
    CHANNELS_A_SAMPLE,
    LEAST,
    MOST_INPUTS,
    SAMPLES,
    THETA,
)
from bounds.quantization.search.shifted import PROBES, THETAS
from bounds.quantization.tables import Tables, centre_levels, make_tables, wobble_slack

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Shares of a channel's own multipliers, the first that will do: better ones take estimates.
OWN_THETAS = (0.9, 0.7, 0.4)
#: Entries of the tables that are made at once.
TABLED = 2**18


@dataclass(frozen=True)
class Leveled:
    """Channels around the minimisers of ``L``, ``multiplier`` (n,) moved out of their forms.

    ``below`` (channels, n): numbers of the levels below the cuts. Without a shift the multipliers
    are zero. One channel can be walked on, stopped and resumed, as a ``Shifted``.
    """

    codes: LevelProblem
    factor: Factor
    centred: Centred
    multiplier: Floats
    below: Integers

    @cached_property
    def tables(self) -> Tables:
        """What walks look up."""
        return make_tables(self.codes, self.factor, self.centred, self.multiplier, self.below)

    def radius(self, incumbent: Floats) -> float:
        """Cost of an incumbent (n,) above the centre, rounded up."""
        return float(radii(self.codes, self.centred, incumbent[None, :])[0])

    def nodes(self, radius: float, probes: int = PROBES) -> float:
        """Estimated size of the tree of this radius."""
        return float(estimate_levels(self.tables.table(0), radius, probes, 0))

    def walk(self, radius: float) -> Walk:
        """A walk for choices cheaper than ``radius``."""
        return new_walk(self.codes.features, radius)

    def walk_on(self, walk: Walk, budget: int) -> int:
        """Visit at most ``budget`` nodes; returns how many."""
        return walk_levels(self.tables.table(0), walk, budget)

    def open_bound(self, walk: Walk) -> float:
        """Smallest cost any choice not yet seen can have."""
        return float(open_levels_bound(self.tables.table(0), walk))

    def found(self, walk: Walk) -> Floats | None:
        """The walk's best numbers (n,) in the problem's order, if it found any."""
        if np.isnan(walk.best[0]):
            return None
        best = np.empty(len(walk.best))
        best[self.factor.order] = walk.best
        return best

    def proves(self, cost: Floats, upper: Floats) -> Floats:
        """Valid lower bounds (channels,) on the error from costs of walks, energy units.

        ``upper`` (channels,): errors attained. As ``bounding.proven``, with what tables round off.
        """
        codes, factor, centred, tables = self.codes, self.factor, self.centred, self.tables
        room, radius = farthest(codes, factor, centred, upper)
        slack = walk_slack(factor, room, radius, centred.doubt, 0.0)
        slack = slack + order_slack(tables.reach, tables.lift, room)
        slack = slack + wobble_slack(codes, factor, centred, room, radius)
        total = codes.to_error(np.asarray(centred.value + cost - slack, np.longdouble))
        return np.nextafter(total.astype(np.float64), -np.inf)


@dataclass(frozen=True)
class LevelShare:
    """What all channels of a chunk are walked with: a factor of ``H - diag(multiplier)``."""

    factor: Factor
    multiplier: Floats


def share_levels(codes: LevelProblem) -> LevelShare:
    """A common diagonal moved out, where there are enough channels: as ``shared.share``."""
    samples = min(SAMPLES, codes.channels // CHANNELS_A_SAMPLE)
    if samples > 0 and codes.features <= MOST_INPUTS:
        rows = np.linspace(0, codes.channels - 1, samples + 2).astype(int)[1:-1]
        duals = (solve_channel(codes, int(c), 0) for c in rows)
        parts = [level_shift(dual, codes.levels, codes.features)[0] for dual in duals]
        multiplier = THETA / codes.unit * np.mean(parts, axis=0)
        factor = _factor_without(codes, multiplier)
        if factor is not None:
            return LevelShare(factor, multiplier)
    return unshared_levels(codes)


def unshared_levels(codes: LevelProblem) -> LevelShare:
    """The channels' problems as they are."""
    return LevelShare(codes.factor, np.zeros(codes.features))


def _factor_without(codes: LevelProblem, multiplier: Floats) -> Factor | None:
    """The factor of ``H - diag(multiplier)``, or None if that is not definite."""
    matrix = codes.gram.astype(np.longdouble) - np.diag(multiplier.astype(np.longdouble))
    # judged in the levels' own units, where the inputs' sizes do not hide it
    sizes = codes.sizes
    own = matrix.astype(np.float64) * np.outer(sizes, sizes)
    if not np.linalg.eigvalsh(own)[0] > LEAST * np.trace(own):
        return None
    return factorise(matrix, sizes)


def leveled(codes: LevelProblem, shared: LevelShare, below: Integers | None = None) -> Leveled:
    """All channels around the minimisers of their L; ``below``: where cuts are, if not there."""
    multiplier = shared.multiplier
    if not multiplier.any():
        none = np.zeros(codes.targets.shape, np.int64)
        return Leveled(codes, shared.factor, centre_levels(codes, codes.start), multiplier, none)
    below = codes.below(codes.start) if below is None else below
    double = np.ascontiguousarray(codes.gram - np.diag(multiplier))
    middle = ((codes.values(below) + codes.values(below + 1)) / 2).astype(np.float64)
    linear = codes.targets @ codes.gram - multiplier * middle
    targets = np.ascontiguousarray(np.linalg.solve(double, linear.T).T)
    points = box_minimisers(double, targets, codes.lo, codes.hi)
    centred = centre_levels(codes, points, multiplier, below)
    return Leveled(codes, shared.factor, centred, multiplier, below)


def level_shifts(codes: LevelProblem, dual: Dual) -> list[Leveled]:
    """A one-channel problem unshifted, and shifted by all ``THETAS`` that leave it definite."""
    multiplier, below = level_shift(dual, codes.levels, codes.features)
    multiplier = multiplier / codes.unit
    found = [leveled(codes, LevelShare(factorise(codes.gram, codes.sizes), 0 * multiplier))]
    for theta in THETAS[1:]:
        factor = _factor_without(codes, theta * multiplier)
        if factor is not None:
            found.append(leveled(codes, LevelShare(factor, theta * multiplier), below[None, :]))
    return found


def own_shift(codes: LevelProblem, dual: Dual) -> Leveled:
    """A one-channel problem with the largest share of its multipliers that leaves it definite."""
    multiplier, below = level_shift(dual, codes.levels, codes.features)
    for theta in OWN_THETAS:
        factor = _factor_without(codes, theta * multiplier / codes.unit)
        if factor is not None:
            share = LevelShare(factor, theta * multiplier / codes.unit)
            return leveled(codes, share, below[None, :])
    return leveled(codes, unshared_levels(codes))


def walk_easy_levels(
    codes: LevelProblem, shared: LevelShare, incumbent: Floats, budget: int
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Walk every channel with at most ``budget`` nodes: as ``exact.walk_easy``."""
    best, upper = incumbent.copy(), np.empty(codes.channels)
    lower, nodes = np.empty(codes.channels), np.empty(codes.channels, np.int64)
    finished = np.empty(codes.channels, np.bool_)
    most = max(TABLED // (codes.features * len(codes.levels)), 1)
    for first in range(0, codes.channels, most):
        rows = slice(first, first + most)
        some = codes.rows(rows)
        part = leveled(some, shared)
        tables = part.tables
        reach = radii(some, part.centred, best[rows])
        cost, found, nodes[rows], finished[rows], opened = walk_tables(
            tables.factor, tables.distance, tables.extra, tables.offset, tables.slant,
            tables.near, reach, budget,
        )  # fmt: skip
        better = np.flatnonzero(~np.isnan(found[:, 0]))
        best[np.ix_(first + better, shared.factor.order)] = found[better]
        upper[rows] = some.errors(best[rows])
        lower[rows] = part.proves(np.where(finished[rows], cost, opened), upper[rows])
    return best, lower, upper, finished, nodes
