"""On a real terminal: what is seen while somebody waits, and what Ctrl-C leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pexpect
import pytest

from layers.dump.file import dump_path, read_dump
from tests.bounds.study.study_cases import TINY

SOLVE = ("--problem", "pruning", "--method", "slow", "--keep", "3", "--size", "12")
GAP = ("--keep", "3", "--method", "slow", "--size", "12")


@pytest.fixture
def head(ran):
    return dump_path(ran.dumps, TINY, "head")


@pytest.fixture
def zeros(head, tmp_path):
    path = tmp_path / "zeros.npy"
    np.save(path, np.zeros_like(read_dump(head).weights))
    return path


def command(*arguments: object) -> list[str]:
    return ["-m", "tests.bounds.cli.slow_method", *map(str, arguments)]


def terminal(*arguments: object, seconds: float = 0.3) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        command(*arguments),
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 120),
        env=os.environ | {"SLOW_SECONDS": str(seconds)},  # type: ignore[arg-type]
    )


def interrupted(child: pexpect.spawn, seen: str) -> str:
    """What is printed once ``seen`` was there and Ctrl-C pressed."""
    child.expect(seen)
    child.kill(signal.SIGINT)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130, child.before
    assert child.before is not None
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before)


def test_solve_shows_channels_and_time(head):
    child = terminal("solve", head, *SOLVE, "--chunk", "0")
    for seen in ("1/12", r"3/12.*left.*0:00:0[1-9]", "12/12", "12 heuristic"):
        child.expect(seen)
    child.expect(pexpect.EOF)


def test_one_long_channel_is_not_silent(head):
    """Nothing moves on, but the time does."""
    child = terminal("solve", head, *SOLVE, "--channel", "0", seconds=3)
    child.expect("0/1.*0:00:0[12].*0/1.*0:00:0[23].*1/1")
    child.expect(pexpect.EOF)


def test_solve_keeps_what_was_finished(head):
    out = interrupted(terminal("solve", head, *SOLVE, "--chunk", "all"), "1[345]/48")
    (solved,) = re.findall(r"stopped: (\d+) of 48 channels were solved", out)
    assert 13 <= int(solved) < 48
    assert re.search(r"^ +0 +12 +12 .* 12 heuristic", out, re.MULTILINE)
    assert re.search(
        rf"^ +1 +{int(solved) - 12} +12 .* {int(solved) - 12} heuristic", out, re.MULTILINE
    )
    assert "error:" not in out


def test_solve_certifies_what_was_finished(cli_verify, head, tmp_path):
    path = tmp_path / "part.jsonl"
    child = terminal("solve", head, *SOLVE, "--chunk", "0", "--certificate", path)
    out = interrupted(child, "3/12")
    (solved,) = re.findall(r"stopped: (\d+) of 12", out)
    assert "verified" in cli_verify(path, head)
    assert f'"channels":{solved}' in path.read_text("utf-8").splitlines()[-1]


@pytest.fixture
def cli_verify():
    def run(path, dump) -> str:
        call = [sys.executable, "-m", "bounds.cli", "verify", str(path), "--dump", str(dump)]
        return subprocess.run(call, check=True, capture_output=True, text=True, timeout=60).stdout

    return run


def test_nothing_finished_is_said(head):
    out = interrupted(terminal("solve", head, *SOLVE), "0/12")
    assert "interrupted" in out and "stopped" not in out


def test_gap_keeps_what_was_finished(head, zeros, tmp_path):
    csv = tmp_path / "gap.csv"
    out = interrupted(terminal("gap", head, "--weights", zeros, *GAP, "--out", csv), "1[345]/48")
    (solved,) = re.findall(r"stopped: (\d+) of 48 problems", out)
    assert 13 <= int(solved) < 48 and f"{solved} heuristic" in out
    rows = csv.read_text("utf-8").splitlines()
    assert sum(int(row.split(",")[1]) for row in rows[1:]) == int(solved)


@pytest.mark.parametrize("name", ["solve", "gap"])
def test_a_log_has_no_bars(name, head, zeros):
    rest = (*SOLVE, "--channel", "0") if name == "solve" else ("--weights", zeros, *GAP[:2])
    rest = (*rest, "--method", "magnitude")
    run = subprocess.run(
        [sys.executable, *command(name, head, *rest)], check=True, capture_output=True, text=True
    )
    assert run.stderr == "" and "left" not in run.stdout
