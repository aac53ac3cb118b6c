"""What a run shows: bars, rate and time left in a terminal, elsewhere a line a minute."""

from __future__ import annotations

import io
import re
import threading

import pytest
from rich.console import Console

from bounds.cli.logged import RunLog
from bounds.cli.progress import ConsoleObserver
from bounds.study.plan.tasks import make_tasks, study_layer
from bounds.study.run.running import Outcome, run_study
from layers.dump.file import dump_path
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


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_what_is_done_of_how_much_and_the_time_left():
    clock = Clock()
    log = RunLog(lambda line: None, clock=clock)
    assert log.line() == "0:00:00 starting"
    clock.now += 100
    log.begin(tasks=4, problems=100)
    clock.now += 20
    assert log.line() == "0:02:00 0 of 4 tasks solved, time left not known yet"
    log.solved(problems=20)
    clock.now += 40
    # 20 of 100 problems in a minute, whatever the extraction took
    assert log.line() == "0:02:40 1 of 4 tasks solved, about 0:04:00 left"


class Heard(io.StringIO):
    """An output that a test can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_a_log_gets_its_lines_while_nothing_ends(ran):
    """As when one task takes hours."""
    out = Heard()
    layer = ran.study.layers[1]
    path = dump_path(ran.dumps, layer.source, "head")
    task = make_tasks(ran.study, [study_layer(path, layer, 12)])[0]
    with ConsoleObserver(Console(file=out, width=40)) as observer:
        assert observer.log and observer.log.every == 60
        observer.log.__exit__(None, None, None)
        observer.log = RunLog(observer.log.say, every=1e-3).__enter__()
        observer.compiling()
        observer.opening("net")
        observer.extracting("net", 3, 20)
        observer.begin([task, task], 0)
        observer.solved(Outcome(task, 1.0))
        out.written.clear()
        assert out.written.wait(60)
    lines = out.getvalue().splitlines()
    pattern = r"0:00:\d\d 1 of 2 tasks solved, about 0:00:\d\d left"
    assert re.fullmatch(pattern, lines[-1]), lines[-1]  # on one line, however narrow
    assert not observer.log._thread.is_alive()


@pytest.mark.parametrize(
    ("tell", "line"),
    [
        (lambda observer: observer.compiling(), "compiling kernels, once on this machine"),
        (lambda observer: observer.opening("net"), "opening net"),
        (lambda observer: observer.extracting("net", 3, 20), "extracting net, 3 of 20 images"),
        (lambda observer: observer.begin([], 7), "starting"),
    ],
)
def test_a_log_knows_what_is_at_work_before_anything_is_solved(tell, line):
    observer = ConsoleObserver(Console(file=io.StringIO()))
    tell(observer)
    assert observer.log and observer.log.line() == f"0:00:00 {line}"


def test_elsewhere_a_short_run_is_quiet(ran, tmp_path):
    assert shown(ran.study, tmp_path, ran.dumps, terminal=False) == ""
