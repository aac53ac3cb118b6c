"""A run's progress where there is no terminal: one line a minute, for a log that somebody reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

EVERY_SECONDS = 60.0


class RunLog:
    """Says where a run is, a line every so many seconds; use as a context, which ends that.

    A thread of its own keeps the time, for a single task may take hours.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        every: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``say`` takes a line; ``every`` and ``clock`` are in seconds."""
        self.say = say
        self.every = every
        self.clock = clock
        self.started = self.began = clock()
        self.stage = "starting"
        self.tasks = self.tasks_done = self.problems = self.problems_done = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_saying, name="run log", daemon=True)

    def __enter__(self) -> Self:
        """Start the minutes."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """No line after this one."""
        self._ended.set()
        self._thread.join()

    def begin(self, tasks: int, problems: int) -> None:
        """So many tasks are about to be solved, of so many problems in all."""
        self.tasks, self.problems = tasks, problems
        self.began = self.clock()

    def solved(self, problems: int) -> None:
        """A task of so many problems has ended."""
        self.tasks_done += 1
        self.problems_done += problems

    def line(self) -> str:
        """Where the run is now: its time, what is done, of how much, and the time left."""
        now = self.clock()
        if not self.tasks:
            where = self.stage
        else:
            where = f"{self.tasks_done} of {self.tasks} tasks solved, {self._left(now)}"
        return f"{_spell(now - self.started)} {where}"

    def _left(self, now: float) -> str:
        if not self.problems_done:
            return "time left not known yet"
        # By problems: tasks differ in their channels and bit widths.
        rest = (self.problems - self.problems_done) / self.problems_done
        return f"about {_spell((now - self.began) * rest)} left"

    def _keep_saying(self) -> None:
        while not self._ended.wait(self.every):
            self.say(self.line())


def _spell(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
