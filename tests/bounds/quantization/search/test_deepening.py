"""Searches that meet a limit: the bound they leave, and that a limit is never taken for the end."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bounds import quantization_range
from bounds.quantization.search import deepening, exact
from tests.bounds.quantization.relaxation.test_pairs import exact_optimum
from tests.references.quantization_instances import instance


@pytest.fixture
def hurried(monkeypatch):
    """Every channel is a hard one, and a walk of forty nodes a long one."""
    monkeypatch.setattr(exact, "EASY_NODES", 1)
    monkeypatch.setattr(deepening, "FIRST_NODES", 40)
    monkeypatch.setattr(deepening, "SLICE_NODES", 7)
    monkeypatch.setattr(deepening, "WIDE_BEAM", 2)


def correlated(n: int, condition: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, n])
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    gram = (turn * np.geomspace(1, 1 / condition, n)) @ turn.T
    return (gram + gram.T) / 2


@pytest.mark.parametrize("kind", ["random", "clipped", "ill-conditioned", "singular"])
@pytest.mark.parametrize("nodes", [1, 2, 10, 40, 100, 300, 1000, 10_000])
def test_bounds_of_walks_cut_short_hold_in_exact_rationals(hurried, kind, nodes):
    for seed in range(2):
        problem = instance(kind, 4, 3, seed, channels=1)
        optimum = exact_optimum(problem, 0)
        found = quantization_range(
            problem.gram,
            problem.weights,
            bits=3,
            scale=problem.scale,
            node_limit=nodes,
            time_limit=None,
        )
        assert Fraction(float(found.lower[0])) <= optimum <= Fraction(float(found.upper[0]))
        assert found.nodes[0] <= nodes
        if nodes == 10_000 and kind in ("random", "clipped"):
            assert found.status[0] == "exact"


def test_more_nodes_prove_more_than_the_dual_bound(hurried):
    gram, rng = correlated(24, 30.0, 3), np.random.default_rng(1)
    weights = rng.standard_normal((4, 24))
    optimum = quantization_range(gram, weights, bits=3, scale=0.5, time_limit=None)
    assert (optimum.status == "exact").all()
    dual = quantization_range(gram, weights, bits=3, scale=0.5, method="sdp").lower
    gaps = []
    for nodes in (100, 3000, 30_000):
        found = quantization_range(
            gram, weights, bits=3, scale=0.5, node_limit=nodes, time_limit=None
        )
        assert (found.lower >= dual * (1 - 1e-4)).all()
        assert (found.lower <= optimum.upper).all()
        assert (found.upper >= optimum.lower).all()
        claimed = found.status == "exact"
        assert np.allclose(found.upper[claimed], optimum.upper[claimed], rtol=1e-9)
        gaps.append(np.log(optimum.upper / found.lower).sum())
    # shallow walks alone close part of the gap that depth first would leave at the dual bound
    assert gaps[1] < 0.8 * np.log(optimum.upper / dual).sum()
    assert gaps[2] <= gaps[1]


def test_a_radius_below_the_optimum_is_never_called_finished(hurried, monkeypatch):
    """However wrong the estimates: here every tree claims to be tiny, or to be huge."""
    problem = instance("random", 10, 3, 6, channels=3)
    options = {"bits": 3, "scale": problem.scale, "time_limit": None}
    optimum = quantization_range(problem.gram, problem.weights, **options)
    for size in (1e-9, 1e3, 1e30):
        monkeypatch.setattr(deepening.Shifted, "nodes", lambda *_, size=size: size)
        for nodes in (50, 2000, 200_000):
            found = quantization_range(problem.gram, problem.weights, **options, node_limit=nodes)
            assert (found.lower <= optimum.upper).all()
            claimed = found.status == "exact"
            assert np.allclose(found.upper[claimed], optimum.upper[claimed], rtol=1e-9)
            # an estimate too high leaves no budget unspent
            assert nodes < 200_000 or (found.status == "exact").all()


def test_a_time_limit_ends_the_search_and_leaves_the_dual_bound():
    gram, rng = correlated(60, 1e3, 4), np.random.default_rng(2)
    weights = rng.standard_normal((1, 60))
    found = quantization_range(gram, weights, bits=4, scale=0.3, time_limit=0.2)
    dual = quantization_range(gram, weights, bits=4, scale=0.3, method="sdp")
    assert found.status[0] == "certified"
    assert dual.lower[0] * (1 - 1e-4) <= found.lower[0] < found.upper[0] <= dual.upper[0]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_papers_size_with_condition_ten_thousand(bits):
    gram, rng = correlated(36, 1e4, bits), np.random.default_rng(bits)
    weights = rng.standard_normal((3, 36))
    scale = 2.5 / 2 ** (bits - 1)
    found = quantization_range(gram, weights, bits=bits, scale=scale, time_limit=None)
    assert (found.status == "exact").all()
    for method in ("beam", "descent", "park-boyd"):
        other = quantization_range(
            gram, weights, bits=bits, scale=scale, method=method, time_limit=None
        )
        assert (other.upper >= found.lower).all()
        assert (other.lower <= found.upper).all()


@pytest.mark.parametrize("rank", [12, 30, 35])
def test_the_papers_size_with_a_singular_gram(rank):
    """Fewer rows than inputs: whatever is claimed holds against the best codes known."""
    rng = np.random.default_rng(rank)
    rows = rng.standard_normal((rank, 36))
    weights = rng.standard_normal((2, 36))
    found = quantization_range(
        rows.T @ rows, weights, bits=2, scale=1.0, node_limit=2_000_000, time_limit=None
    )
    best = np.min(
        [
            quantization_range(
                rows.T @ rows, weights, bits=2, scale=1.0, method=method, time_limit=None
            ).upper
            for method in ("beam", "descent")
        ],
        axis=0,
    )
    assert (found.upper <= best).all()
    assert (found.lower <= found.upper).all()
    claimed = found.status == "exact"
    gap = found.upper - found.lower
    assert (gap[claimed] <= 1e-9 * found.upper[claimed] + 1e-13 * found.energy[claimed]).all()
    if rank >= 30:
        assert (found.lower > 0).all()


def test_a_search_that_gets_nowhere_ends_at_its_node_limit():
    """On this singular Gram each walk of smaller radius visited next to nothing, for ever."""
    problem = instance("singular", 8, 8, 5)
    found = quantization_range(
        problem.gram, problem.weights, bits=8, scale=problem.scale, node_limit=330_000
    )
    assert (found.nodes <= 330_000).all()
