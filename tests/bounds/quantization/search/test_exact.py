"""Exact quantization against brute force, invariances, and what an interrupted search may claim."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bounds import quantization_range
from bounds.problem.methods import QUANTIZATION, methods
from bounds.quantization.search import exact, shifted
from tests.references.quantization_instances import KINDS, Instance, brute_force, instance

SIZES = [(1, 8), (2, 5), (3, 4), (4, 3), (5, 2), (8, 1), (10, 1), (6, 2)]


def solve(problem: Instance, method: str = "exact", **options):
    return quantization_range(
        problem.gram,
        problem.weights,
        bits=problem.bits,
        scale=problem.scale,
        method=method,
        **{"time_limit": None, **options},
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "bits"), SIZES)
def test_exact_is_the_brute_force_optimum(kind, n, bits):
    for seed in range(3):
        problem = instance(kind, n, bits, seed)
        optimum = brute_force(problem)
        found = solve(problem)
        energy_floor = 1e-15 * found.energy
        assert (found.lower <= optimum + energy_floor).all()
        assert (found.upper >= optimum - energy_floor).all()
        assert (found.upper <= optimum * (1 + 1e-9) + 1e-12 * found.energy).all()
        # singular: the factor is shifted, and what the shift may hide is subtracted
        loose = 1e-4 if kind in ("singular", "duplicated", "ill-conditioned") else 1e-9
        assert (found.lower >= optimum * (1 - loose) - 1e-12 * found.energy).all()
        if kind in ("random", "clipped", "dead"):
            assert (found.status == "exact").all()


@pytest.mark.parametrize("method", methods(QUANTIZATION))
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_brackets_the_optimum(method, kind):
    cases = [(3, 2)] if method == "sdp-scs" else [(3, 2), (2, 4), (4, 3), (5, 1)]
    for n, bits in cases:
        problem = instance(kind, n, bits, 7)
        optimum = brute_force(problem)
        found = solve(problem, method)
        assert (found.lower <= optimum + 1e-15 * found.energy).all()
        assert (found.upper >= optimum - 1e-15 * found.energy).all()
        codes = found.weights / problem.scale
        lo, hi = problem.box
        assert np.abs(codes - np.rint(codes)).max() < 1e-9
        assert codes.min() >= lo - 1e-9
        assert codes.max() <= hi + 1e-9
        # upper is what the weights attain
        d = (found.weights - problem.weights).astype(np.longdouble)
        attained = ((d @ problem.gram) * d).sum(axis=1)
        assert np.allclose(np.asarray(found.upper, float), np.asarray(attained, float), atol=1e-12)


@pytest.mark.parametrize("kind", ["random", "clipped", "ill-conditioned", "singular"])
@pytest.mark.parametrize("nodes", [1, 10, 100, 1000])
def test_an_interrupted_search_stays_below_the_optimum(kind, nodes):
    for seed in range(6):
        problem = instance(kind, 5, 3, seed)
        optimum = brute_force(problem)
        found = solve(problem, node_limit=nodes)
        assert (found.lower <= optimum + 1e-15 * found.energy).all()
        assert (found.nodes <= nodes).all()
        gap = found.upper - found.lower
        claimed = found.status == "exact"
        assert (gap[claimed] <= 1e-9 * found.upper[claimed] + 1e-12 * found.energy[claimed]).all()


def test_a_node_limit_is_never_reported_as_optimal():
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((60, 30)) @ rng.standard_normal((30, 30))
    weights = rng.standard_normal((4, 30))
    gram = rows.T @ rows
    found = quantization_range(gram, weights, bits=3, scale=0.4, node_limit=200, time_limit=None)
    assert (found.status == "certified").all()
    assert (found.lower < found.upper).all()
    longer = quantization_range(gram, weights, bits=3, scale=0.4, time_limit=None)
    assert (longer.status == "exact").all()
    assert (found.lower <= longer.upper).all()
    assert (found.upper >= longer.lower).all()


def test_hard_channels_end_at_the_same_optimum_as_easy_ones(monkeypatch):
    """The shifted walk, forced on every channel, agrees with the plain one."""
    problem = instance("random", 14, 3, 1, channels=6)
    plain = solve(problem)
    monkeypatch.setattr(exact, "EASY_NODES", 1)
    for theta in (0.3, 0.7, 0.9):
        monkeypatch.setattr(shifted, "THETAS", (0.0, theta))
        monkeypatch.setattr(shifted.Shifted, "nodes", lambda self, *_: 1.0 - self.multiplier.any())
        hard = solve(problem)
        assert (hard.status == "exact").all()
        assert np.allclose(hard.upper, plain.upper, rtol=1e-12)
        assert np.allclose(hard.lower, plain.lower, rtol=1e-9)


def test_permuting_inputs_changes_nothing():
    problem = instance("clipped", 9, 3, 2, channels=3)
    order = np.random.default_rng(0).permutation(9)
    permuted = Instance(
        problem.gram[np.ix_(order, order)], problem.weights[:, order], problem.bits, problem.scale
    )
    for method in ("rtn", "descent", "sdp", "exact"):
        a, b = solve(problem, method), solve(permuted, method)
        if method in ("rtn", "exact"):
            assert np.allclose(a.upper, b.upper, rtol=1e-12)
        if method != "rtn":
            assert np.allclose(a.lower, b.lower, rtol=1e-3 if method == "sdp" else 1e-9)


@pytest.mark.parametrize("factor", [1e-12, 1e-3, 7.0, 1e10])
def test_scaling_the_problem_scales_the_range(factor):
    problem = instance("random", 8, 4, 5)
    base = solve(problem)
    scaled = Instance(
        problem.gram * factor**2, problem.weights / factor, problem.bits, problem.scale / factor
    )
    found = solve(scaled)
    assert np.allclose(found.upper, base.upper, rtol=1e-9)
    assert np.allclose(found.lower, base.lower, rtol=1e-9)
    assert (found.status == base.status).all()


def test_more_bits_never_hurt_on_nested_grids():
    """A grid of half the step and one more bit contains the coarser one."""
    problem = instance("random", 10, 2, 4)
    errors = [
        quantization_range(
            problem.gram, problem.weights, bits=2 + k, scale=problem.scale / 2**k, time_limit=None
        ).upper
        for k in range(4)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert (fine <= coarse * (1 + 1e-9)).all()


def test_per_channel_scales_are_solved_channel_by_channel():
    problem = instance("random", 6, 3, 9, channels=3)
    scales = np.array([0.2, 0.5, 0.9])
    together = quantization_range(
        problem.gram, problem.weights, bits=3, scale=scales, time_limit=None
    )
    for c, s in enumerate(scales):
        alone = quantization_range(
            problem.gram, problem.weights[c], bits=3, scale=s, time_limit=None
        )
        assert together.upper[c] == alone.upper[0]
        assert together.lower[c] == alone.lower[0]


def test_same_input_same_answer():
    problem = instance("random", 12, 3, 11, channels=4)
    for method in ("park-boyd", "exact", "sdp"):
        a, b = solve(problem, method), solve(problem, method)
        assert (a.upper == b.upper).all()
        assert (a.lower == b.lower).all()
        assert (a.weights == b.weights).all()


def test_all_inputs_dead_loses_nothing():
    found = quantization_range(
        np.zeros((3, 3)), np.ones((2, 3)), bits=2, scale=1.0, time_limit=None
    )
    assert (found.upper == 0).all()
    assert (found.status == "exact").all()
    assert np.isnan(found.snr_bound)
