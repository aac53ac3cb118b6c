"""Walks with multipliers shared by channels: same optimum, fewer nodes, bounds that hold."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bounds import quantization_range
from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.quantization.codes import CodeProblem, make_codes
from bounds.quantization.heuristics import attained
from bounds.quantization.search import exact, shared
from bounds.quantization.search.exact import walk_easy
from bounds.quantization.search.shared import Shared, share, shift_all, unshared
from tests.bounds.quantization.relaxation.test_pairs import exact_optimum
from tests.references.quantization_instances import KINDS, Instance, brute_force, instance


def codes_of(problem: Instance) -> CodeProblem:
    checked = check_problem(problem.gram, problem.weights)
    return make_codes(checked, Grid.uniform(problem.bits, problem.scale))


def many_channels(n: int) -> Instance:
    """A well-conditioned layer with as many channels as it takes to share multipliers."""
    rng = np.random.default_rng(n)
    rows = rng.standard_normal((4 * n, n))
    weights = rng.standard_normal((shared.CHANNELS_A_SAMPLE, n))
    return Instance(rows.T @ rows, weights, 3, 0.6)


def shared_by(monkeypatch, problem: Instance) -> tuple[CodeProblem, Shared]:
    """The problem with multipliers shared, however few its channels are."""
    monkeypatch.setattr(shared, "CHANNELS_A_SAMPLE", 1)
    codes = codes_of(problem)
    return codes, share(codes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "bits"), [(6, 1), (5, 2), (3, 3), (2, 5)])
def test_below_the_optimum_in_exact_rationals(kind, n, bits, monkeypatch):
    problem = instance(kind, n, bits, 12, channels=3)
    codes, moved = shared_by(monkeypatch, problem)
    _, lower, upper, finished, _ = walk_easy(codes, moved, attained.nearest(codes), 10**6)
    assert finished.all()
    if kind in ("random", "clipped"):
        assert np.allclose(upper, brute_force(problem).astype(float), rtol=1e-9, atol=1e-12)
        assert np.allclose(lower, upper, rtol=1e-8, atol=1e-12)
    for c in range(3):
        optimum = exact_optimum(problem, c)
        assert Fraction(float(lower[c])) <= optimum <= Fraction(float(upper[c]))
        cut_short = walk_easy(codes, moved, attained.nearest(codes), 5)
        assert Fraction(float(cut_short[1][c])) <= optimum


def test_any_multipliers_give_bounds_that_hold():
    problem = instance("random", 4, 2, 3, channels=2)
    codes = codes_of(problem)
    rng = np.random.default_rng(0)
    least = np.linalg.eigvalsh(codes.gram)[0]
    for _ in range(10):
        moved = shift_all(codes, least * rng.uniform(0, 0.99, 4))
        assert moved is not None
        _, lower, upper, _, _ = walk_easy(codes, moved, attained.nearest(codes), 10**5)
        for c in range(2):
            optimum = exact_optimum(problem, c)
            assert Fraction(float(lower[c])) <= optimum <= Fraction(float(upper[c]))
    assert shift_all(codes, np.full(4, 2 * np.trace(codes.gram))) is None


def test_a_batch_ends_where_channels_alone_end_in_fewer_nodes():
    problem = many_channels(24)
    together = quantization_range(problem.gram, problem.weights, bits=3, scale=problem.scale)
    codes = codes_of(problem)
    alone = walk_easy(codes, unshared(codes), attained.descent(codes), 10**6)
    assert (together.status == "exact").all()
    assert np.allclose(together.upper, alone[2], rtol=1e-9)
    assert np.allclose(together.lower, alone[1], rtol=1e-8)
    assert together.nodes.sum() < 0.8 * alone[4].sum()


def test_a_channel_of_almost_no_weight_is_walked_again(monkeypatch):
    """What the shift adds is as large as a step: next to it such an error has no digits."""
    problem = many_channels(12)
    problem.weights[7] *= 1e-9
    found = quantization_range(problem.gram, problem.weights, bits=3, scale=problem.scale)
    assert (found.status == "exact").all()
    monkeypatch.setattr(exact, "PRECISE", np.inf)
    once = quantization_range(problem.gram, problem.weights, bits=3, scale=problem.scale)
    assert once.status[7] != "exact"
    limited = quantization_range(
        problem.gram, problem.weights, bits=3, scale=problem.scale, node_limit=40
    )
    assert (limited.nodes <= 40).all()
