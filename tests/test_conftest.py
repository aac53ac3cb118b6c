"""The suite gives the same answers in the background as at a terminal."""

from __future__ import annotations

import signal
import subprocess
import sys

CHILD = "import signal; raise SystemExit(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
PROGRAM = f"""
import subprocess, sys
import tests.conftest
raise SystemExit(subprocess.call([sys.executable, "-c", {CHILD!r}]))
"""


def ignoring() -> None:
    """As a shell does with a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def started(program: str, pytestconfig) -> int:
    return subprocess.run(
        [sys.executable, "-c", program], preexec_fn=ignoring, cwd=pytestconfig.rootpath, check=False
    ).returncode


def test_children_can_be_interrupted_though_the_suite_runs_in_the_background(pytestconfig):
    assert started(CHILD, pytestconfig) == 1  # the handicap is real
    assert started(PROGRAM, pytestconfig) == 0
