"""The study on a Dask cluster: the same table, also when workers are killed in mid-run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dask import config
from distributed import Client, LocalCluster, WorkerPlugin

from bounds.cli import main
from bounds.errors import StudyError
from bounds.results.ranges import load_rows
from bounds.study import format_study
from bounds.study.run import cluster
from bounds.study.run.running import Observer, Outcome, run_study
from tests.bounds.study.study_cases import deadly, loud_study, timeless


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    """Two workers, processes of their own that are started again when they die."""
    # A task is given up when it has seen two workers die.
    settings: Any = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(**settings) as cluster,
    ):
        yield cluster


class Killer(Observer):
    """Kills a worker when the first task has ended."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.killed: list[int] = []
        self.ended = 0

    def solved(self, outcome: Outcome) -> None:
        self.ended += 1
        if not self.killed:
            with Client(self.address, set_as_default=False) as client:
                pids: Any = client.run(os.getpid)
                busy: Any = client.processing()
            worker = max(pids, key=lambda name: len(busy[name]))
            assert busy[worker], "nothing was under way"
            self.killed.append(pids[worker])
            os.kill(pids[worker], signal.SIGKILL)


def test_a_worker_killed_in_mid_run_changes_nothing(ran, local, tmp_path):
    killer = Killer(local.scheduler_address)
    report = run_study(
        ran.study,
        results=tmp_path,
        dumps=ran.dumps,
        scheduler=local.scheduler_address,
        observer=killer,
    )
    assert len(killer.killed) == 1 and killer.ended == 18
    assert (report.solved, report.failures) == (18, ())
    assert timeless(load_rows(report.results)) == timeless(load_rows(ran.report.results))


class Deadly(WorkerPlugin):
    """One task kills every worker that tries it."""

    name = "deadly"

    def setup(self, worker) -> None:
        solve = cluster.solve_task

        def dying(task, wanted, piece):
            if deadly(task):
                os.kill(os.getpid(), signal.SIGKILL)
            return solve(task, wanted, piece)

        cluster.solve_task = dying
        self.solve = solve

    def teardown(self, worker) -> None:
        cluster.solve_task = self.solve


def test_a_task_that_kills_its_workers_fails_alone(ran, local, tmp_path):
    with Client(local.scheduler_address, set_as_default=False) as client:
        client.register_plugin(Deadly())
        try:
            report = run_study(
                ran.study, results=tmp_path, dumps=ran.dumps, scheduler=local.scheduler_address
            )
        finally:
            client.unregister_worker_plugin("deadly")
    (failure,) = report.failures
    assert deadly(failure.task) and failure.error and failure.error.startswith("KilledWorker")
    assert (report.solved, report.rows) == (17, 34)
    mended = run_study(
        ran.study, results=tmp_path, dumps=ran.dumps, scheduler=local.scheduler_address
    )
    assert (mended.solved, mended.skipped, mended.failures) == (1, 17, ())
    assert timeless(load_rows(mended.results)) == timeless(load_rows(ran.report.results))


def test_the_command_takes_a_scheduler_and_tells_what_failed(ran, local, images, tmp_path, capsys):
    file = tmp_path / "loud.toml"
    file.write_text(format_study(loud_study(images)), "utf-8")
    at = ["--results", str(tmp_path), "--dumps", str(ran.dumps)]
    with pytest.raises(SystemExit) as stop:
        main(["study", str(file), *at, "--scheduler", local.scheduler_address])
    out, errors = capsys.readouterr()
    assert stop.value.code == 1 and errors == ""
    assert "12 tasks solved, 0 found finished, 6 failed" in out and "FP16" in out


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "127.0.0.1:port"])
def test_a_scheduler_that_is_not_there_is_named(ran, tmp_path, monkeypatch, address):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with pytest.raises(StudyError, match=f"no Dask scheduler answers at {address}"):
        run_study(ran.study, results=tmp_path, dumps=ran.dumps, scheduler=address)


def test_a_scheduler_that_is_lost_ends_the_run_with_a_sentence(ran, tmp_path, capsys):
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    file = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text("utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = json.loads(file.read_text("utf-8"))["address"]

        class Ear(Observer):
            def begin(self, tasks, finished) -> None:
                threading.Timer(1, scheduler.kill).start()

        with (
            config.set({"distributed.comm.timeouts.connect": "1s"}),
            pytest.raises(StudyError, match=f"scheduler at {address} was lost.*run again"),
        ):
            run_study(
                ran.study, results=tmp_path, dumps=ran.dumps, scheduler=address, observer=Ear()
            )
    finally:
        scheduler.kill()
        scheduler.wait()
    assert capsys.readouterr().err == ""


def test_without_dask_the_extra_is_named(ran, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StudyError, match=r"pip install 'layerbounds\[dask\]'"):
        run_study(ran.study, results=tmp_path, dumps=ran.dumps, scheduler="tcp://127.0.0.1:9")
