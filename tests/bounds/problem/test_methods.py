"""The table of methods: what it says is so, and a method of one's own joins it."""

from __future__ import annotations

import numpy as np
import pytest

from bounds import pruning_range, quantization_range
from bounds.errors import MethodError
from bounds.fuzz import check_instance, fast_methods, make_instance
from bounds.problem import methods as room
from bounds.problem.attempt import Attempt, Options
from bounds.problem.gram import Problem
from bounds.problem.grid import Grid
from bounds.problem.methods import PROBLEMS, Method, find_method, methods, register, table

RNG = np.random.default_rng(5)
INPUTS = RNG.normal(size=(60, 8))
GRAM, WEIGHTS = INPUTS.T @ INPUTS, RNG.normal(size=(3, 8))


@pytest.fixture
def own(monkeypatch):
    """The table as it was, afterwards."""
    monkeypatch.setattr(room, "_REGISTERED", {})


def ceiling(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """A method of one's own: every weight rounded up."""
    step = grid.steps(problem.channels)[:, None]
    return Attempt(np.clip(np.ceil(problem.weights / step), grid.lo, grid.hi) * step)


OWN = Method("ceiling", "quantization", f"{__name__}:ceiling", does="round up")


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_line_can_be_run_and_proves_what_it_says(kind):
    for method in table(kind):
        assert method.load() and method.does and method.costs
        if method.foreign:
            continue
        if kind == "quantization":
            found = quantization_range(GRAM, WEIGHTS, bits=3, scale=0.4, method=method.name)
        else:
            found = pruning_range(GRAM, WEIGHTS, keep=3, method=method.name)
        worth = {"nothing": "heuristic", "bound": "certified", "optimum": "exact"}
        assert (found.status == worth[method.proves]).all(), method.name
        assert np.array_equal(found.recomputed(), found.upper)
        assert found.constraint.fits(found.weights).all()
        if method.proves == "bound":
            assert len(found.proof) == len(WEIGHTS)


def test_an_unknown_method_is_told_the_right_ones_and_what_they_prove():
    with pytest.raises(MethodError, match=r"'best'.*sdp \(proves a bound\).*exact \(proves the op"):
        find_method("quantization", "best")


def test_a_method_of_ones_own_joins_the_table(own):
    register(OWN)
    assert "ceiling" in methods("quantization") and "ceiling" in fast_methods("quantization")
    found = quantization_range(GRAM, WEIGHTS, bits=3, scale=0.4, method="ceiling")
    assert (found.weights >= np.minimum(WEIGHTS, 3 * 0.4)).all() and found.count("heuristic") == 3
    assert check_instance(make_instance("quantization", 1, 0), ["ceiling"]) == []
    register(OWN)  # the same again is the same


def test_what_cannot_join(own):
    with pytest.raises(MethodError, match="already"):
        register(Method("rtn", "quantization", "a:b"))
    with pytest.raises(MethodError, match="unknown problem"):
        register(Method("mine", "shrinking", "a:b"))
    with pytest.raises(MethodError, match="cannot take luck"):
        register(Method("mine", "pruning", "a:b", takes=frozenset({"luck"})))
    register(Method("lost", "pruning", "no.such.module:run"))
    with pytest.raises(MethodError, match=r"'lost'.*cannot be loaded"):
        pruning_range(GRAM, WEIGHTS, keep=2, method="lost")


def test_a_method_refuses_what_it_cannot_take(own):
    register(Method("mine", "pruning", "a:b"))
    with pytest.raises(MethodError, match="pattern is for the methods"):
        pruning_range(GRAM, WEIGHTS, pattern=(2, 4), method="mine")
