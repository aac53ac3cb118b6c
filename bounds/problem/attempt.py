"""What a method is given besides the problem, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.problem.checks import whole_number
from bounds.problem.limits import Limits


@dataclass(frozen=True)
class Options:
    """What a method may use besides the problem and its constraint.

    Attributes:
        limits: seconds and nodes per channel, of methods that search.
        seed: of random roundings.
        pairs: two-variable cuts that a round of a relaxation may add.
        first: number of the first channel, where only some are solved: random roundings differ
            from channel to channel.
    """

    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    pairs: int = 0
    first: int = 0

    def __post_init__(self) -> None:
        """Raise ProblemError for numbers that no method can use."""
        for name in ("pairs", "seed"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), 0))


@dataclass(frozen=True)
class Attempt:
    """What a method found for all channels of a problem.

    Attributes:
        solution: (channels, n) weights that fulfil the constraint.
        lower: (channels,) proven lower bounds on the least error, unit of the energy. Of a finished
            search they bound the form itself, which rounding of the Gram may take below zero.
        finished: (channels,) whether a search has closed its tree.
        nodes: (channels,) search nodes visited.
        proof: one entry a channel, or none at all: the multipliers that prove ``lower``, or None.
        notes: remarks a reader of the numbers should see, one sentence each.
    """

    solution: NDArray[np.float64]
    lower: ArrayLike = 0.0
    finished: ArrayLike = False
    nodes: ArrayLike = 0
    proof: Sequence[Any] = ()
    notes: tuple[str, ...] = ()
