"""The part of a pruning problem that needs solving: live inputs, balanced, positive definite.

Everything the methods share is decided here once: dead inputs leave, powers of two bring the Gram
diagonal to about one and every channel to about one (both exact in floating point), the budget
becomes groups with capacities, and a numerically singular Gram is shifted, with the amount that
the shift may have added to any error kept aside to be subtracted from lower bounds. Without a box
weights may be as large as they like along nearly flat directions, so that amount is unlimited:
a numerically singular Gram has no lower bound then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError
from bounds.linalg.balance import power_of_two_balance
from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.linalg.forms import form_upper
from bounds.problem.gram import Floats, Problem
from bounds.problem.sparsity import Box

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Balanced Gram matrices with a smaller eigenvalue are shifted by this share of the diagonal.
SHIFT = 1e-10

#: Largest exponent of a row's power of two.
FARTHEST = 500


@dataclass(frozen=True)
class ReducedProblem:
    """A pruning problem ready for kernels; m live inputs, balanced and row-scaled.

    Original weights are ``v = balanced * scale / row_scale``; errors of the reduced problem are
    ``row_scale^2`` times the original ones.

    Attributes:
        gram: (m, m) positive definite, diagonal in [1/2, 2).
        weights: (channels, m), largest entry of each row in [1, 2) (or a zero row).
        group: (m,) group of each input; one group for a plain budget.
        capacity: (groups,) nonzeros allowed per group, never above the group's size.
        eigen: proven lower bound on the smallest eigenvalue of ``gram``.
        index: (m,) positions of the live inputs.
        scale: (m,) powers of two.
        row_scale: (channels,) powers of two.
        excess: (channels,) what the shift may have added to an error (original unit); infinite
            for a singular Gram without a box.
        features: n, dead inputs included.
        notes: what a reader of the bounds must know.
    """

    gram: Floats
    weights: Floats
    group: Ints
    capacity: Ints
    eigen: float
    index: Ints
    scale: Floats
    row_scale: Floats
    excess: Floats
    features: int
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.weights.shape[0]

    @property
    def size(self) -> int:
        """Number of live inputs m."""
        return self.weights.shape[1]

    @property
    def unbounded(self) -> bool:
        """Whether no lower bound can be claimed: a singular Gram, and no box."""
        return bool(np.isinf(self.excess).any())

    @property
    def slack(self) -> float:
        """Relative error that eliminations on ``gram`` can make in a cost (Higham, ch. 10).

        Elimination on a positive definite matrix is backward stable: a computed cost is the exact
        one of ``G + E``, ``|E| <= c n u trace(G)``, so it is off by at most ``|E| / lambda_min``.
        """
        return 4.0 * (self.size + 2) * 2.0**-53 * float(np.trace(self.gram)) / self.eigen

    def restore(self, balanced: NDArray) -> Floats:
        """Original weights (channels, n) of reduced weights (channels, m); dead inputs are zero."""
        full = np.zeros((balanced.shape[0], self.features))
        full[:, self.index] = balanced * self.scale / self.row_scale[:, None]
        return full

    def lower(self, balanced: NDArray) -> Floats:
        """Original-unit lower bounds from lower bounds (channels,) of the reduced, rounded down.

        Below zero where the shift may have added more than was bounded.
        """
        value = balanced / self.row_scale**2 - self.excess
        return np.nextafter(value, -np.inf)

    def lower_of(self, c: int, balanced: float) -> float:
        """The same of channel ``c`` alone."""
        value = balanced / self.row_scale[c] ** 2 - self.excess[c]
        return max(float(np.nextafter(value, -np.inf)), 0.0)


def reduce_problem(
    problem: Problem, group: Ints, capacity: Ints, box: Box | None = None
) -> ReducedProblem:
    """Reduce ``problem`` under a grouped budget.

    Args:
        problem: checked Gram (n, n) and weights (channels, n).
        group: (n,) group of every input.
        capacity: (groups,) nonzeros allowed in each group.
        box: only used to bound what shifting a singular Gram can have added.
    """
    index = np.flatnonzero(problem.live)
    gram = problem.gram[np.ix_(index, index)]
    scale = power_of_two_balance(np.diag(gram))
    gram = np.ascontiguousarray(gram * scale * scale[:, None])
    weights = problem.weights[:, index] / scale
    largest = np.abs(weights).max(axis=1, initial=0.0)
    with np.errstate(divide="ignore"):
        exponent = np.where(largest > 0, -np.floor(np.log2(largest)), 0.0)
        # Squares of the scale must not overflow; a row still smaller than that stays small.
        row_scale = np.exp2(np.clip(exponent, -FARTHEST, FARTHEST))
    weights = np.ascontiguousarray(weights * row_scale[:, None])
    if not (np.isfinite(weights).all() and np.isfinite(gram).all()):
        raise ProblemError(
            "gram and weights span more than the range of float64; rescale the inputs"
        )
    excess = np.zeros(problem.channels)
    notes: tuple[str, ...] = ()
    eigen = eigenvalue_lower_bound(gram) if index.size else 1.0
    if eigen < SHIFT:
        gram, eigen, excess, note = _shifted(gram, weights, scale, row_scale, box)
        notes = (note,)
    # Groups of dead inputs only are no groups: their thresholds would have nothing to hold them.
    present, group = np.unique(group[index], return_inverse=True)
    capacity = np.minimum(capacity[present], np.bincount(group, minlength=present.size))
    return ReducedProblem(
        gram,
        weights,
        np.ascontiguousarray(group, np.int64),
        capacity,
        eigen,
        index,
        scale,
        row_scale,
        excess,
        problem.features,
        notes,
    )


def _shifted(
    gram: Floats, weights: Floats, scale: Floats, row_scale: Floats, box: Box | None
) -> tuple[Floats, float, Floats, str]:
    """Shift a singular Gram; the excess is the most that ``sum delta_i (v-w)_i^2`` can be."""
    share, eigen, shifted = SHIFT, 0.0, gram
    diagonal = np.diag(gram)
    # check_problem admits slightly indefinite Grams: the shift grows until definiteness is proven.
    while not eigen > 0:
        share *= 2
        shifted = gram + np.diag(diagonal * share)
        eigen = eigenvalue_lower_bound(shifted)
    delta = np.nextafter(np.diag(shifted) - diagonal, np.inf)
    if box is None:
        excess = np.full(len(weights), np.inf)
        note = (
            "The Gram matrix is numerically singular: along some directions weights of any size "
            "cost next to nothing, so rounding alone decides what the least error is, and no lower "
            "bound above 0 is proven. A box that confines the weights makes one possible: box=2 in "
            "Python, --box 2 on the command line, is the paper's."
        )
    else:
        high = box.high / scale * row_scale[:, None] - weights
        low = weights - box.low / scale * row_scale[:, None]
        room = form_upper(np.diag(delta), np.nextafter(np.maximum(high, low), np.inf))
        excess = np.nextafter(room / row_scale**2, np.inf)
        note = (
            f"The Gram matrix is numerically singular: it was shifted by {share:.2g} of its "
            "diagonal, and what that can add to an error inside the box was subtracted."
        )
    return np.ascontiguousarray(shifted), eigen, excess, note
