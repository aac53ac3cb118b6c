"""Kernels compiled ahead: when they are not there, and never at the price of a run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bounds.problem.methods import PROBLEMS, table
from bounds.study.run import compiling
from bounds.study.run.compiling import compile_kernels, uncompiled
from bounds.study.run.running import Observer, run_study


def test_a_cache_is_stale_when_a_kernel_is_newer(monkeypatch, tmp_path):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path), raising=False)
    assert uncompiled() == list(PROBLEMS)
    cached = tmp_path / "pruning_0123" / "dive.dive-1.py311.nbi"
    cached.parent.mkdir()
    cached.touch()
    assert uncompiled() == []
    os.utime(cached, (0, 0))
    assert uncompiled() == list(PROBLEMS)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_methods_of_other_solvers_are_left_alone(problem, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(
        f"bounds.{problem}.solve.{problem}_range", lambda *_, method, **__: asked.append(method)
    )
    foreign = [method.name for method in table(problem) if method.foreign]
    assert foreign
    compile_kernels(problem, ["exact", *foreign])
    assert asked == ["exact"]


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

    monkeypatch.setattr("bounds.study.run.running.uncompiled", lambda: ["pruning"])
    monkeypatch.setattr(compiling, "__name__", "no.such.module")
    report = run_study(ran.study, results=tmp_path, dumps=ran.dumps, observer=Ear())
    assert heard == ["compiling"] and report.failures == ()
