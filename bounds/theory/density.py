"""Densities of weights: normal or Student-t, of unit scale, truncated at any point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.storage import check_sparsity
from bounds.theory import moments

Floats = NDArray[np.float64]

#: Limits between these have a fourth moment that fits a double.
_NEAREST, _FARTHEST = 1e-60, 1e60


@dataclass(frozen=True)
class Density:
    """A symmetric density of unit scale on ``[-limit, limit]``.

    The Student-t density with ``dof`` degrees of freedom, normalised to the interval; with infinite
    ``dof``, the default, the standard normal. The truncated Student-t is the paper's model of
    weights with outliers: the further out it is cut, the heavier they are (its Section 3, with
    ``dof=2``). SNRs do not depend on a scale, so there is none.

    Attributes:
        dof: degrees of freedom, positive.
        limit: where the density is cut off, positive.

    Raises:
        ProblemError: values out of range, or a variance that is infinite (``dof <= 2``, uncut).
    """

    dof: float = math.inf
    limit: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what is no density, and what has no SNR."""
        for name in ("dof", "limit"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not float(value) > 0:
                raise ProblemError(f"{name} must be a positive number or inf, got {value!r}")
        if not (_NEAREST <= self.limit <= _FARTHEST or math.isinf(self.limit)):
            raise ProblemError(
                f"limit must be between {_NEAREST:g} and {_FARTHEST:g}, or inf, "
                f"got {self.limit!r}: moments would not fit a double"
            )
        if self.dof <= 2 and math.isinf(self.limit):
            raise ProblemError(
                f"the Student-t density with dof {self.dof} has an infinite variance and so no "
                "SNR; give a limit to truncate it at, or more than 2 degrees of freedom"
            )

    def pdf(self, w: ArrayLike) -> Floats:
        """The density at ``w``, zero beyond ``limit``; of the shape of ``w``."""
        w = np.asarray(w, np.float64)
        return np.where(np.abs(w) <= self.limit, moments.density(self.dof, w), 0.0) / self._share

    def mass(self, x: ArrayLike) -> Floats:
        """``P(|w| <= x)`` for ``x >= 0``; of the shape of ``x``."""
        x = np.clip(np.asarray(x, np.float64), 0.0, self.limit)
        return 2 * moments.mass(self.dof, x) / self._share

    def threshold(self, sparsity: float) -> float:
        """The magnitude that a share ``sparsity`` in [0, 1] of the weights stays below."""
        if check_sparsity(sparsity) == 1:
            return self.limit
        return min(moments.radius(self.dof, sparsity * self._share), self.limit)

    @cached_property
    def second_moment(self) -> float:
        """``E[w^2]``, which is the variance."""
        if math.isinf(self.limit):
            return 1.0 if math.isinf(self.dof) else self.dof / (self.dof - 2)
        return self._moment(2, self.limit)

    @cached_property
    def kurtosis(self) -> float:
        """``E[w^4] / E[w^2]^2``: 3 for the normal, infinite for ``dof <= 4`` without a limit."""
        if math.isinf(self.limit):
            if math.isinf(self.dof):
                return 3.0
            return math.inf if self.dof <= 4 else 3 * (self.dof - 2) / (self.dof - 4)
        return self._moment(4, self.limit) / self.second_moment**2

    @property
    def widest(self) -> float:
        """Largest magnitude there is."""
        return self.limit

    def excess(self, thresholds: Floats) -> tuple[Floats, Floats]:
        """``E[max(0, w-t)]`` and ``E[max(0, -w-t)]`` (equal: symmetric), for every ``t >= 0``."""
        t = np.minimum(thresholds, self.limit)
        end = np.array(self.limit)
        tail = moments.mass(self.dof, end) - moments.mass(self.dof, t)
        above = (self._first_moment - moments.first(self.dof, t) - t * tail) / self._share
        above = np.where(t < self.limit, np.maximum(above, 0.0), 0.0)
        return above, above

    def squared_excess(self, threshold: float) -> tuple[float, float]:
        """``E[max(0, w-t)^2]`` and the same of ``-w``, for one ``t >= 0``."""
        t = threshold
        if t >= self.limit:
            return 0.0, 0.0
        above = float(self.excess(np.array([t]))[0][0])
        tail = 1 - float(self.mass(t))
        # (w-t)^2 = w^2 - 2t(w-t) - t^2, each integrated over the tail.
        square = (self.second_moment - self._moment(2, t)) / 2 - 2 * t * above - t * t * tail / 2
        return max(square, 0.0), max(square, 0.0)

    def pruned_energy(self, sparsity: float) -> float:
        """``E[w^2; |w| < t]`` with ``t`` the threshold at this sparsity."""
        if sparsity == 1:
            return self.second_moment
        return self._moment(2, self.threshold(sparsity))

    def sample(self, count: int, seed: int = 0) -> Floats:
        """``count`` independent weights (count,), by inverting the distribution function."""
        # From (-1, 1): the sign is that of w, the magnitude its rank.
        uniform = np.random.default_rng(seed).uniform(-1.0, 1.0, count)
        x = moments.radii(self.dof, np.abs(uniform) * self._share)
        return np.copysign(np.minimum(x, self.limit), uniform)

    @cached_property
    def _share(self) -> float:
        """Mass of the uncut density inside the limit."""
        return 2 * float(moments.mass(self.dof, np.array(self.limit)))

    @cached_property
    def _first_moment(self) -> float:
        """Of the uncut density, from 0 to the limit."""
        if math.isinf(self.limit):
            inner = 1.0 if math.isinf(self.dof) else self.dof / (self.dof - 1)
            return moments.peak(self.dof) * inner
        return float(moments.first(self.dof, np.array(self.limit)))

    def _moment(self, order: int, x: float) -> float:
        """``E[w^order; |w| < x]`` for even orders and finite ``x``."""
        return 2 * moments.power(self.dof, order, x) / self._share
