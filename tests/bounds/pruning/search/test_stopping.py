"""Searches that end before their tree is closed: what they prove, and what they say."""

from __future__ import annotations

import numpy as np

from bounds import pruning_range
from bounds.pruning.search import exact as searching
from tests.bounds.pruning.relaxation.test_split import normalised_inputs


def flat_problem(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A Gram on which the relaxation, and with it the search, is weak; one channel."""
    inputs = normalised_inputs(1, n, 1e-3)
    return inputs.T @ inputs, np.random.default_rng(1).normal(size=(1, n))


def test_a_search_left_open_says_that_the_relaxation_proves_as_much():
    gram, weights = flat_problem(24)
    plain = pruning_range(gram, weights, keep=6, method="perspective")
    found = pruning_range(gram, weights, keep=6, time_limit=None, node_limit=1)
    assert found.status.tolist() == ["certified"]
    np.testing.assert_array_equal(found.lower, plain.lower)
    assert any("no more than the relaxation" in note for note in found.notes)
    done = pruning_range(gram, weights, keep=6, time_limit=None)
    assert done.status.tolist() == ["exact"] and done.lower[0] > found.lower[0]
    assert not any("relaxation" in note for note in done.notes)


def test_a_hopeless_search_does_not_use_up_its_time(monkeypatch):
    """Out of patience at once; without, the same search would go on for its 1,000 seconds."""
    monkeypatch.setattr(searching, "PATIENCE", 0.0)
    gram, weights = flat_problem(64)
    found = pruning_range(gram, weights, keep=16, time_limit=1000)
    assert found.status.tolist() == ["certified"]
    assert any("In 1 of 1 channels" in note for note in found.notes)
