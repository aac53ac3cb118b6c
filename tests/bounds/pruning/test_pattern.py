"""N:M pruning against brute force over all its supports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bounds import pruning_range
from bounds.errors import ProblemError
from bounds.problem.methods import PRUNING, methods
from tests.references.pruning_instances import KINDS, brute_force_pattern, problem

FAST = tuple(m for m in methods(PRUNING) if m != "scip")


def fits(weights, pattern) -> bool:
    """Whether every row has at most N nonzeros in every M."""
    most, size = pattern
    starts = range(0, weights.shape[1], size)
    return all(((weights[:, i : i + size] != 0).sum(axis=1) <= most).all() for i in starts)


@pytest.mark.parametrize("method", FAST)
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_brackets_the_optimum(method, kind):
    cases = [((2, 4), 8), ((2, 4), 12), ((4, 8), 11), ((1, 3), 10), ((3, 5), 7), ((2, 2), 6)]
    for seed, (pattern, n) in enumerate(cases):
        gram, weights = problem(kind, n, seed)
        found = pruning_range(gram, weights, pattern=pattern, method=method, time_limit=None)
        optimum = np.array([brute_force_pattern(gram, w, pattern) for w in weights])
        room = 1e-9 * optimum + 1e-12 * found.energy
        assert (found.lower <= optimum + room).all()
        assert (found.upper >= optimum - room).all()
        assert fits(found.weights, pattern)
        if method == "exact":
            assert np.allclose(found.upper, optimum, rtol=1e-7, atol=1e-12 * found.energy.max())
            if kind != "ill-conditioned":
                assert (found.status == "exact").all()


@pytest.mark.parametrize("pattern", [(2, 4), (4, 8)])
def test_exact_at_the_papers_size(pattern):
    """36 inputs: proven, below every heuristic and above the relaxation."""
    gram, weights = problem("random", 36, 2, channels=3)
    found = pruning_range(gram, weights, pattern=pattern, time_limit=None)
    assert (found.status == "exact").all()
    assert fits(found.weights, pattern)
    for method in ("magnitude-ls", "obs", "forward", "swap"):
        fast = pruning_range(gram, weights, pattern=pattern, method=method, time_limit=None)
        assert (fast.upper >= found.lower).all()
    relaxed = pruning_range(gram, weights, pattern=pattern, method="perspective")
    assert (relaxed.lower <= found.upper).all()
    assert (relaxed.lower > 0.3 * found.upper).all()
    most = 18 if pattern == (2, 4) else 20  # all four of the last group may stay
    free = pruning_range(gram, weights, keep=most, time_limit=None)
    assert (free.upper <= found.upper * (1 + 1e-9)).all()


def test_a_pattern_of_everything_is_a_plain_budget():
    gram, weights = problem("random", 10, 3)
    plain = pruning_range(gram, weights, keep=4, time_limit=None)
    for pattern in ((4, 10), (4, 99)):
        found = pruning_range(gram, weights, pattern=pattern, time_limit=None)
        assert np.array_equal(found.upper, plain.upper)
        assert np.array_equal(found.lower, plain.lower)


def test_the_last_group_is_shorter_and_may_hold_as_many():
    gram, weights = np.eye(6), np.array([[1.0, 2.0, 3.0, 4.0, 0.1, 0.2]])
    found = pruning_range(gram, weights, pattern=(2, 4), time_limit=None)
    assert np.allclose(found.weights, [[0, 0, 3, 4, 0.1, 0.2]])
    found = pruning_range(gram, weights, pattern=(1, 4), time_limit=None)
    assert np.allclose(found.weights, [[0, 0, 0, 4, 0, 0.2]])


def test_a_group_of_dead_inputs_changes_nothing():
    gram, weights = problem("random", 8, 5)
    whole = np.zeros((12, 12))
    live = np.r_[0:4, 8:12]
    whole[np.ix_(live, live)] = gram
    padded = np.ones((2, 12))
    padded[:, live] = weights
    for method in ("exact", "perspective", "swap"):
        found = pruning_range(whole, padded, pattern=(2, 4), method=method, time_limit=None)
        assert np.allclose(
            found.upper,
            pruning_range(gram, weights, pattern=(2, 4), method=method, time_limit=None).upper,
        )
        assert (found.weights[:, 4:8] == 0).all()


def test_singular_grams():
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((6, 8))
    gram, weights = rows.T @ rows, rng.standard_normal((2, 8))
    gram = (gram + gram.T) / 2
    optimum = np.array([brute_force_pattern(gram, w, (2, 4)) for w in weights])
    for method in FAST:
        free = pruning_range(gram, weights, pattern=(2, 4), method=method, time_limit=None)
        assert (free.lower == 0).all()
        assert fits(free.weights, (2, 4))
        assert (free.upper >= optimum * (1 - 1e-6)).all()
    boxed = pruning_range(gram, weights, pattern=(2, 4), box=2.0, time_limit=None)
    assert (boxed.lower > 0).all()
    assert (boxed.lower <= boxed.upper).all()


@pytest.mark.parametrize("nodes", [1, 10, 100])
def test_an_interrupted_search_stays_below_the_optimum(nodes):
    gram, weights = problem("ill-conditioned", 32, 3, channels=3)
    full = pruning_range(gram, weights, pattern=(2, 4), time_limit=None)
    part = pruning_range(gram, weights, pattern=(2, 4), node_limit=nodes, time_limit=None)
    assert (part.lower <= full.upper * (1 + 1e-9)).all()
    assert (part.upper >= full.lower).all()
    assert (part.lower > 0).all()


def test_scip_agrees():
    gram, weights = problem("random", 8, 1, channels=1)
    exact = pruning_range(gram, weights, pattern=(2, 4), time_limit=None)
    scip = pruning_range(gram, weights, pattern=(2, 4), method="scip", time_limit=5)
    assert scip.upper[0] == pytest.approx(exact.upper[0], rel=1e-5)
    assert exact.upper[0] * (1 - 1e-2) <= scip.lower[0] <= exact.upper[0]


def test_named_errors():
    gram, weights = np.eye(4), np.ones((1, 4))
    wrong: list[Any] = [(0, 4), (5, 4), (2,), (2, 4, 8), (1.5, 4), (True, 4), "2:4", 2]
    for pattern in wrong:
        with pytest.raises(ProblemError, match="pattern"):
            pruning_range(gram, weights, pattern=pattern, time_limit=None)
    with pytest.raises(ProblemError, match="either keep"):
        pruning_range(gram, weights, keep=1, pattern=(2, 4), time_limit=None)
    with pytest.raises(ProblemError, match="either keep"):
        pruning_range(gram, weights, time_limit=None)
