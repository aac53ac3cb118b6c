"""Worker processes on this machine: they give the results of threads, and may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bounds.problem import methods
from bounds.problem.attempt import Attempt, Options
from bounds.problem.gram import Problem
from bounds.problem.grid import Grid
from bounds.problem.methods import Method
from bounds.results.ranges import load_rows
from bounds.study.plan.tasks import Task
from bounds.study.run import pool
from bounds.study.run.outcome import Outcome, solve_and_store
from bounds.study.run.running import run_study
from tests.bounds.study.study_cases import deadly, timeless


def dying(task: Task, folder: Path, stopped: Callable[[], bool]) -> Outcome:
    """Solve, but let one task kill its process, and another do so at its first try."""
    mark = folder / "died"
    once = deadly(replace(task, method="sdp")) and task.method == "exact" and not mark.exists()
    if once:
        mark.touch()
    if once or deadly(task):
        os.kill(os.getpid(), signal.SIGKILL)
    return solve_and_store(task, folder, stopped)


def test_processes_that_die_fail_their_own_task_only(ran, tmp_path, monkeypatch):
    """As when memory runs out: for a while, or every time."""
    study = replace(ran.study, solve=replace(ran.study.solve, backend="processes"))
    with monkeypatch.context() as patch:
        patch.setattr(pool, "solve_and_store", dying)
        report = run_study(study, results=tmp_path, dumps=ran.dumps)
    assert (tmp_path / "tiny" / "died").exists()
    (failure,) = report.failures
    assert deadly(failure.task) and failure.error and "process died" in failure.error
    assert (report.solved, report.rows) == (17, 34)
    mended = run_study(study, results=tmp_path, dumps=ran.dumps)
    assert (mended.solved, mended.skipped, mended.failures) == (1, 17, ())
    assert timeless(load_rows(mended.results)) == timeless(load_rows(ran.report.results))


def test_one_worker_process_is_this_one(ran, tmp_path):
    solve = replace(ran.study.solve, backend="processes", workers=1, bits=(2,))
    report = run_study(replace(ran.study, solve=solve), results=tmp_path, dumps=ran.dumps)
    assert (report.solved, report.rows, report.failures) == (18, 18, ())


def ceiling(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """A method of one's own: every weight rounded up."""
    step = grid.steps(problem.channels)[:, None]
    return Attempt(np.clip(np.ceil(problem.weights / step), grid.lo, grid.hi) * step)


def test_worker_processes_know_the_methods_registered_here(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "_REGISTERED", {})
    methods.register(Method("ceiling", "quantization", f"{__name__}:ceiling", does="round up"))
    solve = replace(
        ran.study.solve, backend="processes", quantization=("ceiling",), pruning=("magnitude",)
    )
    report = run_study(replace(ran.study, solve=solve), results=tmp_path, dumps=ran.dumps)
    assert report.failures == ()
    own = [row for row in load_rows(report.results) if row.method == "ceiling"]
    assert own and all(row.heuristic == row.channels for row in own)
