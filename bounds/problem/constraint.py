"""What compressed weights must fulfil: the interface of ``Grid``, ``Sparse`` and its like."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from bounds.problem.gram import Problem
from bounds.problem.scaling import Scaling

Floats = NDArray[np.float64]


class Constraint(Protocol):
    """Plain data about all channels of a problem; what a method needs beside the problem."""

    #: Which methods it is for: one of ``bounds.problem.methods.KINDS``.
    kind: ClassVar[str]

    @property
    def asks(self) -> frozenset[str]:
        """What a method must be able to take (``bounds.problem.methods.TAKES``)."""
        ...

    def check(self, problem: Problem) -> None:
        """Raise ProblemError where it does not belong to ``problem``."""
        ...

    def scaling(self, problem: Problem) -> Scaling | None:
        """Powers of two that bring the problem near one, if it is far from it."""
        ...

    def scaled(self, scaling: Scaling) -> Constraint:
        """The same constraint in other units."""
        ...

    def rows(self, rows: slice) -> Constraint:
        """The same constraint on some of the channels."""
        ...

    def errors(self, problem: Problem, solution: Floats) -> Floats:
        """Errors (channels,) of weights (channels, n) that fulfil it, rounded outward."""
        ...

    def fits(self, solution: Floats, accuracy: float = 0.0) -> NDArray[np.bool_]:
        """Which channels (channels,) of ``solution`` (channels, n) fulfil it.

        ``accuracy``: relative distance from the constraint that counts as rounding of a file.
        """
        ...

    def bits_a_weight(self, features: int, account: str) -> float:
        """Storage of a channel's weight in bits, counted as ``account`` says."""
        ...

    def __str__(self) -> str:
        """In a few words."""
        ...
