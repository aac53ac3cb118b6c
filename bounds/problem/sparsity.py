"""What may be kept: one budget for all inputs, or N of every M consecutive ones; maybe in a box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError, StudyError
from bounds.problem.checks import finite_array, real_number
from bounds.problem.gram import Problem
from bounds.problem.methods import PRUNING
from bounds.problem.scaling import Scaling, find_scaling
from bounds.problem.storage import pruning_bits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Box:
    """Bounds on every weight: ``low <= v <= high``, in the unit of the weights."""

    low: float
    high: float

    def scaled(self, exponent: int) -> Box:
        """The same box where weights are counted in units of ``2^exponent``."""
        return Box(math.ldexp(self.low, -exponent), math.ldexp(self.high, -exponent))

    def holds(self, solution: Floats) -> NDArray[np.bool_]:
        """Which rows (channels,) of weights (channels, n) lie inside."""
        inside = (solution >= self.low) & (solution <= self.high)
        return np.asarray(inside.all(axis=1))


def paper_box(weights: ArrayLike, factor: float) -> Box:
    """``[-c max(0, -min w), c max(0, max w)]`` over all weights given (Kuzmin et al. 2023).

    Raises:
        ProblemError: a factor that is not positive.
    """
    wanted = "a positive factor such as 2.0, or None"
    number = real_number("box", factor, wanted)
    if not 0 < number < math.inf:
        raise ProblemError(f"box must be {wanted}, got {factor!r}")
    weights = finite_array("weights", weights)
    low = -number * max(0.0, -float(weights.min(initial=0.0)))
    return Box(low, number * max(0.0, float(weights.max(initial=0.0))))


class _Pruned:
    """What ``Sparse`` and ``Pattern`` share: everything but the count itself."""

    kind: ClassVar[str] = PRUNING
    box: Box | None

    def budget(self, features: int) -> tuple[Ints, Ints]:
        """Groups (n,) of the inputs and capacities (groups,): nonzeros allowed in each."""
        raise NotImplementedError

    def check(self, problem: Problem) -> None:
        """Raise ProblemError where more is to be kept than there is."""
        self.budget(problem.features)

    def scaling(self, problem: Problem) -> Scaling | None:
        """Units in which Gram and weights are near one; a box joins all channels in one."""
        sizes = np.abs(problem.weights).max(axis=1)
        return find_scaling(problem, sizes, together=self.box is not None)

    def rows(self, rows: slice) -> Self:
        """The constraint of some of the channels: the same of each."""
        return self

    def errors(self, problem: Problem, solution: Floats) -> Floats:
        """Errors (channels,) of weights (channels, n), rounded outward."""
        return problem.errors(solution)

    def fits(self, solution: Floats, accuracy: float = 0.0) -> NDArray[np.bool_]:
        """Which channels (channels,) keep no more than allowed, inside the box."""
        group, capacity = self.budget(solution.shape[1])
        counts = np.zeros((len(solution), len(capacity)), np.int64)
        for c, row in enumerate(solution):
            counts[c] = np.bincount(group[row != 0], minlength=len(capacity))
        few = np.asarray((counts <= capacity).all(axis=1))
        if self.box is None:
            return few
        slack = 4 * accuracy * max(abs(self.box.low), abs(self.box.high))
        return few & Box(self.box.low - slack, self.box.high + slack).holds(solution)

    def bits_a_weight(self, features: int, account: str = "values") -> float:
        """16-bit values alone (``values``), or with the mask: its ``entropy`` or a ``bitmask``."""
        kept = int(self.budget(features)[1].sum())
        return pruning_bits(1 - kept / features, "none" if account == "values" else account)


@dataclass(frozen=True)
class Sparse(_Pruned):
    """At most ``keep`` nonzeros a channel, inside ``box`` if there is one."""

    keep: int
    box: Box | None = None

    @property
    def asks(self) -> frozenset[str]:
        """What a method must be able to take."""
        return frozenset() if self.box is None else frozenset({"box"})

    def budget(self, features: int) -> tuple[Ints, Ints]:
        """One group of all inputs."""
        if not (_whole(self.keep) and 0 <= self.keep <= features):
            raise ProblemError(
                f"keep must be an integer from 0 to {features} inputs, got {self.keep!r}"
            )
        return np.zeros(features, np.int64), np.array([int(self.keep)])

    def scaled(self, scaling: Scaling) -> Sparse:
        """The same constraint in other units."""
        return Sparse(self.keep, _scaled_box(self.box, scaling))

    def __str__(self) -> str:
        """In a few words."""
        return f"at most {self.keep} nonzeros" + ("" if self.box is None else " in a box")


@dataclass(frozen=True)
class Pattern(_Pruned):
    """At most ``most`` nonzeros in every ``size`` consecutive inputs, counted from the first.

    A chunk should begin at a multiple of ``size``. Where ``size`` does not divide n, the last group
    is shorter and may still hold ``most``.
    """

    most: int
    size: int
    box: Box | None = None

    def __post_init__(self) -> None:
        """Raise ProblemError for numbers that are no pattern."""
        whole = _whole(self.most) and _whole(self.size)
        if not (whole and 1 <= self.most <= self.size):
            raise ProblemError(
                "pattern must be two integers (N, M), 1 <= N <= M, got "
                f"({self.most!r}, {self.size!r})"
            )

    @property
    def asks(self) -> frozenset[str]:
        """What a method must be able to take."""
        return frozenset({"pattern"} if self.box is None else {"pattern", "box"})

    def budget(self, features: int) -> tuple[Ints, Ints]:
        """A group of every ``size`` inputs."""
        group = np.arange(features, dtype=np.int64) // int(self.size)
        return group, np.minimum(int(self.most), np.bincount(group))

    def scaled(self, scaling: Scaling) -> Pattern:
        """The same constraint in other units."""
        return Pattern(self.most, self.size, _scaled_box(self.box, scaling))

    def __str__(self) -> str:
        """In a few words."""
        where = "" if self.box is None else " in a box"
        return f"at most {self.most} nonzeros in every {self.size} inputs{where}"


def sparsity(
    keep: int | None, pattern: tuple[int, int] | None, box: Box | None = None
) -> Sparse | Pattern:
    """The constraint of ``pruning_range``'s arguments: exactly one of ``keep`` and ``pattern``.

    Raises:
        ProblemError: neither or both, or numbers out of range.
    """
    if (keep is None) == (pattern is None):
        raise ProblemError("give either keep, the nonzeros allowed per channel, or pattern")
    if keep is not None:
        return Sparse(keep, box)
    if not (isinstance(pattern, tuple | list) and len(pattern) == 2):
        raise ProblemError(f"pattern must be two integers (N, M), 1 <= N <= M, got {pattern!r}")
    return Pattern(pattern[0], pattern[1], box)


@dataclass(frozen=True)
class Keep:
    """k = n b/16 and the whole numbers it is solved at, with the share each has in the result."""

    wanted: float
    parts: tuple[tuple[int, float], ...]

    @property
    def recorded(self) -> float:
        """The k that the results stand for; not whole only when interpolated."""
        return sum(k * share for k, share in self.parts)


def choose_keep(features: int, bits: int, rule: str) -> Keep:
    """How many of ``features`` weights to keep so that FP16 storage equals ``bits`` a weight.

    ``floor`` is what the paper's released code does and handicaps pruning; ``nearest`` rounds half
    up; ``interpolate`` mixes the errors at the two neighbouring k linearly.

    Raises:
        StudyError: unknown rule.
    """
    wanted = features * bits / 16
    low = math.floor(wanted)
    if rule == "floor":
        parts = ((low, 1.0),)
    elif rule == "nearest":
        parts = ((math.floor(wanted + 0.5), 1.0),)
    elif rule == "interpolate":
        share = wanted - low
        parts = ((low, 1.0 - share), (low + 1, share)) if share > 0 else ((low, 1.0),)
    else:
        raise StudyError(f"unknown rule {rule!r} for k; choose floor, nearest or interpolate")
    return Keep(wanted, parts)


def _scaled_box(box: Box | None, scaling: Scaling) -> Box | None:
    # A box joins all channels in one unit (``find_scaling``).
    return None if box is None else box.scaled(int(scaling.rows[0]))


def _whole(value: float) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
