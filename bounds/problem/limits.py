"""Limits of a search: seconds and nodes per channel."""

from __future__ import annotations

from dataclasses import dataclass

from bounds.errors import ProblemError


@dataclass(frozen=True)
class Limits:
    """Per channel: ``seconds`` and ``nodes``; None means unlimited."""

    seconds: float | None = None
    nodes: int | None = None

    def __post_init__(self) -> None:
        """Raise ProblemError for limits that nothing can run under."""
        if self.seconds is not None and not self.seconds > 0:
            raise ProblemError(f"time_limit must be positive seconds or None, got {self.seconds}")
        if self.nodes is not None and self.nodes < 1:
            raise ProblemError(f"node_limit must be at least 1 or None, got {self.nodes}")

    def less(self, seconds: float, nodes: int) -> Limits | None:
        """What is left after spending some; None if nothing is."""
        left = None if self.seconds is None else self.seconds - seconds
        more = None if self.nodes is None else self.nodes - nodes
        if (left is not None and left <= 0) or (more is not None and more < 1):
            return None
        return Limits(left, more)
