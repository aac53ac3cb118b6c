"""A study's progress: bars in a terminal, with rate and remaining time; elsewhere only failures."""

from __future__ import annotations

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

from bounds.study.plan.tasks import Task
from bounds.study.run.running import Observer, Outcome

#: Seconds the rate is averaged over: methods differ a thousandfold in what a problem costs.
RATE_SECONDS = 600.0


class _Rate(ProgressColumn):
    """Steps a second, once there is something to divide."""

    def render(self, task: Bar) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            f"{speed:.{0 if speed >= 10 else 1}f}/s" if speed else "", style="progress.data.speed"
        )


class ConsoleObserver(Observer):
    """Shows a run on ``console``; use as a context, so that the bars end with it."""

    def __init__(self, console: Console) -> None:
        """Bars if ``console`` is a terminal; a study counts in problems (channels times bits)."""
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
                speed_estimate_period=RATE_SECONDS,
            )
        self.compilation: TaskID | None = None
        self.extraction: dict[str, TaskID] = {}
        self.solving: TaskID | None = None

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

    def compiling(self) -> None:
        """Show that compilers run; how long they take is not known."""
        if self.bars:
            self.compilation = self.bars.add_task("compile, once on this machine", total=None)

    def extracting(self, source: str, done: int, total: int) -> None:
        """Move the bar of a network."""
        if self.bars:
            if source not in self.extraction:
                self.extraction[source] = self.bars.add_task(f"extract {source}", total=total)
            self.bars.update(self.extraction[source], completed=done)

    def begin(self, tasks: Sequence[Task], finished: int) -> None:
        """Start the bar of what is not finished."""
        if self.bars and self.compilation is not None:
            self.bars.update(self.compilation, total=1, completed=1)
        if self.bars and tasks:
            if finished:
                self.console.print(f"{finished} tasks are finished already", highlight=False)
            self.solving = self.bars.add_task("solve", total=sum(task.size for task in tasks))

    def solved(self, outcome: Outcome) -> None:
        """Move the bar, and name a failure."""
        task = outcome.task
        if outcome.error is not None:
            self.console.print(Text(f"failed: {task}: {outcome.error}", style="red"))
        if self.bars and self.solving is not None:
            self.bars.update(
                self.solving, advance=task.size, description=f"solve {task.layer.name}"
            )
