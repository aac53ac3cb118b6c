"""True optima by brute force: an interval in extended precision, and exact where that is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bounds.fuzz.rational import ExactForm
from bounds.linalg.balance import power_of_two_balance

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]

#: Of coordinate descent in a box.
SWEEPS = 40
#: Rounding units of the two screening stages.
UNITS = (2.0**-53, float(np.finfo(np.longdouble).eps) / 2)


@lru_cache(maxsize=64)
def all_points(levels: tuple[float, ...], n: int) -> Floats:
    """Every choice of levels, (levels^n, n)."""
    return np.array(list(itertools.product(levels, repeat=n)), np.float64)


@dataclass(frozen=True)
class Points:
    """What one channel may be: ``steps (level - zeros)``, steps and zeros (n,), levels (L,)."""

    levels: Floats
    steps: Floats
    zeros: Floats

    @property
    def farthest(self) -> Floats:
        """At least the size of every input's largest point (n,)."""
        return self.steps * (np.abs(self.levels).max() + np.abs(self.zeros))

    def live(self, inputs: NDArray[np.bool_]) -> Points:
        """Those of some of the inputs."""
        return Points(self.levels, self.steps[inputs], self.zeros[inputs])


@dataclass(frozen=True)
class GridOptimum:
    """The least error on the grid, at least ``floor``; ``near``: every choice that may be it."""

    form: ExactForm
    points: Points
    floor: np.longdouble
    near: Floats

    def exact(self) -> Fraction:
        """The optimum as a rational."""
        steps, zeros = self.points.steps, self.points.zeros
        return min(self.form.point_error(levels, steps, zeros) for levels in self.near)

    def is_above(self, value: float) -> bool:
        """Whether the optimum is at least ``value``; rationals only when it is close."""
        return bool(np.longdouble(value) <= self.floor) or Fraction(value) <= self.exact()


def grid_optimum(
    form: ExactForm, gram: Floats, weights: Floats, points: Points, chosen: Floats
) -> GridOptimum:
    """Screen levels ``chosen`` (N, n) in doubles, then the near-best in extended precision.

    With the Gram balanced to a diagonal below 2, ``|d|^T |G| |d| <= 2 (sum |d_i|)^2`` bounds the
    rounding of every candidate's error (Higham, ch. 3).
    """
    n = len(weights)
    wide = np.longdouble
    balance = power_of_two_balance(np.diag(gram))
    # Near one, so that no power overflows; what a far smaller weight loses is below every doubt.
    unit = int(np.frexp(max(float(np.abs(weights).max()), points.steps.max()))[1])
    near_one, steps = np.ldexp(weights, -unit), np.ldexp(points.steps, -unit)
    top = np.maximum(np.abs(near_one), np.ldexp(points.farthest, -unit)) / balance
    row = 2.0 ** -np.floor(np.log2(top.max()))
    row_balance = row / balance
    balanced = gram * balance[:, None] * balance[None, :]
    # first in doubles: forming the difference loses as much as its largest term
    plain = ((chosen - points.zeros) * steps - near_one) * row_balance
    cost = ((plain @ balanced) * plain).sum(axis=1)
    size = np.abs(plain).sum(axis=1)
    whole = (top * row).sum()
    doubt = 16 * (n + 4) * UNITS[0] * size * (size + whole) + (8 * UNITS[0] * whole) ** 2
    chosen = chosen[cost - doubt <= (cost + doubt).min()]
    # then extended precision, where a point loses two roundings and the difference its own last bit
    exact = ((chosen.astype(wide) - points.zeros) * steps.astype(wide) - near_one) * row_balance
    cost = ((exact @ balanced.astype(wide)) * exact).sum(axis=1)
    size = np.abs(exact).sum(axis=1)
    doubt = 8 * (n + 4) * wide(UNITS[1]) * np.square(size) + wide(1e-300)
    if not (np.rint(points.levels) == points.levels).all() or points.zeros.any():
        lost = 4 * wide(UNITS[1]) * whole  # products of few digits lose nothing
        doubt = doubt + 4 * lost * (size + lost)
    near = cost - doubt <= (cost + doubt).min()
    floor = np.ldexp((cost - doubt).min() / wide(row) / wide(row), 2 * unit)
    return GridOptimum(form, points, floor, chosen[near])


def supports(n: int, keep: int, pattern: tuple[int, int] | None) -> Iterator[tuple[int, ...]]:
    """Every largest support: ``keep`` of n inputs, or N of every M consecutive ones."""
    if pattern is None:
        yield from itertools.combinations(range(n), min(keep, n))
        return
    groups = [range(start, min(start + pattern[1], n)) for start in range(0, n, pattern[1])]
    kept = (itertools.combinations(g, min(pattern[0], len(g))) for g in groups)
    for chosen in itertools.product(*kept):
        yield tuple(itertools.chain.from_iterable(chosen))


def sparse_witness(
    gram: Floats,
    weights: Floats,
    keep: int,
    pattern: tuple[int, int] | None,
    reach: float,
) -> tuple[float, Floats]:
    """An error that some sparse vector attains, and the vector (n,).

    For Grams without an exact optimum. Only vectors with
    ``sum G_ii (v-w)_i^2 <= reach^2 sum G_ii w_i^2`` are considered; errors count from zero up.
    """
    n = len(weights)
    balance = power_of_two_balance(np.diag(gram))
    balanced = gram * balance[:, None] * balance[None, :]
    target = weights / balance
    wide = np.longdouble
    diagonal = np.diag(balanced)
    room = reach**2 * float(diagonal @ target**2)
    best, vector = float(target @ balanced @ target), np.zeros(n)
    for support in supports(n, keep, pattern):
        index = np.array(support, int)
        out = np.setdiff1d(np.arange(n), index)
        pull = balanced[np.ix_(index, out)] @ target[out]
        values, basis = np.linalg.eigh(balanced[np.ix_(index, index)])
        for share in (1e-15, 1e-12, 1e-9, 1e-6):
            used = values > share * values.max(initial=0.0)
            step = basis[:, used] @ ((basis[:, used].T @ pull) / values[used])
            v = np.zeros(n)
            v[index] = target[index] + step
            d = v.astype(wide) - target
            if float(diagonal @ (d * d)) > room:
                continue
            error = max(float(d @ balanced.astype(wide) @ d), 0.0)
            if error < best:
                best, vector = error, v * balance
    return best, vector


def boxed_witness(
    gram: Floats, weights: Floats, masks: NDArray[np.bool_], low: float, high: float
) -> Floats:
    """Vectors (supports, n) inside ``[low, high]`` on ``masks``, of nearly the least error each.

    Coordinate descent on all supports at once; what it has not reached makes a witness weaker,
    never wrong. Dead inputs are left at zero.
    """
    vectors = np.where(masks, np.clip(weights, low, high), 0.0)
    for _ in range(SWEEPS):
        for i in np.flatnonzero(np.diag(gram) > 0):
            slope = (vectors - weights) @ gram[:, i]
            moved = np.clip(vectors[:, i] - slope / gram[i, i], low, high)
            vectors[:, i] = np.where(masks[:, i], moved, 0.0)
    return vectors
