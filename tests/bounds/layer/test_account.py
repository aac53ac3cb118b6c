"""A whole layer's account: the order of its numbers, groups, damping, and verdicts on it."""

from __future__ import annotations

import numpy as np
import pytest

from bounds import quantization_range
from bounds.layer.account import account, damped
from bounds.results.verdicts import LIKELY, PROVEN, UNDECIDED, weigh


def part(seed, channels=6, n=40):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((3 * n, n))
    product = inputs.T @ inputs
    return (product + product.T) / 2, rng.standard_normal((channels, n))


def test_bounds_stand_below_what_is_attained():
    told: list[int] = []
    parts = [part(0), part(1)]
    found = account(parts, 3, told=told.append)
    assert told == [1, 2]
    errors = found.errors
    assert 0 < found.proven <= errors["best"] <= min(errors["gptq"], errors["rtn"])
    assert 0 < found.volume <= errors["best"]
    assert 0 < found.pruned_proven <= found.pruned
    assert (found.channels, found.bounded, found.pruned_bounded) == (12, 12, 12)
    assert found.energy == pytest.approx(sum(((w @ g) * w).sum() for g, w in parts))
    # values and the entropy of their places cost no more than the codes and the step
    share = found.keep / 40
    mask = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    assert 16 * share + mask <= found.true_bits == pytest.approx(3 + 16 / 480)


def test_few_inputs_are_searched():
    found = account([part(2, n=6)], 4)
    gram, weights = part(2, n=6)
    assert found.proven == pytest.approx(found.errors["best"], rel=1e-6)
    assert found.pruned_proven == pytest.approx(found.pruned, rel=1e-6)
    assert found.keep == 1
    relaxed = account([(gram, weights)], 4, methods=("sdp-shared", "perspective-refined"))
    assert relaxed.proven < found.proven and relaxed.pruned_proven < found.pruned_proven


def test_damping_is_a_share_of_the_mean_diagonal():
    gram, weights = part(3, n=5)
    same, more = damped(gram, 0), damped(gram, 0.01)
    assert same is gram
    np.testing.assert_allclose(more - gram, 0.01 * np.diag(gram).mean() * np.eye(5), atol=1e-12)
    lower = [
        quantization_range(g, weights, bits=2, scale=0.5, method="sdp").lower for g in (gram, more)
    ]
    assert (lower[1] > lower[0]).all()


def test_likely_is_less_than_proven_and_more_than_nothing():
    assert weigh((1.0, 2.0), (3.0, 4.0), 1.5) == (PROVEN, weigh((1, 2), (3, 4), 0)[1])
    certainty, verdict = weigh((1.0, 6.0), (2.0, 4.0), 5.0)
    assert certainty == LIKELY and verdict.winner == "pruning"
    assert verdict.margin == pytest.approx(10 * np.log10(5 / 4))
    certainty, verdict = weigh((1.0, 6.0), (2.0, 4.0), 3.0)
    assert certainty == UNDECIDED == verdict.winner and verdict.margin < 0
