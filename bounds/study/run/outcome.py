"""What becomes of one task: its rows on disk, and why some are missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bounds.results.files import write_bytes
from bounds.results.row import Row
from bounds.study.plan.tasks import Task
from bounds.study.run.shards import certificate_path, missing_bits, write_shard
from bounds.study.run.solving import Failure, solve_task


@dataclass(frozen=True)
class Outcome:
    """What became of one task: its seconds, and what failed in it."""

    task: Task
    seconds: float
    failures: tuple[Failure, ...] = ()

    @property
    def error(self) -> str | None:
        """All that failed as one sentence; None when nothing did."""
        if not self.failures:
            return None
        return "; ".join(
            failure.message
            if failure.bits == self.task.bits
            else f"at {', '.join(map(str, failure.bits))} bits: {failure.message}"
            for failure in self.failures
        )


def solve_and_store(task: Task, folder: Path, stopped: Callable[[], bool]) -> Outcome:
    """Solve what a task lacks and write every row the moment it is there.

    Raises:
        StorageError: the folder of results cannot be written.
    """
    started = time.perf_counter()

    def store(row: Row, certificate: bytes | None) -> None:
        # The row last: where it is, nothing is missing.
        if certificate is not None:
            write_bytes(certificate_path(folder, task, row.bits), certificate)
        write_shard(folder, task, row)

    # Looked up now, not when the run began: another run may have been here in the meantime.
    _, failures = solve_task(
        task,
        missing_bits(folder, task),
        store=store,
        stopped=stopped,
    )
    return Outcome(task, time.perf_counter() - started, tuple(failures))
