"""Exact search against solvers that share no code with it: SCIP, and Gurobi where present."""

from __future__ import annotations

import numpy as np
import pytest

from bounds import quantization_range
from tests.references.quantization import gurobi, scip
from tests.references.quantization_instances import instance


@pytest.mark.parametrize("kind", ["random", "clipped"])
@pytest.mark.parametrize(("n", "bits"), [(6, 2), (8, 3), (9, 4), (6, 8)])
def test_scip_agrees(kind, n, bits):
    problem = instance(kind, n, bits, 21, channels=1)
    found = quantization_range(
        problem.gram, problem.weights, bits=bits, scale=problem.scale, time_limit=None
    )
    answer = scip(problem.gram, problem.weights[0] / problem.scale, *problem.box)
    assert answer.finished
    codes = answer.codes * problem.scale - problem.weights[0]
    assert found.status[0] == "exact"
    assert codes @ problem.gram @ codes == pytest.approx(found.upper[0], rel=1e-5, abs=1e-6)
    assert found.upper[0] <= codes @ problem.gram @ codes * (1 + 1e-9)


def test_gurobi_agrees_at_the_papers_size():
    pytest.importorskip("gurobipy", reason="optional cross-check: pip install gurobipy")
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((300, 36)) @ (np.eye(36) + 0.15 * rng.standard_normal((36, 36)))
    gram = rows.T @ rows
    for bits in (2, 4):
        weights = rng.standard_normal((2, 36))
        scale = 2.5 / 2 ** (bits - 1)
        found = quantization_range(gram, weights, bits=bits, scale=scale, time_limit=None)
        assert (found.status == "exact").all()
        for c in range(2):
            lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
            answer = gurobi(gram, weights[c] / scale, lo, hi)
            difference = answer.codes * scale - weights[c]
            error = difference @ gram @ difference
            assert found.upper[c] <= error * (1 + 1e-9)
            if answer.finished:
                assert error == pytest.approx(found.upper[c], rel=1e-6)


@pytest.mark.parametrize("bits", [2, 4])
def test_scip_does_not_contradict_us_at_the_papers_size(bits):
    """Weakly correlated inputs; where SCIP is cut short its two values must still hold ours."""
    rng = np.random.default_rng(bits)
    rows = rng.standard_normal((20_000, 36)) @ (np.eye(36) + 0.01 * rng.standard_normal((36, 36)))
    gram = rows.T @ rows / 20_000
    weights = rng.standard_normal((1, 36))
    scale = 2.5 / 2 ** (bits - 1)
    found = quantization_range(gram, weights, bits=bits, scale=scale, time_limit=None)
    assert found.status[0] == "exact"
    answer = scip(gram, weights[0] / scale, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, seconds=4.0)
    difference = answer.codes * scale - weights[0]
    error = difference @ gram @ difference
    assert found.upper[0] <= error * (1 + 1e-9)
    assert answer.dual * scale**2 <= found.upper[0] * (1 + 1e-5)
    if answer.finished:
        assert error == pytest.approx(found.upper[0], rel=1e-5)
