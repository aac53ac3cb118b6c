"""Tasks solved on this machine, several at a time: in threads, or in processes that may die."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import cast

from bounds.problem.methods import knowing, registered
from bounds.study.plan.tasks import Task
from bounds.study.run.outcome import Outcome, solve_and_store
from bounds.study.run.solving import Failure

DIED = "its worker process died: killed, out of memory, or crashed in a solver"


def solve_in_threads(tasks: Sequence[Task], folder: Path, workers: int) -> Iterator[Outcome]:
    """Solve tasks in threads (the kernels release the GIL) and yield each one's outcome.

    Raises:
        StorageError: the folder of results cannot be written.
    """
    stop = threading.Event()
    try:
        yield from _parallel(tasks, folder, workers, "threading", stop.is_set)
    finally:
        stop.set()


def solve_in_processes(tasks: Sequence[Task], folder: Path, workers: int) -> Iterator[Outcome]:
    """Solve tasks in processes and yield each one's outcome.

    When a process dies, the tasks that were under way are done again one by one, each in a process
    of its own; one whose process dies then too has failed. The others go on.

    Raises:
        StorageError: the folder of results cannot be written.
    """
    waiting = dict.fromkeys(tasks)
    stopped = partial(_orphaned, os.getpid())
    while waiting:
        started: dict[Task, None] = {}

        def starting(started: dict[Task, None] = started) -> Iterator[Task]:
            for task in list(waiting):
                started[task] = None
                yield task

        try:
            for outcome in _parallel(starting(), folder, workers, "loky", stopped):
                waiting.pop(outcome.task)
                yield outcome
        except BrokenProcessPool:
            for task in [task for task in started if task in waiting]:
                waiting.pop(task)
                yield _alone(task, folder, stopped)


def _alone(task: Task, folder: Path, stopped: Callable[[], bool]) -> Outcome:
    """Solve a task in a process that it shares with nobody."""
    began = time.perf_counter()
    try:
        # Two workers, one of them idle: joblib would take a single one for this process itself.
        return next(_parallel([task], folder, 2, "loky", stopped))
    except BrokenProcessPool:
        failure = Failure(task.bits, f"WorkerDied: {DIED}")
        return Outcome(task, time.perf_counter() - began, (failure,))


def _parallel(
    tasks: Iterable[Task],
    folder: Path,
    workers: int,
    backend: str,
    stopped: Callable[[], bool],
) -> Iterator[Outcome]:
    from joblib import Parallel, delayed

    pool = Parallel(
        n_jobs=workers,
        backend=backend,
        return_as="generator_unordered",
        batch_size=1,  # pyright: ignore[reportArgumentType] - it takes numbers too
        pre_dispatch="n_jobs",
        max_nbytes=None,
    )
    # Drawn one by one as workers become free: what is drawn is under way.
    jobs = (
        delayed(knowing)(registered(), solve_and_store, task, folder, stopped) for task in tasks
    )
    return cast("Iterator[Outcome]", pool(jobs))


def _orphaned(parent: int) -> bool:
    # An event cannot travel to another process. Who interrupts a run ends its workers too, but who
    # kills it leaves them behind: then they end by themselves, after the bit width they are at.
    return parent not in (os.getpid(), os.getppid())
