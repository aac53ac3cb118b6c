"""Who is told how a run goes."""

from __future__ import annotations

from collections.abc import Sequence

from bounds.study.plan.tasks import Layer, Task
from bounds.study.run.outcome import Outcome


class Observer:
    """Told how a run goes; does nothing by itself. Override what you want to show."""

    def opening(self, source: str) -> None:
        """``source`` is about to be opened, and its layers extracted where they are missing."""

    def compiling(self) -> None:
        """The solvers' kernels are being compiled, which happens once on a machine."""

    def extracting(self, source: str, done: int, total: int) -> None:
        """``done`` of ``total`` images have gone through ``source``."""

    def extracted(self, layer: Layer) -> None:
        """The dump of a layer is there."""

    def begin(self, tasks: Sequence[Task], finished: int) -> None:
        """Tasks are about to be solved; ``finished`` more were found done.

        A task has the bit widths here that are not finished, which may be a part of the study's.
        """

    def solved(self, outcome: Outcome) -> None:
        """A task has ended, well or not."""
