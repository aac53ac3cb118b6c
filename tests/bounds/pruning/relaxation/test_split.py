"""The split line: valid by brute force, and worth it where one direction is nearly flat."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bounds import pruning_range
from bounds.problem.gram import check_problem
from bounds.problem.sparsity import Sparse
from bounds.pruning.heuristics.swap import swap
from bounds.pruning.reduced import reduce_problem
from bounds.pruning.refit import reduced_upper, refit
from bounds.pruning.relaxation.dual import Multipliers
from bounds.pruning.relaxation.perspective import proven_multipliers, verified_value
from bounds.pruning.relaxation.split import (
    APART,
    flattest_direction,
    interval_value,
    split_bounds,
)


def normalised_inputs(seed: int, n: int, noise: float) -> np.ndarray:
    """Rows whose entries all but add up to zero, as what leaves a LayerNorm; (rows, n)."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(5 * n, n)) @ (np.eye(n) + 0.5 * rng.normal(size=(n, n)) / np.sqrt(n))
    inputs -= inputs.mean(axis=1, keepdims=True)
    return inputs + noise * rng.normal(size=inputs.shape)


def reduced_problem(gram: np.ndarray, weights: np.ndarray, keep: int):
    problem = check_problem(gram, weights)
    return problem, reduce_problem(problem, *Sparse(keep).budget(problem.features))


def least_error(gram: np.ndarray, w: np.ndarray, keep: int) -> float:
    best = np.inf
    for support in itertools.combinations(range(len(w)), keep):
        s = list(support)
        v = np.zeros(len(w))
        v[s] = np.linalg.solve(gram[np.ix_(s, s)], (gram @ w)[s])
        best = min(best, float((v - w) @ gram @ (v - w)))
    return best


@pytest.mark.parametrize("noise", [1e-1, 1e-2, 1e-4])
def test_bound_is_below_the_optimum_and_not_below_the_relaxation(noise):
    for seed in range(4):
        inputs = normalised_inputs(seed, 9, noise)
        gram, weights = inputs.T @ inputs, np.random.default_rng(seed).normal(size=(2, 9))
        for keep in (2, 4):
            plain = pruning_range(gram, weights, keep=keep, method="perspective")
            found = pruning_range(gram, weights, keep=keep, method="perspective-split")
            for c in range(2):
                optimum = least_error(gram, weights[c], keep)
                assert plain.lower[c] <= found.lower[c] <= optimum * (1 + 1e-7)


def test_a_flat_direction_costs_decibels_no_more():
    inputs = normalised_inputs(1, 24, 1e-3)
    gram, weights = inputs.T @ inputs, np.random.default_rng(1).normal(size=(3, 24))
    plain = pruning_range(gram, weights, keep=6, method="perspective")
    found = pruning_range(gram, weights, keep=6, method="perspective-split")
    np.testing.assert_array_equal(plain.upper, found.upper)
    assert (plain.lower < 0.02 * plain.upper).all()
    assert (found.lower > 0.4 * found.upper).all()


def test_nothing_is_split_where_no_direction_is_flat():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(400, 12))
    problem, reduced = reduced_problem(inputs.T @ inputs, rng.normal(size=(2, 12)), 3)
    direction = flattest_direction(reduced.gram)
    assert direction.flat > APART * direction.steep
    _, _, lower = proven_multipliers(reduced)
    upper = reduced_upper(reduced, refit(reduced, swap(reduced, problem.weights)))
    np.testing.assert_array_equal(split_bounds(reduced, lower, upper), lower)


def test_an_interval_bounds_what_lies_in_it_and_only_that():
    """Against every support, with sigma held at points of the interval."""
    inputs = normalised_inputs(5, 7, 1e-2)
    gram, w = inputs.T @ inputs, np.random.default_rng(5).normal(size=7)
    _, reduced = reduced_problem(gram, w[None], 3)
    gram, w = reduced.gram, reduced.weights[0]
    b = flattest_direction(gram).b
    d = np.full(7, 0.5 * reduced.eigen)
    mu, low, high = 0.3, 0.2, 0.5
    value = interval_value(reduced, 0, b, mu, low, high, Multipliers(d * w, d, d, d[:1]))
    assert np.isfinite(value)
    least = np.inf
    for support in itertools.combinations(range(7), 3):
        s = list(support)
        for sigma in np.linspace(low, high, 7):
            # Least squares with b^T (v - w) = sigma.
            system = np.zeros((4, 4))
            system[:3, :3] = gram[np.ix_(s, s)]
            system[:3, 3] = system[3, :3] = b[s]
            right = np.append((gram @ w)[s], sigma + b @ w)
            v = np.zeros(7)
            v[s] = np.linalg.solve(system, right)[:3]
            least = min(least, float((v - w) @ gram @ (v - w)))
    assert value <= least
    # With mu = 0 the interval plays no part: the perspective bound of the same multipliers.
    free = interval_value(reduced, 0, b, 0.0, low, high, Multipliers(d * w, d, d, d[:1]))
    assert free == pytest.approx(verified_value(reduced, 0, d * w, d), rel=1e-9)


def test_multipliers_outside_the_cone_prove_nothing():
    inputs = normalised_inputs(6, 6, 1e-2)
    _, reduced = reduced_problem(inputs.T @ inputs, np.ones((1, 6)), 2)
    d = np.full(6, 10.0)
    b = flattest_direction(reduced.gram).b
    assert interval_value(reduced, 0, b, 0.1, -1.0, 1.0, Multipliers(d, d, d, d[:1])) == -np.inf
