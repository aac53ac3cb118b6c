"""Runs that are killed, interrupted or run beside each other: what was finished stays."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from bounds.results.files import sweep
from bounds.results.ranges import load_rows
from bounds.study import format_study
from bounds.study.run.running import run_study
from tests.bounds.study.study_cases import timeless
from tests.bounds.study.study_runs import finished, run_and_kill


def kept(before: dict[str, int], now: dict[str, int]) -> bool:
    """Nothing that was finished is lost or done again."""
    return {key: now.get(key) for key in before} == before


def test_killed_at_random_points_and_resumed(ran, tmp_path):
    """SIGKILL, over and over: the table ends as that of a run nobody disturbed."""
    results = tmp_path / "results"
    chance = random.Random(5)
    # An undisturbed run solves for about half a second.
    delays: list[list[float | None]] = [[chance.uniform(0, 0.12)] for _ in range(6)]
    groups = run_and_kill(ran.study, results, ran.dumps, [*delays, [None]])
    assert any(group["status"] == [-signal.SIGKILL] for group in groups)
    assert groups[-1]["status"] == [0] and len(groups[-1]["finished"]) == 36
    assert all(kept(a["finished"], b["finished"]) for a, b in pairwise(groups))
    assert timeless(load_rows(results / "tiny")) == timeless(load_rows(ran.report.results))
    sweep(results, older_than=-1)
    assert list(results.rglob(".*.tmp")) == []


def test_runs_beside_each_other_in_one_folder(ran, tmp_path):
    """Two at once of which one is killed, two until the end, and one that finds everything."""
    results = tmp_path / "results"
    groups = run_and_kill(ran.study, results, ran.dumps, [[0.1, None], [None, None], [None]])
    assert groups[0]["status"] in ([-signal.SIGKILL, 0], [0, 0])
    assert [group["status"] for group in groups[1:]] == [[0, 0], [0]]
    assert len(groups[0]["finished"]) == 36
    assert groups[2]["finished"] == groups[1]["finished"] == groups[0]["finished"]
    assert timeless(load_rows(results / "tiny")) == timeless(load_rows(ran.report.results))


def test_two_studies_of_one_name_share_what_is_the_same(ran, tmp_path):
    results = tmp_path / "results"
    fewer = replace(ran.study, solve=replace(ran.study.solve, bits=(2,)))
    assert run_study(fewer, results=results, dumps=ran.dumps).rows == 18
    before = finished(results / fewer.name)
    assert run_study(ran.study, results=results, dumps=ran.dumps).rows == 36
    assert kept(before, finished(results / fewer.name))


@pytest.mark.parametrize(("workers", "backend"), [(1, "threads"), (2, "threads"), (2, "processes")])
def test_ctrl_c_keeps_what_is_finished(ran, tmp_path, workers, backend):
    bits = tuple(range(2, 17))
    solve = replace(ran.study.solve, bits=bits, workers=workers, backend=backend, pruning=())
    study = replace(ran.study, solve=solve)
    file = tmp_path / "study.toml"
    file.write_text(format_study(study), "utf-8")
    command = [
        *(sys.executable, "-m", "bounds.cli", "study", str(file)),
        *("--results", str(tmp_path / "results"), "--dumps", str(ran.dumps)),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        start_new_session=True,
    )
    tasks = tmp_path / "results" / "tiny" / "tasks"
    deadline = time.monotonic() + 500  # kernels may have to be compiled
    while not (tasks.is_dir() and any(tasks.glob("*.json"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the run
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert errors.count("\n") == 1 and "interrupted" in errors, errors
    before = finished(tmp_path / "results" / "tiny")
    assert 1 <= len(before) < 9 * len(bits)
    assert not (tmp_path / "results" / "tiny" / "results.parquet").exists()
    report = run_study(study, results=tmp_path / "results", dumps=ran.dumps)
    assert report.rows == 9 * len(bits)
    now = finished(tmp_path / "results" / "tiny")
    assert kept(before, now)
