"""Limits of a search: seconds and nodes per channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bounds.errors import ProblemError
from bounds.problem.checks import real_number, whole_number

#: Seconds a channel that a search may take unless told otherwise, here and on the command line.
DEFAULT_SECONDS = 10.0
#: Most nodes that can be counted; a limit above it is none.
MOST_NODES = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """Per channel: ``seconds`` and ``nodes``; None means unlimited, and so do infinite seconds."""

    seconds: float | None = None
    nodes: int | None = None

    def __post_init__(self) -> None:
        """Raise ProblemError for limits that nothing can run under."""
        if self.seconds is not None:
            wanted = "positive seconds or None"
            seconds = real_number("time_limit", self.seconds, wanted)
            if not seconds > 0:
                raise ProblemError(f"time_limit must be {wanted}, got {self.seconds!r}")
            object.__setattr__(self, "seconds", None if math.isinf(seconds) else seconds)
        if self.nodes is not None:
            nodes = whole_number("node_limit", self.nodes, 1, " or None")
            object.__setattr__(self, "nodes", min(nodes, MOST_NODES))

    def less(self, seconds: float, nodes: int) -> Limits | None:
        """What is left after spending some; None if nothing is."""
        left = None if self.seconds is None else self.seconds - seconds
        more = None if self.nodes is None else self.nodes - nodes
        if (left is not None and left <= 0) or (more is not None and more < 1):
            return None
        return Limits(left, more)
