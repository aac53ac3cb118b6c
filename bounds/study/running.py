"""A study run from start to end: extract, solve what is not solved yet, write the table.

What is finished is on disk at once and found again by its content key, so a run can be stopped at
any moment and started again. One task's failure is recorded and the rest goes on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bounds.study.config import Study
from bounds.study.extracting import extract_layers
from bounds.study.solving import solve_task
from bounds.study.store import make_folder, read_shard, replacing, write_results, write_shard
from bounds.study.tasks import Layer, Task, make_tasks
from bounds.study.toml import format_study


@dataclass(frozen=True)
class Outcome:
    """What became of one task: its seconds, and the message when it failed."""

    task: Task
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        results: the table, ``results.parquet``.
        rows: its rows.
        solved: tasks done now.
        skipped: tasks found finished.
        failures: tasks that failed; also in ``failures.json`` beside the table.
        seconds: wall time of the whole run.
    """

    results: Path
    rows: int
    solved: int
    skipped: int
    failures: tuple[Outcome, ...]
    seconds: float


class Observer:
    """Told how a run goes; does nothing by itself. Override what you want to show."""

    def opening(self, source: str) -> None:
        """``source`` is about to be opened, and its layers extracted where they are missing."""

    def extracting(self, source: str, done: int, total: int) -> None:
        """``done`` of ``total`` images have gone through ``source``."""

    def extracted(self, layer: Layer) -> None:
        """The dump of a layer is there."""

    def begin(self, tasks: Sequence[Task], finished: int) -> None:
        """Tasks are about to be solved; ``finished`` more were found done."""

    def solved(self, outcome: Outcome) -> None:
        """A task has ended, well or not."""


def run_study(
    study: Study,
    *,
    results: Path = Path("results"),
    dumps: Path = Path("dumps"),
    observer: Observer | None = None,
) -> Report:
    """Run a study; its table goes to ``results / study.name / results.parquet``.

    Args:
        study: what to run.
        results: folder of all results.
        dumps: folder of extracted layers, shared by studies.
        observer: is told about progress.

    Raises:
        LayerboundsError: a network, its images or a folder cannot be used. The failure of a single
            task is not raised but reported.
        KeyboardInterrupt: passed on; what was finished stays finished.
    """
    started = time.perf_counter()
    observer = observer or Observer()
    folder = results / study.name
    make_folder(folder)
    layers = extract_layers(study, dumps, observer)
    tasks = make_tasks(study, layers)
    todo = [task for task in tasks if read_shard(folder, task) is None]
    observer.begin(todo, len(tasks) - len(todo))
    failures = []
    for outcome in solve_all(todo, folder, study.solve.workers, study.solve.backend):
        observer.solved(outcome)
        if outcome.error is not None:
            failures.append(outcome)
    failures.sort(key=lambda outcome: tasks.index(outcome.task))
    _record(folder / "failures.json", failures)
    shards = (read_shard(folder, task) for task in tasks)
    table = folder / "results.parquet"
    rows = write_results(table, [s for s in shards if s is not None], format_study(study))
    return Report(
        results=table,
        rows=rows,
        solved=len(todo) - len(failures),
        skipped=len(tasks) - len(todo),
        failures=tuple(failures),
        seconds=time.perf_counter() - started,
    )


def solve_all(tasks: Sequence[Task], folder: Path, workers: int, backend: str) -> Iterator[Outcome]:
    """Solve tasks, ``workers`` at a time, and yield what became of each as it ends."""
    from joblib import Parallel, delayed

    stop = threading.Event()
    threads = backend == "threads"
    # An event cannot travel to another process; there, the pool ends the workers itself.
    stopped = stop.is_set if threads else _never
    pool = Parallel(
        n_jobs=workers,
        backend="threading" if threads else "loky",
        return_as="generator_unordered",
    )
    try:
        jobs = (delayed(solve_and_store)(task, folder, stopped) for task in tasks)
        yield from cast("Iterator[Outcome]", pool(jobs))
    finally:
        stop.set()


def solve_and_store(task: Task, folder: Path, stopped: Callable[[], bool]) -> Outcome:
    """Solve one task and write its shard; an error becomes part of the outcome."""
    started = time.perf_counter()
    error = None
    try:
        write_shard(folder, task, solve_task(task, stopped))
    except Exception as problem:  # whatever it was: the other tasks do not depend on it
        error = f"{type(problem).__name__}: {problem}"
    return Outcome(task, time.perf_counter() - started, error)


def _never() -> bool:
    return False


def _record(path: Path, failures: Sequence[Outcome]) -> None:
    """Write ``failures.json``, or remove that of an earlier run when nothing failed."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    entries = [
        {
            "source": f.task.layer.source,
            "layer": f.task.layer.name,
            "chunk": f.task.chunk,
            "problem": f.task.problem,
            "method": f.task.method,
            "error": f.error,
            "key": f.task.key,
        }
        for f in failures
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(entries, indent=1) + "\n", "utf-8")
