"""Kernels are compiled before the clock starts: all of them, once, and said so on a terminal."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pexpect
import pytest

from bounds import pruning_range, quantization_range
from bounds.problem import answer, kernels
from bounds.problem.kernels import MESSAGE, NotCompiledError, compile_kernels, refusing
from bounds.problem.methods import PRUNING, QUANTIZATION, Method, find_method
from tests.references.kernels import new_signatures


@pytest.mark.parametrize("problem", [QUANTIZATION, PRUNING])
def test_no_call_reaches_a_kernel_that_is_not_ready(problem):
    """In a process of its own: this one has kernels loaded that other tests used."""
    program = (
        "from tests.references.kernels import new_signatures\n"
        f"assert new_signatures({problem!r}) == []\n"
    )
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr


def test_signatures_that_no_walk_reached_are_seen(monkeypatch):
    from numba import njit

    from bounds.pruning.heuristics import selection

    monkeypatch.setattr(kernels, "_ready", set())
    monkeypatch.setattr("bounds.pruning.kernels.walk", lambda _: None)
    monkeypatch.setattr(selection, "_forward", njit(_forward))
    assert any("_forward" in name for name in new_signatures(PRUNING, ("forward",)))


def _forward(gram, weights, group, capacity):
    return weights != 0.0


@pytest.mark.parametrize("problem", [QUANTIZATION, PRUNING])
def test_the_clock_starts_when_kernels_are_ready(problem, monkeypatch):
    order: list[str] = []
    clock = SimpleNamespace(perf_counter=lambda: float(order.append("clock") or 0))
    monkeypatch.setattr(answer, "time", clock)
    monkeypatch.setattr(answer, "compile_kernels", lambda method: order.append(method.name))
    gram, weights = [[2.0, 1.0], [1.0, 2.0]], [[0.4, 0.3]]
    if problem == QUANTIZATION:
        quantization_range(gram, weights, bits=2, scale=0.3, method="rtn")
    else:
        pruning_range(gram, weights, keep=1, method="swap")
    assert order == ["rtn" if problem == QUANTIZATION else "swap", "clock", "clock"]


def test_a_walk_is_made_once_and_again_after_it_failed(monkeypatch):
    monkeypatch.setattr(kernels, "_ready", set())
    one, other = (find_method(PRUNING, name) for name in ("swap", "exact"))
    walked: list[str] = []

    def walk(method: Method) -> None:
        walked.append(method.name)
        compile_kernels(method)  # what a walk solves does not walk
        compile_kernels(other)
        if len(walked) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("bounds.pruning.kernels.walk", walk)
    with pytest.raises(KeyboardInterrupt):
        compile_kernels(one)
    for method in (one, one, other):
        compile_kernels(method)
    assert walked == ["swap", "swap", "exact"]


def test_methods_from_elsewhere_have_kernels_of_their_own(monkeypatch):
    monkeypatch.setattr("bounds.pruning.kernels.walk", lambda _: pytest.fail("walked"))
    compile_kernels(Method("mine", PRUNING, "elsewhere:mine"))


def test_refusing_hears_of_what_is_not_cached():
    from numba import njit

    kernel = njit(_forward)
    with pytest.raises(NotCompiledError), refusing():
        kernel(0.0, 1.0, 0, 0)
    assert kernel.signatures == []
    assert kernel(0.0, 1.0, 0, 0)  # unharmed
    with refusing():
        assert not kernel(0.0, 0.0, 0, 0)


PROGRAM = """
from numba import njit
import bounds.pruning.kernels
from bounds.problem.kernels import compile_kernels
from bounds.problem.methods import find_method
kernel = njit(lambda x: x + 1)
def walk(_):
    kernel(1); kernel(1.0)
bounds.pruning.kernels.walk = walk
compile_kernels(find_method("pruning", "swap"))
compile_kernels(find_method("pruning", "exact"))
print("done")
"""


def test_a_terminal_is_told_once_and_only_if_something_is_compiled():
    child = pexpect.spawn(sys.executable, ["-c", PROGRAM], encoding="utf-8", timeout=60)
    child.expect(pexpect.EOF)
    assert child.before is not None and child.before.split("\r\n") == [MESSAGE, "done", ""]
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("done\n", "")
