"""A test that hangs is a failure that shows where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "pyproject.toml"
HANGING = """
import threading

def test_hanging():
    lock = threading.Lock()
    lock.acquire()
    threading.Thread(target=lock.acquire, name="stuck", daemon=True).start()
    lock.acquire()
"""


def test_every_test_has_a_time_limit(pytestconfig):
    assert 300 <= float(pytestconfig.getini("timeout")) <= 900


def test_a_hang_is_a_failure_with_the_stacks_of_all_threads(tmp_path):
    file = tmp_path / "test_hanging.py"
    file.write_text(HANGING, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", CONFIG, "-W", "error", "-o", "timeout=1", file],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    shown = done.stdout + done.stderr
    assert "Stack of stuck" in shown and "in test_hanging" in shown
