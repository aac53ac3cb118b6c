"""The study on a Dask cluster: the same table, also when workers are killed in mid-run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import distributed
import pytest
from dask import config
from distributed import LocalCluster, WorkerPlugin

from bounds.cli import main
from bounds.errors import StudyError
from bounds.results.ranges import load_rows
from bounds.study import format_study
from bounds.study.run import cluster
from bounds.study.run.running import Observer, run_study
from tests.bounds.study.study_cases import deadly, loud_study, timeless


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    """Two workers, processes of their own that are started again when they die."""
    # A task is given up when it has seen two workers die.
    settings: Any = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(**settings) as cluster,
    ):
        yield cluster


class Deadly(WorkerPlugin):
    """One task kills every worker that tries it, or only the first, which leaves a ``mark``."""

    name = "deadly"

    def __init__(self, mark: Path | None = None) -> None:
        self.mark = mark

    def setup(self, worker) -> None:
        solve, mark = cluster.solve_task, self.mark

        def dying(task, wanted, piece):
            if deadly(task) and not (mark and mark.exists()):
                if mark:
                    mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return solve(task, wanted, piece)

        cluster.solve_task = dying
        self.solve = solve

    def teardown(self, worker) -> None:
        cluster.solve_task = self.solve


@contextmanager
def dangerous(address: str, mark: Path | None = None) -> Iterator[None]:
    with cluster.connected(address) as client:
        client.register_plugin(Deadly(mark))
        try:
            yield
        finally:
            client.unregister_worker_plugin("deadly")


def test_a_worker_killed_in_mid_run_changes_nothing(ran, local, tmp_path):
    with dangerous(local.scheduler_address, tmp_path / "died"):
        report = run_study(
            ran.study, results=tmp_path, dumps=ran.dumps, scheduler=local.scheduler_address
        )
    assert (tmp_path / "died").exists()
    assert (report.solved, report.failures) == (18, ())
    assert timeless(load_rows(report.results)) == timeless(load_rows(ran.report.results))


def test_a_task_that_kills_its_workers_fails_alone(ran, local, tmp_path):
    with dangerous(local.scheduler_address):
        report = run_study(
            ran.study, results=tmp_path, dumps=ran.dumps, scheduler=local.scheduler_address
        )
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


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "nowhere", "127.0.0.1", "127.0.0.1:port", "tls://127.0.0.1:9"]
)
def test_a_scheduler_that_is_not_there_is_named(ran, tmp_path, monkeypatch, address):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with pytest.raises(StudyError, match=f"no Dask scheduler answers at {address}"):
        run_study(ran.study, results=tmp_path, dumps=ran.dumps, scheduler=address)


def test_something_else_that_listens_there_is_no_scheduler(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StudyError, match=f"no Dask scheduler answers at {address}"):
            cluster.connected(address).__enter__()


# Collects garbage where it hung: inside the making of a client, which holds a lock of Dask.
COLLECTING = """
import gc
from distributed.utils import LoopRunner
from bounds.errors import StudyError
from bounds.study.run import cluster

cluster._probe = lambda scheduler: None
start = LoopRunner._start_unlocked
starts = []

def collecting(runner):
    gc.collect()
    start(runner)
    starts.append(runner)

LoopRunner._start_unlocked = collecting
gc.disable()
for _ in range(2):
    try:
        with cluster.connected("127.0.0.1:port"):
            pass
    except StudyError:
        pass
assert len(starts) == 2
"""


def test_a_client_that_failed_does_not_stop_the_next_one():
    done = subprocess.run(
        [sys.executable, "-c", COLLECTING], stderr=subprocess.PIPE, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("error", [AssertionError, KeyboardInterrupt])
def test_a_client_is_closed_whatever_ended_its_making(monkeypatch, error):
    made = []

    class Client(distributed.Client):
        def __init__(self, *args, **settings) -> None:
            made.append(self)
            with pytest.raises(ValueError, match="missing port"):
                super().__init__(*args, **settings)
            assert self.status == "connecting"
            raise error

    monkeypatch.setattr(distributed, "Client", Client)
    monkeypatch.setattr(cluster, "_probe", lambda scheduler: None)  # it answers, and is lost then
    with pytest.raises((StudyError, KeyboardInterrupt)):
        cluster.connected("127.0.0.1").__enter__()
    assert [client.status for client in made] == ["closed"]


def test_a_client_that_will_not_close_is_never_collected(local, monkeypatch):
    close = distributed.Client.close
    monkeypatch.setattr(cluster, "_UNCLOSED", [])
    with monkeypatch.context() as patch, cluster.connected(local.scheduler_address) as client:
        patch.setattr(distributed.Client, "close", lambda self: sync_that_times_out())
    assert [client] == cluster._UNCLOSED
    close(client)


def sync_that_times_out() -> None:
    raise TimeoutError("timed out after 20 s.")


def test_a_scheduler_that_is_lost_ends_the_run_with_a_sentence(ran, tmp_path, capsys):
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--dashboard-address", ":0"]
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
