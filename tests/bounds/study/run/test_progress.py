"""What a run shows: bars, rate and remaining time in a terminal, failures only elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from bounds.cli.progress import ConsoleObserver
from bounds.study.run.running import run_study
from tests.bounds.study.study_cases import loud_study


def shown(study, results, dumps, *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160, color_system=None)
    with ConsoleObserver(console) as observer:
        observer.compiling()
        run_study(study, results=results, dumps=dumps, observer=observer)
    return out.getvalue()


def test_a_terminal_sees_bars_with_rate_and_time(ran, tmp_path):
    text = shown(ran.study, tmp_path, ran.dumps, terminal=True)
    # 5 and 2 x 12 channels, 2 bit widths, 6 methods

    assert re.search(r"solve \w+ .*348/348 \d+(\.\d)?/s \d:\d\d:\d\d \d:\d\d:\d\d", text), text
    assert "compile, once on this machine" in text
    text = shown(ran.study, tmp_path, ran.dumps, terminal=True)
    assert "solve" not in text


@pytest.mark.parametrize("terminal", [False, True])
def test_failures_are_always_named(ran, images, tmp_path, terminal):
    text = shown(loud_study(images), tmp_path, ran.dumps, terminal=terminal)
    named = re.findall(r"failed: [^\n]+", text)
    assert len(named) == 6 and all("FP16" in line for line in named)
    if not terminal:
        assert text.splitlines() == named


def test_elsewhere_a_run_is_quiet(ran, tmp_path):
    assert shown(ran.study, tmp_path, ran.dumps, terminal=False) == ""
