"""Runs of a study in own processes, to be killed: ``python -m tests.bounds.study.study_runs``.

Forked from one process that has imported everything, so that many runs cost little; it has no
threads of its own, without which forking is safe.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bounds.study import Study, format_study


def run_and_kill(
    study: Study, results: Path, dumps: Path, delays: list[list[float | None]]
) -> list[dict[str, Any]]:
    """Start groups of runs, one group after the other, the runs of a group together.

    Args:
        study: what all of them run.
        results: their folder of results.
        dumps: extracted layers.
        delays: per group, per run: seconds of solving after which it is killed; None to let it end.

    Returns:
        Per group: ``status`` of its runs (minus the signal that killed them, or the exit code), and
        the shards ``finished`` by then, each with when it was written.
    """
    file = results.parent / "study.toml"
    file.write_text(format_study(study), "utf-8")
    command = [
        sys.executable,
        "-m",
        "tests.bounds.study.study_runs",
        str(file),
        str(results),
        str(dumps),
    ]
    done = subprocess.run(
        [*command, json.dumps(delays)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def finished(folder: Path) -> dict[str, int]:
    """The shards of a study, all of which must be whole, and when each was written."""
    found = {}
    for path in (folder / "tasks").glob("*.json"):
        assert json.loads(path.read_bytes())["row"]["key"] == path.stem
        found[path.stem] = path.stat().st_mtime_ns
    return found


def _main(file: str, results: str, dumps: str, delays: str) -> None:
    from bounds.study import load_study
    from bounds.study.run.running import Observer, run_study
    from layers import extract_layers

    assert extract_layers  # brings torch, before the processes part
    study = load_study(file)

    class Starter(Observer):
        def __init__(self, pipe: int) -> None:
            self.pipe = pipe

        def begin(self, tasks, finished) -> None:
            os.write(self.pipe, b"!")

    def child(pipe: int) -> None:
        status = 1
        try:
            report = run_study(
                study, results=Path(results), dumps=Path(dumps), observer=Starter(pipe)
            )
            status = len(report.failures)
        finally:
            os.close(pipe)
            os._exit(status)

    for group in json.loads(delays):
        runs = []
        for delay in group:
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                child(writing)
            os.close(writing)
            runs.append((pid, reading, delay))
        status = []
        for pid, reading, delay in runs:
            os.read(reading, 1)
            os.close(reading)
            if delay is not None:
                time.sleep(delay)
                os.kill(pid, signal.SIGKILL)
            _, code = os.waitpid(pid, 0)
            status.append(os.waitstatus_to_exitcode(code))
        shards = finished(Path(results) / study.name)
        sys.stdout.write(json.dumps({"status": status, "finished": shards}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
