"""A study's progress: bars in a terminal, one line a layer elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as Bar
from rich.text import Text

from bounds.study.running import Observer, Outcome
from bounds.study.tasks import Layer, Task


class _Rate(ProgressColumn):
    """Tasks a second, once there is something to divide."""

    def render(self, task: Bar) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="progress.data.speed")


class ConsoleObserver(Observer):
    """Shows a run on ``console``; use as a context, so that the bars end with it."""

    def __init__(self, console: Console) -> None:
        """Bars if ``console`` is a terminal."""
        self.console = console
        self.bars: Progress | None = None
        if console.is_terminal:
            self.bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                _Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
            )
        self.opened: set[str] = set()
        self.extraction: dict[str, TaskID] = {}
        self.solving: TaskID | None = None
        self.left: Counter[Layer] = Counter()
        self.seconds: defaultdict[Layer, float] = defaultdict(float)

    def __enter__(self) -> Self:
        """Start the bars."""
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bars as they are."""
        if self.bars:
            self.bars.stop()

    def opening(self, source: str) -> None:
        """Say which network comes next."""
        if not self.bars and source not in self.opened:
            self.opened.add(source)
            self.console.print(f"extracting from {source}", highlight=False)

    def extracting(self, source: str, done: int, total: int) -> None:
        """Move the bar of a network."""
        if self.bars:
            if source not in self.extraction:
                self.extraction[source] = self.bars.add_task(f"extract {source}", total=total)
            self.bars.update(self.extraction[source], completed=done)

    def begin(self, tasks: Sequence[Task], finished: int) -> None:
        """Say what was found finished, and start the bar of the rest."""
        self.left = Counter(task.layer for task in tasks)
        if finished:
            self.console.print(f"{finished} tasks are finished already", highlight=False)
        if self.bars and tasks:
            self.solving = self.bars.add_task("solve", total=len(tasks))

    def solved(self, outcome: Outcome) -> None:
        """Move the bar; name a failure, and without bars a layer that has ended."""
        layer = outcome.task.layer
        self.left[layer] -= 1
        self.seconds[layer] += outcome.seconds
        if outcome.error is not None:
            self.console.print(Text(f"failed: {outcome.task}: {outcome.error}", style="red"))
        if self.bars and self.solving is not None:
            self.bars.update(self.solving, advance=1, description=f"solve {layer.name}")
        elif not self.left[layer]:
            self.console.print(
                f"solved {layer.source} {layer.name}: {len(layer.chunks)} of "
                f"{layer.chunk_total} chunks, {self.seconds[layer]:.1f} s of work",
                highlight=False,
            )
