"""A grid with a few weights kept: against every set of them and every code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bounds import Grid, outlier_range, quantization_range
from bounds.errors import ProblemError

RNG = np.random.default_rng(6)
INPUTS = RNG.normal(size=(30, 5)) + RNG.normal(size=(30, 1))
GRAM = INPUTS.T @ INPUTS
WEIGHTS = RNG.normal(size=(3, 5)) * np.array([1, 1, 4, 1, 1])


def brute(w, values, k):
    """The least error over all sets of k free inputs and all values of the others."""
    best = np.inf
    for free in itertools.combinations(range(5), k):
        rest = [i for i in range(5) if i not in free]
        free = list(free)
        d = np.array(list(itertools.product(*(values[i] for i in rest)))) - w[rest]
        schur = GRAM[np.ix_(rest, rest)] - GRAM[np.ix_(rest, free)] @ np.linalg.solve(
            GRAM[np.ix_(free, free)], GRAM[np.ix_(free, rest)]
        )
        best = min(best, ((d @ schur) * d).sum(axis=1).min())
    return best


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("method", ["exact", "sdp", "gptq"])
def test_the_best_outliers_of_all(k, method):
    found = outlier_range(GRAM, WEIGHTS, outliers=k, bits=2, scale=0.6, method=method)
    levels = np.arange(-2, 2) * 0.6
    for c, w in enumerate(WEIGHTS):
        best = brute(w, [levels] * 5, k)
        assert found.lower[c] <= best * (1 + 1e-12) and best * (1 - 1e-12) <= found.upper[c]
        if method == "exact":
            assert found.upper[c] == pytest.approx(best, rel=1e-9)
            assert found.lower[c] == pytest.approx(best, rel=1e-9)
            assert found.exact[c]
        d = found.weights[c] - w
        assert d @ GRAM @ d == pytest.approx(found.upper[c], rel=1e-9)
        on = np.abs(found.weights[c] / 0.6 - np.rint(found.weights[c] / 0.6)) < 1e-9
        assert set(np.flatnonzero(~on)) <= set(found.outliers[c])


def test_more_outliers_never_hurt_and_none_is_quantization():
    errors = [outlier_range(GRAM, WEIGHTS, outliers=k, bits=3, scale=0.4).upper for k in range(6)]
    assert (np.diff(errors, axis=0) <= 1e-12).all() and (errors[5] < 1e-20).all()
    plain = quantization_range(GRAM, WEIGHTS, bits=3, scale=0.4)
    assert errors[0] == pytest.approx(plain.upper, rel=1e-9)


def test_a_dead_input_is_no_outlier():
    dead = GRAM.copy()
    dead[0] = dead[:, 0] = 0
    assert (outlier_range(dead, WEIGHTS, outliers=1, bits=2, scale=0.6).outliers != 0).all()


def test_dependent_inputs_prove_little_but_nothing_false():
    inputs = np.repeat(INPUTS[:, :3], 2, axis=1)
    gram, weights = inputs.T @ inputs, RNG.normal(size=(2, 6))
    found = outlier_range(gram, weights, outliers=2, bits=2, scale=0.6)
    assert (found.lower <= found.upper).all() and (found.lower >= 0).all()
    d = found.weights - weights
    assert ((d @ gram) * d).sum(axis=1) == pytest.approx(found.upper, rel=1e-6, abs=1e-9)


def test_what_is_refused():
    with pytest.raises(ProblemError, match="over 20000"):
        outlier_range(np.eye(60), np.ones(60), outliers=4, bits=2, scale=0.6)
    with pytest.raises(ProblemError, match="one step a channel"):
        outlier_range(GRAM, WEIGHTS, outliers=1, grid=Grid.uniform(2, [[0.5, 0.8]], group_size=3))
    with pytest.raises(ProblemError, match="outliers must be a whole number"):
        outlier_range(GRAM, WEIGHTS, outliers=-1, bits=2, scale=0.6)


def test_a_singular_gram_is_not_called_exact():
    """Nothing is proven of it, so the range says so: no lower bound, no optimum."""
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(2, 4))
    found = outlier_range(rows.T @ rows, rng.normal(size=(3, 4)), outliers=0, bits=2, scale=0.7)
    assert (found.upper > 0).all()
    closed = found.lower >= found.upper * (1 - 1e-6)
    assert (closed | ~found.exact).all()
