"""Numbers far from one are brought near it by powers of two, and results brought back.

Solvers square weights and multiply squares: inputs near the ends of float64's range would overflow
or vanish there, although the problem and its answer are representable. Changing the unit of the
Gram, and of each channel's weights, by a power of two changes no digit, so the optimum of the
scaled problem is the scaled optimum, exactly. Ordinary numbers are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.gram import Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Exponents within which numbers are left alone: fourth powers of them fit float64.
SAFE_EXPONENT = 200


@dataclass(frozen=True)
class Scaling:
    """Powers of two: exponent of the Gram's unit, and of each channel's weights (channels,)."""

    gram: int
    rows: Ints

    def problem(self, problem: Problem) -> Problem:
        """The problem in these units; ProblemError if a digit would be lost."""
        exponent = self.gram + 2 * self.rows
        with np.errstate(over="ignore", under="ignore"):
            energy = np.ldexp(problem.energy, -exponent)
        return Problem(
            self.scaled_gram(problem.gram),
            self.scaled(problem.weights, "weights"),
            problem.live,
            energy,
        )

    def scaled_gram(self, gram: ArrayLike) -> Floats:
        """The Gram (n, n) in its unit; ProblemError if a digit would be lost."""
        return _rescale(np.asarray(gram, np.float64), self.gram, "entries of the gram")

    def scaled(self, values: ArrayLike, name: str) -> Floats:
        """Weights (channels, n) or steps (channels,) in their channel's unit."""
        values = np.asarray(values, np.float64)
        return _rescale(values, self.rows if values.ndim == 1 else self.rows[:, None], name)

    def weights(self, scaled: Floats) -> Floats:
        """Weights (channels, n) back in the unit given; the smallest may round."""
        return np.ldexp(scaled, self.rows[:, None])

    def lower_errors(self, scaled: Floats) -> Floats:
        """Errors (channels,) back in the unit given, rounded down."""
        exponent = self.gram + 2 * self.rows
        with np.errstate(over="ignore"):
            back = np.ldexp(scaled, exponent)
            exact = np.ldexp(back, -exponent) == scaled
        return np.where(exact, back, np.nextafter(back, -np.inf))


def find_scaling(problem: Problem, sizes: ArrayLike, together: bool = False) -> Scaling | None:
    """Units in which ``problem`` is near one; None where it is near enough as it is.

    Args:
        problem: checked.
        sizes: (channels,) the number of each channel to bring near one: a step, a largest weight.
        together: one unit for all channels, because something joins them (a box).

    Raises:
        ProblemError: channels joined are too far apart for one unit.
    """
    sizes = np.asarray(sizes, np.float64)
    if together:
        largest = sizes.max(initial=0.0)
        far = np.flatnonzero((sizes > 0) & (sizes < largest * 2.0**-SAFE_EXPONENT))
        if far.size:
            raise ProblemError(
                f"weights of channel {far[0]} are over {2.0**SAFE_EXPONENT:.0e} times smaller than "
                "the largest that the box is made of; leave the box out, or solve it by itself"
            )
        sizes = np.full_like(sizes, largest)
    rows = np.where(sizes > 0, np.frexp(sizes)[1], 0).astype(np.int64)
    top = float(np.diag(problem.gram).max(initial=0.0))
    gram = int(np.frexp(top)[1]) if top > 0 else 0
    rows = np.where(np.abs(rows) > SAFE_EXPONENT, rows, 0)
    gram = gram if abs(gram) > SAFE_EXPONENT else 0
    return Scaling(gram, rows) if gram or rows.any() else None


def _rescale(values: Floats, exponent: int | Ints, name: str) -> Floats:
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(values, -np.asarray(exponent))
        whole = np.array_equal(np.ldexp(scaled, exponent), values)
    if not whole:
        raise ProblemError(f"{name} span more than the range of float64; rescale the inputs")
    return scaled
