"""The quantization grid: integers in a box times a scale, and how the scale is chosen.

The paper (Kuzmin et al. 2023, Section 4 and its released code) fixes one scale per chunk over all
output channels by a 100-point line search of the weight MSE, on weights rounded to FP16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import MethodError, ProblemError
from bounds.linalg.forms import form_upper
from bounds.problem.checks import finite_array, real_array, real_number
from bounds.problem.gram import Problem
from bounds.problem.methods import QUANTIZATION
from bounds.problem.scaling import Scaling, find_scaling
from bounds.problem.storage import quantization_bits

Floats = NDArray[np.float64]

RULES = ("mse", "minmax", "mse-channel", "minmax-channel")
LINE_SEARCH_POINTS = 100
MAX_BITS = 16
#: Largest weight in units of the step; squares of larger ones overflow.
FARTHEST = 1e100


def integer_range(bits: int) -> tuple[int, int]:
    """Smallest and largest code of symmetric-signed ``bits``-bit integers: -2^(b-1), 2^(b-1)-1."""
    whole = isinstance(bits, int | np.integer) and not isinstance(bits, bool)
    if not (whole and 1 <= bits <= MAX_BITS):
        raise ProblemError(f"bits must be a whole number from 1 to {MAX_BITS}, got {bits!r}")
    return -(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1) - 1


def check_step(step: float) -> float:
    """A positive, finite step."""
    number = real_number("step", step, "a positive number")
    if not 0 < number < math.inf:
        raise ProblemError(f"step must be a positive number, got {step!r}")
    return number


def check_scale(scale: ArrayLike, channels: int) -> NDArray[np.float64]:
    """The scale as one positive float64 per channel (channels,)."""
    array = _numbers(scale)
    if array.shape not in ((), (channels,)):
        raise ProblemError(
            f"scale must be a positive number or one per channel ({channels},), "
            f"got {array.dtype} of shape {array.shape}"
        )
    array = np.broadcast_to(array.astype(np.float64), (channels,)).copy()
    if not (np.isfinite(array) & (array > 0)).all():
        raise ProblemError(f"scale must be positive and finite, got {array[~(array > 0)][:1]}")
    return array


def _numbers(scale: ArrayLike) -> NDArray:
    if scale is None or isinstance(scale, str):
        raise ProblemError(f"scale must be a positive number or one per channel, got {scale!r}")
    return real_array("scale", scale)


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


@dataclass(frozen=True, eq=False)
class Grid:
    """Integer codes times a step: ``v = step z``, ``lo <= z <= hi``, one step a channel.

    Attributes:
        bits: width of the codes.
        step: (channels,) or, for all channels, (1,); positive.
    """

    bits: int
    step: Floats
    kind: ClassVar[str] = QUANTIZATION

    @staticmethod
    def uniform(bits: int, step: ArrayLike) -> Grid:
        """Signed integers of ``bits`` bits, -2^(b-1) .. 2^(b-1)-1, times a step.

        Args:
            bits: 1 to 16.
            step: one for all channels, or (channels,).

        Raises:
            ProblemError: bits or steps out of range.
        """
        integer_range(bits)
        step = _numbers(step)
        return Grid(int(bits), check_scale(step, step.size if step.ndim == 1 else 1))

    @property
    def asks(self) -> frozenset[str]:
        """What a method must be able to take."""
        return frozenset()

    @property
    def lo(self) -> int:
        """Smallest code."""
        return integer_range(self.bits)[0]

    @property
    def hi(self) -> int:
        """Largest code."""
        return integer_range(self.bits)[1]

    def steps(self, channels: int) -> Floats:
        """The step of every channel (channels,)."""
        return np.broadcast_to(self.step, (channels,)).copy()

    def check(self, problem: Problem) -> None:
        """Raise ProblemError where steps and channels do not match, or a weight is out of reach."""
        if self.step.shape not in ((1,), (problem.channels,)):
            raise ProblemError(
                f"scale must be a positive number or one per channel ({problem.channels},), "
                f"got shape {self.step.shape}"
            )
        with np.errstate(over="ignore"):
            targets = problem.weights[:, problem.live] / self.steps(problem.channels)[:, None]
        if not (np.abs(targets) < FARTHEST).all():
            raise ProblemError(
                f"weights are over {FARTHEST:g} times the scale; choose a larger scale"
            )

    def scaling(self, problem: Problem) -> Scaling | None:
        """Units in which Gram and steps are near one, if they are far from it."""
        return find_scaling(problem, self.steps(problem.channels))

    def scaled(self, scaling: Scaling) -> Grid:
        """The same grid in other units."""
        return replace(self, step=scaling.scaled(self.steps(len(scaling.rows)), "steps"))

    def rows(self, rows: slice) -> Grid:
        """The grid of some of the channels."""
        return self if self.step.shape == (1,) else replace(self, step=self.step[rows])

    def codes(self, solution: Floats) -> Floats:
        """Nearest codes (channels, n) of weights (channels, n)."""
        step = self.steps(len(solution))[:, None]
        return np.clip(np.rint(solution / step), self.lo, self.hi)

    def errors(self, problem: Problem, solution: Floats) -> Floats:
        """Errors (channels,) of weights (channels, n) on the grid, rounded up.

        Codes times step may be no float64. The error is that of the grid point, as a bound on the
        grid needs it, or that of its product rounded to float64, as the weights are, whichever is
        larger: so both attain it.
        """
        live = problem.live
        gram = problem.gram[np.ix_(live, live)]
        codes, steps = self.codes(solution)[:, live], self.steps(problem.channels)
        points = grid_errors(gram, problem.weights[:, live], codes, steps)
        return np.maximum(points, problem.errors(solution))

    def fits(self, solution: Floats, accuracy: float = 0.0) -> NDArray[np.bool_]:
        """Which channels (channels,) lie on the grid, but for a relative ``accuracy``."""
        steps = self.steps(len(solution))
        near = near_codes(solution, steps, self.codes(solution), accuracy)
        return np.asarray(near.all(axis=1))

    def bits_a_weight(self, features: int, account: str = "values") -> float:
        """Codes alone (``values``), or with a 16-bit step for each channel's weights."""
        return quantization_bits(self.bits, math.inf if account == "values" else features)

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.bits} bits, {2**self.bits} codes without zero point"


def near_codes(
    solution: Floats, steps: Floats, codes: Floats, accuracy: float
) -> NDArray[np.bool_]:
    """Which weights (channels, n) are step (channels,) times code but for rounding of a file.

    Step and weight are both rounded, each by at most half of ``accuracy``. A quarter of a step and
    more is taken for rounding only where that explains it.
    """
    steps, size = steps[:, None], np.abs(solution)
    slack = np.maximum(np.minimum(4 * accuracy * size, 0.25 * steps), accuracy * size)
    return np.abs(solution - steps * codes) <= slack


def grid_errors(gram: Floats, weights: Floats, codes: Floats, steps: Floats) -> Floats:
    """Errors (channels,) of codes (channels, n) times steps (channels,), rounded outward."""
    # Half of the step's digits at a time: both products and their difference to w are exact where
    # they cancel, however many bits the codes have.
    step = steps[:, None]
    mantissa, exponent = np.frexp(step)
    high = np.ldexp(np.rint(np.ldexp(mantissa, 26)), exponent - 26)
    wide = codes.astype(np.longdouble)
    values = wide * high - weights + wide * (step - high)
    return form_upper(gram, values)
