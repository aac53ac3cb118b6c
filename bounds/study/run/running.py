"""A study run from start to end: extract, solve what is not solved yet, write the table.

What is finished is on disk at once and found again by its content key, so a run can be stopped at
any moment and started again. One task's failure is recorded and the rest goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from bounds.errors import StudyError
from bounds.problem.methods import PROBLEMS
from bounds.results.files import make_folder, sweep, write_bytes
from bounds.results.row import Row
from bounds.results.table import as_table, write_results
from bounds.study.plan.config import Study
from bounds.study.plan.tasks import Task, make_tasks
from bounds.study.plan.toml import format_study
from bounds.study.run.compiling import compiling, uncompiled
from bounds.study.run.extracting import extract_layers
from bounds.study.run.observer import Observer
from bounds.study.run.outcome import Outcome
from bounds.study.run.shards import missing_bits, read_shard
from bounds.study.run.solving import Failure

__all__ = ["Observer", "Outcome", "Report", "run_study"]

VANISHED = "its results vanished from the folder while the study ran; run the study again"


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        results: the table, ``results.parquet``.
        rows: its rows.
        solved: tasks done now.
        skipped: tasks found finished.
        kept: rows found finished; those of a task that had a part of its bit widths are among them.
        failures: tasks that failed; also in ``failures.json`` beside the table.
        problems: channel problems, one per channel and bit width, of the tasks done now.
        seconds: wall time of the whole run; ``solving`` of it went by in solving.
    """

    results: Path
    rows: int
    solved: int
    skipped: int
    kept: int
    failures: tuple[Outcome, ...]
    problems: int
    seconds: float
    solving: float


def run_study(
    study: Study,
    *,
    results: Path = Path("results"),
    dumps: Path = Path("dumps"),
    scheduler: str | None = None,
    observer: Observer | None = None,
) -> Report:
    """Run a study; its table goes to ``results / study.name / results.parquet``.

    Args:
        study: what to run.
        results: folder of all results.
        dumps: folder of extracted layers, shared by studies.
        scheduler: address of a Dask scheduler, whose workers then solve instead of this machine.
        observer: is told about progress.

    Raises:
        LayerboundsError: a network, its images, a folder or the cluster cannot be used. The failure
            of a single task is not raised but reported.
        KeyboardInterrupt: passed on; what was finished stays finished.
    """
    started = time.perf_counter()
    observer = observer or Observer()
    folder = results / study.name
    if study.solve.certificates:
        check_certificates(scheduler)
    make_folder(folder)
    sweep(folder)
    with _kernels(study, scheduler, observer):
        layers = extract_layers(study, dumps, observer)
    tasks = make_tasks(study, layers)
    missing = {task: missing_bits(folder, task) for task in tasks}
    # What is solved, counted and told is the part of a task that is new.
    whole = {replace(task, bits=bits): task for task, bits in missing.items() if bits}
    todo = list(whole)
    observer.begin(todo, len(tasks) - len(todo))
    began = time.perf_counter()
    failed: dict[Task, Outcome] = {}
    for outcome in _solve(study, todo, folder, scheduler):
        observer.solved(outcome)
        if outcome.failures:
            failed[whole[outcome.task]] = outcome
    solving = time.perf_counter() - began
    found = {task: _rows(folder, task) for task in tasks}
    for task in tasks:
        if len(found[task]) < len(task.bits) and task not in failed:
            failed[task] = Outcome(task, 0.0, (Failure(task.bits, VANISHED),))
    failures = tuple(failed[task] for task in tasks if task in failed)
    _record(folder / "failures.json", failures)
    rows = as_table(row for those in found.values() for row in those)
    write_results(folder / "results.parquet", [rows], format_study(study))
    return Report(
        results=folder / "results.parquet",
        rows=rows.num_rows,
        solved=sum(whole[task] not in failed for task in todo),
        skipped=len(tasks) - len(todo),
        kept=sum(len(task.bits) - len(bits) for task, bits in missing.items()),
        failures=failures,
        problems=sum(task.size for task in todo if whole[task] not in failed),
        seconds=time.perf_counter() - started,
        solving=solving,
    )


def check_certificates(scheduler: str | None) -> None:
    """Refuse certificates where they cannot be made, before anything is solved.

    Raises:
        StudyError: workers elsewhere have no dump to prove from.  MethodError: no python-flint.
    """
    from bounds.certificate import load_verifier

    if scheduler is not None:
        raise StudyError(
            "solve.certificates needs the dumps beside the solvers; leave --scheduler out, "
            "or set certificates = false"
        )
    load_verifier()


def _kernels(
    study: Study, scheduler: str | None, observer: Observer
) -> AbstractContextManager[None]:
    """Compile what is not compiled yet, if this machine is to solve and has a core to spare."""
    methods = {problem: getattr(study.solve, problem) for problem in PROBLEMS}
    problems = uncompiled(methods) if scheduler is None and study.solve.workers > 1 else []
    if problems:
        observer.compiling()
    return compiling({problem: methods[problem] for problem in problems})


def _rows(folder: Path, task: Task) -> list[Row]:
    """What is finished of a task, in the order of its bit widths."""
    found = (read_shard(folder, task, bits) for bits in task.bits)
    return [row for row in found if row is not None]


def _solve(
    study: Study, tasks: Sequence[Task], folder: Path, scheduler: str | None
) -> Iterator[Outcome]:
    """Solve tasks where the study says, and yield what became of each as it ends."""
    if not tasks:
        return iter(())
    if scheduler is not None:
        from bounds.study.run.cluster import solve_on_cluster

        return solve_on_cluster(tasks, folder, scheduler)
    from bounds.study.run.pool import solve_in_processes, solve_in_threads

    solve = solve_in_threads if study.solve.backend == "threads" else solve_in_processes
    return solve(tasks, folder, study.solve.workers)


def _record(path: Path, failures: Sequence[Outcome]) -> None:
    """Write ``failures.json``, or remove that of an earlier run when nothing failed."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    entries = [
        {
            "source": outcome.task.layer.source,
            "layer": outcome.task.layer.name,
            "chunk": outcome.task.chunk,
            "problem": outcome.task.problem,
            "method": outcome.task.method,
            "bits": list(failure.bits),
            "error": failure.message,
        }
        for outcome in failures
        for failure in outcome.failures
    ]
    write_bytes(path, json.dumps(entries, indent=1).encode() + b"\n")
