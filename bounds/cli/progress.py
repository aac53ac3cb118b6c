"""A study's progress: bars in a terminal, with rate and remaining time; elsewhere a line a minute.

Failures are named in both.
"""

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

from bounds.cli.logged import RunLog
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
        self.log: RunLog | None = None
        if not console.is_terminal:
            self.log = RunLog(lambda line: console.print(line, highlight=False, soft_wrap=True))
        else:
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
        """Start the bars, or the minutes."""
        if self.bars:
            self.bars.start()
        if self.log:
            self.log.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bars as they are; no more lines."""
        if self.bars:
            self.bars.stop()
        if self.log:
            self.log.__exit__(kind, error, trace)

    def compiling(self) -> None:
        """Show that compilers run; how long they take is not known."""
        if self.log:
            self.log.stage = "compiling kernels, once on this machine"
        if self.bars:
            self.compilation = self.bars.add_task("compile, once on this machine", total=None)

    def opening(self, source: str) -> None:
        """Say in a log which network is at work."""
        if self.log:
            self.log.stage = f"opening {source}"

    def extracting(self, source: str, done: int, total: int) -> None:
        """Move the bar of a network."""
        if self.log:
            self.log.stage = f"extracting {source}, {done} of {total} images"
        if self.bars:
            if source not in self.extraction:
                self.extraction[source] = self.bars.add_task(f"extract {source}", total=total)
            self.bars.update(self.extraction[source], completed=done)

    def begin(self, tasks: Sequence[Task], finished: int) -> None:
        """Start the bar of what is not finished."""
        if self.log:
            self.log.begin(len(tasks), sum(task.size for task in tasks))
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
        if self.log:
            self.log.solved(task.size)
        if self.bars and self.solving is not None:
            self.bars.update(
                self.solving, advance=task.size, description=f"solve {task.layer.name}"
            )
