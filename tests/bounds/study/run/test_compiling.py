"""Kernels compiled ahead: when they are not there, and never at the price of a run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bounds.study.run import compiling
from bounds.study.run.compiling import compile_all
from bounds.study.run.running import Observer, run_study


def test_what_is_not_in_the_cache_is_found(monkeypatch, tmp_path):
    """A process with an empty cache compiles nothing, and says which problem has to be compiled."""
    program = (
        "import numba\n"
        "from bounds.study.run.compiling import uncompiled\n"
        "from bounds.pruning.heuristics import selection\n"
        "asked = {'quantization': (), 'pruning': ('magnitude', 'forward')}\n"
        "assert uncompiled(asked) == ['pruning']\n"
        "assert not selection._forward.signatures\n"
        "assert uncompiled({'pruning': ()}) == []\n"
    )
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_what_was_compiled_is_in_the_cache():
    program = (
        "from bounds.study.run.compiling import uncompiled\n"
        "assert uncompiled({'quantization': ('rtn',), 'pruning': ('forward', 'scip')}) == []\n"
    )
    compile_all("quantization", ("rtn",))
    compile_all("pruning", ("forward", "scip"))
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_an_error_beside_the_compilers_ends_them(monkeypatch):
    started = []
    popen = subprocess.Popen

    def sleeping(_command, **options):
        program = [sys.executable, "-c", "import time; time.sleep(600)"]
        started.append(popen(program, **options))
        return started[-1]

    monkeypatch.setattr(compiling.subprocess, "Popen", sleeping)
    with pytest.raises(KeyboardInterrupt), compiling.compiling({"pruning": ["exact"]}):
        raise KeyboardInterrupt
    assert [process.returncode for process in started] == [-9]


def test_compilers_that_fail_do_not_fail_the_run(ran, monkeypatch, tmp_path):
    heard: list[str] = []

    class Ear(Observer):
        def compiling(self) -> None:
            heard.append("compiling")

    monkeypatch.setattr("bounds.study.run.running.uncompiled", lambda _: ["pruning"])
    monkeypatch.setattr(compiling, "__name__", "no.such.module")
    report = run_study(ran.study, results=tmp_path, dumps=ran.dumps, observer=Ear())
    assert heard == ["compiling"] and report.failures == ()
