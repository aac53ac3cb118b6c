"""Verdicts from ranges of errors, against what can be said by hand."""

from __future__ import annotations

import math

import pytest

from bounds.results.verdicts import decide


@pytest.mark.parametrize(
    ("quantization", "pruning", "winner", "margin"),
    [
        ((0.5, 1.0), (10.0, 20.0), "quantization", 10.0),
        ((10.0, 20.0), (0.5, 1.0), "pruning", 10.0),
        ((1.0, 10.0), (1.0, 20.0), "undecided", -10.0),  # the ranges overlap by 10 dB at least
        ((0.0, 1.0), (0.0, 1.0), "undecided", -math.inf),  # nothing is proven
        ((0.0, 0.0), (1.0, 2.0), "quantization", math.inf),  # no error at all
        ((1.0, 1.0), (1.0, 1.0), "undecided", 0.0),  # a tie is not won
        ((1.0, 1.0), (1.0 + 1e-12, 2.0), "undecided", 0.0),  # nor is one within the tolerance
    ],
)
def test_verdict(quantization, pruning, winner, margin):
    verdict = decide(quantization, pruning)
    assert verdict.winner == winner
    assert verdict.margin == pytest.approx(margin, abs=1e-9)


def test_verdict_is_symmetric():
    names = {"quantization": "pruning", "pruning": "quantization"}
    for first, second in (((1.0, 2.0), (3.0, 4.0)), ((1.0, 3.0), (2.0, 5.0))):
        one, other = decide(first, second), decide(second, first)
        assert names.get(one.winner, one.winner) == other.winner
        assert one.margin == other.margin
