"""One channel's search with a share of its SDP multipliers moved out of the quadratic form.

With ``f(z) = L(z) + sum_i lambda_i (z_i - k_i)(z_i - k_i - 1)`` the search walks down the factor of
``L`` and adds the other terms, none of them negative for integers, level by level: it starts from
nearly the SDP bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.boxqp import box_minimiser
from bounds.quantization.centred import Centred, arranged, centre
from bounds.quantization.codes import CodeProblem
from bounds.quantization.factor import Factor, factorise
from bounds.quantization.relaxation.bound import Dual, integer_shift
from bounds.quantization.search.bounding import proven, radii
from bounds.quantization.search.enumeration import (
    Quadratic,
    Walk,
    new_walk,
    open_bound,
    walk_on,
)
from bounds.quantization.search.estimate import estimate_nodes

Floats = NDArray[np.float64]

#: Shares of the multipliers tried; which is best depends on the Gram and on the radius.
THETAS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
PROBES = 400


@dataclass(frozen=True)
class Shifted:
    """A one-channel problem around the minimiser of ``L``: ``lambda`` and ``k`` (n,) moved out."""

    codes: CodeProblem
    factor: Factor
    centred: Centred
    multiplier: Floats
    breakpoint: Floats

    @cached_property
    def quadratic(self) -> Quadratic:
        """What a walk minimises, in the factor's order."""
        points, slopes, lo, hi, origin = arranged(self.codes, self.factor, self.centred)
        order = self.factor.order
        return Quadratic(
            factor=self.factor.factor,
            centre=points[0],
            slope=slopes[0],
            multiplier=np.ascontiguousarray(self.multiplier[order]),
            breakpoint=np.ascontiguousarray(self.breakpoint[order] - origin[0]),
            lo=lo[0],
            hi=hi[0],
        )

    def radius(self, incumbent: Floats) -> float:
        """Cost of incumbent codes (n,) above the centre, rounded up."""
        return float(radii(self.codes, self.centred, incumbent[None, :])[0])

    def nodes(self, radius: float, probes: int = PROBES) -> float:
        """Estimated size of the tree of this radius."""
        return float(estimate_nodes(self.quadratic, radius, probes, 0))

    def walk(self, radius: float) -> Walk:
        """A walk for codes cheaper than ``radius``."""
        return new_walk(self.codes.features, radius)

    def walk_on(self, walk: Walk, budget: int) -> int:
        """Visit at most ``budget`` nodes; returns how many."""
        return walk_on(self.quadratic, walk, budget)

    def open_bound(self, walk: Walk) -> float:
        """Smallest cost any codes not yet seen can have."""
        return float(open_bound(self.quadratic, walk))

    def proves(self, cost: Floats, upper: Floats) -> Floats:
        """Valid lower bounds (1,) on the error from a walk's cost (1,), ``upper`` attained."""
        return proven(self.codes, self.factor, self.centred, cost, upper, self.multiplier)

    def found(self, walk: Walk) -> Floats | None:
        """The walk's best codes (n,) in the problem's order, if it found any."""
        if np.isnan(walk.best[0]):
            return None
        best = np.empty(len(walk.best))
        order = self.factor.order
        best[order] = walk.best + np.rint(self.centred.point[0, order])
        return best


def shift(
    codes: CodeProblem, theta: float, multiplier: Floats, breakpoint: Floats
) -> Shifted | None:
    """Factor ``H - theta diag(multiplier)`` of a one-channel problem; None if not definite."""
    multiplier = theta * multiplier
    matrix = codes.gram.astype(np.longdouble) - np.diag(multiplier.astype(np.longdouble))
    double = np.ascontiguousarray(matrix.astype(np.float64))
    if np.linalg.eigvalsh(double)[0] <= 1e-13 * np.trace(double):
        return None
    linear = codes.gram @ codes.targets[0] - multiplier * (breakpoint + 0.5)
    target = np.linalg.solve(double, linear)
    point = box_minimiser(double, target, float(codes.lo), float(codes.hi))[None, :]
    return Shifted(
        codes,
        factorise(matrix),
        centre(codes, point, multiplier, breakpoint),
        multiplier,
        breakpoint,
    )


def shifts(codes: CodeProblem, dual: Dual) -> list[Shifted]:
    """The problem unshifted, and shifted by all ``THETAS`` that leave it definite."""
    multiplier, breakpoint = integer_shift(dual, codes.features)
    multiplier = multiplier / codes.unit
    unshifted = Shifted(
        codes, codes.factor, centre(codes, codes.start), np.zeros_like(multiplier), breakpoint
    )
    moved = (shift(codes, theta, multiplier, breakpoint) for theta in THETAS[1:])
    return [unshifted, *(s for s in moved if s is not None)]
