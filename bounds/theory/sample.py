"""The weights of a tensor as a distribution: exact sums in place of integrals."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.storage import check_sparsity

Floats = NDArray[np.float64]


class Sample:
    """Weights, of any shape, each with equal probability.

    They are sorted once; after that the error at any step costs one search a code instead of one
    rounding a weight, so that a step can be optimised for a tensor of millions in milliseconds.

    Attributes:
        values: (count,) in rising order.
    """

    def __init__(self, values: ArrayLike) -> None:
        """Sort ``values``: at least one finite weight that is not zero.

        Raises:
            ProblemError: no weights, or not finite, or all zero (no SNR).
        """
        self.values: Floats = np.sort(np.asarray(values, np.float64), axis=None)
        if self.values.size == 0:
            raise ProblemError("there are no weights")
        if not np.isfinite(self.values).all():
            raise ProblemError("weights have a NaN or infinite entry")
        if not self.values.any():
            raise ProblemError("all weights are zero: there is no SNR")
        self._above = _Tail(self.values[self.values > 0], self.values.size)
        self._below = _Tail(-self.values[self.values < 0][::-1], self.values.size)

    @cached_property
    def second_moment(self) -> float:
        """Mean of the squares, about zero: the energy that an SNR measures against."""
        return float(np.square(self.values).mean())

    @cached_property
    def kurtosis(self) -> float:
        """Fourth moment over squared variance, both about the mean; NaN for equal weights."""
        squares = np.square(self.values - self.values.mean())
        variance = squares.mean()
        return float(np.square(squares).mean() / variance**2) if variance > 0 else float("nan")

    @property
    def widest(self) -> float:
        """Largest magnitude."""
        return float(max(-self.values[0], self.values[-1]))

    def excess(self, thresholds: Floats) -> tuple[Floats, Floats]:
        """Means of ``max(0, w-t)`` and of ``max(0, -w-t)``, for every ``t >= 0``."""
        return self._above.excess(thresholds), self._below.excess(thresholds)

    def squared_excess(self, threshold: float) -> tuple[float, float]:
        """Means of ``max(0, w-t)^2`` and of ``max(0, -w-t)^2``, for one ``t >= 0``."""
        return self._above.squared_excess(threshold), self._below.squared_excess(threshold)

    def pruned_energy(self, sparsity: float) -> float:
        """Energy of the smallest weights, all but the ``floor(n (1-sparsity))`` largest."""
        left = kept(self.values.size, check_sparsity(sparsity))
        return float(self._energies[self.values.size - left])

    @cached_property
    def _energies(self) -> Floats:
        """Energy of the k smallest weights, k = 0 .. n."""
        squares = np.sort(np.square(self.values))
        return np.concatenate(([0.0], np.cumsum(squares))) / self.values.size


def kept(count: int, sparsity: float) -> int:
    """``floor(count (1-sparsity))``, the rule of the study; 1 - b/16 is exact in binary."""
    return int(count * (1 - sparsity))


class _Tail:
    """Positive weights in rising order, out of ``count`` in all, with the sums from each on."""

    def __init__(self, rising: Floats, count: int) -> None:
        self.rising = rising
        self.count = count
        self.sums = _suffix_sums(rising)
        self.squares = _suffix_sums(np.square(rising))

    def excess(self, t: Floats) -> Floats:
        first = np.searchsorted(self.rising, t, side="right")
        return (self.sums[first] - t * (self.rising.size - first)) / self.count

    def squared_excess(self, t: float) -> float:
        first = int(np.searchsorted(self.rising, t, side="right"))
        return float(np.square(self.rising[first:] - t).sum()) / self.count


def _suffix_sums(values: Floats) -> Floats:
    return np.concatenate((np.cumsum(values[::-1])[::-1], [0.0]))
