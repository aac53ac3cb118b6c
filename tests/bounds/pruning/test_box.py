"""Pruning inside the paper's box, against brute force over supports with bounded least squares."""

from __future__ import annotations

import numpy as np
import pytest

from bounds import pruning_range
from bounds.problem.gram import check_problem
from bounds.problem.sparsity import paper_box
from bounds.pruning.box import box_lower, box_refit
from bounds.pruning.reduced import reduce_problem
from bounds.pruning.refit import reduced_upper, refit
from tests.references.pruning_instances import brute_force_boxed, problem

KINDS = ("random", "uneven", "ill-conditioned")


def edges(weights, factor):
    """The box as the paper writes it."""
    return -factor * max(0.0, -weights.min()), factor * max(0.0, weights.max())


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_exact_is_the_boxed_optimum(kind, factor):
    binds = 0
    for n, keep, seed in [(6, 2, 0), (8, 4, 1), (7, 5, 2), (9, 3, 3)]:
        gram, weights = problem(kind, n, seed)
        low, high = edges(weights, factor)
        root = np.linalg.cholesky(gram).T
        found = pruning_range(gram, weights, keep=keep, box=factor, time_limit=None)
        optimum = np.array([brute_force_boxed(root, w, keep, low, high) for w in weights])
        room = 1e-9 * optimum + 1e-12 * found.energy
        assert (found.lower <= optimum + room).all()
        assert (found.upper >= optimum - room).all()
        assert np.allclose(found.upper, optimum, rtol=1e-7, atol=1e-12 * found.energy.max())
        assert ((found.weights >= low) & (found.weights <= high)).all()
        assert ((found.weights != 0).sum(axis=1) <= keep).all()
        if kind == "random":
            assert (found.status == "exact").all()
        binds += "binds" in found.notes[0]
        loose = pruning_range(gram, weights, keep=keep, box=factor, method="perspective")
        assert (loose.lower <= optimum + room).all()
    assert binds == 4 or factor > 0.7


def test_a_box_that_binds_nowhere_says_so_and_changes_nothing():
    gram, weights = problem("random", 12, 3)
    boxed, free = (
        pruning_range(gram, weights, keep=5, box=box, time_limit=None) for box in (50.0, None)
    )
    assert "changes nothing" in boxed.notes[0]
    assert np.array_equal(boxed.lower, free.lower)
    assert np.array_equal(boxed.upper, free.upper)


def test_weights_of_one_sign_stay_of_that_sign():
    gram, weights = problem("random", 8, 4)
    weights = np.abs(weights)
    root = np.linalg.cholesky(gram).T
    found = pruning_range(gram, weights, keep=3, box=2.0, time_limit=None)
    optimum = [brute_force_boxed(root, w, 3, 0.0, 2 * weights.max()) for w in weights]
    assert (found.weights >= 0).all()
    assert np.allclose(found.upper, optimum, rtol=1e-9)


@pytest.mark.parametrize("nodes", [1, 3, 10, 100])
def test_a_limit_leaves_a_bound_below_the_boxed_optimum(nodes):
    gram, weights = problem("ill-conditioned", 16, 1, channels=3)
    full = pruning_range(gram, weights, keep=6, box=0.5, time_limit=None)
    part = pruning_range(gram, weights, keep=6, box=0.5, node_limit=nodes, time_limit=None)
    assert (part.lower <= full.upper * (1 + 1e-9)).all()
    assert (part.upper >= full.lower).all()


def test_a_boxed_pattern():
    gram, weights = problem("random", 8, 6)
    found = pruning_range(gram, weights, pattern=(1, 2), box=0.5, time_limit=None)
    plain = pruning_range(gram, weights, pattern=(1, 2), time_limit=None)
    low, high = edges(weights, 0.5)
    assert (found.status == "exact").all()
    assert (found.lower >= plain.lower).all()
    assert ((found.weights >= low) & (found.weights <= high)).all()
    assert ((found.weights.reshape(2, 4, 2) != 0).sum(axis=2) <= 1).all()


def test_every_method_stays_inside():
    gram, weights = problem("random", 9, 7)
    low, high = edges(weights, 0.6)
    root = np.linalg.cholesky(gram).T
    optimum = [brute_force_boxed(root, w, 4, low, high) for w in weights]
    for method in ("magnitude", "magnitude-ls", "obs", "forward", "swap", "scip"):
        found = pruning_range(gram, weights, keep=4, box=0.6, method=method, time_limit=5)
        assert ((found.weights >= low) & (found.weights <= high)).all()
        assert (found.upper >= np.array(optimum) * (1 - 1e-9)).all()
        assert (found.lower <= optimum).all()
    every = pruning_range(gram, weights, keep=9, box=0.6, time_limit=None)
    assert ((every.weights >= low) & (every.weights <= high)).all()


def test_the_boxed_bound_holds_away_from_the_optimum_and_meets_it_there():
    """Any fit proves a bound on its support; the boxed least-squares fit proves nearly all."""
    rng = np.random.default_rng(8)
    for seed in range(6):
        gram, weights = problem("random", 7, seed)
        checked = check_problem(gram, weights)
        box = paper_box(checked.weights, 0.4)
        reduced = reduce_problem(checked, np.zeros(7, np.int64), np.array([4]), box)
        masks = np.zeros((2, 7), bool)
        masks[:, rng.choice(7, 4, replace=False)] = True
        rows = np.arange(2)
        best = box_refit(reduced, masks, refit(reduced, masks), box)
        error = reduced_upper(reduced, best)
        assert (box_lower(reduced, masks, best, box, rows) >= error * (1 - 1e-12)).all()
        for _ in range(5):
            low, high = (
                edge * reduced.row_scale[:, None] / reduced.scale for edge in (box.low, box.high)
            )
            other = np.where(masks, low + (high - low) * rng.random((2, 7)), 0.0)
            assert (box_lower(reduced, masks, other, box, rows) <= error).all()
