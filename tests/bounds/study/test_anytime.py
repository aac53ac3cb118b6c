"""Tracing a search: every limit gives valid bounds, and the last one the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from bounds import quantization_range
from bounds.errors import ProblemError
from bounds.study.anytime import trace
from tests.layers.test_imports import imported_after


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 24)) @ rng.normal(size=(24, 24))
    return x.T @ x, rng.normal(size=(1, 24))


def test_trace_closes_in_on_the_optimum(problem):
    gram, w = problem
    for demand in ({"bits": 3, "scale": 0.5}, {"keep": 8}):
        steps = trace(gram, w, **demand)
        assert [step.limit for step in steps] == [4**i for i in range(len(steps))]
        assert steps[-1].exact and not any(step.exact for step in steps[:-1])
        attained = [step.snr_attained for step in steps]
        bounds = [step.snr_bound for step in steps]
        assert attained == sorted(attained)
        assert attained[-1] == pytest.approx(bounds[-1], abs=1e-6)
        assert all(bound >= attained[-1] - 1e-9 for bound in bounds)
    optimum = quantization_range(gram, w, bits=3, scale=0.5)
    assert trace(gram, w, bits=3, scale=0.5)[-1].snr_attained == pytest.approx(optimum.snr_attained)


def test_trace_ends_when_time_is_up(problem):
    assert len(trace(*problem, keep=8, seconds=1e-9)) == 1


def test_trace_refuses(problem):
    for demand in ({}, {"bits": 3}, {"bits": 3, "scale": 1.0, "keep": 3}):
        with pytest.raises(ProblemError, match="bits and scale"):
            trace(*problem, **demand)


def test_tracing_needs_no_plotting():
    loaded = imported_after("import bounds.study.anytime")
    assert "bounds.study.anytime" in loaded and "matplotlib" not in loaded
